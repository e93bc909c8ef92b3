//! Rows of `policy`.

use apimachinery::field::{Error, ErrorList, Path};
use apimachinery::{Object, meta::ObjectExt};
use serde_json::Value;

use crate::cells::age;
use crate::check;
use crate::conditions;
use crate::intstr;
use crate::resource::{Column, Resource, Strategy, Subresource};
use crate::tree::Tree;

pub const ROWS: &[Resource] = &[Resource {
    short_names: &["pdb"],
    columns: &[
        Column::NAME,
        Column::text("Min Available", "Fewest pods that must be healthy."),
        Column::text("Max Unavailable", "Most pods that may be unhealthy."),
        Column::integer("Allowed Disruptions", "Pods that may be evicted now."),
        Column::AGE,
    ],
    cells: |o, now| {
        let number = |field: &str| match o.field("spec").field(field) {
            Value::Null => "N/A".into(),
            Value::String(text) => text.as_str().into(),
            other => Value::from(other.to_string()),
        };
        let allowed = o.i64_at("status/disruptionsAllowed").unwrap_or(0);
        vec![o.name().into(), number("minAvailable"), number("maxUnavailable"), allowed.into(), age(o, now)]
    },
    subresources: &[Subresource::STATUS],
    strategy: Strategy {
        prepare_for_create: |o| {
            let status = serde_json::json!({
                "currentHealthy": 0, "desiredHealthy": 0, "disruptionsAllowed": 0, "expectedPods": 0,
            });
            apimachinery::meta::object_mut(o).insert("status".to_owned(), status);
        },
        validate,
        validate_update: |new, _| validate(new),
        validate_status_update: |new, _| {
            let mut errors = ErrorList::new();
            conditions::validate(
                &mut errors,
                &Path::new("status").child("conditions"),
                new.field("status").list("conditions"),
            );
            for field in ["disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods"] {
                check::nonnegative(&mut errors, &Path::new("status"), new.field("status"), field);
            }
            errors
        },
        allow_unconditional_update: false,
        ..Strategy::SPEC_STATUS
    },
    ..Resource::namespaced("policy", "v1", "poddisruptionbudgets", "poddisruptionbudget", "PodDisruptionBudget")
}];

fn validate(budget: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    let (at, spec) = (Path::new("spec"), budget.field("spec"));
    if spec.has("minAvailable") && spec.has("maxUnavailable") {
        errors.push(Error::invalid(&at, spec.clone(), "minAvailable and maxUnavailable cannot be both set"));
    }
    for field in ["minAvailable", "maxUnavailable"] {
        intstr::count_or_percent(&mut errors, &at, spec, field);
        intstr::at_most_all(&mut errors, &at, spec, field);
    }
    check::label_selector(&mut errors, &at.child("selector"), spec.field("selector"));
    let policies = &["AlwaysAllow", "IfHealthyBudget"];
    check::optional_choice(&mut errors, &at, spec, "unhealthyPodEvictionPolicy", policies);
    errors
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::testing::{Rules, cells, check_create, check_status, check_update, row};

    #[test]
    fn budget_rules() {
        let budgets = row("policy", "poddisruptionbudgets");
        let base = json!({ "metadata": { "name": "b" }, "spec": { "minAvailable": "50%" } });
        let rules: Rules<'_> = &[
            ("", &[]),
            ("spec = {}", &[]),
            ("spec.minAvailable = 0", &[]),
            ("spec = {\"maxUnavailable\":1}", &[]),
            (
                "spec.maxUnavailable = 1",
                &[
                    "spec: Invalid value: {\"maxUnavailable\":1,\"minAvailable\":\"50%\"}: minAvailable and maxUnavailable \
                   cannot be both set",
                ],
            ),
            ("spec.minAvailable = half", &["spec.minAvailable: Invalid value: \"half\": {percent}"]),
            ("spec.minAvailable = -1", &["spec.minAvailable: Invalid value: -1: must be greater than or equal to 0"]),
            (
                "spec.minAvailable = 101%",
                &["spec.minAvailable: Invalid value: \"101%\": must not be greater than 100%"],
            ),
            (
                "spec = {\"maxUnavailable\":\"101%\"}",
                &["spec.maxUnavailable: Invalid value: \"101%\": must not be greater than 100%"],
            ),
            ("spec.selector.matchLabels = {\"a\":\"b\"}", &[]),
            (
                "spec.selector.matchLabels = {\"a b\":\"c\"}",
                &["spec.selector.matchLabels: Invalid value: \"a b\": {name part}"],
            ),
            ("spec.unhealthyPodEvictionPolicy = AlwaysAllow", &[]),
            (
                "spec.unhealthyPodEvictionPolicy = Never",
                &["spec.unhealthyPodEvictionPolicy: Unsupported value: \"Never\": supported values: \"AlwaysAllow\", \
                   \"IfHealthyBudget\""],
            ),
        ];
        check_create(budgets, &base, rules);
        check_update(budgets, &base, rules);
        assert_eq!(cells(budgets, &base), ["b", "50%", "N/A", "0", "<unknown>"]);
    }

    #[test]
    fn status_rules() {
        let base = json!({ "metadata": { "name": "b" }, "spec": { "minAvailable": 1 } });
        check_status(
            row("policy", "poddisruptionbudgets"),
            &base,
            &[
                ("status.disruptionsAllowed = 1", &[]),
                (
                    "status = {\"disruptionsAllowed\":-1,\"currentHealthy\":-1,\"desiredHealthy\":-1,\"expectedPods\":-1}",
                    &[
                        "status.disruptionsAllowed: Invalid value: -1: must be greater than or equal to 0",
                        "status.currentHealthy: Invalid value: -1: must be greater than or equal to 0",
                        "status.desiredHealthy: Invalid value: -1: must be greater than or equal to 0",
                        "status.expectedPods: Invalid value: -1: must be greater than or equal to 0",
                    ],
                ),
                (
                    "status.conditions = [{\"type\":\"DisruptionAllowed\",\"status\":\"Yes\",\"reason\":\"Enough\",\
                     \"lastTransitionTime\":\"2026-11-20T10:00:00Z\"}]",
                    &[
                        "status.conditions[0].status: Unsupported value: \"Yes\": supported values: \"False\", \"True\", \
                       \"Unknown\"",
                    ],
                ),
            ],
        );
    }
}

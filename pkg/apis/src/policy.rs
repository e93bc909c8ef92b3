//! Rows of `policy`.

use apimachinery::field::{Error, ErrorList, Path};
use apimachinery::{Object, meta::ObjectExt};
use serde_json::Value;

use crate::cells::age;
use crate::check;
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

    use crate::testing::{cells, create_errors, row};

    #[test]
    fn budgets() {
        let budgets = row("policy", "poddisruptionbudgets");
        let object = json!({ "metadata": { "name": "b" }, "spec": { "minAvailable": "50%" } });
        assert_eq!(create_errors(budgets, object.clone()), [""; 0]);
        assert_eq!(cells(budgets, &object), ["b", "50%", "N/A", "0", "<unknown>"]);
        let object = json!({ "metadata": { "name": "b" }, "spec": { "minAvailable": "half" } });
        let want = "spec.minAvailable: Invalid value: \"half\": a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')";
        assert_eq!(create_errors(budgets, object), [want]);
    }
}

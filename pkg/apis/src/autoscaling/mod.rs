//! Rows of `autoscaling`: HorizontalPodAutoscalers, stored as `v2`, served also as `v1`.

mod convert;

use apimachinery::field::{Error, ErrorList, Path};
use apimachinery::{Object, meta::ObjectExt};
use serde_json::{Map, Value, json};

use crate::cells::age;
use crate::check;
use crate::resource::{Column, Resource, Strategy, Subresource};
use crate::tree::{Fill, Tree, spec_mut};

pub const ROWS: &[Resource] = &[Resource {
    short_names: &["hpa"],
    categories: &["all"],
    versions: &["v2", "v1"],
    columns: &[
        Column::NAME,
        Column::text("Reference", "What it scales."),
        Column::text("Targets", "Where the metrics are, and where they should be."),
        Column::text("MinPods", "Fewest replicas."),
        Column::text("MaxPods", "Most replicas."),
        Column::text("Replicas", "Replicas that there are."),
        Column::AGE,
    ],
    cells,
    subresources: &[Subresource::STATUS],
    strategy: Strategy {
        default,
        validate,
        validate_update: |new, _| validate(new),
        convert: convert::convert,
        generation_changed: None,
        ..Strategy::SPEC_STATUS
    },
    ..Resource::namespaced(
        "autoscaling",
        "v2",
        "horizontalpodautoscalers",
        "horizontalpodautoscaler",
        "HorizontalPodAutoscaler",
    )
}];

fn default(scaler: &mut Object) {
    let Some(spec) = spec_mut(scaler) else { return };
    spec.default_value("minReplicas", || 1.into());
    if spec.list("metrics").is_empty() {
        let metric = json!({
            "type": "Resource",
            "resource": { "name": "cpu", "target": { "type": "Utilization", "averageUtilization": 80 } },
        });
        spec.insert("metrics".to_owned(), json!([metric]));
    }
    if let Some(behavior) = spec.sub("behavior") {
        let down = json!([{ "type": "Percent", "value": 100, "periodSeconds": 15 }]);
        let up = json!([
            { "type": "Pods", "value": 4, "periodSeconds": 15 },
            { "type": "Percent", "value": 100, "periodSeconds": 15 },
        ]);
        rules(behavior, "scaleUp", up);
        rules(behavior, "scaleDown", down);
        if let Some(up) = behavior.sub("scaleUp") {
            up.default_value("stabilizationWindowSeconds", || 0.into());
        }
    }
}

fn rules(behavior: &mut Map<String, Value>, direction: &str, policies: Value) {
    let rules = behavior.sub_or_new(direction);
    rules.default_value("selectPolicy", || "Max".into());
    if rules.list("policies").is_empty() {
        rules.insert("policies".to_owned(), policies);
    }
}

fn validate(scaler: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    let (at, spec) = (Path::new("spec"), scaler.field("spec"));
    let (min, max) = (spec.int("minReplicas").unwrap_or(1), spec.int("maxReplicas").unwrap_or(0));
    if min < 1 {
        errors.push(Error::invalid(&at.child("minReplicas"), min, "must be greater than or equal to 1"));
    }
    if max < 1 {
        errors.push(Error::invalid(&at.child("maxReplicas"), max, "must be greater than 0"));
    }
    if max < min {
        errors.push(Error::invalid(&at.child("maxReplicas"), max, "must be greater than or equal to `minReplicas`"));
    }
    let target = spec.field("scaleTargetRef");
    for field in ["kind", "name"] {
        check::required(&mut errors, &at.child("scaleTargetRef"), target, field);
    }
    for (i, metric) in spec.list("metrics").iter().enumerate() {
        validate_metric(&mut errors, &at.child("metrics").index(i), metric);
    }
    behavior(&mut errors, &at.child("behavior"), spec.field("behavior"));
    errors
}

const METRICS: &[(&str, &str)] = &[
    ("ContainerResource", "containerResource"),
    ("External", "external"),
    ("Object", "object"),
    ("Pods", "pods"),
    ("Resource", "resource"),
];

fn validate_metric(errors: &mut ErrorList, at: &Path, metric: &Value) {
    let kind = metric.text("type");
    let Some((_, field)) = METRICS.iter().find(|(name, _)| *name == kind) else {
        let names: Vec<&str> = METRICS.iter().map(|(name, _)| *name).collect();
        match kind {
            "" => errors.push(Error::required(&at.child("type"), "must specify a metric source type")),
            _ => errors.push(Error::not_supported(&at.child("type"), kind, &names)),
        }
        return;
    };
    if !metric.has(field) {
        errors.push(Error::required(&at.child(field), "must populate information for the given metric source"));
        return;
    }
    let (at, source) = (at.child(field), metric.field(field));
    if matches!(kind, "Resource" | "ContainerResource") {
        check::required(errors, &at, source, "name");
    } else {
        check::required(errors, &at.child("metric"), source.field("metric"), "name");
    }
    let at = at.child("target");
    let target = source.field("target");
    if target.text("type").is_empty() {
        errors.push(Error::required(&at.child("type"), "must specify a metric target type"));
    } else {
        check::choice(errors, &at, target, "type", &["AverageValue", "Utilization", "Value"]);
    }
    if let Some(percent) = target.int("averageUtilization").filter(|p| *p < 1) {
        errors.push(Error::invalid(&at.child("averageUtilization"), percent, "must be greater than 0"));
    }
    for field in ["value", "averageValue"] {
        if crate::quantity::parse(target.field(field)).is_some_and(|q| q.is_zero() || q.is_negative()) {
            errors.push(Error::invalid(&at.child(field), target.field(field).clone(), "must be positive"));
        }
    }
}

fn behavior(errors: &mut ErrorList, at: &Path, behavior: &Value) {
    for direction in ["scaleUp", "scaleDown"] {
        let (at, rules) = (at.child(direction), behavior.field(direction));
        check::optional_choice(errors, &at, rules, "selectPolicy", &["Disabled", "Max", "Min"]);
        check::nonnegative(errors, &at, rules, "stabilizationWindowSeconds");
        if let Some(seconds) = rules.int("stabilizationWindowSeconds").filter(|s| *s > 3600) {
            let why = "must be less than or equal to 3600";
            errors.push(Error::invalid(&at.child("stabilizationWindowSeconds"), seconds, why));
        }
        for (i, policy) in rules.list("policies").iter().enumerate() {
            let at = at.child("policies").index(i);
            check::choice(errors, &at, policy, "type", &["Percent", "Pods"]);
            for (field, max) in [("value", i64::MAX), ("periodSeconds", 1800)] {
                let number = policy.int(field).unwrap_or(0);
                if number <= 0 {
                    errors.push(Error::invalid(&at.child(field), number, "must be greater than zero"));
                } else if number > max {
                    let why = format!("must be less than or equal to {max}");
                    errors.push(Error::invalid(&at.child(field), number, why));
                }
            }
        }
    }
}

fn cells(scaler: &Object, now: i64) -> Vec<Value> {
    let (spec, status) = (scaler.field("spec"), scaler.field("status"));
    let target = spec.field("scaleTargetRef");
    let min = spec.int("minReplicas").map_or_else(|| "<unset>".to_owned(), |n| n.to_string());
    vec![
        scaler.name().into(),
        format!("{}/{}", target.text("kind"), target.text("name")).into(),
        targets(spec.list("metrics"), status.list("currentMetrics")).into(),
        min.into(),
        spec.int("maxReplicas").unwrap_or(0).into(),
        status.int("currentReplicas").unwrap_or(0).into(),
        age(scaler, now),
    ]
}

/// `cpu: 10%/80%` for the first two metrics.
fn targets(metrics: &[Value], current: &[Value]) -> String {
    const SHOWN: usize = 2;
    if metrics.is_empty() {
        return "<none>".to_owned();
    }
    let texts: Vec<String> =
        metrics.iter().take(SHOWN).enumerate().map(|(i, m)| one_target(m, current.get(i))).collect();
    match metrics.len().saturating_sub(SHOWN) {
        0 => texts.join(", "),
        more => format!("{} + {more} more...", texts.join(", ")),
    }
}

fn one_target(metric: &Value, current: Option<&Value>) -> String {
    let kind = metric.text("type");
    let Some((_, field)) = METRICS.iter().find(|(name, _)| *name == kind) else { return "<unknown type>".to_owned() };
    let target = metric.field(field).field("target");
    let now = current.map_or(&Value::Null, |c| c.field(field).field("current"));
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let (now, wanted, unit) = if target.has("averageUtilization") {
        (now.field("averageUtilization"), target.field("averageUtilization"), "%")
    } else if target.has("averageValue") {
        (now.field("averageValue"), target.field("averageValue"), "")
    } else {
        (now.field("value"), target.field("value"), "")
    };
    let now = if now.is_null() { "<unknown>".to_owned() } else { format!("{}{unit}", text(now)) };
    let suffix = if target.has("averageValue") && matches!(kind, "External" | "Object") { " (avg)" } else { "" };
    let pair = format!("{now}/{}{unit}{suffix}", text(wanted));
    if matches!(kind, "Resource" | "ContainerResource") {
        format!("{}: {pair}", metric.field(field).text("name"))
    } else {
        pair
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{cells, create_errors, defaulted, row};

    fn scaler() -> Value {
        json!({
            "apiVersion": "autoscaling/v2", "metadata": { "name": "web" },
            "spec": { "scaleTargetRef": { "kind": "Deployment", "name": "web" }, "maxReplicas": 5 },
        })
    }

    #[test]
    fn defaults_and_columns() {
        let hpas = row("autoscaling", "horizontalpodautoscalers");
        let got = defaulted(hpas, scaler());
        assert_eq!(got["spec"]["minReplicas"], 1);
        let want = ["web", "Deployment/web", "cpu: <unknown>/80%", "1", "5", "0", "<unknown>"];
        assert_eq!(cells(hpas, &got), want);
        let mut bad = scaler();
        bad["spec"]["maxReplicas"] = json!(0);
        assert_eq!(
            create_errors(hpas, bad),
            [
                "spec.maxReplicas: Invalid value: 0: must be greater than 0",
                "spec.maxReplicas: Invalid value: 0: must be greater than or equal to `minReplicas`",
            ]
        );
    }
}

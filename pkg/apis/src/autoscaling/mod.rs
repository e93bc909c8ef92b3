//! Rows of `autoscaling`: HorizontalPodAutoscalers, stored as `v2`, served also as `v1`.

mod convert;
mod validate;

use apimachinery::{Object, meta::ObjectExt};
use serde_json::{Map, Value, json};

use crate::cells::age;
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
        validate: validate::new,
        validate_update: validate::update,
        validate_status_update: validate::status,
        convert: convert::convert,
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
    rules.default_value("policies", || policies);
}

/// Names of metric types and their fields, in the order of names.
const METRICS: &[(&str, &str)] = &[
    ("ContainerResource", "containerResource"),
    ("External", "external"),
    ("Object", "object"),
    ("Pods", "pods"),
    ("Resource", "resource"),
];

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
mod tests;

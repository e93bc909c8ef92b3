//! `autoscaling/v1` and `v2`: the older version has a field for the CPU target alone; the rest travels in annotations.

use apimachinery::{Object, meta::ObjectExt, meta::object_mut};
use serde_json::{Map, Value, json};

use crate::strategy::set_api_version;
use crate::tree::{Fill, Tree};

const METRICS: &str = "autoscaling.alpha.kubernetes.io/metrics";
const CURRENT_METRICS: &str = "autoscaling.alpha.kubernetes.io/current-metrics";
const CONDITIONS: &str = "autoscaling.alpha.kubernetes.io/conditions";
const BEHAVIOR: &str = "autoscaling.alpha.kubernetes.io/behavior";

pub fn convert(scaler: &mut Object, api_version: &str) {
    match (scaler.api_version(), api_version) {
        ("autoscaling/v1", "autoscaling/v2") => to_v2(scaler),
        ("autoscaling/v2", "autoscaling/v1") => to_v1(scaler),
        _ => {}
    }
    set_api_version(scaler, api_version);
}

/// Takes an annotation's JSON.
fn take_annotation(scaler: &mut Object, key: &str) -> Option<Value> {
    let metadata = scaler.metadata_mut();
    let annotations = metadata.sub("annotations")?;
    let text = annotations.remove(key)?;
    if annotations.is_empty() {
        metadata.remove("annotations");
    }
    serde_json::from_str(text.as_str()?).ok()
}

fn put_annotation(scaler: &mut Object, key: &str, value: &Value) {
    scaler.metadata_mut().sub_or_new("annotations").insert(key.to_owned(), value.to_string().into());
}

fn to_v2(scaler: &mut Object) {
    let mut metrics = list(take_annotation(scaler, METRICS));
    let mut current = list(take_annotation(scaler, CURRENT_METRICS));
    let conditions = take_annotation(scaler, CONDITIONS);
    let behavior = take_annotation(scaler, BEHAVIOR);
    let root = object_mut(scaler);
    let spec = root.sub_or_new("spec");
    if let Some(percent) = spec.remove("targetCPUUtilizationPercentage").filter(Value::is_number) {
        let target = json!({ "type": "Utilization", "averageUtilization": percent });
        metrics.insert(0, json!({ "type": "Resource", "resource": { "name": "cpu", "target": target } }));
    }
    if !metrics.is_empty() {
        spec.insert("metrics".to_owned(), metrics.into());
    }
    if let Some(behavior) = behavior {
        spec.insert("behavior".to_owned(), behavior);
    }
    let Some(status) = root.sub("status") else { return };
    if let Some(percent) = status.remove("currentCPUUtilizationPercentage").filter(Value::is_number) {
        let now = json!({ "averageUtilization": percent });
        current.insert(0, json!({ "type": "Resource", "resource": { "name": "cpu", "current": now } }));
    }
    if !current.is_empty() {
        status.insert("currentMetrics".to_owned(), current.into());
    }
    if let Some(conditions) = conditions {
        status.insert("conditions".to_owned(), conditions);
    }
}

fn list(value: Option<Value>) -> Vec<Value> {
    match value {
        Some(Value::Array(list)) => list,
        _ => Vec::new(),
    }
}

fn to_v1(scaler: &mut Object) {
    let root = object_mut(scaler);
    let mut rest = Vec::new();
    if let Some(spec) = root.sub("spec") {
        let metrics = list(spec.remove("metrics"));
        split_cpu(spec, metrics, "targetCPUUtilizationPercentage", "target", &mut rest, METRICS);
        if let Some(behavior) = spec.remove("behavior") {
            rest.push((BEHAVIOR, behavior));
        }
    }
    if let Some(status) = root.sub("status") {
        let metrics = list(status.remove("currentMetrics"));
        split_cpu(status, metrics, "currentCPUUtilizationPercentage", "current", &mut rest, CURRENT_METRICS);
        if let Some(conditions) = status.remove("conditions") {
            rest.push((CONDITIONS, conditions));
        }
    }
    for (key, value) in rest {
        put_annotation(scaler, key, &value);
    }
}

/// The CPU percentage goes to its field, the other metrics to an annotation.
fn split_cpu(
    owner: &mut Map<String, Value>,
    metrics: Vec<Value>,
    field: &str,
    side: &str,
    rest: &mut Vec<(&'static str, Value)>,
    key: &'static str,
) {
    let mut others = Vec::new();
    for metric in metrics {
        let percent = metric.field("resource").field(side).field("averageUtilization");
        let is_cpu = metric.text("type") == "Resource" && metric.field("resource").text("name") == "cpu";
        if is_cpu && percent.is_number() && !owner.contains_key(field) {
            owner.insert(field.to_owned(), percent.clone());
        } else {
            others.push(metric);
        }
    }
    if !others.is_empty() {
        rest.push((key, others.into()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        let memory = json!({ "type": "Resource", "resource": { "name": "memory",
            "target": { "type": "AverageValue", "averageValue": "1Gi" } } });
        let cpu = json!({ "type": "Resource", "resource": { "name": "cpu",
            "target": { "type": "Utilization", "averageUtilization": 50 } } });
        let original = json!({
            "apiVersion": "autoscaling/v2", "metadata": { "name": "web" },
            "spec": { "maxReplicas": 3, "metrics": [cpu, memory] },
            "status": { "conditions": [{ "type": "AbleToScale" }] },
        });
        let mut object = original.clone();
        convert(&mut object, "autoscaling/v1");
        assert_eq!(object["spec"], json!({ "maxReplicas": 3, "targetCPUUtilizationPercentage": 50 }));
        assert_eq!(object["metadata"]["annotations"].as_object().map(Map::len), Some(2));
        convert(&mut object, "autoscaling/v2");
        assert_eq!(object, original);
    }
}

//! Amounts by resource name, and what a pod asks for in all.

use std::collections::{BTreeMap, BTreeSet};

use apimachinery::meta::ObjectExt;
use apimachinery::quantity::Quantity;
use serde_json::{Map, Value};

/// `cpu`, `memory`, `example.com/gpu`… to an amount.
pub type Amounts = BTreeMap<String, Quantity>;

/// Reads a ResourceList; what is no quantity is left out (validation refuses it elsewhere).
pub fn amounts(list: Option<&Value>) -> Amounts {
    let list = list.and_then(Value::as_object).into_iter().flatten();
    list.filter_map(|(name, value)| Some((name.clone(), Quantity::from_value(value).ok()?))).collect()
}

pub fn to_value(amounts: &Amounts) -> Value {
    amounts.iter().map(|(name, q)| (name.clone(), Value::from(q.to_string()))).collect::<Map<_, _>>().into()
}

pub fn add(into: &mut Amounts, more: &Amounts) {
    for (name, amount) in more {
        *into.entry(name.clone()).or_default() += *amount;
    }
}

pub fn subtract(from: &mut Amounts, less: &Amounts) {
    for (name, amount) in less {
        *from.entry(name.clone()).or_default() -= *amount;
    }
}

fn raise(into: &mut Amounts, other: &Amounts) {
    for (name, amount) in other {
        let entry = into.entry(name.clone()).or_insert(*amount);
        *entry = (*entry).max(*amount);
    }
}

/// Only the given names.
pub fn mask(amounts: &Amounts, names: &BTreeSet<String>) -> Amounts {
    amounts.iter().filter(|(name, _)| names.contains(*name)).map(|(name, q)| (name.clone(), *q)).collect()
}

/// `cpu=1,memory=2Gi`
pub fn shown(amounts: &Amounts) -> String {
    amounts.iter().map(|(name, amount)| format!("{name}={amount}")).collect::<Vec<_>>().join(",")
}

/// What a pod requests (`field` is `requests`) or is limited to (`limits`): all containers together, or a start-up step that
/// needs more; sidecars count with everything after them; overhead is on top; an amount set for the pod as a whole counts
/// instead of the containers' sum.
pub fn of_pod(pod: &Value, field: &str) -> Amounts {
    let path = format!("resources/{field}");
    let of = |container: &Value| amounts(container.at(&path));
    let mut total = Amounts::new();
    pod.array_at("spec/containers").iter().for_each(|c| add(&mut total, &of(c)));
    let (mut sidecars, mut start_up) = (Amounts::new(), Amounts::new());
    for container in pod.array_at("spec/initContainers") {
        if container.str_at("restartPolicy") == "Always" {
            add(&mut sidecars, &of(container));
            raise(&mut start_up, &sidecars);
        } else {
            let mut step = of(container);
            add(&mut step, &sidecars);
            raise(&mut start_up, &step);
        }
    }
    add(&mut total, &sidecars);
    raise(&mut total, &start_up);
    for (name, amount) in amounts(pod.at(&format!("spec/resources/{field}"))) {
        total.insert(name, amount);
    }
    let mut overhead = amounts(pod.at("spec/overhead"));
    if field == "limits" {
        // Without a limit there is nothing to put overhead on.
        overhead.retain(|name, _| total.get(name).is_some_and(|t| !t.is_zero()));
    }
    add(&mut total, &overhead);
    total
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn pods_sum_up() {
        let container = |cpu: &str| json!({"resources": {"requests": {"cpu": cpu}}});
        let sidecar = |cpu: &str| json!({"restartPolicy": "Always", "resources": {"requests": {"cpu": cpu}}});
        let cases = [
            (json!({"containers": [container("1"), container("500m")]}), "1500m"),
            (json!({"containers": [container("1")], "initContainers": [container("3")]}), "3"),
            (json!({"containers": [container("1")], "initContainers": [sidecar("1")]}), "2"),
            (json!({"containers": [container("1")], "initContainers": [sidecar("1"), container("4")]}), "5"),
            (json!({"containers": [container("1")], "initContainers": [container("4"), sidecar("1")]}), "4"),
            (json!({"containers": [container("1")], "overhead": {"cpu": "250m"}}), "1250m"),
            (json!({"containers": [container("1")], "resources": {"requests": {"cpu": "7"}}}), "7"),
        ];
        for (spec, want) in cases {
            assert_eq!(of_pod(&json!({"spec": spec}), "requests")["cpu"].to_string(), want, "{spec}");
        }
        let limited = json!({"spec": {"containers": [{"resources": {"limits": {"cpu": "1"}}}], "overhead": {"cpu": "1", "memory": "1Gi"}}});
        assert_eq!(shown(&of_pod(&limited, "limits")), "cpu=2");
    }
}

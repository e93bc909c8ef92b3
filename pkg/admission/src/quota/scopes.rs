//! Which objects a quota means.

use apimachinery::meta::ObjectExt;
use serde_json::{Value, json};

use super::usage::counts;
use crate::resources::amounts;

/// True if `quota` (its observed limits) counts anything of this object, by resource and by scope.
pub fn matches(quota: &Value, group: &str, resource: &str, object: &Value) -> bool {
    let hard = amounts(quota.at("status/hard"));
    hard.keys().any(|name| counts(name, group, resource))
        && selectors(quota).iter().all(|selector| in_scope(selector, group, resource, object))
}

/// `scopes` and `scopeSelector` as one list.
fn selectors(quota: &Value) -> Vec<Value> {
    let plain = quota.array_at("spec/scopes").iter();
    let plain = plain.map(|scope| json!({ "scopeName": scope, "operator": "Exists" }));
    plain.chain(quota.array_at("spec/scopeSelector/matchExpressions").iter().cloned()).collect()
}

fn in_scope(selector: &Value, group: &str, resource: &str, object: &Value) -> bool {
    let scope = selector.str_at("scopeName");
    match (group, resource) {
        ("", "pods") => match scope {
            "Terminating" => is_terminating(object),
            "NotTerminating" => !is_terminating(object),
            "BestEffort" => is_best_effort(object),
            "NotBestEffort" => !is_best_effort(object),
            "PriorityClass" => selects(selector, object.str_at("spec/priorityClassName")),
            "CrossNamespacePodAffinity" => has_cross_namespace_affinity(object),
            _ => false,
        },
        ("", "persistentvolumeclaims") if scope == "VolumeAttributesClass" => {
            selects(selector, object.str_at("spec/volumeAttributesClassName"))
        }
        _ => false,
    }
}

/// A label-selector-like test of one text; empty is "not there".
fn selects(selector: &Value, value: &str) -> bool {
    let listed = selector.array_at("values").iter().any(|v| v.as_str() == Some(value));
    match selector.str_at("operator") {
        "Exists" => !value.is_empty(),
        "DoesNotExist" => value.is_empty(),
        "In" => listed,
        "NotIn" => !listed,
        _ => false,
    }
}

fn is_terminating(pod: &Value) -> bool {
    pod.i64_at("spec/activeDeadlineSeconds").is_some_and(|seconds| seconds >= 0)
}

/// No container asks for CPU or memory.
fn is_best_effort(pod: &Value) -> bool {
    let asks = |object: &Value| {
        ["requests", "limits"].iter().any(|field| {
            let amounts = amounts(object.at(&format!("resources/{field}")));
            ["cpu", "memory"].iter().any(|name| amounts.get(*name).is_some_and(|q| !q.is_zero()))
        })
    };
    let mut containers = pod.array_at("spec/containers").iter().chain(pod.array_at("spec/initContainers"));
    !containers.any(asks) && !pod.get("spec").is_some_and(asks)
}

fn has_cross_namespace_affinity(pod: &Value) -> bool {
    let crosses = |term: &Value| {
        !term.array_at("namespaces").is_empty() || term.get("namespaceSelector").is_some_and(|v| !v.is_null())
    };
    ["podAffinity", "podAntiAffinity"].iter().any(|kind| {
        let list = |name: &str| pod.array_at(&format!("spec/affinity/{kind}/{name}"));
        list("requiredDuringSchedulingIgnoredDuringExecution").iter().any(crosses)
            || list("preferredDuringSchedulingIgnoredDuringExecution")
                .iter()
                .any(|weighted| weighted.get("podAffinityTerm").is_some_and(crosses))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_split_pods() {
        let quota = |spec: Value| json!({"spec": spec, "status": {"hard": {"pods": "1"}}});
        let scope = |name: &str| quota(json!({"scopes": [name]}));
        let class = |operator: &str, values: &[&str]| {
            quota(
                json!({"scopeSelector": {"matchExpressions": [{"scopeName": "PriorityClass", "operator": operator, "values": values}]}}),
            )
        };
        let plain = json!({"spec": {"containers": [{}]}});
        let deadline =
            json!({"spec": {"activeDeadlineSeconds": 5, "containers": [{"resources": {"limits": {"cpu": "1"}}}]}});
        let high = json!({"spec": {"priorityClassName": "high", "containers": [{}],
            "affinity": {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{"namespaces": ["x"]}]}}}});
        for (quota, pods) in [
            (quota(json!({})), [true, true, true]),
            (scope("Terminating"), [false, true, false]),
            (scope("NotTerminating"), [true, false, true]),
            (scope("BestEffort"), [true, false, true]),
            (scope("NotBestEffort"), [false, true, false]),
            (scope("CrossNamespacePodAffinity"), [false, false, true]),
            (scope("PriorityClass"), [false, false, true]),
            (class("In", &["high"]), [false, false, true]),
            (class("NotIn", &["high"]), [true, true, false]),
            (class("DoesNotExist", &[]), [true, true, false]),
        ] {
            let got = [&plain, &deadline, &high].map(|pod| matches(&quota, "", "pods", pod));
            assert_eq!(got, pods, "{quota}");
        }
        assert!(!matches(&quota(json!({})), "", "secrets", &plain), "counts no secrets");
    }
}

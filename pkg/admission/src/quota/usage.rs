//! What one object uses of which quota resource.

use std::collections::{BTreeMap, BTreeSet};

use apimachinery::meta::ObjectExt;
use apimachinery::quantity::{Format, Quantity};
use serde_json::Value;

use crate::resources::{Amounts, amounts, of_pod};

/// Kinds whose count has a short name besides `count/<resource>`.
const ALIASED: &[&str] = &[
    "configmaps",
    "persistentvolumeclaims",
    "pods",
    "replicationcontrollers",
    "resourcequotas",
    "secrets",
    "services",
];
/// Quota resources that oblige containers to say what they need.
const OBLIGING: &[&str] = &["cpu", "memory", "requests.cpu", "requests.memory", "limits.cpu", "limits.memory"];
const CLASS_MARK: &str = ".storageclass.storage.k8s.io/";

fn one() -> Quantity {
    Quantity::new(1, Format::DecimalSi)
}

/// `count/pods`, `count/deployments.apps`
fn count_name(group: &str, resource: &str) -> String {
    if group.is_empty() { format!("count/{resource}") } else { format!("count/{resource}.{group}") }
}

/// True if a quota resource is about objects of this kind.
pub fn counts(quota_resource: &str, group: &str, resource: &str) -> bool {
    if quota_resource == count_name(group, resource) {
        return true;
    }
    if !group.is_empty() {
        return false;
    }
    match resource {
        "pods" => is_pod_resource(quota_resource),
        "services" => matches!(quota_resource, "services" | "services.nodeports" | "services.loadbalancers"),
        "persistentvolumeclaims" => {
            matches!(quota_resource, "persistentvolumeclaims" | "requests.storage")
                || quota_resource.contains(CLASS_MARK)
        }
        _ => ALIASED.contains(&resource) && quota_resource == resource,
    }
}

fn is_pod_resource(name: &str) -> bool {
    const PLAIN: &[&str] = &["pods", "cpu", "memory", "ephemeral-storage"];
    const SCOPED: &[&str] = &["cpu", "memory", "ephemeral-storage"];
    if PLAIN.contains(&name) || name.starts_with("hugepages-") {
        return true;
    }
    match name.split_once('.') {
        Some(("limits", rest)) => SCOPED.contains(&rest),
        // Extended resources are quoted by their requests only.
        Some(("requests", rest)) => SCOPED.contains(&rest) || rest.starts_with("hugepages-") || is_extended(rest),
        _ => false,
    }
}

/// A resource of devices: has a domain that is not Kubernetes' own.
fn is_extended(name: &str) -> bool {
    name.split_once('/').is_some_and(|(domain, _)| domain != "kubernetes.io" && !domain.ends_with(".kubernetes.io"))
}

/// The kind (group, plural) whose objects a quota resource counts.
pub fn resources_of(quota_resource: &str) -> Option<(String, String)> {
    if let Some(counted) = quota_resource.strip_prefix("count/") {
        let (resource, group) = counted.split_once('.').unwrap_or((counted, ""));
        return Some((group.to_owned(), resource.to_owned()));
    }
    let found = ALIASED.iter().find(|resource| counts(quota_resource, "", resource))?;
    Some((String::new(), (*found).to_owned()))
}

/// What an object uses. `now` is Unix time: a pod past its end uses only its place among the objects.
pub fn usage(group: &str, resource: &str, object: &Value, now: i64) -> Amounts {
    let mut used = Amounts::from([(count_name(group, resource), one())]);
    if !group.is_empty() {
        return used;
    }
    match resource {
        "pods" if !is_over(object, now) => add_pod(&mut used, object),
        "pods" => {}
        "services" => add_service(&mut used, object),
        "persistentvolumeclaims" => add_claim(&mut used, object),
        _ if ALIASED.contains(&resource) => {
            used.insert(resource.to_owned(), one());
        }
        _ => {}
    }
    used
}

fn is_over(pod: &Value, now: i64) -> bool {
    let terminal = matches!(pod.str_at("status/phase"), "Succeeded" | "Failed");
    // The timestamp is when the grace period ends.
    let deleted = apimachinery::time::parse_seconds(pod.meta_str("deletionTimestamp")).is_some_and(|at| at < now);
    terminal || deleted
}

fn add_pod(used: &mut Amounts, pod: &Value) {
    used.insert("pods".to_owned(), one());
    add_compute(used, &of_pod(pod, "requests"), &of_pod(pod, "limits"));
}

/// Requests under their plain and their scoped name, limits under the scoped one.
fn add_compute(used: &mut Amounts, requests: &Amounts, limits: &Amounts) {
    const SCOPED: &[&str] = &["cpu", "memory", "ephemeral-storage"];
    for (name, amount) in requests {
        if SCOPED.contains(&name.as_str()) || name.starts_with("hugepages-") {
            used.insert(name.clone(), *amount);
            used.insert(format!("requests.{name}"), *amount);
        } else if is_extended(name) {
            used.insert(format!("requests.{name}"), *amount);
        }
    }
    for (name, amount) in limits.iter().filter(|(name, _)| SCOPED.contains(&name.as_str())) {
        used.insert(format!("limits.{name}"), *amount);
    }
}

fn add_service(used: &mut Amounts, service: &Value) {
    let ports = service.array_at("spec/ports");
    let count = |n: usize| Quantity::new(i64::try_from(n).unwrap_or(i64::MAX), Format::DecimalSi);
    let (mut node_ports, mut balancers) = (0, 0);
    match service.str_at("spec/type") {
        "NodePort" => node_ports = ports.len(),
        "LoadBalancer" => {
            balancers = 1;
            let allocates = service.at("spec/allocateLoadBalancerNodePorts").and_then(Value::as_bool) != Some(false);
            let taken = ports.iter().filter(|p| p.i64_at("nodePort").unwrap_or(0) != 0).count();
            node_ports = if allocates { ports.len() } else { taken };
        }
        _ => {}
    }
    used.insert("services".to_owned(), one());
    used.insert("services.nodeports".to_owned(), count(node_ports));
    used.insert("services.loadbalancers".to_owned(), count(balancers));
}

fn add_claim(used: &mut Amounts, claim: &Value) {
    let annotated = claim.annotations().and_then(|a| a.get("volume.beta.kubernetes.io/storage-class"));
    let class = annotated.and_then(Value::as_str).unwrap_or_else(|| claim.str_at("spec/storageClassName"));
    used.insert("persistentvolumeclaims".to_owned(), one());
    if !class.is_empty() {
        used.insert(format!("{class}{CLASS_MARK}persistentvolumeclaims"), one());
    }
    let asked = amounts(claim.at("spec/resources/requests"));
    let allocated = amounts(claim.at("status/allocatedResources"));
    let Some(size) = asked.get("storage").into_iter().chain(allocated.get("storage")).max().copied() else { return };
    used.insert("requests.storage".to_owned(), size);
    if !class.is_empty() {
        used.insert(format!("{class}{CLASS_MARK}requests.storage"), size);
    }
}

/// What `objects` use together of the `hard` resources of a quota; a resource that nobody uses is zero.
pub fn used_by<'a>(
    group: &str,
    resource: &str,
    objects: impl IntoIterator<Item = &'a Value>,
    hard: &BTreeSet<String>,
    now: i64,
) -> Amounts {
    let zero = |name: &String| (name.clone(), Quantity::ZERO);
    let mut used: Amounts = hard.iter().filter(|name| counts(name, group, resource)).map(zero).collect();
    for object in objects {
        for (name, amount) in usage(group, resource, object, now) {
            if let Some(total) = used.get_mut(&name) {
                *total += amount;
            }
        }
    }
    used
}

/// Why a pod cannot be counted: a quota on compute resources obliges every container to say what it needs.
pub fn missing_constraints(pod: &Value, hard: &BTreeSet<String>) -> Option<String> {
    // An amount for the pod as a whole needs none of its containers.
    let whole = |field: &str| pod.at(&format!("spec/resources/{field}")).is_some_and(|v| !v.is_null());
    if whole("requests") || whole("limits") {
        return None;
    }
    let required: Vec<&String> = hard.iter().filter(|name| OBLIGING.contains(&name.as_str())).collect();
    let mut missing: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for container in pod.array_at("spec/containers").iter().chain(pod.array_at("spec/initContainers")) {
        let mut has = Amounts::new();
        add_compute(&mut has, &amounts(container.at("resources/requests")), &amounts(container.at("resources/limits")));
        for name in required.iter().filter(|name| !has.contains_key(**name)) {
            missing.entry(name.as_str()).or_default().insert(container.str_at("name"));
        }
    }
    let part = |(name, containers): (&str, BTreeSet<&str>)| {
        format!("{name} for: {}", containers.into_iter().collect::<Vec<_>>().join(","))
    };
    let parts: Vec<String> = missing.into_iter().map(part).collect();
    (!parts.is_empty()).then(|| format!("must specify {}", parts.join("; ")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::resources::shown;

    #[test]
    fn objects_use_what_upstream_counts() {
        let pod = json!({"spec": {"containers": [{"resources": {
            "requests": {"cpu": "1", "memory": "1Gi", "example.com/gpu": "2"}, "limits": {"cpu": "2", "example.com/gpu": "2"}}}]}});
        let mut done = pod.clone();
        done["status"] = json!({"phase": "Succeeded"});
        let mut deleted = pod.clone();
        deleted["metadata"] = json!({"deletionTimestamp": "2026-01-01T00:00:00Z"});
        let cases = [
            (
                "",
                "pods",
                &pod,
                "count/pods=1,cpu=1,limits.cpu=2,memory=1Gi,pods=1,requests.cpu=1,requests.example.com/gpu=2,requests.memory=1Gi",
            ),
            ("", "pods", &done, "count/pods=1"),
            ("", "pods", &deleted, "count/pods=1"),
            ("", "secrets", &json!({}), "count/secrets=1,secrets=1"),
            ("apps", "deployments", &json!({}), "count/deployments.apps=1"),
            ("", "endpoints", &json!({}), "count/endpoints=1"),
            (
                "",
                "services",
                &json!({"spec": {"type": "ClusterIP", "ports": [{}]}}),
                "count/services=1,services=1,services.loadbalancers=0,services.nodeports=0",
            ),
            (
                "",
                "services",
                &json!({"spec": {"type": "NodePort", "ports": [{}, {}]}}),
                "count/services=1,services=1,services.loadbalancers=0,services.nodeports=2",
            ),
            (
                "",
                "services",
                &json!({"spec": {"type": "LoadBalancer", "allocateLoadBalancerNodePorts": false, "ports": [{"nodePort": 1}, {}]}}),
                "count/services=1,services=1,services.loadbalancers=1,services.nodeports=1",
            ),
            (
                "",
                "persistentvolumeclaims",
                &json!({"spec": {"storageClassName": "gold", "resources": {"requests": {"storage": "1Gi"}}}}),
                "count/persistentvolumeclaims=1,gold.storageclass.storage.k8s.io/persistentvolumeclaims=1,gold.storageclass.storage.k8s.io/requests.storage=1Gi,persistentvolumeclaims=1,requests.storage=1Gi",
            ),
        ];
        let now = 1_900_000_000;
        for (group, resource, object, want) in cases {
            let got = usage(group, resource, object, now);
            assert_eq!(shown(&got), want, "{resource}");
            assert!(got.keys().all(|name| counts(name, group, resource)), "{got:?}");
        }
    }

    #[test]
    fn quota_resources_lead_to_kinds() {
        for (name, want) in [
            ("pods", Some(("", "pods"))),
            ("limits.memory", Some(("", "pods"))),
            ("requests.example.com/gpu", Some(("", "pods"))),
            ("count/deployments.apps", Some(("apps", "deployments"))),
            ("count/jobs.batch", Some(("batch", "jobs"))),
            ("services.nodeports", Some(("", "services"))),
            ("gold.storageclass.storage.k8s.io/requests.storage", Some(("", "persistentvolumeclaims"))),
            ("limits.example.com/gpu", None),
            ("widgets", None),
        ] {
            let want = want.map(|(g, r)| (g.to_owned(), r.to_owned()));
            assert_eq!(resources_of(name), want, "{name}");
        }
    }

    #[test]
    fn containers_must_say_what_they_need() {
        let pod = json!({"spec": {"containers": [{"name": "b"}, {"name": "a"}, {"name": "c", "resources": {"requests": {"cpu": "1"}}}]}});
        let hard = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<BTreeSet<_>>();
        let text = missing_constraints(&pod, &hard(&["cpu", "limits.memory", "pods"])).unwrap();
        assert_eq!(text, "must specify cpu for: a,b; limits.memory for: a,b,c");
        assert_eq!(missing_constraints(&pod, &hard(&["pods"])), None);
    }
}

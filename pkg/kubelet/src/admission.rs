//! The node's own last word on a pod that was bound to it: does it fit, do its ports, does it belong here?

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{NodeSelectorRequirement, NodeSelectorTerm, Pod};

use crate::node::Resources;
use crate::pod::PodExt as _;
use crate::resources;
use crate::status::PodFailure;

/// What the judgement needs to know of the node.
#[derive(Clone, Debug)]
pub struct NodeView {
    pub name: String,
    pub labels: BTreeMap<String, String>,
    pub allocatable: Resources,
    pub max_pods: u32,
}

/// `Err` with upstream's reason and text if the pod cannot run beside `others`.
pub fn admit(pod: &Pod, others: &[Arc<Pod>], node: &NodeView) -> Result<(), PodFailure> {
    fits(pod, others, node)?;
    if !matches_node(pod, node) {
        return Err(predicate("NodeAffinity"));
    }
    if ports_conflict(pod, others) {
        return Err(predicate("NodePorts"));
    }
    check_sysctls(pod)?;
    if let Some(os) = pod.pod_spec().os.as_ref().filter(|os| os.name != "linux") {
        let message = format!("Failed to admit pod as the OS field doesn't match node OS: {}", os.name);
        return Err(PodFailure { reason: "PodOSNotSupported".to_owned(), message });
    }
    Ok(())
}

/// Why the node takes no pod on while the machine goes down.
pub fn going_down() -> PodFailure {
    let message = "Pod was rejected as the node is shutting down.".to_owned();
    PodFailure { reason: "NodeShutdown".to_owned(), message }
}

fn predicate(name: &str) -> PodFailure {
    PodFailure { reason: name.to_owned(), message: format!("Predicate {name} failed") }
}

/// Whether what the pod asks for is free.
pub fn fits(pod: &Pod, others: &[Arc<Pod>], node: &NodeView) -> Result<(), PodFailure> {
    let short = |resource: &str, requested: i64, used: i64, capacity: i64| {
        let message = format!(
            "Node didn't have enough resource: {resource}, requested: {requested}, used: {used}, capacity: {capacity}"
        );
        Err(PodFailure { reason: format!("OutOf{resource}"), message })
    };
    let count = i64::try_from(others.len()).unwrap_or(i64::MAX);
    if count >= i64::from(node.max_pods) {
        return short("pods", 1, count, i64::from(node.max_pods));
    }
    let capacity = |name: &str| match name {
        "cpu" => node.allocatable.cpu_milli,
        "memory" => node.allocatable.memory,
        _ => node.allocatable.ephemeral_storage,
    };
    for name in ["cpu", "memory", "ephemeral-storage"] {
        let scale = if name == "cpu" { 1 } else { 1000 };
        let of = |pod: &Pod| resources::pod_request_milli(pod.pod_spec(), name) / scale;
        let (requested, used) = (of(pod), others.iter().map(|p| of(p)).sum::<i64>());
        if requested > 0 && requested + used > capacity(name) {
            return short(name, requested, used, capacity(name));
        }
    }
    Ok(())
}

/// Kernel parameters that are the pod's own and harm nobody else.
const SAFE_SYSCTLS: [&str; 12] = [
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.ping_group_range",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_wmem",
];

fn check_sysctls(pod: &Pod) -> Result<(), PodFailure> {
    let sysctls = pod.pod_spec().security_context.as_ref().and_then(|s| s.sysctls.as_ref());
    for sysctl in sysctls.into_iter().flatten() {
        let name = sysctl.name.replace('/', ".");
        let refusal = if !SAFE_SYSCTLS.contains(&name.as_str()) {
            "not allowlisted"
        } else if pod.host_network() && name.starts_with("net.") {
            "not allowed with host net enabled"
        } else {
            continue;
        };
        let message = format!("forbidden sysctl: {:?} {refusal}", sysctl.name);
        return Err(PodFailure { reason: "SysctlForbidden".to_owned(), message });
    }
    Ok(())
}

fn matches_node(pod: &Pod, node: &NodeView) -> bool {
    let spec = pod.pod_spec();
    let selected = spec.node_selector.iter().flatten().all(|(key, value)| node.labels.get(key) == Some(value));
    let affinity = spec.affinity.as_ref().and_then(|a| a.node_affinity.as_ref());
    let required = affinity.and_then(|a| a.required_during_scheduling_ignored_during_execution.as_ref());
    selected && required.is_none_or(|r| r.node_selector_terms.iter().any(|term| term_matches(term, node)))
}

fn term_matches(term: &NodeSelectorTerm, node: &NodeView) -> bool {
    let by_label = term.match_expressions.as_deref().unwrap_or_default();
    let by_field = term.match_fields.as_deref().unwrap_or_default();
    // A term without requirements matches nothing.
    if by_label.is_empty() && by_field.is_empty() {
        return false;
    }
    let label = |r: &NodeSelectorRequirement| requirement_matches(r, node.labels.get(&r.key).map(String::as_str));
    let field =
        |r: &NodeSelectorRequirement| requirement_matches(r, (r.key == "metadata.name").then_some(node.name.as_str()));
    by_label.iter().all(label) && by_field.iter().all(field)
}

fn requirement_matches(requirement: &NodeSelectorRequirement, value: Option<&str>) -> bool {
    let values = requirement.values.as_deref().unwrap_or_default();
    let listed = value.is_some_and(|v| values.iter().any(|w| w == v));
    let compare = |order: std::cmp::Ordering| {
        let number = |text: &str| text.parse::<i64>().ok();
        let bound = values.first().and_then(|v| number(v));
        value.and_then(number).zip(bound).is_some_and(|(have, bound)| have.cmp(&bound) == order)
    };
    match requirement.operator.as_str() {
        "In" => listed,
        "NotIn" => !listed,
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        "Gt" => compare(std::cmp::Ordering::Greater),
        "Lt" => compare(std::cmp::Ordering::Less),
        _ => false,
    }
}

/// (protocol, address, port) on the host.
fn host_ports(pod: &Pod) -> Vec<(String, String, i32)> {
    let spec = pod.pod_spec();
    let ports =
        spec.containers.iter().chain(spec.init_containers.iter().flatten().filter(|c| crate::pod::is_sidecar(c)));
    ports
        .flat_map(|c| c.ports.iter().flatten())
        .filter_map(|port| {
            let number = port.host_port.filter(|p| *p > 0)?;
            let address = port.host_ip.clone().filter(|ip| !ip.is_empty()).unwrap_or_else(|| "0.0.0.0".to_owned());
            Some((port.protocol.clone().unwrap_or_else(|| "TCP".to_owned()), address, number))
        })
        .collect()
}

fn ports_conflict(pod: &Pod, others: &[Arc<Pod>]) -> bool {
    let wanted = host_ports(pod);
    let taken: Vec<_> = others.iter().flat_map(|p| host_ports(p)).collect();
    let clash = |a: &(String, String, i32), b: &(String, String, i32)| {
        a.0 == b.0 && a.2 == b.2 && (a.1 == b.1 || a.1 == "0.0.0.0" || b.1 == "0.0.0.0")
    };
    wanted.iter().any(|w| taken.iter().any(|t| clash(w, t)))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(spec: Value) -> Pod {
        serde_json::from_value(json!({ "spec": spec })).expect("a pod")
    }

    fn judge(spec: Value, others: &[Value]) -> String {
        let node = NodeView {
            name: "n1".into(),
            labels: BTreeMap::from([("zone".into(), "a".into()), ("size".into(), "5".into())]),
            allocatable: Resources { cpu_milli: 2000, memory: 1 << 30, ephemeral_storage: 1 << 30 },
            max_pods: 3,
        };
        let others: Vec<Arc<Pod>> = others.iter().map(|s| Arc::new(pod(s.clone()))).collect();
        admit(&pod(spec), &others, &node).map_or_else(|f| format!("{}: {}", f.reason, f.message), |()| String::new())
    }

    fn cpu(value: &str) -> Value {
        json!({"containers": [{"name": "c", "resources": {"requests": {"cpu": value}}}]})
    }

    #[test]
    fn resources_must_fit() {
        assert_eq!(judge(cpu("1"), &[cpu("1")]), "");
        assert_eq!(
            judge(cpu("1500m"), &[cpu("1")]),
            "OutOfcpu: Node didn't have enough resource: cpu, requested: 1500, used: 1000, capacity: 2000"
        );
        let many = vec![json!({"containers": []}); 3];
        assert!(judge(json!({"containers": []}), &many).starts_with("OutOfpods: "));
    }

    #[test]
    fn selectors_and_affinity_must_match() {
        let affinity = |key: &str, operator: &str, values: Value| {
            json!({"containers": [], "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution":
                {"nodeSelectorTerms": [{"matchExpressions": [{"key": key, "operator": operator, "values": values}]}]}}}})
        };
        let bad = "NodeAffinity: Predicate NodeAffinity failed";
        assert_eq!(judge(json!({"containers": [], "nodeSelector": {"zone": "a"}}), &[]), "");
        assert_eq!(judge(json!({"containers": [], "nodeSelector": {"zone": "b"}}), &[]), bad);
        assert_eq!(judge(affinity("zone", "In", json!(["a", "b"])), &[]), "");
        assert_eq!(judge(affinity("zone", "NotIn", json!(["a"])), &[]), bad);
        assert_eq!(judge(affinity("size", "Gt", json!(["4"])), &[]), "");
        assert_eq!(judge(affinity("size", "Lt", json!(["5"])), &[]), bad);
        assert_eq!(judge(affinity("nope", "DoesNotExist", json!([])), &[]), "");
    }

    #[test]
    fn only_safe_sysctls_pass() {
        let sysctl =
            |name: &str| json!({"containers": [], "securityContext": {"sysctls": [{"name": name, "value": "1"}]}});
        assert_eq!(judge(sysctl("kernel.shm_rmid_forced"), &[]), "");
        let refused = "SysctlForbidden: forbidden sysctl: \"kernel.msgmax\" not allowlisted";
        assert_eq!(judge(sysctl("kernel.msgmax"), &[]), refused);
    }

    #[test]
    fn host_ports_must_be_free() {
        let port = |ip: &str, port: i32| json!({"containers": [{"name": "c", "ports": [{"containerPort": 1, "hostPort": port, "hostIP": ip}]}]});
        assert_eq!(judge(port("", 80), &[port("", 81)]), "");
        assert_eq!(judge(port("", 80), &[port("1.2.3.4", 80)]), "NodePorts: Predicate NodePorts failed");
        assert_eq!(judge(port("1.2.3.5", 80), &[port("1.2.3.4", 80)]), "");
    }
}

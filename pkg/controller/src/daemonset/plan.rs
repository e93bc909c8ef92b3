//! Which nodes a DaemonSet's pods belong on, and which pods have to come and go, without I/O.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use apimachinery::intstr::IntOrString;
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{DaemonSet, DaemonSetStatus};
use k8s_openapi::api::core::v1::{
    Affinity, Node, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, PodSpec, PodTemplateSpec, Toleration,
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString as WireIntOrString;

use crate::history::HASH_LABEL;
use crate::node::tolerates;
use crate::pod::SlimPod;

/// Taints that a daemon's pods live with, by key and effect.
const TOLERATED: [(&str, &str); 6] = [
    ("node.kubernetes.io/not-ready", "NoExecute"),
    ("node.kubernetes.io/unreachable", "NoExecute"),
    ("node.kubernetes.io/disk-pressure", "NoSchedule"),
    ("node.kubernetes.io/memory-pressure", "NoSchedule"),
    ("node.kubernetes.io/pid-pressure", "NoSchedule"),
    ("node.kubernetes.io/unschedulable", "NoSchedule"),
];
const NODE_NAME: &str = "metadata.name";

/// The template with what every pod of a daemon gets.
pub(super) fn daemon_template(set: &DaemonSet, hash: &str) -> PodTemplateSpec {
    let mut template = set.spec.template.clone();
    let labels = template.metadata.get_or_insert_default().labels.get_or_insert_default();
    labels.insert(HASH_LABEL.into(), hash.into());
    let spec = template.spec.get_or_insert_default();
    let host_network = spec.host_network == Some(true);
    let network = host_network.then_some(("node.kubernetes.io/network-unavailable", "NoSchedule"));
    let tolerations = spec.tolerations.get_or_insert_default();
    for (key, effect) in TOLERATED.into_iter().chain(network) {
        let toleration = Toleration {
            key: Some(key.into()),
            operator: Some("Exists".into()),
            effect: Some(effect.into()),
            ..Toleration::default()
        };
        if !tolerations.contains(&toleration) {
            tolerations.push(toleration);
        }
    }
    template
}

/// Pins a pod to one node, in place of what the template says about node names.
pub(super) fn pin(spec: &mut PodSpec, node: &str) {
    let field =
        NodeSelectorRequirement { key: NODE_NAME.into(), operator: "In".into(), values: Some(vec![node.into()]) };
    let affinity = spec.affinity.get_or_insert_with(Affinity::default).node_affinity.get_or_insert_default();
    let required = &mut affinity.required_during_scheduling_ignored_during_execution;
    let terms = required.take().map(|selector| selector.node_selector_terms).unwrap_or_default();
    let terms = if terms.is_empty() { vec![NodeSelectorTerm::default()] } else { terms };
    let pinned = terms.into_iter().map(|term| NodeSelectorTerm { match_fields: Some(vec![field.clone()]), ..term });
    *required = Some(NodeSelector { node_selector_terms: pinned.collect() });
}

/// Whether a pod should be made for the node, and whether one that is there may stay.
pub(super) fn should_run(template: &PodTemplateSpec, node: &Node) -> (bool, bool) {
    let Some(spec) = &template.spec else { return (false, false) };
    let name = node.metadata.name.as_deref().unwrap_or("");
    let named = spec.node_name.as_deref().is_none_or(|wanted| wanted.is_empty() || wanted == name);
    if !named || !matches_affinity(spec, node) {
        return (false, false);
    }
    let tolerations = spec.tolerations.as_deref().unwrap_or_default();
    let taints = node.spec.as_ref().and_then(|spec| spec.taints.as_deref()).unwrap_or_default();
    let untolerated = |effect: &str| {
        taints.iter().any(|taint| taint.effect == effect && !tolerations.iter().any(|t| tolerates(t, taint)))
    };
    (!untolerated("NoSchedule") && !untolerated("NoExecute"), !untolerated("NoExecute"))
}

fn matches_affinity(spec: &PodSpec, node: &Node) -> bool {
    let labels = node.metadata.labels.as_ref();
    let label = |key: &str| labels.and_then(|labels| labels.get(key)).map(String::as_str);
    let selector = spec.node_selector.iter().flatten().all(|(key, value)| label(key) == Some(value));
    let affinity = spec.affinity.as_ref().and_then(|affinity| affinity.node_affinity.as_ref());
    let required = affinity.and_then(|a| a.required_during_scheduling_ignored_during_execution.as_ref());
    let name = node.metadata.name.as_deref();
    let field = |key: &str| if key == NODE_NAME { name } else { None };
    let term = |term: &NodeSelectorTerm| {
        let expressions = term.match_expressions.iter().flatten();
        let fields = term.match_fields.iter().flatten();
        let empty = expressions.clone().next().is_none() && fields.clone().next().is_none();
        !empty
            && expressions.into_iter().all(|r| requirement(r, label(&r.key)))
            && fields.into_iter().all(|r| requirement(r, field(&r.key)))
    };
    selector && required.is_none_or(|required| required.node_selector_terms.iter().any(term))
}

fn requirement(requirement: &NodeSelectorRequirement, value: Option<&str>) -> bool {
    let values = requirement.values.as_deref().unwrap_or_default();
    let number = |text: &str| text.parse::<i64>().ok();
    match requirement.operator.as_str() {
        "In" => value.is_some_and(|value| values.iter().any(|v| v == value)),
        "NotIn" => !value.is_some_and(|value| values.iter().any(|v| v == value)),
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        operator => match (value.and_then(number), values.first().and_then(|v| number(v))) {
            (Some(have), Some(want)) if operator == "Gt" => have > want,
            (Some(have), Some(want)) if operator == "Lt" => have < want,
            _ => false,
        },
    }
}

/// The node that a pod is on, or is meant for.
pub(super) fn node_of(pod: &SlimPod) -> &str {
    if pod.node_name.is_empty() { &pod.target_node } else { &pod.node_name }
}

pub(super) type ByNode = BTreeMap<String, Vec<Arc<SlimPod>>>;

pub(super) fn by_node(pods: &[Arc<SlimPod>]) -> ByNode {
    let mut by_node = ByNode::new();
    for pod in pods {
        by_node.entry(node_of(pod).to_owned()).or_default().push(pod.clone());
    }
    by_node
}

#[derive(Debug, Default)]
pub(super) struct Plan {
    /// Nodes that lack a pod.
    pub create: Vec<String>,
    pub delete: Vec<Arc<SlimPod>>,
    /// Of `delete`, those that ended by themselves: node and whether they failed.
    pub ended: Vec<(Arc<SlimPod>, bool)>,
}

/// Pods where they are missing, and none where they do not belong.
pub(super) fn manage(template: &PodTemplateSpec, nodes: &[Arc<Node>], pods: &ByNode) -> Plan {
    let mut plan = Plan::default();
    let known: HashMap<&str, &Arc<Node>> =
        nodes.iter().map(|n| (n.metadata.name.as_deref().unwrap_or(""), n)).collect();
    for node in nodes {
        let name = node.metadata.name.as_deref().unwrap_or("");
        let here = pods.get(name).map(Vec::as_slice).unwrap_or_default();
        let (should, may_stay) = should_run(template, node);
        let (ended, alive): (Vec<_>, Vec<_>) =
            here.iter().filter(|pod| !pod.is_deleting()).cloned().partition(|p| p.is_finished());
        if !may_stay {
            plan.delete.extend(alive.into_iter().chain(ended));
            continue;
        }
        for pod in ended {
            plan.ended.push((pod.clone(), pod.phase == "Failed"));
            plan.delete.push(pod);
        }
        if should && here.is_empty() {
            plan.create.push(name.to_owned());
        }
        // The oldest of several stays.
        let mut alive = alive;
        alive.sort_by_key(|pod| (pod.node_name.is_empty(), pod.created, pod.name.clone()));
        plan.delete.extend(alive.into_iter().skip(1));
    }
    for (node, lost) in pods {
        if !known.contains_key(node.as_str()) {
            plan.delete.extend(lost.iter().filter(|pod| !pod.is_deleting()).cloned());
        }
    }
    plan
}

pub(super) fn is_of(pod: &SlimPod, hash: &str) -> bool {
    pod.label(HASH_LABEL) == Some(hash)
}

fn scaled(value: Option<&WireIntOrString>, default: i32, total: usize) -> i64 {
    let value = match value {
        None => return default.into(),
        Some(WireIntOrString::Int(number)) => return (*number).into(),
        Some(WireIntOrString::String(text)) => IntOrString::String(text.clone()),
    };
    value.scaled(i64::try_from(total).unwrap_or(i64::MAX), true).unwrap_or(1)
}

/// Old pods that may go now in a rolling update, and nodes that may get a second pod beside an old one.
pub(super) fn roll(set: &DaemonSet, wanted_nodes: &[String], pods: &ByNode, hash: &str, now: Timestamp) -> Plan {
    let mut plan = Plan::default();
    let strategy = set.spec.update_strategy.as_ref();
    if strategy.and_then(|s| s.type_.as_deref()).is_some_and(|kind| kind != "RollingUpdate") {
        return plan;
    }
    let rolling = strategy.and_then(|strategy| strategy.rolling_update.as_ref());
    let surge = scaled(rolling.and_then(|r| r.max_surge.as_ref()), 0, wanted_nodes.len());
    let unavailable = scaled(rolling.and_then(|r| r.max_unavailable.as_ref()), 1, wanted_nodes.len());
    let min_ready = set.spec.min_ready_seconds.unwrap_or(0);
    let (mut gone, mut candidates) = (0_i64, Vec::new());
    let (mut surging, mut may_surge) = (0_i64, Vec::new());
    for node in wanted_nodes {
        let here = pods.get(node).map(Vec::as_slice).unwrap_or_default();
        let new = here.iter().find(|pod| is_of(pod, hash) && !pod.is_deleting());
        let old = here.iter().find(|pod| !is_of(pod, hash) && pod.is_active());
        let available = |pod: &Arc<SlimPod>| pod.is_available(min_ready, now);
        match (new, old) {
            (Some(new), Some(old)) if available(new) => plan.delete.push(old.clone()),
            (Some(_), Some(_)) => surging += 1,
            (Some(new), None) => gone += i64::from(!available(new)),
            (None, None) => gone += 1,
            // One that does not serve goes without loss.
            (None, Some(old)) if !available(old) && surge == 0 => plan.delete.push(old.clone()),
            (None, Some(old)) if surge == 0 => candidates.push(old.clone()),
            (None, Some(_)) => may_surge.push(node.clone()),
        }
    }
    if surge == 0 {
        let replaced = i64::try_from(plan.delete.len()).unwrap_or(0);
        let room = usize::try_from((unavailable - gone - replaced).max(0)).unwrap_or(0);
        plan.delete.extend(candidates.into_iter().take(room));
    } else {
        let room = usize::try_from((surge - surging).max(0)).unwrap_or(0);
        plan.create.extend(may_surge.into_iter().take(room));
    }
    plan
}

pub(super) fn status(
    set: &DaemonSet,
    template: &PodTemplateSpec,
    nodes: &[Arc<Node>],
    pods: &ByNode,
    hash: &str,
    now: Timestamp,
) -> DaemonSetStatus {
    let mut status = DaemonSetStatus {
        observed_generation: set.metadata.generation,
        collision_count: set.status.as_ref().and_then(|status| status.collision_count),
        conditions: set.status.as_ref().and_then(|status| status.conditions.clone()),
        ..DaemonSetStatus::default()
    };
    let (mut available, mut updated) = (0, 0);
    for node in nodes {
        let here = pods.get(node.metadata.name.as_deref().unwrap_or("")).map(Vec::as_slice).unwrap_or_default();
        let (should, _) = should_run(template, node);
        if !should {
            status.number_misscheduled += i32::from(!here.is_empty());
            continue;
        }
        status.desired_number_scheduled += 1;
        if here.is_empty() {
            continue;
        }
        status.current_number_scheduled += 1;
        // The oldest speaks for the node, unless a newer one serves already.
        let mut alive: Vec<_> = here.iter().filter(|pod| !pod.is_deleting()).collect();
        alive.sort_by_key(|pod| (!pod.is_ready(), pod.created));
        let Some(pod) = alive.first() else { continue };
        status.number_ready += i32::from(pod.is_ready());
        available += i32::from(pod.is_available(set.spec.min_ready_seconds.unwrap_or(0), now));
        updated += i32::from(alive.iter().any(|pod| is_of(pod, hash)));
    }
    let nonzero = |number: i32| (number != 0).then_some(number);
    status.number_available = nonzero(available);
    status.updated_number_scheduled = nonzero(updated);
    status.number_unavailable = nonzero(status.desired_number_scheduled - available);
    status
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn node(name: &str, labels: Value, taints: Value) -> Arc<Node> {
        let node = json!({ "metadata": { "name": name, "labels": labels }, "spec": { "taints": taints } });
        Arc::new(serde_json::from_value(node).unwrap())
    }

    fn set(spec: Value, strategy: Value) -> DaemonSet {
        serde_json::from_value(json!({ "metadata": { "name": "d" }, "spec": { "selector": {}, "template": { "spec": spec }, "updateStrategy": strategy } }))
            .unwrap()
    }

    fn pod(name: &str, node: &str, hash: &str, phase: &str, ready: bool) -> Arc<SlimPod> {
        let ready = json!([{ "type": "Ready", "status": if ready { "True" } else { "False" }, "lastTransitionTime": "2026-01-01T00:00:00Z" }]);
        let pod = json!({ "metadata": { "name": name, "uid": name, "labels": { HASH_LABEL: hash } },
            "spec": { "nodeName": node }, "status": { "phase": phase, "conditions": ready } });
        Arc::new(serde_json::from_value(pod).unwrap())
    }

    fn names(pods: &[Arc<SlimPod>]) -> Vec<&str> {
        pods.iter().map(|pod| pod.name.as_str()).collect()
    }

    #[test]
    fn runs_where_it_fits_and_is_tolerated() {
        let set = set(json!({ "containers": [], "nodeSelector": { "os": "linux" } }), json!({}));
        let template = daemon_template(&set, "h");
        let linux = json!({ "os": "linux" });
        let taint = |key: &str, effect: &str| json!([{ "key": key, "effect": effect }]);
        for (node, wanted) in [
            (node("a", linux.clone(), json!([])), (true, true)),
            (node("a", json!({}), json!([])), (false, false)),
            (node("a", linux.clone(), taint("x", "NoSchedule")), (false, true)),
            (node("a", linux.clone(), taint("x", "NoExecute")), (false, false)),
            (node("a", linux.clone(), taint("x", "PreferNoSchedule")), (true, true)),
            (node("a", linux.clone(), taint("node.kubernetes.io/unschedulable", "NoSchedule")), (true, true)),
            (node("a", linux, taint("node.kubernetes.io/not-ready", "NoExecute")), (true, true)),
        ] {
            assert_eq!(should_run(&template, &node), wanted, "{node:?}");
        }
    }

    #[test]
    fn pins_keep_other_requirements() {
        let spec = json!({ "containers": [], "affinity": { "nodeAffinity": { "requiredDuringSchedulingIgnoredDuringExecution": {
            "nodeSelectorTerms": [{ "matchExpressions": [{ "key": "a", "operator": "Exists" }], "matchFields": [{ "key": "metadata.name", "operator": "In", "values": ["old"] }] }] } } } });
        let mut spec: PodSpec = serde_json::from_value(spec).unwrap();
        pin(&mut spec, "n1");
        let text = serde_json::to_string(&spec.affinity).unwrap();
        assert!(text.contains("n1") && text.contains("\"a\"") && !text.contains("old"), "{text}");
        let pod: SlimPod =
            serde_json::from_value(json!({ "metadata": {}, "spec": serde_json::to_value(&spec).unwrap() })).unwrap();
        assert_eq!(node_of(&pod), "n1");
    }

    #[test]
    fn one_pod_a_node_and_none_elsewhere() {
        let set = set(json!({ "containers": [] }), json!({}));
        let nodes = [
            node("a", json!({}), json!([])),
            node("b", json!({}), json!([])),
            node("c", json!({}), json!([{ "key": "x", "effect": "NoExecute" }])),
        ];
        let pods = [
            pod("b1", "b", "h", "Running", true),
            pod("b2", "b", "h", "Running", true),
            pod("c1", "c", "h", "Running", true),
            pod("lost", "gone", "h", "Running", true),
        ];
        let plan = manage(&daemon_template(&set, "h"), &nodes, &by_node(&pods));
        assert_eq!((plan.create, names(&plan.delete)), (vec!["a".to_owned()], vec!["b2", "c1", "lost"]));
        let plan = manage(&daemon_template(&set, "h"), &nodes[..1], &by_node(&[pod("a1", "a", "h", "Failed", false)]));
        assert_eq!(
            (plan.create.len(), names(&plan.delete), plan.ended[0].1),
            (0, vec!["a1"], true),
            "first it goes, then another comes"
        );
        let status = status(&set, &daemon_template(&set, "h"), &nodes, &by_node(&pods), "h", Timestamp::now());
        assert_eq!(
            (status.desired_number_scheduled, status.current_number_scheduled, status.number_misscheduled),
            (2, 1, 1)
        );
        assert_eq!((status.number_ready, status.number_unavailable), (1, Some(1)));
    }

    #[test]
    fn rolls_a_few_at_a_time() {
        let nodes: Vec<String> = ["a", "b", "c"].map(String::from).into();
        let now = Timestamp::now();
        let old = |n: &str, ready: bool| pod(&format!("old-{n}"), n, "old", "Running", ready);
        let new = |n: &str, ready: bool| pod(&format!("new-{n}"), n, "new", "Running", ready);
        let one = set(json!({}), json!({ "type": "RollingUpdate", "rollingUpdate": { "maxUnavailable": 1 } }));
        let run = |set: &DaemonSet, pods: &[Arc<SlimPod>]| roll(set, &nodes, &by_node(pods), "new", now);
        assert_eq!(names(&run(&one, &[old("a", true), old("b", true), old("c", true)]).delete), ["old-a"]);
        assert!(run(&one, &[new("a", false), old("b", true), old("c", true)]).delete.is_empty());
        assert_eq!(names(&run(&one, &[new("a", true), old("b", true), old("c", true)]).delete), ["old-b"]);
        assert_eq!(names(&run(&one, &[old("a", true), old("b", false), old("c", true)]).delete), ["old-b"]);
        let surge =
            set(json!({}), json!({ "type": "RollingUpdate", "rollingUpdate": { "maxUnavailable": 0, "maxSurge": 1 } }));
        assert_eq!(run(&surge, &[old("a", true), old("b", true), old("c", true)]).create, ["a"]);
        assert!(run(&surge, &[old("a", true), new("a", false), old("b", true), old("c", true)]).create.is_empty());
        assert_eq!(
            names(&run(&surge, &[old("a", true), new("a", true), old("b", true), old("c", true)]).delete),
            ["old-a"]
        );
        assert!(run(&set(json!({}), json!({ "type": "OnDelete" })), &[old("a", true)]).delete.is_empty());
    }
}

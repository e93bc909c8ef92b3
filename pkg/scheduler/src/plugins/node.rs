//! Plugins that look at the node's own fields: NodeUnschedulable, NodeName, TaintToleration, NodeAffinity, NodePorts.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{PreferredSchedulingTerm, Taint, Toleration};

use crate::cluster::{Cluster, NodeIndex, NodeInfo};
use crate::events::Events;
use crate::framework::{Filter, Plugin, Reason, Rejection, Score, normalize_default};
use crate::selector::{NodeTerm, NodeTerms};
use crate::types::{Labels, Pod};

type Filtered = Result<Option<Box<dyn Filter>>, Rejection>;

const UNSCHEDULABLE_TAINT: &str = "node.kubernetes.io/unschedulable";

/// Whether a toleration covers a taint. An empty key with `Exists` covers all; an empty effect covers every effect.
pub fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    if toleration.effect.as_ref().is_some_and(|effect| !effect.is_empty() && *effect != taint.effect) {
        return false;
    }
    let key = toleration.key.as_deref().unwrap_or("");
    if !key.is_empty() && key != taint.key {
        return false;
    }
    match toleration.operator.as_deref().unwrap_or("Equal") {
        "Exists" => true,
        "" | "Equal" => toleration.value.as_deref().unwrap_or("") == taint.value.as_deref().unwrap_or(""),
        _ => false,
    }
}

fn all_tolerate(tolerations: &[Toleration], taint: &Taint) -> bool {
    tolerations.iter().any(|toleration| tolerates(toleration, taint))
}

pub struct Unschedulable;

impl Plugin for Unschedulable {
    fn name(&self) -> &'static str {
        "NodeUnschedulable"
    }

    fn wakes_on(&self) -> Events {
        Events::NODE_ADDED.and(Events::NODE_TAINTS).and(Events::POD_CHANGED)
    }

    fn pre_filter(&self, pod: &Arc<Pod>, _: &mut Cluster) -> Filtered {
        let taint =
            Taint { key: UNSCHEDULABLE_TAINT.into(), effect: "NoSchedule".into(), value: None, time_added: None };
        let concerned = !all_tolerate(&pod.spec.tolerations, &taint);
        Ok(concerned.then(|| Box::new(UnschedulableFilter) as Box<dyn Filter>))
    }
}

struct UnschedulableFilter;

impl Filter for UnschedulableFilter {
    fn filter(&self, _: NodeIndex, node: &NodeInfo) -> Result<(), Reason> {
        match &node.node {
            Some(node) if node.spec.unschedulable => Err(Reason::unresolvable("node(s) were unschedulable")),
            _ => Ok(()),
        }
    }
}

/// A pod that names its node is not scheduled at all; the plugin is for pods that are checked again.
pub struct Name;

impl Plugin for Name {
    fn name(&self) -> &'static str {
        "NodeName"
    }

    fn wakes_on(&self) -> Events {
        Events::NODE_ADDED
    }

    fn pre_filter(&self, pod: &Arc<Pod>, _: &mut Cluster) -> Filtered {
        let name = &pod.node_name;
        Ok((!name.is_empty()).then(|| Box::new(NameFilter(name.clone())) as Box<dyn Filter>))
    }
}

struct NameFilter(String);

impl Filter for NameFilter {
    fn filter(&self, _: NodeIndex, node: &NodeInfo) -> Result<(), Reason> {
        if node.name == self.0 {
            return Ok(());
        }
        Err(Reason::unresolvable("node(s) didn't match the requested node name"))
    }
}

pub struct TaintToleration;

impl Plugin for TaintToleration {
    fn name(&self) -> &'static str {
        "TaintToleration"
    }

    fn wakes_on(&self) -> Events {
        Events::NODE_ADDED.and(Events::NODE_TAINTS).and(Events::POD_CHANGED)
    }

    fn pre_filter(&self, pod: &Arc<Pod>, _: &mut Cluster) -> Filtered {
        Ok(Some(Box::new(TaintFilter(pod.clone()))))
    }

    fn pre_score(&self, pod: &Arc<Pod>, cluster: &mut Cluster, _: &[NodeIndex]) -> Option<Box<dyn Score>> {
        let preferred = |taint: &Taint| taint.effect == "PreferNoSchedule";
        let any = cluster.nodes().any(|(_, n)| n.node.as_ref().is_some_and(|n| n.spec.taints.iter().any(preferred)));
        any.then(|| Box::new(TaintScore(pod.clone())) as Box<dyn Score>)
    }

    fn weight(&self) -> i64 {
        3
    }
}

struct TaintFilter(Arc<Pod>);

impl Filter for TaintFilter {
    fn filter(&self, _: NodeIndex, node: &NodeInfo) -> Result<(), Reason> {
        let taints = node.node.as_ref().map_or(&[][..], |node| &node.spec.taints);
        let binding = taints.iter().filter(|t| t.effect == "NoSchedule" || t.effect == "NoExecute");
        match binding.into_iter().find(|taint| !all_tolerate(&self.0.spec.tolerations, taint)) {
            Some(_) => Err(Reason::unresolvable("node(s) had untolerated taint(s)")),
            None => Ok(()),
        }
    }
}

/// Prefers nodes with few taints that say PreferNoSchedule to this pod.
struct TaintScore(Arc<Pod>);

impl Score for TaintScore {
    fn score(&self, _: NodeIndex, node: &NodeInfo) -> i64 {
        let taints = node.node.as_ref().map_or(&[][..], |node| &node.spec.taints);
        let preferred = taints.iter().filter(|t| t.effect == "PreferNoSchedule");
        preferred.filter(|taint| !all_tolerate(&self.0.spec.tolerations, taint)).count() as i64
    }

    fn normalize(&self, scores: &mut [i64], _: &[NodeIndex]) {
        normalize_default(scores, true);
    }
}

pub struct Affinity;

impl Plugin for Affinity {
    fn name(&self) -> &'static str {
        "NodeAffinity"
    }

    fn wakes_on(&self) -> Events {
        Events::NODE_ADDED.and(Events::NODE_LABELS).and(Events::POD_CHANGED)
    }

    fn pre_filter(&self, pod: &Arc<Pod>, _: &mut Cluster) -> Filtered {
        Ok(RequiredAffinity::of(pod).map(|filter| Box::new(filter) as Box<dyn Filter>))
    }

    fn pre_score(&self, pod: &Arc<Pod>, _: &mut Cluster, _: &[NodeIndex]) -> Option<Box<dyn Score>> {
        let affinity = pod.spec.affinity.as_ref()?.node_affinity.as_ref()?;
        let preferred = affinity.preferred_during_scheduling_ignored_during_execution.as_deref()?;
        let compile = |term: &PreferredSchedulingTerm| (NodeTerm::compile(&term.preference), i64::from(term.weight));
        Some(Box::new(PreferredAffinity(preferred.iter().map(compile).collect())))
    }

    fn weight(&self) -> i64 {
        2
    }
}

/// A pod's node selector and required node affinity; topology spread counts by them, too.
#[derive(Clone, Default)]
pub struct RequiredAffinity {
    selector: Labels,
    terms: Option<NodeTerms>,
}

impl RequiredAffinity {
    /// `None` if the pod requires nothing.
    pub fn of(pod: &Pod) -> Option<Self> {
        let affinity = pod.spec.affinity.as_ref().and_then(|a| a.node_affinity.as_ref());
        let required = affinity.and_then(|a| a.required_during_scheduling_ignored_during_execution.as_ref());
        let terms = required.map(NodeTerms::compile);
        let selector = pod.spec.node_selector.clone();
        (terms.is_some() || !selector.is_empty()).then_some(Self { selector, terms })
    }

    pub fn matches(&self, info: &NodeInfo) -> bool {
        let Some(node) = &info.node else { return false };
        self.selector.iter().all(|(key, value)| node.metadata.labels.get(key) == Some(value))
            && self.terms.as_ref().is_none_or(|terms| terms.matches(node))
    }
}

impl Filter for RequiredAffinity {
    fn filter(&self, _: NodeIndex, node: &NodeInfo) -> Result<(), Reason> {
        if self.matches(node) {
            return Ok(());
        }
        Err(Reason::unresolvable("node(s) didn't match Pod's node affinity/selector"))
    }
}

struct PreferredAffinity(Vec<(NodeTerm, i64)>);

impl Score for PreferredAffinity {
    fn score(&self, _: NodeIndex, info: &NodeInfo) -> i64 {
        let Some(node) = &info.node else { return 0 };
        self.0.iter().filter(|(term, _)| term.matches(node)).map(|(_, weight)| weight).sum()
    }

    fn normalize(&self, scores: &mut [i64], _: &[NodeIndex]) {
        normalize_default(scores, false);
    }
}

pub struct Ports;

impl Plugin for Ports {
    fn name(&self) -> &'static str {
        "NodePorts"
    }

    fn wakes_on(&self) -> Events {
        Events::NODE_ADDED.and(Events::POD_GONE)
    }

    fn pre_filter(&self, pod: &Arc<Pod>, _: &mut Cluster) -> Filtered {
        let ports: Vec<_> = pod.host_ports().map(|(a, p, n)| (a.to_owned(), p.to_owned(), n)).collect();
        Ok((!ports.is_empty()).then(|| Box::new(PortsFilter(ports)) as Box<dyn Filter>))
    }
}

struct PortsFilter(Vec<(String, String, i32)>);

impl Filter for PortsFilter {
    fn filter(&self, _: NodeIndex, node: &NodeInfo) -> Result<(), Reason> {
        const ANY: &str = "0.0.0.0";
        let taken = self.0.iter().any(|(address, protocol, port)| {
            node.ports
                .iter()
                .any(|(a, p, n)| n == port && p == protocol && (a == address || a == ANY || address == ANY))
        });
        if taken {
            return Err(Reason::new("node(s) didn't have free ports for the requested pod ports"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn tolerations() {
        let taint: Taint =
            serde_json::from_value(json!({"key": "k", "value": "v", "effect": "NoSchedule"})).expect("a taint");
        let cases = [
            (json!({"key": "k", "value": "v", "effect": "NoSchedule"}), true),
            (json!({"key": "k", "value": "v"}), true),
            (json!({"key": "k", "operator": "Exists"}), true),
            (json!({"operator": "Exists"}), true),
            (json!({"key": "k", "value": "other"}), false),
            (json!({"key": "k", "value": "v", "effect": "NoExecute"}), false),
            (json!({"key": "other", "operator": "Exists"}), false),
        ];
        for (toleration, expected) in cases {
            let parsed = serde_json::from_value(toleration.clone()).expect("a toleration");
            assert_eq!(tolerates(&parsed, &taint), expected, "{toleration}");
        }
    }
}

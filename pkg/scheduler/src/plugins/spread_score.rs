//! PodTopologySpread: what is preferred (`ScheduleAnyway`, and the cluster's defaults for pods of a controller).

use std::collections::HashMap;
use std::sync::Arc;

use apimachinery::labels::{LabelSelector, Operator, Requirement};

use super::node::RequiredAffinity;
use super::spread::{Constraint, constraints};
use crate::cluster::{Cluster, NodeIndex, NodeInfo};
use crate::framework::{SCORE_MAX, Score};
use crate::types::Pod;

const HOSTNAME: &str = "kubernetes.io/hostname";
const ZONE: &str = "topology.kubernetes.io/zone";
/// Labels that differ from pod to pod of one controller and so say nothing about what belongs together.
const INDIVIDUAL: [&str; 3] =
    ["statefulset.kubernetes.io/pod-name", "apps.kubernetes.io/pod-index", "batch.kubernetes.io/job-completion-index"];

/// Upstream's defaults for pods of a controller that say nothing themselves: spread over hosts (skew 3), zones (skew 5).
/// The pods that belong together are found by the labels that their controller gave them all.
fn default_constraints(pod: &Pod) -> Vec<Constraint> {
    if !pod.spec.topology_spread_constraints.is_empty() || pod.controller().is_none() {
        return Vec::new();
    }
    let labels = pod.metadata.labels.iter().filter(|(key, _)| !INDIVIDUAL.contains(&key.as_str()));
    let requirements: Vec<Requirement> =
        labels.filter_map(|(key, value)| Requirement::new(key, Operator::In, vec![value.clone()]).ok()).collect();
    if requirements.is_empty() {
        return Vec::new();
    }
    let selector = LabelSelector::new(requirements);
    vec![Constraint::preferred(HOSTNAME, 3, selector.clone()), Constraint::preferred(ZONE, 5, selector)]
}

/// One constraint: matching pods per domain, and how much a domain counts.
struct Spread {
    key: String,
    max_skew: i64,
    domains: HashMap<String, i64>,
    weight: f64,
}

struct SpreadScore {
    spreads: Vec<Spread>,
    /// Nodes that lack a topology key that the pod asked for: last choice.
    ignored: Vec<NodeIndex>,
}

pub fn compile(pod: &Arc<Pod>, cluster: &mut Cluster, feasible: &[NodeIndex]) -> Option<Box<dyn Score>> {
    let own = constraints(pod, "ScheduleAnyway");
    let asked = !own.is_empty();
    let constraints = if asked { own } else { default_constraints(pod) };
    if constraints.is_empty() {
        return None;
    }
    let lacks = |index: &NodeIndex| {
        cluster.node(*index).is_none_or(|info| constraints.iter().any(|c| info.label(&c.key).is_none()))
    };
    // The defaults do not hold a missing label against a node.
    let ignored: Vec<NodeIndex> = if asked { feasible.iter().copied().filter(lacks).collect() } else { Vec::new() };
    let affinity = RequiredAffinity::of(pod);
    let mut spreads = Vec::new();
    for constraint in &constraints {
        let counts = cluster.count(&pod.metadata.namespace, &constraint.selector).to_vec();
        let domain = |index: NodeIndex| Some(cluster.node(index)?.label(&constraint.key)?.to_owned());
        let candidates = feasible.iter().filter(|index| !ignored.contains(index));
        let mut domains: HashMap<String, i64> = candidates.filter_map(|i| Some((domain(*i)?, 0))).collect();
        for (index, info) in cluster.nodes() {
            let count = i64::from(counts.get(index).copied().unwrap_or(0));
            if count == 0 || !constraint.includes(pod, affinity.as_ref(), info) {
                continue;
            }
            if let Some(sum) = info.label(&constraint.key).and_then(|value| domains.get_mut(value)) {
                *sum += count;
            }
        }
        // Few large domains count less than many small ones, each pod for pod.
        let weight = ((domains.len() + 2) as f64).ln();
        spreads.push(Spread { key: constraint.key.clone(), max_skew: constraint.max_skew, domains, weight });
    }
    Some(Box::new(SpreadScore { spreads, ignored }))
}

impl Score for SpreadScore {
    fn score(&self, _: NodeIndex, info: &NodeInfo) -> i64 {
        let mut score = 0.0;
        for spread in &self.spreads {
            if let Some(count) = info.label(&spread.key).and_then(|value| spread.domains.get(value)) {
                score += *count as f64 * spread.weight + (spread.max_skew - 1) as f64;
            }
        }
        score.round() as i64
    }

    fn normalize(&self, scores: &mut [i64], nodes: &[NodeIndex]) {
        let counted =
            || nodes.iter().zip(scores.iter()).filter(|(node, _)| !self.ignored.contains(node)).map(|(_, s)| *s);
        let (min, max) = (counted().min().unwrap_or(0), counted().max().unwrap_or(0));
        for (node, score) in nodes.iter().zip(scores) {
            *score = match (self.ignored.contains(node), max) {
                (true, _) => 0,
                (false, 0) => SCORE_MAX,
                (false, _) => SCORE_MAX * (max + min - *score) / max,
            };
        }
    }
}

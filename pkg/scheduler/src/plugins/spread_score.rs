//! PodTopologySpread: what is preferred (`ScheduleAnyway`, and the cluster's defaults for pods of a controller).

use std::sync::Arc;

use apimachinery::labels::{LabelSelector, Operator, Requirement};

use super::node::RequiredAffinity;
use super::spread::{Constraint, constraints};
use crate::cluster::{Cluster, NodeIndex, NodeInfo};
use crate::framework::{SCORE_MAX, Score};
use crate::topology::{Sums, Topology};
use crate::types::Pod;

const HOSTNAME: &str = "kubernetes.io/hostname";
const ZONE: &str = "topology.kubernetes.io/zone";
/// Labels that differ from pod to pod of one controller and so say nothing about what belongs together.
const INDIVIDUAL: [&str; 3] =
    ["statefulset.kubernetes.io/pod-name", "apps.kubernetes.io/pod-index", "batch.kubernetes.io/job-completion-index"];

/// Upstream's defaults for pods of a controller that say nothing themselves: spread over hosts (skew 3), zones (skew 5).
/// The pods that belong together are found by the labels that their controller gave them all.
fn default_constraints(pod: &Pod) -> Vec<Constraint> {
    if !pod.spec.topology_spread_constraints.is_empty() || !pod.is_controlled {
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
    max_skew: i64,
    domains: Sums,
    weight: f64,
}

struct SpreadScore {
    spreads: Vec<Spread>,
    /// Nodes that lack a topology key that the pod asked for: last choice. By number.
    ignored: Vec<bool>,
}

pub fn compile(pod: &Arc<Pod>, cluster: &mut Cluster, feasible: &[NodeIndex]) -> Option<Box<dyn Score>> {
    let own = constraints(pod, "ScheduleAnyway");
    let asked = !own.is_empty();
    let constraints = if asked { own } else { default_constraints(pod) };
    if constraints.is_empty() {
        return None;
    }
    let topologies: Vec<Arc<Topology>> = constraints.iter().map(|c| cluster.topology(&c.key)).collect();
    // The defaults do not hold a missing label against a node.
    let mut ignored = vec![false; cluster.slots()];
    if asked {
        for index in feasible {
            ignored[*index] = topologies.iter().any(|topology| topology.domain(*index).is_none());
        }
    }
    let affinity = RequiredAffinity::of(pod);
    let mut spreads = Vec::new();
    for (constraint, topology) in constraints.iter().zip(topologies) {
        let counts = cluster.count(&pod.metadata.namespace, &constraint.selector).to_vec();
        let mut domains = Sums::new(topology.clone());
        for (index, info) in cluster.nodes() {
            let count = counts.get(index).copied().unwrap_or(0);
            if count > 0 && constraint.includes(pod, affinity.as_ref(), info) {
                domains.add(index, i64::from(count));
            }
        }
        // Few large domains count less than many small ones, each pod for pod. Only domains to choose from count.
        let mut seen = vec![false; domains.all().len()];
        let candidates = feasible.iter().filter(|index| !ignored[**index]);
        for domain in candidates.filter_map(|index| topology.domain(*index)) {
            seen[domain] = true;
        }
        let choices = seen.iter().filter(|seen| **seen).count();
        spreads.push(Spread { max_skew: constraint.max_skew, domains, weight: ((choices + 2) as f64).ln() });
    }
    Some(Box::new(SpreadScore { spreads, ignored }))
}

impl Score for SpreadScore {
    fn score(&self, index: NodeIndex, _: &NodeInfo) -> i64 {
        let mut score = 0.0;
        for spread in &self.spreads {
            if let Some(domain) = spread.domains.topology.domain(index) {
                score += spread.domains.of_domain(domain) as f64 * spread.weight + (spread.max_skew - 1) as f64;
            }
        }
        score.round() as i64
    }

    fn normalize(&self, scores: &mut [i64], nodes: &[NodeIndex]) {
        let counted = || nodes.iter().zip(scores.iter()).filter(|(node, _)| !self.ignored[**node]).map(|(_, s)| *s);
        let (min, max) = (counted().min().unwrap_or(0), counted().max().unwrap_or(0));
        for (node, score) in nodes.iter().zip(scores) {
            *score = match (self.ignored[*node], max) {
                (true, _) => 0,
                (false, 0) => SCORE_MAX,
                (false, _) => SCORE_MAX * (max + min - *score) / max,
            };
        }
    }
}

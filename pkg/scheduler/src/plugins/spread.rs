//! PodTopologySpread: the constraints that must hold. What is only preferred is in `spread_score`.

use std::sync::Arc;

use apimachinery::labels::LabelSelector;
use k8s_openapi::api::core::v1::TopologySpreadConstraint;

use super::node::{RequiredAffinity, tolerates};
use super::spread_score;
use crate::cluster::{Cluster, NodeIndex, NodeInfo};
use crate::events::Events;
use crate::framework::{Filter, Plugin, Reason, Rejection, Score};
use crate::selector;
use crate::topology::Topology;
use crate::types::{Labels, Pod};

const MISSING: &str = "node(s) didn't match pod topology spread constraints (missing required label)";
const VIOLATED: &str = "node(s) didn't match pod topology spread constraints";

pub struct TopologySpread;

impl Plugin for TopologySpread {
    fn name(&self) -> &'static str {
        "PodTopologySpread"
    }

    fn wakes_on(&self) -> Events {
        let nodes = Events::NODE_ADDED.and(Events::NODE_LABELS).and(Events::NODE_TAINTS);
        nodes.and(Events::POD_GONE).and(Events::POD_PLACED).and(Events::POD_CHANGED)
    }

    fn pre_filter(&self, pod: &Arc<Pod>, cluster: &mut Cluster) -> Result<Option<Box<dyn Filter>>, Rejection> {
        let constraints = constraints(pod, "DoNotSchedule");
        if constraints.is_empty() {
            return Ok(None);
        }
        let keys: Vec<&str> = constraints.iter().map(|c| c.key.as_str()).collect();
        let spreads = constraints.iter().map(|c| Spread::count(c, &keys, pod, cluster)).collect();
        Ok(Some(Box::new(SpreadFilter { namespace: pod.metadata.namespace.clone(), spreads })))
    }

    fn pre_score(&self, pod: &Arc<Pod>, cluster: &mut Cluster, feasible: &[NodeIndex]) -> Option<Box<dyn Score>> {
        spread_score::compile(pod, cluster, feasible)
    }

    fn weight(&self) -> i64 {
        2
    }
}

/// One constraint of a pod, compiled.
#[derive(Clone)]
pub struct Constraint {
    pub key: String,
    pub max_skew: i64,
    min_domains: usize,
    pub selector: LabelSelector,
    honor_affinity: bool,
    honor_taints: bool,
}

/// The pod's constraints of one kind (`DoNotSchedule`, `ScheduleAnyway`).
pub fn constraints(pod: &Pod, kind: &str) -> Vec<Constraint> {
    let all = pod.spec.topology_spread_constraints.iter();
    all.filter(|c| c.when_unsatisfiable == kind).map(|c| Constraint::compile(c, &pod.metadata.labels)).collect()
}

impl Constraint {
    fn compile(constraint: &TopologySpreadConstraint, labels: &Labels) -> Self {
        let keys = constraint.match_label_keys.iter().flatten();
        let own: Labels = keys.filter_map(|key| Some((key.clone(), labels.get(key)?.clone()))).collect();
        let honors = |policy: &Option<String>, default: &str| policy.as_deref().unwrap_or(default) == "Honor";
        Self {
            key: constraint.topology_key.clone(),
            max_skew: constraint.max_skew.into(),
            min_domains: constraint.min_domains.map_or(1, |n| usize::try_from(n).unwrap_or(1)),
            selector: selector::compile_with(constraint.label_selector.as_ref(), &own),
            honor_affinity: honors(&constraint.node_affinity_policy, "Honor"),
            honor_taints: honors(&constraint.node_taints_policy, "Ignore"),
        }
    }

    /// A soft constraint of the cluster's defaults.
    pub fn preferred(key: &str, max_skew: i64, selector: LabelSelector) -> Self {
        Self { key: key.into(), max_skew, min_domains: 1, selector, honor_affinity: true, honor_taints: false }
    }

    /// Whether a node counts when the pods of domains are compared.
    pub fn includes(&self, pod: &Pod, affinity: Option<&RequiredAffinity>, info: &NodeInfo) -> bool {
        if self.honor_affinity && affinity.is_some_and(|affinity| !affinity.matches(info)) {
            return false;
        }
        let taints = info.node.as_ref().map_or(&[][..], |node| &node.spec.taints);
        let binding = |effect: &str| effect == "NoSchedule" || effect == "NoExecute";
        !self.honor_taints
            || taints
                .iter()
                .filter(|t| binding(&t.effect))
                .all(|t| pod.spec.tolerations.iter().any(|own| tolerates(own, t)))
    }
}

/// How many matching pods each domain of a constraint has.
#[derive(Clone)]
struct Spread {
    constraint: Constraint,
    topology: Arc<Topology>,
    /// By domain; `None` for one without a node that counts.
    domains: Vec<Option<i64>>,
    /// The smallest of them.
    least: i64,
    /// 1 if the pod itself would count.
    own: i64,
}

impl Spread {
    fn count(constraint: &Constraint, keys: &[&str], pod: &Pod, cluster: &mut Cluster) -> Self {
        let affinity = RequiredAffinity::of(pod);
        let topology = cluster.topology(&constraint.key);
        let others: Vec<Arc<Topology>> =
            keys.iter().filter(|key| **key != constraint.key).map(|key| cluster.topology(key)).collect();
        let counts = cluster.count(&pod.metadata.namespace, &constraint.selector).to_vec();
        let mut domains: Vec<Option<i64>> = Vec::new();
        for (index, info) in cluster.nodes() {
            // A node that lacks any of the pod's topology keys is in no domain.
            let Some(domain) = topology.domain(index) else { continue };
            if others.iter().any(|other| other.domain(index).is_none())
                || !constraint.includes(pod, affinity.as_ref(), info)
            {
                continue;
            }
            if domains.len() <= domain {
                domains.resize(domain + 1, None);
            }
            *domains[domain].get_or_insert(0) += i64::from(counts.get(index).copied().unwrap_or(0));
        }
        let own = i64::from(selector::matches(&constraint.selector, &pod.metadata.labels));
        let mut spread = Self { constraint: constraint.clone(), topology, domains, least: 0, own };
        spread.find_least();
        spread
    }

    fn find_least(&mut self) {
        let counted = self.domains.iter().flatten();
        self.least = match counted.clone().count() < self.constraint.min_domains {
            true => 0,
            false => counted.copied().min().unwrap_or(0),
        };
    }

    fn check(&self, index: NodeIndex) -> Result<(), Reason> {
        let Some(domain) = self.topology.domain(index) else { return Err(Reason::unresolvable(MISSING)) };
        let here = self.domains.get(domain).copied().flatten().unwrap_or(0);
        if here + self.own - self.least > self.constraint.max_skew {
            return Err(Reason::new(VIOLATED));
        }
        Ok(())
    }

    fn suppose(&mut self, index: NodeIndex, sign: i64) {
        let domain = self.topology.domain(index);
        if let Some(Some(count)) = domain.and_then(|domain| self.domains.get_mut(domain)) {
            *count += sign;
            self.find_least();
        }
    }
}

#[derive(Clone)]
struct SpreadFilter {
    namespace: String,
    spreads: Vec<Spread>,
}

impl Filter for SpreadFilter {
    fn filter(&self, index: NodeIndex, _: &NodeInfo) -> Result<(), Reason> {
        self.spreads.iter().try_for_each(|spread| spread.check(index))
    }

    fn suppose(&mut self, pod: &Pod, index: NodeIndex, _: &NodeInfo, sign: i64) {
        if pod.metadata.namespace != self.namespace {
            return;
        }
        for spread in &mut self.spreads {
            if selector::matches(&spread.constraint.selector, &pod.metadata.labels) {
                spread.suppose(index, sign);
            }
        }
    }

    fn for_supposing(&self) -> Option<Box<dyn Filter>> {
        Some(Box::new(self.clone()))
    }
}

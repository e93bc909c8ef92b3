//! PodTopologySpread: the constraints that must hold. What is only preferred is in `spread_score`.

use std::collections::HashMap;
use std::sync::Arc;

use apimachinery::labels::LabelSelector;
use k8s_openapi::api::core::v1::TopologySpreadConstraint;

use super::node::{RequiredAffinity, tolerates};
use super::spread_score;
use crate::cluster::{Cluster, NodeIndex, NodeInfo};
use crate::events::Events;
use crate::framework::{Filter, Plugin, Reason, Rejection, Score};
use crate::selector;
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
    domains: HashMap<String, i64>,
    /// 1 if the pod itself would count.
    own: i64,
}

impl Spread {
    fn count(constraint: &Constraint, keys: &[&str], pod: &Pod, cluster: &mut Cluster) -> Self {
        let affinity = RequiredAffinity::of(pod);
        let counts = cluster.count(&pod.metadata.namespace, &constraint.selector).to_vec();
        let mut domains: HashMap<String, i64> = HashMap::new();
        for (index, info) in cluster.nodes() {
            // A node that lacks any of the pod's topology keys is in no domain.
            let Some(value) = info.label(&constraint.key) else { continue };
            if keys.iter().any(|key| info.label(key).is_none()) || !constraint.includes(pod, affinity.as_ref(), info) {
                continue;
            }
            let count = i64::from(counts.get(index).copied().unwrap_or(0));
            match domains.get_mut(value) {
                Some(sum) => *sum += count,
                None => drop(domains.insert(value.to_owned(), count)),
            }
        }
        let own = i64::from(selector::matches(&constraint.selector, &pod.metadata.labels));
        Self { constraint: constraint.clone(), domains, own }
    }

    fn check(&self, info: &NodeInfo) -> Result<(), Reason> {
        let Some(value) = info.label(&self.constraint.key) else { return Err(Reason::unresolvable(MISSING)) };
        let least = match self.domains.len() < self.constraint.min_domains {
            true => 0,
            false => self.domains.values().copied().min().unwrap_or(0),
        };
        let here = self.domains.get(value).copied().unwrap_or(0);
        if here + self.own - least > self.constraint.max_skew {
            return Err(Reason::new(VIOLATED));
        }
        Ok(())
    }
}

#[derive(Clone)]
struct SpreadFilter {
    namespace: String,
    spreads: Vec<Spread>,
}

impl Filter for SpreadFilter {
    fn filter(&self, _: NodeIndex, info: &NodeInfo) -> Result<(), Reason> {
        self.spreads.iter().try_for_each(|spread| spread.check(info))
    }

    fn suppose(&mut self, pod: &Pod, _: NodeIndex, info: &NodeInfo, sign: i64) {
        if pod.metadata.namespace != self.namespace {
            return;
        }
        for spread in &mut self.spreads {
            let counts = selector::matches(&spread.constraint.selector, &pod.metadata.labels);
            if counts && let Some(domain) = info.label(&spread.constraint.key).and_then(|v| spread.domains.get_mut(v)) {
                *domain += sign;
            }
        }
    }

    fn for_supposing(&self) -> Option<Box<dyn Filter>> {
        Some(Box::new(self.clone()))
    }
}

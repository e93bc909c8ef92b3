//! InterPodAffinity: the rules that must hold, of the pod and of those that run already.

use std::collections::HashMap;
use std::sync::Arc;

use apimachinery::labels::{LabelSelector, Requirement};
use k8s_openapi::api::core::v1::PodAffinityTerm;

use super::interpod_score;
use crate::cluster::{Cluster, NodeIndex, NodeInfo};
use crate::events::Events;
use crate::framework::{Filter, Plugin, Reason, Rejection, Score};
use crate::selector;
use crate::types::{Labels, Pod};

pub struct InterPodAffinity;

impl Plugin for InterPodAffinity {
    fn name(&self) -> &'static str {
        "InterPodAffinity"
    }

    fn wakes_on(&self) -> Events {
        let nodes = Events::NODE_ADDED.and(Events::NODE_LABELS);
        nodes.and(Events::POD_GONE).and(Events::POD_PLACED).and(Events::POD_CHANGED)
    }

    fn pre_filter(&self, pod: &Arc<Pod>, cluster: &mut Cluster) -> Result<Option<Box<dyn Filter>>, Rejection> {
        let (affinity, anti) = (required_affinity(pod), required_anti_affinity(pod));
        let existing = existing_anti_affinity(pod, cluster);
        if affinity.is_empty() && anti.is_empty() && existing.is_empty() {
            return Ok(None);
        }
        let terms = |terms: Vec<Term>, cluster: &mut Cluster| -> Vec<Counted> {
            terms.into_iter().map(|term| Counted::count(term, cluster)).collect()
        };
        // A pod satisfies affinity only if it matches all terms, so they are counted as one selector.
        let together = affinity.iter().skip(1).fold(affinity.first().cloned(), |all, term| all.map(|a| a.and(term)));
        let mut affinity = terms(affinity, cluster);
        if let Some(together) = together {
            for counted in &mut affinity {
                let term = Term { key: counted.term.key.clone(), ..together.clone() };
                *counted = Counted::count(term, cluster);
            }
        }
        let own = affinity.iter().all(|counted| counted.term.matches(pod, cluster));
        let anti = terms(anti, cluster);
        let namespaces = cluster.namespaces.clone();
        Ok(Some(Box::new(AffinityFilter {
            pod: pod.clone(),
            affinity,
            anti,
            existing,
            own,
            namespaces: Arc::new(namespaces),
        })))
    }

    fn pre_score(&self, pod: &Arc<Pod>, cluster: &mut Cluster, _: &[NodeIndex]) -> Option<Box<dyn Score>> {
        interpod_score::compile(pod, cluster)
    }

    fn weight(&self) -> i64 {
        2
    }
}

/// Which pods a term is about, and over which topology.
#[derive(Clone)]
pub struct Term {
    pub key: String,
    namespaces: Vec<String>,
    namespace_selector: Option<LabelSelector>,
    selector: LabelSelector,
}

impl Term {
    pub fn compile(term: &PodAffinityTerm, owner: &Pod) -> Self {
        let mut namespaces = term.namespaces.clone().unwrap_or_default();
        let namespace_selector = term.namespace_selector.as_ref().map(|s| selector::compile(Some(s)));
        if namespaces.is_empty() && namespace_selector.is_none() {
            namespaces.push(owner.metadata.namespace.clone());
        }
        let selector = selector::compile(term.label_selector.as_ref());
        Self { key: term.topology_key.clone(), namespaces, namespace_selector, selector }
    }

    fn and(&self, other: &Self) -> Self {
        let all: Vec<Requirement> =
            self.selector.requirements().iter().chain(other.selector.requirements()).cloned().collect();
        let nothing = self.selector.is_nothing() || other.selector.is_nothing();
        let selector = if nothing { LabelSelector::nothing() } else { LabelSelector::new(all) };
        Self { selector, ..self.clone() }
    }

    fn in_scope(&self, namespace: &str, namespaces: &HashMap<String, Labels>) -> bool {
        self.namespaces.iter().any(|n| n == namespace)
            || self.namespace_selector.as_ref().is_some_and(|selector| {
                selector.is_everything()
                    || namespaces.get(namespace).is_some_and(|labels| selector::matches(selector, labels))
            })
    }

    pub fn matches(&self, pod: &Pod, cluster: &Cluster) -> bool {
        self.matches_in(pod, &cluster.namespaces)
    }

    fn matches_in(&self, pod: &Pod, namespaces: &HashMap<String, Labels>) -> bool {
        self.in_scope(&pod.metadata.namespace, namespaces) && selector::matches(&self.selector, &pod.metadata.labels)
    }

    /// Matching pods per node.
    pub fn count(&self, cluster: &mut Cluster) -> Vec<u32> {
        let mut names: Vec<String> =
            cluster.namespaces.keys().filter(|name| self.in_scope(name, &cluster.namespaces)).cloned().collect();
        names.extend(self.namespaces.iter().filter(|n| !cluster.namespaces.contains_key(*n)).cloned());
        let mut sums = vec![0; cluster.slots()];
        for name in names {
            for (sum, count) in sums.iter_mut().zip(cluster.count(&name, &self.selector)) {
                *sum += count;
            }
        }
        sums
    }
}

pub fn required_affinity(pod: &Pod) -> Vec<Term> {
    let affinity = pod.spec.affinity.as_ref().and_then(|a| a.pod_affinity.as_ref());
    let terms = affinity.and_then(|a| a.required_during_scheduling_ignored_during_execution.as_ref());
    terms.into_iter().flatten().map(|term| Term::compile(term, pod)).collect()
}

fn required_anti_affinity(pod: &Pod) -> Vec<Term> {
    let affinity = pod.spec.affinity.as_ref().and_then(|a| a.pod_anti_affinity.as_ref());
    let terms = affinity.and_then(|a| a.required_during_scheduling_ignored_during_execution.as_ref());
    terms.into_iter().flatten().map(|term| Term::compile(term, pod)).collect()
}

/// Domains (key, value) that running pods keep this pod out of, and how many do.
fn existing_anti_affinity(pod: &Pod, cluster: &Cluster) -> HashMap<(String, String), i64> {
    let mut domains = HashMap::new();
    for (_, info) in cluster.nodes() {
        for running in &info.with_affinity {
            add_existing(&mut domains, pod, running, info, &cluster.namespaces, 1);
        }
    }
    domains
}

fn add_existing(
    domains: &mut HashMap<(String, String), i64>,
    pod: &Pod,
    running: &Pod,
    info: &NodeInfo,
    namespaces: &HashMap<String, Labels>,
    sign: i64,
) {
    for term in required_anti_affinity(running).iter().filter(|term| term.matches_in(pod, namespaces)) {
        if let Some(value) = info.label(&term.key) {
            *domains.entry((term.key.clone(), value.to_owned())).or_insert(0) += sign;
        }
    }
}

/// A term with how many matching pods each of its domains has.
#[derive(Clone)]
struct Counted {
    term: Term,
    domains: HashMap<String, i64>,
}

impl Counted {
    fn count(term: Term, cluster: &mut Cluster) -> Self {
        let counts = term.count(cluster);
        let mut domains: HashMap<String, i64> = HashMap::new();
        for (index, info) in cluster.nodes() {
            let count = counts.get(index).copied().unwrap_or(0);
            if count > 0
                && let Some(value) = info.label(&term.key)
            {
                *domains.entry(value.to_owned()).or_insert(0) += i64::from(count);
            }
        }
        Self { term, domains }
    }

    fn here(&self, info: &NodeInfo) -> i64 {
        info.label(&self.term.key).and_then(|value| self.domains.get(value)).copied().unwrap_or(0)
    }
}

#[derive(Clone)]
struct AffinityFilter {
    pod: Arc<Pod>,
    affinity: Vec<Counted>,
    anti: Vec<Counted>,
    existing: HashMap<(String, String), i64>,
    /// The pod satisfies its own affinity, so that the first of a group finds a place.
    own: bool,
    namespaces: Arc<HashMap<String, Labels>>,
}

impl AffinityFilter {
    fn attracted(&self, info: &NodeInfo) -> bool {
        if self.affinity.iter().any(|counted| info.label(&counted.term.key).is_none()) {
            return false;
        }
        let none_yet = self.affinity.iter().all(|counted| counted.domains.values().all(|count| *count <= 0));
        self.affinity.iter().all(|counted| counted.here(info) > 0) || (none_yet && self.own)
    }

    fn kept_out(&self, info: &NodeInfo) -> bool {
        self.existing.iter().any(|((key, value), count)| *count > 0 && info.label(key) == Some(value))
    }
}

impl Filter for AffinityFilter {
    fn filter(&self, _: NodeIndex, info: &NodeInfo) -> Result<(), Reason> {
        if !self.affinity.is_empty() && !self.attracted(info) {
            return Err(Reason::unresolvable("node(s) didn't match pod affinity rules"));
        }
        if self.anti.iter().any(|counted| counted.here(info) > 0) {
            return Err(Reason::new("node(s) didn't match pod anti-affinity rules"));
        }
        if self.kept_out(info) {
            return Err(Reason::new("node(s) didn't satisfy existing pods anti-affinity rules"));
        }
        Ok(())
    }

    fn suppose(&mut self, pod: &Pod, _: NodeIndex, info: &NodeInfo, sign: i64) {
        for counted in self.affinity.iter_mut().chain(&mut self.anti) {
            if counted.term.matches_in(pod, &self.namespaces)
                && let Some(value) = info.label(&counted.term.key)
            {
                *counted.domains.entry(value.to_owned()).or_insert(0) += sign;
            }
        }
        let own = self.pod.clone();
        add_existing(&mut self.existing, &own, pod, info, &self.namespaces.clone(), sign);
    }

    fn for_supposing(&self) -> Option<Box<dyn Filter>> {
        Some(Box::new(self.clone()))
    }
}

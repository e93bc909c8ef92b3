//! InterPodAffinity: the rules that must hold, of the pod and of those that run already.

use std::collections::HashMap;
use std::sync::Arc;

use super::interpod_score;
use crate::cluster::{Cluster, NodeIndex, NodeInfo};
use crate::events::Events;
use crate::framework::{Filter, Plugin, Reason, Rejection, Score};
use crate::terms::Term;
use crate::topology::Sums;
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
        let existing = existing_anti_affinity(pod, cluster);
        let own = pod.terms();
        let affinity = own.map_or(&[][..], |terms| &terms.required);
        let anti = own.map_or(&[][..], |terms| &terms.required_anti);
        if affinity.is_empty() && anti.is_empty() && existing.is_empty() {
            return Ok(None);
        }
        let namespaces = cluster.namespaces.clone();
        let satisfies_itself = affinity.iter().all(|term| term.matches(pod, &namespaces));
        // A pod satisfies affinity only if it matches all terms, so they are counted as one selector.
        let together = |term: &Term| affinity.iter().fold(term.clone(), |all, term| all.and(term));
        Ok(Some(Box::new(AffinityFilter {
            affinity: affinity.iter().map(|term| Counted::count(together(term), cluster)).collect(),
            anti: anti.iter().map(|term| Counted::count(term.clone(), cluster)).collect(),
            pod: pod.clone(),
            existing,
            satisfies_itself,
            namespaces,
        })))
    }

    fn pre_score(&self, pod: &Arc<Pod>, cluster: &mut Cluster, _: &[NodeIndex]) -> Option<Box<dyn Score>> {
        interpod_score::compile(pod, cluster)
    }

    fn weight(&self) -> i64 {
        2
    }
}

/// What running pods keep this pod out of, by topology key.
fn existing_anti_affinity(pod: &Pod, cluster: &mut Cluster) -> HashMap<String, Sums> {
    let namespaces = cluster.namespaces.clone();
    let groups = cluster.groups().flat_map(|group| {
        let terms = group.terms.required_anti.iter().filter(|term| term.matches(pod, &namespaces));
        terms.map(|term| (term.key.clone(), group.by_node.clone()))
    });
    let groups: Vec<(String, Vec<u32>)> = groups.collect();
    let mut existing: HashMap<String, Sums> = HashMap::new();
    for (key, by_node) in groups {
        let topology = cluster.topology(&key);
        let sums = existing.entry(key).or_insert_with(|| Sums::new(topology));
        for (index, count) in by_node.iter().enumerate().filter(|(_, count)| **count > 0) {
            sums.add(index, i64::from(*count));
        }
    }
    // Nominated pods may be supposed on a node later; the keys of their terms must be known by then.
    let nominated = cluster.nominated.values().filter_map(|(_, pod)| pod.terms());
    let keys: Vec<String> = nominated.flat_map(|terms| terms.required_anti.iter().map(|t| t.key.clone())).collect();
    for key in keys {
        let topology = cluster.topology(&key);
        existing.entry(key).or_insert_with(|| Sums::new(topology));
    }
    existing
}

/// A term with how many matching pods each of its domains has.
#[derive(Clone)]
struct Counted {
    term: Term,
    domains: Sums,
}

impl Counted {
    fn count(term: Term, cluster: &mut Cluster) -> Self {
        let counts = term.count(cluster);
        let domains = Sums::count(cluster.topology(&term.key), &counts);
        Self { term, domains }
    }
}

#[derive(Clone)]
struct AffinityFilter {
    pod: Arc<Pod>,
    affinity: Vec<Counted>,
    anti: Vec<Counted>,
    existing: HashMap<String, Sums>,
    /// So that the first of a group finds a place.
    satisfies_itself: bool,
    namespaces: Arc<HashMap<String, Labels>>,
}

impl AffinityFilter {
    fn attracted(&self, index: NodeIndex) -> bool {
        if self.affinity.iter().any(|counted| counted.domains.topology.domain(index).is_none()) {
            return false;
        }
        if self.affinity.iter().all(|counted| counted.domains.at(index) > 0) {
            return true;
        }
        self.satisfies_itself && self.affinity.iter().all(|c| c.domains.all().iter().all(|count| *count <= 0))
    }
}

impl Filter for AffinityFilter {
    fn filter(&self, index: NodeIndex, _: &NodeInfo) -> Result<(), Reason> {
        if !self.affinity.is_empty() && !self.attracted(index) {
            return Err(Reason::unresolvable("node(s) didn't match pod affinity rules"));
        }
        if self.anti.iter().any(|counted| counted.domains.at(index) > 0) {
            return Err(Reason::new("node(s) didn't match pod anti-affinity rules"));
        }
        if self.existing.values().any(|sums| sums.at(index) > 0) {
            return Err(Reason::new("node(s) didn't satisfy existing pods anti-affinity rules"));
        }
        Ok(())
    }

    fn suppose(&mut self, pod: &Pod, index: NodeIndex, _: &NodeInfo, sign: i64) {
        for counted in self.affinity.iter_mut().chain(&mut self.anti) {
            if counted.term.matches(pod, &self.namespaces) {
                counted.domains.add(index, sign);
            }
        }
        let theirs = pod.terms().map_or(&[][..], |terms| &terms.required_anti);
        for term in theirs.iter().filter(|term| term.matches(&self.pod, &self.namespaces)) {
            if let Some(sums) = self.existing.get_mut(&term.key) {
                sums.add(index, sign);
            }
        }
    }

    fn for_supposing(&self) -> Option<Box<dyn Filter>> {
        Some(Box::new(self.clone()))
    }
}

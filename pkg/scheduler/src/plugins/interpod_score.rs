//! InterPodAffinity: what is preferred, by the pod and by those that run already.

use std::collections::HashMap;
use std::sync::Arc;

use crate::cluster::{Cluster, NodeIndex, NodeInfo};
use crate::framework::{SCORE_MAX, Score};
use crate::topology::Sums;
use crate::types::Pod;

/// What a running pod's required affinity counts for when it matches the new pod (upstream's `hardPodAffinityWeight`).
const HARD_WEIGHT: i64 = 1;

/// Sum of weights for each domain, by topology key.
struct Preferences(HashMap<String, Sums>);

pub fn compile(pod: &Arc<Pod>, cluster: &mut Cluster) -> Option<Box<dyn Score>> {
    let mut preferences = Preferences(HashMap::new());
    for (term, weight) in pod.terms().map_or(&[][..], |terms| &terms.preferred) {
        let counts = term.count(cluster);
        preferences.add(&term.key, *weight, &counts, cluster);
    }
    // What running pods wish for themselves holds the other way round, too.
    let namespaces = cluster.namespaces.clone();
    let mut theirs: Vec<(String, i64, Vec<u32>)> = Vec::new();
    for group in cluster.groups() {
        let preferred = group.terms.preferred.iter().map(|(term, weight)| (term, *weight));
        let hard = group.terms.required.iter().map(|term| (term, HARD_WEIGHT));
        for (term, weight) in preferred.chain(hard).filter(|(term, _)| term.matches(pod, &namespaces)) {
            theirs.push((term.key.clone(), weight, group.by_node.clone()));
        }
    }
    for (key, weight, by_node) in theirs {
        preferences.add(&key, weight, &by_node, cluster);
    }
    (!preferences.0.is_empty()).then(|| Box::new(preferences) as Box<dyn Score>)
}

impl Preferences {
    fn add(&mut self, key: &str, weight: i64, by_node: &[u32], cluster: &mut Cluster) {
        let topology = cluster.topology(key);
        let sums = self.0.entry(key.to_owned()).or_insert_with(|| Sums::new(topology));
        for (index, count) in by_node.iter().enumerate().filter(|(_, count)| **count > 0) {
            sums.add(index, weight * i64::from(*count));
        }
    }
}

impl Score for Preferences {
    fn score(&self, index: NodeIndex, _: &NodeInfo) -> i64 {
        self.0.values().map(|sums| sums.at(index)).sum()
    }

    fn normalize(&self, scores: &mut [i64], _: &[NodeIndex]) {
        let (min, max) = (scores.iter().copied().min().unwrap_or(0), scores.iter().copied().max().unwrap_or(0));
        for score in scores {
            *score = if max > min { SCORE_MAX * (*score - min) / (max - min) } else { 0 };
        }
    }
}

//! InterPodAffinity: what is preferred, by the pod and by those that run already.

use std::collections::HashMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::WeightedPodAffinityTerm;

use super::interpod::{Term, required_affinity};
use crate::cluster::{Cluster, NodeIndex, NodeInfo};
use crate::framework::{SCORE_MAX, Score};
use crate::types::Pod;

/// What a running pod's required affinity counts for when it matches the new pod (upstream's `hardPodAffinityWeight`).
const HARD_WEIGHT: i64 = 1;

/// Sum of weights for each domain (key, value).
struct Preferences(HashMap<String, HashMap<String, i64>>);

pub fn compile(pod: &Arc<Pod>, cluster: &mut Cluster) -> Option<Box<dyn Score>> {
    let mut preferences = Preferences(HashMap::new());
    for (term, weight) in preferred(pod) {
        let counts = term.count(cluster);
        for (index, info) in cluster.nodes() {
            preferences.add(&term, info, weight * i64::from(counts.get(index).copied().unwrap_or(0)));
        }
    }
    for (_, info) in cluster.nodes() {
        for running in &info.with_affinity {
            for (term, weight) in preferred(running).into_iter().chain(hard(running)) {
                if term.matches(pod, cluster) {
                    preferences.add(&term, info, weight);
                }
            }
        }
    }
    (!preferences.0.is_empty()).then(|| Box::new(preferences) as Box<dyn Score>)
}

/// Preferred terms; those of anti-affinity with a negative weight.
fn preferred(pod: &Pod) -> Vec<(Term, i64)> {
    let Some(affinity) = &pod.spec.affinity else { return Vec::new() };
    let attracted = affinity.pod_affinity.as_ref();
    let attracted = attracted.and_then(|a| a.preferred_during_scheduling_ignored_during_execution.as_deref());
    let repelled = affinity.pod_anti_affinity.as_ref();
    let repelled = repelled.and_then(|a| a.preferred_during_scheduling_ignored_during_execution.as_deref());
    let compile = |terms: Option<&[WeightedPodAffinityTerm]>, sign: i64| -> Vec<(Term, i64)> {
        let terms = terms.unwrap_or_default().iter();
        terms.map(|t| (Term::compile(&t.pod_affinity_term, pod), sign * i64::from(t.weight))).collect()
    };
    [compile(attracted, 1), compile(repelled, -1)].concat()
}

fn hard(pod: &Pod) -> impl Iterator<Item = (Term, i64)> {
    required_affinity(pod).into_iter().map(|term| (term, HARD_WEIGHT))
}

impl Preferences {
    fn add(&mut self, term: &Term, info: &NodeInfo, weight: i64) {
        if weight != 0
            && let Some(value) = info.label(&term.key)
        {
            *self.0.entry(term.key.clone()).or_default().entry(value.to_owned()).or_insert(0) += weight;
        }
    }
}

impl Score for Preferences {
    fn score(&self, _: NodeIndex, info: &NodeInfo) -> i64 {
        self.0.iter().filter_map(|(key, domains)| domains.get(info.label(key)?)).sum()
    }

    fn normalize(&self, scores: &mut [i64], _: &[NodeIndex]) {
        let (min, max) = (scores.iter().copied().min().unwrap_or(0), scores.iter().copied().max().unwrap_or(0));
        for score in scores {
            *score = if max > min { SCORE_MAX * (*score - min) / (max - min) } else { 0 };
        }
    }
}

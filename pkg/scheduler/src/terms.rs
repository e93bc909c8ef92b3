//! A pod's inter-pod affinity, compiled once. Pods of one controller have equal terms, so the cluster keeps them in groups.

use std::collections::HashMap;
use std::sync::Arc;

use apimachinery::labels::{LabelSelector, Requirement};
use k8s_openapi::api::core::v1::{PodAffinityTerm, WeightedPodAffinityTerm};

use crate::cluster::Cluster;
use crate::selector;
use crate::types::{Labels, Pod};

/// Which pods a term is about, and over which topology.
#[derive(Clone, Debug)]
pub struct Term {
    pub key: String,
    namespaces: Vec<String>,
    namespace_selector: Option<LabelSelector>,
    selector: LabelSelector,
}

impl Term {
    fn compile(term: &PodAffinityTerm, owner: &Pod) -> Self {
        let mut namespaces = term.namespaces.clone().unwrap_or_default();
        let namespace_selector = term.namespace_selector.as_ref().map(|s| selector::compile(Some(s)));
        if namespaces.is_empty() && namespace_selector.is_none() {
            namespaces.push(owner.metadata.namespace.clone());
        }
        let selector = selector::compile(term.label_selector.as_ref());
        Self { key: term.topology_key.clone(), namespaces, namespace_selector, selector }
    }

    /// The pods that both are about, in this one's namespaces and topology.
    pub fn and(&self, other: &Self) -> Self {
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

    pub fn matches(&self, pod: &Pod, namespaces: &HashMap<String, Labels>) -> bool {
        self.in_scope(&pod.metadata.namespace, namespaces) && selector::matches(&self.selector, &pod.metadata.labels)
    }

    /// Matching pods per node.
    pub fn count(&self, cluster: &mut Cluster) -> Vec<u32> {
        let names: Vec<String> = match &self.namespace_selector {
            None => self.namespaces.clone(),
            Some(_) => {
                let known = cluster.namespaces.keys().filter(|name| self.in_scope(name, &cluster.namespaces));
                let unknown = self.namespaces.iter().filter(|n| !cluster.namespaces.contains_key(*n));
                known.chain(unknown).cloned().collect()
            }
        };
        if let [only] = names.as_slice() {
            return cluster.count(only, &self.selector).to_vec();
        }
        let mut sums = vec![0; cluster.slots()];
        for name in names {
            for (sum, count) in sums.iter_mut().zip(cluster.count(&name, &self.selector)) {
                *sum += count;
            }
        }
        sums
    }
}

/// All terms of a pod.
#[derive(Debug)]
pub struct Terms {
    /// Equal for pods with equal terms.
    pub id: Arc<str>,
    pub required: Vec<Term>,
    pub required_anti: Vec<Term>,
    /// With their weights; those of anti-affinity are negative.
    pub preferred: Vec<(Term, i64)>,
}

impl Terms {
    /// `None` for a pod without inter-pod affinity.
    pub fn of(pod: &Pod) -> Option<Arc<Self>> {
        let affinity = pod.spec.affinity.as_deref()?;
        let (attracted, repelled) = (affinity.pod_affinity.as_ref(), affinity.pod_anti_affinity.as_ref());
        if attracted.is_none() && repelled.is_none() {
            return None;
        }
        let compile = |terms: Option<&Vec<PodAffinityTerm>>| -> Vec<Term> {
            terms.into_iter().flatten().map(|term| Term::compile(term, pod)).collect()
        };
        let weighted = |terms: Option<&Vec<WeightedPodAffinityTerm>>, sign: i64| -> Vec<(Term, i64)> {
            let weight = |t: &WeightedPodAffinityTerm| sign * i64::from(t.weight);
            terms.into_iter().flatten().map(|t| (Term::compile(&t.pod_affinity_term, pod), weight(t))).collect()
        };
        let preferred = [
            weighted(attracted.and_then(|a| a.preferred_during_scheduling_ignored_during_execution.as_ref()), 1),
            weighted(repelled.and_then(|a| a.preferred_during_scheduling_ignored_during_execution.as_ref()), -1),
        ];
        // The text of equal terms is equal; that of unequal ones differs.
        let text = serde_json::to_string(&(attracted, repelled)).unwrap_or_else(|_| pod.metadata.uid.clone());
        Some(Arc::new(Self {
            id: format!("{} {text}", pod.metadata.namespace).into(),
            required: compile(attracted.and_then(|a| a.required_during_scheduling_ignored_during_execution.as_ref())),
            required_anti: compile(
                repelled.and_then(|a| a.required_during_scheduling_ignored_during_execution.as_ref()),
            ),
            preferred: preferred.concat(),
        }))
    }
}

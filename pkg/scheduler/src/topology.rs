//! Nodes by the value of one label: the domains over which pods are spread, attracted or kept apart.

use std::collections::HashMap;
use std::sync::Arc;

use crate::cluster::{Cluster, NodeIndex};

/// The domains of one topology key, numbered.
#[derive(Debug, Default)]
pub struct Topology {
    domain_of: Vec<Option<usize>>,
    domains: usize,
}

impl Topology {
    pub fn of(key: &str, cluster: &Cluster) -> Self {
        let mut numbers: HashMap<&str, usize> = HashMap::new();
        let mut domain_of = vec![None; cluster.slots()];
        for (index, info) in cluster.nodes() {
            let Some(value) = info.label(key) else { continue };
            let next = numbers.len();
            domain_of[index] = Some(*numbers.entry(value).or_insert(next));
        }
        Self { domain_of, domains: numbers.len() }
    }

    /// The node's domain; `None` if it lacks the label.
    pub fn domain(&self, index: NodeIndex) -> Option<usize> {
        self.domain_of.get(index).copied().flatten()
    }
}

/// A number for each domain of a topology.
#[derive(Clone, Debug)]
pub struct Sums {
    pub topology: Arc<Topology>,
    sums: Vec<i64>,
}

impl Sums {
    pub fn new(topology: Arc<Topology>) -> Self {
        let sums = vec![0; topology.domains];
        Self { topology, sums }
    }

    /// Adds up a number of each node.
    pub fn count(topology: Arc<Topology>, by_node: &[u32]) -> Self {
        let mut sums = Self::new(topology);
        for (index, count) in by_node.iter().enumerate().filter(|(_, count)| **count > 0) {
            sums.add(index, i64::from(*count));
        }
        sums
    }

    pub fn add(&mut self, index: NodeIndex, amount: i64) {
        if let Some(domain) = self.topology.domain(index) {
            self.sums[domain] += amount;
        }
    }

    /// The number of the node's domain; 0 for a node that is in none.
    pub fn at(&self, index: NodeIndex) -> i64 {
        self.topology.domain(index).map_or(0, |domain| self.sums[domain])
    }

    pub fn of_domain(&self, domain: usize) -> i64 {
        self.sums[domain]
    }

    pub fn all(&self) -> &[i64] {
        &self.sums
    }
}

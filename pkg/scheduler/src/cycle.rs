//! One decision: which node gets this pod, or why none does. Pure, over a [`Cluster`].

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::cluster::{Cluster, NodeIndex};
use crate::events::Events;
use crate::framework::{Filter, Plugin, Reason, Score};
use crate::types::Pod;

/// Below this many nodes all are looked at; above, the share shrinks with the size of the cluster, as upstream's does.
const FEASIBLE_MIN: usize = 100;
const SHARE_MIN: usize = 5;

/// Why no node does.
#[derive(Debug)]
pub struct FitError {
    pub nodes: usize,
    /// Node by node; empty if the pod itself was rejected.
    pub reasons: Vec<(NodeIndex, Reason)>,
    pub rejection: Option<String>,
    /// What may change it.
    pub wakes_on: Events,
}

impl FitError {
    /// `0/3 nodes are available: 1 Insufficient cpu, 2 node(s) were unschedulable.`
    pub fn message(&self) -> String {
        if self.nodes == 0 {
            return "no nodes available to schedule pods".to_owned();
        }
        let detail = match &self.rejection {
            Some(text) => text.clone(),
            None => tally(self.reasons.iter().map(|(_, reason)| &*reason.text)),
        };
        format!("0/{} nodes are available: {detail}.", self.nodes)
    }
}

/// `1 a, 2 b`: how often each text occurs, in the order of the whole entries as texts.
pub fn tally<'a>(texts: impl Iterator<Item = &'a str>) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for text in texts {
        *counts.entry(text).or_insert(0) += 1;
    }
    let mut entries: Vec<String> = counts.into_iter().map(|(text, count)| format!("{count} {text}")).collect();
    entries.sort();
    entries.join(", ")
}

/// The plugins and where the last search ended: the next one goes on from there, so that all nodes get their turn.
pub struct Scheduler {
    plugins: Vec<Box<dyn Plugin>>,
    next_start: NodeIndex,
}

/// A pod's compiled filters, with the plugin that each belongs to.
pub struct Filters {
    filters: Vec<(usize, Box<dyn Filter>)>,
}

impl Filters {
    pub fn check(&self, index: NodeIndex, cluster: &Cluster) -> Result<(), (usize, Reason)> {
        let Some(info) = cluster.node(index) else { return Ok(()) };
        self.check_info(index, info)
    }

    pub fn check_info(&self, index: NodeIndex, info: &crate::cluster::NodeInfo) -> Result<(), (usize, Reason)> {
        self.filters
            .iter()
            .try_for_each(|(plugin, filter)| filter.filter(index, info).map_err(|reason| (*plugin, reason)))
    }

    /// Copies of the filters that look beyond the node at hand; the others are asked as they are.
    pub fn supposing(&self) -> Vec<(usize, Option<Box<dyn Filter>>)> {
        self.filters.iter().enumerate().map(|(position, (_, filter))| (position, filter.for_supposing())).collect()
    }

    pub fn at(&self, position: usize) -> &dyn Filter {
        &*self.filters[position].1
    }
}

impl Scheduler {
    pub fn new(plugins: Vec<Box<dyn Plugin>>) -> Self {
        Self { plugins, next_start: 0 }
    }

    /// The node for `pod`.
    pub fn schedule(&mut self, pod: &Arc<Pod>, cluster: &mut Cluster) -> Result<NodeIndex, FitError> {
        let filters = self.compile(pod, cluster)?;
        let feasible = self.feasible(pod, &filters, cluster)?;
        Ok(match feasible.as_slice() {
            [only] => *only,
            _ => self.best(pod, &feasible, cluster),
        })
    }

    /// Compiles all filters; fails if a plugin rejects the pod for good.
    pub fn compile(&self, pod: &Arc<Pod>, cluster: &mut Cluster) -> Result<Filters, FitError> {
        let mut filters = Vec::new();
        for (index, plugin) in self.plugins.iter().enumerate() {
            match plugin.pre_filter(pod, cluster) {
                Ok(filter) => filters.extend(filter.map(|filter| (index, filter))),
                Err(rejection) => {
                    return Err(FitError {
                        nodes: cluster.nodes().count(),
                        reasons: Vec::new(),
                        rejection: Some(rejection.0),
                        wakes_on: plugin.wakes_on(),
                    });
                }
            }
        }
        Ok(Filters { filters })
    }

    /// Nodes that do, enough of them to choose from; one that preemption nominated is tried first.
    fn feasible(&mut self, pod: &Arc<Pod>, filters: &Filters, cluster: &Cluster) -> Result<Vec<NodeIndex>, FitError> {
        if !pod.status.nominated_node_name.is_empty()
            && let Some((index, _)) = cluster.node_named(&pod.status.nominated_node_name)
            && filters.check(index, cluster).is_ok()
        {
            return Ok(vec![index]);
        }
        let nodes = cluster.nodes().count();
        let (wanted, slots) = (wanted_feasible(nodes), cluster.slots());
        let (mut feasible, mut reasons, mut wakes_on) = (Vec::new(), Vec::new(), Events::NONE);
        for step in 0..slots {
            let index = (self.next_start + step) % slots;
            if cluster.node(index).is_none() {
                continue;
            }
            match filters.check(index, cluster).and_then(|()| leaves_room(pod, index, filters, cluster)) {
                Ok(()) => feasible.push(index),
                Err((plugin, reason)) => {
                    wakes_on = wakes_on.and(self.plugins[plugin].wakes_on());
                    reasons.push((index, reason));
                }
            }
            if feasible.len() >= wanted {
                self.next_start = (index + 1) % slots;
                break;
            }
        }
        if feasible.is_empty() {
            // With no node at all, only a new one helps.
            let wakes_on = wakes_on.and(Events::NODE_ADDED);
            return Err(FitError { nodes, reasons, rejection: None, wakes_on });
        }
        Ok(feasible)
    }

    fn best(&self, pod: &Arc<Pod>, feasible: &[NodeIndex], cluster: &mut Cluster) -> NodeIndex {
        let mut totals = vec![0_i64; feasible.len()];
        let compiled: Vec<(i64, Box<dyn Score>)> =
            self.plugins.iter().filter_map(|p| Some((p.weight(), p.pre_score(pod, cluster, feasible)?))).collect();
        for (weight, score) in compiled {
            let of = |index: &NodeIndex| cluster.node(*index).map_or(0, |info| score.score(*index, info));
            let mut scores: Vec<i64> = feasible.iter().map(of).collect();
            score.normalize(&mut scores, feasible);
            totals.iter_mut().zip(scores).for_each(|(total, score)| *total += weight * score);
        }
        // Among equals one is drawn, so that several schedulers or restarts do not pile up on the first.
        let best = totals.iter().copied().max().unwrap_or(0);
        let equals: Vec<NodeIndex> =
            feasible.iter().zip(&totals).filter(|(_, total)| **total == best).map(|(index, _)| *index).collect();
        equals[rand::random_range(0..equals.len())]
    }
}

fn wanted_feasible(nodes: usize) -> usize {
    if nodes <= FEASIBLE_MIN {
        return FEASIBLE_MIN;
    }
    let share = 50_usize.saturating_sub(nodes / 125).max(SHARE_MIN);
    (nodes * share / 100).max(FEASIBLE_MIN)
}

/// The node must also do with the pods of equal or higher priority that are nominated to it but not there yet.
fn leaves_room(pod: &Pod, index: NodeIndex, filters: &Filters, cluster: &Cluster) -> Result<(), (usize, Reason)> {
    if cluster.nominated.is_empty() {
        return Ok(());
    }
    let Some(info) = cluster.node(index) else { return Ok(()) };
    let others = cluster.nominated.values().filter(|(node, other)| {
        *node == info.name && other.spec.priority >= pod.spec.priority && other.metadata.uid != pod.metadata.uid
    });
    let others: Vec<Arc<Pod>> = others.map(|(_, other)| other.clone()).collect();
    if others.is_empty() {
        return Ok(());
    }
    let mut crowded = info.clone();
    let mut supposed = filters.supposing();
    for other in others {
        for (_, filter) in supposed.iter_mut().filter_map(|(p, f)| Some((p, f.as_mut()?))) {
            filter.suppose(&other, index, info, 1);
        }
        crowded.add(other);
    }
    for (position, supposed) in &supposed {
        let filter = supposed.as_deref().unwrap_or_else(|| filters.at(*position));
        filter.filter(index, &crowded).map_err(|reason| (filters.filters[*position].0, reason))?;
    }
    Ok(())
}

#[cfg(test)]
#[path = "cycle_tests.rs"]
mod tests;

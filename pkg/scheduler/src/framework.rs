//! What a plugin is: it looks at a pod once (`pre_filter`, `pre_score`), and then at each node cheaply.
//!
//! The phases and their meaning are upstream's scheduling framework (KEP-624).

use std::borrow::Cow;
use std::sync::Arc;

use crate::cluster::{Cluster, NodeIndex, NodeInfo};
use crate::events::Events;
use crate::types::Pod;

/// Scores of one plugin end up between 0 and this.
pub const SCORE_MAX: i64 = 100;

/// Why a node does not do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// As it stands in Events: `Insufficient cpu`.
    pub text: Cow<'static, str>,
    /// False if no pod on the node is in the way, so that evicting some would not help.
    pub preemption_helps: bool,
}

impl Reason {
    pub fn new(text: impl Into<Cow<'static, str>>) -> Self {
        Self { text: text.into(), preemption_helps: true }
    }

    /// A reason that holds whatever runs on the node.
    pub fn unresolvable(text: impl Into<Cow<'static, str>>) -> Self {
        Self { text: text.into(), preemption_helps: false }
    }
}

/// No node does, for a reason that lies with the pod itself.
#[derive(Clone, Debug)]
pub struct Rejection(pub String);

/// One rule about where a pod may or should run.
pub trait Plugin: Send + Sync {
    fn name(&self) -> &'static str;

    /// What may make a pod schedulable that this plugin rejected.
    fn wakes_on(&self) -> Events;

    /// Compiles what the filter needs. `None`: this pod does not concern the plugin.
    fn pre_filter(&self, _pod: &Arc<Pod>, _cluster: &mut Cluster) -> Result<Option<Box<dyn Filter>>, Rejection> {
        Ok(None)
    }

    /// Compiles what scoring the feasible nodes needs. `None`: the plugin has no preference.
    fn pre_score(&self, _pod: &Arc<Pod>, _cluster: &mut Cluster, _feasible: &[NodeIndex]) -> Option<Box<dyn Score>> {
        None
    }

    /// How much the plugin's scores count.
    fn weight(&self) -> i64 {
        1
    }
}

/// A plugin's rule about one pod, asked for each node.
pub trait Filter: Send {
    fn filter(&self, index: NodeIndex, node: &NodeInfo) -> Result<(), Reason>;

    /// Another pod comes to (+1) or leaves (-1) a node, only supposed: for preemption and nominated pods.
    fn suppose(&mut self, _pod: &Pod, _index: NodeIndex, _node: &NodeInfo, _sign: i64) {}

    /// A copy to suppose on. `None`: the filter looks at nothing but the node it is given.
    fn for_supposing(&self) -> Option<Box<dyn Filter>> {
        None
    }
}

/// A plugin's preference about one pod, asked for each feasible node.
pub trait Score: Send {
    fn score(&self, index: NodeIndex, node: &NodeInfo) -> i64;

    /// Brings raw scores into 0..=[`SCORE_MAX`]. `nodes` are parallel to `scores`.
    fn normalize(&self, _scores: &mut [i64], _nodes: &[NodeIndex]) {}
}

/// Scales so that the largest becomes [`SCORE_MAX`]; `reverse` turns the order around.
pub fn normalize_default(scores: &mut [i64], reverse: bool) {
    let max = scores.iter().copied().max().unwrap_or(0);
    for score in scores {
        let scaled = if max == 0 { 0 } else { *score * SCORE_MAX / max };
        *score = match (reverse, max) {
            (true, 0) => SCORE_MAX,
            (true, _) => SCORE_MAX - scaled,
            (false, _) => scaled,
        };
    }
}

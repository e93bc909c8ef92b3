//! NodeResourcesFit (with the LeastAllocated score) and NodeResourcesBalancedAllocation.

use std::sync::Arc;

use crate::cluster::{Cluster, NodeIndex, NodeInfo};
use crate::events::Events;
use crate::framework::{Filter, Plugin, Reason, Rejection, SCORE_MAX, Score};
use crate::resources::Resources;
use crate::types::Pod;

const WAKES: Events = Events::NODE_ADDED.and(Events::NODE_ALLOCATABLE).and(Events::POD_GONE).and(Events::POD_CHANGED);

pub struct Fit;

impl Plugin for Fit {
    fn name(&self) -> &'static str {
        "NodeResourcesFit"
    }

    fn wakes_on(&self) -> Events {
        WAKES
    }

    fn pre_filter(&self, pod: &Arc<Pod>, _: &mut Cluster) -> Result<Option<Box<dyn Filter>>, Rejection> {
        Ok(Some(Box::new(FitFilter(pod.requests().clone()))))
    }

    fn pre_score(&self, pod: &Arc<Pod>, _: &mut Cluster, _: &[NodeIndex]) -> Option<Box<dyn Score>> {
        Some(Box::new(LeastAllocated(pod.requests().clone())))
    }
}

struct FitFilter(Resources);

impl Filter for FitFilter {
    fn filter(&self, _: NodeIndex, node: &NodeInfo) -> Result<(), Reason> {
        let (asked, has, used) = (&self.0, &node.allocatable, &node.requested);
        if node.pods.len() as i64 + 1 > has.pods {
            return Err(Reason::new("Too many pods"));
        }
        short("cpu", asked.cpu_milli, has.cpu_milli, used.cpu_milli)?;
        short("memory", asked.memory, has.memory, used.memory)?;
        short("ephemeral-storage", asked.ephemeral_storage, has.ephemeral_storage, used.ephemeral_storage)?;
        for (name, amount) in &asked.other {
            let of = |resources: &Resources| resources.other.get(name).copied().unwrap_or(0);
            short(name, *amount, of(has), of(used))?;
        }
        Ok(())
    }
}

fn short(name: &str, asked: i64, has: i64, used: i64) -> Result<(), Reason> {
    if asked == 0 || asked <= has - used {
        return Ok(());
    }
    let text = format!("Insufficient {name}");
    // More than the whole node: nothing that leaves makes room.
    Err(if asked > has { Reason::unresolvable(text) } else { Reason::new(text) })
}

/// Prefers nodes with much left, of CPU and memory alike.
struct LeastAllocated(Resources);

impl Score for LeastAllocated {
    fn score(&self, _: NodeIndex, node: &NodeInfo) -> i64 {
        let left = |has: i64, used: i64| if has == 0 || used > has { 0 } else { (has - used) * SCORE_MAX / has };
        let cpu = left(node.allocatable.cpu_milli, node.requested.scored_cpu_milli + self.0.scored_cpu_milli);
        let memory = left(node.allocatable.memory, node.requested.scored_memory + self.0.scored_memory);
        (cpu + memory) / 2
    }
}

/// Prefers nodes where CPU and memory would be used in like measure.
pub struct BalancedAllocation;

impl Plugin for BalancedAllocation {
    fn name(&self) -> &'static str {
        "NodeResourcesBalancedAllocation"
    }

    fn wakes_on(&self) -> Events {
        Events::NONE
    }

    fn pre_score(&self, pod: &Arc<Pod>, _: &mut Cluster, _: &[NodeIndex]) -> Option<Box<dyn Score>> {
        let requests = pod.requests();
        // A best-effort pod changes no balance.
        (requests.cpu_milli > 0 || requests.memory > 0).then(|| Box::new(Balanced(requests.clone())) as Box<dyn Score>)
    }
}

struct Balanced(Resources);

impl Score for Balanced {
    fn score(&self, _: NodeIndex, node: &NodeInfo) -> i64 {
        let share = |has: i64, used: i64| if has == 0 { 1.0 } else { (used as f64 / has as f64).min(1.0) };
        let cpu = share(node.allocatable.cpu_milli, node.requested.cpu_milli + self.0.cpu_milli);
        let memory = share(node.allocatable.memory, node.requested.memory + self.0.memory);
        // The standard deviation of two values is half their difference.
        ((1.0 - (cpu - memory).abs() / 2.0) * SCORE_MAX as f64) as i64
    }
}

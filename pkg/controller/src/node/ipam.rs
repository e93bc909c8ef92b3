//! Pod address ranges: each node gets one of its own out of the cluster's.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use client::{Cached as _, Change, EventType, ObjectKey, Scope, Store, WorkQueue};
use ipnet::IpNet;
use k8s_openapi::api::core::v1::Node;
use kube::Api;
use kube::api::{Patch, PatchParams};
use parking_lot::Mutex;
use serde_json::json;

use crate::skeleton::{Context, Error, SyncResult, Tasks, is_not_found};

const NAME: &str = "node_ipam";
/// The size of a node's range, by family.
const NODE_MASK_V4: u8 = 24;
const NODE_MASK_V6: u8 = 64;

/// Which node has which range. Kept in memory beside the cache, so that two nodes never get the same one while the
/// cache is late.
#[derive(Debug)]
struct Ranges {
    cluster: IpNet,
    mask: u8,
    /// Range → who has it. By rights that is one node; while two have it, it is free when both are gone.
    taken: HashMap<IpNet, BTreeSet<String>>,
    /// Nodes that found no range left.
    waiting: BTreeSet<String>,
}

impl Ranges {
    fn new(cluster: IpNet) -> Self {
        let mask = if cluster.addr().is_ipv4() { NODE_MASK_V4 } else { NODE_MASK_V6 };
        Self {
            cluster: cluster.trunc(),
            mask: mask.max(cluster.prefix_len()),
            taken: HashMap::new(),
            waiting: BTreeSet::new(),
        }
    }

    fn take(&mut self, range: IpNet, node: &str) {
        self.waiting.remove(node);
        self.taken.entry(range.trunc()).or_default().insert(node.to_owned());
    }

    /// Gives back what a node has, and answers which nodes wait for a range.
    fn free(&mut self, node: &str) -> BTreeSet<String> {
        self.waiting.remove(node);
        self.taken.retain(|_, owners| {
            owners.remove(node);
            !owners.is_empty()
        });
        std::mem::take(&mut self.waiting)
    }

    /// The node's range: the one it has, or the first that is free and does not overlap one that is taken. Without any the
    /// node waits.
    fn allocate(&mut self, node: &str) -> Option<IpNet> {
        if let Some((range, _)) = self.taken.iter().find(|(_, owners)| owners.contains(node)) {
            return Some(*range);
        }
        let overlaps =
            |range: &IpNet| self.taken.keys().any(|t| t.contains(&range.network()) || range.contains(&t.network()));
        let mut ranges = self.cluster.subnets(self.mask).ok()?;
        let free = ranges.find(|range| !self.taken.contains_key(range) && !overlaps(range));
        match free {
            Some(range) => self.take(range, node),
            None => _ = self.waiting.insert(node.to_owned()),
        }
        free
    }
}

/// Runs the controller until shutdown.
pub async fn run(context: Context, cluster_cidr: String) -> Result<(), Error> {
    let cluster: IpNet =
        cluster_cidr.parse().map_err(|e| Error::Invalid(format!("cluster CIDR {cluster_cidr:?}: {e}")))?;
    let nodes = context.informers.get::<Node>(Scope::all());
    nodes.synced().await;
    let ranges = Arc::new(Mutex::new(Ranges::new(cluster)));
    for node in nodes.store().list() {
        occupy(&mut ranges.lock(), &node);
    }
    let queue: WorkQueue<ObjectKey> = WorkQueue::new(NAME);
    let mut tasks = Tasks::new();
    tasks.feed(&nodes, {
        let (queue, ranges) = (queue.clone(), ranges.clone());
        move |change: &Change<Node>| {
            match &change.new {
                None => release(&ranges, &queue, &change.key.name),
                Some(node) => occupy(&mut ranges.lock(), node),
            }
            queue.add(change.key.clone());
        }
    });
    let shared = Arc::new((context.clone(), nodes.store(), ranges, queue.clone()));
    tasks.work(NAME, &queue, 1, move |key: ObjectKey| {
        let shared = shared.clone();
        async move {
            let (context, store, ranges, queue) = &*shared;
            sync(context, store, ranges, queue, &key.name).await
        }
    });
    tasks.run(&context.shutdown).await
}

fn occupy(ranges: &mut Ranges, node: &Node) {
    let spec = node.spec.as_ref();
    let listed = spec.and_then(|spec| spec.pod_cidrs.clone()).unwrap_or_default();
    for range in listed.iter().chain(spec.and_then(|spec| spec.pod_cidr.as_ref())) {
        if let Ok(range) = range.parse::<IpNet>() {
            ranges.take(range, node.name());
        }
    }
}

/// Gives back what a node has; whoever waits for that is looked at again.
fn release(ranges: &Mutex<Ranges>, queue: &WorkQueue<ObjectKey>, node: &str) {
    let waiting = ranges.lock().free(node);
    waiting.iter().for_each(|waiting| queue.add(ObjectKey::new("", waiting)));
}

async fn sync(
    context: &Context,
    nodes: &Store<Node>,
    ranges: &Mutex<Ranges>,
    queue: &WorkQueue<ObjectKey>,
    name: &str,
) -> SyncResult {
    let Some(node) = nodes.get("", name) else { return Ok(None) };
    if node.spec.as_ref().is_some_and(|spec| spec.pod_cidr.is_some()) {
        return Ok(None);
    }
    let Some(range) = ranges.lock().allocate(name) else {
        let text = format!("Node {name} status is now: CIDRNotAvailable");
        context.recorder.event(&client::recorder::reference(&*node), EventType::Normal, "CIDRNotAvailable", &text);
        tracing::warn!(node = name, "no range of pod addresses is left; the node waits until another is deleted");
        return Ok(None);
    };
    let api: Api<Node> = Api::all(context.client.clone());
    let patch = json!({
        "metadata": { "uid": node.metadata.uid },
        "spec": { "podCIDR": range.to_string(), "podCIDRs": [range.to_string()] }
    });
    match api.patch(name, &PatchParams::default(), &Patch::Strategic(&patch)).await {
        // The watch may have told of its end before the range was taken.
        Err(error) if is_not_found(&error) => {
            release(ranges, queue, name);
            Ok(None)
        }
        outcome => Ok(outcome.map(|_| None)?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_node_gets_its_own_range_and_keeps_it() {
        let mut ranges = Ranges::new("10.42.0.0/16".parse().unwrap());
        ranges.take("10.42.0.0/24".parse().unwrap(), "old");
        let a = ranges.allocate("a").unwrap();
        assert_eq!(a.to_string(), "10.42.1.0/24");
        assert_eq!(ranges.allocate("a").unwrap(), a);
        assert_eq!(ranges.allocate("b").unwrap().to_string(), "10.42.2.0/24");
        ranges.free("a");
        assert_eq!(ranges.allocate("c").unwrap(), a);
        // One that was given by hand in another size is respected.
        ranges.take("10.42.4.0/22".parse().unwrap(), "wide");
        for _ in 0..2 {
            ranges.allocate("d");
        }
        assert_eq!(ranges.allocate("d").unwrap().to_string(), "10.42.3.0/24");
        assert_eq!(ranges.allocate("e").unwrap().to_string(), "10.42.8.0/24");
    }

    #[test]
    fn exhaustion_is_said() {
        let mut ranges = Ranges::new("10.0.0.0/23".parse().unwrap());
        assert!(ranges.allocate("a").is_some() && ranges.allocate("b").is_some());
        assert_eq!(ranges.allocate("c"), None);
    }

    #[test]
    fn a_node_that_found_none_gets_the_range_of_one_that_leaves() {
        let mut ranges = Ranges::new("10.0.0.0/23".parse().unwrap());
        let (a, _) = (ranges.allocate("a"), ranges.allocate("b"));
        assert_eq!((ranges.allocate("c"), ranges.allocate("d")), (None, None));
        assert!(ranges.free("d").contains("c"), "whoever waits is looked at again, but not one that is gone");
        assert_eq!(ranges.allocate("c"), None);
        assert_eq!(ranges.free("a"), BTreeSet::from(["c".to_owned()]));
        assert_eq!(ranges.allocate("c"), a);
        assert!(ranges.free("c").is_empty(), "nobody waits any more");
    }

    #[test]
    fn a_range_that_two_nodes_have_is_free_when_both_are_gone() {
        // As after a takeover, when the leader before had one more write on its way.
        let mut ranges = Ranges::new("10.0.0.0/23".parse().unwrap());
        let range = "10.0.0.0/24".parse().unwrap();
        ranges.take(range, "a");
        ranges.take(range, "b");
        ranges.free("b");
        assert_eq!(ranges.allocate("c").unwrap().to_string(), "10.0.1.0/24");
        ranges.free("a");
        assert_eq!(ranges.allocate("d"), Some(range));
    }
}

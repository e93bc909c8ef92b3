//! The scheduler's picture of the cluster: nodes with the pods on them, kept up to date by increments.
//!
//! A pod that was given a node is *assumed* there until the watch confirms it, so that the next decision counts it.
//! Nodes are numbered; numbers of nodes that went away are used again.

use std::collections::HashMap;
use std::sync::Arc;

use apimachinery::labels::LabelSelector;
use client::ObjectKey;

use crate::resources::Resources;
use crate::selector;
use crate::terms::Terms;
use crate::topology::Topology;
use crate::types::{Labels, Node, Pod};

/// A node's number; an index into [`Cluster::slots`].
pub type NodeIndex = usize;

/// How many (namespace, selector) pairs are counted along; beyond it the one that was asked for longest ago goes.
const COUNTERS_MAX: usize = 256;

/// One node with what is on it.
#[derive(Clone, Debug)]
pub struct NodeInfo {
    /// `None` while pods of a node are known that is not (yet, or any more) there itself.
    pub node: Option<Arc<Node>>,
    pub name: String,
    pub pods: Vec<Arc<Pod>>,
    pub requested: Resources,
    pub allocatable: Resources,
    /// (address, protocol, port) in use.
    pub ports: Vec<(String, String, i32)>,
    /// Size of each image that is present, by name.
    pub images: HashMap<String, i64>,
}

impl NodeInfo {
    fn new(name: &str) -> Self {
        Self {
            node: None,
            name: name.to_owned(),
            pods: Vec::new(),
            requested: Resources::default(),
            allocatable: Resources::default(),
            ports: Vec::new(),
            images: HashMap::new(),
        }
    }

    pub fn labels(&self) -> Option<&Labels> {
        self.node.as_ref().map(|node| &*node.metadata.labels)
    }

    pub fn label(&self, key: &str) -> Option<&str> {
        self.labels()?.get(key).map(String::as_str)
    }

    fn set_node(&mut self, node: Arc<Node>) {
        self.allocatable = Resources::of_list(&node.status.allocatable);
        self.images.clear();
        for image in &node.status.images {
            self.images.extend(image.names.iter().map(|name| (name.clone(), image.size_bytes)));
        }
        self.node = Some(node);
    }

    pub fn add(&mut self, pod: Arc<Pod>) {
        self.requested.add(pod.requests());
        self.ports.extend(pod.host_ports().map(|(a, p, n)| (a.to_owned(), p.to_owned(), n)));
        self.pods.push(pod);
    }

    /// Takes the pod with this UID away; false if it was not there.
    pub fn remove(&mut self, uid: &str) -> bool {
        let position = self.pods.iter().position(|p| p.metadata.uid == uid);
        position.is_some_and(|position| {
            self.remove_at(position);
            true
        })
    }

    /// Takes the pod at a position away; the last one takes its place.
    fn remove_at(&mut self, position: usize) {
        let pod = self.pods.swap_remove(position);
        self.requested.subtract(pod.requests());
        if pod.host_ports().next().is_some() {
            self.ports = self.pods.iter().flat_map(|p| ports_of(p)).collect();
        }
    }
}

fn ports_of(pod: &Pod) -> Vec<(String, String, i32)> {
    pod.host_ports().map(|(a, p, n)| (a.to_owned(), p.to_owned(), n)).collect()
}

/// How many pods of a namespace that a selector matches are on each node, counted along with every change.
#[derive(Debug)]
struct Counter {
    namespace: String,
    selector: LabelSelector,
    by_node: Vec<u32>,
    asked: u64,
}

impl Counter {
    fn counts(&self, pod: &Pod) -> bool {
        pod.metadata.namespace == self.namespace
            && !pod.is_deleting()
            && selector::matches(&self.selector, &pod.metadata.labels)
    }
}

/// Running pods with equal inter-pod affinity, and how many are on each node.
#[derive(Debug)]
pub struct Group {
    pub terms: Arc<Terms>,
    pub by_node: Vec<u32>,
    total: u32,
}

/// Where a pod is.
#[derive(Debug)]
struct Placed {
    node: NodeIndex,
    /// Its index in [`NodeInfo::pods`], of which there may be thousands.
    position: usize,
    pod: Arc<Pod>,
}

#[derive(Debug, Default)]
pub struct Cluster {
    slots: Vec<Option<NodeInfo>>,
    by_name: HashMap<String, NodeIndex>,
    free: Vec<NodeIndex>,
    /// Where each known pod is, by UID.
    placed: HashMap<String, Placed>,
    counters: HashMap<String, Counter>,
    clock: u64,
    groups: HashMap<Arc<str>, Group>,
    /// Made on demand, forgotten when nodes or their labels change.
    topologies: HashMap<String, Arc<Topology>>,
    /// Labels of each namespace, for namespace selectors.
    pub namespaces: Arc<HashMap<String, Labels>>,
    /// Pods with a node nominated by preemption that are not there yet.
    pub nominated: HashMap<ObjectKey, (String, Arc<Pod>)>,
}

impl Cluster {
    /// Nodes that exist, with their numbers.
    pub fn nodes(&self) -> impl Iterator<Item = (NodeIndex, &NodeInfo)> {
        let used = self.slots.iter().enumerate().filter_map(|(index, slot)| Some((index, slot.as_ref()?)));
        used.filter(|(_, info)| info.node.is_some())
    }

    pub fn node(&self, index: NodeIndex) -> Option<&NodeInfo> {
        self.slots.get(index).and_then(Option::as_ref).filter(|info| info.node.is_some())
    }

    pub fn node_named(&self, name: &str) -> Option<(NodeIndex, &NodeInfo)> {
        let index = *self.by_name.get(name)?;
        Some((index, self.node(index)?))
    }

    /// Numbers are below this.
    pub fn slots(&self) -> usize {
        self.slots.len()
    }

    pub fn set_node(&mut self, node: Arc<Node>) {
        let index = self.slot(&node.metadata.name);
        if let Some(info) = &mut self.slots[index] {
            if info.labels() != Some(&*node.metadata.labels) {
                self.topologies.clear();
            }
            info.set_node(node);
        }
    }

    pub fn remove_node(&mut self, name: &str) {
        let Some(&index) = self.by_name.get(name) else { return };
        if let Some(info) = &mut self.slots[index] {
            info.node = None;
        }
        self.topologies.clear();
        self.release_if_empty(index);
    }

    /// The domains of a topology key.
    pub fn topology(&mut self, key: &str) -> Arc<Topology> {
        if let Some(known) = self.topologies.get(key) {
            return known.clone();
        }
        let topology = Arc::new(Topology::of(key, self));
        self.topologies.insert(key.to_owned(), topology.clone());
        topology
    }

    /// Groups of running pods with inter-pod affinity.
    pub fn groups(&self) -> impl Iterator<Item = &Group> {
        self.groups.values()
    }

    fn join_group(&mut self, pod: &Pod, index: NodeIndex) {
        let Some(terms) = pod.terms() else { return };
        let group = self.groups.entry(terms.id.clone()).or_insert_with(|| Group {
            terms: terms.clone(),
            by_node: Vec::new(),
            total: 0,
        });
        if group.by_node.len() <= index {
            group.by_node.resize(index + 1, 0);
        }
        group.by_node[index] += 1;
        group.total += 1;
    }

    fn leave_group(&mut self, pod: &Pod, index: NodeIndex) {
        let Some(terms) = pod.terms() else { return };
        let Some(group) = self.groups.get_mut(&terms.id) else { return };
        group.by_node[index] -= 1;
        group.total -= 1;
        if group.total == 0 {
            self.groups.remove(&terms.id);
        }
    }

    fn slot(&mut self, name: &str) -> NodeIndex {
        if let Some(&index) = self.by_name.get(name) {
            return index;
        }
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        self.slots[index] = Some(NodeInfo::new(name));
        self.by_name.insert(name.to_owned(), index);
        for counter in self.counters.values_mut() {
            counter.by_node.resize(self.slots.len(), 0);
            counter.by_node[index] = 0;
        }
        index
    }

    fn release_if_empty(&mut self, index: NodeIndex) {
        let empty = self.slots[index].as_ref().is_some_and(|info| info.node.is_none() && info.pods.is_empty());
        if empty && let Some(info) = self.slots[index].take() {
            self.by_name.remove(&info.name);
            self.free.push(index);
        }
    }

    /// Puts a pod on a node (as observed, or as assumed), or moves and refreshes it if it is known.
    pub fn place(&mut self, pod: Arc<Pod>, node: &str) {
        self.remove(&pod.metadata.uid);
        let index = self.slot(node);
        let mut position = 0;
        if let Some(info) = &mut self.slots[index] {
            position = info.pods.len();
            info.add(pod.clone());
        }
        for counter in self.counters.values_mut().filter(|c| c.counts(&pod)) {
            counter.by_node[index] += 1;
        }
        self.join_group(&pod, index);
        self.placed.insert(pod.metadata.uid.clone(), Placed { node: index, position, pod });
    }

    /// Forgets a pod; false if it was not known.
    pub fn remove(&mut self, uid: &str) -> bool {
        let Some(Placed { node, position, pod }) = self.placed.remove(uid) else { return false };
        if let Some(info) = &mut self.slots[node] {
            info.remove_at(position);
            let moved = info.pods.get(position).and_then(|moved| self.placed.get_mut(&moved.metadata.uid));
            if let Some(moved) = moved {
                moved.position = position;
            }
        }
        for counter in self.counters.values_mut().filter(|c| c.counts(&pod)) {
            counter.by_node[node] = counter.by_node[node].saturating_sub(1);
        }
        self.leave_group(&pod, node);
        self.release_if_empty(node);
        true
    }

    /// Pods per node that `selector` matches in `namespace`. The first question counts, later ones look up.
    pub fn count(&mut self, namespace: &str, selector: &LabelSelector) -> &[u32] {
        let key = format!("{namespace}/{selector}");
        self.clock += 1;
        if !self.counters.contains_key(&key) {
            self.evict_counter();
            let mut counter = Counter {
                namespace: namespace.to_owned(),
                selector: selector.clone(),
                by_node: vec![0; self.slots.len()],
                asked: 0,
            };
            for placed in self.placed.values() {
                if counter.counts(&placed.pod) {
                    counter.by_node[placed.node] += 1;
                }
            }
            self.counters.insert(key.clone(), counter);
        }
        // Inserted just above if it was not there.
        let Some(counter) = self.counters.get_mut(&key) else { return &[] };
        counter.asked = self.clock;
        &counter.by_node
    }

    fn evict_counter(&mut self) {
        if self.counters.len() < COUNTERS_MAX {
            return;
        }
        let oldest = self.counters.iter().min_by_key(|(_, c)| c.asked).map(|(key, _)| key.clone());
        if let Some(key) = oldest {
            self.counters.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(name: &str, app: &str) -> Arc<Pod> {
        let pod = json!({
            "metadata": {"name": name, "namespace": "default", "uid": name, "labels": {"app": app}},
            "spec": {"containers": [{"resources": {"requests": {"cpu": "1"}}, "ports": [{"hostPort": 80}]}]},
        });
        Arc::new(serde_json::from_value(pod).expect("a pod"))
    }

    fn node(name: &str) -> Arc<Node> {
        Arc::new(serde_json::from_value(json!({"metadata": {"name": name}})).expect("a node"))
    }

    #[test]
    fn counts_follow_every_change() {
        let mut cluster = Cluster::default();
        cluster.set_node(node("a"));
        cluster.set_node(node("b"));
        let web = LabelSelector::parse("app=web").expect("a selector");
        cluster.place(pod("p1", "web"), "a");
        assert_eq!(cluster.count("default", &web), [1, 0]);
        cluster.place(pod("p2", "web"), "b");
        cluster.place(pod("p3", "db"), "b");
        assert_eq!(cluster.count("default", &web), [1, 1]);
        cluster.place(pod("p1", "web"), "b");
        assert_eq!(cluster.count("default", &web), [0, 2], "a pod that is placed again moves");
        assert!(cluster.remove("p2"));
        assert_eq!(cluster.count("default", &web), [0, 1]);
        assert_eq!(cluster.count("other", &web), [0, 0]);
    }

    #[test]
    fn a_pod_takes_and_gives_back() {
        let mut cluster = Cluster::default();
        cluster.set_node(node("a"));
        cluster.place(pod("p1", "web"), "a");
        let info = cluster.node_named("a").expect("the node").1;
        assert_eq!((info.requested.cpu_milli, info.ports.len()), (1000, 1));
        assert!(cluster.remove("p1") && !cluster.remove("p1"));
        let info = cluster.node_named("a").expect("the node").1;
        assert_eq!((info.requested.cpu_milli, info.ports.len()), (0, 0));
    }

    #[test]
    fn pods_leave_in_any_order() {
        let mut cluster = Cluster::default();
        cluster.set_node(node("a"));
        for name in ["p1", "p2", "p3", "p4"] {
            cluster.place(pod(name, "web"), "a");
        }
        let mut left = vec!["p1", "p2", "p3", "p4"];
        for gone in ["p2", "p4", "p1", "p3"] {
            assert!(cluster.remove(gone));
            left.retain(|name| *name != gone);
            let info = cluster.node_named("a").expect("the node").1;
            let mut names: Vec<&str> = info.pods.iter().map(|pod| pod.metadata.name.as_str()).collect();
            names.sort_unstable();
            assert_eq!(names, left);
            assert_eq!(info.requested.cpu_milli, 1000 * i64::try_from(left.len()).expect("a few"));
        }
    }

    #[test]
    fn a_node_that_is_gone_keeps_its_pods_until_they_go() {
        let mut cluster = Cluster::default();
        cluster.place(pod("early", "web"), "a");
        assert_eq!(cluster.nodes().count(), 0);
        cluster.set_node(node("a"));
        assert_eq!(cluster.nodes().next().expect("one").1.pods.len(), 1);
        cluster.remove_node("a");
        assert_eq!(cluster.nodes().count(), 0);
        cluster.remove("early");
        cluster.set_node(node("b"));
        assert_eq!(cluster.slots(), 1, "the number of a node without pods is used again");
    }
}

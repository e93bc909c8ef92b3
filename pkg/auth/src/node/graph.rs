//! Which objects the pods of which node need, kept up to date pod by pod.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, LazyLock};

use apimachinery::meta::ObjectExt;
use parking_lot::RwLock;
use serde_json::Value;

use super::references::{Target, of_pod, of_volume};

/// The kinds that are looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    Pod,
    Secret,
    ConfigMap,
    ServiceAccount,
    Claim,
    Volume,
    ResourceClaim,
    VolumeAttachment,
    ResourceSlice,
}

/// Fed with pods, PersistentVolumes, VolumeAttachments and ResourceSlices as they change.
#[derive(Default)]
pub struct NodeGraph(RwLock<State>);

/// Namespace and name.
type Key = (String, String);

/// What a pod needs: found when somebody asks first, for most pods change many times before a node does.
type Needs = LazyLock<HashSet<Target>, Box<dyn FnOnce() -> HashSet<Target> + Send>>;

#[derive(Default)]
struct State {
    /// Pod to its node.
    pods: HashMap<Key, String>,
    /// Node to its pods.
    nodes: HashMap<String, HashMap<Key, Arc<Needs>>>,
    /// PersistentVolume to its claim and secrets.
    volumes: HashMap<String, VolumeLinks>,
    /// Secret to the PersistentVolumes that need it.
    secret_volumes: HashMap<Key, HashSet<String>>,
    /// Objects that name their node themselves.
    owned: HashMap<(Kind, String), String>,
}

struct VolumeLinks {
    claim: Target,
    secrets: Vec<Key>,
}

impl NodeGraph {
    /// Takes a new or changed pod of `node`; `read` gives the pod and is called when a node asks for what it needs. Pods
    /// without a node need nothing yet.
    pub fn upsert_pod(
        &self,
        (namespace, name): (&str, &str),
        node: &str,
        read: impl FnOnce() -> Value + Send + 'static,
    ) {
        let key = (namespace.to_owned(), name.to_owned());
        let mut state = self.0.write();
        if state.pods.get(&key).is_some_and(|old| old != node) {
            state.drop_pod(&key);
        }
        if node.is_empty() {
            return;
        }
        let needs: Needs = LazyLock::new(Box::new(move || needs_of(&read())));
        state.nodes.entry(node.to_owned()).or_default().insert(key.clone(), Arc::new(needs));
        state.pods.insert(key, node.to_owned());
    }

    pub fn delete_pod(&self, namespace: &str, name: &str) {
        self.0.write().drop_pod(&(namespace.to_owned(), name.to_owned()));
    }

    /// Forgets the objects of a kind that are not in `live`: for a watch that fell behind. Namespaces of objects that have
    /// none are empty. Kinds that are only referred to are not fed.
    pub fn retain(&self, kind: Kind, live: &HashSet<(&str, &str)>) {
        let mut state = self.0.write();
        let is_gone = |namespace: &str, name: &str| !live.contains(&(namespace, name));
        match kind {
            Kind::Pod => {
                let gone: Vec<Key> = state.pods.keys().filter(|key| is_gone(&key.0, &key.1)).cloned().collect();
                gone.iter().for_each(|key| state.drop_pod(key));
            }
            Kind::Volume => {
                let gone: Vec<String> = state.volumes.keys().filter(|name| is_gone("", name)).cloned().collect();
                gone.iter().for_each(|name| state.drop_volume(name));
            }
            _ => state.owned.retain(|(other, name), _| *other != kind || !is_gone("", name)),
        }
    }

    pub fn upsert_volume(&self, volume: &Value) {
        let mut state = self.0.write();
        state.drop_volume(volume.name());
        let claim = volume.str_at("spec/claimRef/name");
        if claim.is_empty() {
            return;
        }
        let claim = (Kind::Claim, volume.str_at("spec/claimRef/namespace").to_owned(), claim.to_owned());
        let secrets = of_volume(volume);
        for secret in &secrets {
            state.secret_volumes.entry(secret.clone()).or_default().insert(volume.name().to_owned());
        }
        state.volumes.insert(volume.name().to_owned(), VolumeLinks { claim, secrets });
    }

    pub fn delete_volume(&self, name: &str) {
        self.0.write().drop_volume(name);
    }

    pub fn upsert_volume_attachment(&self, attachment: &Value) {
        self.own(Kind::VolumeAttachment, attachment.name(), attachment.str_at("spec/nodeName"));
    }

    pub fn delete_volume_attachment(&self, name: &str) {
        self.own(Kind::VolumeAttachment, name, "");
    }

    pub fn upsert_resource_slice(&self, slice: &Value) {
        self.own(Kind::ResourceSlice, slice.name(), slice.str_at("spec/nodeName"));
    }

    pub fn delete_resource_slice(&self, name: &str) {
        self.own(Kind::ResourceSlice, name, "");
    }

    fn own(&self, kind: Kind, name: &str, node: &str) {
        let mut state = self.0.write();
        let key = (kind, name.to_owned());
        if node.is_empty() {
            state.owned.remove(&key);
        } else {
            state.owned.insert(key, node.to_owned());
        }
    }

    /// True if something on `node` needs the object.
    pub fn reaches(&self, node: &str, kind: Kind, namespace: &str, name: &str) -> bool {
        let state = self.0.read();
        let key = || (namespace.to_owned(), name.to_owned());
        match kind {
            Kind::VolumeAttachment | Kind::ResourceSlice => {
                state.owned.get(&(kind, name.to_owned())).is_some_and(|owner| owner == node)
            }
            Kind::Pod => state.pods.get(&key()).is_some_and(|of| of == node),
            Kind::Volume => state.volumes.get(name).is_some_and(|v| state.needs(node, &v.claim)),
            Kind::Secret => {
                let target = (kind, namespace.to_owned(), name.to_owned());
                if state.needs(node, &target) {
                    return true;
                }
                let volumes = state.secret_volumes.get(&key());
                let links = volumes.into_iter().flatten().filter_map(|volume| state.volumes.get(volume));
                links.into_iter().any(|v| state.needs(node, &v.claim))
            }
            _ => state.needs(node, &(kind, namespace.to_owned(), name.to_owned())),
        }
    }
}

impl State {
    fn needs(&self, node: &str, target: &Target) -> bool {
        // A node has a hundred pods or so, and those of other namespaces need nothing in this one.
        let pods = self.nodes.get(node).into_iter().flatten();
        pods.filter(|((namespace, _), _)| *namespace == target.1).any(|(_, needs)| needs.contains(target))
    }

    fn drop_pod(&mut self, key: &Key) {
        let Some(node) = self.pods.remove(key) else { return };
        let Some(pods) = self.nodes.get_mut(&node) else { return };
        pods.remove(key);
        if pods.is_empty() {
            self.nodes.remove(&node);
        }
    }

    fn drop_volume(&mut self, name: &str) {
        let Some(links) = self.volumes.remove(name) else { return };
        for secret in links.secrets {
            if let Some(volumes) = self.secret_volumes.get_mut(&secret) {
                volumes.remove(name);
                if volumes.is_empty() {
                    self.secret_volumes.remove(&secret);
                }
            }
        }
    }
}

/// What a pod refers to. The node itself wrote a mirror pod: it must not widen what the node may read.
fn needs_of(pod: &Value) -> HashSet<Target> {
    let is_mirror = pod.annotations().is_some_and(|a| a.contains_key("kubernetes.io/config.mirror"));
    if is_mirror { HashSet::new() } else { of_pod(pod).into_iter().collect() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(name: &str, node: &str) -> Value {
        json!({"metadata": {"name": name, "namespace": "ns"}, "spec": {
            "nodeName": node, "serviceAccountName": "sa", "imagePullSecrets": [{"name": "pull"}],
            "containers": [{"env": [{"valueFrom": {"secretKeyRef": {"name": "env"}}}]}],
            "initContainers": [{"envFrom": [{"secretRef": {"name": "init"}}, {"configMapRef": {"name": "cm-init"}}]}],
            "ephemeralContainers": [{"env": [{"valueFrom": {"configMapKeyRef": {"name": "cm-debug"}}}]}],
            "volumes": [
                {"name": "v", "secret": {"secretName": "vol"}},
                {"name": "p", "projected": {"sources": [{"secret": {"name": "proj"}}, {"configMap": {"name": "cm-proj"}}]}},
                {"name": "c", "persistentVolumeClaim": {"claimName": "claim"}},
                {"name": "e", "ephemeral": {}},
                {"name": "csi", "csi": {"nodePublishSecretRef": {"name": "csi"}}},
            ],
            "resourceClaims": [{"resourceClaimName": "gpu"}],
        }})
    }

    fn put(graph: &NodeGraph, pod: Value) {
        let (name, node) = (pod.name().to_owned(), pod.str_at("spec/nodeName").to_owned());
        graph.upsert_pod(("ns", &name), &node, move || pod);
    }

    #[test]
    fn a_pod_is_read_when_its_node_asks_and_once() {
        let graph = NodeGraph::default();
        graph.upsert_pod(("ns", "a"), "n1", || unreachable!("replaced before anybody asked"));
        put(&graph, pod("a", "n1"));
        graph.upsert_pod(("ns", "b"), "n2", || unreachable!("of another node"));
        graph.upsert_pod(("other", "c"), "n1", || unreachable!("of another namespace"));
        graph.upsert_pod(("ns", "d"), "", || unreachable!("of no node"));
        assert!(graph.reaches("n1", Kind::Secret, "ns", "pull") && graph.reaches("n1", Kind::Secret, "ns", "env"));
        assert!(graph.reaches("n2", Kind::Pod, "ns", "b"), "known without being read");
        put(&graph, pod("a", "n3"));
        assert!(!graph.reaches("n1", Kind::Secret, "ns", "pull") && graph.reaches("n3", Kind::Secret, "ns", "pull"));
        graph.upsert_pod(("ns", "a"), "", || unreachable!("of no node"));
        assert!(!graph.reaches("n3", Kind::Pod, "ns", "a"));
    }

    #[test]
    fn every_reference_counts_while_the_pod_is_there() {
        let graph = NodeGraph::default();
        put(&graph, pod("a", "n1"));
        put(&graph, pod("b", "n1"));
        let volume = json!({"metadata": {"name": "pv"}, "spec": {
            "claimRef": {"namespace": "ns", "name": "claim"},
            "csi": {"nodeStageSecretRef": {"namespace": "kube-system", "name": "stage"}},
        }});
        graph.upsert_volume(&volume);
        let wanted = [
            (Kind::Secret, "ns", "pull"),
            (Kind::Secret, "ns", "env"),
            (Kind::Secret, "ns", "init"),
            (Kind::Secret, "ns", "vol"),
            (Kind::Secret, "ns", "proj"),
            (Kind::Secret, "ns", "csi"),
            (Kind::Secret, "kube-system", "stage"),
            (Kind::ConfigMap, "ns", "cm-init"),
            (Kind::ConfigMap, "ns", "cm-debug"),
            (Kind::ConfigMap, "ns", "cm-proj"),
            (Kind::Claim, "ns", "claim"),
            (Kind::Claim, "ns", "a-e"),
            (Kind::Volume, "", "pv"),
            (Kind::ServiceAccount, "ns", "sa"),
            (Kind::ResourceClaim, "ns", "gpu"),
            (Kind::Pod, "ns", "a"),
        ];
        let all = |graph: &NodeGraph, node: &str| wanted.iter().all(|(k, ns, n)| graph.reaches(node, *k, ns, n));
        let none = |graph: &NodeGraph, node: &str| !wanted.iter().any(|(k, ns, n)| graph.reaches(node, *k, ns, n));
        assert!(all(&graph, "n1"));
        assert!(none(&graph, "n2"));
        assert!(!graph.reaches("n1", Kind::Secret, "other", "pull"), "of another namespace");
        graph.retain(Kind::Pod, &HashSet::from([("ns", "a")]));
        assert!(!graph.reaches("n1", Kind::Pod, "ns", "b"));
        assert!(all(&graph, "n1"), "the other pod still needs them");
        graph.delete_pod("ns", "a");
        assert!(none(&graph, "n1"));
        assert!(graph.0.read().nodes.is_empty());
        graph.retain(Kind::Volume, &HashSet::new());
        assert!(graph.0.read().secret_volumes.is_empty());
    }

    #[test]
    fn a_mirror_pod_opens_nothing() {
        let graph = NodeGraph::default();
        let mut mirror = pod("m", "n1");
        mirror["metadata"]["annotations"] = json!({"kubernetes.io/config.mirror": "x"});
        put(&graph, mirror);
        assert!(graph.reaches("n1", Kind::Pod, "ns", "m"));
        assert!(!graph.reaches("n1", Kind::Secret, "ns", "pull"));
        assert!(!graph.reaches("n1", Kind::ServiceAccount, "ns", "sa"));
    }
}

//! Which objects the pods of which node need, kept up to date pod by pod.

use std::collections::{HashMap, HashSet};

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

#[derive(Default)]
struct State {
    /// Pod (namespace, name) to its node and what it contributes.
    pods: HashMap<(String, String), (String, Vec<Target>)>,
    /// Object to the nodes that need it, with the number of pods that do.
    needed: HashMap<Target, HashMap<String, u32>>,
    /// PersistentVolume to its claim and secrets.
    volumes: HashMap<String, VolumeLinks>,
    /// Secret to the PersistentVolumes that need it.
    secret_volumes: HashMap<(String, String), HashSet<String>>,
    /// Objects that name their node themselves.
    owned: HashMap<(Kind, String), String>,
}

struct VolumeLinks {
    claim: Target,
    secrets: Vec<(String, String)>,
}

impl NodeGraph {
    /// Takes a new or changed pod. Pods without a node need nothing yet.
    pub fn upsert_pod(&self, pod: &Value) {
        let node = pod.str_at("spec/nodeName");
        let key = (pod.namespace().to_owned(), pod.name().to_owned());
        let mirror = pod.annotations().is_some_and(|a| a.contains_key("kubernetes.io/config.mirror"));
        let mut targets = of_pod(pod);
        if mirror {
            // The node itself wrote a mirror pod: it must not widen what the node may read.
            targets.retain(|(kind, _, _)| *kind == Kind::Pod);
        }
        let mut state = self.0.write();
        if state.pods.get(&key).is_some_and(|(n, t)| n == node && *t == targets) {
            return;
        }
        state.drop_pod(&key);
        if node.is_empty() {
            return;
        }
        for target in &targets {
            *state.needed.entry(target.clone()).or_default().entry(node.to_owned()).or_default() += 1;
        }
        state.pods.insert(key, (node.to_owned(), targets));
    }

    pub fn delete_pod(&self, namespace: &str, name: &str) {
        self.0.write().drop_pod(&(namespace.to_owned(), name.to_owned()));
    }

    /// Makes `pods` all that there are: for a watch that fell behind.
    pub fn replace_pods(&self, pods: &[Value]) {
        let live: HashSet<(&str, &str)> = pods.iter().map(|p| (p.namespace(), p.name())).collect();
        let gone = |(namespace, name): &&(String, String)| !live.contains(&(namespace.as_str(), name.as_str()));
        let gone: Vec<(String, String)> = self.0.read().pods.keys().filter(gone).cloned().collect();
        gone.iter().for_each(|(namespace, name)| self.delete_pod(namespace, name));
        pods.iter().for_each(|pod| self.upsert_pod(pod));
    }

    /// The same for PersistentVolumes.
    pub fn replace_volumes(&self, volumes: &[Value]) {
        let live: HashSet<&str> = volumes.iter().map(ObjectExt::name).collect();
        let gone: Vec<String> =
            self.0.read().volumes.keys().filter(|name| !live.contains(name.as_str())).cloned().collect();
        gone.iter().for_each(|name| self.delete_volume(name));
        volumes.iter().for_each(|volume| self.upsert_volume(volume));
    }

    /// The same for VolumeAttachments.
    pub fn replace_volume_attachments(&self, attachments: &[Value]) {
        self.0.write().owned.retain(|(kind, _), _| *kind != Kind::VolumeAttachment);
        attachments.iter().for_each(|a| self.upsert_volume_attachment(a));
    }

    /// The same for ResourceSlices.
    pub fn replace_resource_slices(&self, slices: &[Value]) {
        self.0.write().owned.retain(|(kind, _), _| *kind != Kind::ResourceSlice);
        slices.iter().for_each(|s| self.upsert_resource_slice(s));
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
        match kind {
            Kind::VolumeAttachment | Kind::ResourceSlice => {
                state.owned.get(&(kind, name.to_owned())).is_some_and(|owner| owner == node)
            }
            Kind::Volume => state.volumes.get(name).is_some_and(|v| state.needs(node, &v.claim)),
            Kind::Secret => {
                let target = (kind, namespace.to_owned(), name.to_owned());
                if state.needs(node, &target) {
                    return true;
                }
                let volumes = state.secret_volumes.get(&(target.1, target.2));
                let links = volumes.into_iter().flatten().filter_map(|volume| state.volumes.get(volume));
                links.into_iter().any(|v| state.needs(node, &v.claim))
            }
            _ => state.needs(node, &(kind, namespace.to_owned(), name.to_owned())),
        }
    }
}

impl State {
    fn needs(&self, node: &str, target: &Target) -> bool {
        self.needed.get(target).is_some_and(|nodes| nodes.contains_key(node))
    }

    fn drop_pod(&mut self, key: &(String, String)) {
        let Some((node, targets)) = self.pods.remove(key) else { return };
        for target in targets {
            let Some(nodes) = self.needed.get_mut(&target) else { continue };
            if let Some(count) = nodes.get_mut(&node) {
                *count -= 1;
                if *count == 0 {
                    nodes.remove(&node);
                }
            }
            if nodes.is_empty() {
                self.needed.remove(&target);
            }
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

    #[test]
    fn every_reference_counts_while_the_pod_is_there() {
        let graph = NodeGraph::default();
        graph.upsert_pod(&pod("a", "n1"));
        graph.upsert_pod(&pod("b", "n1"));
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
        graph.replace_pods(&[pod("a", "n1")]);
        assert!(!graph.reaches("n1", Kind::Pod, "ns", "b"));
        assert!(all(&graph, "n1"), "the other pod still needs them");
        graph.delete_pod("ns", "a");
        assert!(none(&graph, "n1"));
        assert!(graph.0.read().needed.is_empty());
        graph.replace_volumes(&[]);
        assert!(graph.0.read().secret_volumes.is_empty());
    }

    #[test]
    fn a_mirror_pod_opens_nothing() {
        let graph = NodeGraph::default();
        let mut mirror = pod("m", "n1");
        mirror["metadata"]["annotations"] = json!({"kubernetes.io/config.mirror": "x"});
        graph.upsert_pod(&mirror);
        assert!(graph.reaches("n1", Kind::Pod, "ns", "m"));
        assert!(!graph.reaches("n1", Kind::Secret, "ns", "pull"));
        assert!(!graph.reaches("n1", Kind::ServiceAccount, "ns", "sa"));
    }
}

//! A Pod as the controllers read it: a tenth of the typed one, for there may be 100,000.

use compact_str::CompactString;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ObjectReference, Toleration};
use serde::Deserialize;
use serde::de::IgnoredAny;

/// The fields of a Pod that any controller reads. Built while parsing: nothing else is ever held.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(from = "Wire")]
pub struct SlimPod {
    pub namespace: CompactString,
    pub name: CompactString,
    pub uid: CompactString,
    pub resource_version: CompactString,
    pub labels: Box<[(CompactString, CompactString)]>,
    /// Those of [`ANNOTATIONS`] that the pod has.
    pub annotations: Box<[(CompactString, CompactString)]>,
    pub owners: Box<[Owner]>,
    pub finalizers: Box<[CompactString]>,
    pub created: Option<Timestamp>,
    pub deleted: Option<Timestamp>,
    pub node_name: CompactString,
    /// The node that a DaemonSet's pod is for, by its node affinity.
    pub target_node: CompactString,
    pub hostname: CompactString,
    pub subdomain: CompactString,
    pub tolerations: Box<[Toleration]>,
    /// Named container ports: name, number, protocol.
    pub ports: Box<[(CompactString, i32, CompactString)]>,
    pub phase: CompactString,
    pub conditions: Box<[Condition]>,
    pub ips: Box<[CompactString]>,
    pub containers: Box<[Container]>,
}

/// Annotations that controllers read.
const ANNOTATIONS: [&str; 3] = [
    "controller.kubernetes.io/pod-deletion-cost",
    "batch.kubernetes.io/job-completion-index",
    "batch.kubernetes.io/job-index-failure-count",
];

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Owner {
    #[serde(default, rename = "apiVersion")]
    pub api_version: CompactString,
    #[serde(default)]
    pub kind: CompactString,
    #[serde(default)]
    pub name: CompactString,
    #[serde(default)]
    pub uid: CompactString,
    #[serde(default)]
    pub controller: bool,
    /// The owner's foreground deletion waits for this pod.
    #[serde(default, rename = "blockOwnerDeletion")]
    pub blocks: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Condition {
    #[serde(default, rename = "type")]
    pub kind: CompactString,
    #[serde(default)]
    pub status: CompactString,
    #[serde(default)]
    pub reason: CompactString,
    #[serde(default, rename = "lastTransitionTime")]
    pub changed: Option<Timestamp>,
}

/// How a container fares, as status says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Container {
    pub name: CompactString,
    pub init: bool,
    pub restarts: i32,
    /// Exit code and end, once it has ended.
    pub terminated: Option<(i32, Option<Timestamp>)>,
    pub running: bool,
}

impl SlimPod {
    pub fn label(&self, key: &str) -> Option<&str> {
        self.labels.iter().find(|(k, _)| k == key).map(|(_, v)| v.as_str())
    }

    pub fn annotation(&self, key: &str) -> Option<&str> {
        self.annotations.iter().find(|(k, _)| k == key).map(|(_, v)| v.as_str())
    }

    pub fn matches(&self, selector: &apimachinery::labels::LabelSelector) -> bool {
        selector.matches(&|key| self.label(key))
    }

    /// The owner that controls this pod.
    pub fn controller(&self) -> Option<&Owner> {
        self.owners.iter().find(|owner| owner.controller)
    }

    pub fn condition(&self, kind: &str) -> Option<&Condition> {
        self.conditions.iter().find(|condition| condition.kind == kind)
    }

    pub fn is_condition_true(&self, kind: &str) -> bool {
        self.condition(kind).is_some_and(|condition| condition.status == "True")
    }

    pub fn is_deleting(&self) -> bool {
        self.deleted.is_some()
    }

    pub fn is_finished(&self) -> bool {
        self.phase == "Succeeded" || self.phase == "Failed"
    }

    /// Counts towards a controller's replicas: neither finished nor on its way out.
    pub fn is_active(&self) -> bool {
        !self.is_finished() && !self.is_deleting()
    }

    pub fn is_ready(&self) -> bool {
        self.is_condition_true("Ready")
    }

    /// Ready for at least `min_ready_seconds`.
    pub fn is_available(&self, min_ready_seconds: i32, now: Timestamp) -> bool {
        self.is_ready() && self.available_in(min_ready_seconds, now).is_zero()
    }

    /// How long until a ready pod counts as available; zero if it does already or is not ready.
    pub fn available_in(&self, min_ready_seconds: i32, now: Timestamp) -> std::time::Duration {
        let since = self.condition("Ready").filter(|c| c.status == "True").and_then(|c| c.changed);
        match since {
            Some(since) if min_ready_seconds > 0 => {
                let left = since.as_second() + i64::from(min_ready_seconds) - now.as_second();
                std::time::Duration::from_secs(u64::try_from(left).unwrap_or(0))
            }
            _ => std::time::Duration::ZERO,
        }
    }

    pub fn reference(&self) -> ObjectReference {
        ObjectReference {
            api_version: Some("v1".into()),
            kind: Some("Pod".into()),
            namespace: Some(self.namespace.to_string()),
            name: Some(self.name.to_string()),
            uid: Some(self.uid.to_string()),
            resource_version: Some(self.resource_version.to_string()),
            field_path: None,
        }
    }
}

client::cached!(SlimPod, "", "v1", "pods");

/// The wire form, as far as it is read.
#[derive(Deserialize)]
struct Wire {
    #[serde(default)]
    metadata: Metadata,
    #[serde(default)]
    spec: Spec,
    #[serde(default)]
    status: Status,
}

type Map = std::collections::BTreeMap<CompactString, CompactString>;

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Metadata {
    namespace: CompactString,
    name: CompactString,
    uid: CompactString,
    resource_version: CompactString,
    labels: Option<Map>,
    annotations: Option<Map>,
    owner_references: Option<Vec<Owner>>,
    finalizers: Option<Vec<CompactString>>,
    creation_timestamp: Option<Timestamp>,
    deletion_timestamp: Option<Timestamp>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Spec {
    node_name: CompactString,
    hostname: CompactString,
    subdomain: CompactString,
    affinity: Option<Affinity>,
    tolerations: Option<Vec<Toleration>>,
    containers: Option<Vec<SpecContainer>>,
    init_containers: Option<Vec<SpecContainer>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Affinity {
    #[serde(default)]
    node_affinity: Option<NodeAffinity>,
}

#[derive(Deserialize)]
struct NodeAffinity {
    #[serde(default, rename = "requiredDuringSchedulingIgnoredDuringExecution")]
    required: Option<NodeSelector>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct NodeSelector {
    #[serde(default)]
    node_selector_terms: Option<Vec<NodeSelectorTerm>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct NodeSelectorTerm {
    #[serde(default)]
    match_fields: Option<Vec<FieldRequirement>>,
}

#[derive(Deserialize)]
struct FieldRequirement {
    #[serde(default)]
    key: CompactString,
    #[serde(default)]
    values: Option<Vec<CompactString>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SpecContainer {
    #[serde(default)]
    ports: Option<Vec<Port>>,
    #[serde(default)]
    restart_policy: Option<CompactString>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Port {
    #[serde(default)]
    name: CompactString,
    container_port: i32,
    #[serde(default)]
    protocol: CompactString,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Status {
    phase: CompactString,
    conditions: Option<Vec<Condition>>,
    #[serde(rename = "podIP")]
    pod_ip: CompactString,
    #[serde(rename = "podIPs")]
    pod_ips: Option<Vec<Ip>>,
    container_statuses: Option<Vec<ContainerStatus>>,
    init_container_statuses: Option<Vec<ContainerStatus>>,
}

#[derive(Deserialize)]
struct Ip {
    #[serde(default)]
    ip: CompactString,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ContainerStatus {
    #[serde(default)]
    name: CompactString,
    #[serde(default)]
    restart_count: i32,
    #[serde(default)]
    state: Option<State>,
}

#[derive(Deserialize)]
struct State {
    #[serde(default)]
    running: Option<IgnoredAny>,
    #[serde(default)]
    terminated: Option<Terminated>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Terminated {
    #[serde(default)]
    exit_code: i32,
    #[serde(default)]
    finished_at: Option<Timestamp>,
}

impl From<Wire> for SlimPod {
    fn from(wire: Wire) -> Self {
        let Wire { metadata, spec, status } = wire;
        let annotations = metadata.annotations.unwrap_or_default();
        let mut ips: Vec<CompactString> = status.pod_ips.unwrap_or_default().into_iter().map(|ip| ip.ip).collect();
        if ips.is_empty() && !status.pod_ip.is_empty() {
            ips.push(status.pod_ip);
        }
        let main = status.container_statuses.unwrap_or_default().into_iter().map(|s| container(s, false));
        let init = status.init_container_statuses.unwrap_or_default().into_iter().map(|s| container(s, true));
        Self {
            namespace: metadata.namespace,
            name: metadata.name,
            uid: metadata.uid,
            resource_version: metadata.resource_version,
            labels: metadata.labels.unwrap_or_default().into_iter().collect(),
            annotations: annotations.into_iter().filter(|(key, _)| ANNOTATIONS.contains(&key.as_str())).collect(),
            owners: metadata.owner_references.unwrap_or_default().into(),
            finalizers: metadata.finalizers.unwrap_or_default().into(),
            created: metadata.creation_timestamp,
            deleted: metadata.deletion_timestamp,
            node_name: spec.node_name,
            target_node: spec.affinity.and_then(target_node).unwrap_or_default(),
            hostname: spec.hostname,
            subdomain: spec.subdomain,
            tolerations: spec.tolerations.unwrap_or_default().into(),
            ports: named_ports(spec.containers, spec.init_containers),
            phase: status.phase,
            conditions: status.conditions.unwrap_or_default().into(),
            ips: ips.into(),
            containers: main.chain(init).collect(),
        }
    }
}

fn container(status: ContainerStatus, init: bool) -> Container {
    let state = status.state;
    let running = state.as_ref().is_some_and(|state| state.running.is_some());
    let terminated = state.and_then(|state| state.terminated).map(|t| (t.exit_code, t.finished_at));
    Container { name: status.name, init, restarts: status.restart_count, terminated, running }
}

/// Ports of containers and of sidecars, which are init containers that always restart.
fn named_ports(
    containers: Option<Vec<SpecContainer>>,
    init: Option<Vec<SpecContainer>>,
) -> Box<[(CompactString, i32, CompactString)]> {
    let sidecars = init.into_iter().flatten().filter(|c| c.restart_policy.as_deref() == Some("Always"));
    let ports = containers.into_iter().flatten().chain(sidecars).flat_map(|c| c.ports.unwrap_or_default());
    let named = ports.filter(|port| !port.name.is_empty());
    named.map(|port| (port.name, port.container_port, port.protocol)).collect()
}

/// The node that a required node affinity on `metadata.name` pins the pod to.
fn target_node(affinity: Affinity) -> Option<CompactString> {
    let terms = affinity.node_affinity?.required?.node_selector_terms?;
    let mut fields = terms.into_iter().flat_map(|term| term.match_fields.unwrap_or_default());
    fields.find_map(|field| field.values.into_iter().flatten().next().filter(|_| field.key == "metadata.name"))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn reads_what_controllers_need() {
        let pod: SlimPod = serde_json::from_value(json!({
            "metadata": {
                "namespace": "ns", "name": "p", "uid": "u", "resourceVersion": "7", "labels": {"a": "b"},
                "annotations": {"controller.kubernetes.io/pod-deletion-cost": "5", "other": "x"},
                "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "rs", "uid": "r", "controller": true}],
                "creationTimestamp": "2026-01-01T00:00:00Z", "deletionTimestamp": null, "unknown": {"x": [1]}
            },
            "spec": {"nodeName": "n", "containers": [{"name": "c", "image": "i", "ports": [{"name": "http", "containerPort": 80}, {"containerPort": 81}]}]},
            "status": {
                "phase": "Running", "podIP": "10.0.0.1", "podIPs": [{"ip": "10.0.0.1"}, {"ip": "fd00::1"}],
                "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:10Z"}],
                "containerStatuses": [{"name": "c", "restartCount": 2, "state": {"terminated": {"exitCode": 3}}}]
            }
        }))
        .unwrap();
        assert_eq!(pod.controller().map(|o| o.uid.as_str()), Some("r"));
        assert_eq!(pod.annotations.len(), 1);
        assert_eq!(pod.ports.len(), 1);
        assert_eq!(pod.ips.len(), 2);
        assert_eq!(pod.containers[0].terminated, Some((3, None)));
        let at = |s: i64| Timestamp::from_second(1_767_225_600 + s).unwrap();
        assert!(pod.is_available(0, at(0)));
        assert!(!pod.is_available(5, at(14)));
        assert!(pod.is_available(5, at(15)));
        assert_eq!(pod.available_in(5, at(11)).as_secs(), 4);
    }

    #[test]
    fn a_daemons_pod_names_its_node() {
        let pod = |terms: Value| {
            let required = json!({ "requiredDuringSchedulingIgnoredDuringExecution": { "nodeSelectorTerms": terms } });
            let affinity = json!({ "nodeAffinity": required, "podAffinity": {} });
            let pod = json!({ "metadata": {}, "spec": { "affinity": affinity } });
            serde_json::from_value::<SlimPod>(pod).unwrap().target_node
        };
        let field = |key: &str| json!({ "key": key, "operator": "In", "values": ["n", "m"] });
        let labelled = json!({ "matchExpressions": [field("metadata.name")] });
        assert_eq!(pod(json!([labelled, { "matchFields": [field("metadata.name")] }])), "n");
        assert_eq!(pod(json!([labelled, { "matchFields": [field("other")] }])), "");
        assert_eq!(pod(Value::Null), "");
    }

    #[test]
    fn is_slim() {
        // Inline size only; labels and conditions of a usual pod add some 600 bytes.
        assert!(size_of::<SlimPod>() <= 640, "{}", size_of::<SlimPod>());
    }
}

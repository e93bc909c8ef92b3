//! Pods and nodes as the scheduler sees them: the fields it reads and nothing else, since pods come by the 100,000.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use k8s_openapi::api::core::v1::{Affinity, Taint, Toleration, TopologySpreadConstraint};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};

use crate::resources::Resources;
use crate::shared;
use crate::terms::Terms;

pub type Labels = BTreeMap<String, String>;
/// Resource name to amount, as it stands in an object.
pub type ResourceList = BTreeMap<String, Quantity>;

/// The name by which pods ask for this scheduler, and the default of `spec.schedulerName`.
pub const DEFAULT_SCHEDULER: &str = "default-scheduler";

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Metadata {
    pub name: String,
    pub namespace: String,
    pub uid: String,
    pub resource_version: String,
    /// Pods with equal labels share them.
    pub labels: Arc<Labels>,
    #[serde(deserialize_with = "is_present")]
    pub deletion_timestamp: bool,
    pub owner_references: Vec<OwnerReference>,
}

/// Whether a field that is only looked for is there.
fn is_present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    Ok(Option::<IgnoredAny>::deserialize(deserializer)?.is_some())
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct OwnerReference {
    controller: bool,
}

/// What is a pod's own, and the spec that it shares with its equals.
#[derive(Debug, Default, Deserialize)]
#[serde(from = "Unshared")]
pub struct Pod {
    pub metadata: Metadata,
    pub node_name: String,
    pub spec: Arc<PodSpec>,
    pub status: PodStatus,
    /// Has a controller.
    pub is_controlled: bool,
    terms: OnceLock<Option<Arc<Terms>>>,
}

/// A pod as it comes.
#[derive(Deserialize)]
struct Unshared {
    metadata: Metadata,
    #[serde(default)]
    spec: PodSpec,
    #[serde(default)]
    status: PodStatus,
}

impl From<Unshared> for Pod {
    fn from(mut pod: Unshared) -> Self {
        let node_name = std::mem::take(&mut pod.spec.node_name);
        // Only volumes with claims are of interest; the others' names differ from pod to pod.
        pod.spec.volumes.retain(|volume| volume.persistent_volume_claim.is_some() || volume.ephemeral.is_some());
        let owners = std::mem::take(&mut pod.metadata.owner_references);
        pod.metadata.labels = shared::labels(std::mem::take(&mut pod.metadata.labels));
        Self {
            metadata: pod.metadata,
            node_name,
            spec: shared::spec(pod.spec),
            status: pod.status,
            is_controlled: owners.iter().any(|owner| owner.controller),
            terms: OnceLock::new(),
        }
    }
}

/// Something computed from the rest of its struct: no part of what makes two of them equal.
#[derive(Debug)]
struct Computed<T>(OnceLock<T>);

impl<T> Default for Computed<T> {
    fn default() -> Self {
        Self(OnceLock::new())
    }
}

impl<T> PartialEq for Computed<T> {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

#[derive(Debug, Default, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct PodSpec {
    /// Empty in a [`Pod`], which has it itself.
    node_name: String,
    pub scheduler_name: String,
    pub priority: i32,
    pub preemption_policy: String,
    pub node_selector: Labels,
    pub affinity: Option<Box<Affinity>>,
    pub tolerations: Vec<Toleration>,
    pub topology_spread_constraints: Vec<TopologySpreadConstraint>,
    pub scheduling_gates: Vec<Named>,
    pub containers: Vec<Container>,
    pub init_containers: Vec<Container>,
    pub overhead: ResourceList,
    pub resources: Option<ResourceRequirements>,
    pub volumes: Vec<Volume>,
    pub host_network: bool,
    #[serde(skip)]
    requests: Computed<Resources>,
}

#[derive(Debug, Default, Deserialize, PartialEq)]
#[serde(default)]
pub struct Named {
    pub name: String,
}

#[derive(Debug, Default, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct Container {
    pub image: String,
    pub resources: ResourceRequirements,
    pub ports: Vec<Port>,
    /// `Always` on an init container makes it a sidecar.
    pub restart_policy: String,
}

#[derive(Debug, Default, Deserialize, PartialEq)]
#[serde(default)]
pub struct ResourceRequirements {
    pub requests: ResourceList,
}

#[derive(Debug, Default, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct Port {
    pub host_port: i32,
    #[serde(rename = "hostIP")]
    pub host_ip: String,
    pub protocol: String,
}

#[derive(Debug, Default, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct Volume {
    pub name: String,
    pub persistent_volume_claim: Option<ClaimSource>,
    /// Present for a generic ephemeral volume, whose claim is named `<pod>-<volume>`.
    pub ephemeral: Option<IgnoredAny>,
}

#[derive(Debug, Default, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct ClaimSource {
    pub claim_name: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodStatus {
    pub phase: String,
    pub nominated_node_name: String,
    /// RFC 3339; the order of these texts is the order in time.
    pub start_time: String,
}

impl Pod {
    pub fn requests(&self) -> &Resources {
        self.spec.requests.0.get_or_init(|| Resources::of_pod(&self.spec))
    }

    /// The pod's inter-pod affinity, if it has any.
    pub fn terms(&self) -> Option<&Arc<Terms>> {
        self.terms.get_or_init(|| Terms::of(self)).as_ref()
    }

    /// Whether this and its successor take the same room, on the same node, and look the same to other pods' rules.
    pub fn is_same_to_others(&self, new: &Self) -> bool {
        self.metadata.uid == new.metadata.uid
            && self.node_name == new.node_name
            && self.metadata.labels == new.metadata.labels
            && self.is_deleting() == new.is_deleting()
            && self.is_terminal() == new.is_terminal()
            && self.status.start_time == new.status.start_time
            && self.requests() == new.requests()
    }

    pub fn is_terminal(&self) -> bool {
        self.status.phase == "Succeeded" || self.status.phase == "Failed"
    }

    pub fn is_deleting(&self) -> bool {
        self.metadata.deletion_timestamp
    }

    /// Waiting for a node, and for this scheduler to find it.
    pub fn is_ours_to_schedule(&self) -> bool {
        self.node_name.is_empty() && self.spec.scheduler_name == DEFAULT_SCHEDULER && !self.is_terminal()
    }

    /// The host ports that the pod takes: (address, protocol, port).
    pub fn host_ports(&self) -> impl Iterator<Item = (&str, &str, i32)> {
        let sidecars = self.spec.init_containers.iter().filter(|c| c.restart_policy == "Always");
        let ports = self.spec.containers.iter().chain(sidecars).flat_map(|c| &c.ports);
        ports.filter(|p| p.host_port > 0).map(|p| {
            let address = if p.host_ip.is_empty() { "0.0.0.0" } else { &p.host_ip };
            let protocol = if p.protocol.is_empty() { "TCP" } else { &p.protocol };
            (address, protocol, p.host_port)
        })
    }

    /// Names of the claims that the pod's volumes use.
    pub fn claims(&self) -> impl Iterator<Item = String> {
        self.spec.volumes.iter().filter_map(|volume| match (&volume.persistent_volume_claim, volume.ephemeral) {
            (Some(claim), _) => Some(claim.claim_name.clone()),
            (None, Some(_)) => Some(format!("{}-{}", self.metadata.name, volume.name)),
            (None, None) => None,
        })
    }
}

client::cached!(Pod, "", "v1", "pods", at metadata);

#[derive(Debug, Default, Deserialize)]
pub struct Node {
    pub metadata: Metadata,
    #[serde(default)]
    pub spec: NodeSpec,
    #[serde(default)]
    pub status: NodeStatus,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct NodeSpec {
    pub unschedulable: bool,
    pub taints: Vec<Taint>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct NodeStatus {
    pub allocatable: ResourceList,
    pub images: Vec<Image>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Image {
    pub names: Vec<String>,
    pub size_bytes: i64,
}

client::cached!(Node, "", "v1", "nodes", at metadata);

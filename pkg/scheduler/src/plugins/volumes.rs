//! VolumeBinding and VolumeZone for claims that are bound: the pod goes where its volumes can be reached.

use std::collections::HashMap;
use std::sync::Arc;

use client::ObjectKey;
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use parking_lot::RwLock;

use crate::cluster::{Cluster, NodeIndex, NodeInfo};
use crate::events::Events;
use crate::framework::{Filter, Plugin, Reason, Rejection};
use crate::selector::NodeTerms;
use crate::types::{Labels, Pod};

const ZONE_LABELS: [&str; 4] = [
    "topology.kubernetes.io/zone",
    "topology.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/region",
];

/// The claims and volumes of the cluster. Cheap to clone.
#[derive(Clone, Default)]
pub struct Volumes(Arc<RwLock<Known>>);

#[derive(Default)]
struct Known {
    claims: HashMap<ObjectKey, Arc<PersistentVolumeClaim>>,
    volumes: HashMap<String, Arc<PersistentVolume>>,
}

impl Volumes {
    pub fn set_claim(&self, key: ObjectKey, claim: Option<Arc<PersistentVolumeClaim>>) {
        let claims = &mut self.0.write().claims;
        match claim {
            Some(claim) => claims.insert(key, claim),
            None => claims.remove(&key),
        };
    }

    pub fn set_volume(&self, name: &str, volume: Option<Arc<PersistentVolume>>) {
        let volumes = &mut self.0.write().volumes;
        match volume {
            Some(volume) => volumes.insert(name.to_owned(), volume),
            None => volumes.remove(name),
        };
    }
}

pub struct VolumeBinding(pub Volumes);

impl Plugin for VolumeBinding {
    fn name(&self) -> &'static str {
        "VolumeBinding"
    }

    fn wakes_on(&self) -> Events {
        Events::VOLUMES.and(Events::NODE_ADDED).and(Events::NODE_LABELS)
    }

    fn pre_filter(&self, pod: &Arc<Pod>, _: &mut Cluster) -> Result<Option<Box<dyn Filter>>, Rejection> {
        let known = self.0.0.read();
        let mut filter = VolumeFilter::default();
        for name in pod.claims() {
            let key = ObjectKey::new(&pod.metadata.namespace, &name);
            let Some(claim) = known.claims.get(&key) else {
                return Err(Rejection(format!("persistentvolumeclaim {name:?} not found")));
            };
            if claim.metadata.deletion_timestamp.is_some() {
                return Err(Rejection(format!("persistentvolumeclaim {name:?} is being deleted")));
            }
            let bound = claim.spec.as_ref().and_then(|spec| spec.volume_name.as_deref()).unwrap_or("");
            match known.volumes.get(bound) {
                Some(volume) => filter.add(volume),
                None => return Err(Rejection("pod has unbound immediate PersistentVolumeClaims".into())),
            }
        }
        Ok((!filter.is_empty()).then(|| Box::new(filter) as Box<dyn Filter>))
    }
}

#[derive(Default)]
struct VolumeFilter {
    affinities: Vec<NodeTerms>,
    zones: Vec<Labels>,
}

impl VolumeFilter {
    fn add(&mut self, volume: &PersistentVolume) {
        let affinity = volume.spec.as_ref().and_then(|spec| spec.node_affinity.as_ref());
        self.affinities.extend(affinity.and_then(|a| a.required.as_ref()).map(NodeTerms::compile));
        let mut labels = volume.metadata.labels.clone().unwrap_or_default();
        labels.retain(|key, _| ZONE_LABELS.contains(&key.as_str()));
        if !labels.is_empty() {
            self.zones.push(labels);
        }
    }

    fn is_empty(&self) -> bool {
        self.affinities.is_empty() && self.zones.is_empty()
    }
}

impl Filter for VolumeFilter {
    fn filter(&self, _: NodeIndex, info: &NodeInfo) -> Result<(), Reason> {
        let Some(node) = &info.node else { return Ok(()) };
        if !self.affinities.iter().all(|terms| terms.matches(node)) {
            return Err(Reason::unresolvable("node(s) didn't match PersistentVolume's node affinity"));
        }
        // A volume in several zones names them in one label, joined by two underscores.
        let reachable = |labels: &Labels| {
            labels
                .iter()
                .all(|(key, zones)| info.label(key).is_some_and(|own| zones.split("__").any(|zone| zone == own)))
        };
        if !self.zones.iter().all(reachable) {
            return Err(Reason::unresolvable("node(s) had no available volume zone"));
        }
        Ok(())
    }
}

//! ConfigMaps and Secrets that pods refer to: one watch each while a pod needs it, so that changes arrive unasked.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use client::informer::Informer;
use client::{Informers, Scope};
use k8s_openapi::api::core::v1::{ConfigMap, Container, EphemeralContainer, Pod, Secret};
use parking_lot::Mutex;
use serde::Serialize;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use crate::checkpoint::Given;
use crate::pod::PodExt as _;

/// How long a pod waits for the first answer about an object before it reports the failure and tries again.
const FIRST_ANSWER: Duration = Duration::from_secs(10);
/// How long a pod that has been given everything before waits, from its start, for servers to answer.
pub const PATIENCE_WITH_KEPT: Duration = Duration::from_secs(3);

#[derive(Debug, thiserror::Error)]
pub enum ObjectError {
    #[error("{kind} \"{name}\" not found")]
    NotFound { kind: &'static str, name: String },
    #[error("failed to sync {kind} cache: timed out waiting for the condition")]
    Unavailable { kind: &'static str },
    #[error("this node has no API server; {kind} \"{name}\" cannot be read")]
    NoServer { kind: &'static str, name: String },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    ConfigMap,
    Secret,
}

type Reference = (Kind, String);

enum Held {
    ConfigMap(Informer<ConfigMap>, #[allow(dead_code)] AbortOnDropHandle<()>),
    Secret(Informer<Secret>, #[allow(dead_code)] AbortOnDropHandle<()>),
}

/// The objects of one pod; dropping it ends the watches that no other pod needs.
pub struct Objects {
    informers: Option<Informers>,
    given: Option<Given>,
    since: Instant,
    changed: Arc<Notify>,
    held: Mutex<HashMap<Reference, Held>>,
}

impl Objects {
    /// `changed` is notified when one of the objects changes. What is read is remembered in `given`.
    pub fn new(informers: Option<Informers>, given: Option<Given>, changed: Arc<Notify>) -> Self {
        Self { informers, given, since: Instant::now(), changed, held: Mutex::default() }
    }

    /// Begins to watch everything that `pod` refers to, so that it is there when containers start.
    pub fn prefetch(&self, pod: &Pod) {
        for (kind, name) in references(pod) {
            match kind {
                Kind::ConfigMap => drop(self.config_map_informer(pod.namespace(), &name)),
                Kind::Secret => drop(self.secret_informer(pod.namespace(), &name)),
            }
        }
    }

    pub async fn config_map(
        &self,
        namespace: &str,
        name: &str,
        optional: bool,
    ) -> Result<Option<Arc<ConfigMap>>, ObjectError> {
        let informer = self.config_map_informer(namespace, name);
        self.read(informer, "configmap", (namespace, name), optional).await
    }

    pub async fn secret(
        &self,
        namespace: &str,
        name: &str,
        optional: bool,
    ) -> Result<Option<Arc<Secret>>, ObjectError> {
        let informer = self.secret_informer(namespace, name);
        self.read(informer, "secret", (namespace, name), optional).await
    }

    /// What the server says or, if it says nothing in time, what it said before.
    async fn read<T: client::Cached + Serialize>(
        &self,
        informer: Option<Informer<T>>,
        kind: &'static str,
        (namespace, name): (&str, &str),
        optional: bool,
    ) -> Result<Option<Arc<T>>, ObjectError> {
        let Some(informer) = informer else {
            return Err(ObjectError::NoServer { kind, name: name.to_owned() });
        };
        let file = format!("{kind}-{name}");
        let given = self.given.as_ref().filter(|_| !informer.is_synced());
        let kept = given.and_then(|given| given.recall::<T>(&file));
        let deadline = if kept.is_some() { self.since + PATIENCE_WITH_KEPT } else { Instant::now() + FIRST_ANSWER };
        match tokio::time::timeout_at(deadline, informer.synced()).await {
            Ok(()) => {
                let found = informer.store().get(namespace, name);
                if let (Some(given), Some(found)) = (&self.given, &found) {
                    given.keep(&file, &**found);
                }
                found_or_missing(found, optional, kind, name)
            }
            Err(_) => kept.map(|kept| Some(Arc::new(kept))).ok_or(ObjectError::Unavailable { kind }),
        }
    }

    fn config_map_informer(&self, namespace: &str, name: &str) -> Option<Informer<ConfigMap>> {
        let informers = self.informers.as_ref()?;
        let mut held = self.held.lock();
        let entry = held.entry((Kind::ConfigMap, name.to_owned())).or_insert_with(|| {
            let informer = informers.get::<ConfigMap>(Scope::object(namespace, name));
            let task = notify_on_change(&informer, self.changed.clone());
            Held::ConfigMap(informer, task)
        });
        match entry {
            Held::ConfigMap(informer, _) => Some(informer.clone()),
            Held::Secret(..) => None,
        }
    }

    fn secret_informer(&self, namespace: &str, name: &str) -> Option<Informer<Secret>> {
        let informers = self.informers.as_ref()?;
        let mut held = self.held.lock();
        let entry = held.entry((Kind::Secret, name.to_owned())).or_insert_with(|| {
            let informer = informers.get::<Secret>(Scope::object(namespace, name));
            let task = notify_on_change(&informer, self.changed.clone());
            Held::Secret(informer, task)
        });
        match entry {
            Held::Secret(informer, _) => Some(informer.clone()),
            Held::ConfigMap(..) => None,
        }
    }
}

fn notify_on_change<T: client::Cached>(informer: &Informer<T>, changed: Arc<Notify>) -> AbortOnDropHandle<()> {
    let mut changes = informer.subscribe();
    AbortOnDropHandle::new(tokio::spawn(async move {
        while changes.next().await.is_some() {
            changed.notify_one();
        }
    }))
}

fn found_or_missing<T>(
    found: Option<Arc<T>>,
    optional: bool,
    kind: &'static str,
    name: &str,
) -> Result<Option<Arc<T>>, ObjectError> {
    match found {
        None if !optional => Err(ObjectError::NotFound { kind, name: name.to_owned() }),
        found => Ok(found),
    }
}

/// Every ConfigMap and Secret that the pod names: volumes, projected volumes, env, envFrom, pull secrets.
pub fn references(pod: &Pod) -> BTreeSet<Reference> {
    let mut all = BTreeSet::new();
    let spec = pod.pod_spec();
    for secret in spec.image_pull_secrets.iter().flatten() {
        all.insert((Kind::Secret, secret.name.clone()));
    }
    for volume in spec.volumes.iter().flatten() {
        if let Some(map) = &volume.config_map {
            all.insert((Kind::ConfigMap, map.name.clone()));
        }
        if let Some(name) = volume.secret.as_ref().and_then(|s| s.secret_name.clone()) {
            all.insert((Kind::Secret, name));
        }
        for source in volume.projected.iter().flat_map(|p| p.sources.iter().flatten()) {
            all.extend(source.config_map.as_ref().map(|m| (Kind::ConfigMap, m.name.clone())));
            all.extend(source.secret.as_ref().map(|s| (Kind::Secret, s.name.clone())));
        }
    }
    let ephemeral = pod.ephemeral_containers().iter().map(|e: &EphemeralContainer| crate::pod::as_container(e));
    for container in pod.all_containers().cloned().chain(ephemeral) {
        environment_references(&container, &mut all);
    }
    all.retain(|(_, name)| !name.is_empty());
    all
}

fn environment_references(container: &Container, all: &mut BTreeSet<Reference>) {
    for source in container.env_from.iter().flatten() {
        all.extend(source.config_map_ref.as_ref().map(|r| (Kind::ConfigMap, r.name.clone())));
        all.extend(source.secret_ref.as_ref().map(|r| (Kind::Secret, r.name.clone())));
    }
    for source in container.env.iter().flatten().filter_map(|v| v.value_from.as_ref()) {
        all.extend(source.config_map_key_ref.as_ref().map(|r| (Kind::ConfigMap, r.name.clone())));
        all.extend(source.secret_key_ref.as_ref().map(|r| (Kind::Secret, r.name.clone())));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_way_to_name_an_object_counts() {
        let pod: Pod = serde_json::from_value(json!({"spec": {
            "imagePullSecrets": [{"name": "pull"}],
            "volumes": [
                {"name": "a", "configMap": {"name": "vol"}},
                {"name": "b", "secret": {"secretName": "vols"}},
                {"name": "c", "projected": {"sources": [{"secret": {"name": "ps"}}, {"configMap": {"name": "pc"}}]}},
            ],
            "initContainers": [{"name": "i", "envFrom": [{"secretRef": {"name": "from"}}]}],
            "containers": [{"name": "m", "env": [
                {"name": "X", "valueFrom": {"configMapKeyRef": {"name": "key", "key": "k"}}}]}],
            "ephemeralContainers": [{"name": "e", "envFrom": [{"configMapRef": {"name": "debug"}}]}],
        }}))
        .expect("a pod");
        let names: Vec<String> = references(&pod).into_iter().map(|(_, name)| name).collect();
        assert_eq!(names, ["debug", "key", "pc", "vol", "from", "ps", "pull", "vols"]);
    }
}

//! ReplicaSets and ReplicationControllers: as many pods as asked for. One controller, two kinds (see [`kind`]).

mod kind;
mod plan;
mod rank;
mod slow_start;

use std::sync::Arc;

use client::{Change, EventType, Index, ObjectKey, Store, WorkQueue};
use compact_str::CompactString;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::PostParams;

pub use kind::{ReplicaKind, ReplicaStatus};
pub(crate) use slow_start::slow_start;

use crate::expectations::Expectations;
use crate::owner;
use crate::pod::SlimPod;
use crate::skeleton::{self, Context, Error, SyncResult, Tasks};
use crate::template;

const WORKERS: usize = 5;
/// Pods created or deleted in one sync.
const BURST: usize = 500;

/// Runs the controller of one kind until shutdown.
pub async fn run<K: ReplicaKind>(context: Context) -> Result<(), Error> {
    let sets = context.informers.get::<K>(client::Scope::all());
    let pods = context.informers.get::<SlimPod>(client::Scope::all());
    sets.synced().await;
    pods.synced().await;
    let controller = Arc::new(Controller::<K> {
        queue: WorkQueue::new(K::QUEUE),
        expectations: Expectations::new(),
        pods_by_owner: owner::pods_by_owner(&pods.store()),
        orphans: owner::orphan_pods(&pods.store()),
        by_uid: owner::by_uid(&sets.store()),
        sets: sets.store(),
        context: context.clone(),
    });
    let mut tasks = Tasks::new();
    tasks.feed(&sets, {
        let c = controller.clone();
        move |change| c.on_set(change)
    });
    tasks.feed(&pods, {
        let c = controller.clone();
        move |change| c.on_pod(change)
    });
    let c = controller.clone();
    tasks.work(K::QUEUE, &controller.queue, WORKERS, move |key| {
        let c = c.clone();
        async move { c.sync(key).await }
    });
    tasks.run(&context.shutdown).await
}

struct Controller<K: ReplicaKind> {
    queue: WorkQueue<ObjectKey>,
    expectations: Expectations<ObjectKey>,
    pods_by_owner: Index<SlimPod>,
    orphans: Index<SlimPod>,
    by_uid: Index<K>,
    sets: Store<K>,
    context: Context,
}

impl<K: ReplicaKind> Controller<K> {
    fn on_set(&self, change: &Change<K>) {
        if let (Some(old), Some(new)) = (&change.old, &change.new)
            && old.metadata().uid != new.metadata().uid
        {
            self.expectations.forget(&change.key);
        }
        self.queue.add(change.key.clone());
    }

    fn on_pod(&self, change: &Change<SlimPod>) {
        for owner in owner::settle(&self.expectations, change) {
            self.queue.add(owner);
        }
        for owner in owner::concerned(change, K::KIND) {
            for set in self.by_uid.get(&owner.uid) {
                self.queue.add(ObjectKey::of(&*set));
            }
        }
        if let Some(pod) = &change.new
            && pod.controller().is_none()
            && !pod.is_deleting()
        {
            for set in self.sets.list_namespace(&pod.namespace) {
                if !set.pod_selector_is_empty() && set.pod_selector().is_ok_and(|s| pod.matches(&s)) {
                    self.queue.add(ObjectKey::of(&*set));
                }
            }
        }
    }

    async fn sync(&self, key: ObjectKey) -> SyncResult {
        let Some(set) = self.sets.get_key(&key) else {
            self.expectations.forget(&key);
            return Ok(None);
        };
        // Asked before the pods are read: what is seen afterwards can only be newer.
        let settled = self.expectations.satisfied(&key);
        let pods = self.claim(&set).await?;
        let now = Timestamp::now();
        let failure = match settled && set.metadata().deletion_timestamp.is_none() {
            true => self.manage(&key, &set, &pods).await.err(),
            false => None,
        };
        let refused = match &failure {
            None => None,
            Some(Error::Client(error)) => Some(skeleton::message(error)),
            Some(other) => Some(other.to_string()),
        };
        let status = plan::status(&*set, &pods, refused.as_deref().map(|m| (m, plan::lacks(&*set, &pods))), now);
        self.write_status(&set, &status).await?;
        match failure {
            Some(error) => Err(error),
            None => Ok(plan::next_available(&*set, &pods, now)),
        }
    }

    async fn claim(&self, set: &Arc<K>) -> Result<Vec<Arc<SlimPod>>, Error> {
        let (uid, namespace) = (set.metadata().uid.as_deref().unwrap_or(""), set.namespace());
        let selector = set.pod_selector()?;
        let candidates = self.pods_by_owner.get(uid).into_iter().chain(self.orphans.get(namespace));
        let matches = |pod: &SlimPod| !set.pod_selector_is_empty() && pod.matches(&selector);
        owner::claim_pods(&self.context.client, &**set, candidates, matches).await
    }

    /// Creates what is missing or deletes what is too much.
    async fn manage(&self, key: &ObjectKey, set: &Arc<K>, pods: &[Arc<SlimPod>]) -> Result<(), Error> {
        let lacks = plan::lacks(&**set, pods);
        if lacks > 0 {
            let count = usize::try_from(lacks).unwrap_or(0).min(BURST);
            return self.create(key, set, count).await;
        }
        let surplus = usize::try_from(-lacks).unwrap_or(0).min(BURST);
        if surplus == 0 {
            return Ok(());
        }
        let active: Vec<_> = pods.iter().filter(|pod| pod.is_active()).cloned().collect();
        let related = self.related_on_nodes(set);
        let doomed = rank::to_delete(active, &related, surplus, Timestamp::now());
        self.delete(key, set, doomed).await
    }

    async fn create(&self, key: &ObjectKey, set: &Arc<K>, count: usize) -> Result<(), Error> {
        let api: Api<Pod> = Api::namespaced(self.context.client.clone(), &key.namespace);
        let Some(pod_template) = set.template() else { return Ok(()) };
        let reference = client::recorder::reference(&**set);
        slow_start(count, || async {
            let pod = template::pod(pod_template, &key.namespace, template::controller_ref(&**set));
            let name = ObjectKey::new(&key.namespace, pod.metadata.name.as_deref().unwrap_or(""));
            self.expectations.expect_creation(key, name.clone());
            match api.create(&PostParams::default(), &pod).await {
                Ok(created) => {
                    let created = created.metadata.name.unwrap_or_default();
                    let text = format!("Created pod: {created}");
                    self.context.recorder.event(&reference, EventType::Normal, "SuccessfulCreate", &text);
                    Ok(())
                }
                Err(error) => {
                    self.expectations.created(&name);
                    if skeleton::is_terminating(&error) {
                        // Nothing can be created any more, and the set will go away too.
                        return Ok(());
                    }
                    let text = format!("Error creating: {}", skeleton::message(&error));
                    self.context.recorder.event(&reference, EventType::Warning, "FailedCreate", &text);
                    Err(Error::Client(error))
                }
            }
        })
        .await
    }

    async fn delete(&self, key: &ObjectKey, set: &Arc<K>, doomed: Vec<Arc<SlimPod>>) -> Result<(), Error> {
        let api: Api<Pod> = Api::namespaced(self.context.client.clone(), &key.namespace);
        let reference = client::recorder::reference(&**set);
        for pod in &doomed {
            self.expectations.expect_deletion(key, &pod.uid);
        }
        let deletions = doomed.iter().map(|pod| {
            let (api, reference) = (&api, &reference);
            async move {
                match api.delete(&pod.name, &skeleton::delete_uid(&pod.uid)).await {
                    Ok(_) => {
                        let text = format!("Deleted pod: {}", pod.name);
                        self.context.recorder.event(reference, EventType::Normal, "SuccessfulDelete", &text);
                        Ok(())
                    }
                    Err(error) => {
                        self.expectations.deleted(&pod.uid);
                        if skeleton::is_not_found(&error) {
                            return Ok(());
                        }
                        let text = format!("Error deleting: {}", skeleton::message(&error));
                        self.context.recorder.event(reference, EventType::Warning, "FailedDelete", &text);
                        Err(Error::Client(error))
                    }
                }
            }
        });
        futures::future::join_all(deletions).await.into_iter().collect()
    }

    /// How many active pods of sets with the same controller each node runs: the fuller node loses a pod first.
    fn related_on_nodes(&self, set: &Arc<K>) -> std::collections::HashMap<CompactString, usize> {
        let controller = |set: &K| {
            let owners = set.metadata().owner_references.iter().flatten();
            owners.into_iter().find(|owner| owner.controller == Some(true)).map(|owner| owner.uid.clone())
        };
        let own = controller(set);
        let namespace = set.metadata().namespace.as_deref().unwrap_or("");
        let mut uids: Vec<String> = vec![set.metadata().uid.clone().unwrap_or_default()];
        if own.is_some() {
            let siblings = self.sets.list_namespace(namespace).into_iter().filter(|other| controller(other) == own);
            uids.extend(
                siblings
                    .filter_map(|other| other.metadata().uid.clone())
                    .filter(|uid| *uid != uids[0].clone())
                    .collect::<Vec<_>>(),
            );
        }
        let mut counts = std::collections::HashMap::new();
        for uid in uids {
            for pod in self.pods_by_owner.get(&uid).iter().filter(|pod| pod.is_active()) {
                *counts.entry(pod.node_name.clone()).or_insert(0) += 1;
            }
        }
        counts
    }

    async fn write_status(&self, set: &Arc<K>, status: &ReplicaStatus) -> Result<(), Error> {
        if set.status() == *status {
            return Ok(());
        }
        let metadata = set.metadata();
        let (namespace, name) = (metadata.namespace.as_deref().unwrap_or(""), metadata.name.as_deref().unwrap_or(""));
        let mut wanted = (**set).clone();
        wanted.set_status(status);
        let api = K::api(&self.context.client, namespace);
        match api.replace_status(name, &PostParams::default(), &wanted).await {
            Err(error) if skeleton::is_not_found(&error) => Ok(()),
            outcome => Ok(outcome.map(|_| ())?),
        }
    }
}

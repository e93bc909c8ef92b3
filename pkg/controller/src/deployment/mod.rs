//! Deployments: a ReplicaSet for each template, and a rollout from the old ones to the new one.

mod plan;
mod revision;
mod rollout;
mod status;

use std::sync::Arc;

use client::{Cached as _, Change, EventType, Index, ObjectKey, Scope, Store, WorkQueue};
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{Deployment, DeploymentStatus, ReplicaSet};
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::json;

use crate::owner;
use crate::pod::SlimPod;
use crate::skeleton::{Context, Error, SyncResult, Tasks, is_invalid, is_not_found};
use crate::status::write_status;
use crate::template;

const WORKERS: usize = 5;
const NAME: &str = "deployment";

/// Runs the controller until shutdown.
pub async fn run(context: Context) -> Result<(), Error> {
    let deployments = context.informers.get::<Deployment>(Scope::all());
    let sets = context.informers.get::<ReplicaSet>(Scope::all());
    let pods = context.informers.get::<SlimPod>(Scope::all());
    deployments.synced().await;
    sets.synced().await;
    pods.synced().await;
    let controller = Arc::new(Controller {
        queue: WorkQueue::new(NAME),
        by_uid: owner::by_uid(&deployments.store()),
        sets_by_uid: owner::by_uid(&sets.store()),
        pods_by_owner: owner::pods_by_owner(&pods.store()),
        deployments: deployments.store(),
        sets: sets.store(),
        context: context.clone(),
    });
    let mut tasks = Tasks::new();
    tasks.feed(&deployments, crate::skeleton::enqueue(&controller.queue));
    tasks.feed(&sets, {
        let c = controller.clone();
        move |change| c.on_set(change)
    });
    tasks.feed(&pods, {
        let c = controller.clone();
        move |change| c.on_pod(change)
    });
    let c = controller.clone();
    tasks.work(NAME, &controller.queue, WORKERS, move |key| {
        let c = c.clone();
        async move { c.sync(key).await }
    });
    tasks.run(&context.shutdown).await
}

struct Controller {
    queue: WorkQueue<ObjectKey>,
    deployments: Store<Deployment>,
    sets: Store<ReplicaSet>,
    by_uid: Index<Deployment>,
    sets_by_uid: Index<ReplicaSet>,
    pods_by_owner: Index<SlimPod>,
    context: Context,
}

/// One deployment and its ReplicaSets while it is being synced. Sizes and revisions that are written meanwhile are
/// noted here, so that the status at the end tells of them.
struct Sync<'a> {
    controller: &'a Controller,
    deployment: Arc<Deployment>,
    /// The status so far; written once, at the end.
    status: DeploymentStatus,
    old: Vec<ReplicaSet>,
    new: Option<ReplicaSet>,
    now: Timestamp,
}

impl Controller {
    fn on_set(&self, change: &Change<ReplicaSet>) {
        for set in change.old.iter().chain(&change.new) {
            if let Some(owner) = owner::controller_of(&set.metadata) {
                for deployment in self.by_uid.get(&owner.uid) {
                    self.queue.add(ObjectKey::of(&*deployment));
                }
            }
        }
        if let Some(set) = &change.new
            && owner::controller_of(&set.metadata).is_none()
        {
            for deployment in self.deployments.list_namespace(set.namespace()) {
                if matches_labels(&deployment, set) {
                    self.queue.add(ObjectKey::of(&*deployment));
                }
            }
        }
    }

    /// Only a Recreate rollout waits for pods as such: for the last old one to be gone.
    fn on_pod(&self, change: &Change<SlimPod>) {
        let gone = change.new.as_ref().is_none_or(|pod| pod.is_finished());
        let owner = change.latest().filter(|_| gone).and_then(|pod| pod.controller());
        for set in owner.map(|owner| self.sets_by_uid.get(&owner.uid)).unwrap_or_default() {
            let Some(owner) = owner::controller_of(&set.metadata) else { continue };
            for deployment in self.by_uid.get(&owner.uid).iter().filter(|d| !plan::is_rolling(d)) {
                self.queue.add(ObjectKey::of(&**deployment));
            }
        }
    }

    async fn sync(&self, key: ObjectKey) -> SyncResult {
        let Some(deployment) = self.deployments.get_key(&key) else { return Ok(None) };
        let now = Timestamp::now();
        let mut status = deployment.status.clone().unwrap_or_default();
        let selector = template::selector(Some(&deployment.spec.selector))?;
        if selector.is_everything() {
            let text = "This deployment is selecting all pods. A non-empty selector is required.";
            let reference = client::recorder::reference(&*deployment);
            self.context.recorder.event(&reference, EventType::Warning, "SelectingAll", text);
            status.observed_generation = deployment.metadata.generation;
            write_status(&self.context.client, &*deployment, status).await?;
            return Ok(None);
        }
        let sets = self.claim(&deployment, &selector).await?;
        let (new, old) = rollout::split(&deployment, sets);
        let deleting = deployment.metadata.deletion_timestamp.is_some();
        if !deleting {
            status::note_paused(&deployment, &mut status, now);
        }
        let mut sync = Sync { controller: self, deployment, status, old, new, now };
        let outcome = match deleting {
            true => Ok(()),
            false => sync.roll().await,
        };
        let all = sync.all();
        let wanted = if deleting || sync.deployment.spec.paused == Some(true) {
            status::counted(&sync.deployment, &sync.status, &all, sync.new.as_ref(), now)
        } else {
            status::of_rollout(&sync.deployment, &sync.status, &all, sync.new.as_ref(), now)
        };
        write_status(&self.context.client, &*sync.deployment, wanted.clone()).await?;
        outcome?;
        Ok(if deleting { None } else { status::until_deadline(&sync.deployment, &wanted, now) })
    }

    /// The deployment's ReplicaSets, after adopting orphans that match and releasing those that do not.
    async fn claim(
        &self,
        deployment: &Arc<Deployment>,
        selector: &apimachinery::labels::LabelSelector,
    ) -> Result<Vec<ReplicaSet>, Error> {
        let (namespace, uid) = (deployment.namespace(), deployment.metadata.uid.as_deref().unwrap_or(""));
        let deleting = deployment.metadata.deletion_timestamp.is_some();
        let api: Api<ReplicaSet> = Api::namespaced(self.context.client.clone(), namespace);
        let mut owned = Vec::new();
        let mut checked = false;
        for set in self.sets.list_namespace(namespace) {
            let labels = set.metadata.labels.as_ref();
            let matches = selector.matches(&|key| labels?.get(key).map(String::as_str));
            match owner::controller_of(&set.metadata) {
                Some(owner) if owner.uid != uid => {}
                Some(_) if matches || deleting => owned.push((*set).clone()),
                Some(_) => patch_owners(&api, &set, json!([{ "$patch": "delete", "uid": uid }])).await?,
                None if matches && !deleting && set.metadata.deletion_timestamp.is_none() => {
                    if !checked {
                        let deployments = Api::namespaced(self.context.client.clone(), namespace);
                        owner::still_there(&deployments, &**deployment).await?;
                        checked = true;
                    }
                    patch_owners(&api, &set, json!([template::controller_ref(&**deployment)])).await?;
                    owned.push((*set).clone());
                }
                None => {}
            }
        }
        Ok(owned)
    }
}

fn matches_labels(deployment: &Deployment, set: &ReplicaSet) -> bool {
    let labels = set.metadata.labels.as_ref();
    template::selector(Some(&deployment.spec.selector)).is_ok_and(|selector| {
        !selector.is_everything() && selector.matches(&|key| labels?.get(key).map(String::as_str))
    })
}

async fn patch_owners(api: &Api<ReplicaSet>, set: &ReplicaSet, owners: serde_json::Value) -> Result<(), Error> {
    let patch = json!({ "metadata": { "ownerReferences": owners, "uid": set.metadata.uid } });
    match api.patch(set.name(), &PatchParams::default(), &Patch::Strategic(&patch)).await {
        Err(error) if !is_not_found(&error) && !is_invalid(&error) => Err(error.into()),
        _ => Ok(()),
    }
}

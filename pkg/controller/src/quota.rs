//! ResourceQuota status: admission charges what is created; what was deleted or has ended is counted off here.
//!
//! How much an object uses is the API server's rule. It comes in as [`QuotaUsage`], so that both count alike.
//!
//! What an object is charged to is written in one step with it. So a count sees all that was charged before the quota that it
//! began with, and its write fails if anything was charged since. What others write into a status, and what was stored before
//! its server knew of the quota, is mended by a count some time after every change ([`RECOUNT`]).

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use client::{Change, ObjectKey, Scope, Source, Store, WorkQueue};
use http::Request;
use k8s_openapi::api::core::v1::{ResourceQuota, ResourceQuotaStatus};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::Value;
use tokio::task::JoinSet;

use crate::discovery::{self, Resource};
use crate::pod::SlimPod;
use crate::skeleton::{Context, Error, SyncResult, Tasks};
use crate::status::write_status;

const NAME: &str = "resourcequota_primary";
const WORKERS: usize = 5;
/// How long after a change of a status it is checked. However often it changes, it is counted no more often than this.
const RECOUNT: Duration = Duration::from_secs(30);

/// How objects count against quotas.
pub trait QuotaUsage: Send + Sync {
    /// The resources (group, plural) whose objects these limits count.
    fn resources(&self, hard: &[&str]) -> Vec<(String, String)>;
    /// What the objects of one resource use of the quota's limits together; objects out of its scope use nothing.
    fn used(&self, quota: &Value, group: &str, resource: &str, objects: &[Value]) -> BTreeMap<String, String>;
}

/// An object of which only its being there matters.
#[derive(Deserialize)]
struct Counted {
    metadata: CountedMeta,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CountedMeta {
    #[serde(default)]
    namespace: String,
    name: String,
    #[serde(default)]
    resource_version: String,
}

client::cached!(Counted, "", "", "", at metadata);

/// Resources (group, plural) that are watched, and the tasks that do it.
type Watched = (HashSet<(String, String)>, JoinSet<()>);

struct Controller {
    usage: Arc<dyn QuotaUsage>,
    queue: WorkQueue<ObjectKey>,
    quotas: Store<ResourceQuota>,
    served: Mutex<Vec<Resource>>,
    /// What is watched for deletions because some quota counts it.
    watched: Mutex<Watched>,
    context: Context,
}

/// Runs the controller until shutdown.
pub async fn run(context: Context, usage: Arc<dyn QuotaUsage>) -> Result<(), Error> {
    let quotas = context.informers.get::<ResourceQuota>(Scope::all());
    let pods = context.informers.get::<SlimPod>(Scope::all());
    quotas.synced().await;
    pods.synced().await;
    let controller = Arc::new(Controller {
        usage,
        queue: WorkQueue::new(NAME),
        quotas: quotas.store(),
        served: Mutex::default(),
        watched: Mutex::new((HashSet::new(), JoinSet::new())),
        context: context.clone(),
    });
    let mut tasks = Tasks::new();
    tasks.feed(&quotas, {
        let queue = controller.queue.clone();
        move |change: &Change<ResourceQuota>| {
            let spec = |quota: &Option<Arc<ResourceQuota>>| quota.as_ref().and_then(|quota| quota.spec.clone());
            // Charges by admission are no news, but they look like what anybody may write.
            if change.old.is_none() || spec(&change.old) != spec(&change.new) {
                queue.add(change.key.clone());
            } else {
                queue.add_after(change.key.clone(), RECOUNT);
            }
        }
    });
    tasks.feed(&pods, {
        let controller = controller.clone();
        move |change: &Change<SlimPod>| {
            let counted = |pod: &Option<Arc<SlimPod>>| pod.as_ref().is_some_and(|pod| !pod.is_finished());
            if counted(&change.old) && !counted(&change.new) {
                controller.enqueue_namespace(&change.key.namespace);
            }
        }
    });
    let c = controller.clone();
    tasks.work(NAME, &controller.queue, WORKERS, move |key| {
        let c = c.clone();
        async move { c.sync(key).await }
    });
    tasks.run(&context.shutdown).await
}

/// Whether objects of a resource may use more or less without going away. Others are left alone: a charge is itself a change
/// of a quota.
fn uses_may_change(group: &str, plural: &str) -> bool {
    group.is_empty() && matches!(plural, "services" | "persistentvolumeclaims")
}

impl Controller {
    fn enqueue_namespace(&self, namespace: &str) {
        for quota in self.quotas.list_namespace(namespace) {
            self.queue.add(ObjectKey::of(&*quota));
        }
    }

    async fn sync(self: &Arc<Self>, key: ObjectKey) -> SyncResult {
        let Some(quota) = self.quotas.get_key(&key) else { return Ok(None) };
        if quota.metadata.deletion_timestamp.is_some() {
            return Ok(None);
        }
        let hard = quota.spec.as_ref().and_then(|spec| spec.hard.clone()).unwrap_or_default();
        let names: Vec<&str> = hard.keys().map(String::as_str).collect();
        let mut used: BTreeMap<String, Quantity> =
            hard.keys().map(|name| (name.clone(), Quantity("0".into()))).collect();
        // The rule reads the limits where admission does.
        let mut tree = serde_json::to_value(&*quota)?;
        tree["status"]["hard"] = serde_json::to_value(&hard)?;
        for (group, plural) in self.usage.resources(&names) {
            let Some(resource) = self.resource(&group, &plural).await? else { continue };
            self.watch(&resource);
            let objects = self.list(&resource.path(&key.namespace)).await?;
            for (name, amount) in self.usage.used(&tree, &group, &plural, &objects) {
                if let Some(slot) = used.get_mut(&name) {
                    *slot = Quantity(amount);
                }
            }
        }
        let status = ResourceQuotaStatus { hard: Some(hard), used: Some(used) };
        write_status(&self.context.client, &*quota, status).await?;
        Ok(None)
    }

    /// The resource as the server serves it; asks again once for one that is not known.
    async fn resource(&self, group: &str, plural: &str) -> Result<Option<Resource>, Error> {
        let find = || self.served.lock().iter().find(|r| r.group == group && r.plural == plural).cloned();
        if let Some(found) = find() {
            return Ok(Some(found));
        }
        let discovered = discovery::discover(&self.context.client).await?;
        *self.served.lock() = discovered.resources;
        Ok(find().filter(|resource| resource.namespaced))
    }

    /// Watches a resource from now on, so that what is deleted is counted off.
    fn watch(self: &Arc<Self>, resource: &Resource) {
        let pods = resource.group.is_empty() && resource.plural == "pods";
        let mut watched = self.watched.lock();
        if pods || !resource.can("watch") || !watched.0.insert((resource.group.clone(), resource.plural.clone())) {
            return;
        }
        let source = Source::at(&resource.group, &resource.version, &resource.plural, None).metadata_only();
        let informer = self.context.informers.get_at::<Counted>(source);
        let changes_count = uses_may_change(&resource.group, &resource.plural);
        // Weak: the task is owned by what it tells.
        let controller = Arc::downgrade(self);
        watched.1.spawn(async move {
            informer.synced().await;
            let mut changes = informer.subscribe();
            while let Some(change) = changes.next().await {
                let Some(controller) = controller.upgrade() else { return };
                if change.new.is_none() || (changes_count && change.old.is_some()) {
                    controller.enqueue_namespace(&change.key.namespace);
                }
            }
        });
    }

    async fn list(&self, path: &str) -> Result<Vec<Value>, Error> {
        #[derive(Deserialize)]
        struct Items {
            #[serde(default)]
            items: Option<Vec<Value>>,
        }
        let request = Request::get(path).header("accept", "application/json").body(Vec::new());
        let list: Items = self.context.client.request(request.map_err(kube::Error::HttpError)?).await?;
        Ok(list.items.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_charge_is_no_reason_to_count_again() {
        for (group, plural, expected) in [
            ("", "services", true),
            ("", "persistentvolumeclaims", true),
            ("", "resourcequotas", false),
            ("", "configmaps", false),
            ("example.com", "services", false),
        ] {
            assert_eq!(uses_may_change(group, plural), expected, "{group}/{plural}");
        }
    }
}

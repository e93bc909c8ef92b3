//! DaemonSets: one pod on every node that fits.

mod plan;

use std::sync::Arc;
use std::time::Duration;

use client::{Change, EventType, Index, ObjectKey, Scope, Store, WorkQueue};
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{ControllerRevision, DaemonSet};
use k8s_openapi::api::core::v1::{Node, Pod, PodTemplateSpec};
use kube::Api;
use kube::api::PostParams;

use crate::expectations::Expectations;
use crate::history::{self, History};
use crate::owner;
use crate::pod::SlimPod;
use crate::skeleton::{self, Context, Error, SyncResult, Tasks, is_not_found};
use crate::status::write_status;
use crate::template;

const NAME: &str = "daemonset";
const WORKERS: usize = 2;
/// Pods created in one sync.
const BURST: usize = 250;
/// A failed pod is replaced after at least this long.
const FAILED_DELAY: Duration = Duration::from_secs(1);

struct Controller {
    queue: WorkQueue<ObjectKey>,
    expectations: Expectations<ObjectKey>,
    sets: Store<DaemonSet>,
    nodes: Store<Node>,
    by_uid: Index<DaemonSet>,
    pods_by_owner: Index<SlimPod>,
    orphans: Index<SlimPod>,
    revisions: Index<ControllerRevision>,
    context: Context,
}

/// Runs the controller until shutdown.
pub async fn run(context: Context) -> Result<(), Error> {
    let sets = context.informers.get::<DaemonSet>(Scope::all());
    let pods = context.informers.get::<SlimPod>(Scope::all());
    let nodes = context.informers.get::<Node>(Scope::all());
    let revisions = context.informers.get::<ControllerRevision>(Scope::all());
    sets.synced().await;
    pods.synced().await;
    nodes.synced().await;
    revisions.synced().await;
    let controller = Arc::new(Controller {
        queue: WorkQueue::new(NAME),
        expectations: Expectations::new(),
        by_uid: owner::by_uid(&sets.store()),
        sets: sets.store(),
        nodes: nodes.store(),
        pods_by_owner: owner::pods_by_owner(&pods.store()),
        orphans: owner::orphan_pods(&pods.store()),
        revisions: owner::by_owner(&revisions.store()),
        context: context.clone(),
    });
    let mut tasks = Tasks::new();
    tasks.feed(&sets, skeleton::enqueue(&controller.queue));
    tasks.feed(&pods, {
        let c = controller.clone();
        move |change| c.on_pod(change)
    });
    tasks.feed(&nodes, {
        let c = controller.clone();
        move |change| c.on_node(change)
    });
    let c = controller.clone();
    tasks.work(NAME, &controller.queue, WORKERS, move |key| {
        let c = c.clone();
        async move { c.sync(key).await }
    });
    tasks.run(&context.shutdown).await
}

impl Controller {
    fn on_pod(&self, change: &Change<SlimPod>) {
        for owner in owner::settle(&self.expectations, change) {
            self.queue.add(owner);
        }
        for owner in owner::concerned(change, "DaemonSet") {
            for set in self.by_uid.get(&owner.uid) {
                self.queue.add(ObjectKey::of(&*set));
            }
        }
        if let Some(pod) = change.new.as_ref().filter(|pod| pod.controller().is_none()) {
            for set in self.sets.list_namespace(&pod.namespace) {
                if template::selector(Some(&set.spec.selector)).is_ok_and(|selector| pod.matches(&selector)) {
                    self.queue.add(ObjectKey::of(&*set));
                }
            }
        }
    }

    /// Heartbeats change nothing here: only where pods fit counts.
    fn on_node(&self, change: &Change<Node>) {
        let place = |node: &Arc<Node>| (node.metadata.labels.clone(), node.spec.clone());
        if change.old.as_ref().map(place) != change.new.as_ref().map(place) {
            for set in self.sets.list() {
                self.queue.add(ObjectKey::of(&*set));
            }
        }
    }

    async fn sync(&self, key: ObjectKey) -> SyncResult {
        let Some(set) = self.sets.get_key(&key) else {
            self.expectations.forget(&key);
            return Ok(None);
        };
        let selector = template::selector(Some(&set.spec.selector))?;
        if selector.is_everything() {
            let text = "This daemon set is selecting all pods. A non-empty selector is required.";
            self.event(&set, EventType::Warning, "SelectingAll", text);
            return Ok(None);
        }
        if set.metadata.deletion_timestamp.is_some() {
            return Ok(None);
        }
        let settled = self.expectations.satisfied(&key);
        let now = Timestamp::now();
        let uid = set.metadata.uid.as_deref().unwrap_or("");
        let candidates = self.pods_by_owner.get(uid).into_iter().chain(self.orphans.get(&key.namespace));
        let pods = owner::claim_pods(&self.context.client, &*set, candidates, |pod| pod.matches(&selector)).await?;
        let history = History {
            client: &self.context.client,
            namespace: &key.namespace,
            name: &key.name,
            owner: template::controller_ref(&*set),
            template: &set.spec.template,
            collisions: set.status.as_ref().and_then(|status| status.collision_count),
        };
        let revisions = match history.sync(&self.revisions).await {
            Err(Error::Collision) => return self.note_collision(&set).await,
            outcome => outcome?,
        };
        let hash = history::hash(&revisions.current).to_owned();
        let pod_template = plan::daemon_template(&set, &hash);
        let (nodes, by_node) = (self.nodes.list(), plan::by_node(&pods));
        let mut again = None;
        if settled {
            again = self.manage(&key, &set, &pod_template, &nodes, &by_node, &hash, now).await?;
            let live = |revision: &ControllerRevision| pods.iter().any(|pod| plan::is_of(pod, history::hash(revision)));
            history.truncate(&revisions, set.spec.revision_history_limit.unwrap_or(10), live).await?;
        }
        write_status(&self.context.client, &*set, plan::status(&set, &pod_template, &nodes, &by_node, &hash, now))
            .await?;
        let min_ready = set.spec.min_ready_seconds.unwrap_or(0);
        let available = pods.iter().map(|pod| pod.available_in(min_ready, now)).filter(|wait| !wait.is_zero()).min();
        Ok(again.into_iter().chain(available).min())
    }

    async fn manage(
        &self,
        key: &ObjectKey,
        set: &DaemonSet,
        pod_template: &PodTemplateSpec,
        nodes: &[Arc<Node>],
        by_node: &plan::ByNode,
        hash: &str,
        now: Timestamp,
    ) -> Result<Option<Duration>, Error> {
        let mut plan = plan::manage(pod_template, nodes, by_node);
        let mut again = None;
        for (pod, failed) in &plan.ended {
            // Not at once: a pod that fails at its start would come and go without end.
            let young = pod.created.is_some_and(|at| {
                now.as_second() - at.as_second() < i64::try_from(FAILED_DELAY.as_secs()).unwrap_or(1)
            });
            let node = plan::node_of(pod);
            if young && *failed {
                again = Some(FAILED_DELAY);
                plan.delete.retain(|other| other.uid != pod.uid);
            } else if *failed {
                let text = format!(
                    "Found failed daemon pod {}/{} on node {node}, will try to kill it",
                    pod.namespace, pod.name
                );
                self.event(set, EventType::Warning, "FailedDaemonPod", &text);
            } else {
                let text = format!(
                    "Found succeeded daemon pod {}/{} on node {node}, will try to delete it",
                    pod.namespace, pod.name
                );
                self.event(set, EventType::Normal, "SucceededDaemonPod", &text);
            }
        }
        if plan.create.is_empty() && plan.delete.is_empty() {
            let fits = |node: &&Arc<Node>| plan::should_run(pod_template, node).0;
            let wanted: Vec<String> = nodes.iter().filter(fits).filter_map(|node| node.metadata.name.clone()).collect();
            plan = plan::roll(set, &wanted, by_node, hash, now);
        }
        self.delete(key, set, &plan.delete).await?;
        self.create(key, set, pod_template, plan.create).await?;
        Ok(again)
    }

    async fn create(
        &self,
        key: &ObjectKey,
        set: &DaemonSet,
        pod_template: &PodTemplateSpec,
        nodes: Vec<String>,
    ) -> Result<(), Error> {
        let api: Api<Pod> = Api::namespaced(self.context.client.clone(), &key.namespace);
        let count = nodes.len().min(BURST);
        let nodes = parking_lot::Mutex::new(nodes.into_iter());
        crate::replicaset::slow_start(count, || async {
            let Some(node) = nodes.lock().next() else { return Ok(()) };
            let mut pod = template::pod(pod_template, &key.namespace, template::controller_ref(set));
            plan::pin(pod.spec.get_or_insert_default(), &node);
            let name = ObjectKey::new(&key.namespace, pod.metadata.name.as_deref().unwrap_or(""));
            self.expectations.expect_creation(key, name.clone());
            match api.create(&PostParams::default(), &pod).await {
                Ok(_) => {
                    self.event(set, EventType::Normal, "SuccessfulCreate", &format!("Created pod: {}", name.name));
                    Ok(())
                }
                Err(error) => {
                    self.expectations.created(&name);
                    if skeleton::is_terminating(&error) {
                        return Ok(());
                    }
                    let text = format!("Error creating: {}", skeleton::message(&error));
                    self.event(set, EventType::Warning, "FailedCreate", &text);
                    Err(Error::Client(error))
                }
            }
        })
        .await
    }

    async fn delete(&self, key: &ObjectKey, set: &DaemonSet, pods: &[Arc<SlimPod>]) -> Result<(), Error> {
        let api: Api<Pod> = Api::namespaced(self.context.client.clone(), &key.namespace);
        for pod in pods {
            self.expectations.expect_deletion(key, &pod.uid);
            match api.delete(&pod.name, &skeleton::delete_uid(&pod.uid)).await {
                Ok(_) => self.event(set, EventType::Normal, "SuccessfulDelete", &format!("Deleted pod: {}", pod.name)),
                Err(error) => {
                    self.expectations.deleted(&pod.uid);
                    if !is_not_found(&error) {
                        return Err(error.into());
                    }
                }
            }
        }
        Ok(())
    }

    async fn note_collision(&self, set: &DaemonSet) -> SyncResult {
        let mut status = set.status.clone().unwrap_or_default();
        status.collision_count = Some(status.collision_count.unwrap_or(0) + 1);
        write_status(&self.context.client, set, status).await?;
        Err(Error::Collision)
    }

    fn event(&self, set: &DaemonSet, kind: EventType, reason: &str, text: &str) {
        self.context.recorder.event(&client::recorder::reference(set), kind, reason, text);
    }
}

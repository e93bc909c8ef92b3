//! Jobs: pods that run to their end, each counted once.

mod index;
mod plan;
mod policy;
mod track;

use std::collections::HashMap;
use std::sync::Arc;

use client::{Cached as _, Change, EventType, Index, ObjectKey, Scope, Store, WorkQueue};
use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{EnvVar, EnvVarSource, ObjectFieldSelector, Pod};
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use parking_lot::Mutex;
use serde_json::json;

use self::plan::{Backoff, FINALIZER, INDEX, INDEX_FAILURES, New, Plan};
use crate::expectations::Expectations;
use crate::owner;
use crate::pod::SlimPod;
use crate::replicaset::slow_start;
use crate::skeleton::{self, Context, Error, SyncResult, Tasks, is_invalid, is_not_found};
use crate::status::write_status;
use crate::template;

const NAME: &str = "job";
const ORPHANS: &str = "job_orphan_pod";
const WORKERS: usize = 5;
/// Pods created or deleted in one sync.
const BURST: usize = 500;

/// Runs the controller until shutdown.
pub async fn run(context: Context) -> Result<(), Error> {
    let jobs = context.informers.get::<Job>(Scope::all());
    let pods = context.informers.get::<SlimPod>(Scope::all());
    jobs.synced().await;
    pods.synced().await;
    let controller = Arc::new(Controller {
        queue: WorkQueue::new(NAME),
        orphans: WorkQueue::new(ORPHANS),
        expectations: Expectations::new(),
        backoffs: Mutex::default(),
        pods_by_owner: owner::pods_by_owner(&pods.store()),
        free_pods: owner::orphan_pods(&pods.store()),
        by_uid: owner::by_uid(&jobs.store()),
        jobs: jobs.store(),
        pods: pods.store(),
        context: context.clone(),
    });
    let mut tasks = Tasks::new();
    tasks.feed(&jobs, {
        let c = controller.clone();
        move |change| c.on_job(change)
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
    let c = controller.clone();
    tasks.work(ORPHANS, &controller.orphans, 1, move |key| {
        let c = c.clone();
        async move { c.release_orphan(key).await }
    });
    tasks.run(&context.shutdown).await
}

struct Controller {
    queue: WorkQueue<ObjectKey>,
    orphans: WorkQueue<ObjectKey>,
    expectations: Expectations<ObjectKey>,
    /// Failures in a row, with the UID of the job that they are of.
    backoffs: Mutex<HashMap<ObjectKey, (String, Backoff)>>,
    pods_by_owner: Index<SlimPod>,
    free_pods: Index<SlimPod>,
    by_uid: Index<Job>,
    jobs: Store<Job>,
    pods: Store<SlimPod>,
    context: Context,
}

impl Controller {
    fn on_job(&self, change: &Change<Job>) {
        self.queue.add(change.key.clone());
        // Pods of a job that went are held by its finalizer until someone takes that off.
        if let Some(old) = &change.old
            && change.new.as_ref().is_none_or(|new| new.metadata.uid != old.metadata.uid)
        {
            self.expectations.forget(&change.key);
            for pod in self.pods_by_owner.get(old.metadata.uid.as_deref().unwrap_or("")) {
                self.orphans.add(ObjectKey::of(&*pod));
            }
        }
    }

    fn on_pod(&self, change: &Change<SlimPod>) {
        for owner in owner::settle(&self.expectations, change) {
            self.queue.add(owner);
        }
        for owner in owner::concerned(change, "Job") {
            let jobs = self.by_uid.get(&owner.uid);
            if jobs.is_empty() && change.new.as_ref().is_some_and(|pod| plan::is_tracked(pod)) {
                self.orphans.add(change.key.clone());
            }
            for job in jobs {
                self.queue.add(ObjectKey::of(&*job));
            }
        }
        if let Some(pod) = &change.new
            && pod.controller().is_none()
        {
            if plan::is_tracked(pod) {
                self.orphans.add(change.key.clone());
            }
            for job in self.jobs.list_namespace(&pod.namespace) {
                if selector(&job).is_ok_and(|selector| pod.matches(&selector)) {
                    self.queue.add(ObjectKey::of(&*job));
                }
            }
        }
    }

    async fn release_orphan(&self, key: ObjectKey) -> SyncResult {
        let Some(pod) = self.pods.get_key(&key).filter(|pod| plan::is_tracked(pod)) else { return Ok(None) };
        let owned = pod.controller().is_some_and(|owner| !self.by_uid.get(&owner.uid).is_empty());
        if !owned {
            self.remove_finalizer(&pod).await?;
        }
        Ok(None)
    }

    async fn sync(&self, key: ObjectKey) -> SyncResult {
        let Some(job) = self.jobs.get_key(&key) else {
            self.expectations.forget(&key);
            self.backoffs.lock().remove(&key);
            return Ok(None);
        };
        let spec = job.spec.as_ref();
        let managed_by = spec.and_then(|spec| spec.managed_by.as_deref());
        if managed_by.is_some_and(|by| by != "kubernetes.io/job-controller") {
            return Ok(None);
        }
        let settled = self.expectations.satisfied(&key);
        let pods = self.claim(&job).await?;
        if plan::is_finished(&job) {
            self.backoffs.lock().remove(&key);
            for pod in pods.iter().filter(|pod| plan::is_tracked(pod)) {
                self.remove_finalizer(pod).await?;
            }
            return Ok(None);
        }
        let uid = job.metadata.uid.clone().unwrap_or_default();
        let backoff = self.backoffs.lock().get(&key).filter(|(of, _)| *of == uid).map(|(_, b)| *b).unwrap_or_default();
        let mut plan = plan::plan(&job, &pods, backoff, Timestamp::now());
        let managed = if settled { self.manage(&key, &job, &mut plan).await } else { Ok(()) };
        self.write_status(&job, &plan).await?;
        // Only a failure whose count is on record may not be counted again.
        self.backoffs.lock().insert(key, (uid, plan.backoff));
        for pod in &plan.release {
            self.remove_finalizer(pod).await?;
        }
        managed?;
        Ok(plan.again)
    }

    async fn claim(&self, job: &Arc<Job>) -> Result<Vec<Arc<SlimPod>>, Error> {
        let (uid, namespace) = (job.metadata.uid.as_deref().unwrap_or(""), job.namespace());
        let selector = selector(job)?;
        let candidates = self.pods_by_owner.get(uid).into_iter().chain(self.free_pods.get(namespace));
        // One that is let go takes no finalizer of ours along.
        let leaving =
            self.pods_by_owner.get(uid).into_iter().filter(|pod| !pod.matches(&selector) && plan::is_tracked(pod));
        for pod in leaving.filter(|_| job.metadata.deletion_timestamp.is_none()) {
            self.remove_finalizer(&pod).await?;
        }
        owner::claim_pods(&self.context.client, &**job, candidates, |pod| pod.matches(&selector)).await
    }

    /// Carries out creations and deletions.
    async fn manage(&self, key: &ObjectKey, job: &Arc<Job>, plan: &mut Plan) -> Result<(), Error> {
        for pod in &plan.retire {
            if plan::is_tracked(pod) {
                // Without it the pod is not counted as a failure.
                self.remove_finalizer(pod).await?;
            }
        }
        let doomed: Vec<_> = plan.retire.iter().chain(&plan.stop).take(BURST).cloned().collect();
        self.delete(key, job, &doomed).await?;
        let next = Mutex::new(plan.create.iter().copied().take(BURST).collect::<Vec<New>>().into_iter());
        let created = std::sync::atomic::AtomicI32::new(0);
        let outcome = slow_start(plan.create.len().min(BURST), || {
            let new = next.lock().next();
            let created = &created;
            async move {
                if let Some(new) = new {
                    self.create(key, job, new).await?;
                    created.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                }
                Ok(())
            }
        })
        .await;
        let active = plan.status.active.unwrap_or(0) + created.into_inner();
        plan.status.active = (active != 0).then_some(active);
        outcome
    }

    async fn create(&self, key: &ObjectKey, job: &Job, new: New) -> Result<(), Error> {
        let api: Api<Pod> = Api::namespaced(self.context.client.clone(), &key.namespace);
        let pod = pod(job, new);
        let name = ObjectKey::new(&key.namespace, pod.metadata.name.as_deref().unwrap_or(""));
        let reference = client::recorder::reference(job);
        self.expectations.expect_creation(key, name.clone());
        match api.create(&PostParams::default(), &pod).await {
            Ok(_) => {
                let text = format!("Created pod: {}", name.name);
                self.context.recorder.event(&reference, EventType::Normal, "SuccessfulCreate", &text);
                Ok(())
            }
            Err(error) => {
                self.expectations.created(&name);
                if skeleton::is_terminating(&error) {
                    return Ok(());
                }
                let text = format!("Error creating: {}", skeleton::message(&error));
                self.context.recorder.event(&reference, EventType::Warning, "FailedCreate", &text);
                Err(error.into())
            }
        }
    }

    async fn delete(&self, key: &ObjectKey, job: &Job, pods: &[Arc<SlimPod>]) -> Result<(), Error> {
        let api: Api<Pod> = Api::namespaced(self.context.client.clone(), &key.namespace);
        let reference = client::recorder::reference(job);
        for pod in pods {
            self.expectations.expect_deletion(key, &pod.uid);
            match api.delete(&pod.name, &skeleton::delete_uid(&pod.uid)).await {
                Ok(_) => {
                    let text = format!("Deleted pod: {}", pod.name);
                    self.context.recorder.event(&reference, EventType::Normal, "SuccessfulDelete", &text);
                }
                Err(error) => {
                    self.expectations.deleted(&pod.uid);
                    if !is_not_found(&error) {
                        let text = format!("Error deleting: {}", skeleton::message(&error));
                        self.context.recorder.event(&reference, EventType::Warning, "FailedDelete", &text);
                        return Err(error.into());
                    }
                }
            }
        }
        Ok(())
    }

    async fn write_status(&self, job: &Job, plan: &Plan) -> Result<(), Error> {
        if !write_status(&self.context.client, job, plan.status.clone()).await? {
            return Ok(());
        }
        let reference = client::recorder::reference(job);
        for (warning, reason, message) in &plan.events {
            let kind = if *warning { EventType::Warning } else { EventType::Normal };
            self.context.recorder.event(&reference, kind, reason, message);
        }
        Ok(())
    }

    async fn remove_finalizer(&self, pod: &SlimPod) -> Result<(), Error> {
        let api: Api<Pod> = Api::namespaced(self.context.client.clone(), &pod.namespace);
        let patch = json!({ "metadata": { "uid": pod.uid, "$deleteFromPrimitiveList/finalizers": [FINALIZER] } });
        match api.patch(&pod.name, &PatchParams::default(), &Patch::Strategic(&patch)).await {
            Err(error) if is_not_found(&error) || is_invalid(&error) => Ok(()),
            outcome => Ok(outcome.map(|_| ())?),
        }
    }
}

fn selector(job: &Job) -> Result<apimachinery::labels::LabelSelector, Error> {
    template::selector(job.spec.as_ref().and_then(|spec| spec.selector.as_ref()))
}

/// A pod of the job.
fn pod(job: &Job, new: New) -> Pod {
    let empty = k8s_openapi::api::core::v1::PodTemplateSpec::default();
    let pod_template = job.spec.as_ref().map_or(&empty, |spec| &spec.template);
    let mut pod = template::pod(pod_template, job.namespace(), template::controller_ref(job));
    let finalizers = pod.metadata.finalizers.get_or_insert_default();
    if !finalizers.iter().any(|finalizer| finalizer == FINALIZER) {
        finalizers.push(FINALIZER.into());
    }
    if let New::Index(index, failures) = new {
        let text = index.to_string();
        let per_index = job.spec.as_ref().is_some_and(|spec| spec.backoff_limit_per_index.is_some());
        let annotations = pod.metadata.annotations.get_or_insert_default();
        annotations.insert(INDEX.into(), text.clone());
        if per_index {
            annotations.insert(INDEX_FAILURES.into(), failures.to_string());
        }
        pod.metadata.labels.get_or_insert_default().insert(INDEX.into(), text);
        let prefix = format!("{}-{index}-", job.name());
        pod.metadata.name = Some(template::random_name(&prefix));
        pod.metadata.generate_name = Some(prefix);
        if let Some(spec) = &mut pod.spec {
            spec.hostname = Some(format!("{}-{index}", job.name()));
            for container in spec.containers.iter_mut().chain(spec.init_containers.iter_mut().flatten()) {
                add_index(container.env.get_or_insert_default());
            }
        }
    }
    pod
}

/// Tells the container its index.
fn add_index(env: &mut Vec<EnvVar>) {
    const VARIABLE: &str = "JOB_COMPLETION_INDEX";
    if env.iter().any(|variable| variable.name == VARIABLE) {
        return;
    }
    let field = ObjectFieldSelector { field_path: format!("metadata.labels['{INDEX}']"), api_version: None };
    let source = EnvVarSource { field_ref: Some(field), ..EnvVarSource::default() };
    env.push(EnvVar { name: VARIABLE.into(), value_from: Some(source), value: None });
}

//! StatefulSets: pods with names that stay, made and unmade in order, each with its own claims.

mod plan;

use std::sync::Arc;

use client::{Cached as _, Change, EventType, Index, ObjectKey, Scope, Store, WorkQueue};
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{ControllerRevision, StatefulSet};
use k8s_openapi::api::core::v1::{
    PersistentVolumeClaim, PersistentVolumeClaimVolumeSource, Pod, PodTemplateSpec, Volume,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Api;
use kube::api::PostParams;

use self::plan::{Revisions, Step};
use crate::expectations::Expectations;
use crate::history::{self, HASH_LABEL, History};
use crate::owner;
use crate::pod::SlimPod;
use crate::skeleton::{self, Context, Error, SyncResult, Tasks, is_already_exists, is_not_found};
use crate::status::write_status;
use crate::template;

const NAME: &str = "statefulset";
const WORKERS: usize = 5;
const POD_NAME: &str = "statefulset.kubernetes.io/pod-name";
const POD_INDEX: &str = "apps.kubernetes.io/pod-index";

struct Controller {
    queue: WorkQueue<ObjectKey>,
    expectations: Expectations<ObjectKey>,
    sets: Store<StatefulSet>,
    by_uid: Index<StatefulSet>,
    pods_by_owner: Index<SlimPod>,
    orphans: Index<SlimPod>,
    claims: Store<PersistentVolumeClaim>,
    revisions: Index<ControllerRevision>,
    context: Context,
}

/// Runs the controller until shutdown.
pub async fn run(context: Context) -> Result<(), Error> {
    let sets = context.informers.get::<StatefulSet>(Scope::all());
    let pods = context.informers.get::<SlimPod>(Scope::all());
    let claims = context.informers.get::<PersistentVolumeClaim>(Scope::all());
    let revisions = context.informers.get::<ControllerRevision>(Scope::all());
    sets.synced().await;
    pods.synced().await;
    claims.synced().await;
    revisions.synced().await;
    let controller = Arc::new(Controller {
        queue: WorkQueue::new(NAME),
        expectations: Expectations::new(),
        by_uid: owner::by_uid(&sets.store()),
        sets: sets.store(),
        pods_by_owner: owner::pods_by_owner(&pods.store()),
        orphans: owner::orphan_pods(&pods.store()),
        claims: claims.store(),
        revisions: owner::by_owner(&revisions.store()),
        context: context.clone(),
    });
    let mut tasks = Tasks::new();
    tasks.feed(&sets, skeleton::enqueue(&controller.queue));
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

impl Controller {
    fn on_pod(&self, change: &Change<SlimPod>) {
        for owner in owner::settle(&self.expectations, change) {
            self.queue.add(owner);
        }
        for owner in owner::concerned(change, "StatefulSet") {
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

    async fn sync(&self, key: ObjectKey) -> SyncResult {
        let Some(set) = self.sets.get_key(&key) else {
            self.expectations.forget(&key);
            return Ok(None);
        };
        let selector = template::selector(Some(&set.spec.selector))?;
        if selector.is_everything() {
            return Ok(None);
        }
        let settled = self.expectations.satisfied(&key);
        let now = Timestamp::now();
        let uid = set.metadata.uid.as_deref().unwrap_or("");
        let candidates = self.pods_by_owner.get(uid).into_iter().chain(self.orphans.get(&key.namespace));
        // Pods that match but whose names are not the set's stay out of it.
        let matches = |pod: &SlimPod| pod.matches(&selector) && plan::ordinal(&set, pod).is_some();
        let pods = owner::claim_pods(&self.context.client, &*set, candidates, matches).await?;
        if set.metadata.deletion_timestamp.is_some() {
            return Ok(None);
        }
        let collisions = set.status.as_ref().and_then(|status| status.collision_count);
        let history = History {
            client: &self.context.client,
            namespace: &key.namespace,
            name: &key.name,
            owner: template::controller_ref(&*set),
            template: &set.spec.template,
            collisions,
        };
        let found = match history.sync(&self.revisions).await {
            Err(Error::Collision) => return self.note_collision(&set).await,
            outcome => outcome?,
        };
        let (revisions, old) = self.revisions(&set, &found);
        let steps = if settled { plan::steps(&set, &pods, &revisions, now) } else { Vec::new() };
        let outcome = self.apply(&key, &set, old.as_ref(), &pods, steps).await;
        write_status(&self.context.client, &*set, plan::status(&set, &pods, &revisions, collisions, now)).await?;
        outcome?;
        if settled {
            let used = |revision: &ControllerRevision| {
                let name = revision.metadata.name.as_deref();
                name == Some(&revisions.current) || pods.iter().any(|pod| pod.label(HASH_LABEL) == name)
            };
            history.truncate(&found, set.spec.revision_history_limit.unwrap_or(10), used).await?;
        }
        Ok(plan::next_available(&set, &pods, now))
    }

    /// The names of the revisions, and the template of the one before the rollout if there is one.
    fn revisions(&self, set: &StatefulSet, found: &history::Revisions) -> (Revisions, Option<PodTemplateSpec>) {
        let update = found.current.name().to_owned();
        let noted = set.status.as_ref().and_then(|status| status.current_revision.clone());
        let before = found.old.iter().find(|revision| revision.metadata.name == noted);
        let current = before.map_or_else(|| update.clone(), |revision| revision.name().to_owned());
        (Revisions { current, update }, before.and_then(|revision| history::template_of(revision)))
    }

    async fn apply(
        &self,
        key: &ObjectKey,
        set: &Arc<StatefulSet>,
        old: Option<&PodTemplateSpec>,
        pods: &[Arc<SlimPod>],
        steps: Vec<Step>,
    ) -> Result<(), Error> {
        let update = |name: &str| set.status.as_ref().and_then(|s| s.current_revision.as_deref()) != Some(name);
        for step in steps {
            match step {
                Step::Create(ordinal, revision) => {
                    let template = old.filter(|_| !update(&revision)).unwrap_or(&set.spec.template);
                    self.create_claims(set, ordinal).await?;
                    self.create(key, set, pod(set, template, ordinal, &revision)).await?;
                }
                Step::Claims(ordinal) => self.create_claims(set, ordinal).await?,
                Step::Delete(name) => self.delete(key, set, pods, &name).await?,
                Step::Replace(name) => {
                    let ended = pods.iter().find(|pod| pod.name == name);
                    let failed = ended.is_some_and(|pod| pod.phase == "Failed");
                    let (reason, state) = if failed {
                        ("RecreatingFailedPod", "failed")
                    } else {
                        ("RecreatingTerminatedPod", "terminated")
                    };
                    let text = format!("StatefulSet {key} is recreating {state} Pod {name}");
                    self.event(set, if failed { EventType::Warning } else { EventType::Normal }, reason, &text);
                    self.delete(key, set, pods, &name).await?;
                }
            }
        }
        Ok(())
    }

    async fn create(&self, key: &ObjectKey, set: &StatefulSet, pod: Pod) -> Result<(), Error> {
        let api: Api<Pod> = Api::namespaced(self.context.client.clone(), &key.namespace);
        let name = ObjectKey::new(&key.namespace, pod.metadata.name.as_deref().unwrap_or(""));
        self.expectations.expect_creation(key, name.clone());
        match api.create(&PostParams::default(), &pod).await {
            Ok(_) => {
                let text = format!("create Pod {} in StatefulSet {} successful", name.name, key.name);
                self.event(set, EventType::Normal, "SuccessfulCreate", &text);
                Ok(())
            }
            Err(error) => {
                self.expectations.created(&name);
                if skeleton::is_terminating(&error) {
                    return Ok(());
                }
                if is_already_exists(&error) {
                    return Err(Error::Wait("a pod of that name is still there"));
                }
                let text = format!(
                    "create Pod {} in StatefulSet {} failed error: {}",
                    name.name,
                    key.name,
                    skeleton::message(&error)
                );
                self.event(set, EventType::Warning, "FailedCreate", &text);
                Err(error.into())
            }
        }
    }

    async fn delete(&self, key: &ObjectKey, set: &StatefulSet, pods: &[Arc<SlimPod>], name: &str) -> Result<(), Error> {
        let Some(pod) = pods.iter().find(|pod| pod.name == name) else { return Ok(()) };
        let api: Api<Pod> = Api::namespaced(self.context.client.clone(), &key.namespace);
        self.expectations.expect_deletion(key, &pod.uid);
        match api.delete(name, &skeleton::delete_uid(&pod.uid)).await {
            Ok(_) => {
                let text = format!("delete Pod {name} in StatefulSet {} successful", key.name);
                self.event(set, EventType::Normal, "SuccessfulDelete", &text);
                Ok(())
            }
            Err(error) => {
                self.expectations.deleted(&pod.uid);
                if is_not_found(&error) { Ok(()) } else { Err(error.into()) }
            }
        }
    }

    async fn create_claims(&self, set: &StatefulSet, ordinal: i32) -> Result<(), Error> {
        let api: Api<PersistentVolumeClaim> = Api::namespaced(self.context.client.clone(), set.namespace());
        for claim in claims(set, ordinal) {
            if self.claims.get(set.namespace(), claim.name()).is_some() {
                continue;
            }
            let (set_name, pod) = (set.name(), format!("{}-{ordinal}", set.name()));
            match api.create(&PostParams::default(), &claim).await {
                Ok(_) => {
                    let text = format!("create Claim {} Pod {pod} in StatefulSet {set_name} success", claim.name());
                    self.event(set, EventType::Normal, "SuccessfulCreate", &text);
                }
                Err(error) if is_already_exists(&error) => {}
                Err(error) => {
                    let why = skeleton::message(&error);
                    let text = format!(
                        "create Claim {} for Pod {pod} in StatefulSet {set_name} failed error: {why}",
                        claim.name()
                    );
                    self.event(set, EventType::Warning, "FailedCreate", &text);
                    return Err(error.into());
                }
            }
        }
        Ok(())
    }

    async fn note_collision(&self, set: &StatefulSet) -> SyncResult {
        let mut status = set.status.clone().unwrap_or_default();
        status.collision_count = Some(status.collision_count.unwrap_or(0) + 1);
        write_status(&self.context.client, set, status).await?;
        Err(Error::Collision)
    }

    fn event(&self, set: &StatefulSet, kind: EventType, reason: &str, text: &str) {
        self.context.recorder.event(&client::recorder::reference(set), kind, reason, text);
    }
}

/// The claims of the pod with this ordinal.
fn claims(set: &StatefulSet, ordinal: i32) -> Vec<PersistentVolumeClaim> {
    let policy = set.spec.persistent_volume_claim_retention_policy.as_ref();
    let goes_along = policy.and_then(|policy| policy.when_deleted.as_deref()) == Some("Delete");
    let claim = |template: &PersistentVolumeClaim| {
        let mut labels = template.metadata.labels.clone().unwrap_or_default();
        labels.extend(set.spec.selector.match_labels.clone().unwrap_or_default());
        PersistentVolumeClaim {
            metadata: ObjectMeta {
                name: Some(format!("{}-{}-{ordinal}", template.name(), set.name())),
                namespace: set.metadata.namespace.clone(),
                labels: Some(labels),
                annotations: template.metadata.annotations.clone(),
                owner_references: goes_along.then(|| vec![template::controller_ref(set)]),
                ..ObjectMeta::default()
            },
            spec: template.spec.clone(),
            status: None,
        }
    };
    set.spec.volume_claim_templates.iter().flatten().map(claim).collect()
}

/// The pod with this ordinal, of a revision.
fn pod(set: &StatefulSet, pod_template: &PodTemplateSpec, ordinal: i32, revision: &str) -> Pod {
    let name = format!("{}-{ordinal}", set.name());
    let mut pod = template::pod(pod_template, set.namespace(), template::controller_ref(set));
    pod.metadata.name = Some(name.clone());
    pod.metadata.generate_name = Some(format!("{}-", set.name()));
    let labels = pod.metadata.labels.get_or_insert_default();
    labels.insert(POD_NAME.into(), name.clone());
    labels.insert(POD_INDEX.into(), ordinal.to_string());
    labels.insert(HASH_LABEL.into(), revision.into());
    let spec = pod.spec.get_or_insert_default();
    spec.hostname = Some(name);
    spec.subdomain.clone_from(&set.spec.service_name);
    let templates = set.spec.volume_claim_templates.as_deref().unwrap_or_default();
    let volumes = spec.volumes.get_or_insert_default();
    volumes.retain(|volume| !templates.iter().any(|template| template.name() == volume.name));
    for (template, claim) in templates.iter().zip(claims(set, ordinal)) {
        let source = PersistentVolumeClaimVolumeSource { claim_name: claim.name().into(), read_only: None };
        volumes.push(Volume {
            name: template.name().into(),
            persistent_volume_claim: Some(source),
            ..Volume::default()
        });
    }
    if volumes.is_empty() {
        spec.volumes = None;
    }
    pod
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_pod_has_its_name_its_index_and_its_claims() {
        let set: StatefulSet = serde_json::from_value(json!({
            "metadata": { "name": "db", "namespace": "ns", "uid": "u" },
            "spec": { "serviceName": "db-svc", "selector": { "matchLabels": { "app": "db" } },
                "template": { "metadata": { "labels": { "app": "db" } }, "spec": { "containers": [], "volumes": [{ "name": "data", "emptyDir": {} }] } },
                "volumeClaimTemplates": [{ "metadata": { "name": "data" }, "spec": {} }] }
        }))
        .unwrap();
        let pod = pod(&set, &set.spec.template, 2, "db-rev");
        let value = serde_json::to_value(&pod).unwrap();
        assert_eq!(value["metadata"]["name"], "db-2");
        assert_eq!(
            value["metadata"]["labels"],
            json!({ "app": "db", POD_NAME: "db-2", POD_INDEX: "2", HASH_LABEL: "db-rev" })
        );
        assert_eq!(
            (value["spec"]["hostname"].as_str(), value["spec"]["subdomain"].as_str()),
            (Some("db-2"), Some("db-svc"))
        );
        assert_eq!(
            value["spec"]["volumes"],
            json!([{ "name": "data", "persistentVolumeClaim": { "claimName": "data-db-2" } }])
        );
        assert_eq!(claims(&set, 2)[0].metadata.labels.as_ref().unwrap()["app"], "db");
    }
}

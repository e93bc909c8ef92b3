//! The steps of a rollout: find or make the new ReplicaSet, grow it, shrink the old ones, clean up.

use client::{Cached as _, EventType, ObjectKey};
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet, ReplicaSetSpec};
use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Api;
use kube::api::PostParams;

use super::{Sync, plan, revision, status};
use crate::owner;
use crate::skeleton::{Error, delete_uid, ignore_not_found, is_already_exists, is_terminating, message};
use crate::template;

pub(super) const HASH_LABEL: &str = "pod-template-hash";

/// The ReplicaSet of the deployment's present template, and the others.
pub(super) fn split(deployment: &Deployment, mut sets: Vec<ReplicaSet>) -> (Option<ReplicaSet>, Vec<ReplicaSet>) {
    sets.sort_by(|a, b| {
        let age = |set: &ReplicaSet| (set.metadata.creation_timestamp.clone(), set.metadata.name.clone());
        age(a).cmp(&age(b))
    });
    let wanted = template::canonical(&without_hash(Some(&deployment.spec.template)));
    let found = sets.iter().position(|set| template::canonical(&without_hash(set.spec.template.as_ref())) == wanted);
    let new = found.map(|i| sets.remove(i));
    (new, sets)
}

fn without_hash(template: Option<&PodTemplateSpec>) -> PodTemplateSpec {
    let mut template = template.cloned().unwrap_or_default();
    if let Some(labels) = template.metadata.as_mut().and_then(|metadata| metadata.labels.as_mut()) {
        labels.remove(HASH_LABEL);
    }
    template
}

impl Sync<'_> {
    pub(super) fn all(&self) -> Vec<ReplicaSet> {
        self.old.iter().chain(&self.new).cloned().collect()
    }

    fn api(&self) -> Api<ReplicaSet> {
        Api::namespaced(self.controller.context.client.clone(), self.deployment.namespace())
    }

    /// One step of whatever the deployment needs. Each returns after what it changed has to be seen first.
    pub(super) async fn roll(&mut self) -> Result<(), Error> {
        if self.new.is_some() {
            self.adopt_revision().await?;
        }
        if self.deployment.spec.paused == Some(true) {
            self.scale().await?;
            return self.clean_up().await;
        }
        if self.was_scaled() {
            return self.scale().await;
        }
        if plan::is_rolling(&self.deployment) { self.roll_gradually().await } else { self.recreate().await }
    }

    /// The deployment's size is not the one that its active ReplicaSets were sized for.
    fn was_scaled(&self) -> bool {
        let wanted = plan::replicas(&self.deployment);
        let active = self.old.iter().chain(&self.new).filter(|set| plan::size(set) > 0);
        let mut noted = active.filter_map(|set| revision::annotation_i32(&set.metadata, revision::DESIRED));
        noted.any(|desired| desired != wanted)
    }

    async fn scale(&mut self) -> Result<(), Error> {
        let all = self.all();
        let new = self.new.is_some().then_some(self.old.len());
        for (i, size) in plan::scale(&self.deployment, &all, new) {
            self.resize(i, size).await?;
        }
        // Sets whose size stays follow with their annotations, or this would look like a scaling for ever.
        for i in 0..=self.old.len() {
            let size = self.set_mut(i).map_or(0, |set| plan::size(set));
            if size > 0 {
                self.resize(i, size).await?;
            }
        }
        Ok(())
    }

    async fn roll_gradually(&mut self) -> Result<(), Error> {
        if self.new.is_none() {
            return self.create_new().await;
        }
        let Some(new) = &self.new else { return Ok(()) };
        let (current, wanted) = (plan::size(new), plan::replicas(&self.deployment));
        let size = match current.cmp(&wanted) {
            std::cmp::Ordering::Greater => wanted,
            std::cmp::Ordering::Equal => current,
            std::cmp::Ordering::Less => plan::new_set_size(&self.deployment, current, &self.all()),
        };
        if size != current {
            return self.resize(self.old.len(), size).await;
        }
        let shrink = plan::shrink_old(&self.deployment, new, &self.old);
        if !shrink.is_empty() {
            for (i, size) in shrink {
                self.resize(i, size).await?;
            }
            return Ok(());
        }
        self.clean_up_when_complete().await
    }

    async fn recreate(&mut self) -> Result<(), Error> {
        let active: Vec<usize> = (0..self.old.len()).filter(|i| plan::size(&self.old[*i]) > 0).collect();
        if !active.is_empty() {
            for i in active {
                self.resize(i, 0).await?;
            }
            return Ok(());
        }
        if self.old_pods_run() {
            return Ok(());
        }
        if self.new.is_none() {
            return self.create_new().await;
        }
        self.resize(self.old.len(), plan::replicas(&self.deployment)).await?;
        self.clean_up_when_complete().await
    }

    fn old_pods_run(&self) -> bool {
        self.old.iter().any(|set| {
            let pods = self.controller.pods_by_owner.get(set.metadata.uid.as_deref().unwrap_or(""));
            set.status.as_ref().is_some_and(|status| status.replicas > 0) || pods.iter().any(|pod| !pod.is_finished())
        })
    }

    /// The set at a place of [`Self::all`].
    fn set_mut(&mut self, i: usize) -> Option<&mut ReplicaSet> {
        if i < self.old.len() { self.old.get_mut(i) } else { self.new.as_mut() }
    }

    /// Gives a ReplicaSet a size, and notes on it for which size of the deployment that was.
    async fn resize(&mut self, i: usize, size: i32) -> Result<(), Error> {
        let (deployment, api) = (self.deployment.clone(), self.api());
        let Some(set) = self.set_mut(i) else { return Ok(()) };
        let before = plan::size(set);
        let mut wanted = set.clone();
        let annotated = revision::annotate_size(&deployment, &mut wanted);
        if before == size && !annotated {
            return Ok(());
        }
        wanted.spec.replicas = Some(size);
        let written = api.replace(set.name(), &PostParams::default(), &wanted).await?;
        let name = written.name().to_owned();
        *set = written;
        if before != size {
            let direction = if before < size { "up" } else { "down" };
            self.scaled_event(&format!("Scaled {direction} replica set {name} from {before} to {size}"));
        }
        Ok(())
    }

    fn scaled_event(&self, text: &str) {
        let reference = client::recorder::reference(&*self.deployment);
        self.controller.context.recorder.event(&reference, EventType::Normal, "ScalingReplicaSet", text);
    }

    /// Makes the revision of the new ReplicaSet the newest, and the deployment's.
    async fn adopt_revision(&mut self) -> Result<(), Error> {
        let next = revision::next_revision(&self.old);
        let api = self.api();
        let Some(new) = &mut self.new else { return Ok(()) };
        let mut wanted = new.clone();
        let mut changed = revision::annotate_new(&self.deployment, &mut wanted, next, true);
        if plan_min_ready(&wanted.spec) != self.deployment.spec.min_ready_seconds.unwrap_or(0) {
            wanted.spec.min_ready_seconds = self.deployment.spec.min_ready_seconds;
            changed = true;
        }
        if changed {
            *new = api.replace(new.name(), &PostParams::default(), &wanted).await?;
        }
        let name = new.name().to_owned();
        let number = revision::annotation(&new.metadata, revision::REVISION).unwrap_or("").to_owned();
        if status::progress_deadline(&self.deployment).is_some()
            && status::condition(&self.status, status::PROGRESSING).is_none()
        {
            let text = format!("Found new replica set {name:?}");
            status::set_condition(&mut self.status, status::PROGRESSING, "True", "FoundNewReplicaSet", &text, self.now);
        }
        self.write_revision(&number).await
    }

    async fn write_revision(&mut self, number: &str) -> Result<(), Error> {
        if revision::annotation(&self.deployment.metadata, revision::REVISION) == Some(number) {
            return Ok(());
        }
        let api: Api<Deployment> = Api::namespaced(self.controller.context.client.clone(), self.deployment.namespace());
        let mut wanted = (*self.deployment).clone();
        wanted.metadata.annotations.get_or_insert_default().insert(revision::REVISION.into(), number.into());
        // The status write at the end of the sync builds on this one.
        self.deployment = api.replace(self.deployment.name(), &PostParams::default(), &wanted).await?.into();
        Ok(())
    }

    async fn create_new(&mut self) -> Result<(), Error> {
        let deployment = self.deployment.clone();
        let hash = template::template_hash(&deployment.spec.template, self.status.collision_count);
        let mut set = new_set(&deployment, &hash);
        let size = plan::new_set_size(&deployment, 0, &self.old);
        set.spec.replicas = Some(size);
        revision::annotate_new(&deployment, &mut set, revision::next_revision(&self.old), false);
        let name = set.name().to_owned();
        match self.api().create(&PostParams::default(), &set).await {
            Ok(created) => {
                if size > 0 {
                    self.scaled_event(&format!("Scaled up replica set {name} from 0 to {size}"));
                }
                self.note_progress("True", "NewReplicaSetCreated", &format!("Created new replica set {name:?}"));
                let number = revision::annotation(&created.metadata, revision::REVISION).unwrap_or("").to_owned();
                self.new = Some(created);
                self.write_revision(&number).await
            }
            Err(error) if is_already_exists(&error) => self.resolve_collision(&name, error).await,
            Err(error) if is_terminating(&error) => Ok(()),
            Err(error) => {
                let text = format!("Failed to create new replica set {name:?}: {}", message(&error));
                self.note_progress("False", "ReplicaSetCreateError", &text);
                let reference = client::recorder::reference(&*deployment);
                self.controller.context.recorder.event(&reference, EventType::Warning, "ReplicaSetCreateError", &text);
                Err(error.into())
            }
        }
    }

    /// A set of that name is there: it is ours and the cache was late, or its template hashes alike and the next hash
    /// has to differ.
    async fn resolve_collision(&mut self, name: &str, error: kube::Error) -> Result<(), Error> {
        let Some(existing) = self.api().get_opt(name).await? else { return Err(error.into()) };
        let ours = owner::controller_of(&existing.metadata)
            .is_some_and(|o| Some(&o.uid) == self.deployment.metadata.uid.as_ref());
        let wanted = template::canonical(&without_hash(Some(&self.deployment.spec.template)));
        if ours && template::canonical(&without_hash(existing.spec.template.as_ref())) == wanted {
            self.new = Some(existing);
            return self.adopt_revision().await;
        }
        self.status.collision_count = Some(self.status.collision_count.unwrap_or(0) + 1);
        tracing::info!(deployment = %ObjectKey::of(&*self.deployment), name, "hash collision; taking another hash");
        Err(error.into())
    }

    fn note_progress(&mut self, value: &str, reason: &str, text: &str) {
        if status::progress_deadline(&self.deployment).is_some() {
            status::set_condition(&mut self.status, status::PROGRESSING, value, reason, text, self.now);
        }
    }

    async fn clean_up_when_complete(&mut self) -> Result<(), Error> {
        let all = self.all();
        let counted = status::counted(&self.deployment, &self.status, &all, self.new.as_ref(), self.now);
        match status::is_complete(&self.deployment, &counted) {
            true => self.clean_up().await,
            false => Ok(()),
        }
    }

    /// Deletes the oldest revisions that are more than the history limit allows.
    async fn clean_up(&mut self) -> Result<(), Error> {
        let limit = self.deployment.spec.revision_history_limit.unwrap_or(i32::MAX);
        let keep = usize::try_from(limit).unwrap_or(0);
        let mut alive: Vec<&ReplicaSet> =
            self.old.iter().filter(|set| set.metadata.deletion_timestamp.is_none()).collect();
        if limit == i32::MAX || alive.len() <= keep {
            return Ok(());
        }
        alive.sort_by_key(|set| (revision::revision(&set.metadata), set.metadata.creation_timestamp.clone()));
        let api = self.api();
        for set in &alive[..alive.len() - keep] {
            let settled = set
                .status
                .as_ref()
                .is_some_and(|s| s.replicas == 0 && s.observed_generation >= set.metadata.generation);
            if plan::size(set) == 0 && settled {
                let uid = set.metadata.uid.as_deref().unwrap_or("");
                ignore_not_found(api.delete(set.name(), &delete_uid(uid)).await)?;
            }
        }
        Ok(())
    }
}

fn plan_min_ready(spec: &ReplicaSetSpec) -> i32 {
    spec.min_ready_seconds.unwrap_or(0)
}

/// A ReplicaSet for the deployment's template, of size 0.
fn new_set(deployment: &Deployment, hash: &str) -> ReplicaSet {
    let mut pod_template = deployment.spec.template.clone();
    let metadata = pod_template.metadata.get_or_insert_default();
    metadata.labels.get_or_insert_default().insert(HASH_LABEL.into(), hash.into());
    let labels = metadata.labels.clone();
    let mut selector = deployment.spec.selector.clone();
    selector.match_labels.get_or_insert_default().insert(HASH_LABEL.into(), hash.into());
    ReplicaSet {
        metadata: ObjectMeta {
            name: Some(format!("{}-{hash}", deployment.name())),
            namespace: deployment.metadata.namespace.clone(),
            labels,
            owner_references: Some(vec![template::controller_ref(deployment)]),
            ..ObjectMeta::default()
        },
        spec: ReplicaSetSpec {
            replicas: Some(0),
            min_ready_seconds: deployment.spec.min_ready_seconds,
            selector,
            template: Some(pod_template),
        },
        status: None,
    }
}

//! Revisions of a pod template, kept as ControllerRevisions: what DaemonSets and StatefulSets roll to and back from.

use std::collections::BTreeMap;
use std::sync::Arc;

use client::{Cached as _, Client, Index};
use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use k8s_openapi::apimachinery::pkg::runtime::RawExtension;
use kube::Api;
use kube::api::PostParams;
use serde_json::{Value, json};

use crate::skeleton::{Error, delete_uid, ignore_not_found, is_already_exists};
use crate::template;

/// What pods carry to tell of which revision they are.
pub const HASH_LABEL: &str = "controller-revision-hash";

/// A template as a patch that puts it back: the form in which kubectl reads and applies revisions.
pub fn data(pod_template: &PodTemplateSpec) -> Value {
    let mut spec = template::canonical(pod_template);
    spec["$patch"] = "replace".into();
    json!({ "spec": { "template": spec } })
}

/// The template that a revision holds.
pub fn template_of(revision: &ControllerRevision) -> Option<PodTemplateSpec> {
    let mut value = revision.data.0.get("spec")?.get("template")?.clone();
    value.as_object_mut()?.remove("$patch");
    serde_json::from_value(value).ok()
}

pub fn number(revision: &ControllerRevision) -> i64 {
    revision.revision.unwrap_or(0)
}

/// What revisions belong to, and what they look like.
pub struct History<'a> {
    pub client: &'a Client,
    pub namespace: &'a str,
    pub name: &'a str,
    pub owner: OwnerReference,
    pub template: &'a PodTemplateSpec,
    pub collisions: Option<i32>,
}

/// The present revision, and all older ones in order.
pub struct Revisions {
    pub current: ControllerRevision,
    pub old: Vec<Arc<ControllerRevision>>,
}

impl History<'_> {
    /// Finds or makes the revision of the present template, and makes it the newest.
    pub async fn sync(&self, index: &Index<ControllerRevision>) -> Result<Revisions, Error> {
        let mut all = index.get(&self.owner.uid);
        all.sort_by_key(|revision| (number(revision), revision.metadata.name.clone()));
        let wanted = data(self.template);
        let newest = all.iter().map(|revision| number(revision)).max().unwrap_or(0);
        let found =
            all.iter().rposition(|revision| template::canonical(&revision.data.0) == template::canonical(&wanted));
        let api: Api<ControllerRevision> = Api::namespaced(self.client.clone(), self.namespace);
        let Some(found) = found else {
            let current = self.create(&api, wanted, newest + 1).await?;
            return Ok(Revisions { current, old: all });
        };
        let mut current = (*all.remove(found)).clone();
        if number(&current) < newest {
            current.revision = Some(newest + 1);
            current = api.replace(current.name(), &PostParams::default(), &current).await?;
        }
        Ok(Revisions { current, old: all })
    }

    async fn create(
        &self,
        api: &Api<ControllerRevision>,
        data: Value,
        number: i64,
    ) -> Result<ControllerRevision, Error> {
        let hash = template::template_hash(self.template, self.collisions);
        let mut labels: BTreeMap<String, String> =
            self.template.metadata.as_ref().and_then(|metadata| metadata.labels.clone()).unwrap_or_default();
        labels.insert(HASH_LABEL.into(), hash.clone());
        let revision = ControllerRevision {
            metadata: ObjectMeta {
                name: Some(format!("{}-{hash}", self.name)),
                namespace: Some(self.namespace.into()),
                labels: Some(labels),
                owner_references: Some(vec![self.owner.clone()]),
                ..ObjectMeta::default()
            },
            data: RawExtension(data),
            revision: Some(number),
        };
        match api.create(&PostParams::default(), &revision).await {
            Err(error) if is_already_exists(&error) => {
                let existing = api.get(revision.name()).await?;
                let ours = existing.metadata.owner_references.iter().flatten().any(|owner| owner.uid == self.owner.uid);
                if ours && template::canonical(&existing.data.0) == template::canonical(&revision.data.0) {
                    return Ok(existing);
                }
                // Another template with the same hash: the next one has to differ.
                Err(Error::Collision)
            }
            outcome => Ok(outcome?),
        }
    }

    /// Deletes the oldest revisions beyond the limit, but none that `live` says is in use.
    pub async fn truncate(
        &self,
        revisions: &Revisions,
        limit: i32,
        live: impl Fn(&ControllerRevision) -> bool,
    ) -> Result<(), Error> {
        let api: Api<ControllerRevision> = Api::namespaced(self.client.clone(), self.namespace);
        let unused: Vec<_> = revisions.old.iter().filter(|revision| !live(revision)).collect();
        let surplus = unused.len().saturating_sub(usize::try_from(limit).unwrap_or(0));
        for revision in &unused[..surplus] {
            let uid = revision.metadata.uid.as_deref().unwrap_or("");
            ignore_not_found(api.delete(revision.name(), &delete_uid(uid)).await)?;
        }
        Ok(())
    }
}

/// The hash that a revision's pods carry as a label.
pub fn hash(revision: &ControllerRevision) -> &str {
    let labels = revision.metadata.labels.as_ref();
    labels.and_then(|labels| labels.get(HASH_LABEL)).map_or("", String::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_revision_gives_its_template_back() {
        let pod_template: PodTemplateSpec = serde_json::from_value(json!({
            "metadata": { "labels": { "a": "b" } }, "spec": { "containers": [{ "name": "c", "image": "i" }] }
        }))
        .unwrap();
        let data = data(&pod_template);
        assert_eq!(data["spec"]["template"]["$patch"], "replace");
        let revision = ControllerRevision { data: RawExtension(data), ..ControllerRevision::default() };
        assert_eq!(template_of(&revision).unwrap(), pod_template);
    }
}

//! "API operations" of any kind: discovery, then every verb in the order of an object's life, each seen by a watch.

use anyhow::Context as _;
use serde_json::{Value, json};

use crate::Cluster;
use crate::kinds::Kind;
use crate::must::{must, must_cover};
use crate::resource::Resource;
use crate::tests::discovery::must_serve;
use crate::watch::Watch;

/// How many objects a test makes: one to delete by name, and two to delete as a collection.
const COUNT: usize = 3;

/// What differs from kind to kind.
pub struct Operations {
    kind: Kind,
    object: Value,
    names: Option<[String; COUNT]>,
    patch: Value,
    status: Option<(Value, Value)>,
}

impl Operations {
    /// Objects like this one; it needs no name, kind or labels.
    pub fn of(kind: Kind, object: Value) -> Self {
        Self { kind, object, names: None, patch: json!({}), status: None }
    }

    /// Names, for kinds whose names mean something.
    pub fn names(self, names: [String; COUNT]) -> Self {
        Self { names: Some(names), ..self }
    }

    /// What the patch changes beside an annotation.
    pub fn patch(self, patch: Value) -> Self {
        Self { patch, ..self }
    }

    /// What a patch of the status subresource sets, and then an update of it.
    pub fn status(self, patch: Value, update: Value) -> Self {
        Self { status: Some((patch, update)), ..self }
    }

    /// Runs them all, and leaves nothing behind.
    pub async fn run(self, cluster: &Cluster) -> anyhow::Result<()> {
        let resource = cluster.of(self.kind);
        let outcome = self.life(cluster, &resource).await;
        let cleaned = resource.delete_collection(&cluster.selector()).await;
        outcome.and(cleaned.map(drop))
    }

    async fn life(&self, cluster: &Cluster, resource: &Resource) -> anyhow::Result<()> {
        must_serve(cluster, self.kind, self.status.is_some().then_some("status").as_slice()).await?;
        let selector = cluster.selector();
        let mut watch = resource.watch_from_now(&selector).await?;
        let names = self.create(cluster, resource, &mut watch).await?;
        let first = &names[0];

        let read = resource.get(first).await?;
        must_cover(&read, &self.object, "a created object MUST be read back")?;
        let found = resource.items(&selector).await?;
        must(found.len() == COUNT, "the list MUST have every created object", &json!(found))?;
        if self.kind.namespaced {
            let found = cluster.everywhere(self.kind).items(&selector).await?;
            must(found.len() == COUNT, "the list of all namespaces MUST have every created object", &json!(found))?;
        }

        self.patched(resource, first, &mut watch).await?;
        self.updated(resource, first, &mut watch).await?;
        if let Some((patch, update)) = &self.status {
            status(resource, first, patch, update).await.context("status")?;
        }
        self.deleted(resource, &names, &selector, &mut watch).await
    }

    async fn create(
        &self,
        cluster: &Cluster,
        resource: &Resource,
        watch: &mut Watch,
    ) -> anyhow::Result<[String; COUNT]> {
        let numbered = || std::array::from_fn(|i| format!("{}-{i}", cluster.unique));
        let names = self.names.clone().unwrap_or_else(numbered);
        for name in &names {
            let mut object = self.object.clone();
            object["metadata"]["name"] = json!(name);
            object["metadata"]["labels"]["conformance"] = json!(cluster.unique);
            let created = resource.create(&object).await?;
            must_cover(&created, &object, "a created object MUST be as it was asked for")?;
            let metadata = &created["metadata"];
            let filled =
                ["uid", "resourceVersion", "creationTimestamp"].iter().all(|field| metadata[field].is_string());
            must(filled, "a created object MUST have uid, resourceVersion and creationTimestamp", &created)?;
            watch.expect("ADDED", name, |seen| seen["metadata"]["uid"] == metadata["uid"]).await?;
        }
        Ok(names)
    }

    async fn patched(&self, resource: &Resource, name: &str, watch: &mut Watch) -> anyhow::Result<()> {
        let mut patch = self.patch.clone();
        patch["metadata"]["annotations"]["patched"] = json!("true");
        let before = resource.get(name).await?;
        let patched = resource.patch(name, &patch).await?;
        must_cover(&patched, &patch, "a patched object MUST have what was patched")?;
        let same = before["metadata"]["uid"] == patched["metadata"]["uid"];
        let newer = before["metadata"]["resourceVersion"] != patched["metadata"]["resourceVersion"];
        must(same && newer, "a patched object MUST be the same one in a newer version", &patched)?;
        watch.expect("MODIFIED", "the patch", |seen| seen["metadata"]["annotations"]["patched"] == "true").await?;
        Ok(())
    }

    async fn updated(&self, resource: &Resource, name: &str, watch: &mut Watch) -> anyhow::Result<()> {
        let change = |object: &mut Value| object["metadata"]["annotations"]["updated"] = json!("true");
        let updated = resource.change(name, change).await?;
        let both = json!({"metadata": {"annotations": {"patched": "true", "updated": "true"}}});
        must_cover(&updated, &both, "an updated object MUST have what was updated")?;
        watch.expect("MODIFIED", "the update", |seen| seen["metadata"]["annotations"]["updated"] == "true").await?;
        Ok(())
    }

    async fn deleted(
        &self,
        resource: &Resource,
        names: &[String; COUNT],
        selector: &str,
        watch: &mut Watch,
    ) -> anyhow::Result<()> {
        resource.delete(&names[0]).await?;
        resource.until_gone(&names[0]).await?;
        watch.expect_deleted(&names[0]).await?;
        let left = resource.items(selector).await?;
        must(left.len() == COUNT - 1, "a deletion by name MUST leave the others", &json!(left))?;
        resource.delete_collection(selector).await?;
        resource.until_count(selector, 0).await.context("deletecollection MUST delete what it selects")?;
        for _ in 1..COUNT {
            watch
                .expect("DELETED", "the collection", |seen| names[1..].iter().any(|n| seen["metadata"]["name"] == **n))
                .await?;
        }
        Ok(())
    }
}

/// Reads, patches and updates the status; the rest of the object stays as it is.
pub async fn status(resource: &Resource, name: &str, patch: &Value, update: &Value) -> anyhow::Result<()> {
    let through_status = resource.sub("status");
    let read = through_status.get(name).await?;
    must(read["metadata"]["name"] == name, "the status MUST be readable", &read)?;
    let spec = &read["spec"];

    let patched = through_status.patch(name, &json!({"status": patch})).await?;
    must_cover(&patched, &json!({"status": patch}), "a patched status MUST have what was patched")?;
    must(patched["spec"] == *spec, "a patch of the status MUST NOT change the spec", &patched)?;

    let updated = through_status.change(name, |object| merge(&mut object["status"], update)).await?;
    must_cover(&updated, &json!({"status": update}), "an updated status MUST have what was updated")?;
    must(updated["spec"] == *spec, "an update of the status MUST NOT change the spec", &updated)?;
    let read = resource.get(name).await?;
    must_cover(&read, &json!({"status": update}), "an updated status MUST be seen by the next read")
}

/// Sets the fields of `change`, object by object.
fn merge(target: &mut Value, change: &Value) {
    match change {
        Value::Object(fields) => fields.iter().for_each(|(name, value)| merge(&mut target[name.as_str()], value)),
        other => *target = other.clone(),
    }
}

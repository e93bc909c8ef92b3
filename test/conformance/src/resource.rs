//! The verbs of the API on objects as trees, over kube-rs's transport.

use anyhow::Context as _;
use futures::StreamExt as _;
use kube::Client;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, PropagationPolicy, WatchParams};
use kube::core::Request;
use kube::core::params::GetParams;
use serde_json::{Value, json};

use crate::kinds::Kind;
use crate::must::{is_refusal, must};
use crate::wait::{LIMIT, eventually};
use crate::watch::Watch;

/// The objects of one kind in one namespace, in all of them, or in the cluster; or a subresource of each.
#[derive(Clone)]
pub struct Resource {
    client: Client,
    kind: Kind,
    path: String,
    subresource: Option<&'static str>,
}

impl Resource {
    /// With no namespace: all of them, or the only place that a cluster's kind has.
    pub fn new(client: &Client, kind: Kind, namespace: Option<&str>) -> Self {
        let place = namespace.map(|n| format!("/namespaces/{n}")).unwrap_or_default();
        let path = format!("{}{place}/{}", kind.root(), kind.plural);
        Self { client: client.clone(), kind, path, subresource: None }
    }

    /// The same objects through a subresource of theirs, such as `status`.
    pub fn sub(&self, subresource: &'static str) -> Self {
        Self { subresource: Some(subresource), ..self.clone() }
    }

    pub fn path(&self) -> &str {
        &self.path
    }

    async fn send(&self, verb: &str, name: &str, request: http::Request<Vec<u8>>) -> anyhow::Result<Value> {
        let outcome = tokio::time::timeout(LIMIT, self.client.request(request)).await;
        let sub = self.subresource.map(|s| format!("/{s}")).unwrap_or_default();
        let what = || format!("{verb} {}/{name}{sub}", self.path);
        outcome.with_context(|| format!("no answer to {}", what()))?.with_context(what)
    }

    /// The object with the kind and version that a body needs.
    fn body(&self, object: &Value) -> anyhow::Result<Vec<u8>> {
        let mut object = object.clone();
        if object.get("kind").is_none() {
            object["apiVersion"] = json!(self.kind.api_version);
            object["kind"] = json!(self.kind.kind);
        }
        Ok(serde_json::to_vec(&object)?)
    }

    pub async fn create(&self, object: &Value) -> anyhow::Result<Value> {
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        let request = Request::new(&self.path).create(&PostParams::default(), self.body(object)?)?;
        self.send("create", name, request).await
    }

    /// Creates what is asked of one object, such as an eviction or a token.
    pub async fn create_for(&self, name: &str, body: &Value) -> anyhow::Result<Value> {
        let subresource = self.subresource.unwrap_or_default();
        let body = serde_json::to_vec(body)?;
        let request = Request::new(&self.path).create_subresource(subresource, name, &PostParams::default(), body)?;
        self.send("create", name, request).await
    }

    pub async fn get(&self, name: &str) -> anyhow::Result<Value> {
        let request = match self.subresource {
            Some(subresource) => Request::new(&self.path).get_subresource(subresource, name)?,
            None => Request::new(&self.path).get(name, &GetParams::default())?,
        };
        self.send("get", name, request).await
    }

    /// The list of what a label selector chooses; of everything if it is empty.
    pub async fn list(&self, labels: &str) -> anyhow::Result<Value> {
        self.list_by(&ListParams::default().labels(labels)).await
    }

    pub async fn list_by(&self, parameters: &ListParams) -> anyhow::Result<Value> {
        self.send("list", "", Request::new(&self.path).list(parameters)?).await
    }

    /// The items of [`list`](Self::list).
    pub async fn items(&self, labels: &str) -> anyhow::Result<Vec<Value>> {
        let mut list = self.list(labels).await?;
        match list["items"].take() {
            Value::Array(items) => Ok(items),
            _ => anyhow::bail!("a list of {} MUST have items: {list}", self.kind.plural),
        }
    }

    /// Replaces an object, which has to name the version that it replaces where that is asked for.
    pub async fn update(&self, object: &Value) -> anyhow::Result<Value> {
        let name = object["metadata"]["name"].as_str().context("the object has a name")?;
        let (parameters, body) = (PostParams::default(), self.body(object)?);
        let request = match self.subresource {
            Some(subresource) => Request::new(&self.path).replace_subresource(subresource, name, &parameters, body)?,
            None => Request::new(&self.path).replace(name, &parameters, body)?,
        };
        self.send("update", name, request).await
    }

    /// Reads, changes and replaces an object, again after a conflict with another writer.
    pub async fn change(&self, name: &str, change: impl Fn(&mut Value)) -> anyhow::Result<Value> {
        eventually(async || {
            let mut object = self.get(name).await?;
            change(&mut object);
            match self.update(&object).await {
                Err(error) if !is_refusal(&error, 409) => Ok(Err(error)),
                outcome => outcome.map(Ok),
            }
        })
        .await?
    }

    /// Merges (RFC 7386) into an object.
    pub async fn patch(&self, name: &str, patch: &Value) -> anyhow::Result<Value> {
        self.patch_as(name, &Patch::Merge(patch)).await
    }

    pub async fn patch_as(&self, name: &str, patch: &Patch<&Value>) -> anyhow::Result<Value> {
        let parameters = PatchParams::default();
        let request = match self.subresource {
            Some(subresource) => Request::new(&self.path).patch_subresource(subresource, name, &parameters, patch)?,
            None => Request::new(&self.path).patch(name, &parameters, patch)?,
        };
        self.send("patch", name, request).await
    }

    pub async fn delete(&self, name: &str) -> anyhow::Result<Value> {
        self.delete_by(name, &DeleteParams::default()).await
    }

    /// Deletes with what should become of the dependents.
    pub async fn delete_with(&self, name: &str, policy: PropagationPolicy) -> anyhow::Result<Value> {
        self.delete_by(name, &DeleteParams { propagation_policy: Some(policy), ..DeleteParams::default() }).await
    }

    pub async fn delete_by(&self, name: &str, parameters: &DeleteParams) -> anyhow::Result<Value> {
        self.send("delete", name, Request::new(&self.path).delete(name, parameters)?).await
    }

    /// Deletes at once what a label selector chooses.
    pub async fn delete_collection(&self, labels: &str) -> anyhow::Result<Value> {
        let (parameters, chosen) = (DeleteParams::default().grace_period(0), ListParams::default().labels(labels));
        let request = Request::new(&self.path).delete_collection(&parameters, &chosen)?;
        self.send("delete the collection of", "", request).await
    }

    /// Watches what a label selector chooses, from behind a version on.
    pub async fn watch(&self, labels: &str, version: &str) -> anyhow::Result<Watch> {
        let parameters =
            WatchParams { timeout: Some(280), ..WatchParams::default().labels(labels).disable_bookmarks() };
        let request = Request::new(&self.path).watch(&parameters, version)?;
        let events = self.client.request_events(request).await;
        let events = events.with_context(|| format!("watch {} from {version:?}", self.path))?;
        Ok(Watch::new(events.boxed_local()))
    }

    /// Watches what a label selector chooses, from now on.
    pub async fn watch_from_now(&self, labels: &str) -> anyhow::Result<Watch> {
        let list = self.list(labels).await?;
        let version = list["metadata"]["resourceVersion"].as_str().context("a list MUST have a resourceVersion")?;
        self.watch(labels, version).await
    }

    /// Waits until an object is as it should be.
    pub async fn until(&self, name: &str, what: &str, good: impl Fn(&Value) -> bool) -> anyhow::Result<Value> {
        eventually(async || {
            let object = self.get(name).await?;
            must(good(&object), what, &object)?;
            Ok(object)
        })
        .await
    }

    /// Waits until so many objects are chosen, and answers them.
    pub async fn until_count(&self, labels: &str, count: usize) -> anyhow::Result<Vec<Value>> {
        eventually(async || {
            let items = self.items(labels).await?;
            let names: Vec<&Value> = items.iter().map(|item| &item["metadata"]["name"]).collect();
            let what = format!("{count} {} MUST be found by {labels:?}", self.kind.plural);
            must(items.len() == count, &what, &json!(names))?;
            Ok(items)
        })
        .await
    }

    /// Waits until an object is not found any more.
    pub async fn until_gone(&self, name: &str) -> anyhow::Result<()> {
        eventually(async || match self.get(name).await {
            Err(error) if is_refusal(&error, 404) => Ok(()),
            Err(error) => Err(error),
            Ok(object) => must(false, "a deleted object MUST NOT be found", &object),
        })
        .await
    }
}

//! Deleting a namespace's contents before the namespace itself: pods first, then everything else.

mod conditions;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use client::{Client, ObjectKey, Scope, Store, WorkQueue};
use http::Request;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Namespace;
use kube::Api;
use kube::api::PostParams;
use serde::Deserialize;
use serde_json::Value;

use self::conditions::Remains;
use crate::discovery::{self, Resource};
use crate::pod::SlimPod;
use crate::skeleton::{Context, Error, SyncResult, Tasks, enqueue, is_conflict, is_not_found, message};

const NAME: &str = "namespace";
const WORKERS: usize = 10;
const FINALIZER: &str = "kubernetes";
/// What is left is looked at again after this long: pods tell when they are gone, but nothing tells when other things'
/// finalizers are done.
const RECHECK: Duration = Duration::from_secs(5);

struct Controller {
    client: Client,
    namespaces: Store<Namespace>,
    pods: Store<SlimPod>,
}

/// Runs the controller until shutdown.
pub async fn run(context: Context) -> Result<(), Error> {
    let namespaces = context.informers.get::<Namespace>(Scope::all());
    let pods = context.informers.get::<SlimPod>(Scope::all());
    namespaces.synced().await;
    pods.synced().await;
    let queue: WorkQueue<ObjectKey> = WorkQueue::new(NAME);
    let mut tasks = Tasks::new();
    tasks.feed(&namespaces, enqueue(&queue));
    // The last pod that goes lets the rest go.
    tasks.feed(&pods, {
        let (queue, namespaces) = (queue.clone(), namespaces.store());
        move |change| {
            let namespace = &change.key.namespace;
            let terminating =
                || namespaces.get("", namespace).is_some_and(|ns| ns.metadata.deletion_timestamp.is_some());
            if change.new.is_none() && terminating() {
                queue.add(ObjectKey::new("", namespace));
            }
        }
    });
    let controller =
        Arc::new(Controller { client: context.client.clone(), namespaces: namespaces.store(), pods: pods.store() });
    tasks.work(NAME, &queue, WORKERS, move |key: ObjectKey| {
        let controller = controller.clone();
        async move { controller.sync(&key.name).await }
    });
    tasks.run(&context.shutdown).await
}

impl Controller {
    async fn sync(&self, name: &str) -> SyncResult {
        let cached = self.namespaces.get("", name);
        if cached.is_none_or(|namespace| namespace.metadata.deletion_timestamp.is_none()) {
            return Ok(None);
        }
        let api: Api<Namespace> = Api::all(self.client.clone());
        let Some(live) = api.get_opt(name).await? else { return Ok(None) };
        let finalizers = live.spec.as_ref().and_then(|spec| spec.finalizers.clone()).unwrap_or_default();
        if live.metadata.deletion_timestamp.is_none() || finalizers.is_empty() {
            return Ok(None);
        }
        let remains = self.delete_contents(name).await?;
        let live = self.write_conditions(&api, live, &remains).await?;
        if remains.is_empty() {
            self.finalize(live).await?;
            return Ok(None);
        }
        if !remains.errors.is_empty() || !remains.undiscovered.is_empty() {
            return Err(Error::Invalid(format!("{name} is not empty yet: {}", remains.errors.join("; "))));
        }
        Ok(Some(RECHECK))
    }

    /// Asks for the deletion of all there is, and counts what is left. Nothing else goes before the last pod has: what
    /// pods need (policies, secrets) has to stay while they stop.
    async fn delete_contents(&self, namespace: &str) -> Result<Remains, Error> {
        let discovered = discovery::discover(&self.client).await?;
        let mut remains = Remains { undiscovered: discovered.failed, ..Remains::default() };
        let deletable = |resource: &&Resource| resource.namespaced && resource.can("delete") && resource.can("list");
        let (pods, others): (Vec<_>, Vec<_>) = discovered
            .resources
            .iter()
            .filter(deletable)
            .partition(|resource| resource.group.is_empty() && resource.plural == "pods");
        self.delete_all(namespace, &pods, &mut remains).await;
        let pods_gone = remains.instances.is_empty() && remains.errors.is_empty();
        if pods_gone || self.pods_only_wait_for_others(namespace, &remains) {
            self.delete_all(namespace, &others, &mut remains).await;
        }
        Ok(remains)
    }

    /// Pods that are held by finalizers may wait for other objects to be deleted: those must not wait for the pods.
    fn pods_only_wait_for_others(&self, namespace: &str, remains: &Remains) -> bool {
        let pods = self.pods.list_namespace(namespace);
        remains.errors.is_empty()
            && !pods.is_empty()
            && pods.iter().all(|pod| pod.is_deleting() && pod.is_finished() && !pod.finalizers.is_empty())
    }

    async fn delete_all(&self, namespace: &str, resources: &[&Resource], remains: &mut Remains) {
        for resource in resources {
            match self.delete_resource(namespace, resource).await {
                Ok(left) if left.is_empty() => {}
                Ok(left) => {
                    let id = format!("{}.{}", resource.plural, resource.group);
                    remains.instances.insert(id, left.len());
                    for finalizer in left.iter().flat_map(|item| item.metadata.finalizers.iter().flatten()) {
                        *remains.finalizers.entry(finalizer.clone()).or_insert(0) += 1;
                    }
                }
                Err(Error::Client(error)) if is_not_found(&error) => {}
                Err(Error::Client(error)) => remains.errors.push(message(&error)),
                Err(error) => remains.errors.push(error.to_string()),
            }
        }
    }

    /// Deletes the objects of one resource; answers what is left of them.
    async fn delete_resource(&self, namespace: &str, resource: &Resource) -> Result<Vec<Item>, Error> {
        let path = resource.path(namespace);
        let items = self.list(&path).await?;
        if items.is_empty() {
            return Ok(items);
        }
        if resource.can("deletecollection") {
            self.delete(&path).await?;
        } else {
            for item in &items {
                match self.delete(&format!("{path}/{}", item.metadata.name)).await {
                    Err(Error::Client(error)) if is_not_found(&error) || is_conflict(&error) => {}
                    outcome => outcome?,
                }
            }
        }
        self.list(&path).await
    }

    async fn list(&self, path: &str) -> Result<Vec<Item>, Error> {
        let accept = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json";
        let request = Request::get(path).header("accept", accept).body(Vec::new()).map_err(kube::Error::HttpError)?;
        let list: Items = self.client.request(request).await?;
        Ok(list.items.unwrap_or_default())
    }

    async fn delete(&self, path: &str) -> Result<(), Error> {
        let options =
            serde_json::json!({ "kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background" });
        let request = Request::delete(path).header("content-type", "application/json").body(options.to_string().into());
        self.client.request::<Value>(request.map_err(kube::Error::HttpError)?).await?;
        Ok(())
    }

    async fn write_conditions(
        &self,
        api: &Api<Namespace>,
        live: Namespace,
        remains: &Remains,
    ) -> Result<Namespace, Error> {
        let mut wanted = live.clone();
        let status = wanted.status.get_or_insert_default();
        status.phase = Some("Terminating".into());
        conditions::set(status, remains, Timestamp::now());
        if wanted == live || remains.is_empty() && live.status.as_ref().is_none_or(|s| s.conditions.is_none()) {
            // A namespace that is empty at the first look needs no story about it.
            return Ok(live);
        }
        let name = live.metadata.name.clone().unwrap_or_default();
        Ok(api.replace_status(&name, &PostParams::default(), &wanted).await?)
    }

    /// Takes our finalizer off: the server then removes the namespace.
    async fn finalize(&self, mut namespace: Namespace) -> Result<(), Error> {
        let finalizers = &mut namespace.spec.get_or_insert_default().finalizers;
        finalizers.get_or_insert_default().retain(|finalizer| finalizer != FINALIZER);
        let path = format!("/api/v1/namespaces/{}/finalize", namespace.metadata.name.as_deref().unwrap_or(""));
        let request =
            Request::put(path).header("content-type", "application/json").body(serde_json::to_vec(&namespace)?);
        match self.client.request::<Value>(request.map_err(kube::Error::HttpError)?).await {
            Err(error) if is_not_found(&error) => Ok(()),
            outcome => Ok(outcome.map(|_| ())?),
        }
    }
}

#[derive(Deserialize)]
struct Items {
    #[serde(default)]
    items: Option<Vec<Item>>,
}

#[derive(Deserialize)]
struct Item {
    metadata: ItemMeta,
}

#[derive(Deserialize)]
struct ItemMeta {
    name: String,
    #[serde(default)]
    finalizers: Option<Vec<String>>,
}

/// Counts by name, in the order in which conditions list them.
type Counts = BTreeMap<String, usize>;

//! Every namespace has the ConfigMap `kube-root-ca.crt`, with which pods verify the API server.

use std::collections::BTreeMap;
use std::sync::Arc;

use client::{ObjectKey, Scope, Store, WorkQueue};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::Api;
use kube::api::{ObjectMeta, PostParams};

use crate::skeleton::{Context, Error, SyncResult, Tasks, enqueue, is_already_exists, is_not_found, is_terminating};

const NAME: &str = "root_ca_cert_publisher";
const CONFIG_MAP: &str = "kube-root-ca.crt";
const FIELD: &str = "ca.crt";

struct Publisher {
    context: Context,
    namespaces: Store<Namespace>,
    maps: Store<ConfigMap>,
    pem: String,
}

/// Runs the controller until shutdown.
pub async fn run(context: Context, pem: String) -> Result<(), Error> {
    let namespaces = context.informers.get::<Namespace>(Scope::all());
    let maps = context.informers.get::<ConfigMap>(Scope::all().fields(&format!("metadata.name={CONFIG_MAP}")));
    namespaces.synced().await;
    maps.synced().await;
    let queue = WorkQueue::new(NAME);
    let mut tasks = Tasks::new();
    tasks.feed(&namespaces, enqueue(&queue));
    tasks.feed(&maps, {
        let queue = queue.clone();
        move |change| queue.add(ObjectKey::new("", &change.key.namespace))
    });
    let publisher =
        Arc::new(Publisher { context: context.clone(), namespaces: namespaces.store(), maps: maps.store(), pem });
    tasks.work(NAME, &queue, 1, move |key: ObjectKey| {
        let publisher = publisher.clone();
        async move { publisher.sync(&key.name).await }
    });
    tasks.run(&context.shutdown).await
}

impl Publisher {
    async fn sync(&self, namespace: &str) -> SyncResult {
        let active = self.namespaces.get("", namespace).is_some_and(|ns| ns.metadata.deletion_timestamp.is_none());
        if !active {
            return Ok(None);
        }
        let api: Api<ConfigMap> = Api::namespaced(self.context.client.clone(), namespace);
        let data = BTreeMap::from([(FIELD.to_owned(), self.pem.clone())]);
        let outcome = match self.maps.get(namespace, CONFIG_MAP) {
            Some(map) if map.data.as_ref() == Some(&data) => return Ok(None),
            Some(map) => {
                let mut wanted = (*map).clone();
                wanted.data = Some(data);
                api.replace(CONFIG_MAP, &PostParams::default(), &wanted).await
            }
            None => {
                let metadata = ObjectMeta { name: Some(CONFIG_MAP.into()), ..ObjectMeta::default() };
                let map = ConfigMap { metadata, data: Some(data), ..ConfigMap::default() };
                api.create(&PostParams::default(), &map).await
            }
        };
        match outcome {
            Err(error) if is_already_exists(&error) || is_terminating(&error) || is_not_found(&error) => Ok(None),
            outcome => Ok(outcome.map(|_| None)?),
        }
    }
}

//! Every namespace has the ServiceAccount `default`, which pods run as that name no other.

use std::sync::Arc;

use client::{Cached as _, ObjectKey, Scope, Store, WorkQueue};
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use kube::Api;
use kube::api::{ObjectMeta, PostParams};

use crate::skeleton::{Context, Error, SyncResult, Tasks, enqueue, is_already_exists, is_not_found, is_terminating};

const NAME: &str = "serviceaccount";
const DEFAULT: &str = "default";

/// Runs the controller until shutdown.
pub async fn run(context: Context) -> Result<(), Error> {
    let namespaces = context.informers.get::<Namespace>(Scope::all());
    let accounts = context.informers.get::<ServiceAccount>(Scope::all().fields(&format!("metadata.name={DEFAULT}")));
    namespaces.synced().await;
    accounts.synced().await;
    let queue = WorkQueue::new(NAME);
    let mut tasks = Tasks::new();
    tasks.feed(&namespaces, enqueue(&queue));
    tasks.feed(&accounts, {
        let queue = queue.clone();
        move |change| {
            if change.new.is_none() {
                queue.add(ObjectKey::new("", &change.key.namespace));
            }
        }
    });
    let controller = Arc::new((context.clone(), namespaces.store(), accounts.store()));
    tasks.work(NAME, &queue, 1, move |key: ObjectKey| {
        let controller = controller.clone();
        async move { sync(&controller.0, &controller.1, &controller.2, &key.name).await }
    });
    tasks.run(&context.shutdown).await
}

async fn sync(
    context: &Context,
    namespaces: &Store<Namespace>,
    accounts: &Store<ServiceAccount>,
    namespace: &str,
) -> SyncResult {
    let active = namespaces.get("", namespace).is_some_and(|ns| ns.metadata.deletion_timestamp.is_none());
    if !active || accounts.get(namespace, DEFAULT).is_some() {
        return Ok(None);
    }
    let account = ServiceAccount {
        metadata: ObjectMeta { name: Some(DEFAULT.into()), namespace: Some(namespace.into()), ..ObjectMeta::default() },
        ..ServiceAccount::default()
    };
    debug_assert_eq!(account.name(), DEFAULT);
    let api: Api<ServiceAccount> = Api::namespaced(context.client.clone(), namespace);
    match api.create(&PostParams::default(), &account).await {
        Err(error) if is_already_exists(&error) || is_terminating(&error) || is_not_found(&error) => Ok(None),
        outcome => Ok(outcome.map(|_| None)?),
    }
}

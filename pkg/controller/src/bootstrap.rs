//! Bootstrap tokens that have run out are deleted, as upstream's token cleaner does.

use std::sync::Arc;
use std::time::Duration;

use client::{ObjectKey, Scope, Store, WorkQueue};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Secret;
use kube::Api;

use crate::skeleton::{Context, Error, SyncResult, Tasks, delete_uid, enqueue, ignore_not_found, is_conflict};

const NAME: &str = "token_cleaner";
const NAMESPACE: &str = "kube-system";
const TYPE: &str = "bootstrap.kubernetes.io/token";

/// Runs the controller until shutdown.
pub async fn run(context: Context) -> Result<(), Error> {
    let secrets = context.informers.get::<Secret>(Scope::namespace(NAMESPACE).fields(&format!("type={TYPE}")));
    secrets.synced().await;
    let queue: WorkQueue<ObjectKey> = WorkQueue::new(NAME);
    let mut tasks = Tasks::new();
    tasks.feed(&secrets, enqueue(&queue));
    let shared = Arc::new((context.clone(), secrets.store()));
    tasks.work(NAME, &queue, 1, move |key| {
        let shared = shared.clone();
        async move { sync(&shared.0, &shared.1, key).await }
    });
    tasks.run(&context.shutdown).await
}

async fn sync(context: &Context, secrets: &Store<Secret>, key: ObjectKey) -> SyncResult {
    let Some(secret) = secrets.get_key(&key) else { return Ok(None) };
    let Some(left) = left(&secret, Timestamp::now()) else { return Ok(None) };
    if left > Duration::ZERO {
        return Ok(Some(left));
    }
    let api: Api<Secret> = Api::namespaced(context.client.clone(), NAMESPACE);
    match api.delete(&key.name, &delete_uid(secret.metadata.uid.as_deref().unwrap_or(""))).await {
        // Another one of that name has come: it is looked at for itself.
        Err(error) if is_conflict(&error) => Ok(None),
        outcome => Ok(ignore_not_found(outcome).map(|()| None)?),
    }
}

/// How long the token has; `None` is for ever. A time that cannot be read is past.
fn left(secret: &Secret, now: Timestamp) -> Option<Duration> {
    let text =
        secret.data.as_ref()?.get("expiration").map(|value| value.0.as_slice()).filter(|text| !text.is_empty())?;
    let end = std::str::from_utf8(text).ok().and_then(apimachinery::time::parse);
    let left = end.map_or(SignedDuration::ZERO, |end| end.duration_since(now));
    Some(Duration::try_from(left).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn tokens_end_when_they_say() {
        let left = |expiration: &str| {
            let data = json!({ "expiration": k8s_openapi::ByteString(expiration.as_bytes().to_vec()) });
            let secret: Secret = serde_json::from_value(json!({ "metadata": {}, "data": data })).unwrap();
            left(&secret, "2026-01-01T00:00:00Z".parse().unwrap())
        };
        assert_eq!(left("2026-01-01T00:01:00Z"), Some(Duration::from_secs(60)));
        assert_eq!(left("2025-12-31T00:01:00+00:00"), Some(Duration::ZERO));
        assert_eq!(left("soon"), Some(Duration::ZERO));
        assert_eq!(left(""), None);
    }
}

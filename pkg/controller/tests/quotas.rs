//! ResourceQuota over a real API server: what is deleted is counted off, and what nobody uses does not stay in a status.

// A failed expectation is what a test is for, in its helpers, too.
#![allow(clippy::unwrap_used)]
// Not all that the API server's own tests need.
#![allow(dead_code)]

mod running;
// How the program counts, which is how admission does.
#[path = "../../../cmd/coracle/src/quota.rs"]
mod usage;

use std::sync::Arc;
use std::time::Duration;

use apimachinery::meta::ObjectExt as _;
use running::support::Api;
use serde_json::{Value, json};

const SECRETS: &str = "/api/v1/namespaces/default/secrets";
const QUOTA: &str = "/api/v1/namespaces/default/resourcequotas/q";
/// Longer than it takes until a status is counted again.
const PATIENCE: Duration = Duration::from_secs(60);

fn used(quota: &Value) -> &str {
    quota.str_at("status/used/secrets")
}

async fn until_used(api: &Api, wanted: &str) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        let quota = api.get(QUOTA).await.expect(200);
        if used(&quota) == wanted {
            return;
        }
        assert!(tokio::time::Instant::now() < deadline, "{wanted} were never in use: {quota}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_status_follows_what_is_there_whoever_wrote_it() {
    let (api, shutdown) = running::start_counting(Some(Arc::new(usage::AdmissionUsage))).await;
    let quota = json!({
        "apiVersion": "v1", "kind": "ResourceQuota", "metadata": { "name": "q" }, "spec": { "hard": { "secrets": "3" } },
    });
    api.post(QUOTA.trim_end_matches("/q"), &quota).await.expect(201);
    let secret = |name: &str| json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": name } });
    for name in ["a", "b", "c"] {
        api.post(SECRETS, &secret(name)).await.expect(201);
    }
    until_used(&api, "3").await;
    api.post(SECRETS, &secret("d")).await.refused(403);
    api.delete(&format!("{SECRETS}/a")).await.expect(200);
    until_used(&api, "2").await;
    let edited = json!({ "status": { "used": { "secrets": "0" } } });
    let seen = api.merge(&format!("{QUOTA}/status"), &edited).await.expect(200);
    assert_eq!(used(&seen), "0", "anybody may write a status");
    until_used(&api, "2").await;
    shutdown.trigger();
}

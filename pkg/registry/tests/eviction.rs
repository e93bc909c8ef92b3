//! Evictions of pods that change meanwhile.
#![allow(clippy::unwrap_used)] // A failed expectation is what a test is for.

use std::sync::atomic::{AtomicBool, Ordering};

use apimachinery::meta::ObjectExt as _;
use apimachinery::{ApiResult, UserInfo};
use async_trait::async_trait;
use registry::{AdmissionHook, Call, Change, DeleteOptions, NoAdmission, Operation, Registry, Review, ServiceOptions};
use serde_json::{Value, json};

/// Lets the pod begin to run while its deletion is being judged.
struct Starter<'a> {
    registry: &'a Registry,
    started: AtomicBool,
}

#[async_trait]
impl AdmissionHook for Starter<'_> {
    async fn mutate(&self, _: &Review<'_>, _: Option<&mut Value>, _: Option<&Value>) -> ApiResult<()> {
        Ok(())
    }

    async fn validate(&self, review: &Review<'_>, _: Option<&Value>, _: Option<&Value>) -> ApiResult<()> {
        if review.operation != Operation::Delete || self.started.swap(true, Ordering::Relaxed) {
            return Ok(());
        }
        let call =
            Call { subresource: "status", admission: &NoAdmission, warnings: Default::default(), ..*review.call };
        let run = |mut pod: Value| {
            pod["status"] = json!({ "phase": "Running", "conditions": [{ "type": "Ready", "status": "True" }] });
            Ok(pod)
        };
        self.registry.update(&call, Change::Patch(&run)).await.map(drop)
    }
}

#[tokio::test]
async fn a_pod_that_begins_to_run_while_it_is_evicted_is_its_budgets() {
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let storage = storage::Storage::open(storage::Config::new(directory.path().join("db"))).await.unwrap();
    let options = registry::Options { storage, resources: apis::all(), services: ServiceOptions::default() };
    let registry = Registry::new(options).unwrap();
    let user = UserInfo::new("test", []);
    let starter = Starter { registry: &registry, started: AtomicBool::new(false) };
    let call = |group: &str, plural: &str, name: &'static str, admission: &'static dyn AdmissionHook| {
        let found = registry.rows().newest(group, plural).unwrap();
        let (resource, version) = (found.resource, found.version);
        Call {
            resource,
            version,
            subresource: "",
            namespace: "default",
            name,
            user: &user,
            field_manager: "test",
            dry_run: false,
            admission,
            warnings: std::sync::Mutex::default(),
        }
    };
    let budget = json!({
        "apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": { "name": "b" },
        "spec": { "minAvailable": 1, "selector": { "matchLabels": { "app": "x" } } },
    });
    registry.create(&call("policy", "poddisruptionbudgets", "b", &NoAdmission), budget).await.unwrap();
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "p", "labels": { "app": "x" } },
        "spec": { "nodeName": "n", "containers": [{ "name": "c", "image": "example/app:1" }] },
    });
    let pods = call("", "pods", "p", &NoAdmission);
    registry.create(&pods, pod).await.unwrap();

    let evicting = Call { subresource: "eviction", admission: &starter, warnings: Default::default(), ..pods };
    let eviction = json!({ "apiVersion": "policy/v1", "kind": "Eviction", "metadata": { "name": "p" } });
    let refused = registry.evict(&evicting, &eviction, &DeleteOptions::default()).await.unwrap_err();
    assert_eq!((refused.code(), refused.reason()), (429, "TooManyRequests"), "{}", refused.message());
    let left = registry.get(pods.resource, "default", "p").unwrap().decode();
    assert!(!left.is_deleting(), "{left}");
}

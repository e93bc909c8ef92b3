//! Kinds whose objects may be what their namespace allows.
#![allow(clippy::unwrap_used)] // A failed expectation is what a test is for.

use std::sync::Arc;

use apimachinery::{ApiError, ApiResult, UserInfo};
use registry::{Call, Change, NoAdmission, Registry, Replacement, ServiceOptions};
use serde_json::{Value, json};

/// A registry and one who writes into it.
struct Writer {
    registry: Arc<Registry>,
    user: UserInfo,
    _directory: tempfile::TempDir,
}

impl Writer {
    async fn start() -> Self {
        let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let storage = storage::Storage::open(storage::Config::new(directory.path().join("db"))).await.unwrap();
        let options = registry::Options { storage, resources: apis::all(), services: ServiceOptions::default() };
        let registry = Registry::new(options).unwrap();
        Self { registry, user: UserInfo::new("test", []), _directory: directory }
    }

    fn call<'a>(&'a self, (group, plural, subresource): (&str, &str, &'a str), namespace: &'a str) -> Call<'a> {
        let found = self.registry.rows().newest(group, plural).unwrap();
        Call {
            resource: found.resource,
            version: found.version,
            subresource,
            namespace,
            name: "x",
            user: &self.user,
            field_manager: "test",
            dry_run: false,
            admission: &NoAdmission,
            warnings: std::sync::Mutex::default(),
        }
    }

    async fn create(&self, group: &str, plural: &str, namespace: &str, object: &Value) -> ApiResult<Value> {
        let bytes = self.registry.create(&self.call((group, plural, ""), namespace), object.clone()).await?;
        Ok(serde_json::from_slice(&bytes).unwrap())
    }

    async fn set_status(&self, namespace: &str, object: &Value) -> ApiResult<()> {
        let change = Change::Replace(Replacement { object, check: &|_, _| Ok(()) });
        self.registry.update(&self.call((DEVICES, "resourceclaims", "status"), namespace), change).await.map(drop)
    }
}

const DEVICES: &str = "resource.k8s.io";

fn object(kind: &str, spec: Value) -> Value {
    json!({ "apiVersion": "resource.k8s.io/v1", "kind": kind, "metadata": { "name": "x" }, "spec": spec })
}

fn refusal(result: ApiResult<Value>) -> (u16, String) {
    let error: ApiError = result.unwrap_err();
    (error.code(), error.message().to_owned())
}

#[tokio::test]
async fn devices_for_administrators_are_for_marked_namespaces() {
    let writer = Writer::start().await;
    for (name, labels) in [
        ("plain", json!({})),
        ("wrong", json!({ "resource.kubernetes.io/admin-access": "yes" })),
        ("marked", json!({ "resource.kubernetes.io/admin-access": "true" })),
    ] {
        let namespace =
            json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name, "labels": labels } });
        writer.create("", "namespaces", "", &namespace).await.unwrap();
    }
    let asks = |admin: bool| {
        let exactly = json!({ "deviceClassName": "gpu.example", "adminAccess": admin });
        json!({ "devices": { "requests": [
            { "name": "any", "firstAvailable": [{ "name": "a", "deviceClassName": "gpu.example" }] },
            { "name": "gpu", "exactly": exactly },
        ] } })
    };
    let claim = |admin| object("ResourceClaim", asks(admin));
    let template = |admin| object("ResourceClaimTemplate", json!({ "spec": asks(admin) }));
    let why = "Forbidden: admin access to devices requires the `resource.kubernetes.io/admin-access: true` label on the \
               containing namespace";
    for (plural, kind, object) in [
        ("resourceclaims", "ResourceClaim", &claim as &dyn Fn(bool) -> Value),
        ("resourceclaimtemplates", "ResourceClaimTemplate", &template),
    ] {
        for namespace in ["plain", "wrong", "gone"] {
            let want = format!("{kind}.resource.k8s.io \"x\" is invalid: spec.devices.requests[1].adminAccess: {why}");
            assert_eq!(
                refusal(writer.create(DEVICES, plural, namespace, &object(true)).await),
                (422, want),
                "{namespace}"
            );
        }
        writer.create(DEVICES, plural, "marked", &object(true)).await.unwrap();
        writer.create(DEVICES, plural, "plain", &object(false)).await.unwrap();
    }

    let given = |mut claim: Value| {
        let result =
            json!({ "request": "gpu", "driver": "gpu.example", "pool": "p", "device": "d", "adminAccess": true });
        claim["status"] = json!({ "allocation": { "devices": { "results": [result] } } });
        claim
    };
    let want = format!(
        "ResourceClaim.resource.k8s.io \"x\" is invalid: status.allocation.devices.results[0].adminAccess: {why}"
    );
    let refused = writer.set_status("plain", &given(claim(false))).await.unwrap_err();
    assert_eq!((refused.code(), refused.message()), (422, &*want));
    writer.set_status("marked", &given(claim(true))).await.unwrap();
}

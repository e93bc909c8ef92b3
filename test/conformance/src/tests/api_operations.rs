//! Every verb for one kind after another.

use anyhow::Context as _;
use serde_json::{Value, json};

use crate::Cluster;
use crate::kinds::{
    CONFIG_MAP, CRON_JOB, DEVICE_CLASS, DEVICE_TAINT_RULE, ENDPOINT_SLICE, FLOW_SCHEMA, INGRESS, INGRESS_CLASS,
    IP_ADDRESS, POD_CERTIFICATE_REQUEST, PRIORITY_LEVEL, RESOURCE_CLAIM, RESOURCE_CLAIM_TEMPLATE, RESOURCE_SLICE,
    RUNTIME_CLASS, SERVICE_CIDR, SIGNING_REQUEST, STORAGE_VERSION_MIGRATION, TRUST_BUNDLE,
};
use crate::must::must_cover;
use crate::operations::Operations;
use crate::samples::{condition, conditions, idle};

tests!(api_operations:
    cron_job, device_class, device_taint_rule, endpoint_slice, flow_schema, ingress, ingress_class, ip_address,
    pod_certificate_request, priority_level, resource_claim, resource_claim_template, resource_slice, runtime_class,
    service_cidr, signing_request, storage_version_migration, trust_bundle,
);

/// A certificate request (DER in base64) that nobody has the key of any more.
const REQUEST: &str = "MIHHMHACAQAwDjEMMAoGA1UEAwwDZTJlMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEJTP9TpI+FqvKSNzvNiUaFOtKJ5mWSNNsOzOIangQqoTLoUhRGaNfEYrYmo1IM94bOel6JL4hmOV+OnuYvqNKs6AAMAoGCCqGSM49BAMCA0cAMEQCIAgfL/MwLNM1H19+1ZUbLXfYlYgjvNqwVdAZ5ivARNnLAiBwBn49NRKebt2RwicWi0T6Yrx/fgMW/Z05soiRTOtHgg==";

async fn flow_schema(cluster: &Cluster) -> anyhow::Result<()> {
    let rule = json!({
        "subjects": [{"kind": "User", "user": {"name": "example-e2e-non-existent-user"}}],
        "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
    });
    let spec = json!({
        "matchingPrecedence": 10000,
        "priorityLevelConfiguration": {"name": "global-default"},
        "distinguisherMethod": {"type": "ByUser"},
        "rules": [rule],
    });
    Operations::of(FLOW_SCHEMA, json!({"spec": spec}))
        .patch(json!({"spec": {"matchingPrecedence": 9999}}))
        .status(conditions("PatchedStatus"), conditions("UpdatedStatus"))
        .run(cluster)
        .await
}

async fn priority_level(cluster: &Cluster) -> anyhow::Result<()> {
    let limited = json!({"nominalConcurrencyShares": 2, "limitResponse": {"type": "Reject"}});
    Operations::of(PRIORITY_LEVEL, json!({"spec": {"type": "Limited", "limited": limited}}))
        .patch(json!({"spec": {"limited": {"nominalConcurrencyShares": 4}}}))
        .status(conditions("PatchedStatus"), conditions("UpdatedStatus"))
        .run(cluster)
        .await
}

async fn cron_job(cluster: &Cluster) -> anyhow::Result<()> {
    let job = json!({"template": {"spec": {"restartPolicy": "OnFailure", "containers": [idle()]}}});
    let spec =
        json!({"schedule": "* */1 * * ?", "concurrencyPolicy": "Allow", "suspend": true, "jobTemplate": {"spec": job}});
    Operations::of(CRON_JOB, json!({"spec": spec}))
        .patch(json!({"spec": {"concurrencyPolicy": "Replace"}}))
        .status(
            json!({"lastScheduleTime": "2026-01-02T03:04:05Z"}),
            json!({"lastScheduleTime": "2026-01-02T04:04:05Z"}),
        )
        .run(cluster)
        .await
}

async fn endpoint_slice(cluster: &Cluster) -> anyhow::Result<()> {
    let slice = json!({
        "addressType": "IPv4",
        "endpoints": [{"addresses": ["1.2.3.4", "5.6.7.8"], "conditions": {"ready": true}}],
        "ports": [{"name": "http", "port": 80, "protocol": "TCP"}],
    });
    Operations::of(ENDPOINT_SLICE, slice)
        .patch(json!({"ports": [{"name": "https", "port": 443, "protocol": "TCP"}]}))
        .run(cluster)
        .await
}

async fn ingress(cluster: &Cluster) -> anyhow::Result<()> {
    let backend = |name: &str| json!({"service": {"name": name, "port": {"number": 80}}});
    let address = |ip: &str| json!({"loadBalancer": {"ingress": [{"ip": ip}]}});
    Operations::of(INGRESS, json!({"spec": {"defaultBackend": backend("default-backend")}}))
        .patch(json!({"spec": {"defaultBackend": backend("other-backend")}}))
        .status(address("169.1.1.1"), address("169.1.1.2"))
        .run(cluster)
        .await
}

async fn ingress_class(cluster: &Cluster) -> anyhow::Result<()> {
    let parameters = |name: &str| json!({"spec": {"parameters": {"kind": "Things", "name": name}}});
    let mut class = parameters("one");
    class["spec"]["controller"] = json!("example.com/controller");
    Operations::of(INGRESS_CLASS, class).patch(parameters("two")).run(cluster).await
}

async fn ip_address(cluster: &Cluster) -> anyhow::Result<()> {
    let parent = json!({"resource": "services", "namespace": cluster.unique, "name": "nobody"});
    Operations::of(IP_ADDRESS, json!({"spec": {"parentRef": parent}}))
        .names([1, 2, 3].map(|i| format!("192.168.77.{i}")))
        .run(cluster)
        .await
}

async fn service_cidr(cluster: &Cluster) -> anyhow::Result<()> {
    Operations::of(SERVICE_CIDR, json!({"spec": {"cidrs": ["192.168.78.0/24"]}}))
        .status(conditions("PatchedStatus"), conditions("UpdatedStatus"))
        .run(cluster)
        .await
}

async fn runtime_class(cluster: &Cluster) -> anyhow::Result<()> {
    Operations::of(RUNTIME_CLASS, json!({"handler": "e2e-fake-handler"})).run(cluster).await
}

async fn signing_request(cluster: &Cluster) -> anyhow::Result<()> {
    let body = REQUEST.as_bytes().chunks(64).map(String::from_utf8_lossy).collect::<Vec<_>>().join("\n");
    let pem = format!("-----BEGIN CERTIFICATE REQUEST-----\n{body}\n-----END CERTIFICATE REQUEST-----\n");
    let request = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, pem);
    let usages = ["digital signature", "key encipherment", "server auth"];
    let signer = format!("example.com/{}", cluster.unique);
    let object =
        json!({"spec": {"request": request, "signerName": signer, "usages": usages, "expirationSeconds": 3600}});

    let requests = cluster.of(SIGNING_REQUEST);
    let mut approved = object.clone();
    let name = format!("{}-approval", cluster.unique);
    approved["metadata"] = json!({"name": name});
    requests.create(&approved).await?;
    super::discovery::must_serve(cluster, SIGNING_REQUEST, &["approval", "status"]).await?;
    let outcome = approval(&requests.sub("approval"), &name).await.context("approval");
    requests.delete(&name).await?;
    outcome?;

    Operations::of(SIGNING_REQUEST, object)
        .status(conditions("PatchedStatus"), conditions("UpdatedStatus"))
        .run(cluster)
        .await
}

/// Reads, patches and updates through the approval subresource.
async fn approval(approval: &crate::resource::Resource, name: &str) -> anyhow::Result<()> {
    approval.get(name).await?;
    let patch =
        json!({"metadata": {"annotations": {"patchedapproval": "true"}}, "status": conditions("ApprovalPatch")});
    must_cover(&approval.patch(name, &patch).await?, &patch, "a patched approval MUST have what was patched")?;
    let update = |request: &mut Value| {
        request["status"] = json!({"conditions": [condition("ApprovalPatch"), condition("Approved")]});
    };
    let updated = approval.change(name, update).await?;
    must_cover(&updated, &json!({"status": conditions("Approved")}), "the request MUST be approved")
}

async fn pod_certificate_request(cluster: &Cluster) -> anyhow::Result<()> {
    let spec = json!({
        "signerName": "example.com/e2e",
        "podName": "pod", "podUID": "pod-uid", "serviceAccountName": "account", "serviceAccountUID": "account-uid",
        "nodeName": "node", "nodeUID": "node-uid", "maxExpirationSeconds": 86400, "stubPKCS10Request": REQUEST,
    });
    // A denied request is final: the update repeats it.
    Operations::of(POD_CERTIFICATE_REQUEST, json!({"spec": spec}))
        .status(conditions("Denied"), conditions("Denied"))
        .run(cluster)
        .await
}

async fn trust_bundle(cluster: &Cluster) -> anyhow::Result<()> {
    let map = cluster.of(CONFIG_MAP).until("kube-root-ca.crt", "every namespace has it", |_| true).await?;
    let bundle = map["data"]["ca.crt"].as_str().context("the cluster's authority")?;
    Operations::of(TRUST_BUNDLE, json!({"spec": {"trustBundle": bundle}})).run(cluster).await
}

async fn storage_version_migration(cluster: &Cluster) -> anyhow::Result<()> {
    let resource = json!({"group": "", "resource": "configmaps"});
    Operations::of(STORAGE_VERSION_MIGRATION, json!({"spec": {"resource": resource}}))
        .status(conditions("PatchedStatus"), conditions("UpdatedStatus"))
        .run(cluster)
        .await
}

async fn device_class(cluster: &Cluster) -> anyhow::Result<()> {
    let selectors =
        |driver: &str| json!({"selectors": [{"cel": {"expression": format!("device.driver == \"{driver}\"")}}]});
    Operations::of(DEVICE_CLASS, json!({"spec": selectors("one.example.com")}))
        .patch(json!({"spec": selectors("two.example.com")}))
        .run(cluster)
        .await
}

async fn device_taint_rule(cluster: &Cluster) -> anyhow::Result<()> {
    let taint = |effect: &str| json!({"taint": {"key": "example.com/broken", "value": "yes", "effect": effect}});
    let mut spec = taint("NoSchedule");
    spec["deviceSelector"] = json!({"driver": "dra.example.com"});
    Operations::of(DEVICE_TAINT_RULE, json!({"spec": spec}))
        .status(conditions("PatchedStatus"), conditions("UpdatedStatus"))
        .run(cluster)
        .await
}

fn device_requests() -> Value {
    json!({"devices": {"requests": [{"name": "one", "exactly": {"deviceClassName": "example-class"}}]}})
}

async fn resource_claim(cluster: &Cluster) -> anyhow::Result<()> {
    let result = json!({"request": "one", "driver": "dra.example.com", "pool": "pool", "device": "device"});
    let allocated = json!({"allocation": {"devices": {"results": [result]}}});
    let mut reserved = allocated.clone();
    reserved["reservedFor"] =
        json!([{"apiGroup": "example.com", "resource": "things", "name": "thing", "uid": "thing-uid"}]);
    Operations::of(RESOURCE_CLAIM, json!({"spec": device_requests()})).status(allocated, reserved).run(cluster).await
}

async fn resource_claim_template(cluster: &Cluster) -> anyhow::Result<()> {
    Operations::of(RESOURCE_CLAIM_TEMPLATE, json!({"spec": {"spec": device_requests()}})).run(cluster).await
}

async fn resource_slice(cluster: &Cluster) -> anyhow::Result<()> {
    let device = |name: &str| json!({"devices": [{"name": name}]});
    let mut spec = device("device-1");
    spec["driver"] = json!("dra.example.com");
    spec["nodeName"] = json!("node-of-nobody");
    spec["pool"] = json!({"name": "pool", "generation": 1, "resourceSliceCount": 1});
    Operations::of(RESOURCE_SLICE, json!({"spec": spec})).patch(json!({"spec": device("device-2")})).run(cluster).await
}

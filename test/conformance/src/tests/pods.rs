//! Pods as objects, while a kubelet runs them.

use serde_json::{Value, json};

use crate::Cluster;
use crate::kinds::POD;
use crate::must::{must, must_cover};
use crate::operations::Operations;
use crate::samples::{WEB, WEB_2, condition, idle, pod, pod_spec, push};

tests!(pods: lifecycle, collection, status_patched, ephemeral_containers_updated, csi_volume_source, generation);

fn running(pod: &Value) -> bool {
    pod["status"]["phase"] == "Running"
}

fn image(pod: &Value) -> &Value {
    &pod["spec"]["containers"][0]["image"]
}

async fn lifecycle(cluster: &Cluster) -> anyhow::Result<()> {
    let (pods, selector) = (cluster.of(POD), cluster.selector());
    let mut watch = pods.watch_from_now(&selector).await?;
    let web = pod_spec(json!({"name": "web", "image": WEB}));
    pods.create(&json!({"metadata": {"name": "one", "labels": cluster.labels()}, "spec": web})).await?;
    watch.expect("ADDED", "the pod", |_| true).await?;
    watch.expect("MODIFIED", "the pod runs", running).await?;

    let patch = json!({"metadata": {"labels": {"test-pod": "patched"}}, "spec": {"containers": [{"name": "web", "image": WEB_2}]}});
    let patched = pods.patch_as("one", &kube::api::Patch::Strategic(&patch)).await?;
    must(*image(&patched) == WEB_2, "the patched image MUST be answered", &patched)?;
    watch
        .expect("MODIFIED", "the patch", |p| *image(p) == WEB_2 && p["metadata"]["labels"]["test-pod"] == "patched")
        .await?;

    let status = pods.sub("status");
    let read = status.get("one").await?;
    must(read["status"]["conditions"].is_array(), "the PodStatus MUST be read", &read)?;
    let add = |p: &mut Value| push(&mut p["status"]["conditions"], condition("E2E"));
    status.change("one", add).await?;
    let has =
        |p: &Value| p["status"]["conditions"].as_array().is_some_and(|all| all.iter().any(|c| c["type"] == "E2E"));
    watch.expect("MODIFIED", "the replaced PodStatus", has).await?;
    pods.delete_collection(&selector).await?;
    watch.expect_deleted("one").await?;
    pods.until_gone("one").await
}

async fn collection(cluster: &Cluster) -> anyhow::Result<()> {
    let pods = cluster.of(POD);
    for i in 1..=3 {
        pods.create(&pod(&format!("test-pod-{i}"), &json!({"type": "Testing"}))).await?;
    }
    pods.until_count("type=Testing", 3).await?;
    pods.delete_collection("type=Testing").await?;
    pods.until_count("type=Testing", 0).await.map(drop)
}

async fn status_patched(cluster: &Cluster) -> anyhow::Result<()> {
    let pods = cluster.of(POD);
    pods.create(&pod("one", &cluster.labels())).await?;
    pods.until("one", "the pod MUST be found running", running).await?;
    let patch = json!({
        "metadata": {"annotations": {"patchedstatus": "true"}},
        "status": {"message": "Patched by a test", "reason": "E2E"},
    });
    let patched = pods.sub("status").patch("one", &patch).await?;
    must_cover(&patched, &patch, "the fields MUST equal the new values")
}

async fn ephemeral_containers_updated(cluster: &Cluster) -> anyhow::Result<()> {
    let pods = cluster.of(POD);
    pods.create(&pod("one", &cluster.labels())).await?;
    pods.until("one", "the pod runs", running).await?;
    let ephemeral = pods.sub("ephemeralcontainers");
    let container = |name: &str| {
        let mut container = idle();
        container["name"] = json!(name);
        container
    };
    let patch = json!({"spec": {"ephemeralContainers": [container("debugger")]}});
    ephemeral.patch_as("one", &kube::api::Patch::Strategic(&patch)).await?;
    let started = |p: &Value| p["status"]["ephemeralContainerStatuses"][0]["state"]["running"].is_object();
    let read = pods.until("one", "the ephemeral container MUST run", started).await?;
    let count = |p: &Value| p["spec"]["ephemeralContainers"].as_array().map_or(0, Vec::len);
    must(count(&read) == 1, "one ephemeral container MUST be found", &read["spec"])?;

    let add = |p: &mut Value| push(&mut p["spec"]["ephemeralContainers"], container("debugger-2"));
    let updated = ephemeral.change("one", add).await?;
    must(count(&updated) == 2, "two ephemeral containers MUST be found", &updated["spec"])
}

async fn csi_volume_source(cluster: &Cluster) -> anyhow::Result<()> {
    let mut spec = pod_spec(idle());
    let volume = json!({"driver": "e2e.example.com", "readOnly": true, "volumeAttributes": {"size": "1Gi"}});
    spec["volumes"] = json!([{"name": "inline", "csi": volume}]);
    spec["containers"][0]["volumeMounts"] = json!([{"name": "inline", "mountPath": "/inline"}]);
    // Of nobody: it stays an object, without a pod.
    spec["schedulerName"] = json!("nobody");
    let mut object = json!({"spec": spec});
    // What the service account adds makes lists longer than what was asked for.
    object["spec"]["automountServiceAccountToken"] = json!(false);
    Operations::of(POD, object).patch(json!({"metadata": {"labels": {"csi": "patched"}}})).run(cluster).await
}

async fn generation(cluster: &Cluster) -> anyhow::Result<()> {
    let pods = cluster.of(POD);
    let mut object = pod("one", &cluster.labels());
    object["spec"]["activeDeadlineSeconds"] = json!(5000);
    let created = pods.create(&object).await?;
    must(created["metadata"]["generation"] == 1, "generation MUST start at 1", &created)?;
    let observed = |generation: u64| move |p: &Value| p["status"]["observedGeneration"] == generation;
    pods.until("one", "the first generation MUST be observed", observed(1)).await?;

    let labelled = pods.patch("one", &json!({"metadata": {"labels": {"more": "yes"}}})).await?;
    must(labelled["metadata"]["generation"] == 1, "metadata MUST NOT change the generation", &labelled)?;
    let changes: [(Value, u64); 3] = [
        (json!({"spec": {"activeDeadlineSeconds": 4000}}), 2),
        (json!({"spec": {"tolerations": [{"key": "foo", "operator": "Exists", "effect": "NoSchedule"}]}}), 3),
        (json!({"spec": {"containers": [{"name": "main", "image": WEB}]}}), 4),
    ];
    for (patch, expected) in changes {
        let patched = pods.patch_as("one", &kube::api::Patch::Strategic(&patch)).await?;
        must(patched["metadata"]["generation"] == expected, &format!("generation MUST be {expected}"), &patched)?;
        pods.until("one", "the generation MUST be observed", observed(expected)).await?;
    }
    Ok(())
}

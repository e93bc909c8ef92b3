//! Every verb for the kinds of `storage.k8s.io`.

use serde_json::json;

use crate::Cluster;
use crate::kinds::{
    CSI_CAPACITY, CSI_DRIVER, CSI_NODE, Kind, STORAGE_CLASS, VOLUME_ATTACHMENT, VOLUME_ATTRIBUTES_CLASS,
};
use crate::operations::{self, Operations};

tests!(storage_operations:
    csi_capacity, csi_driver, csi_node, storage_class, volume_attachment, volume_attachment_status,
    volume_attributes_class,
);

/// The label that a patch adds, beside what every patch does.
fn labelled() -> serde_json::Value {
    json!({"metadata": {"labels": {"patched": "yes"}}})
}

async fn csi_capacity(cluster: &Cluster) -> anyhow::Result<()> {
    let object =
        json!({"storageClassName": "some-class", "capacity": "1Gi", "nodeTopology": {"matchLabels": {"zone": "a"}}});
    Operations::of(CSI_CAPACITY, object).patch(json!({"capacity": "2Gi"})).run(cluster).await
}

async fn csi_driver(cluster: &Cluster) -> anyhow::Result<()> {
    let spec = json!({"attachRequired": true, "podInfoOnMount": true, "volumeLifecycleModes": ["Ephemeral"]});
    Operations::of(CSI_DRIVER, json!({"spec": spec})).patch(labelled()).run(cluster).await
}

async fn csi_node(cluster: &Cluster) -> anyhow::Result<()> {
    Operations::of(CSI_NODE, json!({"spec": {"drivers": []}})).patch(labelled()).run(cluster).await
}

async fn storage_class(cluster: &Cluster) -> anyhow::Result<()> {
    let object = json!({"provisioner": "e2e-fake-provisioner", "reclaimPolicy": "Delete"});
    Operations::of(STORAGE_CLASS, object).patch(labelled()).run(cluster).await
}

async fn volume_attributes_class(cluster: &Cluster) -> anyhow::Result<()> {
    let object = json!({"driverName": "e2e-fake-driver", "parameters": {"iops": "100"}});
    Operations::of(VOLUME_ATTRIBUTES_CLASS, object).patch(labelled()).run(cluster).await
}

fn attachment(cluster: &Cluster) -> (Kind, serde_json::Value) {
    let source = json!({"persistentVolumeName": format!("{}-volume", cluster.unique)});
    (VOLUME_ATTACHMENT, json!({"spec": {"attacher": "e2e-test.com", "nodeName": "node-of-nobody", "source": source}}))
}

async fn volume_attachment(cluster: &Cluster) -> anyhow::Result<()> {
    let (kind, object) = attachment(cluster);
    Operations::of(kind, object).patch(labelled()).run(cluster).await
}

async fn volume_attachment_status(cluster: &Cluster) -> anyhow::Result<()> {
    let (kind, mut object) = attachment(cluster);
    object["metadata"] = json!({"name": cluster.unique});
    let attachments = cluster.of(kind);
    attachments.create(&object).await?;
    let outcome = async {
        attachments.patch(&cluster.unique, &labelled()).await?;
        let read = attachments.sub("status").get(&cluster.unique).await?;
        crate::must::must(read["status"]["attached"] == false, "attached MUST be false at first", &read)?;
        let status = |attached: bool| json!({"attached": attached});
        operations::status(&attachments, &cluster.unique, &status(true), &status(false)).await
    };
    let outcome = outcome.await;
    attachments.delete(&cluster.unique).await?;
    outcome?;
    attachments.until_gone(&cluster.unique).await
}

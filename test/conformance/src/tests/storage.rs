//! PersistentVolumes and their claims as objects.

use anyhow::Context as _;
use serde_json::{Value, json};

use crate::Cluster;
use crate::kinds::{Kind, PERSISTENT_VOLUME, PERSISTENT_VOLUME_CLAIM};
use crate::must::must;
use crate::operations::{self, Operations};
use crate::samples::conditions;

tests!(storage: volume_and_claim_lifecycle, volume_and_claim_status);

/// A volume of a driver that nobody runs, in a class of the test's own.
fn volume(cluster: &Cluster) -> Value {
    let csi = json!({"driver": "e2e.example.com", "volumeHandle": "e2e"});
    json!({"spec": {
        "storageClassName": cluster.unique, "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"],
        "persistentVolumeReclaimPolicy": "Retain", "csi": csi,
    }})
}

fn claim(cluster: &Cluster) -> Value {
    let resources = json!({"requests": {"storage": "1Gi"}});
    json!({"spec": {"storageClassName": cluster.unique, "accessModes": ["ReadWriteOnce"], "resources": resources}})
}

async fn volume_and_claim_lifecycle(cluster: &Cluster) -> anyhow::Result<()> {
    let patch = json!({"metadata": {"labels": {"patched": "yes"}}});
    Operations::of(PERSISTENT_VOLUME, volume(cluster)).patch(patch.clone()).run(cluster).await?;
    Operations::of(PERSISTENT_VOLUME_CLAIM, claim(cluster)).patch(patch).run(cluster).await
}

async fn status(cluster: &Cluster, kind: Kind, mut object: Value, patch: Value, update: Value) -> anyhow::Result<()> {
    let (objects, selector) = (cluster.of(kind), cluster.selector());
    object["metadata"] = json!({"name": cluster.unique, "labels": cluster.labels()});
    objects.create(&object).await?;
    let outcome = async {
        let found = objects.items(&selector).await?;
        must(found.len() == 1, "the list MUST find it", &json!(found))?;
        let read = objects.sub("status").get(&cluster.unique).await?;
        let valid = ["Pending", "Available", "Bound"].iter().any(|phase| read["status"]["phase"] == *phase);
        must(valid, "a valid phase MUST be found", &read)?;
        operations::status(&objects, &cluster.unique, &patch, &update).await
    };
    let outcome = outcome.await;
    objects.delete(&cluster.unique).await?;
    objects.until_gone(&cluster.unique).await?;
    outcome
}

async fn volume_and_claim_status(cluster: &Cluster) -> anyhow::Result<()> {
    let why = |text: &str| json!({"message": text, "reason": "E2E"});
    let (patch, update) = (why("StatusPatched"), why("StatusUpdated"));
    status(cluster, PERSISTENT_VOLUME, volume(cluster), patch, update).await.context("the volume")?;
    let (patch, update) = (conditions("StatusPatched"), conditions("StatusUpdated"));
    status(cluster, PERSISTENT_VOLUME_CLAIM, claim(cluster), patch, update).await.context("the claim")
}

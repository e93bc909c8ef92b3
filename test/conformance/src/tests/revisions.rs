//! ControllerRevisions of a DaemonSet.

use anyhow::Context as _;
use serde_json::{Value, json};

use crate::Cluster;
use crate::kinds::{CONTROLLER_REVISION, DAEMON_SET};
use crate::must::{must, must_cover};
use crate::samples::workload;

tests!(revisions: lifecycle);

fn name(object: &Value) -> anyhow::Result<&str> {
    object["metadata"]["name"].as_str().context("an object has a name")
}

async fn lifecycle(cluster: &Cluster) -> anyhow::Result<()> {
    let (sets, revisions, selector) = (cluster.of(DAEMON_SET), cluster.of(CONTROLLER_REVISION), cluster.selector());
    sets.create(&workload("web", &cluster.labels(), None)).await?;
    sets.until("web", "the daemon MUST run", |o| o["status"]["numberReady"] == 1).await?;
    let first = revisions.until_count(&selector, 1).await?.remove(0);
    let patch = json!({"metadata": {"labels": {"revision": "patched"}}});
    must_cover(&revisions.patch(name(&first)?, &patch).await?, &patch, "the patched label MUST be found")?;

    let metadata = &first["metadata"];
    let labels = json!({"conformance": cluster.unique, "controller-revision-hash": "0123456789"});
    let second = json!({
        "metadata": {"name": "web-0123456789", "labels": labels, "ownerReferences": metadata["ownerReferences"]},
        "data": first["data"],
        "revision": first["revision"].as_i64().unwrap_or_default() + 1,
    });
    let second = revisions.create(&second).await?;
    revisions.until_count(&selector, 2).await?;
    revisions.delete(name(&first)?).await?;
    revisions.until_count(&selector, 1).await?;

    let change = |r: &mut Value| r["metadata"]["labels"]["revision"] = json!("updated");
    let updated = revisions.change(name(&second)?, change).await?;
    must(updated["metadata"]["labels"]["revision"] == "updated", "the updated label MUST be found", &updated)?;
    let patch = json!({"spec": {"template": {"metadata": {"annotations": {"patched": "yes"}}}}});
    sets.patch("web", &patch).await?;
    revisions.until_count(&selector, 2).await?;
    revisions.delete_collection("revision=updated").await?;
    let left = revisions.until_count(&selector, 1).await?.remove(0);
    must(left["revision"] == 3, "the current revision MUST be 3", &left)
}

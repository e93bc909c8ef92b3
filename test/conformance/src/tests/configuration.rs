//! ConfigMaps, Secrets, PodTemplates, LimitRanges, Leases and PriorityClasses.

use serde_json::{Value, json};

use crate::Cluster;
use crate::kinds::{CONFIG_MAP, Kind, LEASE, LIMIT_RANGE, POD_TEMPLATE, PRIORITY_CLASS, SECRET};
use crate::must::{must, must_cover, must_refuse};
use crate::operations::Operations;
use crate::samples::{idle, template};

tests!(configuration:
    config_map_lifecycle, config_map_with_an_empty_key, config_map_immutable, secret_lifecycle, secret_with_an_empty_key,
    secret_immutable, pod_template_lifecycle, pod_template_replaced, pod_template_collection, limit_range_collection, lease,
    priority_class,
);

async fn config_map_lifecycle(cluster: &Cluster) -> anyhow::Result<()> {
    Operations::of(CONFIG_MAP, json!({"data": {"valueName": "value"}}))
        .patch(json!({"metadata": {"labels": {"static": "yes"}}, "data": {"valueName": "value1"}}))
        .run(cluster)
        .await
}

async fn secret_lifecycle(cluster: &Cluster) -> anyhow::Result<()> {
    Operations::of(SECRET, json!({"type": "Opaque", "data": {"key": "dmFsdWU="}}))
        .patch(json!({"metadata": {"labels": {"static": "yes"}}, "data": {"key": "dmFsdWUx"}}))
        .run(cluster)
        .await
}

async fn with_an_empty_key(cluster: &Cluster, kind: Kind) -> anyhow::Result<()> {
    let object = json!({"metadata": {"name": "emptykey"}, "data": {"": "dmFsdWU="}});
    must_refuse(cluster.of(kind).create(&object).await, 422, "an object with an empty key").map(drop)
}

async fn config_map_with_an_empty_key(cluster: &Cluster) -> anyhow::Result<()> {
    with_an_empty_key(cluster, CONFIG_MAP).await
}

async fn secret_with_an_empty_key(cluster: &Cluster) -> anyhow::Result<()> {
    with_an_empty_key(cluster, SECRET).await
}

async fn immutable(cluster: &Cluster, kind: Kind) -> anyhow::Result<()> {
    let objects = cluster.of(kind);
    objects.create(&json!({"metadata": {"name": "one"}, "data": {"key": "dmFsdWU="}})).await?;
    objects.change("one", |o| o["data"]["key"] = json!("dmFsdWUx")).await?;
    let marked = objects.change("one", |o| o["immutable"] = json!(true)).await?;
    must(marked["immutable"] == true, "marking it immutable MUST succeed", &marked)?;
    let change = objects.change("one", |o| o["data"]["key"] = json!("dmFsdWUy")).await;
    must_refuse(change, 422, "an update of immutable data")?;
    let back = objects.change("one", |o| o["immutable"] = json!(false)).await;
    must_refuse(back, 422, "making it mutable again")?;
    let labelled = objects.change("one", |o| o["metadata"]["labels"] = json!({"label": "value"})).await?;
    must(labelled["data"]["key"] == "dmFsdWUx", "the data MUST stay", &labelled)?;
    objects.delete("one").await?;
    objects.until_gone("one").await
}

async fn config_map_immutable(cluster: &Cluster) -> anyhow::Result<()> {
    immutable(cluster, CONFIG_MAP).await
}

async fn secret_immutable(cluster: &Cluster) -> anyhow::Result<()> {
    immutable(cluster, SECRET).await
}

fn pod_template() -> Value {
    json!({"template": template(&json!({"app": "template"}), idle())})
}

async fn pod_template_lifecycle(cluster: &Cluster) -> anyhow::Result<()> {
    Operations::of(POD_TEMPLATE, pod_template())
        .patch(json!({"metadata": {"labels": {"podtemplate": "patched"}}}))
        .run(cluster)
        .await
}

async fn pod_template_replaced(cluster: &Cluster) -> anyhow::Result<()> {
    let templates = cluster.of(POD_TEMPLATE);
    let mut object = pod_template();
    object["metadata"] = json!({"name": "one"});
    templates.create(&object).await?;
    let annotation = json!({"metadata": {"annotations": {"updated": "true"}}});
    let replaced = templates.change("one", |t| t["metadata"]["annotations"] = json!({"updated": "true"})).await?;
    must_cover(&replaced, &annotation, "the annotation MUST be found in the answer")?;
    must_cover(&templates.get("one").await?, &annotation, "the annotation MUST be found in the new template")
}

async fn pod_template_collection(cluster: &Cluster) -> anyhow::Result<()> {
    let templates = cluster.of(POD_TEMPLATE);
    for i in 0..3 {
        let mut object = pod_template();
        object["metadata"] = json!({"name": format!("template-{i}"), "labels": {"set": "yes"}});
        templates.create(&object).await?;
    }
    templates.until_count("set=yes", 3).await?;
    templates.delete_collection("set=yes").await?;
    templates.until_count("set=yes", 0).await.map(drop)
}

async fn limit_range_collection(cluster: &Cluster) -> anyhow::Result<()> {
    let other = format!("{}-b", cluster.unique);
    cluster.namespace(&other).await?;
    let limits = json!([{"type": "Container", "default": {"cpu": "500m"}, "defaultRequest": {"cpu": "50m"}}]);
    let range = json!({"metadata": {"name": "one", "labels": cluster.labels()}, "spec": {"limits": limits}});
    let (here, there) = (cluster.of(LIMIT_RANGE), cluster.within(LIMIT_RANGE, &other));
    here.create(&range).await?;
    there.create(&range).await?;
    let everywhere = cluster.everywhere(LIMIT_RANGE);
    everywhere.until_count(&cluster.selector(), 2).await?;

    let limits = json!([{"type": "Container", "default": {"cpu": "600m"}, "defaultRequest": {"cpu": "60m"}}]);
    let patch = json!({"metadata": {"labels": {"one": "patched"}}, "spec": {"limits": limits}});
    must_cover(&here.patch("one", &patch).await?, &patch, "the patched fields MUST equal the new values")?;
    here.delete_collection("one=patched").await?;
    here.until_count("one=patched", 0).await?;
    everywhere.until_count(&cluster.selector(), 1).await.map(drop)
}

async fn lease(cluster: &Cluster) -> anyhow::Result<()> {
    let leases = cluster.of(LEASE);
    let spec = |holder: &str, transitions: u32| {
        json!({
            "holderIdentity": holder, "leaseDurationSeconds": 30, "leaseTransitions": transitions,
            "acquireTime": "2026-01-02T03:04:05.000000Z", "renewTime": "2026-01-02T03:04:10.500000Z",
        })
    };
    leases.create(&json!({"metadata": {"name": "one"}, "spec": spec("holder", 0)})).await?;
    let read = leases.get("one").await?;
    must(read["spec"] == spec("holder", 0), "the read spec MUST match the created one", &read)?;
    leases.change("one", |l| l["spec"] = spec("holder2", 1)).await?;
    let read = leases.get("one").await?;
    must(read["spec"] == spec("holder2", 1), "the read spec MUST match the updated one", &read)?;
    leases.patch("one", &json!({"spec": spec("holder3", 2)})).await?;
    let read = leases.get("one").await?;
    must(read["spec"] == spec("holder3", 2), "the read spec MUST match the patched one", &read)?;

    leases
        .create(&json!({"metadata": {"name": "two", "labels": {"deletecollection": "true"}}, "spec": spec("other", 0)}))
        .await?;
    leases.until_count("", 2).await?;
    leases.delete_collection("deletecollection=true").await?;
    let left = leases.until_count("", 1).await?;
    must(left[0]["metadata"]["name"] == "one", "only the labelled lease MUST be deleted", &left[0])?;
    leases.delete("one").await?;
    must_refuse(leases.get("one").await, 404, "a deleted lease").map(drop)
}

async fn priority_class(cluster: &Cluster) -> anyhow::Result<()> {
    let classes = cluster.of(PRIORITY_CLASS);
    let made = Operations::of(PRIORITY_CLASS, json!({"value": 1000, "description": "first"}))
        .patch(json!({"description": "second"}))
        .run(cluster)
        .await;
    made?;
    let class = json!({"metadata": {"name": cluster.unique, "labels": cluster.labels()}, "value": 2000});
    classes.create(&class).await?;
    let patch = classes.patch(&cluster.unique, &json!({"value": 1})).await;
    let update = classes.change(&cluster.unique, |c| c["value"] = json!(1)).await;
    classes.delete(&cluster.unique).await?;
    must_refuse(patch, 422, "a patch of an immutable field")?;
    must_refuse(update, 422, "an update of an immutable field").map(drop)
}

//! Events in both of their groups.

use serde_json::{Value, json};

use crate::Cluster;
use crate::kinds::{CORE_EVENT, EVENT, Kind};
use crate::must::{must, must_refuse};
use crate::operations::Operations;

tests!(events: core_lifecycle, core_collection, lifecycle, collection);

fn core_event(cluster: &Cluster) -> Value {
    json!({
        "involvedObject": {"namespace": cluster.unique}, "message": "This is a test event", "reason": "Test",
        "type": "Normal", "count": 1,
    })
}

fn event(cluster: &Cluster) -> Value {
    json!({
        "regarding": {"namespace": cluster.unique}, "note": "This is a test event", "reason": "Test", "action": "Do",
        "type": "Normal", "reportingController": "test-controller", "reportingInstance": "test-node",
        "eventTime": "2026-01-02T03:04:05.000000Z",
    })
}

/// Sets a series, which is what an event that goes on gets.
async fn series(cluster: &Cluster, kind: Kind, mut object: Value) -> anyhow::Result<()> {
    let events = cluster.of(kind);
    object["metadata"] = json!({"name": "series", "labels": cluster.labels()});
    events.create(&object).await?;
    let series = json!({"count": 100, "lastObservedTime": "2026-01-02T03:04:05.250000Z"});
    events.change("series", |e| e["series"] = series.clone()).await?;
    let read = events.get("series").await?;
    must(read["series"] == series, "the updated series MUST be found", &read)?;
    events.delete("series").await?;
    must_refuse(events.get("series").await, 404, "a deleted event")?;
    let left = cluster.everywhere(kind).items(&cluster.selector()).await?;
    must(left.is_empty(), "a deleted event MUST NOT show up in a list", &json!(left))
}

async fn core_lifecycle(cluster: &Cluster) -> anyhow::Result<()> {
    let patch = json!({"message": "This is a test event - patched"});
    Operations::of(CORE_EVENT, core_event(cluster)).patch(patch).run(cluster).await?;
    series(cluster, CORE_EVENT, core_event(cluster)).await
}

async fn lifecycle(cluster: &Cluster) -> anyhow::Result<()> {
    let patch = json!({"series": {"count": 2, "lastObservedTime": "2026-01-02T03:04:05.000001Z"}});
    Operations::of(EVENT, event(cluster)).patch(patch).run(cluster).await?;
    series(cluster, EVENT, event(cluster)).await
}

async fn delete_collection(cluster: &Cluster, kind: Kind, object: Value) -> anyhow::Result<()> {
    let events = cluster.of(kind);
    for i in 1..=3 {
        let mut object = object.clone();
        object["metadata"] = json!({"name": format!("test-event-{i}"), "labels": {"testevent-set": "true"}});
        events.create(&object).await?;
    }
    events.until_count("testevent-set=true", 3).await?;
    events.delete_collection("testevent-set=true").await?;
    events.until_count("testevent-set=true", 0).await.map(drop)
}

async fn core_collection(cluster: &Cluster) -> anyhow::Result<()> {
    delete_collection(cluster, CORE_EVENT, core_event(cluster)).await
}

async fn collection(cluster: &Cluster) -> anyhow::Result<()> {
    delete_collection(cluster, EVENT, event(cluster)).await
}

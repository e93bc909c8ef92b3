//! Watches: where they begin, what they show, and in which order.

use std::time::Duration;

use anyhow::ensure;
use serde_json::{Value, json};

use crate::Cluster;
use crate::kinds::CONFIG_MAP;
use crate::must::must;
use crate::watch::Event;

tests!(watchers:
    observe_add_update_delete,
    start_from_a_version,
    restart_from_the_last_version,
    deletion_when_leaving_the_selector,
    concurrent_watches_agree,
);

/// After a write, how long nothing has to come to a watch that must not see it.
const QUIET: Duration = Duration::from_millis(500);

fn map(name: &str, label: &str) -> Value {
    json!({"metadata": {"name": name, "labels": {"watch": label}}})
}

fn mutation(number: u32) -> Value {
    json!({"data": {"mutation": number.to_string()}})
}

fn is_mutation(number: u32) -> impl Fn(&Value) -> bool {
    let expected = number.to_string();
    move |object| object["data"]["mutation"] == *expected
}

async fn observe_add_update_delete(cluster: &Cluster) -> anyhow::Result<()> {
    let maps = cluster.of(CONFIG_MAP);
    let mut on_a = maps.watch_from_now("watch=a").await?;
    let mut on_b = maps.watch_from_now("watch=b").await?;
    let mut on_both = maps.watch_from_now("watch in (a,b)").await?;

    maps.create(&map("a", "a")).await?;
    maps.patch("a", &mutation(1)).await?;
    maps.patch("a", &mutation(2)).await?;
    maps.delete("a").await?;
    for watch in [&mut on_a, &mut on_both] {
        // Each event exactly once and in order.
        let kinds = [watch.next().await?, watch.next().await?, watch.next().await?, watch.next().await?];
        let seen = kinds.each_ref().map(|e| (e.kind, e.object["data"]["mutation"].as_str()));
        let expected = [("ADDED", None), ("MODIFIED", Some("1")), ("MODIFIED", Some("2")), ("DELETED", Some("2"))];
        ensure!(seen == expected, "each change MUST be observed once, in order: {seen:?}");
    }
    on_b.expect_quiet(QUIET).await?;

    maps.create(&map("b", "b")).await?;
    maps.delete("b").await?;
    for watch in [&mut on_b, &mut on_both] {
        ensure!(watch.next().await?.kind == "ADDED", "the creation MUST be observed");
        ensure!(watch.next().await?.kind == "DELETED", "the deletion MUST be observed");
    }
    on_a.expect_quiet(QUIET).await
}

async fn start_from_a_version(cluster: &Cluster) -> anyhow::Result<()> {
    let maps = cluster.of(CONFIG_MAP);
    maps.create(&map("one", "version")).await?;
    let first = maps.patch("one", &mutation(1)).await?;
    maps.patch("one", &mutation(2)).await?;
    maps.delete("one").await?;
    let version = first["metadata"]["resourceVersion"].as_str().unwrap_or_default();
    let mut watch = maps.watch("watch=version", version).await?;
    let second = watch.next().await?;
    must(second.kind == "MODIFIED" && is_mutation(2)(&second.object), "only later changes MUST come", &second.object)?;
    let last = watch.next().await?;
    must(last.kind == "DELETED", "the deletion MUST come last", &last.object)
}

async fn restart_from_the_last_version(cluster: &Cluster) -> anyhow::Result<()> {
    let maps = cluster.of(CONFIG_MAP);
    let mut watch = maps.watch_from_now("watch=restart").await?;
    maps.create(&map("one", "restart")).await?;
    maps.patch("one", &mutation(1)).await?;
    watch.expect("ADDED", "the object", |_| true).await?;
    let last = watch.expect("MODIFIED", "the first change", is_mutation(1)).await?;
    drop(watch);

    // Nobody watches meanwhile.
    maps.patch("one", &mutation(2)).await?;
    maps.delete("one").await?;
    let mut again = maps.watch("watch=restart", last.version()).await?;
    let second = again.next().await?;
    must(second.kind == "MODIFIED" && is_mutation(2)(&second.object), "the watch MUST go on after it", &second.object)?;
    let deleted = again.next().await?;
    must(deleted.kind == "DELETED", "the deletion MUST come", &deleted.object)
}

async fn deletion_when_leaving_the_selector(cluster: &Cluster) -> anyhow::Result<()> {
    let maps = cluster.of(CONFIG_MAP);
    let mut watch = maps.watch_from_now("watch=inside").await?;
    maps.create(&map("one", "inside")).await?;
    maps.patch("one", &mutation(1)).await?;
    watch.expect("ADDED", "the object", |_| true).await?;
    watch.expect("MODIFIED", "the first change", is_mutation(1)).await?;

    maps.patch("one", &map("one", "outside")).await?;
    let left = watch.next().await?;
    must(left.kind == "DELETED", "leaving the selector MUST be seen as a deletion", &left.object)?;
    maps.patch("one", &mutation(2)).await?;
    watch.expect_quiet(QUIET).await?;

    maps.patch("one", &map("one", "inside")).await?;
    let back = watch.next().await?;
    must(
        back.kind == "ADDED" && is_mutation(2)(&back.object),
        "coming back MUST be seen as an addition",
        &back.object,
    )?;
    maps.patch("one", &mutation(3)).await?;
    watch.expect("MODIFIED", "the third change", is_mutation(3)).await?;
    maps.delete("one").await?;
    watch.expect_deleted("one").await?;
    Ok(())
}

async fn concurrent_watches_agree(cluster: &Cluster) -> anyhow::Result<()> {
    const EVENTS: usize = 60;
    let maps = cluster.of(CONFIG_MAP);
    let begin = maps.list("").await?["metadata"]["resourceVersion"].as_str().unwrap_or_default().to_owned();
    let writer = async {
        for number in 0..EVENTS / 3 {
            let name = format!("map-{number}");
            maps.create(&map(&name, "order")).await?;
            maps.patch(&name, &mutation(1)).await?;
            maps.delete(&name).await?;
        }
        anyhow::Ok(())
    };
    // A new watch from every event of the first one; each has to go on as the first one does.
    let reader = async {
        let mut first = maps.watch("watch=order", &begin).await?;
        let (mut events, mut others) = (Vec::<Event>::new(), Vec::new());
        while events.len() < EVENTS {
            let event = first.next().await?;
            others.push(maps.watch("watch=order", event.version()).await?);
            events.push(event);
        }
        for (i, mut other) in others.into_iter().enumerate() {
            for expected in &events[i + 1..] {
                let seen = other.next().await?;
                ensure!(seen == *expected, "watch {i} MUST show the same: {seen:?} instead of {expected:?}");
            }
        }
        anyhow::Ok(())
    };
    futures::try_join!(writer, reader).map(drop)
}

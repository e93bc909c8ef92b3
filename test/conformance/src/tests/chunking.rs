//! Lists in chunks, and lists in forms that a resource does not have.

use std::collections::BTreeSet;

use anyhow::{Context as _, ensure};
use futures::{StreamExt as _, TryStreamExt as _};
use kube::api::ListParams;
use serde_json::{Value, json};

use crate::Cluster;
use crate::kinds::{CONFIG_MAP, POD_TEMPLATE, SELF_ACCESS_REVIEW};
use crate::must::{must, must_refuse, status};
use crate::resource::Resource;
use crate::samples::template;

tests!(chunking: lists_come_in_chunks, an_expired_token_continues_inconsistently, a_table_of_a_review_is_not_acceptable);

/// How many objects are listed, and how many at once.
const COUNT: usize = 400;
const CHUNK: usize = 60;

async fn make_templates(templates: &Resource) -> anyhow::Result<()> {
    let made = futures::stream::iter(0..COUNT).map(|i| async move {
        let labels = json!({"chunk": "yes"});
        let name = format!("template-{i:04}");
        templates
            .create(&json!({"metadata": {"name": name}, "template": template(&labels, crate::samples::idle())}))
            .await
    });
    made.buffer_unordered(16).try_for_each(async |_| Ok(())).await
}

/// A chunk has at most as many items as asked for, and says how many remain.
fn check_chunk(chunk: &Value, names: &mut BTreeSet<String>, remaining_before: usize) -> anyhow::Result<usize> {
    let items = chunk["items"].as_array().context("a chunk MUST have items")?;
    ensure!(items.len() == CHUNK.min(remaining_before), "{} items MUST NOT exceed the limit {CHUNK}", items.len());
    for item in items {
        let name = item["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        ensure!(names.insert(name.clone()), "{name} MUST come once");
    }
    let remaining = remaining_before - items.len();
    let metadata = &chunk["metadata"];
    if remaining == 0 {
        must(
            metadata["continue"].as_str().unwrap_or_default().is_empty(),
            "the last chunk MUST end the list",
            metadata,
        )?;
        must(metadata.get("remainingItemCount").is_none(), "the last chunk MUST have no remaining items", metadata)?;
    } else {
        must(metadata["continue"].is_string(), "a token MUST continue the list", metadata)?;
        must(
            metadata["remainingItemCount"] == remaining,
            &format!("remainingItemCount MUST be {remaining}"),
            metadata,
        )?;
    }
    Ok(remaining)
}

fn token(list: &Value) -> &str {
    list["metadata"]["continue"].as_str().unwrap_or_default()
}

fn next_chunk(token: &str) -> ListParams {
    ListParams::default().limit(CHUNK as u32).continue_token(token)
}

async fn lists_come_in_chunks(cluster: &Cluster) -> anyhow::Result<()> {
    let templates = cluster.of(POD_TEMPLATE);
    make_templates(&templates).await?;
    let first = templates.list_by(&ListParams::default().limit(CHUNK as u32)).await?;
    let mut names = BTreeSet::new();
    let mut remaining = check_chunk(&first, &mut names, COUNT)?;
    // A change between the chunks does not show in them.
    templates.delete("template-0399").await?;
    let mut chunk = first.clone();
    while remaining > 0 {
        chunk = templates.list_by(&next_chunk(token(&chunk))).await?;
        let same = chunk["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"];
        must(same, "every chunk MUST have the first one's resourceVersion", &chunk["metadata"])?;
        remaining = check_chunk(&chunk, &mut names, remaining)?;
    }
    ensure!(names.len() == COUNT, "the chunks MUST have all: {}", names.len());
    let whole = templates.items("").await?;
    ensure!(whole.len() == COUNT - 1, "a list without a limit MUST have all at once: {}", whole.len());
    Ok(())
}

async fn an_expired_token_continues_inconsistently(cluster: &Cluster) -> anyhow::Result<()> {
    let templates = cluster.of(POD_TEMPLATE);
    make_templates(&templates).await?;
    let first = templates.list_by(&ListParams::default().limit(CHUNK as u32)).await?;
    let mut names = BTreeSet::new();
    let mut remaining = check_chunk(&first, &mut names, COUNT)?;

    let expired = expire(cluster, &templates, token(&first)).await?;
    // The token to go on with comes with the refusal.
    let details = status(&expired).context("a Status")?.metadata.clone().unwrap_or_default();
    let inconsistent =
        details.continue_.filter(|t| !t.is_empty()).context("the refusal MUST have a token to go on with")?;
    let second = templates.list_by(&next_chunk(&inconsistent)).await?;
    let newer = second["metadata"]["resourceVersion"] != first["metadata"]["resourceVersion"];
    must(newer, "the list MUST go on at a newer resourceVersion", &second["metadata"])?;
    remaining = check_chunk(&second, &mut names, remaining)?;
    let mut chunk = second.clone();
    while remaining > 0 {
        chunk = templates.list_by(&next_chunk(token(&chunk))).await?;
        let same = chunk["metadata"]["resourceVersion"] == second["metadata"]["resourceVersion"];
        must(same, "the rest MUST have the inconsistent list's resourceVersion", &chunk["metadata"])?;
        remaining = check_chunk(&chunk, &mut names, remaining)?;
    }
    ensure!(names.len() == COUNT, "the chunks MUST have all: {}", names.len());
    Ok(())
}

/// Overwrites a large object until the history that the token needs is gone; upstream's servers wait five minutes instead.
/// Answers the refusal.
async fn expire(cluster: &Cluster, templates: &Resource, token: &str) -> anyhow::Result<anyhow::Error> {
    const SIZE: usize = 1_000_000;
    const WRITES_MAX: usize = 400;
    let maps = cluster.of(CONFIG_MAP);
    maps.create(&json!({"metadata": {"name": "large"}})).await?;
    for number in 0..WRITES_MAX {
        let data = json!({"text": "x".repeat(SIZE), "number": number.to_string()});
        maps.update(&json!({"metadata": {"name": "large"}, "data": data})).await?;
        if number % 16 == 0
            && let Err(error) = templates.list_by(&next_chunk(token)).await
        {
            let expired = status(&error).is_some_and(|s| s.code == 410 && s.reason == "Expired");
            ensure!(expired, "the token MUST expire with 410: {error:#}");
            return Ok(error);
        }
    }
    anyhow::bail!("the token MUST expire, but did not after {WRITES_MAX} writes of {SIZE} bytes")
}

async fn a_table_of_a_review_is_not_acceptable(cluster: &Cluster) -> anyhow::Result<()> {
    let review = json!({
        "apiVersion": SELF_ACCESS_REVIEW.api_version,
        "kind": SELF_ACCESS_REVIEW.kind,
        "spec": {"nonResourceAttributes": {"path": "/", "verb": "get"}},
    });
    let headers = [("accept", "application/json;as=Table;v=v1;g=meta.k8s.io"), ("content-type", "application/json")];
    let path = cluster.of(SELF_ACCESS_REVIEW);
    let outcome = cluster.request("POST", path.path(), &headers, review.to_string().into()).await;
    must_refuse(outcome, 406, "a Table of what has no metadata").map(drop)
}

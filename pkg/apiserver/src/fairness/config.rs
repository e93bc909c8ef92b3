//! Levels and schemas as they are stored: the defaults are written and kept, changes are taken up, and schemas whose level
//! does not exist say so.

use std::sync::Arc;

use apimachinery::ApiResult;
use apimachinery::meta::{ObjectExt as _, object_mut};
use component_base::task::supervise;
use futures::stream::select;
use futures::{FutureExt as _, StreamExt as _};
use registry::{Call, Change, DeleteOptions, Registry, WatchQuery, set_condition};
use serde_json::{Value, json};

use super::defaults::{self, AUTO_UPDATE, GROUP, MANDATORY};
use crate::bootstrap::Writer;
use crate::server::Inner;

const LEVELS: &str = "prioritylevelconfigurations";
const SCHEMAS: &str = "flowschemas";

/// Takes up what is stored and follows it until shutdown. The defaults are written already.
pub fn start(server: &Arc<Inner>) {
    load(server);
    let following = server.clone();
    supervise("priority-and-fairness", &server.shutdown, move || {
        let server = following.clone();
        async move { follow(&server).await }
    });
}

fn all(registry: &Registry, plural: &str) -> Vec<Value> {
    registry.read_all(GROUP, plural, "").iter().map(|stored| stored.decode()).collect()
}

fn load(server: &Inner) {
    let registry = &server.config.registry;
    server.fairness.configure(&all(registry, LEVELS), &all(registry, SCHEMAS));
}

async fn follow(server: &Inner) -> ApiResult<()> {
    let registry = &*server.config.registry;
    let from = registry.revision();
    let watch = |plural: &str| {
        let found = registry.rows().newest(GROUP, plural).ok_or_else(apimachinery::ApiError::page_not_found)?;
        let query = WatchQuery { resource_version: from.to_string(), ..WatchQuery::default() };
        registry.watch(found.resource, None, query)
    };
    let mut changes = select(watch(LEVELS)?, watch(SCHEMAS)?);
    loop {
        load(server);
        write(server).await?;
        state_dangling(server).await?;
        match changes.next().await {
            Some(event) => drop(event?),
            None => return Ok(()),
        }
        // What came meanwhile is seen by the same look.
        while let Some(Some(event)) = changes.next().now_or_never() {
            event?;
        }
    }
}

/// Writes the defaults that are missing, mends those that are kept as this release has them, and removes those of other
/// releases.
pub async fn write(server: &Inner) -> ApiResult<()> {
    let writer = Writer::of(server);
    let kinds = [(LEVELS, defaults::levels()), (SCHEMAS, defaults::schemas())];
    let mut writes: Vec<crate::bootstrap::Pending<'_>> = Vec::new();
    for (plural, objects) in kinds {
        for stored in all(writer.registry, plural) {
            let known = objects.iter().any(|default| default.name() == stored.name());
            if !known && auto_update(&stored) == Some(true) {
                writes.push(Box::pin(remove(server, plural, stored)));
            }
        }
        writes.extend(objects.into_iter().map(|object| Box::pin(keep(server, plural, object)) as _));
    }
    crate::bootstrap::all(writes).await
}

/// What the annotation says; `None` where it says nothing.
fn auto_update(object: &Value) -> Option<bool> {
    let text = object.annotations().and_then(|annotations| annotations.get(AUTO_UPDATE)).and_then(Value::as_str);
    text.and_then(|text| text.parse().ok())
}

async fn keep(server: &Inner, plural: &str, wanted: Value) -> ApiResult<()> {
    let writer = Writer::of(server);
    let found = writer.found(GROUP, plural)?;
    let call = writer.call(found, &wanted);
    if writer.registry.get(found.resource, "", call.name).is_err() {
        return writer.ensure(GROUP, plural, wanted.clone()).await;
    }
    let mend = |current: Value| Ok(mended(current, &wanted));
    gone_is_fine(writer.registry.update(&call, Change::Patch(&mend)).await.map(drop))
}

/// A default as it is to be. Who edits one without a word keeps it as it is from then on.
fn mended(mut current: Value, wanted: &Value) -> Value {
    let mandatory = MANDATORY.contains(&wanted.name());
    let update = mandatory || auto_update(&current).unwrap_or(current.generation() <= 1);
    let annotations = current.metadata_mut().entry("annotations").or_insert(Value::Null);
    object_mut(annotations).insert(AUTO_UPDATE.to_owned(), update.to_string().into());
    if !update {
        return current;
    }
    let mut spec = wanted["spec"].clone();
    if spec.str_at("type") == "Exempt" && current.at("spec/exempt").is_some_and(Value::is_object) {
        // How much the exempt level lends is the users' to say.
        spec["exempt"] = current["spec"]["exempt"].clone();
    }
    current["spec"] = spec;
    current
}

async fn remove(server: &Inner, plural: &str, object: Value) -> ApiResult<()> {
    let writer = Writer::of(server);
    let found = writer.found(GROUP, plural)?;
    let options = DeleteOptions {
        uid: Some(object.uid().to_owned()),
        resource_version: Some(object.resource_version().to_owned()),
        ..DeleteOptions::default()
    };
    match writer.registry.delete(&writer.call(found, &object), &options).await {
        // Somebody edited it: the next look decides.
        Err(error) if error.reason() == "Conflict" => Ok(()),
        other => gone_is_fine(other.map(drop)),
    }
}

fn gone_is_fine(outcome: ApiResult<()>) -> ApiResult<()> {
    match outcome {
        Err(error) if error.reason() == "NotFound" => Ok(()),
        other => other,
    }
}

/// Writes the condition `Dangling` of every schema whose condition is not true to the facts.
async fn state_dangling(server: &Inner) -> ApiResult<()> {
    let writer = Writer::of(server);
    let found = writer.found(GROUP, SCHEMAS)?;
    let levels = all(writer.registry, LEVELS);
    for schema in all(writer.registry, SCHEMAS) {
        let level = schema.str_at("spec/priorityLevelConfiguration/name").to_owned();
        let exists = levels.iter().any(|there| there.name() == level);
        if is_stated(&schema, &dangling(&level, exists)) {
            continue;
        }
        let call = Call { subresource: "status", ..writer.call(found, &schema) };
        let put = |mut current: Value| {
            set_condition(&mut current, dangling(&level, exists));
            Ok(current)
        };
        gone_is_fine(writer.registry.update(&call, Change::Patch(&put)).await.map(drop))?;
    }
    Ok(())
}

fn dangling(level: &str, exists: bool) -> Value {
    let (status, reason, end) =
        if exists { ("False", "Found", "it exists") } else { ("True", "NotFound", "there is no such object") };
    let joint = if exists { "and" } else { "but" };
    json!({
        "type": "Dangling", "status": status, "reason": reason,
        "message": format!(
            "This FlowSchema references the PriorityLevelConfiguration object named {level:?} {joint} {end}"
        ),
    })
}

fn is_stated(schema: &Value, wanted: &Value) -> bool {
    let stated = schema.array_at("status/conditions").iter().find(|c| c.str_at("type") == "Dangling");
    stated.is_some_and(|c| ["status", "reason", "message"].iter().all(|field| c.str_at(field) == wanted.str_at(field)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(annotation: Option<&str>, generation: i64) -> Value {
        let mut object = defaults::levels().swap_remove(2);
        object["metadata"]["generation"] = generation.into();
        object["spec"]["limited"]["nominalConcurrencyShares"] = 7.into();
        match annotation {
            Some(text) => object["metadata"]["annotations"][AUTO_UPDATE] = text.into(),
            None => object["metadata"]["annotations"] = json!({}),
        }
        object
    }

    #[test]
    fn suggested_specs_follow_the_annotation_or_the_generation() {
        let wanted = defaults::levels().swap_remove(2);
        for (annotation, generation, shares, after) in [
            (Some("true"), 5, 30, "true"),
            (Some("false"), 1, 7, "false"),
            (None, 1, 30, "true"),
            (None, 2, 7, "false"),
            (Some("perhaps"), 2, 7, "false"),
        ] {
            let got = mended(stored(annotation, generation), &wanted);
            let case = format!("{annotation:?} {generation}");
            assert_eq!(got["spec"]["limited"]["nominalConcurrencyShares"], shares, "{case}");
            assert_eq!(got["metadata"]["annotations"][AUTO_UPDATE], after, "{case}");
        }
    }

    #[test]
    fn mandatory_specs_are_always_kept_save_for_what_exempt_lends() {
        let mut levels = defaults::levels();
        let (catch_all, exempt) = (levels.remove(1), levels.remove(0));
        let mut edited = catch_all.clone();
        edited["metadata"]["annotations"][AUTO_UPDATE] = "false".into();
        edited["spec"]["limited"]["nominalConcurrencyShares"] = 500.into();
        assert_eq!(mended(edited, &catch_all), catch_all);
        let mut lending = exempt.clone();
        lending["spec"]["exempt"] = json!({ "nominalConcurrencyShares": 30, "lendablePercent": 50 });
        assert_eq!(mended(lending.clone(), &exempt), lending);
    }

    #[test]
    fn a_condition_keeps_its_time_while_its_status_stays() {
        let mut schema = json!({});
        set_condition(&mut schema, dangling("a", false));
        schema["status"]["conditions"][0]["lastTransitionTime"] = "2020-01-01T00:00:00Z".into();
        set_condition(&mut schema, dangling("b", false));
        assert_eq!(schema["status"]["conditions"][0]["lastTransitionTime"], "2020-01-01T00:00:00Z");
        assert!(!is_stated(&schema, &dangling("a", false)) && is_stated(&schema, &dangling("b", false)));
        set_condition(&mut schema, dangling("b", true));
        assert_ne!(schema["status"]["conditions"][0]["lastTransitionTime"], "2020-01-01T00:00:00Z");
        assert_eq!(schema["status"]["conditions"].as_array().map(Vec::len), Some(1));
    }
}

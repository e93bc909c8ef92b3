//! The options of requests: out of the query, and for deletions out of the body.

use apimachinery::meta::ObjectExt as _;
use apimachinery::{ApiError, ApiResult, GroupVersionKind, field};
use registry::{DeleteOptions, Found, ListQuery, Propagation, ResourceVersionMatch, Selection, WatchQuery};
use serde_json::Value;

use crate::context::Context;
use crate::http::body::RequestBody;

use super::decode;

/// What to do with unknown and duplicate fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldValidation {
    Ignore,
    Warn,
    Strict,
}

fn invalid(kind: &str, error: field::Error) -> ApiError {
    ApiError::invalid(&GroupVersionKind::new("meta.k8s.io", "v1", kind), "", &vec![error])
}

pub fn field_validation(context: &Context<'_>) -> ApiResult<FieldValidation> {
    match context.query.get("fieldValidation") {
        "" | "Warn" => Ok(FieldValidation::Warn),
        "Strict" => Ok(FieldValidation::Strict),
        "Ignore" => Ok(FieldValidation::Ignore),
        other => {
            let kind = match context.info.verb {
                "create" => "CreateOptions",
                "update" => "UpdateOptions",
                _ => "PatchOptions",
            };
            let path = field::Path::new("fieldValidation");
            Err(invalid(kind, field::Error::not_supported(&path, other, &["", "Ignore", "Strict", "Warn"])))
        }
    }
}

fn selection(context: &Context<'_>, found: Found) -> ApiResult<Selection> {
    let (labels, fields) = (context.query.get("labelSelector"), context.query.get("fieldSelector"));
    if labels.is_empty() && fields.is_empty() {
        return Ok(Selection::default());
    }
    Selection::parse(found.resource, labels, fields)
}

pub fn list(context: &Context<'_>, found: Found) -> ApiResult<ListQuery> {
    let query = &context.query;
    if query.find("sendInitialEvents").is_some() {
        let path = field::Path::new("sendInitialEvents");
        let error = field::Error::forbidden(&path, "sendInitialEvents is forbidden for list");
        return Err(invalid("ListOptions", error));
    }
    let limit = query.number("limit")?.unwrap_or(0);
    Ok(ListQuery {
        selection: selection(context, found)?,
        limit: usize::try_from(limit).unwrap_or(0),
        continue_token: query.get("continue").to_owned(),
        resource_version: query.get("resourceVersion").to_owned(),
        version_match: ResourceVersionMatch::parse(query.get("resourceVersionMatch"))?,
    })
}

pub fn watch(context: &Context<'_>, found: Found) -> ApiResult<WatchQuery> {
    let query = &context.query;
    let mut selection = selection(context, found)?;
    if !context.info.name.is_empty() {
        // The old form `/watch/…/name`.
        selection = Selection::parse(found.resource, "", &format!("metadata.name={}", context.info.name))?;
    }
    let send_initial_events = query.find("sendInitialEvents").map(|_| query.is_true("sendInitialEvents"));
    Ok(WatchQuery {
        selection,
        resource_version: query.get("resourceVersion").to_owned(),
        version_match: ResourceVersionMatch::parse(query.get("resourceVersionMatch"))?,
        allow_bookmarks: query.is_true("allowWatchBookmarks"),
        send_initial_events,
    })
}

/// The options of a deletion, from the body or, without one, from the query; with whether it is a dry run.
pub async fn delete(context: &Context<'_>, body: RequestBody) -> ApiResult<(DeleteOptions, bool)> {
    let bytes = body.read().await?;
    if !bytes.is_empty() {
        let kind = GroupVersionKind::new("", "v1", "DeleteOptions");
        let mut tree = decode::tree(context, &kind, &bytes)?.object;
        // Also drops what protobuf writes for fields that are not set.
        apis::schema::canonicalise(&kind, &mut tree);
        return Ok((delete_of_tree(&tree)?, dry_run_of(&tree)? || context.query.dry_run()?));
    }
    let query = &context.query;
    let mut options = DeleteOptions {
        grace_period_seconds: query.number("gracePeriodSeconds")?,
        propagation: propagation(query.get("propagationPolicy"))?,
        ..DeleteOptions::default()
    };
    if let Some(orphan) = query.find("orphanDependents").filter(|v| !v.is_empty()) {
        options.propagation = Some(orphaning(orphan == "true" || orphan == "1"));
    }
    Ok((options, query.dry_run()?))
}

fn dry_run_of(tree: &Value) -> ApiResult<bool> {
    let values: Vec<&str> = tree.array_at("dryRun").iter().filter_map(Value::as_str).collect();
    match values.iter().find(|value| **value != "All") {
        Some(other) => {
            let path = field::Path::new("dryRun");
            Err(invalid("DeleteOptions", field::Error::not_supported(&path, *other, &["All"])))
        }
        None => Ok(!values.is_empty()),
    }
}

fn orphaning(orphan: bool) -> Propagation {
    if orphan { Propagation::Orphan } else { Propagation::Background }
}

fn propagation(text: &str) -> ApiResult<Option<Propagation>> {
    Ok(Some(match text {
        "" => return Ok(None),
        "Orphan" => Propagation::Orphan,
        "Background" => Propagation::Background,
        "Foreground" => Propagation::Foreground,
        other => {
            let path = field::Path::new("propagationPolicy");
            let known = ["Background", "Foreground", "Orphan", "nil"];
            return Err(invalid("DeleteOptions", field::Error::not_supported(&path, other, &known)));
        }
    }))
}

/// Reads a DeleteOptions object.
pub fn delete_of_tree(tree: &Value) -> ApiResult<DeleteOptions> {
    let mut options = DeleteOptions {
        grace_period_seconds: tree.i64_at("gracePeriodSeconds"),
        propagation: propagation(tree.str_at("propagationPolicy"))?,
        uid: tree.at("preconditions/uid").and_then(Value::as_str).map(str::to_owned),
        resource_version: tree.at("preconditions/resourceVersion").and_then(Value::as_str).map(str::to_owned),
    };
    if let Some(orphan) = tree.get("orphanDependents").and_then(Value::as_bool) {
        if options.propagation.is_some() {
            let path = field::Path::new("propagationPolicy");
            let why = "orphanDependents and deletionPropagation cannot be both set";
            return Err(invalid("DeleteOptions", field::Error::invalid(&path, tree.str_at("propagationPolicy"), why)));
        }
        options.propagation = Some(orphaning(orphan));
    }
    Ok(options)
}

//! The options of requests: out of the query, and for deletions out of the body.

use apimachinery::fields::FieldSelector;
use apimachinery::managed::MANAGER_LENGTH_MAX;
use apimachinery::meta::{ObjectExt as _, object_mut};
use apimachinery::{ApiError, ApiResult, GroupVersionKind, field};
use registry::{DeleteOptions, Found, ListQuery, Propagation, Selection, WatchQuery};
use serde_json::{Map, Value};

use crate::context::{Context, META};
use crate::http::body::RequestBody;

use super::decode;

/// What to do with unknown and duplicate fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldValidation {
    Ignore,
    Warn,
    Strict,
}

/// The refusal of options of this kind.
pub fn invalid(kind: &str, error: field::Error) -> ApiError {
    ApiError::invalid(&GroupVersionKind::new(META, "v1", kind), "", &vec![error])
}

const VALIDATIONS: [(&str, FieldValidation); 4] = [
    ("", FieldValidation::Warn),
    ("Ignore", FieldValidation::Ignore),
    ("Strict", FieldValidation::Strict),
    ("Warn", FieldValidation::Warn),
];

/// What to do with fields that the kind does not have. What is none of the modes was refused by [`check_write`].
pub fn field_validation(context: &Context<'_>) -> FieldValidation {
    let asked = context.query.get("fieldValidation");
    VALIDATIONS.iter().find(|(name, _)| *name == asked).map_or(FieldValidation::Warn, |(_, mode)| *mode)
}

/// Refuses wrong options of a create, update or patch, all that are wrong at once. Other verbs have none of them.
pub fn check_write(context: &Context<'_>) -> ApiResult<()> {
    if !matches!(context.info.verb, "create" | "update" | "patch") {
        return Ok(());
    }
    let query = &context.query;
    let mut errors = manager_errors(query.get("fieldManager"));
    let dry_runs = dry_runs(context);
    if dry_runs.iter().any(|value| *value != "All") {
        errors.push(field::Error::not_supported(&field::Path::new("dryRun"), dry_runs, &["All"]));
    }
    let validation = query.get("fieldValidation");
    if !VALIDATIONS.iter().any(|(name, _)| *name == validation) {
        let path = field::Path::new("fieldValidation");
        errors.push(field::Error::not_supported(&path, validation, &VALIDATIONS.map(|(name, _)| name)));
    }
    if errors.is_empty() {
        return Ok(());
    }
    Err(ApiError::invalid(&GroupVersionKind::new(META, "v1", context.options_kind()), "", &errors))
}

fn manager_errors(name: &str) -> field::ErrorList {
    let path = field::Path::new("fieldManager");
    let mut errors = field::ErrorList::new();
    if name.len() > MANAGER_LENGTH_MAX {
        errors.push(field::Error::too_long(&path, MANAGER_LENGTH_MAX));
    }
    let printable = |c: char| !c.is_control() && (c == ' ' || !c.is_whitespace());
    for (at, c) in name.char_indices().filter(|(_, c)| !printable(*c)) {
        let why = format!("invalid character U+{:04X} (at position {at})", u32::from(c));
        errors.push(field::Error::invalid(&path, name, why));
    }
    errors
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
    let limit = query.number("limit")?.unwrap_or(0);
    Ok(ListQuery {
        selection: selection(context, found)?,
        limit: usize::try_from(limit).unwrap_or(0),
        continue_token: query.get("continue").to_owned(),
        resource_version: query.get("resourceVersion").to_owned(),
        version_match: query.get("resourceVersionMatch").into(),
        initial_events: query.find("sendInitialEvents").is_some(),
    })
}

pub fn watch(context: &Context<'_>, found: Found) -> ApiResult<WatchQuery> {
    let query = &context.query;
    let send_initial_events = query.find("sendInitialEvents").map(|_| query.is_true("sendInitialEvents"));
    Ok(WatchQuery {
        selection: watched(context, found)?,
        resource_version: query.get("resourceVersion").to_owned(),
        version_match: query.get("resourceVersionMatch").into(),
        allow_bookmarks: query.is_true("allowWatchBookmarks"),
        send_initial_events,
        continues: !query.get("continue").is_empty(),
    })
}

/// What is watched: in the old form `/watch/…/name` the path says it, too.
fn watched(context: &Context<'_>, found: Found) -> ApiResult<Selection> {
    let selection = selection(context, found)?;
    let name = &*context.info.name;
    if name.is_empty() {
        return Ok(selection);
    }
    if context.query.get("fieldSelector").is_empty() {
        let named = FieldSelector::equals("metadata.name", name).to_string();
        return Selection::parse(found.resource, context.query.get("labelSelector"), &named);
    }
    if selection.single_name() != Some(name) {
        return Err(ApiError::bad_request("fieldSelector metadata.name doesn't match requested name"));
    }
    Ok(selection)
}

/// The options of a deletion, from the body or, without one, from the query; with whether it is a dry run.
pub async fn delete(context: &Context<'_>, body: RequestBody) -> ApiResult<(DeleteOptions, bool)> {
    let bytes = body.read().await?;
    let tree = if bytes.is_empty() {
        delete_of_query(context)?
    } else {
        let kind = GroupVersionKind::new("", "v1", "DeleteOptions");
        let mut tree = decode::bare_tree(context, &kind, &bytes)?.object;
        // Also drops what protobuf writes for fields that are not set.
        apis::schema::conform(&kind, &mut tree).map_err(ApiError::bad_request)?;
        // Upstream reads the query only without a body. Nobody who writes dryRun wants the object gone.
        let asked = dry_runs(context);
        if !asked.is_empty() && tree.array_at("dryRun").is_empty() {
            object_mut(&mut tree).insert("dryRun".to_owned(), asked.into());
        }
        tree
    };
    let options = delete_of_tree(&tree)?;
    Ok((options, !tree.array_at("dryRun").is_empty()))
}

fn dry_runs<'c>(context: &'c Context<'_>) -> Vec<&'c str> {
    context.query.all("dryRun").collect()
}

/// The query's parameters as DeleteOptions.
fn delete_of_query(context: &Context<'_>) -> ApiResult<Value> {
    let query = &context.query;
    let mut tree = Map::new();
    if let Some(seconds) = query.number("gracePeriodSeconds")? {
        tree.insert("gracePeriodSeconds".to_owned(), seconds.into());
    }
    if let Some(policy) = query.find("propagationPolicy").filter(|policy| !policy.is_empty()) {
        tree.insert("propagationPolicy".to_owned(), policy.into());
    }
    for flag in ["orphanDependents", IGNORE_READ_ERROR] {
        if query.find(flag).is_some_and(|value| !value.is_empty()) {
            tree.insert(flag.to_owned(), query.is_true(flag).into());
        }
    }
    let dry_runs = dry_runs(context);
    if !dry_runs.is_empty() {
        tree.insert("dryRun".to_owned(), dry_runs.into());
    }
    Ok(tree.into())
}

const IGNORE_READ_ERROR: &str = "ignoreStoreReadErrorWithClusterBreakingPotential";
const POLICIES: [(&str, Propagation); 3] =
    [("Foreground", Propagation::Foreground), ("Background", Propagation::Background), ("Orphan", Propagation::Orphan)];

/// Reads a DeleteOptions object, and refuses what does not go together.
pub fn delete_of_tree(tree: &Value) -> ApiResult<DeleteOptions> {
    let policy = tree.at("propagationPolicy").and_then(Value::as_str);
    let known = policy.and_then(|policy| POLICIES.iter().find(|(name, _)| *name == policy));
    let orphan = tree.get("orphanDependents").and_then(Value::as_bool);
    let mut errors = field::ErrorList::new();
    if let Some(policy) = policy {
        let path = field::Path::new("propagationPolicy");
        if orphan.is_some() {
            let why = "orphanDependents and deletionPropagation cannot be both set";
            errors.push(field::Error::invalid(&path, policy, why));
        }
        if known.is_none() {
            let supported = ["Foreground", "Background", "Orphan", "nil"];
            errors.push(field::Error::not_supported(&path, policy, &supported));
        }
    }
    let dry_runs = tree.array_at("dryRun");
    if dry_runs.iter().any(|value| value.as_str() != Some("All")) {
        errors.push(field::Error::not_supported(&field::Path::new("dryRun"), dry_runs.to_vec(), &["All"]));
    }
    errors.extend(unsafe_deletion_errors(tree));
    if !errors.is_empty() {
        return Err(ApiError::invalid(&GroupVersionKind::new(META, "v1", "DeleteOptions"), "", &errors));
    }
    let orphaning = |orphan| if orphan { Propagation::Orphan } else { Propagation::Background };
    let text = |path: &str| tree.at(path).and_then(Value::as_str).map(str::to_owned);
    Ok(DeleteOptions {
        grace_period_seconds: tree.i64_at("gracePeriodSeconds"),
        propagation: known.map(|(_, propagation)| *propagation).or_else(|| orphan.map(orphaning)),
        orphan_dependents: orphan,
        uid: text("preconditions/uid"),
        resource_version: text("preconditions/resourceVersion"),
    })
}

/// Who deletes what cannot be read has nothing to say about how. As with upstream's feature gate off, the option does
/// nothing else: every object here can be read.
fn unsafe_deletion_errors(tree: &Value) -> field::ErrorList {
    if tree.get(IGNORE_READ_ERROR).and_then(Value::as_bool) != Some(true) {
        return field::ErrorList::new();
    }
    let path = field::Path::new(IGNORE_READ_ERROR);
    ["dryRun", "propagationPolicy", "orphanDependents", "gracePeriodSeconds", "preconditions"]
        .into_iter()
        .filter(|other| tree.get(*other).is_some_and(|value| !value.is_null()))
        .map(|other| field::Error::invalid(&path, true, format!("cannot be set together with .{other}")))
        .collect()
}

//! Server-side apply of one configuration.

use serde_json::{Map, Value, json};

use super::entry::{Entry, Managers, Operation};
use super::track::{Writer, add_update};
use super::updater::{Updater, Versioned};
use super::{last_applied, shape::Shape};
use crate::gvk::GroupVersionKind;
use crate::meta::ObjectExt as _;
use crate::status::{ApiError, ApiResult};

/// Owner of what an object had before anybody was tracked.
const BEFORE_FIRST_APPLY: &str = "before-first-apply";

/// A configuration that is to be applied.
#[derive(Clone, Copy, Debug)]
pub struct Applied<'a> {
    /// As the client wrote it; fields that it does not name are not its business.
    pub config: &'a Value,
    pub kind: &'a GroupVersionKind,
    pub writer: Writer<'a>,
    /// Takes fields from others who own them.
    pub force: bool,
}

/// Merges a configuration into `live` (`None`: there is no object yet) and answers the object with its new
/// `metadata.managedFields`. Fields that the applier owned and does not name any more are gone, unless somebody else owns
/// them. The values are as the configuration wrote them: the caller brings them into canonical form.
///
/// Errs with 409 and upstream's text where fields of others would change and `force` is not set.
pub fn apply(updater: Updater<'_>, live: Option<&Value>, applied: Applied<'_>) -> ApiResult<Value> {
    let Applied { config, kind, writer, .. } = applied;
    check_identity(config, kind)?;
    let new = json!({ "apiVersion": writer.api_version, "kind": kind.kind, "metadata": {} });
    let live = live.unwrap_or(&new);
    let failed = |what: &str, why: &dyn std::fmt::Display| ApiError::new(500, "", format!("{what}: {why}"));
    let list = live.get("metadata").and_then(|metadata| metadata.get("managedFields"));
    let mut managers = updater.managers(list).map_err(|why| failed("failed to decode managed fields", &why))?;
    let shape = updater.shape(writer.api_version).unwrap_or(Shape::Deduced);
    if managers.is_empty() {
        own_all(updater, live, writer, &mut managers);
    }
    updater.types().check(shape, config).map_err(|why| {
        let (namespace, name) = (config.namespace(), config.name());
        failed(&format!("failed to create typed patch object ({namespace}/{name}; {})", shown(kind)), &why)
    })?;
    let (mut object, managers) = merge(updater, shape, live, applied, managers)?;
    last_applied::keep_up(&mut object, config, writer.manager);
    let metadata = object.metadata_mut();
    match managers.encode() {
        Some(list) => metadata.insert("managedFields".to_owned(), list),
        None => metadata.remove("managedFields"),
    };
    Ok(object)
}

fn check_identity(config: &Value, kind: &GroupVersionKind) -> ApiResult<()> {
    let version = config.api_version();
    let (group, version) = version.split_once('/').unwrap_or(("", version));
    let given = GroupVersionKind::new(group, version, config.kind());
    if given != *kind {
        return Err(ApiError::bad_request(format!("invalid object type: {}", shown(&given))));
    }
    if config.get("metadata").and_then(|metadata| metadata.get("managedFields")).is_some_and(|list| !list.is_null()) {
        return Err(ApiError::bad_request("metadata.managedFields must be nil"));
    }
    Ok(())
}

/// `apps/v1, Kind=Deployment`.
fn shown(kind: &GroupVersionKind) -> String {
    format!("{}/{}, Kind={}", kind.group, kind.version, kind.kind)
}

/// Gives all that the object has to nobody in particular, so that an apply does not take it silently.
fn own_all(updater: Updater<'_>, live: &Value, writer: Writer<'_>, managers: &mut Managers) {
    let nothing = Value::Object(Map::new());
    let Some(comparison) = updater.compare(&nothing, live, writer.api_version) else { return };
    let writer = Writer { manager: BEFORE_FIRST_APPLY, ..writer };
    add_update(managers, writer, comparison.added.union(comparison.modified));
}

fn merge(
    updater: Updater<'_>,
    shape: Shape,
    live: &Value,
    applied: Applied<'_>,
    mut managers: Managers,
) -> ApiResult<(Value, Managers)> {
    let Applied { config, writer, force, .. } = applied;
    let types = updater.types();
    let set = updater.settable(types.collect(shape, config));
    let own = writer.entry(Operation::Apply, set);
    let last = managers.find(&own).cloned();
    managers.put(own.clone());
    let merged = types.merge(shape, live, config);
    let object = match &last {
        Some(last) => updater.prune(merged, writer.api_version, &managers, last),
        None => merged,
    };
    let from = Versioned { object: live, api_version: writer.api_version };
    let comparison = updater.compare(live, &object, writer.api_version).unwrap_or_default();
    let taken = updater.take(from, &object, &comparison, &mut managers, Some(&own), force);
    if let Err(conflicts) = taken {
        let rest = last_applied::remaining(updater, conflicts, live, writer.manager, writer.api_version);
        if !rest.is_empty() {
            return Err(rest.into_error());
        }
        // All that is in the way is kubectl's own from before.
        let _ = updater.take(from, &object, &comparison, &mut managers, Some(&own), true);
    }
    let fields = updater.owned(own.fields.clone());
    managers.0.retain(|entry| !entry.is_same_manager(&own));
    if !fields.is_empty() {
        let same = last.filter(|last| object == *live && last.fields == fields && last.api_version == own.api_version);
        let time = same.map_or(own.time.clone(), |last| last.time);
        managers.put(Entry { fields, time, ..own });
    }
    Ok((object, managers))
}

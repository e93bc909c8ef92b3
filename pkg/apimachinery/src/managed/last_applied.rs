//! Moving from client-side apply: the annotation that `kubectl apply` keeps its last configuration in.

use serde_json::Value;

use super::conflict::Conflicts;
use super::set::FieldSet;
use super::updater::Updater;
use crate::meta::{ANNOTATIONS_SIZE_MAX, ObjectExt as _, object_mut};

const ANNOTATION: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Only kubectl's own manager takes over from the annotation and keeps it up to date.
const KUBECTL: &str = "kubectl";

/// Of `conflicts`, those that remain when kubectl may change what its last client-side apply set. Empty if all are allowed.
pub(super) fn remaining(
    updater: Updater<'_>,
    conflicts: Conflicts,
    live: &Value,
    manager: &str,
    api_version: &str,
) -> Conflicts {
    if manager != KUBECTL {
        return conflicts;
    }
    match set_last(updater, live, api_version) {
        Some(allowed) => conflicts.except(&allowed),
        None => conflicts,
    }
}

/// Fields of the last configuration that the live object still has as they were.
fn set_last(updater: Updater<'_>, live: &Value, api_version: &str) -> Option<FieldSet> {
    let text = live.annotations()?.get(ANNOTATION)?.as_str().filter(|text| !text.is_empty())?;
    let last: Value = serde_json::from_str(text).ok()?;
    if last.api_version() != api_version {
        return None;
    }
    let (types, shape) = (updater.types(), updater.shape(api_version)?);
    types.check(shape, &last).ok()?;
    let comparison = types.compare(shape, &last, live);
    let set = types.collect(shape, &last);
    Some(set.difference(&comparison.modified).difference(&comparison.added).difference(&comparison.removed))
}

/// Writes `config` into the annotation of `object`, if kubectl applied it and the object has one.
pub(super) fn keep_up(object: &mut Value, config: &Value, manager: &str) {
    let has_one = object.annotations().and_then(|all| all.get(ANNOTATION)).is_some_and(|text| text != "");
    if manager != KUBECTL || !has_one {
        return;
    }
    let text = last_applied(config);
    let annotations = object_mut(object.metadata_mut().entry("annotations").or_insert(Value::Null));
    let others = annotations.iter().filter(|(key, _)| *key != ANNOTATION);
    let size = others.map(|(key, value)| key.len() + value.as_str().map_or(0, str::len)).sum::<usize>();
    if size + ANNOTATION.len() + text.len() > ANNOTATIONS_SIZE_MAX {
        annotations.remove(ANNOTATION);
    } else {
        annotations.insert(ANNOTATION.to_owned(), text.into());
    }
}

/// A configuration as kubectl writes it: without the annotation itself, HTML-safe, with an end of line.
fn last_applied(config: &Value) -> String {
    let mut config = config.clone();
    let annotations = config.get_mut("metadata").and_then(|m| m.get_mut("annotations"));
    if let Some(annotations) = annotations.and_then(Value::as_object_mut) {
        annotations.remove(ANNOTATION);
    }
    let text = config.to_string().replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026");
    text + "\n"
}

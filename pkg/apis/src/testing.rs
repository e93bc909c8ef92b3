//! Helpers of the table tests of kinds.

use apimachinery::Object;
use apimachinery::field::ErrorList;
use serde_json::Value;

use crate::resource::Resource;

/// 2026-11-21T00:00:00Z, the `now` of cell tests.
pub const NOW: i64 = 1_795_219_200;

pub fn row(group: &str, plural: &str) -> &'static Resource {
    crate::find(group, plural).expect("the row is in the table")
}

pub fn texts(errors: &ErrorList) -> Vec<String> {
    errors.iter().map(ToString::to_string).collect()
}

/// The object with defaults; defaulting again changes nothing.
pub fn defaulted(row: &Resource, mut object: Object) -> Object {
    (row.strategy.default)(&mut object);
    let once = object.clone();
    (row.strategy.default)(&mut object);
    assert_eq!(once, object, "defaults of {} are idempotent", row.kind);
    object
}

/// As the registry makes it: defaults, then what a new object gets.
pub fn created(row: &Resource, object: Object) -> Object {
    let mut object = defaulted(row, object);
    (row.strategy.prepare_for_create)(&mut object);
    object
}

/// The errors of a new object, after defaults.
pub fn create_errors(row: &Resource, object: Object) -> Vec<String> {
    texts(&(row.strategy.validate)(&created(row, object)))
}

/// The errors of an update of `old`, as stored, by `change`.
pub fn update_errors(row: &Resource, old: Object, change: impl FnOnce(&mut Object)) -> Vec<String> {
    let old = created(row, old);
    let mut new = old.clone();
    change(&mut new);
    (row.strategy.default)(&mut new);
    (row.strategy.prepare_for_update)(&mut new, &old);
    texts(&(row.strategy.validate_update)(&new, &old))
}

/// The cells of an object as texts.
pub fn cells(row: &Resource, object: &Object) -> Vec<String> {
    let cells = (row.cells)(object, NOW);
    assert_eq!(cells.len(), row.columns.len(), "cells of {}", row.kind);
    let text = |v: &Value| v.as_str().map_or_else(|| v.to_string(), str::to_owned);
    cells.iter().map(text).collect()
}

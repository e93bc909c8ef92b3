//! Cells that many kinds share: ages, joined lists, keys and values.

use apimachinery::{Object, duration::human_duration, meta::ObjectExt};
use serde_json::Value;

use crate::resource::Column;

/// The columns of kinds that have nothing better to show.
pub const NAME_AGE: &[Column] = &[Column::NAME, Column::AGE];

pub fn name_age(object: &Object, now: i64) -> Vec<Value> {
    vec![object.name().into(), age(object, now)]
}

/// Time since creation as `kubectl` shows it; `<unknown>` without a creation time.
pub fn age(object: &Object, now: i64) -> Value {
    since(object.meta_str("creationTimestamp"), now).into()
}

/// The human form of the time from `timestamp` (RFC 3339) to `now`.
pub fn since(timestamp: &str, now: i64) -> String {
    match timestamp.parse::<jiff::Timestamp>() {
        Ok(then) => human_duration(now - then.as_second()),
        Err(_) => "<unknown>".to_owned(),
    }
}

/// The text, or `<none>`.
pub fn or_none(text: &str) -> Value {
    if text.is_empty() { "<none>".into() } else { text.into() }
}

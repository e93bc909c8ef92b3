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

/// A map of labels as `a=b,c=d`, or `<none>`.
pub fn labels_cell(labels: &Value) -> Value {
    let pairs = labels.as_object().into_iter().flatten();
    let pairs: Vec<String> = pairs.map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or(""))).collect();
    or_none(&pairs.join(","))
}

/// The first three of a list and how many more there are; `empty` if there are none.
pub fn first_three<T: std::fmt::Display>(items: impl Iterator<Item = T>, empty: &str) -> Value {
    let (mut shown, mut total) = (Vec::new(), 0);
    for item in items {
        if total < 3 {
            shown.push(item.to_string());
        }
        total += 1;
    }
    let text = shown.join(",");
    match total {
        0 => empty.into(),
        1..=3 => text.into(),
        _ => format!("{text} + {} more...", total - 3).into(),
    }
}

/// Columns of kinds that upstream has no own columns for.
pub const NAME_CREATED: &[Column] =
    &[Column::NAME, Column { type_: "date", ..Column::text("Created At", "When the server took it in, in UTC.") }];

pub fn name_created(object: &Object, _now: i64) -> Vec<Value> {
    vec![object.name().into(), object.meta_str("creationTimestamp").into()]
}

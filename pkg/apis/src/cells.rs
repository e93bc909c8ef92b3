//! Cells that many kinds share: ages, joined lists, keys and values.

use apimachinery::{Object, meta::ObjectExt};
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

/// Seconds in kubectl's short form: two units while that says more, then one.
pub fn human_duration(seconds: i64) -> String {
    const MINUTE: i64 = 60;
    const HOUR: i64 = 60 * MINUTE;
    const DAY: i64 = 24 * HOUR;
    const YEAR: i64 = 365 * DAY;
    let two = |big: i64, big_unit: char, small: i64, small_unit: char| match small {
        0 => format!("{big}{big_unit}"),
        _ => format!("{big}{big_unit}{small}{small_unit}"),
    };
    match seconds {
        // A clock that runs a little ahead is not worth an alarm.
        ..=-2 => "<invalid>".to_owned(),
        -1..0 => "0s".to_owned(),
        s if s < 2 * MINUTE => format!("{s}s"),
        s if s < 10 * MINUTE => two(s / MINUTE, 'm', s % MINUTE, 's'),
        s if s < 3 * HOUR => format!("{}m", s / MINUTE),
        s if s < 8 * HOUR => two(s / HOUR, 'h', s % HOUR / MINUTE, 'm'),
        s if s < 2 * DAY => format!("{}h", s / HOUR),
        s if s < 8 * DAY => two(s / DAY, 'd', s % DAY / HOUR, 'h'),
        s if s < 2 * YEAR => format!("{}d", s / DAY),
        s if s < 8 * YEAR => two(s / YEAR, 'y', s % YEAR / DAY, 'd'),
        s => format!("{}y", s / YEAR),
    }
}

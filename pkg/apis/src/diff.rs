//! What differs between two trees, in words for error texts.

use std::fmt::Write;

use serde_json::Value;

/// More lines than this help nobody.
const LINES_MAX: usize = 20;

/// Adds a line for each field that differs: `spec.hostname: - "a" + "b"`.
pub fn describe(out: &mut String, path: &str, old: &Value, new: &Value) {
    if old == new || out.lines().count() >= LINES_MAX {
        return;
    }
    match (old, new) {
        (Value::Object(before), Value::Object(after)) => {
            let keys: std::collections::BTreeSet<&String> = before.keys().chain(after.keys()).collect();
            for key in keys {
                let side = |map: &serde_json::Map<String, Value>| map.get(key).cloned().unwrap_or(Value::Null);
                describe(out, &format!("{path}.{key}"), &side(before), &side(after));
            }
        }
        (Value::Array(before), Value::Array(after)) if before.len() == after.len() => {
            for (i, (before, after)) in before.iter().zip(after).enumerate() {
                describe(out, &format!("{path}[{i}]"), before, after);
            }
        }
        // Writing to a String does not fail.
        _ => drop(writeln!(out, "{path}: - {old} + {new}")),
    }
}

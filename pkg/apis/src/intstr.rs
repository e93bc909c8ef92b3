//! Fields that are a number or a percentage, such as `maxUnavailable`.

use apimachinery::field::{Error, ErrorList, Path};
use apimachinery::validation::is_valid_percent;
use serde_json::Value;

use crate::tree::Tree;

/// A number that is not negative, or a percentage.
pub fn count_or_percent(errors: &mut ErrorList, owner: &Path, object: &Value, field: &str) {
    match object.field(field) {
        Value::String(text) if !is_valid_percent(text).is_empty() => {
            let why = "must be an integer or percentage (e.g '5%%')";
            errors.push(Error::invalid(&owner.child(field), text.as_str(), why));
        }
        Value::Number(number) if number.as_i64().is_some_and(|n| n < 0) => {
            let value = object.field(field).clone();
            errors.push(Error::invalid(&owner.child(field), value, "must be greater than or equal to 0"));
        }
        _ => {}
    }
}

/// A percentage of at most 100.
pub fn at_most_all(errors: &mut ErrorList, owner: &Path, object: &Value, field: &str) {
    let text = object.text(field);
    let percent = text.strip_suffix('%').and_then(|p| p.parse::<i64>().ok());
    if percent.is_some_and(|p| p > 100) {
        errors.push(Error::invalid(&owner.child(field), text, "must not be greater than 100%"));
    }
}

/// `0`, `0%`, or nothing at all.
pub fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.trim_end_matches('%').parse::<i64>() == Ok(0),
        value => value == 0,
    }
}

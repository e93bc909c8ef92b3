//! Fields that are a number or a percentage, such as `maxUnavailable`.

use apimachinery::field::{Error, ErrorList, Path};
use apimachinery::validation::is_valid_percent;
use serde_json::Value;

use crate::check;
use crate::tree::Tree;

/// A number that is not negative, or a percentage.
pub fn count_or_percent(errors: &mut ErrorList, owner: &Path, object: &Value, field: &str) {
    match object.field(field) {
        Value::String(text) => check::text(errors, owner, field, text, is_valid_percent),
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
    let digits = text.strip_suffix('%').filter(|_| is_valid_percent(text).is_empty());
    // What overflows is far above it, too.
    let percent = digits.map(|digits| digits.parse::<u64>().unwrap_or(u64::MAX));
    if percent.is_some_and(|p| p > 100) {
        errors.push(Error::invalid(&owner.child(field), text, "must not be greater than 100%"));
    }
}

/// `0`, `0%`, nothing at all, or a text that is no number.
pub fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.strip_suffix('%').unwrap_or(text).parse::<i64>().unwrap_or(0) == 0,
        value => value == 0,
    }
}

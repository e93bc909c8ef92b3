//! The `conditions` of a status, of the type `meta/v1` `Condition`.

use apimachinery::field::{Error, ErrorList, Path};
use apimachinery::validation::{is_qualified_name, regex_error};
use serde_json::Value;

use crate::check;
use crate::tree::Tree;

const REASON_MAX: usize = 1024;
const MESSAGE_MAX: usize = 32 * 1024;

/// Checks a list of conditions; `path` is the list itself.
pub fn validate(errors: &mut ErrorList, path: &Path, conditions: &[Value]) {
    for (i, condition) in conditions.iter().enumerate() {
        let at = path.index(i);
        let kind = condition.text("type");
        if conditions[..i].iter().any(|c| c.text("type") == kind) {
            errors.push(Error::duplicate(&at.child("type"), kind));
        }
        one(errors, &at, condition);
    }
}

fn one(errors: &mut ErrorList, at: &Path, condition: &Value) {
    check::text(errors, at, "type", condition.text("type"), is_qualified_name);
    let status = condition.text("status");
    if !matches!(status, "True" | "False" | "Unknown") {
        errors.push(Error::not_supported(&at.child("status"), status, &["False", "True", "Unknown"]));
    }
    if let Some(generation) = condition.int("observedGeneration").filter(|g| *g < 0) {
        let why = "must be greater than or equal to zero";
        errors.push(Error::invalid(&at.child("observedGeneration"), generation, why));
    }
    if condition.text("lastTransitionTime").is_empty() {
        errors.push(Error::required(&at.child("lastTransitionTime"), "must be set"));
    }
    let reason = condition.text("reason");
    if reason.is_empty() {
        errors.push(Error::required(&at.child("reason"), "must be set"));
    } else {
        check::text(errors, at, "reason", reason, reason_faults);
        if reason.len() > REASON_MAX {
            errors.push(Error::too_long(&at.child("reason"), REASON_MAX));
        }
    }
    if condition.text("message").len() > MESSAGE_MAX {
        errors.push(Error::too_long(&at.child("message"), MESSAGE_MAX));
    }
}

fn reason_faults(reason: &str) -> Vec<String> {
    let ends = |c: u8| c.is_ascii_alphanumeric() || c == b'_';
    let bytes = reason.as_bytes();
    let fits = bytes.first().is_some_and(u8::is_ascii_alphabetic)
        && bytes.iter().all(|c| ends(*c) || matches!(c, b',' | b':'))
        && bytes.last().is_some_and(|c| ends(*c));
    if fits {
        return Vec::new();
    }
    let text = "a condition reason must start with alphabetic character, optionally followed by a string of alphanumeric \
                characters or '_,:', and must end with an alphanumeric character or '_'";
    let examples = ["my_name", "MY_NAME", "MyName", "ReasonA,ReasonB", "ReasonA:ReasonB"];
    vec![regex_error(text, "[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?", &examples)]
}

/// The condition of a kind is `True`.
pub fn is_true(conditions: &[Value], kind: &str) -> bool {
    conditions.iter().any(|c| c.text("type") == kind && c.text("status") == "True")
}

//! What a job makes of failed pods, and when it has succeeded.

use std::collections::BTreeSet;

use apimachinery::field::{Error, ErrorList, Path};
use apimachinery::validation::is_qualified_name;
use serde_json::Value;

use super::indexes;
use crate::check;
use crate::tree::Tree;

/// Rules of a policy, and patterns of conditions in a rule.
const RULES_MAX: usize = 20;
/// Exit codes of one rule.
const CODES_MAX: usize = 255;
/// Bytes of a list of indexes.
const INDEXES_MAX: usize = 64 * 1024;

pub fn validate(errors: &mut ErrorList, at: &Path, spec: &Value) {
    if spec.has("podFailurePolicy") {
        failure_policy(errors, &at.child("podFailurePolicy").child("rules"), spec);
    }
    if spec.has("successPolicy") {
        success_policy(errors, &at.child("successPolicy"), spec);
    }
    // Who judges failures by pod has to wait for their end.
    let replacement: &[&str] =
        if spec.has("podFailurePolicy") { &["Failed"] } else { &["Failed", "TerminatingOrFailed"] };
    check::optional_choice(errors, at, spec, "podReplacementPolicy", replacement);
}

/// An error about an owner as a whole, which is too large to be shown.
fn unshown(at: &Path, why: &str) -> Error {
    Error { value: None, ..Error::invalid(at, Value::Null, why) }
}

/// A choice whose values are named where none is made, too.
fn listed_choice(errors: &mut ErrorList, at: &Path, object: &Value, field: &str, supported: &[&str]) {
    if object.text(field).is_empty() {
        let values: Vec<String> = supported.iter().map(|value| format!("{value:?}")).collect();
        errors.push(Error::required(&at.child(field), format!("valid values: [{}]", values.join(" "))));
    } else {
        check::one_of(errors, at, object, field, supported);
    }
}

fn too_many(errors: &mut ErrorList, at: &Path, list: &[Value], max: usize) {
    if list.len() > max {
        errors.push(Error::too_many(at, list.len(), max));
    }
}

fn failure_policy(errors: &mut ErrorList, at: &Path, spec: &Value) {
    let rules = spec.field("podFailurePolicy").list("rules");
    too_many(errors, at, rules, RULES_MAX);
    for (i, rule) in rules.iter().enumerate() {
        failure_rule(errors, &at.index(i), rule, spec);
    }
}

fn failure_rule(errors: &mut ErrorList, at: &Path, rule: &Value, spec: &Value) {
    if rule.text("action") != "FailIndex" {
        listed_choice(errors, at, rule, "action", &["Count", "FailIndex", "FailJob", "Ignore"]);
    } else if !spec.has("backoffLimitPerIndex") {
        let why = "requires the backoffLimitPerIndex to be set";
        errors.push(Error::invalid(&at.child("action"), "FailIndex", why));
    }
    let (codes, conditions) = (rule.field("onExitCodes"), rule.list("onPodConditions"));
    if !codes.is_null() {
        exit_codes(errors, &at.child("onExitCodes"), codes, spec.field("template").field("spec"));
    }
    let conditions_at = at.child("onPodConditions");
    too_many(errors, &conditions_at, conditions, RULES_MAX);
    for (i, condition) in conditions.iter().enumerate() {
        let at = conditions_at.index(i);
        check::text(errors, &at, "type", condition.text("type"), is_qualified_name);
        listed_choice(errors, &at, condition, "status", &["False", "True", "Unknown"]);
    }
    match (codes.is_null(), conditions.is_empty()) {
        (false, false) => {
            errors.push(unshown(at, "specifying both OnExitCodes and OnPodConditions is not supported"));
        }
        (true, true) => errors.push(unshown(at, "specifying one of OnExitCodes and OnPodConditions is required")),
        _ => {}
    }
}

fn exit_codes(errors: &mut ErrorList, at: &Path, codes: &Value, pod: &Value) {
    listed_choice(errors, at, codes, "operator", &["In", "NotIn"]);
    if let Some(name) = codes.field("containerName").as_str()
        && !["containers", "initContainers"].iter().any(|list| pod.list(list).iter().any(|c| c.text("name") == name))
    {
        let why = "must be one of the container or initContainer names in the pod template";
        errors.push(Error::invalid(&at.child("containerName"), name, why));
    }
    let (at, values) = (at.child("values"), codes.list("values"));
    if values.is_empty() {
        errors.push(Error::invalid(&at, codes.field("values").clone(), "at least one value is required"));
    }
    too_many(errors, &at, values, CODES_MAX);
    let mut seen = BTreeSet::new();
    for (i, code) in values.iter().enumerate() {
        if codes.text("operator") == "In" && code == 0 {
            errors.push(Error::invalid(&at.index(i), 0, "must not be 0 for the In operator"));
        }
        if !seen.insert(code.as_i64()) {
            errors.push(Error::duplicate(&at.index(i), code.clone()));
        }
    }
    if !values.is_sorted_by_key(Value::as_i64) {
        errors.push(Error::invalid(&at, codes.field("values").clone(), "must be ordered"));
    }
}

fn success_policy(errors: &mut ErrorList, at: &Path, spec: &Value) {
    let policy = spec.field("successPolicy");
    if spec.text("completionMode") != "Indexed" {
        errors.push(Error::invalid(at, policy.clone(), "requires indexed completion mode"));
        return;
    }
    let (at, rules) = (at.child("rules"), policy.list("rules"));
    if rules.is_empty() {
        let why = "at least one rules must be specified when the successPolicy is specified";
        errors.push(Error::required(&at, why));
    }
    too_many(errors, &at, rules, RULES_MAX);
    for (i, rule) in rules.iter().enumerate() {
        success_rule(errors, &at.index(i), rule, spec.int("completions").unwrap_or(0));
    }
}

fn success_rule(errors: &mut ErrorList, at: &Path, rule: &Value, completions: i64) {
    let listed = rule.field("succeededIndexes").as_str();
    if !rule.has("succeededCount") && listed.is_none() {
        errors.push(Error::required(at, "at least one of succeededCount or succeededIndexes must be specified"));
    }
    let mut total = 0;
    if let Some(text) = listed {
        let at = at.child("succeededIndexes");
        if text.len() > INDEXES_MAX {
            errors.push(Error::too_long(&at, INDEXES_MAX));
        }
        match indexes::count(text, completions) {
            Ok(count) => total = count,
            Err(why) => errors.push(Error::invalid(&at, text, format!("error parsing succeededIndexes: {why}"))),
        }
    }
    check::nonnegative(errors, at, rule, "succeededCount");
    let Some(count) = rule.int("succeededCount") else { return };
    let mut at_most = |max: i64, what: &str| {
        if count > max {
            let why = format!("must be less than or equal to {max} (the number of {what})");
            errors.push(Error::invalid(&at.child("succeededCount"), count, why));
        }
    };
    at_most(completions, "specified completions");
    if listed.is_some() {
        at_most(total, "indexes in the specified succeededIndexes field");
    }
}

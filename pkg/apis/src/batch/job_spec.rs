//! Validation of a job's spec. Policies are in `job_policies`.

use apimachinery::field::{Error, ErrorList, Path};
use apimachinery::labels::LabelSelector;
use serde_json::Value;

use super::job_policies;
use crate::podspec::validate_pod_template;
use crate::tree::Tree;
use crate::{check, names};

/// A whole `JobSpec`.
pub fn validate(errors: &mut ErrorList, at: &Path, spec: &Value) {
    validate_template(errors, at, spec);
    if spec.has("selector") {
        check::label_selector(errors, &at.child("selector"), spec.field("selector"));
    } else {
        errors.push(Error::required(&at.child("selector"), ""));
    }
    let labels = spec.field("template").field("metadata").field("labels");
    if LabelSelector::from_value(spec.get("selector")).is_ok_and(|s| !s.matches_map(labels.as_object())) {
        let why = "`selector` does not match template `labels`";
        errors.push(Error::invalid(&at.child("template").child("metadata").child("labels"), labels.clone(), why));
    }
}

/// A `JobSpec` without its selector, as CronJobs have it.
pub fn validate_template(errors: &mut ErrorList, at: &Path, spec: &Value) {
    let numbers = [
        "parallelism",
        "completions",
        "activeDeadlineSeconds",
        "backoffLimit",
        "ttlSecondsAfterFinished",
        "backoffLimitPerIndex",
        "maxFailedIndexes",
    ];
    for field in numbers {
        check::nonnegative(errors, at, spec, field);
    }
    if spec.has("maxFailedIndexes") && !spec.has("backoffLimitPerIndex") {
        let why = "when maxFailedIndexes is specified";
        errors.push(Error::required(&at.child("backoffLimitPerIndex"), why));
    }
    if let Some(manager) = spec.field("managedBy").as_str() {
        names::domain_prefixed_path(errors, &at.child("managedBy"), manager);
        if manager.len() > MANAGER_MAX {
            errors.push(Error::too_long(&at.child("managedBy"), MANAGER_MAX));
        }
    }
    check::optional_choice(errors, at, spec, "completionMode", &["NonIndexed", "Indexed"]);
    match spec.text("completionMode") {
        "Indexed" => indexed(errors, at, spec),
        "" | "NonIndexed" => {
            for field in ["backoffLimitPerIndex", "maxFailedIndexes"].into_iter().filter(|f| spec.has(f)) {
                let value = spec.field(field).clone();
                errors.push(Error::invalid(&at.child(field), value, "requires indexed completion mode"));
            }
        }
        _ => {}
    }
    job_policies::validate(errors, at, spec);
    validate_pod_template(errors, &at.child("template"), spec.field("template"));
    restart_policy(errors, &at.child("template").child("spec").child("restartPolicy"), spec);
}

/// Longest name of a manager, in bytes.
const MANAGER_MAX: usize = 63;

fn restart_policy(errors: &mut ErrorList, at: &Path, spec: &Value) {
    let policy = spec.field("template").field("spec").text("restartPolicy");
    match policy {
        "OnFailure" | "Never" => {}
        "" | "Always" => errors.push(Error::required(at, "valid values: \"OnFailure\", \"Never\"")),
        other => errors.push(Error::not_supported(at, other, &["OnFailure", "Never"])),
    }
    if spec.has("podFailurePolicy") && policy != "Never" {
        errors.push(Error::invalid(at, policy, "only \"Never\" is supported when podFailurePolicy is specified"));
    }
}

/// Largest parallelism, and most failed indexes, of an indexed job.
const INDEXED_MAX: i64 = 100_000;
/// From this many completions on, jobs with limits of their own for each index are kept smaller.
const MANY: i64 = 100_000;
/// Largest parallelism, and most failed indexes, of those.
const MANY_MAX: i64 = 10_000;

fn indexed(errors: &mut ErrorList, at: &Path, spec: &Value) {
    let completions = spec.int("completions");
    if completions.is_none() {
        errors.push(Error::required(&at.child("completions"), "when completion mode is Indexed"));
    }
    let limit = format!("must be less than or equal to {INDEXED_MAX}");
    at_most(errors, at, spec, "parallelism", INDEXED_MAX, &format!("{limit} when completion mode is Indexed"));
    if let Some(completions) = completions {
        let why = "must be less than or equal to completions";
        at_most(errors, at, spec, "maxFailedIndexes", completions, why);
    }
    at_most(errors, at, spec, "maxFailedIndexes", INDEXED_MAX, &limit);
    if completions.is_none_or(|c| c <= MANY) || !spec.has("backoffLimitPerIndex") {
        return;
    }
    if !spec.has("maxFailedIndexes") {
        let why = format!("must be specified when completions is above {MANY}");
        errors.push(Error::required(&at.child("maxFailedIndexes"), why));
    }
    let why = format!(
        "must be less than or equal to {MANY_MAX} when completions are above {MANY} and used with backoff limit per index"
    );
    at_most(errors, at, spec, "parallelism", MANY_MAX, &why);
    at_most(errors, at, spec, "maxFailedIndexes", MANY_MAX, &why);
}

fn at_most(errors: &mut ErrorList, at: &Path, spec: &Value, field: &str, max: i64, why: &str) {
    if let Some(number) = spec.int(field).filter(|n| *n > max) {
        errors.push(Error::invalid(&at.child(field), number, why));
    }
}

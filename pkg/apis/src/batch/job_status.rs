//! What a job's status may say. Another controller may write it (`managedBy`), and clients rely on its logic: what was
//! changed is checked, what was there before is left alone.

use std::collections::BTreeSet;

use apimachinery::field::{Error, ErrorList, Path};
use apimachinery::{Object, time::parse_seconds};
use serde_json::Value;

use super::indexes;
use crate::tree::Tree;
use crate::workload;

/// The status before and after, and the spec.
struct Change<'a> {
    at: Path,
    spec: &'a Value,
    now: &'a Value,
    before: &'a Value,
}

fn holds(status: &Value, kind: &str) -> bool {
    status.list("conditions").iter().any(|c| c.text("type") == kind && c.text("status") == "True")
}

fn finished(status: &Value) -> bool {
    holds(status, "Complete") || holds(status, "Failed")
}

fn number(status: &Value, field: &str) -> i64 {
    status.int(field).unwrap_or(0)
}

impl Change<'_> {
    /// One of the conditions came or went.
    fn turned(&self, kinds: &[&str]) -> bool {
        kinds.iter().any(|kind| holds(self.now, kind) != holds(self.before, kind))
    }

    fn changed(&self, fields: &[&str]) -> bool {
        fields.iter().any(|field| self.now.field(field) != self.before.field(field))
    }

    fn holds(&self, kind: &str) -> bool {
        holds(self.now, kind)
    }

    fn finish_turned(&self) -> bool {
        finished(self.now) != finished(self.before)
    }

    /// Conditions are not shown.
    fn refuse_conditions(&self, errors: &mut ErrorList, why: &str) {
        let path = self.at.child("conditions");
        errors.push(Error { value: None, ..Error::invalid(&path, Value::Null, why) });
    }

    fn refuse(&self, errors: &mut ErrorList, field: &str, why: impl Into<String>) {
        let value = match self.now.field(field) {
            // What is missing counts as zero.
            Value::Null => Value::from(0),
            value => value.clone(),
        };
        errors.push(Error::invalid(&self.at.child(field), value, why));
    }
}

pub fn validate(new: &Object, old: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    let (spec, now, before) = (new.field("spec"), new.field("status"), old.field("status"));
    let change = Change { at: Path::new("status"), spec, now, before };
    let counters = ["active", "succeeded", "failed", "ready", "terminating"];
    workload::validate_counters(&mut errors, &change.at, now, &counters);
    uncounted(&mut errors, &change);
    conditions(&mut errors, &change);
    the_finished(&mut errors, &change);
    index_lists(&mut errors, &change);
    counts(&mut errors, &change);
    success(&mut errors, &change);
    history(&mut errors, &change);
    errors
}

/// UIDs of pods that have ended and still are to be counted.
fn uncounted(errors: &mut ErrorList, change: &Change<'_>) {
    let mut seen = BTreeSet::new();
    for list in ["succeeded", "failed"] {
        let at = change.at.child("uncountedTerminatedPods").child(list);
        for (i, uid) in change.now.field("uncountedTerminatedPods").texts(list).enumerate() {
            if uid.is_empty() {
                errors.push(Error::invalid(&at.index(i), uid, "must not be empty"));
            } else if !seen.insert(uid) {
                errors.push(Error::duplicate(&at.index(i), uid));
            }
        }
    }
}

fn conditions(errors: &mut ErrorList, change: &Change<'_>) {
    let complete = change.holds("Complete");
    if complete && change.holds("Failed") && change.turned(&["Complete", "Failed"]) {
        change.refuse_conditions(errors, "cannot set Complete=True and Failed=true conditions");
    }
    if complete && change.holds("FailureTarget") && change.turned(&["Complete", "FailureTarget"]) {
        change.refuse_conditions(errors, "cannot set Complete=True and FailureTarget=true conditions");
    }
    completion_time(errors, change);
    if change.holds("Failed") && !change.holds("FailureTarget") && change.turned(&["Failed", "FailureTarget"]) {
        change.refuse_conditions(errors, "cannot set Failed=True condition without the FailureTarget=true condition");
    }
    if complete && !change.holds("SuccessCriteriaMet") && change.turned(&["Complete", "SuccessCriteriaMet"]) {
        let why = "cannot set Complete=True condition without the SuccessCriteriaMet=true condition";
        change.refuse_conditions(errors, why);
    }
}

fn completion_time(errors: &mut ErrorList, change: &Change<'_>) {
    let has_time = change.now.has("completionTime");
    if has_time != change.holds("Complete") && (change.turned(&["Complete"]) || change.changed(&["completionTime"])) {
        if has_time {
            let why = "cannot set completionTime when there is no Complete=True condition";
            change.refuse(errors, "completionTime", why);
        } else {
            let why = "completionTime is required for Complete jobs";
            errors.push(Error::required(&change.at.child("completionTime"), why));
        }
    }
    let seconds = |field: &str| parse_seconds(change.now.text(field));
    let backwards = seconds("startTime").zip(seconds("completionTime")).is_some_and(|(start, end)| end < start);
    if backwards && change.changed(&["startTime", "completionTime"]) {
        change.refuse(errors, "completionTime", "completionTime cannot be set before startTime");
    }
}

fn the_finished(errors: &mut ErrorList, change: &Change<'_>) {
    if !finished(change.now) {
        return;
    }
    let look_at = |field: &str| change.finish_turned() || change.changed(&[field]);
    if number(change.now, "active") > 0 && look_at("active") {
        change.refuse(errors, "active", "active>0 is invalid for finished job");
    }
    if !change.now.has("startTime") && look_at("startTime") {
        errors.push(Error::required(&change.at.child("startTime"), "startTime is required for finished job"));
    }
    let pods = change.now.field("uncountedTerminatedPods");
    if !(pods.list("succeeded").is_empty() && pods.list("failed").is_empty()) && look_at("uncountedTerminatedPods") {
        let why = "uncountedTerminatedPods needs to be empty for finished job";
        change.refuse(errors, "uncountedTerminatedPods", why);
    }
}

fn index_lists(errors: &mut ErrorList, change: &Change<'_>) {
    let (spec, now) = (change.spec, change.now);
    let (completed, failed) = (now.text("completedIndexes"), now.field("failedIndexes").as_str());
    let (new_completed, new_failed) = (change.changed(&["completedIndexes"]), change.changed(&["failedIndexes"]));
    let parse = |field: &str, text: &str, completions| {
        indexes::count(text, completions).err().map(|why| format!("error parsing {field}: {why}"))
    };
    let completions = spec.int("completions");
    if let Some(why) = completions.filter(|_| new_completed).and_then(|c| parse("completedIndexes", completed, c)) {
        change.refuse(errors, "completedIndexes", why);
    }
    let limited = spec.has("backoffLimitPerIndex");
    if let (Some(failed), Some(completions), true) = (failed, completions, limited && new_failed)
        && let Some(why) = parse("failedIndexes", failed, completions)
    {
        change.refuse(errors, "failedIndexes", why);
    }
    if new_completed && !completed.is_empty() && spec.text("completionMode") != "Indexed" {
        let why = "cannot set non-empty completedIndexes when non-indexed completion mode";
        change.refuse(errors, "completedIndexes", why);
    }
    let Some(failed) = failed else { return };
    if new_failed && !limited {
        let why = "cannot set non-null failedIndexes when backoffLimitPerIndex is null";
        change.refuse(errors, "failedIndexes", why);
    }
    if (new_failed || new_completed)
        && let Some(index) = completions.and_then(|c| indexes::overlap(completed, failed, c))
    {
        let why = format!("failedIndexes and completedIndexes overlap at index: {index}");
        change.refuse(errors, "failedIndexes", why);
    }
}

fn counts(errors: &mut ErrorList, change: &Change<'_>) {
    let now = change.now;
    if finished(now) && number(now, "terminating") > 0 && (change.finish_turned() || change.changed(&["terminating"])) {
        change.refuse(errors, "terminating", "terminating>0 is invalid for finished job");
    }
    if number(now, "ready") > number(now, "active") && change.changed(&["ready", "active"]) {
        change.refuse(errors, "ready", "cannot set more ready pods than active");
    }
}

fn success(errors: &mut ErrorList, change: &Change<'_>) {
    let met = change.holds("SuccessCriteriaMet");
    for kind in ["Failed", "FailureTarget"] {
        if met && change.holds(kind) {
            change.refuse_conditions(errors, &format!("cannot set SuccessCriteriaMet=True and {kind}=true conditions"));
        }
    }
    if change.spec.has("successPolicy") && !met && change.holds("Complete") {
        let why = "cannot set Complete=True for Job with SuccessPolicy unless SuccessCriteriaMet=True";
        change.refuse_conditions(errors, why);
    }
}

/// What cannot be undone.
fn history(errors: &mut ErrorList, change: &Change<'_>) {
    let (spec, now, before) = (change.spec, change.now, change.before);
    for kind in ["Failed", "Complete", "FailureTarget"] {
        if holds(before, kind) && !holds(now, kind) {
            change.refuse_conditions(errors, &format!("cannot disable the terminal {kind}=True condition"));
        }
    }
    // A job that runs all its indexes at once can be made smaller.
    let elastic = spec.text("completionMode") == "Indexed" && spec.field("completions") == spec.field("parallelism");
    for (field, may_sink) in [("failed", false), ("succeeded", elastic)] {
        if !may_sink && number(now, field) < number(before, field) {
            change.refuse(errors, field, format!("cannot decrease the {field} counter"));
        }
    }
    if now.has("completionTime") && before.has("completionTime") && change.changed(&["completionTime"]) {
        change.refuse(errors, "completionTime", "completionTime cannot be mutated");
    }
    // A job that was suspended starts anew.
    let paused = spec.flag("suspend") || holds(before, "Suspended");
    if before.has("startTime") && change.changed(&["startTime"]) && !paused {
        let why = "startTime cannot be removed for unsuspended job";
        errors.push(Error::required(&change.at.child("startTime"), why));
    }
    let met = "SuccessCriteriaMet";
    if holds(before, met) && !holds(now, met) {
        change.refuse_conditions(errors, "cannot disable the SuccessCriteriaMet=True condition");
    }
    if holds(before, "Complete") && !holds(before, met) && holds(now, met) {
        let why = "cannot set SuccessCriteriaMet=True for Job already has Complete=true conditions";
        change.refuse_conditions(errors, why);
    }
}

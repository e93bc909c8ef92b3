//! What may change in a job, and what its status may say.

use apimachinery::Object;
use apimachinery::field::{Error, ErrorList, Path};
use serde_json::Value;

use super::job::validate_spec;
use crate::check;
use crate::tree::{Fill, Tree};
use crate::workload;

pub fn validate(new: &Object, old: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    let at = Path::new("spec");
    let (spec, before) = (new.field("spec"), old.field("spec"));
    validate_spec(&mut errors, &at, spec);
    completions(&mut errors, &at, spec, before);
    for field in
        ["selector", "completionMode", "podFailurePolicy", "backoffLimitPerIndex", "managedBy", "successPolicy"]
    {
        check::immutable(&mut errors, &at, spec, before, field);
    }
    template(&mut errors, &at, spec, old);
    errors
}

/// An indexed job can be made larger or smaller as long as it runs all its indexes at once.
fn completions(errors: &mut ErrorList, at: &Path, spec: &Value, before: &Value) {
    let elastic = spec.text("completionMode") == "Indexed"
        && spec.has("completions")
        && before.has("completions")
        && spec.field("completions") == spec.field("parallelism");
    if spec.field("completions") != before.field("completions") && elastic {
        return;
    }
    check::immutable(errors, at, spec, before, "completions");
}

/// While a job is suspended and has not started, where its pods go may still be said.
fn template(errors: &mut ErrorList, at: &Path, spec: &Value, old: &Object) {
    let before = old.field("spec").field("template");
    let mut munged = spec.field("template").clone();
    let suspended = old.field("spec").flag("suspend") && !old.field("status").has("startTime");
    if suspended && let Some(template) = munged.as_object_mut() {
        for (outer, fields) in [
            ("metadata", &["annotations", "labels"][..]),
            ("spec", &["nodeSelector", "affinity", "tolerations", "schedulingGates"][..]),
        ] {
            let target = template.sub_or_new(outer);
            for field in fields {
                match before.field(outer).get(field) {
                    Some(value) => target.insert((*field).to_owned(), value.clone()),
                    None => target.remove(*field),
                };
            }
        }
        resources(template, before);
    }
    if &munged != before {
        errors.push(Error::invalid(&at.child("template"), munged, "field is immutable"));
    }
}

fn resources(template: &mut serde_json::Map<String, Value>, before: &Value) {
    let Some(spec) = template.sub("spec") else { return };
    for list in ["containers", "initContainers"] {
        let mut old = before.field("spec").list(list).iter();
        spec.each(list, |container| {
            if let Some(resources) = old.next().and_then(|c| c.get("resources")) {
                container.insert("resources".to_owned(), resources.clone());
            }
        });
    }
}

pub fn validate_status(new: &Object, old: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    let (at, status, before) = (Path::new("status"), new.field("status"), old.field("status"));
    workload::validate_counters(&mut errors, &at, status, &["active", "succeeded", "failed", "ready", "terminating"]);
    let holds = |status: &Value, kind: &str| {
        status.list("conditions").iter().any(|c| c.text("type") == kind && c.text("status") == "True")
    };
    if holds(status, "Complete") && holds(status, "Failed") {
        let path = at.child("conditions");
        let value = status.field("conditions").clone();
        errors.push(Error::invalid(&path, value, "cannot set Complete=True and Failed=true conditions"));
    }
    for kind in ["Complete", "Failed", "SuccessCriteriaMet", "FailureTarget"] {
        if holds(before, kind) && !holds(status, kind) {
            let value = status.field("conditions").clone();
            let why = format!("cannot disable the terminal {kind}=True condition");
            errors.push(Error::invalid(&at.child("conditions"), value, why));
        }
    }
    let finished = holds(status, "Complete") || holds(status, "Failed");
    if finished && status.int("active").unwrap_or(0) > 0 {
        let value = status.field("active").clone();
        errors.push(Error::invalid(&at.child("active"), value, "active>0 is invalid for finished job"));
    }
    if status.has("completionTime") && !holds(status, "Complete") {
        let value = status.field("completionTime").clone();
        let why = "cannot set completionTime when there is no Complete=True condition";
        errors.push(Error::invalid(&at.child("completionTime"), value, why));
    }
    errors
}

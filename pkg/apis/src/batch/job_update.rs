//! What may change in a job's spec.

use apimachinery::Object;
use apimachinery::field::{Error, ErrorList, Path};
use serde_json::{Map, Value};

use super::job_spec;
use crate::check;
use crate::tree::{Fill, Tree};

pub fn validate(new: &Object, old: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    let at = Path::new("spec");
    let (spec, before) = (new.field("spec"), old.field("spec"));
    job_spec::validate(&mut errors, &at, spec);
    completions(&mut errors, &at, spec, before);
    check::immutable(&mut errors, &at, spec, before, "selector");
    template(&mut errors, &at, spec, old);
    for field in ["completionMode", "podFailurePolicy", "backoffLimitPerIndex", "managedBy", "successPolicy"] {
        check::immutable(&mut errors, &at, spec, before, field);
    }
    errors
}

/// An indexed job can be made larger or smaller as long as it runs all its indexes at once.
fn completions(errors: &mut ErrorList, at: &Path, spec: &Value, before: &Value) {
    if spec.text("completionMode") != "Indexed" {
        check::immutable(errors, at, spec, before, "completions");
        return;
    }
    let now = spec.field("completions");
    // A number that is missing has been reported already.
    if now != before.field("completions") && !now.is_null() && now != spec.field("parallelism") {
        let why = "can only be modified in tandem with spec.parallelism";
        errors.push(Error::invalid(&at.child("completions"), now.clone(), why));
    }
}

/// While a job is suspended and runs no pods, where its pods go and what they ask for may still be said.
fn template(errors: &mut ErrorList, at: &Path, spec: &Value, old: &Object) {
    let (after, before) = (spec.field("template"), old.field("spec").field("template"));
    if after == before {
        return;
    }
    let mut allowed = before.clone();
    let suspended = old.field("spec").flag("suspend") && !old.field("status").has("startTime");
    if suspended && let Some(allowed) = allowed.as_object_mut() {
        copy(allowed.sub_or_new("metadata"), after.field("metadata"), &["annotations", "labels"]);
        let pod = allowed.sub_or_new("spec");
        copy(pod, after.field("spec"), &["nodeSelector", "tolerations", "schedulingGates"]);
        node_affinity(pod, after.field("spec").field("affinity"));
        resources(pod, after.field("spec"));
    }
    if after != &allowed {
        errors.push(Error::invalid(&at.child("template"), after.clone(), "field is immutable"));
    }
}

fn copy(to: &mut Map<String, Value>, from: &Value, fields: &[&str]) {
    for field in fields {
        match from.get(field) {
            Some(value) => to.insert((*field).to_owned(), value.clone()),
            None => to.remove(*field),
        };
    }
}

/// Of the affinity, only that to nodes may change.
fn node_affinity(pod: &mut Map<String, Value>, after: &Value) {
    copy(pod.sub_or_new("affinity"), after, &["nodeAffinity"]);
    if after.is_null() && pod.sub("affinity").is_some_and(|affinity| affinity.is_empty()) {
        pod.remove("affinity");
    }
}

fn resources(pod: &mut Map<String, Value>, after: &Value) {
    for list in ["containers", "initContainers"] {
        let mut after = after.list(list).iter();
        pod.each(list, |container| copy(container, after.next().unwrap_or(&Value::Null), &["resources"]));
    }
}

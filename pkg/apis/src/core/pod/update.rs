//! What may change in a pod's spec: on the main endpoint and on `ephemeralcontainers`.

use apimachinery::field::{Error, ErrorList, Path};
use apimachinery::validation::inclusive_range_error;
use apimachinery::{Object, meta::ObjectExt};
use serde_json::Value;

use super::{annotations_path, validate_common};
use crate::podspec::affinity::validate_tolerations;
use crate::podspec::annotations::{self, MIRROR};
use crate::tree::{Fill, Tree, spec_mut};

const UPDATABLE: &str = "`spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,\
    `spec.tolerations` (only additions to existing tolerations),\
    `spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";

pub fn validate(new: &Object, old: &Object) -> ErrorList {
    let mut errors = validate_common(new);
    annotation_changes(&mut errors, new, old);
    let (new, old) = (new.field("spec"), old.field("spec"));
    let at = Path::new("spec");
    for list in ["containers", "initContainers"] {
        if new.list(list).len() != old.list(list).len() {
            errors.push(Error::forbidden(&at.child(list), "pod updates may not add or remove containers"));
            return errors;
        }
    }
    if !deadline(&mut errors, &at, new, old) {
        return errors;
    }
    added_tolerations(&mut errors, &at.child("tolerations"), new, old);
    deleted_gates(&mut errors, &at.child("schedulingGates"), new, old);
    if new == old {
        return errors;
    }
    let mut munged = new.clone();
    if let Some(munged) = munged.as_object_mut() {
        munge(&mut errors, &at, munged, old);
    }
    if &munged != old {
        let mut difference = String::new();
        crate::diff::describe(&mut difference, "spec", old, &munged);
        let why = format!("pod updates may not change fields other than {UPDATABLE}\n{difference}");
        errors.push(Error::forbidden(&at, why));
    }
    errors
}

fn annotation_changes(errors: &mut ErrorList, new: &Object, old: &Object) {
    let (new, old) = (new.field("metadata"), old.field("metadata"));
    annotations::validate_update(errors, &annotations_path(), new.field("annotations"), old.field("annotations"));
}

/// False if nothing more is to be checked.
fn deadline(errors: &mut ErrorList, at: &Path, new: &Value, old: &Value) -> bool {
    let path = at.child("activeDeadlineSeconds");
    let before = old.int("activeDeadlineSeconds");
    match new.int("activeDeadlineSeconds") {
        Some(seconds) if !(0..=i64::from(i32::MAX)).contains(&seconds) => {
            errors.push(Error::invalid(&path, seconds, inclusive_range_error(0, i64::from(i32::MAX))));
            return false;
        }
        Some(seconds) if before.is_some_and(|b| b < seconds) => {
            errors.push(Error::invalid(&path, seconds, "must be less than or equal to previous value"));
            return false;
        }
        None if before.is_some() => {
            errors.push(Error::invalid(&path, Value::Null, "must not update from a positive integer to nil value"));
        }
        _ => {}
    }
    true
}

fn without_seconds(toleration: &Value) -> impl Iterator<Item = (&String, &Value)> {
    toleration.as_object().into_iter().flatten().filter(|(key, _)| *key != "tolerationSeconds")
}

fn added_tolerations(errors: &mut ErrorList, at: &Path, new: &Value, old: &Value) {
    let new = new.list("tolerations");
    let kept = |old: &Value| new.iter().any(|n| without_seconds(n).eq(without_seconds(old)));
    if !old.list("tolerations").iter().all(kept) {
        errors.push(Error::forbidden(at, "existing toleration can not be modified except its tolerationSeconds"));
        return;
    }
    validate_tolerations(errors, at, new);
}

fn deleted_gates(errors: &mut ErrorList, at: &Path, new: &Value, old: &Value) {
    for (i, gate) in new.list("schedulingGates").iter().enumerate() {
        let name = gate.text("name");
        if !old.list("schedulingGates").iter().any(|g| g.text("name") == name) {
            let why = format!("only deletion is allowed, but found new scheduling gate '{name}'");
            errors.push(Error::forbidden(&at.index(i).child("name"), why));
        }
    }
}

/// Puts the old values of all that may change into `munged`; what still differs then may not.
fn munge(errors: &mut ErrorList, at: &Path, munged: &mut serde_json::Map<String, Value>, old: &Value) {
    for list in ["containers", "initContainers"] {
        let mut before = old.list(list).iter();
        munged.each(list, |container| {
            let image = before.next().map_or(Value::Null, |c| c.field("image").clone());
            container.insert("image".to_owned(), image);
        });
    }
    let mut restored = vec!["activeDeadlineSeconds", "schedulingGates", "tolerations"];
    let negative = old.int("terminationGracePeriodSeconds").is_some_and(|s| s < 0);
    if negative && munged.int("terminationGracePeriodSeconds") == Some(1) {
        restored.push("terminationGracePeriodSeconds");
    }
    // A gated pod is not scheduled yet: where it may run can still be narrowed.
    if !old.list("schedulingGates").is_empty() {
        node_selector(errors, &at.child("nodeSelector"), munged.field("nodeSelector"), old.field("nodeSelector"));
        restored.push("nodeSelector");
        node_affinity(errors, at, munged, old);
    }
    for field in restored {
        match old.get(field) {
            Some(value) => munged.insert(field.to_owned(), value.clone()),
            None => munged.remove(field),
        };
    }
}

fn node_selector(errors: &mut ErrorList, at: &Path, new: &Value, old: &Value) {
    const WHY: &str = "only additions to spec.nodeSelector are allowed (no mutations or deletions)";
    for (key, value) in old.as_object().into_iter().flatten() {
        if new.get(key) != Some(value) {
            errors.push(Error::invalid(at, new.clone(), WHY));
            return;
        }
    }
}

const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";

/// The required terms may only gain expressions; the preferred ones are free.
fn node_affinity(errors: &mut ErrorList, at: &Path, munged: &mut serde_json::Map<String, Value>, old: &Value) {
    let before = old.field("affinity").field("nodeAffinity").clone();
    let after = munged.field("affinity").field("nodeAffinity").clone();
    if before == after {
        return;
    }
    let at = at.child("affinity").child("nodeAffinity").child(REQUIRED);
    grown_terms(
        errors,
        &at.child("nodeSelectorTerms"),
        after.field(REQUIRED).list("nodeSelectorTerms"),
        before.field(REQUIRED).list("nodeSelectorTerms"),
    );
    if before.is_null() {
        if let Some(affinity) = munged.sub("affinity") {
            affinity.remove("nodeAffinity");
            if affinity.is_empty() && !old.has("affinity") {
                munged.remove("affinity");
            }
        }
    } else {
        munged.sub_or_new("affinity").insert("nodeAffinity".to_owned(), before);
    }
}

/// Terms may only become narrower: those that there are stay, each with all its requirements.
fn grown_terms(errors: &mut ErrorList, at: &Path, new: &[Value], old: &[Value]) {
    if old.is_empty() {
        return;
    }
    if old.len() != new.len() {
        let why = "no additions/deletions to non-empty NodeSelectorTerms list are allowed";
        errors.push(Error::invalid(at, new.to_vec(), why));
        return;
    }
    const LISTS: [&str; 2] = ["matchExpressions", "matchFields"];
    for (i, (old, new)) in old.iter().zip(new).enumerate() {
        let is_empty = |term: &Value| LISTS.iter().all(|list| term.list(list).is_empty());
        let grown = LISTS.iter().all(|list| new.list(list).starts_with(old.list(list)));
        if !grown || (is_empty(old) && !is_empty(new)) {
            let why = "only additions are allowed (no mutations or deletions)";
            errors.push(Error::invalid(&at.index(i), new.clone(), why));
        }
    }
}

/// Only the ephemeral containers of `new` count.
pub fn prepare_ephemeral(new: &mut Object, old: &Object) {
    let containers = new.field("spec").get("ephemeralContainers").cloned();
    let version = new.resource_version().to_owned();
    *new = old.clone();
    if !version.is_empty() {
        new.metadata_mut().insert("resourceVersion".to_owned(), version.into());
    }
    let Some(spec) = spec_mut(new) else { return };
    match containers {
        Some(containers) => spec.insert("ephemeralContainers".to_owned(), containers),
        None => spec.remove("ephemeralContainers"),
    };
}

pub fn validate_ephemeral(new: &Object, old: &Object) -> ErrorList {
    if old.annotations().is_some_and(|a| a.contains_key(MIRROR)) {
        return vec![Error::forbidden(&crate::check::whole(), "static pods do not support ephemeral containers")];
    }
    let mut errors = validate_common(new);
    annotation_changes(&mut errors, new, old);
    let at = Path::new("spec").child("ephemeralContainers");
    let (new, old) = (new.field("spec"), old.field("spec"));
    for before in old.list("ephemeralContainers") {
        let name = before.text("name");
        let why = match new.list("ephemeralContainers").iter().find(|c| c.text("name") == name) {
            None => format!("existing ephemeral containers {name:?} may not be removed\n"),
            Some(after) if after != before => {
                let mut difference = String::new();
                crate::diff::describe(&mut difference, name, before, after);
                format!("existing ephemeral containers {name:?} may not be changed\n{difference}")
            }
            Some(_) => continue,
        };
        errors.push(Error::forbidden(&at, why));
    }
    errors
}

//! `pods/resize`: cpu and memory of a pod and its containers while it runs.

use apimachinery::field::{Error, ErrorList, Path};
use apimachinery::{Object, meta::ObjectExt};
use serde_json::{Map, Value};

use super::{qos, validate_common};
use crate::check;
use crate::podspec::annotations::MIRROR;
use crate::tree::{Fill, Tree, spec_mut};

/// Only the resources and resize policies of `new` count.
pub fn prepare(new: &mut Object, old: &Object) {
    let wanted = new.field("spec").clone();
    let version = new.resource_version().to_owned();
    *new = old.clone();
    if !version.is_empty() {
        new.metadata_mut().insert("resourceVersion".to_owned(), version.into());
    }
    let Some(spec) = spec_mut(new) else { return };
    for list in LISTS {
        spec.each(list, |container| {
            let name = container.text("name").to_owned();
            let Some(wanted) = wanted.list(list).iter().find(|c| c.text("name") == name) else { return };
            for field in ["resources", "resizePolicy"] {
                copy(container, wanted, field);
            }
        });
    }
    copy(spec, &wanted, "resources");
}

const LISTS: [&str; 2] = ["initContainers", "containers"];

fn copy(to: &mut Map<String, Value>, from: &Value, field: &str) {
    match from.get(field) {
        Some(value) => to.insert(field.to_owned(), value.clone()),
        None => to.remove(field),
    };
}

pub fn validate(new: &Object, old: &Object) -> ErrorList {
    let refused = |why: &str| vec![Error::forbidden(&check::whole(), why)];
    if old.annotations().is_some_and(|a| a.contains_key(MIRROR)) {
        return refused("static pods cannot be resized");
    }
    if old.field("spec").field("os").text("name") == "windows" {
        return refused("windows pods cannot be resized");
    }
    let mut errors = validate_common(new);
    let at = Path::new("spec");
    if old.field("status").text("qosClass") != qos::class(new) {
        let class = new.field("status").text("qosClass");
        errors.push(Error::invalid(&at, class, "Pod QOS Class may not change as a result of resizing"));
    }
    let running = old.field("status").list("containerStatuses").iter().find(|s| s.field("state").has("running"));
    if running.is_some_and(|s| !s.has("resources")) {
        errors.push(Error::forbidden(&at, "Pod running on node without support for resize"));
    }
    pod_level(&mut errors, &at, new.field("spec"), old.field("spec"));
    if !old.field("status").list("nodeAllocatableResourceClaimStatuses").is_empty() {
        let why = "pods with node allocatable resource claims cannot be resized";
        errors.push(Error::forbidden(&at, why));
    }
    containers(&mut errors, &at, new.field("spec"), old.field("spec"));
    errors
}

/// Resources of the pod as a whole may change in cpu and memory, and not go away.
fn pod_level(errors: &mut ErrorList, at: &Path, new: &Value, old: &Value) {
    let (now, before) = (new.field("resources"), old.field("resources"));
    if !before.is_null() && now.is_null() {
        errors.push(Error::forbidden(&at.child("resources"), "pod-level resources cannot be removed"));
        return;
    }
    removed(errors, &at.child("resources"), now, before, "pod-level resource");
    if others(now) != others(before) {
        errors.push(Error::forbidden(at, "only cpu and memory resources are mutable at pod-level"));
    }
}

fn containers(errors: &mut ErrorList, at: &Path, new: &Value, old: &Value) {
    for list in LISTS {
        for (i, (new, old)) in new.list(list).iter().zip(old.list(list)).enumerate() {
            let at = at.child(list).index(i).child("resources");
            removed(errors, &at, new.field("resources"), old.field("resources"), "resource");
        }
    }
    for (new, old) in new.list("containers").iter().zip(old.list("containers")) {
        if !differs_in_cpu_and_memory_alone(new, old) {
            errors.push(Error::forbidden(at, "only cpu and memory resources are mutable"));
        }
    }
    for (i, (new, old)) in new.list("initContainers").iter().zip(old.list("initContainers")).enumerate() {
        let path = || at.child("initContainers").index(i);
        if !differs_in_cpu_and_memory_alone(new, old) {
            let why = "only cpu and memory resources for init or sidecar containers are mutable";
            errors.push(Error::forbidden(&path(), why));
        }
        let restarts = new.list("resizePolicy").iter().any(|p| p.text("restartPolicy") == "RestartContainer");
        if new != old && new.text("restartPolicy") != "Always" && restarts {
            let why = "non-sidecar init containers with a resize policy of RestartContainer cannot be resized";
            errors.push(Error::forbidden(&path(), why));
        }
    }
}

fn differs_in_cpu_and_memory_alone(new: &Value, old: &Value) -> bool {
    new.field("resizePolicy") == old.field("resizePolicy")
        && others(new.field("resources")) == others(old.field("resources"))
}

/// Requests and limits of anything but cpu and memory.
fn others(resources: &Value) -> Vec<(&str, &str, &Value)> {
    let lists = ["requests", "limits"].into_iter();
    let all = lists.flat_map(|list| resources.entries(list).map(move |(name, value)| (list, name, value)));
    all.filter(|(_, name, _)| !matches!(*name, "cpu" | "memory")).collect()
}

/// What was once requested or limited stays so, by another amount.
fn removed(errors: &mut ErrorList, at: &Path, new: &Value, old: &Value, what: &str) {
    for list in ["requests", "limits"] {
        if old.entries(list).any(|(name, _)| !new.field(list).has(name)) {
            errors.push(Error::forbidden(&at.child(list), format!("{what} {list} cannot be removed")));
        }
    }
}

//! `pods/resize`: cpu and memory of running containers.

use apimachinery::field::{Error, ErrorList, Path};
use apimachinery::{Object, meta::ObjectExt};
use serde_json::{Map, Value};

use super::update::MIRROR;
use super::{qos, validate_common};
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
    for list in ["containers", "initContainers"] {
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

fn copy(to: &mut Map<String, Value>, from: &Value, field: &str) {
    match from.get(field) {
        Some(value) => to.insert(field.to_owned(), value.clone()),
        None => to.remove(field),
    };
}

pub fn validate(new: &Object, old: &Object) -> ErrorList {
    let refused = |why: &str| vec![Error::forbidden(&Path::default(), why)];
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
    let (new, old) = (new.field("spec"), old.field("spec"));
    for (list, why) in [
        ("initContainers", "only cpu and memory resources for sidecar containers are mutable"),
        ("containers", "only cpu and memory resources are mutable"),
    ] {
        for (i, (new, old)) in new.list(list).iter().zip(old.list(list)).enumerate() {
            if list == "initContainers" && old.text("restartPolicy") != "Always" {
                if new != old {
                    let why = "resources for non-sidecar init containers are immutable";
                    errors.push(Error::forbidden(&at, why));
                }
                continue;
            }
            container(&mut errors, &at.child(list).index(i).child("resources"), new, old);
            if other_resources(new) != other_resources(old) {
                errors.push(Error::forbidden(&at, why));
            }
        }
    }
    errors
}

/// Requests and limits of anything but cpu and memory.
fn other_resources(container: &Value) -> Vec<(&str, &str, &Value)> {
    let lists = ["requests", "limits"].into_iter();
    let all =
        lists.flat_map(|list| container.field("resources").entries(list).map(move |(name, value)| (list, name, value)));
    all.filter(|(_, name, _)| !matches!(*name, "cpu" | "memory")).collect()
}

fn container(errors: &mut ErrorList, at: &Path, new: &Value, old: &Value) {
    for (list, why) in
        [("requests", "resource requests cannot be removed"), ("limits", "resource limits cannot be removed")]
    {
        let now = new.field("resources").field(list);
        if old.field("resources").entries(list).any(|(name, _)| !now.has(name)) {
            errors.push(Error::forbidden(&at.child(list), why));
        }
    }
}

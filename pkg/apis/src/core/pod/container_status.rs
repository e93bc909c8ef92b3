//! The statuses of single containers within a pod's status.

use std::collections::BTreeSet;

use apimachinery::field::{Error, ErrorList, Path};
use serde_json::Value;

use crate::check;
use crate::tree::Tree;

/// Lists of statuses, and the lists of the spec that they speak of.
const LISTS: [(&str, &str); 3] = [
    ("containerStatuses", "containers"),
    ("initContainerStatuses", "initContainers"),
    ("ephemeralContainerStatuses", "ephemeralContainers"),
];

/// A container that has ended for good does not run again.
pub fn transitions(errors: &mut ErrorList, at: &Path, status: &Value, before: &Value, spec: &Value) {
    let together = any_restarts_all(spec);
    for (statuses, containers) in LISTS {
        if together && containers != "ephemeralContainers" {
            continue;
        }
        for (i, old) in before.list(statuses).iter().enumerate() {
            let ended = old.field("state").field("terminated");
            let name = old.text("name");
            if ended.is_null() {
                continue;
            }
            let now = status.list(statuses).iter().find(|s| s.text("name") == name);
            if now.is_none_or(|s| s.field("state").has("terminated")) {
                continue;
            }
            let container = spec.list(containers).iter().find(|c| c.text("name") == name);
            let code = ended.int("exitCode").unwrap_or(0);
            let allowed = containers != "ephemeralContainers" && container.is_some_and(|c| may_restart(c, spec, code));
            if !allowed {
                let why = "may not be transitioned to non-terminated state";
                errors.push(Error::forbidden(&at.child(statuses).index(i).child("state"), why));
            }
        }
    }
}

/// One container's end can start all of them again.
fn any_restarts_all(spec: &Value) -> bool {
    let rules = |c: &Value| c.list("restartPolicyRules").iter().any(|r| r.text("action") == "RestartAllContainers");
    spec.list("containers").iter().any(rules) || spec.list("initContainers").iter().any(rules)
}

/// By its own rules, its own policy or the pod's, in this order.
fn may_restart(container: &Value, spec: &Value, code: i64) -> bool {
    let rules = container.list("restartPolicyRules");
    if container.has("restartPolicy") && rules.iter().any(|r| r.text("action") == "Restart" && applies(r, code)) {
        return true;
    }
    let policy = match container.text("restartPolicy") {
        "" => spec.text("restartPolicy"),
        own => own,
    };
    match policy {
        "Never" => false,
        "OnFailure" => code != 0,
        _ => true,
    }
}

fn applies(rule: &Value, code: i64) -> bool {
    let codes = rule.field("exitCodes");
    let listed = codes.list("values").iter().any(|value| value == code);
    match codes.text("operator") {
        "In" => listed,
        "NotIn" => !listed,
        _ => false,
    }
}

/// Users, health of devices, and volumes of images, as the kubelet reports them.
pub fn validate(errors: &mut ErrorList, at: &Path, status: &Value, spec: &Value) {
    for (statuses, _) in LISTS {
        for (i, one) in status.list(statuses).iter().enumerate() {
            user(errors, || at.child(statuses).index(i).child("user").child("linux"), one.field("user"), spec);
        }
    }
    for (statuses, containers) in LISTS {
        for (i, one) in status.list(statuses).iter().enumerate() {
            let resources = one.list("allocatedResourcesStatus");
            let at = || at.child(statuses).index(i).child("allocatedResourcesStatus");
            if containers == "ephemeralContainers" {
                if !resources.is_empty() {
                    errors.push(Error::forbidden(&at(), "must not be specified in container status"));
                }
                continue;
            }
            // A status may be of a container that is not there (yet).
            let container = spec.list(containers).iter().find(|c| c.text("name") == one.text("name"));
            for (j, resource) in resources.iter().enumerate() {
                allocated(errors, &at().index(j), resource, container);
            }
        }
    }
}

fn user(errors: &mut ErrorList, at: impl Fn() -> Path, user: &Value, spec: &Value) {
    let linux = user.field("linux");
    if linux.is_null() {
        return;
    }
    match spec.field("os").text("name") {
        "windows" => errors.push(Error::forbidden(&at(), "cannot be set for a windows pod")),
        "" | "linux" => {
            check::id(errors, &at(), linux, "uid");
            check::id(errors, &at(), linux, "gid");
            for (i, group) in linux.list("supplementalGroups").iter().enumerate() {
                check::id_value(errors, || at().child("supplementalGroups").index(i), group);
            }
        }
        _ => {}
    }
}

/// Longest message about the health of a device, in bytes.
const MESSAGE_MAX: usize = 1024;

fn allocated(errors: &mut ErrorList, at: &Path, resource: &Value, container: Option<&Value>) {
    if let Some(container) = container {
        known_resource(errors, at, resource.text("name"), container.field("resources"));
    }
    let mut ids = BTreeSet::new();
    for (i, device) in resource.list("resources").iter().enumerate() {
        let at = at.child("resources").index(i);
        check::one_of(errors, &at, device, "health", &["Healthy", "Unhealthy", "Unknown"]);
        match device.field("message").as_str() {
            Some("") => errors.push(Error::required(&at.child("message"), "must be non-empty if specified")),
            Some(text) if text.len() > MESSAGE_MAX => errors.push(Error::too_long(&at.child("message"), MESSAGE_MAX)),
            _ => {}
        }
        if !ids.insert(device.text("resourceID")) {
            errors.push(Error::duplicate(&at.child("resourceID"), device.text("resourceID")));
        }
    }
}

/// `claim:<claim>[/<request>]` or the name of a requested resource.
fn known_resource(errors: &mut ErrorList, at: &Path, name: &str, resources: &Value) {
    let (known, why) = match name.strip_prefix("claim:") {
        Some(claim) => {
            let is_it = |c: &Value| match c.text("request") {
                "" => c.text("name") == claim,
                request => claim.strip_suffix(request).and_then(|c| c.strip_suffix('/')) == Some(c.text("name")),
            };
            let why = "must match one of the container's resource claims in a format 'claim:<claimName>/<request>' or \
                       'claim:<claimName>' if request is empty";
            (resources.list("claims").iter().any(is_it), why)
        }
        None => (resources.field("requests").has(name), "must match one of the container's resource requests"),
    };
    if !known {
        errors.push(Error::invalid(&at.child("name"), name, why));
    }
}

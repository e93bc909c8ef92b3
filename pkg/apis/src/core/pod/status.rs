//! `pods/status`: what the kubelet and the scheduler report.

use std::collections::BTreeSet;
use std::net::IpAddr;

use apimachinery::field::{Error, ErrorList, Path};
use apimachinery::validation::{is_dns1123_subdomain, is_qualified_name};
use apimachinery::{Object, meta::ObjectExt};
use serde_json::Value;

use crate::check;
use crate::strategy::{keep_all_but_status, keep_nested};
use crate::tree::Tree;

/// The spec stays, and so do the QoS class, which was fixed at birth, and owners.
pub fn prepare(new: &mut Object, old: &Object) {
    keep_all_but_status(new, old);
    keep_nested(new, old, "metadata", "ownerReferences");
    if new.field("status").text("qosClass").is_empty() {
        keep_nested(new, old, "status", "qosClass");
    }
}

pub fn validate(new: &Object, old: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    let at = Path::new("status");
    conditions(&mut errors, &Path::new("metadata").child("conditions"), new);
    let (spec, status, before) = (new.field("spec"), new.field("status"), old.field("status"));
    if status.text("nominatedNodeName") != before.text("nominatedNodeName") {
        check::optional_text(&mut errors, &at, status, "nominatedNodeName", is_dns1123_subdomain);
    }
    check::immutable(&mut errors, &at, status, before, "qosClass");
    let policy = spec.text("restartPolicy");
    for list in ["containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses"] {
        let policy = if list == "ephemeralContainerStatuses" { "Never" } else { policy };
        transitions(&mut errors, &at.child(list), status.list(list), before.list(list), policy, spec);
    }
    claim_statuses(&mut errors, &at.child("resourceClaimStatuses"), spec, status);
    addresses(&mut errors, &at.child("podIPs"), status.list("podIPs"));
    addresses(&mut errors, &at.child("hostIPs"), status.list("hostIPs"));
    if let Some(first) = status.list("hostIPs").first()
        && first.text("ip") != status.text("hostIP")
    {
        let path = at.child("hostIPs").index(0).child("ip");
        errors.push(Error::invalid(&path, first.text("ip"), "must be equal to `hostIP`"));
    }
    errors
}

fn conditions(errors: &mut ErrorList, at: &Path, pod: &Object) {
    for (i, condition) in pod.array_at("status/conditions").iter().enumerate() {
        let kind = condition.text("type");
        if !matches!(kind, "PodScheduled" | "Ready" | "Initialized") {
            check::text(errors, &at.index(i), "Type", kind, is_qualified_name);
        }
    }
}

/// A container that has ended for good does not run again.
fn transitions(errors: &mut ErrorList, at: &Path, new: &[Value], old: &[Value], policy: &str, spec: &Value) {
    if policy == "Always" {
        return;
    }
    for (i, before) in old.iter().enumerate() {
        let ended = before.field("state").field("terminated");
        let name = before.text("name");
        if ended.is_null() || (ended.int("exitCode") != Some(0) && policy == "OnFailure") || restartable(spec, name) {
            continue;
        }
        if new.iter().any(|s| s.text("name") == name && !s.field("state").has("terminated")) {
            let why = "may not be transitioned to non-terminated state";
            errors.push(Error::forbidden(&at.index(i).child("state"), why));
        }
    }
}

/// A sidecar, or a container with restart rules of its own.
fn restartable(spec: &Value, name: &str) -> bool {
    let own = |c: &Value| c.text("name") == name && (c.has("restartPolicy") || c.has("restartPolicyRules"));
    spec.list("initContainers").iter().any(own) || spec.list("containers").iter().any(own)
}

fn claim_statuses(errors: &mut ErrorList, at: &Path, spec: &Value, status: &Value) {
    let mut seen = BTreeSet::new();
    for (i, claim) in status.list("resourceClaimStatuses").iter().enumerate() {
        let at = at.index(i);
        let name = claim.text("name");
        if !spec.list("resourceClaims").iter().any(|c| c.text("name") == name) {
            let why = "must match the name of an entry in `spec.resourceClaims`";
            errors.push(Error::invalid(&at.child("name"), name, why));
        }
        if !seen.insert(name) {
            errors.push(Error::duplicate(&at.child("name"), name));
        }
    }
}

/// Legal addresses, at most one of each family.
fn addresses(errors: &mut ErrorList, at: &Path, list: &[Value]) {
    for (i, address) in list.iter().enumerate() {
        check::ip(errors, &at.index(i), address.text("ip"));
    }
    let parsed: Vec<IpAddr> = list.iter().filter_map(|a| a.text("ip").parse().ok()).collect();
    let families: BTreeSet<bool> = parsed.iter().map(IpAddr::is_ipv6).collect();
    if parsed.len() > 1 && families.len() != parsed.len() {
        let why = "may specify no more than one IP for each IP family";
        errors.push(Error::invalid(at, list.to_vec(), why));
    }
}

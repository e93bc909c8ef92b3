//! `pods/status`: what the kubelet and the scheduler report. What concerns single containers is in `container_status`.

use std::collections::BTreeSet;
use std::net::IpAddr;

use apimachinery::field::{Error, ErrorList, Path};
use apimachinery::validation::{is_dns1123_label, is_dns1123_subdomain, is_qualified_name};
use apimachinery::{Object, meta::ObjectExt};
use serde_json::Value;

use super::{annotations_path, container_status};
use crate::addresses::{legacy_ip, sloppy_ip};
use crate::check;
use crate::podspec::annotations;
use crate::podspec::resources::is_native;
use crate::strategy::{keep_all_but_status, keep_nested};
use crate::tree::{Fill, Tree};

/// The spec stays, and so do the QoS class, which was fixed at birth, and owners.
pub fn prepare(new: &mut Object, old: &Object) {
    keep_all_but_status(new, old);
    keep_nested(new, old, "metadata", "ownerReferences");
    if new.field("status").text("qosClass").is_empty() {
        keep_nested(new, old, "status", "qosClass");
    }
    keep_generations(new, old);
}

/// Old clients leave out the generation that a status or a condition is of; what was known stays.
fn keep_generations(new: &mut Object, old: &Object) {
    const FIELD: &str = "observedGeneration";
    let known = |owner: &Value| owner.int(FIELD).filter(|generation| *generation != 0);
    let before = old.field("status");
    let mut conditions: Vec<&Value> = before.list("conditions").iter().collect();
    let Some(status) = apimachinery::meta::object_mut(new).sub("status") else { return };
    if let Some(generation) = known(before) {
        status.default_nonzero(FIELD, generation);
    }
    // A type may be there several times: the first of the old ones goes with the first of the new ones.
    status.each("conditions", |condition| {
        let Some(i) = conditions.iter().position(|c| c.text("type") == condition.text("type")) else { return };
        if let Some(generation) = known(conditions.remove(i)) {
            condition.default_nonzero(FIELD, generation);
        }
    });
}

pub fn validate(new: &Object, old: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    let at = Path::new("status");
    let (spec, status, before) = (new.field("spec"), new.field("status"), old.field("status"));
    let noted = new.field("metadata").field("annotations");
    let noted_before = old.field("metadata").field("annotations");
    annotations::validate_update(&mut errors, &annotations_path(), noted, noted_before);
    annotations::validate(&mut errors, &annotations_path(), noted, spec);
    conditions(&mut errors, &at.child("conditions"), new);
    nominated_node(&mut errors, &at, status, before, spec);
    generation(&mut errors, &at, status);
    check::immutable(&mut errors, &at, status, before, "qosClass");
    container_status::transitions(&mut errors, &at, status, before, spec);
    claim_statuses(&mut errors, &at.child("resourceClaimStatuses"), spec, status);
    let extended = "extendedResourceClaimStatus";
    extended_claim(&mut errors, &at.child(extended), spec, status.field(extended));
    allocatable_claims(&mut errors, &at.child("nodeAllocatableResourceClaimStatuses"), spec, status);
    addresses(&mut errors, &at.child("podIPs"), status.list("podIPs"), before.list("podIPs"));
    if let Some(first) = status.list("hostIPs").first()
        && first.text("ip") != status.text("hostIP")
    {
        let path = at.child("hostIPs").index(0).child("ip");
        errors.push(Error::invalid(&path, first.text("ip"), "must be equal to `hostIP`"));
    }
    addresses(&mut errors, &at.child("hostIPs"), status.list("hostIPs"), before.list("hostIPs"));
    container_status::validate(&mut errors, &at, status, spec);
    errors
}

fn conditions(errors: &mut ErrorList, at: &Path, pod: &Object) {
    for (i, condition) in pod.array_at("status/conditions").iter().enumerate() {
        generation(errors, &at.index(i), condition);
        let kind = condition.text("type");
        if !matches!(kind, "PodScheduled" | "Ready" | "Initialized") {
            check::text(errors, &at.index(i), "Type", kind, is_qualified_name);
        }
    }
}

fn generation(errors: &mut ErrorList, at: &Path, owner: &Value) {
    if let Some(number) = owner.int("observedGeneration").filter(|n| *n < 0) {
        errors.push(Error::invalid(&at.child("observedGeneration"), number, "must be a non-negative integer"));
    }
}

/// A pod that has a node waits for no other.
fn nominated_node(errors: &mut ErrorList, at: &Path, status: &Value, before: &Value, spec: &Value) {
    let name = status.text("nominatedNodeName");
    if name.is_empty() || name == before.text("nominatedNodeName") {
        return;
    }
    check::text(errors, at, "nominatedNodeName", name, is_dns1123_subdomain);
    if !spec.text("nodeName").is_empty() {
        let why = "may not be set on pods that are already bound to a node";
        errors.push(Error::forbidden(&at.child("nominatedNodeName"), why));
    }
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
        if let Some(name) = claim.field("resourceClaimName").as_str() {
            check::subdomain(errors, &at, "resourceClaimName", name);
        }
    }
}

/// The claim that the scheduler made for extended resources, and which of its requests serves which container.
fn extended_claim(errors: &mut ErrorList, at: &Path, spec: &Value, status: &Value) {
    if status.is_null() {
        return;
    }
    let list_at = at.child("requestMappings");
    let mappings = status.list("requestMappings");
    if mappings.is_empty() {
        errors.push(Error::required(&list_at, "at least one request mapping is required"));
    }
    for (i, mapping) in mappings.iter().enumerate() {
        let at_mapping = list_at.index(i);
        let fields = ["containerName", "resourceName", "requestName"];
        let [container, resource, request] = fields.map(|field| mapping.text(field));
        let lists = [spec.list("containers"), spec.list("initContainers")];
        match lists.into_iter().flatten().find(|c| c.text("name") == container) {
            Some(c) if c.field("resources").field("requests").has(resource) => {}
            Some(_) => {
                let why = "must match the extended resource name of an entry in \
                           spec.initContainers.resources.requests or spec.containers.resources.requests";
                errors.push(Error::invalid(&at_mapping.child("resourceName"), resource, why));
            }
            None => {
                let why = "must match the name of an entry in spec.initContainers.name or spec.containers.name";
                errors.push(Error::invalid(&at_mapping.child("containerName"), container, why));
            }
        }
        check::text(errors, at, "requestName", request, is_dns1123_label);
        if mappings[..i].iter().any(|other| fields.iter().all(|f| other.text(f) == mapping.text(f))) {
            errors.extend(fields.map(|field| Error::duplicate(&at_mapping.child(field), mapping.text(field))));
        }
    }
    check::required_text(errors, at, status, "resourceClaimName", is_dns1123_subdomain);
}

fn allocatable_claims(errors: &mut ErrorList, at: &Path, spec: &Value, status: &Value) {
    for (i, claim) in status.list("nodeAllocatableResourceClaimStatuses").iter().enumerate() {
        let at = at.index(i);
        let name = claim.text("resourceClaimName");
        if name.is_empty() {
            errors.push(Error::required(&at.child("resourceClaimName"), "must not be empty"));
        }
        let named = |c: &Value| c.field("resourceClaimName").as_str() == Some(name);
        let known = [spec.list("resourceClaims"), status.list("resourceClaimStatuses")];
        if !known.into_iter().flatten().any(named) {
            let why = "no mapping found in pod reference";
            errors.push(Error::invalid(&at.child("resourceClaimName"), name, why));
        }
        if claim.list("containers").is_empty() {
            errors.push(Error::required(&at.child("containers"), "must not be empty"));
        }
        let at = at.child("resources");
        if claim.field("resources").as_object().is_none_or(serde_json::Map::is_empty) {
            errors.push(Error::required(&at, "must not be empty"));
        }
        for (name, value) in claim.entries("resources") {
            if !is_native(name) {
                errors.push(Error::invalid(&at.key(name), name, "must be a node allocatable resource name"));
            }
            if let Some(amount) = crate::quantity::parse(value).filter(|q| q.is_negative()) {
                errors.push(Error::invalid(&at.key(name), amount.to_string(), "must be non-negative"));
            }
        }
    }
}

/// Legal addresses, at most one of each family. Texts that were there before may stay.
fn addresses(errors: &mut ErrorList, at: &Path, list: &[Value], before: &[Value]) {
    let kept: Vec<&str> = before.iter().map(|a| a.text("ip")).collect();
    for (i, address) in list.iter().enumerate() {
        legacy_ip(errors, &at.index(i), address.text("ip"), &kept);
    }
    if list.len() < 2 {
        return;
    }
    let families: BTreeSet<bool> =
        list.iter().filter_map(|a| sloppy_ip(a.text("ip"))).map(|ip| IpAddr::is_ipv6(&ip)).collect();
    if families.len() < 2 || list.len() > 2 {
        let why = "may specify no more than one IP for each IP family";
        errors.push(Error::invalid(at, list.to_vec(), why));
    }
}

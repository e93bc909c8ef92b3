//! The status of a claim: the devices that it got, who may use them, and how they are.

use std::collections::BTreeSet;

use apimachinery::field::{Error, ErrorList, Path};
use apimachinery::validation::is_dns1123_label;
use apimachinery::{Object, meta::ObjectExt};
use serde_json::Value;

use super::request::Names;
use super::taint::validate_toleration;
use super::{device, items, opaque, pool_name, raw_object, skipped_operations, text_key, uid, unique};
use crate::addresses::interface_fault;
use crate::podspec::affinity;
use crate::podspec::volume_sources::driver_name;
use crate::tree::Tree;
use crate::{check, conditions};

const CONSUMERS_MAX: usize = 256;
const RESULTS_MAX: usize = 32;
/// Of the class and of the claim.
const CONFIG_MAX: usize = 64;
const CONDITIONS_MAX: usize = 8;

/// Driver, pool, device, and the share of it.
fn device_key(device: &Value) -> String {
    let parts = [device.text("driver"), device.text("pool"), device.text("device")];
    let share = device.text("shareID");
    if share.is_empty() { parts.join("/") } else { format!("{}/{share}", parts.join("/")) }
}

pub fn validate(new: &Object, old: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    let (at, status, before) = (Path::new("status"), new.field("status"), old.field("status"));
    let (consumers_at, consumers) = (at.child("reservedFor"), status.list("reservedFor"));
    let key = |consumer: &Value| consumer.text("uid").to_owned();
    unique(&mut errors, &consumers_at, consumers, CONSUMERS_MAX, key, &|errors, at, consumer| {
        for field in ["resource", "name", "uid"] {
            check::required(errors, at, consumer, field);
        }
    });
    let allocation = status.field("allocation");
    let allocated: BTreeSet<String> = allocation.field("devices").list("results").iter().map(device_key).collect();
    unique(&mut errors, &at.child("devices"), status.list("devices"), usize::MAX, device_key, &|errors, at, device| {
        device_status(errors, at, device, &allocated);
    });
    if !consumers.is_empty() && allocation.is_null() {
        errors.push(Error::forbidden(&consumers_at, "may not be specified when `allocated` is not set"));
    } else if new.is_deleting() && consumers.iter().any(|c| !before.list("reservedFor").contains(c)) {
        let why = "new entries may not be added while `deallocationRequested` or `deletionTimestamp` are set";
        errors.push(Error::forbidden(&consumers_at, why));
    }
    if !allocation.is_null() && before.has("allocation") {
        check::immutable(&mut errors, &at, status, before, "allocation");
    } else if !allocation.is_null() {
        validate_allocation(&mut errors, &at.child("allocation"), allocation, &Names::of(new.field("spec")));
    }
    errors
}

fn validate_allocation(errors: &mut ErrorList, at: &Path, allocation: &Value, names: &Names<'_>) {
    let (devices_at, devices) = (at.child("devices"), allocation.field("devices"));
    let results = devices.list("results");
    items(errors, &devices_at.child("results"), results, RESULTS_MAX, &|errors, at, result| {
        validate_result(errors, at, result, names);
    });
    items(errors, &devices_at.child("config"), devices.list("config"), CONFIG_MAX, &|errors, at, config| {
        check::choice(errors, at, config, "source", &["FromClaim", "FromClass"]);
        names.check_list(errors, at, config);
        opaque(errors, at, config);
    });
    if allocation.has("nodeSelector") {
        affinity::node_selector(errors, &at.child("nodeSelector"), allocation.field("nodeSelector"));
    }
}

fn validate_result(errors: &mut ErrorList, at: &Path, result: &Value, names: &Names<'_>) {
    names.check(errors, &at.child("request"), result.text("request"));
    which_device(errors, at, result);
    device::binding_conditions(errors, at, result);
    for (i, toleration) in result.list("tolerations").iter().enumerate() {
        validate_toleration(errors, &at.child("tolerations").index(i), toleration);
    }
    if let Some(share) = result.field("shareID").as_str() {
        uid(errors, &at.child("shareID"), share);
    }
    skipped_operations(errors, at, result);
}

fn which_device(errors: &mut ErrorList, at: &Path, device: &Value) {
    driver_name(errors, &at.child("driver"), device.text("driver"));
    pool_name(errors, &at.child("pool"), device.text("pool"));
    check::text(errors, at, "device", device.text("device"), is_dns1123_label);
}

fn device_status(errors: &mut ErrorList, at: &Path, device: &Value, allocated: &BTreeSet<String>) {
    which_device(errors, at, device);
    if let Some(share) = device.field("shareID").as_str() {
        uid(errors, &at.child("shareID"), share);
    }
    let key = device_key(device);
    if !allocated.contains(&key) {
        errors.push(Error::invalid(at, key, "must be an allocated device in the claim"));
    }
    let (path, list) = (at.child("conditions"), device.list("conditions"));
    if list.len() > CONDITIONS_MAX {
        errors.push(Error::too_many(&path, list.len(), CONDITIONS_MAX));
    }
    conditions::validate(errors, &path, list);
    if device.has("data") {
        raw_object(errors, &at.child("data"), device.field("data"));
    }
    network_data(errors, &at.child("networkData"), device.field("networkData"));
}

fn network_data(errors: &mut ErrorList, at: &Path, data: &Value) {
    const ADDRESSES_MAX: usize = 16;
    for (field, max) in [("interfaceName", 256), ("hardwareAddress", 128)] {
        if data.text(field).len() > max {
            errors.push(Error::too_long(&at.child(field), max));
        }
    }
    unique(errors, &at.child("ips"), data.list("ips"), ADDRESSES_MAX, text_key, &|errors, at, address| {
        let address = address.as_str().unwrap_or("");
        errors.extend(interface_fault(address).map(|why| Error::invalid(at, address, why)));
    });
}

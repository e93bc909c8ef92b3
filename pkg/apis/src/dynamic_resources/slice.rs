//! ResourceSlices.

use std::collections::HashMap;

use apimachinery::field::{Error, ErrorList, Path};
use apimachinery::validation::is_dns1123_subdomain;
use apimachinery::{Object, meta::ObjectExt, meta::object_mut};
use serde_json::Value;

use super::device::{self, counters};
use super::{GROUP, fully_qualified_name, name_key, pool_name, skipped_operations, unique};
use crate::cells::age;
use crate::podspec::affinity;
use crate::podspec::volume_sources::driver_name;
use crate::resource::{Column, Resource, Strategy};
use crate::tree::{Fill, Tree, spec_mut};
use crate::{check, dynamic_resources::taint};

pub const ROW: Resource = Resource {
    columns: &[
        Column::NAME,
        Column::text("Node", "Node that the devices are on."),
        Column::text("Driver", "Driver of the devices."),
        Column::text("Pool", "Pool that the devices are in."),
        Column::AGE,
    ],
    cells: |o, now| {
        let spec = o.field("spec");
        vec![
            o.name().into(),
            spec.text("nodeName").into(),
            spec.text("driver").into(),
            spec.field("pool").text("name").into(),
            age(o, now),
        ]
    },
    selectable: &[
        ("spec.nodeName", |o| o.str_at("spec/nodeName").to_owned()),
        ("spec.driver", |o| o.str_at("spec/driver").to_owned()),
    ],
    strategy: Strategy {
        default: |o| {
            if let Some(spec) = spec_mut(o) {
                spec.each("devices", |device| device.each("taints", taint::default_taint));
            }
        },
        prepare_for_create: |o| drop_disabled(o, false),
        prepare_for_update: |new, old| drop_disabled(new, device::any_list_attribute(old.field("spec"))),
        validate: |o| validate(o.field("spec"), None),
        validate_update: |new, old| validate(new.field("spec"), Some(old.field("spec"))),
        generation_changed: Some(crate::strategy::spec_changed),
        ..Strategy::PLAIN
    },
    ..Resource::cluster(GROUP, "v1", "resourceslices", "resourceslice", "ResourceSlice")
};

/// Lists as values of attributes are behind a gate that is off; a slice that has them keeps them.
fn drop_disabled(slice: &mut Object, in_use: bool) {
    if in_use {
        return;
    }
    let Some(spec) = object_mut(slice).sub("spec") else { return };
    spec.each("devices", |device| {
        for attribute in
            device.sub("attributes").into_iter().flat_map(|a| a.values_mut()).filter_map(Value::as_object_mut)
        {
            for field in device::LISTS {
                attribute.remove(field);
            }
        }
    });
}

const DEVICES_MAX: usize = 128;
/// With taints or counters on any device.
const ADVANCED_DEVICES_MAX: usize = 64;
const COUNTER_SETS_MAX: usize = 8;

fn validate(spec: &Value, old: Option<&Value>) -> ErrorList {
    let mut errors = ErrorList::new();
    let at = Path::new("spec");
    driver_name(&mut errors, &at.child("driver"), spec.text("driver"));
    pool(&mut errors, &at.child("pool"), spec.field("pool"));
    if let Some(old) = old {
        check::immutable(&mut errors, &at.child("pool"), spec.field("pool"), old.field("pool"), "name");
        check::immutable(&mut errors, &at, spec, old, "driver");
        check::immutable(&mut errors, &at, spec, old, "nodeName");
    }
    nodes(&mut errors, &at, spec);
    if spec.has("sharedCounters") && spec.has("devices") {
        errors.push(Error::invalid(&at, "", "only one of `sharedCounters` or `devices` is allowed"));
    }
    devices(&mut errors, &at.child("devices"), spec, old);
    let sets = spec.list("sharedCounters");
    unique(&mut errors, &at.child("sharedCounters"), sets, COUNTER_SETS_MAX, name_key, &|errors, at, set| {
        counters(errors, at, set, "name");
    });
    partition_type(&mut errors, &at, spec);
    skipped_operations(&mut errors, &at, spec);
    errors
}

fn pool(errors: &mut ErrorList, at: &Path, pool: &Value) {
    pool_name(errors, &at.child("name"), pool.text("name"));
    let count = pool.int("resourceSliceCount").unwrap_or(0);
    if count <= 0 {
        errors.push(Error::invalid(&at.child("resourceSliceCount"), count, "must be greater than zero"));
    }
    if let Some(generation) = pool.int("generation").filter(|g| *g < 0) {
        let why = "must be greater than or equal to zero";
        errors.push(Error::invalid(&at.child("generation"), generation, why));
    }
}

/// Where the devices are: said in exactly one way.
fn nodes(errors: &mut ErrorList, at: &Path, spec: &Value) {
    const ONE_OF: &str = "exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required";
    let mut said = Vec::new();
    match spec.field("nodeName").as_str() {
        Some("") => {
            let why = "must be either unset or set to a non-empty string";
            errors.push(Error::invalid(&at.child("nodeName"), "", why));
        }
        Some(name) => {
            said.push("`nodeName`");
            check::text(errors, at, "nodeName", name, is_dns1123_subdomain);
        }
        None => {}
    }
    if spec.has("nodeSelector") {
        said.push("`nodeSelector`");
        let (at, selector) = (at.child("nodeSelector"), spec.field("nodeSelector"));
        affinity::node_selector(errors, &at, selector);
        if selector.list("nodeSelectorTerms").len() != 1 {
            let why = "must have exactly one node selector term";
            let value = selector.field("nodeSelectorTerms").clone();
            errors.push(Error::invalid(&at.child("nodeSelectorTerms"), value, why));
        }
    }
    for (field, word) in [("allNodes", "`allNodes`"), ("perDeviceNodeSelection", "`perDeviceNodeSelection`")] {
        match spec.field(field).as_bool() {
            Some(true) => said.push(word),
            Some(false) => {
                errors.push(Error::invalid(&at.child(field), false, "must be either unset or set to true"));
            }
            None => {}
        }
    }
    if said.is_empty() {
        errors.push(Error::required(at, ONE_OF));
    } else if said.len() > 1 {
        let why = format!("{ONE_OF}, but multiple fields are set");
        errors.push(Error::invalid(at, format!("{{{}}}", said.join(", ")), why));
    }
}

fn devices(errors: &mut ErrorList, at: &Path, spec: &Value, old: Option<&Value>) {
    let advanced = |device: &Value| {
        !device.list("taints").is_empty()
            || !device.list("consumesCounters").is_empty()
            || device::has_list_attribute(device)
    };
    let max = if spec.list("devices").iter().any(advanced) { ADVANCED_DEVICES_MAX } else { DEVICES_MAX };
    let before: HashMap<&str, &Value> =
        old.into_iter().flat_map(|old| old.list("devices")).map(|device| (device.text("name"), device)).collect();
    let per_device = spec.flag("perDeviceNodeSelection");
    unique(errors, at, spec.list("devices"), max, name_key, &|errors, at, device| {
        device::validate(errors, at, device, before.get(device.text("name")).copied(), per_device);
    });
}

/// The attribute that tells kinds of partitions apart stands, as a text, on every device that uses counters.
fn partition_type(errors: &mut ErrorList, at: &Path, spec: &Value) {
    let Some(name) = spec.field("partitionTypeAttribute").as_str() else { return };
    let path = at.child("partitionTypeAttribute");
    let before = errors.len();
    fully_qualified_name(errors, &path, name);
    let uses_counters = |device: &Value| !device.list("consumesCounters").is_empty();
    if !spec.list("devices").iter().any(uses_counters) {
        let why = "may only be set on a slice which declares devices that consume counters";
        errors.push(Error::invalid(&path, name, why));
        return;
    }
    if errors.len() > before {
        return;
    }
    let bare = name.strip_prefix(&format!("{}/", spec.text("driver"))).unwrap_or(name);
    for (i, device) in spec.list("devices").iter().enumerate().filter(|(_, device)| uses_counters(device)) {
        let path = at.child("devices").index(i).child("attributes").key(name);
        let attributes = device.field("attributes");
        let attribute = if attributes.has(name) { attributes.field(name) } else { attributes.field(bare) };
        if attribute.is_null() {
            let why = "device consumes counters and `partitionTypeAttribute` names this attribute, so it must be set";
            errors.push(Error::required(&path, why));
        } else if !attribute.has("string") {
            let why = "must be a string value because `partitionTypeAttribute` names this attribute";
            errors.push(Error::invalid(&path, attribute.clone(), why));
        }
    }
}

//! One device of a slice: attributes, capacities, counters, where it is.

use apimachinery::field::{Error, ErrorList, Path};
use apimachinery::quantity::Quantity;
use apimachinery::validation::{is_dns1123_label, is_dns1123_subdomain, is_qualified_name};
use serde_json::Value;

use super::taint::validate_taint;
use super::{items, qualified_name, unique};
use crate::check;
use crate::podspec::affinity;
use crate::quantity::parse;
use crate::tree::Tree;

/// Fields of an attribute that hold lists.
pub const LISTS: [&str; 4] = ["bools", "ints", "strings", "versions"];
const SCALARS: [&str; 4] = ["bool", "int", "string", "version"];

const NAMED_MAX: usize = 32;
const VALUES_MAX: usize = 48;
const VALUE_LENGTH_MAX: usize = 64;
const TAINTS_MAX: usize = 16;
const CONSUMPTIONS_MAX: usize = 2;
const COUNTERS_MAX: usize = 32;
const CONDITIONS_MAX: usize = 4;

pub fn has_list_attribute(device: &Value) -> bool {
    device.entries("attributes").any(|(_, attribute)| LISTS.iter().any(|field| attribute.has(field)))
}

pub fn any_list_attribute(spec: &Value) -> bool {
    spec.list("devices").iter().any(has_list_attribute)
}

/// `old`: the device of this name before an update. `per_device`: each device says where it is.
pub fn validate(errors: &mut ErrorList, at: &Path, device: &Value, old: Option<&Value>, per_device: bool) {
    check::text(errors, at, "name", device.text("name"), is_dns1123_label);
    let named = device.entries("attributes").count() + device.entries("capacity").count();
    if named > NAMED_MAX {
        let why = format!("the total number of attributes and capacities must not exceed {NAMED_MAX}");
        errors.push(Error::invalid(at, named, why));
    }
    let count = |attribute: &Value| LISTS.iter().map(|field| attribute.list(field).len()).sum::<usize>().max(1);
    let values: usize = device.entries("attributes").map(|(_, attribute)| count(attribute)).sum();
    if values > VALUES_MAX {
        let why = format!("the total number of attribute values must not exceed {VALUES_MAX}");
        errors.push(Error::invalid(at, values, why));
    }
    for (name, attribute) in device.entries("attributes") {
        let at = at.child("attributes");
        qualified_name(errors, &at, name);
        validate_attribute(errors, &at.key(name), attribute);
    }
    let changed = |field: &str| old.is_none_or(|old| old.field(field) != device.field(field));
    if changed("capacity") {
        for (name, capacity) in device.entries("capacity") {
            let at = at.child("capacity");
            qualified_name(errors, &at, name);
            validate_capacity(errors, &at.key(name), capacity, device.flag("allowMultipleAllocations"));
        }
    }
    if changed("taints") {
        let check = |errors: &mut ErrorList, at: &Path, taint: &Value| validate_taint(errors, at, taint, None);
        items(errors, &at.child("taints"), device.list("taints"), TAINTS_MAX, &check);
    }
    let key = |consumption: &Value| consumption.text("counterSet").to_owned();
    let consumptions = device.list("consumesCounters");
    unique(errors, &at.child("consumesCounters"), consumptions, CONSUMPTIONS_MAX, key, &|errors, at, consumption| {
        counters(errors, at, consumption, "counterSet");
    });
    place(errors, at, device, per_device);
    binding_conditions(errors, at, device);
    node_resources(errors, at, device);
}

fn validate_attribute(errors: &mut ErrorList, at: &Path, attribute: &Value) {
    let mut text = |at: &Path, value: &str, is_version: bool| {
        if is_version && !is_semantic_version(value) {
            errors.push(Error::invalid(at, value, "must be a string compatible with semver.org spec 2.0.0"));
        }
        if value.len() > VALUE_LENGTH_MAX {
            errors.push(Error::too_long(at, VALUE_LENGTH_MAX));
        }
    };
    for (field, list, is_version) in [("string", "strings", false), ("version", "versions", true)] {
        if let Some(value) = attribute.field(field).as_str() {
            text(&at.child(field), value, is_version);
        }
        for (i, value) in attribute.texts(list).enumerate() {
            text(&at.child(list).index(i), value, is_version);
        }
    }
    for field in LISTS.into_iter().filter(|f| attribute.has(f) && attribute.list(f).is_empty()) {
        errors.push(Error::invalid(&at.child(field), attribute.field(field).clone(), "must not be empty if specified"));
    }
    match SCALARS.iter().chain(&LISTS).filter(|field| attribute.has(field)).count() {
        0 => errors.push(Error::invalid(at, "", "exactly one value must be specified")),
        1 => {}
        _ => errors.push(Error::invalid(at, attribute.clone(), "exactly one value must be specified")),
    }
}

/// `1.2.3-alpha.1+build`, as semver.org has it.
fn is_semantic_version(text: &str) -> bool {
    let (text, build) = text.split_once('+').map_or((text, None), |(text, build)| (text, Some(build)));
    let (core, pre) = text.split_once('-').map_or((text, None), |(core, pre)| (core, Some(pre)));
    let number = |part: &str| {
        !part.is_empty() && part.bytes().all(|c| c.is_ascii_digit()) && (part == "0" || !part.starts_with('0'))
    };
    let word = |part: &str| !part.is_empty() && part.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-');
    let is_number = |part: &str| part.bytes().all(|c| c.is_ascii_digit());
    core.split('.').count() == 3
        && core.split('.').all(number)
        && pre.is_none_or(|pre| pre.split('.').all(|part| word(part) && (!is_number(part) || number(part))))
        && build.is_none_or(|build| build.split('.').all(word))
}

/// Names of a counter set (`name_field`) and of its counters.
pub fn counters(errors: &mut ErrorList, at: &Path, set: &Value, name_field: &str) {
    check::required_text(errors, at, set, name_field, is_dns1123_label);
    let (path, count) = (at.child("counters"), set.entries("counters").count());
    if count == 0 {
        errors.push(Error::required(&path, ""));
    } else if count > COUNTERS_MAX {
        errors.push(Error::too_many(&path, count, COUNTERS_MAX));
    } else {
        for (name, _) in set.entries("counters") {
            errors.extend(is_dns1123_label(name).into_iter().map(|e| Error::invalid(&path, name, e)));
        }
    }
}

fn place(errors: &mut ErrorList, at: &Path, device: &Value, per_device: bool) {
    if !per_device {
        if ["nodeName", "nodeSelector", "allNodes"].iter().any(|field| device.has(field)) {
            let why = "`nodeName`, `nodeSelector` and `allNodes` can only be set if `perDeviceNodeSelection` is set to \
                       true in the ResourceSlice spec";
            errors.push(Error::invalid(at, Value::Null, why));
        }
        return;
    }
    let mut said = Vec::new();
    match device.field("nodeName").as_str() {
        Some("") => errors.push(Error::invalid(&at.child("nodeName"), "", "must not be empty")),
        Some(name) => {
            said.push("`nodeName`");
            check::text(errors, at, "nodeName", name, is_dns1123_subdomain);
        }
        None => {}
    }
    if device.has("nodeSelector") {
        said.push("`nodeSelector`");
        affinity::node_selector(errors, &at.child("nodeSelector"), device.field("nodeSelector"));
    }
    match device.field("allNodes").as_bool() {
        Some(true) => said.push("`allNodes`"),
        Some(false) => {
            errors.push(Error::invalid(&at.child("allNodes"), false, "must be either unset or set to true"));
        }
        None => {}
    }
    let why = "exactly one of `nodeName`, `nodeSelector`, or `allNodes` is required when `perDeviceNodeSelection` is set \
               to true in the ResourceSlice spec";
    if said.is_empty() {
        errors.push(Error::required(at, why));
    } else if said.len() > 1 {
        errors.push(Error::invalid(at, format!("{{{}}}", said.join(", ")), why));
    }
}

/// Conditions that a pod waits for, and those that end the wait: both or none.
pub fn binding_conditions(errors: &mut ErrorList, at: &Path, owner: &Value) {
    const FIELDS: [&str; 2] = ["bindingConditions", "bindingFailureConditions"];
    let rule = |errors: &mut ErrorList, at: &Path, name: &Value| {
        let name = name.as_str().unwrap_or("");
        errors.extend(is_qualified_name(name).into_iter().map(|e| Error::invalid(at, name, e)));
    };
    for field in FIELDS {
        items(errors, &at.child(field), owner.list(field), CONDITIONS_MAX, &rule);
    }
    let [wanted, failing] = FIELDS.map(|field| owner.texts(field).collect::<Vec<_>>());
    for (field, list) in [(FIELDS[0], &wanted), (FIELDS[1], &failing)] {
        for (i, name) in list.iter().enumerate() {
            let path = at.child(field).index(i);
            if list[..i].contains(name) {
                errors.push(Error::duplicate(&path, *name));
            }
            if field == FIELDS[1] && wanted.contains(name) {
                let why = "bindingFailureConditions must not overlap with bindingConditions";
                errors.push(Error::invalid(&path, *name, why));
            }
        }
    }
    for (field, other, missing) in [
        (FIELDS[0], FIELDS[1], wanted.is_empty() && !failing.is_empty()),
        (FIELDS[1], FIELDS[0], failing.is_empty() && !wanted.is_empty()),
    ] {
        if missing {
            let why = format!("{field} are required to use {other}");
            errors.push(Error::invalid(&at.child(field), owner.field(field).clone(), why));
        }
    }
}

/// Resources of the node that a device stands for.
fn node_resources(errors: &mut ErrorList, at: &Path, device: &Value) {
    for (name, resource) in device.entries("nodeAllocatableResources") {
        let at = at.child("nodeAllocatableResources").key(name);
        let native = matches!(name, "cpu" | "memory" | "ephemeral-storage") || name.starts_with("hugepages-");
        if !native {
            errors.push(Error::invalid(&at, name, "must be a node allocatable resource name"));
        }
        let (mapping, overhead) = (resource.field("mapping"), resource.field("overhead"));
        if mapping.is_null() && overhead.is_null() {
            errors.push(Error::required(&at, "at least one of mapping or overhead must be set"));
        }
        if !mapping.is_null() {
            validate_mapping(errors, &at.child("mapping"), mapping, device);
        }
        if !overhead.is_null() {
            validate_overhead(errors, &at.child("overhead"), overhead);
        }
    }
}

fn is_positive(quantity: &Quantity) -> bool {
    !quantity.is_negative() && !quantity.is_zero()
}

fn validate_mapping(errors: &mut ErrorList, at: &Path, mapping: &Value, device: &Value) {
    let positive = |errors: &mut ErrorList, field: &str| {
        if let Some(quantity) = parse(mapping.field(field)).filter(|q| !is_positive(q)) {
            errors.push(Error::invalid(&at.child(field), quantity.to_string(), "must be positive"));
        }
    };
    let key_at = at.child("capacityKey");
    match mapping.field("capacityKey").as_str() {
        Some(key) => {
            if key.is_empty() {
                errors.push(Error::invalid(&key_at, "", "capacityKey must not be an empty string"));
            } else if !device.field("capacity").has(key) {
                errors.push(Error::not_found(&key_at, key));
            }
            if mapping.has("capacityMultiplier") {
                positive(errors, "capacityMultiplier");
            } else {
                let why = "capacityMultiplier is required when capacityKey is set";
                errors.push(Error::required(&at.child("capacityMultiplier"), why));
            }
        }
        None if mapping.has("capacityMultiplier") => {
            errors.push(Error::required(&key_at, "capacityKey is required when capacityMultiplier is set"));
        }
        None => {}
    }
    positive(errors, "deviceMultiplier");
}

fn validate_overhead(errors: &mut ErrorList, at: &Path, overhead: &Value) {
    const FIELDS: [&str; 2] = ["perPod", "perContainer"];
    if !FIELDS.iter().any(|field| overhead.has(field)) {
        errors.push(Error::invalid(at, "", "at least one of perPod or perContainer must be set"));
    }
    for field in FIELDS {
        if let Some(quantity) = parse(overhead.field(field)).filter(Quantity::is_negative) {
            errors.push(Error::invalid(&at.child(field), quantity.to_string(), "must be non-negative"));
        }
    }
}

/// A capacity; only one of a device that may be shared says which parts of it can be asked for.
fn validate_capacity(errors: &mut ErrorList, at: &Path, capacity: &Value, shared: bool) {
    let (at, policy) = (at.child("requestPolicy"), capacity.field("requestPolicy"));
    if policy.is_null() {
        return;
    }
    if !shared {
        errors.push(Error::forbidden(&at, "allowMultipleAllocations must be true"));
        return;
    }
    let (values, range) = (policy.list("validValues"), policy.field("validRange"));
    let field = match (values.is_empty(), range.is_null()) {
        (false, false) => {
            let why = "exactly one policy can be specified, cannot specify \"validValues\" and \"validRange\" at the \
                       same time";
            errors.push(Error::forbidden(&at, why));
            return;
        }
        (true, true) => return,
        (false, true) => "validValues",
        (true, false) => "validRange",
    };
    let (Some(default), Some(whole)) = (parse(policy.field("default")), parse(capacity.field("value"))) else {
        errors.push(Error::required(&at.child("default"), format!("required when {field} is defined")));
        return;
    };
    if field == "validValues" {
        valid_values(errors, &at.child(field), values, (&default, &whole));
    } else {
        valid_range(errors, &at.child(field), range, (&default, &whole));
    }
}

fn valid_values(errors: &mut ErrorList, at: &Path, values: &[Value], (default, whole): (&Quantity, &Quantity)) {
    const OPTIONS_MAX: usize = 10;
    let options: Vec<Quantity> = values.iter().filter_map(parse).collect();
    for (i, pair) in options.windows(2).enumerate() {
        if pair[0] > pair[1] {
            let why = "values must be sorted in ascending order";
            errors.push(Error::invalid(&at.index(i + 1), pair[1].to_string(), why));
        }
    }
    let key = |value: &Value| parse(value).map_or_else(String::new, |q| q.value().to_string());
    unique(errors, at, values, OPTIONS_MAX, key, &|errors, at, value| {
        if let Some(option) = parse(value).filter(|option| option > whole) {
            let why = format!("option is larger than capacity value: {whole}");
            errors.push(Error::invalid(at, option.to_string(), why));
        }
    });
    if !options.contains(default) {
        let why = "default value is not valid according to the requestPolicy";
        errors.push(Error::invalid(at, default.to_string(), why));
    }
}

fn valid_range(errors: &mut ErrorList, at: &Path, range: &Value, (default, whole): (&Quantity, &Quantity)) {
    let Some(min) = parse(range.field("min")) else {
        errors.push(Error::required(&at.child("min"), "required when validRange is defined"));
        return;
    };
    let (max, step) = (parse(range.field("max")), parse(range.field("step")));
    let mut refuse = |broken: bool, field: &str, value: &Quantity, why: String| {
        if broken {
            errors.push(Error::invalid(&at.child(field), value.to_string(), why));
        }
    };
    refuse(min > *whole, "min", &min, format!("min is larger than capacity value: {whole}"));
    refuse(*default < min, "default", default, format!("default is less than min: {min}"));
    if let Some(max) = &max {
        refuse(min > *max, "max", &min, format!("min is larger than max: {max}"));
        refuse(max > whole, "max", max, format!("max is larger than capacity value: {whole}"));
        refuse(default > max, "default", default, format!("default is more than max: {max}"));
    }
    let Some(step) = step else { return };
    if !is_positive(&step) {
        refuse(true, "step", &step, "must be greater than zero".to_owned());
        return;
    }
    let sum = Quantity::new(min.value().saturating_add(step.value()), min.format());
    refuse(sum > *whole, "step", &step, format!("one step {sum} is larger than capacity value: {whole}"));
    for value in std::iter::once(default).chain(&max) {
        let fits = value.value().checked_sub(min.value()).and_then(|d| d.checked_rem(step.value())) == Some(0);
        refuse(!fits, "step", value, format!("value is not a multiple of a given step ({step}) from ({min})"));
    }
}

//! DeviceTaintRules, taints of devices and tolerations of them.

use apimachinery::field::{Error, ErrorList, Path};
use apimachinery::validation::{is_dns1123_label, is_qualified_name, is_valid_label_value};
use apimachinery::{Object, meta::object_mut};
use serde_json::{Map, Value};

use super::{GROUP, pool_name};
use crate::podspec::volume_sources::driver_name;
use crate::resource::{Resource, Strategy, Subresource};
use crate::tree::{Fill, Tree, spec_mut};
use crate::{check, conditions};

pub const ROW: Resource = Resource {
    strategy: Strategy {
        default: |o| {
            if let Some(taint) = spec_mut(o).and_then(|s| s.sub("taint")) {
                default_taint(taint);
            }
        },
        prepare_for_update: |new, old| {
            crate::strategy::keep_status(new, old);
            renew(new, old);
        },
        prepare_for_status_update: crate::strategy::keep_metadata_too,
        validate: |o| validate(o, None),
        validate_update: |new, old| validate(new, Some(old)),
        validate_status_update: validate_status,
        ..Strategy::SPEC_STATUS
    },
    subresources: &[Subresource::STATUS],
    ..Resource::cluster(GROUP, "v1", "devicetaintrules", "devicetaintrule", "DeviceTaintRule")
};

/// A taint says since when it is there.
pub fn default_taint(taint: &mut Map<String, Value>) {
    taint.default_value("timeAdded", || apimachinery::time::now_rfc3339().into());
}

/// A taint whose effect changes is a new one, unless the writer says otherwise.
fn renew(new: &mut Object, old: &Object) {
    let taint = |o: &Object, field: &str| o.field("spec").field("taint").field(field).clone();
    let same = |field: &str| taint(new, field) == taint(old, field);
    if !same("effect") && same("timeAdded") {
        let taint = object_mut(new).sub_or_new("spec").sub_or_new("taint");
        taint.insert("timeAdded".to_owned(), apimachinery::time::now_rfc3339().into());
    }
}

fn validate(rule: &Object, old: Option<&Object>) -> ErrorList {
    let mut errors = ErrorList::new();
    let (at, spec) = (Path::new("spec"), rule.field("spec"));
    let (selector_at, selector) = (at.child("deviceSelector"), spec.field("deviceSelector"));
    if let Some(driver) = selector.field("driver").as_str() {
        driver_name(&mut errors, &selector_at.child("driver"), driver);
    }
    if let Some(pool) = selector.field("pool").as_str() {
        pool_name(&mut errors, &selector_at.child("pool"), pool);
    }
    if let Some(device) = selector.field("device").as_str() {
        check::text(&mut errors, &selector_at, "device", device, is_dns1123_label);
    }
    validate_taint(&mut errors, &at.child("taint"), spec.field("taint"), old.map(|o| o.field("spec").field("taint")));
    errors
}

const EFFECTS: &[&str] = &["NoExecute", "NoSchedule", "None"];

/// `old`: the taint before an update, whose effect may stay as it is.
pub fn validate_taint(errors: &mut ErrorList, at: &Path, taint: &Value, old: Option<&Value>) {
    check::text(errors, at, "key", taint.text("key"), is_qualified_name);
    check::text(errors, at, "value", taint.text("value"), is_valid_label_value);
    if old.is_none_or(|old| old.field("effect") != taint.field("effect")) {
        check::choice(errors, at, taint, "effect", EFFECTS);
    }
}

pub fn validate_toleration(errors: &mut ErrorList, at: &Path, toleration: &Value) {
    let (key, value, effect) = (toleration.text("key"), toleration.text("value"), toleration.text("effect"));
    if !key.is_empty() {
        check::text(errors, at, "key", key, is_qualified_name);
    }
    match toleration.text("operator") {
        "Exists" if !value.is_empty() => {
            errors.push(Error::invalid(&at.child("value"), value, "must be empty for operator `Exists`"));
        }
        "Exists" => {}
        "Equal" => check::text(errors, at, "value", value, is_valid_label_value),
        _ => check::choice(errors, at, toleration, "operator", &["Equal", "Exists"]),
    }
    if !effect.is_empty() && !EFFECTS.contains(&effect) {
        errors.push(Error::not_supported(&at.child("effect"), effect, EFFECTS));
    }
}

fn validate_status(new: &Object, _old: &Object) -> ErrorList {
    const CONDITIONS_MAX: usize = 8;
    let mut errors = ErrorList::new();
    let at = Path::new("status").child("conditions");
    let list = new.field("status").list("conditions");
    conditions::validate(&mut errors, &at, list);
    if list.len() > CONDITIONS_MAX {
        errors.push(Error::too_many(&at, list.len(), CONDITIONS_MAX));
    }
    errors
}

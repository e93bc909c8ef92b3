//! Strategy functions that many kinds share.

use apimachinery::meta::{ObjectExt as _, object_mut};
use apimachinery::validation::{is_dns1123_label, is_dns1123_subdomain, is_path_segment_name, mask_trailing_dash};
use apimachinery::{Object, field::ErrorList};
use serde_json::Value;

use crate::schema::{Type, zero_struct};

pub fn nothing(_: &mut Object) {}

pub fn keep_nothing(_: &mut Object, _: &Object) {}

pub fn valid(_: &Object) -> ErrorList {
    Vec::new()
}

pub fn valid_update(_: &Object, _: &Object) -> ErrorList {
    Vec::new()
}

pub fn no_warnings(_: &Object, _: Option<&Object>) -> Vec<String> {
    Vec::new()
}

/// A client does not set status at birth: it begins as Go's zero value, `{}` and the fields that are always written.
pub fn drop_status(object: &mut Object) {
    let api_version = object.api_version();
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let zero = Type::lookup(group, version, object.kind()).and_then(|of| zero_struct(of, "status"));
    match zero {
        Some(zero) => object_mut(object).insert("status".to_owned(), zero),
        None => object_mut(object).remove("status"),
    };
}

/// The main endpoint does not write status.
pub fn keep_status(new: &mut Object, old: &Object) {
    keep(new, old, "status");
}

/// The status endpoint writes status alone; metadata is the registry's matter.
pub fn keep_all_but_status(new: &mut Object, old: &Object) {
    let mut kept = old.clone();
    let (Value::Object(kept_map), Value::Object(new_map)) = (&mut kept, &mut *new) else { return };
    for field in ["status", "metadata", "apiVersion", "kind"] {
        match new_map.remove(field) {
            Some(value) => kept_map.insert(field.to_owned(), value),
            None => kept_map.remove(field),
        };
    }
    *new = kept;
}

/// As [`keep_all_but_status`], for kinds whose status endpoint does not write labels.
pub fn keep_labels_too(new: &mut Object, old: &Object) {
    keep_all_but_status(new, old);
    keep_nested(new, old, "metadata", "labels");
}

/// As [`keep_all_but_status`], for kinds whose status endpoint writes nothing of the metadata.
pub fn keep_metadata_too(new: &mut Object, old: &Object) {
    keep_labels_too(new, old);
    keep_nested(new, old, "metadata", "annotations");
}

/// Puts the old value of a top-level `field` back.
pub fn keep(new: &mut Object, old: &Object, field: &str) {
    match old.get(field) {
        Some(value) => object_mut(new).insert(field.to_owned(), value.clone()),
        None => object_mut(new).remove(field),
    };
}

pub fn spec_changed(new: &Object, old: &Object) -> bool {
    new.get("spec") != old.get("spec")
}

pub fn set_api_version(object: &mut Object, api_version: &str) {
    object_mut(object).insert("apiVersion".to_owned(), api_version.into());
}

/// Names of most kinds: a DNS-1123 subdomain.
pub fn subdomain_name(name: &str, generate: bool) -> Vec<String> {
    is_dns1123_subdomain(&mask_trailing_dash(name, generate))
}

/// Names that become labels of DNS: a DNS-1123 label.
pub fn label_name(name: &str, generate: bool) -> Vec<String> {
    is_dns1123_label(&mask_trailing_dash(name, generate))
}

/// Names that only have to fit into a URL path, such as those of RBAC kinds.
pub fn path_segment_name(name: &str, _generate: bool) -> Vec<String> {
    is_path_segment_name(name)
}

/// Puts the old value of `outer.field` back.
pub fn keep_nested(new: &mut Object, old: &Object, outer: &str, field: &str) {
    let value = old.get(outer).and_then(|o| o.get(field)).cloned();
    let target = object_mut(object_mut(new).entry(outer).or_insert(Value::Null));
    match value {
        Some(value) => target.insert(field.to_owned(), value),
        None => target.remove(field),
    };
}

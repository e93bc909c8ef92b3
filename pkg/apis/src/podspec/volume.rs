//! The volumes of a pod, and their mounts and devices in containers.

use std::collections::BTreeSet;

use apimachinery::field::{Error, ErrorList, Path};
use apimachinery::validation::is_dns1123_label;
use serde_json::Value;

use super::volume_sources;
use crate::check;
use crate::tree::Tree;

pub fn validate_all(errors: &mut ErrorList, at: &Path, spec: &Value, pod_name: &str) {
    let mut names = BTreeSet::new();
    for (i, volume) in spec.list("volumes").iter().enumerate() {
        let at = at.index(i);
        source(errors, &at, volume, pod_name);
        check::required_text(errors, &at, volume, "name", is_dns1123_label);
        let name = volume.text("name");
        if !name.is_empty() && !names.insert(name) {
            errors.push(Error::duplicate(&at.child("name"), name));
        }
        if spec.text("serviceAccountName").is_empty() && !pod_name.is_empty() {
            token_needs_account(errors, &at, volume);
        }
    }
}

/// Exactly one source, legal in itself.
fn source(errors: &mut ErrorList, at: &Path, volume: &Value, pod_name: &str) {
    let fields = volume.as_object().into_iter().flatten();
    let mut sources = fields.filter(|(name, value)| *name != "name" && !value.is_null());
    match sources.next() {
        None => errors.push(Error::required(at, "must specify a volume type")),
        Some((kind, value)) => {
            volume_sources::validate(errors, at, kind, value, volume.text("name"), pod_name);
        }
    }
    for (kind, _) in sources {
        errors.push(Error::forbidden(&at.child(kind), "may not specify more than 1 volume type"));
    }
}

fn token_needs_account(errors: &mut ErrorList, at: &Path, volume: &Value) {
    for (i, source) in volume.field("projected").list("sources").iter().enumerate() {
        if source.has("serviceAccountToken") {
            let path = at.child("projected").child("sources").index(i).child("serviceAccountToken");
            errors.push(Error::forbidden(&path, "must not be specified when serviceAccountName is not set"));
        }
    }
}

fn find<'a>(spec: &'a Value, name: &str) -> Option<&'a Value> {
    spec.list("volumes").iter().find(|v| v.text("name") == name)
}

/// `volumeMounts` and `volumeDevices` of a container.
pub fn validate_mounts(errors: &mut ErrorList, owner: &Path, container: &Value, spec: &Value) {
    let mounts = container.list("volumeMounts");
    let devices = container.list("volumeDevices");
    let mut paths = BTreeSet::new();
    for (i, mount) in mounts.iter().enumerate() {
        let at = || owner.child("volumeMounts").index(i);
        let (name, path) = (mount.text("name"), mount.text("mountPath"));
        if name.is_empty() {
            errors.push(Error::required(&at().child("name"), ""));
        }
        let volume = find(spec, name);
        if volume.is_none() {
            errors.push(Error::not_found(&at().child("name"), name));
        }
        if path.is_empty() {
            errors.push(Error::required(&at().child("mountPath"), ""));
        }
        if !paths.insert(path) {
            errors.push(Error::invalid(&at().child("mountPath"), path, "must be unique"));
        }
        if devices.iter().any(|d| d.text("name") == name) {
            errors.push(Error::invalid(&at().child("name"), name, "must not already exist in volumeDevices"));
        }
        if devices.iter().any(|d| d.text("devicePath") == path) {
            let why = "must not already exist as a path in volumeDevices";
            errors.push(Error::invalid(&at().child("mountPath"), path, why));
        }
        sub_paths(errors, owner, &at, mount);
        propagation(errors, owner, container, mount);
    }
    for (i, device) in devices.iter().enumerate() {
        one_device(errors, &owner.child("volumeDevices").index(i), i, device, container, spec);
    }
}

fn sub_paths(errors: &mut ErrorList, owner: &Path, at: &impl Fn() -> Path, mount: &Value) {
    let (path, expression) = (mount.text("subPath"), mount.text("subPathExpr"));
    if !path.is_empty() {
        check::descending_path(errors, &owner.child("volumeMounts").child("subPath"), path);
    }
    if !expression.is_empty() {
        if !path.is_empty() {
            let why = "subPathExpr and subPath are mutually exclusive";
            errors.push(Error::invalid(&at().child("subPathExpr"), expression, why));
        }
        check::descending_path(errors, &owner.child("volumeMounts").child("subPathExpr"), expression);
    }
}

fn propagation(errors: &mut ErrorList, owner: &Path, container: &Value, mount: &Value) {
    let at = || owner.child("volumeMounts");
    if mount.has("mountPropagation") {
        let modes = &["Bidirectional", "HostToContainer", "None"];
        check::optional_choice(errors, &at(), mount, "mountPropagation", modes);
        let privileged = container.field("securityContext").flag("privileged");
        if mount.text("mountPropagation") == "Bidirectional" && !privileged {
            let why = "Bidirectional mount propagation is available only to privileged containers";
            errors.push(Error::forbidden(&at().child("mountPropagation"), why));
        }
    }
    let recursive = mount.text("recursiveReadOnly");
    if mount.has("recursiveReadOnly") && recursive != "Disabled" {
        let at = at().child("recursiveReadOnly");
        if !matches!(recursive, "Enabled" | "IfPossible") {
            errors.push(Error::not_supported(&at, recursive, &["Disabled", "IfPossible", "Enabled"]));
        }
        if !mount.flag("readOnly") {
            errors.push(Error::forbidden(&at, "may only be specified when readOnly is true"));
        }
        if !matches!(mount.text("mountPropagation"), "" | "None") {
            errors.push(Error::forbidden(&at, "may only be specified when mountPropagation is None or not specified"));
        }
    }
}

fn one_device(errors: &mut ErrorList, at: &Path, i: usize, device: &Value, container: &Value, spec: &Value) {
    let (name, path) = (device.text("name"), device.text("devicePath"));
    let earlier = &container.list("volumeDevices")[..i];
    if name.is_empty() {
        errors.push(Error::required(&at.child("name"), ""));
    } else if earlier.iter().any(|d| d.text("name") == name) {
        errors.push(Error::invalid(&at.child("name"), name, "must be unique"));
    }
    match find(spec, name) {
        None => errors.push(Error::not_found(&at.child("name"), name)),
        Some(volume) if !volume.has("persistentVolumeClaim") && !volume.has("ephemeral") => {
            let why = "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode";
            errors.push(Error::invalid(&at.child("name"), name, why));
        }
        Some(_) => {}
    }
    if path.is_empty() {
        errors.push(Error::required(&at.child("devicePath"), ""));
    } else if earlier.iter().any(|d| d.text("devicePath") == path) {
        errors.push(Error::invalid(&at.child("devicePath"), path, "must be unique"));
    }
    if path.split('/').any(|part| part == "..") {
        errors.push(Error::invalid(&at.child("devicePath"), path, "can not contain backsteps ('..')"));
    }
    for mount in container.list("volumeMounts") {
        if mount.text("name") == name {
            errors.push(Error::invalid(&at.child("name"), name, "must not already exist in volumeMounts"));
        }
        if mount.text("mountPath") == path {
            let why = "must not already exist as a path in volumeMounts";
            errors.push(Error::invalid(&at.child("devicePath"), path, why));
        }
    }
}

//! The volumes of a pod, and their mounts and devices in containers.

use std::collections::{BTreeMap, BTreeSet};

use apimachinery::field::{Error, ErrorList, Path};
use apimachinery::validation::is_dns1123_label;
use serde_json::Value;

use super::fields::Container;
use super::volume_sources;
use crate::check;
use crate::tree::{Tree, items};

/// The volumes of a pod that are legal, by name: those that containers can mount.
pub type Volumes<'a> = BTreeMap<&'a str, &'a Value>;

pub fn validate_all<'a>(errors: &mut ErrorList, spec_at: &Path, volumes: &'a [Value], pod_name: &str) -> Volumes<'a> {
    let mut legal = Volumes::new();
    for (i, volume) in volumes.iter().enumerate() {
        let at = spec_at.child("volumes").index(i);
        let before = errors.len();
        source(errors, &at, volume, pod_name);
        check::required_text(errors, &at, volume, "name", is_dns1123_label);
        let name = volume.text("name");
        if legal.contains_key(name) {
            errors.push(Error::duplicate(&at.child("name"), name));
        }
        if errors.len() == before {
            legal.insert(name, volume);
        }
        let claim = volume.field("persistentVolumeClaim").text("claimName");
        if !pod_name.is_empty() && volumes.iter().any(|v| v.has("ephemeral") && is_claim_of(claim, pod_name, v)) {
            let path = at.child("persistentVolumeClaim").child("claimName");
            let why = "must not reference a PVC that gets created for an ephemeral volume";
            errors.push(Error::invalid(&path, claim, why));
        }
    }
    legal
}

/// `claim` is what the ephemeral `volume` of the pod will be called.
fn is_claim_of(claim: &str, pod_name: &str, volume: &Value) -> bool {
    claim.strip_prefix(pod_name).and_then(|rest| rest.strip_prefix('-')) == Some(volume.text("name"))
}

/// In the order in which they are checked: of two sources, the later one is refused.
const SOURCES: &[&str] = &[
    "emptyDir",
    "hostPath",
    "gitRepo",
    "gcePersistentDisk",
    "awsElasticBlockStore",
    "secret",
    "nfs",
    "iscsi",
    "glusterfs",
    "flocker",
    "persistentVolumeClaim",
    "rbd",
    "cinder",
    "cephfs",
    "quobyte",
    "downwardAPI",
    "fc",
    "flexVolume",
    "configMap",
    "azureFile",
    "vsphereVolume",
    "photonPersistentDisk",
    "portworxVolume",
    "azureDisk",
    "storageos",
    "projected",
    "scaleIO",
    "csi",
    "ephemeral",
    "image",
];

/// Exactly one source, legal in itself.
fn source(errors: &mut ErrorList, at: &Path, volume: &Value, pod_name: &str) {
    let fields = volume.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null());
    let mut given: Vec<usize> = fields.filter_map(|(name, _)| SOURCES.iter().position(|s| s == name)).collect();
    given.sort_unstable();
    let mut kinds = given.into_iter().map(|i| SOURCES[i]);
    match kinds.next() {
        None => errors.push(Error::required(at, "must specify a volume type")),
        Some(kind) => {
            volume_sources::validate(errors, at, kind, volume.field(kind), volume.text("name"), pod_name);
        }
    }
    for kind in kinds {
        // Two fields have other names in upstream's texts.
        let shown = match kind {
            "cephfs" => "cephFS",
            "downwardAPI" => "downwarAPI",
            kind => kind,
        };
        errors.push(Error::forbidden(&at.child(shown), "may not specify more than 1 volume type"));
    }
}

/// Tokens in the volumes of a pod need an account to be tokens of.
pub fn tokens_need_account(errors: &mut ErrorList, spec_at: &Path, spec: &Value) {
    if !spec.text("serviceAccountName").is_empty() {
        return;
    }
    for (i, volume) in spec.list("volumes").iter().enumerate() {
        for (j, source) in volume.field("projected").list("sources").iter().enumerate() {
            if source.has("serviceAccountToken") {
                let at = spec_at.child("volumes").index(i).child("projected");
                let path = at.child("sources").index(j).child("serviceAccountToken");
                errors.push(Error::forbidden(&path, "must not be specified when serviceAccountName is not set"));
            }
        }
    }
}

/// `volumeMounts` and `volumeDevices` of a container.
pub fn validate_mounts(
    errors: &mut ErrorList,
    owner: &Path,
    container: &Value,
    fields: &Container<'_>,
    volumes: &Volumes<'_>,
) {
    let mounts = items(fields.volume_mounts);
    let devices = items(fields.volume_devices);
    let mut paths = BTreeSet::new();
    for (i, mount) in mounts.iter().enumerate() {
        let at = || owner.child("volumeMounts").index(i);
        let (name, path) = (mount.text("name"), mount.text("mountPath"));
        if name.is_empty() {
            errors.push(Error::required(&at().child("name"), ""));
        }
        if !volumes.contains_key(name) {
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
        one_device(errors, &owner.child("volumeDevices").index(i), i, device, container, volumes);
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
    let at = || at().child("recursiveReadOnly");
    match mount.field("recursiveReadOnly").as_str() {
        None | Some("Disabled") => {}
        Some("Enabled" | "IfPossible") => {
            if !mount.flag("readOnly") {
                errors.push(Error::forbidden(&at(), "may only be specified when readOnly is true"));
            }
            if !matches!(mount.text("mountPropagation"), "" | "None") {
                let why = "may only be specified when mountPropagation is None or not specified";
                errors.push(Error::forbidden(&at(), why));
            }
        }
        Some(other) => errors.push(Error::not_supported(&at(), other, &["Disabled", "Enabled", "IfPossible"])),
    }
}

fn one_device(errors: &mut ErrorList, at: &Path, i: usize, device: &Value, container: &Value, volumes: &Volumes<'_>) {
    let (name, path) = (device.text("name"), device.text("devicePath"));
    let earlier = &container.list("volumeDevices")[..i];
    let has_backsteps = |path: &str| path.split('/').any(|part| part == "..");
    if name.is_empty() {
        errors.push(Error::required(&at.child("name"), ""));
    } else if earlier.iter().any(|d| d.text("name") == name) {
        errors.push(Error::invalid(&at.child("name"), name, "must be unique"));
    }
    match volumes.get(name) {
        None => errors.push(Error::not_found(&at.child("name"), name)),
        Some(volume) if !volume.has("persistentVolumeClaim") && !volume.has("ephemeral") => {
            let why = "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode";
            errors.push(Error::invalid(&at.child("name"), name, why));
        }
        Some(_) => {}
    }
    if path.is_empty() {
        errors.push(Error::required(&at.child("devicePath"), ""));
    }
    if earlier.iter().any(|d| d.text("devicePath") == path && !has_backsteps(path)) {
        errors.push(Error::invalid(&at.child("devicePath"), path, "must be unique"));
    }
    if has_backsteps(path) {
        errors.push(Error::invalid(&at.child("devicePath"), path, "can not contain backsteps ('..')"));
    }
    let mounts = container.list("volumeMounts");
    if mounts.iter().any(|m| m.text("name") == name) {
        errors.push(Error::invalid(&at.child("name"), name, "must not already exist in volumeMounts"));
    }
    if mounts.iter().any(|m| m.text("mountPath") == path) {
        let why = "must not already exist as a path in volumeMounts";
        errors.push(Error::invalid(&at.child("devicePath"), path, why));
    }
}

//! Validation of PersistentVolumes.

use apimachinery::field::{Error, ErrorList, Path};
use apimachinery::validation::is_dns1123_subdomain;
use apimachinery::{Object, meta::ObjectExt};
use serde_json::{Map, Value};

use super::claim::{CLASS_ANNOTATION, VOLUME_MODES, access_modes, annotation_warning, positive};
use super::claim_update::basic_quantity;
use crate::check;
use crate::podspec::warnings::{new_node_label, node_terms, source_warnings};
use crate::podspec::{affinity, volume_sources};
use crate::tree::Tree;

/// In the order in which they are checked: of two sources, the later one is refused.
const SOURCES: &[&str] = &[
    "hostPath",
    "gcePersistentDisk",
    "awsElasticBlockStore",
    "glusterfs",
    "flocker",
    "nfs",
    "rbd",
    "quobyte",
    "cephfs",
    "iscsi",
    "cinder",
    "fc",
    "flexVolume",
    "azureFile",
    "vsphereVolume",
    "photonPersistentDisk",
    "portworxVolume",
    "azureDisk",
    "scaleIO",
    "local",
    "storageos",
    "csi",
];

fn sources(spec: &Value) -> impl Iterator<Item = (&'static str, &Value)> {
    SOURCES.iter().map(|kind| (*kind, spec.field(kind))).filter(|(_, source)| !source.is_null())
}

pub fn validate(volume: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    let (at, spec) = (Path::new("spec"), volume.field("spec"));
    if spec.list("accessModes").is_empty() {
        errors.push(Error::required(&at.child("accessModes"), ""));
    }
    access_modes(&mut errors, &at, spec);
    capacity(&mut errors, &at.child("capacity"), spec);
    const POLICY: &str = "persistentVolumeReclaimPolicy";
    check::optional_choice(&mut errors, &at, spec, POLICY, &["Delete", "Recycle", "Retain"]);
    node_affinity(&mut errors, &at.child("nodeAffinity"), spec.field("nodeAffinity"));
    source(&mut errors, &at, volume);
    let path = spec.field("hostPath").field("path").as_str();
    if path.is_some_and(is_root) && spec.text(POLICY) == "Recycle" {
        errors.push(Error::forbidden(&at.child(POLICY), "may not be 'recycle' for a hostPath mount of '/'"));
    }
    check::optional_text(&mut errors, &at, spec, "storageClassName", is_dns1123_subdomain);
    check::optional_choice(&mut errors, &at, spec, "volumeMode", VOLUME_MODES);
    attributes_class(&mut errors, &at, spec);
    errors
}

/// What `/`, `//`, `/.` and the like come down to.
fn is_root(path: &str) -> bool {
    path.starts_with('/') && path.split('/').all(|part| matches!(part, "" | "." | ".."))
}

fn capacity(errors: &mut ErrorList, at: &Path, spec: &Value) {
    let capacity = spec.field("capacity");
    let count = capacity.as_object().map_or(0, Map::len);
    if count == 0 {
        errors.push(Error::required(at, ""));
    }
    if count != 1 || !capacity.has("storage") {
        errors.push(Error::not_supported(at, capacity.clone(), &["storage"]));
    }
    for (name, value) in spec.entries("capacity") {
        basic_quantity(errors, || at.key(name), value);
        positive(errors, || at.key(name), value);
    }
}

fn node_affinity(errors: &mut ErrorList, at: &Path, affinity: &Value) {
    if affinity.is_null() {
        return;
    }
    match affinity.field("required") {
        Value::Null => errors.push(Error::required(&at.child("required"), "must specify required node constraints")),
        required => affinity::node_selector(errors, &at.child("required"), required),
    }
}

fn source(errors: &mut ErrorList, at: &Path, volume: &Object) {
    let spec = volume.field("spec");
    let mut count = 0;
    for (kind, source) in sources(spec) {
        // Upstream does not refuse this one as a second source.
        if count > 0 && kind != "flexVolume" {
            errors.push(Error::forbidden(&at.child(shown(kind)), "may not specify more than 1 volume type"));
            continue;
        }
        count += 1;
        let owner = volume_sources::Owner::Persistent(volume.name());
        volume_sources::validate_common(errors, &at.child(kind), kind, source, owner);
        if kind == "local" && !spec.has("nodeAffinity") {
            errors.push(Error::required(&at.child("nodeAffinity"), "Local volume requires node affinity"));
        }
    }
    if count == 0 {
        errors.push(Error::required(at, "must specify a volume type"));
    }
}

/// One field has another name in upstream's texts.
fn shown(kind: &str) -> &str {
    if kind == "cephfs" { "cephFS" } else { kind }
}

fn attributes_class(errors: &mut ErrorList, at: &Path, spec: &Value) {
    const FIELD: &str = "volumeAttributesClassName";
    let Some(class) = spec.field(FIELD).as_str() else { return };
    if class.is_empty() {
        errors.push(Error::required(&at.child(FIELD), "an empty string is disallowed"));
    } else {
        check::text(errors, at, FIELD, class, is_dns1123_subdomain);
    }
    if !spec.has("csi") {
        let why = "has to be specified when using volumeAttributesClassName";
        errors.push(Error::required(&at.child("csi"), why));
    }
}

pub fn validate_update(new: &Object, old: &Object) -> ErrorList {
    let mut errors = validate(new);
    let (at, spec, before) = (Path::new("spec"), new.field("spec"), old.field("spec"));
    if !sources(&with_old_secret(spec, before)).eq(sources(before)) {
        let mut difference = String::new();
        crate::diff::describe(&mut difference, "spec", before, spec);
        let why = format!("spec.persistentvolumesource is immutable after creation\n{difference}");
        errors.push(Error::forbidden(&at.child("persistentvolumesource"), why));
    }
    // Upstream names these fields without their owner.
    check::immutable(&mut errors, &Path::default(), spec, before, "volumeMode");
    if before.has("nodeAffinity") && spec.field("nodeAffinity") != before.field("nodeAffinity") {
        let affinity = spec.field("nodeAffinity");
        if !renamed(before.field("nodeAffinity"), affinity) {
            let why = "field is immutable, except for updating from beta label to GA";
            errors.push(Error::invalid(&Path::new("nodeAffinity"), affinity.clone(), why));
        }
    }
    const CLASS: &str = "volumeAttributesClassName";
    if before.has(CLASS) && !spec.has(CLASS) {
        errors.push(Error::forbidden(&at.child(CLASS), "update from non-nil value to nil is forbidden"));
    }
    errors
}

/// The secret for growing a CSI volume may be named later.
fn with_old_secret(spec: &Value, before: &Value) -> Value {
    let mut spec = spec.clone();
    if before.has("csi")
        && !before.field("csi").has("controllerExpandSecretRef")
        && let Some(csi) = spec.get_mut("csi").and_then(Value::as_object_mut)
    {
        csi.remove("controllerExpandSecretRef");
    }
    spec
}

/// All that changed is old labels of nodes, which now have their new names.
fn renamed(before: &Value, after: &Value) -> bool {
    match (before, after) {
        (Value::Object(before), Value::Object(after)) => {
            before.len() == after.len()
                && before.iter().all(|(field, old)| match after.get(field) {
                    Some(new) if field == "key" => old == new || new_node_label(old) == new.as_str(),
                    Some(new) => renamed(old, new),
                    None => false,
                })
        }
        (Value::Array(before), Value::Array(after)) => {
            before.len() == after.len() && before.iter().zip(after).all(|(old, new)| renamed(old, new))
        }
        _ => before == after,
    }
}

pub fn warnings(volume: &Object, _old: Option<&Object>) -> Vec<String> {
    let mut warnings = Vec::new();
    annotation_warning(&mut warnings, volume, CLASS_ANNOTATION, "v1.8", "storageClassName");
    let options = "volume.beta.kubernetes.io/mount-options";
    annotation_warning(&mut warnings, volume, options, "v1.31", "mountOptions");
    let (at, spec) = (Path::new("spec"), volume.field("spec"));
    if spec.text("persistentVolumeReclaimPolicy") == "Recycle" {
        let at = at.child("persistentVolumeReclaimPolicy");
        warnings.push(format!(
            "{at}: The Recycle reclaim policy is deprecated. Instead, the recommended approach is to use dynamic \
             provisioning."
        ));
    }
    let terms = spec.field("nodeAffinity").field("required").list("nodeSelectorTerms");
    node_terms(&mut warnings, &at.child("nodeAffinity").child("required").child("nodeSelectorTerms"), terms);
    source_warnings(&mut warnings, || at.clone(), spec);
    warnings
}

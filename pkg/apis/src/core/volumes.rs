//! PersistentVolumes and PersistentVolumeClaims.

use apimachinery::field::{Error, ErrorList, Path};
use apimachinery::validation::is_dns1123_subdomain;
use apimachinery::{Object, meta::ObjectExt, meta::object_mut};
use serde_json::{Value, json};

use super::claim::{self, ACCESS_MODES, access_modes};
use crate::cells::age;
use crate::check;
use crate::podspec::defaults::{default_claim_spec, default_remote_volume};
use crate::podspec::{affinity, volume_sources};
use crate::quantity::{self, canonical_quantities};
use crate::resource::{Column, Resource, Strategy, Subresource};
use crate::tree::{Fill, Tree, spec_mut};

const CLASS_ANNOTATION: &str = "volume.beta.kubernetes.io/storage-class";

const CAPACITY: Column = Column::text("Capacity", "How much it holds.");
const MODES: Column = Column::text("Access Modes", "Ways in which it can be mounted.");
const CLASS: Column = Column::text("StorageClass", "Class that it belongs to.");
const ATTRIBUTES: Column = Column::text("VolumeAttributesClass", "Class of its changeable attributes.");
const VOLUME_MODE: Column = Column::text("VolumeMode", "File system or raw block device.").wide();

pub const VOLUME: Resource = Resource {
    short_names: &["pv"],
    columns: &[
        Column::NAME,
        CAPACITY,
        MODES,
        Column::text("Reclaim Policy", "What becomes of it when its claim goes."),
        Column::text("Status", "Where it is in its life."),
        Column::text("Claim", "Claim that it is bound to."),
        CLASS,
        ATTRIBUTES,
        Column::text("Reason", "Why it is in this state."),
        Column::AGE,
        VOLUME_MODE,
    ],
    cells: volume_cells,
    subresources: &[Subresource::STATUS],
    strategy: Strategy {
        default: default_volume,
        prepare_for_create: pending,
        validate: validate_volume,
        validate_update: update_volume,
        generation_changed: None,
        ..Strategy::SPEC_STATUS
    },
    ..Resource::cluster("", "v1", "persistentvolumes", "persistentvolume", "PersistentVolume")
};

pub const CLAIM: Resource = Resource {
    short_names: &["pvc"],
    columns: &[
        Column::NAME,
        Column::text("Status", "Where it is in its life."),
        Column::text("Volume", "Volume that it is bound to."),
        CAPACITY,
        MODES,
        CLASS,
        ATTRIBUTES,
        Column::AGE,
        VOLUME_MODE,
    ],
    cells: claim_cells,
    subresources: &[Subresource::STATUS],
    strategy: Strategy {
        default: default_claim,
        prepare_for_create: pending,
        validate: validate_claim,
        validate_update: update_claim,
        validate_status_update: claim_status,
        generation_changed: None,
        ..Strategy::SPEC_STATUS
    },
    ..Resource::namespaced("", "v1", "persistentvolumeclaims", "persistentvolumeclaim", "PersistentVolumeClaim")
};

fn pending(object: &mut Object) {
    object_mut(object).insert("status".to_owned(), json!({ "phase": "Pending" }));
}

fn default_volume(volume: &mut Object) {
    let Some(spec) = spec_mut(volume) else { return };
    spec.default_text("persistentVolumeReclaimPolicy", "Retain");
    spec.default_value("volumeMode", || "Filesystem".into());
    canonical_quantities(spec, "capacity");
    default_remote_volume(spec);
    if let Some(path) = spec.sub("hostPath") {
        path.default_value("type", || "".into());
    }
}

fn default_claim(claim: &mut Object) {
    let root = object_mut(claim);
    if let Some(spec) = root.sub("spec") {
        default_claim_spec(spec);
    }
    if let Some(status) = root.sub("status") {
        canonical_quantities(status, "capacity");
        canonical_quantities(status, "allocatedResources");
    }
}

/// Fields of a PersistentVolumeSpec that are no source.
const NOT_SOURCES: &[&str] = &[
    "capacity",
    "accessModes",
    "claimRef",
    "persistentVolumeReclaimPolicy",
    "storageClassName",
    "mountOptions",
    "volumeMode",
    "nodeAffinity",
    "volumeAttributesClassName",
];

fn sources(spec: &Value) -> impl Iterator<Item = (&String, &Value)> {
    let all = spec.as_object().into_iter().flatten();
    all.filter(|(name, value)| !NOT_SOURCES.contains(&name.as_str()) && !value.is_null())
}

fn validate_volume(volume: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    let (at, spec) = (Path::new("spec"), volume.field("spec"));
    if spec.list("accessModes").is_empty() {
        errors.push(Error::required(&at.child("accessModes"), ""));
    }
    access_modes(&mut errors, &at, spec);
    capacity(&mut errors, &at.child("capacity"), spec);
    let policies = &["Delete", "Recycle", "Retain"];
    check::optional_choice(&mut errors, &at, spec, "persistentVolumeReclaimPolicy", policies);
    let mut given = sources(spec);
    match given.next() {
        None => errors.push(Error::required(&at, "must specify a volume type")),
        Some((kind, source)) => {
            let owner = volume_sources::Owner::Persistent(volume.name());
            volume_sources::validate_common(&mut errors, &at.child(kind), kind, source, owner);
        }
    }
    for (kind, _) in given {
        errors.push(Error::forbidden(&at.child(kind), "may not specify more than 1 volume type"));
    }
    if spec.field("hostPath").text("path") == "/" && spec.text("persistentVolumeReclaimPolicy") == "Recycle" {
        let why = "may not be 'recycle' for a hostPath mount of '/'";
        errors.push(Error::forbidden(&at.child("persistentVolumeReclaimPolicy"), why));
    }
    if spec.field("nodeAffinity").has("required") {
        let at = at.child("nodeAffinity").child("required");
        affinity::node_selector(&mut errors, &at, spec.field("nodeAffinity").field("required"));
    } else if spec.has("local") {
        errors
            .push(Error::required(&Path::new("metadata").child("annotations"), "Local volume requires node affinity"));
    }
    check::optional_text(&mut errors, &at, spec, "storageClassName", is_dns1123_subdomain);
    check::optional_choice(&mut errors, &at, spec, "volumeMode", &["Block", "Filesystem"]);
    errors
}

fn capacity(errors: &mut ErrorList, at: &Path, spec: &Value) {
    let capacity = spec.field("capacity");
    if capacity.as_object().is_none_or(serde_json::Map::is_empty) {
        errors.push(Error::required(at, ""));
        return;
    }
    if !capacity.has("storage") || capacity.as_object().is_some_and(|c| c.len() > 1) {
        errors.push(Error::not_supported(at, capacity.clone(), &["storage"]));
    }
    for (name, value) in spec.entries("capacity") {
        let amount = quantity::parse(value);
        if amount.is_none_or(|q| q.is_zero() || q.is_negative()) {
            errors.push(Error::invalid(&at.key(name), value.clone(), "must be greater than zero"));
        }
    }
}

fn update_volume(new: &Object, old: &Object) -> ErrorList {
    let mut errors = validate_volume(new);
    let (at, spec, before) = (Path::new("spec"), new.field("spec"), old.field("spec"));
    if !sources(spec).eq(sources(before)) {
        let mut difference = String::new();
        crate::diff::describe(&mut difference, "spec", before, spec);
        let why = format!("spec.persistentvolumesource is immutable after creation\n{difference}");
        errors.push(Error::forbidden(&at.child("persistentvolumesource"), why));
    }
    check::immutable(&mut errors, &Path::default(), spec, before, "volumeMode");
    if before.has("nodeAffinity") && spec.field("nodeAffinity") != before.field("nodeAffinity") {
        let why = "field is immutable, except for updating from beta label to GA";
        errors.push(Error::invalid(&at.child("nodeAffinity"), spec.field("nodeAffinity").clone(), why));
    }
    errors
}

fn validate_claim(object: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    claim::validate_spec(&mut errors, &Path::new("spec"), object.field("spec"));
    errors
}

fn update_claim(new: &Object, old: &Object) -> ErrorList {
    let mut errors = validate_claim(new);
    let (spec, before) = (new.field("spec"), old.field("spec"));
    let bound = old.field("status").text("phase") == "Bound";
    let mut munged = spec.clone();
    if let Some(munged) = munged.as_object_mut() {
        let mut restored = Vec::new();
        // Binding sets the volume once.
        if before.text("volumeName").is_empty() {
            restored.push("volumeName");
        }
        if bound {
            restored.extend(["resources", "volumeAttributesClassName"]);
        }
        // A claim without a class may still be given one.
        if !before.has("storageClassName") {
            restored.push("storageClassName");
        }
        for field in restored {
            match before.get(field) {
                Some(value) => munged.insert(field.to_owned(), value.clone()),
                None => munged.remove(field),
            };
        }
    }
    if &munged != before {
        let mut difference = String::new();
        crate::diff::describe(&mut difference, "spec", before, &munged);
        let why = "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound \
                   claims";
        errors.push(Error::forbidden(&Path::new("spec"), format!("{why}\n{difference}")));
    }
    let storage = |spec: &Value| quantity::parse(spec.field("resources").field("requests").field("storage"));
    let held = quantity::parse(old.field("status").field("capacity").field("storage"));
    if let (Some(now), Some(then)) = (storage(spec), storage(before))
        && now < then
        && held.is_none_or(|held| now <= held)
    {
        let path = Path::new("spec").child("resources").child("requests").child("storage");
        errors.push(Error::forbidden(&path, "field can not be less than status.capacity"));
    }
    errors
}

fn claim_status(new: &Object, _old: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    let at = Path::new("status").child("capacity");
    for (name, value) in new.field("status").entries("capacity") {
        check::nonnegative_quantity(&mut errors, &at.key(name), value);
    }
    errors
}

/// `RWO,RWX`: in the order of the table.
fn modes_cell(owner: &Value) -> Value {
    const SHORT: &[(&str, &str)] =
        &[("ReadWriteOnce", "RWO"), ("ReadOnlyMany", "ROX"), ("ReadWriteMany", "RWX"), ("ReadWriteOncePod", "RWOP")];
    debug_assert_eq!(SHORT.len(), ACCESS_MODES.len());
    let given = SHORT.iter().filter(|(mode, _)| owner.texts("accessModes").any(|m| m == *mode));
    given.map(|(_, short)| *short).collect::<Vec<_>>().join(",").into()
}

fn phase(object: &Object) -> Value {
    if object.is_deleting() { "Terminating".into() } else { object.str_at("status/phase").into() }
}

fn class(object: &Object) -> Value {
    let annotation = object.annotations().and_then(|a| a.get(CLASS_ANNOTATION)).and_then(Value::as_str);
    annotation.unwrap_or_else(|| object.str_at("spec/storageClassName")).into()
}

fn or_unset(spec: &Value, field: &str) -> Value {
    spec.field(field).as_str().unwrap_or("<unset>").into()
}

fn volume_cells(volume: &Object, now: i64) -> Vec<Value> {
    let spec = volume.field("spec");
    let claim = match spec.field("claimRef") {
        Value::Null => String::new(),
        claim => format!("{}/{}", claim.text("namespace"), claim.text("name")),
    };
    vec![
        volume.name().into(),
        spec.field("capacity").text("storage").into(),
        modes_cell(spec),
        spec.text("persistentVolumeReclaimPolicy").into(),
        phase(volume),
        claim.into(),
        class(volume),
        or_unset(spec, "volumeAttributesClassName"),
        volume.field("status").text("reason").into(),
        age(volume, now),
        or_unset(spec, "volumeMode"),
    ]
}

fn claim_cells(claim: &Object, now: i64) -> Vec<Value> {
    let (spec, status) = (claim.field("spec"), claim.field("status"));
    let volume = spec.text("volumeName");
    let (capacity, modes) = if volume.is_empty() {
        ("".into(), "".into())
    } else {
        (status.field("capacity").text("storage").into(), modes_cell(status))
    };
    vec![
        claim.name().into(),
        phase(claim),
        volume.into(),
        capacity,
        modes,
        class(claim),
        or_unset(spec, "volumeAttributesClassName"),
        age(claim, now),
        or_unset(spec, "volumeMode"),
    ]
}

//! PersistentVolumes and PersistentVolumeClaims.

use apimachinery::{Object, meta::ObjectExt, meta::object_mut};
use serde_json::{Value, json};

use super::claim::{self, ACCESS_MODES};
use super::{claim_update, volume};
use crate::cells::age;
use crate::podspec::defaults::{default_claim_spec, default_remote_volume};
use crate::quantity::canonical_quantities;
use crate::resource::{Column, Resource, Strategy, Subresource};
use crate::tree::{Fill, Tree, spec_mut};

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
        validate: volume::validate,
        validate_update: volume::validate_update,
        warnings: volume::warnings,
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
        prepare_for_create: |claim| {
            pending(claim);
            drop_foreign_source(claim);
        },
        validate: claim::validate,
        validate_update: claim_update::validate,
        validate_status_update: claim_update::validate_status,
        warnings: claim::warnings,
        generation_changed: None,
        ..Strategy::SPEC_STATUS
    },
    ..Resource::namespaced("", "v1", "persistentvolumeclaims", "persistentvolumeclaim", "PersistentVolumeClaim")
};

fn pending(object: &mut Object) {
    object_mut(object).insert("status".to_owned(), json!({ "phase": "Pending" }));
}

/// Sources in other namespaces are an alpha feature.
fn drop_foreign_source(claim: &mut Object) {
    if let Some(spec) = spec_mut(claim)
        && !spec.field("dataSourceRef").text("namespace").is_empty()
    {
        spec.remove("dataSourceRef");
    }
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
    let annotation = object.annotations().and_then(|a| a.get(claim::CLASS_ANNOTATION)).and_then(Value::as_str);
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

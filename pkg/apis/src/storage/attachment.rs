//! VolumeAttachments.

use apimachinery::field::{Error, ErrorList, Path};
use apimachinery::validation::{inclusive_range_error, is_dns1123_subdomain};
use apimachinery::{Object, meta::ObjectExt};
use serde_json::Value;

use super::GROUP;
use crate::cells::age;
use crate::check;
use crate::names;
use crate::podspec::volume_sources::driver_name;
use crate::resource::{Column, Resource, Strategy, Subresource};
use crate::tree::Tree;

pub const ROW: Resource = Resource {
    columns: &[
        Column::NAME,
        Column { format: "name", ..Column::text("Attacher", "Driver that attaches it.") },
        Column::text("PV", "Volume that is attached."),
        Column::text("Node", "Node that it is attached to."),
        Column { type_: "boolean", ..Column::text("Attached", "Whether it is attached now.") },
        Column::AGE,
    ],
    cells: |o, now| {
        let spec = o.field("spec");
        vec![
            o.name().into(),
            spec.text("attacher").into(),
            spec.field("source").text("persistentVolumeName").into(),
            spec.text("nodeName").into(),
            o.field("status").flag("attached").into(),
            age(o, now),
        ]
    },
    subresources: &[Subresource::STATUS],
    strategy: Strategy {
        validate: |o| {
            let mut errors = validate(o);
            new_names(&mut errors, o.field("spec"));
            errors
        },
        validate_update: update,
        validate_status_update: update,
        generation_changed: None,
        prepare_for_status_update: crate::strategy::keep_metadata_too,
        allow_unconditional_update: false,
        ..Strategy::SPEC_STATUS
    },
    ..Resource::cluster(GROUP, "v1", "volumeattachments", "volumeattachment", "VolumeAttachment")
};

const METADATA_MAX: usize = 256 * 1024;
const MESSAGE_MAX: usize = 1024;

fn validate(attachment: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    let (at, spec) = (Path::new("spec"), attachment.field("spec"));
    check::required(&mut errors, &at, spec, "attacher");
    source(&mut errors, &at.child("source"), spec.field("source"));
    check::text(&mut errors, &at, "nodeName", spec.text("nodeName"), is_dns1123_subdomain);
    status(&mut errors, attachment.field("status"));
    errors
}

/// What objects that are older than `v1` may lack.
fn new_names(errors: &mut ErrorList, spec: &Value) {
    let at = Path::new("spec");
    driver_name(errors, &at.child("attacher"), spec.text("attacher"));
    if let Some(volume) = spec.field("source").field("persistentVolumeName").as_str() {
        check::text(errors, &at.child("source"), "persistentVolumeName", volume, is_dns1123_subdomain);
    }
}

fn source(errors: &mut ErrorList, at: &Path, source: &Value) {
    const ONE_OF: &str = "must specify exactly one of inlineVolumeSpec and persistentVolumeName";
    match (source.has("persistentVolumeName"), source.has("inlineVolumeSpec")) {
        (true, true) => errors.push(Error::forbidden(at, ONE_OF)),
        (false, false) => errors.push(Error::required(at, ONE_OF)),
        (true, false) if source.text("persistentVolumeName").is_empty() => {
            let why = "must specify non empty persistentVolumeName";
            errors.push(Error::required(&at.child("persistentVolumeName"), why));
        }
        (true, false) => {}
        (false, true) => inline(errors, &at.child("inlineVolumeSpec"), source.field("inlineVolumeSpec")),
    }
}

/// The volume of a pod that was moved to a CSI driver: such a spec has a CSI source and no claim.
fn inline(errors: &mut ErrorList, at: &Path, spec: &Value) {
    const CONTEXT: &str = "in the context of inline volumes";
    for field in ["claimRef", "capacity"].into_iter().filter(|f| spec.has(f)) {
        errors.push(Error::forbidden(&at.child(field), format!("may not be specified {CONTEXT}")));
    }
    if !spec.has("csi") {
        errors.push(Error::required(&at.child("csi"), format!("has to be specified {CONTEXT}")));
    }
    if spec.list("accessModes").is_empty() {
        errors.push(Error::required(&at.child("accessModes"), ""));
    }
}

fn status(errors: &mut ErrorList, status: &Value) {
    let at = Path::new("status");
    if names::map_size(status.field("attachmentMetadata")) > METADATA_MAX {
        errors.push(Error::too_long(&at.child("attachmentMetadata"), METADATA_MAX));
    }
    for field in ["attachError", "detachError"] {
        let (at, error) = (at.child(field), status.field(field));
        if error.text("message").len() > MESSAGE_MAX {
            // Upstream names the limit of the metadata here, too.
            errors.push(Error::too_long(&at.child("message"), METADATA_MAX));
        }
        if let Some(code) = error.int("errorCode").filter(|c| *c < 0) {
            let why = inclusive_range_error(0, i32::MAX.into());
            errors.push(Error::invalid(&at.child("errorCode"), code, why));
        }
    }
}

fn update(new: &Object, old: &Object) -> ErrorList {
    let mut errors = validate(new);
    check::immutable(&mut errors, &Path::default(), new, old, "spec");
    errors
}

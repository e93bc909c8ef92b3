//! ResourceClaims and their templates.

use apimachinery::field::{ErrorList, Path};
use apimachinery::{Object, meta::ObjectExt};
use serde_json::Value;

use super::{GROUP, admin, request, status};
use crate::cells::age;
use crate::check;
use crate::resource::{Column, Resource, Strategy, Subresource};
use crate::tree::{Fill, Tree, spec_mut};

pub const ROW: Resource = Resource {
    columns: &[Column::NAME, Column::text("State", "Whether it has its devices, and who uses them."), Column::AGE],
    cells: |o, now| vec![o.name().into(), state(o).into(), age(o, now)],
    subresources: &[Subresource::STATUS],
    strategy: Strategy {
        default: |o| {
            if let Some(spec) = spec_mut(o) {
                request::default(spec);
            }
        },
        prepare_for_create: |o| {
            crate::strategy::drop_status(o);
            if let Some(spec) = spec_mut(o) {
                request::drop_disabled(spec);
            }
        },
        validate: |o| {
            let mut errors = ErrorList::new();
            request::validate(&mut errors, &Path::new("spec"), o.field("spec"));
            errors
        },
        validate_update: unchanged,
        validate_in_namespace: Some(|new, old, namespace| match old {
            None => admin::check_requests(new.field("spec"), namespace),
            Some(old) => admin::check_results(new, old, namespace),
        }),
        validate_status_update: status::validate,
        generation_changed: None,
        prepare_for_status_update: crate::strategy::keep_metadata_too,
        ..Strategy::SPEC_STATUS
    },
    ..Resource::namespaced(GROUP, "v1", "resourceclaims", "resourceclaim", "ResourceClaim")
};

pub const TEMPLATE: Resource = Resource {
    strategy: Strategy {
        default: |o| {
            if let Some(spec) = spec_mut(o).and_then(|s| s.sub("spec")) {
                request::default(spec);
            }
        },
        prepare_for_create: |o| {
            if let Some(spec) = spec_mut(o).and_then(|s| s.sub("spec")) {
                request::drop_disabled(spec);
            }
        },
        validate: |o| {
            let mut errors = ErrorList::new();
            let (at, spec) = (Path::new("spec"), o.field("spec"));
            template_metadata(&mut errors, &at.child("metadata"), spec.field("metadata"));
            request::validate(&mut errors, &at.child("spec"), spec.field("spec"));
            errors
        },
        validate_update: unchanged,
        validate_in_namespace: Some(|new, old, namespace| match old {
            None => admin::check_requests(new.field("spec").field("spec"), namespace),
            Some(_) => ErrorList::new(),
        }),
        ..Strategy::PLAIN
    },
    ..Resource::namespaced(GROUP, "v1", "resourceclaimtemplates", "resourceclaimtemplate", "ResourceClaimTemplate")
};

fn unchanged(new: &Object, old: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    check::immutable(&mut errors, &Path::default(), new, old, "spec");
    errors
}

fn template_metadata(errors: &mut ErrorList, at: &Path, metadata: &Value) {
    check::annotations(errors, &at.child("annotations"), metadata.field("annotations"));
    check::labels(errors, &at.child("labels"), metadata.field("labels"));
}

fn state(claim: &Object) -> String {
    let status = claim.field("status");
    let mut states = Vec::new();
    if claim.is_deleting() {
        states.push("deleted");
    }
    if !status.has("allocation") {
        if !claim.is_deleting() {
            states.push("pending");
        }
    } else {
        states.push("allocated");
        if !status.list("reservedFor").is_empty() {
            states.push("reserved");
        }
    }
    states.join(",")
}

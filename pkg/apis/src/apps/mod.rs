//! Rows of `apps`.

mod daemonset;
mod deployment;
mod statefulset;

use apimachinery::field::{Error, ErrorList, Path};
use apimachinery::{Object, meta::ObjectExt, meta::object_mut};
use serde_json::Value;

use crate::cells::age;
use crate::check;
use crate::core::controller::{REPLICA_COLUMNS, replica_cells, replicas_text, validate_replica_status, zero_replicas};
use crate::podspec::warnings::named_template_warnings;
use crate::resource::{Column, Resource, Strategy, Subresource};
use crate::tree::{Fill, Tree, spec_mut};
use crate::workload;

const fn row(plural: &'static str, singular: &'static str, kind: &'static str) -> Resource {
    Resource {
        categories: &["all"],
        subresources: &[Subresource::SCALE, Subresource::STATUS],
        ..Resource::namespaced("apps", "v1", plural, singular, kind)
    }
}

pub const ROWS: &[Resource] = &[CONTROLLER_REVISION, daemonset::ROW, deployment::ROW, REPLICA_SET, statefulset::ROW];

const STRATEGY: Strategy = Strategy {
    warnings: |new, old| named_template_warnings(new, old, "spec.template", new.field("spec").field("template")),
    ..Strategy::SPEC_STATUS
};

const REPLICA_SET: Resource = Resource {
    short_names: &["rs"],
    columns: REPLICA_COLUMNS,
    cells: |o, now| replica_cells(o, now, workload::selector_cell(o.field("spec").field("selector"))),
    selectable: &[("status.replicas", replicas_text)],
    strategy: Strategy {
        default: |o| {
            if let Some(spec) = spec_mut(o) {
                spec.default_value("replicas", || 1.into());
                workload::default_template(spec);
            }
        },
        prepare_for_create: zero_replicas,
        validate: validate_replica_set,
        validate_update: |new, old| {
            let mut errors = validate_replica_set(new);
            selector_unchanged(&mut errors, new, old);
            errors
        },
        validate_status_update: |new, _| validate_replica_status(new),
        ..STRATEGY
    },
    ..row("replicasets", "replicaset", "ReplicaSet")
};

fn validate_replica_set(object: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    let (at, spec) = (Path::new("spec"), object.field("spec"));
    check::nonnegative(&mut errors, &at, spec, "replicas");
    check::nonnegative(&mut errors, &at, spec, "minReadySeconds");
    workload::validate_replicated(&mut errors, &at, spec);
    errors
}

fn selector_unchanged(errors: &mut ErrorList, new: &Object, old: &Object) {
    check::immutable(errors, &Path::new("spec"), new.field("spec"), old.field("spec"), "selector");
}

const CONTROLLER_REVISION: Resource = Resource {
    categories: &[],
    subresources: &[],
    columns: &[
        Column::NAME,
        Column::text("Controller", "Object whose revision it is."),
        Column::text("Revision", "Number of the revision."),
        Column::AGE,
    ],
    cells: |o, now| {
        let revision = o.int("revision").unwrap_or(0);
        vec![o.name().into(), controller(o).into(), revision.into(), age(o, now)]
    },
    strategy: Strategy {
        validate: validate_revision,
        validate_update: |new, old| {
            let mut errors = validate_revision(new);
            check::immutable(&mut errors, &Path::default(), new, old, "data");
            errors
        },
        ..Strategy::PLAIN
    },
    ..row("controllerrevisions", "controllerrevision", "ControllerRevision")
};

fn validate_revision(object: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    match object.field("data") {
        Value::Null => errors.push(Error::required(&Path::new("data"), "data is mandatory")),
        Value::Object(_) => {}
        _ => errors.push(Error::required(&Path::new("data"), "data must be a valid JSON object")),
    }
    check::nonnegative(&mut errors, &Path::default(), object, "revision");
    errors
}

/// `statefulset.apps/web`.
fn controller(object: &Object) -> String {
    let owners = object.array_at("metadata/ownerReferences");
    let Some(owner) = owners.iter().find(|o| o.flag("controller")) else { return "<none>".to_owned() };
    let kind = owner.text("kind").to_lowercase();
    match owner.text("apiVersion").split_once('/') {
        Some((group, _)) => format!("{kind}.{group}/{}", owner.text("name")),
        None => format!("{kind}/{}", owner.text("name")),
    }
}

/// Counters that must not go back, such as `collisionCount`.
fn not_decremented(errors: &mut ErrorList, new: &Value, old: &Value, field: &str) {
    let now = new.int(field);
    if let Some(then) = old.int(field)
        && now.is_none_or(|now| now < then)
    {
        let path = Path::new("status").child(field);
        errors.push(Error::invalid(&path, now.unwrap_or(0), "cannot be decremented"));
    }
}

/// Empties `status` at birth.
fn empty_status(object: &mut Object) {
    object_mut(object).insert("status".to_owned(), serde_json::json!({}));
}

#[cfg(test)]
mod tests;

//! Namespaces: finalized by the namespace controller, labelled with their own name.

use apimachinery::field::{Error, ErrorList, Path};
use apimachinery::validation::is_qualified_name;
use apimachinery::{Object, meta::ObjectExt, meta::object_mut};
use serde_json::{Value, json};

use crate::cells::age;
use crate::resource::{Column, Resource, Strategy, Subresource, SubresourceUpdate, Verbs};
use crate::strategy::{keep, keep_all_but_status, keep_status, label_name};
use crate::tree::{Fill, Tree, spec_mut};

pub const ROW: Resource = Resource {
    short_names: &["ns"],
    verbs: Verbs(&["create", "delete", "get", "list", "patch", "update", "watch"]),
    columns: &[Column::NAME, Column::text("Status", "Active, or Terminating while its contents go."), Column::AGE],
    cells: |o, now| vec![o.name().into(), o.str_at("status/phase").into(), age(o, now)],
    selectable: &[("status.phase", |o| o.str_at("status/phase").to_owned()), ("name", |o| o.name().to_owned())],
    subresources: &[
        Subresource::part(
            "finalize",
            &["update"],
            SubresourceUpdate { prepare: keep_status, validate: validate_finalize },
        ),
        Subresource::STATUS,
    ],
    strategy: Strategy {
        default: label_with_name,
        prepare_for_create,
        prepare_for_update,
        prepare_for_status_update: keep_all_but_status,
        validate,
        validate_status_update,
        validate_name: label_name,
        generation_changed: None,
        ..Strategy::SPEC_STATUS
    },
    ..Resource::cluster("", "v1", "namespaces", "namespace", "Namespace")
};

const NAME_LABEL: &str = "kubernetes.io/metadata.name";

fn label_with_name(namespace: &mut Object) {
    let name = namespace.name().to_owned();
    if !name.is_empty() {
        namespace.metadata_mut().sub_or_new("labels").insert(NAME_LABEL.to_owned(), name.into());
    }
}

fn prepare_for_create(namespace: &mut Object) {
    label_with_name(namespace);
    let root = object_mut(namespace);
    root.insert("status".to_owned(), json!({ "phase": "Active" }));
    let spec = root.sub_or_new("spec");
    let list = spec.entry("finalizers").or_insert(Value::Null);
    match list {
        Value::Array(list) if list.iter().any(|f| f == "kubernetes") => {}
        Value::Array(list) => list.push("kubernetes".into()),
        _ => *list = json!(["kubernetes"]),
    }
}

/// Finalizers are the matter of the `finalize` endpoint.
fn prepare_for_update(new: &mut Object, old: &Object) {
    label_with_name(new);
    keep_status(new, old);
    if new.get("spec").is_none() || old.get("spec").is_none() {
        return keep(new, old, "spec");
    }
    let finalizers = old.field("spec").get("finalizers").cloned();
    let Some(spec) = spec_mut(new) else { return };
    match finalizers {
        Some(finalizers) => spec.insert("finalizers".to_owned(), finalizers),
        None => spec.remove("finalizers"),
    };
}

fn validate(namespace: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    let at = Path::new("spec").child("finalizers");
    namespace.field("spec").texts("finalizers").for_each(|name| finalizer(&mut errors, &at, name));
    errors
}

fn validate_finalize(new: &Object, _old: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    let at = Path::new("spec").child("finalizers");
    for (i, name) in new.field("spec").texts("finalizers").enumerate() {
        finalizer(&mut errors, &at.index(i), name);
    }
    errors
}

fn finalizer(errors: &mut ErrorList, at: &Path, name: &str) {
    errors.extend(is_qualified_name(name).into_iter().map(|e| Error::invalid(at, name, e)));
    if !name.contains('/') && !matches!(name, "kubernetes" | "orphan" | "foregroundDeletion") {
        let why = "name is neither a standard finalizer name nor is it fully qualified";
        errors.push(Error::invalid(at, name, why));
    }
}

fn validate_status_update(new: &Object, _old: &Object) -> ErrorList {
    let phase = new.field("status").text("phase");
    let (wanted, why) = if new.is_deleting() {
        ("Terminating", "may only be 'Terminating' if `deletionTimestamp` is not empty")
    } else {
        ("Active", "may only be 'Active' if `deletionTimestamp` is empty")
    };
    // Upstream calls the field by its name in Go.
    if phase == wanted { Vec::new() } else { vec![Error::invalid(&Path::new("status").child("Phase"), phase, why)] }
}

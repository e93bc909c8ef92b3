//! StorageClasses and VolumeAttributesClasses.

use apimachinery::field::{Error, ErrorList, Path};
use apimachinery::validation::is_qualified_name;
use apimachinery::{Object, meta::ObjectExt, meta::object_mut};
use serde_json::Value;

use super::GROUP;
use crate::cells::age;
use crate::check;
use crate::names;
use crate::podspec::warnings::deprecated_node_label;
use crate::resource::{Column, Resource, Strategy};
use crate::tree::{Fill, Tree};

pub const STORAGE: Resource = Resource {
    short_names: &["sc"],
    columns: &[
        Column::NAME,
        Column::text("Provisioner", "Who makes its volumes."),
        Column::text("ReclaimPolicy", "What becomes of a volume when its claim goes."),
        Column::text("VolumeBindingMode", "When a claim gets its volume."),
        Column::text("AllowVolumeExpansion", "Whether its volumes can grow."),
        Column::AGE,
    ],
    cells: |o, now| {
        let prefixes = &["storageclass.kubernetes.io", "storageclass.beta.kubernetes.io"];
        vec![
            name_cell(o, prefixes),
            o.text("provisioner").into(),
            o.text("reclaimPolicy").into(),
            o.text("volumeBindingMode").into(),
            o.flag("allowVolumeExpansion").into(),
            age(o, now),
        ]
    },
    strategy: Strategy {
        default: |o| {
            let root = object_mut(o);
            root.default_value("reclaimPolicy", || "Delete".into());
            root.default_value("volumeBindingMode", || "Immediate".into());
        },
        validate,
        validate_update: |new, old| {
            let mut errors = validate(new);
            forbid_changes(&mut errors, new, old, &["parameters", "provisioner", "reclaimPolicy"]);
            check::immutable(&mut errors, &Path::default(), new, old, "volumeBindingMode");
            errors
        },
        warnings: |new, _| topology_warnings(new.list("allowedTopologies")),
        ..Strategy::PLAIN
    },
    ..Resource::cluster(GROUP, "v1", "storageclasses", "storageclass", "StorageClass")
};

pub const ATTRIBUTES: Resource = Resource {
    short_names: &["vac"],
    columns: &[Column::NAME, Column::text("DriverName", "Driver that applies it."), Column::AGE],
    cells: |o, now| {
        let prefixes = &["volumeattributesclass.alpha.kubernetes.io"];
        vec![name_cell(o, prefixes), o.text("driverName").into(), age(o, now)]
    },
    strategy: Strategy {
        validate: validate_attributes,
        validate_update: |new, old| {
            let mut errors = ErrorList::new();
            forbid_changes(&mut errors, new, old, &["driverName", "parameters"]);
            errors.extend(validate_attributes(new));
            errors
        },
        ..Strategy::PLAIN
    },
    ..Resource::cluster(GROUP, "v1", "volumeattributesclasses", "volumeattributesclass", "VolumeAttributesClass")
};

/// The name, and whether an annotation `<prefix>/is-default-class` makes it the default of its kind.
fn name_cell(object: &Object, prefixes: &[&str]) -> Value {
    let holds = |prefix: &&str| {
        let key = format!("{prefix}/is-default-class");
        object.annotations().and_then(|a| a.get(&key)).is_some_and(|v| v == "true")
    };
    if prefixes.iter().any(holds) { format!("{} (default)", object.name()).into() } else { object.name().into() }
}

fn validate(class: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    let root = Path::default();
    qualified(&mut errors, class, "provisioner");
    parameters(&mut errors, class);
    check::optional_choice(&mut errors, &root, class, "reclaimPolicy", &["Delete", "Retain"]);
    check::choice(&mut errors, &root, class, "volumeBindingMode", &["Immediate", "WaitForFirstConsumer"]);
    topologies(&mut errors, &Path::new("allowedTopologies"), class.list("allowedTopologies"));
    errors
}

fn validate_attributes(class: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    qualified(&mut errors, class, "driverName");
    parameters(&mut errors, class);
    if class.entries("parameters").next().is_none() {
        errors.push(Error::required(&Path::new("parameters"), "must contain at least one key/value pair"));
    }
    errors
}

/// Who makes or changes volumes: a qualified name in any case.
fn qualified(errors: &mut ErrorList, class: &Object, field: &str) {
    match class.text(field) {
        "" => errors.push(Error::required(&Path::new(field), "")),
        name => check::text(errors, &Path::default(), field, &name.to_lowercase(), is_qualified_name),
    }
}

fn forbid_changes(errors: &mut ErrorList, new: &Object, old: &Object, fields: &[&str]) {
    for field in fields.iter().filter(|f| new.field(f) != old.field(f)) {
        errors.push(Error::forbidden(&Path::new(field), format!("updates to {field} are forbidden.")));
    }
}

fn parameters(errors: &mut ErrorList, class: &Object) {
    const COUNT_MAX: usize = 512;
    const SIZE_MAX: usize = 256 * 1024;
    let at = Path::new("parameters");
    if class.entries("parameters").count() > COUNT_MAX {
        errors.push(Error::too_long(&at, COUNT_MAX));
        return;
    }
    if class.entries("parameters").any(|(key, _)| key.is_empty()) {
        errors.push(Error::invalid(&at, "", "field can not be empty."));
    }
    if names::map_size(class.field("parameters")) > SIZE_MAX {
        errors.push(Error::too_long(&at, SIZE_MAX));
    }
}

/// Where volumes may be made; two terms must not say the same.
fn topologies(errors: &mut ErrorList, at: &Path, terms: &[Value]) {
    let mut seen: Vec<Vec<(&str, Vec<&str>)>> = Vec::new();
    for (i, term) in terms.iter().enumerate() {
        let list_at = at.index(i).child("matchLabelExpressions");
        let mut said: Vec<(&str, Vec<&str>)> = Vec::new();
        for (j, expression) in term.list("matchLabelExpressions").iter().enumerate() {
            let at = list_at.index(j);
            let (key, mut values) = (expression.text("key"), Vec::new());
            if expression.list("values").is_empty() {
                errors.push(Error::required(&at.child("values"), ""));
            }
            for (k, value) in expression.texts("values").enumerate() {
                if values.contains(&value) {
                    errors.push(Error::duplicate(&at.child("values").index(k), value));
                }
                values.push(value);
            }
            check::text(errors, &at, "key", key, is_qualified_name);
            if said.iter().any(|(other, _)| *other == key) {
                errors.push(Error::duplicate(&at.child("key"), key));
            }
            values.sort_unstable();
            said.push((key, values));
        }
        said.sort_unstable();
        if seen.contains(&said) {
            errors.push(Error::duplicate(&list_at, ""));
        }
        seen.push(said);
    }
}

fn topology_warnings(terms: &[Value]) -> Vec<String> {
    let mut warnings = Vec::new();
    for (i, term) in terms.iter().enumerate() {
        for (j, expression) in term.list("matchLabelExpressions").iter().enumerate() {
            if let Some(why) = deprecated_node_label(expression.text("key")) {
                let at = Path::new("allowedTopologies").index(i).child("matchLabelExpressions").index(j).child("key");
                warnings.push(format!("{at}: {why}"));
            }
        }
    }
    warnings
}

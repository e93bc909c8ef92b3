//! Rows of `storage.k8s.io` and `storagemigration.k8s.io`.

mod csi;

use apimachinery::field::{Error, ErrorList, Path};
use apimachinery::validation::is_qualified_name;
use apimachinery::{Object, meta::ObjectExt, meta::object_mut};
use serde_json::Value;

use crate::cells::age;
use crate::check;
use crate::resource::{Column, Resource, Strategy, Subresource};
use crate::tree::{Fill, Tree};

const GROUP: &str = "storage.k8s.io";

pub const ROWS: &[Resource] =
    &[csi::DRIVER, csi::NODE, csi::CAPACITY, STORAGE_CLASS, VOLUME_ATTACHMENT, VOLUME_ATTRIBUTES_CLASS];

const STORAGE_CLASS: Resource = Resource {
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
        vec![
            name_cell(o, "storageclass"),
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
        validate: validate_class,
        validate_update: |new, old| {
            let mut errors = validate_class(new);
            for field in ["parameters", "provisioner"] {
                if new.field(field) != old.field(field) {
                    let why = format!("updates to {field} are forbidden.");
                    errors.push(Error::forbidden(&Path::new(field), why));
                }
            }
            for field in ["reclaimPolicy", "volumeBindingMode"] {
                check::immutable(&mut errors, &Path::default(), new, old, field);
            }
            errors
        },
        ..Strategy::PLAIN
    },
    ..Resource::cluster(GROUP, "v1", "storageclasses", "storageclass", "StorageClass")
};

/// The name, and whether it is the default of its kind.
fn name_cell(object: &Object, prefix: &str) -> Value {
    let holds = |key: String| object.annotations().and_then(|a| a.get(&key)).is_some_and(|v| v == "true");
    let default = holds(format!("{prefix}.kubernetes.io/is-default-class"))
        || holds(format!("{prefix}.beta.kubernetes.io/is-default-class"));
    if default { format!("{} (default)", object.name()).into() } else { object.name().into() }
}

fn validate_class(class: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    let root = Path::default();
    match class.text("provisioner") {
        "" => errors.push(Error::required(&root.child("provisioner"), "")),
        name => check::text(&mut errors, &root, "provisioner", &name.to_lowercase(), is_qualified_name),
    }
    parameters(&mut errors, class);
    check::optional_choice(&mut errors, &root, class, "reclaimPolicy", &["Delete", "Retain"]);
    let modes = &["Immediate", "WaitForFirstConsumer"];
    match class.text("volumeBindingMode") {
        "" => errors.push(Error::required(&root.child("volumeBindingMode"), "")),
        _ => check::optional_choice(&mut errors, &root, class, "volumeBindingMode", modes),
    }
    errors
}

fn parameters(errors: &mut ErrorList, class: &Object) {
    const COUNT_MAX: usize = 512;
    const SIZE_MAX: usize = 256 * 1024;
    let at = Path::new("parameters");
    let entries: Vec<(&str, &Value)> = class.entries("parameters").collect();
    if entries.len() > COUNT_MAX {
        errors.push(Error::too_long(&at, COUNT_MAX));
    }
    if entries.iter().any(|(key, _)| key.is_empty()) {
        errors.push(Error::invalid(&at, "", "field can not be empty."));
    }
    if entries.iter().map(|(key, value)| key.len() + value.as_str().map_or(0, str::len)).sum::<usize>() > SIZE_MAX {
        errors.push(Error::too_long(&at, SIZE_MAX));
    }
}

const VOLUME_ATTACHMENT: Resource = Resource {
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
        validate: validate_attachment,
        validate_update: |new, old| {
            let mut errors = validate_attachment(new);
            check::immutable(&mut errors, &Path::default(), new, old, "spec");
            errors
        },
        generation_changed: None,
        prepare_for_status_update: crate::strategy::keep_metadata_too,
        ..Strategy::SPEC_STATUS
    },
    ..Resource::cluster(GROUP, "v1", "volumeattachments", "volumeattachment", "VolumeAttachment")
};

fn validate_attachment(attachment: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    let (at, spec) = (Path::new("spec"), attachment.field("spec"));
    for field in ["attacher", "nodeName"] {
        check::required(&mut errors, &at, spec, field);
    }
    let source = spec.field("source");
    match (source.has("persistentVolumeName"), source.has("inlineVolumeSpec")) {
        (true, true) => {
            let why = "must specify exactly one of inlineVolumeSpec and persistentVolumeName";
            errors.push(Error::forbidden(&at.child("source"), why));
        }
        (false, false) => {
            let why = "must specify exactly one of inlineVolumeSpec and persistentVolumeName";
            errors.push(Error::required(&at.child("source"), why));
        }
        _ => {}
    }
    errors
}

const VOLUME_ATTRIBUTES_CLASS: Resource = Resource {
    short_names: &["vac"],
    columns: &[Column::NAME, Column::text("DriverName", "Driver that applies it."), Column::AGE],
    cells: |o, now| vec![name_cell(o, "volumeattributesclass"), o.text("driverName").into(), age(o, now)],
    strategy: Strategy {
        validate: |o| {
            let mut errors = ErrorList::new();
            check::required(&mut errors, &Path::default(), o, "driverName");
            parameters(&mut errors, o);
            if o.entries("parameters").next().is_none() {
                errors.push(Error::required(&Path::new("parameters"), "must contain at least one key/value pair"));
            }
            errors
        },
        validate_update: |new, old| {
            let mut errors = ErrorList::new();
            for field in ["driverName", "parameters"] {
                check::immutable(&mut errors, &Path::default(), new, old, field);
            }
            errors
        },
        ..Strategy::PLAIN
    },
    ..Resource::cluster(GROUP, "v1", "volumeattributesclasses", "volumeattributesclass", "VolumeAttributesClass")
};

pub const MIGRATION_ROWS: &[Resource] = &[Resource {
    columns: &[
        Column { format: "", ..Column::NAME },
        Column::text("Resource", "Resource whose objects are rewritten."),
    ],
    cells: |o, _| {
        let resource = o.field("spec").field("resource");
        let parts = ["resource", "version", "group"].map(|f| resource.text(f));
        let parts: Vec<&str> = parts.into_iter().filter(|p| !p.is_empty()).collect();
        vec![o.name().into(), parts.join(".").into()]
    },
    subresources: &[Subresource::STATUS],
    strategy: Strategy {
        validate: |o| {
            let mut errors = ErrorList::new();
            let at = Path::new("spec").child("resource");
            check::required(&mut errors, &at, o.field("spec").field("resource"), "resource");
            errors
        },
        validate_update: |new, old| {
            let mut errors = ErrorList::new();
            check::immutable(&mut errors, &Path::default(), new, old, "spec");
            errors
        },
        generation_changed: None,
        ..Strategy::SPEC_STATUS
    },
    ..Resource::cluster(
        "storagemigration.k8s.io",
        "v1",
        "storageversionmigrations",
        "storageversionmigration",
        "StorageVersionMigration",
    )
}];

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing::{cells, create_errors, defaulted, row, update_errors};

    #[test]
    fn classes() {
        let classes = row(GROUP, "storageclasses");
        let default = json!({ "storageclass.kubernetes.io/is-default-class": "true" });
        let object = json!({ "metadata": { "name": "fast", "annotations": default }, "provisioner": "a.example/b" });
        let got = defaulted(classes, object.clone());
        let want = ["fast (default)", "a.example/b", "Delete", "Immediate", "false", "<unknown>"];
        assert_eq!(cells(classes, &got), want);
        let errors = update_errors(classes, object, |o| {
            o["parameters"] = json!({ "a": "b" });
            o["reclaimPolicy"] = json!("Retain");
        });
        let want = [
            "parameters: Forbidden: updates to parameters are forbidden.",
            "reclaimPolicy: Invalid value: \"Retain\": field is immutable",
        ];
        assert_eq!(errors, want);
        let want = "provisioner: Required value";
        assert_eq!(create_errors(classes, json!({ "metadata": { "name": "x" } })), [want]);
    }

    #[test]
    fn drivers() {
        let drivers = row(GROUP, "csidrivers");
        let got = defaulted(drivers, json!({ "metadata": { "name": "d.example" }, "spec": {} }));
        let want = ["d.example", "true", "false", "false", "<unset>", "false", "Persistent", "<unknown>"];
        assert_eq!(cells(drivers, &got), want);
    }
}

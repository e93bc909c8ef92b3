//! CSIDrivers, CSINodes and CSIStorageCapacities.

use apimachinery::field::{Error, ErrorList, Path};
use apimachinery::{Object, meta::ObjectExt};
use serde_json::{Value, json};

use super::GROUP;
use crate::cells::age;
use crate::check;
use crate::podspec::volume_sources::driver_name;
use crate::resource::{Column, Resource, Strategy};
use crate::tree::{Fill, Tree, spec_mut};

const fn boolean(name: &'static str, description: &'static str) -> Column {
    Column { type_: "boolean", ..Column::text(name, description) }
}

pub const DRIVER: Resource = Resource {
    columns: &[
        Column::NAME,
        boolean("AttachRequired", "Whether volumes are attached before they are mounted."),
        boolean("PodInfoOnMount", "Whether the driver is told about the pod."),
        boolean("StorageCapacity", "Whether the scheduler minds its capacity."),
        Column::text("TokenRequests", "Audiences of the tokens that it gets."),
        boolean("RequiresRepublish", "Whether volumes are published again and again."),
        Column::text("Modes", "Ways in which its volumes live."),
        Column::AGE,
    ],
    cells: |o, now| {
        let spec = o.field("spec");
        let tokens: Vec<&str> = spec.list("tokenRequests").iter().map(|t| t.text("audience")).collect();
        let tokens = if tokens.is_empty() { "<unset>".to_owned() } else { tokens.join(",") };
        let modes: Vec<&str> = spec.texts("volumeLifecycleModes").collect();
        let modes = if modes.is_empty() { "<none>".to_owned() } else { modes.join(",") };
        vec![
            o.name().into(),
            spec.flag("attachRequired").into(),
            spec.flag("podInfoOnMount").into(),
            spec.flag("storageCapacity").into(),
            tokens.into(),
            spec.flag("requiresRepublish").into(),
            modes.into(),
            age(o, now),
        ]
    },
    strategy: Strategy {
        default: default_driver,
        validate: validate_driver,
        validate_update: |new, old| {
            let mut errors = ErrorList::new();
            let at = Path::new("spec");
            for field in ["attachRequired", "volumeLifecycleModes"] {
                check::immutable(&mut errors, &at, new.field("spec"), old.field("spec"), field);
            }
            errors
        },
        generation_changed: Some(crate::strategy::spec_changed),
        ..Strategy::PLAIN
    },
    ..Resource::cluster(GROUP, "v1", "csidrivers", "csidriver", "CSIDriver")
};

fn default_driver(driver: &mut Object) {
    let Some(spec) = spec_mut(driver) else { return };
    spec.default_value("attachRequired", || true.into());
    for field in ["podInfoOnMount", "storageCapacity", "requiresRepublish", "seLinuxMount"] {
        spec.default_value(field, || false.into());
    }
    spec.default_value("fsGroupPolicy", || "ReadWriteOnceWithFSType".into());
    if spec.list("volumeLifecycleModes").is_empty() {
        spec.insert("volumeLifecycleModes".to_owned(), json!(["Persistent"]));
    }
}

fn validate_driver(driver: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    driver_name(&mut errors, &Path::new("name"), driver.name());
    let (at, spec) = (Path::new("spec"), driver.field("spec"));
    let policies = &["File", "None", "ReadWriteOnceWithFSType"];
    check::optional_choice(&mut errors, &at, spec, "fsGroupPolicy", policies);
    for mode in spec.texts("volumeLifecycleModes").filter(|m| !matches!(*m, "Persistent" | "Ephemeral")) {
        let known = &["Ephemeral", "Persistent"];
        errors.push(Error::not_supported(&at.child("volumeLifecycleModes"), mode, known));
    }
    let tokens = spec.list("tokenRequests");
    for (i, token) in tokens.iter().enumerate() {
        let at = at.child("tokenRequests").index(i);
        if tokens[..i].iter().any(|t| t.text("audience") == token.text("audience")) {
            errors.push(Error::duplicate(&at.child("audience"), token.text("audience")));
        }
        if let Some(seconds) = token.int("expirationSeconds").filter(|s| *s < 600) {
            let why = "may not specify a duration less than 10 minutes";
            errors.push(Error::invalid(&at.child("expirationSeconds"), seconds, why));
        }
    }
    errors
}

pub const NODE: Resource = Resource {
    columns: &[Column::NAME, Column::integer("Drivers", "Drivers that the node has."), Column::AGE],
    cells: |o, now| vec![o.name().into(), o.field("spec").list("drivers").len().into(), age(o, now)],
    strategy: Strategy {
        validate: validate_node,
        validate_update: |new, old| {
            let mut errors = validate_node(new);
            for driver in old.field("spec").list("drivers") {
                let now = new.field("spec").list("drivers").iter().find(|d| d.text("name") == driver.text("name"));
                if now.is_some_and(|d| d.text("nodeID") != driver.text("nodeID")) {
                    let why = "field is immutable";
                    errors.push(Error::invalid(&Path::new("CSINodeDriver"), driver.clone(), why));
                }
            }
            errors
        },
        ..Strategy::PLAIN
    },
    ..Resource::cluster(GROUP, "v1", "csinodes", "csinode", "CSINode")
};

fn validate_node(node: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    let drivers = node.field("spec").list("drivers");
    for (i, driver) in drivers.iter().enumerate() {
        let at = Path::new("spec").child("drivers").index(i);
        driver_name(&mut errors, &at.child("name"), driver.text("name"));
        check::required(&mut errors, &at, driver, "nodeID");
        if drivers[..i].iter().any(|d| d.text("name") == driver.text("name")) {
            errors.push(Error::duplicate(&at.child("name"), driver.text("name")));
        }
        if let Some(count) = driver.field("allocatable").int("count").filter(|c| *c < 0) {
            let at = at.child("allocatable").child("count");
            errors.push(Error::invalid(&at, count, "must be greater than or equal to 0"));
        }
    }
    errors
}

pub const CAPACITY: Resource = Resource {
    columns: &[
        Column::NAME,
        Column::text("StorageClassName", "Class that the capacity is for."),
        Column::text("Capacity", "What is left."),
    ],
    cells: |o, _| {
        let capacity = o.field("capacity").as_str().unwrap_or("");
        vec![o.name().into(), o.text("storageClassName").into(), Value::from(capacity)]
    },
    strategy: Strategy {
        default: |o| crate::quantity::canonical_quantity(apimachinery::meta::object_mut(o), "capacity"),
        validate: |o| {
            let mut errors = ErrorList::new();
            check::required(&mut errors, &Path::default(), o, "storageClassName");
            check::nonnegative_quantity(&mut errors, &Path::new("capacity"), o.field("capacity"));
            check::label_selector(&mut errors, &Path::new("nodeTopology"), o.field("nodeTopology"));
            errors
        },
        validate_update: |new, old| {
            let mut errors = ErrorList::new();
            for field in ["nodeTopology", "storageClassName"] {
                check::immutable(&mut errors, &Path::default(), new, old, field);
            }
            errors
        },
        ..Strategy::PLAIN
    },
    ..Resource::namespaced(GROUP, "v1", "csistoragecapacities", "csistoragecapacity", "CSIStorageCapacity")
};

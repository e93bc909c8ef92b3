//! CSIDrivers, CSINodes and CSIStorageCapacities.

use apimachinery::field::{Error, ErrorList, Path};
use apimachinery::validation::is_qualified_name;
use apimachinery::{Object, meta::ObjectExt};
use serde_json::{Value, json};

use super::GROUP;
use crate::cells::age;
use crate::check;
use crate::podspec::volume_sources::driver_name;
use crate::quantity::canonical_quantity;
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
            let mut errors = validate_driver(new);
            let (at, spec, before) = (Path::new("spec"), new.field("spec"), old.field("spec"));
            if spec.field("attachRequired") != before.field("attachRequired") {
                // The path is upstream's.
                let value = spec.field("attachRequired").clone();
                errors.push(Error::invalid(&at.child("attachedRequired"), value, "field is immutable"));
            }
            check::immutable(&mut errors, &at, spec, before, "volumeLifecycleModes");
            errors
        },
        allow_unconditional_update: false,
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
    let (at, spec) = (Path::new("spec"), driver.field("spec"));
    let policies = &["File", "None", "ReadWriteOnceWithFSType"];
    check::optional_choice(&mut errors, &at, spec, "fsGroupPolicy", policies);
    token_requests(&mut errors, &at.child("tokenRequests"), spec.list("tokenRequests"));
    for mode in spec.texts("volumeLifecycleModes").filter(|m| !matches!(*m, "Persistent" | "Ephemeral")) {
        let known = &["Persistent", "Ephemeral"];
        errors.push(Error::not_supported(&at.child("volumeLifecycleModes"), mode, known));
    }
    if let Some(seconds) = spec.int("nodeAllocatableUpdatePeriodSeconds").filter(|s| *s < 10) {
        let why = "must be greater than or equal to 10 seconds";
        errors.push(Error::invalid(&at.child("nodeAllocatableUpdatePeriodSeconds"), seconds, why));
    }
    if spec.has("serviceAccountTokenInSecrets") && spec.list("tokenRequests").is_empty() {
        let why = "serviceAccountTokenInSecrets is set but no tokenRequests are specified";
        let value = spec.field("serviceAccountTokenInSecrets").clone();
        errors.push(Error::invalid(&at.child("serviceAccountTokenInSecrets"), value, why));
    }
    errors
}

/// One request an audience.
fn token_requests(errors: &mut ErrorList, at: &Path, requests: &[Value]) {
    for (i, request) in requests.iter().enumerate() {
        let (at, audience) = (at.index(i), request.text("audience"));
        if requests[..i].iter().any(|r| r.text("audience") == audience) {
            errors.push(Error::duplicate(&at.child("audience"), audience));
            continue;
        }
        let why = match request.int("expirationSeconds") {
            Some(seconds) if seconds < 600 => "may not specify a duration less than 10 minutes",
            Some(seconds) if seconds > 1 << 32 => "may not specify a duration larger than 2^32 seconds",
            _ => continue,
        };
        errors.push(Error::invalid(&at.child("expirationSeconds"), request.field("expirationSeconds").clone(), why));
    }
}

pub const NODE: Resource = Resource {
    columns: &[Column::NAME, Column::integer("Drivers", "Drivers that the node has."), Column::AGE],
    cells: |o, now| vec![o.name().into(), o.field("spec").list("drivers").len().into(), age(o, now)],
    strategy: Strategy {
        // The health of drivers is behind a gate that is off: nobody writes the status.
        prepare_for_create: crate::strategy::drop_status,
        prepare_for_update: crate::strategy::keep_status,
        validate: validate_node,
        validate_update: |new, old| {
            let mut errors = validate_node(new);
            unchanged_drivers(&mut errors, new.field("spec").list("drivers"), old.field("spec").list("drivers"));
            errors
        },
        allow_unconditional_update: false,
        ..Strategy::PLAIN
    },
    ..Resource::cluster(GROUP, "v1", "csinodes", "csinode", "CSINode")
};

/// Of a driver that stays, only the number of its volumes changes.
fn unchanged_drivers(errors: &mut ErrorList, now: &[Value], before: &[Value]) {
    for old in before {
        for new in now.iter().filter(|new| new.text("name") == old.text("name")) {
            if ["nodeID", "topologyKeys"].iter().any(|f| new.field(f) != old.field(f)) {
                let mut shown = new.clone();
                apimachinery::meta::object_mut(&mut shown).remove("allocatable");
                errors.push(Error::invalid(&Path::new("spec").child("drivers"), shown, "field is immutable"));
            }
        }
    }
}

fn validate_node(node: &Object) -> ErrorList {
    const ID_MAX: usize = 256;
    let mut errors = ErrorList::new();
    let drivers = node.field("spec").list("drivers");
    for (i, driver) in drivers.iter().enumerate() {
        let at = Path::new("spec").child("drivers").index(i);
        driver_name(&mut errors, &at.child("name"), driver.text("name"));
        check::required(&mut errors, &at, driver, "nodeID");
        if driver.text("nodeID").len() > ID_MAX {
            let why = format!("must be {ID_MAX} characters or less");
            errors.push(Error::invalid(&at.child("nodeID"), driver.text("nodeID"), why));
        }
        check::nonnegative(&mut errors, &at.child("allocatable"), driver.field("allocatable"), "count");
        if drivers[..i].iter().any(|d| d.text("name") == driver.text("name")) {
            errors.push(Error::duplicate(&at.child("name"), driver.text("name")));
        }
        let keys: Vec<&str> = driver.texts("topologyKeys").collect();
        for (j, key) in keys.iter().enumerate() {
            if key.is_empty() {
                errors.push(Error::required(&at, ""));
            }
            if keys[..j].contains(key) {
                errors.push(Error::duplicate(&at, *key));
            }
            errors.extend(is_qualified_name(key).into_iter().map(|e| Error::invalid(&at, *key, e)));
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
        default: |o| {
            let root = apimachinery::meta::object_mut(o);
            canonical_quantity(root, "capacity");
            canonical_quantity(root, "maximumVolumeSize");
        },
        validate: validate_capacity,
        validate_update: |new, old| {
            let mut errors = validate_capacity(new);
            for field in ["nodeTopology", "storageClassName"] {
                check::immutable(&mut errors, &Path::default(), new, old, field);
            }
            errors
        },
        allow_unconditional_update: false,
        ..Strategy::PLAIN
    },
    ..Resource::namespaced(GROUP, "v1", "csistoragecapacities", "csistoragecapacity", "CSIStorageCapacity")
};

fn validate_capacity(capacity: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    check::label_selector(&mut errors, &Path::new("nodeTopology"), capacity.field("nodeTopology"));
    check::subdomain(&mut errors, &Path::default(), "storageClassName", capacity.text("storageClassName"));
    check::nonnegative_quantity(&mut errors, &Path::new("capacity"), capacity.field("capacity"));
    errors
}

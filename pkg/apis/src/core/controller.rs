//! ReplicationControllers and PodTemplates.

use apimachinery::field::{Error, ErrorList, Path};
use apimachinery::labels::LabelSelector;
use apimachinery::{Object, meta::ObjectExt, meta::object_mut};
use serde_json::{Map, Value};

use crate::cells::{age, labels_cell};
use crate::check;
use crate::podspec::warnings::{named_template_warnings, template_warnings};
use crate::podspec::{default_pod_template, validate_pod_template};
use crate::resource::{Column, Resource, Strategy, Subresource};
use crate::tree::{Fill, Tree};
use crate::workload::{self, CONTAINERS, IMAGES, SELECTOR, container_cells, count};

pub const REPLICATION_CONTROLLER: Resource = Resource {
    short_names: &["rc"],
    categories: &["all"],
    columns: REPLICA_COLUMNS,
    cells: |o, now| replica_cells(o, now, labels_cell(o.field("spec").field("selector"))),
    selectable: &[("status.replicas", replicas_text)],
    subresources: &[Subresource::SCALE, Subresource::STATUS],
    strategy: Strategy {
        default,
        prepare_for_create: zero_replicas,
        validate,
        validate_update: |new, _| validate(new),
        validate_status_update: |new, _| validate_replica_status(new),
        warnings: |new, old| named_template_warnings(new, old, "spec.template", new.field("spec").field("template")),
        orphan_by_default: true,
        ..Strategy::SPEC_STATUS
    },
    ..Resource::namespaced("", "v1", "replicationcontrollers", "replicationcontroller", "ReplicationController")
};

pub const POD_TEMPLATE: Resource = Resource {
    columns: &[
        Column::NAME,
        Column { priority: 0, ..CONTAINERS },
        Column { priority: 0, ..IMAGES },
        Column::text("Pod Labels", "Labels that the pods get."),
    ],
    cells: |o, _| {
        let [names, images] = container_cells(o.field("template"));
        vec![o.name().into(), names, images, labels_cell(o.field("template").field("metadata").field("labels"))]
    },
    strategy: Strategy {
        default: |o| {
            default_pod_template(object_mut(o).sub_or_new("template"));
        },
        validate: validate_template,
        validate_update: |new, _| validate_template(new),
        warnings: |new, old| template_warnings(new, old, "template", new.field("template")),
        generation_changed: Some(|new, old| new.get("template") != old.get("template")),
        ..Strategy::PLAIN
    },
    ..Resource::namespaced("", "v1", "podtemplates", "podtemplate", "PodTemplate")
};

fn validate_template(object: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    validate_pod_template(&mut errors, &Path::new("template"), object.field("template"));
    errors
}

/// Columns of ReplicationControllers and ReplicaSets.
pub const REPLICA_COLUMNS: &[Column] = &[
    Column::NAME,
    Column::integer("Desired", "Replicas that there should be."),
    Column::integer("Current", "Replicas that there are."),
    Column::integer("Ready", "Replicas that are ready."),
    Column::AGE,
    CONTAINERS,
    IMAGES,
    SELECTOR,
];

pub fn replica_cells(object: &Object, now: i64, selector: Value) -> Vec<Value> {
    let [names, images] = container_cells(object.field("spec").field("template"));
    let numbers = ["spec/replicas", "status/replicas", "status/readyReplicas"].map(|path| count(object, path));
    let [desired, current, ready] = numbers;
    vec![object.name().into(), desired, current, ready, age(object, now), names, images, selector]
}

pub fn replicas_text(object: &Object) -> String {
    object.i64_at("status/replicas").unwrap_or(0).to_string()
}

/// `status.replicas` is always shown.
pub fn zero_replicas(object: &mut Object) {
    object_mut(object).insert("status".to_owned(), serde_json::json!({ "replicas": 0 }));
}

fn default(object: &mut Object) {
    let labels = object.field("spec").field("template").field("metadata").field("labels").clone();
    let empty = |v: Option<&Value>| v.and_then(Value::as_object).is_none_or(Map::is_empty);
    if !empty(Some(&labels)) {
        let metadata = object.metadata_mut();
        if empty(metadata.get("labels")) {
            metadata.insert("labels".to_owned(), labels.clone());
        }
    }
    let Some(spec) = crate::tree::spec_mut(object) else { return };
    if !empty(Some(&labels)) && empty(spec.get("selector")) {
        spec.insert("selector".to_owned(), labels);
    }
    spec.default_value("replicas", || 1.into());
    if let Some(template) = spec.sub("template") {
        default_pod_template(template);
    }
}

fn validate(object: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    let (at, spec) = (Path::new("spec"), object.field("spec"));
    check::nonnegative(&mut errors, &at, spec, "minReadySeconds");
    let selector = LabelSelector::from_map(spec.field("selector").as_object());
    if selector.is_nothing() {
        errors.push(Error::required(&at.child("selector"), ""));
    }
    check::nonnegative(&mut errors, &at, spec, "replicas");
    let at = at.child("template");
    let template = spec.field("template");
    if template.is_null() {
        errors.push(Error::required(&at, ""));
        return errors;
    }
    let labels = template.field("metadata").field("labels");
    if !selector.is_nothing() && !selector.matches_map(labels.as_object()) {
        let why = "`selector` does not match template `labels`";
        errors.push(Error::invalid(&at.child("metadata").child("labels"), labels.clone(), why));
    }
    validate_pod_template(&mut errors, &at, template);
    workload::always_restarts(&mut errors, &at, template, "ReplicationController");
    errors
}

/// The counters of a ReplicationController's or ReplicaSet's status.
pub fn validate_replica_status(object: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    let (at, status) = (Path::new("status"), object.field("status"));
    let counters = [
        "replicas",
        "fullyLabeledReplicas",
        "readyReplicas",
        "availableReplicas",
        "observedGeneration",
        "terminatingReplicas",
    ];
    workload::validate_counters(&mut errors, &at, status, &counters);
    for field in ["fullyLabeledReplicas", "readyReplicas", "availableReplicas"] {
        let why = "cannot be greater than status.replicas";
        workload::not_above(&mut errors, &at, status, field, "replicas", why);
    }
    let why = "cannot be greater than readyReplicas";
    workload::not_above(&mut errors, &at, status, "availableReplicas", "readyReplicas", why);
    errors
}

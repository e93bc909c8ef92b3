//! StatefulSets.

use apimachinery::field::{Error, ErrorList, Path};
use apimachinery::{Object, meta::ObjectExt};
use serde_json::{Map, Value};

use super::row;
use crate::cells::age;
use crate::check;
use crate::intstr;
use crate::podspec::defaults::default_claim_spec;
use crate::resource::{Column, Resource, Strategy};
use crate::tree::{Fill, Tree, spec_mut};
use crate::workload::{self, CONTAINERS, IMAGES, container_cells};

pub const ROW: Resource = Resource {
    short_names: &["sts"],
    columns: &[
        Column::NAME,
        Column::text("Ready", "Replicas that are ready, of those that should be."),
        Column::AGE,
        CONTAINERS,
        IMAGES,
    ],
    cells: |o, now| {
        let [names, images] = container_cells(o.field("spec").field("template"));
        let number = |path: &str| o.i64_at(path).unwrap_or(0);
        let ready = format!("{}/{}", number("status/readyReplicas"), number("spec/replicas"));
        vec![o.name().into(), ready.into(), age(o, now), names, images]
    },
    strategy: Strategy {
        default,
        prepare_for_create: |o| {
            let status = serde_json::json!({ "replicas": 0, "availableReplicas": 0 });
            apimachinery::meta::object_mut(o).insert("status".to_owned(), status);
        },
        validate,
        validate_update,
        validate_status_update: validate_status,
        ..super::STRATEGY
    },
    ..row("statefulsets", "statefulset", "StatefulSet")
};

fn default(set: &mut Object) {
    let Some(spec) = spec_mut(set) else { return };
    spec.default_text("podManagementPolicy", "OrderedReady");
    spec.default_value("replicas", || 1.into());
    spec.default_value("revisionHistoryLimit", || 10.into());
    let strategy = spec.sub_or_new("updateStrategy");
    strategy.default_text("type", "RollingUpdate");
    if strategy.text("type") == "RollingUpdate" {
        strategy.sub_or_new("rollingUpdate").default_value("partition", || 0.into());
    }
    let retention = spec.sub_or_new("persistentVolumeClaimRetentionPolicy");
    retention.default_text("whenDeleted", "Retain");
    retention.default_text("whenScaled", "Retain");
    spec.each("volumeClaimTemplates", default_claim);
    workload::default_template(spec);
}

fn default_claim(claim: &mut Map<String, Value>) {
    claim.default_text("apiVersion", "v1");
    claim.default_text("kind", "PersistentVolumeClaim");
    default_claim_spec(claim.sub_or_new("spec"));
    claim.sub_or_new("status").default_text("phase", "Pending");
}

fn validate(set: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    let (at, spec) = (Path::new("spec"), set.field("spec"));
    let policy = spec.text("podManagementPolicy");
    if !matches!(policy, "OrderedReady" | "Parallel") {
        let why = "must be 'OrderedReady' or 'Parallel'";
        errors.push(Error::invalid(&at.child("podManagementPolicy"), policy, why));
    }
    strategy(&mut errors, &at.child("updateStrategy"), spec.field("updateStrategy"));
    let retention = spec.field("persistentVolumeClaimRetentionPolicy");
    for field in ["whenDeleted", "whenScaled"] {
        let at = at.child("persistentVolumeClaimRetentionPolicy");
        check::optional_choice(&mut errors, &at, retention, field, &["Delete", "Retain"]);
    }
    for field in ["replicas", "minReadySeconds", "revisionHistoryLimit"] {
        check::nonnegative(&mut errors, &at, spec, field);
    }
    check::nonnegative(&mut errors, &at.child("ordinals"), spec.field("ordinals"), "start");
    workload::validate_selector(&mut errors, &at, spec, "statefulset");
    workload::validate_template(&mut errors, &at, spec, "StatefulSet");
    errors
}

fn strategy(errors: &mut ErrorList, at: &Path, strategy: &Value) {
    let rolling = strategy.field("rollingUpdate");
    match strategy.text("type") {
        "" => errors.push(Error::required(at, "")),
        "OnDelete" if !rolling.is_null() => {
            let why = "only allowed for updateStrategy 'RollingUpdate'";
            errors.push(Error::invalid(&at.child("rollingUpdate"), rolling.clone(), why));
        }
        "OnDelete" => {}
        "RollingUpdate" => {
            let at = at.child("rollingUpdate");
            check::nonnegative(errors, &at, rolling, "partition");
            intstr::count_or_percent(errors, &at, rolling, "maxUnavailable");
            intstr::at_most_all(errors, &at, rolling, "maxUnavailable");
            if rolling.has("maxUnavailable") && intstr::is_zero(rolling.field("maxUnavailable")) {
                let value = rolling.field("maxUnavailable").clone();
                errors.push(Error::invalid(&at.child("maxUnavailable"), value, "cannot be 0"));
            }
        }
        other => {
            let why = "must be 'RollingUpdate' or 'OnDelete'";
            errors.push(Error::invalid(at, other, why));
        }
    }
}

const MUTABLE: &[&str] = &[
    "replicas",
    "ordinals",
    "template",
    "updateStrategy",
    "revisionHistoryLimit",
    "persistentVolumeClaimRetentionPolicy",
    "minReadySeconds",
];

fn validate_update(new: &Object, old: &Object) -> ErrorList {
    let mut errors = validate(new);
    let fixed = |o: &Object| {
        let mut spec = o.field("spec").as_object().cloned().unwrap_or_default();
        spec.retain(|field, _| !MUTABLE.contains(&field.as_str()));
        spec
    };
    if fixed(new) != fixed(old) {
        let why = "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', \
                   'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and \
                   'minReadySeconds' are forbidden";
        errors.push(Error::forbidden(&Path::new("spec"), why));
    }
    errors
}

fn validate_status(new: &Object, old: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    let (at, status) = (Path::new("status"), new.field("status"));
    let counters = [
        "replicas",
        "readyReplicas",
        "currentReplicas",
        "updatedReplicas",
        "availableReplicas",
        "observedGeneration",
        "collisionCount",
    ];
    workload::validate_counters(&mut errors, &at, status, &counters);
    for field in ["readyReplicas", "currentReplicas", "updatedReplicas", "availableReplicas"] {
        let why = "cannot be greater than status.replicas";
        workload::not_above(&mut errors, &at, status, field, "replicas", why);
    }
    let why = "cannot be greater than status.readyReplicas";
    workload::not_above(&mut errors, &at, status, "availableReplicas", "readyReplicas", why);
    super::not_decremented(&mut errors, status, old.field("status"), "collisionCount");
    errors
}

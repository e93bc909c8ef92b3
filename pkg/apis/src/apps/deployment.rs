//! Deployments.

use apimachinery::field::{Error, ErrorList, Path};
use apimachinery::{Object, meta::ObjectExt};
use serde_json::Value;

use crate::cells::age;
use crate::check;
use crate::intstr;
use crate::resource::{Column, Resource, Strategy};
use crate::tree::{Fill, Tree, spec_mut};
use crate::workload::{self, CONTAINERS, IMAGES, SELECTOR, container_cells, count, selector_cell};

pub const ROW: Resource = Resource {
    short_names: &["deploy"],
    columns: &[
        Column::NAME,
        Column::text("Ready", "Replicas that are ready, of those that should be."),
        Column::text("Up-to-date", "Replicas made from the present template."),
        Column::text("Available", "Replicas that have been ready for long enough."),
        Column::AGE,
        CONTAINERS,
        IMAGES,
        SELECTOR,
    ],
    cells,
    strategy: Strategy {
        default,
        prepare_for_create: super::empty_status,
        validate,
        validate_update: |new, old| {
            let mut errors = validate(new);
            super::selector_unchanged(&mut errors, new, old);
            errors
        },
        prepare_for_status_update: crate::strategy::keep_labels_too,
        validate_status_update: validate_status,
        ..super::STRATEGY
    },
    ..super::row("deployments", "deployment", "Deployment")
};

fn default(deployment: &mut Object) {
    let Some(spec) = spec_mut(deployment) else { return };
    spec.default_value("replicas", || 1.into());
    spec.default_value("revisionHistoryLimit", || 10.into());
    spec.default_value("progressDeadlineSeconds", || 600.into());
    let strategy = spec.sub_or_new("strategy");
    strategy.default_text("type", "RollingUpdate");
    if strategy.text("type") == "RollingUpdate" {
        let rolling = strategy.sub_or_new("rollingUpdate");
        rolling.default_value("maxUnavailable", || "25%".into());
        rolling.default_value("maxSurge", || "25%".into());
    }
    workload::default_template(spec);
}

fn validate(deployment: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    let (at, spec) = (Path::new("spec"), deployment.field("spec"));
    check::nonnegative(&mut errors, &at, spec, "replicas");
    workload::validate_replicated(&mut errors, &at, spec);
    strategy(&mut errors, &at.child("strategy"), spec.field("strategy"));
    for field in ["minReadySeconds", "revisionHistoryLimit", "progressDeadlineSeconds"] {
        check::nonnegative(&mut errors, &at, spec, field);
    }
    if let Some(deadline) = spec.int("progressDeadlineSeconds")
        && deadline <= spec.int("minReadySeconds").unwrap_or(0)
    {
        let why = "must be greater than minReadySeconds";
        errors.push(Error::invalid(&at.child("progressDeadlineSeconds"), deadline, why));
    }
    errors
}

fn strategy(errors: &mut ErrorList, at: &Path, strategy: &Value) {
    let rolling_at = at.child("rollingUpdate");
    match strategy.text("type") {
        "Recreate" => {
            if strategy.has("rollingUpdate") {
                let why = "may not be specified when strategy `type` is 'Recreate'";
                errors.push(Error::forbidden(&rolling_at, why));
            }
        }
        "RollingUpdate" if !strategy.has("rollingUpdate") => {
            errors.push(Error::required(&rolling_at, "this should be defaulted and never be nil"));
        }
        "RollingUpdate" => {
            let rolling = strategy.field("rollingUpdate");
            for field in ["maxUnavailable", "maxSurge"] {
                intstr::count_or_percent(errors, &rolling_at, rolling, field);
            }
            let unavailable = rolling.field("maxUnavailable");
            if intstr::is_zero(unavailable) && intstr::is_zero(rolling.field("maxSurge")) {
                let why = "may not be 0 when `maxSurge` is 0";
                errors.push(Error::invalid(&rolling_at.child("maxUnavailable"), unavailable.clone(), why));
            }
            intstr::at_most_all(errors, &rolling_at, rolling, "maxUnavailable");
        }
        _ => errors.push(Error::not_supported(at, strategy.clone(), &["Recreate", "RollingUpdate"])),
    }
}

fn validate_status(new: &Object, old: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    let (at, status) = (Path::new("status"), new.field("status"));
    let counters = [
        "observedGeneration",
        "replicas",
        "updatedReplicas",
        "readyReplicas",
        "availableReplicas",
        "unavailableReplicas",
        "terminatingReplicas",
        "collisionCount",
    ];
    workload::validate_counters(&mut errors, &at, status, &counters);
    for field in ["updatedReplicas", "readyReplicas", "availableReplicas"] {
        let why = "cannot be greater than status.replicas";
        workload::not_above(&mut errors, &at, status, field, "replicas", why);
    }
    let why = "cannot be greater than readyReplicas";
    workload::not_above(&mut errors, &at, status, "availableReplicas", "readyReplicas", why);
    super::not_decremented(&mut errors, status, old.field("status"), "collisionCount");
    errors
}

fn cells(deployment: &Object, now: i64) -> Vec<Value> {
    let [names, images] = container_cells(deployment.field("spec").field("template"));
    let number = |path: &str| deployment.i64_at(path).unwrap_or(0);
    vec![
        deployment.name().into(),
        format!("{}/{}", number("status/readyReplicas"), number("spec/replicas")).into(),
        count(deployment, "status/updatedReplicas"),
        count(deployment, "status/availableReplicas"),
        age(deployment, now),
        names,
        images,
        selector_cell(deployment.field("spec").field("selector")),
    ]
}

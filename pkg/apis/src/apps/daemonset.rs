//! DaemonSets.

use apimachinery::field::{Error, ErrorList, Path};
use apimachinery::{Object, meta::ObjectExt};
use serde_json::Value;

use crate::cells::{age, labels_cell};
use crate::check;
use crate::intstr;
use crate::podspec::validate_pod_template;
use crate::podspec::warnings::template_warnings;
use crate::resource::{Column, Resource, Strategy, Subresource};
use crate::strategy::keep_status;
use crate::tree::{Fill, Tree, spec_mut};
use crate::workload::{self, CONTAINERS, IMAGES, SELECTOR, container_cells, count, selector_cell};

pub const ROW: Resource = Resource {
    short_names: &["ds"],
    columns: &[
        Column::NAME,
        Column::integer("Desired", "Nodes that should run it."),
        Column::integer("Current", "Nodes that run it."),
        Column::integer("Ready", "Nodes where it is ready."),
        Column::integer("Up-to-date", "Nodes that run the present template."),
        Column::integer("Available", "Nodes where it has been ready for long enough."),
        Column::text("Node Selector", "Labels of the nodes that it runs on."),
        Column::AGE,
        CONTAINERS,
        IMAGES,
        SELECTOR,
    ],
    cells,
    subresources: &[Subresource::STATUS],
    strategy: Strategy {
        default,
        prepare_for_create,
        prepare_for_update,
        validate,
        validate_update: |new, old| {
            let mut errors = validate(new);
            super::selector_unchanged(&mut errors, new, old);
            errors
        },
        validate_status_update: validate_status,
        warnings: |new, old| template_warnings(new, old, "spec.template", new.field("spec").field("template")),
        ..super::STRATEGY
    },
    ..super::row("daemonsets", "daemonset", "DaemonSet")
};

/// The number of the template, an annotation since it is no field of `apps/v1`.
const TEMPLATE_GENERATION: &str = "deprecated.daemonset.template.generation";

fn default(set: &mut Object) {
    let Some(spec) = spec_mut(set) else { return };
    spec.default_value("revisionHistoryLimit", || 10.into());
    let strategy = spec.sub_or_new("updateStrategy");
    strategy.default_text("type", "RollingUpdate");
    if strategy.text("type") == "RollingUpdate" {
        let rolling = strategy.sub_or_new("rollingUpdate");
        rolling.default_value("maxUnavailable", || 1.into());
        rolling.default_value("maxSurge", || 0.into());
    }
    workload::default_template(spec);
}

fn template_generation(set: &Object) -> i64 {
    let text = set.annotations().and_then(|a| a.get(TEMPLATE_GENERATION)).and_then(Value::as_str);
    text.and_then(|t| t.parse().ok()).unwrap_or(0)
}

fn set_template_generation(set: &mut Object, generation: i64) {
    let annotations = set.metadata_mut().sub_or_new("annotations");
    annotations.insert(TEMPLATE_GENERATION.to_owned(), generation.to_string().into());
}

fn prepare_for_create(set: &mut Object) {
    let status = serde_json::json!({
        "currentNumberScheduled": 0, "desiredNumberScheduled": 0, "numberMisscheduled": 0, "numberReady": 0,
    });
    apimachinery::meta::object_mut(set).insert("status".to_owned(), status);
    let generation = template_generation(set).max(1);
    set_template_generation(set, generation);
}

fn prepare_for_update(new: &mut Object, old: &Object) {
    keep_status(new, old);
    let changed = new.field("spec").get("template") != old.field("spec").get("template");
    set_template_generation(new, template_generation(old) + i64::from(changed));
}

fn validate(set: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    let (at, spec) = (Path::new("spec"), set.field("spec"));
    let (selector, template) = (spec.field("selector"), spec.field("template"));
    check::label_selector(&mut errors, &at.child("selector"), selector);
    let template_at = at.child("template");
    workload::selected(&mut errors, &template_at, spec, template);
    workload::empty_selector(&mut errors, &at.child("selector"), spec, "daemonset");
    validate_pod_template(&mut errors, &template_at, template);
    workload::always_restarts(&mut errors, &template_at, template, "DaemonSet");
    check::nonnegative(&mut errors, &at, spec, "minReadySeconds");
    strategy(&mut errors, &at.child("updateStrategy"), spec.field("updateStrategy"));
    check::nonnegative(&mut errors, &at, spec, "revisionHistoryLimit");
    errors
}

fn strategy(errors: &mut ErrorList, at: &Path, strategy: &Value) {
    match strategy.text("type") {
        "OnDelete" => {}
        "RollingUpdate" if !strategy.has("rollingUpdate") => {
            errors.push(Error::required(&at.child("rollingUpdate"), ""));
        }
        "RollingUpdate" => {
            let at = at.child("rollingUpdate");
            let rolling = strategy.field("rollingUpdate");
            const FIELDS: [&str; 2] = ["maxUnavailable", "maxSurge"];
            FIELDS.iter().for_each(|field| intstr::count_or_percent(errors, &at, rolling, field));
            FIELDS.iter().for_each(|field| intstr::at_most_all(errors, &at, rolling, field));
            let surge = rolling.field("maxSurge");
            match (intstr::is_zero(rolling.field("maxUnavailable")), intstr::is_zero(surge)) {
                (false, false) => {
                    let why = "may not be set when maxUnavailable is non-zero";
                    errors.push(Error::invalid(&at.child("maxSurge"), surge.clone(), why));
                }
                (true, true) => {
                    errors.push(Error::required(&at.child("maxUnavailable"), "cannot be 0 when maxSurge is 0"));
                }
                _ => {}
            }
        }
        _ => errors.push(Error::not_supported(at, strategy.clone(), &["RollingUpdate", "OnDelete"])),
    }
}

fn validate_status(new: &Object, old: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    let status = new.field("status");
    let counters = [
        "currentNumberScheduled",
        "numberMisscheduled",
        "desiredNumberScheduled",
        "numberReady",
        "observedGeneration",
        "updatedNumberScheduled",
        "numberAvailable",
        "numberUnavailable",
        "collisionCount",
    ];
    workload::validate_counters(&mut errors, &Path::new("status"), status, &counters);
    super::not_decremented(&mut errors, status, old.field("status"), "collisionCount");
    errors
}

fn cells(set: &Object, now: i64) -> Vec<Value> {
    let template = set.field("spec").field("template");
    let [names, images] = container_cells(template);
    let mut cells = vec![set.name().into()];
    let numbers = [
        "desiredNumberScheduled",
        "currentNumberScheduled",
        "numberReady",
        "updatedNumberScheduled",
        "numberAvailable",
    ];
    cells.extend(numbers.map(|field| count(set, &format!("status/{field}"))));
    cells.push(labels_cell(template.field("spec").field("nodeSelector")));
    cells.extend([age(set, now), names, images, selector_cell(set.field("spec").field("selector"))]);
    cells
}

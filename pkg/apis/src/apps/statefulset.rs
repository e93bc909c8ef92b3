//! StatefulSets.

use apimachinery::field::{Error, ErrorList, Path};
use apimachinery::validation::is_dns1123_label;
use apimachinery::{Object, meta::ObjectExt};
use serde_json::{Map, Value};

use super::row;
use crate::cells::age;
use crate::check;
use crate::core::claim;
use crate::intstr;
use crate::podspec::defaults::default_claim_spec;
use crate::podspec::validate_pod_template;
use crate::podspec::warnings::template_warnings;
use crate::resource::{Column, Resource, Strategy};
use crate::strategy::{label_name, spec_changed};
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
        validate: validate_new,
        validate_update,
        validate_status_update: validate_status,
        validate_name: label_name,
        warnings,
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
        let rolling = strategy.sub_or_new("rollingUpdate");
        rolling.default_value("partition", || 0.into());
        rolling.default_value("maxUnavailable", || 1.into());
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
    match spec.text("podManagementPolicy") {
        "OrderedReady" | "Parallel" => {}
        "" => errors.push(Error::required(&at.child("podManagementPolicy"), "")),
        policy => {
            let why = "must be 'OrderedReady' or 'Parallel'";
            errors.push(Error::invalid(&at.child("podManagementPolicy"), policy, why));
        }
    }
    strategy(&mut errors, &at.child("updateStrategy"), spec.field("updateStrategy"));
    let retention = spec.field("persistentVolumeClaimRetentionPolicy");
    for field in ["whenDeleted", "whenScaled"] {
        let at = at.child("persistentVolumeClaimRetentionPolicy");
        check::one_of(&mut errors, &at, retention, field, &["Retain", "Delete"]);
    }
    for field in ["replicas", "minReadySeconds"] {
        check::nonnegative(&mut errors, &at, spec, field);
    }
    check::nonnegative(&mut errors, &at.child("ordinals"), spec.field("ordinals"), "start");
    let (template_at, template) = (at.child("template"), spec.field("template"));
    if workload::validate_selector(&mut errors, &at, spec, "statefulset") {
        workload::selected(&mut errors, &template_at, spec, template);
        validate_pod_template(&mut errors, &template_at, &with_claims(spec));
    } else {
        errors.push(Error::invalid(&at.child("selector"), spec.field("selector").clone(), ""));
    }
    workload::always_restarts(&mut errors, &template_at, template, "StatefulSet");
    errors
}

/// The template as its pods will be: claims are volumes, and names are the controller's matter.
fn with_claims(spec: &Value) -> Value {
    let mut template = spec.field("template").clone();
    let Some(pod) = spec_mut(&mut template) else { return template };
    pod.remove("hostname");
    pod.remove("subdomain");
    let names: Vec<Value> = spec.list("volumeClaimTemplates").iter().map(claim_name).collect();
    if names.is_empty() {
        return template;
    }
    let volumes = pod.entry("volumes").or_insert_with(|| Value::Array(Vec::new()));
    if let Some(volumes) = volumes.as_array_mut() {
        // The controller replaces volumes of the same name.
        volumes.retain(|volume| !names.contains(volume.field("name")));
        let claims = names
            .into_iter()
            .map(|name| serde_json::json!({ "name": name, "persistentVolumeClaim": { "claimName": name } }));
        volumes.extend(claims);
    }
    template
}

fn claim_name(claim: &Value) -> Value {
    claim.field("metadata").field("name").clone()
}

/// What is checked of new sets alone: old ones may have been accepted when less was asked of them.
fn validate_new(set: &Object) -> ErrorList {
    let mut errors = validate(set);
    let (at, spec) = (Path::new("spec"), set.field("spec"));
    check::optional_text(&mut errors, &at, spec, "serviceName", is_dns1123_label);
    for (i, one) in spec.list("volumeClaimTemplates").iter().enumerate() {
        let at = at.child("volumeClaimTemplates").index(i).child("spec");
        claim::validate_spec(&mut errors, &at, one.field("spec"));
    }
    errors
}

fn warnings(new: &Object, old: Option<&Object>) -> Vec<String> {
    let spec = new.field("spec");
    let mut warnings = template_warnings(new, old, "spec.template", spec.field("template"));
    if old.is_none_or(|old| spec_changed(new, old)) {
        for (i, one) in spec.list("volumeClaimTemplates").iter().enumerate() {
            let at = Path::new("spec").child("volumeClaimTemplates").index(i);
            claim::spec_warnings(&mut warnings, &at, one.field("spec"));
        }
    }
    if spec.int("revisionHistoryLimit").is_some_and(|limit| limit < 0) {
        warnings.push(
            "spec.revisionHistoryLimit: a negative value retains all historical revisions; a value >= 0 is recommended"
                .to_owned(),
        );
    }
    warnings
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
            if rolling.has("maxUnavailable") && intstr::is_zero(rolling.field("maxUnavailable")) {
                let value = rolling.field("maxUnavailable").clone();
                errors.push(Error::invalid(&at.child("maxUnavailable"), value, "cannot be 0"));
            }
            intstr::at_most_all(errors, &at, rolling, "maxUnavailable");
        }
        _ => errors.push(Error::invalid(at, strategy.clone(), "must be 'RollingUpdate' or 'OnDelete'")),
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

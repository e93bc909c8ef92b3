//! Jobs.

use apimachinery::field::{Error, ErrorList, Path};
use apimachinery::labels::LabelSelector;
use apimachinery::validation::is_dns1123_label;
use apimachinery::{Object, duration::human_duration, meta::ObjectExt, meta::object_mut};
use serde_json::{Map, Value, json};

use super::{job_spec, job_status, job_update};
use crate::cells::age;
use crate::podspec::warnings::named_template_warnings;
use crate::resource::{Column, Resource, Strategy};
use crate::tree::{Fill, Tree, spec_mut};
use crate::workload::{self, CONTAINERS, IMAGES, SELECTOR, container_cells, selector_cell};

pub const ROW: Resource = Resource {
    columns: &[
        Column::NAME,
        Column::text("Status", "Where it is in its life."),
        Column::text("Completions", "Pods that have succeeded, of those that have to."),
        Column::text("Duration", "How long it took or has taken so far."),
        Column::AGE,
        CONTAINERS,
        IMAGES,
        SELECTOR,
    ],
    cells,
    selectable: &[("status.successful", |o| o.i64_at("status/succeeded").unwrap_or(0).to_string())],
    strategy: Strategy {
        default,
        prepare_for_create,
        validate,
        validate_update: job_update::validate,
        validate_status_update: job_status::validate,
        warnings: |new, old| named_template_warnings(new, old, "spec.template", new.field("spec").field("template")),
        orphan_by_default: true,
        ..Strategy::SPEC_STATUS
    },
    ..super::row("jobs", "job", "Job")
};

fn default(job: &mut Object) {
    let labels = job.field("spec").field("template").field("metadata").field("labels").clone();
    if labels.as_object().is_some_and(|l| !l.is_empty()) {
        let metadata = job.metadata_mut();
        if metadata.get("labels").and_then(Value::as_object).is_none_or(Map::is_empty) {
            metadata.insert("labels".to_owned(), labels);
        }
    }
    if let Some(spec) = spec_mut(job) {
        default_spec(spec);
    }
}

fn default_spec(spec: &mut Map<String, Value>) {
    // Of an alpha feature, which is off.
    spec.remove("scheduling");
    if !spec.has("parallelism") && !spec.has("completions") {
        spec.insert("completions".to_owned(), 1.into());
    }
    spec.default_value("parallelism", || 1.into());
    let limit = if spec.has("backoffLimitPerIndex") { i64::from(i32::MAX) } else { 6 };
    spec.default_value("backoffLimit", || limit.into());
    spec.default_value("completionMode", || "NonIndexed".into());
    spec.default_value("suspend", || false.into());
    spec.default_value("manualSelector", || false.into());
    let replacement = if spec.has("podFailurePolicy") { "Failed" } else { "TerminatingOrFailed" };
    spec.default_value("podReplacementPolicy", || replacement.into());
    if let Some(policy) = spec.sub("podFailurePolicy") {
        policy.each("rules", |rule| rule.each("onPodConditions", |c| c.default_text("status", "True")));
    }
    workload::default_template(spec);
}

/// Without a selector of its own a job marks its pods with its UID.
fn prepare_for_create(job: &mut Object) {
    let (name, uid) = (job.name().to_owned(), job.uid().to_owned());
    object_mut(job).insert("status".to_owned(), json!({}));
    let Some(spec) = spec_mut(job) else { return };
    if spec.flag("manualSelector") {
        return;
    }
    let own = [
        ("controller-uid", &uid),
        ("batch.kubernetes.io/controller-uid", &uid),
        ("job-name", &name),
        ("batch.kubernetes.io/job-name", &name),
    ];
    let selector = spec.sub_or_new("selector").sub_or_new("matchLabels");
    selector.entry("batch.kubernetes.io/controller-uid").or_insert_with(|| uid.as_str().into());
    let labels = spec.sub_or_new("template").sub_or_new("metadata").sub_or_new("labels");
    for (key, value) in own {
        // A label that the user set stays, and is found by validation if it is another.
        labels.entry(key).or_insert_with(|| value.as_str().into());
    }
}

fn validate(job: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    let (at, spec) = (Path::new("spec"), job.field("spec"));
    generated_selector(&mut errors, &at, job);
    job_spec::validate(&mut errors, &at, spec);
    if let Some(last) = spec.int("completions").filter(|c| *c > 0 && spec.text("completionMode") == "Indexed") {
        // Pods of an indexed job have their index in their host names.
        let host = format!("{}-{}", job.name(), last - 1);
        if !is_dns1123_label(&host).is_empty() {
            let why = format!("will not able to create pod with invalid DNS label: {host}");
            errors.push(Error::invalid(&Path::new("metadata").child("name"), job.name(), why));
        }
    }
    errors
}

/// The labels by which a job finds its pods are its own.
fn generated_selector(errors: &mut ErrorList, at: &Path, job: &Object) {
    let spec = job.field("spec");
    if spec.flag("manualSelector") || !spec.has("selector") {
        return;
    }
    if job.uid().is_empty() {
        errors.push(Error::required(&Path::new("metadata").child("uid"), ""));
    }
    let labels = spec.field("template").field("metadata").field("labels");
    let labels_at = at.child("template").child("metadata").child("labels");
    let expected = [
        ("controller-uid", job.uid()),
        ("job-name", job.name()),
        ("batch.kubernetes.io/controller-uid", job.uid()),
        ("batch.kubernetes.io/job-name", job.name()),
    ];
    for (key, value) in expected {
        let why = || format!("must be '{value}'");
        match labels.field(key).as_str() {
            None => errors.push(Error::required(&labels_at.key(key), why())),
            Some(found) if found != value => {
                errors.push(Error::invalid(&labels_at.key(key), labels.clone(), why()));
            }
            Some(_) => {}
        }
    }
    let expected = expected.into_iter().map(|(key, value)| (key.to_owned(), value.into())).collect();
    if LabelSelector::from_value(spec.get("selector")).is_ok_and(|s| !s.matches_map(Some(&expected))) {
        errors.push(Error::invalid(
            &at.child("selector"),
            spec.field("selector").clone(),
            "`selector` not auto-generated",
        ));
    }
}

fn has_condition(job: &Object, kind: &str) -> bool {
    job.array_at("status/conditions").iter().any(|c| c.text("type") == kind && c.text("status") == "True")
}

fn status(job: &Object) -> &'static str {
    if has_condition(job, "Complete") {
        return "Complete";
    }
    if has_condition(job, "Failed") {
        return "Failed";
    }
    if job.is_deleting() {
        return "Terminating";
    }
    let others = ["Suspended", "FailureTarget", "SuccessCriteriaMet"];
    others.into_iter().find(|kind| has_condition(job, kind)).unwrap_or("Running")
}

fn cells(job: &Object, now: i64) -> Vec<Value> {
    let spec = job.field("spec");
    let succeeded = job.i64_at("status/succeeded").unwrap_or(0);
    let completions = match (spec.int("completions"), spec.int("parallelism").unwrap_or(0)) {
        (Some(completions), _) => format!("{succeeded}/{completions}"),
        (None, parallelism) if parallelism > 1 => format!("{succeeded}/1 of {parallelism}"),
        (None, _) => format!("{succeeded}/1"),
    };
    let seconds = |path: &str| apimachinery::time::parse_seconds(job.str_at(path));
    let duration = match (seconds("status/startTime"), seconds("status/completionTime")) {
        (None, _) => String::new(),
        (Some(start), end) => human_duration(end.unwrap_or(now) - start),
    };
    let [names, images] = container_cells(spec.field("template"));
    vec![
        job.name().into(),
        status(job).into(),
        completions.into(),
        duration.into(),
        age(job, now),
        names,
        images,
        selector_cell(spec.field("selector")),
    ]
}

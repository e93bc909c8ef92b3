//! Jobs.

use apimachinery::field::{Error, ErrorList, Path};
use apimachinery::labels::LabelSelector;
use apimachinery::validation::is_domain_prefixed_path;
use apimachinery::{Object, duration::human_duration, meta::ObjectExt, meta::object_mut};
use serde_json::{Map, Value, json};

use super::job_update;
use crate::cells::age;
use crate::check;
use crate::podspec::validate_pod_template;
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
        validate_status_update: job_update::validate_status,
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
    if spec.has("selector") {
        check::label_selector(&mut errors, &at.child("selector"), spec.field("selector"));
    } else {
        errors.push(Error::required(&at.child("selector"), ""));
    }
    generated_labels(&mut errors, &at, job);
    let labels = spec.field("template").field("metadata").field("labels");
    if let Ok(selector) = LabelSelector::from_value(spec.get("selector"))
        && !selector.matches_map(labels.as_object())
    {
        let why = "`selector` does not match template `labels`";
        errors.push(Error::invalid(&at.child("template").child("metadata").child("labels"), labels.clone(), why));
    }
    if job.name().len() > 63 && spec.text("completionMode") == "Indexed" {
        let why = apimachinery::validation::max_len_error(63);
        errors.push(Error::invalid(&Path::new("metadata").child("name"), job.name(), why));
    }
    validate_spec(&mut errors, &at, spec);
    errors
}

/// The labels by which a job finds its pods are its own.
fn generated_labels(errors: &mut ErrorList, at: &Path, job: &Object) {
    let spec = job.field("spec");
    if spec.flag("manualSelector") {
        return;
    }
    let labels = spec.field("template").field("metadata").field("labels");
    let at = at.child("template").child("metadata").child("labels");
    let expected = [
        ("controller-uid", job.uid()),
        ("batch.kubernetes.io/controller-uid", job.uid()),
        ("job-name", job.name()),
        ("batch.kubernetes.io/job-name", job.name()),
    ];
    for (key, value) in expected {
        match labels.text(key) {
            "" => errors.push(Error::required(&at.key(key), format!("must be '{value}'"))),
            found if found != value => {
                errors.push(Error::invalid(&at.key(key), labels.clone(), format!("must be '{value}'")));
            }
            _ => {}
        }
    }
}

/// A `JobSpec` without its selector, as CronJobs have it too.
pub fn validate_spec(errors: &mut ErrorList, at: &Path, spec: &Value) {
    let numbers = [
        "parallelism",
        "completions",
        "activeDeadlineSeconds",
        "backoffLimit",
        "ttlSecondsAfterFinished",
        "backoffLimitPerIndex",
        "maxFailedIndexes",
    ];
    for field in numbers {
        check::nonnegative(errors, at, spec, field);
    }
    check::optional_choice(errors, at, spec, "completionMode", &["Indexed", "NonIndexed"]);
    if spec.text("completionMode") == "Indexed" {
        indexed(errors, at, spec);
    } else {
        for field in ["backoffLimitPerIndex", "maxFailedIndexes"] {
            if spec.has(field) && field == "backoffLimitPerIndex" {
                let value = spec.field(field).clone();
                errors.push(Error::invalid(&at.child(field), value, "requires indexed completion mode"));
            }
        }
    }
    if spec.has("maxFailedIndexes") && !spec.has("backoffLimitPerIndex") {
        let why = "when maxFailedIndexes is specified";
        errors.push(Error::required(&at.child("backoffLimitPerIndex"), why));
    }
    if let Some(manager) = spec.field("managedBy").as_str() {
        check::text(errors, at, "managedBy", manager, is_domain_prefixed_path);
    }
    failure_policy(errors, at, spec);
    success_policy(errors, at, spec);
    let replacement: &[&str] =
        if spec.has("podFailurePolicy") { &["Failed"] } else { &["Failed", "TerminatingOrFailed"] };
    check::optional_choice(errors, at, spec, "podReplacementPolicy", replacement);
    validate_pod_template(errors, &at.child("template"), spec.field("template"));
    let policy = spec.field("template").field("spec").text("restartPolicy");
    if !matches!(policy, "OnFailure" | "Never") {
        let path = at.child("template").child("spec").child("restartPolicy");
        errors.push(Error::required(&path, "valid values: \"OnFailure\", \"Never\""));
    }
}

fn indexed(errors: &mut ErrorList, at: &Path, spec: &Value) {
    const MAX: i64 = 100_000;
    if !spec.has("completions") {
        errors.push(Error::required(&at.child("completions"), "when completion mode is Indexed"));
    }
    if let Some(parallelism) = spec.int("parallelism").filter(|p| *p > MAX) {
        let why = format!("must be less than or equal to {MAX} when completion mode is Indexed");
        errors.push(Error::invalid(&at.child("parallelism"), parallelism, why));
    }
    if let (Some(failed), Some(completions)) = (spec.int("maxFailedIndexes"), spec.int("completions"))
        && failed > completions
    {
        let why = "must be less than or equal to completions";
        errors.push(Error::invalid(&at.child("maxFailedIndexes"), failed, why));
    }
}

fn failure_policy(errors: &mut ErrorList, at: &Path, spec: &Value) {
    if !spec.has("podFailurePolicy") {
        return;
    }
    if spec.field("template").field("spec").text("restartPolicy") != "Never" {
        let path = at.child("template").child("spec").child("restartPolicy");
        let value = spec.field("template").field("spec").text("restartPolicy");
        errors.push(Error::invalid(&path, value, "only \"Never\" is supported when podFailurePolicy is specified"));
    }
    let rules = spec.field("podFailurePolicy").list("rules");
    let at = at.child("podFailurePolicy").child("rules");
    if rules.len() > 20 {
        errors.push(Error::too_many(&at, rules.len(), 20));
    }
    let names: Vec<&str> = ["containers", "initContainers"]
        .into_iter()
        .flat_map(|list| spec.field("template").field("spec").list(list))
        .map(|c| c.text("name"))
        .collect();
    for (i, rule) in rules.iter().enumerate() {
        failure_rule(errors, &at.index(i), rule, &names, spec);
    }
}

fn failure_rule(errors: &mut ErrorList, at: &Path, rule: &Value, names: &[&str], spec: &Value) {
    let actions = &["Count", "FailIndex", "FailJob", "Ignore"];
    match rule.text("action") {
        "" => {
            let why = format!("valid values: {}", actions.map(|a| format!("{a:?}")).join(", "));
            errors.push(Error::required(&at.child("action"), why));
        }
        "FailIndex" if !spec.has("backoffLimitPerIndex") => {
            let why = "requires the backoffLimitPerIndex to be set";
            errors.push(Error::invalid(&at.child("action"), "FailIndex", why));
        }
        _ => check::optional_choice(errors, at, rule, "action", actions),
    }
    match (rule.has("onExitCodes"), !rule.list("onPodConditions").is_empty()) {
        (true, true) => {
            let why = "specifying both OnExitCodes and OnPodConditions is not supported";
            errors.push(Error::invalid(at, rule.clone(), why));
        }
        (false, false) => {
            let why = "specifying one of OnExitCodes and OnPodConditions is required";
            errors.push(Error::invalid(at, rule.clone(), why));
        }
        (true, false) => exit_codes(errors, &at.child("onExitCodes"), rule.field("onExitCodes"), names),
        (false, true) => {
            for (i, condition) in rule.list("onPodConditions").iter().enumerate() {
                let at = at.child("onPodConditions").index(i);
                check::text(errors, &at, "type", condition.text("type"), apimachinery::validation::is_qualified_name);
                check::choice(errors, &at, condition, "status", &["False", "True", "Unknown"]);
            }
        }
    }
}

fn exit_codes(errors: &mut ErrorList, at: &Path, codes: &Value, names: &[&str]) {
    check::choice(errors, at, codes, "operator", &["In", "NotIn"]);
    let name = codes.text("containerName");
    if !name.is_empty() && !names.contains(&name) {
        let path = at.child("containerName");
        errors.push(Error::invalid(
            &path,
            name,
            "must be one of the container or initContainer names in the pod template",
        ));
    }
    let values = codes.list("values");
    let at = at.child("values");
    if values.is_empty() {
        errors.push(Error::invalid(&at, codes.field("values").clone(), "at least one value is required"));
    } else if values.len() > 255 {
        errors.push(Error::too_many(&at, values.len(), 255));
    }
    for (i, value) in values.iter().enumerate() {
        if codes.text("operator") == "In" && value == 0 {
            errors.push(Error::invalid(&at.index(i), 0, "must not be 0 for the In operator"));
        }
        if values[..i].contains(value) {
            errors.push(Error::duplicate(&at.index(i), value.clone()));
        }
    }
}

fn success_policy(errors: &mut ErrorList, at: &Path, spec: &Value) {
    if !spec.has("successPolicy") {
        return;
    }
    let at = at.child("successPolicy");
    if spec.text("completionMode") != "Indexed" {
        let value = spec.field("successPolicy").clone();
        errors.push(Error::invalid(&at, value, "requires indexed completion mode"));
        return;
    }
    let rules = spec.field("successPolicy").list("rules");
    if rules.is_empty() {
        errors.push(Error::required(
            &at.child("rules"),
            "at least one rules must be specified when the successPolicy is specified",
        ));
    }
    if rules.len() > 20 {
        errors.push(Error::too_many(&at.child("rules"), rules.len(), 20));
    }
    for (i, rule) in rules.iter().enumerate() {
        let at = at.child("rules").index(i);
        if !rule.has("succeededCount") && !rule.has("succeededIndexes") {
            errors.push(Error::required(&at, "at least one of succeededCount or succeededIndexes must be specified"));
        }
        check::nonnegative(errors, &at, rule, "succeededCount");
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

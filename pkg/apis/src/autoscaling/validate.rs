//! Validation of HorizontalPodAutoscalers.

use apimachinery::Object;
use apimachinery::field::{Error, ErrorList, Path};
use apimachinery::validation::is_path_segment_name;
use serde_json::Value;

use super::METRICS;
use crate::tree::Tree;
use crate::{check, quantity};

/// What of a spec depends on what was there before.
struct Options {
    lowest: i64,
    target: ApiVersions,
    described: ApiVersions,
}

/// Which `apiVersion` a reference to an object may have.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ApiVersions {
    Any,
    /// Those of the core group, too.
    Legal,
    /// Those of a named group: of the core group, only ReplicationControllers can be scaled.
    Grouped,
}

impl Options {
    fn of(spec: &Value, old: &Value) -> Self {
        let (target, before) = (spec.field("scaleTargetRef"), old.field("scaleTargetRef"));
        let same = !old.is_null() && ["apiVersion", "kind"].iter().all(|f| target.text(f) == before.text(f));
        let described = old.list("metrics").iter().filter(|metric| metric.text("type") == "Object");
        let mut described = described.map(|metric| metric.field("object").field("describedObject"));
        let spoilt = described.any(|object| api_version_fault(object.text("apiVersion"), ApiVersions::Legal).is_some());
        Self {
            lowest: if old.int("minReplicas") == Some(0) { 0 } else { 1 },
            target: match target.text("kind") {
                _ if same => ApiVersions::Any,
                "ReplicationController" => ApiVersions::Legal,
                _ => ApiVersions::Grouped,
            },
            described: if spoilt { ApiVersions::Any } else { ApiVersions::Legal },
        }
    }
}

pub fn new(scaler: &Object) -> ErrorList {
    spec(scaler.field("spec"), &Value::Null)
}

/// Who may scale to zero still may; to begin with it is an alpha feature.
pub fn update(new: &Object, old: &Object) -> ErrorList {
    spec(new.field("spec"), old.field("spec"))
}

pub fn status(new: &Object, _old: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    for field in ["currentReplicas", "desiredReplicas"] {
        check::nonnegative(&mut errors, &Path::new("status"), new.field("status"), field);
    }
    errors
}

fn spec(spec: &Value, old: &Value) -> ErrorList {
    let mut errors = ErrorList::new();
    let Options { lowest, target, described } = Options::of(spec, old);
    let at = Path::new("spec");
    let (min, max) = (spec.int("minReplicas"), spec.int("maxReplicas").unwrap_or(0));
    if let Some(min) = min.filter(|min| *min < lowest) {
        let why = format!("must be greater than or equal to {lowest}");
        errors.push(Error::invalid(&at.child("minReplicas"), min, why));
    }
    if max < 1 {
        errors.push(Error::invalid(&at.child("maxReplicas"), max, "must be greater than 0"));
    }
    if min.is_some_and(|min| max < min) {
        errors.push(Error::invalid(&at.child("maxReplicas"), max, "must be greater than or equal to `minReplicas`"));
    }
    object_reference(&mut errors, &at.child("scaleTargetRef"), spec.field("scaleTargetRef"), target);
    let (metrics_at, metrics) = (at.child("metrics"), spec.list("metrics"));
    for (i, one) in metrics.iter().enumerate() {
        metric(&mut errors, &metrics_at.index(i), one, described);
    }
    if min == Some(0) && !metrics.iter().any(|m| matches!(m.text("type"), "Object" | "External")) {
        let why = "must specify at least one Object or External metric to support scaling to zero replicas";
        errors.push(Error::forbidden(&metrics_at, why));
    }
    for direction in ["scaleUp", "scaleDown"] {
        let rules = spec.field("behavior").field(direction);
        if !rules.is_null() {
            scaling_rules(&mut errors, &at.child("behavior").child(direction), rules);
        }
    }
    errors
}

/// Kind and name become parts of a URL.
fn object_reference(errors: &mut ErrorList, at: &Path, reference: &Value, versions: ApiVersions) {
    for field in ["kind", "name"] {
        check::required_text(errors, at, reference, field, is_path_segment_name);
    }
    let version = reference.text("apiVersion");
    if let Some(why) = api_version_fault(version, versions) {
        errors.push(Error::invalid(&at.child("apiVersion"), version, why));
    }
}

fn api_version_fault(version: &str, allowed: ApiVersions) -> Option<String> {
    let slashes = version.matches('/').count();
    let has_group = slashes == 1 && !version.starts_with('/');
    match allowed {
        ApiVersions::Any => None,
        _ if slashes > 1 => Some(format!("unexpected GroupVersion string: {version}")),
        ApiVersions::Grouped if !has_group => Some("apiVersion must specify API group".to_owned()),
        _ => None,
    }
}

/// In the order in which they are checked.
const SOURCES: &[&str] = &["object", "external", "pods", "resource", "containerResource"];

fn metric(errors: &mut ErrorList, at: &Path, metric: &Value, described: ApiVersions) {
    let kind = metric.text("type");
    let names: Vec<&str> = METRICS.iter().map(|(name, _)| *name).collect();
    let field = METRICS.iter().find(|(name, _)| *name == kind).map(|(_, field)| *field);
    let unknown = || Error::not_supported(&at.child("type"), kind, &names);
    if kind.is_empty() {
        errors.push(Error::required(&at.child("type"), "must specify a metric source type"));
    }
    if field.is_none() {
        errors.push(unknown());
    }
    let given: Vec<&str> = SOURCES.iter().copied().filter(|field| metric.has(field)).collect();
    if let Some(first) = given.first() {
        source(errors, &at.child(first), first, metric.field(first), described);
    }
    match field {
        Some(field) if !metric.has(field) => {
            let why = "must populate information for the given metric source";
            errors.push(Error::required(&at.child(field), why));
        }
        Some(_) => {}
        // Upstream says it twice.
        None => errors.push(unknown()),
    }
    if given.len() > 1 {
        for other in given.iter().filter(|other| Some(**other) != field) {
            errors.push(Error::forbidden(&at.child(other), "must populate the given metric source only"));
        }
    }
}

fn source(errors: &mut ErrorList, at: &Path, kind: &str, source: &Value, described: ApiVersions) {
    let (target_at, target) = (at.child("target"), source.field("target"));
    match kind {
        "object" => {
            object_reference(errors, &at.child("describedObject"), source.field("describedObject"), described);
        }
        "resource" | "containerResource" => {
            if source.text("name").is_empty() {
                errors.push(Error::required(&at.child("name"), "must specify a resource name"));
            }
            if kind == "containerResource" && source.text("container").is_empty() {
                errors.push(Error::required(&at.child("container"), "must specify a container"));
            }
        }
        _ => {}
    }
    if matches!(kind, "object" | "external" | "pods") {
        let (at, name) = (at.child("metric"), source.field("metric").text("name"));
        if name.is_empty() {
            errors.push(Error::required(&at.child("name"), "must specify a metric name"));
        } else {
            check::text(errors, &at, "name", name, is_path_segment_name);
        }
    }
    target_numbers(errors, &target_at, target);
    target_of(errors, &target_at, kind, target);
}

fn target_numbers(errors: &mut ErrorList, at: &Path, target: &Value) {
    let kind = target.text("type");
    if kind.is_empty() {
        errors.push(Error::required(&at.child("type"), "must specify a metric target type"));
    }
    if !matches!(kind, "Utilization" | "Value" | "AverageValue") {
        errors.push(Error::invalid(&at.child("type"), kind, "must be either Utilization, Value, or AverageValue"));
    }
    for field in ["value", "averageValue"] {
        if quantity::parse(target.field(field)).is_some_and(|q| q.is_zero() || q.is_negative()) {
            errors.push(Error::invalid(&at.child(field), target.field(field).clone(), "must be positive"));
        }
    }
    if let Some(percent) = target.int("averageUtilization").filter(|p| *p < 1) {
        errors.push(Error::invalid(&at.child("averageUtilization"), percent, "must be greater than 0"));
    }
}

/// Which of the numbers a kind of metric needs, and which exclude each other.
fn target_of(errors: &mut ErrorList, at: &Path, kind: &str, target: &Value) {
    let has = |field: &str| target.has(field);
    let (value, average) = (has("value"), has("averageValue"));
    let (missing, why) = match kind {
        "object" if !value && !average => ("averageValue", "must set either a target value or averageValue"),
        "external" if !value && !average => {
            ("averageValue", "must set either a target value for metric or a per-pod target")
        }
        "external" if value && average => {
            let why = "may not set both a target value for metric and a per-pod target";
            return errors.push(Error::forbidden(&at.child("value"), why));
        }
        "pods" if !average => ("averageValue", "must specify a positive target averageValue"),
        "resource" | "containerResource" if !average && !has("averageUtilization") => {
            ("averageUtilization", "must set either a target raw value or a target utilization")
        }
        "resource" | "containerResource" if average && has("averageUtilization") => {
            let why = "may not set both a target raw value and a target utilization";
            return errors.push(Error::forbidden(&at.child("averageValue"), why));
        }
        _ => return,
    };
    errors.push(Error::required(&at.child(missing), why));
}

/// Longest stabilization window and policy period, in seconds.
const WINDOW_MAX: i64 = 3600;
const PERIOD_MAX: i64 = 1800;

fn scaling_rules(errors: &mut ErrorList, at: &Path, rules: &Value) {
    let window = "stabilizationWindowSeconds";
    match rules.int(window) {
        Some(seconds) if seconds < 0 => {
            errors.push(Error::invalid(&at.child(window), seconds, "must be greater than or equal to zero"));
        }
        Some(seconds) if seconds > WINDOW_MAX => {
            let why = format!("must be less than or equal to {WINDOW_MAX}");
            errors.push(Error::invalid(&at.child(window), seconds, why));
        }
        _ => {}
    }
    check::optional_choice(errors, at, rules, "selectPolicy", &["Disabled", "Max", "Min"]);
    let policies_at = at.child("policies");
    if rules.list("policies").is_empty() {
        errors.push(Error::required(&policies_at, "must specify at least one Policy"));
    }
    for (i, policy) in rules.list("policies").iter().enumerate() {
        let at = policies_at.index(i);
        check::one_of(errors, &at, policy, "type", &["Percent", "Pods"]);
        for field in ["value", "periodSeconds"] {
            let number = policy.int(field).unwrap_or(0);
            if number <= 0 {
                errors.push(Error::invalid(&at.child(field), number, "must be greater than zero"));
            }
        }
        if let Some(seconds) = policy.int("periodSeconds").filter(|seconds| *seconds > PERIOD_MAX) {
            let why = format!("must be less than or equal to {PERIOD_MAX}");
            errors.push(Error::invalid(&at.child("periodSeconds"), seconds, why));
        }
    }
    check::nonnegative_quantity(errors, &at.child("tolerance"), rules.field("tolerance"));
}

//! LimitRanges and ResourceQuotas.

use std::collections::BTreeSet;

use apimachinery::field::{Error, ErrorList, Path};
use apimachinery::quantity::Quantity;
use apimachinery::validation::is_qualified_name;
use apimachinery::{Object, meta::ObjectExt, meta::object_mut};
use serde_json::{Map, Value, json};

use crate::cells::{NAME_CREATED, age, name_created};
use crate::podspec::resources;
use crate::quantity::{self, canonical_quantities};
use crate::resource::{Column, Resource, Strategy, Subresource};
use crate::tree::{Fill, Tree, spec_mut};

pub const LIMIT_RANGE: Resource = Resource {
    short_names: &["limits"],
    columns: NAME_CREATED,
    cells: name_created,
    strategy: Strategy {
        default: default_range,
        validate: validate_range,
        validate_update: |new, _| validate_range(new),
        ..Strategy::PLAIN
    },
    ..Resource::namespaced("", "v1", "limitranges", "limitrange", "LimitRange")
};

pub const RESOURCE_QUOTA: Resource = Resource {
    short_names: &["quota"],
    columns: &[
        Column::NAME,
        Column::text("Request", "What is used and what may be, of requests and counts."),
        Column::text("Limit", "What is used and what may be, of limits."),
        Column::AGE,
    ],
    cells: quota_cells,
    subresources: &[Subresource::STATUS],
    strategy: Strategy {
        default: default_quota,
        prepare_for_create: |o| drop(object_mut(o).insert("status".to_owned(), json!({}))),
        validate: validate_quota,
        validate_update: |new, old| {
            let mut errors = validate_quota(new);
            let scopes = |o: &Object| o.field("spec").texts("scopes").map(str::to_owned).collect::<BTreeSet<_>>();
            if scopes(new) != scopes(old) {
                let value = new.field("spec").field("scopes").clone();
                errors.push(Error::invalid(&Path::new("spec").child("scopes"), value, "field is immutable"));
            }
            errors
        },
        validate_status_update: |new, _| {
            let mut errors = ErrorList::new();
            quota_amounts(&mut errors, &Path::new("status"), new.field("status"), "hard");
            quota_amounts(&mut errors, &Path::new("status"), new.field("status"), "used");
            errors
        },
        generation_changed: None,
        ..Strategy::SPEC_STATUS
    },
    ..Resource::namespaced("", "v1", "resourcequotas", "resourcequota", "ResourceQuota")
};

const LISTS: [&str; 5] = ["max", "min", "default", "defaultRequest", "maxLimitRequestRatio"];

fn default_range(range: &mut Object) {
    let Some(spec) = spec_mut(range) else { return };
    spec.each("limits", |limit| {
        for list in LISTS {
            canonical_quantities(limit, list);
        }
        // Only containers can be given what they did not ask for.
        if limit.text("type") == "Container" {
            fill(limit, "default", "max");
            fill(limit, "defaultRequest", "default");
            fill(limit, "defaultRequest", "min");
        }
    });
}

fn fill(limit: &mut Map<String, Value>, list: &str, from: &str) {
    let source = limit.field(from).clone();
    for (name, value) in source.as_object().into_iter().flatten() {
        limit.sub_or_new(list).entry(name.as_str()).or_insert_with(|| value.clone());
    }
}

fn validate_range(range: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    let mut types = BTreeSet::new();
    for (i, limit) in range.field("spec").list("limits").iter().enumerate() {
        let at = Path::new("spec").child("limits").index(i);
        let kind = limit.text("type");
        let reasons = is_qualified_name(kind);
        if reasons.is_empty() && !kind.contains('/') && !matches!(kind, "Pod" | "Container" | "PersistentVolumeClaim") {
            let why = "must be a standard limit type or fully qualified";
            errors.push(Error::invalid(&at.child("type"), kind, why));
        }
        errors.extend(reasons.into_iter().map(|e| Error::invalid(&at.child("type"), kind, e)));
        if !types.insert(kind) {
            errors.push(Error::duplicate(&at.child("type"), kind));
        }
        one_range(&mut errors, &at, limit, kind);
    }
    errors
}

fn one_range(errors: &mut ErrorList, at: &Path, limit: &Value, kind: &str) {
    let mut names = BTreeSet::new();
    for list in LISTS {
        for (name, value) in limit.entries(list) {
            names.insert(name);
            if matches!(kind, "Pod" | "Container") {
                resources::container_name(errors, &at.child(list).key(name), name);
            } else {
                resources::name(errors, &at.child(list).key(name), name);
            }
            resources::amount(errors, || at.child(list).key(name), name, value);
        }
    }
    if kind == "Pod" {
        for list in ["default", "defaultRequest"] {
            if limit.field(list).as_object().is_some_and(|m| !m.is_empty()) {
                errors.push(Error::forbidden(&at.child(list), "may not be specified when `type` is 'Pod'"));
            }
        }
    }
    if kind == "PersistentVolumeClaim" && !limit.field("min").has("storage") && !limit.field("max").has("storage") {
        let why = "either minimum or maximum storage value is required, but neither was provided";
        errors.push(Error::required(&at.child("limits"), why));
    }
    for name in names {
        one_resource(errors, at, limit, name);
    }
}

/// min ≤ defaultRequest ≤ default ≤ max, and a ratio that they allow.
fn one_resource(errors: &mut ErrorList, at: &Path, limit: &Value, name: &str) {
    let amount = |list: &str| quantity::parse(limit.field(list).field(name));
    let words = [
        ("min", "max", "min", "min value", "max value"),
        ("min", "defaultRequest", "defaultRequest", "min value", "default request value"),
        ("defaultRequest", "max", "defaultRequest", "default request value", "max value"),
        ("defaultRequest", "default", "defaultRequest", "default request value", "default limit value"),
        ("min", "default", "default", "min value", "default value"),
        ("default", "max", "default", "default value", "max value"),
    ];
    for (low, high, shown, low_word, high_word) in words {
        if let (Some(small), Some(large)) = (amount(low), amount(high))
            && small > large
        {
            let path = at.child(shown).key(name);
            let value = if shown == low { small } else { large };
            let why = format!("{low_word} {small} is greater than {high_word} {large}");
            errors.push(Error::invalid(&path, value.to_string(), why));
        }
    }
    if let Some(ratio) = amount("maxLimitRequestRatio") {
        let path = at.child("maxLimitRequestRatio").key(name);
        if ratio < Quantity::new(1, ratio.format()) {
            let why = format!("ratio {ratio} is less than 1");
            errors.push(Error::invalid(&path, ratio.to_string(), why));
        }
        if let (Some(min), Some(max)) = (amount("min"), amount("max"))
            && min.milli_value() > 0
        {
            let possible = max.as_f64() / min.as_f64();
            if ratio.as_f64() > possible {
                let why = format!("ratio {ratio} is greater than max/min = {possible:.6}");
                errors.push(Error::invalid(&path, ratio.to_string(), why));
            }
        }
    }
}

fn default_quota(quota: &mut Object) {
    let root = object_mut(quota);
    if let Some(spec) = root.sub("spec") {
        canonical_quantities(spec, "hard");
    }
    if let Some(status) = root.sub("status") {
        canonical_quantities(status, "hard");
        canonical_quantities(status, "used");
    }
}

const SCOPES: &[&str] = &[
    "BestEffort",
    "CrossNamespacePodAffinity",
    "NotBestEffort",
    "NotTerminating",
    "PriorityClass",
    "Terminating",
    "VolumeAttributesClass",
];

fn quota_amounts(errors: &mut ErrorList, at: &Path, owner: &Value, list: &str) {
    for (name, value) in owner.entries(list) {
        let at = at.child(list).key(name);
        // Counts of anything: `count/deployments.apps`; classes: `gold.storageclass.storage.k8s.io/requests.storage`.
        resources::name(errors, &at, name);
        resources::amount(errors, || at.clone(), name, value);
    }
}

fn validate_quota(quota: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    let (at, spec) = (Path::new("spec"), quota.field("spec"));
    quota_amounts(&mut errors, &at, spec, "hard");
    let mut seen = BTreeSet::new();
    for scope in spec.texts("scopes") {
        let at = at.child("scopes");
        if !SCOPES.contains(&scope) {
            errors.push(Error::invalid(&at, spec.field("scopes").clone(), "unsupported scope"));
        }
        seen.insert(scope);
    }
    for (a, b) in [("BestEffort", "NotBestEffort"), ("Terminating", "NotTerminating")] {
        if seen.contains(a) && seen.contains(b) {
            errors.push(Error::invalid(&at.child("scopes"), spec.field("scopes").clone(), "conflicting scopes"));
        }
    }
    scope_selector(&mut errors, &at.child("scopeSelector").child("matchExpressions"), spec.field("scopeSelector"));
    errors
}

fn scope_selector(errors: &mut ErrorList, at: &Path, selector: &Value) {
    for requirement in selector.list("matchExpressions") {
        let (scope, operator) = (requirement.text("scopeName"), requirement.text("operator"));
        let count = requirement.list("values").len();
        if !SCOPES.contains(&scope) {
            errors.push(Error::invalid(&at.child("scopeName"), scope, "unsupported scope"));
        }
        if !matches!(scope, "PriorityClass" | "VolumeAttributesClass" | "") && operator != "Exists" {
            let why = "must be 'Exist' when scope is any of ResourceQuotaScopeTerminating, \
                       ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort \
                       or ResourceQuotaScopeCrossNamespacePodAffinity";
            errors.push(Error::invalid(&at.child("operator"), operator, why));
        }
        match operator {
            "In" | "NotIn" if count == 0 => {
                let why = "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector";
                errors.push(Error::required(&at.child("values"), why));
            }
            "Exists" | "DoesNotExist" if count > 0 => {
                let why = "must be no value when `operator` is 'Exists' or 'DoesNotExist' for scope selector";
                errors.push(Error::invalid(&at.child("values"), requirement.field("values").clone(), why));
            }
            "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
            other => errors.push(Error::invalid(&at.child("operator"), other, "not a valid selector operator")),
        }
    }
}

fn quota_cells(quota: &Object, now: i64) -> Vec<Value> {
    let (mut requests, mut limits) = (Vec::new(), Vec::new());
    let used = quota.field("status").field("used");
    for (name, hard) in quota.field("status").entries("hard") {
        let used = used.field(name).as_str().unwrap_or("0");
        let text = format!("{name}: {used}/{}", hard.as_str().unwrap_or("0"));
        if name.starts_with("limits.") { limits.push(text) } else { requests.push(text) }
    }
    vec![quota.name().into(), requests.join(", ").into(), limits.join(", ").into(), age(quota, now)]
}

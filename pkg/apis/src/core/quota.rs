//! ResourceQuotas.

use std::collections::BTreeSet;

use apimachinery::field::{Error, ErrorList, Path};
use apimachinery::{Object, meta::ObjectExt, meta::object_mut};
use serde_json::{Value, json};

use crate::cells::age;
use crate::podspec::resources;
use crate::quantity::canonical_quantities;
use crate::resource::{Column, Resource, Strategy, Subresource};
use crate::tree::{Fill, Tree};

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

/// The scope says something about the resource.
fn fits(scope: &str, resource: &str) -> bool {
    const COMPUTE: &[&str] = &["cpu", "memory", "limits.cpu", "limits.memory", "requests.cpu", "requests.memory"];
    match scope {
        "BestEffort" => resource == "pods",
        "VolumeAttributesClass" => matches!(resource, "persistentvolumeclaims" | "requests.storage"),
        scope if SCOPES.contains(&scope) => resource == "pods" || COMPUTE.contains(&resource),
        _ => true,
    }
}

fn quota_amounts(errors: &mut ErrorList, at: &Path, owner: &Value, list: &str) {
    for (name, value) in owner.entries(list) {
        let at = at.child(list).key(name);
        // Counts of anything: `count/deployments.apps`; classes: `gold.storageclass.storage.k8s.io/requests.storage`.
        resources::name(errors, &at, name);
        if !name.contains('/') && !resources::is_standard_of_quota(name) {
            errors.push(Error::invalid(&at, name, "must be a standard resource for quota"));
        }
        resources::amount(errors, || at.clone(), name, value);
    }
}

fn validate_quota(quota: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    let (at, spec) = (Path::new("spec"), quota.field("spec"));
    quota_amounts(&mut errors, &at, spec, "hard");
    let (scopes_at, scopes) = (at.child("scopes"), spec.field("scopes"));
    for scope in spec.texts("scopes") {
        if !SCOPES.contains(&scope) {
            errors.push(Error::invalid(&scopes_at, scopes.clone(), "unsupported scope"));
        }
        unfit(&mut errors, &scopes_at, spec, scope, scopes);
    }
    conflicts(&mut errors, &scopes_at, &spec.texts("scopes").collect(), scopes);
    scope_selector(&mut errors, &at.child("scopeSelector").child("matchExpressions"), spec);
    errors
}

/// One error for each limited resource that the scope has nothing to do with.
fn unfit(errors: &mut ErrorList, at: &Path, spec: &Value, scope: &str, shown: &Value) {
    for _ in spec.entries("hard").filter(|(name, _)| resources::is_standard_of_quota(name) && !fits(scope, name)) {
        errors.push(Error::invalid(at, shown.clone(), "unsupported scope applied to resource"));
    }
}

fn conflicts(errors: &mut ErrorList, at: &Path, scopes: &BTreeSet<&str>, shown: &Value) {
    for (a, b) in [("BestEffort", "NotBestEffort"), ("Terminating", "NotTerminating")] {
        if scopes.contains(a) && scopes.contains(b) {
            errors.push(Error::invalid(at, shown.clone(), "conflicting scopes"));
        }
    }
}

fn scope_selector(errors: &mut ErrorList, at: &Path, spec: &Value) {
    let selector = spec.field("scopeSelector");
    let mut scopes = BTreeSet::new();
    for requirement in selector.list("matchExpressions") {
        let (scope, operator) = (requirement.text("scopeName"), requirement.text("operator"));
        let count = requirement.list("values").len();
        if !SCOPES.contains(&scope) {
            errors.push(Error::invalid(&at.child("scopeName"), scope, "unsupported scope"));
        }
        unfit(errors, at, spec, scope, selector);
        let flag = SCOPES.contains(&scope) && !matches!(scope, "PriorityClass" | "VolumeAttributesClass");
        if flag && operator != "Exists" {
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
                let why = "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector";
                errors.push(Error::invalid(&at.child("values"), requirement.field("values").clone(), why));
            }
            "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
            other => errors.push(Error::invalid(&at.child("operator"), other, "not a valid selector operator")),
        }
        scopes.insert(scope);
    }
    conflicts(errors, at, &scopes, selector);
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

//! LimitRanges.

use std::collections::BTreeSet;

use apimachinery::Object;
use apimachinery::field::{Error, ErrorList, Path};
use apimachinery::quantity::Quantity;
use apimachinery::validation::is_qualified_name;
use serde_json::{Map, Value};

use crate::cells::{NAME_CREATED, name_created};
use crate::podspec::resources;
use crate::quantity::{self, canonical_quantities};
use crate::resource::{Resource, Strategy};
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
    let mut collect = |errors: &mut ErrorList, list: &str| {
        for (name, _) in limit.entries(list) {
            names.insert(name.to_owned());
            if matches!(kind, "Pod" | "Container") {
                resources::container_name(errors, &at.child(list).key(name), name);
            } else {
                resources::name(errors, &at.child(list).key(name), name);
            }
        }
    };
    collect(errors, "max");
    collect(errors, "min");
    for list in ["default", "defaultRequest"] {
        if kind != "Pod" {
            collect(errors, list);
        } else if limit.entries(list).next().is_some() {
            errors.push(Error::forbidden(&at.child(list), "may not be specified when `type` is 'Pod'"));
        }
    }
    if kind == "PersistentVolumeClaim" && !limit.field("min").has("storage") && !limit.field("max").has("storage") {
        let why = "either minimum or maximum storage value is required, but neither was provided";
        errors.push(Error::required(&at.child("limits"), why));
    }
    collect(errors, "maxLimitRequestRatio");
    for name in &names {
        one_resource(errors, at, limit, kind, name);
    }
}

/// Two lists of which the first must not be above the second, the list that the error is about, the one whose amount it
/// shows (upstream does not always show the culprit), and what it calls them.
type Order = (&'static str, &'static str, &'static str, &'static str, &'static str, &'static str);

const ORDERS: &[Order] = &[
    ("min", "max", "min", "min", "min value", "max value"),
    ("min", "defaultRequest", "defaultRequest", "defaultRequest", "min value", "default request value"),
    ("defaultRequest", "max", "defaultRequest", "defaultRequest", "default request value", "max value"),
    ("defaultRequest", "default", "defaultRequest", "defaultRequest", "default request value", "default limit value"),
    ("min", "default", "default", "min", "min value", "default value"),
    ("default", "max", "default", "max", "default value", "max value"),
];

/// min ≤ defaultRequest ≤ default ≤ max, and a ratio that they allow.
fn one_resource(errors: &mut ErrorList, at: &Path, limit: &Value, kind: &str, name: &str) {
    let amount = |list: &str| {
        let unused = kind == "Pod" && list.starts_with("default");
        quantity::parse(limit.field(list).field(name)).filter(|_| !unused)
    };
    for (low, high, owner, shown, low_word, high_word) in ORDERS {
        if let (Some(small), Some(large)) = (amount(low), amount(high))
            && small > large
        {
            let value = if shown == low { small } else { large };
            let why = format!("{low_word} {small} is greater than {high_word} {large}");
            errors.push(Error::invalid(&at.child(owner).key(name), value.to_string(), why));
        }
    }
    if let Some(ratio) = amount("maxLimitRequestRatio") {
        max_ratio(errors, &at.child("maxLimitRequestRatio").key(name), ratio, amount("min"), amount("max"));
    }
    if let (Some(default), Some(request)) = (amount("default"), amount("defaultRequest"))
        && !resources::is_overcommit_allowed(name)
        && default != request
    {
        let why = format!("default value {default} must equal to defaultRequest value {request} in {name}");
        errors.push(Error::invalid(&at.child("defaultRequest").key(name), request.to_string(), why));
    }
}

fn max_ratio(errors: &mut ErrorList, path: &Path, ratio: Quantity, min: Option<Quantity>, max: Option<Quantity>) {
    if ratio < Quantity::new(1, ratio.format()) {
        let why = format!("ratio {ratio} is less than 1");
        errors.push(Error::invalid(path, ratio.to_string(), why));
    }
    let Some((min, max)) = min.zip(max).filter(|(min, _)| min.milli_value() > 0) else { return };
    let possible = max.as_f64() / min.as_f64();
    if ratio.as_f64() > possible {
        let why = format!("ratio {ratio} is greater than max/min = {possible:.6}");
        errors.push(Error::invalid(path, ratio.to_string(), why));
    }
}

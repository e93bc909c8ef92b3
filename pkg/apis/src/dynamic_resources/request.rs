//! What a claim asks for: requests, constraints, configuration.

use std::collections::{HashMap, HashSet};

use apimachinery::field::{Error, ErrorList, Path};
use apimachinery::validation::{is_dns1123_label, is_dns1123_subdomain};
use cel::Type;
use serde_json::{Map, Value};

use super::taint::validate_toleration;
use super::{fully_qualified_name, items, name_key, opaque, text_key, unique};
use crate::check;
use crate::tree::{Fill, Tree};

const REQUESTS_MAX: usize = 32;
const ALTERNATIVES_MAX: usize = 8;
const CONSTRAINTS_MAX: usize = 32;
const CONFIG_MAX: usize = 32;
const SELECTORS_MAX: usize = 32;
const TOLERATIONS_MAX: usize = 16;
const EXPRESSION_MAX: usize = 10 * 1024;
/// The most that an expression may cost in the worst case.
const EXPRESSION_COST_MAX: u64 = 1_000_000;

/// Visits the request itself and its alternatives.
fn each_request(spec: &mut Map<String, Value>, visit: fn(&mut Map<String, Value>)) {
    let Some(devices) = spec.sub("devices") else { return };
    devices.each("requests", |request| {
        if let Some(exactly) = request.sub("exactly") {
            visit(exactly);
        }
        request.each("firstAvailable", visit);
    });
}

pub fn default(spec: &mut Map<String, Value>) {
    each_request(spec, |request| {
        request.default_text("allocationMode", "ExactCount");
        if request.text("allocationMode") == "ExactCount" {
            request.default_nonzero("count", 1);
        }
        request.each("tolerations", |toleration| toleration.default_text("operator", "Equal"));
    });
}

/// Derived attributes are behind a gate that is off.
pub fn drop_disabled(spec: &mut Map<String, Value>) {
    each_request(spec, |request| drop(request.remove("derivedAttributes")));
}

/// The names of the requests of a claim, and of the alternatives of each.
pub struct Names<'a>(HashMap<&'a str, HashSet<&'a str>>);

impl<'a> Names<'a> {
    pub fn of(spec: &'a Value) -> Self {
        let requests = spec.field("devices").list("requests").iter();
        Self(
            requests
                .map(|r| (r.text("name"), r.list("firstAvailable").iter().map(|s| s.text("name")).collect()))
                .collect(),
        )
    }

    /// `name` is a request, or `request/alternative`.
    fn has(&self, name: &str) -> bool {
        let (request, alternative) = name.split_once('/').map_or((name, None), |(r, a)| (r, Some(a)));
        self.0.get(request).is_some_and(|known| alternative.is_none_or(|alternative| known.contains(alternative)))
    }

    pub fn check(&self, errors: &mut ErrorList, at: &Path, name: &str) {
        let why =
            "must be the name of a request in the claim or the name of a request and a subrequest separated by '/'";
        let segments: Vec<&str> = name.split('/').collect();
        if segments.len() > 2 {
            errors.push(Error::invalid(at, name, why));
            return;
        }
        for segment in segments {
            errors.extend(is_dns1123_label(segment).into_iter().map(|e| Error::invalid(at, segment, e)));
        }
        if !self.has(name) {
            errors.push(Error::invalid(at, name, why));
        }
    }

    /// The list `requests` of a constraint or configuration.
    pub fn check_list(&self, errors: &mut ErrorList, at: &Path, owner: &Value) {
        unique(errors, &at.child("requests"), owner.list("requests"), REQUESTS_MAX, text_key, &|errors, at, name| {
            self.check(errors, at, name.as_str().unwrap_or(""));
        });
    }
}

/// The spec of a claim.
pub fn validate(errors: &mut ErrorList, at: &Path, spec: &Value) {
    let (at, devices, names) = (at.child("devices"), spec.field("devices"), Names::of(spec));
    unique(errors, &at.child("requests"), devices.list("requests"), REQUESTS_MAX, name_key, &one_request);
    items(errors, &at.child("constraints"), devices.list("constraints"), CONSTRAINTS_MAX, &|errors, at, constraint| {
        names.check_list(errors, at, constraint);
        validate_constraint(errors, at, constraint);
    });
    items(errors, &at.child("config"), devices.list("config"), CONFIG_MAX, &|errors, at, config| {
        names.check_list(errors, at, config);
        opaque(errors, at, config);
    });
}

fn one_request(errors: &mut ErrorList, at: &Path, request: &Value) {
    check::text(errors, at, "name", request.text("name"), is_dns1123_label);
    let alternatives = request.list("firstAvailable");
    match (request.has("exactly"), !alternatives.is_empty()) {
        (true, true) => {
            let why = "exactly one of `exactly` or `firstAvailable` is required, but multiple fields are set";
            errors.push(Error::invalid(at, Value::Null, why));
        }
        (false, false) => {
            errors.push(Error::required(at, "exactly one of `exactly` or `firstAvailable` is required"));
        }
        (true, false) => devices(errors, &at.child("exactly"), request.field("exactly")),
        (false, true) => {
            let at = at.child("firstAvailable");
            unique(errors, &at, alternatives, ALTERNATIVES_MAX, name_key, &|errors, at, alternative| {
                check::text(errors, at, "name", alternative.text("name"), is_dns1123_label);
                devices(errors, at, alternative);
            });
        }
    }
}

/// Which devices, and how many.
fn devices(errors: &mut ErrorList, at: &Path, request: &Value) {
    check::required_text(errors, at, request, "deviceClassName", is_dns1123_subdomain);
    selectors(errors, &at.child("selectors"), request.list("selectors"));
    let count = request.int("count").unwrap_or(0);
    match request.text("allocationMode") {
        "All" if count != 0 => {
            let why = "must not be specified when allocationMode is 'All'";
            errors.push(Error::invalid(&at.child("count"), count, why));
        }
        "ExactCount" if count <= 0 => {
            errors.push(Error::invalid(&at.child("count"), count, "must be greater than zero"));
        }
        "All" | "ExactCount" => {}
        other => errors.push(Error::not_supported(&at.child("allocationMode"), other, &["All", "ExactCount"])),
    }
    let tolerations = request.list("tolerations");
    items(errors, &at.child("tolerations"), tolerations, TOLERATIONS_MAX, &validate_toleration);
}

pub fn selectors(errors: &mut ErrorList, at: &Path, selectors: &[Value]) {
    items(errors, at, selectors, SELECTORS_MAX, &|errors, at, selector| {
        let at = at.child("cel");
        if !selector.has("cel") {
            errors.push(Error::required(&at, ""));
            return;
        }
        let expression = selector.field("cel").text("expression");
        if expression.is_empty() {
            errors.push(Error::required(&at.child("expression"), ""));
        } else if expression.len() > EXPRESSION_MAX {
            errors.push(Error::too_long(&at.child("expression"), EXPRESSION_MAX));
        } else {
            match selector_cost(expression) {
                Ok(cost) if cost > EXPRESSION_COST_MAX => {
                    errors.push(Error::forbidden(&at.child("expression"), "too complex, exceeds cost limit"));
                }
                Ok(_) => {}
                Err(why) => errors.push(Error::invalid(&at.child("expression"), expression, why)),
            }
        }
    });
}

/// What a selector costs at most. It says yes or no, or gives an attribute, whose type is known by the device alone.
fn selector_cost(expression: &str) -> Result<u64, String> {
    let compiled = cel::kubernetes::device().estimate(expression)?;
    match compiled.of {
        Type::Bool | Type::Any | Type::Dyn => Ok(compiled.cost.max),
        other => Err(format!("must evaluate to bool or the unknown type, not {}", other.declared())),
    }
}

fn validate_constraint(errors: &mut ErrorList, at: &Path, constraint: &Value) {
    if let Some(name) = constraint.field("matchAttribute").as_str() {
        fully_qualified_name(errors, &at.child("matchAttribute"), name);
    } else if let Some(name) = constraint.field("distinctAttribute").as_str() {
        fully_qualified_name(errors, &at.child("distinctAttribute"), name);
    } else {
        let why = "exactly one of \"matchAttribute\" or \"distinctAttribute\" is required, but multiple fields are set";
        errors.push(Error::required(at, why));
    }
}

//! Bindings of policies.

use apimachinery::field::{Error, ErrorList, Path};
use apimachinery::validation::{is_dns1123_subdomain, is_path_segment_name};
use apimachinery::{Object, meta::ObjectExt};
use serde_json::Value;

use super::matching;
use crate::check;
use crate::tree::Tree;

pub fn validate(binding: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    let (at, spec) = (Path::new("spec"), binding.field("spec"));
    check::required_text(&mut errors, &at, spec, "policyName", is_dns1123_subdomain);
    if spec.has("paramRef") {
        parameters(&mut errors, &at.child("paramRef"), spec.field("paramRef"));
    }
    if spec.has("matchResources") {
        matching::resources(&mut errors, &at.child("matchResources"), spec.field("matchResources"));
    }
    if binding.kind() == "ValidatingAdmissionPolicyBinding" {
        actions(&mut errors, &at.child("validationActions"), spec);
    }
    errors
}

fn parameters(errors: &mut ErrorList, at: &Path, reference: &Value) {
    const EXCLUSIVE: &str = "name and selector are mutually exclusive";
    let (name, selects) = (reference.text("name"), reference.has("selector"));
    if !name.is_empty() {
        check::text(errors, at, "name", name, is_path_segment_name);
    }
    if !name.is_empty() && selects {
        errors.push(Error::forbidden(&at.child("name"), EXCLUSIVE));
    }
    check::label_selector(errors, &at.child("selector"), reference.field("selector"));
    if !name.is_empty() && selects {
        errors.push(Error::forbidden(&at.child("selector"), EXCLUSIVE));
    }
    if name.is_empty() && !selects {
        errors.push(Error::required(at, "one of name or selector must be specified"));
    }
    check::choice(errors, at, reference, "parameterNotFoundAction", &["Deny", "Allow"]);
}

/// What happens when a validation fails.
fn actions(errors: &mut ErrorList, at: &Path, spec: &Value) {
    const ACTIONS: &[&str] = &["Audit", "Deny", "Warn"];
    let list: Vec<&str> = spec.texts("validationActions").collect();
    for (i, action) in list.iter().enumerate() {
        if !ACTIONS.contains(action) {
            errors.push(Error::not_supported(&at.index(i), *action, ACTIONS));
        }
        if list[..i].contains(action) {
            errors.push(Error::duplicate(&at.index(i), *action));
        }
    }
    if list.contains(&"Deny") && list.contains(&"Warn") {
        let why = "must not contain both Deny and Warn (repeating the same validation failure information in the API \
                   response and headers serves no purpose)";
        errors.push(Error::invalid(at, spec.field("validationActions").clone(), why));
    }
    if list.is_empty() {
        errors.push(Error::required(at, "at least one validation action is required"));
    }
}

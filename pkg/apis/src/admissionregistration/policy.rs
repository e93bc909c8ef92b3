//! ValidatingAdmissionPolicies and MutatingAdmissionPolicies.

use apimachinery::field::{Error, ErrorList, Path};
use apimachinery::validation::{is_dns1035_label, is_dns1123_subdomain, is_qualified_name};
use apimachinery::{Object, meta::ObjectExt};
use serde_json::Value;

use super::{expressions, matching};
use crate::tree::{Fill, Tree, spec_mut};
use crate::{check, conditions};

pub fn default(policy: &mut Object) {
    let Some(spec) = spec_mut(policy) else { return };
    spec.default_value("failurePolicy", || "Fail".into());
    if let Some(constraints) = spec.sub("matchConstraints") {
        matching::default(constraints);
    }
}

/// `old` is the policy before an update: expressions of an unchanged spec are not looked at again.
pub fn validate(policy: &Object, old: Option<&Object>) -> ErrorList {
    let mut errors = ErrorList::new();
    let (at, spec) = (Path::new("spec"), policy.field("spec"));
    check::choice(&mut errors, &at, spec, "failurePolicy", &["Fail", "Ignore"]);
    if spec.has("paramKind") {
        parameter_kind(&mut errors, &at.child("paramKind"), spec.field("paramKind"));
    }
    let (constraints_at, constraints) = (at.child("matchConstraints"), spec.field("matchConstraints"));
    if constraints.is_null() {
        errors.push(Error::required(&constraints_at, ""));
    } else {
        matching::resources(&mut errors, &constraints_at, constraints);
        if constraints.list("resourceRules").is_empty() {
            errors.push(Error::required(&constraints_at.child("resourceRules"), ""));
        }
    }
    let (is_new, is_validating) =
        (old.is_none_or(|old| old.field("spec") != spec), policy.kind() == "ValidatingAdmissionPolicy");
    if is_new {
        let (at, params) = (at.child("matchConditions"), spec.has("paramKind"));
        matching::conditions(&mut errors, &at, spec.list("matchConditions"), params);
    }
    let mut cel = is_new.then(|| expressions::Policy::new(spec, !is_validating));
    for (i, variable) in spec.list("variables").iter().enumerate() {
        validate_variable(&mut errors, &at.child("variables").index(i), variable, cel.as_mut());
    }
    if is_validating {
        validations(&mut errors, &at, policy, cel.as_ref());
    } else {
        mutations(&mut errors, &at, spec, cel.as_ref());
    }
    errors
}

/// What compiles expressions; `None` where they are not looked at.
type Cel<'a> = Option<&'a expressions::Policy>;

fn parameter_kind(errors: &mut ErrorList, at: &Path, parameters: &Value) {
    let (path, text) = (at.child("apiVersion"), parameters.text("apiVersion"));
    let (group, version) = text.split_once('/').unwrap_or(("", text));
    let mut joined = |value: &str, reasons: Vec<String>| {
        if !reasons.is_empty() {
            errors.push(Error::invalid(&path, value, reasons.join(",")));
        }
    };
    if text.is_empty() {
        errors.push(Error::required(&path, ""));
    } else if version.contains('/') {
        joined(text, vec![format!("unexpected GroupVersion string: {text}")]);
    } else {
        if !group.is_empty() {
            joined(group, is_dns1123_subdomain(group));
        }
        if version.is_empty() {
            joined(text, vec!["version must be specified".to_owned()]);
        } else {
            joined(version, is_dns1035_label(version));
        }
    }
    let kind = parameters.text("kind");
    let reasons = is_dns1035_label(&kind.to_lowercase());
    if kind.is_empty() {
        errors.push(Error::required(&at.child("kind"), ""));
    } else if !reasons.is_empty() {
        let why = format!("may have mixed case, but should otherwise match: {}", reasons.join(","));
        errors.push(Error::invalid(&at.child("kind"), kind, why));
    }
}

fn validate_variable(errors: &mut ErrorList, at: &Path, variable: &Value, compiler: Option<&mut expressions::Policy>) {
    let name = variable.text("name");
    if name.trim().is_empty() {
        errors.push(Error::required(&at.child("name"), "name is not specified"));
    } else if !cel::is_identifier(name) {
        errors.push(Error::invalid(&at.child("name"), name, "name is not a valid CEL identifier"));
    }
    let (at, expression) = (at.child("expression"), variable.text("expression"));
    if expression.trim().is_empty() {
        errors.push(Error::required(&at, "expression is not specified"));
    } else if let Some(compiler) = compiler {
        compiler.variable(errors, &at, name, expression);
    }
}

fn validations(errors: &mut ErrorList, at: &Path, policy: &Object, cel: Cel<'_>) {
    let spec = policy.field("spec");
    let (rules, notes) = (spec.list("validations"), spec.list("auditAnnotations"));
    if rules.is_empty() && notes.is_empty() {
        for field in ["validations", "auditAnnotations"] {
            let why = "validations or auditAnnotations must contain at least one item";
            errors.push(Error::required(&at.child(field), why));
        }
    }
    for (i, rule) in rules.iter().enumerate() {
        validation(errors, &at.child("validations").index(i), rule, cel);
    }
    audit_annotations(errors, &at.child("auditAnnotations"), policy, cel);
}

fn validation(errors: &mut ErrorList, at: &Path, rule: &Value, cel: Cel<'_>) {
    const REASONS: &[&str] = &["Forbidden", "Invalid", "RequestEntityTooLarge", "Unauthorized"];
    let expression = rule.text("expression");
    if expression.trim().is_empty() {
        errors.push(Error::required(&at.child("expression"), "expression is not specified"));
    } else if let Some(cel) = cel {
        cel.validation(errors, &at.child("expression"), expression);
    }
    let expression = rule.text("messageExpression");
    if !expression.is_empty() && expression.trim().is_empty() {
        errors.push(Error::invalid(&at.child("messageExpression"), expression, "must be non-empty if specified"));
    } else if let (false, Some(cel)) = (expression.is_empty(), cel) {
        cel.message(errors, &at.child("messageExpression"), expression);
    }
    let message = rule.text("message");
    if !message.is_empty() && message.trim().is_empty() {
        errors.push(Error::invalid(&at.child("message"), message, "message must be non-empty if specified"));
    } else if message.trim().contains(['\n', '\r']) {
        errors.push(Error::invalid(&at.child("message"), message, "message must not contain line breaks"));
    }
    check::optional_choice(errors, at, rule, "reason", REASONS);
}

fn audit_annotations(errors: &mut ErrorList, at: &Path, policy: &Object, cel: Cel<'_>) {
    const COUNT_MAX: usize = 20;
    const EXPRESSION_MAX: usize = 5 * 1024;
    let (name, spec) = (policy.name(), policy.field("spec"));
    let list = spec.list("auditAnnotations");
    if list.len() > COUNT_MAX {
        let why = format!("must not have more than {COUNT_MAX} auditAnnotations");
        errors.push(Error::invalid(at, spec.field("auditAnnotations").clone(), why));
    }
    for (i, annotation) in list.iter().enumerate() {
        let at = at.index(i);
        let key = annotation.text("key");
        if name.is_empty() {
            errors.push(Error::invalid(&at.child("key"), key, "requires metadata.name be non-empty"));
        } else {
            check::text(errors, &at, "key", &format!("{name}/{key}"), is_qualified_name);
        }
        let written = annotation.text("valueExpression");
        let expression = written.trim();
        if expression.is_empty() {
            errors.push(Error::required(&at.child("valueExpression"), "valueExpression is not specified"));
        } else if expression.len() > EXPRESSION_MAX {
            let why = format!("must not exceed {EXPRESSION_MAX} bytes in length");
            errors.push(Error::required(&at.child("valueExpression"), why));
        } else if let Some(cel) = cel {
            cel.annotation(errors, &at.child("valueExpression"), written);
        }
        if list[..i].iter().any(|a| a.text("key") == key) {
            errors.push(Error::duplicate(&at.child("key"), key));
        }
    }
}

fn mutations(errors: &mut ErrorList, at: &Path, spec: &Value, cel: Cel<'_>) {
    let list = spec.list("mutations");
    if list.is_empty() {
        errors.push(Error::required(&at.child("mutations"), "mutations must contain at least one item"));
    }
    for (i, mutation) in list.iter().enumerate() {
        validate_mutation(errors, &at.child("mutations").index(i), mutation, cel);
    }
    check::choice(errors, at, spec, "reinvocationPolicy", &["IfNeeded", "Never"]);
}

fn validate_mutation(errors: &mut ErrorList, at: &Path, mutation: &Value, cel: Cel<'_>) {
    let kind = mutation.text("patchType");
    let (wanted, other) = match kind {
        "ApplyConfiguration" => ("applyConfiguration", "jsonPatch"),
        "JSONPatch" => ("jsonPatch", "applyConfiguration"),
        _ => return check::choice(errors, at, mutation, "patchType", &["ApplyConfiguration", "JSONPatch"]),
    };
    let (expression_at, expression) = (at.child(wanted).child("expression"), mutation.field(wanted).text("expression"));
    if !mutation.has(wanted) {
        errors.push(Error::required(&at.child(wanted), format!("must be specified when patchType is {kind}")));
    } else if expression.trim().is_empty() {
        errors.push(Error::required(&expression_at, "expression is not specified"));
    } else if let Some(cel) = cel {
        cel.mutation(errors, &expression_at, kind, expression);
    }
    if mutation.has(other) {
        let value = format!("{{{other}}}");
        errors.push(Error::invalid(&at.child(other), value, format!("must not be specified when patchType is {kind}")));
    }
}

/// The status of a ValidatingAdmissionPolicy.
pub fn validate_status(status: &Value) -> ErrorList {
    let mut errors = ErrorList::new();
    let at = Path::new("status");
    let warnings_at = at.child("typeChecking").child("expressionWarnings");
    for (i, warning) in status.field("typeChecking").list("expressionWarnings").iter().enumerate() {
        let at = warnings_at.index(i);
        check::required(&mut errors, &at, warning, "warning");
        if warning.text("fieldRef").trim().is_empty() {
            errors.push(Error::required(&at.child("fieldRef"), ""));
        }
    }
    conditions::validate(&mut errors, &at.child("conditions"), status.list("conditions"));
    errors
}

//! Rows of `admissionregistration.k8s.io`: policies, their bindings, and webhook configurations.

mod webhook;

use apimachinery::field::{Error, ErrorList, Path};
use apimachinery::{Object, meta::ObjectExt};
use serde_json::{Map, Value, json};

use crate::cells::age;
use crate::check;
use crate::resource::{Column, Resource, Strategy, Subresource};
use crate::tree::{Fill, Tree, spec_mut};
use webhook::{conditions, default_webhooks, rule_with_operations, validate_webhooks};

const fn row(plural: &'static str, singular: &'static str, kind: &'static str) -> Resource {
    Resource {
        categories: &["api-extensions"],
        ..Resource::cluster("admissionregistration.k8s.io", "v1", plural, singular, kind)
    }
}

const WEBHOOKS: Strategy = Strategy {
    default: default_webhooks,
    validate: validate_webhooks,
    validate_update: |new, _| validate_webhooks(new),
    generation_changed: Some(|new, old| new.get("webhooks") != old.get("webhooks")),
    ..Strategy::PLAIN
};

const POLICY: Strategy = Strategy {
    default: default_policy,
    validate: validate_policy,
    validate_update: |new, _| validate_policy(new),
    generation_changed: Some(crate::strategy::spec_changed),
    ..Strategy::PLAIN
};

const BINDING: Strategy = Strategy {
    default: |o| {
        if let Some(resources) = spec_mut(o).and_then(|s| s.sub("matchResources")) {
            default_match(resources);
        }
    },
    validate: validate_binding,
    validate_update: |new, _| validate_binding(new),
    generation_changed: Some(crate::strategy::spec_changed),
    ..Strategy::PLAIN
};

const BINDING_COLUMNS: &[Column] = &[
    Column::NAME,
    Column::text("PolicyName", "Policy that it puts into force."),
    Column::text("ParamRef", "Parameters of the policy here."),
    Column::AGE,
];

const POLICY_COLUMNS: [Column; 4] = [
    Column::NAME,
    Column::integer("Validations", "Rules that the policy has."),
    Column::text("ParamKind", "Kind of its parameters."),
    Column::AGE,
];

pub const ROWS: &[Resource] = &[
    Resource {
        columns: &[
            Column::NAME,
            Column::integer("Mutations", "Changes that the policy makes."),
            POLICY_COLUMNS[2],
            Column::AGE,
        ],
        cells: |o, now| policy_cells(o, now, "mutations"),
        strategy: POLICY,
        ..row("mutatingadmissionpolicies", "mutatingadmissionpolicy", "MutatingAdmissionPolicy")
    },
    Resource {
        columns: BINDING_COLUMNS,
        cells: binding_cells,
        strategy: BINDING,
        ..row("mutatingadmissionpolicybindings", "mutatingadmissionpolicybinding", "MutatingAdmissionPolicyBinding")
    },
    Resource {
        columns: WEBHOOK_COLUMNS,
        cells: webhook_cells,
        strategy: WEBHOOKS,
        ..row("mutatingwebhookconfigurations", "mutatingwebhookconfiguration", "MutatingWebhookConfiguration")
    },
    Resource {
        columns: &POLICY_COLUMNS,
        cells: |o, now| policy_cells(o, now, "validations"),
        strategy: Strategy {
            prepare_for_create: crate::strategy::drop_status,
            prepare_for_update: crate::strategy::keep_status,
            prepare_for_status_update: crate::strategy::keep_metadata_too,
            ..POLICY
        },
        subresources: &[Subresource::STATUS],
        ..row("validatingadmissionpolicies", "validatingadmissionpolicy", "ValidatingAdmissionPolicy")
    },
    Resource {
        columns: BINDING_COLUMNS,
        cells: binding_cells,
        strategy: Strategy {
            validate: |o| {
                let mut errors = validate_binding(o);
                actions(&mut errors, o.field("spec"));
                errors
            },
            validate_update: |new, _| {
                let mut errors = validate_binding(new);
                actions(&mut errors, new.field("spec"));
                errors
            },
            ..BINDING
        },
        ..row(
            "validatingadmissionpolicybindings",
            "validatingadmissionpolicybinding",
            "ValidatingAdmissionPolicyBinding",
        )
    },
    Resource {
        columns: WEBHOOK_COLUMNS,
        cells: webhook_cells,
        strategy: WEBHOOKS,
        ..row("validatingwebhookconfigurations", "validatingwebhookconfiguration", "ValidatingWebhookConfiguration")
    },
];

const WEBHOOK_COLUMNS: &[Column] = &[Column::NAME, Column::integer("Webhooks", "Webhooks that it has."), Column::AGE];

fn webhook_cells(object: &Object, now: i64) -> Vec<Value> {
    vec![object.name().into(), object.list("webhooks").len().into(), age(object, now)]
}

fn policy_cells(policy: &Object, now: i64, list: &str) -> Vec<Value> {
    let spec = policy.field("spec");
    let kind = match spec.field("paramKind") {
        Value::Null => "<unset>".to_owned(),
        kind => format!("{}/{}", kind.text("apiVersion"), kind.text("kind")),
    };
    vec![policy.name().into(), spec.list(list).len().into(), kind.into(), age(policy, now)]
}

fn binding_cells(binding: &Object, now: i64) -> Vec<Value> {
    let spec = binding.field("spec");
    let reference = match spec.field("paramRef") {
        Value::Null => "<unset>".to_owned(),
        reference => match (reference.text("namespace"), reference.text("name")) {
            (_, "") => crate::workload::selector_cell(reference.field("selector")).as_str().unwrap_or("").to_owned(),
            ("", name) => format!("*/{name}"),
            (namespace, name) => format!("{namespace}/{name}"),
        },
    };
    vec![binding.name().into(), spec.text("policyName").into(), reference.into(), age(binding, now)]
}

/// What webhooks and `matchConstraints` have in common.
fn default_match(owner: &mut Map<String, Value>) {
    owner.default_value("matchPolicy", || "Equivalent".into());
    owner.default_value("namespaceSelector", || json!({}));
    owner.default_value("objectSelector", || json!({}));
    for list in ["resourceRules", "excludeResourceRules"] {
        owner.each(list, |rule| rule.default_value("scope", || "*".into()));
    }
}

fn default_policy(policy: &mut Object) {
    let Some(spec) = spec_mut(policy) else { return };
    spec.default_value("failurePolicy", || "Fail".into());
    if let Some(constraints) = spec.sub("matchConstraints") {
        default_match(constraints);
    }
}

fn validate_policy(policy: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    let (at, spec) = (Path::new("spec"), policy.field("spec"));
    check::optional_choice(&mut errors, &at, spec, "failurePolicy", &["Fail", "Ignore"]);
    if spec.has("paramKind") {
        for field in ["apiVersion", "kind"] {
            check::required(&mut errors, &at.child("paramKind"), spec.field("paramKind"), field);
        }
    }
    let constraints = spec.field("matchConstraints");
    if constraints.is_null() {
        errors.push(Error::required(&at.child("matchConstraints"), ""));
    } else if constraints.list("resourceRules").is_empty() {
        errors.push(Error::required(&at.child("matchConstraints").child("resourceRules"), ""));
    }
    for (i, rule) in constraints.list("resourceRules").iter().enumerate() {
        rule_with_operations(&mut errors, &at.child("matchConstraints").child("resourceRules").index(i), rule);
    }
    conditions(&mut errors, &at.child("matchConditions"), spec.list("matchConditions"));
    if policy.kind() == "ValidatingAdmissionPolicy" {
        if spec.list("validations").is_empty() && spec.list("auditAnnotations").is_empty() {
            let why = "validations or auditAnnotations must be non-empty; at least one is required";
            errors.push(Error::required(&at.child("validations"), why));
        }
        for (i, rule) in spec.list("validations").iter().enumerate() {
            let at = at.child("validations").index(i);
            if rule.text("expression").trim().is_empty() {
                errors.push(Error::required(&at.child("expression"), "expression is not specified"));
            }
        }
    } else if spec.list("mutations").is_empty() {
        errors.push(Error::required(&at.child("mutations"), "mutations must contain at least one item"));
    }
    errors
}

fn validate_binding(binding: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    let (at, spec) = (Path::new("spec"), binding.field("spec"));
    check::required(&mut errors, &at, spec, "policyName");
    let reference = spec.field("paramRef");
    if !reference.is_null() {
        let at = at.child("paramRef");
        match (reference.text("name").is_empty(), reference.has("selector")) {
            (false, true) => {
                errors.push(Error::forbidden(&at.child("name"), "name and selector are mutually exclusive"));
            }
            (true, false) => errors.push(Error::required(&at, "one of name or selector must be specified")),
            _ => {}
        }
        check::choice(&mut errors, &at, reference, "parameterNotFoundAction", &["Allow", "Deny"]);
    }
    errors
}

fn actions(errors: &mut ErrorList, spec: &Value) {
    const ACTIONS: &[&str] = &["Audit", "Deny", "Warn"];
    let at = Path::new("spec").child("validationActions");
    let list: Vec<&str> = spec.texts("validationActions").collect();
    if list.is_empty() {
        errors.push(Error::required(&at, "at least one validation action is required"));
    }
    for (i, action) in list.iter().enumerate() {
        if !ACTIONS.contains(action) {
            errors.push(Error::not_supported(&at.index(i), *action, ACTIONS));
        } else if list[..i].contains(action) {
            errors.push(Error::duplicate(&at.index(i), *action));
        }
    }
    if list.contains(&"Deny") && list.contains(&"Warn") {
        let why = "must not contain both Deny and Warn (repeating the same validation failure information in the API \
                   response and headers serves no purpose)";
        errors.push(Error::invalid(&at, spec.field("validationActions").clone(), why));
    }
}

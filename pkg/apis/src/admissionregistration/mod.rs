//! Rows of `admissionregistration.k8s.io`: policies, their bindings, and webhook configurations.

mod binding;
mod expressions;
mod matching;
mod policy;
mod webhook;

pub use webhook::client_config;

use apimachinery::{Object, meta::ObjectExt};
use serde_json::Value;

use crate::cells::age;
use crate::resource::{Column, Resource, Strategy, Subresource};
use crate::tree::{Fill, Tree, spec_mut};

const fn row(plural: &'static str, singular: &'static str, kind: &'static str) -> Resource {
    Resource {
        categories: &["api-extensions"],
        ..Resource::cluster("admissionregistration.k8s.io", "v1", plural, singular, kind)
    }
}

const WEBHOOKS: Strategy = Strategy {
    default: webhook::default,
    validate: |o| webhook::validate(o, None),
    validate_update: |new, old| webhook::validate(new, Some(old)),
    allow_unconditional_update: false,
    generation_changed: Some(|new, old| new.get("webhooks") != old.get("webhooks")),
    ..Strategy::PLAIN
};

const POLICY: Strategy = Strategy {
    default: policy::default,
    validate: |o| policy::validate(o, None),
    validate_update: |new, old| policy::validate(new, Some(old)),
    allow_unconditional_update: false,
    generation_changed: Some(crate::strategy::spec_changed),
    ..Strategy::PLAIN
};

const BINDING: Strategy = Strategy {
    default: |o| {
        if let Some(resources) = spec_mut(o).and_then(|s| s.sub("matchResources")) {
            matching::default(resources);
        }
    },
    validate: binding::validate,
    validate_update: |new, _| binding::validate(new),
    allow_unconditional_update: false,
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
            validate_status_update: |new, _| policy::validate_status(new.field("status")),
            ..POLICY
        },
        subresources: &[Subresource::STATUS],
        ..row("validatingadmissionpolicies", "validatingadmissionpolicy", "ValidatingAdmissionPolicy")
    },
    Resource {
        columns: BINDING_COLUMNS,
        cells: binding_cells,
        strategy: BINDING,
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

#[cfg(test)]
mod tests;

//! Rows of `admissionregistration.k8s.io`.

use crate::resource::{Resource, Strategy, Subresource};

const fn row(plural: &'static str, singular: &'static str, kind: &'static str) -> Resource {
    Resource {
        categories: &["api-extensions"],
        strategy: Strategy { generation_changed: Some(changed), ..Strategy::PLAIN },
        ..Resource::cluster("admissionregistration.k8s.io", "v1", plural, singular, kind)
    }
}

/// Webhook configurations have no `spec`: their generation counts changes of `webhooks`.
fn changed(new: &apimachinery::Object, old: &apimachinery::Object) -> bool {
    new.get("spec") != old.get("spec") || new.get("webhooks") != old.get("webhooks")
}

pub const ROWS: &[Resource] = &[
    row("mutatingadmissionpolicies", "mutatingadmissionpolicy", "MutatingAdmissionPolicy"),
    row("mutatingadmissionpolicybindings", "mutatingadmissionpolicybinding", "MutatingAdmissionPolicyBinding"),
    row("mutatingwebhookconfigurations", "mutatingwebhookconfiguration", "MutatingWebhookConfiguration"),
    Resource {
        strategy: Strategy::SPEC_STATUS,
        subresources: &[Subresource::STATUS],
        ..row("validatingadmissionpolicies", "validatingadmissionpolicy", "ValidatingAdmissionPolicy")
    },
    row("validatingadmissionpolicybindings", "validatingadmissionpolicybinding", "ValidatingAdmissionPolicyBinding"),
    row("validatingwebhookconfigurations", "validatingwebhookconfiguration", "ValidatingWebhookConfiguration"),
];

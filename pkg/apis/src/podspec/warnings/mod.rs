//! Texts for Warning headers about pods and pod templates, in upstream's order.

mod containers;
mod volumes;

use std::collections::BTreeSet;

use apimachinery::field::Path;
use apimachinery::validation::is_dns1123_label;
use apimachinery::{Object, meta::ObjectExt};
use serde_json::{Map, Value};

pub use volumes::source_warnings;

use super::fields::PodSpec;
use crate::addresses::ip_warning;
use crate::quantity;
use crate::tree::{Tree, items};

/// Warnings about a new pod. Updates warn of nothing: few fields may change.
pub fn pod_warnings(pod: &Object, old: Option<&Object>) -> Vec<String> {
    if old.is_some() {
        return Vec::new();
    }
    let mut warnings = Vec::new();
    name_warning(&mut warnings, pod.name(), "the Pod's hostname");
    meta_and_spec(&mut warnings, &Path::default(), pod);
    warnings
}

/// Warnings about an object whose pods bear its name, and its template at `at` (`spec.template`).
pub fn named_template_warnings(new: &Object, old: Option<&Object>, at: &str, template: &Value) -> Vec<String> {
    let mut warnings = Vec::new();
    if old.is_none() {
        name_warning(&mut warnings, new.name(), "Pod names and hostnames");
    }
    warnings.extend(template_warnings(new, old, at, template));
    warnings
}

/// Warnings about the pod template at `at` of an object whose spec is new.
pub fn template_warnings(new: &Object, old: Option<&Object>, at: &str, template: &Value) -> Vec<String> {
    let mut warnings = Vec::new();
    if old.is_none_or(|old| crate::strategy::spec_changed(new, old)) {
        meta_and_spec(&mut warnings, &Path::new(at), template);
    }
    warnings
}

fn name_warning(warnings: &mut Vec<String>, name: &str, used_in: &str) {
    let reasons = is_dns1123_label(name);
    if !reasons.is_empty() {
        let reasons = reasons.join(" ");
        warnings.push(format!(
            "metadata.name: this is used in {used_in}, which can result in surprising behavior; a DNS label is \
             recommended: [{reasons}]"
        ));
    }
}

/// Old label, release that deprecates it, new label.
const OLD_NODE_LABELS: &[(&str, &str, &str)] = &[
    ("beta.kubernetes.io/arch", "v1.14", "kubernetes.io/arch"),
    ("beta.kubernetes.io/os", "v1.14", "kubernetes.io/os"),
    ("failure-domain.beta.kubernetes.io/region", "v1.17", "topology.kubernetes.io/region"),
    ("failure-domain.beta.kubernetes.io/zone", "v1.17", "topology.kubernetes.io/zone"),
    ("beta.kubernetes.io/instance-type", "v1.17", "node.kubernetes.io/instance-type"),
];

/// What to say about a label of nodes that is deprecated.
pub fn deprecated_node_label(key: &str) -> Option<String> {
    let (_, since, new) = OLD_NODE_LABELS.iter().find(|(old, _, _)| *old == key)?;
    Some(format!("deprecated since {since}; use {new:?} instead"))
}

/// The new name of a label of nodes that is deprecated.
pub fn new_node_label(key: &Value) -> Option<&'static str> {
    OLD_NODE_LABELS.iter().find(|(old, _, _)| key == old).map(|(_, _, new)| *new)
}

/// Annotations that no longer do anything, the release since when, and what to use.
const OLD_ANNOTATIONS: &[(&str, &str, &str)] = &[
    ("scheduler.alpha.kubernetes.io/critical-pod", "v1.16+", "priorityClassName"),
    ("security.alpha.kubernetes.io/sysctls", "v1.11+", "sysctls"),
    ("security.alpha.kubernetes.io/unsafe-sysctls", "v1.11+", "sysctls"),
];

/// A pod, or a pod template at `at`.
fn meta_and_spec(warnings: &mut Vec<String>, at: &Path, template: &Value) {
    let annotated = containers::Annotated::of(at, template);
    let (at, spec) = (at.child("spec"), &PodSpec::of(template.field("spec")));
    labels_of_nodes(warnings, &at, spec);
    for (key, since, field) in OLD_ANNOTATIONS {
        if annotated.annotations.has(key) {
            let at = annotated.path(key);
            warnings.push(format!("{at}: non-functional in {since}; use the {field:?} field instead"));
        }
    }
    volumes::warnings(warnings, &at, items(spec.volumes));
    repeated_names(warnings, &at, spec);
    for resource in ["memory", "ephemeral-storage"] {
        fractional(warnings, || at.child("overhead").key(resource), spec.overhead.field(resource));
    }
    containers::warnings(warnings, &at, spec, &annotated);
    if spec.termination_grace_period_seconds.as_i64().is_some_and(|s| s < 0) {
        warnings.push(format!(
            "{at}.terminationGracePeriodSeconds: must be >= 0; negative values are invalid and will be treated as 1"
        ));
    }
    null_selectors(warnings, &at, spec.affinity);
    addresses(warnings, &at, spec);
}

/// Deprecated labels of nodes, where the pod says which nodes it wants.
fn labels_of_nodes(warnings: &mut Vec<String>, at: &Path, spec: &PodSpec<'_>) {
    for key in spec.node_selector.as_object().into_iter().flat_map(Map::keys) {
        if let Some(why) = deprecated_node_label(key) {
            warnings.push(format!("{}: {why}", at.child("nodeSelector").key(key)));
        }
    }
    labels_of_affinity(warnings, at, spec.affinity.field("nodeAffinity"));
    for (i, constraint) in items(spec.topology_spread_constraints).iter().enumerate() {
        let at = at.child("topologySpreadConstraints").index(i);
        let key = constraint.text("topologyKey");
        if let Some(why) = deprecated_node_label(key) {
            warnings.push(format!("{}: {key} is {why}", at.child("topologyKey")));
        }
        null_selector(warnings, &at, constraint);
    }
}

fn labels_of_affinity(warnings: &mut Vec<String>, spec_at: &Path, affinity: &Value) {
    if affinity.is_null() {
        return;
    }
    let affinity_at = spec_at.child("affinity").child("nodeAffinity");
    let required = affinity.field("requiredDuringSchedulingIgnoredDuringExecution");
    let required_at = affinity_at.child("requiredDuringSchedulingIgnoredDuringExecution");
    node_terms(warnings, &required_at.child("nodeSelectorTerms"), required.list("nodeSelectorTerms"));
    let preferred_at = affinity_at.child("preferredDuringSchedulingIgnoredDuringExecution");
    let preferred = affinity.list("preferredDuringSchedulingIgnoredDuringExecution");
    for (i, term) in preferred.iter().enumerate() {
        node_term(warnings, &preferred_at.index(i).child("preference"), term.field("preference"));
    }
}

/// The terms of a node selector at `at`.
pub fn node_terms(warnings: &mut Vec<String>, at: &Path, terms: &[Value]) {
    for (i, term) in terms.iter().enumerate() {
        node_term(warnings, &at.index(i), term);
    }
}

fn node_term(warnings: &mut Vec<String>, at: &Path, term: &Value) {
    for (i, expression) in term.list("matchExpressions").iter().enumerate() {
        let key = expression.text("key");
        if let Some(why) = deprecated_node_label(key) {
            warnings.push(format!("{}: {key} is {why}", at.child("matchExpressions").index(i).child("key")));
        }
    }
}

fn null_selector(warnings: &mut Vec<String>, at: &Path, owner: &Value) {
    if !owner.has("labelSelector") {
        let at = at.child("labelSelector");
        warnings.push(format!("{at}: a null labelSelector results in matching no pod"));
    }
}

/// Names in lists that tools merge by name.
fn repeated_names(warnings: &mut Vec<String>, at: &Path, spec: &PodSpec<'_>) {
    let mut seen = BTreeSet::new();
    for (i, alias) in items(spec.host_aliases).iter().enumerate() {
        let ip = alias.text("ip");
        if !seen.insert(ip) {
            let at = at.child("hostAliases").index(i).child("ip");
            warnings.push(format!("{at}: duplicate ip {ip:?}"));
        }
    }
    let mut seen = BTreeSet::new();
    for (i, secret) in items(spec.image_pull_secrets).iter().enumerate() {
        let name = secret.text("name");
        let problem = if name.is_empty() { "invalid empty" } else { "duplicate" };
        if name.is_empty() || !seen.insert(name) {
            let at = at.child("imagePullSecrets").index(i).child("name");
            warnings.push(format!("{at}: {problem} name {name:?}"));
        }
    }
}

/// A number of bytes that is not whole.
pub fn fractional(warnings: &mut Vec<String>, at: impl FnOnce() -> Path, value: &Value) {
    if quantity::parse(value).is_some_and(|amount| !amount.is_whole()) {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        warnings.push(format!("{}: fractional byte value {text:?} is invalid, must be an integer", at()));
    }
}

/// Terms of pod affinity without a selector.
fn null_selectors(warnings: &mut Vec<String>, spec_at: &Path, affinity: &Value) {
    if affinity.is_null() {
        return;
    }
    let at = spec_at.child("affinity");
    for list in ["podAffinity", "podAntiAffinity"] {
        let (at, affinity) = (at.child(list), affinity.field(list));
        let required = "requiredDuringSchedulingIgnoredDuringExecution";
        for (i, term) in affinity.list(required).iter().enumerate() {
            null_selector(warnings, &at.child(required).index(i), term);
        }
        let preferred = "preferredDuringSchedulingIgnoredDuringExecution";
        for (i, term) in affinity.list(preferred).iter().enumerate() {
            let at = at.child(preferred).index(i).child("podAffinityTerm");
            null_selector(warnings, &at, term.field("podAffinityTerm"));
        }
    }
}

fn addresses(warnings: &mut Vec<String>, at: &Path, spec: &PodSpec<'_>) {
    for (i, server) in spec.dns_config.texts("nameservers").enumerate() {
        warnings.extend(ip_warning(&at.child("dnsConfig").child("nameservers").index(i), server));
    }
    for (i, alias) in items(spec.host_aliases).iter().enumerate() {
        warnings.extend(ip_warning(&at.child("hostAliases").index(i).child("ip"), alias.text("ip")));
    }
}

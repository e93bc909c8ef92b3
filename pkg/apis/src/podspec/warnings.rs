//! Texts for Warning headers about pod specs.

use apimachinery::Object;
use serde_json::Value;

use super::CONTAINER_LISTS;
use crate::tree::Tree;

pub fn pod_warnings(pod: &Object, old: Option<&Object>) -> Vec<String> {
    // What was accepted once is not warned of again.
    if old.is_some_and(|old| old.field("spec") == pod.field("spec")) {
        return Vec::new();
    }
    let mut warnings = Vec::new();
    spec_warnings(&mut warnings, "spec", pod.field("spec"));
    warnings
}

/// Warnings about a pod template at `template_path` (`spec.template`).
pub fn template_warnings(template_path: &str, new: &Value, old: Option<&Value>) -> Vec<String> {
    let mut warnings = Vec::new();
    if old.is_none_or(|old| old != new) {
        spec_warnings(&mut warnings, &format!("{template_path}.spec"), new.field("spec"));
    }
    warnings
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

fn spec_warnings(warnings: &mut Vec<String>, at: &str, spec: &Value) {
    for (old, since, new) in OLD_NODE_LABELS {
        if spec.field("nodeSelector").has(old) {
            warnings.push(format!("{at}.nodeSelector[{old}]: deprecated since {since}; use {new:?} instead"));
        }
    }
    for (i, volume) in spec.list("volumes").iter().enumerate() {
        for (source, text) in [
            ("gitRepo", "deprecated in v1.11, and disabled by default in v1.33+"),
            ("glusterfs", "deprecated in v1.25, non-functional in v1.26+"),
            ("cephfs", "deprecated in v1.28, non-functional in v1.31+"),
            ("rbd", "deprecated in v1.28, non-functional in v1.31+"),
        ] {
            if volume.has(source) {
                warnings.push(format!("{at}.volumes[{i}].{source}: {text}"));
            }
        }
    }
    for list in CONTAINER_LISTS {
        for (i, container) in spec.list(list).iter().enumerate() {
            duplicate_env(warnings, &format!("{at}.{list}[{i}]"), container);
            duplicate_ports(warnings, &format!("{at}.{list}[{i}]"), container);
        }
    }
    if spec.int("terminationGracePeriodSeconds").is_some_and(|s| s < 0) {
        warnings.push(format!(
            "{at}.terminationGracePeriodSeconds: must be >= 0; negative values are invalid and will be treated as 1"
        ));
    }
}

fn duplicate_env(warnings: &mut Vec<String>, at: &str, container: &Value) {
    let list = container.list("env");
    for (i, env) in list.iter().enumerate() {
        let name = env.text("name");
        let own = format!("$({name})");
        let earlier = list[..i].iter().any(|e| e.text("name") == name);
        // A value that builds on its predecessor is meant to repeat the name.
        if earlier && !env.text("value").contains(&own) {
            warnings.push(format!(
                "{at}.env[{i}]: hides previous definition of {name:?}, which may be dropped when using apply"
            ));
        }
    }
}

fn duplicate_ports(warnings: &mut Vec<String>, at: &str, container: &Value) {
    let key = |p: &Value| {
        (p.int("containerPort"), p.text("protocol").to_owned(), p.int("hostPort"), p.text("hostIP").to_owned())
    };
    let list = container.list("ports");
    for (i, port) in list.iter().enumerate() {
        if let Some(first) = list[..i].iter().position(|p| key(p) == key(port)) {
            warnings.push(format!("{at}.ports[{i}]: duplicate port definition with {at}.ports[{first}]"));
        }
    }
}

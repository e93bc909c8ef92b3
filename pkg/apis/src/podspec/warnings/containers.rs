//! Warnings about containers.

use std::collections::BTreeMap;

use apimachinery::field::Path;
use serde_json::Value;

use super::fractional;
use crate::podspec::CONTAINER_LISTS;
use crate::podspec::annotations::{APP_ARMOR, SECCOMP_CONTAINER, SECCOMP_POD, app_armor_profile};
use crate::tree::Tree;

/// The annotations that stand beside a pod spec.
pub struct Annotated<'a> {
    pub annotations: &'a Value,
    pub at: &'a Path,
    /// In a template: annotations are not turned into fields there, so that the pod's own profile does not count.
    pub is_template: bool,
}

impl Annotated<'_> {
    /// The annotation is there, and the field that took its place is not.
    fn check(&self, warnings: &mut Vec<String>, key: &str, owner: &Value, field: &str, since: &str) {
        if self.annotations.has(key) && !owner.field("securityContext").has(field) {
            let at = self.at.key(key);
            warnings.push(format!("{at}: {since}; use the {field:?} field instead"));
        }
    }

    /// The AppArmor annotation of a container adds nothing to the pod's profile, or the pod is for Windows.
    fn says_what_the_pod_says(&self, spec: &Value, container: &str) -> bool {
        let annotation = self.annotations.text(&format!("{APP_ARMOR}{container}"));
        let of_pod = spec.field("securityContext").field("appArmorProfile");
        spec.field("os").text("name") == "windows"
            || app_armor_profile(annotation).is_some_and(|profile| profile == *of_pod)
    }
}

pub fn warnings(warnings: &mut Vec<String>, at: &Path, spec: &Value, annotated: Annotated<'_>) {
    annotated.check(warnings, SECCOMP_POD, spec, "seccompProfile", "non-functional in v1.27+");
    let mut ports = Ports::default();
    for list in CONTAINER_LISTS {
        for (i, container) in spec.list(list).iter().enumerate() {
            let at = at.child(list).index(i);
            let name = container.text("name");
            if annotated.annotations.is_object() {
                let seccomp = format!("{SECCOMP_CONTAINER}{name}");
                annotated.check(warnings, &seccomp, container, "seccompProfile", "non-functional in v1.27+");
                if annotated.is_template || !annotated.says_what_the_pod_says(spec, name) {
                    let key = format!("{APP_ARMOR}{name}");
                    annotated.check(warnings, &key, container, "appArmorProfile", "deprecated since v1.30");
                }
            }
            for resource in ["memory", "ephemeral-storage"] {
                for side in ["limits", "requests"] {
                    let value = container.field("resources").field(side).field(resource);
                    fractional(warnings, || at.child("resources").child(side).key(resource), value);
                }
            }
            duplicate_env(warnings, &at, container);
            ports.collect(&at, container);
        }
    }
    warnings.append(&mut ports.warnings);
}

fn duplicate_env(warnings: &mut Vec<String>, at: &Path, container: &Value) {
    let mut seen: BTreeMap<&str, &str> = BTreeMap::new();
    for (i, env) in container.list("env").iter().enumerate() {
        let (name, value) = (env.text("name"), env.text("value"));
        let Some(earlier) = seen.insert(name, value) else { continue };
        // A value that builds on its predecessor is meant to repeat the name.
        let own = format!("$({name})");
        if env.has("valueFrom") || value == own || value == earlier || !value.contains(&own) {
            let at = at.child("env").index(i);
            warnings
                .push(format!("{at}: hides previous definition of {name:?}, which may be dropped when using apply"));
        }
    }
}

/// Ports of all containers of a pod, which share one network.
#[derive(Default)]
struct Ports<'a> {
    seen: BTreeMap<(i64, &'a str), Vec<(Path, &'a Value)>>,
    warnings: Vec<String>,
}

impl<'a> Ports<'a> {
    fn collect(&mut self, at: &Path, container: &'a Value) {
        for (i, port) in container.list("ports").iter().enumerate() {
            let at = at.child("ports").index(i);
            let (number, protocol) = (port.int("containerPort").unwrap_or(0), port.text("protocol"));
            let host = (port.int("hostPort").unwrap_or(0), port.text("hostIP"));
            if !host.1.is_empty() && host.0 == 0 {
                let (name, ip) = (port.text("name"), host.1);
                self.warnings.push(format!(
                    "{at}: hostIP set without hostPort: {{Name:{name} HostPort:0 ContainerPort:{number} \
                     Protocol:{protocol} HostIP:{ip}}}"
                ));
            }
            let others = self.seen.entry((number, protocol)).or_default();
            for (other_at, other) in &*others {
                let other_host = (other.int("hostPort").unwrap_or(0), other.text("hostIP"));
                let problem = match (host, other_host) {
                    (a, b) if a == b => "duplicate",
                    ((0, _), _) | (_, (0, _)) => "overlapping",
                    ((a, ip), (b, other_ip)) if a == b && ip.is_empty() != other_ip.is_empty() => {
                        "dangerously ambiguous"
                    }
                    _ => continue,
                };
                self.warnings.push(format!("{at}: {problem} port definition with {other_at}"));
            }
            others.push((at, port));
        }
    }
}

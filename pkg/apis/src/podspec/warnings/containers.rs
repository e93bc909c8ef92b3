//! Warnings about containers.

use std::collections::BTreeMap;

use apimachinery::field::Path;
use serde_json::Value;

use super::fractional;
use crate::podspec::annotations::{APP_ARMOR, SECCOMP_CONTAINER, SECCOMP_POD, app_armor_profile};
use crate::podspec::fields::{Container, PodSpec};
use crate::tree::{Tree, items, text};

/// The annotations that stand beside a pod spec.
pub struct Annotated<'a> {
    pub annotations: &'a Value,
    owner_at: &'a Path,
}

impl<'a> Annotated<'a> {
    /// Those of `owner`, a pod or a pod template at `owner_at`.
    pub fn of(owner_at: &'a Path, owner: &'a Value) -> Self {
        Self { annotations: owner.field("metadata").field("annotations"), owner_at }
    }

    /// Where an annotation stands.
    pub fn path(&self, key: &str) -> Path {
        self.owner_at.child("metadata").child("annotations").key(key)
    }

    /// In a template annotations are not turned into fields, so that the pod's own profile does not count.
    fn is_template(&self) -> bool {
        *self.owner_at != Path::default()
    }

    /// The annotation is there, and the field that took its place is not.
    fn check(&self, warnings: &mut Vec<String>, key: &str, context: &Value, field: &str, since: &str) {
        if self.annotations.has(key) && !context.has(field) {
            let at = self.path(key);
            warnings.push(format!("{at}: {since}; use the {field:?} field instead"));
        }
    }

    /// The AppArmor annotation of a container adds nothing to the pod's profile, or the pod is for Windows.
    fn says_what_the_pod_says(&self, spec: &PodSpec<'_>, container: &str) -> bool {
        let annotation = self.annotations.text(&format!("{APP_ARMOR}{container}"));
        let of_pod = spec.security_context.field("appArmorProfile");
        spec.os.text("name") == "windows" || app_armor_profile(annotation).is_some_and(|profile| profile == *of_pod)
    }
}

pub fn warnings(warnings: &mut Vec<String>, at: &Path, spec: &PodSpec<'_>, annotated: &Annotated<'_>) {
    annotated.check(warnings, SECCOMP_POD, spec.security_context, "seccompProfile", "non-functional in v1.27+");
    let mut ports = Ports { spec_at: at, seen: BTreeMap::new(), warnings: Vec::new() };
    for (list, containers) in spec.container_lists() {
        for (i, container) in items(containers).iter().enumerate() {
            let at = || at.child(list).index(i);
            let container = &Container::of(container);
            profiles(warnings, spec, container, annotated);
            let sides =
                [("limits", container.resources.field("limits")), ("requests", container.resources.field("requests"))];
            for resource in ["memory", "ephemeral-storage"] {
                for (side, amounts) in sides {
                    fractional(warnings, || at().child("resources").child(side).key(resource), amounts.field(resource));
                }
            }
            duplicate_env(warnings, at, items(container.env));
            for (index, port) in items(container.ports).iter().enumerate() {
                ports.add(Port { list, container: i, index, port });
            }
        }
    }
    warnings.append(&mut ports.warnings);
}

/// Profiles of a container that stand in annotations.
fn profiles(warnings: &mut Vec<String>, spec: &PodSpec<'_>, container: &Container<'_>, annotated: &Annotated<'_>) {
    if !annotated.annotations.is_object() {
        return;
    }
    let (name, context) = (text(container.name), container.security_context);
    let seccomp = format!("{SECCOMP_CONTAINER}{name}");
    annotated.check(warnings, &seccomp, context, "seccompProfile", "non-functional in v1.27+");
    if annotated.is_template() || !annotated.says_what_the_pod_says(spec, name) {
        let key = format!("{APP_ARMOR}{name}");
        annotated.check(warnings, &key, context, "appArmorProfile", "deprecated since v1.30");
    }
}

fn duplicate_env(warnings: &mut Vec<String>, at: impl Fn() -> Path, list: &[Value]) {
    let mut seen: BTreeMap<&str, &str> = BTreeMap::new();
    for (i, env) in list.iter().enumerate() {
        let (name, value) = (env.text("name"), env.text("value"));
        let Some(earlier) = seen.insert(name, value) else { continue };
        // A value that builds on its predecessor is meant to repeat the name.
        let own = format!("$({name})");
        if env.has("valueFrom") || value == own || value == earlier || !value.contains(&own) {
            let at = at().child("env").index(i);
            warnings
                .push(format!("{at}: hides previous definition of {name:?}, which may be dropped when using apply"));
        }
    }
}

/// A port, and which one of which container.
struct Port<'a> {
    list: &'static str,
    container: usize,
    index: usize,
    port: &'a Value,
}

impl<'a> Port<'a> {
    fn path(&self, spec_at: &Path) -> Path {
        spec_at.child(self.list).index(self.container).child("ports").index(self.index)
    }

    /// Port and address of the host.
    fn host(&self) -> (i64, &'a str) {
        (self.port.int("hostPort").unwrap_or(0), self.port.text("hostIP"))
    }
}

/// Ports of all containers of a pod, which share one network.
struct Ports<'a> {
    spec_at: &'a Path,
    seen: BTreeMap<(i64, &'a str), Vec<Port<'a>>>,
    warnings: Vec<String>,
}

impl<'a> Ports<'a> {
    fn add(&mut self, port: Port<'a>) {
        let (number, protocol) = (port.port.int("containerPort").unwrap_or(0), port.port.text("protocol"));
        let host = port.host();
        if !host.1.is_empty() && host.0 == 0 {
            let (at, name, ip) = (port.path(self.spec_at), port.port.text("name"), host.1);
            self.warnings.push(format!(
                "{at}: hostIP set without hostPort: {{Name:{name} HostPort:0 ContainerPort:{number} \
                 Protocol:{protocol} HostIP:{ip}}}"
            ));
        }
        let others = self.seen.entry((number, protocol)).or_default();
        for other in &*others {
            let problem = match (host, other.host()) {
                (a, b) if a == b => "duplicate",
                ((0, _), _) | (_, (0, _)) => "overlapping",
                ((a, ip), (b, other_ip)) if a == b && ip.is_empty() != other_ip.is_empty() => "dangerously ambiguous",
                _ => continue,
            };
            let (at, other_at) = (port.path(self.spec_at), other.path(self.spec_at));
            self.warnings.push(format!("{at}: {problem} port definition with {other_at}"));
        }
        others.push(port);
    }
}

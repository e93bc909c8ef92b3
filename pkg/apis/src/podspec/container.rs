//! Regular, init and ephemeral containers.

use std::collections::BTreeSet;

use apimachinery::field::{Error, ErrorList, Path};
use apimachinery::validation::{is_dns1123_label, is_valid_port_name, is_valid_port_num};
use serde_json::Value;

use super::fields::{Container, PodSpec};
use super::volume::Volumes;
use super::{env, probe, resources, security, volume};
use crate::check;
use crate::tree::{Tree, items, text};

/// What the containers of one pod spec share.
pub struct Context<'a> {
    pub fields: &'a PodSpec<'a>,
    /// The volumes that they may mount.
    pub volumes: Volumes<'a>,
    /// Grace period of the pod, against which sleeping hooks are checked.
    pub grace: Option<i64>,
    pub host_users: bool,
}

impl Context<'_> {
    fn os(&self) -> &str {
        self.fields.os.text("name")
    }
}

pub fn validate_all(errors: &mut ErrorList, at: &Path, context: &Context<'_>) {
    regular(errors, &at.child("containers"), context);
    let (init_list, ephemeral_list) =
        (items(context.fields.init_containers), items(context.fields.ephemeral_containers));
    if !init_list.is_empty() {
        init(errors, &at.child("initContainers"), init_list, context);
    }
    if !ephemeral_list.is_empty() {
        ephemeral(errors, &at.child("ephemeralContainers"), ephemeral_list, context);
    }
}

fn regular(errors: &mut ErrorList, at: &Path, context: &Context<'_>) {
    let containers = items(context.fields.containers);
    if containers.is_empty() {
        errors.push(Error::required(at, ""));
        return;
    }
    let mut names = BTreeSet::new();
    for (i, container) in containers.iter().enumerate() {
        let at = at.index(i);
        let fields = &Container::of(container);
        common(errors, &at, container, fields, context);
        let name = text(fields.name);
        if !names.insert(name) {
            errors.push(Error::duplicate(&at.child("name"), name));
        }
        if fields.is_probed() {
            probe::validate_container(errors, &at, container, context.grace, context.os());
        }
        restart_policy(errors, &at, container, fields);
    }
    let mut host_ports = BTreeSet::new();
    for (i, container) in containers.iter().enumerate() {
        host_port_conflicts(errors, || at.index(i), container, &mut host_ports);
    }
}

/// A container's own restart policy and rules, which need each other's company.
fn restart_policy(errors: &mut ErrorList, at: &Path, container: &Value, fields: &Container<'_>) {
    let rules = items(fields.restart_policy_rules);
    if !fields.restart_policy.is_null() {
        check::optional_choice(errors, at, container, "restartPolicy", &["Always", "Never", "OnFailure"]);
    } else if !rules.is_empty() {
        let why = "must specify restartPolicy when restart rules are used";
        errors.push(Error::required(&at.child("restartPolicy"), why));
    }
    if rules.len() > 20 {
        errors.push(Error::too_many(&at.child("restartPolicyRules"), rules.len(), 20));
    }
    for (i, rule) in rules.iter().enumerate() {
        let at = at.child("restartPolicyRules").index(i);
        check::one_of(errors, &at, rule, "action", &["Restart", "RestartAllContainers"]);
        let codes = rule.field("exitCodes");
        let at = at.child("exitCodes");
        if codes.is_null() {
            errors.push(Error::required(&at, "must be specified"));
            continue;
        }
        check::one_of(errors, &at, codes, "operator", &["In", "NotIn"]);
        if codes.list("values").len() > 255 {
            errors.push(Error::too_many(&at.child("values"), codes.list("values").len(), 255));
        }
    }
}

fn init(errors: &mut ErrorList, list_at: &Path, containers: &[Value], context: &Context<'_>) {
    let mut names: BTreeSet<&str> = items(context.fields.containers).iter().map(|c| c.text("name")).collect();
    for (i, container) in containers.iter().enumerate() {
        let at = list_at.index(i);
        let fields = &Container::of(container);
        common(errors, &at, container, fields, context);
        restart_policy(errors, &at, container, fields);
        let name = text(fields.name);
        if !name.is_empty() && !names.insert(name) {
            errors.push(Error::duplicate(&at.child("name"), name));
        }
        host_port_conflicts(errors, || list_at.index(0), container, &mut BTreeSet::new());
        if fields.restart_policy == "Always" {
            probe::validate_container(errors, &at, container, context.grace, context.os());
            continue;
        }
        for field in ["lifecycle", "livenessProbe", "readinessProbe", "startupProbe"] {
            if container.has(field) {
                let why = "may not be set for init containers without restartPolicy=Always";
                errors.push(Error::forbidden(&at.child(field), why));
            }
        }
        for (j, policy) in items(fields.resize_policy).iter().enumerate() {
            if policy.text("restartPolicy") == "RestartContainer" {
                let path = at.child("resizePolicy").index(j).child("restartPolicy");
                let why = "must not be set to 'RestartContainer' for non-sidecar initContainers";
                errors.push(Error::invalid(&path, "RestartContainer", why));
            }
        }
    }
}

/// What an ephemeral container may not have, in upstream's order; it lends itself to debugging and to nothing else.
const NOT_EPHEMERAL: &[&str] = &[
    "ports",
    "resources",
    "resizePolicy",
    "restartPolicy",
    "restartPolicyRules",
    "livenessProbe",
    "readinessProbe",
    "startupProbe",
    "lifecycle",
];

/// Lists and maps without entries count as not set.
fn is_set(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Array(list) => !list.is_empty(),
        Value::Object(map) => !map.is_empty(),
        _ => true,
    }
}

fn ephemeral(errors: &mut ErrorList, at: &Path, containers: &[Value], context: &Context<'_>) {
    let lists = [context.fields.containers, context.fields.init_containers].map(items);
    let others: BTreeSet<&str> = lists.into_iter().flatten().map(|c| c.text("name")).collect();
    let mut names = others.clone();
    const WHY: &str = "cannot be set for an Ephemeral Container";
    for (i, container) in containers.iter().enumerate() {
        let at = at.index(i);
        common(errors, &at, container, &Container::of(container), context);
        trimmed_image(errors, || at.clone(), container);
        let name = container.text("name");
        if !names.insert(name) {
            errors.push(Error::duplicate(&at.child("name"), name));
        }
        let target = container.text("targetContainerName");
        if !target.is_empty() && !others.contains(target) {
            errors.push(Error::not_found(&at.child("targetContainerName"), target));
        }
        for field in NOT_EPHEMERAL.iter().filter(|field| is_set(container.field(field))) {
            errors.push(Error::forbidden(&at.child(field), WHY));
        }
        for (j, mount) in container.list("volumeMounts").iter().enumerate() {
            for field in ["subPath", "subPathExpr"] {
                if !mount.text(field).is_empty() {
                    errors.push(Error::forbidden(&at.child("volumeMounts").index(j).child(field), WHY));
                }
            }
        }
    }
}

/// An image without white space around it; templates may have it, since something may still fill it in.
pub fn trimmed_image(errors: &mut ErrorList, at: impl Fn() -> Path, container: &Value) {
    let image = container.text("image");
    if image.trim() != image {
        errors.push(Error::invalid(&at().child("image"), image, "must not have leading or trailing whitespace"));
    }
}

/// What holds for containers of every sort.
fn common(errors: &mut ErrorList, at: &Path, container: &Value, fields: &Container<'_>, context: &Context<'_>) {
    check::required_value(errors, at, "name", text(fields.name), is_dns1123_label);
    if text(fields.image).is_empty() {
        errors.push(Error::required(&at.child("image"), ""));
    }
    let policies = &["File", "FallbackToLogsOnError"];
    check::choice_value(errors, at, "terminationMessagePolicy", text(fields.termination_message_policy), policies);
    ports(errors, at, items(fields.ports));
    env::validate(errors, at, fields);
    volume::validate_mounts(errors, at, container, fields, &context.volumes);
    let policies = &["Always", "IfNotPresent", "Never"];
    check::choice_value(errors, at, "imagePullPolicy", text(fields.image_pull_policy), policies);
    resources::validate(errors, at, fields.resources, items(context.fields.resource_claims));
    resize_policy(errors, at, items(fields.resize_policy), text(context.fields.restart_policy));
    security::validate_container(errors, at, fields.security_context, context.host_users);
}

const PROTOCOLS: &[&str] = &["SCTP", "TCP", "UDP"];

fn ports(errors: &mut ErrorList, owner: &Path, ports: &[Value]) {
    let mut names = BTreeSet::new();
    for (i, port) in ports.iter().enumerate() {
        let at = || owner.child("ports").index(i);
        let name = port.text("name");
        if !name.is_empty() {
            let reasons = is_valid_port_name(name);
            if reasons.is_empty() && !names.insert(name) {
                errors.push(Error::duplicate(&at().child("name"), name));
            }
            errors.extend(reasons.into_iter().map(|e| Error::invalid(&at().child("name"), name, e)));
        }
        match port.int("containerPort").unwrap_or(0) {
            0 => errors.push(Error::required(&at().child("containerPort"), "")),
            number if is_valid_port_num(number).is_empty() => {}
            number => check::port(errors, &at(), "containerPort", number),
        }
        let host_port = port.int("hostPort").unwrap_or(0);
        if host_port != 0 && !is_valid_port_num(host_port).is_empty() {
            check::port(errors, &at(), "hostPort", host_port);
        }
        if !PROTOCOLS.contains(&port.text("protocol")) {
            check::choice(errors, &at(), port, "protocol", PROTOCOLS);
        }
    }
}

/// `(protocol, IP, port)` of the host, once a pod.
fn host_port_conflicts(errors: &mut ErrorList, at: impl Fn() -> Path, container: &Value, seen: &mut BTreeSet<String>) {
    for (i, port) in container.list("ports").iter().enumerate() {
        let number = port.int("hostPort").unwrap_or(0);
        if number == 0 {
            continue;
        }
        let key = format!("{}/{}/{number}", port.text("protocol"), port.text("hostIP"));
        if seen.contains(&key) {
            errors.push(Error::duplicate(&at().child("ports").index(i).child("hostPort"), key));
        } else {
            seen.insert(key);
        }
    }
}

fn resize_policy(errors: &mut ErrorList, owner: &Path, policies: &[Value], restart_policy: &str) {
    let mut seen = BTreeSet::new();
    for (i, policy) in policies.iter().enumerate() {
        let at = owner.child("resizePolicy");
        let name = policy.text("resourceName");
        if !seen.insert(name) {
            errors.push(Error::duplicate(&at.index(i), name));
        }
        let known: [(&str, &[&str]); 2] =
            [(name, &["cpu", "memory"]), (policy.text("restartPolicy"), &["NotRequired", "RestartContainer"])];
        for (value, supported) in known {
            match value {
                "" => errors.push(Error::required(&at, "")),
                value if supported.contains(&value) => {}
                value => errors.push(Error::not_supported(&at, value, supported)),
            }
        }
        if restart_policy == "Never" && policy.text("restartPolicy") != "NotRequired" {
            let why = "must be 'NotRequired' when pod `restartPolicy` is 'Never'";
            errors.push(Error::invalid(&at, policy.text("restartPolicy"), why));
        }
    }
}

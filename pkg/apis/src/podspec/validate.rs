//! Validation of a whole pod spec.

use std::collections::BTreeSet;

use apimachinery::field::{Error, ErrorList, Path};
use apimachinery::validation::{
    inclusive_range_error, is_dns1123_label, is_dns1123_subdomain, is_dns1123_subdomain_with_underscore,
    is_qualified_name,
};
use serde_json::Value;

use super::fields::PodSpec;
use super::{affinity, annotations, container, env, resources, security, volume, windows};
use crate::check;
use crate::tree::{Tree, items, text};

/// Where a pod spec stands.
#[derive(Clone, Copy)]
pub struct Scope<'a> {
    /// In a Pod, not in a template.
    pub is_pod: bool,
    /// The pod's name, or empty where it has none yet.
    pub pod_name: &'a str,
    /// The pod of a manifest on a node, shown by its kubelet.
    pub is_mirror: bool,
}

impl Scope<'_> {
    pub const TEMPLATE: Self = Self { is_pod: false, pod_name: "", is_mirror: false };
}

/// A `PodTemplateSpec` at `at`.
pub fn validate_pod_template(errors: &mut ErrorList, at: &Path, template: &Value) {
    let (metadata, spec) = (template.field("metadata"), template.field("spec"));
    check::labels(errors, &at.child("labels"), metadata.field("labels"));
    if metadata.has("annotations") {
        let annotations_at = at.child("annotations");
        check::annotations(errors, &annotations_at, metadata.field("annotations"));
        annotations::validate(errors, &annotations_at, metadata.field("annotations"), spec);
    }
    let spec_at = at.child("spec");
    validate_pod_spec(errors, &spec_at, spec, Scope::TEMPLATE);
    annotations::match_fields(errors, &spec_at, metadata.field("annotations"), spec);
    if !spec.list("ephemeralContainers").is_empty() {
        let why = "ephemeral containers not allowed in pod template";
        errors.push(Error::forbidden(&spec_at.child("ephemeralContainers"), why));
    }
}

pub fn validate_pod_spec(errors: &mut ErrorList, at: &Path, spec: &Value, scope: Scope<'_>) {
    let fields = &PodSpec::of(spec);
    let grace = fields.termination_grace_period_seconds.as_i64();
    if grace.is_none() {
        errors.push(Error::required(&at.child("terminationGracePeriodSeconds"), ""));
    }
    let volumes = volume::validate_all(errors, at, items(fields.volumes), scope.pod_name);
    resource_claims(errors, at, items(fields.resource_claims), scope);
    let host_users = fields.host_users != &Value::Bool(false);
    container::validate_all(errors, at, &container::Context { fields, volumes, grace, host_users });
    resources::validate_pod_level(errors, at, spec, fields);
    host_network_ports(errors, at, fields, scope);
    let policies = &["Always", "OnFailure", "Never"];
    check::choice_value(errors, at, "restartPolicy", text(fields.restart_policy), policies);
    let policies = &["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"];
    check::choice_value(errors, at, "dnsPolicy", text(fields.dns_policy), policies);
    if !fields.node_selector.is_null() {
        check::labels(errors, &at.child("nodeSelector"), fields.node_selector);
    }
    security::validate_pod(errors, at, spec, fields);
    if !fields.affinity.is_null() {
        affinity::validate(errors, &at.child("affinity"), fields.affinity);
    }
    dns_config(errors, at, fields);
    gates(errors, at, fields);
    if !fields.topology_spread_constraints.is_null() {
        let constraints = items(fields.topology_spread_constraints);
        affinity::validate_spread(errors, &at.child("topologySpreadConstraints"), constraints);
    }
    windows::validate_host_process(errors, at, fields);
    if !host_users {
        security::validate_own_users(errors, at, spec);
    }
    names(errors, at, spec, fields);
    if !fields.tolerations.is_null() {
        affinity::validate_tolerations(errors, &at.child("tolerations"), items(fields.tolerations));
    }
    host_aliases(errors, at, items(fields.host_aliases));
    classes(errors, at, spec, fields);
    resources::validate_overhead(errors, at, fields.overhead);
    if !fields.os.is_null() {
        security::validate_os(errors, at, spec);
    }
    scheduling_group(errors, at, fields.scheduling_group);
    env::files_in_empty_dirs(errors, at, fields);
}

/// Of which classes the pod is, and whether it may push out others.
fn classes(errors: &mut ErrorList, at: &Path, spec: &Value, fields: &PodSpec<'_>) {
    check::optional_value(errors, at, "priorityClassName", text(fields.priority_class_name), is_dns1123_subdomain);
    if let Some(class) = fields.runtime_class_name.as_str() {
        check::subdomain(errors, at, "runtimeClassName", class);
    }
    check::optional_choice(errors, at, spec, "preemptionPolicy", &["PreemptLowerPriority", "Never"]);
}

/// The one group that a pod is scheduled with.
fn scheduling_group(errors: &mut ErrorList, spec_at: &Path, group: &Value) {
    if group.is_null() {
        return;
    }
    let at = &spec_at.child("schedulingGroup");
    match group.field("podGroupName").as_str() {
        Some(name) => check::subdomain(errors, at, "podGroupName", name),
        None => {
            let why = "must specify one of: `podGroupName`";
            errors.push(Error::invalid(&at.child("podGroupName"), Value::Null, why));
        }
    }
}

/// Fields that name something, and the deadline.
fn names(errors: &mut ErrorList, at: &Path, spec: &Value, fields: &PodSpec<'_>) {
    if let Some(name) = fields.hostname_override.as_str() {
        hostname_override(errors, at, spec, name);
    }
    for (field, value) in [("serviceAccountName", fields.service_account_name), ("nodeName", fields.node_name)] {
        check::optional_value(errors, at, field, text(value), is_dns1123_subdomain);
    }
    if let Some(deadline) = fields.active_deadline_seconds.as_i64()
        && !(1..=i64::from(i32::MAX)).contains(&deadline)
    {
        let why = inclusive_range_error(1, i64::from(i32::MAX));
        errors.push(Error::invalid(&at.child("activeDeadlineSeconds"), deadline, why));
    }
    for (field, value) in [("hostname", fields.hostname), ("subdomain", fields.subdomain)] {
        check::optional_value(errors, at, field, text(value), is_dns1123_label);
    }
}

/// The longest host name that Linux keeps.
const HOSTNAME_MAX: usize = 64;

fn hostname_override(errors: &mut ErrorList, at: &Path, spec: &Value, name: &str) {
    let path = || at.child("hostnameOverride");
    for field in ["setHostnameAsFQDN", "hostNetwork"] {
        if spec.flag(field) {
            errors.push(Error::forbidden(&path(), format!("may not be specified when {field} is true")));
        }
    }
    if name.len() > HOSTNAME_MAX {
        errors.push(Error::too_long(&path(), HOSTNAME_MAX));
    }
    check::subdomain(errors, at, "hostnameOverride", name);
}

/// On the host's network a container's port is the host's port. In templates it may still be unset.
fn host_network_ports(errors: &mut ErrorList, at: &Path, fields: &PodSpec<'_>, scope: Scope<'_>) {
    if fields.host_network != &Value::Bool(true) {
        return;
    }
    for (i, container) in items(fields.containers).iter().enumerate() {
        for (j, port) in container.list("ports").iter().enumerate() {
            let host = port.int("hostPort").unwrap_or(0);
            let own = port.int("containerPort").unwrap_or(0);
            if (scope.is_pod || host != 0) && host != own {
                let path = at.child("containers").index(i).child("ports").index(j).child("hostPort");
                errors.push(Error::invalid(&path, host, "must match `containerPort` when `hostNetwork` is true"));
            }
        }
    }
}

fn resource_claims(errors: &mut ErrorList, spec_at: &Path, claims: &[Value], scope: Scope<'_>) {
    let mut seen = BTreeSet::new();
    for (i, claim) in claims.iter().enumerate() {
        if scope.is_mirror {
            errors.push(Error::forbidden(&check::whole(), "static pods do not support resource claims"));
            continue;
        }
        let at = spec_at.child("resourceClaims").index(i);
        match claim.text("name") {
            "" => errors.push(Error::required(&at.child("name"), "")),
            name if !seen.insert(name) => errors.push(Error::duplicate(&at.child("name"), name)),
            name => check::label(errors, &at, "name", name),
        }
        match (claim.has("resourceClaimName"), claim.has("resourceClaimTemplateName")) {
            (true, true) => {
                let why = "at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified";
                errors.push(Error::invalid(&at, claim.clone(), why));
            }
            (false, false) => {
                let why = "must specify one of: `resourceClaimName`, `resourceClaimTemplateName`";
                errors.push(Error::invalid(&at, claim.clone(), why));
            }
            _ => {}
        }
        for field in ["resourceClaimName", "resourceClaimTemplateName"] {
            if let Some(name) = claim.field(field).as_str() {
                check::subdomain(errors, &at, field, name);
            }
        }
    }
}

fn dns_config(errors: &mut ErrorList, spec_at: &Path, fields: &PodSpec<'_>) {
    let config = fields.dns_config;
    let needed = fields.dns_policy == "None";
    if config.is_null() && !needed {
        return;
    }
    let at = &spec_at.child("dnsConfig");
    if needed {
        if config.is_null() {
            errors.push(Error::required(at, "must provide `dnsConfig` when `dnsPolicy` is None"));
            return;
        }
        if config.list("nameservers").is_empty() {
            let why = "must provide at least one DNS nameserver when `dnsPolicy` is None";
            errors.push(Error::required(&at.child("nameservers"), why));
            return;
        }
    }
    let servers = at.child("nameservers");
    if config.list("nameservers").len() > 3 {
        errors.push(Error::invalid(
            &servers,
            config.field("nameservers").clone(),
            "must not have more than 3 nameservers",
        ));
    }
    for (i, server) in config.texts("nameservers").enumerate() {
        check::ip(errors, &servers.index(i), server);
    }
    let searches = at.child("searches");
    let count = config.list("searches").len();
    if count > 32 {
        let why = "must not have more than 32 search paths";
        errors.push(Error::invalid(&searches, config.field("searches").clone(), why));
    }
    if config.texts("searches").map(|s| s.len() + 1).sum::<usize>() > 2048 + 1 {
        let why = "must not have more than 2048 characters (including spaces) in the search list";
        errors.push(Error::invalid(&searches, config.field("searches").clone(), why));
    }
    for (i, search) in config.texts("searches").enumerate().filter(|(_, s)| *s != ".") {
        let search = search.strip_suffix('.').unwrap_or(search);
        let reasons = is_dns1123_subdomain_with_underscore(search);
        errors.extend(reasons.into_iter().map(|e| Error::invalid(&searches.index(i), search, e)));
    }
    for (i, option) in config.list("options").iter().enumerate() {
        if option.text("name").is_empty() {
            errors.push(Error::required(&at.child("options").index(i), "must not be empty"));
        }
    }
}

/// Readiness and scheduling gates, and pull secrets.
fn gates(errors: &mut ErrorList, at: &Path, fields: &PodSpec<'_>) {
    for (i, gate) in items(fields.readiness_gates).iter().enumerate() {
        let at = at.child("readinessGates").index(i);
        check::text(errors, &at, "conditionType", gate.text("conditionType"), is_qualified_name);
    }
    let mut seen = BTreeSet::new();
    for (i, gate) in items(fields.scheduling_gates).iter().enumerate() {
        let at = at.child("schedulingGates").index(i);
        let name = gate.text("name");
        errors.extend(is_qualified_name(name).into_iter().map(|e| Error::invalid(&at, name, e)));
        if !seen.insert(name) {
            errors.push(Error::duplicate(&at, name));
        }
    }
}

fn host_aliases(errors: &mut ErrorList, spec_at: &Path, aliases: &[Value]) {
    for (i, alias) in aliases.iter().enumerate() {
        let at = spec_at.child("hostAliases").index(i);
        check::ip(errors, &at.child("ip"), alias.text("ip"));
        for (j, name) in alias.texts("hostnames").enumerate() {
            let path = at.child("hostnames").index(j);
            errors.extend(is_dns1123_subdomain(name).into_iter().map(|e| Error::invalid(&path, name, e)));
        }
    }
}

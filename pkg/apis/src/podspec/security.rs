//! Security contexts of pods and containers, and what depends on the operating system and host namespaces.

use std::collections::BTreeSet;

use apimachinery::field::{Error, ErrorList, Path};
use serde_json::Value;

use super::CONTAINER_LISTS;
use crate::check;
use crate::tree::Tree;

pub fn validate_pod(errors: &mut ErrorList, spec_at: &Path, spec: &Value) {
    let context = spec.field("securityContext");
    if context.as_object().is_some_and(|c| !c.is_empty()) {
        let at = spec_at.child("securityContext");
        for field in ["fsGroup", "runAsUser", "runAsGroup"] {
            check::id(errors, &at, context, field);
        }
        for (i, group) in context.list("supplementalGroups").iter().enumerate() {
            const GROUP_MAX: i64 = i32::MAX as i64;
            if group.as_i64().is_some_and(|g| !(0..=GROUP_MAX).contains(&g)) {
                let why = apimachinery::validation::inclusive_range_error(0, GROUP_MAX);
                errors.push(Error::invalid(&at.child("supplementalGroups").index(i), group.clone(), why));
            }
        }
        sysctls(errors, &at.child("sysctls"), context, spec);
        check::optional_choice(errors, &at, context, "fsGroupChangePolicy", &["Always", "OnRootMismatch"]);
        check::optional_choice(errors, &at, context, "supplementalGroupsPolicy", &["Merge", "Strict"]);
        check::optional_choice(errors, &at, context, "seLinuxChangePolicy", &["MountOption", "Recursive"]);
        profiles(errors, &at, context);
    }
    if spec.flag("shareProcessNamespace") && spec.flag("hostPID") {
        let path = spec_at.child("securityContext").child("shareProcessNamespace");
        errors.push(Error::invalid(&path, true, "ShareProcessNamespace and HostPID cannot both be enabled"));
    }
    if spec.field("hostUsers") == &Value::Bool(false) {
        for (field, path) in [("hostNetwork", "hostNetwork"), ("hostPID", "HostPID"), ("hostIPC", "HostIPC")] {
            if spec.flag(field) {
                errors.push(Error::forbidden(&spec_at.child(path), "when `pod.Spec.HostUsers` is false"));
            }
        }
    }
}

fn sysctls(errors: &mut ErrorList, at: &Path, context: &Value, spec: &Value) {
    let mut seen = BTreeSet::new();
    for (i, sysctl) in context.list("sysctls").iter().enumerate() {
        let at = at.index(i).child("name");
        let name = sysctl.text("name");
        if name.is_empty() {
            errors.push(Error::required(&at, ""));
        } else if !is_sysctl(name) {
            let part = "[a-z0-9]([-_a-z0-9]*[a-z0-9])?";
            let why = format!("must have at most 253 characters and match regex ^({part}[\\./])*{part}$");
            errors.push(Error::invalid(&at, name, why));
        } else if !seen.insert(name) {
            errors.push(Error::duplicate(&at, name));
        }
        if spec.flag("hostNetwork") && is_in_namespace(name, &["net."]) {
            errors.push(Error::invalid(&at, name, "may not be specified when 'hostNetwork' is true"));
        } else if spec.flag("hostIPC")
            && is_in_namespace(name, &["kernel.shm", "kernel.msg", "kernel.sem", "fs.mqueue."])
        {
            errors.push(Error::invalid(&at, name, "may not be specified when 'hostIPC' is true"));
        }
    }
}

fn is_in_namespace(name: &str, prefixes: &[&str]) -> bool {
    let dotted = name.replace('/', ".");
    prefixes.iter().any(|p| dotted.starts_with(p))
}

fn is_sysctl(name: &str) -> bool {
    let legal = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
    let segment = |s: &str| match s.as_bytes() {
        [] => false,
        b @ [first, .., last] => legal(*first) && legal(*last) && b.iter().all(|c| legal(*c) || b"-_".contains(c)),
        [one] => legal(*one),
    };
    name.len() <= 253 && name.split(['.', '/']).all(segment)
}

const PROFILE_TYPES: &[&str] = &["Localhost", "RuntimeDefault", "Unconfined"];

/// Seccomp and AppArmor profiles, of a pod or a container.
fn profiles(errors: &mut ErrorList, at: &Path, context: &Value) {
    for (field, name) in [("seccompProfile", "seccomp"), ("appArmorProfile", "AppArmor")] {
        let profile = context.field(field);
        if profile.is_null() {
            continue;
        }
        let at = at.child(field);
        let kind = profile.text("type");
        match kind {
            "" => errors.push(Error::required(&at.child("type"), format!("type is required when {field} is set"))),
            "Localhost" => {
                localhost_profile(errors, &at.child("localhostProfile"), profile, name);
                continue;
            }
            kind if PROFILE_TYPES.contains(&kind) => {}
            kind => errors.push(Error::not_supported(&at.child("type"), kind, PROFILE_TYPES)),
        }
        if profile.has("localhostProfile") {
            let why = format!("can only be set when {name} type is Localhost");
            errors.push(Error::invalid(&at.child("localhostProfile"), profile.text("localhostProfile"), why));
        }
    }
}

fn localhost_profile(errors: &mut ErrorList, at: &Path, profile: &Value, name: &str) {
    let path = profile.text("localhostProfile");
    if path.trim().is_empty() {
        errors.push(Error::required(at, format!("must be set when {name} type is Localhost")));
    } else if name == "seccomp" {
        check::descending_path(errors, at, path);
    } else if path.trim() != path {
        errors.push(Error::invalid(at, path, "must not be padded with whitespace"));
    }
}

pub fn validate_container(errors: &mut ErrorList, at: &Path, container: &Value, host_users: bool) {
    let context = container.field("securityContext");
    if context.as_object().is_none_or(serde_json::Map::is_empty) {
        return;
    }
    check::id(errors, at, context, "runAsUser");
    check::id(errors, at, context, "runAsGroup");
    check::optional_choice(errors, at, context, "procMount", &["Default", "Unmasked"]);
    if host_users && context.text("procMount") == "Unmasked" {
        let why = "`hostUsers` must be false to use `Unmasked`";
        errors.push(Error::invalid(&at.child("procMount"), "Unmasked", why));
    }
    profiles(errors, at, context);
    if context.field("allowPrivilegeEscalation") == &Value::Bool(false) {
        if context.flag("privileged") {
            let why = "cannot set `allowPrivilegeEscalation` to false and `privileged` to true";
            errors.push(Error::invalid(at, context.clone(), why));
        }
        if context.field("capabilities").texts("add").any(|c| c == "CAP_SYS_ADMIN") {
            let why = "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN";
            errors.push(Error::invalid(at, context.clone(), why));
        }
    }
}

/// Fields of the pod's security context that a Windows pod has no use for.
const NOT_WINDOWS_POD: &[&str] = &[
    "appArmorProfile",
    "seLinuxOptions",
    "seccompProfile",
    "fsGroup",
    "fsGroupChangePolicy",
    "sysctls",
    "runAsUser",
    "runAsGroup",
    "supplementalGroups",
    "supplementalGroupsPolicy",
    "seLinuxChangePolicy",
];

const NOT_WINDOWS_SPEC: &[&str] = &["hostUsers", "hostPID", "hostIPC", "shareProcessNamespace"];

const NOT_WINDOWS_CONTAINER: &[&str] = &[
    "appArmorProfile",
    "seLinuxOptions",
    "seccompProfile",
    "capabilities",
    "readOnlyRootFilesystem",
    "privileged",
    "allowPrivilegeEscalation",
    "procMount",
    "runAsUser",
    "runAsGroup",
];

/// `spec.os` and what it rules out.
pub fn validate_os(errors: &mut ErrorList, at: &Path, spec: &Value) {
    if !spec.has("os") {
        return;
    }
    let (pod, container, spec_fields, why): (&[&str], &[&str], &[&str], &str) = match spec.field("os").text("name") {
        "linux" => (&["windowsOptions"], &["windowsOptions"], &[], "windows options cannot be set for a linux pod"),
        "windows" => (NOT_WINDOWS_POD, NOT_WINDOWS_CONTAINER, NOT_WINDOWS_SPEC, "cannot be set for a windows pod"),
        "" => return errors.push(Error::required(&at.child("os").child("name"), "cannot be empty")),
        other => return errors.push(Error::not_supported(&at.child("os"), other, &["linux", "windows"])),
    };
    let set = |owner: &Value, field: &str| owner.has(field) && owner.field(field) != &Value::Bool(false);
    let context = spec.field("securityContext");
    for field in pod.iter().filter(|f| set(context, f)) {
        errors.push(Error::forbidden(&at.child("securityContext").child(field), why));
    }
    for field in spec_fields.iter().filter(|f| set(spec, f)) {
        errors.push(Error::forbidden(&at.child(field), why));
    }
    for list in CONTAINER_LISTS {
        for (i, one) in spec.list(list).iter().enumerate() {
            for field in container.iter().filter(|f| set(one.field("securityContext"), f)) {
                errors.push(Error::forbidden(&at.child(list).index(i).child("securityContext").child(field), why));
            }
        }
    }
}

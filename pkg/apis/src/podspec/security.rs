//! Security contexts of pods and containers, and what depends on the operating system and host namespaces.

use std::collections::BTreeSet;

use apimachinery::field::{Error, ErrorList, Path};
use serde_json::Value;

use super::fields::PodSpec;
use super::{CONTAINER_LISTS, windows};
use crate::check;
use crate::tree::Tree;

/// `securityContext` of a pod, and `shareProcessNamespace`.
pub fn validate_pod(errors: &mut ErrorList, spec_at: &Path, spec: &Value, fields: &PodSpec<'_>) {
    let context = fields.security_context;
    if context.as_object().is_some_and(|c| !c.is_empty()) {
        let at = spec_at.child("securityContext");
        for field in ["fsGroup", "runAsUser", "runAsGroup"] {
            check::id(errors, &at, context, field);
        }
        for (i, group) in context.list("supplementalGroups").iter().enumerate() {
            check::id_value(errors, || at.child("supplementalGroups").index(i), group);
        }
        sysctls(errors, &at, context, spec);
        check::optional_choice(errors, &at, context, "fsGroupChangePolicy", &["Always", "OnRootMismatch"]);
        seccomp(errors, &at, context);
        windows::validate_options(errors, &at, context.field("windowsOptions"));
        app_armor(errors, &at, context);
        check::optional_choice(errors, &at, context, "supplementalGroupsPolicy", &["Merge", "Strict"]);
        check::optional_choice(errors, &at, context, "seLinuxChangePolicy", &["MountOption", "Recursive"]);
    }
    if fields.share_process_namespace == &Value::Bool(true) && spec.flag("hostPID") {
        let path = spec_at.child("shareProcessNamespace");
        errors.push(Error::invalid(&path, true, "ShareProcessNamespace and HostPID cannot both be enabled"));
    }
}

/// Users of their own (`hostUsers` is false) rule out namespaces of the host, and block devices, which cannot be mapped.
pub fn validate_own_users(errors: &mut ErrorList, spec_at: &Path, spec: &Value) {
    const WHY: &str = "when `hostUsers` is false";
    for (field, shown) in [("hostNetwork", "hostNetwork"), ("hostPID", "HostPID"), ("hostIPC", "HostIPC")] {
        if spec.flag(field) {
            errors.push(Error::forbidden(&spec_at.child(shown), WHY));
        }
    }
    for list in CONTAINER_LISTS {
        for (i, container) in spec.list(list).iter().enumerate() {
            if !container.list("volumeDevices").is_empty() {
                errors.push(Error::forbidden(&spec_at.child(list).index(i).child("volumeDevices"), WHY));
            }
        }
    }
}

fn sysctls(errors: &mut ErrorList, context_at: &Path, context: &Value, spec: &Value) {
    let mut seen = BTreeSet::new();
    for (i, sysctl) in context.list("sysctls").iter().enumerate() {
        let at = context_at.child("sysctls").index(i).child("name");
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

fn seccomp(errors: &mut ErrorList, context_at: &Path, context: &Value) {
    let profile = context.field("seccompProfile");
    if profile.is_null() {
        return;
    }
    let at = context_at.child("seccompProfile");
    profile_type(errors, &at, profile, "seccompProfile");
    let localhost = profile.field("localhostProfile").as_str();
    let at = at.child("localhostProfile");
    match (profile.text("type"), localhost) {
        ("Localhost", Some(path)) => check::descending_path(errors, &at, path),
        ("Localhost", None) => errors.push(Error::required(&at, "must be set when seccomp type is Localhost")),
        (_, Some(_)) => {
            errors.push(Error::invalid(&at, profile.clone(), "can only be set when seccomp type is Localhost"));
        }
        (_, None) => {}
    }
}

fn profile_type(errors: &mut ErrorList, at: &Path, profile: &Value, field: &str) {
    match profile.text("type") {
        "" => errors.push(Error::required(&at.child("type"), format!("type is required when {field} is set"))),
        kind if PROFILE_TYPES.contains(&kind) => {}
        kind => errors.push(Error::not_supported(&at.child("type"), kind, PROFILE_TYPES)),
    }
}

/// The longest path, without its closing zero.
const PATH_MAX: usize = 4095;

/// The name of a profile on the node, in a field or behind `localhost/` in an annotation.
pub fn is_app_armor_name(name: &str) -> bool {
    !name.is_empty() && name.trim() == name && name.len() <= PATH_MAX
}

fn app_armor(errors: &mut ErrorList, context_at: &Path, context: &Value) {
    const MISSING: &str = "must be set when AppArmor type is Localhost";
    let profile = context.field("appArmorProfile");
    if profile.is_null() {
        return;
    }
    let at = context_at.child("appArmorProfile");
    let localhost = profile.field("localhostProfile").as_str();
    let path = || at.child("localhostProfile");
    match (profile.text("type"), localhost) {
        ("Localhost", None | Some("")) => errors.push(Error::required(&path(), MISSING)),
        ("Localhost", Some(name)) => {
            if name.trim() != name {
                errors.push(Error::invalid(&path(), name, "must not be padded with whitespace"));
            }
            if name.len() > PATH_MAX {
                errors.push(Error::too_long(&path(), PATH_MAX));
            }
        }
        ("RuntimeDefault" | "Unconfined", Some(name)) => {
            errors.push(Error::invalid(&path(), name, "can only be set when AppArmor type is Localhost"));
        }
        _ => profile_type(errors, &at, profile, "appArmorProfile"),
    }
}

/// `securityContext` of a container.
pub fn validate_container(errors: &mut ErrorList, owner: &Path, context: &Value, host_users: bool) {
    if context.as_object().is_none_or(serde_json::Map::is_empty) {
        return;
    }
    let at = &owner.child("securityContext");
    check::id(errors, at, context, "runAsUser");
    check::id(errors, at, context, "runAsGroup");
    check::optional_choice(errors, at, context, "procMount", &["Default", "Unmasked"]);
    if host_users && context.text("procMount") == "Unmasked" {
        let why = "`hostUsers` must be false to use `Unmasked`";
        errors.push(Error::invalid(&at.child("procMount"), "Unmasked", why));
    }
    seccomp(errors, at, context);
    if context.field("allowPrivilegeEscalation") == &Value::Bool(false) {
        if context.flag("privileged") {
            let why = "cannot set `allowPrivilegeEscalation` to false and `privileged` to true";
            errors.push(Error::invalid(at, context.clone(), why));
        }
        for _ in context.field("capabilities").texts("add").filter(|c| *c == "CAP_SYS_ADMIN") {
            let why = "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN";
            errors.push(Error::invalid(at, context.clone(), why));
        }
    }
    windows::validate_options(errors, at, context.field("windowsOptions"));
    app_armor(errors, at, context);
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

/// `spec.os`, which is there, and what it rules out.
pub fn validate_os(errors: &mut ErrorList, at: &Path, spec: &Value) {
    let (pod, container, spec_fields, why): (&[&str], &[&str], &[&str], &str) = match spec.field("os").text("name") {
        "linux" => (&["windowsOptions"], &["windowsOptions"], &[], "windows options cannot be set for a linux pod"),
        "windows" => (NOT_WINDOWS_POD, NOT_WINDOWS_CONTAINER, NOT_WINDOWS_SPEC, "cannot be set for a windows pod"),
        "" => return errors.push(Error::required(&at.child("os").child("name"), "")),
        other => return errors.push(Error::not_supported(&at.child("os"), other, &["linux", "windows"])),
    };
    let context = spec.field("securityContext");
    for field in pod.iter().filter(|f| context.has(f)) {
        errors.push(Error::forbidden(&at.child("securityContext").child(field), why));
    }
    // Flags of the host cannot tell false from unset.
    let set = |field: &str| if matches!(field, "hostPID" | "hostIPC") { spec.flag(field) } else { spec.has(field) };
    for field in spec_fields.iter().filter(|f| set(f)) {
        errors.push(Error::forbidden(&at.child(field), why));
    }
    for list in CONTAINER_LISTS {
        for (i, one) in spec.list(list).iter().enumerate() {
            for field in container.iter().filter(|f| one.field("securityContext").has(f)) {
                errors.push(Error::forbidden(&at.child(list).index(i).child("securityContext").child(field), why));
            }
        }
    }
}

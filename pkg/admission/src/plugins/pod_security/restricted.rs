//! What `restricted` asks for on top: least privilege.

use std::collections::BTreeSet;

use apimachinery::meta::ObjectExt;
use serde_json::Value;

use super::checks::{Finding, added_capabilities, bad_containers, finding, text};
use super::level::Version;
use super::visit::{Pod, containers, context, plural, quoted};

pub fn allow_privilege_escalation(pod: &Pod<'_>, version: Version) -> Option<Finding> {
    if version.at_least(25) && pod.is_windows() {
        return None;
    }
    let bad = bad_containers(pod, |c| context(c, "allowPrivilegeEscalation").and_then(Value::as_bool) != Some(false));
    if bad.is_empty() {
        return None;
    }
    let detail = format!("{} must set securityContext.allowPrivilegeEscalation=false", containers(&bad));
    finding("allowPrivilegeEscalation != false", detail)
}

pub fn restricted_capabilities(pod: &Pod<'_>, version: Version) -> Option<Finding> {
    if version.at_least(25) && pod.is_windows() {
        return None;
    }
    let drops_all =
        |c: &Value| c.array_at("securityContext/capabilities/drop").iter().any(|d| d.as_str() == Some("ALL"));
    let keep = bad_containers(pod, |c| !drops_all(c));
    let adding = bad_containers(pod, |c| !added_capabilities(c, &["NET_BIND_SERVICE"]).is_empty());
    let mut details = Vec::new();
    if !keep.is_empty() {
        details.push(format!("{} must set securityContext.capabilities.drop=[\"ALL\"]", containers(&keep)));
    }
    if !adding.is_empty() {
        let extra: BTreeSet<&str> =
            pod.containers().flat_map(|(_, c)| added_capabilities(c, &["NET_BIND_SERVICE"])).collect();
        let extra: Vec<&str> = extra.into_iter().collect();
        let list = quoted(&extra);
        details.push(format!("{} must not include {list} in securityContext.capabilities.add", containers(&adding)));
    }
    if details.is_empty() { None } else { finding("unrestricted capabilities", details.join("; ")) }
}

const RESTRICTED_VOLUMES: &[&str] = &[
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "image",
    "persistentVolumeClaim",
    "projected",
    "secret",
];

pub fn restricted_volumes(pod: &Pod<'_>, _: Version) -> Option<Finding> {
    let source = |volume: &'_ Value| -> Option<String> {
        let fields = volume.as_object()?.iter().filter(|(key, value)| *key != "name" && !value.is_null());
        // A volume without a source is an emptyDir.
        fields.map(|(key, _)| key.clone()).next()
    };
    let (mut bad, mut kinds) = (Vec::new(), BTreeSet::new());
    for volume in pod.volumes() {
        if let Some(kind) = source(volume).filter(|kind| !RESTRICTED_VOLUMES.contains(&kind.as_str())) {
            bad.push(volume.str_at("name"));
            kinds.insert(kind);
        }
    }
    if bad.is_empty() {
        return None;
    }
    let kinds: Vec<&str> = kinds.iter().map(String::as_str).collect();
    let detail = format!(
        "{} {} {} restricted volume {} {}",
        plural("volume", "volumes", bad.len()),
        quoted(&bad),
        plural("uses", "use", bad.len()),
        plural("type", "types", kinds.len()),
        quoted(&kinds)
    );
    finding("restricted volume types", detail)
}

/// True if a user namespace of the pod's own makes its root harmless (from 1.35 on).
fn has_own_users(pod: &Pod<'_>, version: Version) -> bool {
    version.at_least(35) && pod.spec.get("hostUsers").and_then(Value::as_bool) == Some(false)
}

pub fn run_as_non_root(pod: &Pod<'_>, version: Version) -> Option<Finding> {
    if has_own_users(pod, version) {
        return None;
    }
    let of_pod = pod.context("runAsNonRoot").and_then(Value::as_bool);
    let of = |c| context(c, "runAsNonRoot").and_then(Value::as_bool);
    let explicit = bad_containers(pod, |c| of(c) == Some(false));
    let implicit = bad_containers(pod, |c| of(c).is_none());
    let mut setters = Vec::new();
    if of_pod == Some(false) {
        setters.push("pod".to_owned());
    }
    if !explicit.is_empty() {
        setters.push(containers(&explicit));
    }
    if !setters.is_empty() {
        let detail = format!("{} must not set securityContext.runAsNonRoot=false", setters.join(" and "));
        return finding("runAsNonRoot != true", detail);
    }
    if of_pod == Some(true) || implicit.is_empty() {
        return None;
    }
    let detail = format!("pod or {} must set securityContext.runAsNonRoot=true", containers(&implicit));
    finding("runAsNonRoot != true", detail)
}

pub fn run_as_user(pod: &Pod<'_>, version: Version) -> Option<Finding> {
    if has_own_users(pod, version) {
        return None;
    }
    let is_root = |v: Option<&Value>| v.and_then(Value::as_i64) == Some(0);
    let mut setters = Vec::new();
    if is_root(pod.context("runAsUser")) {
        setters.push("pod".to_owned());
    }
    let bad = bad_containers(pod, |c| is_root(context(c, "runAsUser")));
    if !bad.is_empty() {
        setters.push(containers(&bad));
    }
    if setters.is_empty() {
        return None;
    }
    finding("runAsUser=0", format!("{} must not set runAsUser=0", setters.join(" and ")))
}

pub fn seccomp_restricted(pod: &Pod<'_>, version: Version) -> Option<Finding> {
    if version.at_least(25) && pod.is_windows() {
        return None;
    }
    let allowed = |t: &str| matches!(t, "RuntimeDefault" | "Localhost");
    let of_pod = text(pod.context("seccompProfile/type"));
    let of = |c| text(context(c, "seccompProfile/type"));
    let explicit = bad_containers(pod, |c| !of(c).is_empty() && !allowed(of(c)));
    let implicit = bad_containers(pod, |c| of(c).is_empty());
    let (mut setters, mut values) = (Vec::new(), BTreeSet::new());
    if !of_pod.is_empty() && !allowed(of_pod) {
        setters.push("pod".to_owned());
        values.insert(of_pod);
    }
    if !explicit.is_empty() {
        setters.push(containers(&explicit));
        values.extend(pod.containers().map(|(_, c)| of(c)).filter(|t| !t.is_empty() && !allowed(t)));
    }
    if !setters.is_empty() {
        let values: Vec<&str> = values.into_iter().collect();
        let list = quoted(&values);
        let who = setters.join(" and ");
        return finding("seccompProfile", format!("{who} must not set securityContext.seccompProfile.type to {list}"));
    }
    if allowed(of_pod) || implicit.is_empty() {
        return None;
    }
    let who = containers(&implicit);
    let detail =
        format!("pod or {who} must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\"");
    finding("seccompProfile", detail)
}

//! The checks of the Pod Security Standards. Each answers what it forbids: a short reason and a detail, upstream's texts.

use std::collections::BTreeSet;

use apimachinery::meta::ObjectExt;
use serde_json::Value;

use super::level::{Level, LevelVersion, Version};
use super::visit::{Pod, containers, context, plural, quoted};

/// Why a pod does not meet a standard.
type Finding = (String, String);

/// From which level on, since which minor version.
struct Check {
    level: Level,
    since: u32,
    run: fn(&Pod<'_>, Version) -> Option<Finding>,
}

const CHECKS: &[Check] = &[
    Check { level: Level::Baseline, since: 0, run: apparmor },
    Check { level: Level::Baseline, since: 0, run: baseline_capabilities },
    Check { level: Level::Baseline, since: 0, run: host_namespaces },
    Check { level: Level::Baseline, since: 0, run: host_path_volumes },
    Check { level: Level::Baseline, since: 0, run: host_ports },
    Check { level: Level::Baseline, since: 34, run: host_probes_and_lifecycle },
    Check { level: Level::Baseline, since: 0, run: privileged },
    Check { level: Level::Baseline, since: 0, run: proc_mount },
    Check { level: Level::Baseline, since: 0, run: seccomp_baseline },
    Check { level: Level::Baseline, since: 0, run: selinux },
    Check { level: Level::Baseline, since: 0, run: sysctls },
    Check { level: Level::Baseline, since: 0, run: windows_host_process },
    Check { level: Level::Restricted, since: 8, run: allow_privilege_escalation },
    Check { level: Level::Restricted, since: 22, run: restricted_capabilities },
    Check { level: Level::Restricted, since: 0, run: restricted_volumes },
    Check { level: Level::Restricted, since: 0, run: run_as_non_root },
    Check { level: Level::Restricted, since: 23, run: run_as_user },
    Check { level: Level::Restricted, since: 19, run: seccomp_restricted },
];

/// Everything that keeps a pod from meeting `wanted`, as one text; `None` if it meets it.
pub fn violations(pod: &Pod<'_>, wanted: LevelVersion) -> Option<String> {
    let applies = |check: &&Check| wanted.level >= check.level && wanted.version.at_least(check.since);
    let findings: Vec<String> = CHECKS
        .iter()
        .filter(applies)
        .filter_map(|check| (check.run)(pod, wanted.version))
        .map(|(reason, detail)| if detail.is_empty() { reason } else { format!("{reason} ({detail})") })
        .collect();
    (!findings.is_empty()).then(|| findings.join(", "))
}

fn finding(reason: impl Into<String>, detail: impl Into<String>) -> Option<Finding> {
    Some((reason.into(), detail.into()))
}

fn text(value: Option<&Value>) -> &str {
    value.and_then(Value::as_str).unwrap_or("")
}

fn is_true(value: Option<&Value>) -> bool {
    value.and_then(Value::as_bool) == Some(true)
}

/// Names of the containers for which `bad` holds.
fn bad_containers<'a>(pod: &Pod<'a>, bad: impl Fn(&'a Value) -> bool) -> Vec<&'a str> {
    pod.containers().filter(|(_, container)| bad(container)).map(|(name, _)| name).collect()
}

fn host_namespaces(pod: &Pod<'_>, _: Version) -> Option<Finding> {
    let set: Vec<String> = ["hostNetwork", "hostPID", "hostIPC"]
        .into_iter()
        .filter(|field| is_true(pod.spec.get(field)))
        .map(|field| format!("{field}=true"))
        .collect();
    if set.is_empty() { None } else { finding("host namespaces", set.join(", ")) }
}

fn privileged(pod: &Pod<'_>, _: Version) -> Option<Finding> {
    let bad = bad_containers(pod, |c| is_true(context(c, "privileged")));
    if bad.is_empty() {
        return None;
    }
    let detail = format!("{} must not set securityContext.privileged=true", containers(&bad));
    finding("privileged", detail)
}

const BASELINE_CAPABILITIES: &[&str] = &[
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];

fn added_capabilities<'a>(container: &'a Value, allowed: &[&str]) -> Vec<&'a str> {
    let added = container.array_at("securityContext/capabilities/add").iter().filter_map(Value::as_str);
    added.filter(|capability| !allowed.contains(capability)).collect()
}

fn baseline_capabilities(pod: &Pod<'_>, _: Version) -> Option<Finding> {
    let bad = bad_containers(pod, |c| !added_capabilities(c, BASELINE_CAPABILITIES).is_empty());
    let extra: BTreeSet<&str> =
        pod.containers().flat_map(|(_, c)| added_capabilities(c, BASELINE_CAPABILITIES)).collect();
    if bad.is_empty() {
        return None;
    }
    let extra: Vec<&str> = extra.into_iter().collect();
    let detail =
        format!("{} must not include {} in securityContext.capabilities.add", containers(&bad), quoted(&extra));
    finding("non-default capabilities", detail)
}

fn host_path_volumes(pod: &Pod<'_>, _: Version) -> Option<Finding> {
    let has = |v: &&Value| v.get("hostPath").is_some_and(|h| !h.is_null());
    let bad: Vec<&str> = pod.volumes().iter().filter(has).map(|v| v.str_at("name")).collect();
    if bad.is_empty() {
        return None;
    }
    finding("hostPath volumes", format!("{} {}", plural("volume", "volumes", bad.len()), quoted(&bad)))
}

fn host_ports(pod: &Pod<'_>, _: Version) -> Option<Finding> {
    let ports_of = |container: &Value| -> Vec<i64> {
        container.array_at("ports").iter().filter_map(|p| p.i64_at("hostPort")).filter(|p| *p != 0).collect()
    };
    let bad = bad_containers(pod, |c| !ports_of(c).is_empty());
    let ports: BTreeSet<String> = pod.containers().flat_map(|(_, c)| ports_of(c)).map(|p| p.to_string()).collect();
    if bad.is_empty() {
        return None;
    }
    let uses = plural("uses", "use", bad.len());
    let noun = plural("hostPort", "hostPorts", ports.len());
    let ports: Vec<String> = ports.into_iter().collect();
    finding("hostPort", format!("{} {uses} {noun} {}", containers(&bad), ports.join(", ")))
}

/// Probes and hooks may not be sent to another host than the pod's own.
fn host_probes_and_lifecycle(pod: &Pod<'_>, _: Version) -> Option<Finding> {
    const HANDLERS: &[&str] =
        &["livenessProbe", "readinessProbe", "startupProbe", "lifecycle/postStart", "lifecycle/preStop"];
    let hosts = |container: &'_ Value| -> BTreeSet<String> {
        let fields = HANDLERS.iter().flat_map(|h| ["httpGet", "tcpSocket"].map(|kind| format!("{h}/{kind}/host")));
        fields.map(|path| container.str_at(&path).to_owned()).filter(|host| !host.is_empty()).collect()
    };
    let bad = bad_containers(pod, |c| !hosts(c).is_empty());
    if bad.is_empty() {
        return None;
    }
    let all: BTreeSet<String> = pod.containers().flat_map(|(_, c)| hosts(c)).collect();
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    let uses = plural("uses", "use", bad.len());
    let noun = plural("probe or lifecycle host", "probe or lifecycle hosts", all.len());
    finding("probe or lifecycle host", format!("{} {uses} {noun} {}", containers(&bad), quoted(&all)))
}

fn apparmor(pod: &Pod<'_>, _: Version) -> Option<Finding> {
    const PREFIX: &str = "container.apparmor.security.beta.kubernetes.io/";
    let allowed_annotation = |p: &str| p.is_empty() || p == "runtime/default" || p.starts_with("localhost/");
    let mut bad: BTreeSet<String> = BTreeSet::new();
    let annotations = pod.metadata.get("annotations").and_then(Value::as_object).into_iter().flatten();
    for (key, value) in annotations.filter(|(key, _)| key.starts_with(PREFIX)) {
        let profile = value.as_str().unwrap_or("");
        if !allowed_annotation(profile) {
            bad.insert(format!("{:?}", format!("{key}={profile:?}")));
        }
    }
    let allowed = |t: &str| matches!(t, "" | "RuntimeDefault" | "Localhost");
    let of_pod = text(pod.context("appArmorProfile/type"));
    let mut details = Vec::new();
    if !allowed(of_pod) {
        details.push(format!("pod must not set AppArmor profile type to {of_pod:?}"));
    }
    let set = bad_containers(pod, |c| !allowed(text(context(c, "appArmorProfile/type"))));
    if !set.is_empty() {
        let types: BTreeSet<&str> =
            pod.containers().map(|(_, c)| text(context(c, "appArmorProfile/type"))).filter(|t| !allowed(t)).collect();
        let types: Vec<&str> = types.into_iter().collect();
        details.push(format!("{} must not set AppArmor profile type to {}", containers(&set), quoted(&types)));
    }
    if !bad.is_empty() {
        let noun = plural("annotation", "annotations", bad.len());
        let list: Vec<String> = bad.into_iter().collect();
        details.push(format!("{noun} {}", list.join(", ")));
    }
    let reason = plural("forbidden AppArmor profile", "forbidden AppArmor profiles", details.len());
    if details.is_empty() { None } else { finding(reason, details.join(" and ")) }
}

fn proc_mount(pod: &Pod<'_>, version: Version) -> Option<Finding> {
    // With a user namespace of its own, a pod may see an unmasked /proc.
    if version.at_least(35) && pod.spec.get("hostUsers").and_then(Value::as_bool) == Some(false) {
        return None;
    }
    let of = |c| text(context(c, "procMount"));
    let bad = bad_containers(pod, |c| !matches!(of(c), "" | "Default"));
    if bad.is_empty() {
        return None;
    }
    let kinds: BTreeSet<&str> =
        pod.containers().map(|(_, c)| of(c)).filter(|k| !matches!(*k, "" | "Default")).collect();
    let kinds: Vec<&str> = kinds.into_iter().collect();
    finding("procMount", format!("{} must not set securityContext.procMount to {}", containers(&bad), quoted(&kinds)))
}

fn seccomp_baseline(pod: &Pod<'_>, version: Version) -> Option<Finding> {
    // Until 1.19 the profiles were annotations, which are no longer read.
    if !version.at_least(19) {
        return None;
    }
    let allowed = |t: &str| matches!(t, "" | "RuntimeDefault" | "Localhost");
    let of_pod = text(pod.context("seccompProfile/type"));
    let bad = bad_containers(pod, |c| !allowed(text(context(c, "seccompProfile/type"))));
    let mut setters = Vec::new();
    let mut values: BTreeSet<&str> = BTreeSet::new();
    if !allowed(of_pod) {
        setters.push("pod".to_owned());
        values.insert(of_pod);
    }
    if !bad.is_empty() {
        setters.push(containers(&bad));
        let of = pod.containers().map(|(_, c)| text(context(c, "seccompProfile/type")));
        values.extend(of.filter(|t| !allowed(t)));
    }
    if setters.is_empty() {
        return None;
    }
    let values: Vec<&str> = values.into_iter().collect();
    let detail =
        format!("{} must not set securityContext.seccompProfile.type to {}", setters.join(" and "), quoted(&values));
    finding("seccompProfile", detail)
}

fn selinux(pod: &Pod<'_>, version: Version) -> Option<Finding> {
    let allowed = |t: &str| {
        matches!(t, "" | "container_t" | "container_init_t" | "container_kvm_t")
            || version.at_least(31) && t == "container_engine_t"
    };
    let mut setters = Vec::new();
    let mut types: BTreeSet<&str> = BTreeSet::new();
    let (mut user, mut role) = (false, false);
    let mut look = |options: Option<&'_ Value>| -> (bool, Option<String>) {
        let Some(options) = options else { return (false, None) };
        let kind = options.str_at("type").to_owned();
        let has_user = !options.str_at("user").is_empty();
        let has_role = !options.str_at("role").is_empty();
        user |= has_user;
        role |= has_role;
        let bad_type = !allowed(&kind);
        (bad_type || has_user || has_role, bad_type.then_some(kind))
    };
    let (pod_is_bad, _) = look(pod.context("seLinuxOptions"));
    if pod_is_bad {
        setters.push("pod".to_owned());
    }
    let bad = bad_containers(pod, |c| {
        let options = context(c, "seLinuxOptions");
        options
            .is_some_and(|o| !allowed(o.str_at("type")) || !o.str_at("user").is_empty() || !o.str_at("role").is_empty())
    });
    pod.containers().for_each(|(_, c)| drop(look(context(c, "seLinuxOptions"))));
    if !bad.is_empty() {
        setters.push(containers(&bad));
    }
    if setters.is_empty() {
        return None;
    }
    let all = std::iter::once(pod.context("seLinuxOptions"))
        .chain(pod.containers().map(|(_, c)| context(c, "seLinuxOptions")));
    types.extend(all.flatten().map(|o| o.str_at("type")).filter(|t| !allowed(t)));
    let types: Vec<&str> = types.into_iter().collect();
    let mut parts = Vec::new();
    if !types.is_empty() {
        parts.push(format!("{} {}", plural("type", "types", types.len()), quoted(&types)));
    }
    if user {
        parts.push("user may not be set".to_owned());
    }
    if role {
        parts.push("role may not be set".to_owned());
    }
    let what = format!("{} set forbidden securityContext.seLinuxOptions: {}", setters.join(" and "), parts.join("; "));
    finding("seLinuxOptions", what)
}

/// Sysctls that are namespaced and harmless, with the version that allowed them.
const SAFE_SYSCTLS: &[(&str, u32)] = &[
    ("kernel.shm_rmid_forced", 0),
    ("net.ipv4.ip_local_port_range", 0),
    ("net.ipv4.tcp_syncookies", 0),
    ("net.ipv4.ping_group_range", 0),
    ("net.ipv4.ip_unprivileged_port_start", 0),
    ("net.ipv4.ip_local_reserved_ports", 27),
    ("net.ipv4.tcp_keepalive_time", 29),
    ("net.ipv4.tcp_fin_timeout", 29),
    ("net.ipv4.tcp_keepalive_intvl", 29),
    ("net.ipv4.tcp_keepalive_probes", 29),
    ("net.ipv4.tcp_rmem", 32),
    ("net.ipv4.tcp_wmem", 32),
];

fn sysctls(pod: &Pod<'_>, version: Version) -> Option<Finding> {
    let safe = |name: &str| SAFE_SYSCTLS.iter().any(|(known, since)| *known == name && version.at_least(*since));
    let set = pod.spec.array_at("securityContext/sysctls").iter().map(|s| s.str_at("name"));
    let bad: Vec<&str> = set.filter(|name| !safe(name)).collect();
    if bad.is_empty() { None } else { finding("forbidden sysctls", bad.join(", ")) }
}

fn windows_host_process(pod: &Pod<'_>, _: Version) -> Option<Finding> {
    let bad = bad_containers(pod, |c| is_true(context(c, "windowsOptions/hostProcess")));
    let mut setters = Vec::new();
    if is_true(pod.context("windowsOptions/hostProcess")) {
        setters.push("pod".to_owned());
    }
    if !bad.is_empty() {
        setters.push(containers(&bad));
    }
    if setters.is_empty() {
        return None;
    }
    let detail = format!("{} must not set securityContext.windowsOptions.hostProcess=true", setters.join(" and "));
    finding("hostProcess", detail)
}

fn allow_privilege_escalation(pod: &Pod<'_>, version: Version) -> Option<Finding> {
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

fn restricted_capabilities(pod: &Pod<'_>, version: Version) -> Option<Finding> {
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

fn restricted_volumes(pod: &Pod<'_>, _: Version) -> Option<Finding> {
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

fn run_as_non_root(pod: &Pod<'_>, version: Version) -> Option<Finding> {
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

fn run_as_user(pod: &Pod<'_>, version: Version) -> Option<Finding> {
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

fn seccomp_restricted(pod: &Pod<'_>, version: Version) -> Option<Finding> {
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

#[cfg(test)]
#[path = "checks_tests.rs"]
mod tests;

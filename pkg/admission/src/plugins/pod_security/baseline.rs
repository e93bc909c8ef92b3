//! What `baseline` forbids: ways out of the container that are known.

use std::collections::BTreeSet;

use apimachinery::meta::ObjectExt;
use serde_json::Value;

use super::checks::{Finding, added_capabilities, bad_containers, finding, is_true, text};
use super::level::Version;
use super::visit::{Pod, containers, context, plural, quoted};

pub fn host_namespaces(pod: &Pod<'_>, _: Version) -> Option<Finding> {
    let set: Vec<String> = ["hostNetwork", "hostPID", "hostIPC"]
        .into_iter()
        .filter(|field| is_true(pod.spec.get(field)))
        .map(|field| format!("{field}=true"))
        .collect();
    if set.is_empty() { None } else { finding("host namespaces", set.join(", ")) }
}

pub fn privileged(pod: &Pod<'_>, _: Version) -> Option<Finding> {
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

pub fn baseline_capabilities(pod: &Pod<'_>, _: Version) -> Option<Finding> {
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

pub fn host_path_volumes(pod: &Pod<'_>, _: Version) -> Option<Finding> {
    let has = |v: &&Value| v.get("hostPath").is_some_and(|h| !h.is_null());
    let bad: Vec<&str> = pod.volumes().iter().filter(has).map(|v| v.str_at("name")).collect();
    if bad.is_empty() {
        return None;
    }
    finding("hostPath volumes", format!("{} {}", plural("volume", "volumes", bad.len()), quoted(&bad)))
}

pub fn host_ports(pod: &Pod<'_>, _: Version) -> Option<Finding> {
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
pub fn host_probes_and_lifecycle(pod: &Pod<'_>, _: Version) -> Option<Finding> {
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

pub fn apparmor(pod: &Pod<'_>, _: Version) -> Option<Finding> {
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

pub fn proc_mount(pod: &Pod<'_>, version: Version) -> Option<Finding> {
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

pub fn seccomp_baseline(pod: &Pod<'_>, version: Version) -> Option<Finding> {
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

pub fn selinux(pod: &Pod<'_>, version: Version) -> Option<Finding> {
    let allowed = |t: &str| {
        matches!(t, "" | "container_t" | "container_init_t" | "container_kvm_t")
            || version.at_least(31) && t == "container_engine_t"
    };
    let is_bad = |options: &Value| {
        !allowed(options.str_at("type")) || !options.str_at("user").is_empty() || !options.str_at("role").is_empty()
    };
    let of = |container| context(container, "seLinuxOptions");
    let of_pod = pod.context("seLinuxOptions");
    let bad = bad_containers(pod, |c| of(c).is_some_and(is_bad));
    let mut setters = Vec::new();
    if of_pod.is_some_and(is_bad) {
        setters.push("pod".to_owned());
    }
    if !bad.is_empty() {
        setters.push(containers(&bad));
    }
    if setters.is_empty() {
        return None;
    }
    let all: Vec<&Value> = of_pod.into_iter().chain(pod.containers().filter_map(|(_, c)| of(c))).collect();
    let types: BTreeSet<&str> = all.iter().map(|o| o.str_at("type")).filter(|t| !allowed(t)).collect();
    let types: Vec<&str> = types.into_iter().collect();
    let mut parts = Vec::new();
    if !types.is_empty() {
        parts.push(format!("{} {}", plural("type", "types", types.len()), quoted(&types)));
    }
    for field in ["user", "role"] {
        if all.iter().any(|o| !o.str_at(field).is_empty()) {
            parts.push(format!("{field} may not be set"));
        }
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

pub fn sysctls(pod: &Pod<'_>, version: Version) -> Option<Finding> {
    let safe = |name: &str| SAFE_SYSCTLS.iter().any(|(known, since)| *known == name && version.at_least(*since));
    let set = pod.spec.array_at("securityContext/sysctls").iter().map(|s| s.str_at("name"));
    let bad: Vec<&str> = set.filter(|name| !safe(name)).collect();
    if bad.is_empty() { None } else { finding("forbidden sysctls", bad.join(", ")) }
}

pub fn windows_host_process(pod: &Pod<'_>, _: Version) -> Option<Finding> {
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

//! The checks of the Pod Security Standards. Each answers what it forbids: a short reason and a detail, upstream's texts.

use apimachinery::meta::ObjectExt;
use serde_json::Value;

use super::level::{Level, LevelVersion, Version};
use super::visit::Pod;
use super::{baseline, restricted};

/// Why a pod does not meet a standard.
pub type Finding = (String, String);

/// From which level on, since which minor version.
struct Check {
    level: Level,
    since: u32,
    run: fn(&Pod<'_>, Version) -> Option<Finding>,
}

const CHECKS: &[Check] = &[
    Check { level: Level::Baseline, since: 0, run: baseline::apparmor },
    Check { level: Level::Baseline, since: 0, run: baseline::baseline_capabilities },
    Check { level: Level::Baseline, since: 0, run: baseline::host_namespaces },
    Check { level: Level::Baseline, since: 0, run: baseline::host_path_volumes },
    Check { level: Level::Baseline, since: 0, run: baseline::host_ports },
    Check { level: Level::Baseline, since: 34, run: baseline::host_probes_and_lifecycle },
    Check { level: Level::Baseline, since: 0, run: baseline::privileged },
    Check { level: Level::Baseline, since: 0, run: baseline::proc_mount },
    Check { level: Level::Baseline, since: 0, run: baseline::seccomp_baseline },
    Check { level: Level::Baseline, since: 0, run: baseline::selinux },
    Check { level: Level::Baseline, since: 0, run: baseline::sysctls },
    Check { level: Level::Baseline, since: 0, run: baseline::windows_host_process },
    Check { level: Level::Restricted, since: 8, run: restricted::allow_privilege_escalation },
    Check { level: Level::Restricted, since: 22, run: restricted::restricted_capabilities },
    Check { level: Level::Restricted, since: 0, run: restricted::restricted_volumes },
    Check { level: Level::Restricted, since: 0, run: restricted::run_as_non_root },
    Check { level: Level::Restricted, since: 23, run: restricted::run_as_user },
    Check { level: Level::Restricted, since: 19, run: restricted::seccomp_restricted },
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

pub fn finding(reason: impl Into<String>, detail: impl Into<String>) -> Option<Finding> {
    Some((reason.into(), detail.into()))
}

pub fn text(value: Option<&Value>) -> &str {
    value.and_then(Value::as_str).unwrap_or("")
}

pub fn is_true(value: Option<&Value>) -> bool {
    value.and_then(Value::as_bool) == Some(true)
}

/// Names of the containers for which `bad` holds.
pub fn bad_containers<'a>(pod: &Pod<'a>, bad: impl Fn(&'a Value) -> bool) -> Vec<&'a str> {
    pod.containers().filter(|(_, container)| bad(container)).map(|(name, _)| name).collect()
}

/// What a container adds beyond `allowed`.
pub fn added_capabilities<'a>(container: &'a Value, allowed: &[&str]) -> Vec<&'a str> {
    let added = container.array_at("securityContext/capabilities/add").iter().filter_map(Value::as_str);
    added.filter(|capability| !allowed.contains(capability)).collect()
}

#[cfg(test)]
#[path = "checks_tests.rs"]
mod tests;

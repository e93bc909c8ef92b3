//! Security contexts: the pod's and the container's merged into what the runtime is told.

use cri::v1;
use k8s_openapi::api::core::v1::{AppArmorProfile, Container, Pod, SELinuxOptions, SeccompProfile};

use crate::pod::PodExt as _;

/// Paths that are hidden or read-only in a container unless it is privileged or asks for `procMount: Unmasked`.
const MASKED: [&str; 11] = [
    "/proc/asound",
    "/proc/acpi",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
];
const READ_ONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// A container that may not run as root, but would.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum NonRootError {
    #[error("container's runAsUser breaks non-root policy (pod: \"{pod}\", container: {container})")]
    User { pod: String, container: String },
    #[error("container has runAsNonRoot and image will run as root (pod: \"{pod}\", container: {container})")]
    Image { pod: String, container: String },
    #[error(
        "container has runAsNonRoot and image has non-numeric user ({user}), cannot verify user is non-root (pod: \"{pod}\", container: {container})"
    )]
    Name { user: String, pod: String, container: String },
}

pub fn run_as_user(pod: &Pod, container: &Container) -> Option<i64> {
    let own = container.security_context.as_ref().and_then(|s| s.run_as_user);
    own.or(pod.pod_spec().security_context.as_ref().and_then(|s| s.run_as_user))
}

/// `runAsNonRoot` against the user that will run, which may be the image's.
pub fn verify_non_root(pod: &Pod, container: &Container, image: &v1::Image) -> Result<(), NonRootError> {
    let own = container.security_context.as_ref().and_then(|s| s.run_as_non_root);
    let demanded = own.or(pod.pod_spec().security_context.as_ref().and_then(|s| s.run_as_non_root));
    if demanded != Some(true) {
        return Ok(());
    }
    let (name, container_name) = (pod.describe(), container.name.clone());
    match run_as_user(pod, container) {
        Some(0) => return Err(NonRootError::User { pod: name, container: container_name }),
        Some(_) => return Ok(()),
        None => {}
    }
    match (&image.uid, image.username.as_str()) {
        (Some(uid), _) if uid.value == 0 => Err(NonRootError::Image { pod: name, container: container_name }),
        (None, "") => Err(NonRootError::Image { pod: name, container: container_name }),
        (Some(_), _) => Ok(()),
        (None, user) => Err(NonRootError::Name { user: user.to_owned(), pod: name, container: container_name }),
    }
}

pub fn namespaces(pod: &Pod, target_id: &str) -> v1::NamespaceOption {
    let spec = pod.pod_spec();
    let host = |on: Option<bool>| on.unwrap_or(false);
    let pid = if host(spec.host_pid) {
        v1::NamespaceMode::Node
    } else if !target_id.is_empty() {
        v1::NamespaceMode::Target
    } else if host(spec.share_process_namespace) {
        v1::NamespaceMode::Pod
    } else {
        v1::NamespaceMode::Container
    };
    let node_or_pod = |on| if host(on) { v1::NamespaceMode::Node } else { v1::NamespaceMode::Pod };
    v1::NamespaceOption {
        network: node_or_pod(spec.host_network) as i32,
        pid: pid as i32,
        ipc: node_or_pod(spec.host_ipc) as i32,
        target_id: target_id.to_owned(),
        userns_options: None,
    }
}

/// The context of a container. `target_id` is the container whose processes an ephemeral one sees; `groups` are those
/// that volumes add.
pub fn container_context(
    pod: &Pod,
    container: &Container,
    image: &v1::Image,
    target_id: &str,
) -> v1::LinuxContainerSecurityContext {
    let own = container.security_context.clone().unwrap_or_default();
    let shared = pod.pod_spec().security_context.clone().unwrap_or_default();
    let privileged = own.privileged.unwrap_or(false);
    let unmasked = privileged || own.proc_mount.as_deref() == Some("Unmasked");
    let paths = |list: &[&str]| if unmasked { Vec::new() } else { list.iter().map(|p| (*p).to_owned()).collect() };
    let capabilities = own.capabilities.clone().unwrap_or_default();
    let value = |value| v1::Int64Value { value };
    let user = run_as_user(pod, container);
    let group = own.run_as_group.or(shared.run_as_group);
    let seccomp = own.seccomp_profile.as_ref().or(shared.seccomp_profile.as_ref());
    let app_armor = own.app_armor_profile.as_ref().or(shared.app_armor_profile.as_ref());
    v1::LinuxContainerSecurityContext {
        capabilities: Some(v1::Capability {
            add_capabilities: capabilities.add.unwrap_or_default(),
            drop_capabilities: capabilities.drop.unwrap_or_default(),
            add_ambient_capabilities: Vec::new(),
        }),
        privileged,
        namespace_options: Some(namespaces(pod, target_id)),
        selinux_options: own.se_linux_options.as_ref().or(shared.se_linux_options.as_ref()).map(selinux),
        run_as_user: user.or(image.uid.as_ref().map(|u| u.value)).map(value),
        run_as_username: if user.is_none() && image.uid.is_none() { image.username.clone() } else { String::new() },
        // A group needs a user beside it, which is root where nothing says otherwise.
        run_as_group: group.map(value),
        readonly_rootfs: own.read_only_root_filesystem.unwrap_or(false),
        supplemental_groups: supplemental_groups(pod),
        no_new_privs: own.allow_privilege_escalation == Some(false),
        masked_paths: paths(&MASKED),
        readonly_paths: paths(&READ_ONLY),
        seccomp: Some(seccomp_profile(seccomp, privileged)),
        apparmor: app_armor.map(app_armor_profile),
        supplemental_groups_policy: groups_policy(shared.supplemental_groups_policy.as_deref()),
        ..Default::default()
    }
}

fn groups_policy(policy: Option<&str>) -> i32 {
    let strict = policy == Some("Strict");
    (if strict { v1::SupplementalGroupsPolicy::Strict } else { v1::SupplementalGroupsPolicy::Merge }) as i32
}

pub fn sandbox_context(pod: &Pod) -> v1::LinuxSandboxSecurityContext {
    let shared = pod.pod_spec().security_context.clone().unwrap_or_default();
    let is_privileged = |c: &Container| c.security_context.as_ref().and_then(|s| s.privileged) == Some(true);
    let value = |value| v1::Int64Value { value };
    v1::LinuxSandboxSecurityContext {
        namespace_options: Some(namespaces(pod, "")),
        selinux_options: shared.se_linux_options.as_ref().map(selinux),
        run_as_user: shared.run_as_user.map(value),
        run_as_group: shared.run_as_group.filter(|_| shared.run_as_user.is_some()).map(value),
        supplemental_groups: supplemental_groups(pod),
        privileged: pod.all_containers().any(is_privileged),
        // The sandbox's own process needs nothing: it always runs under the runtime's profile.
        seccomp: Some(v1::SecurityProfile {
            profile_type: v1::security_profile::ProfileType::RuntimeDefault as i32,
            localhost_ref: String::new(),
        }),
        supplemental_groups_policy: groups_policy(shared.supplemental_groups_policy.as_deref()),
        ..Default::default()
    }
}

fn supplemental_groups(pod: &Pod) -> Vec<i64> {
    let shared = pod.pod_spec().security_context.clone().unwrap_or_default();
    let mut groups: Vec<i64> = shared.fs_group.into_iter().collect();
    groups.extend(shared.supplemental_groups.unwrap_or_default());
    groups
}

fn selinux(options: &SELinuxOptions) -> v1::SeLinuxOption {
    v1::SeLinuxOption {
        user: options.user.clone().unwrap_or_default(),
        role: options.role.clone().unwrap_or_default(),
        r#type: options.type_.clone().unwrap_or_default(),
        level: options.level.clone().unwrap_or_default(),
    }
}

/// Where localhost profiles are looked for.
const SECCOMP_ROOT: &str = "/var/lib/kubelet/seccomp";

fn seccomp_profile(profile: Option<&SeccompProfile>, privileged: bool) -> v1::SecurityProfile {
    use v1::security_profile::ProfileType;
    let (kind, reference) = match profile {
        _ if privileged => (ProfileType::Unconfined, String::new()),
        Some(profile) if profile.type_ == "RuntimeDefault" => (ProfileType::RuntimeDefault, String::new()),
        Some(profile) if profile.type_ == "Localhost" => {
            let name = profile.localhost_profile.as_deref().unwrap_or_default();
            (ProfileType::Localhost, format!("{SECCOMP_ROOT}/{name}"))
        }
        _ => (ProfileType::Unconfined, String::new()),
    };
    v1::SecurityProfile { profile_type: kind as i32, localhost_ref: reference }
}

fn app_armor_profile(profile: &AppArmorProfile) -> v1::SecurityProfile {
    use v1::security_profile::ProfileType;
    let (kind, reference) = match profile.type_.as_str() {
        "RuntimeDefault" => (ProfileType::RuntimeDefault, String::new()),
        "Localhost" => (ProfileType::Localhost, profile.localhost_profile.clone().unwrap_or_default()),
        _ => (ProfileType::Unconfined, String::new()),
    };
    v1::SecurityProfile { profile_type: kind as i32, localhost_ref: reference }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(spec: serde_json::Value) -> Pod {
        serde_json::from_value(json!({"metadata": {"name": "p", "namespace": "n", "uid": "u"}, "spec": spec}))
            .expect("a pod")
    }

    #[test]
    fn non_root_is_checked_against_the_user_that_runs() {
        let image = |uid: Option<i64>, name: &str| v1::Image {
            uid: uid.map(|value| v1::Int64Value { value }),
            username: name.into(),
            ..Default::default()
        };
        let demanded = pod(json!({"securityContext": {"runAsNonRoot": true}, "containers": [{"name": "c"}]}));
        let check = |image| verify_non_root(&demanded, &demanded.containers()[0], &image);
        assert!(check(image(Some(1000), "")).is_ok());
        assert!(matches!(check(image(Some(0), "")), Err(NonRootError::Image { .. })));
        assert!(matches!(check(image(None, "")), Err(NonRootError::Image { .. })));
        assert!(matches!(check(image(None, "nobody")), Err(NonRootError::Name { .. })));
        let root =
            pod(json!({"securityContext": {"runAsNonRoot": true, "runAsUser": 0}, "containers": [{"name": "c"}]}));
        let refused = verify_non_root(&root, &root.containers()[0], &image(Some(5), ""));
        assert!(matches!(refused, Err(NonRootError::User { .. })));
    }

    #[test]
    fn the_containers_context_wins_over_the_pods() {
        let both = pod(json!({
            "securityContext": {"runAsUser": 1, "runAsGroup": 2, "fsGroup": 3, "supplementalGroups": [4]},
            "containers": [{"name": "c", "securityContext": {"runAsUser": 9, "allowPrivilegeEscalation": false}}],
        }));
        let context = container_context(&both, &both.containers()[0], &v1::Image::default(), "");
        assert_eq!(context.run_as_user.map(|u| u.value), Some(9));
        assert_eq!(context.run_as_group.map(|g| g.value), Some(2));
        assert_eq!(context.supplemental_groups, [3, 4]);
        assert!(context.no_new_privs && !context.masked_paths.is_empty());
    }
}

//! Questions about a Pod's spec that many parts ask.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, EphemeralContainer, Pod, PodSpec};

/// The quality-of-service class of a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QosClass {
    Guaranteed,
    Burstable,
    BestEffort,
}

impl QosClass {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Guaranteed => "Guaranteed",
            Self::Burstable => "Burstable",
            Self::BestEffort => "BestEffort",
        }
    }
}

/// Short readers of a Pod. A pod without a spec reads as one without containers.
pub trait PodExt {
    fn uid(&self) -> &str;
    fn name(&self) -> &str;
    fn namespace(&self) -> &str;
    fn pod_spec(&self) -> &PodSpec;
    fn labels(&self) -> &BTreeMap<String, String>;
    fn annotations(&self) -> &BTreeMap<String, String>;

    /// `name_namespace(uid)`: how a pod is named in logs.
    fn describe(&self) -> String {
        format!("{}/{}({})", self.namespace(), self.name(), self.uid())
    }
    fn containers(&self) -> &[Container] {
        &self.pod_spec().containers
    }
    fn init_containers(&self) -> &[Container] {
        self.pod_spec().init_containers.as_deref().unwrap_or_default()
    }
    fn ephemeral_containers(&self) -> &[EphemeralContainer] {
        self.pod_spec().ephemeral_containers.as_deref().unwrap_or_default()
    }
    fn restart_policy(&self) -> &str {
        self.pod_spec().restart_policy.as_deref().unwrap_or("Always")
    }
    fn host_network(&self) -> bool {
        self.pod_spec().host_network.unwrap_or(false)
    }
    fn is_deleting(&self) -> bool;
    fn is_static(&self) -> bool {
        self.annotations().get(crate::names::CONFIG_SOURCE).is_some_and(|source| source != "api")
    }
    fn is_mirror(&self) -> bool {
        self.annotations().contains_key(crate::names::MIRROR_POD)
    }
    fn is_terminal(&self) -> bool;
    /// Every container of the spec with its kind: init first, then the main ones.
    fn all_containers(&self) -> impl Iterator<Item = &Container> {
        self.init_containers().iter().chain(self.containers())
    }
    fn find_container(&self, name: &str) -> Option<Container> {
        let named = self.all_containers().find(|c| c.name == name).cloned();
        named.or_else(|| self.ephemeral_containers().iter().find(|c| c.name == name).map(as_container))
    }
    fn qos_class(&self) -> QosClass {
        qos_class(self.pod_spec())
    }
    fn grace_period_seconds(&self) -> i64;
}

static EMPTY_SPEC: std::sync::LazyLock<PodSpec> = std::sync::LazyLock::new(PodSpec::default);
static EMPTY_MAP: BTreeMap<String, String> = BTreeMap::new();

impl PodExt for Pod {
    fn uid(&self) -> &str {
        self.metadata.uid.as_deref().unwrap_or_default()
    }
    fn name(&self) -> &str {
        self.metadata.name.as_deref().unwrap_or_default()
    }
    fn namespace(&self) -> &str {
        self.metadata.namespace.as_deref().unwrap_or_default()
    }
    fn pod_spec(&self) -> &PodSpec {
        self.spec.as_ref().unwrap_or(&EMPTY_SPEC)
    }
    fn labels(&self) -> &BTreeMap<String, String> {
        self.metadata.labels.as_ref().unwrap_or(&EMPTY_MAP)
    }
    fn annotations(&self) -> &BTreeMap<String, String> {
        self.metadata.annotations.as_ref().unwrap_or(&EMPTY_MAP)
    }
    fn is_deleting(&self) -> bool {
        self.metadata.deletion_timestamp.is_some()
    }
    fn is_terminal(&self) -> bool {
        let phase = self.status.as_ref().and_then(|s| s.phase.as_deref());
        matches!(phase, Some("Succeeded" | "Failed"))
    }
    fn grace_period_seconds(&self) -> i64 {
        let asked = self.metadata.deletion_grace_period_seconds.filter(|_| self.is_deleting());
        asked.or(self.pod_spec().termination_grace_period_seconds).unwrap_or(30).max(0)
    }
}

/// A sidecar is an init container that is restarted always and does not hold up the next one once started.
pub fn is_sidecar(container: &Container) -> bool {
    container.restart_policy.as_deref() == Some("Always")
}

/// Ephemeral containers have the same fields with some forbidden; one path starts both.
pub fn as_container(ephemeral: &EphemeralContainer) -> Container {
    let e = ephemeral.clone();
    Container {
        args: e.args,
        command: e.command,
        env: e.env,
        env_from: e.env_from,
        image: e.image,
        image_pull_policy: e.image_pull_policy,
        name: e.name,
        security_context: e.security_context,
        stdin: e.stdin,
        stdin_once: e.stdin_once,
        termination_message_path: e.termination_message_path,
        termination_message_policy: e.termination_message_policy,
        tty: e.tty,
        volume_devices: e.volume_devices,
        volume_mounts: e.volume_mounts,
        working_dir: e.working_dir,
        ..Container::default()
    }
}

fn qos_class(spec: &PodSpec) -> QosClass {
    let all = spec.containers.iter().chain(spec.init_containers.iter().flatten());
    let (mut any, mut guaranteed) = (false, true);
    for container in all {
        let resources = container.resources.clone().unwrap_or_default();
        let (requests, limits) = (resources.requests.unwrap_or_default(), resources.limits.unwrap_or_default());
        for name in ["cpu", "memory"] {
            let limit = limits.get(name).map(crate::resources::milli).filter(|v| *v > 0);
            let request = requests.get(name).map(crate::resources::milli).filter(|v| *v > 0).or(limit);
            any |= limit.is_some() || request.is_some();
            guaranteed &= limit.is_some() && request == limit;
        }
    }
    match (any, guaranteed) {
        (false, _) => QosClass::BestEffort,
        (true, true) => QosClass::Guaranteed,
        (true, false) => QosClass::Burstable,
    }
}

/// A file name below the pod's folder must not leave it. Names come validated from the API; static pods and
/// checkpoints come from files.
pub fn is_safe_name(name: &str) -> bool {
    !name.is_empty() && name != "." && name != ".." && !name.contains(['/', '\0'])
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn class(resources: &serde_json::Value) -> QosClass {
        let pod = json!({"spec": {"containers": [{"name": "a", "resources": resources}]}});
        serde_json::from_value::<Pod>(pod).expect("a pod").qos_class()
    }

    #[test]
    fn qos_follows_requests_and_limits() {
        let cases = [
            (json!({}), QosClass::BestEffort),
            (json!({"requests": {"cpu": "1"}}), QosClass::Burstable),
            (json!({"limits": {"cpu": "1", "memory": "1Mi"}}), QosClass::Guaranteed),
            (json!({"limits": {"cpu": "1"}}), QosClass::Burstable),
            (
                json!({"requests": {"cpu": "500m", "memory": "1Mi"}, "limits": {"cpu": "1", "memory": "1Mi"}}),
                QosClass::Burstable,
            ),
            (
                json!({"requests": {"cpu": "1000m", "memory": "1024Ki"}, "limits": {"cpu": "1", "memory": "1Mi"}}),
                QosClass::Guaranteed,
            ),
            (json!({"requests": {"cpu": "0"}}), QosClass::BestEffort),
        ];
        for (resources, expected) in cases {
            assert_eq!(class(&resources), expected, "{resources}");
        }
    }
}

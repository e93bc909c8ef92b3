//! What the runtime is told about a container.

use std::collections::BTreeMap;

use cri::v1;
use k8s_openapi::api::core::v1::{Container, Pod};

use super::env::expand;
use super::{sandbox, security};
use crate::names;
use crate::pod::PodExt as _;
use crate::resources;

/// Everything about one start that was worked out before.
pub struct Ingredients<'a> {
    pub pod: &'a Pod,
    pub container: &'a Container,
    pub restart_count: u32,
    pub image: &'a v1::Image,
    pub environment: Vec<(String, String)>,
    pub mounts: Vec<v1::Mount>,
    pub devices: Vec<v1::Device>,
    /// The container whose processes an ephemeral one is to see.
    pub target_id: String,
    /// The host's file for the termination message.
    pub termination_log: Option<String>,
    pub node_memory: i64,
}

/// A container is restarted when this changes: its name and image, as upstream counts it. What else may change in a
/// running pod (resources, probes) needs no restart. Also stable across our own versions.
pub fn container_hash(container: &Container) -> String {
    let text = serde_json::json!({"image": container.image, "name": container.name}).to_string();
    let fnv = text.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    format!("{fnv:x}")
}

/// Puts the ingredients together.
pub fn container_config(what: Ingredients<'_>) -> v1::ContainerConfig {
    let (pod, container) = (what.pod, what.container);
    let lookup = |name: &str| what.environment.iter().rev().find(|(n, _)| n == name).map(|(_, v)| v.clone());
    let expand_all = |list: &Option<Vec<String>>| list.iter().flatten().map(|t| expand(t, lookup)).collect();
    let mut mounts = what.mounts;
    if let Some(host_path) = &what.termination_log {
        mounts.push(v1::Mount {
            container_path: termination_path(container).to_owned(),
            host_path: host_path.clone(),
            ..Default::default()
        });
    }
    let name = container.name.clone();
    let mut labels = sandbox::pod_labels(pod);
    labels.insert(names::CONTAINER_NAME.to_owned(), name.clone());
    v1::ContainerConfig {
        metadata: Some(v1::ContainerMetadata { name: name.clone(), attempt: what.restart_count }),
        image: Some(v1::ImageSpec {
            image: what.image.id.clone(),
            user_specified_image: container.image.clone().unwrap_or_default(),
            ..Default::default()
        }),
        command: expand_all(&container.command),
        args: expand_all(&container.args),
        working_dir: container.working_dir.clone().unwrap_or_default(),
        annotations: annotations(pod, container, what.restart_count, what.termination_log.as_deref()),
        envs: what.environment.iter().map(|(k, v)| v1::KeyValue { key: k.clone(), value: v.clone() }).collect(),
        mounts,
        devices: what.devices,
        labels,
        log_path: format!("{name}/{}.log", what.restart_count),
        stdin: container.stdin.unwrap_or(false),
        stdin_once: container.stdin_once.unwrap_or(false),
        tty: container.tty.unwrap_or(false),
        linux: Some(v1::LinuxContainerConfig {
            resources: Some(resources::linux_resources(pod, container, what.node_memory)),
            security_context: Some(security::container_context(pod, container, what.image, &what.target_id)),
        }),
    }
}

pub fn termination_path(container: &Container) -> &str {
    container.termination_message_path.as_deref().unwrap_or(names::TERMINATION_MESSAGE_PATH_DEFAULT)
}

/// What must be known about a container when its pod is gone from the API, or when we are started anew.
fn annotations(
    pod: &Pod,
    container: &Container,
    restart_count: u32,
    termination_log: Option<&str>,
) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    let mut put = |key: &str, value: String| all.insert(key.to_owned(), value);
    put(names::CONTAINER_HASH, container_hash(container));
    put(names::RESTART_COUNT, restart_count.to_string());
    put(names::TERMINATION_MESSAGE_PATH, termination_path(container).to_owned());
    let policy = container.termination_message_policy.as_deref().unwrap_or("File");
    put(names::TERMINATION_MESSAGE_POLICY, policy.to_owned());
    if let Some(path) = termination_log {
        put(names::TERMINATION_MESSAGE_HOST_PATH, path.to_owned());
    }
    if let Some(grace) = pod.pod_spec().termination_grace_period_seconds {
        put(names::GRACE_PERIOD, grace.to_string());
    }
    if let Some(hook) = container.lifecycle.as_ref().and_then(|l| l.pre_stop.as_ref())
        && let Ok(text) = serde_json::to_string(hook)
    {
        put(names::PRE_STOP, text);
    }
    all
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_hash_never_changes() {
        let container: Container =
            serde_json::from_value(json!({"name": "a", "image": "busybox:1", "env": [{"name": "X"}]})).expect("one");
        // A different value here restarts every container of every node at an upgrade.
        assert_eq!(container_hash(&container), "4a1b2edf");
    }

    #[test]
    fn commands_are_expanded() {
        let pod: Pod = serde_json::from_value(json!({"metadata": {"name": "p"}, "spec": {"containers": [
            {"name": "a", "command": ["$(X)", "$$(X)"], "args": ["$(Y)"]}]}}))
        .expect("a pod");
        let config = container_config(Ingredients {
            pod: &pod,
            container: &pod.containers()[0],
            restart_count: 3,
            image: &v1::Image::default(),
            environment: vec![("X".into(), "1".into())],
            mounts: Vec::new(),
            devices: Vec::new(),
            target_id: String::new(),
            termination_log: None,
            node_memory: 1,
        });
        assert_eq!((config.command, config.args), (vec!["1".into(), "$(X)".into()], vec!["$(Y)".to_owned()]));
        assert_eq!(config.log_path, "a/3.log");
    }
}

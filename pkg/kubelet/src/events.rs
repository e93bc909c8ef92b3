//! Events about pods and the node, with upstream's reasons and texts.

use client::{EventType, ObjectReference, Recorder};
use k8s_openapi::api::core::v1::Pod;

use crate::pod::PodExt as _;

/// Emits Events; silent without an API server.
#[derive(Clone, Default)]
pub struct Events {
    recorder: Option<Recorder>,
    node: String,
}

impl Events {
    pub fn new(recorder: Option<Recorder>, node: &str) -> Self {
        Self { recorder, node: node.to_owned() }
    }

    pub fn pod(&self, pod: &Pod, kind: EventType, reason: &str, message: &str) {
        self.about(pod_reference(pod), kind, reason, message);
    }

    /// About one container of a pod.
    pub fn container(&self, pod: &Pod, container: &str, kind: EventType, reason: &str, message: &str) {
        let mut reference = pod_reference(pod);
        let field = if pod.init_containers().iter().any(|c| c.name == container) {
            "initContainers"
        } else if pod.ephemeral_containers().iter().any(|c| c.name == container) {
            "ephemeralContainers"
        } else {
            "containers"
        };
        reference.field_path = Some(format!("spec.{field}{{{container}}}"));
        self.about(reference, kind, reason, message);
    }

    pub fn node(&self, kind: EventType, reason: &str, message: &str) {
        let reference = ObjectReference {
            kind: Some("Node".to_owned()),
            name: Some(self.node.clone()),
            // The kubelet has always used the node's name here.
            uid: Some(self.node.clone()),
            ..ObjectReference::default()
        };
        self.about(reference, kind, reason, message);
    }

    fn about(&self, reference: ObjectReference, kind: EventType, reason: &str, message: &str) {
        match &self.recorder {
            Some(recorder) => recorder.event(&reference, kind, reason, message),
            None => tracing::info!(name = reference.name, reason, message, "event"),
        }
    }
}

fn pod_reference(pod: &Pod) -> ObjectReference {
    client::recorder::reference(pod)
}

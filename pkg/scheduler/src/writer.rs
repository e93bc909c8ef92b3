//! What the scheduler writes: bindings, conditions, nominations, evictions and Events.

use std::sync::Arc;

use client::{Client, EventType, ObjectReference, Recorder};
use http::Request;
use kube::core::Status;
use serde_json::{Value, json};

use crate::preemption::Nomination;
use crate::types::{DEFAULT_SCHEDULER, Pod};

/// Writes for the driver; cheap to clone into tasks.
#[derive(Clone)]
pub struct Writer {
    client: Client,
    recorder: Recorder,
}

pub fn reference(pod: &Pod) -> ObjectReference {
    ObjectReference {
        api_version: Some("v1".into()),
        kind: Some("Pod".into()),
        name: Some(pod.metadata.name.clone()),
        namespace: Some(pod.metadata.namespace.clone()),
        uid: Some(pod.metadata.uid.clone()),
        resource_version: Some(pod.metadata.resource_version.clone()),
        field_path: None,
    }
}

fn path(pod: &Pod) -> String {
    // Both names were checked by the API server and need no escaping.
    format!("/api/v1/namespaces/{}/pods/{}", pod.metadata.namespace, pod.metadata.name)
}

impl Writer {
    pub fn new(client: Client, recorder: Recorder) -> Self {
        Self { client, recorder }
    }

    /// Binds `pod` to `node`; a pod that is gone counts as bound, since there is nothing left to do.
    pub async fn bind(&self, pod: &Arc<Pod>, node: &str) -> Result<(), kube::Error> {
        let meta = &pod.metadata;
        let binding = json!({
            "apiVersion": "v1", "kind": "Binding",
            "metadata": {"name": meta.name, "namespace": meta.namespace, "uid": meta.uid},
            "target": {"apiVersion": "v1", "kind": "Node", "name": node},
        });
        let request = post(&format!("{}/binding", path(pod)), &binding)?;
        match self.client.request::<Status>(request).await {
            Ok(_) => {
                let text = format!("Successfully assigned {}/{} to {node}", meta.namespace, meta.name);
                self.recorder.event_with(&reference(pod), None, EventType::Normal, "Scheduled", "Binding", &text);
                Ok(())
            }
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Says why no node does: an Event, and the pod's `PodScheduled` condition.
    pub async fn unschedulable(&self, pod: &Arc<Pod>, reason: &str, message: &str, nominated: Option<&str>) {
        self.recorder.event_with(&reference(pod), None, EventType::Warning, "FailedScheduling", "Scheduling", message);
        let now = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let mut status = json!({"conditions": [{
            "type": "PodScheduled", "status": "False", "reason": reason, "message": message, "lastTransitionTime": now,
        }]});
        if let Some(node) = nominated {
            status["nominatedNodeName"] = node.into();
        }
        self.patch_status(pod, &status).await;
    }

    async fn patch_status(&self, pod: &Arc<Pod>, status: &Value) {
        let patch = json!({"metadata": {"uid": pod.metadata.uid}, "status": status});
        let request = Request::patch(format!("{}/status", path(pod)))
            .header("content-type", "application/strategic-merge-patch+json")
            .body(patch.to_string().into_bytes());
        let Ok(request) = request else { return };
        match self.client.request::<Value>(request).await {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.code == 404 || status.code == 409 => {}
            Err(error) => tracing::warn!(pod = %pod.metadata.name, %error, "the pod's condition could not be written"),
        }
    }

    /// Deletes the victims of a preemption, after saying so in their status.
    pub async fn evict(&self, pod: &Arc<Pod>, nomination: &Nomination) {
        for victim in &nomination.victims {
            let text = format!("Preempted by pod {} on node {}", pod.metadata.uid, nomination.node);
            let related = reference(pod);
            self.recorder.event_with(
                &reference(victim),
                Some(&related),
                EventType::Normal,
                "Preempted",
                "Preempting",
                &text,
            );
            let now = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
            let message = format!("{DEFAULT_SCHEDULER}: preempting to accommodate a higher priority pod");
            let condition = json!({"conditions": [{
                "type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler", "message": message,
                "lastTransitionTime": now,
            }]});
            self.patch_status(victim, &condition).await;
            let options = json!({"preconditions": {"uid": victim.metadata.uid}});
            let request = Request::delete(path(victim)).header("content-type", "application/json");
            let Ok(request) = request.body(options.to_string().into_bytes()) else { continue };
            match self.client.request::<Value>(request).await {
                Ok(_) => {}
                Err(kube::Error::Api(status)) if status.code == 404 || status.code == 409 => {}
                Err(error) => tracing::warn!(pod = %victim.metadata.name, %error, "a pod could not be preempted"),
            }
        }
    }
}

fn post(path: &str, body: &Value) -> Result<Request<Vec<u8>>, kube::Error> {
    Request::post(path)
        .header("content-type", "application/json")
        .body(body.to_string().into_bytes())
        .map_err(kube::Error::HttpError)
}

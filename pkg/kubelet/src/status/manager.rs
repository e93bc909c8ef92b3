//! Sending pod statuses: only what changed, one request at a time per pod, again after failures.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use component_base::Shutdown;
use k8s_openapi::api::core::v1::{Pod, PodStatus};
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use parking_lot::Mutex;
use serde_json::{Map, Value, json};
use tokio::sync::watch;

use super::conditions;
use crate::pod::PodExt as _;

const RETRY_FIRST: Duration = Duration::from_millis(500);
const RETRY_MAX: Duration = Duration::from_secs(10);
/// How long the end of a pod waits for its last status to be sent.
const FLUSH: Duration = Duration::from_secs(10);

struct Entry {
    status: watch::Sender<(Arc<Pod>, PodStatus)>,
    /// Counts what was sent: equal to the sender's version when all is.
    sent: watch::Sender<PodStatus>,
}

/// The statuses of all pods on the node.
pub struct Statuses {
    client: Option<client::Client>,
    shutdown: Shutdown,
    entries: Mutex<HashMap<String, Entry>>,
}

impl Statuses {
    pub fn new(client: Option<client::Client>, shutdown: Shutdown) -> Arc<Self> {
        Arc::new(Self { client, shutdown, entries: Mutex::default() })
    }

    /// The status is now this; it is sent if it differs from what was sent (or read) last.
    pub fn set(&self, pod: &Arc<Pod>, status: PodStatus) {
        let mut entries = self.entries.lock();
        if let Some(entry) = entries.get(pod.uid()) {
            entry.status.send_if_modified(|current| {
                let changed = current.1 != status;
                *current = (pod.clone(), status);
                changed
            });
            return;
        }
        let known = pod.status.clone().unwrap_or_default();
        let (sender, receiver) = watch::channel((pod.clone(), status));
        let sent = watch::Sender::new(known);
        if let Some(client) = self.client.clone() {
            let (shutdown, delivered) = (self.shutdown.clone(), sent.clone());
            self.shutdown.spawn(async move { shutdown.race(send(client, receiver, delivered)).await });
        }
        entries.insert(pod.uid().to_owned(), Entry { status: sender, sent });
    }

    pub fn get(&self, uid: &str) -> Option<PodStatus> {
        self.entries.lock().get(uid).map(|entry| entry.status.borrow().1.clone())
    }

    /// True where the node has taken the pod on.
    pub fn is_accepted(&self, pod: &Pod) -> bool {
        match self.get(pod.uid()) {
            Some(status) => {
                status.start_time.is_some() && !matches!(status.phase.as_deref(), Some("Failed" | "Succeeded"))
            }
            None => pod.status.as_ref().is_some_and(|s| s.start_time.is_some()),
        }
    }

    /// Waits, but not for ever, until the last status was sent.
    pub async fn flush(&self, uid: &str) {
        let Some((wanted, mut sent)) =
            self.entries.lock().get(uid).map(|e| (e.status.borrow().1.clone(), e.sent.subscribe()))
        else {
            return;
        };
        let _ = tokio::time::timeout(FLUSH, sent.wait_for(|sent| *sent == wanted)).await;
    }

    /// The object was made anew: its status is sent as a whole.
    pub fn resend(&self, uid: &str) {
        if let Some(entry) = self.entries.lock().get(uid) {
            entry.sent.send_replace(PodStatus::default());
            entry.status.send_modify(|_| {});
        }
    }

    pub fn forget(&self, uid: &str) {
        self.entries.lock().remove(uid);
    }
}

/// Sends one pod's statuses until it is forgotten.
async fn send(
    client: client::Client,
    mut wanted: watch::Receiver<(Arc<Pod>, PodStatus)>,
    sent: watch::Sender<PodStatus>,
) {
    let mut wait = RETRY_FIRST;
    loop {
        let (pod, status) = wanted.borrow_and_update().clone();
        let known = sent.borrow().clone();
        let delivered = match patch(&known, &status, &pod) {
            None => Ok(()),
            Some(body) => deliver(&client, &pod, &body).await,
        };
        match delivered {
            Ok(()) => {
                wait = RETRY_FIRST;
                sent.send_replace(status);
                if wanted.changed().await.is_err() {
                    return;
                }
            }
            Err(Failure::Gone) => {
                // Nobody to tell; a flush must not wait.
                sent.send_replace(status);
                if wanted.changed().await.is_err() {
                    return;
                }
            }
            Err(Failure::Retry(error)) => {
                tracing::debug!(pod = pod.describe(), error, "status was not sent; trying again");
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(RETRY_MAX);
                if wanted.has_changed().is_err() {
                    return;
                }
            }
        }
    }
}

enum Failure {
    Gone,
    Retry(String),
}

async fn deliver(client: &client::Client, pod: &Pod, body: &Value) -> Result<(), Failure> {
    let api: Api<Pod> = Api::namespaced(client.clone(), pod.namespace());
    match api.patch_status(pod.name(), &PatchParams::default(), &Patch::Strategic(body)).await {
        Ok(_) => Ok(()),
        // Another pod has the name by now, or none.
        Err(kube::Error::Api(status)) if status.code == 404 && pod.is_static() => {
            Err(Failure::Retry("its mirror pod is not there yet".to_owned()))
        }
        Err(kube::Error::Api(status)) if status.code == 404 => Err(Failure::Gone),
        Err(kube::Error::Api(status)) if status.code == 409 && is_gone(&api, pod).await => Err(Failure::Gone),
        Err(error) => Err(Failure::Retry(error.to_string())),
    }
}

/// Whether the server surely has this pod no more. A conflict alone does not tell: it may be with another writer.
async fn is_gone(api: &Api<Pod>, pod: &Pod) -> bool {
    match api.get_metadata_opt(pod.name()).await {
        Ok(Some(there)) => there.metadata.uid.as_deref() != Some(pod.uid()),
        Ok(None) => true,
        Err(_) => false,
    }
}

/// A strategic merge patch from `old` to `new`; `None` if nothing changed. Of the conditions only ours are written.
fn patch(old: &PodStatus, new: &PodStatus, pod: &Pod) -> Option<Value> {
    let tree = |status: &PodStatus| match serde_json::to_value(status) {
        Ok(Value::Object(map)) => map,
        _ => Map::new(),
    };
    let (mut old, mut new) = (tree(old), tree(new));
    let conditions = changed_conditions(old.remove("conditions"), new.remove("conditions"));
    let mut changes = Map::new();
    for (field, value) in &new {
        if old.get(field) != Some(value) {
            changes.insert(field.clone(), merged_list(field, old.get(field), value));
        }
    }
    for field in old.keys().filter(|field| !new.contains_key(*field)) {
        changes.insert(field.clone(), Value::Null);
    }
    if !conditions.is_empty() {
        changes.insert("conditions".to_owned(), Value::Array(conditions));
    }
    if changes.is_empty() {
        return None;
    }
    // The mirror of a static pod has a uid of its own.
    let metadata = if pod.is_static() { json!({}) } else { json!({"uid": pod.uid()}) };
    Some(json!({"metadata": metadata, "status": changes}))
}

/// These lists merge by address in a strategic patch: what is no longer in them must be deleted by name.
fn merged_list(field: &str, old: Option<&Value>, new: &Value) -> Value {
    let (Value::Array(items), true) = (new, field == "podIPs" || field == "hostIPs") else {
        return new.clone();
    };
    let gone = old.and_then(Value::as_array).into_iter().flatten().filter(|entry| !items.contains(entry));
    let deletions = gone.map(|entry| json!({"$patch": "delete", "ip": entry.get("ip")}));
    Value::Array(items.iter().cloned().chain(deletions).collect())
}

fn changed_conditions(old: Option<Value>, new: Option<Value>) -> Vec<Value> {
    let list = |value: Option<Value>| match value {
        Some(Value::Array(items)) => items,
        _ => Vec::new(),
    };
    let (old, new) = (list(old), list(new));
    let kind = |c: &Value| c.get("type").and_then(Value::as_str).unwrap_or_default().to_owned();
    let ours = |c: &Value| {
        let kind = kind(c);
        conditions::OWNED.contains(&kind.as_str())
            || !old.iter().any(|o| o.get("type").and_then(Value::as_str) == Some(&kind))
    };
    let is_pending = |c: &Value| c.get("type").and_then(Value::as_str) == Some(conditions::RESIZE_PENDING);
    let over = old.iter().any(is_pending) && !new.iter().any(is_pending);
    let removal = over.then(|| json!({"type": conditions::RESIZE_PENDING, "$patch": "delete"}));
    new.into_iter()
        .filter(|c| ours(c) || is_pending(c))
        .filter(|c| !old.contains(c))
        .map(|mut c| {
            // What an earlier condition said must not stay behind.
            if let Some(map) = c.as_object_mut() {
                for field in ["reason", "message"] {
                    map.entry(field).or_insert(Value::Null);
                }
            }
            c
        })
        .chain(removal)
        .collect()
}

/// Deletes the Pod object for good, if it is still the same pod. True when it is gone.
pub async fn confirm_deletion(client: &client::Client, pod: &Pod) -> bool {
    let api: Api<Pod> = Api::namespaced(client.clone(), pod.namespace());
    let parameters = DeleteParams {
        grace_period_seconds: Some(0),
        preconditions: Some(Preconditions { uid: Some(pod.uid().to_owned()), resource_version: None }),
        ..DeleteParams::default()
    };
    match api.delete(pod.name(), &parameters).await {
        Ok(_) => true,
        Err(kube::Error::Api(status)) if status.code == 404 => true,
        Err(kube::Error::Api(status)) if status.code == 409 && is_gone(&api, pod).await => true,
        Err(error) => {
            tracing::warn!(pod = pod.describe(), %error, "the pod's end was not confirmed; trying again");
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(value: Value) -> PodStatus {
        serde_json::from_value(value).expect("a status")
    }

    #[test]
    fn only_changes_are_sent_and_foreign_conditions_stay() {
        let pod: Pod = serde_json::from_value(json!({"metadata": {"uid": "u"}})).expect("a pod");
        let scheduled = json!({"type": "PodScheduled", "status": "True"});
        let old =
            status(json!({"phase": "Pending", "message": "m", "podIPs": [{"ip": "1.1.1.1"}], "conditions": [scheduled,
            {"type": "Ready", "status": "False", "reason": "ContainersNotReady"}]}));
        let new = status(json!({"phase": "Running", "podIPs": [{"ip": "1.2.3.4"}], "conditions": [
            {"type": "Ready", "status": "True"}, {"type": "PodScheduled", "status": "False"}]}));
        let sent = patch(&old, &new, &pod).expect("a patch");
        let expected = json!({"metadata": {"uid": "u"}, "status": {
            "phase": "Running", "message": null, "podIPs": [{"ip": "1.2.3.4"}, {"$patch": "delete", "ip": "1.1.1.1"}],
            "conditions": [{"type": "Ready", "status": "True", "reason": null, "message": null}]}});
        assert_eq!(sent, expected);
        assert_eq!(patch(&new, &new, &pod), None);
    }
}

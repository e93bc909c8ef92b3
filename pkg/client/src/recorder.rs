//! Events: what people read in `kubectl describe`. Repeats of an event become a count on the first one, floods about one
//! object are combined and cut, and a slow server never makes a loop wait: what does not fit the queue is dropped.
//!
//! Upstream's components write two shapes: `v1` (controllers, kubelet) and `events.k8s.io/v1` (scheduler, kube-proxy).

mod correlate;

use std::time::Duration;

use component_base::Shutdown;
use http::Request;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Client;
use serde_json::{Value, json};
use tokio::sync::mpsc;

pub use k8s_openapi::api::core::v1::ObjectReference;

use correlate::{Correlator, Verdict};

/// Events that wait to be sent.
const QUEUE: usize = 1000;
const ATTEMPTS: u32 = 5;
const RETRY_DELAY: Duration = Duration::from_secs(1);
/// How long a process that ends waits for its last Events.
const DRAIN: Duration = Duration::from_secs(1);
/// A note is cut here, as upstream's validation of `events.k8s.io/v1` has it.
const NOTE_BYTES_MAX: usize = 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EventType {
    Normal,
    Warning,
}

impl EventType {
    fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "Normal",
            Self::Warning => "Warning",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    Core,
    Events,
}

/// One occurrence, as a loop reports it.
#[derive(Clone, Debug)]
struct Occurrence {
    regarding: ObjectReference,
    related: Option<ObjectReference>,
    kind: EventType,
    reason: String,
    action: String,
    message: String,
    at: Timestamp,
    annotations: Vec<(String, String)>,
}

/// Emits Events under one component's name. Cheap to clone.
#[derive(Clone)]
pub struct Recorder {
    sender: mpsc::Sender<Occurrence>,
}

/// Who reports: goes into `source`/`reportingController` and `reportingInstance`.
#[derive(Clone, Debug)]
struct Reporter {
    shape: Shape,
    component: String,
    host: String,
}

impl Recorder {
    /// Writes `v1` Events, as controllers and the kubelet do. `host` is empty for controllers.
    pub fn new(client: Client, component: &str, host: &str, shutdown: &Shutdown) -> Self {
        Self::start(client, Reporter { shape: Shape::Core, component: component.into(), host: host.into() }, shutdown)
    }

    /// Writes `events.k8s.io/v1` Events, as the scheduler does. `host` makes the instance name.
    pub fn events_v1(client: Client, component: &str, host: &str, shutdown: &Shutdown) -> Self {
        Self::start(client, Reporter { shape: Shape::Events, component: component.into(), host: host.into() }, shutdown)
    }

    fn start(client: Client, reporter: Reporter, shutdown: &Shutdown) -> Self {
        let (sender, receiver) = mpsc::channel(QUEUE);
        let stop = shutdown.clone();
        shutdown.spawn(write_events(client, reporter, receiver, stop));
        Self { sender }
    }

    /// Reports an Event; never waits.
    pub fn event(&self, regarding: &ObjectReference, kind: EventType, reason: &str, message: &str) {
        self.event_with(regarding, None, kind, reason, "", message);
    }

    /// The same with the further fields of `events.k8s.io/v1`.
    pub fn event_with(
        &self,
        regarding: &ObjectReference,
        related: Option<&ObjectReference>,
        kind: EventType,
        reason: &str,
        action: &str,
        message: &str,
    ) {
        let occurrence = Occurrence {
            regarding: regarding.clone(),
            related: related.cloned(),
            kind,
            reason: reason.into(),
            action: action.into(),
            message: message.into(),
            at: Timestamp::now(),
            annotations: Vec::new(),
        };
        if self.sender.try_send(occurrence).is_err() {
            tracing::debug!(reason, "Event dropped: too many are waiting");
        }
    }
}

/// A reference to an object as Events have it. (Objects out of a list have no `kind` of their own; the type knows it.)
pub fn reference<K: k8s_openapi::Metadata<Ty = ObjectMeta>>(object: &K) -> ObjectReference {
    let metadata = object.metadata();
    ObjectReference {
        api_version: Some(K::API_VERSION.into()),
        kind: Some(K::KIND.into()),
        namespace: metadata.namespace.clone(),
        name: metadata.name.clone(),
        uid: metadata.uid.clone(),
        resource_version: metadata.resource_version.clone(),
        field_path: None,
    }
}

async fn write_events(
    client: Client,
    reporter: Reporter,
    mut receiver: mpsc::Receiver<Occurrence>,
    shutdown: Shutdown,
) {
    let mut correlator = Correlator::default();
    while let Some(Some(occurrence)) = shutdown.race(receiver.recv()).await {
        write_one(&client, &reporter, &mut correlator, occurrence).await;
    }
    let drain = async {
        while let Ok(occurrence) = receiver.try_recv() {
            write_one(&client, &reporter, &mut correlator, occurrence).await;
        }
    };
    // At the end what can be sent soon is sent; the rest is lost, as Events may be.
    let _ = tokio::time::timeout(DRAIN, drain).await;
}

async fn write_one(client: &Client, reporter: &Reporter, correlator: &mut Correlator, mut occurrence: Occurrence) {
    cut(&mut occurrence.message, NOTE_BYTES_MAX);
    let namespace = occurrence.regarding.namespace.clone().unwrap_or_else(|| "default".into());
    let verdict = correlator.judge(&mut occurrence);
    let Verdict::Write { key, repeat } = verdict else { return };
    if let Some(repeat) = repeat {
        if reporter.shape == Shape::Events && !repeat.count.is_power_of_two() {
            // A series is brought up to date ever more rarely.
            return;
        }
        let path = format!("{}/{}", collection(reporter.shape, &namespace), repeat.name);
        match patch(client, &path, &repeat_body(reporter.shape, &occurrence, repeat.count)).await {
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            _ => return,
        }
    }
    let name =
        format!("{}.{:x}", occurrence.regarding.name.as_deref().unwrap_or("unknown"), occurrence.at.as_nanosecond());
    let body = body(reporter, &occurrence, &namespace, &name);
    if create(client, &collection(reporter.shape, &namespace), &body).await {
        correlator.written(*key, name);
    }
}

fn collection(shape: Shape, namespace: &str) -> String {
    match shape {
        Shape::Core => format!("/api/v1/namespaces/{namespace}/events"),
        Shape::Events => format!("/apis/events.k8s.io/v1/namespaces/{namespace}/events"),
    }
}

fn cut(text: &mut String, bytes_max: usize) {
    if text.len() <= bytes_max {
        return;
    }
    let end = (0..=bytes_max).rev().find(|i| text.is_char_boundary(*i)).unwrap_or(0);
    text.truncate(end);
}

fn seconds(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

fn micros(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string()
}

fn body(reporter: &Reporter, o: &Occurrence, namespace: &str, name: &str) -> Value {
    let mut metadata = json!({ "name": name, "namespace": namespace });
    if !o.annotations.is_empty() {
        metadata["annotations"] = o.annotations.iter().map(|(k, v)| (k.clone(), Value::from(v.as_str()))).collect();
    }
    let mut body = match reporter.shape {
        Shape::Core => json!({
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": metadata,
            "involvedObject": o.regarding,
            "reason": o.reason,
            "message": o.message,
            "source": { "component": reporter.component },
            "firstTimestamp": seconds(o.at),
            "lastTimestamp": seconds(o.at),
            "count": 1,
            "type": o.kind.as_str(),
            "reportingComponent": reporter.component,
            "reportingInstance": reporter.host,
        }),
        Shape::Events => json!({
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": metadata,
            "eventTime": micros(o.at),
            "regarding": o.regarding,
            "reason": o.reason,
            "action": o.action,
            "note": o.message,
            "type": o.kind.as_str(),
            "reportingController": reporter.component,
            "reportingInstance": format!("{}-{}", reporter.component, reporter.host),
        }),
    };
    if reporter.shape == Shape::Core && !reporter.host.is_empty() {
        body["source"]["host"] = reporter.host.as_str().into();
    }
    if let Some(related) = &o.related {
        body["related"] = json!(related);
    }
    body
}

fn repeat_body(shape: Shape, o: &Occurrence, count: u32) -> Value {
    match shape {
        Shape::Core => json!({ "count": count, "lastTimestamp": seconds(o.at), "message": o.message }),
        Shape::Events => json!({ "series": { "count": count, "lastObservedTime": micros(o.at) } }),
    }
}

async fn patch(client: &Client, path: &str, body: &Value) -> Result<Value, kube::Error> {
    let request =
        Request::patch(path).header("content-type", "application/merge-patch+json").body(body.to_string().into());
    client.request(request.map_err(kube::Error::HttpError)?).await
}

/// True if the Event was written. Refusals (a namespace that is going away, no permission) are final; an unreachable
/// server is tried again a few times.
async fn create(client: &Client, path: &str, body: &Value) -> bool {
    for attempt in 1..=ATTEMPTS {
        let request = Request::post(path).header("content-type", "application/json").body(body.to_string().into());
        let outcome = match request {
            Ok(request) => client.request::<Value>(request).await,
            Err(error) => Err(kube::Error::HttpError(error)),
        };
        match outcome {
            Ok(_) => return true,
            Err(kube::Error::Api(status)) if status.code < 500 && status.code != 429 => {
                tracing::debug!(reason = %body["reason"], error = %status.message, "Event refused");
                return false;
            }
            Err(error) if attempt == ATTEMPTS => tracing::debug!(%error, "Event not written"),
            Err(_) => tokio::time::sleep(RETRY_DELAY).await,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_shapes() {
        let at: Timestamp = "2026-01-02T03:04:05.1234567Z".parse().unwrap();
        let regarding = ObjectReference { name: Some("web".into()), ..Default::default() };
        let occurrence = Occurrence {
            regarding,
            related: None,
            kind: EventType::Normal,
            reason: "Scheduled".into(),
            action: "Binding".into(),
            message: "Successfully assigned default/web to n1".into(),
            at,
            annotations: Vec::new(),
        };
        let core = Reporter { shape: Shape::Core, component: "kubelet".into(), host: "n1".into() };
        let body_core = body(&core, &occurrence, "default", "web.1");
        assert_eq!(body_core["firstTimestamp"], "2026-01-02T03:04:05Z");
        assert_eq!(body_core["source"], json!({ "component": "kubelet", "host": "n1" }));
        let events = Reporter { shape: Shape::Events, component: "default-scheduler".into(), host: "h".into() };
        let body_events = body(&events, &occurrence, "default", "web.1");
        assert_eq!(body_events["eventTime"], "2026-01-02T03:04:05.123456Z");
        assert_eq!(body_events["reportingInstance"], "default-scheduler-h");
    }

    #[test]
    fn long_notes_are_cut_at_a_character() {
        let mut text = "ä".repeat(600);
        cut(&mut text, NOTE_BYTES_MAX);
        assert_eq!(text.len(), 1024);
        let mut text = format!("x{}", "ä".repeat(600));
        cut(&mut text, NOTE_BYTES_MAX);
        assert_eq!(text.len(), 1023);
    }
}

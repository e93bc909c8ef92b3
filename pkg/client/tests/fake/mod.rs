//! A scripted HTTP service: each request takes the next recorded answer, so that faults come exactly where a test wants.
//! And what its answers are made of.

#![allow(clippy::unwrap_used, reason = "test code: a poisoned lock is a failed test")]
#![allow(dead_code, reason = "not every test needs all of it")]

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use client::Change;
use futures::StreamExt as _;
use futures::stream::{self, BoxStream};
use http::{Request, Response};
use http_body::Frame;
use http_body_util::StreamBody;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};

type Chunk = Result<Frame<Bytes>, std::io::Error>;
type Answer = Response<StreamBody<BoxStream<'static, Chunk>>>;

pub enum Step {
    /// A whole answer.
    Json(u16, String),
    /// A watch: these lines, then the server's orderly end.
    Watch(Vec<String>),
    /// A watch: these lines, then the connection breaks.
    Broken(Vec<String>),
    /// A watch: these lines, then silence.
    Open(Vec<String>),
    /// No answer at all: the connection fails.
    Refused,
}

#[derive(Clone, Default)]
pub struct Script {
    steps: Arc<Mutex<VecDeque<Step>>>,
    pub seen: Arc<Mutex<Vec<String>>>,
}

impl Script {
    pub fn new(steps: impl IntoIterator<Item = Step>) -> Self {
        Self { steps: Arc::new(Mutex::new(steps.into_iter().collect())), seen: Arc::default() }
    }

    pub fn client(&self) -> Client {
        let script = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let answer = script.answer(&request);
            async move { answer }
        });
        client::in_process(service, "default")
    }

    /// Requests so far, without the random watch timeout.
    pub fn requests(&self) -> Vec<String> {
        let cut = |uri: &String| uri.split("&timeoutSeconds=").next().unwrap_or("").to_owned();
        self.seen.lock().unwrap().iter().map(cut).collect()
    }

    fn answer(&self, request: &Request<Body>) -> Result<Answer, std::io::Error> {
        self.seen.lock().unwrap().push(request.uri().to_string());
        let step = self.steps.lock().unwrap().pop_front();
        let (code, body): (u16, BoxStream<'static, Chunk>) = match step {
            Some(Step::Json(code, text)) => (code, lines(vec![text]).boxed()),
            Some(Step::Watch(events)) => (200, lines(events).boxed()),
            Some(Step::Broken(events)) => {
                let broken = stream::once(async { Err(std::io::Error::other("connection reset")) });
                (200, lines(events).chain(broken).boxed())
            }
            Some(Step::Open(events)) => (200, lines(events).chain(stream::pending()).boxed()),
            Some(Step::Refused) => return Err(std::io::Error::other("connection refused")),
            None => (200, stream::pending().boxed()),
        };
        let response = Response::builder().status(code).body(StreamBody::new(body));
        response.map_err(std::io::Error::other)
    }
}

fn lines(lines: Vec<String>) -> impl futures::Stream<Item = Chunk> + Send + 'static {
    stream::iter(lines.into_iter().map(|line| Ok(Frame::data(Bytes::from(line + "\n")))))
}

pub fn map(name: &str, revision: u64) -> Value {
    json!({ "metadata": { "namespace": "ns", "name": name, "uid": name, "resourceVersion": revision.to_string() } })
}

pub fn list(revision: u64, items: &[Value]) -> Step {
    Step::Json(200, json!({ "metadata": { "resourceVersion": revision.to_string() }, "items": items }).to_string())
}

pub fn event(kind: &str, object: Value) -> String {
    json!({ "type": kind, "object": object }).to_string()
}

pub fn gone() -> Value {
    json!({ "kind": "Status", "status": "Failure", "code": 410, "reason": "Expired", "message": "too old resource version" })
}

/// `+a@1` an addition, `~a@2` an update, `-a@3` a deletion with its last revision.
pub fn describe(change: &Change<ConfigMap>) -> String {
    let revision =
        |o: &Option<Arc<ConfigMap>>| o.as_ref().and_then(|o| o.metadata.resource_version.clone()).unwrap_or_default();
    let name = &change.key.name;
    match (&change.old, &change.new) {
        (None, Some(_)) => format!("+{name}@{}", revision(&change.new)),
        (Some(_), Some(_)) => format!("~{name}@{}", revision(&change.new)),
        (_, None) => format!("-{name}@{}", revision(&change.old)),
    }
}

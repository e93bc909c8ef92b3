//! Leader election against one Lease that honours resourceVersion, in paused time.

#![allow(clippy::unwrap_used, reason = "helpers of tests, too")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use client::election::{Election, Timings, run};
use component_base::Shutdown;
use futures::StreamExt as _;
use http::{Method, Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

type Answer = Response<UnsyncBoxBody<bytes::Bytes, std::io::Error>>;

/// The Lease, and switches for what goes wrong.
#[derive(Clone)]
struct Server {
    lease: Arc<watch::Sender<Option<Value>>>,
    unreachable: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn new() -> Self {
        Self { lease: Arc::new(watch::Sender::new(None)), unreachable: Arc::default() }
    }

    fn client(&self, who: &'static str) -> Client {
        let server = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let server = server.clone();
            async move { server.answer(who, request).await }
        });
        client::in_process(service, "default")
    }

    fn holder(&self) -> String {
        let lease = self.lease.borrow();
        lease.as_ref().and_then(|l| l["spec"]["holderIdentity"].as_str()).unwrap_or("").to_owned()
    }

    async fn answer(&self, who: &str, request: Request<Body>) -> Result<Answer, std::io::Error> {
        if self.unreachable.lock().unwrap().iter().any(|name| name == who) {
            return Err(std::io::Error::other("unreachable"));
        }
        let uri = request.uri().to_string();
        let method = request.method().clone();
        let bytes = request.into_body().collect().await.map_err(std::io::Error::other)?.to_bytes();
        let sent: Value = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        if uri.contains("watch=true") {
            return Ok(self.watch());
        }
        if method == Method::GET && uri.contains('?') && !uri.contains("/main?") {
            let current = self.lease.borrow().clone();
            let items: Vec<Value> = current.into_iter().collect();
            return Ok(answer(200, &json!({ "metadata": { "resourceVersion": "1" }, "items": items })));
        }
        let mut outcome = answer(404, &status(404, "NotFound"));
        self.lease.send_modify(|slot| {
            let revision =
                slot.as_ref().map_or(0, |l| l["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap());
            let next = |mut lease: Value| {
                lease["metadata"]["resourceVersion"] = (revision + 1_u64).to_string().into();
                lease
            };
            outcome = match (&method, slot.as_ref()) {
                (&Method::GET, Some(lease)) => answer(200, lease),
                (&Method::POST, Some(_)) => answer(409, &status(409, "AlreadyExists")),
                (&Method::POST, None) => {
                    let lease = next(sent);
                    *slot = Some(lease.clone());
                    answer(201, &lease)
                }
                (&Method::PUT, Some(lease))
                    if lease["metadata"]["resourceVersion"] != sent["metadata"]["resourceVersion"] =>
                {
                    answer(409, &status(409, "Conflict"))
                }
                (&Method::PUT, Some(_)) => {
                    let lease = next(sent);
                    *slot = Some(lease.clone());
                    answer(200, &lease)
                }
                _ => answer(404, &status(404, "NotFound")),
            };
        });
        Ok(outcome)
    }

    fn watch(&self) -> Answer {
        let receiver = self.lease.subscribe();
        let events = futures::stream::unfold(receiver, |mut receiver| async move {
            receiver.changed().await.ok()?;
            let lease = receiver.borrow_and_update().clone();
            let line = lease.map(|l| json!({ "type": "MODIFIED", "object": l }).to_string() + "\n").unwrap_or_default();
            Some((Ok::<_, std::io::Error>(http_body::Frame::data(bytes::Bytes::from(line))), receiver))
        });
        Response::new(StreamBody::new(events.boxed()).boxed_unsync())
    }
}

fn status(code: u16, reason: &str) -> Value {
    json!({ "kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": reason })
}

fn answer(code: u16, body: &Value) -> Answer {
    let body = Full::new(bytes::Bytes::from(body.to_string())).map_err(|never| match never {});
    let mut response = Response::new(body.boxed_unsync());
    *response.status_mut() = code.try_into().unwrap();
    response
}

struct Candidate {
    shutdown: Shutdown,
    leads: watch::Receiver<bool>,
}

fn candidate(server: &Server, name: &'static str) -> Candidate {
    let shutdown = Shutdown::new();
    let (sender, leads) = watch::channel(false);
    let sender = Arc::new(sender);
    let election = Election::new("main", name, Timings::default());
    let task = run(server.client(name), election, shutdown.clone(), move |term: Shutdown| {
        let sender = sender.clone();
        async move {
            sender.send_replace(true);
            term.triggered().await;
            sender.send_replace(false);
        }
    });
    shutdown.spawn(task);
    Candidate { shutdown, leads }
}

impl Candidate {
    async fn until(&mut self, leads: bool) {
        timeout(Duration::from_secs(120), self.leads.wait_for(|l| *l == leads)).await.unwrap().unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn one_leads_and_the_other_follows_at_once_after_release() {
    let server = Server::new();
    let mut a = candidate(&server, "a");
    a.until(true).await;
    let mut b = candidate(&server, "b");
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(*a.leads.borrow() && !*b.leads.borrow());
    let start = Instant::now();
    a.shutdown.trigger();
    b.until(true).await;
    assert!(!*a.leads.borrow(), "the loops ended before the lease was given up");
    assert!(start.elapsed() < Duration::from_secs(1), "took {:?}", start.elapsed());
    assert_eq!(server.lease.borrow().as_ref().unwrap()["spec"]["leaseTransitions"], 1);
}

#[tokio::test(start_paused = true)]
async fn a_cut_off_leader_stops_before_another_takes_over() {
    let server = Server::new();
    let mut a = candidate(&server, "a");
    a.until(true).await;
    let mut b = candidate(&server, "b");
    tokio::time::sleep(Duration::from_secs(5)).await;
    let start = Instant::now();
    server.unreachable.lock().unwrap().push("a".into());
    a.until(false).await;
    let stopped = start.elapsed();
    assert!(!*b.leads.borrow());
    b.until(true).await;
    assert!(stopped <= Duration::from_secs(13), "stopped after {stopped:?}");
    let took_over = start.elapsed();
    // 15 s after the last renewal, which was up to 5 s before the cut.
    assert!(took_over >= Duration::from_secs(10) && took_over <= Duration::from_secs(18), "after {took_over:?}");
    // Back again, the first one follows.
    server.unreachable.lock().unwrap().clear();
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(!*a.leads.borrow() && *b.leads.borrow());
    assert_eq!(server.holder(), "b");
}

#[tokio::test(start_paused = true)]
async fn a_stranger_touching_the_lease_does_not_end_the_term() {
    let server = Server::new();
    let mut a = candidate(&server, "a");
    a.until(true).await;
    server.lease.send_modify(|slot| {
        let lease = slot.as_mut().unwrap();
        lease["metadata"]["labels"] = json!({ "team": "x" });
        lease["metadata"]["resourceVersion"] = "100".into();
    });
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert!(*a.leads.borrow());
    assert_eq!(server.lease.borrow().as_ref().unwrap()["metadata"]["labels"]["team"], "x");
}

//! The loop between an API server that is played and a real kernel.

#![allow(clippy::unwrap_used, reason = "a failed expectation is what a test is for")]

mod spaces;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use client::{Client, Informers, Recorder};
use component_base::Shutdown;
use futures::stream::{self, BoxStream, StreamExt as _};
use http::{Method, Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use kube::client::Body;
use overlay::peer::{BACKEND_DATA, PUBLIC_IP, announcement};
use overlay::{Backend, DEVICE, PROTOCOL, Uplink};
use serde_json::{Value, json};
use spaces::{Space, privileged};
use tokio::sync::watch;

const PATIENCE: Duration = Duration::from_secs(10);

type Stream = BoxStream<'static, Result<Frame<Bytes>, Infallible>>;

/// Nodes, and everything that was ever told of them.
#[derive(Default)]
struct State {
    nodes: BTreeMap<String, Value>,
    /// Events of the watch; the resourceVersion of each is its place, counted from one.
    told: Vec<String>,
    /// Bodies of the Events that were reported.
    events: Vec<Value>,
}

#[derive(Clone)]
struct Server {
    state: Arc<Mutex<State>>,
    grown: Arc<watch::Sender<usize>>,
}

impl Server {
    fn new() -> Self {
        Self { state: Arc::default(), grown: Arc::new(watch::Sender::new(0)) }
    }

    /// Makes or changes a Node.
    fn put(&self, name: &str, range: &str, annotations: &BTreeMap<&str, String>) {
        self.change(name, |known| {
            let mut node =
                known.unwrap_or_else(|| json!({ "metadata": { "name": name, "uid": name, "annotations": {} } }));
            node["spec"]["podCIDR"] = range.into();
            for (key, value) in annotations {
                node["metadata"]["annotations"][key] = value.clone().into();
            }
            Some(node)
        });
    }

    /// A peer as it announces itself.
    fn put_peer(&self, name: &str, range: &str, address: &str) {
        let mac = netlink::Mac::of(range.split_once('/').unwrap().0.parse().unwrap());
        self.put(name, range, &announcement(Backend::Vxlan, address.parse().unwrap(), Some(mac)));
    }

    fn change(&self, name: &str, work: impl FnOnce(Option<Value>) -> Option<Value>) -> Option<Value> {
        let mut state = self.state.lock().unwrap();
        let old = state.nodes.remove(name);
        let new = work(old.clone());
        let version = (state.told.len() + 1).to_string();
        let kind = match (&old, &new) {
            (_, None) => "DELETED",
            (None, _) => "ADDED",
            _ => "MODIFIED",
        };
        let mut told = new.clone().or(old).unwrap();
        told["metadata"]["resourceVersion"] = version.into();
        state.told.push(json!({ "type": kind, "object": told }).to_string() + "\n");
        if new.is_some() {
            state.nodes.insert(name.to_owned(), told.clone());
        }
        self.grown.send_replace(state.told.len());
        new.map(|_| told)
    }

    fn annotation(&self, node: &str, key: &str) -> String {
        let state = self.state.lock().unwrap();
        state.nodes[node]["metadata"]["annotations"][key].as_str().unwrap_or_default().to_owned()
    }

    fn client(&self) -> Client {
        let server = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let server = server.clone();
            async move { Ok::<_, Infallible>(server.answer(request).await) }
        });
        client::in_process(service, "default")
    }

    async fn answer(&self, request: Request<Body>) -> Response<StreamBody<Stream>> {
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let query = request.uri().query().unwrap_or_default().to_owned();
        let body = request.into_body().collect().await.unwrap().to_bytes();
        let body: Value = serde_json::from_slice(&body).unwrap_or_default();
        let stream = match (method, path.rsplit('/').next().unwrap_or_default()) {
            (Method::GET, "nodes") if query.contains("watch") => self.watch(&query),
            (Method::GET, "nodes") => {
                let state = self.state.lock().unwrap();
                let items: Vec<_> = state.nodes.values().collect();
                let metadata = json!({ "resourceVersion": state.told.len().to_string() });
                once(&json!({ "kind": "NodeList", "apiVersion": "v1", "metadata": metadata, "items": items }))
            }
            (Method::PATCH, name) => {
                let patched = self.change(name, |known| {
                    let mut node = known.unwrap();
                    for (key, value) in body["metadata"]["annotations"].as_object().unwrap() {
                        node["metadata"]["annotations"][key] = value.clone();
                    }
                    Some(node)
                });
                once(&patched.unwrap())
            }
            (_, _) => {
                self.state.lock().unwrap().events.push(body.clone());
                once(&body)
            }
        };
        Response::new(StreamBody::new(stream))
    }

    /// What is told after a resourceVersion, as it comes.
    fn watch(&self, query: &str) -> Stream {
        let version = query.split('&').find_map(|part| part.strip_prefix("resourceVersion=")).unwrap();
        let from: usize = version.parse().unwrap();
        let (state, grown) = (self.state.clone(), self.grown.subscribe());
        stream::unfold((from, state, grown), |(next, state, mut grown)| async move {
            grown.wait_for(|length| *length > next).await.ok()?;
            let line = state.lock().unwrap().told[next].clone();
            Some((Ok(Frame::data(Bytes::from(line))), (next + 1, state, grown)))
        })
        .boxed()
    }
}

fn once(value: &Value) -> Stream {
    let frame = Frame::data(Bytes::from(value.to_string()));
    stream::once(async { Ok(frame) }).boxed()
}

/// Waits until something holds.
async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !holds().await {
            // Between two looks at the kernel.
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("in vain: {what}"));
}

#[test]
fn nodes_are_followed_and_what_others_break_is_mended() {
    if !privileged() {
        return;
    }
    let space = Space::new("follow");
    space.ip("link add eth0 type veth peer name other");
    space.ip("addr add 192.0.2.1/24 dev eth0");
    space.ip("link set eth0 up");
    let server = Server::new();
    space.within(async || {
        let shutdown = Shutdown::new();
        let client = server.client();
        let config = overlay::Config {
            informers: Informers::new(client.clone(), shutdown.clone()),
            client: client.clone(),
            recorder: Recorder::new(client, "overlay", "own", &shutdown),
            node_name: "own".into(),
            backend: Backend::Vxlan,
            uplink: Uplink::Address([192, 0, 2, 1].into()),
        };
        server.put_peer("peer", "10.97.2.0/24", "192.0.2.2");
        let running = tokio::spawn(overlay::run(config, shutdown.clone()));
        let kernel = netlink::Netlink::open().unwrap();
        let leads_to = async |range: &str| {
            let routes = kernel.routes_of(PROTOCOL).await.unwrap();
            routes.iter().any(|route| route.range.to_string() == range)
        };
        let device = async || kernel.find(DEVICE).await.unwrap().map(|link| link.index);

        // Nothing happens before the node has a range of its own.
        server.put("own", "", &BTreeMap::new());
        server.put("own", "10.97.1.0/24", &BTreeMap::new());
        until("the way to a peer", async || leads_to("10.97.2.0/24").await).await;
        until("the announcement", async || server.annotation("own", PUBLIC_IP) == "192.0.2.1").await;
        assert_eq!(server.annotation("own", BACKEND_DATA), r#"{"VNI":1,"VtepMAC":"0a:58:0a:61:01:00"}"#);

        server.put_peer("late", "10.97.3.0/24", "192.0.2.3");
        until("the way to a late peer", async || leads_to("10.97.3.0/24").await).await;

        space.ip(&format!("route del 10.97.2.0/24 proto {PROTOCOL}"));
        until("the way that somebody removed", async || leads_to("10.97.2.0/24").await).await;
        let before = device().await;
        space.ip(&format!("link del {DEVICE}"));
        until("the device that somebody removed", async || {
            let now = device().await;
            now.is_some() && now != before && leads_to("10.97.2.0/24").await && leads_to("10.97.3.0/24").await
        })
        .await;

        server.put_peer("double", "10.97.4.0/24", "192.0.2.1");
        until("the warning", async || {
            let state = server.state.lock().unwrap();
            state.events.iter().any(|event| {
                let text = event["message"].as_str().unwrap_or_default();
                event["reason"] == "PodNetworkUnreachable"
                    && text.contains("node double announces this node's own address")
            })
        })
        .await;
        assert!(!leads_to("10.97.4.0/24").await);

        server.change("peer", |_| None);
        until("the end of a peer", async || !leads_to("10.97.2.0/24").await).await;
        // Its own object may go for a moment; and the loop's end leaves everything in place.
        server.change("own", |_| None);
        server.put("own", "10.97.1.0/24", &BTreeMap::new());
        until("the announcement again", async || server.annotation("own", PUBLIC_IP) == "192.0.2.1").await;
        assert!(leads_to("10.97.3.0/24").await);
        shutdown.trigger();
        running.await.unwrap().unwrap();
        assert!(leads_to("10.97.3.0/24").await && device().await.is_some());
    });
}

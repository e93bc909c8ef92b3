//! A whole API server over a real store in a temporary directory, called without a network.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use apimachinery::UserInfo;
use apiserver::reader::{AdmissionReader, Permissions};
use apiserver::{ChainHook, Config, InProcess, Server};
use auth::authn::{Authenticator, BearerToken, StaticTokens, Union, X509};
use auth::authz::{Authorizer, PrivilegedGroups};
use auth::rbac::Policy;
use auth::token::{DEFAULT_ISSUER, Issuer};
use bytes::Bytes;
use component_base::Shutdown;
use component_base::clock::SystemClock;
use futures::StreamExt as _;
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use pki::{Options, Pki};
use registry::{Registry, ServiceOptions};
use serde_json::Value;
use tempfile::TempDir;
use tower::Service as _;

/// No test waits longer than this for anything.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub struct Api {
    pub server: Server,
    pub pki: Pki,
    pub user: UserInfo,
    pub shutdown: Shutdown,
    _dir: Arc<TempDir>,
}

/// Stands in for what a process knows of its peers: answers say what was asked for.
struct FakeHost(String);

#[async_trait::async_trait]
impl apiserver::Joining for FakeHost {
    fn authority(&self) -> String {
        self.0.clone()
    }

    fn config(&self) -> Value {
        serde_json::json!({ "kind": "config" })
    }

    fn admit(&self, _: &Value) -> apimachinery::ApiResult<Value> {
        Ok(serde_json::json!({ "kind": "keys" }))
    }

    async fn add(&self, name: &str, _: &Value) -> apimachinery::ApiResult<Value> {
        Ok(serde_json::json!({ "kind": "member", "name": name }))
    }

    async fn servers(&self) -> apimachinery::ApiResult<Value> {
        Ok(serde_json::json!({ "kind": "servers" }))
    }

    async fn missing(&self) -> Vec<String> {
        Vec::new()
    }

    async fn store(&self) -> apimachinery::ApiResult<Value> {
        Ok(serde_json::json!({ "kind": "store" }))
    }

    fn knows_tokens(&self) -> bool {
        true
    }

    fn store_problem(&self) -> Option<String> {
        None
    }

    fn store_warnings(&self) -> Vec<String> {
        vec!["the store is full (--store-quota)".to_owned()]
    }

    async fn remove(&self, name: &str) -> apimachinery::ApiResult<Value> {
        Ok(serde_json::json!({ "kind": "member", "name": name }))
    }
}

/// Says what was asked of it.
struct FakeSnapshots;

#[async_trait::async_trait]
impl apiserver::snapshots::Snapshots for FakeSnapshots {
    async fn list(&self) -> apimachinery::ApiResult<Value> {
        Ok(serde_json::json!({ "kind": "list" }))
    }

    async fn save(&self, request: &Value) -> apimachinery::ApiResult<apiserver::snapshots::Saving> {
        let progress = serde_json::json!({ "progress": 1 });
        let last = match request["name"].as_str() {
            Some("full-disk") => Err(apimachinery::ApiError::internal("no space left")),
            name => Ok(serde_json::json!({ "kind": "saved", "name": name })),
        };
        let slowly = async move {
            tokio::time::sleep(Duration::from_millis(100)).await;
            last
        };
        Ok(futures::stream::iter([Ok(progress)]).chain(futures::stream::once(slowly)).boxed())
    }

    async fn prune(&self, request: &Value) -> apimachinery::ApiResult<Value> {
        Ok(serde_json::json!({ "kind": "pruned", "retention": request["retention"] }))
    }

    async fn delete(&self, name: &str) -> apimachinery::ApiResult<Value> {
        Ok(serde_json::json!({ "kind": "deleted", "name": name }))
    }
}

/// An answer, read whole.
#[derive(Debug)]
pub struct Answer {
    pub code: u16,
    pub headers: http::HeaderMap,
    pub bytes: Bytes,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap_or_else(|e| panic!("{e}: {:?}", self.bytes))
    }

    /// The body, if the code is the expected one.
    #[track_caller]
    pub fn expect(self, code: u16) -> Value {
        assert_eq!(self.code, code, "{}", String::from_utf8_lossy(&self.bytes));
        self.json()
    }

    /// The message of a Status, if the code is the expected one.
    #[track_caller]
    pub fn refused(self, code: u16) -> String {
        let status = self.expect(code);
        assert_eq!(status["kind"], "Status");
        assert_eq!(status["code"], code);
        status["message"].as_str().unwrap_or("").to_owned()
    }
}

impl Api {
    pub async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    /// With a store of other limits.
    pub async fn start_with(limits: impl FnOnce(&mut storage::Config)) -> Self {
        let api = Self::unstarted(limits).await;
        api.server.start().await.unwrap();
        // In a cluster the controllers make it; pods need it.
        let account =
            serde_json::json!({ "apiVersion": "v1", "kind": "ServiceAccount", "metadata": { "name": "default" } });
        api.post("/api/v1/namespaces/default/serviceaccounts", &account).await.expect(201);
        api
    }

    /// One that listens, and has not got further.
    pub async fn unstarted(limits: impl FnOnce(&mut storage::Config)) -> Self {
        let dir = Arc::new(TempDir::new().unwrap());
        let mut store = storage::Config::new(dir.path().join("db"));
        limits(&mut store);
        let storage = storage::Storage::open(store).await.unwrap();
        let pki = Pki::load_or_create(
            &dir.path().join("tls"),
            &Options { hostnames: vec!["localhost".to_owned()], ips: vec![IpAddr::V4(Ipv4Addr::LOCALHOST)] },
        )
        .unwrap();
        let services = ServiceOptions::default();
        let service_address = services.first_address().into();
        let registry = Registry::new(registry::Options { storage, resources: apis::all(), services }).unwrap();
        let policy = Arc::new(Policy::default());
        let masters = UserInfo::new("admin", ["system:masters"]);
        let tokens = StaticTokens::default()
            .with("admin-token", masters.clone())
            .with("bob-token", UserInfo::new("bob", []))
            .with("server-token", UserInfo::new("coracle:server", ["system:bootstrappers"]));
        let tokens = Arc::new(BearerToken(vec![Arc::new(tokens)]));
        let kubelet_leaf = pki.client_leaf("kubelet-client", "system:kube-apiserver", &["system:masters"]).unwrap();
        let verifier = pki::ClientVerifier::new(pki::tls::roots([pki.client_ca().cert()]).unwrap()).unwrap();
        let shutdown = Shutdown::new();
        let authenticator = auth::authn::Anonymous::only_on(
            Union(vec![Arc::new(X509::new(verifier)) as Arc<dyn Authenticator>, tokens.clone()]),
            &["/livez", "/readyz", "/healthz", "/version", "/cacerts"],
        );
        let node_graph = Arc::new(auth::node::NodeGraph::default());
        let authorizer: Arc<dyn Authorizer> = Arc::new(auth::authz::Union(vec![
            Arc::new(PrivilegedGroups::default()),
            Arc::new(auth::node::NodeAuthorizer::new(node_graph.clone())),
            policy.clone(),
        ]));
        let chain = admission::Chain::new(admission::Config {
            reader: Arc::new(AdmissionReader::new(registry.clone())),
            authorizer: Arc::new(Permissions(authorizer.clone())),
            disabled: Vec::new(),
        });
        let config = Config {
            registry,
            authenticator: Arc::new(authenticator),
            authorizer,
            policy,
            node_graph,
            tokens,
            issuer: Arc::new(Issuer::new(
                pki.service_account_key().clone(),
                DEFAULT_ISSUER,
                &[],
                Arc::new(SystemClock),
            )),
            admission: Arc::new(ChainHook::new(Arc::new(chain))),
            tls: Arc::new(pki.server_config().unwrap()),
            kubelet_tls: Arc::new(pki.client_config(&kubelet_leaf).unwrap()),
            on_pod_network: true,
            client_authorities: apiserver::ClientAuthorities {
                client_ca: pki.client_ca().cert_pem(),
                request_header_ca: pki.request_header_ca().cert_pem(),
            },
            advertise_address: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)),
            secure_port: 6443,
            service_address,
            name: "server".to_owned(),
            one_of_several: false,
            joining: Some(Arc::new(FakeHost(pki.server_ca().cert_pem()))),
            snapshots: Some(Arc::new(FakeSnapshots)),
        };
        let server = Server::new(config, shutdown.clone());
        Self { server, pki, user: masters, shutdown, _dir: dir }
    }

    /// The same server, called by somebody else.
    pub fn as_user(&self, user: UserInfo) -> Self {
        Self {
            server: self.server.clone(),
            pki: self.pki.clone(),
            user,
            shutdown: self.shutdown.clone(),
            _dir: self._dir.clone(),
        }
    }

    pub fn request(&self, method: &str, path: &str) -> http::request::Builder {
        Request::builder().method(method).uri(path).extension(self.user.clone())
    }

    pub async fn send(&self, request: Request<Full<Bytes>>) -> http::Response<apiserver::ResponseBody> {
        let mut service: InProcess = self.server.service();
        let call = service.call(request);
        tokio::time::timeout(PATIENCE, call).await.expect("an answer in time").unwrap()
    }

    pub async fn ask(&self, request: Request<Full<Bytes>>) -> Answer {
        let (parts, body) = self.send(request).await.into_parts();
        let bytes = tokio::time::timeout(PATIENCE, body.collect()).await.expect("a body in time").unwrap().to_bytes();
        Answer { code: parts.status.as_u16(), headers: parts.headers, bytes }
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.ask(self.request("GET", path).body(Full::default()).unwrap()).await
    }

    pub async fn get_as(&self, path: &str, accept: &str) -> Answer {
        self.ask(self.request("GET", path).header("accept", accept).body(Full::default()).unwrap()).await
    }

    pub async fn send_json(&self, method: &str, path: &str, body: &Value) -> Answer {
        let kind = "application/json";
        self.send_bytes(method, path, kind, body.to_string()).await
    }

    pub async fn send_bytes(&self, method: &str, path: &str, kind: &str, body: impl Into<Bytes>) -> Answer {
        let request = self.request(method, path).header("content-type", kind).body(Full::new(body.into())).unwrap();
        self.ask(request).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send_json("POST", path, body).await
    }

    pub async fn put(&self, path: &str, body: &Value) -> Answer {
        self.send_json("PUT", path, body).await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.ask(self.request("DELETE", path).body(Full::default()).unwrap()).await
    }

    pub async fn merge(&self, path: &str, body: &Value) -> Answer {
        self.send_bytes("PATCH", path, "application/merge-patch+json", body.to_string()).await
    }

    /// Opens a watch.
    pub async fn watch(&self, path: &str) -> Events {
        let response = self.send(self.request("GET", path).body(Full::default()).unwrap()).await;
        assert_eq!(response.status(), StatusCode::OK);
        Events::of(response)
    }
}

/// How many stored objects this process has parsed.
pub fn parsed() -> u64 {
    let text = component_base::metrics::render();
    let line = text.lines().find_map(|line| line.strip_prefix("coracle_storage_object_decodes_total "));
    line.expect("the counter").parse().unwrap()
}

/// The same when the loops of the server have done with what was written.
pub async fn parsed_at_rest() -> u64 {
    let mut before = parsed();
    let settled = async {
        loop {
            tokio::time::sleep(Duration::from_millis(50)).await;
            match parsed() {
                now if now == before => return now,
                now => before = now,
            }
        }
    };
    tokio::time::timeout(PATIENCE, settled).await.expect("the server comes to rest")
}

/// The events of a watch.
pub struct Events {
    body: apiserver::ResponseBody,
    rest: Vec<u8>,
}

impl Events {
    pub fn of(response: http::Response<apiserver::ResponseBody>) -> Self {
        Self { body: response.into_body(), rest: Vec::new() }
    }

    /// The next event; `None` at the end.
    pub async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=end).collect();
                return Some(serde_json::from_slice(&line).unwrap());
            }
            let frame = tokio::time::timeout(PATIENCE, self.body.frame()).await.expect("an event in time")?;
            self.rest.extend_from_slice(&frame.unwrap().into_data().unwrap());
        }
    }

    /// `TYPE name` of the next event.
    pub async fn brief(&mut self) -> String {
        let event = self.next().await.expect("an event");
        let name = event["object"]["metadata"]["name"].as_str().unwrap_or("-").to_owned();
        format!("{} {name}", event["type"].as_str().unwrap())
    }
}

pub fn config_map(name: &str, value: &str) -> Value {
    serde_json::json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name }, "data": { "key": value },
    })
}

pub const MAPS: &str = "/api/v1/namespaces/default/configmaps";

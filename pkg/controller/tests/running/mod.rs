//! An API server over a real store with all controllers.

#[path = "../../../apiserver/tests/api/support.rs"]
pub mod support;

use std::sync::Arc;
use std::time::Duration;

use apimachinery::UserInfo;
use client::election::Timings;
use component_base::Shutdown;
use pki::Sans;
use serde_json::Value;
use support::Api;
use tower::ServiceExt as _;

fn client_of(api: &Api, user: UserInfo) -> client::Client {
    let user = Arc::new(user);
    let service = api.server.service().map_request(move |mut request: http::Request<kube::client::Body>| {
        request.extensions_mut().insert(user.clone());
        request
    });
    client::in_process(service, "default")
}

/// Starts it, each controller under its own account.
pub async fn start() -> (Api, Shutdown) {
    start_counting(None).await
}

/// As [`start`], with a rule of how objects count against quotas.
pub async fn start_counting(quota_usage: Option<Arc<dyn controller::QuotaUsage>>) -> (Api, Shutdown) {
    let api = Api::start().await;
    let shutdown = Shutdown::new();
    let accounts = api.as_user(UserInfo::anonymous());
    let config = controller::Config {
        client: client_of(&api, UserInfo::new("system:kube-controller-manager", [])),
        client_for: Some(Arc::new(move |name: &str| {
            let groups = ["system:serviceaccounts", "system:serviceaccounts:kube-system"];
            client_of(&accounts, UserInfo::new(format!("system:serviceaccount:kube-system:{name}"), groups))
        })),
        informers: None,
        cluster_cidr: None,
        identity: "test".to_owned(),
        root_ca_pem: api.pki.server_ca().cert_pem(),
        timings: Timings::default(),
        quota_usage,
        signers: Some(controller::Signers {
            client_ca: api.pki.client_ca().clone(),
            server_ca: api.pki.server_ca().clone(),
            reserved: Sans { hostnames: vec!["kubernetes".to_owned()], ips: Vec::new() },
        }),
    };
    let stop = shutdown.clone();
    shutdown.spawn(async move { controller::run(config, stop).await });
    (api, shutdown)
}

/// Waits until `path` answers with what `done` takes something out of.
pub async fn until<T>(api: &Api, path: &str, done: impl Fn(u16, &Value) -> Option<T>) -> T {
    let deadline = tokio::time::Instant::now() + support::PATIENCE;
    loop {
        let answer = api.get(path).await;
        if let Some(found) = done(answer.code, &answer.json()) {
            return found;
        }
        assert!(tokio::time::Instant::now() < deadline, "{path} never became it: {}", answer.json());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

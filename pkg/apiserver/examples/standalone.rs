//! The API server alone, for kubectl and for load: `cargo run -p apiserver --example standalone -- DIR PORT`.
//! Writes an administrator's kubeconfig to DIR/kubeconfig.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::Arc;

use apiserver::reader::{AdmissionReader, Permissions, TokenLister};
use apiserver::{ChainHook, Config, Server};
use auth::authn::{Anonymous, Authenticator, BearerToken, Union, X509};
use auth::authz::{Authorizer, PrivilegedGroups};
use auth::node::{NodeAuthorizer, NodeGraph};
use auth::rbac::Policy;
use auth::token::{DEFAULT_ISSUER, Issuer, Verifier};
use component_base::Shutdown;
use component_base::clock::SystemClock;
use pki::{Kubeconfig, Options, Pki, UserAuth};
use registry::{Registry, ServiceOptions};
use tokio::net::TcpListener;

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

#[tokio::main]
async fn main() -> Outcome<()> {
    component_base::logging::init("info")?;
    let mut arguments = std::env::args().skip(1);
    let dir = PathBuf::from(arguments.next().ok_or("usage: standalone DIR PORT")?);
    let port: u16 = arguments.next().ok_or("usage: standalone DIR PORT")?.parse()?;
    let here = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let pki =
        Pki::load_or_create(&dir.join("tls"), &Options { hostnames: vec!["localhost".to_owned()], ips: vec![here] })?;
    let storage = storage::Storage::open(storage::Config::new(dir.join("db"))).await?;
    let shutdown = Shutdown::new();
    let server = Server::new(config(&pki, storage.clone(), port)?, shutdown.clone());
    server.start().await?;
    let leaf = pki.client_leaf("admin", "admin", &["system:masters"])?;
    let kubeconfig = Kubeconfig {
        server: &format!("https://127.0.0.1:{port}"),
        ca_pem: &pki.server_ca().cert_pem(),
        cluster: "standalone",
        user: "admin",
        auth: UserAuth::Certificate(&leaf),
    };
    pki::write_private(&dir.join("kubeconfig"), kubeconfig.to_string().as_bytes())?;
    let listener = TcpListener::bind((here, port)).await?;
    tracing::info!(port, "serving");
    tokio::select! {
        served = server.serve(listener) => served?,
        _ = tokio::signal::ctrl_c() => {}
    }
    shutdown.trigger();
    storage.shutdown().await;
    Ok(())
}

fn config(pki: &Pki, storage: storage::Storage, secure_port: u16) -> Outcome<Config> {
    let services = ServiceOptions::default();
    let service_address = services.first_address().into();
    let registry = Registry::new(registry::Options { storage, resources: apis::all(), services })?;
    let clock = Arc::new(SystemClock);
    let issuer = Arc::new(Issuer::new(pki.service_account_key().clone(), DEFAULT_ISSUER, &[], clock.clone()));
    let verifier = Verifier::new(&issuer, Vec::new(), Arc::new(TokenLister(registry.clone())), clock);
    let tokens = Arc::new(BearerToken(vec![Arc::new(verifier)]));
    let certificates = X509::new(pki::ClientVerifier::new(pki::tls::roots([pki.client_ca().cert()])?)?);
    let known = Union(vec![Arc::new(certificates) as Arc<dyn Authenticator>, tokens.clone()]);
    let policy = Arc::new(Policy::default());
    let node_graph = Arc::new(NodeGraph::default());
    let authorizer: Arc<dyn Authorizer> = Arc::new(auth::authz::Union(vec![
        Arc::new(PrivilegedGroups::default()),
        Arc::new(NodeAuthorizer::new(node_graph.clone())),
        policy.clone(),
    ]));
    let chain = admission::Chain::new(admission::Config {
        reader: Arc::new(AdmissionReader::new(registry.clone())),
        authorizer: Arc::new(Permissions(authorizer.clone())),
        disabled: Vec::new(),
    });
    let kubelet_leaf = pki.client_leaf("kubelet-client", "system:kube-apiserver", &["system:masters"])?;
    Ok(Config {
        registry,
        authenticator: Arc::new(Anonymous::only_on(known, &["/livez", "/readyz", "/healthz", "/version"])),
        authorizer,
        policy,
        node_graph,
        tokens,
        issuer,
        admission: Arc::new(ChainHook::new(Arc::new(chain))),
        tls: Arc::new(pki.server_config()?),
        kubelet_tls: Arc::new(pki.client_config(&kubelet_leaf)?),
        on_pod_network: true,
        client_authorities: apiserver::ClientAuthorities::default(),
        advertise_address: IpAddr::V4(Ipv4Addr::LOCALHOST),
        secure_port,
        service_address,
        name: "server".to_owned(),
        one_of_several: false,
        joining: None,
        snapshots: None,
    })
}

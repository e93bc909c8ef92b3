//! The scheduler and the controllers: in the server's process, or as processes of their own with a kubeconfig.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, anyhow};
use client::Client;
use client::election::Timings;
use component_base::Shutdown;
use component_base::task::supervise_to_end;
use tokio::task::JoinHandle;

use crate::identity;
use crate::options::{ControllerOptions, LoopOptions};

/// `coracle scheduler`
pub async fn scheduler(options: LoopOptions) -> anyhow::Result<()> {
    let client = connect(&options.kubeconfig, "kube-scheduler").await?;
    until_signal(move |shutdown| {
        start_scheduler(client, identity::lease_identity(), Timings::default(), &shutdown);
    })
    .await
}

/// `coracle controller-manager`
pub async fn controllers(options: ControllerOptions) -> anyhow::Result<()> {
    let kubeconfig = &options.run.kubeconfig;
    let client = connect(kubeconfig, CONTROLLERS).await?;
    let root_ca = match &options.root_ca_file {
        Some(file) => std::fs::read_to_string(file).with_context(|| format!("--root-ca-file {}", file.display()))?,
        None => ca_of(kubeconfig)?,
    };
    let controllers = Controllers {
        client,
        client_for: None,
        cluster_cidr: options.cluster_cidr.to_string(),
        root_ca_pem: root_ca,
        identity: identity::lease_identity(),
        // The keys stay with the servers.
        signers: None,
    };
    until_signal(move |shutdown| {
        start_controllers(controllers, Timings::default(), &shutdown);
    })
    .await
}

pub fn start_scheduler(client: Client, identity: String, timings: Timings, shutdown: &Shutdown) -> JoinHandle<()> {
    shutdown.spawn(scheduler::run(scheduler::Config { client, identity, timings }, shutdown.clone()))
}

/// What the controllers need to know.
#[derive(Clone)]
pub struct Controllers {
    pub client: Client,
    pub client_for: Option<controller::ClientFor>,
    pub cluster_cidr: String,
    pub root_ca_pem: String,
    /// Tells processes apart in the Lease.
    pub identity: String,
    pub signers: Option<controller::Signers>,
}

pub fn start_controllers(options: Controllers, timings: Timings, shutdown: &Shutdown) -> JoinHandle<()> {
    let config = controller::Config {
        client: options.client,
        client_for: options.client_for,
        informers: None,
        cluster_cidr: Some(options.cluster_cidr),
        identity: options.identity,
        root_ca_pem: options.root_ca_pem,
        timings,
        quota_usage: Some(Arc::new(crate::quota::AdmissionUsage)),
        signers: options.signers,
    };
    let stop = shutdown.clone();
    supervise_to_end("controllers", shutdown, move || controller::run(config.clone(), stop.clone()))
}

async fn connect(kubeconfig: &Path, agent: &str) -> anyhow::Result<Client> {
    let client = client::from_kubeconfig_with_agent(kubeconfig, agent).await.context("--kubeconfig")?;
    let version = client.apiserver_version().await.with_context(|| {
        format!("the API server of --kubeconfig {} does not answer; is it running?", kubeconfig.display())
    })?;
    tracing::info!(server = version.git_version, "connected");
    Ok(client)
}

/// The certificates by which a kubeconfig knows its servers, PEM.
pub fn ca_of(kubeconfig: &Path) -> anyhow::Result<String> {
    let text = std::fs::read_to_string(kubeconfig)?;
    let config: serde_json::Value = serde_saphyr::from_str(&text)?;
    let data = config["clusters"][0]["cluster"]["certificate-authority-data"].as_str();
    let data = data.ok_or_else(|| anyhow!("{} embeds no CA; give --root-ca-file", kubeconfig.display()))?;
    let pem = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, data)?;
    Ok(String::from_utf8(pem)?)
}

/// Starts something and waits for SIGTERM or SIGINT, then for its orderly end.
pub async fn until_signal(start: impl FnOnce(Shutdown)) -> anyhow::Result<()> {
    let shutdown = Shutdown::new();
    start(shutdown.clone());
    signal().await?;
    tracing::info!("stopping");
    crate::service::stop([shutdown]).await;
    Ok(())
}

/// Waits for SIGTERM or SIGINT.
pub async fn signal() -> anyhow::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

/// What all controllers call themselves.
pub const CONTROLLERS: &str = "kube-controller-manager";

/// Makes each controller's own client: a ServiceAccount of `kube-system`, as upstream's
/// `--use-service-account-credentials` does.
pub fn clients_in_process(server: &apiserver::Server) -> controller::ClientFor {
    let server = server.clone();
    Arc::new(move |name: &str| {
        let mut user = apimachinery::UserInfo::new(
            format!("system:serviceaccount:kube-system:{name}"),
            ["system:serviceaccounts", "system:serviceaccounts:kube-system"],
        );
        user.uid = String::new();
        identity::in_process(&server, CONTROLLERS, user)
    })
}

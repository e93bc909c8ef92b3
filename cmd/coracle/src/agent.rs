//! `coracle agent`: a node whose servers are elsewhere. It needs a server's address and a token; all else it is told.
//!
//! What it was told is kept, so that it starts again, and its pods with it, when no server is in reach.

use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use client::{Balanced, Client, Informers, Scope};
use component_base::Shutdown;
use component_base::task::supervise;
use k8s_openapi::api::core::v1::Node;
use pki::{Identity, Leaf, Sans, SignerName};

use crate::certificates::Kept;
use crate::door::Door;
use crate::options::{AgentOptions, NetworkOptions};
use crate::{identity, loops, node, service};

/// How long a start waits for servers if it could do without them.
const SERVERS_PATIENCE: Duration = Duration::from_secs(5);

/// Where an agent keeps what it was told.
struct Folder(PathBuf);

impl Folder {
    fn of(data_dir: &Path) -> Self {
        Self(data_dir.join("agent/cluster"))
    }

    fn authority(&self) -> PathBuf {
        self.0.join("server-ca.crt")
    }

    fn cluster(&self) -> PathBuf {
        self.0.join("cluster.json")
    }

    fn servers(&self) -> PathBuf {
        self.0.join("servers.json")
    }
}

/// What the servers say about the cluster, as `/v1-coracle/config` writes it.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClusterConfig {
    pub cluster_cidr: ipnet::Ipv4Net,
    pub service_cidr: ipnet::Ipv4Net,
    pub cluster_dns: std::net::Ipv4Addr,
    pub cluster_domain: String,
    pub flannel_backend: String,
    /// Who vouches for the servers when they call the kubelet, PEM.
    pub client_ca: String,
    /// The servers' Kubernetes version, as `v1.37.0`.
    pub version: String,
    /// The servers' time, Unix seconds.
    pub time: u64,
}

/// Clocks may differ by as much as certificates begin in the past.
pub const CLOCK_SKEW_MAX: u64 = 300;

impl ClusterConfig {
    /// What the user wants of the pod network is what all have.
    fn check_backend(&self, own: Option<&str>) -> anyhow::Result<()> {
        let cluster = &self.flannel_backend;
        match own {
            Some(own) if own != cluster => {
                bail!(
                    "--flannel-backend is {own}, the cluster has {cluster}: leave it out, agents learn it from the servers"
                )
            }
            _ => Ok(()),
        }
    }

    fn check(&self) -> anyhow::Result<()> {
        let now = crate::host::unix_now();
        if now.abs_diff(self.time) > CLOCK_SKEW_MAX {
            let (seconds, side) = (now.abs_diff(self.time), if now > self.time { "ahead of" } else { "behind" });
            bail!(
                "this machine's clock is {seconds} s {side} the server's; set it (timedatectl set-ntp true) and try again"
            );
        }
        crate::version::check_agent(component_base::version::KUBERNETES, &self.version).map_err(anyhow::Error::msg)
    }
}

pub async fn run(options: AgentOptions) -> anyhow::Result<()> {
    let node_name = node::name(options.node.node_name.as_deref())?;
    let node_ip = options.node.node_ip.unwrap_or_else(identity::own_address);
    let token = options.token.read()?.ok_or_else(|| {
        anyhow!("a token is needed to join: give --token, --token-file or CORACLE_TOKEN; `coracle token create` on a server makes one")
    })?;
    // Nothing is written before the flags and the machine are known to do.
    let mut site = node_site(&options, &node_name, node_ip);
    let plan = node::Plan::check(&site).await?;
    let data_dir = &options.common.data_dir;
    if remembered(&Folder::of(data_dir)).is_none() {
        crate::check::room_to_join(data_dir)?;
    }
    let folder = folder(data_dir)?;
    let (door, config, credentials, leaf) = join(&options, &token, &folder, &node_name).await?;
    site.options.network.cluster_cidr = config.cluster_cidr;
    site.options.network.service_cidr = config.service_cidr;
    site.options.network.cluster_dns = Some(config.cluster_dns);
    site.options.network.cluster_domain = config.cluster_domain.clone();
    site.options.node.flannel_backend = Some(config.flannel_backend.clone());

    let shutdown = Shutdown::new();
    let own = Identity::new(&leaf)?;
    let balanced = door.connect(Some(&own))?;
    keep_client_certificate(credentials, leaf, own, &door, balanced.client("kubelet"), &shutdown);
    let serving = start_serving(&folder, &node_name, node_ip, &config, balanced.client("kubelet"), &shutdown)?;
    follow_servers(&door, &balanced, &shutdown);
    tracing::info!(node = node_name, servers = ?door.servers.all(), "joined; starting the node");
    let clients = node::Clients {
        kubelet: balanced.client("kubelet"),
        proxy: balanced.client("kube-proxy"),
        dns: balanced.client("coredns"),
    };
    let going_down = plan.shutdown();
    plan.start(&site, clients, &serving, &shutdown)?;
    service::notify("READY=1");
    loops::signal().await?;
    service::notify("STOPPING=1");
    service::stop_pods_with_the_machine(going_down).await;
    tracing::info!("stopping; containers go on");
    service::stop([shutdown]).await;
    Ok(())
}

/// Becomes a node of the cluster, or finds what an earlier start was told. A join that fails leaves nothing behind.
async fn join(
    options: &AgentOptions,
    token: &str,
    folder: &Folder,
    node: &str,
) -> anyhow::Result<(Door, ClusterConfig, Kept, Leaf)> {
    let is_new = remembered(folder).is_none();
    let joined = async {
        let (door, config) = enter(&options.server, token, folder).await?;
        config.check_backend(options.node.flannel_backend.as_deref())?;
        let (credentials, leaf) = client_certificate(&door, folder, node).await?;
        Ok((door, config, credentials, leaf))
    };
    joined.await.inspect_err(|_: &anyhow::Error| {
        if is_new && let Err(error) = std::fs::remove_dir_all(&folder.0) {
            tracing::warn!(%error, folder = %folder.0.display(), "what the failed join has left cannot be removed");
        }
    })
}

fn node_site(options: &AgentOptions, node_name: &str, node_ip: IpAddr) -> node::Site {
    node::Site {
        options: node::Settings {
            common: options.common.clone(),
            network: NetworkOptions::default(),
            node: options.node.clone(),
            bind_address: options.bind_address,
            disable: options.disable.clone(),
        },
        node_name: node_name.to_owned(),
        node_ip,
    }
}

fn folder(data_dir: &Path) -> anyhow::Result<Folder> {
    let folder = Folder::of(data_dir);
    std::fs::create_dir_all(&folder.0).with_context(|| format!("--data-dir {}: cannot be made", data_dir.display()))?;
    for dir in [data_dir, folder.0.as_path()] {
        std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o700))
            .with_context(|| dir.display().to_string())?;
    }
    Ok(folder)
}

/// Learns what the cluster is like; from an earlier time if no server is in reach.
async fn enter(url: &str, token: &str, folder: &Folder) -> anyhow::Result<(Door, ClusterConfig)> {
    let Some((ca_pem, remembered)) = remembered(folder) else {
        let door = Door::find(url, token, Some(folder.servers())).await?;
        let config = ask(&door).await?;
        pki::write_private(&folder.authority(), door.ca_pem.as_bytes())?;
        keep(folder, &config)?;
        return Ok((door, config));
    };
    let door = Door::known(url, token, folder.servers(), ca_pem)?;
    match tokio::time::timeout(SERVERS_PATIENCE, ask(&door)).await {
        Ok(Ok(config)) => {
            keep(folder, &config)?;
            Ok((door, config))
        }
        Ok(Err(error)) => {
            tracing::warn!(error = format!("{error:#}"), "starting with what the servers said before");
            Ok((door, remembered))
        }
        Err(_) => {
            tracing::warn!("no server answers; starting with what they said before");
            Ok((door, remembered))
        }
    }
}

fn remembered(folder: &Folder) -> Option<(String, ClusterConfig)> {
    let ca_pem = std::fs::read_to_string(folder.authority()).ok()?;
    let config = serde_json::from_slice(&std::fs::read(folder.cluster()).ok()?).ok()?;
    Some((ca_pem, config))
}

fn keep(folder: &Folder, config: &ClusterConfig) -> anyhow::Result<()> {
    pki::write_private(&folder.cluster(), &serde_json::to_vec(config)?)?;
    Ok(())
}

async fn ask(door: &Door) -> anyhow::Result<ClusterConfig> {
    let config: ClusterConfig =
        serde_json::from_value(door.config().await?).context("what the server says about the cluster")?;
    config.check()?;
    Ok(config)
}

/// The certificate by which the servers know this node: the one on disk, or a new one by the token.
async fn client_certificate(door: &Door, folder: &Folder, node: &str) -> anyhow::Result<(Kept, Leaf)> {
    let kept = Kept {
        dir: folder.0.clone(),
        file: "client-kubelet",
        signer: SignerName::KubeApiserverClientKubelet,
        node: node.to_owned(),
        sans: Sans::default(),
    };
    if let Some(leaf) = kept.load()? {
        return Ok((kept, leaf));
    }
    let asked = kept.request(&door.with_token()?).await;
    let leaf = asked.map_err(|error| match error.downcast_ref::<kube::Error>() {
        Some(cause) => door.explain(cause),
        None => error.context(format!("joining as the node {node:?}")),
    })?;
    Ok((kept, leaf))
}

fn keep_client_certificate(kept: Kept, leaf: Leaf, own: Identity, door: &Door, client: Client, shutdown: &Shutdown) {
    let (servers, stop) = (door.servers.clone(), shutdown.clone());
    supervise("client certificate", shutdown, move || {
        let (own, servers) = (own.clone(), servers.clone());
        let renewed = move |leaf: &Leaf| {
            own.replace(leaf)?;
            // Connections go on with the old one until they end.
            servers.reconnect();
            Ok(())
        };
        kept.clone().renew(client.clone(), leaf.clone(), renewed, stop.clone())
    });
}

/// What the kubelet serves with. Until the cluster has signed it, which wants a Node with addresses, it is a certificate
/// that nobody trusts.
fn start_serving(
    folder: &Folder,
    node: &str,
    ip: IpAddr,
    config: &ClusterConfig,
    client: Client,
    shutdown: &Shutdown,
) -> anyhow::Result<node::Serving> {
    let sans = Sans { hostnames: vec![node.to_owned()], ips: vec![ip] };
    let kept = Kept {
        dir: folder.0.clone(),
        file: "serving-kubelet",
        signer: SignerName::KubeletServing,
        node: node.to_owned(),
        sans: sans.clone(),
    };
    let existing = kept.load()?;
    let first = match &existing {
        Some(leaf) => leaf.clone(),
        None => pki::Authority::generate("coracle-not-signed-yet")?.issue_server(node, &[], &sans)?,
    };
    let identity = Identity::new(&first)?;
    let client_ca = pki::tls::certs_from_pem(config.client_ca.as_bytes())?.remove(0);
    let (own, stop) = (identity.clone(), shutdown.clone());
    supervise("serving certificate", shutdown, move || {
        let (kept, client, own, stop) = (kept.clone(), client.clone(), own.clone(), stop.clone());
        async move {
            let leaf = match kept.load()? {
                Some(leaf) => leaf,
                None => match stop.race(first_serving(&kept, &client, ip, &stop)).await {
                    Some(leaf) => leaf?,
                    None => return Ok(()),
                },
            };
            own.replace(&leaf)?;
            kept.renew(client, leaf, move |leaf| Ok(own.replace(leaf)?), stop).await
        }
    });
    Ok(node::Serving { identity, client_ca })
}

/// Waits until the Node has this address, and asks then.
async fn first_serving(kept: &Kept, client: &Client, ip: IpAddr, stop: &Shutdown) -> anyhow::Result<Leaf> {
    let informers = Informers::new(client.clone(), stop.clone());
    let mut changes = informers.get::<Node>(Scope::object("", &kept.node)).subscribe();
    let own = ip.to_string();
    while let Some(change) = changes.next().await {
        let addresses = change.new.as_ref().and_then(|node| node.status.as_ref()?.addresses.as_ref());
        if addresses.is_some_and(|addresses| addresses.iter().any(|address| address.address == own)) {
            return kept.request(client).await;
        }
    }
    bail!("the node's own Node cannot be followed")
}

fn follow_servers(door: &Door, balanced: &Balanced, shutdown: &Shutdown) {
    let informers = Informers::new(balanced.client("coracle"), shutdown.clone());
    let servers = door.servers.clone();
    supervise("servers", shutdown, move || client::balanced::follow(servers.clone(), informers.clone()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_said_before_is_found_again() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let folder = folder(&dir.path().join("data")).expect("made");
        assert!(remembered(&folder).is_none());
        let now = crate::host::unix_now();
        let config = ClusterConfig {
            cluster_cidr: "10.42.0.0/16".parse().expect("a range"),
            service_cidr: "10.43.0.0/16".parse().expect("a range"),
            cluster_dns: "10.43.0.10".parse().expect("an address"),
            cluster_domain: "cluster.local".to_owned(),
            flannel_backend: "vxlan".to_owned(),
            client_ca: "pem".to_owned(),
            version: component_base::version::KUBERNETES.to_owned(),
            time: now,
        };
        keep(&folder, &config).expect("kept");
        assert!(remembered(&folder).is_none(), "both or nothing");
        pki::write_private(&folder.authority(), b"ca").expect("written");
        assert_eq!(remembered(&folder).expect("there").1.cluster_domain, "cluster.local");
        config.check().expect("the clock is right");
        let late = ClusterConfig { time: now + 1000, ..config };
        let why = late.check().expect_err("refused").to_string();
        assert!(why.contains("behind the server's"), "{why}");
    }
}

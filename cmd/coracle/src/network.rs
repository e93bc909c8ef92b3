//! The node's network: addresses of pods, Services and names.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use client::{Client, Informers, Recorder, Scope};
use component_base::Shutdown;
use component_base::task::{supervise, supervise_to_end};
use ipnet::Ipv4Net;
use k8s_openapi::api::core::v1::Node;

use crate::node::{Site, runtime_options};

const RESOLV_CONF: &str = "/etc/resolv.conf";

/// Sets the pod network up as soon as the node has been given its addresses, and again whenever they change; and keeps the
/// ways to other nodes' pods. Two loops: a node that cannot reach others still runs pods.
pub fn start_pods(site: &Site, client: &Client, shutdown: &Shutdown) -> anyhow::Result<()> {
    let options = &site.options.node;
    if options.flannel_backend() == "none" {
        return Ok(());
    }
    let backend: overlay::Backend = options.flannel_backend().parse().map_err(anyhow::Error::msg)?;
    let uplink = uplink(site)?;
    let runtime = runtime_options(site);
    let setup = NetworkSetup {
        node_name: site.node_name.clone(),
        bin_dir: runtime.cni_bin_dir,
        conf_dir: runtime.cni_conf_dir,
        data_dir: site.options.common.data_dir.join("agent/cni"),
        cluster_cidr: site.options.network.cluster_cidr,
        service_cidr: site.options.network.service_cidr,
        backend,
        uplink: uplink.clone(),
    };
    let informers = Informers::new(client.clone(), shutdown.clone());
    let config = overlay::Config {
        informers: informers.clone(),
        client: client.clone(),
        recorder: Recorder::new(client.clone(), "coracle-overlay", &site.node_name, shutdown),
        node_name: site.node_name.clone(),
        backend,
        uplink,
    };
    supervise("pod network", shutdown, move || setup.clone().follow(informers.clone()));
    let stop = shutdown.clone();
    supervise_to_end("overlay", shutdown, move || overlay::run(config.clone(), stop.clone()));
    Ok(())
}

/// Where this node meets the others: the interface that was named, or that with the node's address.
fn uplink(site: &Site) -> anyhow::Result<overlay::Uplink> {
    match (&site.options.node.flannel_iface, site.node_ip) {
        (Some(name), _) => Ok(overlay::Uplink::Interface(name.clone())),
        (None, IpAddr::V4(address)) => Ok(overlay::Uplink::Address(address)),
        (None, address) => {
            bail!(
                "the pod network needs IPv4, and the node's address is {address}; give --node-ip or --flannel-backend=none"
            )
        }
    }
}

#[derive(Clone)]
struct NetworkSetup {
    node_name: String,
    bin_dir: PathBuf,
    conf_dir: PathBuf,
    data_dir: PathBuf,
    cluster_cidr: Ipv4Net,
    service_cidr: Ipv4Net,
    backend: overlay::Backend,
    uplink: overlay::Uplink,
}

impl NetworkSetup {
    async fn follow(self, informers: Informers) -> anyhow::Result<()> {
        let mut changes = informers.get::<Node>(Scope::object("", &self.node_name)).subscribe();
        // After a reboot pods can start before any server has answered.
        let mut current = self.remembered();
        if let Some(range) = &current {
            self.set_up(range).await?;
        }
        while let Some(change) = changes.next().await {
            let range = change.new.as_ref().and_then(|node| node.spec.as_ref()?.pod_cidr.clone());
            let Some(range) = range.filter(|range| current.as_ref() != Some(range)) else { continue };
            self.set_up(&range).await?;
            std::fs::write(self.memory(), &range).context("remembering the node's podCIDR")?;
            current = Some(range);
        }
        Ok(())
    }

    async fn set_up(&self, range: &str) -> anyhow::Result<()> {
        let pod_cidr: Ipv4Net = range.parse().with_context(|| format!("the node's podCIDR {range:?}"))?;
        let options = self.options(pod_cidr, overlay::pod_mtu(&self.uplink, self.backend).await);
        tokio::task::spawn_blocking(move || cni::configure(&options)).await??;
        tracing::info!(pod_cidr = range, "the pod network is set up");
        Ok(())
    }

    /// Where the node's last podCIDR is kept.
    fn memory(&self) -> PathBuf {
        self.data_dir.join("pod-cidr")
    }

    /// What cannot be read, or is no range, was not remembered.
    fn remembered(&self) -> Option<String> {
        let text = std::fs::read_to_string(self.memory()).ok()?;
        let range = text.trim();
        range.parse::<Ipv4Net>().is_ok().then(|| range.to_owned())
    }

    fn options(&self, pod_cidr: Ipv4Net, mtu: Option<u32>) -> cni::Options {
        cni::Options {
            bin_dir: self.bin_dir.clone(),
            conf_dir: self.conf_dir.clone(),
            data_dir: self.data_dir.clone(),
            pod_cidr,
            cluster_cidr: self.cluster_cidr,
            service_cidr: Some(self.service_cidr),
            bridge: "cni0".into(),
            mtu,
        }
    }
}

pub fn start_proxy(site: &Site, client: Client, shutdown: &Shutdown) {
    let config = proxy::Config {
        informers: Informers::new(client, shutdown.clone()),
        node_name: site.node_name.clone(),
        cluster_cidr: site.options.network.cluster_cidr.to_string(),
        own_addresses: [site.options.network.dns_address()].into(),
    };
    let stop = shutdown.clone();
    supervise_to_end("proxy", shutdown, move || proxy::run(config.clone(), stop.clone()));
}

pub fn start_dns(site: &Site, client: Client, shutdown: &Shutdown) {
    let config = dns::Config {
        informers: Informers::new(client, shutdown.clone()),
        addresses: vec![IpAddr::V4(site.options.network.dns_address())],
        domain: site.options.network.cluster_domain.clone(),
        resolv_conf: Path::new(RESOLV_CONF).to_owned(),
    };
    let stop = shutdown.clone();
    supervise_to_end("dns", shutdown, move || dns::run(config.clone(), stop.clone()));
}

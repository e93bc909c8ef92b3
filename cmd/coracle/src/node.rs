//! A node beside the server: runtime, pod network, kubelet, service proxy and DNS.

use std::net::IpAddr;

use anyhow::{Context as _, bail};
use client::{Client, Informers, Scope};
use component_base::Shutdown;
use component_base::task::{supervise, supervise_to_end};
use k8s_openapi::api::core::v1::{Node, Taint};
use kube::api::{Api, Patch, PatchParams};

use crate::options::{CommonOptions, NetworkOptions, NodeOptions};
use crate::{check, identity, network};

/// What is known of a node and its cluster, with a server in this process or without.
pub struct Site {
    pub options: Settings,
    pub node_name: String,
    pub node_ip: IpAddr,
}

/// Its flags; those about the network are the server's.
pub struct Settings {
    pub common: CommonOptions,
    pub network: NetworkOptions,
    pub node: NodeOptions,
    /// Where the node's own API listens.
    pub bind_address: IpAddr,
    /// Packaged parts that are left out.
    pub disable: Vec<String>,
}

/// How the parts of a node reach the API, each as itself.
pub struct Clients {
    pub kubelet: Client,
    pub proxy: Client,
    pub dns: Client,
}

/// What the node's own API presents, and whose clients it knows.
pub struct Serving {
    pub identity: pki::Identity,
    pub client_ca: pki::CertificateDer<'static>,
}

/// The node's name: as given, else the host's, and fit for a Node.
pub fn name(given: Option<&str>) -> anyhow::Result<String> {
    let name = match given {
        Some(name) => name.to_owned(),
        None => identity::host_name()?,
    };
    if let Some(problem) = apimachinery::validation::is_dns1123_subdomain(&name).first() {
        bail!("the node name {name:?} cannot be used: {problem}; give another with --node-name");
    }
    Ok(name)
}

/// What a node that also runs the control plane is labelled with, as k3s does.
pub const CONTROL_PLANE_LABEL: &str = "node-role.kubernetes.io/control-plane";

/// A node whose flags and machine were looked at and do.
pub struct Plan {
    runtime: kubelet::config::Runtime,
    labels: Vec<(String, String)>,
    taints: Vec<Taint>,
    shutdown: Option<kubelet::shutdown::Settings>,
}

impl Plan {
    /// What is to be done for pods when the machine goes down.
    pub fn shutdown(&self) -> Option<kubelet::shutdown::Settings> {
        self.shutdown.clone()
    }

    /// Looks before anything is started: every error names the flag or the remedy.
    pub async fn check(site: &Site) -> anyhow::Result<Self> {
        if !rustix::process::geteuid().is_root() {
            bail!("a node runs containers and needs root; use sudo, or --disable-agent for the control plane alone");
        }
        let options = &site.options.node;
        let runtime = match &options.container_runtime_endpoint {
            Some(endpoint) => {
                let path = endpoint.strip_prefix("unix://").unwrap_or(endpoint);
                tokio::net::UnixStream::connect(path)
                    .await
                    .with_context(|| format!("--container-runtime-endpoint {endpoint}: no runtime answers there"))?;
                kubelet::config::Runtime::Endpoint(endpoint.clone())
            }
            None => {
                for (name, package) in [("containerd", "containerd"), ("runc", "runc")] {
                    if !check::on_path(name) {
                        bail!(
                            "{name} is not on PATH; install it (apt-get install {package}), give --container-runtime-endpoint, \
                             or --disable-agent for the control plane alone"
                        );
                    }
                }
                kubelet::config::Runtime::Private(runtime_options(site))
            }
        };
        let proxied = !site.options.disable.iter().any(|part| part == "proxy");
        if (proxied || options.flannel_backend() != "none") && !check::on_path("nft") {
            bail!("nft is not on PATH; install it (apt-get install nftables)");
        }
        let labels = options.node_label.iter().map(|text| parse_label(text)).collect::<anyhow::Result<_>>()?;
        let taints = options.node_taint.iter().map(|text| parse_taint(text)).collect::<anyhow::Result<_>>()?;
        let grace = options.shutdown_grace().map_err(anyhow::Error::msg)?;
        let switch = kubelet::shutdown::Switch::default();
        let shutdown = grace.map(|grace| kubelet::shutdown::Settings { grace, switch, logind: true });
        Ok(Self { runtime, labels, taints, shutdown })
    }

    /// Starts all parts; they wait for what they need by themselves.
    pub fn start(self, site: &Site, clients: Clients, serving: &Serving, shutdown: &Shutdown) -> anyhow::Result<()> {
        network::start_pods(site, &clients.kubelet, shutdown)?;
        start_kubelet(self, site, clients.kubelet, serving, shutdown)?;
        let disabled = |part: &str| site.options.disable.iter().any(|disabled| disabled == part);
        if !disabled("proxy") {
            network::start_proxy(site, clients.proxy, shutdown);
        }
        if !disabled("dns") {
            network::start_dns(site, clients.dns, shutdown);
        }
        Ok(())
    }
}

pub fn runtime_options(site: &Site) -> kubelet::containerd::Options {
    let (agent, run) = (site.options.common.data_dir.join("agent"), &site.options.node.run_dir);
    let built_in = site.options.node.flannel_backend() != "none";
    kubelet::containerd::Options {
        root: agent.join("containerd"),
        state: run.join("containerd"),
        cni_bin_dir: if built_in { agent.join("cni/bin") } else { "/opt/cni/bin".into() },
        cni_conf_dir: if built_in { agent.join("cni/net.d") } else { "/etc/cni/net.d".into() },
        registry_config_dir: agent.join("containerd/certs.d"),
    }
}

fn start_kubelet(
    plan: Plan,
    site: &Site,
    client: Client,
    serving: &Serving,
    shutdown: &Shutdown,
) -> anyhow::Result<()> {
    let (options, agent) = (&site.options, site.options.common.data_dir.join("agent"));
    let tls = pki::tls::server_config(&serving.identity, pki::tls::roots([&serving.client_ca])?)?;
    let mut config = kubelet::Config::new(&site.node_name, agent.join("kubelet"), plan.runtime);
    config.client = Some(client);
    config.node_ips = vec![site.node_ip];
    config.images_dir = Some(agent.join("images"));
    config.static_pods_dir = options.node.pod_manifest_path.clone();
    config.cluster_dns = vec![IpAddr::V4(options.network.dns_address())];
    config.cluster_domain = options.network.cluster_domain.clone();
    config.node_labels.extend(plan.labels);
    config.node_taints = plan.taints;
    config.node_shutdown = plan.shutdown;
    config.max_pods = options.node.max_pods;
    config.eviction_hard = options.node.eviction_hard.clone();
    config.server = Some(kubelet::config::Server {
        address: options.bind_address,
        port: options.node.kubelet_port,
        tls: tls.into(),
    });
    let stop = shutdown.clone();
    supervise_to_end("kubelet", shutdown, move || kubelet::run(config.clone(), stop.clone()));
    Ok(())
}

/// Labels the node with its role. A node may not do that itself (NodeRestriction), so the server does, as `client`.
pub fn start_role_label(name: &str, client: Client, shutdown: &Shutdown) {
    let informers = Informers::new(client.clone(), shutdown.clone());
    let name = name.to_owned();
    supervise("node role", shutdown, move || label_role(client.clone(), informers.clone(), name.clone()));
}

async fn label_role(client: Client, informers: Informers, name: String) -> anyhow::Result<()> {
    let mut changes = informers.get::<Node>(Scope::object("", &name)).subscribe();
    let nodes: Api<Node> = Api::all(client);
    let patch = serde_json::json!({"metadata": {"labels": {CONTROL_PLANE_LABEL: "true"}}});
    while let Some(change) = changes.next().await {
        let labelled = |node: &Node| node.metadata.labels.as_ref().is_some_and(|l| l.contains_key(CONTROL_PLANE_LABEL));
        if change.new.is_some_and(|node| !labelled(&node)) {
            nodes.patch(&name, &PatchParams::default(), &Patch::Merge(&patch)).await?;
        }
    }
    Ok(())
}

fn parse_label(text: &str) -> anyhow::Result<(String, String)> {
    let (key, value) = text.split_once('=').with_context(|| format!("--node-label {text}: expected KEY=VALUE"))?;
    let problems =
        [apimachinery::validation::is_qualified_name(key), apimachinery::validation::is_valid_label_value(value)];
    match problems.concat().first() {
        Some(problem) => bail!("--node-label {text}: {problem}"),
        None => Ok((key.to_owned(), value.to_owned())),
    }
}

fn parse_taint(text: &str) -> anyhow::Result<Taint> {
    const EFFECTS: [&str; 3] = ["NoSchedule", "PreferNoSchedule", "NoExecute"];
    let form = || format!("--node-taint {text}: expected KEY=VALUE:EFFECT with one of {}", EFFECTS.join(", "));
    let (rest, effect) = text.rsplit_once(':').with_context(form)?;
    if !EFFECTS.contains(&effect) {
        bail!(form());
    }
    let (key, value) = rest.split_once('=').map_or((rest, None), |(key, value)| (key, Some(value.to_owned())));
    if let Some(problem) = apimachinery::validation::is_qualified_name(key).first() {
        bail!("--node-taint {text}: {problem}");
    }
    Ok(Taint { key: key.to_owned(), value, effect: effect.to_owned(), time_added: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_and_taints_are_checked_by_flag_name() {
        assert_eq!(parse_label("a/b=c").expect("good"), ("a/b".into(), "c".into()));
        assert!(parse_label("a").expect_err("no value").to_string().contains("--node-label a: expected KEY=VALUE"));
        assert!(parse_label("a=!").is_err());
        let taint = parse_taint("k=v:NoSchedule").expect("good");
        assert_eq!((taint.key.as_str(), taint.value.as_deref()), ("k", Some("v")));
        assert!(parse_taint("k:NoExecute").expect("good").value.is_none());
        assert!(parse_taint("k=v:Never").expect_err("no such effect").to_string().contains("NoExecute"));
    }
}

//! Flags. Names, defaults and meanings follow k3s where it has the same flag.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

pub mod joining;
pub mod snapshots;
pub mod store;

pub use joining::{AgentOptions, MemberOptions, TokenArguments};
use snapshots::{ResetOptions, SnapshotArguments, SnapshotOptions};

#[derive(Debug, Parser)]
#[command(name = "coracle", version, about = "A lightweight Kubernetes cluster in one binary", max_term_width = 100)]
#[command(after_help = "Start a one-node cluster: coracle server. Then: coracle kubectl get nodes")]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
#[allow(clippy::large_enum_variant)] // parsed once
pub enum Command {
    /// Run the control plane, and a node unless --disable-agent is given
    Server(ServerOptions),
    /// Run a node of a cluster whose servers are elsewhere
    Agent(AgentOptions),
    /// Show the servers of the cluster, and who is missing
    Status(joining::AdminOptions),
    /// Show how the store does, or read a stopped server's whole
    Store(store::StoreArguments),
    /// Make, list, delete and replace the tokens with which machines join
    Token(TokenArguments),
    /// Save, list, delete and restore snapshots of the cluster
    Snapshot(SnapshotArguments),
    /// Run the scheduler alone against an API server
    Scheduler(LoopOptions),
    /// Run the controllers alone against an API server
    ControllerManager(ControllerOptions),
    /// Run kubectl with the administrator's kubeconfig
    Kubectl(Passthrough),
    /// Run crictl against the node's container runtime
    Crictl(Passthrough),
    /// Run containerd's ctr in the namespace of the node's containers
    Ctr(Passthrough),
    /// Check whether this machine can run a node
    CheckConfig(CheckOptions),
    /// Print a completion script for a shell
    Completion { shell: clap_complete::Shell },
}

#[derive(Clone, Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct ServerOptions {
    #[command(subcommand)]
    pub action: Option<joining::ServerAction>,
    #[command(flatten)]
    pub common: CommonOptions,
    #[command(flatten)]
    pub api: ApiOptions,
    #[command(flatten)]
    pub network: NetworkOptions,
    #[command(flatten)]
    pub member: MemberOptions,
    #[command(flatten)]
    pub store: store::StoreOptions,
    #[command(flatten)]
    pub reset: ResetOptions,
    #[command(flatten)]
    pub snapshots: SnapshotOptions,
    #[command(flatten)]
    pub node: NodeOptions,
    /// Do not run a node in this process
    #[arg(long, help_heading = "Parts")]
    pub disable_agent: bool,
    /// Do not run the scheduler in this process
    #[arg(long, help_heading = "Parts")]
    pub disable_scheduler: bool,
    /// Do not run the controllers in this process
    #[arg(long, help_heading = "Parts")]
    pub disable_controller_manager: bool,
    /// Leave out a packaged part of the node: dns, proxy
    #[arg(long, value_name = "PART", value_delimiter = ',', value_parser = ["dns", "proxy"], help_heading = "Parts")]
    pub disable: Vec<String>,
}

#[derive(Clone, Debug, Args)]
pub struct CommonOptions {
    /// Configuration file; every flag is a key of it [default: /etc/coracle/config.yaml if it exists]
    #[arg(long, short = 'c', value_name = "FILE", env = "CORACLE_CONFIG_FILE")]
    pub config: Option<PathBuf>,
    /// Folder that holds all state
    #[arg(long, short = 'd', value_name = "DIR", env = "CORACLE_DATA_DIR", default_value = "/var/lib/coracle")]
    pub data_dir: PathBuf,
    /// info, debug, or a filter such as info,kubelet=debug
    #[arg(long, value_name = "FILTER", env = "CORACLE_LOG_LEVEL", default_value = "info")]
    pub log_level: String,
}

#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "API server")]
pub struct ApiOptions {
    /// Address to listen on
    #[arg(long, value_name = "IP", default_value_t = IpAddr::V4(Ipv4Addr::UNSPECIFIED))]
    pub bind_address: IpAddr,
    /// Port to listen on
    #[arg(long, value_name = "PORT", default_value_t = 6443)]
    pub https_listen_port: u16,
    /// Address that pods and nodes use to reach this server [default: the node's address]
    #[arg(long, value_name = "IP")]
    pub advertise_address: Option<IpAddr>,
    /// Further host name or address in the serving certificate; may be repeated
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub tls_san: Vec<String>,
    /// Where to write the administrator's kubeconfig
    #[arg(
        long,
        short = 'o',
        value_name = "FILE",
        env = "CORACLE_KUBECONFIG_OUTPUT",
        default_value = "/etc/coracle/coracle.yaml"
    )]
    pub write_kubeconfig: PathBuf,
    /// File mode of the kubeconfig, octal
    #[arg(long, value_name = "MODE", default_value = "600", value_parser = parse_mode)]
    pub write_kubeconfig_mode: u32,
}

#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Network")]
pub struct NetworkOptions {
    /// Addresses of pods; each node gets a /24 of it
    #[arg(long, value_name = "CIDR", default_value = "10.42.0.0/16")]
    pub cluster_cidr: ipnet::Ipv4Net,
    /// Addresses of services
    #[arg(long, value_name = "CIDR", default_value = "10.43.0.0/16")]
    pub service_cidr: ipnet::Ipv4Net,
    /// Ports that NodePort services get
    #[arg(long, value_name = "RANGE", default_value = "30000-32767", value_parser = parse_port_range)]
    pub service_node_port_range: (u16, u16),
    /// Address of the cluster's DNS; must lie in the service CIDR [default: the tenth of it]
    #[arg(long, value_name = "IP")]
    pub cluster_dns: Option<Ipv4Addr>,
    /// DNS domain of the cluster
    #[arg(long, value_name = "DOMAIN", default_value = "cluster.local")]
    pub cluster_domain: String,
}

#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Node")]
pub struct NodeOptions {
    /// Name of the node [default: the host name]
    #[arg(long, value_name = "NAME", env = "CORACLE_NODE_NAME")]
    pub node_name: Option<String>,
    /// Address of the node [default: the one that the default route leaves from]
    #[arg(long, value_name = "IP")]
    pub node_ip: Option<IpAddr>,
    /// Label to set on the node at registration, KEY=VALUE; may be repeated
    #[arg(long, value_name = "LABEL", value_delimiter = ',')]
    pub node_label: Vec<String>,
    /// Taint to set on the node at registration, KEY=VALUE:EFFECT; may be repeated
    #[arg(long, value_name = "TAINT", value_delimiter = ',')]
    pub node_taint: Vec<String>,
    /// Socket of a running CRI runtime [default: a private containerd is started]
    #[arg(long, value_name = "SOCKET")]
    pub container_runtime_endpoint: Option<String>,
    /// Port of the node's own API
    #[arg(long, value_name = "PORT", default_value_t = 10250)]
    pub kubelet_port: u16,
    /// Most pods that the node runs
    #[arg(long, value_name = "COUNT", default_value_t = 110)]
    pub max_pods: u32,
    /// What the node keeps free: below it, images that nobody uses are removed, then pods evicted. Signals are
    /// memory.available, nodefs.available, nodefs.inodesFree, imagefs.available, imagefs.inodesFree and pid.available
    #[arg(long, value_name = "LIST", default_value_t = kubelet::config::Thresholds::default())]
    pub eviction_hard: kubelet::config::Thresholds,
    /// Folder of manifests to run without an API server
    #[arg(long, value_name = "DIR")]
    pub pod_manifest_path: Option<PathBuf>,
    /// How pods reach those of other nodes: vxlan, host-gw (all nodes on one link), or none to bring another CNI plugin
    /// [default: vxlan, and for agents what the servers have]
    #[arg(long, value_name = "BACKEND", value_parser = ["vxlan", "host-gw", "none"])]
    pub flannel_backend: Option<String>,
    /// Interface towards other nodes' pods [default: the one that has the node's address]
    #[arg(long, value_name = "NAME")]
    pub flannel_iface: Option<String>,
    /// When the machine goes down, time for pods to end in good order, critical ones last; 0 leaves them to it
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = parse_duration)]
    pub shutdown_grace_period: Duration,
    /// The part of it that is kept for critical pods
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = parse_duration)]
    pub shutdown_grace_period_critical_pods: Duration,
    /// Folder for sockets and other state that a reboot clears
    #[arg(long, value_name = "DIR", default_value = "/run/coracle")]
    pub run_dir: PathBuf,
}

impl NodeOptions {
    /// How pods reach those of other nodes.
    pub fn flannel_backend(&self) -> &str {
        self.flannel_backend.as_deref().unwrap_or("vxlan")
    }

    /// What pods get when the machine goes down; `None` if that is switched off.
    pub fn shutdown_grace(&self) -> Result<Option<kubelet::shutdown::Grace>, String> {
        let (total, critical) = (self.shutdown_grace_period, self.shutdown_grace_period_critical_pods);
        if total.is_zero() {
            return Ok(None);
        }
        if critical > total {
            return Err(format!(
                "--shutdown-grace-period-critical-pods {critical:?} is a part of --shutdown-grace-period {total:?}, and longer"
            ));
        }
        Ok(Some(kubelet::shutdown::Grace { total, critical }))
    }
}

/// A loop that runs as a process of its own.
#[derive(Clone, Debug, Args)]
pub struct LoopOptions {
    /// How to reach the API server, and as whom
    #[arg(long, value_name = "FILE", env = "KUBECONFIG")]
    pub kubeconfig: PathBuf,
    /// info, debug, or a filter such as info,scheduler=debug
    #[arg(long, value_name = "FILTER", default_value = "info")]
    pub log_level: String,
}

#[derive(Clone, Debug, Args)]
pub struct ControllerOptions {
    #[command(flatten)]
    pub run: LoopOptions,
    /// Addresses of pods; each node gets a /24 of it
    #[arg(long, value_name = "CIDR", default_value = "10.42.0.0/16")]
    pub cluster_cidr: ipnet::Ipv4Net,
    /// Certificates that pods are to trust for the API server [default: those in the kubeconfig]
    #[arg(long, value_name = "FILE")]
    pub root_ca_file: Option<PathBuf>,
}

/// Arguments that go to another program unchanged.
#[derive(Clone, Debug, Args)]
#[command(disable_help_flag = true)]
pub struct Passthrough {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGUMENTS")]
    pub arguments: Vec<std::ffi::OsString>,
}

#[derive(Clone, Debug, Args)]
pub struct CheckOptions {
    /// Configuration file; it names the folder [default: /etc/coracle/config.yaml if it exists]
    #[arg(long, short = 'c', value_name = "FILE", env = "CORACLE_CONFIG_FILE")]
    pub config: Option<PathBuf>,
    /// Folder that is to hold all state
    #[arg(long, short = 'd', value_name = "DIR", default_value = "/var/lib/coracle")]
    pub data_dir: PathBuf,
}

impl Default for NetworkOptions {
    /// What the flags are by default.
    fn default() -> Self {
        let (cluster, service) = (Ipv4Addr::new(10, 42, 0, 0), Ipv4Addr::new(10, 43, 0, 0));
        Self {
            cluster_cidr: ipnet::Ipv4Net::new_assert(cluster, 16),
            service_cidr: ipnet::Ipv4Net::new_assert(service, 16),
            service_node_port_range: (30_000, 32_767),
            cluster_dns: None,
            cluster_domain: "cluster.local".to_owned(),
        }
    }
}

impl NetworkOptions {
    /// The DNS address: as given, else the tenth of the service CIDR.
    pub fn dns_address(&self) -> Ipv4Addr {
        self.cluster_dns.unwrap_or_else(|| Ipv4Addr::from(u32::from(self.service_cidr.network()).wrapping_add(10)))
    }

    /// Checks that hold between flags.
    pub fn check(&self) -> Result<(), String> {
        let dns = self.dns_address();
        if !self.service_cidr.contains(&dns) {
            return Err(format!("--cluster-dns {dns} is not in --service-cidr {}", self.service_cidr));
        }
        if self.service_cidr.prefix_len() > 28 {
            return Err(format!("--service-cidr {} is too small: give a /28 or larger", self.service_cidr));
        }
        if self.cluster_cidr.prefix_len() > 24 {
            return Err(format!("--cluster-cidr {} is too small: each node needs a /24", self.cluster_cidr));
        }
        if self.cluster_cidr.contains(&self.service_cidr.network())
            || self.service_cidr.contains(&self.cluster_cidr.network())
        {
            return Err(format!(
                "--cluster-cidr {} and --service-cidr {} overlap",
                self.cluster_cidr, self.service_cidr
            ));
        }
        Ok(())
    }
}

/// A duration as Go writes it.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let nanos = if text == "0" { Some(0) } else { apimachinery::duration::parse_go_duration(text) };
    let nanos = nanos.and_then(|nanos| u64::try_from(nanos).ok());
    nanos.map(Duration::from_nanos).ok_or_else(|| "not a duration such as 30m or 24h".to_owned())
}

fn parse_mode(text: &str) -> Result<u32, String> {
    match u32::from_str_radix(text, 8) {
        Ok(mode) if mode <= 0o777 => Ok(mode),
        _ => Err("not an octal file mode such as 600 or 644".to_owned()),
    }
}

fn parse_port_range(text: &str) -> Result<(u16, u16), String> {
    let parsed = text.split_once('-').and_then(|(low, high)| Some((low.parse().ok()?, high.parse().ok()?)));
    match parsed {
        Some((low, high)) if 0 < low && low <= high => Ok((low, high)),
        _ => Err("not a range of ports such as 30000-32767".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn network(arguments: &[&str]) -> NetworkOptions {
        let cli = Cli::try_parse_from([&["coracle", "server"], arguments].concat()).expect("the flags parse");
        let Command::Server(options) = cli.command else { panic!("not a server") };
        options.network
    }

    #[test]
    fn the_flags_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_dns_address_is_the_tenth_service_address() {
        assert_eq!(network(&[]).dns_address().to_string(), "10.43.0.10");
        assert_eq!(network(&["--service-cidr=10.96.0.0/12"]).dns_address().to_string(), "10.96.0.10");
    }

    #[test]
    fn networks_that_cannot_work_are_refused_by_flag_name() {
        let cases: &[(&[&str], &str)] = &[
            (&["--cluster-dns=10.44.0.10"], "--cluster-dns"),
            (&["--service-cidr=10.42.7.0/24"], "overlap"),
            (&["--cluster-cidr=10.42.0.0/25"], "each node needs a /24"),
        ];
        for (arguments, expected) in cases {
            let error = network(arguments).check().expect_err("the check refuses");
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn an_unknown_flag_is_an_error_with_a_suggestion() {
        let error =
            Cli::try_parse_from(["coracle", "server", "--cluster-cdir=10.0.0.0/8"]).expect_err("refused").to_string();
        assert!(error.contains("--cluster-cidr"), "{error}");
    }
}

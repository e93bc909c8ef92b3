//! What the kubelet is told by whoever starts it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Taint;

use crate::containerd;
use crate::dns::ResolvConf;
pub use crate::eviction::Thresholds;
use crate::shutdown;

/// Which runtime to use.
#[derive(Clone, Debug)]
pub enum Runtime {
    /// One that runs already: `unix:///run/containerd/containerd.sock`.
    Endpoint(String),
    /// A containerd of our own.
    Private(containerd::Options),
}

/// The kubelet's configuration, validated.
#[derive(Clone)]
pub struct Config {
    /// The API server, as `system:node:<name>`. Without one, only static pods and checkpointed pods run.
    pub client: Option<client::Client>,
    pub node_name: String,
    /// The first is the InternalIP that the API server dials.
    pub node_ips: Vec<IpAddr>,
    pub runtime: Runtime,
    /// Our own state: pods' volumes, checkpoints.
    pub root_dir: PathBuf,
    /// Archives in here are imported at start.
    pub images_dir: Option<PathBuf>,
    /// Manifests in here are static pods.
    pub static_pods_dir: Option<PathBuf>,
    pub cluster_dns: Vec<IpAddr>,
    pub cluster_domain: String,
    /// The node's own resolver, for pods that ask for it and for cluster DNS's searches.
    pub resolv_conf: ResolvConf,
    pub node_labels: BTreeMap<String, String>,
    /// Taints at registration; later ones are the cluster's affair.
    pub node_taints: Vec<Taint>,
    pub max_pods: u32,
    /// How many processes a pod may have; `None` is the node's limit.
    pub pod_pids_max: Option<i64>,
    pub server: Option<Server>,
    pub timings: Timings,
    pub image_gc: ImageGc,
    /// When pods are evicted for the node's sake.
    pub eviction_hard: Thresholds,
    /// Kept back from pods: (cpu milli, memory bytes).
    pub reserved: (i64, i64),
    /// What is done for pods when the machine goes down; `None` leaves them to it.
    pub node_shutdown: Option<shutdown::Settings>,
}

/// The kubelet's own HTTPS server.
#[derive(Clone)]
pub struct Server {
    pub address: IpAddr,
    pub port: u16,
    /// With optional client certificates of the cluster's client CA.
    pub tls: Arc<rustls::ServerConfig>,
}

/// Intervals; the defaults are upstream's.
#[derive(Clone, Copy, Debug)]
pub struct Timings {
    pub lease_renew: Duration,
    pub lease_seconds: i32,
    /// How often the node's status is computed, and sent if it changed.
    pub node_status: Duration,
    /// How often it is sent although it did not change.
    pub node_status_report: Duration,
    /// The safety net behind the runtime's events.
    pub relist: Duration,
}

impl Default for Timings {
    fn default() -> Self {
        Self {
            lease_renew: Duration::from_secs(10),
            lease_seconds: 40,
            node_status: Duration::from_secs(10),
            node_status_report: Duration::from_secs(300),
            relist: Duration::from_secs(300),
        }
    }
}

/// When images that no container uses are removed.
#[derive(Clone, Copy, Debug)]
pub struct ImageGc {
    /// Percent of the image file system.
    pub high_threshold: u8,
    pub low_threshold: u8,
    pub min_age: Duration,
    pub interval: Duration,
}

impl Default for ImageGc {
    fn default() -> Self {
        Self {
            high_threshold: 85,
            low_threshold: 80,
            min_age: Duration::from_secs(120),
            interval: Duration::from_secs(300),
        }
    }
}

impl Config {
    /// A configuration with every default, for `node_name`.
    pub fn new(node_name: &str, root_dir: PathBuf, runtime: Runtime) -> Self {
        Self {
            client: None,
            node_name: node_name.to_owned(),
            node_ips: Vec::new(),
            runtime,
            root_dir,
            images_dir: None,
            static_pods_dir: None,
            cluster_dns: Vec::new(),
            cluster_domain: "cluster.local".to_owned(),
            resolv_conf: ResolvConf::of_node(),
            node_labels: BTreeMap::new(),
            node_taints: Vec::new(),
            max_pods: 110,
            pod_pids_max: None,
            server: None,
            timings: Timings::default(),
            image_gc: ImageGc::default(),
            eviction_hard: Thresholds::default(),
            reserved: (0, 0),
            node_shutdown: None,
        }
    }

    #[cfg(test)]
    pub(crate) fn for_tests() -> Self {
        let mut config = Self::new("node-1", PathBuf::from("/nonexistent"), Runtime::Endpoint("/nonexistent".into()));
        config.resolv_conf = ResolvConf::default();
        config.node_ips = vec![IpAddr::from([192, 0, 2, 1])];
        config
    }
}

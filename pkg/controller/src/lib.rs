//! The controllers: loops that make what is there into what was asked for, one for each kind.
//!
//! They talk to the API only through `client`, and must not know storage, the API server or each other. Every one has
//! the same shape (see [`skeleton`]): informers feed keys into a work queue, `sync(key)` reads caches, a pure function
//! plans, a thin async part applies. Start reading at [`skeleton`], then [`replicaset`].

mod bootstrap;
mod certificates;
mod cluster_roles;
mod cronjob;
mod daemonset;
mod deployment;
mod discovery;
mod disruption;
mod endpoint;
mod expectations;
mod garbage;
mod history;
mod job;
mod namespace;
mod node;
mod owner;
mod pod;
mod pod_gc;
mod protection;
mod quota;
mod replicaset;
mod root_ca;
mod service_account;
mod service_cidr;
mod skeleton;
mod statefulset;
mod status;
mod template;
mod ttl_after_finished;

use std::future::Future;
use std::sync::Arc;

use client::election::{Election, Timings};
use client::{Client, Informers, Recorder};
use component_base::Shutdown;
use component_base::task::supervise;
use futures::future::BoxFuture;
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::ReplicationController;
use tokio::task::JoinHandle;

pub use certificates::identity::secret_name as node_identity_secret;
pub use certificates::sign::Signers;
pub use cronjob::Schedule;
pub use quota::QuotaUsage;
pub use skeleton::{ClientFor, Error};

use skeleton::Context;

/// The Lease that one process holds while it runs the controllers.
const LEASE: &str = "kube-controller-manager";

/// What the controllers need to know of the cluster.
#[derive(Clone)]
pub struct Config {
    /// Acts as `system:kube-controller-manager`: reads for all caches, and holds the lease.
    pub client: Client,
    /// Makes the client of one controller, given its ServiceAccount's name in `kube-system`, e.g.
    /// `deployment-controller`. `None` lets all act through `client`.
    pub client_for: Option<ClientFor>,
    /// Caches to share with other loops of the process; `None` makes own ones.
    pub informers: Option<Informers>,
    /// Where nodes get their pod addresses from, e.g. `10.42.0.0/16`. `None` leaves that to others.
    pub cluster_cidr: Option<String>,
    /// Must differ between processes, e.g. `<host>_<uuid>`.
    pub identity: String,
    /// The certificates that every pod may verify the API server with.
    pub root_ca_pem: String,
    pub timings: Timings,
    /// How objects count against quotas; without it the status of quotas is left to admission alone.
    pub quota_usage: Option<Arc<dyn QuotaUsage>>,
    /// What certificates are signed with; without it requests wait for somebody else to sign them.
    pub signers: Option<Signers>,
}

/// Runs all controllers whenever this process holds the lease, until `shutdown`.
pub async fn run(config: Config, shutdown: Shutdown) -> Result<(), Error> {
    let election = Election::new(LEASE, &config.identity, config.timings);
    let config = Arc::new(config);
    client::election::run(config.client.clone(), election, shutdown, |term| {
        let config = config.clone();
        async move {
            let tasks = start(&config, &term);
            futures::future::join_all(tasks).await;
        }
    })
    .await;
    Ok(())
}

/// Starts every controller under `term`.
fn start(config: &Arc<Config>, term: &Shutdown) -> Vec<JoinHandle<()>> {
    let informers = config.informers.clone().unwrap_or_else(|| Informers::new(config.client.clone(), term.clone()));
    let starter = Starter { config: config.clone(), informers, term: term.clone() };
    let mut tasks = vec![
        starter.start("deployment-controller", "deployment-controller", deployment::run),
        starter.start("replicaset-controller", "replicaset-controller", replicaset::run::<ReplicaSet>),
        starter.start("replication-controller", "replication-controller", replicaset::run::<ReplicationController>),
        starter.start("statefulset-controller", "statefulset-controller", statefulset::run),
        starter.start("daemon-set-controller", "daemonset-controller", daemonset::run),
        starter.start("job-controller", "job-controller", job::run),
        starter.start("cronjob-controller", "cronjob-controller", cronjob::run),
        starter.start("ttl-after-finished-controller", "ttl-after-finished-controller", ttl_after_finished::run),
        starter.start("pod-garbage-collector", "pod-garbage-collector", pod_gc::run),
        starter.start("disruption-controller", "controllermanager", disruption::run),
        starter.start("clusterrole-aggregation-controller", "clusterrole-aggregation-controller", cluster_roles::run),
        starter.start("pvc-protection-controller", "pvc-protection-controller", protection::claims),
        starter.start("pv-protection-controller", "pv-protection-controller", protection::volumes),
        starter.start(
            "volumeattributesclass-protection-controller",
            "volumeattributesclass-protection-controller",
            protection::classes::run,
        ),
        starter.start("endpointslice-controller", "endpoint-slice-controller", endpoint::slices::run),
        starter.start("endpoint-controller", "endpoint-controller", endpoint::endpoints::run),
        starter.start(
            "endpointslicemirroring-controller",
            "endpointslicemirroring-controller",
            endpoint::mirroring::run,
        ),
        starter.start("namespace-controller", "namespace-controller", namespace::run),
        starter.start("generic-garbage-collector", "garbage-collector-controller", garbage::run),
        starter.start(
            "certificate-controller",
            "certificatesigningrequest-cleaner-controller",
            certificates::clean::run,
        ),
        starter.start("token-cleaner", "token-cleaner-controller", bootstrap::run),
        starter.start("service-account-controller", "service-account-controller", service_account::run),
        starter.start("service-cidrs-controller", "service-cidrs-controller", service_cidr::run),
        starter.start("root-ca-cert-publisher", "root-ca-cert-publisher", {
            let pem = config.root_ca_pem.clone();
            move |context| root_ca::run(context, pem.clone())
        }),
        starter.start("node-controller", "node-controller", node::lifecycle::run),
        starter.start("node-controller", "taint-eviction-controller", node::eviction::run),
    ];
    if let Some(signers) = config.signers.clone() {
        let (identity, reserved) = ("certificate-controller", signers.reserved.clone());
        tasks.push(starter.start(identity, "certificate-controller", move |context| {
            certificates::sign::run(context, signers.clone())
        }));
        tasks.push(starter.start(identity, "certificatesigningrequest-approving-controller", move |context| {
            certificates::approve::run(context, reserved.clone())
        }));
        tasks.push(starter.start(identity, "node-identity-controller", certificates::identity::run));
    }
    if let Some(usage) = config.quota_usage.clone() {
        let run = move |context| quota::run(context, usage.clone());
        tasks.push(starter.start("resourcequota-controller", "resourcequota-controller", run));
    }
    if let Some(cidr) = config.cluster_cidr.clone() {
        tasks.push(
            starter.start("node-controller", "cidrAllocator", move |context| node::ipam::run(context, cidr.clone())),
        );
    }
    tasks
}

struct Starter {
    config: Arc<Config>,
    informers: Informers,
    term: Shutdown,
}

impl Starter {
    /// Runs one controller. `identity` is the ServiceAccount that it acts as; `name` is the source of its Events.
    fn start<F, Fut>(&self, identity: &'static str, name: &'static str, run: F) -> JoinHandle<()>
    where
        F: Fn(Context) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), Error>> + Send + 'static,
    {
        let client = self.config.client_for.as_ref().map_or_else(|| self.config.client.clone(), |make| make(identity));
        let recorder = Recorder::new(client.clone(), name, "", &self.term);
        let context = Context { client, informers: self.informers.clone(), recorder, shutdown: self.term.clone() };
        supervise(name, &self.term, move || -> BoxFuture<'static, Result<(), Error>> { Box::pin(run(context.clone())) })
    }
}

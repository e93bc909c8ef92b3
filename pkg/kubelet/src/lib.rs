//! The node agent: runs the pods that are bound to this node, and tells the server how they are.
//!
//! It must not know how the server works or stores things: it talks to it only through [`client`], and goes on without
//! it. Start reading at [`worker`] (one task per pod), then the two pure cores: [`actions`] (what to do) and
//! [`status`] (what to say).

pub mod actions;
mod admission;
mod backoff;
mod cgroups;
mod checkpoint;
pub mod config;
pub mod containerd;
mod dns;
mod events;
mod eviction;
mod fields;
mod gc;
mod hooks;
mod images;
mod import;
mod kubelet;
mod logs;
mod mirror;
mod names;
mod node;
mod objects;
pub mod pause;
mod pleg;
mod pod;
mod probes;
mod resize;
mod resources;
mod runtime;
mod server;
pub mod shutdown;
mod static_pods;
mod status;
mod volumes;
mod worker;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use component_base::Shutdown;
use component_base::task::supervise;
use cri::{Remote, RuntimeService as _};

pub use config::{Config, Runtime, Server, Timings};
pub use dns::ResolvConf;

/// Why the kubelet cannot start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Containerd(#[from] containerd::Error),
    #[error("container runtime at {endpoint}: {source}")]
    Runtime {
        endpoint: String,
        #[source]
        source: cri::Error,
    },
    #[error("{what}: {source}")]
    Io {
        what: String,
        #[source]
        source: std::io::Error,
    },
    #[error("importing the pause image: {0}")]
    Pause(String),
    #[error("kubelet server: {0}")]
    Server(String),
}

/// Runs until shutdown. Containers go on running afterwards.
pub async fn run(config: Config, shutdown: Shutdown) -> Result<(), Error> {
    // What was started goes with this call, however it ends: a second try must not find a first one still at work.
    let own = shutdown.child();
    let outcome = run_until(config, &own).await;
    own.trigger();
    outcome
}

async fn run_until(config: Config, shutdown: &Shutdown) -> Result<(), Error> {
    let remote = connect(&config, shutdown).await?;
    let kubelet = build(config, Arc::new(remote.clone()), Arc::new(remote.clone()), shutdown)?;
    server::start(&kubelet).await.map_err(Error::Server)?;
    import_pause(&kubelet, &remote).await?;
    start_loops(&kubelet, &remote);
    shutdown.triggered().await;
    Ok(())
}

/// The runtime, started if it is to be ours, and answering.
async fn connect(config: &Config, shutdown: &Shutdown) -> Result<Remote, Error> {
    match &config.runtime {
        Runtime::Private(options) => Ok(containerd::supervise(options, shutdown).await?),
        Runtime::Endpoint(endpoint) => {
            let failed = |source| Error::Runtime { endpoint: endpoint.clone(), source };
            let remote = Remote::new(endpoint).map_err(failed)?;
            remote.version().await.map_err(failed)?;
            Ok(remote)
        }
    }
}

fn build(
    config: Config,
    runtime: Arc<dyn cri::RuntimeService>,
    images: Arc<dyn cri::ImageService>,
    shutdown: &Shutdown,
) -> Result<Arc<kubelet::Kubelet>, Error> {
    let io = |what: &str| {
        let what = what.to_owned();
        move |source| Error::Io { what, source }
    };
    std::fs::create_dir_all(&config.root_dir).map_err(io(&format!("making {}", config.root_dir.display())))?;
    let informers = config.client.clone().map(|client| client::Informers::new(client, shutdown.clone()));
    let recorder =
        config.client.clone().map(|client| client::Recorder::new(client, "kubelet", &config.node_name, shutdown));
    let events = events::Events::new(recorder, &config.node_name);
    let systemd = matches!(config.runtime, Runtime::Private(_)) && containerd::uses_systemd_cgroups();
    let cgroups = cgroups::Cgroups::detect(systemd);
    let machine = node::Machine::read(&config.root_dir);
    if let Err(error) = cgroups.setup(machine.cpus * 1000) {
        tracing::warn!(%error, version = ?cgroups.version(), "control groups of pods were not made: limits of whole pods do not hold");
    }
    let checkpoint = checkpoint::Checkpoint::open(config.root_dir.join("checkpoints"))
        .map_err(io("making the folder of checkpoints"))?;
    let node_ip = config.node_ips.first().map_or_else(|| "127.0.0.1".to_owned(), ToString::to_string);
    let node_scope = client::Scope::object("", &config.node_name);
    let kubelet = Arc::new(kubelet::Kubelet {
        images: images::Images::new(images),
        services: informers.as_ref().map(|i| i.get(client::Scope::all())),
        node: informers.as_ref().map(|i| i.get(node_scope)),
        folders: volumes::Folders::new(&config.root_dir),
        tokens: volumes::tokens::Tokens::new(config.client.clone()),
        probes: probes::Probes::new(runtime.clone(), events.clone(), node_ip),
        statuses: status::manager::Statuses::new(config.client.clone(), shutdown.clone()),
        pleg: Arc::new(pleg::Pleg::default()),
        crash_backoff: backoff::Backoff::kubernetes(),
        checkpoint: config.client.is_some().then_some(checkpoint),
        static_pods: tokio::sync::watch::Sender::default(),
        workers: parking_lot::Mutex::default(),
        this: OnceLock::new(),
        shutdown: shutdown.clone(),
        runtime,
        informers,
        events,
        cgroups,
        machine,
        config,
    });
    // Set once, right after the only way to make one.
    let _ = kubelet.this.set(Arc::downgrade(&kubelet));
    Ok(kubelet)
}

async fn import_pause(kubelet: &Arc<kubelet::Kubelet>, remote: &Remote) -> Result<(), Error> {
    // A runtime that somebody else configured brings its own sandbox image.
    if !matches!(kubelet.config.runtime, Runtime::Private(_)) {
        return Ok(());
    }
    let imported = import::pause(&remote.containerd(), &**kubelet.images.service()).await;
    imported.map_err(|e| Error::Pause(e.to_string()))
}

/// Starts a loop as a task of its own; it is started again if it fails.
fn start_loop<F, Fut>(name: &'static str, kubelet: &Arc<kubelet::Kubelet>, run: F)
where
    F: Fn(Arc<kubelet::Kubelet>) -> Fut + Send + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    let owned = kubelet.clone();
    supervise(name, &kubelet.shutdown, move || {
        let work = run(owned.clone());
        async move {
            work.await;
            Ok::<(), std::convert::Infallible>(())
        }
    });
}

fn start_loops(kubelet: &Arc<kubelet::Kubelet>, remote: &Remote) {
    start_loop("kubelet-pleg", kubelet, pleg::run);
    start_loop("kubelet-relist", kubelet, pleg::relist);
    start_loop("kubelet-gc", kubelet, gc::run);
    start_loop("kubelet-logs", kubelet, logs::rotate::run);
    start_loop("kubelet-eviction", kubelet, eviction::run);
    if kubelet.config.node_shutdown.is_some() {
        start_loop("kubelet-shutdown", kubelet, shutdown::run);
        // It ends where there is no logind.
        let followed = shutdown::follow_logind(kubelet.clone());
        let stop = kubelet.shutdown.clone();
        kubelet.shutdown.spawn(async move { stop.race(followed).await });
    }
    start_imports(kubelet, remote);
    start_sources(kubelet);
}

/// Archives are imported beside everything else: pods that need them wait for theirs.
fn start_imports(kubelet: &Arc<kubelet::Kubelet>, remote: &Remote) {
    let Some(folder) = kubelet.config.images_dir.clone() else {
        return;
    };
    let (kubelet, containerd) = (kubelet.clone(), remote.containerd());
    kubelet.shutdown.clone().spawn(async move {
        let records = import::records(&kubelet.config);
        import::folder(&containerd, kubelet.images.service(), &folder, &records).await;
        kubelet.notify_all();
    });
}

fn start_sources(kubelet: &Arc<kubelet::Kubelet>) {
    if let Some(folder) = kubelet.config.static_pods_dir.clone() {
        start_loop("kubelet-static-pods", kubelet, move |kubelet| {
            let folder = folder.clone();
            async move {
                static_pods::run(kubelet.clone(), folder).await;
                kubelet.shutdown.triggered().await;
            }
        });
    }
    let Some(informers) = kubelet.informers.clone() else {
        return;
    };
    start_loop("kubelet-node", kubelet, node::run);
    let pods = informers.get::<k8s_openapi::api::core::v1::Pod>(kubelet::node_pods(&kubelet.config.node_name));
    let mirrored = pods.clone();
    start_loop("kubelet-mirror-pods", kubelet, move |kubelet| mirror::run(kubelet, mirrored.clone()));
    let followed = pods.clone();
    start_loop("kubelet-pods", kubelet, move |kubelet| {
        let pods = followed.clone();
        async move { kubelet.follow_api(pods).await }
    });
    let kubelet = kubelet.clone();
    kubelet.shutdown.clone().spawn(async move {
        // Only once it is known which pods there are can be said which are orphans.
        let known = kubelet.shutdown.race(pods.synced()).await;
        if known.is_some() && kubelet.shutdown.race(tokio::time::sleep(Duration::from_secs(5))).await.is_some() {
            gc::remove_orphans(&kubelet).await;
        }
    });
}

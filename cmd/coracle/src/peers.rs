//! This server's store, alone or as a member of several.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use storage::{PeerConfig, Storage};
use tokio::net::TcpListener;

use crate::joiner::Joiner;
use crate::options::ServerOptions;
use crate::server::Site;

/// How long a member may take, after a start, to find the others and catch up.
const READY: std::time::Duration = std::time::Duration::from_secs(120);

/// Listens for other servers. One that is alone goes on without if the port is taken: it may never be wanted.
pub async fn listen(options: &ServerOptions) -> anyhow::Result<Option<TcpListener>> {
    let member = &options.member;
    let address = SocketAddr::new(options.api.bind_address, member.peer_port);
    match TcpListener::bind(address).await {
        Ok(listener) => Ok(Some(listener)),
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
            if member.cluster_init || member.server.is_some() {
                bail!("port {} is in use by another process; stop it or give another --peer-port", address.port());
            }
            tracing::warn!(port = address.port(), "the port for other servers is in use: none can join (--peer-port)");
            Ok(None)
        }
        Err(error) => Err(error).with_context(|| format!("listening on {address} (--bind-address, --peer-port)")),
    }
}

/// An even number of servers is no mistake, but not what anybody wants for long.
pub fn warn_if_even(servers: usize) {
    if servers.is_multiple_of(2) {
        tracing::warn!(servers, "an even number of servers bears no more failures than one less: add another");
    }
}

/// Opens the store; with a join under way, as a new member.
pub async fn open(site: &Site, listener: Option<TcpListener>, joiner: Option<Joiner>) -> anyhow::Result<Storage> {
    let advertise = SocketAddr::new(site.advertised(), site.options.member.peer_port).to_string();
    let mut config = storage::Config::new(site.options.common.data_dir.join("server/db"));
    if let Some(listener) = listener {
        let (server, client) = site.pki.peer_configs(site.certificates.peer())?;
        config.peers = Some(PeerConfig {
            listener: Arc::new(listener),
            advertise: advertise.clone(),
            name: site.node_name.clone(),
            server: Arc::new(server),
            client: Arc::new(client),
        });
    }
    config.join = joiner.is_some();
    config.quota_bytes = site.options.store.store_quota;
    config.quota_exempt = registry::VITAL_KEYS.map(str::to_owned).into();
    let storage = match Storage::open(config).await {
        Ok(storage) => storage,
        Err(error) => {
            if let Some(joiner) = &joiner {
                joiner.give_up();
            }
            return Err(error.into());
        }
    };
    match joiner {
        Some(joiner) => joiner.finish(&storage, &site.node_name, &advertise).await?,
        None => wait_for_others(&storage).await?,
    }
    Ok(storage)
}

/// A member of several waits for the others, and says so. One that led when it ended leads again at once, but knows as little
/// as others of what is committed, and so of what there is.
async fn wait_for_others(storage: &Storage) -> anyhow::Result<()> {
    if storage.is_removed() {
        return Err(removed(storage).await);
    }
    if storage.is_alone() {
        return Ok(());
    }
    tracing::info!("waiting for the other servers");
    if let Err(error) = storage.ready(READY).await {
        if storage.is_removed() {
            return Err(removed(storage).await);
        }
        // It goes on: reads work, and the others may come.
        tracing::warn!(%error, "starting without a quorum of servers");
    }
    Ok(())
}

/// Returns when this server was removed from its cluster. The others say so when it talks to them.
pub async fn removed(storage: &Storage) -> anyhow::Error {
    storage.removed().await;
    explain(storage, anyhow::anyhow!(REMOVED))
}

/// What is behind the failure of a start, if this server is no member any more.
pub fn explain(storage: &Storage, error: anyhow::Error) -> anyhow::Error {
    match (storage.is_removed(), storage.is_replaced()) {
        (_, true) => anyhow::anyhow!(REPLACED),
        (true, false) => anyhow::anyhow!(REMOVED),
        (false, false) => error,
    }
}

const REMOVED: &str = "this server was removed from its cluster; to come back, start it once with --server, --token and \
                       --resync, which moves its data aside";
const REPLACED: &str = "the cluster was reset or restored without this server, whose data is of before that; to come back, \
                        start it once with --server, --token and --resync, which moves its data aside";

//! The members of a group talk to each other here: gRPC over TLS with certificates on both sides.
//!
//! [`Links`] holds one connection to each peer, opened when first needed and again after it broke, with growing pauses.
//! HTTP/2 carries everything: entries in one long stream with its own flow control, heartbeats, votes and forwarded
//! writes as calls beside it. The state for a member that the log does not reach goes over a connection of its own, so
//! that it delays no heartbeat. What waits for a slow peer is bounded by the windows of the stream.
//!
//! Start reading at [`links`], then `client` (openraft's side), `server` and `service` (what others ask of this member).

mod client;
mod links;
mod server;
mod service;
mod snapshot;
pub(crate) mod wire;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;

pub(crate) use client::Peers;
#[cfg(test)]
pub(crate) use links::Io;
pub(crate) use links::{Dial, Link, Links, Tcp};
pub(crate) use server::Server;
pub(crate) use service::Service;

/// Generated from `api/peer/v1/peer.proto`.
#[allow(clippy::all, rust_2018_idioms, missing_docs)]
pub(crate) mod proto {
    tonic::include_proto!("coracle.peer.v1");
}

/// The name that every member's certificate has to carry as a DNS name. Addresses may change; this does not.
pub const PEER_SERVER_NAME: &str = "coracle-peer";

/// The largest message: an entry of the largest size with room around it.
const MESSAGE_BYTES_MAX: usize = 20 << 20;
/// What may be under way in one stream, and in one connection, before the receiver has taken it.
const STREAM_WINDOW: u32 = 2 << 20;
const CONNECTION_WINDOW: u32 = 8 << 20;

/// How this member talks to others.
#[derive(Clone)]
pub struct PeerConfig {
    /// Where this member listens; accepting goes on until it is shut down.
    pub listener: Arc<TcpListener>,
    /// What others dial, as `host:port`.
    pub advertise: String,
    /// The server's name, unique in the group.
    pub name: String,
    /// Has to demand a client certificate of the peers' authority: whoever has one can be a member.
    pub server: Arc<rustls::ServerConfig>,
    /// Has this member's certificate, and the peers' authority as its root.
    pub client: Arc<rustls::ClientConfig>,
}

impl fmt::Debug for PeerConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PeerConfig")
            .field("listener", &self.listener)
            .field("advertise", &self.advertise)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// A member of the group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its identity, chosen at its first start.
    pub id: u64,
    /// Its server's name; empty for a single server that never had peers.
    pub name: String,
    /// What others dial.
    pub address: String,
    /// Whether it votes. One that does not is new and catches up.
    pub voter: bool,
    /// Whether it leads.
    pub leader: bool,
    /// Since when it has not answered the leader; none when it never did, or when nobody leads.
    pub silent: Option<Duration>,
    /// The newest log entry that the leader knows to be there.
    pub matched: Option<u64>,
}

impl Member {
    /// How long a member may be silent and still counts as reachable.
    pub const SILENT_MAX: Duration = Duration::from_secs(1);

    /// Whether it is known to be in touch with the leader.
    pub fn reachable(&self) -> bool {
        self.leader || self.silent.is_some_and(|silent| silent <= Self::SILENT_MAX)
    }
}

/// Metadata of every request.
const CLUSTER: &str = "x-coracle-cluster";
const FROM: &str = "x-coracle-member";
const TO: &str = "x-coracle-to";
/// Metadata of a request: which list of members, by its place in the log, is the newest that has the caller in it.
const LISTED: &str = "x-coracle-listed";
/// Metadata of an answer to a member that is none any more: the place of the list of members that was agreed on without it.
const REMOVED: &str = "x-coracle-removed";
/// Metadata of an answer to a member of what the cluster was before it was reset or restored.
const REPLACED: &str = "x-coracle-replaced";

//! What the crate promises, on a disk that loses what was not synced.

mod chaos;
mod cluster;
mod crash;
mod damage;
mod disk_full;
mod disk_stuck;
mod dropped_calls;
mod failover;
mod follower;
mod group;
mod install;
mod integrity;
mod log;
mod members;
mod net;
mod offline;
mod promises;
mod sim_disk;
mod snapshots;
mod suite;
mod verify;

use std::sync::Arc;

use bytes::Bytes;
use mvcc::{Event, Operation, Outcome, Precondition, Transaction};

use crate::{Config, Node, ProposeError};

/// What happened before a failure is worth reading: RUST_LOG=info.
fn show_logs() {
    let _ = tracing_subscriber::fmt().with_env_filter(tracing_subscriber::EnvFilter::from_default_env()).try_init();
}

/// Small files, so that a short test goes through many.
fn small_config() -> Config {
    let mut config = Config::new("sim");
    config.segment_bytes = 8 << 10;
    config.checkpoint_bytes = 6 << 10;
    config.entries_kept = 5;
    config
}

pub(crate) fn create(key: &str, size: usize) -> Transaction {
    let key = Bytes::copy_from_slice(key.as_bytes());
    Transaction { preconditions: vec![Precondition::Absent { key: key.clone() }], operations: vec![put(key, size)] }
}

fn put(key: Bytes, size: usize) -> Operation {
    Operation::Put { key, body: Bytes::from(vec![b'x'; size]), stamp_at: 0, attributes: Bytes::new() }
}

/// Proposes and expects one change.
async fn change(node: &Node, transaction: &Transaction) -> Result<Arc<Event>, ProposeError> {
    match node.propose(transaction).await? {
        Outcome::Committed(events) => Ok(events.into_iter().next().expect("one event")),
        other => panic!("{other:?}"),
    }
}

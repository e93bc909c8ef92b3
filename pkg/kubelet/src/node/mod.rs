//! The node as an API object: registration, status, and the Lease that says it lives.

mod lease;
mod machine;
mod register;
mod status;

pub use machine::{FileSystem, Machine, Resources, file_system, meminfo};

use std::sync::Arc;

use crate::kubelet::Kubelet;

/// Registers the node and keeps its status and Lease fresh until shutdown.
pub async fn run(kubelet: Arc<Kubelet>) {
    let Some(client) = kubelet.config.client.clone() else {
        return;
    };
    // The heartbeat is on its own: nothing here can hold it up.
    let heartbeat = tokio_util::task::AbortOnDropHandle::new(tokio::spawn(lease::run(
        client.clone(),
        kubelet.config.node_name.clone(),
        kubelet.config.timings,
    )));
    register::run(&client, &kubelet).await;
    status::run(client, kubelet).await;
    drop(heartbeat);
}

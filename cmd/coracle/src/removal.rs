//! `kubectl delete node` of a server removes it from those that hold the store.

use client::{Client, Informers, Scope};
use component_base::Shutdown;
use component_base::task::supervise;
use k8s_openapi::api::core::v1::Node;
use storage::Storage;

/// Follows Nodes until shutdown.
pub fn start(client: Client, storage: Storage, shutdown: &Shutdown) {
    let informers = Informers::new(client, shutdown.clone());
    supervise("server removal", shutdown, move || follow(informers.clone(), storage.clone()));
}

async fn follow(informers: Informers, storage: Storage) -> Result<(), storage::StorageError> {
    let mut changes = informers.get::<Node>(Scope::all().labels(crate::node::CONTROL_PLANE_LABEL)).subscribe();
    while let Some(change) = changes.next().await {
        // One server does it, and the one that leads can.
        if change.new.is_some() || storage.leader() != Some(storage.node_id()) {
            continue;
        }
        let members = storage.members().await;
        let Some(member) = members.iter().find(|member| member.name == change.key.name.as_str()) else { continue };
        if members.len() == 1 {
            continue;
        }
        tracing::warn!(server = member.name, "its node was deleted: removing the server from the cluster");
        storage.remove_member(member.id).await?;
    }
    Ok(())
}

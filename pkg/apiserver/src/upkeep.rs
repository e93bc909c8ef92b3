//! Puts back what the cluster needs and somebody deleted: the `kubernetes` Service, its endpoints, `kube-node-lease`, and
//! what extension servers read.

use std::sync::Arc;

use apimachinery::ApiResult;
use apimachinery::watch::EventType;
use component_base::task::supervise;
use futures::StreamExt as _;
use registry::{Selection, WatchEvent, WatchQuery};

use crate::bootstrap;
use crate::server::Inner;

/// Group, resource, namespace, name. The other system namespaces cannot be deleted.
type Kept = (&'static str, &'static str, Option<&'static str>, &'static str);

const KEPT: [Kept; 5] = [
    ("", "services", Some("default"), "kubernetes"),
    ("", "endpoints", Some("default"), "kubernetes"),
    ("discovery.k8s.io", "endpointslices", Some("default"), "kubernetes"),
    ("", "namespaces", None, "kube-node-lease"),
    ("", "configmaps", Some("kube-system"), "extension-apiserver-authentication"),
];

/// Watches until shutdown.
pub fn start(server: &Arc<Inner>) {
    // Endpoints do not name an address of this machine alone.
    let reachable = !server.config.advertise_address.is_loopback();
    for kept in KEPT.into_iter().filter(|(_, plural, ..)| reachable || !plural.starts_with("endpoint")) {
        let server = server.clone();
        let shutdown = server.shutdown.clone();
        supervise("bootstrap-upkeep", &shutdown, move || {
            let server = server.clone();
            async move { keep(&server, kept).await }
        });
    }
}

async fn keep(server: &Inner, (group, plural, namespace, name): Kept) -> ApiResult<()> {
    let registry = &*server.config.registry;
    let Some(found) = registry.rows().newest(group, plural) else { return Ok(()) };
    let selection = Selection::parse(found.resource, "", &format!("metadata.name={name}"))?;
    // From the newest revision on: the start, or the call after a failure, has written what there is to be.
    let from = registry.revision();
    let query = WatchQuery { selection, resource_version: from.to_string(), ..WatchQuery::default() };
    let mut watch = registry.watch(found.resource, namespace, query)?;
    if registry.read(group, plural, namespace.unwrap_or(""), name).is_none() {
        bootstrap::restore(server).await?;
    }
    while let Some(event) = watch.next().await {
        if matches!(event?, WatchEvent::Change { kind: EventType::Deleted, .. }) {
            bootstrap::restore(server).await?;
        }
    }
    Ok(())
}

//! Roles, bindings, pods and volumes, fed to the authorizers as they change: list and watch in this process, no HTTP.

use std::sync::Arc;

use apimachinery::ApiResult;
use apimachinery::meta::ObjectExt as _;
use apimachinery::watch::EventType;
use auth::node::NodeGraph;
use auth::rbac::Policy;
use component_base::task::supervise;
use futures::StreamExt as _;
use registry::{ListError, ListQuery, Registry, WatchEvent, WatchQuery};
use serde_json::Value;

use crate::bootstrap;
use crate::server::Inner;

/// What takes the changes of one resource.
type Sink = Arc<dyn Fn(EventType, &Value) + Send + Sync>;

const RBAC: &str = "rbac.authorization.k8s.io";
const RBAC_KINDS: [&str; 4] = ["clusterroles", "roles", "clusterrolebindings", "rolebindings"];

/// Loads everything once, then follows the changes until shutdown.
pub async fn start(server: &Arc<Inner>) -> ApiResult<()> {
    let registry = &server.config.registry;
    let policy = server.config.policy.clone();
    let changed = server.roles_changed.clone();
    let follow_policy: Sink = Arc::new(move |kind, object| {
        feed_policy(&policy, kind, object);
        if object.kind() == "ClusterRole" {
            changed.notify_one();
        }
    });
    let graph = server.config.node_graph.clone();
    let follow_graph: Sink = Arc::new(move |kind, object| feed_graph(&graph, kind, object));
    let roles = RBAC_KINDS.map(|plural| (RBAC, plural, &follow_policy));
    let nodes = [
        ("", "pods", &follow_graph),
        ("", "persistentvolumes", &follow_graph),
        ("storage.k8s.io", "volumeattachments", &follow_graph),
        ("resource.k8s.io", "resourceslices", &follow_graph),
    ];
    for (group, plural, sink) in roles.into_iter().chain(nodes) {
        if registry.rows().newest(group, plural).is_none() {
            continue;
        }
        let mut first = Some(load(registry, group, plural, sink)?);
        let (server, sink) = (server.clone(), sink.clone());
        let shutdown = server.shutdown.clone();
        supervise("authorizer-feed", &shutdown, move || {
            let (server, sink) = (server.clone(), sink.clone());
            let from = first.take();
            async move { follow(&server, group, plural, &sink, from).await }
        });
    }
    let aggregating = server.clone();
    supervise("clusterrole-aggregation", &server.shutdown, move || {
        let server = aggregating.clone();
        async move { aggregate(&server).await }
    });
    Ok(())
}

/// Writes into every ClusterRole that aggregates others what it amounts to, whenever ClusterRoles change.
async fn aggregate(server: &Inner) -> ApiResult<()> {
    loop {
        bootstrap::write_aggregated(server).await?;
        server.roles_changed.notified().await;
    }
}

/// Feeds all objects that there are; answers the revision to go on from.
fn load(registry: &Registry, group: &str, plural: &str, sink: &Sink) -> ApiResult<u64> {
    let Some(found) = registry.rows().newest(group, plural) else { return Ok(0) };
    let page = registry.list(found.resource, None, &ListQuery::default()).map_err(|error| match error {
        ListError::Api(error) | ListError::ExpiredToken(error, _) => error,
    })?;
    for stored in &page.items {
        sink(EventType::Added, &stored.decode());
    }
    Ok(page.revision)
}

async fn follow(server: &Inner, group: &str, plural: &str, sink: &Sink, from: Option<u64>) -> ApiResult<()> {
    let registry = &*server.config.registry;
    let Some(found) = registry.rows().newest(group, plural) else { return Ok(()) };
    let from = match from {
        Some(revision) => revision,
        None => {
            // The watch fell behind: what was granted meanwhile and taken back must not stay.
            if group == RBAC {
                let all = RBAC_KINDS.iter().flat_map(|plural| registry.read_all(RBAC, plural, ""));
                server.config.policy.replace(all.map(|stored| stored.decode()));
            }
            load(registry, group, plural, sink)?
        }
    };
    let query = WatchQuery { resource_version: from.to_string(), ..WatchQuery::default() };
    let mut watch = registry.watch(found.resource, None, query)?;
    while let Some(event) = watch.next().await {
        if let WatchEvent::Change { kind, object } = event? {
            sink(kind, &object.decode());
        }
    }
    Ok(())
}

fn feed_policy(policy: &Policy, kind: EventType, object: &Value) {
    match kind {
        EventType::Deleted => policy.delete(object),
        _ => policy.upsert(object),
    }
}

fn feed_graph(graph: &NodeGraph, kind: EventType, object: &Value) {
    let name = object.name();
    match (object.kind(), kind == EventType::Deleted) {
        ("Pod", false) => graph.upsert_pod(object),
        ("Pod", true) => graph.delete_pod(object.namespace(), name),
        ("PersistentVolume", false) => graph.upsert_volume(object),
        ("PersistentVolume", true) => graph.delete_volume(name),
        ("VolumeAttachment", false) => graph.upsert_volume_attachment(object),
        ("VolumeAttachment", true) => graph.delete_volume_attachment(name),
        ("ResourceSlice", false) => graph.upsert_resource_slice(object),
        ("ResourceSlice", true) => graph.delete_resource_slice(name),
        _ => {}
    }
}

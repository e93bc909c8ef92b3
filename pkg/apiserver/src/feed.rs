//! Roles, bindings, pods and volumes, fed to the authorizers as they change: list and watch in this process, no HTTP.

use std::sync::Arc;

use apimachinery::ApiResult;
use apimachinery::meta::ObjectExt as _;
use apimachinery::watch::EventType;
use apis::resource::Resource;
use auth::node::{Kind, NodeGraph};
use auth::rbac::Policy;
use component_base::task::supervise;
use futures::StreamExt as _;
use registry::{ListError, ListPage, ListQuery, Registry, StoredObject, WatchEvent, WatchQuery};
use serde_json::Value;

use crate::bootstrap;
use crate::server::Inner;

/// What takes the changes of one resource.
type Sink = Arc<dyn Fn(&Resource, EventType, &StoredObject) + Send + Sync>;

const RBAC: &str = "rbac.authorization.k8s.io";
const RBAC_KINDS: [&str; 4] = ["clusterroles", "roles", "clusterrolebindings", "rolebindings"];
/// What the node authorizer's graph is made of.
const NODE_KINDS: [(&str, &str, Kind); 4] = [
    ("", "pods", Kind::Pod),
    ("", "persistentvolumes", Kind::Volume),
    ("storage.k8s.io", "volumeattachments", Kind::VolumeAttachment),
    ("resource.k8s.io", "resourceslices", Kind::ResourceSlice),
];

/// Loads everything once, then follows the changes until shutdown.
pub async fn start(server: &Arc<Inner>) -> ApiResult<()> {
    let registry = &server.config.registry;
    let policy = server.config.policy.clone();
    let changed = server.roles_changed.clone();
    let follow_policy: Sink = Arc::new(move |_, kind, stored| {
        let object = stored.decode();
        feed_policy(&policy, kind, &object);
        if object.kind() == "ClusterRole" {
            changed.notify_one();
        }
    });
    let graph = server.config.node_graph.clone();
    let follow_graph: Sink = Arc::new(move |resource, kind, stored| feed_graph(&graph, resource, kind, stored));
    let roles = RBAC_KINDS.map(|plural| (RBAC, plural, &follow_policy));
    let nodes = NODE_KINDS.map(|(group, plural, _)| (group, plural, &follow_graph));
    for (group, plural, sink) in roles.into_iter().chain(nodes) {
        if registry.rows().newest(group, plural).is_none() {
            continue;
        }
        let mut first = load(registry, group, plural, sink)?;
        let (server, sink) = (server.clone(), sink.clone());
        let shutdown = server.shutdown.clone();
        supervise("authorizer-feed", &shutdown, move || {
            let (server, sink) = (server.clone(), sink.clone());
            let page = first.take();
            async move { follow(&server, group, plural, &sink, page).await }
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

/// Feeds all objects that there are.
fn load(registry: &Registry, group: &str, plural: &str, sink: &Sink) -> ApiResult<Option<ListPage>> {
    let Some(found) = registry.rows().newest(group, plural) else { return Ok(None) };
    let page = registry.list(found.resource, None, &ListQuery::default()).map_err(|error| match error {
        ListError::Api(error) | ListError::ExpiredToken(error, _) => error,
    })?;
    for stored in &page.items {
        sink(found.resource, EventType::Added, stored);
    }
    Ok(Some(page))
}

/// Feeds all objects that there are after the watch fell behind: what was granted meanwhile and taken back must not stay.
fn reload(server: &Inner, group: &str, plural: &str, sink: &Sink) -> ApiResult<Option<ListPage>> {
    let registry = &*server.config.registry;
    if group == RBAC {
        let all = RBAC_KINDS.iter().flat_map(|plural| registry.read_all(RBAC, plural, ""));
        server.config.policy.replace(all.map(|stored| stored.decode()));
    }
    let Some(page) = load(registry, group, plural, sink)? else { return Ok(None) };
    let node_kind = NODE_KINDS.iter().find(|kind| (kind.0, kind.1) == (group, plural));
    if let (Some((_, _, kind)), Some(found)) = (node_kind, registry.rows().newest(group, plural)) {
        let live = page.items.iter().map(|stored| registry::split_key(found.resource, stored.key()));
        server.config.node_graph.retain(*kind, &live.collect());
    }
    Ok(Some(page))
}

async fn follow(server: &Inner, group: &str, plural: &str, sink: &Sink, first: Option<ListPage>) -> ApiResult<()> {
    let registry = &*server.config.registry;
    let Some(found) = registry.rows().newest(group, plural) else { return Ok(()) };
    let page = match first {
        Some(page) => Some(page),
        None => reload(server, group, plural, sink)?,
    };
    let Some(revision) = page.map(|page| page.revision) else { return Ok(()) };
    let query = WatchQuery { resource_version: revision.to_string(), ..WatchQuery::default() };
    let mut watch = registry.watch(found.resource, None, query)?;
    while let Some(event) = watch.next().await {
        if let WatchEvent::Change { kind, object } = event? {
            sink(found.resource, kind, &object);
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

fn feed_graph(graph: &NodeGraph, resource: &Resource, kind: EventType, stored: &StoredObject) {
    let (namespace, name) = registry::split_key(resource, stored.key());
    match (resource.kind, kind == EventType::Deleted) {
        ("Pod", false) => {
            let node = stored.attributes().field("spec.nodeName").unwrap_or_default();
            let pod = stored.clone();
            graph.upsert_pod((namespace, name), node, move || pod.decode());
        }
        ("Pod", true) => graph.delete_pod(namespace, name),
        ("PersistentVolume", false) => graph.upsert_volume(&stored.decode()),
        ("PersistentVolume", true) => graph.delete_volume(name),
        ("VolumeAttachment", false) => graph.upsert_volume_attachment(&stored.decode()),
        ("VolumeAttachment", true) => graph.delete_volume_attachment(name),
        ("ResourceSlice", false) => graph.upsert_resource_slice(&stored.decode()),
        ("ResourceSlice", true) => graph.delete_resource_slice(name),
        _ => {}
    }
}

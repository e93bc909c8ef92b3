//! What the server says of itself: version, groups, resources.

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};

use crate::Cluster;
use crate::kinds::Kind;
use crate::must::must;

tests!(discovery: locate_version_and_resource, preferred_version, aggregated_interface, aggregated_raw, server_version);

/// Groups that every server of this version has.
const GROUPS: &[&str] = &[
    "admissionregistration.k8s.io",
    "apiextensions.k8s.io",
    "apiregistration.k8s.io",
    "apps",
    "authentication.k8s.io",
    "authorization.k8s.io",
    "autoscaling",
    "batch",
    "certificates.k8s.io",
    "coordination.k8s.io",
    "discovery.k8s.io",
    "events.k8s.io",
    "networking.k8s.io",
    "node.k8s.io",
    "policy",
    "rbac.authorization.k8s.io",
    "resource.k8s.io",
    "scheduling.k8s.io",
    "storage.k8s.io",
];

const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

/// A kind's group, version and resource are in their three discovery documents, with all verbs; so are subresources.
pub async fn must_serve(cluster: &Cluster, kind: Kind, subresources: &[&str]) -> anyhow::Result<()> {
    let (group, version) = kind.group_version();
    if !group.is_empty() {
        let groups = cluster.raw("/apis").await?;
        find(&groups["groups"], "name", group).with_context(|| format!("{group} MUST be in /apis"))?;
        let versions = cluster.raw(&format!("/apis/{group}")).await?;
        find(&versions["versions"], "version", version)
            .with_context(|| format!("{version} MUST be in /apis/{group}"))?;
    }
    let resources = cluster.raw(&kind.root()).await?;
    let all = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];
    must_list(&resources, kind.plural, &all)?;
    for subresource in subresources {
        must_list(&resources, &format!("{}/{subresource}", kind.plural), &["get", "patch", "update"])?;
    }
    Ok(())
}

fn must_list(resources: &Value, name: &str, verbs: &[&str]) -> anyhow::Result<()> {
    let found = find(&resources["resources"], "name", name);
    let found = found.with_context(|| format!("{name} MUST be in the discovery document"))?;
    let served = |verb: &&str| found["verbs"].as_array().is_some_and(|all| all.iter().any(|v| v == verb));
    must(verbs.iter().all(served), &format!("{name} MUST support {verbs:?}"), found)
}

/// The item of a list whose field has this value.
fn find<'a>(list: &'a Value, field: &str, value: &str) -> Option<&'a Value> {
    list.as_array()?.iter().find(|item| item[field] == value)
}

fn items<'a>(document: &'a Value, field: &str) -> anyhow::Result<&'a [Value]> {
    document[field].as_array().map(Vec::as_slice).with_context(|| format!("{field} MUST be a list: {document}"))
}

async fn locate_version_and_resource(cluster: &Cluster) -> anyhow::Result<()> {
    let groups = cluster.raw("/apis").await?;
    for group in items(&groups, "groups")? {
        let preferred = group["preferredVersion"]["groupVersion"].as_str().unwrap_or_default();
        let resources = cluster.raw(&format!("/apis/{preferred}")).await?;
        must(resources["groupVersion"] == preferred, "the groupVersion MUST be the group's", &resources)?;
        let valid = |r: &Value| r["name"].is_string() && r["kind"].is_string() && r["verbs"].is_array();
        let found = items(&resources, "resources")?;
        must(!found.is_empty() && found.iter().all(valid), "a valid resource MUST be found", &resources)?;
    }
    Ok(())
}

async fn preferred_version(cluster: &Cluster) -> anyhow::Result<()> {
    let groups = cluster.raw("/apis").await?;
    ensure!(!items(&groups, "groups")?.is_empty(), "a list of groups MUST be retrieved");
    for group in items(&groups, "groups")? {
        let name = group["name"].as_str().unwrap_or_default();
        let own = cluster.raw(&format!("/apis/{name}")).await?;
        must(
            own["preferredVersion"] == group["preferredVersion"],
            "both documents MUST prefer the same version",
            &own,
        )?;
        let preferred = &group["preferredVersion"];
        must(items(group, "versions")?.contains(preferred), "the preferred version MUST be served", group)?;
    }
    Ok(())
}

async fn aggregated_interface(cluster: &Cluster) -> anyhow::Result<()> {
    // kube-rs asks as client libraries do, with what it prefers first.
    let groups = cluster.client.list_api_groups_aggregated().await?;
    for name in GROUPS {
        let group = groups.items.iter().find(|g| g.metadata.as_ref().and_then(|m| m.name.as_deref()) == Some(name));
        let group = group.with_context(|| format!("built-in group {name} MUST be present"))?;
        ensure!(group.versions.iter().all(|v| !v.resources.is_empty()), "{name} MUST have resources");
    }
    let core = cluster.client.list_core_api_versions_aggregated().await?;
    let resources = core.items.iter().flat_map(|g| &g.versions).flat_map(|v| &v.resources);
    let names: Vec<_> = resources.filter_map(|r| r.resource.as_deref()).collect();
    ensure!(["pods", "services", "nodes"].iter().all(|name| names.contains(name)), "core MUST be complete: {names:?}");
    Ok(())
}

async fn aggregated_raw(cluster: &Cluster) -> anyhow::Result<()> {
    for path in ["/api", "/apis"] {
        let document = cluster.request("GET", path, &[("accept", AGGREGATED)], Vec::new()).await?;
        let kinds = json!([document["kind"], document["apiVersion"]]);
        let expected = json!(["APIGroupDiscoveryList", "apidiscovery.k8s.io/v2"]);
        must(kinds == expected, "the accepted document MUST be answered", &document)?;
        let names: Vec<&Value> = items(&document, "items")?.iter().map(|g| &g["metadata"]["name"]).collect();
        let wanted: &[&str] = if path == "/api" { &[] } else { GROUPS };
        must(
            wanted.iter().all(|g| names.iter().any(|n| *n == g)),
            "built-in groups MUST all be present",
            &json!(names),
        )?;
        for group in items(&document, "items")? {
            for version in items(group, "versions")? {
                must(!items(version, "resources")?.is_empty(), "a version MUST have its resources", version)?;
            }
        }
    }
    Ok(())
}

async fn server_version(cluster: &Cluster) -> anyhow::Result<()> {
    let version = cluster.raw("/version").await?;
    for field in ["major", "minor"] {
        let integer = version[field].as_str().is_some_and(|v| v.parse::<u32>().is_ok());
        must(integer, &format!("{field} MUST only be an integer"), &version)?;
    }
    Ok(())
}

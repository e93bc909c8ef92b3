//! Where objects are kept: `/registry/<group or core>/<plural>/[<namespace>/]<name>`.

use apis::resource::Resource;

fn group(resource: &Resource) -> &'static str {
    if resource.storage_group.is_empty() { "core" } else { resource.storage_group }
}

pub fn object(resource: &Resource, namespace: &str, name: &str) -> String {
    let group = group(resource);
    let mut key = String::with_capacity(14 + group.len() + resource.plural.len() + namespace.len() + name.len());
    push_root(&mut key, group, resource.plural);
    if resource.namespaced {
        key.push_str(namespace);
        key.push('/');
    }
    key.push_str(name);
    key
}

/// The prefix of all objects of a resource, or of those in `namespace`.
pub fn prefix(resource: &Resource, namespace: Option<&str>) -> String {
    let mut key = String::with_capacity(64);
    push_root(&mut key, group(resource), resource.plural);
    if let Some(namespace) = namespace.filter(|_| resource.namespaced) {
        key.push_str(namespace);
        key.push('/');
    }
    key
}

/// Namespace (empty for cluster-scoped resources) and name out of a key.
pub fn split<'k>(resource: &Resource, key: &'k str) -> (&'k str, &'k str) {
    let mut parts = key.rsplitn(3, '/');
    let name = parts.next().unwrap_or("");
    let namespace = if resource.namespaced { parts.next().unwrap_or("") } else { "" };
    (namespace, name)
}

/// Where upstream would keep the object: refusals of its store say so.
pub fn shown(resource: &Resource, namespace: &str, name: &str) -> String {
    let place = match (resource.group, resource.plural) {
        ("", "endpoints") => "services/endpoints",
        ("", "nodes") => "minions",
        ("", "replicationcontrollers") => "controllers",
        ("", "services") => "services/specs",
        ("networking.k8s.io", "ingresses") => "ingress",
        ("apiextensions.k8s.io", _) => "apiextensions.k8s.io/customresourcedefinitions",
        ("apiregistration.k8s.io", _) => "apiregistration.k8s.io/apiservices",
        (_, plural) => plural,
    };
    let namespace = if resource.namespaced { format!("{namespace}/") } else { String::new() };
    format!("/registry/{place}/{namespace}{name}")
}

/// Prefixes of what the cluster itself lives on, when nothing else has room any more: who leads, and which nodes are well.
pub const VITAL: [&str; 2] = ["/registry/coordination.k8s.io/leases/", "/registry/core/nodes/"];

fn push_root(key: &mut String, group: &str, plural: &str) {
    key.push_str("/registry/");
    key.push_str(group);
    key.push('/');
    key.push_str(plural);
    key.push('/');
}

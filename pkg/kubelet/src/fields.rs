//! The downward API: fields of the pod and resources of its containers as text.

use k8s_openapi::api::core::v1::{Container, Pod, ResourceFieldSelector};

use crate::pod::PodExt as _;
use crate::resources;

/// What a container may use at most where it has no limit of its own: the node's allocatable.
#[derive(Clone, Copy, Debug, Default)]
pub struct NodeResources {
    pub cpu_milli: i64,
    pub memory: i64,
    pub ephemeral_storage: i64,
}

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum FieldError {
    #[error("unsupported fieldPath: {0}")]
    Unsupported(String),
    #[error("container {0} not found")]
    NoContainer(String),
    #[error("unsupported container resource: {0}")]
    NoResource(String),
}

/// The value at a field path that the downward API knows.
pub fn pod_field(pod: &Pod, path: &str, pod_ips: &[String], host_ips: &[String]) -> Result<String, FieldError> {
    if let Some((map, key)) = subscript(path) {
        let values = match map {
            "metadata.labels" => pod.labels(),
            "metadata.annotations" => pod.annotations(),
            _ => return Err(FieldError::Unsupported(path.to_owned())),
        };
        return Ok(values.get(key).cloned().unwrap_or_default());
    }
    let spec = pod.pod_spec();
    Ok(match path {
        "metadata.name" => pod.name().to_owned(),
        "metadata.namespace" => pod.namespace().to_owned(),
        "metadata.uid" => pod.uid().to_owned(),
        "metadata.labels" => format_map(pod.labels()),
        "metadata.annotations" => format_map(pod.annotations()),
        "spec.nodeName" => spec.node_name.clone().unwrap_or_default(),
        "spec.serviceAccountName" => spec.service_account_name.clone().unwrap_or_default(),
        "status.hostIP" => host_ips.first().cloned().unwrap_or_default(),
        "status.hostIPs" => host_ips.join(","),
        "status.podIP" => pod_ips.first().cloned().unwrap_or_default(),
        "status.podIPs" => pod_ips.join(","),
        _ => return Err(FieldError::Unsupported(path.to_owned())),
    })
}

/// `metadata.labels['key']` → (`metadata.labels`, `key`).
fn subscript(path: &str) -> Option<(&str, &str)> {
    let (map, rest) = path.split_once("['")?;
    Some((map, rest.strip_suffix("']")?))
}

/// `key="value"` lines, sorted, values quoted as Go does.
fn format_map(map: &std::collections::BTreeMap<String, String>) -> String {
    let quote = |v: &String| serde_json::to_string(v).unwrap_or_default();
    map.iter().map(|(k, v)| format!("{k}={}", quote(v))).collect::<Vec<_>>().join("\n")
}

/// A container's request or limit, divided and rounded up. `own` is the container that asks, for when none is named.
pub fn resource_field(
    pod: &Pod,
    own: Option<&Container>,
    selector: &ResourceFieldSelector,
    node: &NodeResources,
) -> Result<String, FieldError> {
    let named = selector.container_name.as_deref().filter(|n| !n.is_empty());
    let found = named.and_then(|name| pod.find_container(name));
    let container = match (named, &found, own) {
        (Some(_), Some(container), _) => container,
        (Some(name), None, _) => return Err(FieldError::NoContainer(name.to_owned())),
        (None, _, Some(own)) => own,
        (None, _, None) => return Err(FieldError::NoContainer(String::new())),
    };
    let unsupported = || FieldError::NoResource(selector.resource.clone());
    let (which, resource) = selector.resource.split_once('.').ok_or_else(unsupported)?;
    let limits = resources::limits(container);
    let value = match which {
        "limits" => limits.get(resource).map(resources::milli).or_else(|| node_milli(node, resource)),
        // Without a request, the limit stands in, as defaulting would have it.
        "requests" => {
            let request = resources::requests(container).get(resource).map(resources::milli);
            request.or_else(|| limits.get(resource).map(resources::milli)).or(Some(0))
        }
        _ => None,
    };
    let value = value.ok_or_else(unsupported)?;
    let divisor = selector.divisor.as_ref().map(resources::milli).filter(|d| *d > 0).unwrap_or(1000);
    Ok(divide_up(value, divisor).to_string())
}

fn divide_up(value: i64, divisor: i64) -> i64 {
    value / divisor + i64::from(value % divisor > 0)
}

fn node_milli(node: &NodeResources, resource: &str) -> Option<i64> {
    match resource {
        "cpu" => Some(node.cpu_milli),
        "memory" => Some(node.memory.saturating_mul(1000)),
        "ephemeral-storage" => Some(node.ephemeral_storage.saturating_mul(1000)),
        _ if resource.starts_with("hugepages-") => Some(0),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod() -> Pod {
        serde_json::from_value(json!({
            "metadata": {"name": "p", "namespace": "n", "labels": {"a/b": "x", "c": "line\n2"}},
            "spec": {"containers": [{"name": "m", "resources": {"limits": {"cpu": "1500m", "memory": "1Mi"}}}]},
        }))
        .expect("a pod")
    }

    #[test]
    fn fields_of_the_pod() {
        let read = |path: &str| pod_field(&pod(), path, &["1.2.3.4".into()], &["5.6.7.8".into()]);
        assert_eq!(read("metadata.labels['a/b']").as_deref(), Ok("x"));
        assert_eq!(read("metadata.labels").as_deref(), Ok("a/b=\"x\"\nc=\"line\\n2\""));
        assert_eq!(read("status.podIP").as_deref(), Ok("1.2.3.4"));
        assert_eq!(read("spec.nope"), Err(FieldError::Unsupported("spec.nope".into())));
    }

    #[test]
    fn resources_are_divided_and_rounded_up() {
        let node = NodeResources { cpu_milli: 4000, memory: 1 << 30, ephemeral_storage: 0 };
        let read = |resource: &str, divisor: Option<&str>| {
            let selector = json!({"containerName": "m", "resource": resource, "divisor": divisor});
            let selector = serde_json::from_value(selector).expect("a selector");
            resource_field(&pod(), None, &selector, &node).expect("a value")
        };
        assert_eq!(read("limits.cpu", None), "2");
        assert_eq!(read("limits.cpu", Some("1m")), "1500");
        assert_eq!(read("requests.memory", Some("1Ki")), "1024");
        assert_eq!(read("limits.ephemeral-storage", None), "0");
    }
}

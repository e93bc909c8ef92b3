//! From Services and pods to addresses: EndpointSlices, the older Endpoints, and mirrors of hand-made Endpoints.

pub mod endpoints;
pub mod mirroring;
mod slice_plan;
pub mod slices;
mod slices_apply;

use std::collections::BTreeMap;

use client::{Change, ObjectKey, Store, WorkQueue};
use k8s_openapi::api::core::v1::{Service, ServicePort};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::pod::SlimPod;

/// Names the service that a slice belongs to.
pub(crate) const SERVICE_NAME: &str = "kubernetes.io/service-name";
const HEADLESS: &str = "service.kubernetes.io/headless";
const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";

/// A port of a service as one pod serves it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Port {
    name: String,
    protocol: String,
    port: i32,
    app_protocol: Option<String>,
}

fn selector(service: &Service) -> Option<&BTreeMap<String, String>> {
    let spec = service.spec.as_ref()?;
    let selector = spec.selector.as_ref().filter(|selector| !selector.is_empty());
    // An ExternalName is an alias: it has no addresses of its own.
    if spec.type_.as_deref() == Some("ExternalName") { None } else { selector }
}

fn selects(service: &Service, pod: &SlimPod) -> bool {
    selector(service).is_some_and(|selector| selector.iter().all(|(k, v)| pod.label(k) == Some(v.as_str())))
}

fn is_headless(service: &Service) -> bool {
    service.spec.as_ref().and_then(|spec| spec.cluster_ip.as_deref()) == Some("None")
}

fn publishes_not_ready(service: &Service) -> bool {
    service.spec.as_ref().and_then(|spec| spec.publish_not_ready_addresses) == Some(true)
}

/// The service's ports as the pod serves them: a named target port is looked up in the pod, and one that it does not
/// have is left out.
fn ports(service: &Service, pod: &SlimPod) -> Vec<Port> {
    let spec = service.spec.as_ref();
    let ports = spec.and_then(|spec| spec.ports.as_ref()).into_iter().flatten();
    let mut ports: Vec<Port> = ports.filter_map(|port| resolve(port, pod)).collect();
    ports.sort();
    ports
}

fn resolve(port: &ServicePort, pod: &SlimPod) -> Option<Port> {
    let protocol = port.protocol.as_deref().unwrap_or("TCP");
    let number = match &port.target_port {
        None => port.port,
        Some(IntOrString::Int(0)) => port.port,
        Some(IntOrString::Int(number)) => *number,
        Some(IntOrString::String(name)) => {
            let of = |p: &&(compact_str::CompactString, i32, compact_str::CompactString)| {
                p.0 == name.as_str() && (p.2 == protocol || (p.2.is_empty() && protocol == "TCP"))
            };
            pod.ports.iter().find(of)?.1
        }
    };
    Some(Port {
        name: port.name.clone().unwrap_or_default(),
        protocol: protocol.to_owned(),
        port: number,
        app_protocol: port.app_protocol.clone(),
    })
}

/// The pod's address family in which the slice's `address_type` has it.
fn is_of_type(ip: &str, address_type: &str) -> bool {
    (address_type == "IPv6") == ip.contains(':')
}

/// What a service sees of a pod; changes of anything else do not concern it.
fn looks_the_same(a: &SlimPod, b: &SlimPod) -> bool {
    a.labels == b.labels
        && a.uid == b.uid
        && a.ips == b.ips
        && a.node_name == b.node_name
        && a.is_ready() == b.is_ready()
        && a.is_finished() == b.is_finished()
        && a.is_deleting() == b.is_deleting()
        && (&a.hostname, &a.subdomain) == (&b.hostname, &b.subdomain)
}

/// Adds the services that select the pod, or did.
fn enqueue_services(services: &Store<Service>, queue: &WorkQueue<ObjectKey>, change: &Change<SlimPod>) {
    if let (Some(old), Some(new)) = (&change.old, &change.new)
        && looks_the_same(old, new)
    {
        return;
    }
    for service in services.list_namespace(&change.key.namespace) {
        if change.old.iter().chain(&change.new).any(|pod| selects(&service, pod)) {
            queue.add(ObjectKey::of(&*service));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn named_ports_are_the_pods() {
        let service: Service = serde_json::from_value(json!({ "spec": { "ports": [
            { "name": "a", "port": 80, "targetPort": "http" },
            { "name": "b", "port": 81, "targetPort": "missing" },
            { "name": "c", "port": 53, "protocol": "UDP", "targetPort": "http" },
            { "name": "d", "port": 82 },
            { "name": "e", "port": 83, "targetPort": 8083, "appProtocol": "h2c" }
        ] } }))
        .unwrap();
        let pod: SlimPod = serde_json::from_value(json!({ "metadata": {}, "spec": { "containers": [
            { "ports": [{ "name": "http", "containerPort": 8080, "protocol": "TCP" }] }
        ] } }))
        .unwrap();
        let found: Vec<_> = ports(&service, &pod).into_iter().map(|p| (p.name, p.port)).collect();
        assert_eq!(found, [("a".into(), 8080), ("d".into(), 82), ("e".into(), 8083)]);
    }
}

//! The fields of a Service that have to do with allocation.

use apimachinery::meta::{ObjectExt as _, object_mut};
use serde_json::Value;

use super::Held;

pub(super) fn held_by(service: &Value) -> Vec<Held> {
    let addresses = service.array_at("spec/clusterIPs").iter().filter_map(Value::as_str);
    let addresses = addresses.filter_map(|text| text.parse().ok()).map(Held::Address);
    let ports = service.array_at("spec/ports").iter().filter_map(|port| port.i64_at("nodePort"));
    let ports = ports.chain(service.i64_at("spec/healthCheckNodePort"));
    let ports = ports.filter_map(|n| u16::try_from(n).ok()).filter(|n| *n > 0).map(Held::Port);
    let mut held: Vec<Held> = Vec::new();
    for one in addresses.chain(ports) {
        if !held.contains(&one) {
            held.push(one);
        }
    }
    held
}

pub(super) fn needs_address(service: &Value) -> bool {
    service.str_at("spec/type") != "ExternalName"
}

pub(super) fn needs_node_ports(service: &Value) -> bool {
    matches!(service.str_at("spec/type"), "NodePort" | "LoadBalancer")
}

pub(super) fn needs_health_port(service: &Value) -> bool {
    service.str_at("spec/type") == "LoadBalancer" && service.str_at("spec/externalTrafficPolicy") == "Local"
}

pub(super) fn spec(service: &mut Value) -> &mut serde_json::Map<String, Value> {
    object_mut(object_mut(service).entry("spec").or_insert(Value::Null))
}

pub(super) fn ports_mut(service: &mut Value) -> &mut [Value] {
    match spec(service).get_mut("ports") {
        Some(Value::Array(ports)) => ports,
        _ => &mut [],
    }
}

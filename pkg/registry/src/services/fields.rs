//! The fields of a Service that have to do with allocation.

use apimachinery::meta::{ObjectExt as _, object_mut};
use serde_json::Value;

use super::Held;

/// On update, what a client left out stays as it was given: addresses by service, node ports by port and protocol.
pub fn keep_allocated(new: &mut Value, old: &Value) {
    if needs_address(new) && needs_address(old) {
        for field in ["clusterIP", "clusterIPs"] {
            let missing = match new.at("spec").and_then(|s| s.get(field)) {
                Some(Value::String(text)) => text.is_empty(),
                Some(Value::Array(list)) => list.is_empty(),
                _ => true,
            };
            if let (true, Some(value)) = (missing, old.at("spec").and_then(|s| s.get(field))) {
                spec(new).insert(field.to_owned(), value.clone());
            }
        }
    }
    if needs_node_ports(old) {
        let keep = needs_node_ports(new);
        let old_ports = old.array_at("spec/ports").to_vec();
        for port in ports_mut(new) {
            let same = old_ports.iter().find(|o| key_of(o) == key_of(port)).and_then(|o| o.get("nodePort"));
            match (keep, port.get("nodePort").and_then(Value::as_i64).unwrap_or(0)) {
                (true, 0) => drop(same.map(|n| object_mut(port).insert("nodePort".to_owned(), n.clone()))),
                // The type no longer has node ports: those that only stayed in the object go.
                (false, n) if same.and_then(Value::as_i64) == Some(n) => drop(object_mut(port).remove("nodePort")),
                _ => {}
            }
        }
    }
    let port = old.at("spec/healthCheckNodePort").filter(|_| needs_health_port(old) && needs_health_port(new));
    if let (Some(port), 0) = (port, new.i64_at("spec/healthCheckNodePort").unwrap_or(0)) {
        spec(new).insert("healthCheckNodePort".to_owned(), port.clone());
    }
    if !needs_address(new) && needs_address(old) {
        for field in ["clusterIP", "clusterIPs"] {
            if new.at("spec").and_then(|s| s.get(field)) == old.at("spec").and_then(|s| s.get(field)) {
                spec(new).remove(field);
            }
        }
        spec(new).remove("ipFamilies");
        spec(new).remove("ipFamilyPolicy");
    }
}

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

/// What tells the ports of a service apart.
fn key_of(port: &Value) -> (i64, &str) {
    let protocol = port.str_at("protocol");
    (port.i64_at("port").unwrap_or(0), if protocol.is_empty() { "TCP" } else { protocol })
}

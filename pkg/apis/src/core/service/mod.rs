//! Services: the row, defaults and cells. Addresses and node ports are handed out by the registry.

mod changes;
mod update;
pub(crate) mod validate;

use apimachinery::field::Path;
use apimachinery::{Object, meta::ObjectExt, meta::object_mut};
use serde_json::{Map, Value, json};

use crate::addresses::{cidr_warning, ip_warning};
use crate::cells::{age, labels_cell, or_none};
use crate::resource::{Column, Resource, Strategy, Subresource};
use crate::strategy::label_name;
use crate::tree::{Fill, Tree, spec_mut};

pub const ROW: Resource = Resource {
    short_names: &["svc"],
    categories: &["all"],
    columns: &[
        Column::NAME,
        Column::text("Type", "How the service is reached."),
        Column::text("Cluster-IP", "Address inside the cluster."),
        Column::text("External-IP", "Addresses outside the cluster."),
        Column::text("Port(s)", "Ports, and the node's ports behind the colon."),
        Column::AGE,
        Column::text("Selector", "Labels of the pods behind it.").wide(),
    ],
    cells,
    selectable: &[
        ("spec.clusterIP", |o| o.str_at("spec/clusterIP").to_owned()),
        ("spec.type", |o| o.str_at("spec/type").to_owned()),
    ],
    subresources: &[Subresource::core("proxy", "ServiceProxyOptions", super::PROXY), Subresource::STATUS],
    strategy: Strategy {
        default,
        prepare_for_create,
        prepare_for_update: update::prepare,
        validate: validate::service,
        validate_update: validate::update,
        validate_status_update: validate::status_update,
        validate_name: label_name,
        warnings,
        generation_changed: None,
        ..Strategy::SPEC_STATUS
    },
    ..Resource::namespaced("", "v1", "services", "service", "Service")
};

/// Three hours, how long a client keeps to one pod.
const AFFINITY_SECONDS: i64 = 10_800;

fn default(service: &mut Object) {
    default_spec(service);
    if service.field("spec").text("type") != "LoadBalancer" {
        return;
    }
    let status = object_mut(service).sub("status").and_then(|s| s.sub("loadBalancer"));
    if let Some(balancer) = status {
        balancer.each("ingress", |ingress| {
            if !ingress.text("ip").is_empty() {
                ingress.default_value("ipMode", || "VIP".into());
            }
        });
    }
}

fn default_spec(service: &mut Object) {
    let Some(spec) = spec_mut(service) else { return };
    spec.default_text("sessionAffinity", "None");
    match spec.text("sessionAffinity") {
        "None" => drop(spec.remove("sessionAffinityConfig")),
        "ClientIP" => {
            let client = spec.sub_or_new("sessionAffinityConfig").sub_or_new("clientIP");
            client.default_value("timeoutSeconds", || AFFINITY_SECONDS.into());
        }
        _ => {}
    }
    spec.default_text("type", "ClusterIP");
    spec.each("ports", |port| {
        port.default_text("protocol", "TCP");
        let target = port.field("targetPort");
        if target.is_null() || target == 0 || target == "" {
            let own = port.field("port").clone();
            port.insert("targetPort".to_owned(), own);
        }
    });
    let kind = spec.text("type").to_owned();
    if matches!(&*kind, "NodePort" | "LoadBalancer") || (kind == "ClusterIP" && !spec.list("externalIPs").is_empty()) {
        spec.default_text("externalTrafficPolicy", "Cluster");
    }
    if matches!(&*kind, "NodePort" | "LoadBalancer" | "ClusterIP") {
        spec.default_value("internalTrafficPolicy", || "Cluster".into());
    }
    if kind == "LoadBalancer" {
        spec.default_value("allocateLoadBalancerNodePorts", || true.into());
    }
}

fn prepare_for_create(service: &mut Object) {
    object_mut(service).insert("status".to_owned(), json!({ "loadBalancer": {} }));
    if let Some(spec) = spec_mut(service) {
        cluster_ips(spec);
        families(spec);
    }
}

/// `clusterIP` is the first of `clusterIPs`.
fn cluster_ips(spec: &mut Map<String, Value>) {
    let first = spec.text("clusterIP").to_owned();
    if !first.is_empty() && spec.list("clusterIPs").is_empty() {
        spec.insert("clusterIPs".to_owned(), json!([first]));
    }
}

/// A cluster of one address family: IPv4, unless the service names an IPv6 address.
fn families(spec: &mut Map<String, Value>) {
    if spec.text("type") == "ExternalName" {
        return;
    }
    let headless = spec.text("clusterIP") == "None";
    let selects = spec.field("selector").as_object().is_some_and(|s| !s.is_empty());
    if headless && !selects && !spec.has("ipFamilyPolicy") && spec.list("ipFamilies").is_empty() {
        // Who makes the endpoints by hand may use both families.
        spec.insert("ipFamilyPolicy".to_owned(), "RequireDualStack".into());
        spec.insert("ipFamilies".to_owned(), json!(["IPv4", "IPv6"]));
        return;
    }
    spec.default_value("ipFamilyPolicy", || "SingleStack".into());
    if spec.list("ipFamilies").is_empty() {
        let family = if spec.text("clusterIP").contains(':') { "IPv6" } else { "IPv4" };
        spec.insert("ipFamilies".to_owned(), json!([family]));
    }
}

fn warnings(service: &Object, _old: Option<&Object>) -> Vec<String> {
    let spec = service.field("spec");
    let mut warnings = Vec::new();
    if service.field("metadata").field("annotations").has(validate::TOPOLOGY_HINTS) {
        let (old, new) = (validate::TOPOLOGY_HINTS, validate::TOPOLOGY_MODE);
        warnings.push(format!("annotation {old} is deprecated, please use {new} instead"));
    }
    if spec.text("clusterIP") == "None" {
        for (field, name, is_set) in [
            ("loadBalancerIP", "loadBalancerIP", !spec.text("loadBalancerIP").is_empty()),
            ("externalIPs", "externalIPs", !spec.list("externalIPs").is_empty()),
            // Upstream calls this field by its name in Go.
            ("sessionAffinity", "SessionAffinity", spec.text("sessionAffinity") != "None"),
        ] {
            if is_set && spec.has(field) {
                warnings.push(format!("spec.{name} is ignored for headless services"));
            }
        }
    } else {
        address_warnings(&mut warnings, spec, "clusterIPs", ip_warning);
    }
    address_warnings(&mut warnings, spec, "externalIPs", ip_warning);
    if !spec.text("loadBalancerIP").is_empty() {
        warnings.extend(ip_warning(&Path::new("spec").child("loadBalancerIP"), spec.text("loadBalancerIP")));
    }
    address_warnings(&mut warnings, spec, "loadBalancerSourceRanges", cidr_warning);
    if !spec.list("externalIPs").is_empty() && spec.text("type") == "ExternalName" {
        warnings.push("spec.externalIPs is ignored when spec.type is \"ExternalName\"".to_owned());
    }
    if spec.text("type") != "ExternalName" && !spec.text("externalName").is_empty() {
        warnings.push("spec.externalName is ignored when spec.type is not \"ExternalName\"".to_owned());
    }
    warnings
}

type AddressWarning = fn(&Path, &str) -> Option<String>;

fn address_warnings(warnings: &mut Vec<String>, spec: &Value, field: &str, warning: AddressWarning) {
    let at = Path::new("spec").child(field);
    warnings.extend(spec.texts(field).enumerate().filter_map(|(i, text)| warning(&at.index(i), text)));
}

fn cells(service: &Object, now: i64) -> Vec<Value> {
    let spec = service.field("spec");
    let ports: Vec<String> = spec.list("ports").iter().map(port_text).collect();
    vec![
        service.name().into(),
        spec.text("type").into(),
        or_none(spec.text("clusterIP")),
        external_ip(service).into(),
        or_none(&ports.join(",")),
        age(service, now),
        labels_cell(spec.field("selector")),
    ]
}

fn port_text(port: &Value) -> String {
    let (number, protocol) = (port.int("port").unwrap_or(0), port.text("protocol"));
    match port.int("nodePort").filter(|n| *n > 0) {
        Some(node) => format!("{number}:{node}/{protocol}"),
        None => format!("{number}/{protocol}"),
    }
}

fn external_ip(service: &Object) -> String {
    let spec = service.field("spec");
    let mut addresses = std::collections::BTreeSet::new();
    for ingress in service.array_at("status/loadBalancer/ingress") {
        let address = if ingress.text("ip").is_empty() { ingress.text("hostname") } else { ingress.text("ip") };
        if !address.is_empty() {
            addresses.insert(address);
        }
    }
    let own: Vec<&str> = spec.texts("externalIPs").collect();
    let joined = match spec.text("type") {
        "ClusterIP" | "NodePort" => own.join(","),
        "LoadBalancer" => addresses.into_iter().chain(own).collect::<Vec<_>>().join(","),
        "ExternalName" => return spec.text("externalName").to_owned(),
        _ => return "<unknown>".to_owned(),
    };
    match (joined.is_empty(), spec.text("type")) {
        (false, _) => joined,
        (true, "LoadBalancer") => "<pending>".to_owned(),
        (true, _) => "<none>".to_owned(),
    }
}

#[cfg(test)]
mod tests;

//! Validation of services.

use std::collections::BTreeSet;
use std::net::IpAddr;

use apimachinery::Object;
use apimachinery::field::{Error, ErrorList, Path};
use apimachinery::validation::{is_dns1123_label, is_dns1123_subdomain, is_qualified_name};
use serde_json::{Value, json};

use super::update::needs_health_port;
use crate::addresses::{legacy_cidr, legacy_ip, sloppy_ip};
use crate::check;
use crate::tree::Tree;

const TYPES: &[&str] = &["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];
const PROTOCOLS: &[&str] = &["SCTP", "TCP", "UDP"];

pub fn service(service: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    check_service(&mut errors, service, &Value::Null);
    errors
}

/// `before` is the spec that was there, whose addresses may stay as they are.
fn check_service(errors: &mut ErrorList, service: &Object, before: &Value) {
    let (at, spec) = (Path::new("spec"), service.field("spec"));
    topology_annotations(errors, service.field("metadata").field("annotations"));
    let kind = spec.text("type");
    if spec.list("ports").is_empty() && !is_headless(spec) && kind != "ExternalName" {
        errors.push(Error::required(&at.child("ports"), ""));
    }
    by_type(errors, &at, spec, kind);
    ports(errors, &at.child("ports"), spec);
    check::labels(errors, &at.child("selector"), spec.field("selector"));
    affinity(errors, &at, spec);
    if kind != "ExternalName" {
        cluster_ips(errors, &at, spec, before);
    }
    external_ips(errors, &at.child("externalIPs"), spec, before);
    check::choice(errors, &at, spec, "type", TYPES);
    port_conflicts(errors, &at.child("ports"), spec, kind);
    source_ranges(errors, &at, service, before);
    allocates(errors, &at, spec, kind);
    balancer_class(errors, &at, spec);
    traffic(errors, &at, spec, kind);
}

pub const TOPOLOGY_HINTS: &str = "service.kubernetes.io/topology-aware-hints";
pub const TOPOLOGY_MODE: &str = "service.kubernetes.io/topology-mode";

/// The old and the new name of one annotation say the same.
fn topology_annotations(errors: &mut ErrorList, annotations: &Value) {
    let mode = annotations.text(TOPOLOGY_MODE);
    if annotations.has(TOPOLOGY_MODE) && annotations.has(TOPOLOGY_HINTS) && mode != annotations.text(TOPOLOGY_HINTS) {
        let path = Path::new("metadata").child("annotations").key(TOPOLOGY_MODE);
        let why = format!("must match annotations[{TOPOLOGY_HINTS}] when both are specified");
        errors.push(Error::invalid(&path, mode, why));
    }
}

/// It has no address of its own: names lead to its pods.
pub fn is_headless(spec: &Value) -> bool {
    spec.list("clusterIPs").len() == 1 && spec.list("clusterIPs")[0] == "None"
}

/// Where kubelets listen; balancers must not lead there.
const KUBELET_PORT: i64 = 10250;

fn by_type(errors: &mut ErrorList, at: &Path, spec: &Value, kind: &str) {
    if kind == "LoadBalancer" {
        for (i, _) in spec.list("ports").iter().enumerate().filter(|(_, p)| p.int("port") == Some(KUBELET_PORT)) {
            let why = format!("may not expose port {KUBELET_PORT} externally since it is used by kubelet");
            errors.push(Error::invalid(&at.child("ports").index(i), KUBELET_PORT, why));
        }
    }
    match kind {
        "LoadBalancer" | "NodePort" if is_headless(spec) => {
            let why = format!("may not be set to 'None' for {kind} services");
            errors.push(Error::invalid(&at.child("clusterIPs").index(0), "None", why));
        }
        "ExternalName" => {
            for field in ["clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
                if spec.has(field) && spec.field(field) != &json!([]) {
                    errors.push(Error::forbidden(&at.child(field), "may not be set for ExternalName services"));
                }
            }
            let name = spec.text("externalName");
            let name = name.strip_suffix('.').unwrap_or(name);
            if name.is_empty() {
                errors.push(Error::required(&at.child("externalName"), ""));
            } else {
                check::text(errors, at, "externalName", name, is_dns1123_subdomain);
            }
        }
        _ => {}
    }
}

fn ports(errors: &mut ErrorList, at: &Path, spec: &Value) {
    let list = spec.list("ports");
    let mut names = BTreeSet::new();
    for (i, port) in list.iter().enumerate() {
        let at = at.index(i);
        match port.text("name") {
            "" if list.len() > 1 => errors.push(Error::required(&at.child("name"), "")),
            "" => {}
            name => {
                check::text(errors, &at, "name", name, is_dns1123_label);
                if !names.insert(name) {
                    errors.push(Error::duplicate(&at.child("name"), name));
                }
            }
        }
        check::port(errors, &at, "port", port.int("port").unwrap_or(0));
        check::choice(errors, &at, port, "protocol", PROTOCOLS);
        check::port_or_name(errors, &at, "targetPort", port.field("targetPort"));
        if let Some(protocol) = port.field("appProtocol").as_str() {
            check::text(errors, &at, "appProtocol", protocol, is_qualified_name);
        }
    }
}

fn affinity(errors: &mut ErrorList, at: &Path, spec: &Value) {
    check::choice(errors, at, spec, "sessionAffinity", &["ClientIP", "None"]);
    let (at, config) = (at.child("sessionAffinityConfig"), spec.field("sessionAffinityConfig"));
    match spec.text("sessionAffinity") {
        "ClientIP" => {
            let seconds_at = || at.child("clientIP").child("timeoutSeconds");
            let missing = match config.field("clientIP").int("timeoutSeconds") {
                Some(seconds) if !(1..=86400).contains(&seconds) => {
                    let why = "must be greater than 0 and less than 86400";
                    errors.push(Error::invalid(&seconds_at(), seconds, why));
                    return;
                }
                Some(_) => return,
                None if config.is_null() => at,
                None if !config.has("clientIP") => at.child("clientIP"),
                None => seconds_at(),
            };
            errors.push(Error::required(&missing, "when session affinity type is ClientIP"));
        }
        "None" if !config.is_null() => {
            errors.push(Error::forbidden(&at, "must not be set when session affinity is None"));
        }
        _ => {}
    }
}

/// `clusterIP`, `clusterIPs`, `ipFamilies` and `ipFamilyPolicy`, which have to fit together.
fn cluster_ips(errors: &mut ErrorList, at: &Path, spec: &Value, before: &Value) {
    let (list_at, list) = (at.child("clusterIPs"), spec.field("clusterIPs"));
    let ips: Vec<&str> = spec.texts("clusterIPs").collect();
    match (spec.text("clusterIP"), ips.first()) {
        ("", Some(_)) => {
            let why = "must be empty when `clusterIP` is not specified";
            errors.push(Error::invalid(&list_at, list.clone(), why));
        }
        ("", None) => {}
        (_, None) => errors.push(Error::required(&list_at, "")),
        (ip, Some(first)) if ip != *first => {
            errors.push(Error::invalid(&list_at, list.clone(), "first value must match `clusterIP`"));
        }
        _ => {}
    }
    families(errors, at, spec);
    if !legal_ips(errors, &list_at, spec, before) {
        return;
    }
    let is_v6 = |ip: &str| ip.contains(':');
    if ips.len() > 1 && ips.iter().all(|ip| is_v6(ip) == is_v6(ips[0])) {
        let why = "may specify no more than one IP for each IP family";
        errors.push(Error::invalid(&list_at, list.clone(), why));
    }
    if is_headless(spec) {
        return;
    }
    for (i, (ip, family)) in ips.iter().zip(spec.texts("ipFamilies")).enumerate() {
        if matches!((family, is_v6(ip)), ("IPv4", true) | ("IPv6", false)) {
            let why = format!("expected an {family} value as indicated by `ipFamilies[{i}]`");
            errors.push(Error::invalid(&list_at.index(i), *ip, why));
        }
    }
}

fn families(errors: &mut ErrorList, at: &Path, spec: &Value) {
    for (i, family) in spec.texts("ipFamilies").enumerate() {
        let at = at.child("ipFamilies").index(i);
        if !matches!(family, "IPv4" | "IPv6") {
            errors.push(Error::not_supported(&at, family, &["IPv4", "IPv6"]));
        }
        if spec.texts("ipFamilies").take(i).any(|f| f == family) {
            errors.push(Error::duplicate(&at, family));
        }
    }
    let policies = &["PreferDualStack", "RequireDualStack", "SingleStack"];
    check::optional_choice(errors, at, spec, "ipFamilyPolicy", policies);
}

/// Each of `clusterIPs` in itself. False if one is not legal: what they are together cannot be told then.
fn legal_ips(errors: &mut ErrorList, list_at: &Path, spec: &Value, before: &Value) -> bool {
    let (start, count) = (errors.len(), spec.list("clusterIPs").len());
    let kept: Vec<&str> = before.texts("clusterIPs").collect();
    for (i, ip) in spec.texts("clusterIPs").enumerate() {
        if (i, ip) != (0, "None") {
            legacy_ip(errors, &list_at.index(i), ip, &kept);
        } else if count > 1 {
            let why = "'None' must be the first and only value";
            errors.push(Error::invalid(list_at, spec.field("clusterIPs").clone(), why));
        }
    }
    let legal = errors.len() == start;
    if count > 2 {
        let why = "may only hold up to 2 values";
        errors.push(Error::invalid(list_at, spec.field("clusterIPs").clone(), why));
    }
    legal
}

/// An address that can be somebody else's.
pub fn non_special_ip(errors: &mut ErrorList, at: &Path, ip: &str) {
    let Ok(parsed) = ip.parse::<IpAddr>() else { return };
    let mut refuse = |why: &str| errors.push(Error::invalid(at, ip, why));
    if parsed.is_unspecified() {
        refuse(&format!("may not be unspecified ({ip})"));
    }
    if parsed.is_loopback() {
        refuse("may not be in the loopback range (127.0.0.0/8, ::1/128)");
    }
    let (local, local_multicast) = match parsed {
        IpAddr::V4(v4) => (v4.is_link_local(), v4.octets()[..3] == [224, 0, 0]),
        IpAddr::V6(v6) => (v6.segments()[0] & 0xffc0 == 0xfe80, v6.segments()[0] & 0xff0f == 0xff02),
    };
    if local {
        refuse("may not be in the link-local range (169.254.0.0/16, fe80::/10)");
    }
    if local_multicast {
        refuse("may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)");
    }
}

fn external_ips(errors: &mut ErrorList, at: &Path, spec: &Value, before: &Value) {
    let kept: Vec<&str> = before.texts("externalIPs").collect();
    for (i, ip) in spec.texts("externalIPs").enumerate() {
        let count = errors.len();
        legacy_ip(errors, &at.index(i), ip, &kept);
        if errors.len() == count {
            non_special_ip(errors, &at.index(i), ip);
        }
    }
}

/// Ports of the nodes, then ports of the service, by protocol and number.
fn port_conflicts(errors: &mut ErrorList, at: &Path, spec: &Value, kind: &str) {
    let used = || spec.list("ports").iter().enumerate().filter(|(_, p)| p.int("nodePort").unwrap_or(0) != 0);
    if kind == "ClusterIP" {
        for (i, _) in used() {
            let why = "may not be used when `type` is 'ClusterIP'";
            errors.push(Error::forbidden(&at.index(i).child("nodePort"), why));
        }
    }
    let mut seen = BTreeSet::new();
    for (i, port) in used() {
        let number = port.int("nodePort").unwrap_or(0);
        if !seen.insert((port.text("protocol"), number)) {
            errors.push(Error::duplicate(&at.index(i).child("nodePort"), number));
        }
    }
    seen.clear();
    for (i, port) in spec.list("ports").iter().enumerate() {
        let key = (port.text("protocol"), port.int("port").unwrap_or(0));
        if !seen.insert(key) {
            errors.push(Error::duplicate(&at.index(i), json!({ "protocol": key.0, "port": key.1 })));
        }
    }
}

const ONLY_BALANCERS: &str = "may only be used when `type` is 'LoadBalancer'";
const RANGES_ANNOTATION: &str = "service.beta.kubernetes.io/load-balancer-source-ranges";

/// Networks that a balancer takes traffic from, in the field or in the older annotation.
fn source_ranges(errors: &mut ErrorList, at: &Path, service: &Object, before: &Value) {
    let spec = service.field("spec");
    let kind = spec.text("type");
    // Upstream calls the field by its name in Go here.
    let at = at.child("LoadBalancerSourceRanges");
    if !spec.list("loadBalancerSourceRanges").is_empty() {
        if kind != "LoadBalancer" {
            errors.push(Error::forbidden(&at, ONLY_BALANCERS));
        }
        let kept: Vec<&str> = before.texts("loadBalancerSourceRanges").collect();
        for (i, range) in spec.texts("loadBalancerSourceRanges").enumerate() {
            legacy_cidr(errors, &at.index(i), range.trim(), &kept);
        }
        return;
    }
    if let Some(text) = service.field("metadata").field("annotations").field(RANGES_ANNOTATION).as_str() {
        let at = Path::new("metadata").child("annotations").key(RANGES_ANNOTATION);
        if kind != "LoadBalancer" {
            errors.push(Error::forbidden(&at, ONLY_BALANCERS));
        }
        for range in text.split(',').map(str::trim).filter(|_| !text.trim().is_empty()) {
            legacy_cidr(errors, &at, range, &[]);
        }
    }
}

fn allocates(errors: &mut ErrorList, at: &Path, spec: &Value, kind: &str) {
    const FIELD: &str = "allocateLoadBalancerNodePorts";
    match (spec.has(FIELD), kind == "LoadBalancer") {
        (true, false) => errors.push(Error::forbidden(&at.child(FIELD), ONLY_BALANCERS)),
        (false, true) => errors.push(Error::required(&Path::new(FIELD), "")),
        _ => {}
    }
}

pub fn balancer_class(errors: &mut ErrorList, at: &Path, spec: &Value) {
    let Some(class) = spec.field("loadBalancerClass").as_str() else { return };
    if spec.text("type") == "LoadBalancer" {
        check::text(errors, at, "loadBalancerClass", class, is_qualified_name);
    } else {
        errors.push(Error::forbidden(&at.child("loadBalancerClass"), ONLY_BALANCERS));
    }
}

fn traffic(errors: &mut ErrorList, at: &Path, spec: &Value, kind: &str) {
    let outside =
        matches!(kind, "NodePort" | "LoadBalancer") || (kind == "ClusterIP" && !spec.list("externalIPs").is_empty());
    let policy = spec.text("externalTrafficPolicy");
    if outside {
        check::choice(errors, at, spec, "externalTrafficPolicy", &["Cluster", "Local"]);
    } else if !policy.is_empty() {
        let why = "may only be set for externally-accessible services";
        errors.push(Error::invalid(&at.child("externalTrafficPolicy"), policy, why));
    }
    // A port that is still missing is handed out when the service is written.
    let health = spec.int("healthCheckNodePort").unwrap_or(0);
    if health != 0 && needs_health_port(spec) {
        check::port(errors, at, "healthCheckNodePort", health);
    } else if health != 0 {
        let why = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'";
        errors.push(Error::invalid(&at.child("healthCheckNodePort"), health, why));
    }
    if matches!(kind, "ClusterIP" | "NodePort" | "LoadBalancer") && !spec.has("internalTrafficPolicy") {
        errors.push(Error::required(&at.child("internalTrafficPolicy"), ""));
    }
    check::optional_choice(errors, at, spec, "internalTrafficPolicy", &["Cluster", "Local"]);
    let distributions = &["PreferClose", "PreferSameZone", "PreferSameNode"];
    check::optional_choice(errors, at, spec, "trafficDistribution", distributions);
}

pub fn update(new: &Object, old: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    let at = Path::new("spec");
    let (spec, before) = (new.field("spec"), old.field("spec"));
    super::changes::validate(&mut errors, &at, spec, before);
    check_service(&mut errors, new, before);
    errors
}

pub fn status_update(new: &Object, old: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    let at = Path::new("status").child("loadBalancer").child("ingress");
    let ingresses = new.field("status").field("loadBalancer").list("ingress");
    if new.field("spec").text("type") != "LoadBalancer" && !ingresses.is_empty() {
        errors.push(Error::forbidden(&at, "may only be used when `spec.type` is 'LoadBalancer'"));
        return errors;
    }
    let before = old.field("status").field("loadBalancer").list("ingress");
    let kept: Vec<&str> = before.iter().map(|ingress| ingress.text("ip")).collect();
    for (i, ingress) in ingresses.iter().enumerate() {
        let at = at.index(i);
        let ip = ingress.text("ip");
        if !ip.is_empty() {
            legacy_ip(&mut errors, &at.child("ip"), ip, &kept);
        }
        match (ip.is_empty(), ingress.has("ipMode")) {
            (false, false) => {
                errors.push(Error::required(&at.child("ipMode"), "must be specified when `ip` is set"));
            }
            (true, true) => {
                errors.push(Error::forbidden(&at.child("ipMode"), "may not be specified when `ip` is not set"));
            }
            _ => check::optional_choice(&mut errors, &at, ingress, "ipMode", &["Proxy", "VIP"]),
        }
        let name = ingress.text("hostname");
        if !name.is_empty() {
            check::text(&mut errors, &at, "hostname", name, is_dns1123_subdomain);
            if sloppy_ip(name).is_some() {
                let why = "must be a DNS name, not an IP address";
                errors.push(Error::invalid(&at.child("hostname"), name, why));
            }
        }
    }
    errors
}

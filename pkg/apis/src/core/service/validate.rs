//! Validation of services.

use std::collections::BTreeSet;
use std::net::IpAddr;

use apimachinery::Object;
use apimachinery::field::{Error, ErrorList, Path};
use apimachinery::validation::{is_dns1123_label, is_dns1123_subdomain, is_qualified_name};
use serde_json::{Value, json};

use super::update::needs_health_port;
use crate::check;
use crate::tree::Tree;

const TYPES: &[&str] = &["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];
const PROTOCOLS: &[&str] = &["SCTP", "TCP", "UDP"];

pub fn service(service: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    let (at, spec) = (Path::new("spec"), service.field("spec"));
    let headless = spec.text("clusterIP") == "None";
    let kind = spec.text("type");
    if spec.list("ports").is_empty() && !headless && kind != "ExternalName" {
        errors.push(Error::required(&at.child("ports"), ""));
    }
    by_type(&mut errors, &at, spec, kind, headless);
    ports(&mut errors, &at.child("ports"), spec);
    check::labels(&mut errors, &at.child("selector"), spec.field("selector"));
    affinity(&mut errors, &at, spec);
    addresses(&mut errors, &at, spec);
    for (i, ip) in spec.texts("externalIPs").enumerate() {
        external_ip(&mut errors, &at.child("externalIPs").index(i), ip);
    }
    check::choice(&mut errors, &at, spec, "type", TYPES);
    node_ports(&mut errors, &at.child("ports"), spec, kind);
    load_balancer(&mut errors, &at, spec, kind);
    traffic(&mut errors, &at, spec, kind);
    errors
}

fn by_type(errors: &mut ErrorList, at: &Path, spec: &Value, kind: &str, headless: bool) {
    match kind {
        "LoadBalancer" | "NodePort" if headless => {
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
    let mut seen = BTreeSet::new();
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
    for (i, port) in list.iter().enumerate() {
        let key = (port.text("protocol"), port.int("port").unwrap_or(0));
        if !seen.insert(key) {
            errors.push(Error::duplicate(&at.index(i), json!({ "protocol": key.0, "port": key.1 })));
        }
    }
}

fn affinity(errors: &mut ErrorList, at: &Path, spec: &Value) {
    check::choice(errors, at, spec, "sessionAffinity", &["ClientIP", "None"]);
    let config = at.child("sessionAffinityConfig");
    match spec.text("sessionAffinity") {
        "ClientIP" => {
            let seconds = spec.field("sessionAffinityConfig").field("clientIP").int("timeoutSeconds");
            let at = config.child("clientIP").child("timeoutSeconds");
            match seconds {
                None => errors.push(Error::required(&at, "when session affinity type is ClientIP")),
                Some(seconds) if !(1..=86400).contains(&seconds) => {
                    errors.push(Error::invalid(&at, seconds, "must be greater than 0 and less than 86400"));
                }
                Some(_) => {}
            }
        }
        "None" if spec.has("sessionAffinityConfig") => {
            errors.push(Error::forbidden(&config, "must not be set when session affinity is None"));
        }
        _ => {}
    }
}

fn addresses(errors: &mut ErrorList, at: &Path, spec: &Value) {
    let families = spec.list("ipFamilies");
    for (i, family) in spec.texts("ipFamilies").enumerate() {
        let at = at.child("ipFamilies").index(i);
        if !matches!(family, "IPv4" | "IPv6") {
            errors.push(Error::not_supported(&at, family, &["IPv4", "IPv6"]));
        } else if spec.texts("ipFamilies").take(i).any(|f| f == family) {
            errors.push(Error::duplicate(&at, family));
        }
    }
    let policies = &["PreferDualStack", "RequireDualStack", "SingleStack"];
    check::optional_choice(errors, at, spec, "ipFamilyPolicy", policies);
    let ips: Vec<&str> = spec.texts("clusterIPs").collect();
    let list_at = at.child("clusterIPs");
    if ips.first().copied().unwrap_or("") != spec.text("clusterIP") {
        errors.push(Error::invalid(&list_at, spec.field("clusterIPs").clone(), "first value must match `clusterIP`"));
    }
    if ips.len() > 2 {
        errors.push(Error::invalid(&list_at, spec.field("clusterIPs").clone(), "may only hold up to 2 values"));
    }
    for (i, ip) in ips.iter().enumerate().filter(|(_, ip)| **ip != "None") {
        let at = list_at.index(i);
        check::ip(errors, &at, ip);
        let Ok(parsed) = ip.parse::<IpAddr>() else { continue };
        let expected = families.get(i).and_then(Value::as_str);
        let actual = if parsed.is_ipv6() { "IPv6" } else { "IPv4" };
        if let Some(expected) = expected.filter(|f| matches!(*f, "IPv4" | "IPv6") && *f != actual) {
            let why = format!("expected an {expected} value as indicated by `ipFamilies[{i}]`");
            errors.push(Error::invalid(&at, *ip, why));
        }
    }
    if ips.len() > 1 && ips.contains(&"None") {
        let why = "'None' must be the first and only value";
        errors.push(Error::invalid(&list_at, spec.field("clusterIPs").clone(), why));
    }
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

fn external_ip(errors: &mut ErrorList, at: &Path, ip: &str) {
    check::ip(errors, at, ip);
    non_special_ip(errors, at, ip);
}

fn node_ports(errors: &mut ErrorList, at: &Path, spec: &Value, kind: &str) {
    let mut seen = BTreeSet::new();
    for (i, port) in spec.list("ports").iter().enumerate() {
        let number = port.int("nodePort").unwrap_or(0);
        if number == 0 {
            continue;
        }
        let at = at.index(i).child("nodePort");
        if kind == "ClusterIP" {
            errors.push(Error::forbidden(&at, "may not be used when `type` is 'ClusterIP'"));
        }
        if !seen.insert((port.text("protocol"), number)) {
            errors.push(Error::duplicate(&at, number));
        }
    }
}

fn load_balancer(errors: &mut ErrorList, at: &Path, spec: &Value, kind: &str) {
    const WHY: &str = "may only be used when `type` is 'LoadBalancer'";
    let balances = kind == "LoadBalancer";
    let ranges = at.child("LoadBalancerSourceRanges");
    if !spec.list("loadBalancerSourceRanges").is_empty() && !balances {
        errors.push(Error::forbidden(&ranges, WHY));
    }
    for (i, range) in spec.texts("loadBalancerSourceRanges").enumerate() {
        check::cidr(errors, &ranges.index(i), range.trim());
    }
    for field in ["allocateLoadBalancerNodePorts", "loadBalancerClass"] {
        if spec.has(field) && !balances {
            errors.push(Error::forbidden(&at.child(field), WHY));
        }
    }
    check::optional_text(errors, at, spec, "loadBalancerClass", is_qualified_name);
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
    let health = spec.int("healthCheckNodePort").unwrap_or(0);
    if !needs_health_port(spec) && health != 0 {
        let why = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'";
        errors.push(Error::invalid(&at.child("healthCheckNodePort"), health, why));
    }
    check::optional_choice(errors, at, spec, "internalTrafficPolicy", &["Cluster", "Local"]);
    let distributions = &["PreferClose", "PreferSameNode", "PreferSameZone"];
    check::optional_choice(errors, at, spec, "trafficDistribution", distributions);
}

pub fn update(new: &Object, old: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    let at = Path::new("spec");
    let (spec, before) = (new.field("spec"), old.field("spec"));
    let external_name = |s: &Value| s.text("type") == "ExternalName";
    if !external_name(spec) && !external_name(before) {
        for (list, why) in [("clusterIPs", "may not change once set"), ("ipFamilies", "may not change once set")] {
            for (i, old) in before.texts(list).enumerate() {
                if spec.texts(list).nth(i).is_some_and(|now| now != old) {
                    errors.push(Error::invalid(&at.child(list).index(i), spec.field(list).clone(), why));
                }
            }
        }
        if !before.text("clusterIP").is_empty()
            && spec.list("clusterIPs").is_empty()
            && !before.list("clusterIPs").is_empty()
        {
            let why = "primary clusterIP can not be unset";
            errors.push(Error::invalid(&at.child("clusterIPs").index(0), spec.field("clusterIPs").clone(), why));
        }
    }
    let balances = |s: &Value| s.text("type") == "LoadBalancer";
    if balances(spec) && balances(before) && spec.field("loadBalancerClass") != before.field("loadBalancerClass") {
        let why = "may not change once set";
        errors.push(Error::invalid(&at.child("loadBalancerClass"), spec.field("loadBalancerClass").clone(), why));
    }
    let port = |s: &Value| s.int("healthCheckNodePort").unwrap_or(0);
    if needs_health_port(before) && needs_health_port(spec) && port(spec) != port(before) {
        errors.push(Error::forbidden(&at.child("healthCheckNodePort"), "field is immutable"));
    }
    errors.extend(service(new));
    errors
}

pub fn status_update(new: &Object, _old: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    let at = Path::new("status").child("loadBalancer").child("ingress");
    let ingresses = new.field("status").field("loadBalancer").list("ingress");
    if new.field("spec").text("type") != "LoadBalancer" && !ingresses.is_empty() {
        errors.push(Error::forbidden(&at, "may only be used when `spec.type` is 'LoadBalancer'"));
    }
    for (i, ingress) in ingresses.iter().enumerate() {
        let at = at.index(i);
        if !ingress.text("ip").is_empty() {
            check::ip(&mut errors, &at.child("ip"), ingress.text("ip"));
        } else if ingress.has("ipMode") {
            errors.push(Error::forbidden(&at.child("ipMode"), "may not be specified when `ip` is not set"));
        }
        check::optional_choice(&mut errors, &at, ingress, "ipMode", &["Proxy", "VIP"]);
        let name = ingress.text("hostname");
        if !name.is_empty() {
            check::text(&mut errors, &at, "hostname", name, is_dns1123_subdomain);
            if name.parse::<IpAddr>().is_ok() {
                let why = "must be a DNS name, not an IP address";
                errors.push(Error::invalid(&at.child("hostname"), name, why));
            }
        }
    }
    errors
}

//! EndpointSlices.

use std::collections::BTreeSet;
use std::net::IpAddr;

use apimachinery::field::{Error, ErrorList, Path};
use apimachinery::validation::{is_dns1123_label, is_dns1123_subdomain, is_qualified_name};
use apimachinery::{Object, meta::ObjectExt, meta::object_mut};
use serde_json::Value;

use crate::addresses::{ip_warning, legacy_ip, sloppy_ip};
use crate::cells::{age, first_three};
use crate::check;
use crate::names;
use crate::resource::{Column, Resource, Strategy};
use crate::tree::{Fill, Tree};

pub const ROW: Resource = Resource {
    columns: &[
        Column::NAME,
        Column::text("AddressType", "What the addresses are."),
        Column::text("Ports", "Ports of every endpoint."),
        Column::text("Endpoints", "Addresses of the endpoints."),
        Column::AGE,
    ],
    cells,
    strategy: Strategy {
        default: |o| {
            object_mut(o).each("ports", |port| {
                port.default_value("name", || "".into());
                port.default_text("protocol", "TCP");
            });
        },
        prepare_for_create: drop_topology,
        prepare_for_update: |new, old| {
            if new.field("endpoints") != old.field("endpoints") {
                drop_topology(new);
            }
        },
        validate: |o| validate(o, None),
        validate_update: |new, old| {
            let mut errors = validate(new, Some(old));
            check::immutable(&mut errors, &Path::default(), new, old, "addressType");
            errors
        },
        warnings,
        generation_changed: Some(changed),
        ..Strategy::PLAIN
    },
    ..Resource::namespaced("discovery.k8s.io", "v1", "endpointslices", "endpointslice", "EndpointSlice")
};

fn changed(new: &Object, old: &Object) -> bool {
    let labels = |o: &Object| o.field("metadata").field("labels").clone();
    ["endpoints", "ports", "addressType"].iter().any(|f| new.get(f) != old.get(f)) || labels(new) != labels(old)
}

/// The field is a leftover of v1beta1: it is kept where it is, never written.
fn drop_topology(slice: &mut Object) {
    object_mut(slice).each("endpoints", |endpoint| drop(endpoint.remove("deprecatedTopology")));
}

fn warnings(slice: &Object, _: Option<&Object>) -> Vec<String> {
    let mut warnings = Vec::new();
    if slice.text("addressType") == "FQDN" {
        warnings.push("addressType: FQDN endpoints are deprecated".to_owned());
    }
    let canonical = |a: &str| a.parse().is_ok_and(|ip: IpAddr| ip.is_ipv4() || ip.to_string() == a);
    for (i, endpoint) in slice.list("endpoints").iter().enumerate() {
        for (j, address) in endpoint.texts("addresses").enumerate().filter(|(_, a)| !canonical(a)) {
            let path = Path::new("endpoints").index(i).child("addresses").index(j);
            warnings.extend(ip_warning(&path, address));
        }
    }
    warnings
}

const ENDPOINTS_MAX: usize = 1000;
const ADDRESSES_MAX: usize = 100;
const PORTS_MAX: usize = 20_000;
const TOPOLOGY_MAX: usize = 16;
const HINTS_MAX: usize = 8;

/// `old` is the slice before an update: its addresses may stay as they are.
fn validate(slice: &Object, old: Option<&Object>) -> ErrorList {
    let mut errors = ErrorList::new();
    let kinds = &["FQDN", "IPv4", "IPv6"];
    check::choice(&mut errors, &Path::default(), slice, "addressType", kinds);
    let kind = slice.text("addressType");
    let endpoints = slice.list("endpoints");
    if endpoints.len() > ENDPOINTS_MAX {
        errors.push(Error::too_many(&Path::new("endpoints"), endpoints.len(), ENDPOINTS_MAX));
    } else {
        for (i, endpoint) in endpoints.iter().enumerate().filter(|(_, e)| !is_usual(kind, e)) {
            one_endpoint(&mut errors, &Path::new("endpoints").index(i), endpoint, (kind, old));
        }
    }
    ports(&mut errors, slice.list("ports"));
    errors
}

/// The usual endpoint is legal: decided without building a path.
fn is_usual(kind: &str, endpoint: &Value) -> bool {
    let plain_name = |name: &Value| match name.as_str() {
        Some(name) => is_dns1123_subdomain(name).is_empty(),
        None => true,
    };
    let list = endpoint.list("addresses");
    (1..=ADDRESSES_MAX).contains(&list.len())
        && endpoint.texts("addresses").all(|a| address_fits(kind, a))
        && ["hostname", "hints", "deprecatedTopology"].iter().all(|f| !endpoint.has(f))
        && plain_name(endpoint.field("nodeName"))
}

fn address_fits(kind: &str, address: &str) -> bool {
    match (kind, address.parse::<IpAddr>()) {
        ("IPv4", Ok(IpAddr::V4(ip))) => {
            !(ip.is_loopback() || ip.is_unspecified() || ip.is_link_local() || ip.is_multicast())
        }
        ("IPv6", Ok(IpAddr::V6(ip))) => {
            let special = ip.is_loopback() || ip.is_unspecified() || ip.segments()[0] >= 0xfe80;
            !special && ip.to_ipv4_mapped().is_none()
        }
        _ => false,
    }
}

fn one_endpoint(errors: &mut ErrorList, at: &Path, endpoint: &Value, (kind, old): (&str, Option<&Object>)) {
    let path = at.child("addresses");
    let count = endpoint.list("addresses").len();
    if count == 0 {
        errors.push(Error::required(&path, "must contain at least 1 address"));
    } else if count > ADDRESSES_MAX {
        errors.push(Error::too_many(&path, count, ADDRESSES_MAX));
    }
    for (i, address) in endpoint.texts("addresses").enumerate() {
        one_address(errors, &path.index(i), address, (kind, old));
    }
    if let Some(node) = endpoint.field("nodeName").as_str() {
        check::text(errors, at, "nodeName", node, is_dns1123_subdomain);
    }
    let topology = endpoint.field("deprecatedTopology");
    let entries = endpoint.entries("deprecatedTopology").count();
    if entries > TOPOLOGY_MAX {
        errors.push(Error::too_many(&at.child("deprecatedTopology"), entries, TOPOLOGY_MAX));
    }
    check::labels(errors, &at.child("deprecatedTopology"), topology);
    if let Some(name) = endpoint.field("hostname").as_str() {
        check::text(errors, at, "hostname", name, is_dns1123_label);
    }
    let hints = endpoint.field("hints");
    hint_names(errors, &at.child("hints").child("forZones"), hints.list("forZones"), is_qualified_name);
    hint_names(errors, &at.child("hints").child("forNodes"), hints.list("forNodes"), is_dns1123_subdomain);
}

fn one_address(errors: &mut ErrorList, at: &Path, address: &str, (kind, old): (&str, Option<&Object>)) {
    let family = match kind {
        "FQDN" => {
            let name = address.strip_suffix('.').unwrap_or(address);
            let before = errors.len();
            names::domain(errors, at, name, 2);
            if errors.len() == before {
                let faulty = name.split('.').map(|part| (part, is_dns1123_label(part))).filter(|(_, e)| !e.is_empty());
                errors.extend(faulty.map(|(part, faults)| Error::invalid(at, part, faults.join(","))));
            }
            return;
        }
        "IPv4" | "IPv6" => kind,
        _ => return,
    };
    let before = errors.len();
    let had = || old.into_iter().flat_map(|o| o.list("endpoints")).flat_map(|e| e.texts("addresses"));
    let kept = if had().any(|a| a == address) { &[address][..] } else { &[] };
    legacy_ip(errors, at, address, kept);
    if errors.len() == before {
        if sloppy_ip(address).is_some_and(|ip| ip.is_ipv4() != (family == "IPv4")) {
            errors.push(Error::invalid(at, address, format!("must be an {family} address")));
        }
        crate::core::service::validate::non_special_ip(errors, at, address);
    }
}

/// The zones or nodes that an endpoint is meant for.
fn hint_names(errors: &mut ErrorList, at: &Path, hints: &[Value], rule: check::Rule) {
    if hints.len() > HINTS_MAX {
        errors.push(Error::too_many(at, hints.len(), HINTS_MAX));
        return;
    }
    for (i, hint) in hints.iter().enumerate() {
        let (at, name) = (at.index(i), hint.text("name"));
        if hints[..i].iter().any(|h| h.text("name") == name) {
            errors.push(Error::duplicate(&at.child("name"), name));
        }
        check::text(errors, &at, "name", name, rule);
    }
}

fn ports(errors: &mut ErrorList, ports: &[Value]) {
    let at = Path::new("ports");
    if ports.len() > PORTS_MAX {
        errors.push(Error::too_many(&at, ports.len(), PORTS_MAX));
        return;
    }
    let mut names = BTreeSet::new();
    for (i, port) in ports.iter().enumerate() {
        let at = at.index(i);
        let name = port.text("name");
        if !name.is_empty() {
            check::text(errors, &at, "name", name, is_dns1123_label);
        }
        if !names.insert(name) {
            errors.push(Error::duplicate(&at.child("name"), name));
        }
        check::choice(errors, &at, port, "protocol", &["SCTP", "TCP", "UDP"]);
        if let Some(protocol) = port.field("appProtocol").as_str() {
            check::text(errors, &at, "appProtocol", protocol, is_qualified_name);
        }
    }
}

fn cells(slice: &Object, now: i64) -> Vec<Value> {
    let ports = slice.list("ports").iter().map(|port| match port.int("port") {
        Some(number) => number.to_string(),
        None => match port.text("name") {
            "" => "*".to_owned(),
            name => name.to_owned(),
        },
    });
    let addresses = slice.list("endpoints").iter().flat_map(|e| e.texts("addresses"));
    vec![
        slice.name().into(),
        slice.text("addressType").into(),
        first_three(ports, "<unset>"),
        first_three(addresses, "<unset>"),
        age(slice, now),
    ]
}

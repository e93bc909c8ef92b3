//! EndpointSlices.

use std::collections::BTreeSet;
use std::net::IpAddr;

use apimachinery::field::{Error, ErrorList, Path};
use apimachinery::validation::{is_dns1123_label, is_dns1123_subdomain, is_qualified_name};
use apimachinery::{Object, meta::ObjectExt, meta::object_mut};
use serde_json::Value;

use crate::cells::{age, first_three};
use crate::check;
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
        validate,
        validate_update: |new, old| {
            let mut errors = validate(new);
            check::immutable(&mut errors, &Path::default(), new, old, "addressType");
            errors
        },
        generation_changed: Some(changed),
        ..Strategy::PLAIN
    },
    ..Resource::namespaced("discovery.k8s.io", "v1", "endpointslices", "endpointslice", "EndpointSlice")
};

fn changed(new: &Object, old: &Object) -> bool {
    let labels = |o: &Object| o.field("metadata").field("labels").clone();
    ["endpoints", "ports", "addressType"].iter().any(|f| new.get(f) != old.get(f)) || labels(new) != labels(old)
}

const ENDPOINTS_MAX: usize = 1000;
const ADDRESSES_MAX: usize = 100;
const PORTS_MAX: usize = 20_000;

fn validate(slice: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    let kinds = &["FQDN", "IPv4", "IPv6"];
    check::choice(&mut errors, &Path::default(), slice, "addressType", kinds);
    let kind = slice.text("addressType");
    let endpoints = slice.list("endpoints");
    if endpoints.len() > ENDPOINTS_MAX {
        errors.push(Error::too_many(&Path::new("endpoints"), endpoints.len(), ENDPOINTS_MAX));
        return errors;
    }
    for (i, endpoint) in endpoints.iter().enumerate() {
        let list = endpoint.list("addresses");
        let bad = |a: &Value| !address_fits(kind, a.as_str().unwrap_or(""));
        if list.is_empty() || list.len() > ADDRESSES_MAX || list.iter().any(bad) || endpoint.has("hostname") {
            one_endpoint(&mut errors, &Path::new("endpoints").index(i), endpoint, kind);
        }
    }
    ports(&mut errors, slice.list("ports"));
    errors
}

/// The usual address is legal: decided without building a path.
fn address_fits(kind: &str, address: &str) -> bool {
    match (kind, address.parse::<IpAddr>()) {
        ("IPv4", Ok(IpAddr::V4(ip))) => {
            !(ip.is_loopback() || ip.is_unspecified() || ip.is_link_local() || ip.is_multicast())
        }
        ("IPv6", Ok(IpAddr::V6(ip))) => !(ip.is_loopback() || ip.is_unspecified() || ip.segments()[0] >= 0xfe80),
        _ => false,
    }
}

fn one_endpoint(errors: &mut ErrorList, at: &Path, endpoint: &Value, kind: &str) {
    let list = endpoint.list("addresses");
    let path = at.child("addresses");
    if list.is_empty() {
        errors.push(Error::required(&path, "must contain at least 1 address"));
    } else if list.len() > ADDRESSES_MAX {
        errors.push(Error::too_many(&path, list.len(), ADDRESSES_MAX));
    }
    for (i, address) in endpoint.texts("addresses").enumerate() {
        let at = path.index(i);
        match (kind, address.parse::<IpAddr>()) {
            ("FQDN", _) => {
                let reasons = is_dns1123_subdomain(address);
                errors.extend(reasons.into_iter().map(|e| Error::invalid(&at, address, e)));
            }
            ("IPv4", Ok(IpAddr::V4(_))) | ("IPv6", Ok(IpAddr::V6(_))) => {
                crate::core::service::validate::non_special_ip(errors, &at, address);
            }
            ("IPv4", _) => errors.push(Error::invalid(&at, address, "must be an IPv4 address")),
            ("IPv6", _) => errors.push(Error::invalid(&at, address, "must be an IPv6 address")),
            _ => {}
        }
    }
    check::optional_text(errors, at, endpoint, "hostname", is_dns1123_label);
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

//! Endpoints: the old form of EndpointSlices.

use apimachinery::field::{Error, ErrorList, Path};
use apimachinery::validation::{is_dns1123_label, is_qualified_name};
use apimachinery::{Object, meta::ObjectExt, meta::object_mut};
use serde_json::Value;

use super::service::validate::non_special_ip;
use crate::cells::{age, first_three};
use crate::check;
use crate::resource::{Column, Resource, Strategy};
use crate::tree::{Fill, Tree};

pub const ROW: Resource = Resource {
    short_names: &["ep"],
    columns: &[Column::NAME, Column::text("Endpoints", "Addresses and ports behind the service."), Column::AGE],
    cells: |o, now| {
        vec![
            o.name().into(),
            first_three(pairs(o), if o.list("subsets").is_empty() { "<none>" } else { "" }),
            age(o, now),
        ]
    },
    strategy: Strategy {
        default: |o| {
            object_mut(o).each("subsets", |subset| subset.each("ports", |port| port.default_text("protocol", "TCP")));
        },
        validate,
        validate_update: |new, old| {
            // Old objects keep what they had before a rule came; only changes are checked.
            if new.get("subsets") == old.get("subsets") { Vec::new() } else { validate(new) }
        },
        warnings: |_, _| vec!["v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice".to_owned()],
        ..Strategy::PLAIN
    },
    ..Resource::namespaced("", "v1", "endpoints", "endpoints", "Endpoints")
};

/// `address:port` of everything that is ready.
fn pairs(object: &Object) -> impl Iterator<Item = String> {
    object.list("subsets").iter().flat_map(|subset| {
        let ports = subset.list("ports");
        let bare = ports.is_empty().then_some(None);
        let ports = ports.iter().map(|p| p.int("port")).chain(bare);
        ports.flat_map(|port| subset.list("addresses").iter().map(move |address| pair(address.text("ip"), port)))
    })
}

fn pair(ip: &str, port: Option<i64>) -> String {
    match port {
        None => ip.to_owned(),
        Some(port) if ip.contains(':') => format!("[{ip}]:{port}"),
        Some(port) => format!("{ip}:{port}"),
    }
}

fn validate(object: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    for (i, subset) in object.list("subsets").iter().enumerate() {
        let at = Path::new("subsets").index(i);
        if subset.list("addresses").is_empty() && subset.list("notReadyAddresses").is_empty() {
            errors.push(Error::required(&at, "must specify `addresses` or `notReadyAddresses`"));
        }
        for list in ["addresses", "notReadyAddresses"] {
            for (j, address) in subset.list(list).iter().enumerate() {
                one_address(&mut errors, &at.child(list).index(j), address);
            }
        }
        let ports = subset.list("ports");
        for (j, port) in ports.iter().enumerate() {
            one_port(&mut errors, &at.child("ports").index(j), port, ports.len() > 1);
        }
    }
    errors
}

fn one_address(errors: &mut ErrorList, at: &Path, address: &Value) {
    check::ip(errors, &at.child("ip"), address.text("ip"));
    check::optional_text(errors, at, address, "hostname", is_dns1123_label);
    if let Some(name) = address.field("nodeName").as_str() {
        check::subdomain(errors, at, "nodeName", name);
    }
    non_special_ip(errors, &at.child("ip"), address.text("ip"));
}

fn one_port(errors: &mut ErrorList, at: &Path, port: &Value, needs_name: bool) {
    match port.text("name") {
        "" if needs_name => errors.push(Error::required(&at.child("name"), "")),
        "" => {}
        name => check::text(errors, at, "name", name, is_dns1123_label),
    }
    check::port(errors, at, "port", port.int("port").unwrap_or(0));
    check::choice(errors, at, port, "protocol", &["SCTP", "TCP", "UDP"]);
    if let Some(protocol) = port.field("appProtocol").as_str() {
        check::text(errors, at, "appProtocol", protocol, is_qualified_name);
    }
}

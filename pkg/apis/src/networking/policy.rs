//! NetworkPolicies.

use apimachinery::field::{Error, ErrorList, Path};
use apimachinery::{Object, meta::ObjectExt};
use ipnet::IpNet;
use serde_json::{Value, json};

use super::GROUP;
use crate::cells::age;
use crate::check;
use crate::resource::{Column, Resource, Strategy};
use crate::tree::{Fill, Tree, spec_mut};
use crate::workload::selector_cell;

pub const ROW: Resource = Resource {
    short_names: &["netpol"],
    columns: &[Column::NAME, Column::text("Pod-Selector", "Labels of the pods that it is about."), Column::AGE],
    cells: |o, now| vec![o.name().into(), selector_cell(o.field("spec").field("podSelector")), age(o, now)],
    strategy: Strategy { default, validate, validate_update: |new, _| validate(new), ..Strategy::SPEC_STATUS },
    ..Resource::namespaced(GROUP, "v1", "networkpolicies", "networkpolicy", "NetworkPolicy")
};

fn default(policy: &mut Object) {
    let Some(spec) = spec_mut(policy) else { return };
    for list in ["ingress", "egress"] {
        spec.each(list, |rule| rule.each("ports", |port| port.default_text("protocol", "TCP")));
    }
    if spec.list("policyTypes").is_empty() {
        // Egress is restricted only when there are rules for it.
        let types = if spec.list("egress").is_empty() { json!(["Ingress"]) } else { json!(["Ingress", "Egress"]) };
        spec.insert("policyTypes".to_owned(), types);
    }
}

fn validate(policy: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    let (at, spec) = (Path::new("spec"), policy.field("spec"));
    check::label_selector(&mut errors, &at.child("podSelector"), spec.field("podSelector"));
    for (list, peers) in [("ingress", "from"), ("egress", "to")] {
        for (i, rule) in spec.list(list).iter().enumerate() {
            let at = at.child(list).index(i);
            for (j, port) in rule.list("ports").iter().enumerate() {
                validate_port(&mut errors, &at.child("ports").index(j), port);
            }
            for (j, peer) in rule.list(peers).iter().enumerate() {
                validate_peer(&mut errors, &at.child(peers).index(j), peer);
            }
        }
    }
    let types = spec.list("policyTypes");
    if types.len() > 2 {
        let why = "may not specify more than two policyTypes";
        errors.push(Error::invalid(&at.child("policyTypes"), spec.field("policyTypes").clone(), why));
        return errors;
    }
    for (i, kind) in spec.texts("policyTypes").enumerate() {
        if !matches!(kind, "Ingress" | "Egress") {
            let path = at.child("policyTypes").index(i);
            errors.push(Error::not_supported(&path, kind, &["Egress", "Ingress"]));
        }
    }
    errors
}

fn validate_port(errors: &mut ErrorList, at: &Path, port: &Value) {
    check::optional_choice(errors, at, port, "protocol", &["SCTP", "TCP", "UDP"]);
    let end = port.int("endPort");
    match port.field("port") {
        Value::Null => {
            if let Some(end) = end {
                let why = "may not be specified when `port` is not specified";
                errors.push(Error::invalid(&at.child("endPort"), end, why));
            }
        }
        Value::Number(number) => {
            let number = number.as_i64().unwrap_or(0);
            check::port(errors, at, "port", number);
            if let Some(end) = end {
                if end < number {
                    let why = "must be greater than or equal to `port`";
                    errors.push(Error::invalid(&at.child("endPort"), end, why));
                }
                check::port(errors, at, "endPort", end);
            }
        }
        name => {
            if let Some(end) = end {
                let why = "may not be specified when `port` is non-numeric";
                errors.push(Error::invalid(&at.child("endPort"), end, why));
            }
            check::port_or_name(errors, at, "port", name);
        }
    }
}

fn validate_peer(errors: &mut ErrorList, at: &Path, peer: &Value) {
    let selectors = ["podSelector", "namespaceSelector"];
    for field in selectors {
        check::label_selector(errors, &at.child(field), peer.field(field));
    }
    let selects = selectors.iter().any(|f| peer.has(f));
    match (selects, peer.has("ipBlock")) {
        (false, false) => errors.push(Error::required(at, "must specify a peer")),
        (true, true) => {
            errors.push(Error::forbidden(at, "may not specify both ipBlock and another peer"));
        }
        (false, true) => ip_block(errors, &at.child("ipBlock"), peer.field("ipBlock")),
        (true, false) => {}
    }
}

fn ip_block(errors: &mut ErrorList, at: &Path, block: &Value) {
    let cidr = block.text("cidr");
    if cidr.is_empty() {
        errors.push(Error::required(&at.child("cidr"), ""));
        return;
    }
    check::cidr(errors, &at.child("cidr"), cidr);
    let Ok(outer) = cidr.parse::<IpNet>() else { return };
    for (i, except) in block.texts("except").enumerate() {
        let at = at.child("except").index(i);
        check::cidr(errors, &at, except);
        let Ok(inner) = except.parse::<IpNet>() else { continue };
        if !outer.trunc().contains(&inner.trunc()) || outer.prefix_len() >= inner.prefix_len() {
            errors.push(Error::invalid(&at, except, "must be a strict subset of `cidr`"));
        }
    }
}

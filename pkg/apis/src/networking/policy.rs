//! NetworkPolicies.

use apimachinery::field::{Error, ErrorList, Path};
use apimachinery::{Object, meta::ObjectExt};
use serde_json::{Value, json};

use super::GROUP;
use crate::addresses::{cidr_warning, legacy_cidr, sloppy_cidr};
use crate::cells::age;
use crate::check;
use crate::resource::{Column, Resource, Strategy};
use crate::tree::{Fill, Tree, spec_mut};
use crate::workload::selector_cell;

pub const ROW: Resource = Resource {
    short_names: &["netpol"],
    columns: &[Column::NAME, Column::text("Pod-Selector", "Labels of the pods that it is about."), Column::AGE],
    cells: |o, now| vec![o.name().into(), selector_cell(o.field("spec").field("podSelector")), age(o, now)],
    strategy: Strategy {
        default,
        validate: |o| validate(o, &[]),
        validate_update: |new, old| validate(new, &blocks(old).map(|(_, cidr)| cidr).collect::<Vec<_>>()),
        warnings: |new, _| blocks(new).filter_map(|(at, cidr)| cidr_warning(&at(), cidr)).collect(),
        generation_changed: Some(crate::strategy::spec_changed),
        ..Strategy::PLAIN
    },
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

const PEERS: [(&str, &str); 2] = [("ingress", "from"), ("egress", "to")];

/// Every CIDR of a policy, with what builds its path.
fn blocks(policy: &Object) -> impl Iterator<Item = (impl Fn() -> Path, &str)> {
    let spec = policy.field("spec");
    let peers = PEERS.into_iter().flat_map(move |(list, peers)| {
        spec.list(list).iter().enumerate().flat_map(move |(i, rule)| {
            rule.list(peers).iter().enumerate().map(move |(j, peer)| (list, i, peers, j, peer.field("ipBlock")))
        })
    });
    peers.flat_map(|(list, i, peers, j, block)| {
        let texts = block.field("cidr").as_str().map(|cidr| (None, cidr)).into_iter();
        let texts = texts.chain(block.texts("except").enumerate().map(|(k, cidr)| (Some(k), cidr)));
        texts.map(move |(k, cidr)| {
            let path = move || {
                let block = Path::new("spec").child(list).index(i).child(peers).index(j).child("ipBlock");
                k.map_or_else(|| block.child("cidr"), |k| block.child("except").index(k))
            };
            (path, cidr)
        })
    })
}

/// `kept` are the CIDRs that the policy had before an update: they may stay as they are.
fn validate(policy: &Object, kept: &[&str]) -> ErrorList {
    let mut errors = ErrorList::new();
    let (at, spec) = (Path::new("spec"), policy.field("spec"));
    check::label_selector(&mut errors, &at.child("podSelector"), spec.field("podSelector"));
    for (list, peers) in PEERS {
        for (i, rule) in spec.list(list).iter().enumerate() {
            let at = at.child(list).index(i);
            for (j, port) in rule.list("ports").iter().enumerate() {
                validate_port(&mut errors, &at.child("ports").index(j), port);
            }
            for (j, peer) in rule.list(peers).iter().enumerate() {
                validate_peer(&mut errors, &at.child(peers).index(j), peer, kept);
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
            errors.push(Error::not_supported(&path, kind, &["Ingress", "Egress"]));
        }
    }
    errors
}

fn validate_port(errors: &mut ErrorList, at: &Path, port: &Value) {
    check::optional_choice(errors, at, port, "protocol", &["TCP", "UDP", "SCTP"]);
    let end = port.int("endPort");
    let misplaced = |errors: &mut ErrorList, why: &str| {
        if let Some(end) = end {
            errors.push(Error::invalid(
                &at.child("endPort"),
                end,
                format!("may not be specified when `port` is {why}"),
            ));
        }
    };
    match port.field("port") {
        Value::Null => misplaced(errors, "not specified"),
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
            misplaced(errors, "non-numeric");
            check::port_or_name(errors, at, "port", name);
        }
    }
}

fn validate_peer(errors: &mut ErrorList, at: &Path, peer: &Value, kept: &[&str]) {
    let selectors = ["podSelector", "namespaceSelector"];
    for field in selectors {
        check::label_selector(errors, &at.child(field), peer.field(field));
    }
    if peer.has("ipBlock") {
        ip_block(errors, &at.child("ipBlock"), peer.field("ipBlock"), kept);
    }
    let selects = selectors.iter().any(|f| peer.has(f));
    match (selects, peer.has("ipBlock")) {
        (false, false) => errors.push(Error::required(at, "must specify a peer")),
        (true, true) => errors.push(Error::forbidden(at, "may not specify both ipBlock and another peer")),
        _ => {}
    }
}

fn ip_block(errors: &mut ErrorList, at: &Path, block: &Value, kept: &[&str]) {
    let cidr = block.text("cidr");
    if cidr.is_empty() {
        errors.push(Error::required(&at.child("cidr"), ""));
        return;
    }
    legacy_cidr(errors, &at.child("cidr"), cidr, kept);
    let Some(outer) = sloppy_cidr(cidr) else { return };
    for (i, except) in block.texts("except").enumerate() {
        let at = at.child("except").index(i);
        legacy_cidr(errors, &at, except, kept);
        let Some(inner) = sloppy_cidr(except) else { continue };
        if !outer.trunc().contains(&inner.network()) || outer.prefix_len() >= inner.prefix_len() {
            errors.push(Error::invalid(&at, except, "must be a strict subset of `cidr`"));
        }
    }
}

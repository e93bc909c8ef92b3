//! From Nodes to the kernel's tables, without a kernel.

#![allow(clippy::unwrap_used, reason = "a failed expectation is what a test is for")]

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

use netlink::{Mac, Route};
use overlay::Backend::{HostGateway, Vxlan};
use overlay::peer::{Node, Peer, announcement, news, peer_of, peers_of};
use overlay::tables::{Step, Tables};
use serde_json::json;

fn node(name: &str, range: &str, annotations: &[(&str, &str)]) -> Node {
    let annotations: BTreeMap<_, _> =
        annotations.iter().map(|(key, value)| (format!("flannel.alpha.coreos.com/{key}"), *value)).collect();
    serde_json::from_value(json!({
        "metadata": { "name": name, "resourceVersion": "1", "annotations": annotations },
        "spec": { "podCIDR": range },
    }))
    .unwrap()
}

/// A node as it announces itself.
fn announced(name: &str, range: &str, address: &str) -> Node {
    let mut node = node(name, range, &[]);
    let mac = Mac::of(range.split_once('/').unwrap().0.parse().unwrap());
    let announcement = announcement(Vxlan, address.parse().unwrap(), Some(mac));
    node.metadata.annotations.extend(announcement.into_iter().map(|(key, value)| (key.to_owned(), value)));
    node
}

fn peer(range: &str, address: &str) -> Peer {
    let mac = Mac::of(range.split_once('/').unwrap().0.parse().unwrap());
    Peer { range: range.parse().unwrap(), address: address.parse().unwrap(), mac: Some(mac) }
}

#[test]
fn a_node_is_a_peer_when_it_has_a_range_and_announced_itself() {
    let data = r#"{"VNI":1,"VtepMAC":"0a:58:0a:2a:01:00"}"#;
    let full = [("public-ip", "192.0.2.1"), ("backend-type", "vxlan"), ("backend-data", data)];
    let whole = Some(peer("10.42.1.0/24", "192.0.2.1"));
    let cases = [
        (node("n", "10.42.1.0/24", &full), Ok(whole)),
        (node("n", "10.42.1.0/24", &full[..1]), Ok(None)),
        (node("n", "10.42.1.0/24", &[]), Ok(None)),
        (node("n", "", &full), Ok(None)),
        (node("n", "fd00:1::/64", &full), Ok(None)),
        (node("n", "10.42.1.0/24", &full[..2]), Err("cannot be read")),
        (
            node(
                "n",
                "10.42.1.0/24",
                &[full[0], full[1], ("backend-data", r#"{"VNI":7,"VtepMAC":"0a:58:0a:2a:01:00"}"#)],
            ),
            Err("network 7"),
        ),
        (
            node("n", "10.42.1.0/24", &[full[0], full[1], ("backend-data", r#"{"VNI":1,"VtepMAC":"what"}"#)]),
            Err("not a hardware address"),
        ),
        (node("n", "10.42.1.0/24", &[("public-ip", "fd00::1"), full[1], full[2]]), Err("not an IPv4 address")),
        (node("n", "10.42.1.0/24", &[full[0], ("backend-type", "host-gw")]), Err("same --flannel-backend")),
    ];
    for (node, expected) in cases {
        match (peer_of(&node, Vxlan), expected) {
            (Err(text), Err(part)) => assert!(text.contains(part) && text.contains("node n"), "{text}"),
            (found, expected) => assert_eq!(found, expected.map_err(str::to_owned), "{node:?}"),
        }
    }
    let plain = node("n", "10.42.1.0/24", &[full[0], ("backend-type", "host-gw"), ("backend-data", "null")]);
    assert_eq!(peer_of(&plain, HostGateway).unwrap().unwrap().mac, None);
}

#[test]
fn what_a_node_announces_is_read_as_it_was_meant_and_written_once() {
    for (backend, mac) in [(Vxlan, Some(Mac::of(Ipv4Addr::new(10, 42, 1, 0)))), (HostGateway, None)] {
        let announcement = || announcement(backend, Ipv4Addr::new(192, 0, 2, 1), mac);
        let mut node = node("n", "10.42.1.0/24", &[("other", "x")]);
        assert_eq!(news(&node, announcement()).len(), 4);
        node.metadata.annotations.extend(announcement().into_iter().map(|(key, value)| (key.to_owned(), value)));
        assert!(news(&node, announcement()).is_empty());
        let expected = Peer { mac, ..peer("10.42.1.0/24", "192.0.2.1") };
        assert_eq!(peer_of(&node, backend), Ok(Some(expected)));
    }
}

#[test]
fn peers_that_would_harm_others_are_left_out_and_told_of() {
    let own = announced("own", "10.42.0.0/24", "192.0.2.1");
    let cases: &[(&[Node], &[&str], &str)] = &[
        (&[announced("a", "10.42.1.0/24", "192.0.2.2")], &["10.42.1.0/24"], ""),
        (&[announced("a", "10.42.1.0/24", "192.0.2.1")], &[], "announces this node's own address 192.0.2.1"),
        (&[announced("a", "10.42.0.0/16", "192.0.2.2")], &[], "overlaps this node's own"),
        (
            // Listed the other way round on purpose: names decide.
            &[announced("b", "10.42.1.128/25", "192.0.2.3"), announced("a", "10.42.1.0/24", "192.0.2.2")],
            &["10.42.1.0/24"],
            "node b has the pod range 10.42.1.128/25, which overlaps another node's",
        ),
        (
            &[announced("a", "10.42.1.0/24", "192.0.2.2"), announced("b", "10.42.2.0/24", "192.0.2.2")],
            &["10.42.1.0/24"],
            "node b announces the address 192.0.2.2 of another node",
        ),
    ];
    for (others, ranges, problem) in cases {
        let mut nodes: Vec<Arc<Node>> = others.iter().cloned().map(Arc::new).collect();
        nodes.push(Arc::new(own.clone()));
        let (peers, problems) = peers_of(&nodes, &own, Ipv4Addr::new(192, 0, 2, 1), Vxlan);
        assert_eq!(peers.iter().map(|p| p.range.to_string()).collect::<Vec<_>>(), *ranges, "{others:?}");
        assert_eq!(problems.len(), usize::from(!problem.is_empty()), "{problems:?}");
        assert!(problems.iter().all(|text| text.contains(problem)), "{problems:?}");
    }
}

fn vxlan(peers: &[(&str, &str)]) -> Tables {
    let peers: Vec<Peer> = peers.iter().map(|(range, address)| peer(range, address)).collect();
    Tables::of_vxlan(&peers, 7)
}

/// Steps in short: what is done to which table, with the keys.
fn show(steps: &[Step]) -> Vec<String> {
    let show = |step: &Step| match step {
        Step::DeleteRoute(route) => format!("-route {} via {}", route.range, route.gateway),
        Step::DeleteNeighbour(address) => format!("-neighbour {address}"),
        Step::DeleteForwarding(mac) => format!("-forwarding {mac}"),
        Step::SetForwarding(mac, machine) => format!("forwarding {mac} {machine}"),
        Step::SetNeighbour(address, mac) => format!("neighbour {address} {mac}"),
        Step::AddRoute(route) => format!("+route {} via {}", route.range, route.gateway),
    };
    steps.iter().map(show).collect()
}

#[test]
fn tables_change_by_what_differs_and_lead_nowhere_in_between() {
    let a = ("10.42.1.0/24", "192.0.2.1");
    let moved = ("10.42.1.0/24", "192.0.2.9");
    let other = ("10.42.2.0/24", "192.0.2.1");
    let join = [
        "forwarding 0a:58:0a:2a:01:00 192.0.2.1",
        "neighbour 10.42.1.0 0a:58:0a:2a:01:00",
        "+route 10.42.1.0/24 via 10.42.1.0",
    ];
    let leave = ["-route 10.42.1.0/24 via 10.42.1.0", "-neighbour 10.42.1.0", "-forwarding 0a:58:0a:2a:01:00"];
    let renumber = [
        leave[0],
        leave[1],
        leave[2],
        "forwarding 0a:58:0a:2a:02:00 192.0.2.1",
        "neighbour 10.42.2.0 0a:58:0a:2a:02:00",
        "+route 10.42.2.0/24 via 10.42.2.0",
    ];
    let cases: &[(Tables, Tables, &[&str])] = &[
        (vxlan(&[]), vxlan(&[a]), &join),
        (vxlan(&[a]), vxlan(&[a]), &[]),
        (vxlan(&[a]), vxlan(&[]), &leave),
        (vxlan(&[a]), vxlan(&[moved]), &["forwarding 0a:58:0a:2a:01:00 192.0.2.9"]),
        (vxlan(&[a]), vxlan(&[other]), &renumber),
    ];
    for (from, to, expected) in cases {
        assert_eq!(show(&from.steps_to(to)), *expected, "{from:?} → {to:?}");
    }
}

#[test]
fn host_gateway_routes_lead_to_neighbours_only() {
    let peers = [peer("10.42.1.0/24", "192.0.2.1"), peer("10.42.2.0/24", "198.51.100.1")];
    let links = BTreeMap::from([(Ipv4Addr::new(192, 0, 2, 1), 3)]);
    let (tables, problems) = Tables::of_host_gateway(&peers, &links);
    let route =
        Route { range: "10.42.1.0/24".parse().unwrap(), gateway: Ipv4Addr::new(192, 0, 2, 1), link: 3, onlink: false };
    assert_eq!(tables.routes.values().collect::<Vec<_>>(), [&route]);
    assert!(tables.neighbours.is_empty() && tables.forwarding.is_empty());
    assert!(problems[0].contains("198.51.100.1 is not on a link") && problems[0].contains("use vxlan"), "{problems:?}");
    // The same range by way of VXLAN is another route.
    let steps = tables.steps_to(&vxlan(&[("10.42.1.0/24", "192.0.2.1")]));
    assert_eq!(show(&steps)[0], "-route 10.42.1.0/24 via 192.0.2.1");
    assert_eq!(show(&steps)[3], "+route 10.42.1.0/24 via 10.42.1.0");
}

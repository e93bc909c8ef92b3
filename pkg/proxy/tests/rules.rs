//! From Services and EndpointSlices to rules, without a kernel.

#![allow(clippy::unwrap_used, reason = "a failed expectation is what a test is for")]

use std::collections::BTreeSet;
use std::sync::Arc;

use proxy::model::{PortRules, compute_ports};
use proxy::rules::compute_ruleset;
use proxy::ruleset::{Map, Ruleset};
use proxy::types::{EndpointSlice, Service};
use serde_json::{Value, json};

const CIDR: &str = "10.42.0.0/16";

fn service(spec: Value) -> Service {
    let mut all = json!({ "clusterIP": "10.43.0.9", "ports": [{ "name": "http", "protocol": "TCP", "port": 80 }] });
    merge(&mut all, spec);
    serde_json::from_value(json!({ "metadata": { "namespace": "ns", "name": "web" }, "spec": all })).unwrap()
}

fn merge(into: &mut Value, from: Value) {
    for (key, value) in from.as_object().unwrap() {
        into[key] = value.clone();
    }
}

/// Endpoints as `address@node` with flags: `!` not ready, `~` terminating but serving.
fn slice(endpoints: &[&str]) -> Arc<EndpointSlice> {
    let endpoints = endpoints.iter().map(|text| {
        let (address, node) = text.trim_end_matches(['!', '~']).split_once('@').unwrap();
        let conditions = match text.chars().last() {
            Some('!') => json!({ "ready": false, "serving": false, "terminating": false }),
            Some('~') => json!({ "ready": false, "serving": true, "terminating": true }),
            _ => json!({ "ready": true }),
        };
        json!({ "addresses": [address], "nodeName": node, "conditions": conditions })
    });
    let slice = json!({
        "metadata": { "namespace": "ns", "name": "web-1", "labels": { "kubernetes.io/service-name": "web" } },
        "addressType": "IPv4",
        "endpoints": endpoints.collect::<Vec<_>>(),
        "ports": [{ "name": "http", "protocol": "TCP", "port": 8080 }],
    });
    Arc::new(serde_json::from_value(slice).unwrap())
}

fn ports(spec: Value, endpoints: &[&str]) -> Vec<PortRules> {
    compute_ports(&service(spec), &[slice(endpoints)], "here", &BTreeSet::new())
}

fn ruleset(spec: Value, endpoints: &[&str]) -> Ruleset {
    compute_ruleset(&ports(spec, endpoints), CIDR)
}

/// The rules of the only chain of a kind.
fn chain(ruleset: &Ruleset, kind: &str) -> Option<String> {
    let mut found = ruleset.chains.iter().filter(|(name, _)| name.starts_with(&format!("{kind}-")));
    let rules = found.next().map(|(_, rules)| rules.join("\n"));
    assert!(found.next().is_none());
    rules
}

#[test]
fn endpoints_are_chosen_by_state_and_place() {
    let addresses = |endpoints: &[&str]| {
        let port = &ports(json!({}), endpoints)[0];
        let show = |targets: &[proxy::model::Target]| {
            targets.iter().map(|t| t.address.to_string()).collect::<Vec<_>>().join(",")
        };
        (show(&port.cluster), show(&port.local))
    };
    for (endpoints, cluster, local) in [
        (&["10.42.0.1@here", "10.42.1.1@there"][..], "10.42.0.1,10.42.1.1", "10.42.0.1"),
        (&["10.42.0.1@here!", "10.42.1.1@there"], "10.42.1.1", ""),
        // A terminating endpoint serves only where nothing else does, and that is decided for each list.
        (&["10.42.0.1@here~", "10.42.1.1@there"], "10.42.1.1", "10.42.0.1"),
        (&["10.42.0.1@here~", "10.42.1.1@there!"], "10.42.0.1", "10.42.0.1"),
        (&[], "", ""),
    ] {
        assert_eq!(addresses(endpoints), (cluster.to_owned(), local.to_owned()), "{endpoints:?}");
    }
}

#[test]
fn services_without_rules() {
    for spec in [
        json!({ "clusterIP": "None" }),
        json!({ "clusterIP": "" }),
        json!({ "type": "ExternalName", "clusterIP": "" }),
        json!({ "clusterIP": "fd00::1" }),
    ] {
        assert!(ports(spec.clone(), &["10.42.0.1@here"]).is_empty(), "{spec}");
    }
    let own = BTreeSet::from(["10.43.0.9".parse().unwrap()]);
    assert!(compute_ports(&service(json!({})), &[], "here", &own).is_empty(), "answered by this node itself");
}

#[test]
fn a_cluster_ip_leads_to_any_endpoint() {
    let rules = ruleset(json!({}), &["10.42.0.1@here", "10.42.1.1@there"]);
    let elements = &rules.elements[&Map::ServiceIps];
    assert!(elements["10.43.0.9 . tcp . 80"].starts_with("goto service-"));
    let service = chain(&rules, "service").unwrap();
    assert!(service.contains("numgen random mod 2 map { 0 : 10.42.0.1 . 8080, 1 : 10.42.1.1 . 8080 }"), "{service}");
    assert!(service.contains("ip daddr 10.43.0.9 ip saddr != 10.42.0.0/16 jump mark-for-masquerade"), "{service}");
    assert!(rules.elements[&Map::Hairpin].contains_key("10.42.0.1 . 10.42.0.1"));
    assert_eq!(chain(&rules, "external"), None);
    assert_eq!(chain(&rules, "local"), None);
}

#[test]
fn nothing_to_connect_to_is_refused_and_nothing_here_is_dropped() {
    let node_port = json!({ "ports": [{ "name": "http", "port": 80, "nodePort": 30080 }] });
    let rules = ruleset(node_port, &[]);
    assert_eq!(rules.elements[&Map::UnusableServiceIps]["10.43.0.9 . tcp . 80"], "goto reject-chain");
    assert_eq!(rules.elements[&Map::UnusableNodePorts]["tcp . 30080"], "goto reject-chain");
    assert!(!rules.elements.contains_key(&Map::ServiceIps) && rules.chains.is_empty());
    let rules = ruleset(json!({ "internalTrafficPolicy": "Local" }), &["10.42.1.1@there"]);
    assert_eq!(rules.elements[&Map::UnusableServiceIps]["10.43.0.9 . tcp . 80"], "drop");
}

#[test]
fn external_traffic_is_masqueraded_unless_it_stays_local() {
    let spec = |policy: &str| {
        json!({
            "type": "LoadBalancer", "externalTrafficPolicy": policy, "externalIPs": ["192.0.2.7"],
            "ports": [{ "name": "http", "port": 80, "nodePort": 30080 }],
        })
    };
    let rules = ruleset(spec("Cluster"), &["10.42.0.1@here", "10.42.1.1@there"]);
    assert!(rules.elements[&Map::NodePorts]["tcp . 30080"].starts_with("goto external-"));
    assert!(rules.elements[&Map::ServiceIps]["192.0.2.7 . tcp . 80"].starts_with("goto external-"));
    assert!(chain(&rules, "external").unwrap().starts_with("jump mark-for-masquerade\ngoto service-"));

    let rules = ruleset(spec("Local"), &["10.42.0.1@here", "10.42.1.1@there"]);
    assert!(chain(&rules, "external").unwrap().contains("\ngoto local-"));
    assert!(chain(&rules, "local").unwrap().contains("dnat ip to 10.42.0.1:8080"));
    let rules = ruleset(spec("Local"), &["10.42.1.1@there"]);
    assert!(chain(&rules, "external").unwrap().ends_with("\ndrop"));
    assert_eq!(chain(&rules, "local"), None);
}

#[test]
fn load_balancer_addresses_can_be_fenced() {
    let mut service = service(json!({ "loadBalancerSourceRanges": [" 198.51.100.0/24", "nonsense; drop"] }));
    service.status = serde_json::from_value(json!({ "loadBalancer": { "ingress": [
        { "ip": "192.0.2.8" }, { "ip": "192.0.2.9", "ipMode": "Proxy" },
    ] } }))
    .unwrap();
    let ports = compute_ports(&service, &[slice(&["10.42.0.1@here"])], "here", &BTreeSet::new());
    let rules = compute_ruleset(&ports, CIDR);
    assert!(rules.elements[&Map::ServiceIps]["192.0.2.8 . tcp . 80"].starts_with("goto firewall-"));
    assert!(!rules.elements[&Map::ServiceIps].contains_key("192.0.2.9 . tcp . 80"));
    assert!(chain(&rules, "firewall").unwrap().starts_with("ip saddr != { 198.51.100.0/24 } drop\n"));
}

#[test]
fn a_small_change_makes_a_small_script() {
    let before = ruleset(json!({}), &["10.42.0.1@here"]);
    assert_eq!(before.script_to(&before.clone()), None);
    let after = ruleset(json!({}), &["10.42.0.1@here", "10.42.1.1@there"]);
    let script = before.script_to(&after).unwrap();
    let verbs: Vec<_> = script.lines().map(|line| line.split(' ').take(2).collect::<Vec<_>>().join(" ")).collect();
    assert_eq!(verbs, ["flush chain", "add rule", "add rule", "add element"], "{script}");
    let gone = before.script_to(&Ruleset::default()).unwrap();
    assert!(gone.lines().last().unwrap().starts_with("delete chain"), "what refers to a chain goes first: {gone}");
}

//! What the rules are made of: one [`PortRules`] for each port of a Service, with the endpoints that may answer it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::Arc;

use crate::types::{EndpointSlice, Service};

/// A Service with this label belongs to another proxy.
const PROXY_NAME_LABEL: &str = "service.kubernetes.io/service-proxy-name";
/// How long a client stays with its endpoint unless the Service says otherwise: three hours.
const AFFINITY_TIMEOUT_SECONDS: u32 = 10_800;

/// A transport protocol in nft's spelling.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Protocol {
    Tcp,
    Udp,
    Sctp,
}

impl Protocol {
    /// Empty means TCP, as the API defaults it.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "TCP" | "" => Some(Self::Tcp),
            "UDP" => Some(Self::Udp),
            "SCTP" => Some(Self::Sctp),
            _ => None,
        }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        }
    }
}

/// Where a connection may end.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Target {
    pub address: Ipv4Addr,
    pub port: u16,
}

/// One port of one Service.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PortRules {
    pub namespace: String,
    pub service: String,
    pub port_name: String,
    pub protocol: Protocol,
    pub port: u16,
    pub node_port: Option<u16>,
    pub cluster_ips: Vec<Ipv4Addr>,
    /// `spec.externalIPs`.
    pub external_ips: Vec<Ipv4Addr>,
    /// Load balancer addresses that are answered on the node.
    pub load_balancer_ips: Vec<Ipv4Addr>,
    /// Who may use the load balancer addresses; empty for everyone.
    pub source_ranges: Vec<String>,
    /// Seconds that a client stays with its endpoint.
    pub affinity: Option<u32>,
    pub internal_local: bool,
    pub external_local: bool,
    /// Usable endpoints anywhere, and those on this node.
    pub cluster: Vec<Target>,
    pub local: Vec<Target>,
}

/// The ports of a Service that the proxy serves; none for headless, ExternalName and foreign ones.
pub fn compute_ports(
    service: &Service,
    slices: &[Arc<EndpointSlice>],
    node_name: &str,
    own_addresses: &BTreeSet<Ipv4Addr>,
) -> Vec<PortRules> {
    let spec = &service.spec;
    if spec.kind == "ExternalName" || service.metadata.labels.contains_key(PROXY_NAME_LABEL) {
        return Vec::new();
    }
    let single = std::slice::from_ref(&spec.cluster_ip);
    let cluster_ips = addresses(if spec.cluster_ips.is_empty() { single } else { &spec.cluster_ips });
    // "None" is no address: headless Services end here. So does the cluster's DNS, which this node answers itself.
    if cluster_ips.is_empty() || cluster_ips.iter().any(|ip| own_addresses.contains(ip)) {
        return Vec::new();
    }
    let proxied = service.status.load_balancer.ingress.iter().filter(|i| i.ip_mode != "Proxy");
    let load_balancer_ips: Vec<String> = proxied.map(|i| i.ip.clone()).collect();
    let timeout = spec.session_affinity_config.as_ref().and_then(|c| c.client_ip.timeout_seconds);
    let affinity = (spec.session_affinity == "ClientIP").then(|| timeout.unwrap_or(AFFINITY_TIMEOUT_SECONDS));
    let ports = spec.ports.iter().filter_map(|port| {
        let protocol = Protocol::parse(&port.protocol)?;
        let (cluster, local) = targets(slices, &port.name, protocol, node_name);
        Some(PortRules {
            namespace: service.metadata.namespace.clone(),
            service: service.metadata.name.clone(),
            port_name: port.name.clone(),
            protocol,
            port: port.port,
            node_port: (port.node_port != 0).then_some(port.node_port),
            cluster_ips: cluster_ips.clone(),
            external_ips: addresses(&spec.external_ips),
            load_balancer_ips: addresses(&load_balancer_ips),
            source_ranges: source_ranges(&spec.load_balancer_source_ranges),
            affinity,
            internal_local: spec.internal_traffic_policy == "Local",
            external_local: spec.external_traffic_policy == "Local",
            cluster,
            local,
        })
    });
    ports.collect()
}

/// The IPv4 addresses of a list; others belong to another table.
fn addresses(texts: &[String]) -> Vec<Ipv4Addr> {
    texts.iter().filter_map(|text| text.parse().ok()).collect()
}

/// Only what is a range goes into a script. Whitespace around is allowed by the API.
fn source_ranges(texts: &[String]) -> Vec<String> {
    let valid = |text: &&str| {
        let (address, length) = text.split_once('/').unwrap_or((text, "32"));
        address.parse::<Ipv4Addr>().is_ok() && length.parse::<u8>().is_ok_and(|length| length <= 32)
    };
    texts.iter().map(|text| text.trim()).filter(valid).map(str::to_owned).collect()
}

#[derive(Clone, Copy, Default)]
struct State {
    ready: bool,
    serving_terminating: bool,
    local: bool,
}

/// The endpoints of a port, cluster-wide and local: the ready ones or, where there are none, those that still serve while
/// they terminate. Two lists because each falls back on its own.
fn targets(
    slices: &[Arc<EndpointSlice>],
    port_name: &str,
    protocol: Protocol,
    node_name: &str,
) -> (Vec<Target>, Vec<Target>) {
    let mut states: BTreeMap<Target, State> = BTreeMap::new();
    for slice in slices.iter().filter(|slice| slice.address_type == "IPv4") {
        let ports =
            slice.ports.iter().filter(|p| p.name == port_name && Protocol::parse(&p.protocol) == Some(protocol));
        for port in ports.filter_map(|p| p.port) {
            for endpoint in &slice.endpoints {
                let Some(address) = endpoint.addresses.first().and_then(|text| text.parse().ok()) else { continue };
                let conditions = &endpoint.conditions;
                let ready = conditions.ready.unwrap_or(true);
                // The same endpoint may be in two slices for a moment: the better state counts.
                let state = states.entry(Target { address, port }).or_default();
                state.ready |= ready;
                state.serving_terminating |=
                    conditions.serving.unwrap_or(ready) && conditions.terminating.unwrap_or(false);
                state.local |= !node_name.is_empty() && endpoint.node_name == node_name;
            }
        }
    }
    let usable = |within: &dyn Fn(&State) -> bool| {
        let pick = |good: fn(&State) -> bool| {
            let good = states.iter().filter(|(_, s)| within(s) && good(s));
            good.map(|(target, _)| *target).collect::<Vec<_>>()
        };
        let ready = pick(|s| s.ready);
        if ready.is_empty() { pick(|s| s.serving_terminating) } else { ready }
    };
    (usable(&|_| true), usable(&|s| s.local))
}

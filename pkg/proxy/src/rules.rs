//! From a Service's port to rules.
//!
//! Chains of a port, each made only when something leads to it:
//! - `service-…`: any usable endpoint, by random choice
//! - `local-…`: one on this node
//! - `external-…`: what comes from outside (node ports, external and load balancer IPs)
//! - `endpoint-…`: one endpoint, only with session affinity

use std::fmt::Write as _;

use crate::model::{PortRules, Target};
use crate::ruleset::{Map, Ruleset};

/// nft names may be longer, but these are for reading.
const NAME_MAX: usize = 110;

/// What one Service needs.
pub fn compute_ruleset(ports: &[PortRules], cluster_cidr: &str) -> Ruleset {
    let mut ruleset = Ruleset::default();
    for port in ports {
        Port::new(port, cluster_cidr, &mut ruleset).compute();
    }
    ruleset
}

struct Port<'a> {
    port: &'a PortRules,
    cluster_cidr: &'a str,
    /// Part of every chain's name: a hash, then what it stands for.
    name: String,
    out: &'a mut Ruleset,
}

impl<'a> Port<'a> {
    fn new(port: &'a PortRules, cluster_cidr: &'a str, out: &'a mut Ruleset) -> Self {
        let readable = format!("{}/{}/{}/{}", port.namespace, port.service, port.protocol.as_str(), port.port_name);
        let mut name = format!("{:08x}-{readable}", fnv1a(readable.as_bytes()));
        name.truncate(NAME_MAX);
        Self { port, cluster_cidr, name: name.trim_end_matches('/').to_owned(), out }
    }

    fn compute(&mut self) {
        self.for_cluster_ips();
        self.for_external();
        self.endpoints();
    }

    fn key(&self, address: impl std::fmt::Display) -> String {
        format!("{address} . {} . {}", self.port.protocol.as_str(), self.port.port)
    }

    fn chain(&mut self, kind: &str, rules: Vec<String>) -> String {
        let name = format!("{kind}-{}", self.name);
        self.out.chains.insert(name.clone(), rules);
        name
    }

    /// What to do with connections that find no endpoint: refuse when there is none at all; drop when there is one, just
    /// not on this node.
    fn refusal(&self) -> String {
        if self.port.cluster.is_empty() { "goto reject-chain" } else { "drop" }.to_owned()
    }

    fn for_cluster_ips(&mut self) {
        let port = self.port;
        let targets = if port.internal_local { &port.local } else { &port.cluster };
        for address in &port.cluster_ips {
            self.out.insert(Map::ClusterIps, address.to_string(), String::new());
            let key = self.key(address);
            if targets.is_empty() {
                self.out.insert(Map::UnusableServiceIps, key, self.refusal());
            } else {
                let chain = if port.internal_local { "local" } else { "service" };
                self.out.insert(Map::ServiceIps, key, format!("goto {chain}-{}", self.name));
            }
        }
    }

    fn for_external(&mut self) {
        let port = self.port;
        let addresses: Vec<_> = port.external_ips.iter().chain(&port.load_balancer_ips).collect();
        if addresses.is_empty() && port.node_port.is_none() {
            return;
        }
        if port.cluster.is_empty() {
            for address in addresses {
                self.out.insert(Map::UnusableServiceIps, self.key(address), self.refusal());
            }
            if let Some(node_port) = port.node_port {
                let key = format!("{} . {node_port}", port.protocol.as_str());
                self.out.insert(Map::UnusableNodePorts, key, self.refusal());
            }
            return;
        }
        let external = self.external_chain();
        for address in &port.external_ips {
            self.out.insert(Map::ServiceIps, self.key(address), format!("goto {external}"));
        }
        let load_balancer = if port.source_ranges.is_empty() || port.load_balancer_ips.is_empty() {
            external.clone()
        } else {
            let ranges = port.source_ranges.join(", ");
            self.chain("firewall", vec![format!("ip saddr != {{ {ranges} }} drop"), format!("goto {external}")])
        };
        for address in &port.load_balancer_ips {
            self.out.insert(Map::ServiceIps, self.key(address), format!("goto {load_balancer}"));
        }
        if let Some(node_port) = port.node_port {
            let key = format!("{} . {node_port}", port.protocol.as_str());
            self.out.insert(Map::NodePorts, key, format!("goto {external}"));
        }
    }

    fn external_chain(&mut self) -> String {
        let service = format!("goto service-{}", self.name);
        let rules = if self.port.external_local {
            // What starts inside the cluster has no outer source address to keep: any endpoint will do.
            let fallback = if self.port.local.is_empty() { "drop".into() } else { format!("goto local-{}", self.name) };
            vec![
                format!("ip saddr {} {service}", self.cluster_cidr),
                "fib saddr type local jump mark-for-masquerade".into(),
                format!("fib saddr type local {service}"),
                fallback,
            ]
        } else {
            vec!["jump mark-for-masquerade".into(), service]
        };
        self.chain("external", rules)
    }

    /// The chains that choose an endpoint, as far as something leads to them.
    fn endpoints(&mut self) {
        let port = self.port;
        let external = !port.cluster.is_empty() && self.out.chains.contains_key(&format!("external-{}", self.name));
        if !port.cluster.is_empty() && (external || !port.internal_local) {
            self.choice("service", &port.cluster);
        }
        if !port.local.is_empty() && (port.internal_local || (external && port.external_local)) {
            self.choice("local", &port.local);
        }
        for target in port.cluster.iter().chain(&port.local) {
            let address = target.address;
            self.out.insert(Map::Hairpin, format!("{address} . {address}"), String::new());
        }
    }

    fn choice(&mut self, kind: &str, targets: &[Target]) {
        let mut rules = Vec::new();
        // Replies to whoever is not a pod must come back through this node.
        for address in &self.port.cluster_ips {
            rules.push(format!("ip daddr {address} ip saddr != {} jump mark-for-masquerade", self.cluster_cidr));
        }
        match self.port.affinity {
            None => rules.push(self.translate(targets)),
            Some(seconds) => self.stay(targets, seconds, &mut rules),
        }
        self.chain(kind, rules);
    }

    fn translate(&self, targets: &[Target]) -> String {
        let protocol = self.port.protocol.as_str();
        if let [only] = targets {
            return format!("meta l4proto {protocol} dnat ip to {}:{}", only.address, only.port);
        }
        let mut map = String::new();
        for (number, target) in targets.iter().enumerate() {
            let comma = if number == 0 { "" } else { ", " };
            // Writing to a String cannot fail.
            let _ = write!(map, "{comma}{number} : {} . {}", target.address, target.port);
        }
        format!("meta l4proto {protocol} dnat ip to numgen random mod {} map {{ {map} }}", targets.len())
    }

    /// Session affinity: each endpoint has a set of the clients that stay with it.
    fn stay(&mut self, targets: &[Target], seconds: u32, rules: &mut Vec<String>) {
        let mut choices = Vec::new();
        let mut stays = Vec::new();
        for (number, target) in targets.iter().enumerate() {
            let of = format!("{}-{}__{}", self.name, target.address, target.port);
            let (chain, set) = (format!("endpoint-{of}"), format!("affinity-{of}"));
            self.out.affinity_sets.insert(set.clone(), seconds);
            self.out.chains.insert(
                chain.clone(),
                vec![
                    format!("update @{set} {{ ip saddr }}"),
                    format!(
                        "meta l4proto {} dnat ip to {}:{}",
                        self.port.protocol.as_str(),
                        target.address,
                        target.port
                    ),
                ],
            );
            stays.push(format!("ip saddr @{set} goto {chain}"));
            choices.push(format!("{number} : goto {chain}"));
        }
        rules.append(&mut stays);
        rules.push(format!("numgen random mod {} vmap {{ {} }}", targets.len(), choices.join(", ")));
    }
}

fn fnv1a(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

//! UDP has no end of a connection: the kernel goes on sending a client's datagrams to an endpoint that is gone, or to a
//! Service that had none, until its entry is removed.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::process::Command;

use crate::model::{PortRules, Protocol};

/// Entries to remove.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Stale {
    /// Those that were translated from this Service address to this endpoint.
    Address {
        address: Ipv4Addr,
        endpoint: Ipv4Addr,
    },
    NodePort {
        port: u16,
        endpoint: Ipv4Addr,
    },
    /// Those to this Service address that were never translated.
    Untranslated {
        address: Ipv4Addr,
        port: u16,
    },
    UntranslatedNodePort {
        port: u16,
    },
}

impl Stale {
    fn arguments(&self) -> String {
        match self {
            Self::Address { address, endpoint } => format!("-D -p udp --orig-dst {address} --dst-nat {endpoint}"),
            Self::NodePort { port, endpoint } => format!("-D -p udp --orig-port-dst {port} --dst-nat {endpoint}"),
            Self::Untranslated { address, port } => format!("-D -p udp --orig-dst {address} --orig-port-dst {port}"),
            Self::UntranslatedNodePort { port } => format!("-D -p udp --orig-port-dst {port}"),
        }
    }
}

/// What a change of one Service's ports makes stale.
pub fn compute_stale(old: &[PortRules], new: &[PortRules]) -> BTreeSet<Stale> {
    let mut stale = BTreeSet::new();
    let udp =
        |ports: &'_ [PortRules]| ports.iter().filter(|p| p.protocol == Protocol::Udp).cloned().collect::<Vec<_>>();
    let (old, new) = (udp(old), udp(new));
    let addresses = |p: &PortRules| {
        let all = p.cluster_ips.iter().chain(&p.external_ips).chain(&p.load_balancer_ips);
        all.copied().collect::<Vec<_>>()
    };
    for before in &old {
        let after = new.iter().find(|p| p.port_name == before.port_name && p.port == before.port);
        for target in &before.cluster {
            if after.is_some_and(|p| p.cluster.contains(target)) {
                continue;
            }
            let endpoint = target.address;
            stale.extend(addresses(before).into_iter().map(|address| Stale::Address { address, endpoint }));
            stale.extend(before.node_port.map(|port| Stale::NodePort { port, endpoint }));
        }
    }
    for after in new.iter().filter(|p| !p.cluster.is_empty()) {
        let before = old.iter().find(|p| p.port_name == after.port_name && p.port == after.port);
        if before.is_some_and(|p| p.cluster.is_empty()) {
            let untranslated = |address| Stale::Untranslated { address, port: after.port };
            stale.extend(addresses(after).into_iter().map(untranslated));
            stale.extend(after.node_port.map(|port| Stale::UntranslatedNodePort { port }));
        }
    }
    stale
}

/// Removes the entries by the `conntrack` program; without it, says so once and leaves them to their timeout.
pub async fn clear(stale: &BTreeSet<Stale>) {
    static MISSING: AtomicBool = AtomicBool::new(false);
    for entry in stale {
        let arguments = entry.arguments();
        let mut command = Command::new("conntrack");
        command.args(arguments.split(' ')).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        // Its status says only whether there was such an entry.
        if let Err(error) = command.status().await
            && !MISSING.swap(true, Ordering::Relaxed)
        {
            tracing::warn!(%error, "UDP clients of removed endpoints wait for a timeout: install the conntrack package");
        }
    }
}

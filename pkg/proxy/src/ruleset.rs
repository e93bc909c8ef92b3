//! The contents of our table as values, and the script that turns one ruleset into another.

use std::collections::BTreeMap;
use std::fmt::Write as _;

/// The table, in the `ip` family.
pub const TABLE: &str = "coracle_proxy";
/// The bit of a packet's mark that asks for masquerading; the one that upstream uses.
pub const MASQUERADE_MARK: u32 = 0x4000;

/// A named set or map of the table; its elements are what changes most.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Map {
    /// address . protocol . port → where connections to it go
    ServiceIps,
    /// protocol . port → the same for every address of the node
    NodePorts,
    /// Like the two above, for those without a usable endpoint.
    UnusableServiceIps,
    UnusableNodePorts,
    /// Cluster IPs in use: their other ports are refused.
    ClusterIps,
    /// endpoint . endpoint: a pod that reaches itself through a Service needs its source changed.
    Hairpin,
}

impl Map {
    pub const ALL: [Self; 6] = [
        Self::ServiceIps,
        Self::NodePorts,
        Self::UnusableServiceIps,
        Self::UnusableNodePorts,
        Self::ClusterIps,
        Self::Hairpin,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::ServiceIps => "service-ips",
            Self::NodePorts => "service-nodeports",
            Self::UnusableServiceIps => "unusable-service-ips",
            Self::UnusableNodePorts => "unusable-nodeports",
            Self::ClusterIps => "cluster-ips",
            Self::Hairpin => "hairpin",
        }
    }

    fn declaration(self) -> &'static str {
        match self {
            Self::ServiceIps | Self::UnusableServiceIps => {
                "map {} { type ipv4_addr . inet_proto . inet_service : verdict; }"
            }
            Self::NodePorts | Self::UnusableNodePorts => "map {} { type inet_proto . inet_service : verdict; }",
            Self::ClusterIps => "set {} { type ipv4_addr; }",
            Self::Hairpin => "set {} { type ipv4_addr . ipv4_addr; }",
        }
    }
}

/// All that depends on Services.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Ruleset {
    /// Chain → its rules.
    pub chains: BTreeMap<String, Vec<String>>,
    /// Set of clients that stay with an endpoint → seconds.
    pub affinity_sets: BTreeMap<String, u32>,
    /// Key → value, which is empty in sets.
    pub elements: BTreeMap<Map, BTreeMap<String, String>>,
}

impl Ruleset {
    /// Adds another's contents. Where two Services claim the same element (an external IP), the one added first has it.
    pub fn merge(&mut self, other: &Self) {
        self.chains.extend(other.chains.iter().map(|(name, rules)| (name.clone(), rules.clone())));
        self.affinity_sets.extend(other.affinity_sets.iter().map(|(name, seconds)| (name.clone(), *seconds)));
        for (map, elements) in &other.elements {
            let mine = self.elements.entry(*map).or_default();
            for (key, value) in elements {
                mine.entry(key.clone()).or_insert_with(|| value.clone());
            }
        }
    }

    pub fn insert(&mut self, map: Map, key: String, value: String) {
        self.elements.entry(map).or_default().insert(key, value);
    }

    /// The script that makes the table anew with these contents, whatever was there.
    pub fn to_script(&self, cluster_cidr: &str) -> String {
        let mut script = format!("add table ip {TABLE}\ndelete table ip {TABLE}\n");
        script += &base(cluster_cidr);
        Self::default().difference(self, &mut script);
        script
    }

    /// The script that turns these contents into `wanted`; `None` if they are equal.
    pub fn script_to(&self, wanted: &Self) -> Option<String> {
        let mut script = String::new();
        self.difference(wanted, &mut script);
        (!script.is_empty()).then_some(script)
    }

    /// Order matters within the transaction: what is referred to is made before and removed after what refers to it.
    fn difference(&self, wanted: &Self, script: &mut String) {
        for (name, seconds) in changed(&self.affinity_sets, &wanted.affinity_sets) {
            line(
                script,
                format_args!(
                    "add set ip {TABLE} {name} {{ type ipv4_addr; flags dynamic,timeout; timeout {seconds}s; }}"
                ),
            );
        }
        for name in wanted.chains.keys().filter(|name| !self.chains.contains_key(*name)) {
            line(script, format_args!("add chain ip {TABLE} {name}"));
        }
        for (name, rules) in changed(&self.chains, &wanted.chains) {
            if self.chains.contains_key(name) {
                line(script, format_args!("flush chain ip {TABLE} {name}"));
            }
            for rule in rules {
                line(script, format_args!("add rule ip {TABLE} {name} {rule}"));
            }
        }
        let empty = BTreeMap::new();
        for map in Map::ALL {
            let (old, new) = (self.elements.get(&map).unwrap_or(&empty), wanted.elements.get(&map).unwrap_or(&empty));
            let gone = old.iter().filter(|(key, value)| new.get(*key) != Some(*value));
            write_elements(script, "delete", map, gone);
            write_elements(script, "add", map, changed(old, new));
        }
        let removed: Vec<_> = self.chains.keys().filter(|name| !wanted.chains.contains_key(*name)).collect();
        // Chains may refer to each other: first all are emptied, then all go.
        for verb in ["flush", "delete"] {
            for name in &removed {
                line(script, format_args!("{verb} chain ip {TABLE} {name}"));
            }
        }
        for name in self.affinity_sets.keys().filter(|name| !wanted.affinity_sets.contains_key(*name)) {
            line(script, format_args!("delete set ip {TABLE} {name}"));
        }
    }
}

/// Entries of `new` that `old` does not have with the same value.
fn changed<'a, V: PartialEq>(
    old: &'a BTreeMap<String, V>,
    new: &'a BTreeMap<String, V>,
) -> impl Iterator<Item = (&'a String, &'a V)> {
    new.iter().filter(|(key, value)| old.get(*key) != Some(*value))
}

fn line(script: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = writeln!(script, "{text}");
}

fn write_elements<'a>(
    script: &mut String,
    verb: &str,
    map: Map,
    elements: impl Iterator<Item = (&'a String, &'a String)>,
) {
    let texts: Vec<String> =
        elements.map(|(key, value)| if value.is_empty() { key.clone() } else { format!("{key} : {value}") }).collect();
    if !texts.is_empty() {
        line(script, format_args!("{verb} element ip {TABLE} {} {{ {} }}", map.name(), texts.join(", ")));
    }
}

/// The part that does not depend on Services.
///
/// Translation is in `services`, on the way in and for the node's own connections. Refusals are filters that look at what
/// was not translated: before the translation for the node's own (`output` is entered with the Service's address), in
/// `forward` and `input` for the rest.
fn base(cluster_cidr: &str) -> String {
    let maps: String = Map::ALL.iter().map(|m| format!("    {}\n", m.declaration().replace("{}", m.name()))).collect();
    format!(
        r#"table ip {TABLE} {{
    comment "Services; cluster pods are {cluster_cidr}"
{maps}    chain mark-for-masquerade {{
        meta mark set meta mark or {MASQUERADE_MARK:#x}
    }}
    chain reject-chain {{
        reject
    }}
    chain services {{
        ip daddr . meta l4proto . th dport vmap @service-ips
        fib daddr type local meta l4proto . th dport vmap @service-nodeports
    }}
    chain unusable {{
        ip daddr . meta l4proto . th dport vmap @unusable-service-ips
        fib daddr type local meta l4proto . th dport vmap @unusable-nodeports
    }}
    chain nat-prerouting {{
        type nat hook prerouting priority dstnat; policy accept;
        jump services
    }}
    chain nat-output {{
        type nat hook output priority -100; policy accept;
        jump services
    }}
    chain nat-postrouting {{
        type nat hook postrouting priority srcnat - 5; policy accept;
        ct status dnat ip saddr . ip daddr @hairpin masquerade fully-random
        meta mark & {MASQUERADE_MARK:#x} == 0 return
        meta mark set meta mark xor {MASQUERADE_MARK:#x}
        masquerade fully-random
    }}
    chain filter-input {{
        type filter hook input priority -110; policy accept;
        ct state new jump unusable
    }}
    chain filter-forward {{
        type filter hook forward priority -110; policy accept;
        ct state new jump unusable
        ct state new ip daddr @cluster-ips reject
    }}
    chain filter-output {{
        type filter hook output priority -110; policy accept;
        ct state new jump unusable
    }}
    chain filter-output-translated {{
        type filter hook output priority -90; policy accept;
        ct state new ip daddr @cluster-ips reject
    }}
    chain guard-loopback {{
        type filter hook prerouting priority raw; policy accept;
        iifname != "lo" ip daddr 127.0.0.0/8 drop
    }}
}}
"#
    )
}

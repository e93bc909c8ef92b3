//! Names of the cluster → records.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use hickory_proto::rr::rdata::{A, AAAA, CNAME, NS, PTR, SOA, SRV, TXT};
use hickory_proto::rr::{Name, RData, Record, RecordType};

use crate::types::{Endpoint, EndpointSlice, Port, Service};

/// Seconds that answers may be kept.
const TTL: u32 = 5;
/// The version of the specification, as `dns-version.<domain>` tells.
const SCHEMA_VERSION: &str = "1.1.0";

/// What names are made of.
pub trait Cluster: Send + Sync + 'static {
    /// False until complete: then "no such name" would be a guess.
    fn is_synced(&self) -> bool;
    fn service(&self, namespace: &str, name: &str) -> Option<Arc<Service>>;
    fn slices(&self, namespace: &str, service: &str) -> Vec<Arc<EndpointSlice>>;
    fn has_services(&self, namespace: &str) -> bool;
    fn services_at(&self, address: IpAddr) -> Vec<Arc<Service>>;
    fn slices_at(&self, address: IpAddr) -> Vec<Arc<EndpointSlice>>;
}

/// The outcome of a question.
#[derive(Debug, PartialEq)]
pub enum Answer {
    /// The name exists; no records means that it has none of the type.
    Records {
        answers: Vec<Record>,
        additionals: Vec<Record>,
    },
    NoSuchName,
    /// An alias for a name that may be anywhere.
    Alias {
        record: Box<Record>,
        target: Name,
    },
    /// Not ours: ask the host's resolvers.
    Foreign,
    /// Ours, but not known yet.
    NotReady,
}

impl Answer {
    fn records(answers: Vec<Record>) -> Self {
        Self::Records { answers, additionals: Vec::new() }
    }

    fn nothing() -> Self {
        Self::records(Vec::new())
    }
}

/// The cluster's domain.
pub struct Zone {
    domain: Name,
    labels: Vec<String>,
    /// The server's own addresses, for the name that the SOA and NS records give.
    addresses: Vec<IpAddr>,
}

impl Zone {
    /// `None` if `domain` is not a DNS name.
    pub fn new(domain: &str, addresses: &[IpAddr]) -> Option<Self> {
        let mut domain = Name::from_ascii(domain).ok()?.to_lowercase();
        domain.set_fqdn(true);
        let labels = labels_of(&domain);
        (!labels.is_empty()).then(|| Self { domain, labels, addresses: addresses.to_vec() })
    }

    /// Looks one name up. Records carry the name as it was asked.
    pub fn resolve(&self, cluster: &dyn Cluster, name: &Name, kind: RecordType) -> Answer {
        let labels = labels_of(name);
        if let Some(address) = reverse_address(&labels) {
            return self.resolve_reverse(cluster, name, address, kind);
        }
        let Some(below) = labels.strip_suffix(self.labels.as_slice()) else { return Answer::Foreign };
        let below: Vec<&str> = below.iter().map(String::as_str).collect();
        if !cluster.is_synced() {
            return Answer::NotReady;
        }
        let lookup = Lookup { zone: self, cluster, name, kind };
        match below.as_slice() {
            [] => lookup.apex(),
            ["dns-version"] => lookup.text(SCHEMA_VERSION),
            ["dns"] | ["svc"] | ["pod"] => Answer::nothing(),
            ["ns", "dns"] => lookup.addresses(self.addresses.iter().copied()),
            [rest @ .., "svc"] => lookup.service_names(rest),
            [_, "pod"] => Answer::nothing(),
            [address, _, "pod"] => lookup.pod(address),
            _ => Answer::NoSuchName,
        }
    }

    fn resolve_reverse(&self, cluster: &dyn Cluster, name: &Name, address: IpAddr, kind: RecordType) -> Answer {
        if !cluster.is_synced() {
            return Answer::NotReady;
        }
        let mut targets = BTreeSet::new();
        for service in cluster.services_at(address) {
            targets.insert(format!("{}.{}.svc", service.metadata.name, service.metadata.namespace));
        }
        for slice in cluster.slices_at(address) {
            let Some(service) = slice.service() else { continue };
            let named =
                slice.endpoints.iter().filter(|e| e.addresses().any(|a| a == address) && !e.hostname.is_empty());
            targets.extend(named.map(|e| format!("{}.{service}.{}.svc", e.hostname, slice.metadata.namespace)));
        }
        if targets.is_empty() {
            return Answer::Foreign;
        }
        if kind != RecordType::PTR {
            return Answer::nothing();
        }
        let targets = targets.iter().filter_map(|target| self.absolute(target));
        Answer::records(targets.map(|target| record(name, RData::PTR(PTR(target)))).collect())
    }

    /// A name below the domain.
    fn absolute(&self, relative: &str) -> Option<Name> {
        Name::from_ascii(relative).ok()?.append_domain(&self.domain).ok()
    }

    /// What says "nothing here" may be kept for how long.
    pub fn soa(&self) -> Record {
        let server = self.absolute("ns.dns").unwrap_or_else(|| self.domain.clone());
        let mailbox = self.absolute("hostmaster").unwrap_or_else(|| self.domain.clone());
        let soa = SOA::new(server, mailbox, 1, 7200, 1800, 86400, TTL);
        record(&self.domain, RData::SOA(soa))
    }
}

struct Lookup<'a> {
    zone: &'a Zone,
    cluster: &'a dyn Cluster,
    name: &'a Name,
    kind: RecordType,
}

impl Lookup<'_> {
    fn apex(&self) -> Answer {
        match self.kind {
            RecordType::SOA => Answer::records(vec![self.zone.soa()]),
            RecordType::NS => {
                let Some(server) = self.zone.absolute("ns.dns") else { return Answer::nothing() };
                let additionals = self.zone.addresses.iter().map(|a| address_record(&server, *a)).collect();
                let answers = vec![record(self.name, RData::NS(NS(server)))];
                Answer::Records { answers, additionals }
            }
            _ => Answer::nothing(),
        }
    }

    fn text(&self, text: &str) -> Answer {
        if self.kind != RecordType::TXT {
            return Answer::nothing();
        }
        Answer::records(vec![record(self.name, RData::TXT(TXT::new(vec![text.to_owned()])))])
    }

    /// The addresses of the asked family.
    fn addresses(&self, addresses: impl Iterator<Item = IpAddr>) -> Answer {
        let wanted = addresses.filter(|address| family(*address) == self.kind);
        let unique: BTreeSet<IpAddr> = wanted.collect();
        Answer::records(unique.into_iter().map(|address| address_record(self.name, address)).collect())
    }

    /// `1-2-3-4.namespace.pod`: the address is in the name.
    fn pod(&self, label: &str) -> Answer {
        match label.replace('-', ".").parse::<Ipv4Addr>() {
            Ok(address) => self.addresses(std::iter::once(address.into())),
            Err(_) => match label.replace('-', ":").parse::<IpAddr>() {
                Ok(address) => self.addresses(std::iter::once(address)),
                Err(_) => Answer::NoSuchName,
            },
        }
    }

    fn service_names(&self, labels: &[&str]) -> Answer {
        let (rest, name, namespace) = match labels {
            [] => return Answer::nothing(),
            [namespace] if self.cluster.has_services(namespace) => return Answer::nothing(),
            [_] => return Answer::NoSuchName,
            [rest @ .., name, namespace] => (rest, name, namespace),
        };
        let Some(service) = self.cluster.service(namespace, name) else { return Answer::NoSuchName };
        if service.spec.kind == "ExternalName" {
            return if rest.is_empty() { self.alias(&service) } else { Answer::NoSuchName };
        }
        let slices = self.cluster.slices(namespace, name);
        match rest {
            [] if self.kind == RecordType::SRV => self.services(&service, &slices, None),
            [] => self.service(&service, &slices),
            [protocol] if protocol.starts_with('_') => Answer::nothing(),
            [label] => self.endpoint(&slices, label),
            [port, protocol] => match (port.strip_prefix('_'), protocol.strip_prefix('_')) {
                (Some(port), Some(protocol)) => self.services(&service, &slices, Some((port, protocol))),
                _ => Answer::NoSuchName,
            },
            _ => Answer::NoSuchName,
        }
    }

    fn alias(&self, service: &Service) -> Answer {
        let Ok(mut target) = Name::from_ascii(&service.spec.external_name) else { return Answer::NoSuchName };
        target.set_fqdn(true);
        let alias = record(self.name, RData::CNAME(CNAME(target.clone())));
        if self.kind == RecordType::CNAME {
            return Answer::records(vec![alias]);
        }
        Answer::Alias { record: Box::new(alias), target }
    }

    fn service(&self, service: &Service, slices: &[Arc<EndpointSlice>]) -> Answer {
        let own = service.addresses();
        if own.is_empty() {
            let ready = ready_endpoints(slices);
            // A headless Service without endpoints has no name, as upstream's server has it.
            let mut all = ready.map(|(_, _, address)| address).peekable();
            return if all.peek().is_none() { Answer::NoSuchName } else { self.addresses(all) };
        }
        self.addresses(own.into_iter())
    }

    fn endpoint(&self, slices: &[Arc<EndpointSlice>], label: &str) -> Answer {
        let named = ready_endpoints(slices).filter(|(_, e, address)| e.label(*address).eq_ignore_ascii_case(label));
        let mut named = named.map(|(_, _, address)| address).peekable();
        if named.peek().is_none() { Answer::NoSuchName } else { self.addresses(named) }
    }

    /// SRV records of one named port, or of all.
    fn services(&self, service: &Service, slices: &[Arc<EndpointSlice>], wanted: Option<(&str, &str)>) -> Answer {
        let matches = |port: &Port| {
            let protocol = if port.protocol.is_empty() { "tcp" } else { port.protocol.as_str() };
            wanted.is_none_or(|(name, proto)| {
                port.name.eq_ignore_ascii_case(name) && protocol.eq_ignore_ascii_case(proto)
            })
        };
        let own = service.addresses();
        let base = format!("{}.{}.svc", service.metadata.name, service.metadata.namespace);
        // (port, target below the domain, address)
        let mut found: BTreeSet<(u16, String, IpAddr)> = BTreeSet::new();
        if own.is_empty() {
            for (slice, endpoint, address) in ready_endpoints(slices) {
                let ports = slice.ports.iter().filter(|p| matches(p)).filter_map(|p| p.port);
                found.extend(ports.map(|port| (port, format!("{}.{base}", endpoint.label(address)), address)));
            }
        } else {
            let ports = service.spec.ports.iter().filter(|p| matches(p)).filter_map(|p| p.port);
            found.extend(ports.flat_map(|port| own.iter().map(|a| (port, base.clone(), *a)).collect::<Vec<_>>()));
        }
        if found.is_empty() {
            return Answer::NoSuchName;
        }
        if self.kind != RecordType::SRV {
            return Answer::nothing();
        }
        self.srv_records(&found)
    }

    fn srv_records(&self, found: &BTreeSet<(u16, String, IpAddr)>) -> Answer {
        let targets: BTreeSet<(u16, &String)> = found.iter().map(|(port, target, _)| (*port, target)).collect();
        let weight = u16::try_from(100 / targets.len()).unwrap_or(1).max(1);
        let mut answers = Vec::new();
        for (port, target) in targets {
            let Some(target) = self.zone.absolute(target) else { continue };
            answers.push(record(self.name, RData::SRV(SRV::new(0, weight, port, target))));
        }
        let addresses: BTreeSet<(&String, IpAddr)> =
            found.iter().map(|(_, target, address)| (target, *address)).collect();
        let additionals = addresses.into_iter();
        let additionals =
            additionals.filter_map(|(target, address)| Some(address_record(&self.zone.absolute(target)?, address)));
        Answer::Records { answers, additionals: additionals.collect() }
    }
}

fn ready_endpoints(slices: &[Arc<EndpointSlice>]) -> impl Iterator<Item = (&EndpointSlice, &Endpoint, IpAddr)> {
    slices.iter().flat_map(|slice| {
        let ready = slice.endpoints.iter().filter(|endpoint| endpoint.is_ready());
        ready.flat_map(move |endpoint| endpoint.addresses().map(move |address| (slice.as_ref(), endpoint, address)))
    })
}

fn labels_of(name: &Name) -> Vec<String> {
    name.iter().map(|label| String::from_utf8_lossy(label).to_ascii_lowercase()).collect()
}

fn family(address: IpAddr) -> RecordType {
    if address.is_ipv4() { RecordType::A } else { RecordType::AAAA }
}

fn record(name: &Name, data: RData) -> Record {
    Record::from_rdata(name.clone(), TTL, data)
}

fn address_record(name: &Name, address: IpAddr) -> Record {
    match address {
        IpAddr::V4(address) => record(name, RData::A(A(address))),
        IpAddr::V6(address) => record(name, RData::AAAA(AAAA(address))),
    }
}

/// The address that a name under `in-addr.arpa` or `ip6.arpa` stands for, if it is a whole one.
fn reverse_address(labels: &[String]) -> Option<IpAddr> {
    let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
    match labels.as_slice() {
        [d, c, b, a, "in-addr", "arpa"] => format!("{a}.{b}.{c}.{d}").parse::<Ipv4Addr>().ok().map(IpAddr::V4),
        [nibbles @ .., "ip6", "arpa"] if nibbles.len() == 32 => {
            let mut text = String::new();
            for (index, nibble) in nibbles.iter().rev().enumerate() {
                if index % 4 == 0 && index > 0 {
                    text.push(':');
                }
                text.push_str(nibble);
            }
            text.parse::<std::net::Ipv6Addr>().ok().map(IpAddr::V6)
        }
        _ => None,
    }
}

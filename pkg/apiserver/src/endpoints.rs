//! The addresses of all servers behind the `kubernetes` Service.
//!
//! A server that is one of several holds a Lease `kube-system/apiserver-<name>` with its address, and renews it. A Lease
//! that was not renewed for a while is its server's no more, judged by how long *this* process saw it unchanged. A server
//! that is alone writes none: it begins when it sees another's.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use apimachinery::ApiResult;
use apimachinery::meta::ObjectExt as _;
use futures::StreamExt as _;
use registry::{DeleteOptions, Selection, WatchQuery};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::bootstrap::Writer;
use crate::server::Inner;

const GROUP: &str = "coordination.k8s.io";
const NAMESPACE: &str = "kube-system";
const PREFIX: &str = "apiserver-";
/// As upstream labels the Leases of its servers.
const LABEL: &str = "apiserver.kubernetes.io/identity";
const LABEL_VALUE: &str = "kube-apiserver";
/// Selects them.
pub const SELECTOR: &str = "apiserver.kubernetes.io/identity=kube-apiserver";
const ADDRESS: &str = "coracle.io/address";
/// Upstream's time to live of a server's endpoint.
const ALIVE: Duration = Duration::from_secs(15);
const RENEW: Duration = Duration::from_secs(5);

/// The Lease of a server, as it was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Sighting {
    renewed: String,
    address: String,
    at: Instant,
}

/// What is known of all servers' Leases.
#[derive(Default)]
struct Sightings(BTreeMap<String, Sighting>);

impl Sightings {
    fn update(&mut self, leases: &[Value], now: Instant) {
        let seen: BTreeSet<&str> = leases.iter().map(|lease| lease.name()).collect();
        self.0.retain(|name, _| seen.contains(name.as_str()));
        for lease in leases {
            let renewed = lease.str_at("spec/renewTime");
            let known = self.0.get(lease.name()).is_some_and(|known| known.renewed == renewed);
            if !known {
                let address = address_of(lease).unwrap_or_default().to_owned();
                self.0.insert(lease.name().to_owned(), Sighting { renewed: renewed.to_owned(), address, at: now });
            }
        }
    }

    /// Servers other than `own` that are alive, by address.
    fn alive<'a>(&'a self, own: &'a str, now: Instant) -> impl Iterator<Item = &'a str> {
        let others = self.0.iter().filter(move |(name, _)| name.as_str() != own);
        others.filter(move |(_, seen)| now < seen.at + ALIVE).map(|(_, seen)| seen.address.as_str())
    }

    /// Leases that nobody holds any more.
    fn dead(&self, own: &str, now: Instant) -> Vec<String> {
        let others = self.0.iter().filter(|(name, _)| name.as_str() != own);
        others.filter(|(_, seen)| seen.at + ALIVE <= now).map(|(name, _)| name.clone()).collect()
    }

    /// When the next server may be found dead.
    fn next_end(&self, own: &str) -> Option<Instant> {
        self.0.iter().filter(|(name, _)| name.as_str() != own).map(|(_, seen)| seen.at + ALIVE).min()
    }
}

fn address_of(lease: &Value) -> Option<&str> {
    lease.annotations()?.get(ADDRESS)?.as_str().filter(|address| !address.is_empty())
}

fn leases(server: &Inner) -> Vec<Value> {
    let stored = server.config.registry.read_all(GROUP, "leases", NAMESPACE);
    let ours = stored.iter().filter(|stored| stored.attributes().label(LABEL) == Some(LABEL_VALUE));
    ours.map(registry::StoredObject::decode).collect()
}

/// The addresses that there are to be at this server's start: its own, and those of all whose Leases are there.
pub fn at_start(server: &Inner) -> BTreeSet<String> {
    let leases = leases(server);
    let own = server.config.advertise_address.to_string();
    leases.iter().filter_map(address_of).map(str::to_owned).chain([own]).collect()
}

/// Keeps the endpoints right until shutdown.
pub async fn run(server: Arc<Inner>) -> ApiResult<()> {
    if server.config.advertise_address.is_loopback() {
        // Pods could not reach it, and Endpoints may not name it.
        server.shutdown.triggered().await;
        return Ok(());
    }
    let own = format!("{PREFIX}{}", server.config.name);
    let registry = server.config.registry.clone();
    let Some(found) = registry.rows().newest(GROUP, "leases") else { return Ok(()) };
    let selection = Selection::parse(found.resource, SELECTOR, "")?;
    let query = WatchQuery { selection, resource_version: registry.revision().to_string(), ..WatchQuery::default() };
    let mut watch = registry.watch(found.resource, Some(NAMESPACE), query)?;
    let (mut seen, mut next_renewal) = (Sightings::default(), Instant::now());
    loop {
        let now = Instant::now();
        seen.update(&leases(&server), now);
        for dead in seen.dead(&own, now) {
            tracing::warn!(lease = dead, "a server has not been heard of; taking its address out of the endpoints");
            remove(&server, &dead).await?;
        }
        let several = server.config.one_of_several || seen.alive(&own, now).next().is_some();
        if several && now >= next_renewal {
            renew(&server, &own).await?;
            next_renewal = now + RENEW;
        }
        let here = server.config.advertise_address.to_string();
        let addresses = seen.alive(&own, now).map(str::to_owned).chain([here]).collect();
        publish(&server, &addresses).await?;
        let wake = [several.then_some(next_renewal), seen.next_end(&own)].into_iter().flatten().min();
        let timer = async {
            match wake {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            event = watch.next() => match event {
                Some(event) => drop(event?),
                None => return Ok(()),
            },
            () = timer => {}
        }
    }
}

/// Takes this server out at its end, if others stay.
pub async fn leave(server: &Inner) -> ApiResult<()> {
    let own = format!("{PREFIX}{}", server.config.name);
    let leases = leases(server);
    let others = leases.iter().filter(|lease| lease.name() != own).filter_map(address_of);
    let others: BTreeSet<String> = others.map(str::to_owned).collect();
    if others.is_empty() {
        // It comes back, or nobody does.
        return Ok(());
    }
    remove(server, &own).await?;
    publish(server, &others).await
}

async fn renew(server: &Inner, own: &str) -> ApiResult<()> {
    let now = apimachinery::time::now_micro();
    let object = json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {
            "name": own, "namespace": NAMESPACE, "labels": { LABEL: LABEL_VALUE },
            "annotations": { ADDRESS: server.config.advertise_address.to_string() },
        },
        "spec": {
            "holderIdentity": server.config.name, "leaseDurationSeconds": ALIVE.as_secs(), "renewTime": now,
        },
    });
    let writer = Writer::of(server);
    writer.ensure(GROUP, "leases", object.clone()).await?;
    writer.replace_with_annotations(GROUP, "leases", object).await
}

async fn remove(server: &Inner, name: &str) -> ApiResult<()> {
    let writer = Writer::of(server);
    let object = json!({ "metadata": { "name": name, "namespace": NAMESPACE } });
    let call = writer.call(writer.found(GROUP, "leases")?, &object);
    match writer.registry.delete(&call, &DeleteOptions::default()).await {
        Err(error) if error.reason() != "NotFound" => Err(error),
        _ => Ok(()),
    }
}

/// Writes the endpoints if they are not these.
async fn publish(server: &Inner, addresses: &BTreeSet<String>) -> ApiResult<()> {
    let slice = server.config.registry.read("discovery.k8s.io", "endpointslices", "default", "kubernetes");
    let published: BTreeSet<String> = slice.iter().flat_map(published_in).collect();
    if published == *addresses {
        return Ok(());
    }
    crate::bootstrap::write_endpoints(server, addresses).await
}

fn published_in(slice: &Value) -> Vec<String> {
    let endpoints = slice.array_at("endpoints").iter();
    let addresses = endpoints.flat_map(|endpoint| endpoint.array_at("addresses").iter());
    addresses.filter_map(|address| address.as_str().map(str::to_owned)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lease(name: &str, address: &str, renewed: &str) -> Value {
        json!({
            "metadata": { "name": name, "annotations": { ADDRESS: address } }, "spec": { "renewTime": renewed },
        })
    }

    #[test]
    fn a_server_is_dead_when_its_lease_was_seen_unchanged_for_long() {
        let (start, mut seen) = (Instant::now(), Sightings::default());
        let alive = |seen: &Sightings, after: u64| {
            let now = start + Duration::from_secs(after);
            seen.alive("apiserver-a", now).map(str::to_owned).collect::<Vec<_>>()
        };
        // Its clock may say what it likes.
        seen.update(&[lease("apiserver-a", "10.0.0.1", "x"), lease("apiserver-b", "10.0.0.2", "1999")], start);
        assert_eq!(alive(&seen, 14), ["10.0.0.2"]);
        assert_eq!(alive(&seen, 15), Vec::<String>::new());
        seen.update(&[lease("apiserver-b", "10.0.0.2", "2000")], start + Duration::from_secs(10));
        assert_eq!(alive(&seen, 24), ["10.0.0.2"]);
        assert_eq!(seen.next_end("apiserver-a"), Some(start + Duration::from_secs(25)));
        assert_eq!(seen.dead("apiserver-a", start + Duration::from_secs(25)), ["apiserver-b"]);
        assert!(seen.dead("apiserver-b", start + Duration::from_secs(99)).is_empty(), "its own is no concern");
        seen.update(&[], start);
        assert_eq!(seen.next_end("apiserver-a"), None);
    }
}

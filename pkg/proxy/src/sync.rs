//! The loop: changes mark Services as dirty; a moment later the dirty ones are computed anew and the difference is applied.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use client::{Change, Index, ObjectKey, Scope, Store};
use component_base::Shutdown;
use tokio::time::Instant;

use crate::Config;
use crate::apply::{self, Error};
use crate::conntrack::{self, Stale};
use crate::health::HealthPorts;
use crate::metrics;
use crate::model::{PortRules, compute_ports};
use crate::rules::compute_ruleset;
use crate::ruleset::Ruleset;
use crate::types::{EndpointSlice, Service};

/// How long a change waits for others to come with it, and the shortest time between two transactions.
const COALESCE: Duration = Duration::from_millis(20);
const INTERVAL_MIN: Duration = Duration::from_millis(50);
const INTERVAL_MAX: Duration = Duration::from_secs(1);
/// The first and the longest wait after a refused transaction.
const RETRY_MIN: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(30);

pub async fn run(config: Config, shutdown: Shutdown) -> Result<(), Error> {
    let services = config.informers.get::<Service>(Scope::all());
    let slices = config.informers.get::<EndpointSlice>(Scope::all());
    let (mut service_changes, mut slice_changes) = (services.subscribe(), slices.subscribe());
    // Nothing is touched before the whole picture is there: an earlier run's rules are better than half of ours.
    if shutdown.race(async { tokio::join!(services.synced(), slices.synced()) }).await.is_none() {
        return Ok(());
    }
    allow_loopback_node_ports();
    let by_service = slices.store().index("service", |slice: &EndpointSlice| {
        slice.service().map(|name| format!("{}/{name}", slice.metadata.namespace).into()).into_iter().collect()
    });
    let mut proxy = Proxy::new(config, services.store(), by_service);
    let mut due = Instant::now();
    loop {
        let change = tokio::select! {
            () = shutdown.triggered() => return Ok(()),
            Some(change) = service_changes.next() => Some(vec![change.key]),
            Some(change) = slice_changes.next() => Some(services_of(&change)),
            () = tokio::time::sleep_until(due), if proxy.is_dirty() => None,
        };
        match change {
            Some(keys) => {
                if !proxy.is_dirty() {
                    due = due.max(Instant::now() + COALESCE);
                }
                proxy.dirty.extend(keys);
            }
            None => due = Instant::now() + proxy.sync(&shutdown).await,
        }
    }
}

/// The Services that a change of a slice concerns: two if its label changed.
fn services_of(change: &Change<EndpointSlice>) -> Vec<ObjectKey> {
    let slices = change.old.iter().chain(&change.new);
    slices.filter_map(|s| Some(ObjectKey::new(&s.metadata.namespace, s.service()?))).collect()
}

/// Node ports on 127.0.0.1 work where the kernel lets such packets leave the host; `guard-loopback` keeps others out.
fn allow_loopback_node_ports() {
    let path = "/proc/sys/net/ipv4/conf/all/route_localnet";
    if std::fs::read_to_string(path).is_ok_and(|value| value.trim() == "1") {
        return;
    }
    if let Err(error) = std::fs::write(path, "1") {
        tracing::info!(%error, "node ports do not answer on 127.0.0.1: net.ipv4.conf.all.route_localnet cannot be set");
    }
}

struct Computed {
    ports: Vec<PortRules>,
    rules: Ruleset,
}

struct Proxy {
    config: Config,
    services: Store<Service>,
    slices: Index<EndpointSlice>,
    dirty: HashSet<ObjectKey>,
    computed: HashMap<ObjectKey, Computed>,
    /// What the kernel has; `None` if that is not known, at the start and after a refusal.
    applied: Option<Ruleset>,
    stale: BTreeSet<Stale>,
    health: HealthPorts,
    retry: Duration,
}

impl Proxy {
    fn new(config: Config, services: Store<Service>, slices: Index<EndpointSlice>) -> Self {
        let dirty = services.list().iter().map(|service| ObjectKey::of(service.as_ref())).collect();
        Self {
            config,
            services,
            slices,
            dirty,
            computed: HashMap::new(),
            applied: None,
            stale: BTreeSet::new(),
            health: HealthPorts::default(),
            retry: RETRY_MIN,
        }
    }

    fn is_dirty(&self) -> bool {
        self.applied.is_none() || !self.dirty.is_empty()
    }

    /// One transaction; returns how long to wait before the next.
    async fn sync(&mut self, shutdown: &Shutdown) -> Duration {
        let started = Instant::now();
        for key in std::mem::take(&mut self.dirty) {
            self.compute(key);
        }
        let wanted = self.wanted();
        let script = match &self.applied {
            Some(applied) => applied.script_to(&wanted),
            None => Some(wanted.to_script(&self.config.cluster_cidr)),
        };
        if let Some(script) = script {
            if let Err(error) = apply::apply(&script).await {
                let text = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
                tracing::error!(%error, cause = text, "Services are not up to date on this node; trying again");
                metrics::FAILURES.inc();
                self.applied = None;
                self.retry = (self.retry * 2).min(RETRY_MAX);
                return self.retry;
            }
            self.applied = Some(wanted);
            self.retry = RETRY_MIN;
            metrics::SYNC_SECONDS.observe(started.elapsed().as_secs_f64());
            let bytes = script.len();
            tracing::debug!(services = self.computed.len(), bytes, elapsed = ?started.elapsed(), "synced rules");
        }
        conntrack::clear(&std::mem::take(&mut self.stale)).await;
        self.health.update(&self.health_ports(), shutdown);
        // A busy cluster may not keep the node busy with rules: at most a third of the time goes there.
        (started.elapsed() * 2).clamp(INTERVAL_MIN, INTERVAL_MAX)
    }

    fn compute(&mut self, key: ObjectKey) {
        let ports = match self.services.get_key(&key) {
            Some(service) => {
                let slices: Vec<Arc<EndpointSlice>> = self.slices.get(&format!("{}/{}", key.namespace, key.name));
                compute_ports(&service, &slices, &self.config.node_name, &self.config.own_addresses)
            }
            None => Vec::new(),
        };
        let old = self.computed.get(&key).map(|computed| computed.ports.as_slice()).unwrap_or_default();
        self.stale.append(&mut conntrack::compute_stale(old, &ports));
        if ports.is_empty() {
            self.computed.remove(&key);
        } else {
            let rules = compute_ruleset(&ports, &self.config.cluster_cidr);
            self.computed.insert(key, Computed { ports, rules });
        }
    }

    fn wanted(&self) -> Ruleset {
        // In the order of their names, so that a contested address always goes to the same Service.
        let ordered: BTreeMap<&ObjectKey, &Computed> = self.computed.iter().collect();
        let mut wanted = Ruleset::default();
        for computed in ordered.values() {
            wanted.merge(&computed.rules);
        }
        wanted
    }

    fn health_ports(&self) -> BTreeMap<u16, (ObjectKey, usize)> {
        let mut ports = BTreeMap::new();
        for (key, computed) in &self.computed {
            let Some(service) = self.services.get_key(key) else { continue };
            let port = service.spec.health_check_node_port;
            if port != 0 && service.spec.external_traffic_policy == "Local" {
                let addresses = computed.ports.iter().flat_map(|p| p.local.iter().map(|t| t.address));
                ports.insert(port, (key.clone(), addresses.collect::<BTreeSet<_>>().len()));
            }
        }
        ports
    }
}

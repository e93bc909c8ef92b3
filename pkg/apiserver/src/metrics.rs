//! What is counted, under upstream's names.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::LazyLock;
use std::time::Duration;

use apis::resource::Resource;
use component_base::metrics::register;
use prometheus_client::encoding::{EncodeLabelSet, LabelSetEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use registry::Found;

use crate::http::path::RequestInfo;

/// What requests are told apart by: found without comparing or hashing more than a few bytes.
#[derive(Clone, Copy)]
struct Endpoint {
    verb: &'static str,
    /// `None` for paths that are no resource.
    row: Option<&'static Resource>,
    version: &'static str,
    subresource: &'static str,
    scope: &'static str,
}

/// An endpoint and how it answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Answered {
    endpoint: Endpoint,
    code: u16,
}

#[derive(Debug, EncodeLabelSet)]
struct EndpointLabels {
    verb: &'static str,
    group: &'static str,
    version: &'static str,
    resource: &'static str,
    subresource: &'static str,
    scope: &'static str,
}

#[derive(EncodeLabelSet)]
struct CodeLabel {
    code: u16,
}

impl Endpoint {
    fn labels(&self) -> EndpointLabels {
        let Self { verb, row, version, subresource, scope } = *self;
        let (group, resource) = row.map_or(("", ""), |row| (row.group, row.plural));
        EndpointLabels { verb, group, version, resource, subresource, scope }
    }

    /// Rows are one table, so that the place in it says which one it is.
    fn address(&self) -> usize {
        self.row.map_or(0, |row| std::ptr::from_ref(row).addr())
    }
}

impl PartialEq for Endpoint {
    fn eq(&self, other: &Self) -> bool {
        self.address() == other.address()
            && (self.verb, self.version, self.subresource, self.scope)
                == (other.verb, other.version, other.subresource, other.scope)
    }
}

impl Eq for Endpoint {}

impl Hash for Endpoint {
    /// Of what tells almost all apart.
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.address(), self.verb).hash(state);
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.labels().fmt(f)
    }
}

impl EncodeLabelSet for Endpoint {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> fmt::Result {
        self.labels().encode(encoder)
    }
}

impl EncodeLabelSet for Answered {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> fmt::Result {
        self.endpoint.encode(encoder)?;
        CodeLabel { code: self.code }.encode(encoder)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabels {
    request_kind: &'static str,
}

type Durations = Family<Endpoint, Histogram, fn() -> Histogram>;

/// Handles of the metrics; cheap to clone, registered once a process.
#[derive(Clone)]
pub struct Metrics {
    requests: Family<Answered, Counter>,
    durations: Durations,
    read_only: Gauge,
    mutating: Gauge,
    long_running: Gauge,
}

static METRICS: LazyLock<Metrics> = LazyLock::new(|| {
    let in_flight: Family<KindLabels, Gauge> =
        register("apiserver_current_inflight_requests", "Requests in execution.", Family::default());
    let kind = |request_kind| in_flight.get_or_create_owned(&KindLabels { request_kind });
    Metrics {
        requests: register("apiserver_request", "Requests by verb, resource and code.", Family::default()),
        durations: register(
            "apiserver_request_duration_seconds",
            "How long requests took, without long-running ones.",
            Family::new_with_constructor(duration_buckets as fn() -> Histogram),
        ),
        read_only: kind("readOnly"),
        mutating: kind("mutating"),
        long_running: register("apiserver_longrunning_requests", "Watches and streams in execution.", Gauge::default()),
    }
});

fn duration_buckets() -> Histogram {
    Histogram::new([0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0])
}

/// One request that is counted as running until it is done.
pub struct Served {
    endpoint: Endpoint,
    running: Gauge,
    long_running: bool,
}

impl Metrics {
    pub fn new() -> Self {
        METRICS.clone()
    }

    /// Counts a request in. Only names of served resources become labels: clients cannot make new ones.
    pub fn start(&self, info: &RequestInfo<'_>, found: Option<Found>) -> Served {
        let row = found.map(|found| found.resource);
        let subresource = row.and_then(|row| row.subresource(info.subresource)).map_or("", |s| s.name);
        let version = found.map_or("", |found| found.version);
        let endpoint = Endpoint { verb: upper_case(info.verb), row, version, subresource, scope: scope(info) };
        let long_running = info.is_long_running();
        let running = if long_running { self.long_running.clone() } else { self.running(info.verb) };
        running.inc();
        Served { endpoint, running, long_running }
    }

    /// Counts a request out.
    pub fn done(&self, served: &Served, code: u16, took: Duration) {
        let Served { endpoint, long_running, .. } = *served;
        self.requests.get_or_create(&Answered { endpoint, code }).inc();
        if !long_running {
            self.durations.get_or_create(&endpoint).observe(took.as_secs_f64());
        }
    }

    fn running(&self, verb: &str) -> Gauge {
        match verb {
            "create" | "update" | "patch" | "delete" | "deletecollection" => self.mutating.clone(),
            _ => self.read_only.clone(),
        }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.running.dec();
    }
}

fn upper_case(verb: &'static str) -> &'static str {
    match verb {
        "get" => "GET",
        "list" => "LIST",
        "watch" => "WATCH",
        "create" | "post" => "POST",
        "update" | "put" => "PUT",
        "patch" => "PATCH",
        "delete" => "DELETE",
        "deletecollection" => "DELETECOLLECTION",
        _ => "other",
    }
}

fn scope(info: &RequestInfo<'_>) -> &'static str {
    match (info.is_resource, info.name.is_empty(), info.namespace.is_empty()) {
        (false, ..) => "",
        (_, false, _) => "resource",
        (_, _, false) => "namespace",
        _ => "cluster",
    }
}

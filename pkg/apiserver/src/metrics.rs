//! What is counted, under upstream's names.

use std::sync::LazyLock;
use std::time::Duration;

use component_base::metrics::register;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use registry::Rows;

use crate::http::path::RequestInfo;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    verb: &'static str,
    group: &'static str,
    version: &'static str,
    resource: &'static str,
    subresource: &'static str,
    scope: &'static str,
    code: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DurationLabels {
    verb: &'static str,
    group: &'static str,
    version: &'static str,
    resource: &'static str,
    subresource: &'static str,
    scope: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabels {
    request_kind: &'static str,
}

type Durations = Family<DurationLabels, Histogram, fn() -> Histogram>;

/// Handles of the metrics; cheap to clone, registered once a process.
#[derive(Clone)]
pub struct Metrics {
    requests: Family<RequestLabels, Counter>,
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
    labels: DurationLabels,
    running: Gauge,
    long_running: bool,
}

impl Metrics {
    pub fn new() -> Self {
        METRICS.clone()
    }

    /// Counts a request in. Only names of served resources become labels: clients cannot make new ones.
    pub fn start(&self, info: &RequestInfo<'_>, rows: &Rows) -> Served {
        let found = rows.find(info.group, info.version, info.resource).filter(|_| info.is_resource);
        let resource = found.map(|f| f.resource);
        let subresource = resource.and_then(|r| r.subresource(info.subresource)).map_or("", |s| s.name);
        let labels = DurationLabels {
            verb: upper_case(info.verb),
            group: resource.map_or("", |r| r.group),
            version: found.map_or("", |f| f.version),
            resource: resource.map_or("", |r| r.plural),
            subresource,
            scope: scope(info),
        };
        let long_running = info.is_long_running();
        let running = if long_running { self.long_running.clone() } else { self.running(info.verb) };
        running.inc();
        Served { labels, running, long_running }
    }

    /// Counts a request out.
    pub fn done(&self, served: &Served, code: u16, took: Duration) {
        let DurationLabels { verb, group, version, resource, subresource, scope } = served.labels.clone();
        let labels = RequestLabels { verb, group, version, resource, subresource, scope, code };
        self.requests.get_or_create(&labels).inc();
        if !served.long_running {
            self.durations.get_or_create(&served.labels).observe(took.as_secs_f64());
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

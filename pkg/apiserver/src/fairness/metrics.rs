//! What is counted about levels and flows, under upstream's names.

use std::sync::LazyLock;
use std::time::Duration;

use component_base::metrics::register;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;

use super::seats::{LevelLimits, Refusal, Usage};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct FlowLabels {
    priority_level: String,
    flow_schema: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RejectedLabels {
    priority_level: String,
    flow_schema: String,
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WaitLabels {
    priority_level: String,
    flow_schema: String,
    execute: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LevelLabels {
    priority_level: String,
}

type Durations<L> = Family<L, Histogram, fn() -> Histogram>;

struct Metrics {
    dispatched: Family<FlowLabels, Counter>,
    rejected: Family<RejectedLabels, Counter>,
    queued_requests: Family<FlowLabels, Gauge>,
    queued_seats: Family<FlowLabels, Gauge>,
    queue_length: Durations<FlowLabels>,
    executing_requests: Family<FlowLabels, Gauge>,
    executing_seats: Family<FlowLabels, Gauge>,
    wait: Durations<WaitLabels>,
    execution: Durations<FlowLabels>,
    estimated_seats: Durations<FlowLabels>,
    nominal: Family<LevelLabels, Gauge>,
    lower: Family<LevelLabels, Gauge>,
    upper: Family<LevelLabels, Gauge>,
    current: Family<LevelLabels, Gauge>,
}

fn seconds() -> Histogram {
    Histogram::new([0.0, 0.005, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 30.0])
}

fn lengths() -> Histogram {
    Histogram::new([0.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1000.0])
}

fn widths() -> Histogram {
    Histogram::new([1.0, 2.0, 4.0, 10.0])
}

fn family<L: Clone + std::hash::Hash + Eq>(make: fn() -> Histogram) -> Durations<L> {
    Family::new_with_constructor(make)
}

static METRICS: LazyLock<Metrics> = LazyLock::new(|| {
    let name = |what: &str| format!("apiserver_flowcontrol_{what}");
    let flows = |what: &str, help: &str| register::<Family<FlowLabels, Gauge>>(&name(what), help, Family::default());
    let levels = |what: &str, help: &str| register::<Family<LevelLabels, Gauge>>(&name(what), help, Family::default());
    Metrics {
        dispatched: register(&name("dispatched_requests"), "Requests that were executed.", Family::default()),
        rejected: register(&name("rejected_requests"), "Requests that were refused.", Family::default()),
        queued_requests: flows("current_inqueue_requests", "Requests that wait in queues."),
        queued_seats: flows("current_inqueue_seats", "Seats that requests in queues wait for."),
        queue_length: register(
            &name("request_queue_length_after_enqueue"),
            "Length of a queue as each request finds it, itself included.",
            family(lengths),
        ),
        executing_requests: flows("current_executing_requests", "Requests in execution; of watches, their beginning."),
        executing_seats: flows("current_executing_seats", "Seats that requests in execution take."),
        wait: register(&name("request_wait_duration_seconds"), "How long requests waited in queues.", family(seconds)),
        execution: register(&name("request_execution_seconds"), "How long requests took seats.", family(seconds)),
        estimated_seats: register(&name("work_estimated_seats"), "Seats that requests were given.", family(widths)),
        nominal: levels("nominal_limit_seats", "Seats that a level is configured to have."),
        lower: levels("lower_limit_seats", "Seats that a level keeps for itself."),
        upper: levels("upper_limit_seats", "Seats that a level may have with what it borrows."),
        current: levels("current_limit_seats", "Seats that a level could use at this moment."),
    }
});

/// Handles of one flow schema on its level: nothing is looked up while requests are served.
#[derive(Clone)]
pub struct FlowMetrics {
    labels: FlowLabels,
    dispatched: Counter,
    queued_requests: Gauge,
    queued_seats: Gauge,
    queue_length: Histogram,
    executing_requests: Gauge,
    executing_seats: Gauge,
    waited: Histogram,
    execution: Histogram,
    estimated_seats: Histogram,
}

impl FlowMetrics {
    pub fn new(level: &str, schema: &str) -> Self {
        let labels = FlowLabels { priority_level: level.to_owned(), flow_schema: schema.to_owned() };
        Self {
            dispatched: METRICS.dispatched.get_or_create_owned(&labels),
            queued_requests: METRICS.queued_requests.get_or_create_owned(&labels),
            queued_seats: METRICS.queued_seats.get_or_create_owned(&labels),
            queue_length: METRICS.queue_length.get_or_create_owned(&labels),
            executing_requests: METRICS.executing_requests.get_or_create_owned(&labels),
            executing_seats: METRICS.executing_seats.get_or_create_owned(&labels),
            waited: METRICS.wait.get_or_create_owned(&wait_labels(&labels, "true")),
            execution: METRICS.execution.get_or_create_owned(&labels),
            estimated_seats: METRICS.estimated_seats.get_or_create_owned(&labels),
            labels,
        }
    }

    pub fn started(&self, width: u32, waited: Duration) {
        self.dispatched.inc();
        self.executing_requests.inc();
        self.executing_seats.inc_by(width.into());
        self.estimated_seats.observe(width.into());
        self.waited.observe(waited.as_secs_f64());
    }

    pub fn ended(&self, width: u32, took: Duration) {
        self.executing_requests.dec();
        self.executing_seats.dec_by(width.into());
        self.execution.observe(took.as_secs_f64());
    }

    pub fn queued(&self, width: u32, length: usize) {
        self.queued_requests.inc();
        self.queued_seats.inc_by(width.into());
        self.queue_length.observe(length as f64);
    }

    pub fn left_queue(&self, width: u32) {
        self.queued_requests.dec();
        self.queued_seats.dec_by(width.into());
    }

    pub fn refused(&self, reason: Refusal, waited: Duration) {
        let FlowLabels { priority_level, flow_schema } = self.labels.clone();
        METRICS.rejected.get_or_create(&RejectedLabels { priority_level, flow_schema, reason: reason.as_str() }).inc();
        METRICS.wait.get_or_create(&wait_labels(&self.labels, "false")).observe(waited.as_secs_f64());
    }
}

fn wait_labels(labels: &FlowLabels, execute: &'static str) -> WaitLabels {
    let FlowLabels { priority_level, flow_schema } = labels.clone();
    WaitLabels { priority_level, flow_schema, execute }
}

/// States what a level was configured to have.
pub fn configured(level: &str, limits: &LevelLimits) {
    let labels = LevelLabels { priority_level: level.to_owned() };
    METRICS.nominal.get_or_create(&labels).set(limits.nominal.into());
    METRICS.lower.get_or_create(&labels).set(limits.lower.into());
    METRICS.upper.get_or_create(&labels).set(limits.upper.into());
}

/// States what a level could use now.
pub fn observed(level: &str, usage: Usage) {
    let labels = LevelLabels { priority_level: level.to_owned() };
    METRICS.current.get_or_create(&labels).set(usage.limit.into());
}

/// Forgets a level that is no more.
pub fn removed(level: &str) {
    let labels = LevelLabels { priority_level: level.to_owned() };
    for family in [&METRICS.nominal, &METRICS.lower, &METRICS.upper, &METRICS.current] {
        family.remove(&labels);
    }
}

//! API priority and fairness (KEP-1040): every request is of a flow, every flow on a level, and every level has its seats,
//! so that no client can take the server from the others.
//!
//! FlowSchemas and PriorityLevelConfigurations are compiled into one index that requests read without a lock
//! ([`config`] keeps it up to date). A request that finds a seat costs one short lock; others wait in the queues of their
//! level. Start reading at [`Fairness::enter`], then [`seats`] and [`queues`].

pub mod config;
pub mod defaults;
mod levels;
mod metrics;
mod queues;
mod schema;
mod seats;
mod work;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use auth::Attributes;
use http::HeaderValue;
use parking_lot::Mutex;
use serde_json::Value;
use tokio::sync::oneshot;

use levels::{LevelSpec, TOTAL_SEATS, share_out};
use metrics::FlowMetrics;
use schema::SchemaSpec;
use seats::{Entry, LevelId, Seat, Seats, Woken};

pub use seats::Refusal;
pub use work::width;

/// Levels, flows and who runs. Shared by all requests of a server.
pub struct Fairness {
    index: ArcSwap<Index>,
    seats: Mutex<Seats>,
    total: u32,
}

/// The schemas in the order in which they are tried.
struct Index {
    flows: Vec<Arc<Flow>>,
    levels: Vec<(Arc<str>, LevelId)>,
}

/// A schema with its level.
pub struct Flow {
    schema: SchemaSpec,
    level: LevelId,
    width_max: u32,
    /// The values of `X-Kubernetes-PF-FlowSchema-UID` and `X-Kubernetes-PF-PriorityLevel-UID`.
    pub schema_uid: HeaderValue,
    pub level_uid: HeaderValue,
    metrics: FlowMetrics,
}

/// The right to run; given back when dropped.
pub struct Ticket {
    fairness: Arc<Fairness>,
    flow: Arc<Flow>,
    seat: Seat,
    since: Instant,
}

impl Default for Fairness {
    /// With the default levels and schemas, until those that are stored are known.
    fn default() -> Self {
        Self::new(&defaults::levels(), &defaults::schemas(), TOTAL_SEATS)
    }
}

impl Fairness {
    fn new(levels: &[Value], schemas: &[Value], total: u32) -> Self {
        let index = ArcSwap::from_pointee(Index { flows: Vec::new(), levels: Vec::new() });
        let fairness = Self { index, seats: Mutex::default(), total };
        fairness.configure(levels, schemas);
        fairness
    }

    /// Takes these levels and schemas from now on; mandatory ones that are missing are as by default. Requests that run or
    /// wait go on where they are.
    fn configure(&self, levels: &[Value], schemas: &[Value]) {
        let (level_defaults, schema_defaults) = (defaults::levels(), defaults::schemas());
        let levels: Vec<LevelSpec> = with_mandatory(levels, &level_defaults).into_iter().map(LevelSpec::of).collect();
        let mut specs: Vec<SchemaSpec> =
            with_mandatory(schemas, &schema_defaults).into_iter().map(SchemaSpec::of).collect();
        // Whoever matches nothing else is caught at the end.
        specs.sort_by(|a, b| (a.precedence, &a.name).cmp(&(b.precedence, &b.name)));
        let limits = share_out(&levels, self.total);
        let wanted: Vec<_> = levels.iter().map(|level| level.name.clone()).zip(limits).collect();
        let mut seats = self.seats.lock();
        let (ids, woken) = seats.configure(&wanted);
        let flow = |schema: SchemaSpec| {
            let at = levels.iter().position(|level| *level.name == *schema.level)?;
            Some(Arc::new(Flow::new(schema, &levels[at], ids[at], levels[at].width_max(&wanted[at].1))))
        };
        let flows = specs.into_iter().filter_map(flow).collect();
        let places = wanted.iter().map(|(name, _)| name.clone()).zip(ids.iter().copied()).collect();
        // Stored while the table is locked: who finds his level gone finds the new index, too.
        let before = self.index.swap(Arc::new(Index { flows, levels: places }));
        drop(seats);
        wake(woken);
        wanted.iter().for_each(|(name, limits)| metrics::configured(name, limits));
        let gone = before.levels.iter().filter(|(name, _)| !wanted.iter().any(|(there, _)| there == name));
        gone.for_each(|(name, _)| metrics::removed(name));
    }

    fn classify(&self, request: &Attributes<'_>) -> Option<Arc<Flow>> {
        let index = self.index.load();
        let found = index.flows.iter().find(|flow| flow.schema.matches(request));
        // A user without any group is caught like the others.
        found.or_else(|| index.flows.iter().find(|flow| flow.schema.name == "catch-all")).cloned()
    }

    /// Waits for the right to run, at most `wait_max`; without it the request is queued whatever the length of its queue
    /// and never refused: for callers in this process, who bound themselves. `width` says how many seats it would take.
    pub async fn enter(
        self: &Arc<Self>,
        request: &Attributes<'_>,
        wait_max: Option<Duration>,
        width: u32,
    ) -> (Option<Arc<Flow>>, Result<Option<Ticket>, Refusal>) {
        loop {
            let Some(flow) = self.classify(request) else { return (None, Ok(None)) };
            let hash = flow.schema.flow(request);
            let width = width.clamp(1, flow.width_max);
            let entry = self.seats.lock().enter(flow.level, hash, width, wait_max.is_none());
            let outcome = match entry {
                Entry::Stale => continue,
                Entry::Runs(seat) => Ok(Ticket::new(self.clone(), flow.clone(), seat, Duration::ZERO)),
                Entry::Refused(reason) => {
                    flow.metrics.refused(reason, Duration::ZERO);
                    Err(reason)
                }
                Entry::Waits { seat, id, woken, length } => {
                    flow.metrics.queued(seat.width, length);
                    let place = Place {
                        fairness: self.clone(),
                        flow: flow.clone(),
                        seat,
                        id,
                        since: Instant::now(),
                        left: false,
                    };
                    place.wait(woken, wait_max).await
                }
            };
            return (Some(flow), outcome.map(Some));
        }
    }

    /// Brings the metrics up to date that are not kept so by requests.
    pub fn observe(&self) {
        let index = self.index.load();
        for (name, id) in &index.levels {
            if let Some(usage) = self.seats.lock().usage(*id) {
                metrics::observed(name, usage);
            }
        }
    }
}

impl Flow {
    fn new(schema: SchemaSpec, level: &LevelSpec, id: LevelId, width_max: u32) -> Self {
        let header = |uid: &str| HeaderValue::from_str(uid).unwrap_or(HeaderValue::from_static(""));
        Self {
            level: id,
            width_max,
            schema_uid: header(&schema.uid),
            level_uid: header(&level.uid),
            metrics: FlowMetrics::new(&level.name, &schema.name),
            schema,
        }
    }

    #[cfg(test)]
    fn name(&self) -> &str {
        &self.schema.name
    }
}

/// `stored`, and the mandatory ones of `defaults` that it lacks.
fn with_mandatory<'a>(stored: &'a [Value], defaults: &'a [Value]) -> Vec<&'a Value> {
    use apimachinery::meta::ObjectExt as _;
    let missing = defaults.iter().filter(|default| {
        defaults::MANDATORY.contains(&default.name()) && !stored.iter().any(|there| there.name() == default.name())
    });
    stored.iter().chain(missing).collect()
}

fn wake(woken: Woken) {
    for waiter in woken {
        // Who left meanwhile gives the seat back himself.
        let _ = waiter.send(());
    }
}

impl Ticket {
    fn new(fairness: Arc<Fairness>, flow: Arc<Flow>, seat: Seat, waited: Duration) -> Self {
        flow.metrics.started(seat.width, waited);
        Self { fairness, flow, seat, since: Instant::now() }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let took = self.since.elapsed();
        let woken = self.fairness.seats.lock().leave(self.seat, took);
        wake(woken);
        self.flow.metrics.ended(self.seat.width, took);
    }
}

/// A place in a queue; left when dropped.
struct Place {
    fairness: Arc<Fairness>,
    flow: Arc<Flow>,
    seat: Seat,
    id: u64,
    since: Instant,
    left: bool,
}

impl Place {
    async fn wait(mut self, woken: oneshot::Receiver<()>, limit: Option<Duration>) -> Result<Ticket, Refusal> {
        match limit {
            Some(limit) => drop(tokio::time::timeout(limit, woken).await),
            None => drop(woken.await),
        }
        // Whatever woke us: the table knows whether our turn has come.
        self.leave(Refusal::TimeOut).ok_or(Refusal::TimeOut)
    }

    /// Leaves the queue, with a ticket if the turn had come; else `reason` is counted.
    fn leave(&mut self, reason: Refusal) -> Option<Ticket> {
        self.left = true;
        let waited = self.since.elapsed();
        let (withdrawn, woken) = self.fairness.seats.lock().withdraw(self.seat, self.id);
        wake(woken);
        self.flow.metrics.left_queue(self.seat.width);
        if withdrawn {
            self.flow.metrics.refused(reason, waited);
            return None;
        }
        Some(Ticket::new(self.fairness.clone(), self.flow.clone(), self.seat, waited))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if !self.left {
            // A seat that was given meanwhile goes back with the ticket.
            drop(self.leave(Refusal::Cancelled));
        }
    }
}

//! Requests from many clients at once, each waiting for its answer before it asks again.
//!
//! Load and server share the machine's processors: the clients have one thread of their own and a connection each, so that
//! little of what is measured is theirs.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures::future::try_join_all;
use hyper::Method;

use e2e::http::Target;
use e2e::wire::Wire;

const CLIENTS: usize = 32;

/// When a load ends.
#[derive(Clone, Copy)]
pub enum Until {
    /// So many requests were answered.
    Answers(usize),
    /// It has gone on for so long.
    Elapsed(Duration),
}

/// What came of a load.
pub struct Driven {
    /// Answers a second.
    pub rate: f64,
    /// How long each took, sorted.
    pub latencies: Vec<Duration>,
}

/// Makes the path and the body of a request out of its number.
pub trait Make: Fn(usize) -> (String, String) + Send + Sync + 'static {}
impl<F: Fn(usize) -> (String, String) + Send + Sync + 'static> Make for F {}

/// Sends requests from `CLIENTS` connections, spread over the targets. The first that fails ends it.
pub async fn drive(targets: &[Target], method: Method, until: Until, make: impl Make) -> anyhow::Result<Driven> {
    let targets = targets.to_vec();
    let load = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(clients(&targets, method, until, Arc::new(make)))
    };
    tokio::task::spawn_blocking(load).await?
}

async fn clients(targets: &[Target], method: Method, until: Until, make: Arc<impl Make>) -> anyhow::Result<Driven> {
    let mut wires = Vec::new();
    for target in targets.iter().cycle().take(CLIENTS) {
        wires.push(target.wire().await?);
    }
    let next = Arc::new(AtomicUsize::new(0));
    let started = Instant::now();
    let clients =
        wires.into_iter().map(|wire| tokio::spawn(client(wire, method.clone(), until, next.clone(), make.clone())));
    let mut latencies = Vec::new();
    for answered in try_join_all(clients).await? {
        latencies.extend(answered?);
    }
    let rate = latencies.len() as f64 / started.elapsed().as_secs_f64();
    latencies.sort();
    Ok(Driven { rate, latencies })
}

async fn client(
    mut wire: Wire,
    method: Method,
    until: Until,
    next: Arc<AtomicUsize>,
    make: Arc<impl Make>,
) -> anyhow::Result<Vec<Duration>> {
    let started = Instant::now();
    let mut latencies = Vec::new();
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        let over = match until {
            Until::Answers(count) => number >= count,
            Until::Elapsed(length) => started.elapsed() >= length,
        };
        if over {
            return Ok(latencies);
        }
        let (path, body) = make(number);
        let begun = Instant::now();
        wire.call(&method, &path, &body).await?;
        latencies.push(begun.elapsed());
    }
}

impl Driven {
    /// The middle and the hundredth of the latencies.
    pub fn summary(&self) -> String {
        percentiles(&self.latencies, &[50, 99])
    }
}

/// Of sorted latencies, in milliseconds; the hundredth is the worst.
pub fn percentiles(sorted: &[Duration], which: &[usize]) -> String {
    let at = |p: usize| sorted.get((sorted.len() * p / 100).min(sorted.len().saturating_sub(1)));
    let shown = which.iter().filter_map(|p| Some((*p, at(*p)?.as_secs_f64() * 1000.0)));
    let shown: Vec<String> =
        shown.map(|(p, ms)| if p == 100 { format!("worst {ms:.2} ms") } else { format!("p{p} {ms:.2} ms") }).collect();
    format!("({})", shown.join(", "))
}

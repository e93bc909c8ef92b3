//! The end of the machine: pods are stopped in order before it goes down, and the node says so.
//!
//! Who announces it is replaceable: a [`Switch`] is thrown by [`logind`], which holds the machine's end up meanwhile, or by
//! whoever runs the kubelet. What is done then is planned by [`plan`], which is pure.

mod bus;
mod logind;
pub mod plan;

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::join_all;
use tokio::sync::watch;

use crate::kubelet::Kubelet;
use crate::status::PodFailure;
pub use plan::Grace;

/// Why a pod has failed that ended with the machine.
pub const TERMINATED: &str = "Terminated";
const TERMINATED_MESSAGE: &str = "Pod was terminated in response to imminent node shutdown.";
/// What the node says of itself meanwhile.
pub const NODE_MESSAGE: &str = "node is shutting down";
/// How long the last statuses may take to reach the server.
const REPORT_LIMIT: Duration = Duration::from_secs(2);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Up,
    GoingDown,
    Drained,
}

/// Whether the machine goes down. Clones share it.
#[derive(Clone, Debug)]
pub struct Switch(Arc<watch::Sender<State>>);

impl Default for Switch {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(State::Up)))
    }
}

impl Switch {
    /// The machine goes down; or it does not after all.
    pub fn announce(&self, going_down: bool) {
        self.0.send_if_modified(|state| {
            let next = match (going_down, *state) {
                (false, _) => State::Up,
                (true, State::Up) => State::GoingDown,
                (true, later) => later,
            };
            std::mem::replace(state, next) != next
        });
    }

    pub fn is_going_down(&self) -> bool {
        *self.0.borrow() != State::Up
    }

    /// Waits until every pod has had its time.
    pub async fn drained(&self) {
        self.until(|state| state == State::Drained).await;
    }

    /// Returns at the next change between up and going down.
    pub async fn turned(&self) {
        let before = self.is_going_down();
        self.until(|state| (state != State::Up) != before).await;
    }

    async fn until(&self, holds: impl Fn(State) -> bool) {
        // The sender lives as long as this.
        let _ = self.0.subscribe().wait_for(|state| holds(*state)).await;
    }
}

/// What the kubelet is told about the machine's end.
#[derive(Clone, Debug)]
pub struct Settings {
    pub grace: Grace,
    pub switch: Switch,
    /// Ask logind to wait. Without it only the switch tells.
    pub logind: bool,
}

/// Holds up the machine's end for as long as pods may take, until it is dropped.
pub async fn follow_logind(kubelet: Arc<Kubelet>) {
    let Some(settings) = kubelet.config.node_shutdown.clone().filter(|settings| settings.logind) else {
        return;
    };
    logind::follow(settings.switch, settings.grace.total).await;
}

/// Waits for the machine's end and stops the pods then, until it is dropped.
pub async fn run(kubelet: Arc<Kubelet>) {
    let Some(settings) = kubelet.config.node_shutdown.clone() else { return };
    loop {
        settings.switch.until(|state| state == State::GoingDown).await;
        tracing::warn!("the machine goes down: stopping pods");
        drain(&kubelet, settings.grace).await;
        // Unless it was called off meanwhile.
        settings.switch.0.send_if_modified(|state| {
            let was = *state == State::GoingDown;
            if was {
                *state = State::Drained;
            }
            was
        });
    }
}

/// Stops all pods, group by group.
pub(crate) async fn drain(kubelet: &Arc<Kubelet>, grace: Grace) {
    let begun = Instant::now();
    let pods = kubelet.active_pods("");
    for group in plan::groups(&pods, grace) {
        let ends = group.pods.iter().filter_map(|(uid, grace)| {
            let failure = PodFailure { reason: TERMINATED.to_owned(), message: TERMINATED_MESSAGE.to_owned() };
            kubelet.evict(uid, failure, *grace);
            kubelet.ended(uid)
        });
        let ends: Vec<_> = ends.collect();
        let all = join_all(ends.iter().map(|end| end.cancelled()));
        if tokio::time::timeout(group.limit, all).await.is_err() {
            let late = ends.iter().filter(|end| !end.is_cancelled()).count();
            tracing::warn!(pods = late, limit = ?group.limit, "some pods did not end in time");
        }
    }
    let reports = join_all(pods.iter().map(|pod| {
        use crate::pod::PodExt as _;
        kubelet.statuses.flush(pod.uid())
    }));
    if tokio::time::timeout(REPORT_LIMIT, reports).await.is_err() {
        tracing::warn!("the server did not hear of the end of all pods");
    }
    tracing::info!(pods = pods.len(), seconds = begun.elapsed().as_secs_f32(), "pods were stopped");
}

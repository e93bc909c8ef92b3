//! How long loops hold their Leases: short where another server can take over, long where nobody can.
//!
//! Every renewal is a write to disk, which a server that is alone can do without. A server that gets company starts its
//! loops again with the short timings; they give their Leases back first.

use std::time::Duration;

use client::election::Timings;
use client::{Client, Informers, Scope};
use component_base::Shutdown;
use k8s_openapi::api::coordination::v1::Lease;
use tokio::task::JoinHandle;

/// A dead server's loops are at work elsewhere within five seconds: it takes others up to the whole duration to be sure.
const AMONG_SEVERAL: Timings = Timings {
    lease_duration: Duration::from_secs(4),
    renew_deadline: Duration::from_secs(3),
    retry_period: Duration::from_millis(500),
};

/// Runs the loops that `start` starts until shutdown: with upstream's timings while this server is alone, with short ones
/// from when it has company.
pub fn run<F>(client: Client, several: bool, shutdown: &Shutdown, start: F)
where
    F: Fn(Timings, &Shutdown) -> Vec<JoinHandle<()>> + Send + 'static,
{
    if several {
        start(AMONG_SEVERAL, shutdown);
        return;
    }
    let stop = shutdown.clone();
    shutdown.spawn(async move {
        let term = stop.child();
        let tasks = start(Timings::default(), &term);
        if stop.race(company(client, &stop)).await.is_none() {
            return;
        }
        tracing::info!("other servers have come: starting the loops again with short Leases");
        term.trigger();
        futures::future::join_all(tasks).await;
        start(AMONG_SEVERAL, &stop);
    });
}

/// Returns when there is a Lease of an API server: one that is alone writes none.
async fn company(client: Client, shutdown: &Shutdown) {
    let informers = Informers::new(client, shutdown.clone());
    let leases = informers.get::<Lease>(Scope::namespace("kube-system").labels(apiserver::SERVER_LEASES));
    let mut changes = leases.subscribe();
    while let Some(change) = changes.next().await {
        if change.new.is_some() {
            return;
        }
    }
    std::future::pending().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leader_stops_before_others_take_over() {
        for timings in [AMONG_SEVERAL, Timings::default()] {
            assert!(timings.renew_deadline < timings.lease_duration);
            assert!(timings.retry_period * 2 < timings.renew_deadline);
        }
        assert!(AMONG_SEVERAL.lease_duration + AMONG_SEVERAL.retry_period < Duration::from_secs(5));
        assert_eq!(AMONG_SEVERAL.lease_duration.subsec_nanos(), 0, "a Lease says it in seconds");
    }
}

//! Leader election by a `coordination.k8s.io/v1` Lease: of several processes one runs the loops.
//!
//! Whether a lease has run out is judged by how long *this* process saw it unchanged, never by comparing clocks. A
//! follower does not poll: it watches the Lease, so that a released one is taken at once, and sets a timer for when the
//! one it sees runs out. Every takeover is a compare-and-set on resourceVersion.

use std::future::Future;
use std::time::Duration;

use component_base::Shutdown;
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};
use tokio::time::{Instant, sleep, timeout};

use crate::cached::Scope;
use crate::informer::Informers;
use crate::store::Subscription;

/// How long things may take. A leader that cannot renew for `renew_deadline` stops before others take over after
/// `lease_duration`.
#[derive(Clone, Copy, Debug)]
pub struct Timings {
    pub lease_duration: Duration,
    pub renew_deadline: Duration,
    pub retry_period: Duration,
}

impl Default for Timings {
    /// Upstream's: 15 s, 10 s, 2 s.
    fn default() -> Self {
        Self {
            lease_duration: Duration::from_secs(15),
            renew_deadline: Duration::from_secs(10),
            retry_period: Duration::from_secs(2),
        }
    }
}

/// Which Lease, and who asks for it.
#[derive(Clone, Debug)]
pub struct Election {
    pub namespace: String,
    pub name: String,
    /// Must differ between processes, e.g. `<host>_<uuid>`.
    pub identity: String,
    pub timings: Timings,
}

impl Election {
    /// A Lease in `kube-system`, where upstream has them.
    pub fn new(name: &str, identity: &str, timings: Timings) -> Self {
        Self { namespace: "kube-system".into(), name: name.into(), identity: identity.into(), timings }
    }
}

/// Runs `lead` whenever this process holds the lease, until `shutdown`. The [`Shutdown`] that `lead` gets is triggered
/// when the lease is lost or the process ends; the lease is given up only after `lead` has returned. If `lead` returns by
/// itself the lease is released and asked for again.
pub async fn run<F, Fut>(client: Client, election: Election, shutdown: Shutdown, mut lead: F)
where
    F: FnMut(Shutdown) -> Fut,
    Fut: Future<Output = ()>,
{
    let informers = Informers::new(client.clone(), shutdown.clone());
    let scope = Scope::object(&election.namespace, &election.name);
    let api: Api<Lease> = Api::namespaced(client, &election.namespace);
    let mut elector = Elector { api, election, lease: None, seen_at: Instant::now() };
    while !shutdown.is_triggered() {
        let acquired = {
            let mut changes = informers.get::<Lease>(scope.clone()).subscribe();
            shutdown.race(elector.acquire(&mut changes)).await
        };
        if acquired.is_none() {
            return;
        }
        tracing::info!(lease = elector.election.name, identity = elector.election.identity, "became leader");
        let term = shutdown.child();
        let mut leading = std::pin::pin!(lead(term.clone()));
        let end = tokio::select! {
            () = &mut leading => End::Returned,
            () = elector.renew() => End::Lost,
            () = shutdown.triggered() => End::Stopping,
        };
        term.trigger();
        match end {
            End::Lost => {
                tracing::warn!(lease = elector.election.name, "lost the lease; stopping what runs under it");
                leading.await;
                continue;
            }
            // The lease is kept while the loops wind down.
            End::Stopping => tokio::select! {
                () = &mut leading => {}
                () = elector.renew() => {}
            },
            End::Returned => {}
        }
        elector.release().await;
        shutdown.race(sleep(elector.election.timings.retry_period)).await;
    }
}

/// Why a term ended.
enum End {
    Returned,
    Lost,
    Stopping,
}

struct Elector {
    api: Api<Lease>,
    election: Election,
    /// The lease as last read or written, and when this process first saw it so.
    lease: Option<Lease>,
    seen_at: Instant,
}

impl Elector {
    /// Waits until the lease is ours.
    async fn acquire(&mut self, changes: &mut Subscription<Lease>) {
        loop {
            match self.try_acquire().await {
                Ok(true) => return,
                Ok(false) => self.wait_until_free(changes).await,
                Err(error) => {
                    tracing::debug!(lease = self.election.name, %error, "cannot ask for the lease; trying again");
                    sleep(self.election.timings.retry_period).await;
                }
            }
        }
    }

    /// Waits until the lease was released or deleted, or has run out. Renewals by the holder only move the timer; what
    /// counts in the end is what the next attempt reads live.
    async fn wait_until_free(&mut self, changes: &mut Subscription<Lease>) {
        loop {
            let change = tokio::select! {
                change = changes.next() => change,
                () = sleep(self.until_free()) => return,
            };
            let Some(lease) = change.and_then(|change| change.new) else { return };
            let holder = lease.spec.as_ref().and_then(|spec| spec.holder_identity.as_deref()).unwrap_or("");
            if holder.is_empty() || holder == self.election.identity {
                return;
            }
            self.observe((*lease).clone());
        }
    }

    /// How long until the lease that was seen last runs out.
    fn until_free(&self) -> Duration {
        let spec = self.lease.as_ref().and_then(|lease| lease.spec.as_ref());
        let seconds = spec.and_then(|spec| spec.lease_duration_seconds).unwrap_or(0);
        let duration = Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
        let least = self.election.timings.retry_period / 10;
        (self.seen_at + duration).saturating_duration_since(Instant::now()).max(least)
    }

    /// One attempt: reads the lease live and takes it if it is free. False if someone else holds it.
    async fn try_acquire(&mut self) -> Result<bool, kube::Error> {
        let limit = self.election.timings.renew_deadline;
        let Some(current) = timeout(limit, self.api.get_opt(&self.election.name)).await.map_err(timed_out)?? else {
            let fresh = Lease {
                metadata: ObjectMeta {
                    name: Some(self.election.name.clone()),
                    namespace: Some(self.election.namespace.clone()),
                    ..ObjectMeta::default()
                },
                spec: Some(self.spec(None)),
            };
            let created = timeout(limit, self.api.create(&PostParams::default(), &fresh)).await.map_err(timed_out)?;
            return self.taken(created);
        };
        self.observe(current);
        let Some(lease) = &self.lease else { return Ok(false) };
        let holder = lease.spec.as_ref().and_then(|spec| spec.holder_identity.as_deref()).unwrap_or("");
        if !holder.is_empty() && holder != self.election.identity && !self.expired() {
            return Ok(false);
        }
        let mut wanted = lease.clone();
        wanted.spec = Some(self.spec(lease.spec.as_ref()));
        let params = PostParams::default();
        let write = self.api.replace(&self.election.name, &params, &wanted);
        let replaced = timeout(limit, write).await.map_err(timed_out)?;
        self.taken(replaced)
    }

    fn expired(&self) -> bool {
        let spec = self.lease.as_ref().and_then(|lease| lease.spec.as_ref());
        let seconds = spec.and_then(|spec| spec.lease_duration_seconds).unwrap_or(0);
        self.seen_at.elapsed() >= Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
    }

    /// The outcome of a write that takes the lease: a conflict means that another was faster.
    fn taken(&mut self, outcome: Result<Lease, kube::Error>) -> Result<bool, kube::Error> {
        match outcome {
            Ok(lease) => {
                self.observe(lease);
                Ok(true)
            }
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Notes what the lease is; its time counts from when it last changed in our eyes.
    fn observe(&mut self, lease: Lease) {
        let same =
            self.lease.as_ref().is_some_and(|old| old.metadata.uid == lease.metadata.uid && old.spec == lease.spec);
        if !same {
            self.seen_at = Instant::now();
        }
        self.lease = Some(lease);
    }

    /// The spec with which we hold the lease, given the one before.
    fn spec(&self, before: Option<&LeaseSpec>) -> LeaseSpec {
        let now = MicroTime(Timestamp::now());
        let held = before.filter(|spec| spec.holder_identity.as_deref() == Some(&self.election.identity));
        let transitions = before.map_or(0, |spec| spec.lease_transitions.unwrap_or(0));
        LeaseSpec {
            holder_identity: Some(self.election.identity.clone()),
            lease_duration_seconds: Some(
                i32::try_from(self.election.timings.lease_duration.as_secs()).unwrap_or(i32::MAX),
            ),
            acquire_time: held.and_then(|spec| spec.acquire_time.clone()).or_else(|| Some(now.clone())),
            renew_time: Some(now),
            lease_transitions: Some(if held.is_some() || before.is_none() { transitions } else { transitions + 1 }),
            ..LeaseSpec::default()
        }
    }

    /// Keeps the lease; returns when it is lost. Writes as seldom as leaves time for some retries before the deadline:
    /// each renewal is a write to disk, and an idle cluster has few others.
    async fn renew(&mut self) {
        let timings = self.election.timings;
        let calm = timings.retry_period.max(timings.renew_deadline / 2);
        let mut renewed = Instant::now();
        let mut pause = calm;
        loop {
            sleep(pause).await;
            let left = timings.renew_deadline.saturating_sub(renewed.elapsed());
            if left.is_zero() {
                return;
            }
            match timeout(left, self.renew_once()).await {
                Ok(Ok(true)) => {
                    renewed = Instant::now();
                    pause = calm;
                }
                Ok(Ok(false)) => return,
                Ok(Err(error)) => {
                    tracing::warn!(lease = self.election.name, %error, "cannot renew the lease");
                    pause = timings.retry_period;
                }
                Err(_) => return,
            }
        }
    }

    /// Writes a new renew time over the lease as we know it. False if it is someone else's now.
    async fn renew_once(&mut self) -> Result<bool, kube::Error> {
        let Some(mut wanted) = self.lease.clone() else { return Ok(false) };
        wanted.spec = Some(self.spec(wanted.spec.as_ref()));
        match self.api.replace(&self.election.name, &PostParams::default(), &wanted).await {
            Ok(lease) => {
                self.observe(lease);
                Ok(true)
            }
            Err(kube::Error::Api(status)) if status.code == 409 || status.code == 404 => {
                // Someone touched it (a label, or a takeover): read it, and keep it only if it is still ours.
                let Some(current) = self.api.get_opt(&self.election.name).await? else { return Ok(false) };
                let holder = current.spec.as_ref().and_then(|spec| spec.holder_identity.clone());
                self.observe(current);
                Ok(holder.as_deref() == Some(&self.election.identity))
            }
            Err(error) => Err(error),
        }
    }

    /// Gives the lease up so that a waiting process takes it at once.
    async fn release(&mut self) {
        let Some(mut wanted) = self.lease.take() else { return };
        let now = MicroTime(Timestamp::now());
        let before = wanted.spec.take().unwrap_or_default();
        wanted.spec = Some(LeaseSpec {
            holder_identity: Some(String::new()),
            lease_duration_seconds: Some(1),
            acquire_time: Some(now.clone()),
            renew_time: Some(now),
            lease_transitions: before.lease_transitions,
            ..LeaseSpec::default()
        });
        let params = PostParams::default();
        let write = self.api.replace(&self.election.name, &params, &wanted);
        match timeout(self.election.timings.retry_period, write).await {
            Ok(Ok(_)) => tracing::info!(lease = self.election.name, "released the lease"),
            Ok(Err(error)) => tracing::info!(lease = self.election.name, %error, "could not release the lease"),
            Err(_) => tracing::info!(lease = self.election.name, "could not release the lease in time"),
        }
    }
}

fn timed_out(_: tokio::time::error::Elapsed) -> kube::Error {
    kube::Error::Service("no answer in time".into())
}

//! A ServiceCIDR stays while a Service has an address that only it covers, and says whether it is ready (KEP-1880).
//!
//! Whether one that is to be deleted may go is asked of the server, again and again: that is rare, and a cache of all
//! addresses is not.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use client::{ObjectKey, Scope, Store, WorkQueue};
use ipnet::IpNet;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::networking::v1::{IPAddress, ServiceCIDR, ServiceCIDRStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::Api;
use kube::api::{ListParams, PostParams};

use crate::skeleton::{Context, Error, SyncResult, Tasks, enqueue, ignore_not_found};

const NAME: &str = "service-cidrs-controller";
const FINALIZER: &str = "networking.k8s.io/service-cidr-finalizer";
const READY: &str = "Ready";
/// The addresses that Services have, not those that people write.
const MANAGED: &str = "ipaddress.kubernetes.io/managed-by=ipallocator.k8s.io";
/// Those who give addresses may need so long to see that a range goes.
const GRACE: SignedDuration = SignedDuration::from_secs(10);
/// How soon to look again at a range that has to stay.
const BLOCKED: Duration = Duration::from_secs(5);

/// Runs the controller until shutdown.
pub async fn run(context: Context) -> Result<(), Error> {
    let ranges = context.informers.get::<ServiceCIDR>(Scope::all());
    ranges.synced().await;
    let queue: WorkQueue<ObjectKey> = WorkQueue::new(NAME);
    let mut tasks = Tasks::new();
    tasks.feed(&ranges, enqueue(&queue));
    let shared = Arc::new((context.clone(), ranges.store()));
    tasks.work(NAME, &queue, 1, move |key: ObjectKey| {
        let shared = shared.clone();
        async move { sync(&shared.0, &shared.1, &key.name).await }
    });
    tasks.run(&context.shutdown).await
}

/// What is to be done about one range.
#[derive(Debug, PartialEq)]
enum Step {
    Nothing,
    AddFinalizer,
    /// It is used by this status, reason and text.
    Report(&'static str, &'static str, &'static str),
    /// Look again after so long.
    Wait(Duration),
    RemoveFinalizer,
}

async fn sync(context: &Context, ranges: &Store<ServiceCIDR>, name: &str) -> SyncResult {
    let Some(range) = ranges.get("", name) else { return Ok(None) };
    let api: Api<ServiceCIDR> = Api::all(context.client.clone());
    let step = if range.metadata.deletion_timestamp.is_some() && is_protected(&range) {
        // Asked live: what the cache does not know yet counts, too.
        let all = api.list(&ListParams::default()).await?.items;
        let addresses: Api<IPAddress> = Api::all(context.client.clone());
        let addresses = addresses.list(&ListParams::default().labels(MANAGED)).await?.items;
        let names = addresses.iter().filter_map(|address| address.metadata.name.as_deref());
        let addresses: Vec<IpAddr> = names.filter_map(|name| name.parse().ok()).collect();
        step_of_deleted(&range, may_go(&range, &all, &addresses), Timestamp::now())
    } else {
        step_of_kept(&range)
    };
    let mut wanted = (*range).clone();
    match step {
        Step::Nothing => return Ok(None),
        Step::Wait(time) => return Ok(Some(time)),
        Step::AddFinalizer => wanted.metadata.finalizers.get_or_insert_default().push(FINALIZER.to_owned()),
        Step::RemoveFinalizer => wanted.metadata.finalizers.get_or_insert_default().retain(|one| one != FINALIZER),
        Step::Report(status, reason, message) => {
            wanted.status = Some(with_condition(wanted.status, status, reason, message));
            ignore_not_found(api.replace_status(name, &PostParams::default(), &wanted).await)?;
            return Ok((status == "False").then_some(BLOCKED));
        }
    }
    ignore_not_found(api.replace(name, &PostParams::default(), &wanted).await)?;
    Ok(None)
}

fn is_protected(range: &ServiceCIDR) -> bool {
    range.metadata.finalizers.iter().flatten().any(|finalizer| finalizer == FINALIZER)
}

/// The step for a range that nobody deletes, or that does not wait for this controller.
fn step_of_kept(range: &ServiceCIDR) -> Step {
    if range.metadata.deletion_timestamp.is_some() {
        Step::Nothing
    } else if !is_protected(range) {
        Step::AddFinalizer
    } else if ready(range).is_some_and(|condition| condition.status == "True") {
        Step::Nothing
    } else {
        Step::Report("True", "", "Kubernetes Service CIDR is ready")
    }
}

fn step_of_deleted(range: &ServiceCIDR, may_go: bool, now: Timestamp) -> Step {
    if !may_go {
        let told = ready(range).is_some_and(|condition| condition.status == "False");
        let why =
            "There are still IPAddresses referencing the ServiceCIDR, please remove them or create a new ServiceCIDR";
        return if told { Step::Wait(BLOCKED) } else { Step::Report("False", "Terminating", why) };
    }
    let deleted = range.metadata.deletion_timestamp.as_ref().map_or(now, |time| time.0);
    match Duration::try_from(GRACE - now.duration_since(deleted)) {
        Ok(left) if !left.is_zero() => Step::Wait(left),
        _ => Step::RemoveFinalizer,
    }
}

fn ready(range: &ServiceCIDR) -> Option<&Condition> {
    range.status.as_ref()?.conditions.as_ref()?.iter().find(|condition| condition.type_ == READY)
}

fn with_condition(status: Option<ServiceCIDRStatus>, value: &str, reason: &str, message: &str) -> ServiceCIDRStatus {
    let mut status = status.unwrap_or_default();
    let conditions = status.conditions.get_or_insert_default();
    conditions.retain(|condition| condition.type_ != READY);
    conditions.push(Condition {
        type_: READY.to_owned(),
        status: value.to_owned(),
        reason: reason.to_owned(),
        message: message.to_owned(),
        last_transition_time: Time(Timestamp::now()),
        observed_generation: None,
    });
    status
}

/// True if every address in `range` has another range, be it that this one lies within others.
fn may_go(range: &ServiceCIDR, all: &[ServiceCIDR], addresses: &[IpAddr]) -> bool {
    let others: Vec<IpNet> =
        all.iter().filter(|other| other.metadata.name != range.metadata.name).flat_map(networks).collect();
    let is_within_others = networks(range).all(|mine| others.iter().any(|other| other.contains(&mine)));
    is_within_others
        || !networks(range).any(|mine| {
            let is_orphan = |address: &&IpAddr| !others.iter().any(|other| has_host(*other, **address));
            addresses.iter().filter(|address| has_host(mine, **address)).any(|address| is_orphan(&address))
        })
}

fn networks(range: &ServiceCIDR) -> impl Iterator<Item = IpNet> + '_ {
    let texts = range.spec.iter().flat_map(|spec| spec.cidrs.iter().flatten());
    texts.filter_map(|text| text.parse().ok())
}

/// The range gives this address: it is neither the network's own nor, of IPv4, that of broadcasts.
fn has_host(range: IpNet, address: IpAddr) -> bool {
    let is_last = address.is_ipv4() && range.broadcast() == address;
    range.contains(&address) && range.network() != address && !is_last
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn range(name: &str, cidrs: &[&str]) -> ServiceCIDR {
        serde_json::from_value(json!({ "metadata": { "name": name }, "spec": { "cidrs": cidrs } })).unwrap()
    }

    #[test]
    fn a_range_may_go_when_every_address_in_it_has_another() {
        type Texts = &'static [&'static str];
        let cases: [(Texts, &[Texts], Texts, bool); 10] = [
            (&["10.0.0.0/24"], &[], &[], true),
            (&["10.0.0.0/24"], &[], &["10.0.0.7"], false),
            (&["10.0.0.0/24"], &[], &["10.1.0.7", "fd00::7"], true),
            (&["10.0.0.0/24"], &[&["10.0.0.0/16"]], &["10.0.0.7"], true),
            (&["10.0.0.0/24"], &[&["10.0.0.0/24"]], &["10.0.0.7"], true),
            (&["10.0.0.0/24"], &[&["10.0.0.0/28"]], &["10.0.0.7"], true),
            (&["10.0.0.0/24"], &[&["10.0.0.0/28"]], &["10.0.0.7", "10.0.0.70"], false),
            // The other range does not give its last address.
            (&["10.0.0.0/24"], &[&["10.0.0.0/28"]], &["10.0.0.15"], false),
            (&["10.0.0.0/24", "fd00::/112"], &[&["10.0.0.0/16"]], &["10.0.0.7"], true),
            (&["10.0.0.0/24", "fd00::/112"], &[&["10.0.0.0/16"]], &["fd00::7"], false),
        ];
        for (mine, others, addresses, goes) in cases {
            let mine = range("mine", mine);
            let mut all = vec![mine.clone()];
            all.extend(others.iter().enumerate().map(|(n, cidrs)| range(&format!("other-{n}"), cidrs)));
            let parsed: Vec<IpAddr> = addresses.iter().map(|text| text.parse().unwrap()).collect();
            assert_eq!(may_go(&mine, &all, &parsed), goes, "{mine:?} {others:?} {addresses:?}");
        }
    }

    #[test]
    fn a_range_is_protected_then_ready_and_goes_after_a_while_when_it_may() {
        let now: Timestamp = "2026-01-01T00:00:30Z".parse().unwrap();
        let ready = |status: &str| {
            json!({ "conditions": [{
                "type": "Ready", "status": status, "reason": "", "message": "",
                "lastTransitionTime": "2026-01-01T00:00:00Z",
            }] })
        };
        let told =
            "There are still IPAddresses referencing the ServiceCIDR, please remove them or create a new ServiceCIDR";
        for (deleted, finalizers, status, may_go, step) in [
            (None, json!([]), json!({}), true, Step::AddFinalizer),
            (None, json!([FINALIZER]), json!({}), true, Step::Report("True", "", "Kubernetes Service CIDR is ready")),
            (
                None,
                json!([FINALIZER]),
                ready("False"),
                true,
                Step::Report("True", "", "Kubernetes Service CIDR is ready"),
            ),
            (None, json!([FINALIZER]), ready("True"), true, Step::Nothing),
            (Some("2026-01-01T00:00:00Z"), json!(["x"]), ready("True"), true, Step::Nothing),
            (
                Some("2026-01-01T00:00:00Z"),
                json!([FINALIZER]),
                ready("True"),
                false,
                Step::Report("False", "Terminating", told),
            ),
            (Some("2026-01-01T00:00:00Z"), json!([FINALIZER]), ready("False"), false, Step::Wait(BLOCKED)),
            (Some("2026-01-01T00:00:26Z"), json!([FINALIZER]), ready("True"), true, Step::Wait(Duration::from_secs(6))),
            (Some("2026-01-01T00:00:20Z"), json!([FINALIZER]), ready("True"), true, Step::RemoveFinalizer),
            (Some("2026-01-01T00:00:00Z"), json!([FINALIZER]), ready("False"), true, Step::RemoveFinalizer),
        ] {
            let mut object = json!({
                "metadata": { "name": "r", "finalizers": finalizers }, "spec": { "cidrs": [] }, "status": status,
            });
            if let Some(deleted) = deleted {
                object["metadata"]["deletionTimestamp"] = Value::from(deleted);
            }
            let range: ServiceCIDR = serde_json::from_value(object.clone()).unwrap();
            let taken = if deleted.is_some() && is_protected(&range) {
                step_of_deleted(&range, may_go, now)
            } else {
                step_of_kept(&range)
            };
            assert_eq!(taken, step, "{object}");
        }
    }

    #[test]
    fn the_condition_takes_the_place_of_the_one_before() {
        let before = with_condition(None, "True", "", "a");
        let after = with_condition(Some(before), "False", "Terminating", "b");
        let all: Vec<_> = after.conditions.iter().flatten().map(|c| (&*c.status, &*c.reason, &*c.message)).collect();
        assert_eq!(all, [("False", "Terminating", "b")]);
    }
}

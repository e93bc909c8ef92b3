//! PodDisruptionBudgets: how many pods may be evicted now.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use apimachinery::intstr::IntOrString;
use client::{Change, Index, ObjectKey, Scope, Store, WorkQueue};
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::core::v1::ReplicationController;
use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString as WireIntOrString;

use crate::owner;
use crate::pod::SlimPod;
use crate::skeleton::{Context, Error, SyncResult, Tasks, enqueue};
use crate::status::write_status;
use crate::template;

const NAME: &str = "disruption";
const CONDITION: &str = "DisruptionAllowed";
/// An eviction that was granted counts against the budget until the pod is seen to go, or for this long.
const GRANTED_SECONDS: i64 = 120;

struct Controller {
    budgets: Store<PodDisruptionBudget>,
    pods: Store<SlimPod>,
    deployments: Index<Deployment>,
    replica_sets: Index<ReplicaSet>,
    replication_controllers: Index<ReplicationController>,
    stateful_sets: Index<StatefulSet>,
    context: Context,
}

/// Runs the controller until shutdown.
pub async fn run(context: Context) -> Result<(), Error> {
    let informers = &context.informers;
    let budgets = informers.get::<PodDisruptionBudget>(Scope::all());
    let pods = informers.get::<SlimPod>(Scope::all());
    let deployments = informers.get::<Deployment>(Scope::all());
    let replica_sets = informers.get::<ReplicaSet>(Scope::all());
    let replication_controllers = informers.get::<ReplicationController>(Scope::all());
    let stateful_sets = informers.get::<StatefulSet>(Scope::all());
    budgets.synced().await;
    pods.synced().await;
    deployments.synced().await;
    replica_sets.synced().await;
    replication_controllers.synced().await;
    stateful_sets.synced().await;
    let queue: WorkQueue<ObjectKey> = WorkQueue::new(NAME);
    let mut tasks = Tasks::new();
    tasks.feed(&budgets, enqueue(&queue));
    tasks.feed(&pods, {
        let (queue, budgets) = (queue.clone(), budgets.store());
        move |change: &Change<SlimPod>| {
            for budget in budgets.list_namespace(&change.key.namespace) {
                let Ok(selector) = selector(&budget) else { continue };
                if change.old.iter().chain(&change.new).any(|pod| pod.matches(&selector)) {
                    queue.add(ObjectKey::of(&*budget));
                }
            }
        }
    });
    // A workload that was scaled changes what its budget expects.
    let all = |queue: &WorkQueue<ObjectKey>, budgets: &Store<PodDisruptionBudget>, namespace: &str| {
        for budget in budgets.list_namespace(namespace) {
            queue.add(ObjectKey::of(&*budget));
        }
    };
    tasks.feed(&deployments, {
        let (queue, budgets) = (queue.clone(), budgets.store());
        move |change: &Change<Deployment>| {
            let size = |object: &Option<Arc<Deployment>>| object.as_ref().and_then(|object| object.spec.replicas);
            if size(&change.old) != size(&change.new) {
                all(&queue, &budgets, &change.key.namespace);
            }
        }
    });
    tasks.feed(&stateful_sets, {
        let (queue, budgets) = (queue.clone(), budgets.store());
        move |change: &Change<StatefulSet>| {
            let size = |object: &Option<Arc<StatefulSet>>| object.as_ref().and_then(|object| object.spec.replicas);
            if size(&change.old) != size(&change.new) {
                all(&queue, &budgets, &change.key.namespace);
            }
        }
    });
    let controller = Arc::new(Controller {
        budgets: budgets.store(),
        pods: pods.store(),
        deployments: owner::by_uid(&deployments.store()),
        replica_sets: owner::by_uid(&replica_sets.store()),
        replication_controllers: owner::by_uid(&replication_controllers.store()),
        stateful_sets: owner::by_uid(&stateful_sets.store()),
        context: context.clone(),
    });
    tasks.work(NAME, &queue, 1, move |key| {
        let controller = controller.clone();
        async move { controller.sync(key).await }
    });
    tasks.run(&context.shutdown).await
}

fn selector(budget: &PodDisruptionBudget) -> Result<apimachinery::labels::LabelSelector, Error> {
    template::selector(budget.spec.as_ref().and_then(|spec| spec.selector.as_ref()))
}

impl Controller {
    async fn sync(&self, key: ObjectKey) -> SyncResult {
        let Some(budget) = self.budgets.get_key(&key) else { return Ok(None) };
        let selector = selector(&budget)?;
        let pods: Vec<_> =
            self.pods.list_namespace(&key.namespace).into_iter().filter(|pod| pod.matches(&selector)).collect();
        let now = Timestamp::now();
        let status = match self.expected(&pods) {
            Ok(expected) => status(&budget, &pods, expected, now),
            Err(_) if !counts_workloads(&budget) => status(&budget, &pods, 0, now),
            Err(message) => failed(&budget, &message, now),
        };
        let again = status.disrupted_pods.iter().flatten().map(|(_, at)| at.0.as_second() + GRANTED_SECONDS).min();
        let again = again.map(|at| Duration::from_secs(u64::try_from(at - now.as_second()).unwrap_or(0).max(1)));
        write_status(&self.context.client, &*budget, status).await?;
        Ok(again)
    }

    /// How many pods the workloads behind these pods should have in all. `Err` says which pod's workload is unknown.
    fn expected(&self, pods: &[Arc<SlimPod>]) -> Result<i32, String> {
        let mut sizes: HashMap<String, i32> = HashMap::new();
        for pod in pods {
            let Some(owner) = pod.controller() else {
                return Err(format!("found no controllers for pod {:?}", pod.name.as_str()));
            };
            let (uid, size) = match owner.kind.as_str() {
                "ReplicaSet" => {
                    let Some(set) = self.replica_sets.get(&owner.uid).pop() else { continue };
                    let parent = owner::controller_of(&set.metadata).filter(|parent| parent.kind == "Deployment");
                    let deployment = parent.and_then(|parent| self.deployments.get(&parent.uid).pop());
                    match deployment {
                        Some(deployment) => (deployment.metadata.uid.clone(), deployment.spec.replicas.unwrap_or(1)),
                        None => (set.metadata.uid.clone(), set.spec.replicas.unwrap_or(1)),
                    }
                }
                "StatefulSet" => {
                    let Some(set) = self.stateful_sets.get(&owner.uid).pop() else { continue };
                    (set.metadata.uid.clone(), set.spec.replicas.unwrap_or(1))
                }
                "ReplicationController" => {
                    let Some(set) = self.replication_controllers.get(&owner.uid).pop() else { continue };
                    (set.metadata.uid.clone(), set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1))
                }
                kind => {
                    return Err(format!("{kind} {:?} does not implement the scale subresource", owner.name.as_str()));
                }
            };
            sizes.insert(uid.unwrap_or_default(), size);
        }
        Ok(sizes.values().sum())
    }
}

fn scaled(value: &WireIntOrString, total: i32) -> i32 {
    match value {
        WireIntOrString::Int(number) => *number,
        WireIntOrString::String(text) => {
            let scaled = IntOrString::String(text.clone()).scaled(total.into(), true);
            scaled.ok().and_then(|n| i32::try_from(n).ok()).unwrap_or(0)
        }
    }
}

fn count(number: usize) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

fn status(
    budget: &PodDisruptionBudget,
    pods: &[Arc<SlimPod>],
    total: i32,
    now: Timestamp,
) -> PodDisruptionBudgetStatus {
    let spec = budget.spec.as_ref();
    let (expected, desired) =
        match (spec.and_then(|s| s.max_unavailable.as_ref()), spec.and_then(|s| s.min_available.as_ref())) {
            (Some(max), _) => (total, (total - scaled(max, total)).max(0)),
            (None, Some(WireIntOrString::Int(min))) => (count(pods.len()), *min),
            (None, Some(min)) => (total, scaled(min, total)),
            (None, None) => (count(pods.len()), 0),
        };
    let current = budget.status.clone().unwrap_or_default();
    let here = |name: &str| pods.iter().find(|pod| pod.name == name);
    let granted: BTreeMap<String, Time> = current
        .disrupted_pods
        .unwrap_or_default()
        .into_iter()
        .filter(|(name, at)| {
            here(name).is_some_and(|pod| !pod.is_deleting()) && at.0.as_second() + GRANTED_SECONDS > now.as_second()
        })
        .collect();
    let healthy =
        |pod: &&Arc<SlimPod>| pod.is_ready() && !pod.is_deleting() && !granted.contains_key(pod.name.as_str());
    let healthy = count(pods.iter().filter(healthy).count());
    let allowed = if expected <= 0 { 0 } else { (healthy - desired).max(0) };
    let mut status = PodDisruptionBudgetStatus {
        current_healthy: Some(healthy),
        desired_healthy: Some(desired),
        expected_pods: Some(expected),
        disruptions_allowed: Some(allowed),
        disrupted_pods: (!granted.is_empty()).then_some(granted),
        observed_generation: budget.metadata.generation,
        conditions: current.conditions,
    };
    let (value, reason) = if allowed > 0 { ("True", "SufficientPods") } else { ("False", "InsufficientPods") };
    set_condition(&mut status, value, reason, "", now);
    status
}

/// What cannot be computed allows nothing.
fn failed(budget: &PodDisruptionBudget, message: &str, now: Timestamp) -> PodDisruptionBudgetStatus {
    let mut status = budget.status.clone().unwrap_or_default();
    status.observed_generation = budget.metadata.generation;
    status.disruptions_allowed = Some(0);
    set_condition(&mut status, "False", "SyncFailed", message, now);
    status
}

/// Whether the budget is about the size of workloads, or only about the pods that are there.
fn counts_workloads(budget: &PodDisruptionBudget) -> bool {
    let spec = budget.spec.as_ref();
    spec.is_some_and(|spec| {
        spec.max_unavailable.is_some() || matches!(spec.min_available, Some(WireIntOrString::String(_)))
    })
}

fn set_condition(status: &mut PodDisruptionBudgetStatus, value: &str, reason: &str, message: &str, now: Timestamp) {
    let generation = status.observed_generation;
    let conditions = status.conditions.get_or_insert_default();
    let old = conditions.iter().find(|condition| condition.type_ == CONDITION);
    let kept = old.filter(|old| old.status == value).map(|old| old.last_transition_time.clone());
    let condition = Condition {
        type_: CONDITION.into(),
        status: value.into(),
        reason: reason.into(),
        message: message.into(),
        last_transition_time: kept.unwrap_or(Time(now)),
        observed_generation: generation,
    };
    conditions.retain(|condition| condition.type_ != CONDITION);
    conditions.push(condition);
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn budget(spec: Value, status: Value) -> PodDisruptionBudget {
        serde_json::from_value(json!({ "metadata": { "name": "b", "generation": 1 }, "spec": spec, "status": status }))
            .unwrap()
    }

    fn pods(ready: usize, all: usize) -> Vec<Arc<SlimPod>> {
        let pod = |i: usize| {
            let ready = if i < ready { "True" } else { "False" };
            let pod = json!({ "metadata": { "name": format!("p{i}") }, "status": { "conditions": [{ "type": "Ready", "status": ready }] } });
            Arc::new(serde_json::from_value(pod).unwrap())
        };
        (0..all).map(pod).collect()
    }

    #[test]
    fn budgets() {
        let now = Timestamp::UNIX_EPOCH;
        for (spec, ready, all, workloads, wanted) in [
            (json!({ "minAvailable": 2 }), 3, 3, 3, (3, 2, 1)),
            (json!({ "minAvailable": 2 }), 2, 3, 3, (3, 2, 0)),
            (json!({ "minAvailable": "50%" }), 5, 5, 5, (5, 3, 2)),
            (json!({ "maxUnavailable": 1 }), 3, 3, 4, (4, 3, 0)),
            (json!({ "maxUnavailable": "30%" }), 10, 10, 10, (10, 7, 3)),
            (json!({ "minAvailable": 0 }), 0, 0, 0, (0, 0, 0)),
        ] {
            let status = status(&budget(spec.clone(), Value::Null), &pods(ready, all), workloads, now);
            let seen =
                (status.expected_pods.unwrap(), status.desired_healthy.unwrap(), status.disruptions_allowed.unwrap());
            assert_eq!(seen, wanted, "{spec}");
        }
    }

    #[test]
    fn a_granted_eviction_counts_until_the_pod_goes_or_time_is_up() {
        let granted = budget(
            json!({ "minAvailable": 1 }),
            json!({ "disruptedPods": { "p0": "2026-01-01T00:00:00Z", "gone": "2026-01-01T00:00:00Z" } }),
        );
        let at = |s: i64| "2026-01-01T00:00:00Z".parse::<Timestamp>().unwrap() + jiff::SignedDuration::from_secs(s);
        let during = status(&granted, &pods(2, 2), 2, at(60));
        assert_eq!((during.current_healthy, during.disruptions_allowed), (Some(1), Some(0)));
        assert_eq!(during.disrupted_pods.unwrap().len(), 1);
        assert_eq!(status(&granted, &pods(2, 2), 2, at(121)).disruptions_allowed, Some(1));
    }
}

//! `pods/eviction`: a deletion that asks the disruption budgets first.

use apimachinery::labels::LabelSelector;
use apimachinery::meta::{ObjectExt as _, object_mut};
use apimachinery::status::{Cause, Details};
use apimachinery::{ApiError, ApiResult, GroupVersionKind};
use serde_json::{Value, json};
use storage::{NewObject, StoredObject};

use crate::call::{Call, Operation};
use crate::delete::DeleteOptions;
use crate::pods::set_condition;
use crate::update::flatten;
use crate::{Registry, attributes};

/// So many evictions may be on their way per budget before its controller has seen any.
const DISRUPTED_PODS_MAX: usize = 2000;

/// How often a pod that changes under the eviction is looked at again.
const ATTEMPTS: u32 = 20;

impl Registry {
    /// Evicts the pod that `call` names, if its disruption budget allows.
    pub async fn evict(&self, call: &Call<'_>, eviction: &Value, options: &DeleteOptions) -> ApiResult<()> {
        let kind = GroupVersionKind::new("policy", "v1", "Eviction");
        let mut body = eviction.clone();
        call.admission.mutate(&call.review_as(Operation::Create, kind.clone()), Some(&mut body), None).await?;
        call.admission.validate(&call.review_as(Operation::Create, kind), Some(&body), None).await?;
        for attempt in 1.. {
            match self.evict_as_seen(call, options).await {
                // The pod is not what it was when it was free to go: look again.
                Err(error) if error.reason() == "Conflict" && options.is_open() && attempt < ATTEMPTS => {}
                done => return done,
            }
        }
        unreachable!("the loop ends by returning")
    }

    async fn evict_as_seen(&self, call: &Call<'_>, options: &DeleteOptions) -> ApiResult<()> {
        let pod = self.get(call.resource, call.namespace, call.name)?.decode();
        let mut options = options.clone();
        if !is_free_to_go(&pod) {
            self.ask_budget(call, &pod).await?;
        } else if pod.str_at("status/phase") == "Pending" && options.resource_version.is_none() {
            // It may begin to run meanwhile, and then its budget has a say.
            options.resource_version = Some(pod.resource_version().to_owned());
        }
        let deletion = Call { subresource: "", warnings: std::sync::Mutex::default(), ..*call };
        let mark = |pod: &mut Value| {
            set_condition(
                pod,
                json!({
                    "type": "DisruptionTarget", "status": "True",
                    "reason": "EvictionByEvictionAPI", "message": "Eviction API: evicting",
                }),
            );
            Ok(())
        };
        self.delete_changed(&deletion, &options, &mark).await.map(drop)
    }

    async fn ask_budget(&self, call: &Call<'_>, pod: &Value) -> ApiResult<()> {
        let budgets: Vec<StoredObject> = self
            .read_all("policy", "poddisruptionbudgets", call.namespace)
            .into_iter()
            .filter(|stored| selects(&stored.decode(), pod))
            .collect();
        let budget = match budgets.as_slice() {
            [] => return Ok(()),
            [one] => one,
            _ => {
                let text = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not \
                            support.";
                return Err(ApiError::new(500, "InternalError", text));
            }
        };
        let Some(row) = self.rows.newest("policy", "poddisruptionbudgets") else { return Ok(()) };
        let update = |current: Option<StoredObject>| {
            let next = take_one(row.resource, call, pod, current);
            Box::pin(std::future::ready(next)) as futures::future::BoxFuture<'_, _>
        };
        self.storage.guaranteed_update(budget.key(), update).await.map(drop).map_err(flatten)
    }
}

/// Finished, waiting and dying pods disturb nobody when they go.
fn is_free_to_go(pod: &Value) -> bool {
    pod.is_deleting() || matches!(pod.str_at("status/phase"), "Succeeded" | "Failed" | "Pending")
}

fn selects(budget: &Value, pod: &Value) -> bool {
    let selector = LabelSelector::from_value(budget.at("spec/selector"));
    selector.is_ok_and(|selector| selector.matches_map(pod.labels()))
}

fn take_one(
    resource: &apis::resource::Resource,
    call: &Call<'_>,
    pod: &Value,
    current: Option<StoredObject>,
) -> Result<storage::Change, ApiError> {
    let Some(stored) = current else { return Ok(storage::Change::Keep) };
    let mut budget = stored.decode();
    let name = budget.name().to_owned();
    let number = |path: &str| budget.i64_at(path).unwrap_or(0);
    let (healthy, desired) = (number("status/currentHealthy"), number("status/desiredHealthy"));
    if !is_ready(pod) {
        let always = budget.str_at("spec/unhealthyPodEvictionPolicy") == "AlwaysAllow";
        if always || (healthy >= desired && desired > 0) {
            return Ok(storage::Change::Keep);
        }
    }
    if number("status/observedGeneration") < budget.generation() {
        let why = format!("The disruption budget {name} is still being processed by the server.");
        return Err(refuse(why, 10));
    }
    let allowed = number("status/disruptionsAllowed");
    // Upstream names the resource in the singular here.
    let group = apimachinery::GroupResource::new("policy", "poddisruptionbudget");
    if allowed < 0 {
        return Err(ApiError::forbidden(&group, &name, "pdb disruptions allowed is negative"));
    }
    if budget.at("status/disruptedPods").and_then(Value::as_object).is_some_and(|m| m.len() > DISRUPTED_PODS_MAX) {
        let why = "DisruptedPods map too big - too many evictions not confirmed by PDB controller";
        return Err(ApiError::forbidden(&group, &name, why));
    }
    if allowed == 0 {
        let why = format!("The disruption budget {name} needs {desired} healthy pods and has {healthy} currently");
        return Err(refuse(why, 0));
    }
    if call.dry_run {
        return Ok(storage::Change::Keep);
    }
    let status = object_mut(object_mut(&mut budget).entry("status").or_insert(Value::Null));
    status.insert("disruptionsAllowed".to_owned(), (allowed - 1).into());
    let disrupted = object_mut(status.entry("disruptedPods").or_insert(Value::Null));
    disrupted.insert(call.name.to_owned(), crate::metadata::now().into());
    if allowed == 1 {
        let observed = budget.i64_at("status/observedGeneration").unwrap_or(0);
        let condition = json!({
            "type": "DisruptionAllowed", "status": "False", "reason": "InsufficientPods", "message": "",
            "observedGeneration": observed,
        });
        set_condition(&mut budget, condition);
    }
    let attributes = attributes::of(resource, &budget);
    Ok(storage::Change::Put(NewObject::encode(&budget, attributes)))
}

fn is_ready(pod: &Value) -> bool {
    pod.array_at("status/conditions").iter().any(|c| c.str_at("type") == "Ready" && c.str_at("status") == "True")
}

fn refuse(why: String, retry_after_seconds: u32) -> ApiError {
    let cause = Cause { reason: "DisruptionBudget".to_owned(), message: why, field: String::new() };
    ApiError::new(429, "TooManyRequests", "Cannot evict pod as it would violate the pod's disruption budget.")
        .with_details(Details { causes: vec![cause], retry_after_seconds, ..Details::default() })
}

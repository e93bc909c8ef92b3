//! `pods/binding`: the scheduler's decision.

use apimachinery::meta::{ObjectExt as _, object_mut};
use apimachinery::{ApiError, ApiResult, GroupResource, GroupVersionKind, field};
use serde_json::{Value, json};
use storage::{NewObject, StoredObject};

use crate::call::{Call, Operation};
use crate::errors::{check_precondition, check_uid, from_storage};
use crate::update::flatten;
use crate::{Registry, attributes, keys, metadata};

impl Registry {
    /// Puts a pod on the node that `binding` names. `call` is on `pods`, with the pod's name.
    pub async fn bind(&self, call: &Call<'_>, binding: &Value) -> ApiResult<()> {
        validate(call, binding)?;
        let kind = GroupVersionKind::new("", "v1", "Binding");
        let mut body = binding.clone();
        call.admission.mutate(&call.review_as(Operation::Create, kind.clone()), Some(&mut body), None).await?;
        call.admission.validate(&call.review_as(Operation::Create, kind), Some(&body), None).await?;
        let key = keys::object(call.resource, call.namespace, call.name);
        let body = &body;
        let update = |current: Option<StoredObject>| {
            let next = bind_once(call, body, current);
            Box::pin(std::future::ready(next)) as futures::future::BoxFuture<'_, _>
        };
        self.storage.guaranteed_update(&key, update).await.map(drop).map_err(flatten)
    }

    /// True if the storage answers; an error says why not.
    pub async fn ready(&self) -> ApiResult<()> {
        self.storage.read_barrier().await.map_err(from_storage)
    }
}

fn validate(call: &Call<'_>, binding: &Value) -> ApiResult<()> {
    let mut errors = field::ErrorList::new();
    let target = field::Path::new("target");
    let kind = binding.str_at("target/kind");
    if !kind.is_empty() && kind != "Node" {
        errors.push(field::Error::not_supported(&target.child("kind"), kind, &["Node", "<empty>"]));
    }
    if binding.str_at("target/name").is_empty() {
        errors.push(field::Error::required(&target.child("name"), ""));
    }
    if errors.is_empty() {
        return Ok(());
    }
    Err(ApiError::invalid(&GroupVersionKind::new("", "v1", "Binding"), call.name, &errors))
}

fn bind_once(call: &Call<'_>, binding: &Value, current: Option<StoredObject>) -> Result<storage::Change, ApiError> {
    let mut pod = current.ok_or_else(|| call.not_found())?.decode();
    let refuse = |why: String| Err(ApiError::conflict(&GroupResource::new("", "pods/binding"), call.name, why));
    let name = call.name;
    check_uid(call, binding, &pod)?;
    check_precondition(call, "ResourceVersion", binding.resource_version(), pod.resource_version())?;
    if pod.is_deleting() {
        return refuse(format!("pod {name} is being deleted, cannot be assigned to a host"));
    }
    let node = pod.str_at("spec/nodeName");
    if !node.is_empty() {
        return refuse(format!("pod {name} is already assigned to node {node:?}"));
    }
    if !pod.array_at("spec/schedulingGates").is_empty() {
        return refuse(format!("pod {name} has non-empty .spec.schedulingGates"));
    }
    let spec = object_mut(object_mut(&mut pod).entry("spec").or_insert(Value::Null));
    spec.insert("nodeName".to_owned(), binding.str_at("target/name").into());
    if let Some(annotations) = binding.annotations() {
        let merged = object_mut(pod.metadata_mut().entry("annotations").or_insert(Value::Null));
        merged.extend(annotations.iter().map(|(key, value)| (key.clone(), value.clone())));
    }
    set_condition(&mut pod, json!({ "type": "PodScheduled", "status": "True" }));
    if call.dry_run {
        return Ok(storage::Change::Keep);
    }
    let attributes = attributes::of(call.resource, &pod);
    Ok(storage::Change::Put(NewObject::encode(&pod, attributes)))
}

/// Merges a condition into the object's status by its type; the transition time moves when the status changes.
pub fn set_condition(object: &mut Value, mut condition: Value) {
    let status = object_mut(object_mut(object).entry("status").or_insert(Value::Null));
    let list = status.entry("conditions").or_insert_with(|| json!([]));
    let Value::Array(list) = list else { return };
    let kind = condition.str_at("type").to_owned();
    let old = list.iter_mut().find(|c| c.str_at("type") == kind);
    let same = old.as_ref().is_some_and(|o| o.str_at("status") == condition.str_at("status"));
    let since = old.as_ref().map(|o| o.str_at("lastTransitionTime")).filter(|t| same && !t.is_empty());
    condition["lastTransitionTime"] = since.map_or_else(metadata::now, str::to_owned).into();
    match old {
        Some(old) => *old = condition,
        None => list.push(condition),
    }
}

//! `scale`: one small object for every kind that has replicas.

use apimachinery::labels::LabelSelector;
use apimachinery::meta::{ObjectExt as _, object_mut};
use apimachinery::{ApiError, ApiResult, GroupVersionKind, field};
use apis::resource::Resource;
use serde_json::{Value, json};

use crate::call::Call;
use crate::update::Change;
use crate::{Registry, Written};

impl Registry {
    /// The `autoscaling/v1` Scale of an object.
    pub fn get_scale(&self, resource: &'static Resource, namespace: &str, name: &str) -> ApiResult<Value> {
        Ok(view(&self.get(resource, namespace, name)?.decode()))
    }

    /// Changes the number of replicas through a Scale object. Answers the new Scale.
    pub async fn update_scale(&self, call: &Call<'_>, change: Change<'_>) -> ApiResult<Value> {
        let apply = |mut parent: Value| -> ApiResult<Value> {
            let current = view(&parent);
            let wanted = match change {
                Change::Replace(scale) => scale.clone(),
                Change::Patch(patch) => patch(current)?,
            };
            check(call, &wanted, &parent)?;
            let replicas = wanted.i64_at("spec/replicas").unwrap_or(0);
            object_mut(object_mut(&mut parent).entry("spec").or_insert(Value::Null))
                .insert("replicas".to_owned(), replicas.into());
            Ok(parent)
        };
        // The parent is written as by its own endpoint: its strategy and admission apply.
        let parent = Call { subresource: "", warnings: std::sync::Mutex::default(), ..*call };
        let Written { body, .. } = self.update(&parent, Change::Patch(&apply)).await?;
        let stored: Value = serde_json::from_slice(&body).map_err(ApiError::internal)?;
        Ok(view(&stored))
    }
}

fn check(call: &Call<'_>, scale: &Value, parent: &Value) -> ApiResult<()> {
    let kind = GroupVersionKind::new("autoscaling", "v1", "Scale");
    let replicas = scale.i64_at("spec/replicas").unwrap_or(0);
    if replicas < 0 {
        let path = field::Path::new("spec").child("replicas");
        let error = field::Error::invalid(&path, replicas, "must be greater than or equal to 0");
        return Err(ApiError::invalid(&kind, call.name, &vec![error]));
    }
    if !scale.name().is_empty() && scale.name() != call.name {
        return Err(ApiError::bad_request(format!(
            "the name of the object ({}) does not match the name on the URL ({})",
            scale.name(),
            call.name
        )));
    }
    let uid = scale.uid();
    if !uid.is_empty() && uid != parent.uid() {
        let why = format!("Precondition failed: UID in precondition: {uid}, UID in object meta: {}", parent.uid());
        return Err(ApiError::conflict(&call.group_resource(), call.name, why));
    }
    let version = scale.resource_version();
    if !version.is_empty() && version != parent.resource_version() {
        return Err(ApiError::modified(&call.group_resource(), call.name));
    }
    Ok(())
}

/// What a Scale says about `parent`.
pub fn view(parent: &Value) -> Value {
    let mut metadata = json!({});
    for field in ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"] {
        if let Some(value) = parent.at("metadata").and_then(|m| m.get(field)) {
            metadata[field] = value.clone();
        }
    }
    let mut spec = json!({});
    if let Some(replicas) = parent.i64_at("spec/replicas").filter(|n| *n != 0) {
        spec["replicas"] = replicas.into();
    }
    let mut status = json!({ "replicas": parent.i64_at("status/replicas").unwrap_or(0) });
    let selector = selector_text(parent);
    if !selector.is_empty() {
        status["selector"] = selector.into();
    }
    json!({ "apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": metadata, "spec": spec, "status": status })
}

/// The selector in the form of a query. ReplicationControllers have a plain map.
fn selector_text(parent: &Value) -> String {
    let selector = parent.at("spec/selector");
    if parent.kind() == "ReplicationController" {
        return LabelSelector::from_map(selector.and_then(Value::as_object)).to_string();
    }
    LabelSelector::from_value(selector).map(|s| s.to_string()).unwrap_or_default()
}

//! `scale`: one small object for every kind that has replicas.

use apimachinery::labels::LabelSelector;
use apimachinery::managed::{Entry, FieldSet, Filter, Managers, Path, Versions};
use apimachinery::meta::{ObjectExt as _, object_mut};
use apimachinery::patch::{MergeSchema, TypeId};
use apimachinery::{ApiError, ApiResult, GroupVersionKind, field};
use apis::resource::Resource;
use apis::schema;
use serde_json::{Value, json};

use crate::call::Call;
use crate::errors::check_uid;
use crate::update::Change;
use crate::{Registry, Written, managed, metadata};

impl Registry {
    /// The `autoscaling/v1` Scale of an object.
    pub fn get_scale(&self, resource: &'static Resource, namespace: &str, name: &str) -> ApiResult<Value> {
        Ok(view(&self.get(resource, namespace, name)?.decode()))
    }

    /// Changes the number of replicas through a Scale object. Answers the new Scale.
    pub async fn update_scale(&self, call: &Call<'_>, change: Change<'_>) -> ApiResult<Value> {
        let apply = |mut parent: Value| -> ApiResult<Value> {
            let (wanted, owners) = self.wanted(call, change, &parent)?;
            check(call, &wanted, &parent)?;
            let replicas = wanted.i64_at("spec/replicas").unwrap_or(0);
            object_mut(object_mut(&mut parent).entry("spec").or_insert(Value::Null))
                .insert("replicas".to_owned(), replicas.into());
            managed::put(&mut parent, owners);
            Ok(parent)
        };
        // The parent is written as by its own endpoint: its strategy and admission apply.
        let parent = Call { subresource: "", warnings: std::sync::Mutex::default(), ..*call };
        let Written { body, .. } = self.update(&parent, Change::Settled(&apply)).await?;
        let stored: Value = serde_json::from_slice(&body).map_err(ApiError::internal)?;
        Ok(view(&stored))
    }

    /// The Scale that is asked for, and who then owns the fields of the parent.
    fn wanted(&self, call: &Call<'_>, change: Change<'_>, parent: &Value) -> ApiResult<(Value, Option<Value>)> {
        let mut current = view(parent);
        let owners = ScaleOwners::of(parent);
        managed::put(&mut current, owners.in_scale());
        let mut wanted = match change {
            Change::Replace(replacement) => replacement.object.clone(),
            Change::Patch(patch) | Change::Settled(patch) => patch(current.clone())?,
            Change::Apply(application) => managed::apply_to(&ScaleKind, call, &kind(), Some(&current), application)?,
        };
        if !matches!(change, Change::Apply(_)) {
            let list = managed::changed_by(&ScaleKind, call, API_VERSION, &current, &wanted);
            managed::put(&mut wanted, list);
        }
        let owners = owners.in_parent(parent.api_version(), managed::take(&mut wanted).as_ref());
        Ok((wanted, owners))
    }
}

const API_VERSION: &str = "autoscaling/v1";

fn kind() -> GroupVersionKind {
    GroupVersionKind::new("autoscaling", "v1", "Scale")
}

/// Scale has one version, and no endpoint of it resets anything.
struct ScaleKind;

impl Versions for ScaleKind {
    fn schema(&self) -> &dyn MergeSchema {
        &schema::Schema
    }

    fn root(&self, api_version: &str) -> Option<Option<TypeId>> {
        (api_version == API_VERSION).then(|| schema::type_of(&kind()))
    }

    fn convert(&self, object: &Value, _: &str) -> Value {
        object.clone()
    }

    fn filter(&self) -> Filter {
        Filter::Without(&[&["status"]])
    }
}

/// Who owns the replicas: the same field is called alike in the parent and in its Scale.
struct ScaleOwners(Managers);

impl ScaleOwners {
    fn of(parent: &Value) -> Self {
        Self(Managers::decode(parent.at("metadata/managedFields")).unwrap_or_default())
    }

    fn replicas() -> FieldSet {
        FieldSet::of([Path::of_fields(["spec", "replicas"])])
    }

    /// Entries that own the replicas, as entries of the Scale.
    fn in_scale(&self) -> Option<Value> {
        let owners = self.0.0.iter().filter(|entry| !entry.fields.intersection(&Self::replicas()).is_empty());
        let entries = owners.map(|entry| Entry {
            api_version: API_VERSION.to_owned(),
            fields: Self::replicas(),
            ..entry.clone()
        });
        Managers(entries.collect()).encode()
    }

    /// Entries of the parent, with the replicas as the Scale's entries now say.
    fn in_parent(self, api_version: &str, scale: Option<&Value>) -> Option<Value> {
        let scale = Managers::decode(scale).unwrap_or_default();
        let same = |a: &Entry, b: &Entry| {
            a.operation == b.operation && a.manager == b.manager && a.subresource == b.subresource
        };
        let mut all = Managers::default();
        for entry in self.0.0 {
            let kept = scale.0.iter().any(|owner| same(owner, &entry));
            let fields = if kept { entry.fields.clone() } else { entry.fields.difference(&Self::replicas()) };
            if !fields.is_empty() {
                all.put(Entry { fields, ..entry });
            }
        }
        for owner in scale.0.into_iter().filter(|owner| !owner.fields.intersection(&Self::replicas()).is_empty()) {
            if all.0.iter().any(|entry| same(entry, &owner) && !entry.fields.intersection(&Self::replicas()).is_empty())
            {
                continue;
            }
            let mut entry = Entry { api_version: api_version.to_owned(), fields: Self::replicas(), ..owner };
            if let Some(other) = all.find(&entry) {
                entry.fields = entry.fields.union(other.fields.clone());
            }
            all.put(entry);
        }
        all.encode()
    }
}

fn check(call: &Call<'_>, scale: &Value, parent: &Value) -> ApiResult<()> {
    let kind = kind();
    let replicas = scale.i64_at("spec/replicas").unwrap_or(0);
    if replicas < 0 {
        let path = field::Path::new("spec").child("replicas");
        let error = field::Error::invalid(&path, replicas, "must be greater than or equal to 0");
        return Err(ApiError::invalid(&kind, call.name, &vec![error]));
    }
    metadata::check_name(call, scale)?;
    check_uid(call, scale, parent)?;
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

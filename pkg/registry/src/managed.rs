//! Who owns which field of the objects here: the registry's side of `apimachinery::managed`.

use apimachinery::managed::{self, Applied, Filter, Ordered, Updater, Versions, Writer};
use apimachinery::meta::ObjectExt as _;
use apimachinery::patch::{MergeSchema, TypeId};
use apimachinery::{ApiError, ApiResult, GroupVersion, GroupVersionKind};
use apis::resource::Resource;
use apis::schema;
use serde_json::{Map, Value};

use crate::call::Call;
use crate::{Check, Registry, metadata, rows};

const FIELD: &str = "managedFields";

/// A configuration to be applied, and who has a say in what comes of it.
#[derive(Clone, Copy)]
pub struct Application<'a> {
    /// As the client wrote it, in the call's version.
    pub config: &'a Value,
    /// Takes fields from others who own them.
    pub force: bool,
    /// Sees the merged object.
    pub check: &'a Check<'a>,
}

/// The versions of a resource, as one endpoint of it writes them.
struct Kind<'a> {
    rows: &'a rows::Rows,
    resource: &'static Resource,
    filter: Filter,
}

impl Versions for Kind<'_> {
    fn schema(&self) -> &dyn MergeSchema {
        &schema::Schema
    }

    fn root(&self, api_version: &str) -> Option<Option<TypeId>> {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let served = self.rows.views(self.resource).any(|row| row.group == group && row.versions.contains(&version));
        served.then(|| schema::type_of(&GroupVersionKind::new(group, version, self.resource.kind)))
    }

    fn convert(&self, object: &Value, api_version: &str) -> Value {
        let mut object = object.clone();
        (self.resource.strategy.convert)(&mut object, api_version);
        object
    }

    fn filter(&self) -> Filter {
        self.filter
    }
}

/// A kind in its storage version, none of whose fields are reset.
struct Plain(&'static Resource);

impl Plain {
    fn api_version(&self) -> String {
        GroupVersion::new(self.0.storage_group, self.0.storage_version).to_string()
    }
}

impl Versions for Plain {
    fn schema(&self) -> &dyn MergeSchema {
        &schema::Schema
    }

    fn root(&self, api_version: &str) -> Option<Option<TypeId>> {
        (api_version == self.api_version()).then(|| schema::type_of(&self.0.gvk(self.0.storage_version)))
    }

    fn convert(&self, object: &Value, _: &str) -> Value {
        object.clone()
    }

    fn filter(&self) -> Filter {
        Filter::NONE
    }
}

/// Gives the fields of an object that the server makes for itself to the server.
pub(crate) fn own_made(resource: &'static Resource, object: &mut Value) {
    let kind = Plain(resource);
    let (api_version, now) = (kind.api_version(), metadata::now());
    let writer = Writer { manager: SERVER, api_version: &api_version, subresource: "", now: &now };
    let managers = managed::track_create(Updater::new(&kind), object, writer);
    put(object, managers.encode());
}

/// What the server calls itself.
pub(crate) const SERVER: &str = "kube-apiserver";

/// `apiVersion` that the caller speaks.
fn api_version(call: &Call<'_>) -> String {
    GroupVersion::new(call.resource.group, call.version).to_string()
}

/// An object in the storage version as the caller sees it; `None` if that is the same.
fn seen(call: &Call<'_>, object: &Value) -> Option<Value> {
    let same = call.version == call.resource.storage_version && call.resource.group == call.resource.storage_group;
    (!same).then(|| {
        let mut view = object.clone();
        rows::to_version(call.resource, &mut view, call.version);
        view
    })
}

impl Registry {
    /// Gives the fields of a new object to its creator: answers the list as text, and takes it out of the object.
    pub(crate) fn own_created(&self, call: &Call<'_>, object: &mut Value) -> Option<String> {
        let (version, now, kind) = (api_version(call), metadata::now(), self.kind(call, ""));
        let view = seen(call, object);
        let managers = managed::track_create(
            Updater::new(&kind),
            view.as_ref().unwrap_or(object),
            Writer { manager: call.field_manager, api_version: &version, subresource: "", now: &now },
        );
        take(object);
        managers.to_json()
    }

    /// Gives the fields that differ between `old` and `new`, both in the storage version, to the caller.
    pub(crate) fn own_changed(&self, call: &Call<'_>, old: &Value, new: &mut Value) {
        let kind = self.kind(call, call.subresource);
        let (old_view, new_view) = (seen(call, old), seen(call, new));
        let (old, view) = (old_view.as_ref().unwrap_or(old), new_view.as_ref().unwrap_or(new));
        let list = changed_by(&kind, call, &api_version(call), old, view);
        put(new, list);
    }

    /// `live` (in the caller's version) with the configuration applied, in canonical form.
    pub(crate) fn apply(
        &self,
        call: &Call<'_>,
        live: Option<&Value>,
        application: Application<'_>,
    ) -> ApiResult<Value> {
        let kind = self.kind(call, call.subresource);
        let gvk = call.resource.gvk(call.version);
        apply_to(&kind, call, &gvk, live, application)
    }

    fn kind(&self, call: &Call<'_>, subresource: &str) -> Kind<'_> {
        Kind { rows: &self.rows, resource: call.resource, filter: self.resets.filter(call.resource, subresource) }
    }
}

/// The list of `new`, which the caller made of `old`.
pub(crate) fn changed_by(
    kind: &dyn Versions,
    call: &Call<'_>,
    api_version: &str,
    old: &Value,
    new: &Value,
) -> Option<Value> {
    let now = metadata::now();
    let writer = Writer { manager: call.field_manager, api_version, subresource: call.subresource, now: &now };
    managed::track_update(Updater::new(kind), old, new, writer)
}

/// Applies a configuration of the kind `gvk`; the result is in canonical form.
pub(crate) fn apply_to(
    kind: &dyn Versions,
    call: &Call<'_>,
    gvk: &GroupVersionKind,
    live: Option<&Value>,
    application: Application<'_>,
) -> ApiResult<Value> {
    let Application { config, force, check } = application;
    let (version, now) = (GroupVersion::new(&*gvk.group, &*gvk.version).to_string(), metadata::now());
    let writer =
        Writer { manager: call.field_manager, api_version: &version, subresource: call.subresource, now: &now };
    let mut object = managed::apply(Updater::new(kind), live, Applied { config, kind: gvk, writer, force })?;
    schema::conform(gvk, &mut object).map_err(|why| {
        let (namespace, name) = (config.namespace(), config.name());
        let GroupVersionKind { group, version, kind } = gvk;
        let object = format!("({namespace}/{name}; {group}/{version}, Kind={kind})");
        ApiError::new(500, "", format!("failed to convert new object {object} to proper version: {why}"))
    })?;
    check(&object, live)?;
    Ok(object)
}

/// Sets or removes the list of an object.
pub(crate) fn put(object: &mut Value, list: Option<Value>) {
    let metadata = object.metadata_mut();
    match list {
        Some(list) => metadata.insert(FIELD.to_owned(), list),
        None => metadata.remove(FIELD),
    };
}

/// Takes the list out of an object.
pub(crate) fn take(object: &mut Value) -> Option<Value> {
    object.get_mut("metadata")?.as_object_mut()?.remove(FIELD)
}

/// What the client is told whose object admission left with a list that nobody can read.
pub(crate) const SPOILT: &str = ".metadata.managedFields was in an invalid state after admission; this could be caused by \
                                 an outdated mutating admission controller; please fix your requests";

/// A list as text.
pub(crate) fn text_of(list: &Value) -> String {
    // A tree of strings, numbers and maps with string keys always has a JSON form.
    serde_json::to_string(&Ordered(list)).unwrap_or_default()
}

/// True if a list that comes out of admission has entries that are none. It is then made anew.
pub(crate) fn is_spoilt(list: &Value) -> bool {
    let is_entry = |entry: &Value| {
        matches!(entry.str_at("operation"), "Apply" | "Update")
            && !entry.api_version().is_empty()
            && entry.str_at("fieldsType") == "FieldsV1"
    };
    !list.as_array().into_iter().flatten().all(is_entry)
}

/// True if the store refused an object for its size.
pub(crate) fn is_too_large(error: &ApiError) -> bool {
    error.reason() == "RequestEntityTooLarge"
}

/// True if `new` is as `old` but for the times of its list: not worth a write.
pub(crate) fn is_unchanged(new: &Value, old: &Value) -> bool {
    let (Some(new), Some(old)) = (new.as_object(), old.as_object()) else { return new == old };
    let (new_metadata, old_metadata) = (metadata_of(new), metadata_of(old));
    let lists = (new_metadata.and_then(|m| m.get(FIELD)), old_metadata.and_then(|m| m.get(FIELD)));
    let same_lists = match lists {
        (Some(new), Some(old)) => same_but_times(new, old),
        (new, old) => new == old,
    };
    same_lists && same_but(new_metadata, old_metadata, FIELD) && same_but(Some(new), Some(old), "metadata")
}

fn metadata_of(object: &Map<String, Value>) -> Option<&Map<String, Value>> {
    object.get("metadata").and_then(Value::as_object)
}

/// Compares two maps without one of their keys.
fn same_but(new: Option<&Map<String, Value>>, old: Option<&Map<String, Value>>, key: &str) -> bool {
    let new = new.into_iter().flatten().filter(|(name, _)| *name != key);
    let old = old.into_iter().flatten().filter(|(name, _)| *name != key);
    new.eq(old)
}

fn same_but_times(new: &Value, old: &Value) -> bool {
    let (Some(new), Some(old)) = (new.as_array(), old.as_array()) else { return new == old };
    let same = |(new, old): (&Value, &Value)| same_but(new.as_object(), old.as_object(), "time");
    new.len() == old.len() && new.iter().zip(old).all(same)
}

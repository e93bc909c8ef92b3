//! The rules for `metadata` that hold for every kind.

use apimachinery::field::{Error, ErrorList, Path};
use apimachinery::meta::ObjectExt as _;
use apimachinery::validation;
use apimachinery::{ApiError, ApiResult};
use apis::check;
use apis::resource::Resource;
use serde_json::{Map, Value};

use crate::call::Call;

/// `2026-01-01T00:00:00Z`, for creation and deletion stamps.
pub fn now() -> String {
    apimachinery::time::now_rfc3339()
}

/// Puts the namespace of the request into the object, or refuses another one. Where there are no namespaces, what the
/// object says about one is forgotten.
pub fn settle_namespace(call: &Call<'_>, object: &mut Value) -> ApiResult<()> {
    let named = object.namespace();
    if !call.resource.namespaced {
        if !named.is_empty() {
            object.metadata_mut().remove("namespace");
        }
        return Ok(());
    }
    if named.is_empty() {
        object.metadata_mut().insert("namespace".to_owned(), call.namespace.into());
    } else if named != call.namespace {
        return Err(ApiError::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        ));
    }
    Ok(())
}

/// Refuses an object that names itself otherwise than the path does.
pub fn check_name(call: &Call<'_>, object: &Value) -> ApiResult<()> {
    let name = object.name();
    if name == call.name {
        return Ok(());
    }
    Err(ApiError::bad_request(if name.is_empty() {
        format!("the name of the object ({} based on URL) was undeterminable: name must be provided", call.name)
    } else {
        format!("the name of the object ({name}) does not match the name on the URL ({})", call.name)
    }))
}

/// Sets what the server alone sets at birth.
pub fn fill_system_fields(object: &mut Value) {
    let metadata = object.metadata_mut();
    for field in ["deletionTimestamp", "deletionGracePeriodSeconds", "selfLink"] {
        metadata.remove(field);
    }
    metadata.insert("creationTimestamp".to_owned(), now().into());
    // From this process's generator, which is as good as the system's and needs no call into it.
    let uid = uuid::Builder::from_random_bytes(rand::random()).into_uuid();
    metadata.insert("uid".to_owned(), uid.to_string().into());
}

/// When owners that are named twice were seen: before admission or after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    InRequest,
    AfterAdmission,
}

/// Leaves out owners that are there already, and tells the caller.
pub fn dedup_owners(call: &Call<'_>, object: &mut Value, seen: Seen) {
    let owners = object.get_mut("metadata").and_then(|metadata| metadata.get_mut("ownerReferences"));
    let Some(Value::Array(owners)) = owners else { return };
    let mut kept: Vec<Value> = Vec::with_capacity(owners.len());
    let mut twice = Vec::new();
    for owner in owners.drain(..) {
        if kept.contains(&owner) {
            twice.push(owner.str_at("uid").to_owned());
        } else {
            kept.push(owner);
        }
    }
    *owners = kept;
    if twice.is_empty() {
        return;
    }
    let when = if seen == Seen::InRequest { "" } else { " after mutating admission happens" };
    call.warn(format!(
        ".metadata.ownerReferences contains duplicate entries{when}; API server dedups owner references in 1.20+, and may \
         reject such requests as early as 1.24; please fix your requests; duplicate UID(s) observed: {}",
        twice.join(", ")
    ));
}

/// Removes empty maps, lists and texts, which Go's encoding would leave out.
pub fn tidy(object: &mut Value) {
    object.metadata_mut().retain(|field, value| match field.as_str() {
        "labels" | "annotations" | "finalizers" | "ownerReferences" => match value {
            Value::Object(map) => !map.is_empty(),
            Value::Array(list) => !list.is_empty(),
            value => !value.is_null(),
        },
        "generateName" | "namespace" | "resourceVersion" | "selfLink" => value != "",
        _ => true,
    });
}

/// What an update says about fields of the server is not heard, or (where it may be left out, but not be otherwise) left to
/// [`validate_update`].
pub fn keep_system_fields(new: &mut Value, old: &Value) {
    let metadata = new.metadata_mut();
    metadata.remove("selfLink");
    let old = old.get("metadata").and_then(Value::as_object);
    for field in ["creationTimestamp", "generation", "resourceVersion"] {
        keep(metadata, old, field);
    }
    for field in ["uid", "deletionTimestamp", "deletionGracePeriodSeconds"] {
        let says_nothing = metadata.get(field).is_none_or(|value| value.is_null() || value == "");
        let goes_already = field == "deletionTimestamp" && old.is_some_and(|old| old.contains_key(field));
        if says_nothing || goes_already {
            keep(metadata, old, field);
        }
    }
}

/// A status endpoint changes labels and annotations besides the status; nothing else of the metadata.
pub fn keep_for_status(new: &mut Value, old: &Value) {
    let metadata = new.metadata_mut();
    let old = old.get("metadata").and_then(Value::as_object);
    for field in ["ownerReferences", "finalizers"] {
        keep(metadata, old, field);
    }
}

fn keep(metadata: &mut Map<String, Value>, old: Option<&Map<String, Value>>, field: &str) {
    match old.and_then(|old| old.get(field)) {
        Some(value) => metadata.insert(field.to_owned(), value.clone()),
        None => metadata.remove(field),
    };
}

/// What is wrong with the metadata of an object that is to be stored.
pub fn validate(resource: &Resource, object: &Value) -> ErrorList {
    let mut errors = ErrorList::new();
    let path = Path::new("metadata");
    validate_names(resource, object, &path, &mut errors);
    if !resource.namespaced && !object.namespace().is_empty() {
        errors.push(Error::forbidden(&path.child("namespace"), "not allowed on this type"));
    }
    if object.generation() < 0 {
        let why = "must be greater than or equal to 0";
        errors.push(Error::invalid(&path.child("generation"), object.generation(), why));
    }
    let metadata = object.get("metadata").unwrap_or(&Value::Null);
    if let Some(labels) = metadata.get("labels") {
        check::labels(&mut errors, &path.child("labels"), labels);
    }
    if let Some(annotations) = metadata.get("annotations") {
        check::annotations(&mut errors, &path.child("annotations"), annotations);
    }
    if metadata.get("ownerReferences").is_some() {
        validate_owners(object, &path.child("ownerReferences"), &mut errors);
    }
    if metadata.get("finalizers").is_some() {
        validate_finalizers(object, &path.child("finalizers"), &mut errors);
    }
    errors
}

/// What an update may not do to metadata.
pub fn validate_update(new: &Value, old: &Value) -> ErrorList {
    let mut errors = ErrorList::new();
    if old.is_deleting() {
        validate_no_new_finalizers(new, old, &mut errors);
    }
    if let (Some(new), Some(old)) = (new.get("metadata"), old.get("metadata")) {
        for field in
            ["name", "namespace", "uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds"]
        {
            check::immutable(&mut errors, &Path::new("metadata"), new, old, field);
        }
    }
    errors
}

fn validate_no_new_finalizers(new: &Value, old: &Value, errors: &mut ErrorList) {
    let before = old.finalizers();
    let added: Vec<&str> = new.finalizers().into_iter().filter(|f| !before.contains(f)).collect();
    if !added.is_empty() {
        let list: Vec<String> = added.iter().map(|f| format!("{f:?}")).collect();
        let why = format!(
            "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
            list.join(", ")
        );
        errors.push(Error::forbidden(&Path::new("metadata").child("finalizers"), why));
    }
}

fn validate_names(resource: &Resource, object: &Value, path: &Path, errors: &mut ErrorList) {
    let check = resource.strategy.validate_name;
    let prefix = object.meta_str("generateName");
    if !prefix.is_empty() {
        let texts = check(prefix, true);
        errors.extend(texts.into_iter().map(|why| Error::invalid(&path.child("generateName"), prefix, why)));
    }
    let name = object.name();
    if name.is_empty() {
        errors.push(Error::required(&path.child("name"), "name or generateName is required"));
        return;
    }
    let texts = check(name, false);
    errors.extend(texts.into_iter().map(|why| Error::invalid(&path.child("name"), name, why)));
}

fn validate_finalizers(object: &Value, path: &Path, errors: &mut ErrorList) {
    const STANDARD: [&str; 3] = ["orphan", "foregroundDeletion", "kubernetes"];
    let all = object.finalizers();
    for finalizer in &all {
        let texts = validation::is_qualified_name(finalizer);
        errors.extend(texts.into_iter().map(|why| Error::invalid(path, *finalizer, why)));
    }
    if all.contains(&"orphan") && all.contains(&"foregroundDeletion") {
        let why = "finalizer orphan and foregroundDeletion cannot be both set";
        errors.push(Error::invalid(path, all.clone(), why));
    }
    for (index, finalizer) in all.iter().enumerate() {
        if !finalizer.contains('/') && !STANDARD.contains(finalizer) {
            let why = "name is neither a standard finalizer name nor is it fully qualified";
            errors.push(Error::invalid(&path.index(index), *finalizer, why));
        }
    }
}

/// As upstream, the path does not say which of them is wrong.
fn validate_owners(object: &Value, path: &Path, errors: &mut ErrorList) {
    let owners = object.array_at("metadata/ownerReferences");
    let mut controller: Option<String> = None;
    for owner in owners {
        let api_version = owner.str_at("apiVersion");
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        if version.is_empty() || version.contains('/') {
            errors.push(Error::invalid(&path.child("apiVersion"), api_version, "version must not be empty"));
        }
        for field in ["kind", "name", "uid"].into_iter().filter(|field| owner.str_at(field).is_empty()) {
            errors.push(Error::invalid(&path.child(field), "", format!("{field} must not be empty")));
        }
        if (group, version, owner.str_at("kind")) == ("", "v1", "Event") {
            let why = "/v1, Kind=Event is disallowed from being an owner";
            errors.push(Error::invalid(path, owner.clone(), why));
        }
        if owner.get("controller").and_then(Value::as_bool) != Some(true) {
            continue;
        }
        let text = format!("{}/{}", owner.str_at("kind"), owner.str_at("name"));
        if let Some(first) = &controller {
            let why = format!(
                "Only one reference can have Controller set to true. Found \"true\" in references for {first} and {text}"
            );
            errors.push(Error::invalid(path, owners.to_vec(), why));
        } else {
            controller = Some(text);
        }
    }
}

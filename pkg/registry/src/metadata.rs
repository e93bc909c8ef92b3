//! The rules for `metadata` that hold for every kind.

use apimachinery::field::{Error, ErrorList, Path};
use apimachinery::meta::{ANNOTATIONS_SIZE_MAX, ObjectExt as _};
use apimachinery::validation;
use apimachinery::{ApiError, ApiResult};
use apis::resource::Resource;
use serde_json::{Map, Value};

use crate::call::Call;

/// `2026-01-01T00:00:00Z`, for creation and deletion stamps.
pub fn now() -> String {
    apimachinery::time::now_rfc3339()
}

/// Puts the namespace of the request into the object, or refuses another one.
pub fn settle_namespace(call: &Call<'_>, object: &mut Value) -> ApiResult<()> {
    let named = object.namespace();
    if !call.resource.namespaced {
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
        "name must be provided".to_owned()
    } else {
        format!("the name of the object ({name}) does not match the name on the URL ({})", call.name)
    }))
}

/// Sets what the server alone sets at birth.
pub fn fill_system_fields(object: &mut Value) {
    let metadata = object.metadata_mut();
    for field in ["deletionTimestamp", "deletionGracePeriodSeconds", "selfLink", "generation"] {
        metadata.remove(field);
    }
    metadata.insert("creationTimestamp".to_owned(), now().into());
    metadata.insert("uid".to_owned(), uuid::Uuid::new_v4().to_string().into());
}

/// Removes empty maps and lists, which Go's encoding would leave out.
pub fn tidy(object: &mut Value) {
    let metadata = object.metadata_mut();
    for field in ["labels", "annotations", "finalizers", "ownerReferences"] {
        let empty = metadata.get(field).is_some_and(|value| match value {
            Value::Object(map) => map.is_empty(),
            Value::Array(list) => list.is_empty(),
            Value::Null => true,
            _ => false,
        });
        if empty {
            metadata.remove(field);
        }
    }
    for field in ["generateName", "namespace", "resourceVersion", "selfLink"] {
        if metadata.get(field).and_then(Value::as_str) == Some("") {
            metadata.remove(field);
        }
    }
}

/// On update the server's fields stay as they are.
pub fn keep_system_fields(new: &mut Value, old: &Value) {
    let fields = ["uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation"];
    let metadata = new.metadata_mut();
    metadata.remove("selfLink");
    let old = old.get("metadata").and_then(Value::as_object);
    for field in fields.into_iter().chain(["resourceVersion", "generateName", "namespace", "name"]) {
        keep(metadata, old, field);
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
    validate_labels(object, &path.child("labels"), &mut errors);
    validate_annotations(object, &path.child("annotations"), &mut errors);
    validate_owners(object, &path.child("ownerReferences"), &mut errors);
    for finalizer in object.finalizers() {
        validate_finalizer(finalizer, &path.child("finalizers"), &mut errors);
    }
    errors
}

/// What an update may not do to metadata.
pub fn validate_update(new: &Value, old: &Value) -> ErrorList {
    let mut errors = ErrorList::new();
    if !old.is_deleting() {
        return errors;
    }
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
    errors
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

fn validate_labels(object: &Value, path: &Path, errors: &mut ErrorList) {
    for (key, value) in object.labels().into_iter().flatten() {
        errors.extend(validation::is_qualified_name(key).into_iter().map(|why| Error::invalid(path, &**key, why)));
        let text = value.as_str().unwrap_or("");
        errors.extend(validation::is_valid_label_value(text).into_iter().map(|why| Error::invalid(path, text, why)));
    }
}

fn validate_annotations(object: &Value, path: &Path, errors: &mut ErrorList) {
    let mut size = 0;
    for (key, value) in object.annotations().into_iter().flatten() {
        // The rule is on the lower-case form: annotations are older than it.
        let texts = validation::is_qualified_name(&key.to_lowercase());
        errors.extend(texts.into_iter().map(|why| Error::invalid(path, &**key, why)));
        size += key.len() + value.as_str().map_or(0, str::len);
    }
    if size > ANNOTATIONS_SIZE_MAX {
        errors.push(Error::too_long(path, ANNOTATIONS_SIZE_MAX));
    }
}

fn validate_finalizer(finalizer: &str, path: &Path, errors: &mut ErrorList) {
    errors.extend(validation::is_qualified_name(finalizer).into_iter().map(|why| Error::invalid(path, finalizer, why)));
    let standard = ["orphan", "foregroundDeletion", "kubernetes"];
    if !finalizer.contains('/') && !standard.contains(&finalizer) {
        let why = "name is neither a standard finalizer name nor is it fully qualified";
        errors.push(Error::invalid(path, finalizer, why));
    }
}

fn validate_owners(object: &Value, path: &Path, errors: &mut ErrorList) {
    let mut controller: Option<String> = None;
    for (index, owner) in object.array_at("metadata/ownerReferences").iter().enumerate() {
        let path = path.index(index);
        for field in ["apiVersion", "kind", "name", "uid"] {
            if owner.get(field).and_then(Value::as_str).unwrap_or("").is_empty() {
                let value = if field == "apiVersion" { "version must not be empty" } else { "must not be empty" };
                errors.push(Error::invalid(&path.child(field), "", value));
            }
        }
        if owner.get("controller").and_then(Value::as_bool) != Some(true) {
            continue;
        }
        let text = format!("{}/{}", owner.str_at("kind"), owner.str_at("name"));
        if let Some(first) = &controller {
            let why = format!(
                "Only one reference can have Controller set to true. Found \"true\" in references for {first} and {text}"
            );
            errors.push(Error::invalid(&Path::new("metadata").child("ownerReferences"), owner.clone(), why));
        } else {
            controller = Some(text);
        }
    }
}

//! From storage's errors to the API's.

use apimachinery::meta::ObjectExt as _;
use apimachinery::status::{Cause, Details};
use apimachinery::{ApiError, ApiResult};
use serde_json::Value;
use storage::StorageError;

use crate::call::Call;
use crate::keys;

/// Errors that are the same for every verb; `KeyExists` and `Compacted` are handled where they have a meaning.
pub fn from_storage(error: StorageError) -> ApiError {
    match error {
        StorageError::TooLarge { requested, current } => too_large(requested, current.get()),
        StorageError::Compacted { compacted } => ApiError::expired(format!("too old resource version ({compacted})")),
        StorageError::ObjectTooLarge { bytes, limit } => {
            ApiError::request_too_large(format!("the object is too large: {bytes} bytes, limit is {limit}"))
        }
        StorageError::Unconfirmed => ApiError::timeout("the write was not confirmed in time; it may still happen"),
        // As upstream's store says it, without a reason.
        StorageError::NoSpace(why) => ApiError::new(500, "", why),
        StorageError::Unavailable(why) => ApiError::service_unavailable(format!("the store is not available: {why}")),
        other => ApiError::internal(other),
    }
}

/// The client is ahead of this server: it waits a second and comes back.
pub fn too_large(requested: u64, current: u64) -> ApiError {
    let message = format!("Too large resource version: {requested}, current: {current}");
    ApiError::timeout(message).with_details(Details {
        causes: vec![Cause {
            reason: "ResourceVersionTooLarge".to_owned(),
            message: "Too large resource version".to_owned(),
            field: String::new(),
        }],
        retry_after_seconds: 1,
        ..Details::default()
    })
}

pub fn too_old(requested: u64, oldest: u64) -> ApiError {
    ApiError::expired(format!("too old resource version: {requested} ({oldest})"))
}

/// Refuses a write whose body (`wanted`) names another uid than the object has.
pub fn check_uid(call: &Call<'_>, wanted: &Value, actual: &Value) -> ApiResult<()> {
    check_precondition(call, "UID", wanted.uid(), actual.uid())
}

/// The same of any precondition; an empty one always holds. The text is that of upstream's store.
pub fn check_precondition(call: &Call<'_>, what: &str, wanted: &str, actual: &str) -> ApiResult<()> {
    if wanted.is_empty() || wanted == actual {
        return Ok(());
    }
    let key = keys::shown(call.resource, call.namespace, call.name);
    let why = format!(
        "StorageError: invalid object, Code: 4, Key: {key}, ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: \
         {what} in precondition: {wanted}, {what} in object meta: {actual}"
    );
    Err(ApiError::conflict(&call.group_resource(), call.name, why))
}

/// A resourceVersion parameter as a revision; empty is `None`.
pub fn parse_revision(text: &str) -> ApiResult<Option<u64>> {
    if text.is_empty() {
        return Ok(None);
    }
    storage::ResourceVersion::parse(text).map(|version| Some(version.get())).map_err(|why| {
        let invalid = format!("resourceVersion: Invalid value: {text:?}: {why}");
        ApiError::bad_request(format!("invalid resource version: {invalid}"))
    })
}

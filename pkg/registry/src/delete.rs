//! Deletion: at once, after a grace period, or when the last finalizer is gone.

use std::sync::{Mutex, PoisonError};

use apimachinery::meta::ObjectExt as _;
use apimachinery::{ApiError, ApiResult, GroupResource};
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{StreamExt as _, stream};
use serde_json::Value;
use storage::{NewObject, Outcome, StoredObject};

use crate::call::{Call, Operation};
use crate::create::to_bytes;
use crate::list::{ListError, ListPage, ListQuery};
use crate::update::flatten;
use crate::{Registry, attributes, keys, metadata};

/// How many objects of a collection are deleted at the same time.
const COLLECTION_WORKERS: usize = 16;

/// What becomes of the dependents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Propagation {
    Foreground,
    Background,
    Orphan,
}

#[derive(Clone, Debug, Default)]
pub struct DeleteOptions {
    pub grace_period_seconds: Option<i64>,
    pub propagation: Option<Propagation>,
    /// The old way to say it, which `propagation` follows. Who says `false` hears by a 202 that the deletion waits.
    pub orphan_dependents: Option<bool>,
    pub uid: Option<String>,
    pub resource_version: Option<String>,
}

impl DeleteOptions {
    /// Whether the object may be any that has the name.
    pub fn is_open(&self) -> bool {
        self.uid.is_none() && self.resource_version.is_none()
    }
}

/// What a deletion did.
pub struct Deleted {
    /// The last state of the object, in the storage version.
    pub body: Bytes,
    /// False: it is marked and waits for its grace period or finalizers.
    pub gone: bool,
}

const ORPHAN: &str = "orphan";
const FOREGROUND: &str = "foregroundDeletion";

impl Registry {
    pub async fn delete(&self, call: &Call<'_>, options: &DeleteOptions) -> ApiResult<Deleted> {
        self.delete_changed(call, options, &|_| Ok(())).await
    }

    /// As [`Self::delete`]; `check` sees the object each time before it is touched and may refuse or change it.
    pub(crate) async fn delete_changed(
        &self,
        call: &Call<'_>,
        options: &DeleteOptions,
        check: &(dyn Fn(&mut Value) -> ApiResult<()> + Send + Sync),
    ) -> ApiResult<Deleted> {
        let key = keys::object(call.resource, call.namespace, call.name);
        let dry: Mutex<Option<(Bytes, bool)>> = Mutex::new(None);
        let slot = &dry;
        let outcome = self
            .storage
            .guaranteed_update(&key, |current| Box::pin(self.delete_once(call, options, check, current, slot)))
            .await
            .map_err(flatten)?;
        if let Some((body, gone)) = dry.into_inner().unwrap_or_else(PoisonError::into_inner) {
            return Ok(Deleted { body, gone });
        }
        match outcome {
            Outcome::Deleted(stored) => {
                self.services.release(call.resource, &stored).await;
                Ok(Deleted { body: stored.body().clone(), gone: true })
            }
            Outcome::Put(stored) | Outcome::Unchanged(Some(stored)) => {
                Ok(Deleted { body: stored.body().clone(), gone: false })
            }
            Outcome::Unchanged(None) => Err(call.not_found()),
        }
    }

    async fn delete_once(
        &self,
        call: &Call<'_>,
        options: &DeleteOptions,
        check: &(dyn Fn(&mut Value) -> ApiResult<()> + Send + Sync),
        current: Option<StoredObject>,
        slot: &Mutex<Option<(Bytes, bool)>>,
    ) -> Result<storage::Change, ApiError> {
        let Some(stored) = current else { return Err(call.not_found()) };
        let old = stored.decode();
        check_preconditions(call, options, &old)?;
        let review = call.review(Operation::Delete, call.name);
        call.admission.mutate(&review, None, Some(&old)).await?;
        call.admission.validate(&review, None, Some(&old)).await?;
        let mut new = old.clone();
        check(&mut new)?;
        let next = decide(call, options, &mut new);
        let change = match next {
            Next::Remove => storage::Change::Delete,
            Next::Mark if new == old => storage::Change::Keep,
            Next::Mark => {
                let attributes = attributes::of(call.resource, &new);
                storage::Change::Put(NewObject::encode(&new, attributes))
            }
        };
        if call.dry_run {
            *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some((to_bytes(&new), next == Next::Remove));
            return Ok(storage::Change::Keep);
        }
        Ok(change)
    }

    /// Deletes all that `query` selects, or of that one page if it has a limit. Answers what was listed.
    pub async fn delete_collection(
        &self,
        call: &Call<'_>,
        query: &ListQuery,
        options: &DeleteOptions,
    ) -> Result<ListPage, ListError> {
        let scope = Some(call.namespace).filter(|_| call.resource.namespaced && !call.namespace.is_empty());
        self.reach_list(query).await?;
        let page = self.list(call.resource, scope, query)?;
        let deletions: Vec<BoxFuture<'_, ApiResult<()>>> =
            page.items.iter().map(|stored| Box::pin(self.delete_listed(call, stored, options)) as _).collect();
        let mut running = stream::iter(deletions).buffer_unordered(COLLECTION_WORKERS);
        let mut failed = None;
        while let Some(outcome) = running.next().await {
            failed = failed.or(outcome.err());
        }
        drop(running);
        failed.map_or(Ok(page), |error| Err(error.into()))
    }
}

impl Registry {
    async fn delete_listed(&self, call: &Call<'_>, stored: &StoredObject, options: &DeleteOptions) -> ApiResult<()> {
        let (namespace, name) = keys::split(call.resource, stored.key());
        let one = Call { namespace, name, subresource: "", warnings: Mutex::default(), ..*call };
        match self.delete(&one, options).await {
            // Somebody else was faster: that is what was asked for.
            Err(error) if error.reason() == "NotFound" => Ok(()),
            other => other.map(drop),
        }
    }
}

fn check_preconditions(call: &Call<'_>, options: &DeleteOptions, old: &Value) -> ApiResult<()> {
    // Upstream names the kind here where other conflicts name the resource.
    let kind = GroupResource::new(call.resource.group, call.resource.kind);
    let refuse = |why: String| Err(ApiError::conflict(&kind, call.name, why));
    match &options.uid {
        Some(uid) if uid != old.uid() => {
            let actual = old.uid();
            return refuse(format!(
                "the UID in the precondition ({uid}) does not match the UID in record ({actual}). The object might have \
                 been deleted and then recreated"
            ));
        }
        _ => {}
    }
    match &options.resource_version {
        Some(version) if version != old.resource_version() => refuse(format!(
            "the ResourceVersion in the precondition ({version}) does not match the ResourceVersion in record ({}). The \
             object might have been modified",
            old.resource_version()
        )),
        _ => Ok(()),
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    Remove,
    Mark,
}

/// Marks `object` for deletion as far as it must wait, and says whether it must.
fn decide(call: &Call<'_>, options: &DeleteOptions, object: &mut Value) -> Next {
    set_propagation(call, options, object);
    let grace = call.resource.strategy.grace_period_seconds;
    // The past is as near as can be.
    let requested = options.grace_period_seconds.map(|seconds| if seconds < 0 { 1 } else { seconds });
    let seconds = grace.map_or(0, |grace| grace(object, requested)).max(0);
    let held = !object.finalizers().is_empty()
        || (object.kind() == "Namespace" && !object.array_at("spec/finalizers").is_empty());
    if object.is_deleting() {
        return mark_again(object, grace.is_some(), requested, seconds, held);
    }
    if seconds == 0 && !held {
        return Next::Remove;
    }
    let due = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(seconds);
    stamp(object, due, seconds);
    let generation = object.generation();
    if generation > 0 {
        object.metadata_mut().insert("generation".to_owned(), (generation + 1).into());
    }
    if object.kind() == "Namespace" {
        object["status"]["phase"] = "Terminating".into();
    }
    Next::Mark
}

/// A second deletion can only shorten the wait.
fn mark_again(object: &mut Value, graceful: bool, requested: Option<i64>, seconds: i64, held: bool) -> Next {
    let before = object.i64_at("metadata/deletionGracePeriodSeconds").unwrap_or(0);
    let shorter = if graceful { requested.map(|_| seconds) } else { Some(0) };
    let left = match shorter {
        Some(wanted) if wanted < before => {
            let old: Option<jiff::Timestamp> = object.meta_str("deletionTimestamp").parse().ok();
            let due = old.unwrap_or_else(jiff::Timestamp::now) - jiff::SignedDuration::from_secs(before - wanted);
            stamp(object, due, wanted);
            wanted
        }
        _ => before,
    };
    if left == 0 && !held { Next::Remove } else { Next::Mark }
}

fn stamp(object: &mut Value, due: jiff::Timestamp, seconds: i64) {
    let text = due.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let metadata = object.metadata_mut();
    metadata.insert("deletionTimestamp".to_owned(), text.into());
    metadata.insert("deletionGracePeriodSeconds".to_owned(), seconds.into());
}

/// Sets or removes the two finalizers that the garbage collector works on.
fn set_propagation(call: &Call<'_>, options: &DeleteOptions, object: &mut Value) {
    let before: Vec<&str> = object.finalizers();
    let already = before.iter().find(|f| **f == ORPHAN || **f == FOREGROUND).copied();
    let wanted = match options.propagation {
        Some(Propagation::Orphan) => Some(ORPHAN),
        Some(Propagation::Foreground) => Some(FOREGROUND),
        Some(Propagation::Background) => None,
        None if already.is_some() => already,
        None if call.resource.strategy.orphan_by_default => Some(ORPHAN),
        None => None,
    };
    if wanted == already {
        return;
    }
    let kept = before.iter().filter(|f| **f != ORPHAN && **f != FOREGROUND).copied();
    let finalizers: Vec<Value> = kept.chain(wanted).map(Value::from).collect();
    object.metadata_mut().insert("finalizers".to_owned(), finalizers.into());
    metadata::tidy(object);
}

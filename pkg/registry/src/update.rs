//! Updates: PUT and PATCH of objects and of their status-like subresources, re-applied until they fit.

use std::sync::{Mutex, PoisonError};

use apimachinery::meta::ObjectExt as _;
use apimachinery::{ApiError, ApiResult, GroupVersionKind};
use apis::resource::SubresourceUpdate;
use bytes::Bytes;
use serde_json::Value;
use storage::{Outcome, StorageError, StoredObject, UpdateError};

use crate::call::{Call, Charged, Operation};
use crate::create::{Ownership, Prepared};
use crate::errors::{check_uid, from_storage};
use crate::managed::{self, Application};
use crate::metadata::Seen;
use crate::services::Reservation;
use crate::{Registry, keys, metadata, rows};

/// What is to become of an object.
#[derive(Clone, Copy)]
pub enum Change<'a> {
    /// A tree in the call's version.
    Replace(Replacement<'a>),
    /// A function of the current tree in the call's version. Called again when the object changed meanwhile.
    Patch(&'a (dyn Fn(Value) -> ApiResult<Value> + Send + Sync)),
    /// As `Patch`, but the result says already who owns what.
    Settled(&'a (dyn Fn(Value) -> ApiResult<Value> + Send + Sync)),
    /// Server-side apply. Creates the object if there is none.
    Apply(Application<'a>),
}

/// Sees an object that is to be written, and the one before (`None`: it is to be created), and may refuse.
pub type Check<'a> = dyn Fn(&Value, Option<&Value>) -> ApiResult<()> + Send + Sync + 'a;

/// The body of a PUT.
#[derive(Clone, Copy)]
pub struct Replacement<'a> {
    pub object: &'a Value,
    pub check: &'a Check<'a>,
}

/// The outcome of an update.
pub struct Written {
    /// The object in the storage version.
    pub body: Bytes,
    pub created: bool,
}

/// Whether the list of owners is stored with the object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owners {
    Kept,
    Dropped,
}

/// What one attempt leaves behind for after the commit.
#[derive(Default)]
struct Attempt {
    reservation: Option<Reservation>,
    charged: Charged,
    /// The answer of a dry run.
    dry: Option<Bytes>,
    created: bool,
}

impl Attempt {
    async fn abandon(self) {
        if let Some(reservation) = self.reservation {
            reservation.abandon().await;
        }
    }
}

impl Registry {
    /// Updates the object that the call names, or its subresource. Writes nothing if nothing changes.
    pub async fn update(&self, call: &Call<'_>, change: Change<'_>) -> ApiResult<Written> {
        if let Change::Replace(Replacement { object, .. }) = change {
            // A body that cannot be meant for this path is refused whether there is an object or not.
            metadata::check_name(call, object)?;
        }
        match self.update_with(call, change, Owners::Kept).await {
            // The list of owners may be what is too much. An apply cannot do without it.
            Err(error) if managed::is_too_large(&error) && !matches!(change, Change::Apply(_)) => {
                self.update_with(call, change, Owners::Dropped).await
            }
            done => done,
        }
    }

    async fn update_with(&self, call: &Call<'_>, change: Change<'_>, owners: Owners) -> ApiResult<Written> {
        let key = keys::object(call.resource, call.namespace, call.name);
        let attempt = Mutex::new(Attempt::default());
        let slot = &attempt;
        let outcome = self
            .storage
            .guaranteed_update(&key, |current| Box::pin(self.update_once(call, change, owners, current, slot)))
            .await;
        let attempt = attempt.into_inner().unwrap_or_else(PoisonError::into_inner);
        let outcome = match outcome {
            Ok(outcome) => outcome,
            Err(unknown @ UpdateError::Storage(StorageError::Unconfirmed)) => return Err(flatten(unknown)),
            Err(refused) => {
                attempt.abandon().await;
                return Err(flatten(refused));
            }
        };
        if let Some(body) = attempt.dry {
            return Ok(Written { body, created: attempt.created });
        }
        if let Some(reservation) = attempt.reservation {
            reservation.commit().await;
        }
        let stored = match outcome {
            Outcome::Put(stored) => {
                self.expiry.written(call.resource, &stored);
                stored
            }
            Outcome::Unchanged(Some(stored)) => stored,
            Outcome::Deleted(stored) => {
                self.services.release(call.resource, &stored).await;
                stored
            }
            Outcome::Unchanged(None) => return Err(call.not_found()),
        };
        Ok(Written { body: stored.body().clone(), created: attempt.created })
    }

    async fn update_once(
        &self,
        call: &Call<'_>,
        change: Change<'_>,
        owners: Owners,
        current: Option<StoredObject>,
        slot: &Mutex<Attempt>,
    ) -> Result<storage::Change, ApiError> {
        // What an earlier attempt took is given back first, or this one would find it taken.
        let earlier = std::mem::take(&mut *slot.lock().unwrap_or_else(PoisonError::into_inner));
        earlier.abandon().await;
        let mut attempt = Attempt::default();
        let next = match current {
            Some(stored) => self.update_existing(call, change, owners, &stored, &mut attempt).await?,
            None => self.update_absent(call, change, &mut attempt).await?,
        };
        *slot.lock().unwrap_or_else(PoisonError::into_inner) = attempt;
        Ok(next)
    }

    /// A write to a name that does not exist: a creation where the kind allows it, or by server-side apply.
    async fn update_absent(
        &self,
        call: &Call<'_>,
        change: Change<'_>,
        attempt: &mut Attempt,
    ) -> ApiResult<storage::Change> {
        if !call.subresource.is_empty() {
            return Err(call.not_found());
        }
        let (mut object, ownership) = match change {
            Change::Replace(replacement) => (replacing_nothing(call, replacement)?, Ownership::Writer),
            Change::Apply(application) => (self.applied_anew(call, application)?, Ownership::Settled),
            Change::Patch(_) | Change::Settled(_) => return Err(call.not_found()),
        };
        metadata::settle_namespace(call, &mut object)?;
        metadata::check_name(call, &object)?;
        metadata::dedup_owners(call, &mut object, Seen::InRequest);
        let mut built = self.prepare_create(call, object, false, ownership).await?;
        attempt.created = true;
        attempt.charged = self.charge(&call.review(Operation::Create, call.name), &built.object, None).await?;
        attempt.reservation = Some(self.services.begin(call, &mut built.object, None).await?);
        Ok(finish(call, built, attempt))
    }

    /// A configuration as a new object, without what the server sets.
    fn applied_anew(&self, call: &Call<'_>, application: Application<'_>) -> ApiResult<Value> {
        let mut object = self.apply(call, None, application)?;
        let uid = object.uid();
        if !uid.is_empty() {
            let why =
                format!("uid mismatch: the provided object specified uid {uid}, and no existing object was found");
            return Err(ApiError::conflict(&call.group_resource(), call.name, why));
        }
        object.metadata_mut().remove("resourceVersion");
        Ok(object)
    }

    /// What `change` makes of `old`, in the version that it was written in.
    fn changed(&self, call: &Call<'_>, change: Change<'_>, old: &Value) -> ApiResult<(Value, Ownership)> {
        let view = || {
            let mut view = old.clone();
            rows::to_version(call.resource, &mut view, call.version);
            view
        };
        Ok(match change {
            Change::Replace(Replacement { object, check }) => {
                check_uid(call, object, old)?;
                check(object, Some(old))?;
                (object.clone(), Ownership::Writer)
            }
            Change::Patch(patch) => (patch(view())?, Ownership::Writer),
            Change::Settled(patch) => (patch(view())?, Ownership::Settled),
            Change::Apply(application) => (self.apply(call, Some(&view()), application)?, Ownership::Settled),
        })
    }

    async fn update_existing(
        &self,
        call: &Call<'_>,
        change: Change<'_>,
        owners: Owners,
        stored: &StoredObject,
        attempt: &mut Attempt,
    ) -> ApiResult<storage::Change> {
        let strategy = &call.resource.strategy;
        let old = stored.decode();
        let (mut new, ownership) = self.changed(call, change, &old)?;
        metadata::settle_namespace(call, &mut new)?;
        metadata::check_name(call, &new)?;
        check_version(call, &new, &old)?;
        if matches!(change, Change::Replace(_)) {
            metadata::dedup_owners(call, &mut new, Seen::InRequest);
        }
        rows::to_storage(call.resource, &mut new);
        (strategy.default)(&mut new);
        if ownership == Ownership::Writer {
            self.own_changed(call, &old, &mut new);
        }
        let review = call.review(Operation::Update, call.name);
        call.admission.mutate(&review, Some(&mut new), Some(&old)).await?;
        if new.at("metadata/managedFields").is_some_and(managed::is_spoilt) {
            call.warn(managed::SPOILT);
            self.own_changed(call, &old, &mut new);
        }
        metadata::dedup_owners(call, &mut new, Seen::AfterAdmission);
        (strategy.default)(&mut new);
        // Endpoints that write a part of the object put the rest back as it was: not this.
        let list = managed::take(&mut new);
        self.prepare_update(call, &mut new, &old)?;
        managed::put(&mut new, list.filter(|_| owners == Owners::Kept));
        call.admission.validate(&review, Some(&new), Some(&old)).await?;
        if is_finished(&new) {
            let built = Prepared::whole(new);
            return Ok(if call.dry_run { finish(call, built, attempt) } else { storage::Change::Delete });
        }
        attempt.charged = self.charge(&review, &new, Some(&old)).await?;
        attempt.reservation = Some(self.services.begin(call, &mut new, Some(&old)).await?);
        if managed::is_unchanged(&new, &old) {
            attempt.dry = call.dry_run.then(|| stored.body().clone());
            return Ok(storage::Change::Keep);
        }
        Ok(finish(call, Prepared::whole(new), attempt))
    }

    /// Brings `new` into the form that is stored, and validates it.
    fn prepare_update(&self, call: &Call<'_>, new: &mut Value, old: &Value) -> ApiResult<()> {
        let strategy = &call.resource.strategy;
        metadata::keep_system_fields(new, old);
        metadata::tidy(new);
        match call.subresource {
            "" => (strategy.prepare_for_update)(new, old),
            "status" => {
                metadata::keep_for_status(new, old);
                (strategy.prepare_for_status_update)(new, old);
            }
            other => (part(call, other)?.prepare)(new, old),
        }
        if let (Some(changed), true) = (strategy.generation_changed, call.subresource != "status")
            && changed(new, old)
        {
            let generation = old.generation() + 1;
            new.metadata_mut().insert("generation".to_owned(), generation.into());
        }
        let mut errors = metadata::validate(call.resource, new);
        errors.extend(metadata::validate_update(new, old));
        errors.extend(self.refused_by_namespace(call, new, Some(old)));
        errors.extend(match call.subresource {
            "" => (strategy.validate_update)(new, old),
            "status" => (strategy.validate_status_update)(new, old),
            other => (part(call, other)?.validate)(new, old),
        });
        if !errors.is_empty() {
            return Err(ApiError::invalid(&call.kind(), call.name, &errors));
        }
        for text in (strategy.warnings)(new, Some(old)) {
            call.warn(text);
        }
        Ok(())
    }
}

/// PUT to a name that does not exist, where the kind allows it.
fn replacing_nothing(call: &Call<'_>, Replacement { object, check }: Replacement<'_>) -> ApiResult<Value> {
    if !call.resource.strategy.allow_create_on_update {
        return Err(call.not_found());
    }
    check_uid(call, object, &Value::Null)?;
    if !object.resource_version().is_empty() {
        return Err(call.not_found());
    }
    check(object, None)?;
    Ok(object.clone())
}

/// The rules of an endpoint that writes a part of the object.
fn part(call: &Call<'_>, name: &str) -> ApiResult<SubresourceUpdate> {
    call.resource.subresource(name).and_then(|s| s.update).ok_or_else(|| call.not_found())
}

/// A resourceVersion that the client named must be the current one.
fn check_version(call: &Call<'_>, new: &Value, old: &Value) -> ApiResult<()> {
    let version = new.resource_version();
    if version.is_empty() {
        if call.resource.strategy.allow_unconditional_update {
            return Ok(());
        }
        let path = apimachinery::field::Path::new("metadata").child("resourceVersion");
        let error = apimachinery::field::Error::invalid(&path, 0, "must be specified for an update");
        // Upstream names the resource here where other refusals name the kind.
        let kind = GroupVersionKind::new(call.resource.group, call.version, call.resource.plural);
        return Err(ApiError::invalid(&kind, call.name, &vec![error]));
    }
    if version == old.resource_version() { Ok(()) } else { Err(ApiError::modified(&call.group_resource(), call.name)) }
}

/// True if nothing holds an object back that is to be deleted.
fn is_finished(object: &Value) -> bool {
    object.is_deleting()
        && object.i64_at("metadata/deletionGracePeriodSeconds").unwrap_or(0) == 0
        && object.finalizers().is_empty()
        && (object.kind() != "Namespace" || object.array_at("spec/finalizers").is_empty())
}

fn finish(call: &Call<'_>, mut built: Prepared, attempt: &mut Attempt) -> storage::Change {
    if call.dry_run {
        attempt.dry = Some(built.dry_run());
        return storage::Change::Keep;
    }
    let new = built.encode(call.resource);
    // The turn stays with the attempt until this is written.
    storage::Change::PutWith(new, std::mem::take(&mut attempt.charged.companions))
}

pub(crate) fn flatten(error: UpdateError<ApiError>) -> ApiError {
    match error {
        UpdateError::Refused(error) => error,
        UpdateError::Storage(error) => from_storage(error),
    }
}

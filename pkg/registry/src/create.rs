//! Creation: default, mutate, default, prepare, validate, validating admission, quota and commit.

use apimachinery::managed::Ordered;
use apimachinery::meta::ObjectExt as _;
use apimachinery::{ApiError, ApiResult};
use apis::resource::Resource;
use bytes::Bytes;
use serde_json::Value;
use storage::{NewObject, StorageError, StoredObject, UpdateError};

use crate::call::{Call, Charged, Operation};
use crate::errors::from_storage;
use crate::metadata::Seen;
use crate::update::flatten;
use crate::{Registry, attributes, keys, managed, metadata, names, rows};

/// Whose the fields of an object that is written become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ownership {
    /// The caller's, as far as they changed.
    Writer,
    /// As the object says already.
    Settled,
}

/// An object that may be stored.
pub(crate) struct Prepared {
    pub object: Value,
    /// The list of owners as text, unless the object has it.
    pub managed_fields: Option<String>,
}

impl Prepared {
    /// An object that has its list of owners, or none.
    pub(crate) fn whole(object: Value) -> Self {
        Self { object, managed_fields: None }
    }

    /// As it is stored.
    pub(crate) fn encode(&self, resource: &Resource) -> NewObject {
        NewObject::encode_with(&self.object, self.managed_fields.as_deref(), attributes::of(resource, &self.object))
    }

    /// What a dry run answers: the bytes of the object with its list, which it then has.
    pub(crate) fn dry_run(&mut self) -> Bytes {
        if let Some(text) = self.managed_fields.take() {
            // Written here, so it is JSON.
            managed::put(&mut self.object, serde_json::from_str(&text).ok());
        }
        to_bytes(&self.object)
    }

    /// Gives up the list of owners; false if there is none.
    fn forget_owners(&mut self) -> bool {
        self.managed_fields.take().is_some() | managed::take(&mut self.object).is_some()
    }
}

impl Registry {
    /// Creates `object`, which is in the call's version. Answers the stored bytes, in the storage version.
    pub async fn create(&self, call: &Call<'_>, mut object: Value) -> ApiResult<Bytes> {
        metadata::settle_namespace(call, &mut object)?;
        metadata::dedup_owners(call, &mut object, Seen::InRequest);
        let generated = object.name().is_empty() && !object.meta_str("generateName").is_empty();
        let mut built = self.prepare_create(call, object, generated, Ownership::Writer).await?;
        for attempt in 1.. {
            match self.commit_create(call, &mut built).await {
                Err(error) if generated && error.reason() == "AlreadyExists" && attempt < names::ATTEMPTS => {
                    let name = names::generate(built.object.meta_str("generateName"));
                    built.object.metadata_mut().insert("name".to_owned(), name.into());
                }
                // The list of owners may be what is too much.
                Err(error) if managed::is_too_large(&error) && built.forget_owners() => {}
                done => return done,
            }
        }
        unreachable!("the loop ends by returning")
    }

    /// Everything up to the quotas.
    pub(crate) async fn prepare_create(
        &self,
        call: &Call<'_>,
        mut object: Value,
        generated: bool,
        ownership: Ownership,
    ) -> ApiResult<Prepared> {
        let strategy = &call.resource.strategy;
        if !object.resource_version().is_empty() {
            return Err(ApiError::new(500, "", "resourceVersion should not be set on objects to be created"));
        }
        rows::to_storage(call.resource, &mut object);
        (strategy.default)(&mut object);
        let mut managed_fields = match ownership {
            Ownership::Writer => self.own_created(call, &mut object),
            Ownership::Settled => None,
        };
        let name = object.name().to_owned();
        let review = call.review(Operation::Create, &name);
        call.admission.mutate(&review, Some(&mut object), None).await?;
        match managed::take(&mut object) {
            Some(list) if managed::is_spoilt(&list) => {
                call.warn(managed::SPOILT);
                managed_fields = self.own_created(call, &mut object);
            }
            Some(list) => managed_fields = Some(managed::text_of(&list)),
            None => {}
        }
        metadata::dedup_owners(call, &mut object, Seen::AfterAdmission);
        (strategy.default)(&mut object);
        metadata::fill_system_fields(&mut object);
        metadata::tidy(&mut object);
        if generated && object.name().is_empty() {
            let name = names::generate(object.meta_str("generateName"));
            object.metadata_mut().insert("name".to_owned(), name.into());
        }
        // Of what the client wrote, before old ways of saying things are turned into new ones.
        let warnings = (strategy.warnings)(&object, None);
        (strategy.prepare_for_create)(&mut object);
        if let Some(fill) = strategy.fill_from_user {
            fill(&mut object, call.user);
        }
        if strategy.generation_changed.is_some() {
            object.metadata_mut().insert("generation".to_owned(), 1.into());
        }
        let mut errors = metadata::validate(call.resource, &object);
        errors.extend(self.refused_by_namespace(call, &object, None));
        errors.extend((strategy.validate)(&object));
        if !errors.is_empty() {
            return Err(ApiError::invalid(&call.kind(), object.name(), &errors));
        }
        for text in warnings {
            call.warn(text);
        }
        let review = call.review(Operation::Create, object.name());
        call.admission.validate(&review, Some(&object), None).await?;
        Ok(Prepared { object, managed_fields })
    }

    async fn commit_create(&self, call: &Call<'_>, built: &mut Prepared) -> ApiResult<Bytes> {
        let object = &mut built.object;
        let charged = self.charge(&call.review(Operation::Create, object.name()), object, None).await?;
        let reservation = self.services.begin(call, object, None).await?;
        let key = keys::object(call.resource, call.namespace, object.name());
        if call.dry_run {
            return match self.storage.get(&key) {
                Some(_) => Err(self.exists(call, &key, object)),
                None => Ok(built.dry_run()),
            };
        }
        match self.create_charged(call, &key, built, charged).await {
            Ok(stored) => {
                reservation.commit().await;
                self.expiry.written(call.resource, &stored);
                Ok(stored.body().clone())
            }
            Err(UpdateError::Storage(unknown @ StorageError::Unconfirmed)) => Err(from_storage(unknown)),
            Err(refused) => {
                reservation.abandon().await;
                Err(match refused {
                    UpdateError::Storage(StorageError::KeyExists { .. }) => self.exists(call, &key, &built.object),
                    other => flatten(other),
                })
            }
        }
    }

    /// Writes the object and what it is charged to in one step; again for as long as that changes meanwhile.
    async fn create_charged(
        &self,
        call: &Call<'_>,
        key: &str,
        built: &Prepared,
        mut charged: Charged,
    ) -> Result<StoredObject, UpdateError<ApiError>> {
        loop {
            let new = built.encode(call.resource);
            let Charged { companions, turn } = charged;
            if let Some(stored) = self.storage.create_with(key, new, companions).await? {
                return Ok(stored);
            }
            // Or it would wait for itself.
            drop(turn);
            let review = call.review(Operation::Create, built.object.name());
            charged = self.charge(&review, &built.object, None).await.map_err(UpdateError::Refused)?;
        }
    }

    /// The refusal of a name that is taken. Who gives a prefix as well is taken for one who did not choose the name.
    fn exists(&self, call: &Call<'_>, key: &str, object: &Value) -> ApiError {
        let error = ApiError::already_exists(&call.group_resource(), object.name());
        let mut details = error.details().cloned().unwrap_or_default();
        let mut message = error.message().to_owned();
        if !object.meta_str("generateName").is_empty() {
            message.push_str(", the server was not able to generate a unique name for the object");
            details.retry_after_seconds = 1;
        }
        if self.storage.get(key).is_some_and(|stored| stored.decode().is_deleting()) {
            message.insert_str(0, "object is being deleted: ");
        }
        ApiError::new(error.code(), error.reason(), message).with_details(details)
    }
}

/// An object that is not stored, as bytes.
pub(crate) fn to_bytes(object: &Value) -> Bytes {
    // A tree of strings, numbers and maps with string keys always has a JSON form.
    serde_json::to_vec(&Ordered(object)).unwrap_or_default().into()
}

//! One request to the registry, and the admission that comes with it.

use std::sync::{Mutex, PoisonError};

use apimachinery::meta::ObjectExt as _;
use apimachinery::{ApiError, ApiResult, GroupResource, GroupVersionKind, UserInfo};
use apis::resource::Resource;
use async_trait::async_trait;
use serde_json::Value;
use storage::{Companion, NewObject};

use crate::{attributes, keys};

/// What is about to happen to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    Create,
    Update,
    Delete,
    Connect,
}

/// A write: on what, by whom, and who has a say in it.
pub struct Call<'a> {
    pub resource: &'static Resource,
    /// The version the client speaks; answers are in the storage version and converted at the edge.
    pub version: &'static str,
    pub subresource: &'a str,
    pub namespace: &'a str,
    /// Empty where the body names the object.
    pub name: &'a str,
    pub user: &'a UserInfo,
    /// Under which name the caller comes to own what it sets: `fieldManager`, or what the client calls itself.
    pub field_manager: &'a str,
    pub dry_run: bool,
    pub admission: &'a dyn AdmissionHook,
    /// Texts for Warning headers, collected on the way.
    pub warnings: Mutex<Vec<String>>,
}

impl Call<'_> {
    pub fn group_resource(&self) -> GroupResource {
        self.resource.group_resource()
    }

    pub fn kind(&self) -> GroupVersionKind {
        self.resource.gvk(self.resource.storage_version)
    }

    pub fn warn(&self, text: impl Into<String>) {
        self.warnings.lock().unwrap_or_else(PoisonError::into_inner).push(text.into());
    }

    pub fn take_warnings(&self) -> Vec<String> {
        std::mem::take(&mut self.warnings.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn not_found(&self) -> ApiError {
        ApiError::not_found(&self.group_resource(), self.name)
    }

    /// What admission is asked about this call.
    pub(crate) fn review<'r>(&'r self, operation: Operation, name: &'r str) -> Review<'r> {
        Review { call: self, operation, name, kind: None }
    }

    /// As [`Self::review`], for an object of another kind than the resource's (Binding, Scale, Eviction).
    pub(crate) fn review_as<'r>(&'r self, operation: Operation, kind: GroupVersionKind) -> Review<'r> {
        Review { call: self, operation, name: self.name, kind: Some(kind) }
    }
}

/// A question to admission.
pub struct Review<'a> {
    pub call: &'a Call<'a>,
    pub operation: Operation,
    /// The object's name: from the path or, on create, from the body; empty if it is still to be generated.
    pub name: &'a str,
    /// Set when the object is not of the resource's own kind.
    pub kind: Option<GroupVersionKind>,
}

/// The admission chain, as the registry sees it. Objects are trees in the storage version.
#[async_trait]
pub trait AdmissionHook: Send + Sync {
    /// May change the object. `object` is `None` on delete and connect.
    async fn mutate(&self, review: &Review<'_>, object: Option<&mut Value>, old: Option<&Value>) -> ApiResult<()>;
    /// The last word before the commit, but for quotas.
    async fn validate(&self, review: &Review<'_>, object: Option<&Value>, old: Option<&Value>) -> ApiResult<()>;
    /// What an object that is written is charged to. Asked again when one of these changed before the commit.
    async fn charge(&self, _: &Review<'_>, _object: &Value, _old: Option<&Value>) -> ApiResult<Charge> {
        Ok(Charge::default())
    }
}

/// What a write is charged to.
#[derive(Default)]
pub struct Charge {
    /// ResourceQuotas as they were read, but for the status that they come to have by the write.
    pub quotas: Vec<Value>,
    /// Held until it is written, so that others wait instead of being in each other's way.
    pub turn: Option<Box<dyn Send + Sync>>,
}

/// A charge that is going to be written.
#[derive(Default)]
pub(crate) struct Charged {
    pub companions: Vec<Companion>,
    /// Given back when this is dropped.
    pub turn: Option<Box<dyn Send + Sync>>,
}

/// Lets everything pass: for objects that the server itself makes at start.
pub struct NoAdmission;

#[async_trait]
impl AdmissionHook for NoAdmission {
    async fn mutate(&self, _: &Review<'_>, _: Option<&mut Value>, _: Option<&Value>) -> ApiResult<()> {
        Ok(())
    }

    async fn validate(&self, _: &Review<'_>, _: Option<&Value>, _: Option<&Value>) -> ApiResult<()> {
        Ok(())
    }
}

impl crate::Registry {
    /// Asks what a write is charged to.
    pub(crate) async fn charge(&self, review: &Review<'_>, object: &Value, old: Option<&Value>) -> ApiResult<Charged> {
        loop {
            let Charge { quotas, turn } = review.call.admission.charge(review, object, old).await?;
            let companions: Option<Vec<_>> = quotas.iter().map(|quota| self.companion(quota)).collect();
            if let Some(companions) = companions {
                return Ok(Charged { companions, turn });
            }
        }
    }

    /// A changed quota, unless it is not any more what it was when it was read.
    fn companion(&self, quota: &Value) -> Option<Companion> {
        let row = self.rows.newest("", "resourcequotas")?.resource;
        let seen = self.storage.get(&keys::object(row, quota.namespace(), quota.name()))?;
        let object = NewObject::encode(quota, attributes::of(row, quota));
        (seen.revision().get().to_string() == quota.resource_version()).then_some(Companion { seen, object })
    }

    /// Asks admission about an object that is answered and not stored: a TokenRequest.
    pub async fn admit_create(&self, call: &Call<'_>, kind: &GroupVersionKind, object: &mut Value) -> ApiResult<()> {
        call.admission.mutate(&call.review_as(Operation::Create, kind.clone()), Some(object), None).await?;
        call.admission.validate(&call.review_as(Operation::Create, kind.clone()), Some(object), None).await
    }

    /// Asks admission about a connection to a pod, service or node.
    pub async fn admit_connect(&self, call: &Call<'_>) -> ApiResult<()> {
        let review = call.review(Operation::Connect, call.name);
        call.admission.mutate(&review, None, None).await?;
        call.admission.validate(&review, None, None).await
    }
}

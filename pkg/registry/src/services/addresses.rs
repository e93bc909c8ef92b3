//! The addresses of Services: each is an IPAddress object that names its Service. Who made the object has the address,
//! so no two writers can take the same one.

use std::net::IpAddr;

use apimachinery::ApiResult;
use apimachinery::meta::ObjectExt as _;
use apis::resource::Resource;
use futures::future::BoxFuture;
use serde_json::{Value, json};
use storage::{Change, NewObject, Storage, StorageError, StoredObject};

use crate::errors::from_storage;
use crate::{attributes, keys, managed, metadata};

pub(super) const FAMILY: &str = "ipaddress.kubernetes.io/ip-family";
pub(super) const MANAGED_BY: &str = "ipaddress.kubernetes.io/managed-by";
pub(super) const MANAGER: &str = "ipallocator.k8s.io";

/// The IPAddress objects.
#[derive(Clone)]
pub(super) struct Ledger {
    storage: Storage,
    row: &'static Resource,
}

/// The Service that an address is for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Holder {
    pub namespace: String,
    pub name: String,
}

impl Holder {
    pub fn of(service: &Value) -> Self {
        Self { namespace: service.namespace().to_owned(), name: service.name().to_owned() }
    }

    /// The Service that an IPAddress names, if it names one.
    pub fn named_by(address: &Value) -> Option<Self> {
        let text = |field: &str| address.str_at(field).to_owned();
        let is_service = address.str_at("spec/parentRef/group").is_empty()
            && address.str_at("spec/parentRef/resource") == "services";
        is_service.then(|| Self { namespace: text("spec/parentRef/namespace"), name: text("spec/parentRef/name") })
    }
}

impl Ledger {
    pub fn new(storage: Storage, row: &'static Resource) -> Self {
        Self { storage, row }
    }

    fn key(&self, address: IpAddr) -> String {
        keys::object(self.row, "", &address.to_string())
    }

    /// The object of `address`.
    pub fn get(&self, address: IpAddr) -> Option<StoredObject> {
        self.storage.get(&self.key(address))
    }

    /// The object of that name.
    pub fn stored(&self, name: &str) -> Option<StoredObject> {
        self.storage.get(&keys::object(self.row, "", name))
    }

    pub fn all(&self) -> ApiResult<Vec<StoredObject>> {
        let page = self.storage.list(&keys::prefix(self.row, None), &storage::ListOptions::default());
        Ok(page.map_err(from_storage)?.items)
    }

    /// Writes that `holder` has `address`. False if somebody has it.
    pub async fn take(&self, address: IpAddr, holder: &Holder) -> ApiResult<bool> {
        let object = self.object(address, holder);
        match self
            .storage
            .create(&self.key(address), NewObject::encode(&object, attributes::of(self.row, &object)))
            .await
        {
            Ok(_) => Ok(true),
            Err(StorageError::KeyExists { .. }) => Ok(false),
            Err(other) => Err(from_storage(other)),
        }
    }

    /// Writes that `holder` has `address`, whatever was written before.
    pub async fn correct(&self, address: IpAddr, holder: &Holder) -> ApiResult<()> {
        self.remove_if(address, |_| true).await?;
        self.take(address, holder).await.map(drop)
    }

    /// Gives `address` back if it is `holder` that has it.
    pub async fn give_back(&self, address: IpAddr, holder: &Holder) -> ApiResult<()> {
        self.remove_if(address, |object| Holder::named_by(object).as_ref() == Some(holder)).await
    }

    /// Removes the object of `address` if it is as `condition` says when that happens.
    pub async fn remove_if(&self, address: IpAddr, condition: impl Fn(&Value) -> bool + Send + Sync) -> ApiResult<()> {
        let decide = |current: Option<StoredObject>| {
            let object = current.map(|stored| stored.decode());
            let goes = object.is_some_and(|object| object.finalizers().is_empty() && condition(&object));
            let change = if goes { Change::Delete } else { Change::Keep };
            Box::pin(std::future::ready(Ok(change))) as BoxFuture<'_, _>
        };
        self.storage.guaranteed_update(&self.key(address), decide).await.map(drop).map_err(crate::update::flatten)
    }

    fn object(&self, address: IpAddr, holder: &Holder) -> Value {
        let family = if address.is_ipv4() { "IPv4" } else { "IPv6" };
        let mut object = json!({
            "apiVersion": "networking.k8s.io/v1", "kind": "IPAddress",
            "metadata": { "name": address.to_string(), "labels": { FAMILY: family, MANAGED_BY: MANAGER } },
            "spec": {
                "parentRef": { "resource": "services", "namespace": holder.namespace, "name": holder.name },
            },
        });
        managed::own_made(self.row, &mut object);
        metadata::fill_system_fields(&mut object);
        object
    }
}

/// True if the labels are those that [`Ledger::take`] writes.
pub(super) fn has_right_labels(object: &Value) -> bool {
    let label = |key: &str| object.labels().and_then(|labels| labels.get(key)?.as_str()).unwrap_or("");
    let family = if object.name().contains(':') { "IPv6" } else { "IPv4" };
    label(FAMILY) == family && label(MANAGED_BY) == MANAGER
}

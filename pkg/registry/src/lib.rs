//! One generic store for every kind: create, get, list, watch, update, patch, delete and the subresources, over untyped
//! trees in the storage version. What is particular about a kind is its row ([`apis::resource::Resource`]); the few
//! resources with effects beyond their own object (Services and their addresses, Pods and their binding and eviction,
//! Namespaces and their finalizers, Events and their age) have a module each.
//!
//! It must not know HTTP, authentication, authorization or Raft. Admission comes in with each [`Call`].
//! Start reading at [`Registry`], then [`create`](Registry::create) and [`update`](Registry::update).

mod attributes;
mod bitmap;
mod call;
mod create;
mod delete;
mod errors;
mod eviction;
mod expiry;
mod keys;
mod list;
mod managed;
mod metadata;
mod names;
mod namespaces;
mod pods;
mod reach;
mod reset;
mod rows;
mod scale;
mod services;
mod update;
mod watch;

use std::sync::Arc;

use apimachinery::{ApiError, ApiResult};
use apis::resource::Resource;
use serde_json::Value;
use storage::Storage;
pub use storage::StoredObject;

pub use attributes::Selection;
pub use call::{AdmissionHook, Call, Charge, NoAdmission, Operation, Review};
pub use delete::{DeleteOptions, Deleted, Propagation};
pub use keys::{VITAL as VITAL_KEYS, split as split_key};
pub use list::{ListError, ListPage, ListQuery, ResourceVersionMatch};
pub use managed::Application;
pub use pods::set_condition;
pub use rows::{Found, Rows, to_storage, to_version};
pub use services::ServiceOptions;
pub use update::{Change, Check, Replacement, Written};
pub use watch::{Watch, WatchEvent, WatchQuery};

/// What the registry is made of.
pub struct Options {
    pub storage: Storage,
    pub resources: &'static [Resource],
    pub services: ServiceOptions,
}

/// All resources over one storage. Cheap to share: hold it in an [`Arc`].
pub struct Registry {
    storage: Storage,
    rows: Rows,
    services: services::Allocations,
    expiry: Arc<expiry::Queue>,
    resets: reset::Resets,
}

impl Registry {
    /// Builds the registry and reads back what is reserved (ports of services, ages of events).
    pub fn new(options: Options) -> ApiResult<Arc<Self>> {
        let rows = Rows::new(options.resources);
        let registry = Self {
            services: services::Allocations::new(options.services, options.storage.clone(), &rows)?,
            rows,
            expiry: Arc::new(expiry::Queue::default()),
            resets: reset::Resets::of(options.resources),
            storage: options.storage,
        };
        registry.services.load()?;
        registry.expiry.load(&registry.storage)?;
        Ok(Arc::new(registry))
    }

    pub fn rows(&self) -> &Rows {
        &self.rows
    }

    /// The ranges that Services are given addresses and ports from.
    pub fn service_options(&self) -> &ServiceOptions {
        self.services.options()
    }

    /// The newest revision.
    pub fn revision(&self) -> u64 {
        self.storage.revision().get()
    }

    /// Deletes events when their time has come; ends with `shutdown`.
    pub async fn expire_events(&self, shutdown: component_base::Shutdown) {
        self.expiry.run(&self.storage, shutdown).await;
    }

    /// The stored object as it is now.
    pub fn get(&self, resource: &'static Resource, namespace: &str, name: &str) -> ApiResult<StoredObject> {
        self.storage
            .get(&keys::object(resource, namespace, name))
            .ok_or_else(|| ApiError::not_found(&resource.group_resource(), name))
    }

    /// The tree of an object as it is now; `None` if there is no such resource or object. For readers in this process.
    pub fn read(&self, group: &str, plural: &str, namespace: &str, name: &str) -> Option<Value> {
        self.read_stored(group, plural, namespace, name).map(|stored| stored.decode())
    }

    /// As [`Self::read`], without decoding.
    pub fn read_stored(&self, group: &str, plural: &str, namespace: &str, name: &str) -> Option<StoredObject> {
        let found = self.rows.newest(group, plural)?;
        self.storage.get(&keys::object(found.resource, namespace, name))
    }

    /// All objects of a resource as they are now, of one namespace or (empty) of all.
    pub fn read_all(&self, group: &str, plural: &str, namespace: &str) -> Vec<StoredObject> {
        let Some(found) = self.rows.newest(group, plural) else { return Vec::new() };
        let scope = Some(namespace).filter(|n| !n.is_empty());
        let options = storage::ListOptions::default();
        let page = self.storage.list(&keys::prefix(found.resource, scope), &options);
        page.map(|page| page.items).unwrap_or_default()
    }
}

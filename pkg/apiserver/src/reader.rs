//! The registry as the readers that authentication and admission want: the newest state, in this process.

use std::sync::Arc;

use apimachinery::meta::ObjectExt as _;
use apimachinery::time::parse_seconds;
use apimachinery::{ApiResult, GroupResource};
use async_trait::async_trait;
use auth::Attributes;
use auth::authz::Authorizer;
use auth::token::{BoundObject, Lister};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use registry::Registry;
use serde_json::Value;

/// What tokens are bound to, out of the registry.
pub struct TokenLister(pub Arc<Registry>);

impl TokenLister {
    fn read(&self, plural: &str, namespace: &str, name: &str) -> Option<Value> {
        self.0.read("", plural, namespace, name)
    }
}

fn bound(object: &Value) -> BoundObject {
    let deletion_timestamp = parse_seconds(object.meta_str("deletionTimestamp"));
    BoundObject { uid: object.uid().to_owned(), deletion_timestamp, token: Vec::new() }
}

impl Lister for TokenLister {
    fn service_account(&self, namespace: &str, name: &str) -> Option<BoundObject> {
        self.read("serviceaccounts", namespace, name).map(|object| bound(&object))
    }

    fn pod(&self, namespace: &str, name: &str) -> Option<BoundObject> {
        self.read("pods", namespace, name).map(|object| bound(&object))
    }

    fn secret(&self, namespace: &str, name: &str) -> Option<BoundObject> {
        let object = self.read("secrets", namespace, name)?;
        let token = STANDARD.decode(object.str_at("data/token")).unwrap_or_default();
        Some(BoundObject { token, ..bound(&object) })
    }

    fn node(&self, name: &str) -> Option<BoundObject> {
        self.read("nodes", "", name).map(|object| bound(&object))
    }
}

/// What admission reads, out of the registry.
pub struct AdmissionReader(pub Arc<Registry>);

#[async_trait]
impl admission::Reader for AdmissionReader {
    fn get(&self, resource: &GroupResource, namespace: &str, name: &str) -> Option<Value> {
        self.0.read(&resource.group, &resource.resource, namespace, name)
    }

    fn list(&self, resource: &GroupResource, namespace: &str) -> Vec<Value> {
        let stored = self.0.read_all(&resource.group, &resource.resource, namespace);
        stored.iter().map(registry::StoredObject::decode).collect()
    }

    async fn update_status(
        &self,
        resource: &GroupResource,
        namespace: &str,
        name: &str,
        change: &mut admission::StatusChange<'_>,
    ) -> ApiResult<Value> {
        self.0.change_status(resource, namespace, name, change).await
    }
}

/// What admission asks about permissions.
pub struct Permissions(pub Arc<dyn Authorizer>);

impl admission::Authorizer for Permissions {
    fn is_allowed(&self, asked: &admission::Permission<'_>) -> bool {
        let attributes = Attributes::resource(asked.user, asked.verb, asked.group, asked.resource)
            .sub(asked.subresource)
            .in_namespace(asked.namespace)
            .named(asked.name);
        self.0.authorize(&attributes).is_allowed()
    }
}

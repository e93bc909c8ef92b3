//! What plugins may ask of the rest of the server.

use std::sync::Arc;

use apimachinery::{ApiResult, GroupResource, UserInfo};
use async_trait::async_trait;
use serde_json::Value;

/// Reads the newest state of this server, in process: no plugin sees an old cache. `namespace` is empty for cluster-scoped resources.
#[async_trait]
pub trait Reader: Send + Sync {
    fn get(&self, resource: &GroupResource, namespace: &str, name: &str) -> Option<Arc<Value>>;

    /// Returns when what is read is as new as everything written before the call, on whatever server. False if it always is.
    async fn catch_up(&self) -> ApiResult<bool> {
        Ok(false)
    }

    /// All objects of a resource in a namespace, or everywhere if that is empty.
    fn list(&self, resource: &GroupResource, namespace: &str) -> Vec<Arc<Value>>;
}

/// A question about a permission.
#[derive(Clone, Copy, Debug)]
pub struct Permission<'a> {
    pub user: &'a UserInfo,
    pub verb: &'a str,
    pub group: &'a str,
    pub resource: &'a str,
    pub subresource: &'a str,
    pub namespace: &'a str,
    pub name: &'a str,
}

/// Answers whether a user may do something.
pub trait Authorizer: Send + Sync {
    fn is_allowed(&self, permission: &Permission<'_>) -> bool;
}

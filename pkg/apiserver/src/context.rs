//! One request on its way through the server.

use std::sync::Arc;

use apimachinery::{ApiError, ApiResult, UserInfo};
use http::HeaderMap;
use http::request::Parts;
use hyper::upgrade::OnUpgrade;
use parking_lot::Mutex;
use registry::{Call, Found, Registry};

use crate::http::path::RequestInfo;
use crate::http::query::Query;
use crate::server::Inner;

/// What every handler gets: borrowed, made once a request.
pub struct Context<'a> {
    pub server: &'a Arc<Inner>,
    pub parts: &'a Parts,
    pub info: RequestInfo<'a>,
    pub query: Query<'a>,
    pub user: Arc<UserInfo>,
    /// The connection itself, for requests that ask to change protocols. Taken once.
    pub upgrade: Mutex<Option<OnUpgrade>>,
}

impl Context<'_> {
    pub fn registry(&self) -> &Registry {
        &self.server.config.registry
    }

    pub fn headers(&self) -> &HeaderMap {
        &self.parts.headers
    }

    /// The registry's form of this request.
    pub fn call<'s>(&'s self, found: Found, subresource: &'s str) -> ApiResult<Call<'s>> {
        Ok(Call {
            resource: found.resource,
            version: found.version,
            subresource,
            namespace: &self.info.namespace,
            name: &self.info.name,
            user: &self.user,
            dry_run: self.query.dry_run()?,
            admission: &*self.server.config.admission,
            warnings: std::sync::Mutex::default(),
        })
    }

    /// The namespace of a list, watch or deletion of many; `None` is all of them.
    pub fn scope(&self, found: Found) -> Option<&str> {
        Some(&*self.info.namespace).filter(|namespace| found.resource.namespaced && !namespace.is_empty())
    }
}

/// The answer to a method that an endpoint does not have.
pub fn method_not_allowed() -> ApiError {
    ApiError::new(405, "MethodNotAllowed", "the server does not allow this method on the requested resource")
}

//! One request on its way through the server.

use std::sync::Arc;

use apimachinery::managed::MANAGER_LENGTH_MAX;
use apimachinery::{ApiError, ApiResult, UserInfo};
use http::HeaderMap;
use http::header::USER_AGENT;
use http::request::Parts;
use hyper::upgrade::OnUpgrade;
use parking_lot::Mutex;
use registry::{Call, Found, Registry};

use crate::http::path::RequestInfo;
use crate::http::query::Query;
use crate::server::Inner;

/// The group of options in errors.
pub const META: &str = "meta.k8s.io";

/// What every handler gets: borrowed, made once a request.
pub struct Context<'a> {
    pub server: &'a Arc<Inner>,
    pub parts: &'a Parts,
    pub info: RequestInfo<'a>,
    /// The resource that is asked for; `None` if it is not served, or none is.
    pub found: Option<Found>,
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
            field_manager: self.field_manager(),
            dry_run: self.query.dry_run(),
            admission: &*self.server.config.admission,
            warnings: std::sync::Mutex::default(),
        })
    }

    /// The name under which the caller owns what it writes: `fieldManager`, or the client's name out of `User-Agent`.
    fn field_manager(&self) -> &str {
        match self.query.get("fieldManager") {
            "" => agent_name(self.headers()),
            name => name,
        }
    }

    /// The kind of the query's options, as errors name it.
    pub fn options_kind(&self) -> &'static str {
        match self.info.verb {
            "create" => "CreateOptions",
            "update" => "UpdateOptions",
            "patch" => "PatchOptions",
            _ => "DeleteOptions",
        }
    }

    /// The namespace of a list, watch or deletion of many; `None` is all of them.
    pub fn scope(&self, found: Found) -> Option<&str> {
        Some(&*self.info.namespace).filter(|namespace| found.resource.namespaced && !namespace.is_empty())
    }
}

/// What a client calls itself: the part before `/`, cut at the length of a manager's name.
fn agent_name(headers: &HeaderMap) -> &str {
    let agent = headers.get(USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or("");
    let name = agent.split('/').next().unwrap_or("");
    // Header texts are visible ASCII: every byte is a character.
    &name[..name.len().min(MANAGER_LENGTH_MAX)]
}

/// The answer to a method that an endpoint does not have.
pub fn method_not_allowed() -> ApiError {
    ApiError::new(405, "MethodNotAllowed", "the server does not allow this method on the requested resource")
}

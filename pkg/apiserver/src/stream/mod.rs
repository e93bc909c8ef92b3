//! Requests that are answered by somebody else: kubelets (logs, exec, attach, port-forward) and what runs in the cluster
//! (the `proxy` endpoints). The request is passed on, upgrades included, and the bytes go through.

mod dial;
mod forward;
mod pods;
mod proxy;

use apimachinery::{ApiError, ApiResult};
use auth::Attributes;
use http::Method;
use registry::Found;

use crate::context::{Context, method_not_allowed};
use crate::http::body::RequestBody;
use crate::http::respond::Response;

pub use dial::KubeletDialer;

/// Answers `log`, `exec`, `attach`, `portforward` and `proxy`.
pub async fn serve(context: &Context<'_>, found: Found, body: RequestBody) -> ApiResult<Response> {
    let info = &context.info;
    let sub = found.resource.subresource(info.subresource).ok_or_else(ApiError::page_not_found)?;
    if !sub.verbs.contains(info.verb) {
        return Err(method_not_allowed());
    }
    if sub.name != "log" {
        require_create(context)?;
        context.registry().admit_connect(&context.call(found, sub.name)?).await?;
    }
    match (found.resource.plural, sub.name) {
        ("pods", "log") => pods::log(context, found, body).await,
        ("pods", "exec" | "attach") => pods::exec(context, found, body, sub.name).await,
        ("pods", "portforward") => pods::port_forward(context, found, body).await,
        ("pods", "proxy") => proxy::pod(context, found, body).await,
        ("services", "proxy") => proxy::service(context, body).await,
        ("nodes", "proxy") => proxy::node(context, found, body).await,
        _ => Err(ApiError::page_not_found()),
    }
}

/// A WebSocket starts with GET, but it does what POST does: both permissions are needed.
fn require_create(context: &Context<'_>) -> ApiResult<()> {
    let info = &context.info;
    if context.parts.method != Method::GET || !matches!(info.subresource, "exec" | "attach" | "portforward") {
        return Ok(());
    }
    let attributes = Attributes {
        namespace: &info.namespace,
        subresource: info.subresource,
        name: &info.name,
        api_version: info.version,
        ..Attributes::resource(&context.user, "create", info.group, info.resource)
    };
    auth::authz::require(&*context.server.config.authorizer, &attributes)
}

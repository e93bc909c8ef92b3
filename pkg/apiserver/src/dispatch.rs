//! Which handler answers: by hand-split path, not by a route table.

use apimachinery::{ApiError, ApiResult};
use http::{Method, StatusCode};

use crate::context::{Context, method_not_allowed};
use crate::http::body::RequestBody;
use crate::http::respond::{self, Response};
use crate::{discovery, health, joining, openapi, resource, snapshots, tokens};

pub async fn serve(context: &Context<'_>, body: RequestBody) -> ApiResult<Response> {
    if context.info.is_resource {
        return resource::serve(context, body).await;
    }
    let path = context.info.path;
    if joining::is_path(path) {
        return joining::serve(context, path, body).await;
    }
    if snapshots::is_path(path) {
        return snapshots::serve(context, path, body).await;
    }
    if !matches!(context.parts.method, Method::GET | Method::HEAD) {
        return Err(method_not_allowed());
    }
    let path = if path.len() > 1 { path.trim_end_matches('/') } else { path };
    match path {
        "/version" => respond::value(
            StatusCode::OK,
            &serde_json::to_value(component_base::version::info()).map_err(ApiError::internal)?,
            crate::http::negotiate::negotiate(context.headers(), &context.query, false)?,
        ),
        "/healthz" | "/livez" | "/readyz" => health::serve(context, &path[1..]).await,
        "/metrics" => {
            context.server.fairness.observe();
            Ok(health::metrics())
        }
        "/.well-known/openid-configuration" => Ok(tokens::openid_configuration(context)),
        "/openid/v1/jwks" => Ok(tokens::jwks(context)),
        "/" => Ok(discovery::root(context)),
        _ if path.starts_with("/openapi/") => openapi::serve(context, path),
        _ if is_health_part(path) => health::serve(context, &path[1..]).await,
        _ => discovery::serve(context, path),
    }
}

/// `/readyz/ping` and the like.
fn is_health_part(path: &str) -> bool {
    ["/healthz/", "/livez/", "/readyz/"].iter().any(|prefix| path.starts_with(prefix))
}

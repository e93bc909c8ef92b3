//! The way of every request: limits, authentication, impersonation, authorization, dispatch, metrics.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use apimachinery::{ApiError, ApiResult, UserInfo};
use auth::Attributes;
use futures::FutureExt as _;
use http::request::Parts;
use http::{HeaderMap, Request};
use hyper::upgrade::OnUpgrade;
use parking_lot::Mutex;

use crate::context::Context;
use crate::http::body::RequestBody;
use crate::http::path::RequestInfo;
use crate::http::query::Query;
use crate::http::respond::{self, Response};
use crate::peer::Peer;
use crate::server::Inner;
use crate::{dispatch, limits};

/// How long a request that is not long-running may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

/// Serves one request; every failure becomes a `Status`.
pub async fn serve(server: Arc<Inner>, request: Request<RequestBody>, peer: Arc<Peer>) -> Response {
    let started = Instant::now();
    let (mut parts, body) = request.into_parts();
    let upgrade = parts.extensions.remove::<OnUpgrade>();
    let query = Query::parse(parts.uri.query().unwrap_or(""));
    let info = RequestInfo::parse(&parts.method, parts.uri.path(), &query);
    let served = server.metrics.start(&info, server.config.registry.rows());
    let long_running = info.is_long_running();
    let work = run(&server, &parts, info, query, body, upgrade, &peer);
    let work = AssertUnwindSafe(work).catch_unwind();
    let outcome = if long_running {
        work.await
    } else {
        match tokio::time::timeout(REQUEST_TIMEOUT, work).await {
            Ok(outcome) => outcome,
            Err(_) => Ok(Err(ApiError::timeout("request did not complete within the allotted timeout"))),
        }
    };
    let response = match outcome {
        Ok(Ok(response)) => respond::compress(&parts.headers, response),
        Ok(Err(error)) => respond::error(&error),
        Err(_) => {
            tracing::error!(path = parts.uri.path(), "a request handler panicked");
            respond::error(&ApiError::internal("the server failed to handle this request"))
        }
    };
    server.metrics.done(&served, response.status().as_u16(), started.elapsed());
    response
}

async fn run<'a>(
    server: &'a Arc<Inner>,
    parts: &'a Parts,
    info: RequestInfo<'a>,
    query: Query<'a>,
    body: RequestBody,
    upgrade: Option<OnUpgrade>,
    peer: &Peer,
) -> ApiResult<Response> {
    let user = authenticate(server, parts, peer)?;
    let user = match auth::impersonation::impersonate(&parts.headers, &user, &*server.config.authorizer)? {
        Some(other) => Arc::new(other),
        None => user,
    };
    let exempt = peer.is_in_process() || info.is_long_running() || user.in_group("system:masters");
    let _slot: Option<limits::Slot<'_>> = if exempt { None } else { Some(server.limits.enter(info.verb)?) };
    let context = Context { server, parts, info, query, user, upgrade: Mutex::new(upgrade) };
    authorize(&context)?;
    dispatch::serve(&context, body).await
}

/// The identity that an in-process caller attached, or that of the credentials.
fn authenticate(server: &Inner, parts: &Parts, peer: &Peer) -> ApiResult<Arc<UserInfo>> {
    if peer.is_in_process() {
        if let Some(user) = parts.extensions.get::<Arc<UserInfo>>() {
            return Ok(user.clone());
        }
        if let Some(user) = parts.extensions.get::<UserInfo>() {
            return Ok(Arc::new(user.clone()));
        }
    }
    let bare = !has_token(&parts.headers);
    if let Some(user) = peer.known_user().filter(|_| bare) {
        return Ok(user);
    }
    let user = server.config.authenticator.authenticate(parts, peer.certificates())?;
    let user = Arc::new(user.ok_or_else(auth::authn::unauthorized)?);
    if bare && user.name != "system:anonymous" {
        peer.remember(user.clone());
    }
    Ok(user)
}

/// True if something besides the connection's certificate says who this is.
fn has_token(headers: &HeaderMap) -> bool {
    headers.contains_key(http::header::AUTHORIZATION) || headers.contains_key(http::header::SEC_WEBSOCKET_PROTOCOL)
}

fn authorize(context: &Context<'_>) -> ApiResult<()> {
    let info = &context.info;
    let name_selected = selected_name(context);
    let attributes = Attributes {
        user: &context.user,
        verb: info.verb,
        api_group: info.group,
        api_version: info.version,
        namespace: &info.namespace,
        resource: info.resource,
        subresource: info.subresource,
        name: name_selected.as_deref().unwrap_or(&info.name),
        path: info.path,
        resource_request: info.is_resource,
        field_selector: context.query.get("fieldSelector"),
    };
    auth::authz::require(&*context.server.config.authorizer, &attributes)
}

/// A list of the one object `metadata.name=x` is authorized as by its name.
fn selected_name(context: &Context<'_>) -> Option<String> {
    if !matches!(context.info.verb, "list" | "watch" | "deletecollection") || !context.info.name.is_empty() {
        return None;
    }
    let text = context.query.get("fieldSelector");
    if !text.contains("metadata.name") {
        return None;
    }
    let selector = apimachinery::fields::FieldSelector::parse(text).ok()?;
    selector.exact("metadata.name").map(str::to_owned)
}

//! The way of every request: deadline, authentication, impersonation, fairness, authorization, dispatch, metrics.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use apimachinery::{ApiError, ApiResult, UserInfo};
use auth::Attributes;
use futures::FutureExt as _;
use http::request::Parts;
use http::{HeaderMap, HeaderName, Request};
use hyper::upgrade::OnUpgrade;
use parking_lot::Mutex;
use registry::Found;

use crate::context::Context;
use crate::fairness::{self, Flow, Ticket};
use crate::http::body::RequestBody;
use crate::http::path::RequestInfo;
use crate::http::query::Query;
use crate::http::respond::{self, Response};
use crate::peer::Peer;
use crate::server::Inner;
use crate::{dispatch, joining, limits};

const FLOW_SCHEMA: HeaderName = HeaderName::from_static("x-kubernetes-pf-flowschema-uid");
const PRIORITY_LEVEL: HeaderName = HeaderName::from_static("x-kubernetes-pf-prioritylevel-uid");

/// Marks answers that a person reads as they come, and may pause: logs, consoles, what is passed through.
#[derive(Clone, Copy)]
pub struct Patient;

/// What a request is given on its way that outlives its handler.
#[derive(Default)]
struct Admitted {
    flow: OnceLock<Arc<Flow>>,
    ticket: OnceLock<Ticket>,
}

/// Serves one request; every failure becomes a `Status`.
pub async fn serve(server: Arc<Inner>, request: Request<RequestBody>, peer: Arc<Peer>) -> Response {
    let started = Instant::now();
    let (mut parts, body) = request.into_parts();
    let upgrade = parts.extensions.remove::<OnUpgrade>();
    let query = Query::parse(parts.uri.query().unwrap_or(""));
    let info = RequestInfo::parse(&parts.method, parts.uri.path(), &query);
    let rows = server.config.registry.rows();
    let found = if info.is_resource { rows.find(info.group, info.version, info.resource) } else { None };
    let served = server.metrics.start(&info, found);
    let patient = info.is_long_running() && info.verb != "watch";
    let limit = if info.is_long_running() { Ok(None) } else { limits::deadline(&query).map(Some) };
    let admitted = Admitted::default();
    let outcome = match limit {
        Ok(limit) => {
            let work = run(&server, &parts, info, found, query, body, upgrade, &peer, limit, &admitted);
            let work = AssertUnwindSafe(work).catch_unwind();
            match limit {
                None => work.await,
                Some(limit) => tokio::time::timeout(limit, work).await.unwrap_or_else(|_| Ok(Err(limits::overdue()))),
            }
        }
        Err(error) => Ok(Err(error)),
    };
    let mut response = match outcome {
        Ok(Ok(response)) => respond::compress(&parts.headers, response),
        Ok(Err(error)) => respond::error(&parts, &error),
        Err(_) => {
            tracing::error!(path = parts.uri.path(), "a request handler panicked");
            respond::error(&parts, &ApiError::internal("the server failed to handle this request"))
        }
    };
    if let Some(flow) = admitted.flow.get() {
        response.headers_mut().insert(FLOW_SCHEMA, flow.schema_uid.clone());
        response.headers_mut().insert(PRIORITY_LEVEL, flow.level_uid.clone());
    }
    if patient {
        response.extensions_mut().insert(Patient);
    }
    server.metrics.done(&served, response.status().as_u16(), started.elapsed());
    response
}

async fn run<'a>(
    server: &'a Arc<Inner>,
    parts: &'a Parts,
    info: RequestInfo<'a>,
    found: Option<Found>,
    query: Query<'a>,
    body: RequestBody,
    upgrade: Option<OnUpgrade>,
    peer: &Peer,
    limit: Option<Duration>,
    admitted: &Admitted,
) -> ApiResult<Response> {
    if let Some(starting) = joining::not_yet(server, parts) {
        return Err(starting);
    }
    let user = authenticate(server, parts, peer)?;
    let user = match auth::impersonation::impersonate(&parts.headers, &user, &*server.config.authorizer)? {
        Some(other) => Arc::new(other),
        None => user,
    };
    let context = Context { server, parts, info, found, query, user, upgrade: Mutex::new(upgrade) };
    let name = selected_name(&context);
    let attributes = attributes(&context, name.as_deref());
    // Streams to kubelets are let in without a seat, as upstream lets them; watches take one while they begin.
    if !context.info.is_long_running() || context.info.verb == "watch" {
        let patience = limits::patience(limit);
        enter(&context, &attributes, if peer.is_in_process() { None } else { Some(patience) }, admitted).await?;
    }
    auth::authz::require(&*server.config.authorizer, &attributes)?;
    dispatch::serve(&context, body).await
}

/// Waits for a seat. `patience` is missing for callers in this process, who wait as long as it takes.
async fn enter(
    context: &Context<'_>,
    attributes: &Attributes<'_>,
    patience: Option<Duration>,
    admitted: &Admitted,
) -> ApiResult<()> {
    let count = || context.found.map_or(0, |found| context.registry().count(found.resource, context.scope(found)));
    let width = fairness::width(&context.info, &context.query, count);
    let (flow, outcome) = context.server.fairness.enter(attributes, patience, width).await;
    if let Some(flow) = flow {
        let _ = admitted.flow.set(flow);
    }
    if let Some(ticket) = outcome.map_err(|_| limits::too_many())? {
        let _ = admitted.ticket.set(ticket);
    }
    Ok(())
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

/// What the request wants to do. `name` is that of the one object that a selector leaves.
pub fn attributes<'c>(context: &'c Context<'_>, name: Option<&'c str>) -> Attributes<'c> {
    let info = &context.info;
    Attributes {
        user: &context.user,
        verb: info.verb,
        api_group: info.group,
        api_version: info.version,
        namespace: &info.namespace,
        resource: info.resource,
        subresource: info.subresource,
        name: name.unwrap_or(&info.name),
        path: info.path,
        resource_request: info.is_resource,
        field_selector: context.query.get("fieldSelector"),
    }
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

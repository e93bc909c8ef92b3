//! `proxy` of pods, services and nodes: a request to what runs in the cluster, through this server.

use std::net::{IpAddr, SocketAddr};

use apimachinery::meta::ObjectExt as _;
use apimachinery::{ApiError, ApiResult, GroupResource};
use http::header::LOCATION;
use http::{HeaderValue, Method, StatusCode};
use rand::seq::IndexedRandom as _;
use registry::Found;
use serde_json::Value;

use super::dial;
use super::forward::forward;
use crate::context::Context;
use crate::http::body::{RequestBody, ResponseBody};
use crate::http::respond::Response;

/// `[scheme:]name[:port]`, as the last part of a proxy path names its target.
struct Target<'a> {
    scheme: &'a str,
    name: &'a str,
    port: &'a str,
}

impl<'a> Target<'a> {
    fn parse(text: &'a str) -> ApiResult<Self> {
        let parts: Vec<&str> = text.split(':').collect();
        let target = match parts.as_slice() {
            [name] => Self { scheme: "", name, port: "" },
            [name, port] => Self { scheme: "", name, port },
            [scheme @ ("" | "http" | "https"), name, port] => Self { scheme, name, port },
            _ => return Err(ApiError::bad_request(format!("invalid proxy request {text:?}"))),
        };
        if target.scheme == "https" {
            return Err(ApiError::bad_request("https targets are not proxied"));
        }
        Ok(target)
    }
}

/// A request for the bare endpoint is sent to the one with a slash, so that relative links work.
fn slash_redirect(context: &Context<'_>) -> Option<Response> {
    let path = context.info.path;
    let reads = matches!(context.parts.method, Method::GET | Method::HEAD);
    if !reads
        || !context.info.rest.is_empty()
        || path.ends_with('/')
        || context.upgrade.lock().is_some() && upgrades(context)
    {
        return None;
    }
    let query = context.parts.uri.query().map(|q| format!("?{q}")).unwrap_or_default();
    let mut response = Response::new(ResponseBody::empty());
    *response.status_mut() = StatusCode::MOVED_PERMANENTLY;
    response.headers_mut().insert(LOCATION, HeaderValue::from_str(&format!("{path}/{query}")).ok()?);
    Some(response)
}

fn upgrades(context: &Context<'_>) -> bool {
    context.headers().contains_key(http::header::UPGRADE)
}

/// The path and query that the target sees.
fn inner_path(context: &Context<'_>) -> String {
    let query = context.parts.uri.query().map(|q| format!("?{q}")).unwrap_or_default();
    format!("/{}{query}", context.info.rest)
}

pub async fn pod(context: &Context<'_>, found: Found, body: RequestBody) -> ApiResult<Response> {
    let target = Target::parse(&context.info.name)?;
    if let Some(redirect) = slash_redirect(context) {
        return Ok(redirect);
    }
    let pod = context.registry().get(found.resource, &context.info.namespace, target.name)?.decode();
    let address: IpAddr = pod
        .str_at("status/podIP")
        .parse()
        .map_err(|_| ApiError::bad_request("address not allowed: the pod has no IP address"))?;
    let port = if target.port.is_empty() { first_port(&pod) } else { target.port.parse().ok() };
    let port = port.ok_or_else(|| ApiError::bad_request(format!("invalid port {:?}", target.port)))?;
    let node = pod.str_at("spec/nodeName");
    to(context, &Endpoint { address, port, node: node.to_owned() }, body).await
}

fn first_port(pod: &Value) -> Option<u16> {
    let ports = pod.array_at("spec/containers").iter().flat_map(|c| c.array_at("ports"));
    let first = ports.filter_map(|p| p.i64_at("containerPort")).find_map(|p| u16::try_from(p).ok());
    Some(first.unwrap_or(80))
}

/// What a request is passed on to.
#[derive(Clone)]
struct Endpoint {
    address: IpAddr,
    port: u16,
    /// Where it runs; empty if that is not known.
    node: String,
}

async fn to(context: &Context<'_>, endpoint: &Endpoint, body: RequestBody) -> ApiResult<Response> {
    let target = SocketAddr::new(endpoint.address, endpoint.port);
    dial::check(target.ip())?;
    // What has no node of ours (an endpoint that somebody wrote by hand) is no pod: it is reached from anywhere.
    let node = Some(&endpoint.node).filter(|node| !context.server.config.on_pod_network && !node.is_empty());
    let node = node.and_then(|node| context.registry().read("", "nodes", "", node));
    let stream = match node {
        Some(node) => dial::through(context.server.kubelets.dial(&node).await?, target).await?,
        None => dial::plain(target.ip(), target.port()).await?,
    };
    forward(context, stream, &target.to_string(), &inner_path(context), body).await
}

pub async fn service(context: &Context<'_>, body: RequestBody) -> ApiResult<Response> {
    let target = Target::parse(&context.info.name)?;
    if let Some(redirect) = slash_redirect(context) {
        return Ok(redirect);
    }
    let namespace = &*context.info.namespace;
    let services = GroupResource::new("", "services");
    let service = context.registry().read("", "services", namespace, target.name);
    let service = service.ok_or_else(|| ApiError::not_found(&services, target.name))?;
    let port_name = port_name(&service, target.port)?;
    let endpoints = endpoints(context, namespace, target.name, &port_name);
    let chosen = endpoints.choose(&mut rand::rng()).cloned();
    let chosen = chosen.ok_or_else(|| {
        ApiError::service_unavailable(format!("no endpoints available for service {:?}", target.name))
    })?;
    to(context, &chosen, body).await
}

/// The name of the port that is asked for by name, by number, or (if there is one only) not at all.
fn port_name(service: &Value, asked: &str) -> ApiResult<String> {
    let ports = service.array_at("spec/ports");
    let found = ports.iter().find(|port| {
        asked.is_empty() || port.str_at("name") == asked || port.i64_at("port").is_some_and(|n| n.to_string() == asked)
    });
    let missing =
        || ApiError::service_unavailable(format!("no service port {asked:?} found for service {:?}", service.name()));
    found.map(|port| port.str_at("name").to_owned()).ok_or_else(missing)
}

/// The ready addresses behind a service port.
fn endpoints(context: &Context<'_>, namespace: &str, service: &str, port_name: &str) -> Vec<Endpoint> {
    let slices = context.registry().read_all("discovery.k8s.io", "endpointslices", namespace);
    let mut found = Vec::new();
    for stored in slices {
        if stored.attributes().label("kubernetes.io/service-name") != Some(service) {
            continue;
        }
        let slice = stored.decode();
        let port = slice.array_at("ports").iter().find(|port| port.str_at("name") == port_name);
        let Some(port) = port.and_then(|p| p.i64_at("port")).and_then(|p| u16::try_from(p).ok()) else { continue };
        let ready = slice
            .array_at("endpoints")
            .iter()
            .filter(|endpoint| endpoint.at("conditions/ready").and_then(Value::as_bool).unwrap_or(true));
        found.extend(ready.flat_map(|endpoint| {
            let addresses = endpoint.array_at("addresses").iter().filter_map(Value::as_str);
            let node = endpoint.str_at("nodeName").to_owned();
            addresses.filter_map(|text| text.parse().ok()).map(move |address| Endpoint {
                address,
                port,
                node: node.clone(),
            })
        }));
    }
    found
}

pub async fn node(context: &Context<'_>, found: Found, body: RequestBody) -> ApiResult<Response> {
    let name = context.info.name.split(':').find(|part| !matches!(*part, "" | "https" | "http")).unwrap_or("");
    if let Some(redirect) = slash_redirect(context) {
        return Ok(redirect);
    }
    let node = context.registry().get(found.resource, "", name)?.decode();
    let stream = context.server.kubelets.dial(&node).await?;
    forward(context, stream, name, &inner_path(context), body).await
}

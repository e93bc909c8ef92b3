//! What the kubelet of a pod answers: logs, exec, attach, port-forward.

use std::fmt::Write as _;

use apimachinery::meta::ObjectExt as _;
use apimachinery::{ApiError, ApiResult};
use http::StatusCode;
use http::header::UPGRADE;
use registry::Found;
use serde_json::Value;

use super::forward::forward;
use crate::context::Context;
use crate::http::body::RequestBody;
use crate::http::respond::{self, Response};

/// The options of logs that kubelets understand.
const LOG_OPTIONS: [&str; 8] =
    ["follow", "previous", "sinceSeconds", "sinceTime", "timestamps", "tailLines", "limitBytes", "stream"];

pub async fn log(context: &Context<'_>, found: Found, body: RequestBody) -> ApiResult<Response> {
    let pod = pod(context, found)?;
    check_log_options(context)?;
    let container = container_of(context, &pod)?;
    if pod.str_at("spec/nodeName").is_empty() {
        // Nobody has anything to say yet.
        return Ok(respond::text(StatusCode::OK, ""));
    }
    let mut query = String::new();
    for option in LOG_OPTIONS {
        if let Some(value) = context.query.find(option) {
            push(&mut query, option, value);
        }
    }
    let path = format!("/containerLogs/{}/{}/{container}{query}", pod.namespace(), pod.name());
    to_kubelet(context, &pod, &path, body).await
}

pub async fn exec(context: &Context<'_>, found: Found, body: RequestBody, what: &str) -> ApiResult<Response> {
    require_upgrade(context)?;
    let pod = pod(context, found)?;
    let container = container_of(context, &pod)?;
    let mut query = String::new();
    // The kubelet calls the streams by other names than the API.
    for (api, kubelet) in [("stdin", "input"), ("stdout", "output"), ("stderr", "error"), ("tty", "tty")] {
        if context.query.is_true(api) {
            push(&mut query, kubelet, "1");
        }
    }
    for part in context.query.all("command") {
        push(&mut query, "command", part);
    }
    let path = format!("/{what}/{}/{}/{container}{query}", pod.namespace(), pod.name());
    to_kubelet(context, &pod, &path, body).await
}

pub async fn port_forward(context: &Context<'_>, found: Found, body: RequestBody) -> ApiResult<Response> {
    require_upgrade(context)?;
    let pod = pod(context, found)?;
    let mut query = String::new();
    for ports in context.query.all("ports") {
        ports.split(',').filter(|port| !port.is_empty()).for_each(|port| push(&mut query, "port", port));
    }
    let path = format!("/portForward/{}/{}{query}", pod.namespace(), pod.name());
    to_kubelet(context, &pod, &path, body).await
}

fn require_upgrade(context: &Context<'_>) -> ApiResult<()> {
    if context.headers().contains_key(UPGRADE) {
        Ok(())
    } else {
        Err(ApiError::bad_request("Upgrade request required"))
    }
}

fn pod(context: &Context<'_>, found: Found) -> ApiResult<Value> {
    let stored = context.registry().get(found.resource, &context.info.namespace, &context.info.name)?;
    Ok(stored.decode())
}

async fn to_kubelet(context: &Context<'_>, pod: &Value, path: &str, body: RequestBody) -> ApiResult<Response> {
    let name = pod.str_at("spec/nodeName");
    if name.is_empty() {
        return Err(ApiError::bad_request(format!("pod {} does not have a host assigned", pod.name())));
    }
    let nodes = apimachinery::GroupResource::new("", "nodes");
    let node = context.registry().read("", "nodes", "", name).ok_or_else(|| ApiError::not_found(&nodes, name))?;
    let stream = context.server.kubelets.dial(&node).await?;
    forward(context, stream, name, path, body).await
}

/// The container that is asked for, or the only one.
fn container_of(context: &Context<'_>, pod: &Value) -> ApiResult<String> {
    let names = |field: &str| -> Vec<String> {
        pod.array_at(field).iter().map(|container| container.str_at("name").to_owned()).collect()
    };
    let (regular, init, ephemeral) =
        (names("spec/containers"), names("spec/initContainers"), names("spec/ephemeralContainers"));
    let wanted = context.query.get("container");
    if !wanted.is_empty() {
        let known = [&regular, &init, &ephemeral].into_iter().flatten().any(|name| name == wanted);
        return if known {
            Ok(wanted.to_owned())
        } else {
            Err(ApiError::bad_request(format!("container {wanted} is not valid for pod {}", pod.name())))
        };
    }
    if let [only] = regular.as_slice() {
        return Ok(only.clone());
    }
    let mut why =
        format!("a container name must be specified for pod {}, choose one of: [{}]", pod.name(), regular.join(" "));
    for (names, what) in [(&init, "init"), (&ephemeral, "ephemeral")] {
        if !names.is_empty() {
            // Writing to a String cannot fail.
            let _ = write!(why, " or one of the {what} containers: [{}]", names.join(" "));
        }
    }
    Err(ApiError::bad_request(why))
}

fn check_log_options(context: &Context<'_>) -> ApiResult<()> {
    let query = &context.query;
    let invalid = |field: &str, value: i64, why: &str| {
        let kind = apimachinery::GroupVersionKind::new("", "v1", "PodLogOptions");
        let error = apimachinery::field::Error::invalid(&apimachinery::field::Path::new(field), value, why);
        Err(ApiError::invalid(&kind, &context.info.name, &vec![error]))
    };
    if let Some(lines) = query.number("tailLines")?.filter(|n| *n < 0) {
        return invalid("tailLines", lines, "must be greater than or equal to 0");
    }
    if let Some(bytes) = query.number("limitBytes")?.filter(|n| *n < 1) {
        return invalid("limitBytes", bytes, "must be greater than 0");
    }
    if let Some(seconds) = query.number("sinceSeconds")? {
        if seconds < 1 {
            return invalid("sinceSeconds", seconds, "must be greater than 0");
        }
        if query.find("sinceTime").is_some() {
            return Err(ApiError::bad_request("at most one of `sinceTime` or `sinceSeconds` may be specified"));
        }
    }
    Ok(())
}

/// Appends `?key=value` or `&key=value`, escaped.
fn push(query: &mut String, key: &str, value: &str) {
    query.push(if query.is_empty() { '?' } else { '&' });
    query.push_str(key);
    query.push('=');
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            query.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(query, "%{byte:02X}");
        }
    }
}

//! `/livez`, `/readyz`, `/healthz` and `/metrics`.

use std::fmt::Write as _;
use std::sync::atomic::Ordering;
use std::time::Duration;

use apimachinery::ApiResult;
use http::{HeaderValue, StatusCode};

use crate::context::Context;
use crate::http::respond::{self, Response};

/// `what` is `livez`, `readyz` or `healthz`, maybe with one check behind a slash.
pub async fn serve(context: &Context<'_>, what: &str) -> ApiResult<Response> {
    let (endpoint, only) = what.split_once('/').unwrap_or((what, ""));
    let mut checks: Vec<(&str, Result<(), String>)> = vec![("ping", Ok(())), ("log", Ok(()))];
    if endpoint != "livez" {
        checks.push(("etcd", store(context).await));
        checks.push(("poststarthook/rbac/bootstrap-roles", started(context)));
    }
    if endpoint == "readyz" {
        checks.push(("shutdown", running(context)));
        checks.push(("store-integrity", integrity(context)));
    }
    let excluded: Vec<&str> = context.query.all("exclude").collect();
    checks.retain(|(name, _)| !excluded.contains(name) && (only.is_empty() || *name == only));
    if checks.is_empty() && !only.is_empty() {
        return Err(apimachinery::ApiError::page_not_found());
    }
    let verbose = context.query.find("verbose").is_some();
    let mut response = report(endpoint, &checks, verbose);
    if endpoint == "readyz" {
        response = with_store(context, response, verbose);
    }
    if checks.iter().any(|(name, outcome)| *name == "etcd" && outcome.is_err()) {
        response = with_missing(context, response).await;
    }
    Ok(response)
}

/// How long the store may take before it counts as not ready: longer than an election takes.
const STORE_LIMIT: Duration = Duration::from_secs(3);

async fn store(context: &Context<'_>) -> Result<(), String> {
    match tokio::time::timeout(STORE_LIMIT, context.registry().ready()).await {
        Ok(ready) => ready.map_err(|error| error.message().to_owned()),
        Err(_) => Err("the store has not answered in time".to_owned()),
    }
}

fn integrity(context: &Context<'_>) -> Result<(), String> {
    let joining = context.server.config.joining.as_ref();
    joining.and_then(|joining| joining.store_problem()).map_or(Ok(()), Err)
}

/// Says what is wrong with the store, and what should be known of it to whoever asks for more.
fn with_store(context: &Context<'_>, response: Response, verbose: bool) -> Response {
    let Some(joining) = &context.server.config.joining else { return response };
    let mut lines: Vec<_> = joining.store_problem().map(|problem| format!("store: {problem}\n")).into_iter().collect();
    if verbose {
        lines.extend(joining.store_warnings().iter().map(|warning| format!("warning: {warning}\n")));
    }
    if lines.is_empty() { response } else { with_text(&response, &lines.concat()) }
}

fn with_text(response: &Response, more: &str) -> Response {
    let text = response.body().as_full().map(|bytes| String::from_utf8_lossy(bytes).into_owned()).unwrap_or_default();
    respond::text(response.status(), format!("{text}{more}"))
}

/// Says which servers are missing, for that is what helps.
async fn with_missing(context: &Context<'_>, response: Response) -> Response {
    let Some(joining) = &context.server.config.joining else { return response };
    let missing = joining.missing().await;
    if missing.is_empty() {
        return response;
    }
    with_text(&response, &format!("servers that do not answer: {}\n", missing.join(", ")))
}

fn started(context: &Context<'_>) -> Result<(), String> {
    if context.server.started.load(Ordering::Acquire) { Ok(()) } else { Err("not finished".to_owned()) }
}

fn running(context: &Context<'_>) -> Result<(), String> {
    if context.server.shutdown.is_triggered() { Err("process is shutting down".to_owned()) } else { Ok(()) }
}

fn report(endpoint: &str, checks: &[(&str, Result<(), String>)], verbose: bool) -> Response {
    let failed = checks.iter().any(|(_, outcome)| outcome.is_err());
    if !failed && !verbose {
        return respond::text(StatusCode::OK, "ok");
    }
    let mut text = String::new();
    for (name, outcome) in checks {
        // Causes are for the log, not for whoever asks without credentials. Writing to a String cannot fail.
        let _ = match outcome {
            Ok(()) => writeln!(text, "[+]{name} ok"),
            Err(cause) => {
                tracing::debug!(check = name, cause, "not healthy");
                writeln!(text, "[-]{name} failed: reason withheld")
            }
        };
    }
    let end = if failed { "failed" } else { "passed" };
    let _ = writeln!(text, "{endpoint} check {end}");
    let code = if failed { StatusCode::INTERNAL_SERVER_ERROR } else { StatusCode::OK };
    respond::text(code, text)
}

pub fn metrics() -> Response {
    let kind = HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
    respond::typed(kind, component_base::metrics::render())
}

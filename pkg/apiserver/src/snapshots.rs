//! Snapshots of the cluster, on the disk of the server that is asked. For administrators: no role allows it.
//!
//! | Method and path | What |
//! |---|---|
//! | `GET /v1-coracle/snapshots` | those that there are |
//! | `POST /v1-coracle/snapshots` | saves one: `{"name": …}`, for as long as the caller waits |
//! | `DELETE /v1-coracle/snapshots` | deletes the oldest of a name: `{"name": …, "retention": …}` |
//! | `DELETE /v1-coracle/snapshots/NAME` | deletes one |
//!
//! Saving takes as long as the cluster is large. Its answer is a line of JSON a second, `{"progress": …}`, and a last one: what
//! was saved, or a `Status` that says why not. A caller that goes away ends it.

use std::pin::Pin;

use apimachinery::{ApiError, ApiResult};
use async_trait::async_trait;
use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use http::{Method, StatusCode};
use serde_json::Value;

use crate::context::{Context, method_not_allowed};
use crate::http::body::{RequestBody, ResponseBody};
use crate::http::negotiate::Format;
use crate::http::respond::{self, Response};

/// Where snapshots are listed, saved and pruned.
pub const PATH: &str = "/v1-coracle/snapshots";

/// A snapshot while it is saved: how far it is, and at last what came of it. Dropping it ends the saving.
pub type Saving = Pin<Box<dyn Stream<Item = ApiResult<Value>> + Send>>;

/// What the server's own process does with snapshots. Answers are what `coracle snapshot` shows.
#[async_trait]
pub trait Snapshots: Send + Sync {
    /// Those that there are.
    async fn list(&self) -> ApiResult<Value>;

    /// Begins to save one. It ends when that is on disk and was read back.
    async fn save(&self, request: &Value) -> ApiResult<Saving>;

    /// Deletes the oldest of a name.
    async fn prune(&self, request: &Value) -> ApiResult<Value>;

    /// Deletes one.
    async fn delete(&self, name: &str) -> ApiResult<Value>;
}

/// True for the paths of this module.
pub fn is_path(path: &str) -> bool {
    path == PATH || name_in(path).is_some()
}

fn name_in(path: &str) -> Option<&str> {
    path.strip_prefix(PATH)?.strip_prefix('/').filter(|name| !name.is_empty() && !name.contains('/'))
}

pub async fn serve(context: &Context<'_>, path: &str, body: RequestBody) -> ApiResult<Response> {
    let Some(snapshots) = &context.server.config.snapshots else { return Err(ApiError::page_not_found()) };
    let answer = match (&context.parts.method, name_in(path)) {
        (&Method::GET, None) => snapshots.list().await?,
        (&Method::POST, None) => {
            let request = request(body).await?;
            tracing::info!(user = context.user.name, "saving a snapshot");
            return Ok(lines(context, snapshots.save(&request).await?));
        }
        (&Method::DELETE, None) => {
            let request = request(body).await?;
            tracing::info!(user = context.user.name, "deleting old snapshots");
            snapshots.prune(&request).await?
        }
        (&Method::DELETE, Some(name)) => {
            tracing::info!(snapshot = name, user = context.user.name, "deleting a snapshot");
            snapshots.delete(name).await?
        }
        _ => return Err(method_not_allowed()),
    };
    Ok(respond::json(StatusCode::OK, &answer))
}

/// Each value as a line, until the last one or the end of this server.
fn lines(context: &Context<'_>, saving: Saving) -> Response {
    let line = |outcome: ApiResult<Value>| {
        let value = outcome.unwrap_or_else(|error| error.to_status());
        Ok(Bytes::from(format!("{value}\n")))
    };
    let ended = context.server.shutdown.token().cancelled_owned();
    let body = ResponseBody::stream(saving.map(line).take_until(ended));
    respond::stream(respond::content_type(Format::Json), body)
}

async fn request(body: RequestBody) -> ApiResult<Value> {
    let bytes = body.read().await?;
    serde_json::from_slice(&bytes).map_err(|error| ApiError::bad_request(format!("not JSON: {error}")))
}

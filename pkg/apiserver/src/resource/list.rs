//! Lists. Where nothing has to be changed, the stored bytes are spliced together while they are sent.

use apimachinery::{ApiError, ApiResult};
use bytes::Bytes;
use http::StatusCode;
use registry::{Found, ListError, ListPage};
use serde_json::{Map, Value, json};

use super::render::{self, api_version, is_verbatim, partial, tree_of};
use super::{options, splice, table};
use crate::context::Context;
use crate::http::negotiate::{Form, Media};
use crate::http::respond::{self, Response};

pub async fn list(context: &Context<'_>, found: Found) -> ApiResult<Response> {
    let media = render::negotiate(context, found, false)?;
    let query = options::list(context, found)?;
    context.registry().reach_list(&query).await?;
    answer(context, found, context.registry().list(found.resource, context.scope(found), &query), media)
}

/// What was listed, in the form that was asked for.
pub fn answer(
    context: &Context<'_>,
    found: Found,
    listed: Result<ListPage, ListError>,
    media: Media,
) -> ApiResult<Response> {
    let page = match listed {
        Ok(page) => page,
        Err(ListError::Api(error)) => return Err(error),
        Err(ListError::ExpiredToken(error, token)) => {
            let mut status = error.to_status();
            status["metadata"]["continue"] = token.into();
            return Ok(respond::status(context.parts, &error, &status));
        }
    };
    let head = json!({
        "kind": format!("{}List", found.resource.kind), "apiVersion": api_version(found),
        "metadata": list_metadata(&page),
    });
    if is_verbatim(found, media) {
        let bodies = page.items.iter().map(|item| item.body().clone()).collect();
        return Ok(splice::json(context.headers(), &head, bodies));
    }
    if render::is_message(media) {
        let messages: ApiResult<Vec<Bytes>> = page.items.iter().map(|item| render::message(found, item)).collect();
        return splice::protobuf(context.headers(), &head, messages?);
    }
    let items: ApiResult<Vec<Value>> = page.items.iter().map(|stored| tree_of(found, stored.body())).collect();
    shaped(context, found, head, items?, media)
}

/// A list of trees in the form that was asked for.
pub fn shaped(
    context: &Context<'_>,
    found: Found,
    head: Value,
    items: Vec<Value>,
    media: Media,
) -> ApiResult<Response> {
    let answer = match media.form {
        Form::Whole => with_items(head, items),
        Form::Table => table::of(found, table::Options::from_query(context, media.version)?, &items, &head),
        Form::PartialList => {
            let items = items.iter().map(|item| partial(item, media.version)).collect();
            let head = json!({
                "kind": "PartialObjectMetadataList", "apiVersion": media.version.api_version(),
                "metadata": head["metadata"],
            });
            with_items(head, items)
        }
        Form::Partial => {
            let name = render::go_type(found, "List");
            return Err(ApiError::not_acceptable(format!(
                "you requested PartialObjectMetadata, but the requested object is a list ({name})"
            )));
        }
    };
    respond::value(StatusCode::OK, &answer, media)
}

fn with_items(mut head: Value, items: Vec<Value>) -> Value {
    head["items"] = items.into();
    head
}

fn list_metadata(page: &ListPage) -> Map<String, Value> {
    let mut metadata = Map::new();
    metadata.insert("resourceVersion".to_owned(), page.revision.to_string().into());
    if !page.continue_token.is_empty() {
        metadata.insert("continue".to_owned(), page.continue_token.as_str().into());
    }
    if let Some(remaining) = page.remaining.filter(|n| *n > 0) {
        metadata.insert("remainingItemCount".to_owned(), remaining.into());
    }
    metadata
}

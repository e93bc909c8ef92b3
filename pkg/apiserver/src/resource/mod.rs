//! Requests for resources: from a path to the registry and back.

mod components;
mod decode;
mod go;
mod list;
mod options;
mod patch;
mod render;
mod reviews;
mod splice;
mod subresource;
mod table;
mod watch;
mod write;

use apimachinery::{ApiError, ApiResult};
use http::StatusCode;
use registry::Found;

use crate::context::{Context, method_not_allowed};
use crate::http::body::RequestBody;
use crate::http::respond::{self, Response};

pub use list::list;

/// Old resources, and what each request for them is warned of.
const DEPRECATED: [(&str, &str); 2] = [
    ("endpoints", "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice"),
    ("componentstatuses", "v1 ComponentStatus is deprecated in v1.19+"),
];

pub async fn serve(context: &Context<'_>, body: RequestBody) -> ApiResult<Response> {
    let mut response = answer(context, body).await?;
    let deprecated =
        DEPRECATED.iter().find(|(plural, _)| context.info.group.is_empty() && context.info.resource == *plural);
    if let Some((_, warning)) = deprecated {
        respond::add_warnings(response.headers_mut(), &[(*warning).to_owned()]);
    }
    Ok(response)
}

async fn answer(context: &Context<'_>, body: RequestBody) -> ApiResult<Response> {
    let info = &context.info;
    let Some(found) = context.found else {
        let rows = context.registry().rows();
        let known = info.group.is_empty() || rows.all().iter().any(|row| row.group == info.group);
        return if known { Err(ApiError::page_not_found()) } else { Ok(respond::no_page()) };
    };
    check_scope(context, found)?;
    if !info.subresource.is_empty() {
        return Box::pin(subresource::serve(context, found, body)).await;
    }
    // A name is made by what is sent to the collection, and written where it is.
    let misplaced = match info.verb {
        "create" => !info.name.is_empty(),
        "update" | "patch" => info.name.is_empty(),
        _ => false,
    };
    if misplaced || !found.resource.verbs.contains(info.verb) {
        return Err(method_not_allowed());
    }
    options::check_write(context)?;
    // Writes are boxed: reads, which are most, must not carry the size of their futures.
    match info.verb {
        "get" | "list" if found.resource.plural == "componentstatuses" => {
            Box::pin(components::serve(context, found)).await
        }
        "get" => get(context, found).await,
        "list" => list(context, found).await,
        "watch" => watch::serve(context, found).await,
        "create" if found.resource.virtual_resource => Box::pin(reviews::serve(context, found, body)).await,
        "create" => Box::pin(write::create(context, found, body)).await,
        "update" => Box::pin(write::update(context, found, body, "")).await,
        "patch" => Box::pin(write::patch(context, found, body, "")).await,
        "delete" => Box::pin(write::delete(context, found, body)).await,
        "deletecollection" => Box::pin(write::delete_collection(context, found, body)).await,
        _ => Err(method_not_allowed()),
    }
}

/// Names and namespaces must fit the kind of resource.
fn check_scope(context: &Context<'_>, found: Found) -> ApiResult<()> {
    let info = &context.info;
    let namespaced = found.resource.namespaced;
    if !namespaced && !info.namespace.is_empty() && info.resource != "namespaces" {
        return Err(ApiError::page_not_found());
    }
    if namespaced && info.namespace.is_empty() {
        if !info.name.is_empty() {
            return Err(ApiError::page_not_found());
        }
        if !matches!(info.verb, "list" | "watch") {
            return Err(method_not_allowed());
        }
    }
    Ok(())
}

async fn get(context: &Context<'_>, found: Found) -> ApiResult<Response> {
    let media = render::negotiate(context, found, false)?;
    reach_version(context).await?;
    let stored = context.registry().get(found.resource, &context.info.namespace, &context.info.name)?;
    render::stored(context, found, &stored, StatusCode::OK, media)
}

/// Waits until the state is as new as a read of one object asks for.
async fn reach_version(context: &Context<'_>) -> ApiResult<()> {
    let version = context.query.get("resourceVersion");
    let registry = context.registry();
    // Boxed, as most reads ask for nothing, and a single server has nothing to ask others.
    if version.is_empty() && registry.is_alone() { Ok(()) } else { Box::pin(registry.reach_version(version)).await }
}

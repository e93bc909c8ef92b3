//! Writes: create, update, patch, delete, deletecollection.

use apimachinery::meta::ObjectExt as _;
use apimachinery::patch::PatchType;
use apimachinery::status::{Details, success};
use apimachinery::{ApiResult, GroupVersionKind};
use auth::Attributes;
use bytes::Bytes;
use http::StatusCode;
use registry::{Application, Call, Change, Found, Replacement, Written};
use serde_json::Value;

use super::render::tree_of;
use super::{decode, list, options, patch, render};
use crate::context::Context;
use crate::http::body::RequestBody;
use crate::http::negotiate::{Media, negotiate};
use crate::http::respond::{self, Response};
use crate::{escalation, pipeline};

/// Kinds whose deletion answers the object rather than a Status.
const ANSWER_DELETED: [&str; 7] = [
    "persistentvolumeclaims",
    "persistentvolumes",
    "pods",
    "podtemplates",
    "resourcequotas",
    "serviceaccounts",
    "services",
];

pub fn kind_of(found: Found) -> GroupVersionKind {
    found.resource.gvk(found.version)
}

pub async fn create(context: &Context<'_>, found: Found, body: RequestBody) -> ApiResult<Response> {
    let media = negotiate(context.headers(), &context.query, true)?;
    let decode::Body { object, warnings } = decode::object(context, &kind_of(found), body).await?;
    escalation::check(context, found, &object, None)?;
    let call = context.call(found, "")?;
    let body = context.registry().create(&call, object).await?;
    answer(context, &call, found, Written { body, created: true }, media, warnings)
}

pub async fn update(context: &Context<'_>, found: Found, body: RequestBody, sub: &str) -> ApiResult<Response> {
    let media = negotiate(context.headers(), &context.query, true)?;
    let decode::Body { object, warnings } = decode::object(context, &kind_of(found), body).await?;
    let call = context.call(found, sub)?;
    let check = |new: &Value, old: Option<&Value>| escalation::check(context, found, new, old);
    let change = Change::Replace(Replacement { object: &object, check: &check });
    let written = context.registry().update(&call, change).await?;
    answer(context, &call, found, written, media, warnings)
}

pub async fn patch(context: &Context<'_>, found: Found, body: RequestBody, sub: &str) -> ApiResult<Response> {
    let media = negotiate(context.headers(), &context.query, true)?;
    let patch_type = patch::type_of(context)?;
    let bytes = body.read().await?;
    if patch_type == PatchType::Apply {
        return apply(context, found, &bytes, sub, media).await;
    }
    let patch = patch::Patch::read(context, &kind_of(found), &bytes)?;
    let guarded = escalation::Guarded::new(context, found);
    let warnings = parking_lot::Mutex::new(Vec::new());
    let apply = |current: Value| {
        let old = guarded.as_ref().map(|_| current.clone());
        let (new, warned) = patch.apply(current)?;
        *warnings.lock() = warned;
        if let (Some(guard), Some(old)) = (&guarded, old) {
            guard.check(&new, Some(&old))?;
        }
        Ok(new)
    };
    let call = context.call(found, sub)?;
    let written = context.registry().update(&call, Change::Patch(&apply)).await?;
    let warnings = warnings.into_inner();
    answer(context, &call, found, written, media, warnings)
}

/// Server-side apply. Who makes a new object by it must be allowed to create, too.
async fn apply(context: &Context<'_>, found: Found, bytes: &Bytes, sub: &str, media: Media) -> ApiResult<Response> {
    let configuration = patch::Configuration::read(context, bytes)?;
    let check = |new: &Value, old: Option<&Value>| {
        configuration.warnings()?;
        if old.is_none() {
            let wanted = Attributes { verb: "create", ..pipeline::attributes(context, None) };
            auth::authz::require(&*context.server.config.authorizer, &wanted)?;
        }
        escalation::check(context, found, new, old)
    };
    let application = Application { config: &configuration.object, force: configuration.force, check: &check };
    let call = context.call(found, sub)?;
    let written = context.registry().update(&call, Change::Apply(application)).await?;
    answer(context, &call, found, written, media, configuration.warnings()?)
}

fn answer(
    context: &Context<'_>,
    call: &Call<'_>,
    found: Found,
    written: Written,
    media: Media,
    mut warnings: Vec<String>,
) -> ApiResult<Response> {
    let code = if written.created { StatusCode::CREATED } else { StatusCode::OK };
    let mut response = render::object(context, found, written.body, code, media)?;
    warnings.extend(call.take_warnings());
    respond::add_warnings(response.headers_mut(), &warnings);
    Ok(response)
}

pub async fn delete(context: &Context<'_>, found: Found, body: RequestBody) -> ApiResult<Response> {
    let media = negotiate(context.headers(), &context.query, true)?;
    let (options, dry_run) = options::delete(context, body).await?;
    let call = Call { dry_run, ..context.call(found, "")? };
    let deleted = context.registry().delete(&call, &options).await?;
    let mut response = if !deleted.gone || ANSWER_DELETED.contains(&found.resource.plural) {
        let waits = !deleted.gone && options.orphan_dependents == Some(false);
        let code = if waits { StatusCode::ACCEPTED } else { StatusCode::OK };
        render::object(context, found, deleted.body, code, media)?
    } else {
        deletion_status(found, &deleted.body, media)?
    };
    respond::add_warnings(response.headers_mut(), &call.take_warnings());
    Ok(response)
}

fn deletion_status(found: Found, body: &Bytes, media: Media) -> ApiResult<Response> {
    let object = tree_of(found, body)?;
    let status = success(Details {
        name: object.name().to_owned(),
        group: found.resource.group.to_owned(),
        kind: found.resource.plural.to_owned(),
        uid: object.uid().to_owned(),
        ..Details::default()
    });
    respond::value(StatusCode::OK, &status, media)
}

pub async fn delete_collection(context: &Context<'_>, found: Found, body: RequestBody) -> ApiResult<Response> {
    let media = negotiate(context.headers(), &context.query, true)?;
    let query = options::list(context, found)?;
    let (options, dry_run) = options::delete(context, body).await?;
    let call = Call { dry_run, ..context.call(found, "")? };
    let listed = context.registry().delete_collection(&call, &query, &options).await;
    list::answer(context, found, listed, media)
}

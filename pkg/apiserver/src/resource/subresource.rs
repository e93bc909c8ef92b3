//! Endpoints below an object: scale, binding, eviction, token, and the parts of objects that have rules of their own.

use apimachinery::meta::ObjectExt as _;
use apimachinery::patch::PatchType;
use apimachinery::{ApiError, ApiResult, GroupResource, GroupVersionKind};
use http::StatusCode;
use registry::{Application, Call, Change, Found, Replacement};
use serde_json::{Value, json};

use super::{decode, get, options, patch, reach_version, write};
use crate::context::{Context, method_not_allowed};
use crate::http::body::RequestBody;
use crate::http::negotiate::negotiate;
use crate::http::respond::{self, Response};
use crate::stream;

pub async fn serve(context: &Context<'_>, found: Found, body: RequestBody) -> ApiResult<Response> {
    let info = &context.info;
    let sub = found.resource.subresource(info.subresource).ok_or_else(ApiError::page_not_found)?;
    let streams = matches!(sub.name, "exec" | "attach" | "portforward" | "log" | "proxy");
    if !streams && !info.rest.is_empty() {
        return Err(ApiError::page_not_found());
    }
    if !streams && !sub.verbs.contains(info.verb) {
        return Err(method_not_allowed());
    }
    options::check_write(context)?;
    match (found.resource.plural, sub.name) {
        ("pods", "binding") => binding(context, found, body).await,
        ("pods", "eviction") => eviction(context, found, body).await,
        ("serviceaccounts", "token") => token(context, found, body).await,
        (_, "scale") => scale(context, found, body).await,
        _ if streams => stream::serve(context, found, body).await,
        _ => match info.verb {
            "get" => get(context, found).await,
            "update" => write::update(context, found, body, sub.name).await,
            "patch" => write::patch(context, found, body, sub.name).await,
            _ => Err(method_not_allowed()),
        },
    }
}

fn created(context: &Context<'_>, call: &Call<'_>) -> ApiResult<Response> {
    let media = negotiate(context.headers(), &context.query, false)?;
    let status = json!({ "apiVersion": "v1", "kind": "Status", "metadata": {}, "status": "Success", "code": 201 });
    let mut response = respond::value(StatusCode::CREATED, &status, media)?;
    respond::add_warnings(response.headers_mut(), &call.take_warnings());
    Ok(response)
}

async fn binding(context: &Context<'_>, found: Found, body: RequestBody) -> ApiResult<Response> {
    let kind = GroupVersionKind::new("", "v1", "Binding");
    let decode::Body { object, warnings } = decode::object(context, &kind, body).await?;
    let call = context.call(found, "binding")?;
    warnings.into_iter().for_each(|text| call.warn(text));
    if object.name() != call.name {
        return Err(ApiError::bad_request("name in URL does not match name in Binding object"));
    }
    context.registry().bind(&call, &object).await?;
    created(context, &call)
}

/// The old endpoint `bindings`, where the body names the pod.
pub async fn bind_named(context: &Context<'_>, binding: &Value) -> ApiResult<Response> {
    let rows = context.registry().rows();
    let pods = rows.newest("", "pods").ok_or_else(ApiError::page_not_found)?;
    let call = Call { name: binding.name(), ..context.call(pods, "binding")? };
    context.registry().bind(&call, binding).await?;
    created(context, &call)
}

async fn eviction(context: &Context<'_>, found: Found, body: RequestBody) -> ApiResult<Response> {
    let kind = GroupVersionKind::new("policy", "v1", "Eviction");
    let decode::Body { object, warnings } = decode::object(context, &kind, body).await?;
    if object.name() != context.info.name {
        return Err(ApiError::bad_request("name in URL does not match name in Eviction object"));
    }
    let deletion = object.get("deleteOptions").cloned().unwrap_or(Value::Null);
    let dry_run = context.query.dry_run() || !deletion.array_at("dryRun").is_empty();
    let call = Call { dry_run, ..context.call(found, "eviction")? };
    warnings.into_iter().for_each(|text| call.warn(text));
    context.registry().evict(&call, &object, &options::delete_of_tree(&deletion)?).await?;
    created(context, &call)
}

async fn token(context: &Context<'_>, found: Found, body: RequestBody) -> ApiResult<Response> {
    let media = negotiate(context.headers(), &context.query, false)?;
    let kind = GroupVersionKind::new("authentication.k8s.io", "v1", "TokenRequest");
    let decode::Body { mut object, warnings } = decode::object(context, &kind, body).await?;
    let registry = context.registry();
    let account = registry.get(found.resource, &context.info.namespace, &context.info.name)?.decode();
    let call = context.call(found, "token")?;
    settle_token_owner(&kind, &mut object, &account)?;
    registry.admit_create(&call, &kind, &mut object).await?;
    let get = |resource: &GroupResource, namespace: &str, name: &str| {
        registry.read(&resource.group, &resource.resource, namespace, name)
    };
    let mut answer = auth::token::token_request(&context.server.config.issuer, &account, object, get)?;
    if call.dry_run {
        // It would be as good as any other.
        answer["status"]["token"] = "".into();
    }
    let mut response = respond::value(StatusCode::CREATED, &answer, media)?;
    respond::add_warnings(response.headers_mut(), &warnings);
    Ok(response)
}

/// The request is for the account of the path, and says so in its answer.
fn settle_token_owner(kind: &GroupVersionKind, request: &mut Value, account: &Value) -> ApiResult<()> {
    let (wanted, actual) = (request.uid(), account.uid());
    if !wanted.is_empty() && wanted != actual {
        let resource = GroupResource::new(&*kind.group, &*kind.kind);
        let why =
            format!("the UID in the token request ({wanted}) does not match the UID of the service account ({actual})");
        return Err(ApiError::conflict(&resource, account.name(), why));
    }
    let metadata = request.metadata_mut();
    metadata.insert("uid".to_owned(), account.uid().into());
    metadata.insert("creationTimestamp".to_owned(), apimachinery::time::now_rfc3339().into());
    Ok(())
}

async fn scale(context: &Context<'_>, found: Found, body: RequestBody) -> ApiResult<Response> {
    let media = negotiate(context.headers(), &context.query, false)?;
    let kind = GroupVersionKind::new("autoscaling", "v1", "Scale");
    let call = context.call(found, "scale")?;
    let registry = context.registry();
    let scale = match context.info.verb {
        "get" => {
            reach_version(context).await?;
            registry.get_scale(found.resource, call.namespace, call.name)?
        }
        "update" => {
            let decode::Body { object, warnings } = decode::object(context, &kind, body).await?;
            warnings.into_iter().for_each(|text| call.warn(text));
            let change = Change::Replace(Replacement { object: &object, check: &|_, _| Ok(()) });
            registry.update_scale(&call, change).await?
        }
        _ => {
            let patch_type = patch::type_of(context)?;
            let bytes = body.read().await?;
            if patch_type == PatchType::Apply {
                let configuration = patch::Configuration::read(context, &bytes)?;
                let check = |_: &Value, _: Option<&Value>| configuration.warnings().map(drop);
                let (config, force) = (&configuration.object, configuration.force);
                registry.update_scale(&call, Change::Apply(Application { config, force, check: &check })).await?
            } else {
                let patch = patch::Patch::read(context, &kind, &bytes)?;
                let apply = |current: Value| patch.apply(current).map(|(new, _)| new);
                registry.update_scale(&call, Change::Patch(&apply)).await?
            }
        }
    };
    let mut response = respond::value(StatusCode::OK, &scale, media)?;
    respond::add_warnings(response.headers_mut(), &call.take_warnings());
    Ok(response)
}

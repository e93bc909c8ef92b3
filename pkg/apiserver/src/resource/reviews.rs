//! Resources that are questions: token and access reviews. Nothing is stored.

use apimachinery::meta::{ObjectExt as _, object_mut};
use apimachinery::{ApiError, ApiResult, UserInfo, field};
use auth::authz::{ReviewedAccess, access_of_review, rules_of_review};
use http::StatusCode;
use registry::Found;
use serde_json::{Value, json};

use super::write::kind_of;
use super::{decode, subresource};
use crate::context::{Context, method_not_allowed};
use crate::http::body::RequestBody;
use crate::http::negotiate::negotiate;
use crate::http::respond::{self, Response};

pub async fn serve(context: &Context<'_>, found: Found, body: RequestBody) -> ApiResult<Response> {
    // A question has no table.
    let media = negotiate(context.headers(), &context.query, false)?;
    let kind = kind_of(found);
    let decode::Body { mut object, warnings } = decode::object(context, &kind, body).await?;
    if found.resource.plural == "bindings" {
        return subresource::bind_named(context, &object).await;
    }
    settle_namespace(context, found, &mut object)?;
    let errors = (found.resource.strategy.validate)(&object);
    if !errors.is_empty() {
        return Err(ApiError::invalid(&kind, object.name(), &errors));
    }
    let status = match found.resource.plural {
        "tokenreviews" => token_review(context, &object)?,
        "subjectaccessreviews" | "localsubjectaccessreviews" => access_review(context, &object, None),
        "selfsubjectaccessreviews" => access_review(context, &object, Some(&context.user)),
        "selfsubjectrulesreviews" => rules_review(context, &object)?,
        "selfsubjectreviews" => json!({ "userInfo": user_info(&context.user) }),
        _ => return Err(method_not_allowed()),
    };
    let map = object_mut(&mut object);
    map.insert("status".to_owned(), status);
    map.entry("metadata").or_insert_with(|| json!({ "creationTimestamp": null }));
    let mut response = respond::value(StatusCode::CREATED, &object, media)?;
    respond::add_warnings(response.headers_mut(), &warnings);
    Ok(response)
}

fn token_review(context: &Context<'_>, review: &Value) -> ApiResult<Value> {
    let token = review.str_at("spec/token");
    if token.is_empty() {
        return Err(ApiError::bad_request("token is required for TokenReview in authentication"));
    }
    let audiences: Vec<String> =
        review.array_at("spec/audiences").iter().filter_map(|a| a.as_str().map(str::to_owned)).collect();
    Ok(match context.server.config.tokens.review(token, &audiences) {
        Ok(Some(verified)) => {
            let mut status = json!({ "authenticated": true, "user": user_info(&verified.user) });
            if !verified.audiences.is_empty() {
                status["audiences"] = json!(verified.audiences);
            }
            status
        }
        Ok(None) => json!({ "authenticated": false, "error": "invalid bearer token" }),
        Err(why) => json!({ "authenticated": false, "error": why }),
    })
}

fn user_info(user: &UserInfo) -> Value {
    let mut info = json!({ "username": user.name });
    if !user.uid.is_empty() {
        info["uid"] = user.uid.as_str().into();
    }
    if !user.groups.is_empty() {
        info["groups"] = json!(user.groups);
    }
    if !user.extra.is_empty() {
        info["extra"] = json!(user.extra);
    }
    info
}

/// A question about a namespace is asked in it.
fn settle_namespace(context: &Context<'_>, found: Found, review: &mut Value) -> ApiResult<()> {
    if !found.resource.namespaced {
        return Ok(());
    }
    let asked = &*context.info.namespace;
    if review.namespace().is_empty() {
        review.metadata_mut().insert("namespace".to_owned(), asked.into());
    } else if review.namespace() != asked {
        return Err(ApiError::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        ));
    }
    Ok(())
}

fn access_review(context: &Context<'_>, review: &Value, me: Option<&UserInfo>) -> Value {
    access_of_review(&*context.server.config.authorizer, &ReviewedAccess::read(review, me))
}

fn rules_review(context: &Context<'_>, review: &Value) -> ApiResult<Value> {
    let namespace = review.str_at("spec/namespace");
    if namespace.is_empty() {
        let path = field::Path::new("spec").child("namespace");
        let kind = apimachinery::GroupVersionKind::new("authorization.k8s.io", "v1", "SelfSubjectRulesReview");
        return Err(ApiError::invalid(&kind, "", &vec![field::Error::required(&path, "")]));
    }
    Ok(rules_of_review(&context.server.config.policy, &context.user, namespace))
}

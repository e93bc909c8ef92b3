//! The two documents by which others verify our tokens.

use http::HeaderValue;
use http::header::CACHE_CONTROL;

use crate::context::Context;
use crate::http::respond::{self, Response};

pub fn jwks(context: &Context<'_>) -> Response {
    let keys = auth::token::jwks(&[context.server.config.issuer.verifying_key()]);
    public(HeaderValue::from_static("application/jwk-set+json"), &keys)
}

pub fn openid_configuration(context: &Context<'_>) -> Response {
    let config = &context.server.config;
    let uri = format!("https://{}:{}/openid/v1/jwks", config.advertise_address, config.secure_port);
    let keys = [config.issuer.verifying_key()];
    let document = auth::token::openid_configuration(config.issuer.name(), &uri, &keys);
    public(HeaderValue::from_static("application/json"), &document)
}

fn public(kind: HeaderValue, document: &serde_json::Value) -> Response {
    let mut response = respond::typed(kind, document.to_string());
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=3600"));
    response
}

//! Bearer tokens, from the Authorization header or from the protocol list of a WebSocket (browsers cannot set headers).

use std::sync::Arc;

use apimachinery::{ApiError, UserInfo};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::{AUTHORIZATION, SEC_WEBSOCKET_PROTOCOL};
use http::request::Parts;
use pki::CertificateDer;

use super::{Authenticator, unauthorized};

/// A token that is good, whose user it is and for which of the audiences asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct VerifiedToken {
    pub user: UserInfo,
    pub audiences: Vec<String>,
}

/// Reads one kind of token. `Ok(None)`: not of this kind; `Err` says why a token of this kind is not good (for
/// TokenReview's `status.error` and the log, never for the sender).
pub trait TokenAuthenticator: Send + Sync {
    /// `audiences`: at least one of them must be meant; empty is the API server itself.
    fn authenticate_token(&self, token: &str, audiences: &[String]) -> Result<Option<VerifiedToken>, String>;
}

/// Finds the token of a request and asks its readers.
pub struct BearerToken(pub Vec<Arc<dyn TokenAuthenticator>>);

const PROTOCOL_PREFIX: &str = "base64url.bearer.authorization.k8s.io.";

impl BearerToken {
    /// Asks all readers, as TokenReview does.
    pub fn review(&self, token: &str, audiences: &[String]) -> Result<Option<VerifiedToken>, String> {
        let mut failure = None;
        for reader in &self.0 {
            match reader.authenticate_token(token, audiences) {
                Ok(None) => {}
                Ok(found) => return Ok(found),
                Err(why) => failure = Some(why),
            }
        }
        failure.map_or(Ok(None), Err)
    }
}

impl Authenticator for BearerToken {
    fn authenticate(&self, request: &Parts, _: &[CertificateDer<'_>]) -> Result<Option<UserInfo>, ApiError> {
        let Some(token) = bearer_of(request) else { return Ok(None) };
        match self.review(&token, &[]) {
            Ok(Some(verified)) => Ok(Some(verified.user)),
            Ok(None) | Err(_) => Err(unauthorized()),
        }
    }
}

/// The bearer token of a request.
pub fn bearer_of(request: &Parts) -> Option<String> {
    if let Some(header) = request.headers.get(AUTHORIZATION) {
        let (scheme, token) = header.to_str().ok()?.trim().split_once(' ')?;
        let token = token.trim_start();
        return (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then(|| token.to_owned());
    }
    let protocols = request.headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter();
    let encoded = protocols
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .find_map(|protocol| protocol.trim().strip_prefix(PROTOCOL_PREFIX))?;
    let bytes = URL_SAFE_NO_PAD.decode(encoded).ok()?;
    String::from_utf8(bytes).ok().filter(|token| !token.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_found_where_clients_put_them() {
        let encoded = format!("v5.channel.k8s.io, {PROTOCOL_PREFIX}{}", URL_SAFE_NO_PAD.encode("abc"));
        let cases: [(&str, &str, Option<&str>); 6] = [
            ("authorization", "Bearer abc", Some("abc")),
            ("authorization", "bearer  abc", Some("abc")),
            ("authorization", "Basic abc", None),
            ("authorization", "Bearer ", None),
            ("sec-websocket-protocol", &encoded, Some("abc")),
            ("sec-websocket-protocol", "v5.channel.k8s.io", None),
        ];
        for (header, value, want) in cases {
            let parts = http::Request::get("/").header(header, value).body(()).unwrap().into_parts().0;
            assert_eq!(bearer_of(&parts).as_deref(), want, "{header}: {value}");
        }
    }
}

//! ServiceAccount tokens for pods, kept until it is time for a new one.

use std::collections::HashMap;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::authentication::v1::TokenRequest;
use k8s_openapi::api::core::v1::{Pod, ServiceAccountTokenProjection};
use parking_lot::Mutex;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::checkpoint::Given;
use crate::objects::PATIENCE_WITH_KEPT;
use crate::pod::PodExt as _;

/// A token is renewed at this part of its life, and at the latest after a day.
const RENEW_AT_PERCENT: i64 = 80;
const RENEW_AFTER_MAX: Duration = Duration::from_secs(24 * 3600);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// When to ask again after no answer.
const RETRY: Duration = Duration::from_secs(30);

/// Why there is no new token.
#[derive(Debug, thiserror::Error)]
enum RequestError {
    #[error("this node has no API server")]
    NoServer,
    #[error("the API server did not answer in time")]
    Late,
    #[error("the API server answered without a token")]
    Empty,
    #[error(transparent)]
    Call(#[from] kube::Error),
}

impl RequestError {
    /// No server has decided.
    fn is_silence(&self) -> bool {
        match self {
            Self::Late => true,
            Self::Call(kube::Error::Api(status)) => status.code >= 500,
            Self::Call(_) => true,
            Self::NoServer | Self::Empty => false,
        }
    }
}

#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct Token {
    pub token: String,
    pub renew_at: Timestamp,
    expires_at: Timestamp,
}

/// The tokens of all pods on the node.
pub struct Tokens {
    client: Option<client::Client>,
    cached: Mutex<HashMap<String, Token>>,
}

impl Tokens {
    pub fn new(client: Option<client::Client>) -> Self {
        Self { client, cached: Mutex::default() }
    }

    /// A good token, of the server if it answers. If none does, the one that `given` has from before, however old: the pod
    /// is to run all the same, and no server is there to refuse it.
    pub async fn get(
        &self,
        pod: &Pod,
        source: &ServiceAccountTokenProjection,
        given: Option<&Given>,
    ) -> Result<Token, String> {
        let account = pod.pod_spec().service_account_name.as_deref().unwrap_or("default");
        let audience = source.audience.clone().unwrap_or_default();
        let seconds = source.expiration_seconds.unwrap_or(3600);
        let key = format!("{}/{account}/{audience}/{seconds}", pod.uid());
        let now = Timestamp::now();
        let cached = self.cached.lock().get(&key).cloned();
        if let Some(token) = cached.clone().filter(|token| token.renew_at > now) {
            return Ok(token);
        }
        let file = file_of(&key);
        let kept = given.and_then(|given| given.recall::<Token>(&file));
        let patience = if kept.is_some() { PATIENCE_WITH_KEPT } else { REQUEST_TIMEOUT };
        let asked = tokio::time::timeout(patience, self.request(pod, account, &audience, seconds)).await;
        let error = match asked.unwrap_or(Err(RequestError::Late)) {
            Ok(token) => {
                if let Some(given) = given {
                    given.keep(&file, &token);
                }
                self.cached.lock().insert(key, token.clone());
                return Ok(token);
            }
            Err(error) => error,
        };
        // The old one is still good for a while: better than none.
        let old = cached.filter(|token| token.expires_at > now);
        let old = old.or_else(|| kept.filter(|_| error.is_silence()));
        match old {
            Some(token) => {
                tracing::warn!(pod = pod.describe(), %error, "token was not renewed; keeping the old one");
                Ok(Token { renew_at: now + RETRY, ..token })
            }
            None => Err(error.to_string()),
        }
    }

    async fn request(&self, pod: &Pod, account: &str, audience: &str, seconds: i64) -> Result<Token, RequestError> {
        let client = self.client.as_ref().ok_or(RequestError::NoServer)?;
        let audiences: Vec<&str> = Some(audience).filter(|a| !a.is_empty()).into_iter().collect();
        let body = json!({
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {
                "audiences": audiences,
                "expirationSeconds": seconds,
                "boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": pod.name(), "uid": pod.uid()},
            },
        });
        let path = format!("/api/v1/namespaces/{}/serviceaccounts/{account}/token", pod.namespace());
        let request = http::Request::post(path)
            .header(http::header::CONTENT_TYPE, "application/json")
            .body(body.to_string().into_bytes())
            .map_err(kube::Error::HttpError)?;
        let status = client.request::<TokenRequest>(request).await?.status.ok_or(RequestError::Empty)?;
        let now = Timestamp::now();
        let asked = Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
        Ok(token(status.token.unwrap_or_default(), status.expiration_timestamp.map_or(now + asked, |at| at.0), now))
    }

    pub fn forget(&self, uid: &str) {
        let prefix = format!("{uid}/");
        self.cached.lock().retain(|key, _| !key.starts_with(&prefix));
    }
}

/// Under which name a token is checkpointed.
pub(crate) fn file_of(key: &str) -> String {
    format!("token-{:x}", Sha256::digest(key))
}

fn token(token: String, expires_at: Timestamp, now: Timestamp) -> Token {
    let life = expires_at.duration_since(now).as_secs().max(0);
    let after = Duration::from_secs(u64::try_from(life * RENEW_AT_PERCENT / 100).unwrap_or(0)).min(RENEW_AFTER_MAX);
    Token { token, renew_at: now + after, expires_at }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_renewed_before_they_expire() {
        let at = |seconds: i64| Timestamp::from_second(seconds).expect("a time");
        assert_eq!(token(String::new(), at(3700), at(100)).renew_at, at(100 + 2880));
        assert_eq!(token(String::new(), at(100 + 365 * 86400), at(100)).renew_at, at(100 + 86400));
    }
}

//! ServiceAccount tokens for pods, kept until it is time for a new one.

use std::collections::HashMap;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::authentication::v1::TokenRequest;
use k8s_openapi::api::core::v1::{Pod, ServiceAccountTokenProjection};
use parking_lot::Mutex;
use serde_json::json;

use crate::pod::PodExt as _;

/// A token is renewed at this part of its life, and at the latest after a day.
const RENEW_AT_PERCENT: i64 = 80;
const RENEW_AFTER_MAX: Duration = Duration::from_secs(24 * 3600);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Clone, Debug)]
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

    pub async fn get(&self, pod: &Pod, source: &ServiceAccountTokenProjection) -> Result<Token, String> {
        let account = pod.pod_spec().service_account_name.as_deref().unwrap_or("default");
        let audience = source.audience.clone().unwrap_or_default();
        let seconds = source.expiration_seconds.unwrap_or(3600);
        let key = format!("{}/{account}/{audience}/{seconds}", pod.uid());
        let now = Timestamp::now();
        let cached = self.cached.lock().get(&key).cloned();
        if let Some(token) = cached.clone().filter(|token| token.renew_at > now) {
            return Ok(token);
        }
        match self.request(pod, account, &audience, seconds).await {
            Ok(token) => {
                self.cached.lock().insert(key, token.clone());
                Ok(token)
            }
            // The old one is still good for a while: better than none.
            Err(error) => match cached.filter(|token| token.expires_at > now) {
                Some(token) => {
                    tracing::warn!(pod = pod.describe(), error, "token was not renewed; keeping the old one");
                    let renew_at = now + Duration::from_secs(30);
                    Ok(Token { renew_at, ..token })
                }
                None => Err(error),
            },
        }
    }

    async fn request(&self, pod: &Pod, account: &str, audience: &str, seconds: i64) -> Result<Token, String> {
        let client = self.client.as_ref().ok_or("this node has no API server")?;
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
            .map_err(|e| e.to_string())?;
        let answer = tokio::time::timeout(REQUEST_TIMEOUT, client.request::<TokenRequest>(request)).await;
        let answer = answer.map_err(|_| "the API server did not answer in time")?.map_err(|e| e.to_string())?;
        let status = answer.status.ok_or("the API server answered without a token")?;
        let now = Timestamp::now();
        let asked = Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
        Ok(token(status.token.unwrap_or_default(), status.expiration_timestamp.map_or(now + asked, |at| at.0), now))
    }

    pub fn forget(&self, uid: &str) {
        let prefix = format!("{uid}/");
        self.cached.lock().retain(|key, _| !key.starts_with(&prefix));
    }
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

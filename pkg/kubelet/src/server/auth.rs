//! Who asks, and may they? Client certificates of the cluster's CA, or tokens that the API server reviews.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{Method, Request, header};
use k8s_openapi::api::authentication::v1::TokenReview;
use k8s_openapi::api::authorization::v1::SubjectAccessReview;
use kube::Api;
use kube::api::PostParams;
use parking_lot::Mutex;
use rustls::pki_types::CertificateDer;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::kubelet::Kubelet;

/// How long answers of the API server hold, as upstream's defaults.
const TOKEN_LIFETIME: Duration = Duration::from_secs(120);
const ALLOWED_LIFETIME: Duration = Duration::from_secs(300);
const DENIED_LIFETIME: Duration = Duration::from_secs(30);
const CACHE_MAX: usize = 1024;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct User {
    pub name: String,
    pub groups: Vec<String>,
}

/// The identity in a client certificate that TLS has verified already.
pub fn identity(chain: &[CertificateDer<'_>]) -> Option<User> {
    let (_, certificate) = X509Certificate::from_der(chain.first()?).ok()?;
    let subject = certificate.subject();
    let name = subject.iter_common_name().next()?.as_str().ok()?.to_owned();
    let groups = subject.iter_organization().filter_map(|o| o.as_str().ok()).map(str::to_owned).collect();
    Some(User { name, groups })
}

type Cache<K, V> = Mutex<HashMap<K, (Instant, V)>>;

pub struct Auth {
    client: Option<client::Client>,
    node: String,
    tokens: Cache<[u8; 32], Option<User>>,
    decisions: Cache<(User, &'static str, String), Result<(), String>>,
}

impl Auth {
    pub fn new(kubelet: &Arc<Kubelet>) -> Self {
        Self {
            client: kubelet.config.client.clone(),
            node: kubelet.config.node_name.clone(),
            tokens: Mutex::default(),
            decisions: Mutex::default(),
        }
    }

    pub async fn authenticate<B>(&self, peer: Option<User>, request: &Request<B>) -> Option<User> {
        if peer.is_some() {
            return peer;
        }
        let header = request.headers().get(header::AUTHORIZATION)?.to_str().ok()?;
        let token = header.strip_prefix("Bearer ").or_else(|| header.strip_prefix("bearer "))?.trim();
        let key: [u8; 32] = Sha256::digest(token).into();
        if let Some(known) = cached(&self.tokens, &key) {
            return known;
        }
        let user = self.review_token(token).await?;
        remember(&self.tokens, key, user.clone(), TOKEN_LIFETIME);
        user
    }

    /// The inner option is the answer; the outer is none when there was no answer.
    async fn review_token(&self, token: &str) -> Option<Option<User>> {
        let reviews: Api<TokenReview> = Api::all(self.client.clone()?);
        let review = serde_json::from_value(json!({"metadata": {}, "spec": {"token": token}})).ok()?;
        let answer = reviews.create(&PostParams::default(), &review).await;
        let status = answer.map_err(|error| tracing::warn!(%error, "token was not reviewed")).ok()?.status?;
        if status.authenticated != Some(true) {
            return Some(None);
        }
        let user = status.user?;
        Some(Some(User { name: user.username?, groups: user.groups.unwrap_or_default() }))
    }

    /// `Err` with upstream's text if not allowed.
    pub async fn authorize(&self, user: &User, method: &Method, path: &str) -> Result<(), String> {
        // The API server itself, and administrators: allowed everything everywhere, also while no server answers.
        if user.groups.iter().any(|g| g == "system:masters") {
            return Ok(());
        }
        let verb = verb(method);
        let mut refusal = Ok(());
        for subresource in subresources(path) {
            let key = (user.clone(), verb, (*subresource).to_owned());
            let decision = match cached(&self.decisions, &key) {
                Some(decision) => decision,
                None => {
                    let decision = self.review_access(user, verb, subresource).await;
                    let lifetime = if decision.is_ok() { ALLOWED_LIFETIME } else { DENIED_LIFETIME };
                    remember(&self.decisions, key, decision.clone(), lifetime);
                    decision
                }
            };
            if decision.is_ok() {
                return decision;
            }
            refusal = decision;
        }
        refusal
    }

    async fn review_access(&self, user: &User, verb: &str, subresource: &str) -> Result<(), String> {
        let refusal =
            format!("Forbidden (user={}, verb={verb}, resource=nodes, subresource(s)=[{subresource}])", user.name);
        let Some(client) = self.client.clone() else {
            return Err(refusal);
        };
        let reviews: Api<SubjectAccessReview> = Api::all(client);
        let review = json!({"metadata": {}, "spec": {
            "user": user.name,
            "groups": user.groups,
            "resourceAttributes": {
                "verb": verb, "group": "", "version": "v1", "resource": "nodes", "subresource": subresource, "name": self.node,
            },
        }});
        let review = serde_json::from_value(review).map_err(|e| e.to_string())?;
        match reviews.create(&PostParams::default(), &review).await {
            Ok(answer) if answer.status.as_ref().is_some_and(|s| s.allowed) => Ok(()),
            Ok(_) => Err(refusal),
            Err(error) => {
                tracing::warn!(%error, "access was not reviewed");
                Err("Authorization error".to_owned())
            }
        }
    }
}

fn verb(method: &Method) -> &'static str {
    match *method {
        Method::POST | Method::CONNECT => "create",
        Method::PUT => "update",
        Method::PATCH => "patch",
        Method::DELETE => "delete",
        _ => "get",
    }
}

/// What a path is called in RBAC; any of these allows. `proxy` covers all but a few.
fn subresources(path: &str) -> &'static [&'static str] {
    let first = path.trim_start_matches('/').split('/').next().unwrap_or_default();
    match first {
        "stats" => &["stats"],
        "metrics" => &["metrics"],
        "logs" => &["log"],
        "healthz" => &["healthz", "proxy"],
        "configz" => &["configz", "proxy"],
        "pods" | "runningpods" => &["pods", "proxy"],
        _ => &["proxy"],
    }
}

fn cached<K: std::hash::Hash + Eq, V: Clone>(cache: &Cache<K, V>, key: &K) -> Option<V> {
    let cache = cache.lock();
    cache.get(key).filter(|(until, _)| *until > Instant::now()).map(|(_, value)| value.clone())
}

fn remember<K: std::hash::Hash + Eq, V>(cache: &Cache<K, V>, key: K, value: V, lifetime: Duration) {
    let mut cache = cache.lock();
    let now = Instant::now();
    if cache.len() >= CACHE_MAX {
        cache.retain(|_, (until, _)| *until > now);
    }
    if cache.len() < CACHE_MAX {
        cache.insert(key, (now + lifetime, value));
    }
}

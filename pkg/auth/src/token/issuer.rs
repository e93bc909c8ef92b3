//! Signing tokens.

use std::sync::Arc;

use component_base::clock::Clock;
use pki::KeyPair;

use super::claims::{Binding, Claims, LEGACY_ISSUER, LegacyClaims, ObjectRef, Private, service_account_user};
use super::jwt::{self, VerifyingKey};

/// Asked for by the projected volumes of old clients; such tokens get a year, and a warning mark after this time.
const WARN_ONLY_EXPIRATION_SECONDS: i64 = 60 * 60 + 7;
const EXTENDED_EXPIRATION_SECONDS: i64 = 365 * 24 * 60 * 60;

/// What a token shall say.
#[derive(Clone, Debug)]
pub struct TokenSpec {
    pub namespace: String,
    pub service_account: ObjectRef,
    /// Empty means the API server.
    pub audiences: Vec<String>,
    pub expiration_seconds: i64,
    pub binding: Option<Binding>,
}

/// A signed token.
#[derive(Clone, Debug)]
pub struct IssuedToken {
    pub token: String,
    /// When its holder should have renewed it, in Unix seconds: `status.expirationTimestamp`.
    pub expiration: i64,
    /// The audiences that it is for.
    pub audiences: Vec<String>,
    /// Its `jti`, for audit.
    pub id: String,
}

/// Signs with one key under one issuer name.
#[derive(Clone)]
pub struct Issuer {
    key: KeyPair,
    key_id: String,
    issuer: String,
    audiences: Vec<String>,
    clock: Arc<dyn Clock>,
}

impl Issuer {
    /// `audiences` are those of the API server; by custom just the issuer.
    pub fn new(key: KeyPair, issuer: &str, audiences: &[&str], clock: Arc<dyn Clock>) -> Self {
        let key_id = jwt::key_id(key.spki());
        let audiences = if audiences.is_empty() { &[issuer] } else { audiences };
        let audiences = audiences.iter().map(|a| (*a).to_owned()).collect();
        Self { key, key_id, issuer: issuer.to_owned(), audiences, clock }
    }

    pub fn name(&self) -> &str {
        &self.issuer
    }

    /// The API server's own audiences.
    pub fn audiences(&self) -> &[String] {
        &self.audiences
    }

    /// The public half, to verify with.
    pub fn verifying_key(&self) -> VerifyingKey {
        VerifyingKey::of(&self.key)
    }

    pub fn sign(&self, spec: &TokenSpec) -> Result<IssuedToken, pki::Error> {
        let now = i64::try_from(self.clock.wall().as_secs()).unwrap_or(i64::MAX);
        let audiences = if spec.audiences.is_empty() { self.audiences.clone() } else { spec.audiences.clone() };
        let mut private = Private {
            namespace: spec.namespace.clone(),
            serviceaccount: spec.service_account.clone(),
            ..Private::default()
        };
        match spec.binding.clone() {
            Some(Binding::Pod(pod, node)) => (private.pod, private.node) = (Some(pod), node),
            Some(Binding::Secret(secret)) => private.secret = Some(secret),
            Some(Binding::Node(node)) => private.node = Some(node),
            None => {}
        }
        let expiration = now.saturating_add(spec.expiration_seconds);
        let mut exp = expiration;
        let for_us = audiences.iter().all(|a| self.audiences.contains(a));
        if for_us && spec.expiration_seconds == WARN_ONLY_EXPIRATION_SECONDS && private.pod.is_some() {
            exp = now.saturating_add(EXTENDED_EXPIRATION_SECONDS);
            private.warnafter = Some(expiration);
        }
        let id = uuid::Uuid::new_v4().to_string();
        let claims = Claims {
            aud: audiences.clone(),
            exp,
            iat: now,
            iss: self.issuer.clone(),
            jti: id.clone(),
            private,
            nbf: now,
            sub: service_account_user(&spec.namespace, &spec.service_account.name),
        };
        let token = jwt::sign(&self.key, &self.key_id, &claims)?;
        Ok(IssuedToken { token, expiration, audiences, id })
    }

    /// The token of a Secret of type `kubernetes.io/service-account-token`: valid as long as Secret and account live.
    pub fn sign_legacy(
        &self,
        namespace: &str,
        service_account: &ObjectRef,
        secret_name: &str,
    ) -> Result<String, pki::Error> {
        let claims = LegacyClaims {
            iss: LEGACY_ISSUER.to_owned(),
            namespace: namespace.to_owned(),
            secret_name: secret_name.to_owned(),
            service_account_name: service_account.name.clone(),
            service_account_uid: service_account.uid.clone(),
            sub: service_account_user(namespace, &service_account.name),
        };
        jwt::sign(&self.key, &self.key_id, &claims)
    }
}

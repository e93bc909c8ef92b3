//! Verifying tokens: signature, issuer, times, audiences, and that everything the token is bound to still lives.

use std::sync::Arc;

use apimachinery::UserInfo;
use component_base::clock::Clock;

use super::cache::Bounded;
use super::claims::{Claims, LEGACY_ISSUER, LegacyClaims, ObjectRef, user_info};
use super::issuer::Issuer;
use super::jwt::{Unverified, VerifyingKey};
use crate::authn::{TokenAuthenticator, VerifiedToken};

/// Clocks of machines differ by up to this; an object counts as gone this long after its deletion was asked for.
const LEEWAY_SECONDS: i64 = 60;
const CACHED_TOKENS_MAX: usize = 8192;

/// An object that a token is bound to, as it is now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BoundObject {
    pub uid: String,
    /// `metadata.deletionTimestamp` in Unix seconds.
    pub deletion_timestamp: Option<i64>,
    /// A secret's `data.token`, decoded (legacy tokens are compared with it); empty for other kinds.
    pub token: Vec<u8>,
}

/// The newest state of objects that tokens are bound to. Called on every request with a token: answers must be cheap.
pub trait Lister: Send + Sync {
    fn service_account(&self, namespace: &str, name: &str) -> Option<BoundObject>;
    fn pod(&self, namespace: &str, name: &str) -> Option<BoundObject>;
    fn secret(&self, namespace: &str, name: &str) -> Option<BoundObject>;
    fn node(&self, name: &str) -> Option<BoundObject>;
}

#[derive(Clone)]
enum Proven {
    Bound(Arc<Claims>),
    Legacy(Arc<LegacyClaims>),
}

/// Reads ServiceAccount tokens. Signatures are verified once and remembered (bounded, by digest); times and bound objects are
/// checked every time.
pub struct Verifier {
    keys: Vec<VerifyingKey>,
    issuer: String,
    audiences: Vec<String>,
    lister: Arc<dyn Lister>,
    clock: Arc<dyn Clock>,
    proven: Bounded<Proven>,
}

impl Verifier {
    /// Accepts what `issuer` signs, and tokens of `more_keys` (public halves of retired keys).
    pub fn new(issuer: &Issuer, more_keys: Vec<VerifyingKey>, lister: Arc<dyn Lister>, clock: Arc<dyn Clock>) -> Self {
        let mut keys = vec![issuer.verifying_key()];
        keys.extend(more_keys);
        Self {
            keys,
            issuer: issuer.name().to_owned(),
            audiences: issuer.audiences().to_vec(),
            lister,
            clock,
            proven: Bounded::new(CACHED_TOKENS_MAX),
        }
    }

    /// The token's claims, once its signature and form are proven. `Ok(None)`: a token of somebody else.
    fn prove(&self, token: &str) -> Result<Option<Proven>, String> {
        let key = Bounded::<Proven>::key(token.as_bytes());
        if let Some(proven) = self.proven.get(&key) {
            return Ok(Some(proven));
        }
        #[derive(serde::Deserialize)]
        struct Issued {
            iss: String,
        }
        let Some(unverified) = Unverified::parse(token) else { return Ok(None) };
        let Some(Issued { iss }) = unverified.claims() else { return Ok(None) };
        let legacy = iss == LEGACY_ISSUER;
        if !legacy && iss != self.issuer {
            return Ok(None);
        }
        if !unverified.is_signed_by(&self.keys) {
            return Err("invalid signature".to_owned());
        }
        let proven = if legacy {
            unverified.claims().map(|claims| Proven::Legacy(Arc::new(claims)))
        } else {
            unverified.claims().map(|claims| Proven::Bound(Arc::new(claims)))
        };
        let proven = proven.ok_or("Token is invalid: claims are missing or malformed")?;
        self.proven.insert(key, proven.clone());
        Ok(Some(proven))
    }

    fn now(&self) -> i64 {
        i64::try_from(self.clock.wall().as_secs()).unwrap_or(i64::MAX)
    }

    fn check_bound(&self, claims: &Claims) -> Result<UserInfo, String> {
        let now = self.now();
        if now >= claims.exp.saturating_add(LEEWAY_SECONDS) {
            return Err("token has expired".to_owned());
        }
        if now < claims.nbf.saturating_sub(LEEWAY_SECONDS) {
            return Err("token is not valid yet".to_owned());
        }
        let private = &claims.private;
        let namespace = private.namespace.as_str();
        let account = &private.serviceaccount;
        if claims.sub != super::claims::service_account_user(namespace, &account.name) {
            return Err("the token's subject does not match its service account".to_owned());
        }
        self.live("service account", account, self.lister.service_account(namespace, &account.name))?;
        if let Some(secret) = &private.secret {
            self.live("secret", secret, self.lister.secret(namespace, &secret.name))?;
        }
        if let Some(pod) = &private.pod {
            self.live("pod", pod, self.lister.pod(namespace, &pod.name))?;
        } else if let Some(node) = &private.node {
            // With a pod, the node is only told, not bound to.
            self.live("node", node, self.lister.node(&node.name))?;
        }
        Ok(claims.user_info())
    }

    fn check_legacy(&self, claims: &LegacyClaims, token: &str) -> Result<UserInfo, String> {
        let namespace = claims.namespace.as_str();
        let account = ObjectRef::new(&*claims.service_account_name, &*claims.service_account_uid);
        if claims.sub != super::claims::service_account_user(namespace, &account.name) {
            return Err("the token's subject does not match its service account".to_owned());
        }
        let secret = self.lister.secret(namespace, &claims.secret_name);
        let secret = secret.filter(|s| s.deletion_timestamp.is_none()).ok_or("Token has been invalidated")?;
        let same = ring::digest::digest(&ring::digest::SHA256, &secret.token).as_ref()
            == ring::digest::digest(&ring::digest::SHA256, token.as_bytes()).as_ref();
        if !same {
            return Err("Token does not match server's copy".to_owned());
        }
        self.live("service account", &account, self.lister.service_account(namespace, &account.name))?;
        Ok(user_info(namespace, &account, std::collections::BTreeMap::new()))
    }

    fn live(&self, kind: &str, claimed: &ObjectRef, found: Option<BoundObject>) -> Result<(), String> {
        let found = found.ok_or_else(|| format!("{kind} {:?} has been deleted", claimed.name))?;
        if found.deletion_timestamp.is_some_and(|at| at < self.now() - LEEWAY_SECONDS) {
            return Err(format!("{kind} {:?} has been deleted", claimed.name));
        }
        if found.uid != claimed.uid {
            return Err(format!("{kind} UID ({}) does not match claim ({})", found.uid, claimed.uid));
        }
        Ok(())
    }
}

impl TokenAuthenticator for Verifier {
    fn authenticate_token(&self, token: &str, audiences: &[String]) -> Result<Option<VerifiedToken>, String> {
        let Some(proven) = self.prove(token)? else { return Ok(None) };
        let wanted = if audiences.is_empty() { &self.audiences } else { audiences };
        // A legacy token names no audience: it is for the API server.
        let meant = match &proven {
            Proven::Bound(claims) => &claims.aud,
            Proven::Legacy(_) => &self.audiences,
        };
        let met: Vec<String> = wanted.iter().filter(|a| meant.contains(a)).cloned().collect();
        if met.is_empty() {
            return Err(format!(
                "token audiences [{}] is invalid for the target audiences [{}]",
                quoted(meant),
                quoted(wanted)
            ));
        }
        let user = match &proven {
            Proven::Bound(claims) => self.check_bound(claims)?,
            Proven::Legacy(claims) => self.check_legacy(claims, token)?,
        };
        Ok(Some(VerifiedToken { user, audiences: met }))
    }
}

fn quoted(texts: &[String]) -> String {
    texts.iter().map(|t| format!("{t:?}")).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
#[path = "verifier_tests.rs"]
mod tests;

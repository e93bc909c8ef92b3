//! Client certificates: the common name is the user, each organisation a group.

use std::collections::BTreeMap;
use std::time::SystemTime;

use apimachinery::{ApiError, UserInfo};
use http::request::Parts;
use pki::{CertificateDer, ClientSubject, ClientVerifier, fingerprint};

use super::{Authenticator, unauthorized};
use crate::token::cache::Bounded;

/// Verifies on its own, though TLS has verified already: a connection may outlive its certificate, and TLS may accept
/// authorities that do not vouch for users.
pub struct X509 {
    verifier: ClientVerifier,
    verified: Bounded<Verified>,
}

#[derive(Clone)]
struct Verified {
    user: UserInfo,
    not_after: SystemTime,
}

impl X509 {
    pub fn new(verifier: ClientVerifier) -> Self {
        Self { verifier, verified: Bounded::new(1024) }
    }
}

impl Authenticator for X509 {
    fn authenticate(&self, _: &Parts, peer_certs: &[CertificateDer<'_>]) -> Result<Option<UserInfo>, ApiError> {
        let Some(leaf) = peer_certs.first() else { return Ok(None) };
        let key = Bounded::<Verified>::key(leaf);
        let verified = match self.verified.get(&key) {
            Some(verified) => verified,
            None => {
                let subject = self.verifier.verify(peer_certs).map_err(|_| unauthorized())?;
                let verified = Verified { not_after: subject.not_after, user: user_of(subject, leaf) };
                self.verified.insert(key, verified.clone());
                verified
            }
        };
        if verified.not_after <= SystemTime::now() {
            return Err(unauthorized());
        }
        // A certificate without a name is no identity.
        Ok((!verified.user.name.is_empty()).then_some(verified.user))
    }
}

fn user_of(subject: ClientSubject, leaf: &CertificateDer<'_>) -> UserInfo {
    let mut groups = subject.organizations;
    if !groups.iter().any(|g| g == "system:authenticated") {
        groups.push("system:authenticated".to_owned());
    }
    let credential = format!("X509SHA256={}", fingerprint(leaf));
    let extra = BTreeMap::from([("authentication.kubernetes.io/credential-id".to_owned(), vec![credential])]);
    UserInfo { name: subject.common_name, uid: String::new(), groups, extra }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_authority_makes_users() {
        let ca = pki::Authority::generate("client-ca").unwrap();
        let other = pki::Authority::generate("client-ca").unwrap();
        let verifier = ClientVerifier::new(pki::tls::roots([ca.cert()]).unwrap()).unwrap();
        let x509 = X509::new(verifier);
        let parts = http::Request::get("/").body(()).unwrap().into_parts().0;
        let leaf = ca.issue_client("alice", &["dev", "ops"]).unwrap();
        for _ in 0..2 {
            let user = x509.authenticate(&parts, std::slice::from_ref(&leaf.cert)).unwrap().unwrap();
            assert_eq!(user.name, "alice");
            assert_eq!(user.groups, ["dev", "ops", "system:authenticated"]);
        }
        assert_eq!(x509.authenticate(&parts, &[]), Ok(None));
        let stranger = other.issue_client("alice", &["system:masters"]).unwrap();
        assert_eq!(x509.authenticate(&parts, &[stranger.cert]).unwrap_err().code(), 401);
        let server = ca.issue_server("alice", &[], &pki::Sans::default()).unwrap();
        assert!(x509.authenticate(&parts, &[server.cert]).is_err(), "a server's certificate is no client's");
    }
}

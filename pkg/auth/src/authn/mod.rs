//! Authentication: who makes this request?

mod bearer;
pub mod bootstrap_token;
pub mod join_token;
mod static_token;
mod x509;

use std::sync::Arc;

use apimachinery::{ApiError, UserInfo};
use http::request::Parts;
use pki::CertificateDer;

pub use bearer::{BearerToken, TokenAuthenticator, VerifiedToken, bearer_of};
pub use bootstrap_token::{BootstrapLister, BootstrapTokens};
pub use join_token::JoinTokens;
pub use static_token::StaticTokens;
pub use x509::X509;

/// Finds the user behind a request's credentials. `Ok(None)` means that there are none of the kind that this authenticator
/// reads; an error means that there are, but they are not good.
pub trait Authenticator: Send + Sync {
    fn authenticate(&self, request: &Parts, peer_certs: &[CertificateDer<'_>]) -> Result<Option<UserInfo>, ApiError>;
}

/// The 401 that clients see, whatever the cause: causes would help to guess.
pub fn unauthorized() -> ApiError {
    ApiError::unauthorized("Unauthorized")
}

/// Asks one authenticator after the other. The first that finds a user decides; bad credentials count only if no other
/// authenticator finds good ones.
pub struct Union(pub Vec<Arc<dyn Authenticator>>);

impl Authenticator for Union {
    fn authenticate(&self, request: &Parts, peer_certs: &[CertificateDer<'_>]) -> Result<Option<UserInfo>, ApiError> {
        let mut failure = None;
        for authenticator in &self.0 {
            match authenticator.authenticate(request, peer_certs) {
                Ok(None) => {}
                Ok(Some(user)) => return Ok(Some(user)),
                Err(error) => failure = Some(error),
            }
        }
        failure.map_or(Ok(None), Err)
    }
}

/// The last authenticator of a union: no credentials make `system:anonymous`, everywhere or on some paths only. Bad
/// credentials never get here as anonymous: [`Union`] keeps the error only if nobody answers, so [`Anonymous`] wraps it.
pub struct Anonymous<A> {
    inner: A,
    /// Paths that may be asked for without credentials; `None` is all (authorization still decides).
    paths: Option<Vec<String>>,
}

impl<A: Authenticator> Anonymous<A> {
    /// Anonymous requests reach authorization whatever they ask for, as by upstream's default.
    pub fn everywhere(inner: A) -> Self {
        Self { inner, paths: None }
    }

    /// Anonymous requests are 401 but on these paths.
    pub fn only_on(inner: A, paths: &[&str]) -> Self {
        Self { inner, paths: Some(paths.iter().map(|p| (*p).to_owned()).collect()) }
    }
}

impl<A: Authenticator> Authenticator for Anonymous<A> {
    fn authenticate(&self, request: &Parts, peer_certs: &[CertificateDer<'_>]) -> Result<Option<UserInfo>, ApiError> {
        if let Some(user) = self.inner.authenticate(request, peer_certs)? {
            return Ok(Some(user));
        }
        let path = request.uri.path();
        let open = self.paths.as_ref().is_none_or(|paths| paths.iter().any(|p| p == path));
        Ok(open.then(UserInfo::anonymous))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixed(Result<Option<UserInfo>, ApiError>);

    impl Authenticator for Fixed {
        fn authenticate(&self, _: &Parts, _: &[CertificateDer<'_>]) -> Result<Option<UserInfo>, ApiError> {
            self.0.clone()
        }
    }

    fn union(answers: Vec<Result<Option<UserInfo>, ApiError>>) -> Union {
        Union(answers.into_iter().map(|a| Arc::new(Fixed(a)) as Arc<dyn Authenticator>).collect())
    }

    fn request(path: &str) -> Parts {
        http::Request::get(path).body(()).unwrap().into_parts().0
    }

    #[test]
    fn good_credentials_win_and_bad_ones_never_become_anonymous() {
        let bob = || Ok(Some(UserInfo::new("bob", [])));
        let name = |union: Union| {
            let answer = Anonymous::everywhere(union).authenticate(&request("/api"), &[]);
            answer.map(|user| user.unwrap().name).map_err(|e| e.code())
        };
        assert_eq!(name(union(vec![Ok(None), bob()])), Ok("bob".to_owned()));
        assert_eq!(name(union(vec![Err(unauthorized()), bob()])), Ok("bob".to_owned()));
        assert_eq!(name(union(vec![Err(unauthorized()), Ok(None)])), Err(401));
        assert_eq!(name(union(vec![Ok(None)])), Ok("system:anonymous".to_owned()));
        let narrow = Anonymous::only_on(union(vec![]), &["/livez"]);
        assert!(narrow.authenticate(&request("/livez"), &[]).unwrap().is_some());
        assert!(narrow.authenticate(&request("/api"), &[]).unwrap().is_none());
    }
}

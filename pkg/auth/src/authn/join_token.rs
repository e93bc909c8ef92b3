//! The tokens with which servers and agents join, as hashes: who reads the store cannot join by what it says there.

use std::sync::Arc;

use apimachinery::UserInfo;

use super::bearer::{TokenAuthenticator, VerifiedToken};
use super::bootstrap_token::BootstrapLister;
use crate::bootstrap::joining::NODE_TOKENS;

/// The Secret in `kube-system` that holds the hashes: hex SHA-256 under [`SERVER`] and [`AGENT`].
pub const SECRET: &str = "coracle-join-tokens";
pub const SERVER: &str = "server";
pub const AGENT: &str = "agent";
/// As whom a server joins. It alone may have the keys of the cluster's authorities.
pub const SERVER_USER: &str = "coracle:server";
/// As whom an agent joins that has the agents' own token.
pub const AGENT_USER: &str = "coracle:agent";

/// How a token is kept.
pub fn hash(token: &str) -> String {
    pki::fingerprint(token.as_bytes())
}

/// Reads the secret part of join tokens.
pub struct JoinTokens(pub Arc<dyn BootstrapLister>);

impl TokenAuthenticator for JoinTokens {
    fn authenticate_token(&self, token: &str, audiences: &[String]) -> Result<Option<VerifiedToken>, String> {
        let Some(known) = self.0.join_tokens() else { return Ok(None) };
        // Of a hash nothing is told by how long its comparison takes.
        let given = hash(token);
        let is = |kind: &str| known.get(kind).is_some_and(|hash| *hash == given);
        let name = match () {
            () if is(SERVER) => SERVER_USER,
            () if is(AGENT) => AGENT_USER,
            () => return Ok(None),
        };
        let user = UserInfo::new(name, ["system:bootstrappers", NODE_TOKENS]);
        Ok(Some(VerifiedToken { user, audiences: audiences.to_vec() }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authn::bootstrap_token::Data;

    struct Known;

    impl BootstrapLister for Known {
        fn bootstrap_token(&self, _: &str) -> Option<Data> {
            None
        }

        fn join_tokens(&self) -> Option<Data> {
            Some([(SERVER.to_owned(), hash("s")), (AGENT.to_owned(), hash("a"))].into())
        }
    }

    #[test]
    fn each_token_is_its_user() {
        let name = |token: &str| {
            let verified = JoinTokens(Arc::new(Known)).authenticate_token(token, &[]).unwrap();
            verified.map(|verified| verified.user.name)
        };
        assert_eq!(name("s").as_deref(), Some(SERVER_USER));
        assert_eq!(name("a").as_deref(), Some(AGENT_USER));
        assert_eq!(name(&hash("s")), None, "the hash is no token");
        assert_eq!(name(""), None);
    }
}

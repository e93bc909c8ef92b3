//! Tokens that are given when a server is made.

use apimachinery::UserInfo;
use ring::digest::{SHA256, digest};

use super::bearer::{TokenAuthenticator, VerifiedToken};

/// Token to user. Tokens are kept and compared as digests, so that the time of a comparison tells nothing.
#[derive(Default)]
pub struct StaticTokens {
    entries: Vec<([u8; 32], UserInfo)>,
}

impl StaticTokens {
    #[must_use]
    pub fn with(mut self, token: &str, user: UserInfo) -> Self {
        self.entries.push((hash(token), user));
        self
    }
}

fn hash(token: &str) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
    out
}

impl TokenAuthenticator for StaticTokens {
    fn authenticate_token(&self, token: &str, audiences: &[String]) -> Result<Option<VerifiedToken>, String> {
        let wanted = hash(token);
        let found = self.entries.iter().find(|(known, _)| *known == wanted);
        Ok(found.map(|(_, user)| VerifiedToken { user: user.clone(), audiences: audiences.to_vec() }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_exact_token_counts() {
        let tokens = StaticTokens::default().with("s3cret", UserInfo::new("node", ["system:nodes"]));
        assert_eq!(tokens.authenticate_token("s3cret", &[]).unwrap().unwrap().user.name, "node");
        assert_eq!(tokens.authenticate_token("s3cre", &[]), Ok(None));
        assert_eq!(tokens.authenticate_token("", &[]), Ok(None));
    }
}

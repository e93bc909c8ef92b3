//! Join tokens: `K10<SHA-256 of the CA file>::server:<secret>`. The hash lets a joining node trust the server's CA before it
//! has any certificate.

use std::path::Path;

use ring::rand::{SecureRandom, SystemRandom};

use crate::authority::{fingerprint, hex};
use crate::error::Error;
use crate::file::{private_dir, read_private, write_private};

/// A token that has been read.
#[derive(Clone, PartialEq, Eq)]
pub struct JoinToken {
    /// Hex SHA-256 of the CA file; `None` in a short token (the bare secret), which trusts at first use.
    pub ca_hash: Option<String>,
    pub user: String,
    pub secret: String,
}

impl std::fmt::Debug for JoinToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JoinToken").field("ca_hash", &self.ca_hash).field("user", &self.user).finish_non_exhaustive()
    }
}

impl JoinToken {
    pub fn parse(text: &str) -> Result<Self, Error> {
        let text = text.trim();
        let Some(rest) = text.strip_prefix("K10") else {
            if text.is_empty() || text.contains(char::is_whitespace) {
                return Err(Error::Token("it is empty or has spaces in it"));
            }
            return Ok(Self { ca_hash: None, user: "server".to_owned(), secret: text.to_owned() });
        };
        let (hash, credentials) = rest.split_once("::").ok_or(Error::Token("`::` is missing after the CA hash"))?;
        if hash.len() != 64 || !hash.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(Error::Token("the CA hash must have 64 hex digits"));
        }
        let (user, secret) = credentials.split_once(':').ok_or(Error::Token("it must end with `user:secret`"))?;
        if user.is_empty() || secret.is_empty() {
            return Err(Error::Token("user or secret is empty"));
        }
        let ca_hash = Some(hash.to_ascii_lowercase());
        Ok(Self { ca_hash, user: user.to_owned(), secret: secret.to_owned() })
    }

    /// True if the token vouches for this CA file, or for none.
    pub fn trusts(&self, ca_pem: &str) -> bool {
        self.ca_hash.as_ref().is_none_or(|hash| *hash == fingerprint(ca_pem.as_bytes()))
    }
}

impl std::fmt::Display for JoinToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.ca_hash {
            Some(hash) => write!(f, "K10{hash}::{}:{}", self.user, self.secret),
            None => f.write_str(&self.secret),
        }
    }
}

/// 128 random bits in hex.
pub fn random_secret() -> Result<String, Error> {
    let mut bytes = [0u8; 16];
    SystemRandom::new().fill(&mut bytes)?;
    Ok(hex(&bytes))
}

/// The server's token in the file at `path`, made with `secret` (or a random one) if it is not there. The hash always
/// follows `ca_pem`.
pub fn join_token(path: &Path, ca_pem: &str, secret: Option<&str>) -> Result<JoinToken, Error> {
    let existing = read_private(path)?;
    let existing = existing.map(|bytes| JoinToken::parse(&String::from_utf8_lossy(&bytes))).transpose()?;
    let secret = match (secret, &existing) {
        (Some(given), _) => JoinToken::parse(given)?.secret,
        (None, Some(existing)) => existing.secret.clone(),
        (None, None) => random_secret()?,
    };
    let token = JoinToken { ca_hash: Some(fingerprint(ca_pem.as_bytes())), user: "server".to_owned(), secret };
    if existing.as_ref() != Some(&token) {
        if let Some(dir) = path.parent().filter(|dir| !dir.exists()) {
            private_dir(dir)?;
        }
        write_private(path, format!("{token}\n").as_bytes())?;
    }
    Ok(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_parse() {
        let hash = "a".repeat(64);
        let token = JoinToken::parse(&format!("K10{hash}::server:s3cret\n")).unwrap();
        assert_eq!((token.user.as_str(), token.secret.as_str()), ("server", "s3cret"));
        assert_eq!(token.to_string(), format!("K10{hash}::server:s3cret"));
        assert_eq!(JoinToken::parse("short").unwrap().ca_hash, None);
        for bad in ["", "K10abc::server:x", &format!("K10{hash}server:x"), &format!("K10{hash}::server"), "a b"] {
            assert!(JoinToken::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_token_stays_and_follows_the_ca() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("server/token");
        let first = join_token(&path, "ca one", None).unwrap();
        assert_eq!(join_token(&path, "ca one", None).unwrap(), first);
        assert!(first.trusts("ca one") && !first.trusts("ca two"));
        let second = join_token(&path, "ca two", None).unwrap();
        assert_eq!(second.secret, first.secret);
        assert!(second.trusts("ca two"));
        assert_eq!(join_token(&path, "ca two", Some("mine")).unwrap().secret, "mine");
    }
}

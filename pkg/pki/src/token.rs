//! Join tokens: `K10<SHA-256 of the CA file>::server:<secret>`, with `node:` for agents' own token, or
//! `K10<hash>::<id>.<secret>` for a bootstrap token. The hash lets who joins trust the server's CA before it has any
//! certificate.

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
    /// `server` or `node`; empty in a bootstrap token.
    pub user: String,
    /// What is sent to the server: the bearer token.
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
        let ca_hash = Some(hash.to_ascii_lowercase());
        if split_bootstrap(credentials).is_some() {
            return Ok(Self { ca_hash, user: String::new(), secret: credentials.to_owned() });
        }
        let (user, secret) = credentials.split_once(':').ok_or(Error::Token("it must end with `user:secret`"))?;
        if user.is_empty() || secret.is_empty() {
            return Err(Error::Token("user or secret is empty"));
        }
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
            Some(hash) if self.user.is_empty() => write!(f, "K10{hash}::{}", self.secret),
            Some(hash) => write!(f, "K10{hash}::{}:{}", self.user, self.secret),
            None => f.write_str(&self.secret),
        }
    }
}

/// The id and the secret of a bootstrap token `[a-z0-9]{6}.[a-z0-9]{16}`; `None` if it has another form.
pub fn split_bootstrap(token: &str) -> Option<(&str, &str)> {
    let plain = |text: &str| text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    token.split_once('.').filter(|(id, secret)| id.len() == 6 && secret.len() == 16 && plain(id) && plain(secret))
}

/// A new bootstrap token: its id and its secret.
pub fn random_bootstrap() -> Result<(String, String), Error> {
    Ok((random_text(6)?, random_text(16)?))
}

/// Lower-case letters and digits, each as likely as the other.
fn random_text(length: usize) -> Result<String, Error> {
    const LETTERS: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";
    let (random, mut text) = (SystemRandom::new(), String::with_capacity(length));
    let mut bytes = [0u8; 32];
    while text.len() < length {
        random.fill(&mut bytes)?;
        // 252 is the largest multiple of 36 in a byte: what is above would favour the first letters.
        let letters = bytes.iter().filter(|byte| **byte < 252).map(|byte| char::from(LETTERS[usize::from(byte % 36)]));
        text.extend(letters.take(length - text.len()));
    }
    Ok(text)
}

/// 128 random bits in hex.
pub fn random_secret() -> Result<String, Error> {
    let mut bytes = [0u8; 16];
    SystemRandom::new().fill(&mut bytes)?;
    Ok(hex(&bytes))
}

/// The token of `user` in the file at `path`, made with `secret` (or a random one) if it is not there. The hash always
/// follows `ca_pem`.
pub fn join_token(path: &Path, user: &str, ca_pem: &str, secret: Option<&str>) -> Result<JoinToken, Error> {
    let existing = read_private(path)?;
    let existing = existing.map(|bytes| JoinToken::parse(&String::from_utf8_lossy(&bytes))).transpose()?;
    let secret = match (secret, &existing) {
        (Some(given), _) => JoinToken::parse(given)?.secret,
        (None, Some(existing)) => existing.secret.clone(),
        (None, None) => random_secret()?,
    };
    let token = JoinToken { ca_hash: Some(fingerprint(ca_pem.as_bytes())), user: user.to_owned(), secret };
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
        let text = format!("K10{hash}::abcdef.0123456789abcdef");
        let token = JoinToken::parse(&text).unwrap();
        assert_eq!((token.user.as_str(), token.secret.as_str()), ("", "abcdef.0123456789abcdef"));
        assert_eq!(token.to_string(), text);
        for bad in ["", "K10abc::server:x", &format!("K10{hash}server:x"), &format!("K10{hash}::server"), "a b"] {
            assert!(JoinToken::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn bootstrap_tokens_have_their_form() {
        let (id, secret) = random_bootstrap().unwrap();
        assert_eq!(split_bootstrap(&format!("{id}.{secret}")), Some((id.as_str(), secret.as_str())));
        for bad in
            ["abcdef0123456789abcdef", "abcde.0123456789abcdef", "abcdef.0123456789abcdeF", "abcdef.0123456789abcde"]
        {
            assert_eq!(split_bootstrap(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_token_stays_and_follows_the_ca() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("server/token");
        let first = join_token(&path, "server", "ca one", None).unwrap();
        assert_eq!(join_token(&path, "server", "ca one", None).unwrap(), first);
        assert!(first.trusts("ca one") && !first.trusts("ca two"));
        let second = join_token(&path, "server", "ca two", None).unwrap();
        assert_eq!(second.secret, first.secret);
        assert!(second.trusts("ca two"));
        assert_eq!(join_token(&path, "server", "ca two", Some("mine")).unwrap().secret, "mine");
    }
}

//! Bootstrap tokens: Secrets of the type `bootstrap.kubernetes.io/token` in `kube-system`, as upstream's authenticator of
//! the same name reads them.

use std::collections::BTreeMap;
use std::sync::Arc;

use apimachinery::UserInfo;
use component_base::clock::Clock;
use ring::digest::{SHA256, digest};

use super::bearer::{TokenAuthenticator, VerifiedToken};

/// The type of the Secrets that hold tokens.
pub const SECRET_TYPE: &str = "bootstrap.kubernetes.io/token";
/// What their names begin with; the token's id follows.
pub const SECRET_PREFIX: &str = "bootstrap-token-";
/// Every bootstrap token's group.
const DEFAULT_GROUP: &str = "system:bootstrappers";

/// The `data` of such a Secret, decoded.
pub type Data = BTreeMap<String, String>;

/// The newest state of token Secrets.
pub trait BootstrapLister: Send + Sync {
    /// The data of the Secret `kube-system/bootstrap-token-<id>`; `None` if there is none, if it is being deleted or if it
    /// is of another type.
    fn bootstrap_token(&self, id: &str) -> Option<Data>;

    /// The hashes of the join tokens: the data of the Secret [`super::join_token::SECRET`].
    fn join_tokens(&self) -> Option<Data>;
}

/// Reads `<id>.<secret>`.
pub struct BootstrapTokens {
    lister: Arc<dyn BootstrapLister>,
    clock: Arc<dyn Clock>,
}

impl BootstrapTokens {
    pub fn new(lister: Arc<dyn BootstrapLister>, clock: Arc<dyn Clock>) -> Self {
        Self { lister, clock }
    }
}

/// When a token ends, in Unix seconds: `None` never, and a time that cannot be read is long past.
pub fn expiration(data: &Data) -> Option<i64> {
    let text = data.get("expiration").filter(|text| !text.is_empty())?;
    Some(apimachinery::time::parse_seconds(text).unwrap_or(i64::MIN))
}

/// All groups of a token; `None` if one of the further ones may not be given by a token.
fn groups(data: &Data) -> Option<Vec<String>> {
    let extra = data.get("auth-extra-groups").map_or("", String::as_str);
    let mut groups = vec![DEFAULT_GROUP.to_owned()];
    for group in extra.split(',').filter(|_| !extra.is_empty()) {
        if !is_group(group) {
            return None;
        }
        groups.push(group.to_owned());
    }
    groups.sort_unstable();
    groups.dedup();
    Some(groups)
}

/// `system:bootstrappers:` and then lower-case letters, digits, `:` and `-`, with a letter or digit at the end.
fn is_group(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let Some(rest) = name.strip_prefix("system:bootstrappers:").filter(|rest| rest.len() <= 256) else { return false };
    rest.bytes().last().is_some_and(plain) && rest.bytes().all(|b| plain(b) || b == b':' || b == b'-')
}

impl TokenAuthenticator for BootstrapTokens {
    fn authenticate_token(&self, token: &str, audiences: &[String]) -> Result<Option<VerifiedToken>, String> {
        let Some((id, secret)) = pki::split_bootstrap(token) else { return Ok(None) };
        let Some(data) = self.lister.bootstrap_token(id) else { return Ok(None) };
        let field = |name: &str| data.get(name).map_or("", String::as_str);
        // Digests are compared, so that the time of the comparison tells nothing of the secret.
        let hash = |text: &str| digest(&SHA256, text.as_bytes());
        let same = hash(field("token-secret")).as_ref() == hash(secret).as_ref();
        let now = i64::try_from(self.clock.wall().as_secs()).unwrap_or(i64::MAX);
        let alive = expiration(&data).is_none_or(|end| end > now);
        if !same || field("token-id") != id || !alive || field("usage-bootstrap-authentication") != "true" {
            return Ok(None);
        }
        let Some(mut groups) = groups(&data) else { return Ok(None) };
        groups.push("system:authenticated".to_owned());
        let user = UserInfo { name: format!("system:bootstrap:{id}"), groups, ..UserInfo::default() };
        Ok(Some(VerifiedToken { user, audiences: audiences.to_vec() }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct One(Data);

    impl BootstrapLister for One {
        fn bootstrap_token(&self, id: &str) -> Option<Data> {
            (id == "abcdef").then(|| self.0.clone())
        }

        fn join_tokens(&self) -> Option<Data> {
            None
        }
    }

    fn ask(changes: &[(&str, &str)], token: &str) -> Option<UserInfo> {
        let good = [
            ("token-id", "abcdef"),
            ("token-secret", "0123456789abcdef"),
            ("usage-bootstrap-authentication", "true"),
            ("expiration", "2999-01-01T00:00:00Z"),
            ("auth-extra-groups", "system:bootstrappers:workers"),
        ];
        let data = good.iter().chain(changes).map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let tokens = BootstrapTokens::new(Arc::new(One(data)), Arc::new(component_base::clock::SystemClock));
        tokens.authenticate_token(token, &[]).unwrap().map(|verified| verified.user)
    }

    #[test]
    fn a_token_is_a_user_in_its_groups() {
        let user = ask(&[], "abcdef.0123456789abcdef").unwrap();
        assert_eq!(user.name, "system:bootstrap:abcdef");
        assert_eq!(user.groups, ["system:bootstrappers", "system:bootstrappers:workers", "system:authenticated"]);
    }

    #[test]
    fn what_is_wrong_with_a_token_makes_it_none() {
        let token = "abcdef.0123456789abcdef";
        let cases: &[(&[(&str, &str)], &str)] = &[
            (&[], "abcdef.0123456789abcdee"),
            (&[], "zzzzzz.0123456789abcdef"),
            (&[], "0123456789abcdef"),
            (&[("expiration", "2020-01-01T00:00:00Z")], token),
            (&[("expiration", "tomorrow")], token),
            (&[("usage-bootstrap-authentication", "yes")], token),
            (&[("token-id", "abcdeg")], token),
            (&[("auth-extra-groups", "system:masters")], token),
            (&[("auth-extra-groups", "system:bootstrappers:x-")], token),
        ];
        for (changes, token) in cases {
            assert_eq!(ask(changes, token), None, "{changes:?} {token}");
        }
        assert!(ask(&[("expiration", "")], token).is_some(), "without an end it lives");
    }
}

//! `Impersonate-*` headers: acting as somebody else, if one may.

use apimachinery::{ApiError, ApiResult, UserInfo};
use http::HeaderMap;

use crate::Attributes;
use crate::authz::{Authorizer, require};

/// How the names of all these headers begin.
const PREFIX: &str = "impersonate-";
const USER: &str = "impersonate-user";
const GROUP: &str = "impersonate-group";
const UID: &str = "impersonate-uid";
const EXTRA: &str = "impersonate-extra-";
const SERVICE_ACCOUNT: &str = "system:serviceaccount:";

/// The user that `headers` ask to act as, after `user` was found to be allowed to; `None` without such headers.
pub fn impersonate(headers: &HeaderMap, user: &UserInfo, authorizer: &dyn Authorizer) -> ApiResult<Option<UserInfo>> {
    if !headers.keys().any(|name| name.as_str().starts_with(PREFIX)) {
        return Ok(None);
    }
    let text = |name: &str| headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or("").to_owned();
    let texts = |name: &str| -> Vec<String> {
        headers.get_all(name).iter().filter_map(|v| v.to_str().ok()).map(str::to_owned).collect()
    };
    let mut target = UserInfo { name: text(USER), uid: text(UID), groups: texts(GROUP), ..UserInfo::default() };
    for name in headers.keys() {
        if let Some(key) = name.as_str().strip_prefix(EXTRA) {
            let key = percent_decoded(key);
            target.extra.insert(key, texts(name.as_str()));
        }
    }
    let asked = !target.groups.is_empty() || !target.extra.is_empty() || !target.uid.is_empty();
    if target.name.is_empty() {
        if asked {
            return Err(ApiError::internal(format!(
                "requested {:?} without impersonating a user",
                (&target.groups, &target.extra)
            )));
        }
        return Ok(None);
    }
    check(&target, user, authorizer)?;
    complete_groups(&mut target);
    Ok(Some(target))
}

fn check(target: &UserInfo, user: &UserInfo, authorizer: &dyn Authorizer) -> ApiResult<()> {
    let ask = |group, resource, subresource, namespace, name| {
        let attributes = Attributes::resource(user, "impersonate", group, resource);
        require(authorizer, &attributes.sub(subresource).in_namespace(namespace).named(name))
    };
    match target.name.strip_prefix(SERVICE_ACCOUNT).and_then(|rest| rest.split_once(':')) {
        Some((namespace, name)) => ask("", "serviceaccounts", "", namespace, name)?,
        None => ask("", "users", "", "", &target.name)?,
    }
    target.groups.iter().try_for_each(|group| ask("", "groups", "", "", group))?;
    if !target.uid.is_empty() {
        ask("authentication.k8s.io", "uids", "", "", &target.uid)?;
    }
    for (key, values) in &target.extra {
        values.iter().try_for_each(|value| ask("authentication.k8s.io", "userextras", key, "", value))?;
    }
    Ok(())
}

/// What authentication would have added.
fn complete_groups(target: &mut UserInfo) {
    if target.groups.is_empty()
        && let Some((namespace, _)) = target.name.strip_prefix(SERVICE_ACCOUNT).and_then(|rest| rest.split_once(':'))
    {
        target.groups.push("system:serviceaccounts".to_owned());
        target.groups.push(format!("system:serviceaccounts:{namespace}"));
    }
    let implied = if target.name == "system:anonymous" { "system:unauthenticated" } else { "system:authenticated" };
    if !target.groups.iter().any(|g| g == "system:authenticated" || g == "system:unauthenticated") {
        target.groups.push(implied.to_owned());
    }
}

fn percent_decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut i = 0;
    while i < bytes.len() {
        let hex = text.get(i + 1..i + 3).filter(|_| bytes[i] == b'%').and_then(|h| u8::from_str_radix(h, 16).ok());
        out.push(hex.unwrap_or(bytes[i]));
        i += if hex.is_some() { 3 } else { 1 };
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::authz::Decision;

    struct Only(&'static [&'static str]);

    impl Authorizer for Only {
        fn authorize(&self, a: &Attributes<'_>) -> Decision {
            let asked = format!("{}/{}:{}", a.resource, a.subresource, a.name);
            if self.0.contains(&asked.as_str()) { Decision::Allow(Arc::from("")) } else { Decision::none() }
        }
    }

    fn run(headers: &[(&'static str, &str)], may: &'static [&'static str]) -> ApiResult<Option<UserInfo>> {
        let mut map = HeaderMap::new();
        headers.iter().for_each(|(k, v)| {
            map.append(*k, v.parse().unwrap());
        });
        impersonate(&map, &UserInfo::new("admin", []), &Only(may))
    }

    #[test]
    fn every_part_needs_its_permission() {
        assert_eq!(run(&[], &[]), Ok(None));
        let bob = run(&[("impersonate-user", "bob")], &["users/:bob"]).unwrap().unwrap();
        assert_eq!(bob.groups, ["system:authenticated"]);
        let refused = run(&[("impersonate-user", "bob")], &[]).unwrap_err();
        let text = r#"users "bob" is forbidden: User "admin" cannot impersonate resource "users" in API group "" at the cluster scope"#;
        assert_eq!(refused.message(), text);
        assert!(run(&[("impersonate-user", "bob"), ("impersonate-group", "dev")], &["users/:bob"]).is_err());
        let sa = run(&[("impersonate-user", "system:serviceaccount:a:b")], &["serviceaccounts/:b"]).unwrap().unwrap();
        assert_eq!(sa.groups, ["system:serviceaccounts", "system:serviceaccounts:a", "system:authenticated"]);
        assert!(run(&[("impersonate-group", "dev")], &["groups/:dev"]).is_err(), "a group needs a user");
        let extra = [("impersonate-user", "bob"), ("impersonate-extra-a%2fb", "x")];
        assert!(run(&extra, &["users/:bob"]).is_err());
        let with = run(&extra, &["users/:bob", "userextras/a/b:x"]).unwrap().unwrap();
        assert_eq!(with.extra["a/b"], ["x"]);
    }
}

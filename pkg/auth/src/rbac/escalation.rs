//! Nobody grants what he does not hold: the check on every write of a role or a binding.

use apimachinery::meta::ObjectExt;
use apimachinery::{ApiError, ApiResult, GroupResource, UserInfo};
use serde_json::Value;

use super::GROUP;
use super::covers::{compact, missing};
use super::policy::Policy;
use super::rule::Rule;
use super::subject::quoted_list;
use crate::Attributes;
use crate::authz::Authorizer;

/// Refuses the write of `new` (a Role, ClusterRole, RoleBinding or ClusterRoleBinding; `old` is what it replaces) unless the
/// user holds everything that it grants, or may `escalate` roles or `bind` the role. For `kind`s of other groups it says yes.
pub fn check_write(
    policy: &Policy,
    authorizer: &dyn Authorizer,
    user: &UserInfo,
    new: &Value,
    old: Option<&Value>,
) -> ApiResult<()> {
    if user.in_group("system:masters") {
        return Ok(());
    }
    match new.kind() {
        "Role" | "ClusterRole" => check_role(policy, authorizer, user, new, old),
        "RoleBinding" | "ClusterRoleBinding" => check_binding(policy, authorizer, user, new, old),
        _ => Ok(()),
    }
}

fn check_role(
    policy: &Policy,
    authorizer: &dyn Authorizer,
    user: &UserInfo,
    new: &Value,
    old: Option<&Value>,
) -> ApiResult<()> {
    let resource = if new.kind() == "Role" { "roles" } else { "clusterroles" };
    let same = |field: &str| old.is_some_and(|old| old.get(field) == new.get(field));
    if same("rules") && same("aggregationRule") {
        return Ok(());
    }
    let asked = Attributes::resource(user, "escalate", GROUP, resource).named(new.name()).in_namespace(new.namespace());
    if authorizer.authorize(&asked).is_allowed() {
        return Ok(());
    }
    let forbidden = |why: String| ApiError::forbidden(&GroupResource::new(GROUP, resource), new.name(), why);
    let aggregates = |role: &Value| role.get("aggregationRule").is_some_and(|v| !v.is_null());
    if aggregates(new) || old.is_some_and(aggregates) {
        let everything = ["*".to_owned()].to_vec();
        let full = [
            Rule {
                verbs: everything.clone(),
                api_groups: everything.clone(),
                resources: everything.clone(),
                ..Rule::default()
            },
            Rule { verbs: everything.clone(), non_resource_urls: everything, ..Rule::default() },
        ];
        held(policy, user, "", &full)
            .map_err(|_| forbidden("must have cluster-admin privileges to use the aggregationRule".to_owned()))?;
    }
    held(policy, user, new.namespace(), &Rule::list(new)).map_err(forbidden)
}

fn check_binding(
    policy: &Policy,
    authorizer: &dyn Authorizer,
    user: &UserInfo,
    new: &Value,
    old: Option<&Value>,
) -> ApiResult<()> {
    let resource = if new.kind() == "RoleBinding" { "rolebindings" } else { "clusterrolebindings" };
    let same = |field: &str| old.is_some_and(|old| old.get(field) == new.get(field));
    if same("subjects") && same("roleRef") {
        return Ok(());
    }
    let (kind, role) = (new.str_at("roleRef/kind"), new.str_at("roleRef/name"));
    let namespace = new.namespace();
    let roles = if kind == "ClusterRole" { "clusterroles" } else { "roles" };
    let asked = Attributes::resource(user, "bind", GROUP, roles).named(role).in_namespace(namespace);
    if authorizer.authorize(&asked).is_allowed() {
        return Ok(());
    }
    let rules = policy
        .rules_of_role(kind, role, namespace)
        .ok_or_else(|| ApiError::not_found(&GroupResource::new(GROUP, roles.trim_end_matches('s')), role))?;
    held(policy, user, namespace, &rules)
        .map_err(|why| ApiError::forbidden(&GroupResource::new(GROUP, resource), new.name(), why))
}

/// Errs with upstream's text if `user` does not hold all of `rules` in `namespace`.
fn held(policy: &Policy, user: &UserInfo, namespace: &str, rules: &[Rule]) -> Result<(), String> {
    let own = policy.rules_for(user, namespace);
    let missing = missing(&own.rules, rules);
    if missing.is_empty() {
        return Ok(());
    }
    let lines: Vec<String> = compact(missing).into_iter().collect();
    let mut text = format!(
        "user {:?} (groups={}) is attempting to grant RBAC permissions not currently held:\n{}",
        user.name,
        quoted_list(&user.groups),
        lines.join("\n")
    );
    if !own.errors.is_empty() {
        text.push_str(&format!("; resolution errors: [{}]", own.errors.join(", ")));
    }
    Err(text)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn setup() -> Policy {
        let policy = Policy::default();
        policy.replace([
            json!({"kind": "ClusterRole", "metadata": {"name": "reader"},
                   "rules": [{"verbs": ["get", "list"], "apiGroups": [""], "resources": ["pods"]}]}),
            json!({"kind": "ClusterRole", "metadata": {"name": "writer"},
                   "rules": [{"verbs": ["create", "delete"], "apiGroups": [""], "resources": ["pods"]}]}),
            json!({"kind": "ClusterRole", "metadata": {"name": "binder"},
                   "rules": [{"verbs": ["bind"], "apiGroups": [GROUP], "resources": ["clusterroles"], "resourceNames": ["writer"]},
                             {"verbs": ["escalate"], "apiGroups": [GROUP], "resources": ["roles"]}]}),
            json!({"kind": "ClusterRoleBinding", "metadata": {"name": "b"}, "roleRef": {"kind": "ClusterRole", "name": "reader"},
                   "subjects": [{"kind": "User", "name": "bob"}]}),
            json!({"kind": "ClusterRoleBinding", "metadata": {"name": "c"}, "roleRef": {"kind": "ClusterRole", "name": "binder"},
                   "subjects": [{"kind": "User", "name": "carol"}]}),
        ]);
        policy
    }

    fn role(kind: &str, verbs: &[&str]) -> Value {
        json!({"kind": kind, "metadata": {"name": "r", "namespace": if kind == "Role" { "ns" } else { "" }},
               "rules": [{"verbs": verbs, "apiGroups": [""], "resources": ["pods"]}]})
    }

    fn binding(role: &str) -> Value {
        json!({"kind": "RoleBinding", "metadata": {"name": "rb", "namespace": "ns"},
               "roleRef": {"kind": "ClusterRole", "name": role}, "subjects": [{"kind": "User", "name": "x"}]})
    }

    #[test]
    fn grants_need_to_be_held_or_allowed() {
        let policy = setup();
        let bob = UserInfo::new("bob", []);
        let carol = UserInfo::new("carol", []);
        let masters = UserInfo::new("root", ["system:masters"]);
        let check = |user: &UserInfo, new: &Value| check_write(&policy, &policy, user, new, None);
        assert_eq!(check(&bob, &role("ClusterRole", &["get"])), Ok(()));
        assert_eq!(check(&masters, &role("ClusterRole", &["*"])), Ok(()));
        assert_eq!(check(&carol, &role("Role", &["*"])), Ok(()), "may escalate roles");
        assert!(check(&carol, &role("ClusterRole", &["*"])).is_err(), "but not cluster roles");
        assert_eq!(check(&bob, &binding("reader")), Ok(()));
        assert_eq!(check(&carol, &binding("writer")), Ok(()), "may bind it");
        assert_eq!(check(&bob, &binding("gone")).unwrap_err().code(), 404);
        let refused = check(&bob, &binding("writer")).unwrap_err();
        assert_eq!(
            refused.message(),
            "rolebindings.rbac.authorization.k8s.io \"rb\" is forbidden: user \"bob\" (groups=[\"system:authenticated\"]) is \
             attempting to grant RBAC permissions not currently held:\n{APIGroups:[\"\"], Resources:[\"pods\"], \
             Verbs:[\"create\" \"delete\"]}"
        );
        let old = role("ClusterRole", &["*"]);
        assert_eq!(check_write(&policy, &policy, &bob, &old, Some(&old)), Ok(()), "nothing is granted anew");
        let aggregating = json!({"kind": "ClusterRole", "metadata": {"name": "a"}, "aggregationRule": {}});
        let refused = check(&bob, &aggregating).unwrap_err();
        assert!(refused.message().ends_with("must have cluster-admin privileges to use the aggregationRule"));
    }
}

//! The roles and bindings that every cluster has from its first start: upstream's bootstrap policy as data tables.
//!
//! `cluster_roles` and its siblings make the objects; whoever starts the server writes those that are missing and brings
//! those with the annotation `rbac.authorization.kubernetes.io/autoupdate: "true"` up to date.

mod controllers;
pub mod joining;
mod namespaced;
mod roles;
mod table;

use serde_json::{Value, json};

use crate::rbac::Rule;
use table::{BindingRow, RoleRow, object, rules};

/// All ClusterRoles.
pub fn cluster_roles() -> Vec<Value> {
    let general = roles::ROLES.iter().map(RoleRow::cluster_role).chain(controllers::cluster_roles());
    general.chain(joining::CLUSTER_ROLES.iter().map(RoleRow::cluster_role)).collect()
}

/// All ClusterRoleBindings.
pub fn cluster_role_bindings() -> Vec<Value> {
    let own = roles::BINDINGS.iter().chain(joining::CLUSTER_BINDINGS).map(BindingRow::cluster_role_binding);
    own.chain(controllers::cluster_role_bindings()).collect()
}

/// All Roles, in `kube-system` and `kube-public`.
pub fn roles() -> Vec<Value> {
    let own = joining::ROLES.iter().map(|row| row.role(namespaced::SYSTEM));
    namespaced::ROLES.iter().map(|(namespace, row)| row.role(namespace)).chain(own).collect()
}

/// All RoleBindings, in `kube-system` and `kube-public`.
pub fn role_bindings() -> Vec<Value> {
    let own = joining::BINDINGS.iter().map(|row| row.role_binding(namespaced::SYSTEM));
    namespaced::BINDINGS.iter().map(|(namespace, row)| row.role_binding(namespace)).chain(own).collect()
}

/// Names of the ServiceAccounts (in `kube-system`) under which single controllers may run.
pub fn controller_names() -> Vec<&'static str> {
    controllers::CONTROLLERS.iter().map(|(name, _)| *name).collect()
}

/// What every node may do; the Node authorizer narrows some of it to the node's own objects.
pub(crate) fn node_rules() -> Vec<Rule> {
    rules(roles::NODE).iter().map(Rule::from_value).collect()
}

/// What an existing bootstrap object must become, or `None` if it is right: missing rules, subjects and labels are added,
/// nothing is taken away. Objects that a user has opted out of (`autoupdate: "false"`) stay as they are.
pub fn reconcile(existing: &Value, wanted: &Value) -> Option<Value> {
    use apimachinery::meta::ObjectExt;
    let annotation = existing.annotations().and_then(|a| a.get("rbac.authorization.kubernetes.io/autoupdate"));
    if annotation.and_then(Value::as_str) == Some("false") {
        return None;
    }
    let mut updated = existing.clone();
    for part in ["labels", "annotations"] {
        for (key, value) in wanted.at(&format!("metadata/{part}")).and_then(Value::as_object).into_iter().flatten() {
            let map = updated.metadata_mut().entry(part).or_insert(json!({}));
            apimachinery::meta::object_mut(map).entry(key.clone()).or_insert(value.clone());
        }
    }
    if wanted.get("aggregationRule").is_some() {
        updated["aggregationRule"] = wanted["aggregationRule"].clone();
    } else {
        add_missing_rules(&mut updated, wanted);
    }
    for subject in wanted.array_at("subjects") {
        if !updated.array_at("subjects").contains(subject) {
            let mut subjects = updated.array_at("subjects").to_vec();
            subjects.push(subject.clone());
            updated["subjects"] = subjects.into();
        }
    }
    (updated != *existing).then_some(updated)
}

fn add_missing_rules(updated: &mut Value, wanted: &Value) {
    use apimachinery::meta::ObjectExt;
    let held = Rule::list(updated);
    let missing = crate::rbac::missing_rules(&held, &Rule::list(wanted));
    if !missing.is_empty() {
        let mut rules = updated.array_at("rules").to_vec();
        rules.extend(missing.iter().map(Rule::to_value));
        updated["rules"] = rules.into();
    }
}

#[cfg(test)]
mod tests;

//! All roles and bindings of a cluster in memory, indexed by whom they mean. One check reads a few entries of hash maps.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use apimachinery::UserInfo;
use apimachinery::labels::LabelSelector;
use apimachinery::meta::ObjectExt;
use parking_lot::RwLock;
use serde_json::{Map, Value};

use super::index::IndexedRules;
use super::rule::Rule;
use super::subject::{Subject, subjects};
use crate::Attributes;
use crate::authz::{Authorizer, Decision};

/// The RBAC authorizer. Fed with every Role, ClusterRole, RoleBinding and ClusterRoleBinding as they change.
#[derive(Default)]
pub struct Policy(RwLock<State>);

#[derive(Default)]
struct State {
    cluster_roles: HashMap<String, ClusterRole>,
    /// Namespace to name to rules.
    roles: HashMap<String, HashMap<String, Arc<IndexedRules>>>,
    /// Namespace (`""` for ClusterRoleBindings) to what is granted there.
    scopes: HashMap<String, Scope>,
}

struct ClusterRole {
    own: Vec<Rule>,
    labels: Option<Map<String, Value>>,
    /// `aggregationRule.clusterRoleSelectors`; the role's rules are then those of all roles selected.
    selectors: Vec<LabelSelector>,
    effective: Arc<IndexedRules>,
}

/// What the bindings of one namespace (or the cluster) grant.
#[derive(Default)]
struct Scope {
    /// Binding to its subjects, to take its grants back.
    bindings: HashMap<String, Vec<Subject>>,
    users: HashMap<String, Vec<Grant>>,
    groups: HashMap<String, Vec<Grant>>,
}

/// One subject of one binding.
#[derive(Clone)]
struct Grant {
    binding: Arc<str>,
    cluster_role: bool,
    role: Arc<str>,
    reason: Arc<str>,
}

/// Everything that a user may do, as far as RBAC knows.
#[derive(Clone, Debug, Default)]
pub struct RulesForUser {
    pub rules: Vec<Rule>,
    /// The same in the form of SelfSubjectRulesReview.
    pub resource_rules: Vec<Value>,
    pub non_resource_rules: Vec<Value>,
    /// Bindings whose roles do not exist.
    pub errors: Vec<String>,
}

impl Policy {
    /// Starts over with `objects`: ClusterRoles, Roles, ClusterRoleBindings and RoleBindings in any order.
    pub fn replace(&self, objects: impl IntoIterator<Item = Value>) {
        let mut state = State::default();
        objects.into_iter().for_each(|object| state.put(&object));
        state.aggregate();
        *self.0.write() = state;
    }

    /// Makes `objects` all that there is of one kind, at once: for a watch that fell behind, after which it is not known what
    /// was deleted. A binding that is gone must not go on granting.
    pub fn replace_kind(&self, kind: &str, objects: impl IntoIterator<Item = Value>) {
        let objects: Vec<Value> = objects.into_iter().collect();
        let mut state = self.0.write();
        match kind {
            "ClusterRole" => state.cluster_roles.clear(),
            "Role" => state.roles.clear(),
            "ClusterRoleBinding" => drop(state.scopes.remove("")),
            "RoleBinding" => state.scopes.retain(|namespace, _| namespace.is_empty()),
            _ => return,
        }
        objects.iter().filter(|object| object.kind() == kind).for_each(|object| state.put(object));
        state.aggregate();
    }

    /// Takes a new or changed object; other kinds are ignored.
    pub fn upsert(&self, object: &Value) {
        let mut state = self.0.write();
        state.put(object);
        if object.kind() == "ClusterRole" {
            state.aggregate();
        }
    }

    /// Forgets an object.
    pub fn delete(&self, object: &Value) {
        let (namespace, name) = (object.namespace(), object.name());
        let mut state = self.0.write();
        match object.kind() {
            "ClusterRole" => {
                state.cluster_roles.remove(name);
                state.aggregate();
            }
            "Role" => {
                if let Some(roles) = state.roles.get_mut(namespace) {
                    roles.remove(name);
                }
            }
            "ClusterRoleBinding" => state.unbind("", name),
            "RoleBinding" => state.unbind(namespace, name),
            _ => {}
        }
    }

    /// What `user` may do in `namespace` (and in the cluster).
    pub fn rules_for(&self, user: &UserInfo, namespace: &str) -> RulesForUser {
        let state = self.0.read();
        let mut found = RulesForUser::default();
        state.visit(user, namespace, |scope, grant| {
            match state.rules_of(scope, grant) {
                Ok(rules) => found.rules.extend_from_slice(rules.rules()),
                Err(why) => found.errors.push(why),
            }
            false
        });
        for rule in &found.rules {
            let list = if rule.non_resource_urls.is_empty() {
                &mut found.resource_rules
            } else {
                &mut found.non_resource_rules
            };
            list.push(rule.to_value());
        }
        found
    }

    /// The rules behind a `roleRef`; `namespace` is the binding's own.
    pub fn rules_of_role(&self, kind: &str, name: &str, namespace: &str) -> Option<Vec<Rule>> {
        let state = self.0.read();
        let rules = match kind {
            "ClusterRole" => &state.cluster_roles.get(name)?.effective,
            "Role" => state.roles.get(namespace)?.get(name)?,
            _ => return None,
        };
        Some(rules.rules().to_vec())
    }

    /// The effective rules of every ClusterRole that aggregates others: what a controller would write into it.
    pub fn aggregated(&self) -> Vec<(String, Vec<Rule>)> {
        let state = self.0.read();
        let roles = state.cluster_roles.iter().filter(|(_, role)| !role.selectors.is_empty());
        roles.map(|(name, role)| (name.clone(), role.effective.rules().to_vec())).collect()
    }
}

impl Authorizer for Policy {
    fn authorize(&self, attributes: &Attributes<'_>) -> Decision {
        let state = self.0.read();
        let mut errors: Vec<String> = Vec::new();
        let mut allowed = None;
        state.visit(attributes.user, attributes.namespace, |scope, grant| match state.rules_of(scope, grant) {
            Ok(rules) if rules.allows(attributes) => {
                allowed = Some(grant.reason.clone());
                true
            }
            Ok(_) => false,
            Err(why) => {
                if !errors.contains(&why) {
                    errors.push(why);
                }
                false
            }
        });
        match (allowed, errors.as_slice()) {
            (Some(reason), _) => Decision::Allow(reason),
            (None, []) => Decision::none(),
            (None, [one]) => Decision::NoOpinion(format!("RBAC: {one}")),
            (None, many) => Decision::NoOpinion(format!("RBAC: [{}]", many.join(", "))),
        }
    }
}

impl State {
    fn put(&mut self, object: &Value) {
        let (namespace, name) = (object.namespace(), object.name());
        match object.kind() {
            "ClusterRole" => {
                let own = Rule::list(object);
                let selectors = object.array_at("aggregationRule/clusterRoleSelectors").iter();
                // A selector that does not parse selects nothing.
                let selectors = selectors.filter_map(|s| LabelSelector::from_value(Some(s)).ok()).collect();
                let effective = Arc::new(IndexedRules::new(own.clone()));
                let role = ClusterRole { own, labels: object.labels().cloned(), selectors, effective };
                self.cluster_roles.insert(name.to_owned(), role);
            }
            "Role" => {
                let rules = Arc::new(IndexedRules::new(Rule::list(object)));
                self.roles.entry(namespace.to_owned()).or_default().insert(name.to_owned(), rules);
            }
            "ClusterRoleBinding" => self.bind("", object),
            "RoleBinding" => self.bind(namespace, object),
            _ => {}
        }
    }

    fn bind(&mut self, namespace: &str, binding: &Value) {
        let name = binding.name();
        self.unbind(namespace, name);
        let (kind, role) = (binding.str_at("roleRef/kind"), binding.str_at("roleRef/name"));
        let described = if namespace.is_empty() {
            format!("ClusterRoleBinding {name:?} of {kind} {role:?}")
        } else {
            format!("RoleBinding {:?} of {kind} {role:?}", format!("{name}/{namespace}"))
        };
        let (binding_name, role) = (Arc::<str>::from(name), Arc::<str>::from(role));
        let scope = self.scopes.entry(namespace.to_owned()).or_default();
        let mut bound = Vec::new();
        for (subject, text) in subjects(binding, namespace) {
            let grant = Grant {
                binding: binding_name.clone(),
                cluster_role: kind == "ClusterRole",
                role: role.clone(),
                reason: format!("RBAC: allowed by {described} to {text}").into(),
            };
            let grants = match &subject {
                Subject::User(user) => scope.users.entry(user.clone()),
                Subject::Group(group) => scope.groups.entry(group.clone()),
            };
            grants.or_default().push(grant);
            bound.push(subject);
        }
        scope.bindings.insert(name.to_owned(), bound);
    }

    fn unbind(&mut self, namespace: &str, name: &str) {
        let Some(scope) = self.scopes.get_mut(namespace) else { return };
        for subject in scope.bindings.remove(name).into_iter().flatten() {
            let (map, key) = match &subject {
                Subject::User(user) => (&mut scope.users, user),
                Subject::Group(group) => (&mut scope.groups, group),
            };
            if let Some(grants) = map.get_mut(key) {
                grants.retain(|grant| &*grant.binding != name);
                if grants.is_empty() {
                    map.remove(key);
                }
            }
        }
        if scope.bindings.is_empty() {
            self.scopes.remove(namespace);
        }
    }

    /// Shows every grant of `user` at the cluster scope and then in `namespace`, until `done` answers true.
    fn visit<'s>(&'s self, user: &UserInfo, namespace: &'s str, mut done: impl FnMut(&'s str, &'s Grant) -> bool) {
        let cluster = self.scopes.get("").map(|scope| ("", scope));
        let own = if namespace.is_empty() { None } else { self.scopes.get(namespace).map(|s| (namespace, s)) };
        for (name, scope) in cluster.into_iter().chain(own) {
            let users = scope.users.get(&user.name).into_iter();
            let groups = user.groups.iter().filter_map(|group| scope.groups.get(group));
            for grant in users.chain(groups).flatten() {
                if done(name, grant) {
                    return;
                }
            }
        }
    }

    fn rules_of(&self, scope: &str, grant: &Grant) -> Result<&IndexedRules, String> {
        let (found, kind) = if grant.cluster_role {
            (self.cluster_roles.get(&*grant.role).map(|role| &role.effective), "clusterrole")
        } else {
            (self.roles.get(scope).and_then(|roles| roles.get(&*grant.role)), "role")
        };
        found
            .map(|rules| &**rules)
            .ok_or_else(|| format!("{kind}.rbac.authorization.k8s.io {:?} not found", &*grant.role))
    }

    /// Computes anew the rules of roles that aggregate others. Their stored rules do not count: they follow later.
    fn aggregate(&mut self) {
        let aggregating: Vec<String> =
            self.cluster_roles.iter().filter(|(_, r)| !r.selectors.is_empty()).map(|(n, _)| n.clone()).collect();
        for name in aggregating {
            let mut rules = Vec::new();
            self.collect(&name, &mut HashSet::new(), &mut rules);
            if let Some(role) = self.cluster_roles.get_mut(&name) {
                role.effective = Arc::new(IndexedRules::new(rules));
            }
        }
    }

    /// Selected roles may aggregate others themselves (`admin` takes in `edit`, which takes in `view`).
    fn collect<'s>(&'s self, name: &'s str, seen: &mut HashSet<&'s str>, rules: &mut Vec<Rule>) {
        let Some(role) = self.cluster_roles.get(name).filter(|_| seen.insert(name)) else { return };
        if role.selectors.is_empty() {
            role.own.iter().for_each(|rule| {
                if !rules.contains(rule) {
                    rules.push(rule.clone());
                }
            });
            return;
        }
        let selected = |other: &ClusterRole| role.selectors.iter().any(|s| s.matches_map(other.labels.as_ref()));
        let mut names: Vec<&String> =
            self.cluster_roles.iter().filter(|(_, other)| selected(other)).map(|(name, _)| name).collect();
        names.sort_unstable();
        names.into_iter().for_each(|other| self.collect(other, seen, rules));
    }
}

#[cfg(test)]
#[path = "policy_tests.rs"]
mod tests;

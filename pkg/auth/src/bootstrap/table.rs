//! The form of the tables, and how rows become objects.

use serde_json::{Value, json};

/// `(verbs, groups, resources, names)`, each comma-separated and without blanks; an empty group is the core group, empty
/// names are all. With `URLS` as groups, resources are paths.
pub type RuleRow = (&'static str, &'static str, &'static str, &'static str);

/// In place of groups: the rule is about paths.
pub const URLS: &str = "(paths)";

pub const READ: &str = "get,list,watch";
pub const WRITE: &str = "create,delete,deletecollection,patch,update";
pub const ALL: &str = "create,delete,deletecollection,get,list,patch,update,watch";
/// What every component that records Events needs.
pub const EVENTS: RuleRow = ("create,patch,update", ",events.k8s.io", "events", "");

/// A role: name, label that it aggregates by, label that it is aggregated to, rules.
pub struct RoleRow {
    pub name: &'static str,
    pub aggregates: &'static str,
    pub aggregated_to: &'static str,
    pub rules: &'static [RuleRow],
}

/// Whom a binding means.
pub enum Who {
    User(&'static str),
    Group(&'static str),
    /// Namespace and name.
    Account(&'static str, &'static str),
}

/// A binding; it is named as its role unless `name` says otherwise.
pub struct BindingRow {
    pub name: &'static str,
    pub role: &'static str,
    pub who: &'static [Who],
}

pub const fn role(name: &'static str, rules: &'static [RuleRow]) -> RoleRow {
    RoleRow { name, aggregates: "", aggregated_to: "", rules }
}

pub const fn binding(name: &'static str, who: &'static [Who]) -> BindingRow {
    BindingRow { name, role: name, who }
}

fn split(list: &str) -> Vec<&str> {
    list.split(',').collect()
}

/// Rows as `PolicyRule`s.
pub fn rules(rows: &[RuleRow]) -> Vec<Value> {
    rows.iter()
        .map(|(verbs, groups, resources, names)| {
            if *groups == URLS {
                return json!({ "verbs": split(verbs), "nonResourceURLs": split(resources) });
            }
            let mut rule = json!({ "verbs": split(verbs), "apiGroups": split(groups), "resources": split(resources) });
            if !names.is_empty() {
                rule["resourceNames"] = json!(split(names));
            }
            rule
        })
        .collect()
}

/// The frame of a bootstrap object.
pub fn object(kind: &str, namespace: &str, name: &str) -> Value {
    let mut metadata = json!({
        "name": name,
        "labels": { "kubernetes.io/bootstrapping": "rbac-defaults" },
        "annotations": { "rbac.authorization.kubernetes.io/autoupdate": "true" },
    });
    if !namespace.is_empty() {
        metadata["namespace"] = namespace.into();
    }
    json!({ "apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, "metadata": metadata })
}

const AGGREGATE_TO: &str = "rbac.authorization.k8s.io/aggregate-to-";

impl RoleRow {
    pub fn cluster_role(&self) -> Value {
        let mut role = object("ClusterRole", "", self.name);
        if !self.aggregated_to.is_empty() {
            role["metadata"]["labels"][format!("{AGGREGATE_TO}{}", self.aggregated_to)] = "true".into();
        }
        if self.aggregates.is_empty() {
            role["rules"] = rules(self.rules).into();
        } else {
            let label = format!("{AGGREGATE_TO}{}", self.aggregates);
            role["aggregationRule"] = json!({ "clusterRoleSelectors": [{ "matchLabels": { label: "true" } }] });
        }
        role
    }

    pub fn role(&self, namespace: &str) -> Value {
        let mut role = object("Role", namespace, self.name);
        role["rules"] = rules(self.rules).into();
        role
    }
}

impl BindingRow {
    pub fn cluster_role_binding(&self) -> Value {
        self.fill(object("ClusterRoleBinding", "", self.name), "ClusterRole")
    }

    pub fn role_binding(&self, namespace: &str) -> Value {
        self.fill(object("RoleBinding", namespace, self.name), "Role")
    }

    fn fill(&self, mut binding: Value, kind: &str) -> Value {
        binding["roleRef"] = json!({ "apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": self.role });
        if !self.who.is_empty() {
            binding["subjects"] = self.who.iter().map(Who::subject).collect();
        }
        binding
    }
}

impl Who {
    pub fn subject(&self) -> Value {
        let group = "rbac.authorization.k8s.io";
        match self {
            Self::User(name) => json!({ "apiGroup": group, "kind": "User", "name": name }),
            Self::Group(name) => json!({ "apiGroup": group, "kind": "Group", "name": name }),
            Self::Account(namespace, name) => json!({ "kind": "ServiceAccount", "name": name, "namespace": namespace }),
        }
    }
}

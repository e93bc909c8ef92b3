//! FlowSchemas, compiled: which requests are whose, and of which flow.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use apimachinery::meta::ObjectExt as _;
use auth::Attributes;
use auth::rbac::Rule;
use serde_json::Value;

/// How the requests of a schema are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Distinguisher {
    Nothing,
    User,
    Namespace,
}

/// A FlowSchema as somebody configured it.
pub struct SchemaSpec {
    pub name: String,
    pub uid: String,
    /// The name of its level.
    pub level: String,
    pub precedence: i64,
    distinguisher: Distinguisher,
    rules: Vec<FlowRule>,
}

struct FlowRule {
    subjects: Subjects,
    resources: Vec<ResourceRule>,
    paths: Vec<Rule>,
}

struct ResourceRule {
    rule: Rule,
    namespaces: Vec<String>,
    cluster_scope: bool,
}

#[derive(Default)]
struct Subjects {
    users: Vec<String>,
    groups: Vec<String>,
    /// Namespace and name.
    accounts: Vec<(String, String)>,
}

impl SchemaSpec {
    pub fn of(object: &Value) -> Self {
        Self {
            name: object.name().to_owned(),
            uid: object.uid().to_owned(),
            level: object.str_at("spec/priorityLevelConfiguration/name").to_owned(),
            precedence: object.i64_at("spec/matchingPrecedence").unwrap_or(1000),
            distinguisher: match object.str_at("spec/distinguisherMethod/type") {
                "ByUser" => Distinguisher::User,
                "ByNamespace" => Distinguisher::Namespace,
                _ => Distinguisher::Nothing,
            },
            rules: object.array_at("spec/rules").iter().map(FlowRule::of).collect(),
        }
    }

    pub fn matches(&self, request: &Attributes<'_>) -> bool {
        self.rules.iter().any(|rule| rule.matches(request))
    }

    /// A number for the flow that the request belongs to.
    pub fn flow(&self, request: &Attributes<'_>) -> u64 {
        let part = match self.distinguisher {
            Distinguisher::Nothing => "",
            Distinguisher::User => &request.user.name,
            Distinguisher::Namespace => request.namespace,
        };
        let mut hasher = DefaultHasher::new();
        (&*self.name, part).hash(&mut hasher);
        hasher.finish()
    }
}

fn texts(owner: &Value, field: &str) -> Vec<String> {
    owner.array_at(field).iter().filter_map(|text| text.as_str().map(str::to_owned)).collect()
}

impl FlowRule {
    fn of(value: &Value) -> Self {
        let resource = |value: &Value| ResourceRule {
            rule: Rule::from_value(value),
            namespaces: texts(value, "namespaces"),
            cluster_scope: value.at("clusterScope").and_then(Value::as_bool).unwrap_or(false),
        };
        Self {
            subjects: Subjects::of(value.array_at("subjects")),
            resources: value.array_at("resourceRules").iter().map(resource).collect(),
            paths: value.array_at("nonResourceRules").iter().map(Rule::from_value).collect(),
        }
    }

    fn matches(&self, request: &Attributes<'_>) -> bool {
        self.subjects.contain(request)
            && if request.resource_request {
                self.resources.iter().any(|rule| rule.reaches(request.namespace) && rule.rule.allows(request))
            } else {
                self.paths.iter().any(|rule| rule.allows(request))
            }
    }
}

impl ResourceRule {
    fn reaches(&self, namespace: &str) -> bool {
        if namespace.is_empty() {
            return self.cluster_scope;
        }
        self.namespaces.iter().any(|name| name == "*" || name == namespace)
    }
}

impl Subjects {
    fn of(values: &[Value]) -> Self {
        let mut subjects = Self::default();
        for value in values {
            let text = |field: &str| value.str_at(field).to_owned();
            match value.str_at("kind") {
                "User" => subjects.users.push(text("user/name")),
                "Group" => subjects.groups.push(text("group/name")),
                "ServiceAccount" => {
                    subjects.accounts.push((text("serviceAccount/namespace"), text("serviceAccount/name")));
                }
                _ => {}
            }
        }
        subjects
    }

    fn contain(&self, request: &Attributes<'_>) -> bool {
        let user = request.user;
        self.users.iter().any(|name| name == "*" || *name == user.name)
            || self.groups.iter().any(|group| group == "*" || user.in_group(group))
            || (!self.accounts.is_empty() && self.contain_account(&user.name))
    }

    fn contain_account(&self, user: &str) -> bool {
        let account = user.strip_prefix("system:serviceaccount:").and_then(|account| account.split_once(':'));
        let Some((namespace, name)) = account else { return false };
        self.accounts.iter().any(|(ns, who)| ns == namespace && (who == "*" || who == name))
    }
}

#[cfg(test)]
mod tests {
    use apimachinery::UserInfo;

    use super::*;
    use crate::fairness::defaults;

    /// Verb, group, namespace, resource with subresource; a path where the resource is empty.
    fn ask<'a>(user: &'a UserInfo, verb: &'a str, group: &'a str, namespace: &'a str, what: &'a str) -> Attributes<'a> {
        let is_path = what.starts_with('/');
        let (resource, subresource) = what.split_once('/').unwrap_or((what, ""));
        Attributes {
            user,
            verb,
            api_group: group,
            api_version: "v1",
            namespace,
            resource: if is_path { "" } else { resource },
            subresource: if is_path { "" } else { subresource },
            name: "",
            path: what,
            resource_request: !is_path,
            field_selector: "",
        }
    }

    #[test]
    fn requests_go_where_upstreams_schemas_send_them() {
        let mut schemas: Vec<SchemaSpec> = defaults::schemas().iter().map(SchemaSpec::of).collect();
        schemas.sort_by(|a, b| (a.precedence, &a.name).cmp(&(b.precedence, &b.name)));
        let node = UserInfo::new("system:node:n", ["system:nodes"]);
        let account = |name: &str| UserInfo::new(format!("system:serviceaccount:{name}"), ["system:serviceaccounts"]);
        let cases = [
            (UserInfo::new("a", ["system:masters"]), ("get", "", "ns", "pods"), "exempt"),
            (UserInfo::anonymous(), ("get", "", "", "/readyz"), "probes"),
            (UserInfo::anonymous(), ("get", "", "", "/readyz/ping"), "global-default"),
            (UserInfo::anonymous(), ("get", "", "", "/version"), "global-default"),
            (UserInfo::new("bob", []), ("list", "", "", "pods"), "global-default"),
            (node.clone(), ("update", "", "", "nodes/status"), "system-node-high"),
            (node.clone(), ("update", "coordination.k8s.io", "kube-node-lease", "leases"), "system-node-high"),
            (node.clone(), ("list", "", "", "pods"), "system-nodes"),
            (
                UserInfo::new("system:kube-scheduler", []),
                ("update", "coordination.k8s.io", "kube-system", "leases"),
                "system-leader-election",
            ),
            (UserInfo::new("system:kube-scheduler", []), ("create", "", "ns", "pods/binding"), "kube-scheduler"),
            (
                UserInfo::new("system:kube-controller-manager", []),
                ("update", "", "ns", "endpoints"),
                "kube-controller-manager",
            ),
            (account("kube-system:x"), ("get", "coordination.k8s.io", "x", "leases"), "system-leader-election"),
            (
                account("kube-system:x"),
                ("delete", "coordination.k8s.io", "x", "leases"),
                "kube-system-service-accounts",
            ),
            // Locks that are no leases are no longer told apart from other objects.
            (account("kube-system:x"), ("update", "", "ns", "endpoints"), "kube-system-service-accounts"),
            (account("kube-system:x"), ("update", "", "ns", "configmaps"), "kube-system-service-accounts"),
            (account("default:x"), ("get", "", "ns", "pods"), "service-accounts"),
        ];
        for (user, (verb, group, namespace, what), want) in &cases {
            let request = ask(user, verb, group, namespace, what);
            let found = schemas.iter().find(|schema| schema.matches(&request)).map(|schema| &*schema.name);
            assert_eq!(found, Some(*want), "{} {verb} {what}", user.name);
        }
    }

    #[test]
    fn flows_are_told_apart_as_the_schema_says() {
        let (bob, eve) = (UserInfo::new("bob", []), UserInfo::new("eve", []));
        let find =
            |name: &str| defaults::schemas().iter().map(SchemaSpec::of).find(|schema| schema.name == name).unwrap();
        let flow = |schema: &str, user, namespace| find(schema).flow(&ask(user, "get", "", namespace, "pods"));
        assert_ne!(flow("global-default", &bob, "a"), flow("global-default", &eve, "a"));
        assert_eq!(flow("global-default", &bob, "a"), flow("global-default", &bob, "b"));
        assert_ne!(flow("kube-scheduler", &bob, "a"), flow("kube-scheduler", &bob, "b"));
        assert_eq!(flow("kube-scheduler", &bob, "a"), flow("kube-scheduler", &eve, "a"));
        assert_eq!(flow("exempt", &bob, "a"), flow("exempt", &eve, "b"));
        assert_ne!(flow("exempt", &bob, "a"), flow("probes", &bob, "a"));
    }
}

//! One rule of a role.

use serde_json::{Map, Value};

use crate::Attributes;

/// As in `rbac.authorization.k8s.io/v1` `PolicyRule`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rule {
    pub verbs: Vec<String>,
    pub api_groups: Vec<String>,
    /// `pods`, `pods/log`, `*`, `*/scale`.
    pub resources: Vec<String>,
    /// Empty is all.
    pub resource_names: Vec<String>,
    /// `/healthz`, `/apis/*`, `*`.
    pub non_resource_urls: Vec<String>,
}

impl Rule {
    pub fn from_value(value: &Value) -> Self {
        let texts = |field: &str| -> Vec<String> {
            let list = value.get(field).and_then(Value::as_array);
            list.into_iter().flatten().filter_map(|v| v.as_str().map(str::to_owned)).collect()
        };
        Self {
            verbs: texts("verbs"),
            api_groups: texts("apiGroups"),
            resources: texts("resources"),
            resource_names: texts("resourceNames"),
            non_resource_urls: texts("nonResourceURLs"),
        }
    }

    /// All rules of a Role or ClusterRole as it is written.
    pub fn list(role: &Value) -> Vec<Self> {
        let rules = role.get("rules").and_then(Value::as_array);
        rules.into_iter().flatten().map(Self::from_value).collect()
    }

    /// The API's form; empty lists are left out.
    pub fn to_value(&self) -> Value {
        let mut map = Map::new();
        let lists = [
            ("verbs", &self.verbs),
            ("apiGroups", &self.api_groups),
            ("resources", &self.resources),
            ("resourceNames", &self.resource_names),
            ("nonResourceURLs", &self.non_resource_urls),
        ];
        for (name, list) in lists {
            if !list.is_empty() || name == "verbs" {
                map.insert(name.to_owned(), list.clone().into());
            }
        }
        map.into()
    }

    /// True if this rule allows it.
    pub fn allows(&self, attributes: &Attributes<'_>) -> bool {
        if attributes.resource_request {
            self.allows_verb(attributes.verb)
                && self.allows_group(attributes.api_group)
                && self.resources.iter().any(|r| resource_matches(r, attributes.resource, attributes.subresource))
                && self.allows_name(attributes.name)
        } else {
            self.allows_verb(attributes.verb) && self.non_resource_urls.iter().any(|u| url_matches(u, attributes.path))
        }
    }

    pub(super) fn allows_verb(&self, verb: &str) -> bool {
        self.verbs.iter().any(|v| v == "*" || v == verb)
    }

    pub(super) fn allows_group(&self, group: &str) -> bool {
        self.api_groups.iter().any(|g| g == "*" || g == group)
    }

    pub(super) fn allows_name(&self, name: &str) -> bool {
        self.resource_names.is_empty() || self.resource_names.iter().any(|n| n == name)
    }

    /// The text in escalation errors: `{APIGroups:[""], Resources:["pods"], Verbs:["get" "list"]}`.
    pub(super) fn compact(&self) -> String {
        let lists = [
            ("APIGroups", &self.api_groups),
            ("Resources", &self.resources),
            ("NonResourceURLs", &self.non_resource_urls),
            ("ResourceNames", &self.resource_names),
            ("Verbs", &self.verbs),
        ];
        let parts: Vec<String> = lists
            .iter()
            .filter(|(_, list)| !list.is_empty())
            .map(|(name, list)| format!("{name}:{}", super::subject::quoted_list(list)))
            .collect();
        format!("{{{}}}", parts.join(", "))
    }
}

/// `rule` is what a role says: `*`, `pods`, `pods/log` or `*/log`.
pub(super) fn resource_matches(rule: &str, resource: &str, subresource: &str) -> bool {
    if rule == "*" {
        return true;
    }
    match rule.split_once('/') {
        None => subresource.is_empty() && rule == resource,
        Some((parent, sub)) => !subresource.is_empty() && sub == subresource && (parent == "*" || parent == resource),
    }
}

pub(super) fn url_matches(rule: &str, path: &str) -> bool {
    rule == "*" || rule == path || rule.strip_suffix('*').is_some_and(|prefix| path.starts_with(prefix))
}

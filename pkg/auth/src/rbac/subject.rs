//! Whom a binding means.

use apimachinery::meta::ObjectExt;
use serde_json::Value;

/// A user or a group; a ServiceAccount is the user that it acts as.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Subject {
    User(String),
    Group(String),
}

/// The subjects of a binding, each with its text in the reason of a decision. `namespace` is the RoleBinding's own.
pub fn subjects(binding: &Value, namespace: &str) -> Vec<(Subject, String)> {
    binding.array_at("subjects").iter().filter_map(|subject| read(subject, namespace)).collect()
}

fn read(subject: &Value, namespace: &str) -> Option<(Subject, String)> {
    let name = subject.str_at("name");
    match subject.str_at("kind") {
        "User" => Some((Subject::User(name.to_owned()), format!("User {name:?}"))),
        "Group" => Some((Subject::Group(name.to_owned()), format!("Group {name:?}"))),
        "ServiceAccount" => {
            let own = subject.str_at("namespace");
            let namespace = if own.is_empty() { namespace } else { own };
            if namespace.is_empty() {
                return None;
            }
            let user = format!("system:serviceaccount:{namespace}:{name}");
            Some((Subject::User(user), format!("ServiceAccount {:?}", format!("{name}/{namespace}"))))
        }
        _ => None,
    }
}

/// `["a" "b"]`, as Go prints a list of strings with `%q`.
pub fn quoted_list(list: &[String]) -> String {
    let quoted: Vec<String> = list.iter().map(|t| format!("{t:?}")).collect();
    format!("[{}]", quoted.join(" "))
}

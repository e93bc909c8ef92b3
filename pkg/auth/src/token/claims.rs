//! What a token says, in upstream's words.

use std::collections::BTreeMap;

use apimachinery::UserInfo;
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectRef {
    pub name: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub uid: String,
}

impl ObjectRef {
    pub fn new(name: impl Into<String>, uid: impl Into<String>) -> Self {
        Self { name: name.into(), uid: uid.into() }
    }
}

/// The object whose end ends the token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Binding {
    /// With the node that the pod runs on, if it was known.
    Pod(ObjectRef, Option<ObjectRef>),
    Secret(ObjectRef),
    Node(ObjectRef),
}

/// `aud` may be one text or a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

mod audience {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::OneOrMany;

    pub fn serialize<S: Serializer>(list: &[String], to: S) -> Result<S::Ok, S::Error> {
        list.serialize(to)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
        Ok(match OneOrMany::deserialize(from)? {
            OneOrMany::One(one) => vec![one],
            OneOrMany::Many(many) => many,
        })
    }
}

/// The `kubernetes.io` claim.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Private {
    pub namespace: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<ObjectRef>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<ObjectRef>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<ObjectRef>,
    pub serviceaccount: ObjectRef,
    /// After this moment a renewed token should be in use; the token itself still works.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warnafter: Option<i64>,
}

/// All claims of a bound token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    #[serde(with = "audience")]
    pub aud: Vec<String>,
    pub exp: i64,
    pub iat: i64,
    pub iss: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub jti: String,
    #[serde(rename = "kubernetes.io")]
    pub private: Private,
    pub nbf: i64,
    pub sub: String,
}

/// Claims of the tokens that live in Secrets of type `kubernetes.io/service-account-token`: no end, no audience.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LegacyClaims {
    pub iss: String,
    #[serde(rename = "kubernetes.io/serviceaccount/namespace")]
    pub namespace: String,
    #[serde(rename = "kubernetes.io/serviceaccount/secret.name")]
    pub secret_name: String,
    #[serde(rename = "kubernetes.io/serviceaccount/service-account.name")]
    pub service_account_name: String,
    #[serde(rename = "kubernetes.io/serviceaccount/service-account.uid")]
    pub service_account_uid: String,
    pub sub: String,
}

/// `iss` of legacy tokens.
pub const LEGACY_ISSUER: &str = "kubernetes/serviceaccount";

/// `system:serviceaccount:<namespace>:<name>`
pub fn service_account_user(namespace: &str, name: &str) -> String {
    format!("system:serviceaccount:{namespace}:{name}")
}

/// The identity of a ServiceAccount.
pub fn user_info(namespace: &str, account: &ObjectRef, extra: BTreeMap<String, Vec<String>>) -> UserInfo {
    UserInfo {
        name: service_account_user(namespace, &account.name),
        uid: account.uid.clone(),
        groups: vec![
            "system:serviceaccounts".to_owned(),
            format!("system:serviceaccounts:{namespace}"),
            "system:authenticated".to_owned(),
        ],
        extra,
    }
}

impl Claims {
    /// The identity that the token stands for, with what it is bound to.
    pub fn user_info(&self) -> UserInfo {
        let mut extra = BTreeMap::new();
        let mut put = |key: &str, value: &str| {
            if !value.is_empty() {
                extra.insert(format!("authentication.kubernetes.io/{key}"), vec![value.to_owned()]);
            }
        };
        if !self.jti.is_empty() {
            put("credential-id", &format!("JTI={}", self.jti));
        }
        if let Some(pod) = &self.private.pod {
            put("pod-name", &pod.name);
            put("pod-uid", &pod.uid);
        }
        if let Some(node) = &self.private.node {
            put("node-name", &node.name);
            put("node-uid", &node.uid);
        }
        user_info(&self.private.namespace, &self.private.serviceaccount, extra)
    }
}

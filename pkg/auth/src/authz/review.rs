//! The questions that clients ask about authorization: SubjectAccessReview and its relatives.

use std::collections::BTreeMap;

use apimachinery::UserInfo;
use apimachinery::meta::ObjectExt;
use serde_json::{Value, json};

use super::{Authorizer, Decision};
use crate::Attributes;
use crate::rbac::Policy;

/// The owned form of the attributes in a review.
#[derive(Clone, Debug, Default)]
pub struct ReviewedAccess {
    pub user: UserInfo,
    resource: Option<[String; 7]>,
    non_resource: Option<[String; 2]>,
    field_selector: String,
}

impl ReviewedAccess {
    /// Reads `spec` of a SubjectAccessReview or LocalSubjectAccessReview (`me` is `None`) or of a
    /// SelfSubjectAccessReview (`me` asks about itself) that its kind's rules have passed.
    pub fn read(review: &Value, me: Option<&UserInfo>) -> Self {
        let spec = review.get("spec").unwrap_or(&Value::Null);
        let (resource, non_resource) = (spec.get("resourceAttributes"), spec.get("nonResourceAttributes"));
        let user = me.cloned().unwrap_or_else(|| user_of(spec));
        let text = |v: &Value, field: &str| v.get(field).and_then(Value::as_str).unwrap_or("").to_owned();
        let fields = ["namespace", "verb", "group", "version", "resource", "subresource", "name"];
        Self {
            user,
            resource: resource.filter(|v| !v.is_null()).map(|v| fields.map(|f| text(v, f))),
            non_resource: non_resource.filter(|v| !v.is_null()).map(|v| ["path", "verb"].map(|f| text(v, f))),
            field_selector: resource.map(|v| v.str_at("fieldSelector/rawSelector").to_owned()).unwrap_or_default(),
        }
    }

    /// The question itself.
    pub fn attributes(&self) -> Attributes<'_> {
        match (&self.resource, &self.non_resource) {
            (Some([namespace, verb, group, version, resource, subresource, name]), _) => Attributes {
                namespace,
                api_version: version,
                subresource,
                name,
                field_selector: &self.field_selector,
                ..Attributes::resource(&self.user, verb, group, resource)
            },
            (None, Some([path, verb])) => Attributes::non_resource(&self.user, verb, path),
            (None, None) => Attributes::non_resource(&self.user, "", ""),
        }
    }
}

fn user_of(spec: &Value) -> UserInfo {
    let texts = |v: &Value| -> Vec<String> {
        v.as_array().into_iter().flatten().filter_map(|t| t.as_str().map(str::to_owned)).collect()
    };
    let extra: BTreeMap<String, Vec<String>> = spec
        .get("extra")
        .and_then(Value::as_object)
        .map(|map| map.iter().map(|(k, v)| (k.to_ascii_lowercase(), texts(v))).collect())
        .unwrap_or_default();
    UserInfo {
        name: spec.str_at("user").to_owned(),
        uid: spec.str_at("uid").to_owned(),
        groups: spec.get("groups").map(texts).unwrap_or_default(),
        extra,
    }
}

/// `status` of an access review.
pub fn access_of_review(authorizer: &dyn Authorizer, access: &ReviewedAccess) -> Value {
    let (allowed, denied, reason) = match authorizer.authorize(&access.attributes()) {
        Decision::Allow(reason) => (true, false, reason.to_string()),
        Decision::Deny(reason) => (false, true, reason),
        Decision::NoOpinion(reason) => (false, false, reason),
    };
    let mut status = json!({ "allowed": allowed });
    if denied {
        status["denied"] = true.into();
    }
    if !reason.is_empty() {
        status["reason"] = reason.into();
    }
    status
}

/// `status` of a SelfSubjectRulesReview for `user` in `namespace`.
pub fn rules_of_review(policy: &Policy, user: &UserInfo, namespace: &str) -> Value {
    let rules = policy.rules_for(user, namespace);
    let mut status = json!({
        "resourceRules": rules.resource_rules,
        "nonResourceRules": rules.non_resource_rules,
        "incomplete": !rules.errors.is_empty(),
    });
    if !rules.errors.is_empty() {
        status["evaluationError"] = rules.errors.join(", ").into();
    }
    status
}

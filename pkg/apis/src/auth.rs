//! Rows of `authentication.k8s.io` and `authorization.k8s.io`: questions that are answered and not kept.

use apimachinery::field::{Error, ErrorList, Path};
use apimachinery::{Object, meta::ObjectExt};
use serde_json::Value;

use crate::resource::{Resource, Strategy};
use crate::tree::Tree;

const AUTHN: &str = "authentication.k8s.io";
const AUTHZ: &str = "authorization.k8s.io";

pub const ROWS: &[Resource] = &[
    Resource::cluster(AUTHN, "v1", "selfsubjectreviews", "selfsubjectreview", "SelfSubjectReview").review(),
    Resource::cluster(AUTHN, "v1", "tokenreviews", "tokenreview", "TokenReview").review(),
    Resource {
        strategy: Strategy { validate: validate_local, ..Strategy::PLAIN },
        ..Resource::namespaced(
            AUTHZ,
            "v1",
            "localsubjectaccessreviews",
            "localsubjectaccessreview",
            "LocalSubjectAccessReview",
        )
        .review()
    },
    Resource {
        strategy: Strategy { validate: |o| attributes(o.field("spec")), ..Strategy::PLAIN },
        ..Resource::cluster(
            AUTHZ,
            "v1",
            "selfsubjectaccessreviews",
            "selfsubjectaccessreview",
            "SelfSubjectAccessReview",
        )
        .review()
    },
    Resource::cluster(AUTHZ, "v1", "selfsubjectrulesreviews", "selfsubjectrulesreview", "SelfSubjectRulesReview")
        .review(),
    Resource {
        strategy: Strategy { validate: |o| validate_subject(o.field("spec")), ..Strategy::PLAIN },
        ..Resource::cluster(AUTHZ, "v1", "subjectaccessreviews", "subjectaccessreview", "SubjectAccessReview").review()
    },
];

/// A question about a resource or about a path, never both.
fn attributes(spec: &Value) -> ErrorList {
    let at = Path::new("spec");
    match (spec.has("resourceAttributes"), spec.has("nonResourceAttributes")) {
        (true, true) => {
            let why = "cannot be specified in combination with resourceAttributes";
            let value = spec.field("nonResourceAttributes").clone();
            vec![Error::invalid(&at.child("nonResourceAttributes"), value, why)]
        }
        (false, false) => {
            let why = "exactly one of nonResourceAttributes or resourceAttributes must be specified";
            vec![Error::invalid(&at.child("resourceAttributes"), Value::Null, why)]
        }
        _ => Vec::new(),
    }
}

fn validate_subject(spec: &Value) -> ErrorList {
    let mut errors = attributes(spec);
    if spec.text("user").is_empty() && spec.list("groups").is_empty() {
        let why = "at least one of user or group must be specified";
        errors.push(Error::invalid(&Path::new("spec").child("user"), "", why));
    }
    errors
}

fn validate_local(review: &Object) -> ErrorList {
    let spec = review.field("spec");
    let mut errors = validate_subject(spec);
    let asked = spec.field("resourceAttributes");
    if spec.has("nonResourceAttributes") {
        let why = "disallowed on this kind of request";
        let value = spec.field("nonResourceAttributes").clone();
        errors.push(Error::invalid(&Path::new("spec").child("nonResourceAttributes"), value, why));
    }
    if !asked.is_null() && asked.text("namespace") != review.namespace() {
        let path = Path::new("spec").child("resourceAttributes").child("namespace");
        errors.push(Error::invalid(&path, asked.text("namespace"), "must match metadata.namespace"));
    }
    errors
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::AUTHZ;
    use crate::testing::{create_errors, row};

    #[test]
    fn access_reviews() {
        let reviews = row(AUTHZ, "subjectaccessreviews");
        let asked = json!({ "spec": { "user": "ann", "resourceAttributes": { "verb": "get" } } });
        assert_eq!(create_errors(reviews, asked), [""; 0]);
        assert_eq!(
            create_errors(reviews, json!({ "spec": {} })),
            [
                "spec.resourceAttributes: Invalid value: null: exactly one of nonResourceAttributes or \
                 resourceAttributes must be specified",
                "spec.user: Invalid value: \"\": at least one of user or group must be specified",
            ]
        );
    }
}

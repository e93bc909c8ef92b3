//! Rows of `authentication.k8s.io` and `authorization.k8s.io`: questions that are answered and not kept.

use apimachinery::field::{Error, ErrorList, Path};
use apimachinery::{Object, meta::ObjectExt};
use serde_json::Value;

use crate::check;
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
        strategy: Strategy { validate: validate_own, ..Strategy::PLAIN },
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
        strategy: Strategy { validate: validate_any, ..Strategy::PLAIN },
        ..Resource::cluster(AUTHZ, "v1", "subjectaccessreviews", "subjectaccessreview", "SubjectAccessReview").review()
    },
];

/// What the caller itself may do.
fn validate_own(review: &Object) -> ErrorList {
    let spec = review.field("spec");
    let mut errors = which(spec);
    selectors(&mut errors, spec);
    nameless(&mut errors, review, &[]);
    errors
}

/// What anybody may do.
fn validate_any(review: &Object) -> ErrorList {
    let mut errors = validate_subject(review.field("spec"));
    nameless(&mut errors, review, &[]);
    errors
}

/// A question has no metadata but the fields that are `allowed`.
fn nameless(errors: &mut ErrorList, review: &Object, allowed: &[&str]) {
    let metadata = review.field("metadata");
    let is_set = |value: &Value| match value {
        Value::Null => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(list) => !list.is_empty(),
        Value::Object(map) => !map.is_empty(),
        _ => true,
    };
    let fields = metadata.as_object().into_iter().flatten();
    let mut others = fields.filter(|(field, _)| *field != "managedFields" && !allowed.contains(&field.as_str()));
    if others.any(|(_, value)| is_set(value)) {
        errors.push(Error::invalid(&Path::new("metadata"), metadata.clone(), "must be empty"));
    }
}

/// A question is about a resource or about a path, never both.
fn which(spec: &Value) -> ErrorList {
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

/// The selectors of a list or watch that is asked about (KEP-4601).
fn selectors(errors: &mut ErrorList, spec: &Value) {
    for (field, is_label) in [("fieldSelector", false), ("labelSelector", true)] {
        let at = Path::new("spec").child("resourceAttributes").child(field);
        let selector = spec.field("resourceAttributes").field(field);
        if selector.is_null() {
            continue;
        }
        let (raw, requirements) = (selector.text("rawSelector"), selector.list("requirements"));
        if !raw.is_empty() && !requirements.is_empty() {
            let why = "may not specified at the same time as requirements";
            errors.push(Error::invalid(&at.child("rawSelector"), raw, why));
        }
        if raw.is_empty() && requirements.is_empty() {
            let why = format!("when {at} is specified, requirements or rawSelector is required");
            errors.push(Error::required(&at.child("requirements"), why));
        }
        for (i, requirement) in requirements.iter().enumerate() {
            validate_requirement(errors, &at.child("requirements").index(i), requirement, is_label);
        }
    }
}

/// Operators that this server does not know are left to newer ones.
fn validate_requirement(errors: &mut ErrorList, at: &Path, requirement: &Value, is_label: bool) {
    if requirement.text("key").is_empty() && !is_label {
        errors.push(Error::required(&at.child("key"), "must be specified"));
    }
    check::selector_operator(errors, at, requirement);
    if is_label {
        check::label_requirement(errors, at, requirement);
    }
}

fn validate_subject(spec: &Value) -> ErrorList {
    let mut errors = which(spec);
    if spec.text("user").is_empty() && spec.list("groups").is_empty() {
        let why = "at least one of user or group must be specified";
        errors.push(Error::invalid(&Path::new("spec").child("user"), "", why));
    }
    selectors(&mut errors, spec);
    errors
}

fn validate_local(review: &Object) -> ErrorList {
    let spec = review.field("spec");
    let mut errors = validate_subject(spec);
    nameless(&mut errors, review, &["namespace"]);
    let asked = spec.field("resourceAttributes");
    if !asked.is_null() && asked.text("namespace") != review.namespace() {
        let path = Path::new("spec").child("resourceAttributes").child("namespace");
        errors.push(Error::invalid(&path, asked.text("namespace"), "must match metadata.namespace"));
    }
    if spec.has("nonResourceAttributes") {
        let why = "disallowed on this kind of request";
        let value = spec.field("nonResourceAttributes").clone();
        errors.push(Error::invalid(&Path::new("spec").child("nonResourceAttributes"), value, why));
    }
    errors
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::AUTHZ;
    use crate::testing::{Rules, check_create, row};

    fn review() -> Value {
        json!({ "metadata": { "creationTimestamp": null }, "spec": { "user": "ann",
            "resourceAttributes": { "verb": "list", "resource": "pods", "namespace": "d" } } })
    }

    fn local_review() -> Value {
        let mut review = review();
        review["metadata"]["namespace"] = "d".into();
        review
    }

    const NEITHER: &str = "spec.resourceAttributes: Invalid value: null: exactly one of nonResourceAttributes or \
                           resourceAttributes must be specified";

    #[test]
    fn questions_are_about_a_resource_or_a_path() {
        let path = "spec.nonResourceAttributes = {\"path\":\"/x\"}";
        let only_path = format!("spec.resourceAttributes = null ; {path}");
        let shared: Rules<'_> = &[
            ("", &[]),
            ("spec.resourceAttributes = null", &[NEITHER]),
            (
                path,
                &["spec.nonResourceAttributes: Invalid value: {\"path\":\"/x\"}: cannot be specified in combination \
                   with resourceAttributes"],
            ),
            (&only_path, &[]),
        ];
        check_create(row(AUTHZ, "selfsubjectaccessreviews"), &review(), shared);
        check_create(row(AUTHZ, "subjectaccessreviews"), &review(), shared);
        let subjects: Rules<'_> = &[
            ("spec.user = null", &["spec.user: Invalid value: \"\": at least one of user or group must be specified"]),
            ("spec.user = null ; spec.groups = [\"g\"]", &[]),
        ];
        check_create(row(AUTHZ, "subjectaccessreviews"), &review(), subjects);
        check_create(row(AUTHZ, "localsubjectaccessreviews"), &local_review(), subjects);
        let local: Rules<'_> = &[
            ("", &[]),
            (
                "spec.resourceAttributes.namespace = e",
                &["spec.resourceAttributes.namespace: Invalid value: \"e\": must match metadata.namespace"],
            ),
            (
                &only_path,
                &["spec.nonResourceAttributes: Invalid value: {\"path\":\"/x\"}: disallowed on this kind of request"],
            ),
        ];
        check_create(row(AUTHZ, "localsubjectaccessreviews"), &local_review(), local);
    }

    #[test]
    fn questions_have_no_metadata() {
        let named = ["metadata: Invalid value: {\"creationTimestamp\":null,\"name\":\"x\"}: must be empty"];
        let local =
            ["metadata: Invalid value: {\"creationTimestamp\":null,\"name\":\"x\",\"namespace\":\"d\"}: must be empty"];
        let fine = "metadata.labels = {} ; metadata.managedFields = [{\"manager\":\"m\"}]";
        for (plural, base, want) in [
            ("subjectaccessreviews", review(), named),
            ("selfsubjectaccessreviews", review(), named),
            ("localsubjectaccessreviews", local_review(), local),
        ] {
            check_create(row(AUTHZ, plural), &base, &[("metadata.name = x", &want), (fine, &[])]);
        }
    }

    #[test]
    fn selectors_are_raw_or_parsed() {
        let (field, label) = ("spec.resourceAttributes.fieldSelector", "spec.resourceAttributes.labelSelector");
        let requirement = |at: &str, rest: &str| format!("{at}.requirements = [{rest}]");
        let both = format!(
            "{field} = {{\"rawSelector\":\"a=b\",\"requirements\":[{{\"key\":\"a\",\"operator\":\"Exists\"}}]}}"
        );
        let empty = format!("{field} = {{}}");
        let cases: &[(&str, String)] = &[
            ("", format!("{field}.rawSelector = a=b")),
            ("", requirement(field, "{\"key\":\"a\",\"operator\":\"Newer\"}")),
            ("", requirement(label, "{\"key\":\"a\",\"operator\":\"In\",\"values\":[\"b\"]}")),
            (
                "fieldSelector.rawSelector: Invalid value: \"a=b\": may not specified at the same time as requirements",
                both,
            ),
            (
                "fieldSelector.requirements: Required value: when spec.resourceAttributes.fieldSelector is specified, \
                 requirements or rawSelector is required",
                empty,
            ),
            (
                "fieldSelector.requirements[0].key: Required value: must be specified",
                requirement(field, "{\"operator\":\"Exists\"}"),
            ),
            (
                "fieldSelector.requirements[0].values: Required value: must be specified when `operator` is 'In' or \
                 'NotIn'",
                requirement(field, "{\"key\":\"a\",\"operator\":\"In\"}"),
            ),
            (
                "labelSelector.requirements[0].values: Forbidden: may not be specified when `operator` is 'Exists' or \
                 'DoesNotExist'",
                requirement(label, "{\"key\":\"a\",\"operator\":\"Exists\",\"values\":[\"b\"]}"),
            ),
            (
                "labelSelector.requirements[0].key: Invalid value: \"/a\": prefix part must be non-empty",
                requirement(label, "{\"key\":\"/a\",\"operator\":\"Exists\"}"),
            ),
        ];
        for (want, change) in cases {
            let want = if want.is_empty() { String::new() } else { format!("spec.resourceAttributes.{want}") };
            let want: &[&str] = if want.is_empty() { &[] } else { &[&want] };
            check_create(row(AUTHZ, "subjectaccessreviews"), &review(), &[(change, want)]);
        }
    }
}

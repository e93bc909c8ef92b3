//! Rows of `authentication.k8s.io` and `authorization.k8s.io`: questions that are answered and not kept.

use crate::resource::Resource;

const AUTHN: &str = "authentication.k8s.io";
const AUTHZ: &str = "authorization.k8s.io";

pub const ROWS: &[Resource] = &[
    Resource::cluster(AUTHN, "v1", "selfsubjectreviews", "selfsubjectreview", "SelfSubjectReview").review(),
    Resource::cluster(AUTHN, "v1", "tokenreviews", "tokenreview", "TokenReview").review(),
    Resource::namespaced(
        AUTHZ,
        "v1",
        "localsubjectaccessreviews",
        "localsubjectaccessreview",
        "LocalSubjectAccessReview",
    )
    .review(),
    Resource::cluster(AUTHZ, "v1", "selfsubjectaccessreviews", "selfsubjectaccessreview", "SelfSubjectAccessReview")
        .review(),
    Resource::cluster(AUTHZ, "v1", "selfsubjectrulesreviews", "selfsubjectrulesreview", "SelfSubjectRulesReview")
        .review(),
    Resource::cluster(AUTHZ, "v1", "subjectaccessreviews", "subjectaccessreview", "SubjectAccessReview").review(),
];

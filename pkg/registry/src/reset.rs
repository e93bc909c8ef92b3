//! Fields that each endpoint leaves as they are, whatever its writers say: nobody comes to own them through it.

use apimachinery::managed::{Filter, Pattern};
use apis::resource::Resource;

const STATUS: &[Pattern] = &[&["status"]];
const SPEC: &[Pattern] = &[&["spec"]];

/// Kinds whose status endpoint leaves more alone than the spec: group, plural, fields.
const STATUS_EXCEPTIONS: &[(&str, &str, &[Pattern])] = &[
    ("", "pods", &[&["spec"], &["metadata", "deletionTimestamp"], &["metadata", "ownerReferences"]]),
    ("apps", "deployments", &[&["spec"], &["metadata", "labels"]]),
    (
        "apiextensions.k8s.io",
        "customresourcedefinitions",
        &[&["spec"], &["metadata", "labels"], &["metadata", "annotations"], &["metadata", "finalizers"]],
    ),
    ("storage.k8s.io", "volumeattachments", &[&["spec"], &["metadata"]]),
    ("resource.k8s.io", "resourceclaims", &[&["spec"], &["metadata"]]),
];

/// What an endpoint of its own writes, and nothing else.
const PARTS: &[(&str, &str, &[Pattern])] = &[
    ("pods", "ephemeralcontainers", &[&["spec", "ephemeralContainers"]]),
    (
        "pods",
        "resize",
        &[
            &["spec", "containers", "*", "resources"],
            &["spec", "containers", "*", "resizePolicy"],
            &["spec", "initContainers", "*", "resources"],
            &["spec", "initContainers", "*", "resizePolicy"],
            &["spec", "resources"],
        ],
    ),
    ("namespaces", "finalize", &[&["spec", "finalizers"]]),
    ("certificatesigningrequests", "approval", &[&["status", "conditions"]]),
];

/// What writers through an endpoint of `resource` may own.
pub fn filter(resource: &Resource, subresource: &str) -> Filter {
    match subresource {
        "" if resource.subresource("status").is_some() => Filter::Without(STATUS),
        "" => Filter::NONE,
        "status" => {
            let exception = STATUS_EXCEPTIONS
                .iter()
                .find(|(group, plural, _)| *group == resource.group && *plural == resource.plural);
            Filter::Without(exception.map_or(SPEC, |(_, _, fields)| fields))
        }
        other => {
            let part = PARTS.iter().find(|(plural, name, _)| *plural == resource.plural && *name == other);
            part.map_or(Filter::NONE, |(_, _, fields)| Filter::Only(fields))
        }
    }
}

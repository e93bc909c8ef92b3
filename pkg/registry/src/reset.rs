//! Fields that each endpoint leaves as they are, whatever its writers say: nobody comes to own them through it.

use std::collections::HashMap;

use apimachinery::managed::{Filter, Pattern};
use apimachinery::meta::ObjectExt as _;
use apis::resource::Resource;
use serde_json::json;

const STATUS: Filter = Filter::Without(&[&["status"]]);
const SPEC: Filter = Filter::Without(&[&["spec"]]);
const SPEC_AND_LABELS: Filter = Filter::Without(&[&["spec"], &["metadata", "labels"]]);
const SPEC_AND_METADATA: Filter = Filter::Without(&[&["spec"], &["metadata"]]);

/// Status endpoints that leave more alone than can be seen from outside: group, plural, fields.
const STATUS_EXCEPTIONS: &[(&str, &str, &[Pattern])] = &[
    ("", "pods", &[&["spec"], &["metadata", "deletionTimestamp"], &["metadata", "ownerReferences"]]),
    ("certificates.k8s.io", "certificatesigningrequests", &[&["spec"], &["status", "conditions"]]),
];

/// What an endpoint of its own writes, and nothing else: plural, endpoint, fields.
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

/// What may be owned through which endpoint.
pub struct Resets {
    /// Of status endpoints, by group and plural.
    status: HashMap<(&'static str, &'static str), Filter>,
}

impl Resets {
    pub fn of(resources: &'static [Resource]) -> Self {
        let with_status = resources.iter().filter(|row| row.subresource("status").is_some());
        Self { status: with_status.map(|row| ((row.group, row.plural), of_status(row))).collect() }
    }

    /// What writers through an endpoint of `resource` may own.
    pub fn filter(&self, resource: &Resource, subresource: &str) -> Filter {
        let status = self.status.get(&(resource.group, resource.plural)).copied();
        match subresource {
            "" => status.map_or(Filter::NONE, |_| STATUS),
            "status" => status.unwrap_or(SPEC),
            other => {
                let part = PARTS.iter().find(|(plural, name, _)| *plural == resource.plural && *name == other);
                part.map_or(Filter::NONE, |(_, _, fields)| Filter::Only(fields))
            }
        }
    }
}

/// Asks the endpoint's own rule: it is given labels and annotations, and what it puts back it resets.
fn of_status(resource: &Resource) -> Filter {
    let exception =
        STATUS_EXCEPTIONS.iter().find(|(group, plural, _)| *group == resource.group && *plural == resource.plural);
    if let Some((_, _, fields)) = exception {
        return Filter::Without(fields);
    }
    let old = json!({ "metadata": {}, "spec": {}, "status": {} });
    let mut new =
        json!({ "metadata": { "labels": { "a": "1" }, "annotations": { "a": "1" } }, "spec": {}, "status": {} });
    (resource.strategy.prepare_for_status_update)(&mut new, &old);
    match (new.labels().is_some(), new.annotations().is_some()) {
        (false, false) => SPEC_AND_METADATA,
        (false, true) => SPEC_AND_LABELS,
        _ => SPEC,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_reset_what_upstream_resets() {
        let resets = Resets::of(apis::all());
        for (group, plural, subresource, expected) in [
            ("", "configmaps", "", Filter::NONE),
            ("", "services", "", STATUS),
            ("", "services", "status", SPEC),
            ("apps", "deployments", "status", SPEC_AND_LABELS),
            ("apps", "statefulsets", "status", SPEC),
            ("storage.k8s.io", "volumeattachments", "status", SPEC_AND_METADATA),
            ("flowcontrol.apiserver.k8s.io", "flowschemas", "status", SPEC_AND_METADATA),
            ("apiregistration.k8s.io", "apiservices", "status", SPEC_AND_METADATA),
            ("", "pods", "status", Filter::Without(STATUS_EXCEPTIONS[0].2)),
            ("", "pods", "resize", Filter::Only(PARTS[1].2)),
        ] {
            let row = apis::all().iter().find(|row| row.group == group && row.plural == plural);
            let row = row.unwrap_or_else(|| panic!("{plural} are served"));
            assert_eq!(resets.filter(row, subresource), expected, "{plural}/{subresource}");
        }
    }
}

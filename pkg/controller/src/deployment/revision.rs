//! Revisions and the other annotations that a Deployment keeps on its ReplicaSets.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::plan;

pub(super) const REVISION: &str = "deployment.kubernetes.io/revision";
const HISTORY: &str = "deployment.kubernetes.io/revision-history";
pub(super) const DESIRED: &str = "deployment.kubernetes.io/desired-replicas";
pub(super) const MAX: &str = "deployment.kubernetes.io/max-replicas";
/// Annotations of the Deployment that its ReplicaSets do not inherit.
const NOT_COPIED: [&str; 6] = [
    "kubectl.kubernetes.io/last-applied-configuration",
    REVISION,
    HISTORY,
    DESIRED,
    MAX,
    "deprecated.deployment.rollback.to",
];
/// The revision history is cut to this many characters, the oldest first.
const HISTORY_MAX: usize = 2000;

pub(super) fn annotation<'a>(metadata: &'a ObjectMeta, key: &str) -> Option<&'a str> {
    metadata.annotations.as_ref()?.get(key).map(String::as_str)
}

pub(super) fn annotation_i32(metadata: &ObjectMeta, key: &str) -> Option<i32> {
    annotation(metadata, key)?.parse().ok()
}

/// The revision an object says it has; 0 if none.
pub(super) fn revision(metadata: &ObjectMeta) -> i64 {
    annotation(metadata, REVISION).and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// The revision of the newest template, after all `old` ones.
pub(super) fn next_revision(old: &[ReplicaSet]) -> i64 {
    old.iter().map(|set| revision(&set.metadata)).max().unwrap_or(0) + 1
}

/// Brings the annotations of the new ReplicaSet up to date; true if that changed any.
pub(super) fn annotate_new(deployment: &Deployment, set: &mut ReplicaSet, next: i64, exists: bool) -> bool {
    let annotations = set.metadata.annotations.get_or_insert_default();
    let before = annotations.clone();
    for (key, value) in deployment.metadata.annotations.iter().flatten() {
        if !NOT_COPIED.contains(&key.as_str()) {
            annotations.insert(key.clone(), value.clone());
        }
    }
    let old = annotations.get(REVISION).cloned().unwrap_or_default();
    if old.parse::<i64>().unwrap_or(0) < next {
        annotations.insert(REVISION.into(), next.to_string());
        if exists && !old.is_empty() {
            remember(annotations, &old);
        }
    }
    if !exists {
        let (desired, max) = replica_annotations(deployment);
        annotations.insert(DESIRED.into(), desired);
        annotations.insert(MAX.into(), max);
    }
    *annotations != before
}

/// Adds a revision that a ReplicaSet had to its history.
fn remember(annotations: &mut BTreeMap<String, String>, old: &str) {
    let history = annotations.entry(HISTORY.into()).or_default();
    if !history.is_empty() {
        history.push(',');
    }
    history.push_str(old);
    while history.len() > HISTORY_MAX {
        match history.find(',') {
            Some(comma) => drop(history.drain(..=comma)),
            None => break,
        }
    }
}

fn replica_annotations(deployment: &Deployment) -> (String, String) {
    let desired = plan::replicas(deployment);
    (desired.to_string(), (desired + plan::fenceposts(deployment).0).to_string())
}

/// Notes for which size of the deployment the set was sized; true if that changed.
pub(super) fn annotate_size(deployment: &Deployment, set: &mut ReplicaSet) -> bool {
    let (desired, max) = replica_annotations(deployment);
    let annotations = set.metadata.annotations.get_or_insert_default();
    let before = (annotations.insert(DESIRED.into(), desired.clone()), annotations.insert(MAX.into(), max.clone()));
    before != (Some(desired), Some(max))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_template_that_comes_back_gets_a_new_revision_and_keeps_its_history() {
        let deployment: Deployment = serde_json::from_value(json!({
            "metadata": { "annotations": { "team": "x", REVISION: "3", NOT_COPIED[0]: "{}" } },
            "spec": { "replicas": 4, "selector": {}, "template": {} }
        }))
        .unwrap();
        let mut set: ReplicaSet = serde_json::from_value(json!({
            "metadata": { "annotations": { REVISION: "1" } }, "spec": { "selector": {} }
        }))
        .unwrap();
        assert!(annotate_new(&deployment, &mut set, 4, true));
        let wanted = json!({ "team": "x", REVISION: "4", HISTORY: "1" });
        assert_eq!(serde_json::to_value(&set.metadata.annotations).unwrap(), wanted);
        assert!(!annotate_new(&deployment, &mut set, 4, true), "nothing more to change");
        assert!(annotate_size(&deployment, &mut set));
        assert!(!annotate_size(&deployment, &mut set));
        assert_eq!(annotation_i32(&set.metadata, MAX), Some(5));
    }
}

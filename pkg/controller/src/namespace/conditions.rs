//! What a namespace that is being deleted says about how far that is.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{NamespaceCondition, NamespaceStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::Counts;

/// What is left of a namespace's contents, and what went wrong.
#[derive(Debug, Default)]
pub(super) struct Remains {
    /// Group versions that could not be asked for their resources, and why.
    pub undiscovered: Vec<(String, String)>,
    pub errors: Vec<String>,
    /// Objects left, by resource.
    pub instances: Counts,
    /// Objects that each finalizer holds.
    pub finalizers: Counts,
}

impl Remains {
    pub(super) fn is_empty(&self) -> bool {
        self.undiscovered.is_empty() && self.errors.is_empty() && self.instances.is_empty()
    }
}

struct Said {
    kind: &'static str,
    problem: Option<(&'static str, String)>,
    fine: (&'static str, &'static str),
}

fn said(remains: &Remains) -> [Said; 5] {
    let some = |list: &Counts, text: String| (!list.is_empty()).then_some(text);
    let joined = |list: &Counts, what: &str| {
        list.iter()
            .map(|(name, count)| format!("{name} {what}").replace("{}", &count.to_string()))
            .collect::<Vec<_>>()
            .join(", ")
    };
    let undiscovered = &remains.undiscovered;
    let failing = undiscovered.iter().map(|(group, error)| format!("{group}: {error}")).collect::<Vec<_>>().join(", ");
    [
        Said {
            kind: "NamespaceDeletionDiscoveryFailure",
            problem: (!undiscovered.is_empty()).then(|| {
                let text = format!("Discovery failed for some groups, {} failing: {failing}", undiscovered.len());
                ("DiscoveryFailed", text)
            }),
            fine: ("ResourcesDiscovered", "All resources successfully discovered"),
        },
        Said {
            kind: "NamespaceDeletionGroupVersionParsingFailure",
            problem: None,
            fine: ("ParsedGroupVersions", "All legacy kube types successfully parsed"),
        },
        Said {
            kind: "NamespaceDeletionContentFailure",
            problem: (!remains.errors.is_empty()).then(|| {
                let (count, errors) = (remains.errors.len(), remains.errors.join(", "));
                ("ContentDeletionFailed", format!("Failed to delete all resource types, {count} remaining: {errors}"))
            }),
            fine: ("ContentDeleted", "All content successfully deleted, may be waiting on finalization"),
        },
        Said {
            kind: "NamespaceContentRemaining",
            problem: some(
                &remains.instances,
                format!("Some resources are remaining: {}", joined(&remains.instances, "has {} resource instances")),
            )
            .map(|text| ("SomeResourcesRemain", text)),
            fine: ("ContentRemoved", "All content successfully removed"),
        },
        Said {
            kind: "NamespaceFinalizersRemaining",
            problem: some(
                &remains.finalizers,
                format!(
                    "Some content in the namespace has finalizers remaining: {}",
                    joined(&remains.finalizers, "in {} resource instances")
                ),
            )
            .map(|text| ("SomeFinalizersRemain", text)),
            fine: ("ContentHasNoFinalizers", "All content-preserving finalizers finished"),
        },
    ]
}

/// Sets the five conditions; the time changes only where the status does.
pub(super) fn set(status: &mut NamespaceStatus, remains: &Remains, now: Timestamp) {
    let conditions = status.conditions.get_or_insert_default();
    for said in said(remains) {
        let (value, reason, message) = match said.problem {
            Some((reason, message)) => ("True", reason, message),
            None => ("False", said.fine.0, said.fine.1.to_owned()),
        };
        let old = conditions.iter().find(|condition| condition.type_ == said.kind);
        let kept = old.filter(|old| old.status == value).and_then(|old| old.last_transition_time.clone());
        let condition = NamespaceCondition {
            type_: said.kind.into(),
            status: value.into(),
            reason: Some(reason.into()),
            message: Some(message),
            last_transition_time: kept.or(Some(Time(now))),
        };
        match conditions.iter_mut().find(|condition| condition.type_ == said.kind) {
            Some(old) => *old = condition,
            None => conditions.push(condition),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn upstreams_words() {
        let mut remains = Remains::default();
        remains.instances.insert("pods.".into(), 3);
        remains.instances.insert("deployments.apps".into(), 1);
        remains.finalizers.insert("example.com/hold".into(), 2);
        let mut status = NamespaceStatus::default();
        set(&mut status, &remains, Timestamp::UNIX_EPOCH);
        let texts: Vec<_> =
            status.conditions.iter().flatten().map(|c| (c.status.as_str(), c.message.as_deref().unwrap())).collect();
        assert_eq!(
            texts,
            [
                ("False", "All resources successfully discovered"),
                ("False", "All legacy kube types successfully parsed"),
                ("False", "All content successfully deleted, may be waiting on finalization"),
                (
                    "True",
                    "Some resources are remaining: deployments.apps has 1 resource instances, pods. has 3 resource instances"
                ),
                (
                    "True",
                    "Some content in the namespace has finalizers remaining: example.com/hold in 2 resource instances"
                ),
            ]
        );
        let later = Timestamp::from_second(100).unwrap();
        set(&mut status, &Remains { errors: vec!["boom".into()], ..Remains::default() }, later);
        let times: Vec<_> = status
            .conditions
            .iter()
            .flatten()
            .map(|c| c.last_transition_time.as_ref().unwrap().0.as_second())
            .collect();
        assert_eq!(times, [0, 0, 100, 100, 100]);
    }
}

//! What a job's podFailurePolicy says about a pod that failed.

use k8s_openapi::api::batch::v1::{PodFailurePolicy, PodFailurePolicyOnExitCodesRequirement, PodFailurePolicyRule};

use crate::pod::SlimPod;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// Counts against the backoff limit, as without a policy.
    Count,
    /// Does not count: the pod is replaced.
    Ignore,
    FailIndex,
    /// Ends the job, with this message.
    FailJob(String),
}

/// The action of the first rule that matches.
pub(super) fn action(policy: Option<&PodFailurePolicy>, pod: &SlimPod) -> Action {
    let rules = policy.map(|policy| policy.rules.as_slice()).unwrap_or_default();
    for (i, rule) in rules.iter().enumerate() {
        if let Some(because) = matches(rule, pod) {
            return match rule.action.as_str() {
                "Ignore" => Action::Ignore,
                "FailIndex" => Action::FailIndex,
                "FailJob" => Action::FailJob(format!("{because} matching FailJob rule at index {i}")),
                _ => Action::Count,
            };
        }
    }
    Action::Count
}

fn matches(rule: &PodFailurePolicyRule, pod: &SlimPod) -> Option<String> {
    if let Some(codes) = &rule.on_exit_codes {
        // Exit codes count only once the pod as a whole has failed.
        return (pod.phase == "Failed").then(|| exit_code(codes, pod)).flatten();
    }
    let patterns = rule.on_pod_conditions.as_deref().unwrap_or_default();
    let found = patterns.iter().find(|pattern| {
        let wanted = pattern.status.as_deref().unwrap_or("True");
        pod.condition(&pattern.type_).is_some_and(|condition| condition.status == wanted)
    })?;
    Some(format!("Pod {}/{} has condition {}", pod.namespace, pod.name, found.type_))
}

fn exit_code(codes: &PodFailurePolicyOnExitCodesRequirement, pod: &SlimPod) -> Option<String> {
    let named = |name: &str| codes.container_name.as_deref().is_none_or(|wanted| wanted == name);
    pod.containers.iter().find_map(|container| {
        let (code, _) = container.terminated?;
        let listed = codes.values.contains(&code);
        let matched = if codes.operator == "NotIn" { !listed } else { listed };
        (code != 0 && named(&container.name) && matched).then(|| {
            format!("Container {} for pod {}/{} failed with exit code {code}", container.name, pod.namespace, pod.name)
        })
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_first_rule_that_matches_decides() {
        let policy: PodFailurePolicy = serde_json::from_value(json!({ "rules": [
            { "action": "Ignore", "onPodConditions": [{ "type": "DisruptionTarget" }] },
            { "action": "FailJob", "onExitCodes": { "containerName": "main", "operator": "In", "values": [5, 42] } },
            { "action": "FailIndex", "onExitCodes": { "operator": "NotIn", "values": [1] } }
        ] }))
        .unwrap();
        let pod = |container: &str, code: i32, disrupted: bool| -> SlimPod {
            serde_json::from_value(json!({ "metadata": { "name": "p", "namespace": "n" }, "status": {
                "phase": "Failed",
                "conditions": [{ "type": "DisruptionTarget", "status": if disrupted { "True" } else { "False" } }],
                "containerStatuses": [{ "name": container, "state": { "terminated": { "exitCode": code } } }] } }))
            .unwrap()
        };
        let text = "Container main for pod n/p failed with exit code 42 matching FailJob rule at index 1".to_owned();
        for (pod, wanted) in [
            (pod("main", 42, true), Action::Ignore),
            (pod("main", 42, false), Action::FailJob(text)),
            (pod("other", 42, false), Action::FailIndex),
            (pod("main", 1, false), Action::Count),
            (pod("main", 0, false), Action::Count),
        ] {
            assert_eq!(action(Some(&policy), &pod), wanted);
        }
        assert_eq!(action(None, &pod("main", 42, true)), Action::Count);
    }
}

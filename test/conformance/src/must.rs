//! Saying which rule did not hold, with the server's answer.

use anyhow::{Context as _, bail};
use kube::core::Status;
use serde_json::Value;

/// Lists to which controllers and admission add their own items.
const ADDED_TO: [&str; 2] = [".conditions", ".taints"];
/// As much of an answer as a failure prints.
const SHOWN_MAX: usize = 1500;

/// Fails with the rule `what` and the answer unless it holds.
pub fn must(holds: bool, what: &str, answer: &Value) -> anyhow::Result<()> {
    if !holds {
        bail!("{what}; the answer was {}", shown(answer));
    }
    Ok(())
}

/// Every field of `expected` has to be in `answer` with the same value. Lists have to be equal in length and covered item
/// by item; conditions and taints, to which the cluster adds its own, have to be among the answer's.
pub fn must_cover(answer: &Value, expected: &Value, what: &str) -> anyhow::Result<()> {
    match difference(answer, expected, "") {
        None => Ok(()),
        Some(path) => bail!("{what}: {path} differs from {}; the answer was {}", shown(expected), shown(answer)),
    }
}

/// The first path at which `answer` lacks something of `expected`.
fn difference(answer: &Value, expected: &Value, path: &str) -> Option<String> {
    match (answer, expected) {
        (Value::Object(answer), Value::Object(expected)) => expected.iter().find_map(|(key, value)| {
            difference(answer.get(key).unwrap_or(&Value::Null), value, &format!("{path}.{key}"))
        }),
        (Value::Array(answer), Value::Array(expected)) if ADDED_TO.iter().any(|list| path.ends_with(list)) => {
            let among = |wanted: &Value| answer.iter().any(|one| difference(one, wanted, "").is_none());
            expected.iter().position(|wanted| !among(wanted)).map(|i| format!("{path}[{i}]"))
        }
        (Value::Array(answer), Value::Array(expected)) if answer.len() == expected.len() => {
            let mut pairs = answer.iter().zip(expected).enumerate();
            pairs.find_map(|(i, (answer, expected))| difference(answer, expected, &format!("{path}[{i}]")))
        }
        _ if answer == expected => None,
        _ => Some(path.to_owned()),
    }
}

/// The request has to fail with this HTTP code; answers what the server said.
pub fn must_refuse<T: std::fmt::Debug>(outcome: anyhow::Result<T>, code: u16, what: &str) -> anyhow::Result<Status> {
    match outcome {
        Ok(value) => bail!("{what}: MUST fail with {code}, but succeeded with {value:?}"),
        Err(error) => match status(&error) {
            Some(status) if status.code == code => Ok(status.clone()),
            _ => Err(error).with_context(|| format!("{what}: MUST fail with {code}")),
        },
    }
}

/// The server's refusal, if this error is one.
pub fn status(error: &anyhow::Error) -> Option<&Status> {
    match error.downcast_ref::<kube::Error>()? {
        kube::Error::Api(status) => Some(status),
        _ => None,
    }
}

/// Whether the server refused with this HTTP code.
pub fn is_refusal(error: &anyhow::Error, code: u16) -> bool {
    status(error).is_some_and(|s| s.code == code)
}

/// An answer without what only fills the screen.
fn shown(answer: &Value) -> String {
    let mut answer = answer.clone();
    if let Some(metadata) = answer.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
    }
    let mut text = answer.to_string();
    if text.len() > SHOWN_MAX {
        let cut = (0..=SHOWN_MAX).rev().find(|i| text.is_char_boundary(*i)).unwrap_or(0);
        text.truncate(cut);
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_answer_covers_what_is_expected_of_it() {
        let answer = json!({
            "spec": {"replicas": 2, "ports": [{"port": 80, "protocol": "TCP"}]},
            "conditions": [{"type": "Other"}, {"type": "Ready", "status": "True"}],
        });
        for (expected, path) in [
            (json!({"spec": {"replicas": 2}}), None),
            (json!({"spec": {"ports": [{"port": 80}]}}), None),
            (json!({"spec": {"replicas": 3}}), Some(".spec.replicas")),
            (json!({"spec": {"ports": []}}), Some(".spec.ports")),
            (json!({"spec": {"ports": [{"port": 81}]}}), Some(".spec.ports[0].port")),
            (json!({"status": {"replicas": 2}}), Some(".status")),
            (json!({"conditions": [{"type": "Ready"}]}), None),
            (json!({"conditions": [{"type": "Ready", "status": "False"}]}), Some(".conditions[0]")),
        ] {
            assert_eq!(difference(&answer, &expected, "").as_deref(), path, "{expected}");
        }
    }
}

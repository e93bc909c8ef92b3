//! DefaultTolerationSeconds: pods stay five minutes on a node that stopped answering, unless they say otherwise.

use apimachinery::ApiResult;
use apimachinery::meta::ObjectExt;
use serde_json::{Value, json};

use super::list_mut;
use crate::{Attributes, Operation, Plugin};

pub struct DefaultTolerationSeconds {
    pub not_ready_seconds: i64,
    pub unreachable_seconds: i64,
}

impl Default for DefaultTolerationSeconds {
    fn default() -> Self {
        Self { not_ready_seconds: 300, unreachable_seconds: 300 }
    }
}

impl Plugin for DefaultTolerationSeconds {
    fn name(&self) -> &'static str {
        "DefaultTolerationSeconds"
    }

    fn mutate(&self, a: &Attributes<'_>, pod: &mut Value, _: Option<&Value>) -> ApiResult<()> {
        if !a.is("", "pods") || !matches!(a.operation, Operation::Create | Operation::Update) {
            return Ok(());
        }
        for (taint, seconds) in [
            ("node.kubernetes.io/not-ready", self.not_ready_seconds),
            ("node.kubernetes.io/unreachable", self.unreachable_seconds),
        ] {
            let tolerated = pod
                .array_at("spec/tolerations")
                .iter()
                .any(|t| ["", taint].contains(&t.str_at("key")) && ["", "NoExecute"].contains(&t.str_at("effect")));
            if !tolerated {
                let toleration = json!({
                    "key": taint, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": seconds,
                });
                list_mut(&mut pod["spec"], "tolerations").push(toleration);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{ask, passes};

    #[test]
    fn what_the_pod_says_counts() {
        let plugin = DefaultTolerationSeconds::default();
        let cases = [
            (json!([]), 2),
            (json!([{"operator": "Exists"}]), 1),
            (json!([{"key": "node.kubernetes.io/not-ready", "effect": "NoExecute", "tolerationSeconds": 1}]), 2),
            (json!([{"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}]), 3),
        ];
        for (tolerations, count) in cases {
            let pod = json!({"spec": {"tolerations": tolerations}});
            let out = passes(&plugin, &ask(Operation::Create, "", "pods"), &pod, None);
            assert_eq!(out["spec"]["tolerations"].as_array().unwrap().len(), count, "{tolerations}");
        }
    }
}

//! TaintNodesByCondition: a node is born not ready; the taint goes when its kubelet reports.

use apimachinery::ApiResult;
use apimachinery::meta::ObjectExt;
use serde_json::{Value, json};

use super::list_mut;
use crate::{Attributes, Operation, Plugin};

const NOT_READY: &str = "node.kubernetes.io/not-ready";

pub struct TaintNodesByCondition;

impl Plugin for TaintNodesByCondition {
    fn name(&self) -> &'static str {
        "TaintNodesByCondition"
    }

    fn mutate(&self, a: &Attributes<'_>, node: &mut Value, _: Option<&Value>) -> ApiResult<()> {
        let tainted = |node: &Value| {
            let mut taints = node.array_at("spec/taints").iter();
            taints.any(|t| t.str_at("key") == NOT_READY && t.str_at("effect") == "NoSchedule")
        };
        if a.is("", "nodes") && a.operation == Operation::Create && !tainted(node) {
            super::map_mut(node, "spec");
            list_mut(&mut node["spec"], "taints").push(json!({ "key": NOT_READY, "effect": "NoSchedule" }));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{ask, passes};

    #[test]
    fn new_nodes_are_tainted_once() {
        let create = ask(Operation::Create, "", "nodes").in_namespace("");
        let out = passes(&TaintNodesByCondition, &create, &json!({"metadata": {"name": "n"}}), None);
        assert_eq!(out["spec"]["taints"], json!([{"key": NOT_READY, "effect": "NoSchedule"}]));
        assert_eq!(passes(&TaintNodesByCondition, &create, &out, None), out);
        let update = ask(Operation::Update, "", "nodes").in_namespace("");
        let bare = json!({"metadata": {"name": "n"}});
        assert_eq!(passes(&TaintNodesByCondition, &update, &bare, Some(&out)), bare);
    }
}

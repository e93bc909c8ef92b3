//! RuntimeClass: a pod gets the overhead and the scheduling rules of its class.

use std::sync::Arc;

use apimachinery::meta::ObjectExt;
use apimachinery::{ApiResult, GroupResource};
use serde_json::Value;

use super::{list_mut, map_mut};
use crate::{Attributes, Operation, Plugin, Reader};

pub struct RuntimeClass {
    reader: Arc<dyn Reader>,
    classes: GroupResource,
}

impl RuntimeClass {
    pub fn new(reader: Arc<dyn Reader>) -> Self {
        Self { reader, classes: GroupResource::new("node.k8s.io", "runtimeclasses") }
    }

    fn class(&self, a: &Attributes<'_>, pod: &Value) -> ApiResult<Option<Arc<Value>>> {
        let name = pod.str_at("spec/runtimeClassName");
        if name.is_empty() {
            return Ok(None);
        }
        let found = self.reader.get(&self.classes, "", name);
        let missing = || a.forbidden(Some(pod), format!("pod rejected: RuntimeClass {name:?} not found"));
        found.map(Some).ok_or_else(missing)
    }
}

fn applies(a: &Attributes<'_>) -> bool {
    a.is("", "pods") && a.operation == Operation::Create
}

fn set(value: Option<&Value>) -> Option<&Value> {
    value.filter(|v| !v.is_null())
}

impl Plugin for RuntimeClass {
    fn name(&self) -> &'static str {
        "RuntimeClass"
    }

    fn mutate(&self, a: &Attributes<'_>, pod: &mut Value, _: Option<&Value>) -> ApiResult<()> {
        if !applies(a) {
            return Ok(());
        }
        let Some(class) = self.class(a, pod)? else { return Ok(()) };
        if let Some(overhead) = set(class.at("overhead/podFixed")) {
            if let Some(given) = set(pod.at("spec/overhead"))
                && given != overhead
            {
                let why = "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead";
                return Err(a.forbidden(Some(pod), why));
            }
            pod["spec"]["overhead"] = overhead.clone();
        }
        schedule(a, pod, &class)
    }

    fn validate(&self, a: &Attributes<'_>, pod: Option<&Value>, _: Option<&Value>) -> ApiResult<()> {
        let Some(pod) = pod.filter(|_| applies(a)) else { return Ok(()) };
        let class = self.class(a, pod)?;
        let overhead = class.as_ref().and_then(|c| set(c.at("overhead/podFixed")));
        match (overhead, set(pod.at("spec/overhead"))) {
            (None, Some(_)) => {
                let why = "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead";
                Err(a.forbidden(Some(pod), why))
            }
            (Some(wanted), given) if given != Some(wanted) => {
                let why = "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead";
                Err(a.forbidden(Some(pod), why))
            }
            _ => Ok(()),
        }
    }
}

fn schedule(a: &Attributes<'_>, pod: &mut Value, class: &Value) -> ApiResult<()> {
    for (key, wanted) in class.at("scheduling/nodeSelector").and_then(Value::as_object).into_iter().flatten() {
        let given = pod.at("spec/nodeSelector").and_then(|s| s.get(key));
        if let Some(given) = given.filter(|given| *given != wanted) {
            let why = format!(
                "conflict: runtimeClass.scheduling.nodeSelector[{key}] = {}; pod.spec.nodeSelector[{key}] = {}",
                wanted.as_str().unwrap_or(""),
                given.as_str().unwrap_or("")
            );
            return Err(a.forbidden(Some(pod), why));
        }
        map_mut(&mut pod["spec"], "nodeSelector").insert(key.clone(), wanted.clone());
    }
    for toleration in class.array_at("scheduling/tolerations") {
        if !pod.array_at("spec/tolerations").contains(toleration) {
            list_mut(&mut pod["spec"], "tolerations").push(toleration.clone());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing::{World, ask, fails, passes};

    #[test]
    fn the_class_lends_overhead_and_scheduling() {
        let class = json!({"kind": "RuntimeClass", "metadata": {"name": "vm"}, "overhead": {"podFixed": {"cpu": "1"}},
            "scheduling": {"nodeSelector": {"vm": "yes"}, "tolerations": [{"key": "vm"}]}});
        let plugin = RuntimeClass::new(World::new([class]));
        let create = ask(Operation::Create, "", "pods").named("p");
        let run = |spec: Value| passes(&plugin, &create, &json!({"spec": spec}), None)["spec"].clone();
        assert_eq!(run(json!({})), json!({}));
        let out = run(json!({"runtimeClassName": "vm"}));
        assert_eq!(out["overhead"], json!({"cpu": "1"}));
        assert_eq!(out["nodeSelector"], json!({"vm": "yes"}));
        assert_eq!(out["tolerations"], json!([{"key": "vm"}]));
        let text = |spec: Value| fails(&plugin, &create, &json!({"spec": spec}), None).message().to_owned();
        assert!(text(json!({"runtimeClassName": "x"})).ends_with("pod rejected: RuntimeClass \"x\" not found"));
        assert!(text(json!({"overhead": {"cpu": "1"}})).contains("without corresponding RuntimeClass"));
        assert!(text(json!({"runtimeClassName": "vm", "overhead": {"cpu": "2"}})).contains("doesn't match"));
        assert!(text(json!({"runtimeClassName": "vm", "nodeSelector": {"vm": "no"}})).contains("conflict: "));
    }
}

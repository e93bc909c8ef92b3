//! Priority: a pod's priority is that of its PriorityClass, never the client's own number.

use std::sync::Arc;

use apimachinery::meta::ObjectExt;
use apimachinery::{ApiResult, GroupResource};
use serde_json::Value;

use super::map_mut;
use crate::{Attributes, Operation, Plugin, Reader};

const GROUP: &str = "scheduling.k8s.io";

pub struct Priority {
    reader: Arc<dyn Reader>,
    classes: GroupResource,
}

impl Priority {
    pub fn new(reader: Arc<dyn Reader>) -> Self {
        Self { reader, classes: GroupResource::new(GROUP, "priorityclasses") }
    }

    /// Of several global defaults, the lowest counts.
    fn default_class(&self) -> Option<Arc<Value>> {
        let classes = self.reader.list(&self.classes, "").into_iter();
        let defaults = classes.filter(|c| c.get("globalDefault").and_then(Value::as_bool) == Some(true));
        defaults.min_by_key(|c| c.i64_at("value").unwrap_or(0))
    }

    fn resolve(&self, a: &Attributes<'_>, pod: &mut Value) -> ApiResult<()> {
        let name = pod.str_at("spec/priorityClassName").to_owned();
        let class = if name.is_empty() {
            let class = self.default_class();
            if let Some(class) = &class {
                map_mut(pod, "spec").insert("priorityClassName".to_owned(), class.name().into());
            }
            class
        } else {
            let class = self.reader.get(&self.classes, "", &name);
            let missing = || a.forbidden(Some(pod), format!("no PriorityClass with name {name} was found"));
            Some(class.ok_or_else(missing)?)
        };
        let value = class.as_ref().and_then(|c| c.i64_at("value")).unwrap_or(0);
        let policy = class.as_ref().map(|c| c.str_at("preemptionPolicy")).filter(|p| !p.is_empty());
        let policy = policy.unwrap_or("PreemptLowerPriority");
        if let Some(given) = pod.i64_at("spec/priority").filter(|given| *given != value) {
            let why = format!(
                "the integer value of priority ({given}) must not be provided in pod spec; priority admission controller \
                 computed {value} from the given PriorityClass name"
            );
            return Err(a.forbidden(Some(pod), why));
        }
        let given = pod.str_at("spec/preemptionPolicy");
        if !given.is_empty() && given != policy {
            let why = format!(
                "the string value of PreemptionPolicy ({given}) must not be provided in pod spec; priority admission \
                 controller computed {policy} from the given PriorityClass name"
            );
            return Err(a.forbidden(Some(pod), why));
        }
        let spec = map_mut(pod, "spec");
        spec.insert("priority".to_owned(), value.into());
        spec.insert("preemptionPolicy".to_owned(), policy.into());
        Ok(())
    }
}

impl Plugin for Priority {
    fn name(&self) -> &'static str {
        "Priority"
    }

    fn mutate(&self, a: &Attributes<'_>, pod: &mut Value, old: Option<&Value>) -> ApiResult<()> {
        if !a.is("", "pods") {
            return Ok(());
        }
        match (a.operation, old) {
            (Operation::Create, _) => self.resolve(a, pod),
            (Operation::Update, Some(old)) => {
                // Clients that do not know the fields leave them out: that changes nothing.
                for field in ["priority", "preemptionPolicy"] {
                    let had = old.get("spec").and_then(|s| s.get(field)).filter(|v| !v.is_null());
                    if let Some(had) = had.filter(|_| pod["spec"].get(field).is_none_or(Value::is_null)) {
                        pod["spec"][field] = had.clone();
                    }
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn validate(&self, a: &Attributes<'_>, class: Option<&Value>, _: Option<&Value>) -> ApiResult<()> {
        let Some(class) = class.filter(|_| a.is(GROUP, "priorityclasses")) else { return Ok(()) };
        if class.get("globalDefault").and_then(Value::as_bool) != Some(true) {
            return Ok(());
        }
        let other = self.default_class().filter(|d| d.name() != class.name());
        other.map_or(Ok(()), |other| {
            let why =
                format!("PriorityClass {} is already marked as default. Only one default can exist", other.name());
            Err(a.forbidden(Some(class), why))
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing::{World, ask, fails, passes};

    fn class(name: &str, value: i64, default: bool) -> Value {
        json!({"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": name},
               "value": value, "globalDefault": default, "preemptionPolicy": "Never"})
    }

    #[test]
    fn the_class_decides() {
        let create = ask(Operation::Create, "", "pods").named("p");
        let bare = Priority::new(World::new([]));
        let out = passes(&bare, &create, &json!({"spec": {}}), None);
        assert_eq!(out["spec"], json!({"priority": 0, "preemptionPolicy": "PreemptLowerPriority"}));
        let plugin = Priority::new(World::new([class("high", 100, false), class("base", 5, true)]));
        let run = |spec: Value| passes(&plugin, &create, &json!({"spec": spec}), None)["spec"].clone();
        let named =
            |name: &str, value: i64| json!({"priorityClassName": name, "priority": value, "preemptionPolicy": "Never"});
        assert_eq!(run(json!({})), named("base", 5));
        assert_eq!(run(json!({"priorityClassName": "high"})), named("high", 100));
        assert_eq!(run(json!({"priorityClassName": "high", "priority": 100})), named("high", 100));
        let text = |spec: Value| fails(&plugin, &create, &json!({"spec": spec}), None).message().to_owned();
        assert!(text(json!({"priorityClassName": "x"})).ends_with("no PriorityClass with name x was found"));
        assert!(text(json!({"priority": 7})).contains("the integer value of priority (7) must not be provided"));
        assert!(
            text(json!({"preemptionPolicy": "PreemptLowerPriority"})).contains("the string value of PreemptionPolicy")
        );
    }

    #[test]
    fn there_is_one_default() {
        let plugin = Priority::new(World::new([class("base", 5, true)]));
        let create = ask(Operation::Create, GROUP, "priorityclasses").in_namespace("").named("two");
        passes(&plugin, &create, &class("two", 1, false), None);
        let error = fails(&plugin, &create, &class("two", 1, true), None);
        assert!(error.message().contains("PriorityClass base is already marked as default"));
        let update = ask(Operation::Update, GROUP, "priorityclasses").in_namespace("").named("base");
        passes(&plugin, &update, &class("base", 5, true), Some(&class("base", 5, true)));
    }
}

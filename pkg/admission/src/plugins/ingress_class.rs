//! DefaultIngressClass: an Ingress that names no class gets the default one.

use std::sync::Arc;

use apimachinery::meta::ObjectExt;
use apimachinery::{ApiResult, GroupResource};
use serde_json::Value;

use super::default_of;
use crate::{Attributes, Operation, Plugin, Reader};

const GROUP: &str = "networking.k8s.io";
const MARK: &str = "ingressclass.kubernetes.io/is-default-class";
const OLD_ANNOTATION: &str = "kubernetes.io/ingress.class";

pub struct DefaultIngressClass {
    reader: Arc<dyn Reader>,
    classes: GroupResource,
}

impl DefaultIngressClass {
    pub fn new(reader: Arc<dyn Reader>) -> Self {
        Self { reader, classes: GroupResource::new(GROUP, "ingressclasses") }
    }
}

impl Plugin for DefaultIngressClass {
    fn name(&self) -> &'static str {
        "DefaultIngressClass"
    }

    fn mutate(&self, a: &Attributes<'_>, ingress: &mut Value, _: Option<&Value>) -> ApiResult<()> {
        if !a.is(GROUP, "ingresses") || a.operation != Operation::Create {
            return Ok(());
        }
        let named = ingress.at("spec/ingressClassName").is_some_and(|v| !v.is_null());
        if named || ingress.annotations().is_some_and(|x| x.contains_key(OLD_ANNOTATION)) {
            return Ok(());
        }
        if let Some(class) = default_of(self.reader.list(&self.classes, ""), &[MARK]) {
            super::map_mut(ingress, "spec").insert("ingressClassName".to_owned(), class.name().into());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing::{World, ask, passes};

    #[test]
    fn the_default_is_for_those_that_name_none() {
        let class = json!({"kind": "IngressClass", "metadata": {"name": "nginx", "annotations": {MARK: "true"}}});
        let plugin = DefaultIngressClass::new(World::new([class]));
        let create = ask(Operation::Create, GROUP, "ingresses");
        let run = |ingress: Value| passes(&plugin, &create, &ingress, None)["spec"]["ingressClassName"].clone();
        assert_eq!(run(json!({"spec": {}})), "nginx");
        assert_eq!(run(json!({"spec": {"ingressClassName": "x"}})), "x");
        assert_eq!(run(json!({"metadata": {"annotations": {OLD_ANNOTATION: "x"}}, "spec": {}})), Value::Null);
    }
}

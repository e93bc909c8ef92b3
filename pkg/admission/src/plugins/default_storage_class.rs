//! DefaultStorageClass: a claim that names no class gets the default one.

use std::sync::Arc;

use apimachinery::meta::ObjectExt;
use apimachinery::{ApiResult, GroupResource};
use serde_json::Value;

use super::default_of;
use crate::{Attributes, Operation, Plugin, Reader};

const MARKS: [&str; 2] =
    ["storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class"];
const OLD_ANNOTATION: &str = "volume.beta.kubernetes.io/storage-class";

pub struct DefaultStorageClass {
    reader: Arc<dyn Reader>,
    classes: GroupResource,
}

impl DefaultStorageClass {
    pub fn new(reader: Arc<dyn Reader>) -> Self {
        Self { reader, classes: GroupResource::new("storage.k8s.io", "storageclasses") }
    }
}

impl Plugin for DefaultStorageClass {
    fn name(&self) -> &'static str {
        "DefaultStorageClass"
    }

    fn mutate(&self, a: &Attributes<'_>, claim: &mut Value, _: Option<&Value>) -> ApiResult<()> {
        if !a.is("", "persistentvolumeclaims") || a.operation != Operation::Create {
            return Ok(());
        }
        // An empty name is a choice: no class at all.
        let named = claim.at("spec/storageClassName").is_some_and(|v| !v.is_null());
        if named || claim.annotations().is_some_and(|x| x.contains_key(OLD_ANNOTATION)) {
            return Ok(());
        }
        if let Some(class) = default_of(self.reader.list(&self.classes, ""), &MARKS) {
            super::map_mut(claim, "spec").insert("storageClassName".to_owned(), class.name().into());
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
    fn the_newest_default_is_taken() {
        let class = |name: &str, born: &str, default: &str| {
            json!({"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass",
                   "metadata": {"name": name, "creationTimestamp": born, "annotations": {MARKS[0]: default}}})
        };
        let plugin = DefaultStorageClass::new(World::new([
            class("old", "2026-01-01T00:00:00Z", "true"),
            class("new", "2026-02-01T00:00:00Z", "true"),
            class("newer", "2026-03-01T00:00:00Z", "false"),
        ]));
        let create = ask(Operation::Create, "", "persistentvolumeclaims");
        let name =
            |spec: Value| passes(&plugin, &create, &json!({"spec": spec}), None)["spec"]["storageClassName"].clone();
        assert_eq!(name(json!({})), "new");
        assert_eq!(name(json!({"storageClassName": ""})), "");
        assert_eq!(name(json!({"storageClassName": "x"})), "x");
        let none = DefaultStorageClass::new(World::new([]));
        assert_eq!(passes(&none, &create, &json!({"spec": {}}), None), json!({"spec": {}}));
    }
}

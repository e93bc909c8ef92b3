//! StorageObjectInUseProtection: volumes and claims stay while they are used. PersistentVolumeClaimResize: a claim grows only
//! where its class allows it.

use std::sync::Arc;

use apimachinery::meta::ObjectExt;
use apimachinery::quantity::Quantity;
use apimachinery::{ApiResult, GroupResource};
use serde_json::Value;

use crate::{Attributes, Operation, Plugin, Reader};

pub struct StorageObjectInUseProtection;

impl Plugin for StorageObjectInUseProtection {
    fn name(&self) -> &'static str {
        "StorageObjectInUseProtection"
    }

    fn mutate(&self, a: &Attributes<'_>, object: &mut Value, _: Option<&Value>) -> ApiResult<()> {
        if a.operation != Operation::Create || !a.subresource.is_empty() {
            return Ok(());
        }
        let finalizer = match (a.group, a.resource) {
            ("", "persistentvolumes") => "kubernetes.io/pv-protection",
            ("", "persistentvolumeclaims") => "kubernetes.io/pvc-protection",
            ("storage.k8s.io", "volumeattributesclasses") => "kubernetes.io/vac-protection",
            _ => return Ok(()),
        };
        if !object.finalizers().contains(&finalizer) {
            object.metadata_mut();
            super::list_mut(&mut object["metadata"], "finalizers").push(finalizer.into());
        }
        Ok(())
    }
}

pub struct PersistentVolumeClaimResize {
    reader: Arc<dyn Reader>,
    classes: GroupResource,
}

impl PersistentVolumeClaimResize {
    pub fn new(reader: Arc<dyn Reader>) -> Self {
        Self { reader, classes: GroupResource::new("storage.k8s.io", "storageclasses") }
    }
}

impl Plugin for PersistentVolumeClaimResize {
    fn name(&self) -> &'static str {
        "PersistentVolumeClaimResize"
    }

    fn validate(&self, a: &Attributes<'_>, claim: Option<&Value>, old: Option<&Value>) -> ApiResult<()> {
        let (Some(claim), Some(old)) = (claim, old) else { return Ok(()) };
        if !a.is("", "persistentvolumeclaims") || a.operation != Operation::Update {
            return Ok(());
        }
        let size = |claim: &Value| {
            claim.at("spec/resources/requests/storage").and_then(|q| Quantity::from_value(q).ok()).unwrap_or_default()
        };
        if size(claim) <= size(old) {
            return Ok(());
        }
        if old.str_at("status/phase") != "Bound" {
            return Err(a.forbidden(Some(claim), "Only bound persistent volume claims can be expanded"));
        }
        let class = claim.str_at("spec/storageClassName");
        let class = Some(class).filter(|c| !c.is_empty()).and_then(|c| self.reader.get(&self.classes, "", c));
        let allowed = class.is_some_and(|c| c.get("allowVolumeExpansion").and_then(Value::as_bool) == Some(true));
        if allowed {
            return Ok(());
        }
        let why = "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support \
                   resize";
        Err(a.forbidden(Some(claim), why))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing::{World, ask, fails, passes};

    #[test]
    fn volumes_and_claims_are_protected() {
        for (group, resource, finalizer) in [
            ("", "persistentvolumes", json!(["kubernetes.io/pv-protection"])),
            ("", "persistentvolumeclaims", json!(["kubernetes.io/pvc-protection"])),
            ("", "pods", Value::Null),
        ] {
            let create = ask(Operation::Create, group, resource);
            let out = passes(&StorageObjectInUseProtection, &create, &json!({"metadata": {"name": "x"}}), None);
            assert_eq!(out["metadata"]["finalizers"], finalizer, "{resource}");
            assert_eq!(passes(&StorageObjectInUseProtection, &create, &out, None), out);
        }
    }

    #[test]
    fn claims_grow_where_the_class_allows() {
        let class = |name: &str, grows: bool| json!({"kind": "StorageClass", "metadata": {"name": name}, "allowVolumeExpansion": grows});
        let plugin = PersistentVolumeClaimResize::new(World::new([class("yes", true), class("no", false)]));
        let claim = |class: &str, size: &str, phase: &str| {
            json!({"metadata": {"name": "c"}, "spec": {"storageClassName": class, "resources": {"requests": {"storage": size}}},
                   "status": {"phase": phase}})
        };
        let update = ask(Operation::Update, "", "persistentvolumeclaims").named("c");
        passes(&plugin, &update, &claim("yes", "2Gi", "Bound"), Some(&claim("yes", "1Gi", "Bound")));
        passes(&plugin, &update, &claim("no", "1024Mi", "Bound"), Some(&claim("no", "1Gi", "Bound")));
        let error = fails(&plugin, &update, &claim("no", "2Gi", "Bound"), Some(&claim("no", "1Gi", "Bound")));
        assert!(error.message().contains("must support resize"), "{error}");
        let error = fails(&plugin, &update, &claim("yes", "2Gi", "Pending"), Some(&claim("yes", "1Gi", "Pending")));
        assert!(error.message().contains("Only bound persistent volume claims can be expanded"));
    }
}

//! NamespaceLifecycle: nothing is made in a namespace that is not there or is being terminated, and some namespaces stay.

use std::sync::Arc;

use apimachinery::meta::ObjectExt as _;
use apimachinery::status::{Cause, Details};
use apimachinery::{ApiError, ApiResult, GroupResource};
use serde_json::Value;

use crate::{Attributes, Operation, Plugin, Reader};

const IMMORTAL: &[&str] = &["default", "kube-system", "kube-public"];

pub struct NamespaceLifecycle {
    reader: Arc<dyn Reader>,
    namespaces: GroupResource,
}

impl NamespaceLifecycle {
    pub fn new(reader: Arc<dyn Reader>) -> Self {
        Self { reader, namespaces: GroupResource::new("", "namespaces") }
    }

    fn check(&self, a: &Attributes<'_>, object: &Value) -> ApiResult<()> {
        // Deletions, connections and questions about permissions need no namespace that accepts content.
        let writes = matches!(a.operation, Operation::Create | Operation::Update);
        let is_review = a.group == "authorization.k8s.io";
        if is_namespace(a) || a.namespace.is_empty() || !writes || is_review {
            return Ok(());
        }
        let namespace = self.reader.get(&self.namespaces, "", a.namespace);
        let namespace = namespace.ok_or_else(|| ApiError::not_found(&self.namespaces, a.namespace))?;
        if a.operation == Operation::Create && namespace.str_at("status/phase") == "Terminating" {
            return Err(being_terminated(a, object));
        }
        Ok(())
    }
}

fn is_namespace(a: &Attributes<'_>) -> bool {
    a.group.is_empty() && a.resource == "namespaces"
}

fn being_terminated(a: &Attributes<'_>, object: &Value) -> ApiError {
    let namespace = a.namespace;
    let why = format!("unable to create new content in namespace {namespace} because it is being terminated");
    let error = a.forbidden(Some(object), why);
    let mut details: Details = error.details().cloned().unwrap_or_default();
    details.causes.push(Cause {
        reason: "NamespaceTerminating".to_owned(),
        message: format!("namespace {namespace} is being terminated"),
        field: "metadata.namespace".to_owned(),
    });
    error.with_details(details)
}

impl Plugin for NamespaceLifecycle {
    fn name(&self) -> &'static str {
        "NamespaceLifecycle"
    }

    fn mutate(&self, a: &Attributes<'_>, object: &mut Value, _: Option<&Value>) -> ApiResult<()> {
        self.check(a, object)
    }

    fn validate(&self, a: &Attributes<'_>, _: Option<&Value>, _: Option<&Value>) -> ApiResult<()> {
        // Writes were checked by `mutate`; deletions have no object and come here only.
        let immortal = a.operation == Operation::Delete && IMMORTAL.contains(&a.name) && is_namespace(a);
        if !immortal {
            return Ok(());
        }
        Err(ApiError::forbidden(&self.namespaces, a.name, "this namespace may not be deleted"))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing::{World, ask, fails, passes};

    #[test]
    fn namespaces_must_be_there_and_alive() {
        let world = World::new([
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "live"}, "status": {"phase": "Active"}}),
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "dying"}, "status": {"phase": "Terminating"}}),
        ]);
        let plugin = NamespaceLifecycle::new(world);
        let pod = json!({"metadata": {"generateName": "web-"}});
        let create = ask(Operation::Create, "", "pods");
        passes(&plugin, &create.in_namespace("live"), &pod, None);
        passes(&plugin, &ask(Operation::Create, "", "nodes").in_namespace(""), &pod, None);
        passes(&plugin, &ask(Operation::Update, "", "pods").in_namespace("dying").named("p"), &pod, Some(&pod));
        let error = fails(&plugin, &create.in_namespace("gone"), &pod, None);
        assert_eq!((error.code(), error.message()), (404, "namespaces \"gone\" not found"));
        let error = fails(&plugin, &create.in_namespace("dying"), &pod, None);
        assert_eq!(
            error.message(),
            "pods \"web-\" is forbidden: unable to create new content in namespace dying because it is being terminated"
        );
        assert_eq!(error.details().unwrap().causes[0].reason, "NamespaceTerminating");
        let delete = ask(Operation::Delete, "", "namespaces").in_namespace("kube-system").named("kube-system");
        let error = plugin.validate(&delete.attributes(), None, Some(&pod)).unwrap_err();
        assert_eq!(error.message(), "namespaces \"kube-system\" is forbidden: this namespace may not be deleted");
        let delete = ask(Operation::Delete, "", "pods").in_namespace("dying").named("p");
        assert_eq!(plugin.validate(&delete.attributes(), None, Some(&pod)), Ok(()));
    }
}

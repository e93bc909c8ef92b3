//! Enforcing on pods, warning about pods and templates.

use std::sync::Arc;

use apimachinery::field::{Error, Path};
use apimachinery::meta::ObjectExt;
use apimachinery::{ApiError, ApiResult, GroupResource, GroupVersionKind};
use serde_json::Value;

use super::checks::violations;
use super::level::{Level, Policy};
use super::visit::Pod;
use crate::{Attributes, Operation, Plugin, Reader};

/// Pods whose security fields an update may not change: only these updates are judged anew.
const JUDGED_SUBRESOURCES: &[&str] = &["", "ephemeralcontainers", "resize"];

pub struct PodSecurity {
    reader: Arc<dyn Reader>,
    namespaces: GroupResource,
}

impl PodSecurity {
    pub fn new(reader: Arc<dyn Reader>) -> Self {
        Self { reader, namespaces: GroupResource::new("", "namespaces") }
    }

    fn policy(&self, namespace: &str) -> Policy {
        let found = self.reader.get(&self.namespaces, "", namespace);
        found.map(|n| Policy::of(n.labels()).0).unwrap_or_default()
    }

    fn pod(&self, a: &Attributes<'_>, pod: &Value, old: Option<&Value>) -> ApiResult<()> {
        if a.operation == Operation::Update && old.is_some_and(|old| !is_significant(pod, old)) {
            return Ok(());
        }
        let policy = self.policy(a.namespace);
        let parts = parts(pod, pod);
        if let Some(found) = violations(&parts, policy.enforce) {
            let why = format!("violates PodSecurity {:?}: {found}", policy.enforce.to_string());
            return Err(a.forbidden(Some(pod), why));
        }
        self.warn(a, &parts, &policy);
        Ok(())
    }

    fn warn(&self, a: &Attributes<'_>, pod: &Pod<'_>, policy: &Policy) {
        if let Some(found) = violations(pod, policy.warn) {
            (a.warn)(format!("would violate PodSecurity {:?}: {found}", policy.warn.to_string()));
        }
    }

    /// New labels of a namespace must be readable; pods that would not meet a stricter level are warned about.
    fn namespace(&self, a: &Attributes<'_>, new: &Value, old: Option<&Value>) -> ApiResult<()> {
        let (policy, errors) = Policy::of(new.labels());
        let (old_policy, old_errors) = old.map(|old| Policy::of(old.labels())).unwrap_or_default();
        if errors.len() > old_errors.len() || errors.iter().any(|e| !old_errors.contains(e)) {
            let labels = Path::new("metadata").child("labels");
            let errors: Vec<Error> =
                errors.into_iter().map(|(key, value, what)| Error::invalid(&labels.key(&key), value, what)).collect();
            return Err(ApiError::invalid(&GroupVersionKind::new("", "v1", "Namespace"), new.name(), &errors));
        }
        let stricter = policy.enforce != old_policy.enforce && policy.enforce.level > Level::Privileged;
        if a.operation == Operation::Update && stricter {
            self.warn_of_existing(a, new.name(), &policy);
        }
        Ok(())
    }

    fn warn_of_existing(&self, a: &Attributes<'_>, namespace: &str, policy: &Policy) {
        let mut lines: Vec<(String, String)> = Vec::new();
        for pod in self.reader.list(&GroupResource::new("", "pods"), namespace) {
            if let Some(found) = violations(&parts(&pod, &pod), policy.enforce) {
                lines.push((found, pod.name().to_owned()));
            }
        }
        if lines.is_empty() {
            return;
        }
        let level = policy.enforce.to_string();
        (a.warn)(format!(
            "existing pods in namespace {namespace:?} violate the new PodSecurity enforce level {level:?}"
        ));
        lines.sort();
        for same in lines.chunk_by(|a, b| a.0 == b.0) {
            let more = match same.len() {
                1 => String::new(),
                2 => " (and 1 other pod)".to_owned(),
                n => format!(" (and {} other pods)", n - 1),
            };
            (a.warn)(format!("{}{more}: {}", same[0].1, same[0].0));
        }
    }
}

fn parts<'a>(metadata_of: &'a Value, spec_of: &'a Value) -> Pod<'a> {
    Pod {
        metadata: metadata_of.get("metadata").unwrap_or(&Value::Null),
        spec: spec_of.get("spec").unwrap_or(&Value::Null),
    }
}

/// True if the update changes anything that the standards look at.
fn is_significant(new: &Value, old: &Value) -> bool {
    if old.is_deleting() {
        return false;
    }
    let spec = |pod: &Value| {
        let mut spec = pod.get("spec").cloned().unwrap_or_default();
        for list in ["containers", "initContainers", "ephemeralContainers"] {
            for container in spec.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
                // Another image or size changes no privilege.
                if let Some(map) = container.as_object_mut() {
                    map.remove("image");
                    map.remove("resources");
                }
            }
        }
        for field in ["activeDeadlineSeconds", "tolerations", "terminationGracePeriodSeconds"] {
            if let Some(map) = spec.as_object_mut() {
                map.remove(field);
            }
        }
        spec
    };
    let annotations = |pod: &Value| pod.annotations().cloned();
    spec(new) != spec(old) || annotations(new) != annotations(old)
}

/// The pod template of a kind that makes pods.
fn template<'a>(a: &Attributes<'_>, object: &'a Value) -> Option<&'a Value> {
    let path = match (a.group, a.resource) {
        ("", "replicationcontrollers") | ("apps", "daemonsets" | "deployments" | "replicasets" | "statefulsets") => {
            "spec/template"
        }
        ("batch", "jobs") => "spec/template",
        ("batch", "cronjobs") => "spec/jobTemplate/spec/template",
        ("", "podtemplates") => "template",
        _ => return None,
    };
    object.at(path)
}

impl Plugin for PodSecurity {
    fn name(&self) -> &'static str {
        "PodSecurity"
    }

    fn validate(&self, a: &Attributes<'_>, object: Option<&Value>, old: Option<&Value>) -> ApiResult<()> {
        let Some(object) = object.filter(|_| matches!(a.operation, Operation::Create | Operation::Update)) else {
            return Ok(());
        };
        match (a.group, a.resource, a.subresource) {
            ("", "namespaces", "") => self.namespace(a, object, old),
            ("", "pods", sub) if JUDGED_SUBRESOURCES.contains(&sub) => self.pod(a, object, old),
            (_, _, "") => {
                let Some(found) = template(a, object) else { return Ok(()) };
                if old.and_then(|old| template(a, old)) != Some(found) {
                    self.warn(a, &parts(found, found), &self.policy(a.namespace));
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use serde_json::json;

    use super::*;
    use crate::testing::{World, ask, fails, passes};

    fn namespace(labels: Value) -> Value {
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "ns", "labels": labels}})
    }

    fn pod(context: Value) -> Value {
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "ns"},
               "spec": {"containers": [{"name": "c", "image": "i", "securityContext": context}]}})
    }

    #[test]
    fn the_namespace_decides() {
        let enforce = |level: &str| World::new([namespace(json!({"pod-security.kubernetes.io/enforce": level}))]);
        let create = ask(Operation::Create, "", "pods").named("p");
        let privileged = pod(json!({"privileged": true}));
        passes(&PodSecurity::new(World::new([namespace(json!({}))])), &create, &privileged, None);
        let baseline = PodSecurity::new(enforce("baseline"));
        passes(&baseline, &create, &pod(json!({})), None);
        let error = fails(&baseline, &create, &privileged, None);
        assert_eq!(
            error.message(),
            r#"pods "p" is forbidden: violates PodSecurity "baseline:latest": privileged (container "c" must not set securityContext.privileged=true)"#
        );
        let restricted = PodSecurity::new(enforce("restricted"));
        let error = fails(&restricted, &create, &pod(json!({})), None);
        assert!(error.message().contains(r#"allowPrivilegeEscalation != false (container "c" must set"#), "{error}");
        let mut debugged = pod(json!({}));
        debugged["spec"]["ephemeralContainers"] = json!([{"name": "d", "securityContext": {"privileged": true}}]);
        let debug = ask(Operation::Update, "", "pods").named("p").of("ephemeralcontainers");
        fails(&baseline, &debug, &debugged, Some(&pod(json!({}))));
        // What was let in before the label came may still change its image or be labelled.
        let update = ask(Operation::Update, "", "pods").named("p");
        let mut labelled = privileged.clone();
        labelled["metadata"]["labels"] = json!({"a": "b"});
        labelled["spec"]["containers"][0]["image"] = "j".into();
        passes(&baseline, &update, &labelled, Some(&privileged));
    }

    #[test]
    fn templates_and_stricter_labels_only_warn() {
        let world = World::new([
            namespace(json!({"pod-security.kubernetes.io/enforce": "baseline"})),
            pod(json!({"privileged": true})),
        ]);
        let plugin = PodSecurity::new(world);
        let said = Mutex::new(Vec::new());
        let asked = ask(Operation::Create, "apps", "deployments").named("d");
        let warn = |text: String| said.lock().unwrap().push(text);
        let a = Attributes { warn: &warn, ..asked.attributes() };
        let deployment = json!({"spec": {"template": pod(json!({"privileged": true}))}});
        plugin.validate(&a, Some(&deployment), None).unwrap();
        assert!(said.lock().unwrap()[0].starts_with(r#"would violate PodSecurity "baseline:latest": privileged"#));
        said.lock().unwrap().clear();
        let update = ask(Operation::Update, "", "namespaces").in_namespace("ns").named("ns");
        let a = Attributes { warn: &warn, ..update.attributes() };
        let new = namespace(json!({"pod-security.kubernetes.io/enforce": "baseline"}));
        plugin.validate(&a, Some(&new), Some(&namespace(json!({})))).unwrap();
        let said = said.lock().unwrap();
        assert_eq!(
            said[0],
            r#"existing pods in namespace "ns" violate the new PodSecurity enforce level "baseline:latest""#
        );
        assert!(said[1].starts_with("p: privileged"));
        let bad = namespace(json!({"pod-security.kubernetes.io/enforce": "x"}));
        assert_eq!(fails(&plugin, &update, &bad, Some(&new)).code(), 422);
        passes(&plugin, &update, &bad, Some(&bad));
    }
}

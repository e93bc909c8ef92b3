//! The Node authorizer: fixed rules for all nodes, and for what differs by node the graph. It never denies: another
//! authorizer may still allow.

use std::sync::Arc;

use apimachinery::fields::FieldSelector;

use super::graph::{Kind, NodeGraph};
use super::node_of;
use crate::Attributes;
use crate::authz::{Authorizer, Decision};
use crate::bootstrap;
use crate::rbac::Rule;

pub struct NodeAuthorizer {
    graph: Arc<NodeGraph>,
    rules: Vec<Rule>,
    allowed: Arc<str>,
}

impl NodeAuthorizer {
    pub fn new(graph: Arc<NodeGraph>) -> Self {
        Self { graph, rules: bootstrap::node_rules(), allowed: Arc::from("") }
    }

    fn allow(&self) -> Decision {
        Decision::Allow(self.allowed.clone())
    }

    /// The object is needed on the node.
    fn related(&self, node: &str, kind: Kind, a: &Attributes<'_>) -> Decision {
        let name = object_name(a);
        if name.is_empty() {
            return no("No Object name found");
        }
        if self.graph.reaches(node, kind, a.namespace, &name) {
            self.allow()
        } else {
            no(format!("no relationship found between node '{node}' and this object"))
        }
    }

    fn get_only(&self, node: &str, kind: Kind, a: &Attributes<'_>) -> Decision {
        if a.verb != "get" {
            return no("can only get individual resources of this type");
        }
        if !a.subresource.is_empty() {
            return no("cannot get subresource");
        }
        self.related(node, kind, a)
    }

    fn read_only(&self, node: &str, kind: Kind, a: &Attributes<'_>) -> Decision {
        if !a.is_read_only() {
            return no("can only read resources of this type");
        }
        if !a.subresource.is_empty() {
            return no("cannot read subresource");
        }
        if a.namespace.is_empty() {
            return no("can only read namespaced object of this type");
        }
        self.related(node, kind, a)
    }

    fn claim(&self, node: &str, a: &Attributes<'_>) -> Decision {
        if a.subresource != "status" {
            return self.get_only(node, Kind::Claim, a);
        }
        if !matches!(a.verb, "get" | "update" | "patch") {
            return no("can only get/update/patch this type");
        }
        self.related(node, Kind::Claim, a)
    }

    fn service_account(&self, node: &str, a: &Attributes<'_>) -> Decision {
        if a.verb != "create" || a.name.is_empty() {
            return no("can only create tokens for individual service accounts");
        }
        if a.subresource != "token" {
            return no("can only create token subresource of serviceaccount");
        }
        self.related(node, Kind::ServiceAccount, a)
    }

    fn lease(&self, node: &str, a: &Attributes<'_>) -> Decision {
        if !matches!(a.verb, "get" | "create" | "update" | "patch" | "delete") {
            return no("can only get, create, update, patch, or delete a node lease");
        }
        if a.namespace != "kube-node-lease" {
            return no("can only access leases in the \"kube-node-lease\" system namespace");
        }
        // The name of a new object is not known yet; admission checks it.
        if a.verb != "create" && a.name != node {
            return no("can only access node lease with the same name as the requesting node");
        }
        self.allow()
    }

    fn csi_node(&self, node: &str, a: &Attributes<'_>) -> Decision {
        if !matches!(a.verb, "get" | "create" | "update" | "patch" | "delete") {
            return no("can only get, create, update, patch, or delete a CSINode");
        }
        if !a.subresource.is_empty() {
            return no("cannot authorize CSINode subresources");
        }
        if a.verb != "create" && a.name != node {
            return no("can only access CSINode with the same name as the requesting node");
        }
        self.allow()
    }

    fn resource_slice(&self, node: &str, a: &Attributes<'_>) -> Decision {
        if !a.subresource.is_empty() {
            return no("cannot authorize ResourceSlice subresources");
        }
        match a.verb {
            "create" => self.allow(),
            "get" | "update" | "patch" | "delete" => self.related(node, Kind::ResourceSlice, a),
            "list" | "watch" | "deletecollection" if selects(a, "spec.nodeName", node) => self.allow(),
            "list" | "watch" | "deletecollection" => {
                no("can only list/watch/deletecollection resourceslices with nodeName field selector")
            }
            _ => no(
                "only the following verbs are allowed for a ResourceSlice: get, watch, list, create, update, patch, delete, deletecollection",
            ),
        }
    }

    /// Admission limits what is created to pods of the node; the kubelet follows its own by a field selector.
    fn pod_certificate_request(&self, node: &str, a: &Attributes<'_>) -> Decision {
        match (a.subresource, a.verb) {
            ("", "create") => self.allow(),
            ("", "list" | "watch") if selects(a, "spec.nodeName", node) => self.allow(),
            ("", "list" | "watch") => {
                no("can only list/watch podcertificaterequests with spec.nodeName field selector")
            }
            _ => no("nodes may only create, list and watch podcertificaterequests"),
        }
    }

    fn node(&self, node: &str, a: &Attributes<'_>) -> Decision {
        match (a.subresource, a.verb) {
            // Admission limits the writes to the node's own object.
            ("", "create" | "update" | "patch") | ("status", "update" | "patch") => self.allow(),
            ("", "get" | "list" | "watch") => match object_name(a).as_str() {
                "" => no(format!("node '{node}' cannot read all nodes, only its own Node object")),
                name if name == node => self.allow(),
                name => no(format!("node '{node}' cannot read '{name}', only its own Node object")),
            },
            _ => Decision::none(),
        }
    }

    fn pod(&self, node: &str, a: &Attributes<'_>) -> Decision {
        match (a.subresource, a.verb) {
            ("", "get") => self.get_only(node, Kind::Pod, a),
            ("", "list" | "watch") if selects(a, "spec.nodeName", node) => self.allow(),
            ("", "list" | "watch") if !object_name(a).is_empty() => self.related(node, Kind::Pod, a),
            ("", "list" | "watch") => no("can only list/watch pods with spec.nodeName field selector"),
            // Admission limits these to mirror pods and pods of the node.
            ("", "create" | "delete") | ("status", "update" | "patch") | ("eviction", "create") => self.allow(),
            _ => Decision::none(),
        }
    }
}

impl Authorizer for NodeAuthorizer {
    fn authorize(&self, a: &Attributes<'_>) -> Decision {
        let Some(node) = node_of(a.user) else { return Decision::none() };
        if node.is_empty() {
            return no(format!("unknown node for user {:?}", a.user.name));
        }
        if a.resource_request {
            match (a.api_group, a.resource) {
                ("", "secrets") => return self.read_only(node, Kind::Secret, a),
                ("", "configmaps") => return self.read_only(node, Kind::ConfigMap, a),
                ("", "persistentvolumeclaims") => return self.claim(node, a),
                ("", "persistentvolumes") => return self.get_only(node, Kind::Volume, a),
                ("", "serviceaccounts") => return self.service_account(node, a),
                ("", "nodes") => return self.node(node, a),
                ("", "pods") => return self.pod(node, a),
                ("resource.k8s.io", "resourceclaims") => return self.get_only(node, Kind::ResourceClaim, a),
                ("resource.k8s.io", "resourceslices") => return self.resource_slice(node, a),
                ("storage.k8s.io", "volumeattachments") => return self.get_only(node, Kind::VolumeAttachment, a),
                ("storage.k8s.io", "csinodes") => return self.csi_node(node, a),
                ("coordination.k8s.io", "leases") => return self.lease(node, a),
                ("certificates.k8s.io", "podcertificaterequests") => return self.pod_certificate_request(node, a),
                _ => {}
            }
        }
        if self.rules.iter().any(|rule| rule.allows(a)) { self.allow() } else { Decision::none() }
    }
}

fn no(reason: impl Into<String>) -> Decision {
    Decision::NoOpinion(reason.into())
}

/// The request's name, or the one object that its field selector leaves.
fn object_name(a: &Attributes<'_>) -> String {
    if !a.name.is_empty() {
        return a.name.to_owned();
    }
    let selector = FieldSelector::parse(a.field_selector).ok();
    selector.and_then(|s| s.exact("metadata.name").map(str::to_owned)).unwrap_or_default()
}

fn selects(a: &Attributes<'_>, field: &str, value: &str) -> bool {
    FieldSelector::parse(a.field_selector).is_ok_and(|s| s.exact(field) == Some(value))
}

#[cfg(test)]
mod tests {
    use apimachinery::UserInfo;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_node_sees_its_own() {
        let graph = Arc::new(NodeGraph::default());
        let pod = json!({"metadata": {"name": "p", "namespace": "ns"}, "spec": {
            "nodeName": "n1", "serviceAccountName": "sa", "imagePullSecrets": [{"name": "s"}]}});
        graph.upsert_pod(("ns", "p"), "n1", move || pod);
        let authorizer = NodeAuthorizer::new(graph);
        let n1 = UserInfo::new("system:node:n1", ["system:nodes"]);
        let fake = UserInfo::new("system:node:n1", []);
        let ask = |verb, resource| Attributes::resource(&n1, verb, "", resource).in_namespace("ns");
        let of = |group, verb, resource| Attributes::resource(&n1, verb, group, resource);
        let lease = |verb, name| of("coordination.k8s.io", verb, "leases").in_namespace("kube-node-lease").named(name);
        let relation = "no relationship found between node 'n1' and this object";
        let selected = |a: Attributes<'static>, selector| Attributes { user: &n1, field_selector: selector, ..a };
        let static_user = Box::leak(Box::new(UserInfo::default()));
        let all = |verb, resource| Attributes::resource(static_user, verb, "", resource);
        let cases: Vec<(Attributes<'_>, Option<&str>)> = vec![
            (ask("get", "secrets").named("s"), None),
            (ask("get", "secrets").named("other"), Some(relation)),
            (ask("watch", "secrets").named("s"), None),
            (ask("list", "secrets"), Some("No Object name found")),
            (ask("delete", "secrets").named("s"), Some("can only read resources of this type")),
            (selected(all("watch", "secrets").in_namespace("ns"), "metadata.name=s"), None),
            (ask("create", "serviceaccounts").sub("token").named("sa"), None),
            (ask("create", "serviceaccounts").sub("token").named("default"), Some(relation)),
            (ask("get", "serviceaccounts").named("sa"), Some("can only create tokens for individual service accounts")),
            (ask("get", "pods").named("p"), None),
            (ask("get", "pods").named("q"), Some(relation)),
            (selected(all("watch", "pods"), "spec.nodeName=n1"), None),
            (
                selected(all("list", "pods"), "spec.nodeName=n2"),
                Some("can only list/watch pods with spec.nodeName field selector"),
            ),
            (ask("update", "pods").sub("status").named("p"), None),
            (ask("create", "pods").sub("exec").named("p"), Some("")),
            (of("", "get", "nodes").named("n1"), None),
            (of("", "get", "nodes").named("n2"), Some("node 'n1' cannot read 'n2', only its own Node object")),
            (of("", "list", "nodes"), Some("node 'n1' cannot read all nodes, only its own Node object")),
            (selected(all("watch", "nodes"), "metadata.name=n1"), None),
            (of("", "delete", "nodes").named("n1"), Some("")),
            (lease("update", "n1"), None),
            (lease("update", "n2"), Some("can only access node lease with the same name as the requesting node")),
            (lease("list", ""), Some("can only get, create, update, patch, or delete a node lease")),
            (
                of("storage.k8s.io", "get", "csinodes").named("n2"),
                Some("can only access CSINode with the same name as the requesting node"),
            ),
            (of("", "list", "services"), None),
            (of("node.k8s.io", "list", "runtimeclasses"), None),
            (of("", "create", "events").in_namespace("ns"), None),
            (of("apps", "list", "deployments"), Some("")),
            (Attributes { user: &fake, ..ask("get", "secrets").named("s") }, Some("")),
        ];
        for (attributes, refusal) in cases {
            match (authorizer.authorize(&attributes), refusal) {
                (Decision::Allow(_), None) => {}
                (Decision::NoOpinion(reason), Some(want)) => assert_eq!(reason, want, "{attributes:?}"),
                (decision, want) => panic!("{attributes:?}: {decision:?}, want {want:?}"),
            }
        }
    }
}

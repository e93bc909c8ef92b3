//! NodeRestriction: a kubelet may write its own node, its own leases, and what belongs to pods on its node. The rules are the
//! same on create as on update; what a node may read is the Node authorizer's part.

mod node;
mod pod;
mod token;

use std::sync::Arc;

use apimachinery::meta::ObjectExt;
use apimachinery::{ApiError, ApiResult, GroupResource, UserInfo};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::{Attributes, Authorizer, Operation, Plugin, Reader};

pub struct NodeRestriction {
    reader: Arc<dyn Reader>,
    authorizer: Arc<dyn Authorizer>,
}

/// A node's request, with what the rules need.
struct Request<'a> {
    a: &'a Attributes<'a>,
    node: &'a str,
    new: Option<&'a Value>,
    old: Option<&'a Value>,
    reader: &'a dyn Reader,
    authorizer: &'a dyn Authorizer,
}

impl NodeRestriction {
    pub fn new(reader: Arc<dyn Reader>, authorizer: Arc<dyn Authorizer>) -> Self {
        Self { reader, authorizer }
    }
}

/// The node that a user is: `Some("")` if it says to be one and does not say which.
fn node_of(user: &UserInfo) -> Option<&str> {
    user.name.strip_prefix("system:node:").filter(|_| user.in_group("system:nodes"))
}

impl Request<'_> {
    fn refuse<T>(&self, why: impl std::fmt::Display) -> ApiResult<T> {
        Err(self.a.forbidden(self.new.or(self.old), why))
    }

    /// The name in the path, or on create the one in the object.
    fn name(&self) -> &str {
        if self.a.name.is_empty() { self.new.map(ObjectExt::name).unwrap_or("") } else { self.a.name }
    }

    fn get(&self, resource: &str, namespace: &str, name: &str) -> ApiResult<Arc<Value>> {
        let resource = GroupResource::new("", resource);
        self.reader.get(&resource, namespace, name).ok_or_else(|| ApiError::not_found(&resource, name))
    }

    fn check(&self) -> ApiResult<()> {
        match (self.a.group, self.a.resource, self.a.subresource) {
            ("", "pods", "") => pod::check(self),
            ("", "pods", "status") => pod::check_status(self),
            ("", "pods", "eviction") => pod::check_eviction(self),
            ("", "pods", other) => {
                self.refuse(format!("unexpected pod subresource {other:?}, only 'status' and 'eviction' are allowed"))
            }
            ("", "nodes", _) => node::check(self),
            ("", "persistentvolumeclaims", "status") => self.claim_status(),
            ("", "persistentvolumeclaims", _) => self.refuse("may only update PVC status"),
            ("", "serviceaccounts", "token") => token::check(self),
            ("coordination.k8s.io", "leases", _) => self.lease(),
            ("storage.k8s.io", "csinodes", _) => {
                self.own_name("can only access CSINode with the same name as the requesting node")
            }
            ("resource.k8s.io", "resourceslices", _) => self.resource_slice(),
            ("certificates.k8s.io", "certificatesigningrequests", "") => self.certificate_request(),
            ("certificates.k8s.io", "podcertificaterequests", "") => self.pod_certificate_request(),
            _ => Ok(()),
        }
    }

    fn own_name(&self, why: &str) -> ApiResult<()> {
        if self.name() == self.node { Ok(()) } else { self.refuse(why) }
    }

    fn lease(&self) -> ApiResult<()> {
        if self.a.namespace != "kube-node-lease" {
            return self.refuse("can only access leases in the \"kube-node-lease\" system namespace");
        }
        self.own_name("can only access node lease with the same name as the requesting node")
    }

    fn resource_slice(&self) -> ApiResult<()> {
        let of = |slice: Option<&Value>| slice.is_some_and(|s| s.str_at("spec/nodeName") == self.node);
        match self.a.operation {
            Operation::Create if !of(self.new) => {
                self.refuse("can only create ResourceSlice with the same NodeName as the requesting node")
            }
            Operation::Update if !of(self.new) || !of(self.old) => {
                self.refuse("can only update ResourceSlice with the same NodeName as the requesting node")
            }
            Operation::Delete if !of(self.old) => {
                self.refuse("can only delete ResourceSlice with the same NodeName as the requesting node")
            }
            _ => Ok(()),
        }
    }

    /// Only size and conditions may change.
    fn claim_status(&self) -> ApiResult<()> {
        let (Operation::Update, Some(new), Some(old)) = (self.a.operation, self.new, self.old) else {
            return self.refuse(format!("unexpected operation {:?}", self.a.operation.name()));
        };
        let rest = |claim: &Value| {
            let mut claim = claim.clone();
            if let Some(status) = claim.get_mut("status").and_then(Value::as_object_mut) {
                for field in [
                    "capacity",
                    "conditions",
                    "allocatedResources",
                    "allocatedResourceStatuses",
                    "currentVolumeAttributesClassName",
                    "modifyVolumeStatus",
                ] {
                    status.remove(field);
                }
            }
            for field in ["managedFields", "resourceVersion"] {
                claim.metadata_mut().remove(field);
            }
            claim
        };
        if rest(new) == rest(old) {
            return Ok(());
        }
        self.refuse(format!(
            "node {:?} is not allowed to update fields other than status.quantity and status.conditions",
            self.node
        ))
    }

    /// A node asks for certificates for itself only.
    fn certificate_request(&self) -> ApiResult<()> {
        let Some(new) = self.new.filter(|_| self.a.operation == Operation::Create) else { return Ok(()) };
        let kubelets = ["kubernetes.io/kube-apiserver-client-kubelet", "kubernetes.io/kubelet-serving"];
        if !kubelets.contains(&new.str_at("spec/signerName")) {
            return Ok(());
        }
        let pem = STANDARD.decode(new.str_at("spec/request")).unwrap_or_default();
        let request = match pki::parse_csr(&pem) {
            Ok(request) => request,
            Err(why) => return self.refuse(format!("unable to parse csr: {why}")),
        };
        if request.common_name == self.a.user.name {
            return Ok(());
        }
        self.refuse(format!("can only create a node CSR with CN={}", self.a.user.name))
    }

    fn pod_certificate_request(&self) -> ApiResult<()> {
        let Some(new) = self.new.filter(|_| self.a.operation == Operation::Create) else { return Ok(()) };
        if new.str_at("spec/nodeName") != self.node {
            return self.refuse(format!(
                "PodCertificateRequest.Spec.NodeName={:?}, which is not the requesting node {:?}",
                new.str_at("spec/nodeName"),
                self.node
            ));
        }
        let pod = self.get("pods", self.a.namespace, new.str_at("spec/podName"))?;
        if pod.str_at("spec/nodeName") != self.node || pod.uid() != new.str_at("spec/podUID") {
            return self.refuse(format!("pod {:?} is not running on node {:?}", pod.name(), self.node));
        }
        Ok(())
    }
}

impl Plugin for NodeRestriction {
    fn name(&self) -> &'static str {
        "NodeRestriction"
    }

    fn validate(&self, a: &Attributes<'_>, object: Option<&Value>, old: Option<&Value>) -> ApiResult<()> {
        let Some(node) = node_of(a.user) else { return Ok(()) };
        if node.is_empty() {
            return Err(a.forbidden(object, format!("could not determine node from user {:?}", a.user.name)));
        }
        let (reader, authorizer) = (&*self.reader, &*self.authorizer);
        Request { a, node, new: object, old, reader, authorizer }.check()
    }
}

#[cfg(test)]
mod tests;

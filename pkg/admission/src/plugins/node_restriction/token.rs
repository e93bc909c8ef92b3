//! Tokens that a node asks for: bound to a pod that runs on it, for audiences that the pod names.

use apimachinery::ApiResult;
use apimachinery::GroupResource;
use apimachinery::meta::ObjectExt;
use serde_json::Value;

use super::Request;
use crate::Operation;
use crate::reader::Permission;

pub(super) fn check(request: &Request<'_>) -> ApiResult<()> {
    let Some(new) = request.new.filter(|_| request.a.operation == Operation::Create) else { return Ok(()) };
    let bound = |field: &str| new.str_at(&format!("spec/boundObjectRef/{field}")).to_owned();
    let name = bound("name");
    if bound("apiVersion") != "v1" || bound("kind") != "Pod" || name.is_empty() {
        return request.refuse("node requested token not bound to a pod");
    }
    let uid = bound("uid");
    if uid.is_empty() {
        return request.refuse("node requested token with a pod binding without a uid");
    }
    let pod = request.get("pods", request.a.namespace, &name)?;
    if uid != pod.uid() {
        return request.refuse(format!(
            "the UID in the bound object reference ({uid}) does not match the UID in record. The object might have been \
             deleted and then recreated"
        ));
    }
    if pod.str_at("spec/nodeName") != request.node {
        return request.refuse("node requested token bound to a pod scheduled on a different node");
    }
    check_audience(request, new, &pod)
}

/// A node must not get tokens for audiences that none of the pod's volumes asks for.
fn check_audience(request: &Request<'_>, new: &Value, pod: &Value) -> ApiResult<()> {
    let audience = match new.array_at("spec/audiences") {
        [] => "",
        [one] => one.as_str().unwrap_or(""),
        _ => return request.refuse("node may only request 0 or 1 audiences"),
    };
    if projects(pod, audience) || driver_wants(request, pod, audience) {
        return Ok(());
    }
    let permission = Permission {
        user: request.a.user,
        verb: "request-serviceaccounts-token-audience",
        group: "",
        resource: "serviceaccounts",
        subresource: "",
        namespace: request.a.namespace,
        name: audience,
    };
    if request.authorizer.is_allowed(&permission) {
        return Ok(());
    }
    request.refuse(format!("audience {audience:?} not found in pod spec volume"))
}

fn projects(pod: &Value, audience: &str) -> bool {
    let sources = pod.array_at("spec/volumes").iter().flat_map(|v| v.array_at("projected/sources"));
    let mut tokens = sources.filter_map(|s| s.get("serviceAccountToken"));
    tokens.any(|token| token.str_at("audience") == audience)
}

/// CSI drivers get tokens of the pods whose volumes they mount.
fn driver_wants(request: &Request<'_>, pod: &Value, audience: &str) -> bool {
    let drivers = GroupResource::new("storage.k8s.io", "csidrivers");
    let mut names: Vec<String> = Vec::new();
    for volume in pod.array_at("spec/volumes") {
        let own = volume.str_at("csi/driver");
        if !own.is_empty() {
            names.push(own.to_owned());
        }
        let claim = match volume.str_at("persistentVolumeClaim/claimName") {
            "" if volume.get("ephemeral").is_some() => format!("{}-{}", pod.name(), volume.str_at("name")),
            claim => claim.to_owned(),
        };
        let get = |resource: &str, namespace: &str, name: &str| {
            request.reader.get(&GroupResource::new("", resource), namespace, name)
        };
        let claim =
            Some(claim).filter(|c| !c.is_empty()).and_then(|c| get("persistentvolumeclaims", request.a.namespace, &c));
        let bound = claim.and_then(|c| get("persistentvolumes", "", c.str_at("spec/volumeName")));
        names.extend(bound.map(|v| v.str_at("spec/csi/driver").to_owned()).filter(|d| !d.is_empty()));
    }
    names
        .iter()
        .filter_map(|name| request.reader.get(&drivers, "", name))
        .any(|driver| driver.array_at("spec/tokenRequests").iter().any(|t| t.str_at("audience") == audience))
}

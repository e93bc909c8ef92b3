//! Serving certificates of kubelets. Upstream leaves these to the administrator; here a node gets one for what is its own:
//! its name, and the addresses in its Node's status.
//!
//! A node writes its status itself. So an address counts only if no other Node has it, and never if it is the API
//! server's: the same authority vouches for that one.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use client::Scope;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use k8s_openapi::api::core::v1::Node;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use pki::{CsrSubject, Sans};

use super::approve::Decision;
use crate::skeleton::Context;

const APPROVED: &str = "Auto approving kubelet serving certificate for the node's own name and addresses.";
/// How long a Node may take to say its addresses. Older requests are left to a person.
const PATIENCE: SignedDuration = SignedDuration::from_mins(1);
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// What came of a look at a request.
pub(super) enum Verdict {
    Decided(Decision),
    /// Not ours to decide.
    Left,
    /// The Node does not say yet what it is reached by.
    Later(Duration),
}

pub(super) async fn decide(
    context: &Context,
    reserved: &Sans,
    request: &CertificateSigningRequest,
    subject: &CsrSubject,
) -> Verdict {
    let requester = request.spec.username.as_deref().unwrap_or("");
    let Some(name) = requester.strip_prefix("system:node:").filter(|_| requester == subject.common_name) else {
        return Verdict::Left;
    };
    let nodes = context.informers.get::<Node>(Scope::all());
    let servers = context.informers.get::<EndpointSlice>(Scope::all());
    nodes.synced().await;
    servers.synced().await;
    let mut taken = names(reserved);
    taken.extend(server_addresses(&servers.store().get("default", "kubernetes")));
    match judge(name, &subject.sans, &nodes.store().list(), &taken) {
        Judgement::Own => Verdict::Decided(Decision::Approve(APPROVED)),
        Judgement::Unknown if is_young(request) => Verdict::Later(LOOK_AGAIN),
        Judgement::Unknown | Judgement::Foreign => Verdict::Left,
    }
}

fn is_young(request: &CertificateSigningRequest) -> bool {
    let created = request.metadata.creation_timestamp.as_ref().map(|time| time.0);
    created.is_some_and(|created| Timestamp::now().duration_since(created) < PATIENCE)
}

fn server_addresses(slice: &Option<Arc<EndpointSlice>>) -> impl Iterator<Item = String> {
    slice.iter().flat_map(|slice| slice.endpoints.iter().flatten()).flat_map(|endpoint| endpoint.addresses.clone())
}

fn names(sans: &Sans) -> BTreeSet<String> {
    sans.hostnames.iter().cloned().chain(sans.ips.iter().map(ToString::to_string)).collect()
}

fn addresses(node: &Node) -> impl Iterator<Item = &str> {
    let addresses = node.status.as_ref().and_then(|status| status.addresses.as_deref()).unwrap_or_default();
    addresses.iter().map(|address| address.address.as_str())
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Judgement {
    Own,
    Unknown,
    Foreign,
}

/// Whose the names and addresses in `sans` are. `taken` are those of API servers.
pub(super) fn judge(name: &str, sans: &Sans, nodes: &[Arc<Node>], taken: &BTreeSet<String>) -> Judgement {
    let is_own = |node: &&Arc<Node>| node.metadata.name.as_deref() == Some(name);
    let own: BTreeSet<&str> = nodes.iter().filter(is_own).flat_map(|node| addresses(node)).chain([name]).collect();
    let others: BTreeSet<&str> = nodes.iter().filter(|node| !is_own(node)).flat_map(|node| addresses(node)).collect();
    let wanted = names(sans);
    // A host name may be the node's name alone: others of its names could be anyone's.
    let strange_host = sans.hostnames.iter().any(|host| host != name);
    if strange_host || wanted.iter().any(|text| taken.contains(text) || others.contains(text.as_str())) {
        Judgement::Foreign
    } else if wanted.iter().all(|text| own.contains(text.as_str())) {
        Judgement::Own
    } else {
        Judgement::Unknown
    }
}

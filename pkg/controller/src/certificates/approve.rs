//! Approves requests of nodes: their first client certificate for whoever may introduce nodes, later ones for the node
//! itself, and the certificate that its kubelet serves with.

use std::sync::Arc;

use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use kube::Api;
use kube::api::PostParams;
use pki::{CsrSubject, Sans, SignerName};

use super::identity::{self, Claim};
use super::serving::{self, Verdict};
use super::{APPROVED, DENIED, certificate, condition, follow, parse, usages, with_condition};
use crate::skeleton::{Context, Error, SyncResult, ignore_not_found};

const NAME: &str = "csrapproving";
const REASON: &str = "AutoApproved";
const SELF_APPROVED: &str = "Auto approving self kubelet client certificate after SubjectAccessReview.";
const NODE_APPROVED: &str = "Auto approving kubelet client certificate after SubjectAccessReview.";

/// Runs the controller until shutdown.
///
/// `reserved` are names and addresses by which API servers are reached: no node gets a certificate for these.
pub async fn run(context: Context, reserved: Sans) -> Result<(), Error> {
    let reserved = Arc::new(reserved);
    follow(context, NAME, move |context, request| {
        let reserved = reserved.clone();
        async move { sync(&context, &reserved, &request).await }
    })
    .await
}

async fn sync(context: &Context, reserved: &Sans, request: &CertificateSigningRequest) -> SyncResult {
    let decided = [APPROVED, DENIED].iter().any(|kind| condition(request, kind).is_some());
    if decided || certificate(request).is_some() {
        return Ok(None);
    }
    let Some((signer, subject)) = parse(request)? else { return Ok(None) };
    if subject.check(signer, &usages(request)).is_err() {
        return Ok(None);
    }
    let decision = match signer {
        SignerName::KubeApiserverClientKubelet => client_certificate(context, request, &subject).await?,
        SignerName::KubeletServing => match serving::decide(context, reserved, request, &subject).await {
            Verdict::Decided(decision) => Some(decision),
            Verdict::Left => None,
            Verdict::Later(delay) => return Ok(Some(delay)),
        },
        SignerName::KubeApiserverClient => None,
    };
    let Some(decision) = decision else { return Ok(None) };
    let (kind, reason, message) = match &decision {
        Decision::Approve(message) => (APPROVED, REASON, *message),
        Decision::Deny { reason, message } => (DENIED, *reason, message.as_str()),
    };
    let name = request.metadata.name.as_deref().unwrap_or("");
    tracing::info!(csr = name, requester = request.spec.username, decision = kind, message, "decided on a certificate");
    let api: Api<CertificateSigningRequest> = Api::all(context.client.clone());
    let decided = with_condition(request, kind, reason, message);
    ignore_not_found(api.replace_subresource("approval", name, &PostParams::default(), &decided).await)?;
    Ok(None)
}

pub(super) enum Decision {
    Approve(&'static str),
    Deny { reason: &'static str, message: String },
}

async fn client_certificate(
    context: &Context,
    request: &CertificateSigningRequest,
    subject: &CsrSubject,
) -> Result<Option<Decision>, Error> {
    let own = request.spec.username.as_deref() == Some(&subject.common_name);
    let (claim, approved) = if own && allowed(context, request, "selfnodeclient").await? {
        (Claim::Renew, SELF_APPROVED)
    } else if allowed(context, request, "nodeclient").await? {
        (Claim::First, NODE_APPROVED)
    } else {
        return Ok(None);
    };
    Ok(Some(match identity::claim(context, subject, claim).await? {
        Ok(()) => Decision::Approve(approved),
        Err(message) => Decision::Deny { reason: "NodeIdentityTaken", message },
    }))
}

/// Whether who asked may create `certificatesigningrequests/<part>`.
async fn allowed(context: &Context, request: &CertificateSigningRequest, part: &str) -> Result<bool, Error> {
    let attributes = ResourceAttributes {
        group: Some("certificates.k8s.io".to_owned()),
        resource: Some("certificatesigningrequests".to_owned()),
        verb: Some("create".to_owned()),
        subresource: Some(part.to_owned()),
        version: Some("*".to_owned()),
        ..ResourceAttributes::default()
    };
    let spec = &request.spec;
    let review = SubjectAccessReview {
        spec: SubjectAccessReviewSpec {
            user: spec.username.clone(),
            uid: spec.uid.clone(),
            groups: spec.groups.clone(),
            extra: spec.extra.clone(),
            resource_attributes: Some(attributes),
            non_resource_attributes: None,
        },
        ..SubjectAccessReview::default()
    };
    let api: Api<SubjectAccessReview> = Api::all(context.client.clone());
    let answer = api.create(&PostParams::default(), &review).await?;
    Ok(answer.status.is_some_and(|status| status.allowed))
}

//! Signs what is approved with the cluster's authorities.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::ByteString;
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use kube::Api;
use kube::api::PostParams;
use pki::{Authority, CsrError, Sans, SignerName};

use super::{APPROVED, FAILED, certificate, condition, follow, parse, usages, with_condition};
use crate::skeleton::{Context, Error, SyncResult, ignore_not_found};

const NAME: &str = "certificate";

/// The authorities behind the built-in signers.
#[derive(Clone, Debug)]
pub struct Signers {
    /// Signs users and nodes as clients.
    pub client_ca: Authority,
    /// Signs what kubelets serve with.
    pub server_ca: Authority,
    /// Names and addresses by which API servers are reached, besides those in the `kubernetes` EndpointSlice. No node gets
    /// a serving certificate for one of these.
    pub reserved: Sans,
}

/// Runs the controller until shutdown.
pub async fn run(context: Context, signers: Signers) -> Result<(), Error> {
    let signers = Arc::new(signers);
    follow(context, NAME, move |context, request| {
        let signers = signers.clone();
        async move { sync(&context, &signers, &request).await }
    })
    .await
}

async fn sync(context: &Context, signers: &Signers, request: &CertificateSigningRequest) -> SyncResult {
    let Some(signed) = signed(signers, request)? else { return Ok(None) };
    let api: Api<CertificateSigningRequest> = Api::all(context.client.clone());
    let name = request.metadata.name.as_deref().unwrap_or("");
    ignore_not_found(api.replace_status(name, &PostParams::default(), &signed).await)?;
    Ok(None)
}

/// The request with its certificate, or with the condition that says why it gets none; `None` if there is nothing to do.
pub(super) fn signed(
    signers: &Signers,
    request: &CertificateSigningRequest,
) -> Result<Option<CertificateSigningRequest>, Error> {
    let done = certificate(request).is_some() || condition(request, FAILED).is_some();
    if done || condition(request, APPROVED).is_none() {
        return Ok(None);
    }
    let Some((signer, subject)) = parse(request)? else { return Ok(None) };
    let authority = match signer {
        SignerName::KubeletServing => &signers.server_ca,
        SignerName::KubeApiserverClient | SignerName::KubeApiserverClientKubelet => &signers.client_ca,
    };
    let lifetime = request.spec.expiration_seconds.map(|s| Duration::from_secs(u64::try_from(s).unwrap_or(0)));
    match authority.sign_csr(signer, &subject, &usages(request), lifetime) {
        Ok(pem) => {
            let mut request = request.clone();
            request.status.get_or_insert_default().certificate = Some(ByteString(pem.into_bytes()));
            Ok(Some(request))
        }
        Err(CsrError::Sign(error)) => Err(Error::Invalid(format!("error auto signing csr: {error}"))),
        Err(refused) => Ok(Some(with_condition(request, FAILED, "SignerValidationFailure", &refused.to_string()))),
    }
}

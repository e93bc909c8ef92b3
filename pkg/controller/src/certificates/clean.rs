//! Removes requests that nobody needs any more: an hour after they were decided, a day after they were made without
//! anyone deciding, and when their certificate has run out.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use kube::Api;

use super::{APPROVED, DENIED, FAILED, certificate, conditions, follow};
use crate::skeleton::{Context, Error, SyncResult, delete_uid, ignore_not_found};

const NAME: &str = "csrcleaner";
const DECIDED: SignedDuration = SignedDuration::from_hours(1);
const PENDING: SignedDuration = SignedDuration::from_hours(24);

/// Runs the controller until shutdown.
pub async fn run(context: Context) -> Result<(), Error> {
    follow(context, NAME, |context, request| async move { sync(&context, &request).await }).await
}

async fn sync(context: &Context, request: &CertificateSigningRequest) -> SyncResult {
    let Some(end) = end(request) else { return Ok(None) };
    let left = end.duration_since(Timestamp::now());
    if left > SignedDuration::ZERO {
        return Ok(Some(Duration::try_from(left).unwrap_or_default()));
    }
    let name = request.metadata.name.as_deref().unwrap_or("");
    tracing::debug!(csr = name, "removing a request that is done with");
    let api: Api<CertificateSigningRequest> = Api::all(context.client.clone());
    let uid = request.metadata.uid.as_deref().unwrap_or("");
    ignore_not_found(api.delete(name, &delete_uid(uid)).await)?;
    Ok(None)
}

/// When the request goes; `None` is not by itself.
pub(super) fn end(request: &CertificateSigningRequest) -> Option<Timestamp> {
    let created = request.metadata.creation_timestamp.as_ref().map(|time| time.0);
    if conditions(request).is_empty() {
        return created?.checked_add(PENDING).ok();
    }
    let issued = certificate(request);
    let decided = conditions(request).iter().filter(|condition| match condition.type_.as_str() {
        DENIED | FAILED => true,
        APPROVED => issued.is_some(),
        _ => false,
    });
    let decided = decided.filter_map(|condition| condition.last_update_time.as_ref()?.0.checked_add(DECIDED).ok());
    let expired = issued.and_then(|pem| {
        let block = pki::inspect::pem_blocks(std::str::from_utf8(pem).ok()?).into_iter().next()?;
        Timestamp::from_second(pki::inspect::certificate_facts(&block.der)?.not_after).ok()
    });
    decided.chain(expired).min()
}

//! Certificate signing requests: approving those of nodes, signing what is approved, and removing old ones. Names,
//! reasons and texts are upstream's `csrapproving`, `csrsigning` and `csrcleaner`; what is ours is said in [`identity`]
//! and [`serving`].

pub mod approve;
pub mod clean;
pub mod identity;
mod serving;
pub mod sign;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use client::{ObjectKey, Scope, Store, WorkQueue};
use jiff::Timestamp;
use k8s_openapi::api::certificates::v1::{
    CertificateSigningRequest, CertificateSigningRequestCondition, CertificateSigningRequestStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use pki::{CsrSubject, SignerName};

use crate::skeleton::{Context, Error, SyncResult, Tasks, enqueue};

const APPROVED: &str = "Approved";
const DENIED: &str = "Denied";
const FAILED: &str = "Failed";

/// Runs one of the controllers: calls `sync` for each request that is new or changes.
async fn follow<S, F>(context: Context, name: &'static str, sync: S) -> Result<(), Error>
where
    S: Fn(Arc<Context>, Arc<CertificateSigningRequest>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = SyncResult> + Send + 'static,
{
    let requests = context.informers.get::<CertificateSigningRequest>(Scope::all());
    requests.synced().await;
    let queue: WorkQueue<ObjectKey> = WorkQueue::new(name);
    let mut tasks = Tasks::new();
    tasks.feed(&requests, enqueue(&queue));
    let (store, shutdown): (Store<CertificateSigningRequest>, _) = (requests.store(), context.shutdown.clone());
    let shared = Arc::new(context);
    tasks.work(name, &queue, 1, move |key: ObjectKey| {
        let request = store.get_key(&key);
        let work = request.map(|request| sync(shared.clone(), request));
        async move {
            match work {
                Some(work) => work.await,
                None => Ok(None),
            }
        }
    });
    tasks.run(&shutdown).await
}

fn conditions(request: &CertificateSigningRequest) -> &[CertificateSigningRequestCondition] {
    request.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default()
}

fn condition<'a>(request: &'a CertificateSigningRequest, kind: &str) -> Option<&'a CertificateSigningRequestCondition> {
    conditions(request).iter().find(|condition| condition.type_ == kind)
}

fn certificate(request: &CertificateSigningRequest) -> Option<&[u8]> {
    let certificate = request.status.as_ref()?.certificate.as_ref()?;
    Some(&certificate.0).filter(|pem| !pem.is_empty()).map(Vec::as_slice)
}

fn usages(request: &CertificateSigningRequest) -> Vec<&str> {
    request.spec.usages.iter().flatten().map(String::as_str).collect()
}

/// What is asked for, if it is asked of a signer of ours.
fn parse(request: &CertificateSigningRequest) -> Result<Option<(SignerName, CsrSubject)>, Error> {
    let Some(signer) = SignerName::parse(&request.spec.signer_name) else { return Ok(None) };
    let name = request.metadata.name.as_deref().unwrap_or("");
    let subject = pki::parse_csr(&request.spec.request.0);
    let subject = subject.map_err(|error| Error::Invalid(format!("unable to parse csr {name:?}: {error}")))?;
    Ok(Some((signer, subject)))
}

/// The request with one more condition.
fn with_condition(
    request: &CertificateSigningRequest,
    kind: &str,
    reason: &str,
    message: &str,
) -> CertificateSigningRequest {
    let mut request = request.clone();
    let status = request.status.get_or_insert_with(CertificateSigningRequestStatus::default);
    status.conditions.get_or_insert_default().push(CertificateSigningRequestCondition {
        type_: kind.to_owned(),
        status: "True".to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message.to_owned()),
        last_update_time: Some(Time(Timestamp::now())),
        last_transition_time: None,
    });
    request
}

//! Who may approve and sign certificates: permissions on `signers`, by name or by domain.

use std::sync::Arc;

use apimachinery::ApiResult;
use apimachinery::meta::ObjectExt;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::{Attributes, Authorizer, Operation, Permission, Plugin};

const GROUP: &str = "certificates.k8s.io";
const REQUESTS: &str = "certificatesigningrequests";

/// True if the user may `verb` the signer itself or all of its domain (`example.com/*`).
fn may(authorizer: &dyn Authorizer, a: &Attributes<'_>, verb: &str, signer: &str) -> bool {
    let asks = |name: &str| {
        let (resource, subresource, namespace) = ("signers", "", "");
        authorizer.is_allowed(&Permission { user: a.user, verb, group: GROUP, resource, subresource, namespace, name })
    };
    asks(signer) || signer.split_once('/').is_some_and(|(domain, _)| asks(&format!("{domain}/*")))
}

pub struct CertificateApproval(Arc<dyn Authorizer>);

impl CertificateApproval {
    pub fn new(authorizer: Arc<dyn Authorizer>) -> Self {
        Self(authorizer)
    }
}

impl Plugin for CertificateApproval {
    fn name(&self) -> &'static str {
        "CertificateApproval"
    }

    fn validate(&self, a: &Attributes<'_>, _: Option<&Value>, old: Option<&Value>) -> ApiResult<()> {
        let Some(old) = old.filter(|_| a.is_sub(GROUP, REQUESTS, "approval") && a.operation == Operation::Update)
        else {
            return Ok(());
        };
        let signer = old.str_at("spec/signerName");
        if may(&*self.0, a, "approve", signer) {
            return Ok(());
        }
        Err(a.forbidden(Some(old), format!("user not permitted to approve requests with signerName {signer:?}")))
    }
}

pub struct CertificateSigning(Arc<dyn Authorizer>);

impl CertificateSigning {
    pub fn new(authorizer: Arc<dyn Authorizer>) -> Self {
        Self(authorizer)
    }
}

impl Plugin for CertificateSigning {
    fn name(&self) -> &'static str {
        "CertificateSigning"
    }

    fn validate(&self, a: &Attributes<'_>, new: Option<&Value>, old: Option<&Value>) -> ApiResult<()> {
        let (Some(new), Some(old)) = (new, old) else { return Ok(()) };
        if !a.is_sub(GROUP, REQUESTS, "status") || a.operation != Operation::Update {
            return Ok(());
        }
        let failed = |csr: &Value| {
            let mut conditions = csr.array_at("status/conditions").iter();
            conditions.find(|c| c.str_at("type") == "Failed").cloned()
        };
        if old.at("status/certificate") == new.at("status/certificate") && failed(old) == failed(new) {
            return Ok(());
        }
        let signer = old.str_at("spec/signerName");
        if may(&*self.0, a, "sign", signer) {
            return Ok(());
        }
        Err(a.forbidden(Some(new), format!("user not permitted to sign requests with signerName {signer:?}")))
    }
}

pub struct ClusterTrustBundleAttest(Arc<dyn Authorizer>);

impl ClusterTrustBundleAttest {
    pub fn new(authorizer: Arc<dyn Authorizer>) -> Self {
        Self(authorizer)
    }
}

impl Plugin for ClusterTrustBundleAttest {
    fn name(&self) -> &'static str {
        "ClusterTrustBundleAttest"
    }

    fn validate(&self, a: &Attributes<'_>, new: Option<&Value>, _: Option<&Value>) -> ApiResult<()> {
        let Some(new) = new.filter(|_| a.is(GROUP, "clustertrustbundles")) else { return Ok(()) };
        let signer = new.str_at("spec/signerName");
        if signer.is_empty() || may(&*self.0, a, "attest", signer) {
            return Ok(());
        }
        Err(a.forbidden(Some(new), format!("user not permitted to attest for signerName {signer:?}")))
    }
}

/// Nobody becomes an administrator by a certificate request.
pub struct CertificateSubjectRestriction;

impl Plugin for CertificateSubjectRestriction {
    fn name(&self) -> &'static str {
        "CertificateSubjectRestriction"
    }

    fn validate(&self, a: &Attributes<'_>, new: Option<&Value>, _: Option<&Value>) -> ApiResult<()> {
        const SIGNER: &str = "kubernetes.io/kube-apiserver-client";
        let Some(new) = new.filter(|_| a.is(GROUP, REQUESTS) && a.operation == Operation::Create) else {
            return Ok(());
        };
        if new.str_at("spec/signerName") != SIGNER {
            return Ok(());
        }
        let pem = STANDARD.decode(new.str_at("spec/request")).unwrap_or_default();
        let request =
            pki::parse_csr(&pem).map_err(|why| a.forbidden(Some(new), format!("failed to parse CSR: {why}")))?;
        if request.organizations.iter().any(|o| o == "system:masters") {
            let why = format!("use of {SIGNER} signer with system:masters group is not allowed");
            return Err(a.forbidden(Some(new), why));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing::{Allow, ask, fails, passes};

    #[test]
    fn signers_need_permission() {
        let csr = |signer: &str, certificate: &str| json!({"metadata": {"name": "c"}, "spec": {"signerName": signer}, "status": {"certificate": certificate}});
        let allow: Arc<dyn Authorizer> = Arc::new(Allow(&["approve signers/a.io/x", "sign signers/b.io/*"]));
        let approve = CertificateApproval::new(allow.clone());
        let update = ask(Operation::Update, GROUP, REQUESTS).in_namespace("").named("c");
        let mut old = csr("a.io/x", "");
        passes(&approve, &update.of("approval"), &old, Some(&old));
        old = csr("b.io/x", "");
        let error = fails(&approve, &update.of("approval"), &old, Some(&old));
        assert!(error.message().ends_with("user not permitted to approve requests with signerName \"b.io/x\""));
        passes(&approve, &update.of("status"), &old, Some(&old));
        let sign = CertificateSigning::new(allow);
        passes(&sign, &update.of("status"), &csr("b.io/x", "cert"), Some(&csr("b.io/x", "")));
        passes(&sign, &update.of("status"), &csr("a.io/x", "cert"), Some(&csr("a.io/x", "cert")));
        fails(&sign, &update.of("status"), &csr("a.io/x", "cert"), Some(&csr("a.io/x", "")));
    }
}

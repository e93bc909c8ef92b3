//! Who a client certificate stands for, once it is proven to come from the client CA.

use std::sync::Arc;
use std::time::SystemTime;

use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::ClientCertVerifier;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::authority::not_after;
use crate::error::Error;
use crate::tls::client_verifier;

/// The subject of a verified client certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientSubject {
    /// The user.
    pub common_name: String,
    /// The user's groups.
    pub organizations: Vec<String>,
    pub not_after: SystemTime,
}

/// Verifies chains of client certificates against a set of authorities.
#[derive(Clone, Debug)]
pub struct ClientVerifier(Arc<dyn ClientCertVerifier>);

impl ClientVerifier {
    pub fn new(client_cas: Arc<RootCertStore>) -> Result<Self, Error> {
        client_verifier(client_cas, true).map(Self)
    }

    /// `chain` starts with the client's own certificate.
    pub fn verify(&self, chain: &[CertificateDer<'_>]) -> Result<ClientSubject, Error> {
        let (leaf, intermediates) = chain.split_first().ok_or(Error::Certificate("no certificate".to_owned()))?;
        self.0.verify_client_cert(leaf, intermediates, UnixTime::now())?;
        let (_, parsed) = X509Certificate::from_der(leaf).map_err(|e| Error::Certificate(e.to_string()))?;
        let text = |value: &x509_parser::x509::AttributeTypeAndValue<'_>| value.as_str().unwrap_or("").to_owned();
        Ok(ClientSubject {
            common_name: parsed.subject().iter_common_name().next().map(text).unwrap_or_default(),
            organizations: parsed.subject().iter_organization().map(text).collect(),
            not_after: not_after(leaf)?,
        })
    }
}

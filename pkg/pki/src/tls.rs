//! rustls configurations. Certificates can be replaced while connections are served: new handshakes use the new one.

use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ResolvesClientCert, WantsClientCert};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, ConfigBuilder, DigitallySignedStruct, RootCertStore, ServerConfig, SignatureScheme};

use crate::authority::Leaf;
use crate::error::Error;

/// ring, named explicitly: nothing here depends on a process-wide default.
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// A certificate with its key that rustls presents, as server or as client. Clones share it, and [`Identity::replace`]
/// changes it for all of them.
#[derive(Clone, Debug)]
pub struct Identity(Arc<ArcSwap<CertifiedKey>>);

impl Identity {
    pub fn new(leaf: &Leaf) -> Result<Self, Error> {
        Ok(Self(Arc::new(ArcSwap::from_pointee(certified(leaf)?))))
    }

    pub fn replace(&self, leaf: &Leaf) -> Result<(), Error> {
        self.0.store(Arc::new(certified(leaf)?));
        Ok(())
    }

    /// What is presented now.
    pub fn certificate(&self) -> Option<CertificateDer<'static>> {
        self.0.load().cert.first().cloned()
    }
}

fn certified(leaf: &Leaf) -> Result<CertifiedKey, Error> {
    let key = ring::sign::any_supported_type(&leaf.key.to_rustls())?;
    Ok(CertifiedKey::new(vec![leaf.cert.clone()], key))
}

impl ResolvesServerCert for Identity {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}

impl ResolvesClientCert for Identity {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// Trust in the given authorities.
pub fn roots<'a>(cas: impl IntoIterator<Item = &'a CertificateDer<'static>>) -> Result<Arc<RootCertStore>, Error> {
    let mut store = RootCertStore::empty();
    for ca in cas {
        store.add(ca.clone())?;
    }
    Ok(Arc::new(store))
}

/// All certificates of a PEM text.
pub fn certs_from_pem(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, Error> {
    let certs: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match certs {
        Ok(certs) if !certs.is_empty() => Ok(certs),
        _ => Err(Error::Certificate("no PEM certificate".to_owned())),
    }
}

/// Verifies client certificates against `client_cas`; clients without one are let through (`required` false) to prove
/// themselves otherwise.
pub fn client_verifier(client_cas: Arc<RootCertStore>, required: bool) -> Result<Arc<dyn ClientCertVerifier>, Error> {
    let builder = WebPkiClientVerifier::builder_with_provider(client_cas, provider());
    let builder = if required { builder } else { builder.allow_unauthenticated() };
    builder.build().map_err(|error| Error::Certificate(error.to_string()))
}

/// A server of the Kubernetes API (or the kubelet's): TLS 1.2 or later, HTTP/2 before HTTP/1.1, client certificates optional
/// and, if sent, verified.
pub fn server_config(identity: &Identity, client_cas: Arc<RootCertStore>) -> Result<ServerConfig, Error> {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
        .with_client_cert_verifier(client_verifier(client_cas, false)?)
        .with_cert_resolver(Arc::new(identity.clone()));
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

/// A client that trusts `server_cas` and presents `identity` if it has one. No ALPN is set: the HTTP client chooses.
pub fn client_config(server_cas: Arc<RootCertStore>, identity: Option<&Identity>) -> Result<ClientConfig, Error> {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
        .with_root_certificates(server_cas);
    Ok(match identity {
        Some(identity) => builder.with_client_cert_resolver(Arc::new(identity.clone())),
        None => builder.with_no_client_auth(),
    })
}

/// A client that believes any server; who it is itself is still to be said. Only for fetching what is then proven by other
/// means (the certificate of a cluster's authority, by the hash in a join token), and for measuring.
pub fn unverified_client() -> Result<ConfigBuilder<ClientConfig, WantsClientCert>, Error> {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?;
    Ok(builder.dangerous().with_custom_certificate_verifier(Arc::new(Anyone(provider()))))
}

/// Checks that the server holds the key of its certificate, and nothing about the certificate.
#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// A server and a client for peers that all have certificates of `ca` with both usages: each side demands the other's.
pub fn peer_configs(identity: &Identity, ca: &CertificateDer<'static>) -> Result<(ServerConfig, ClientConfig), Error> {
    let roots = roots([ca])?;
    let server = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(client_verifier(roots.clone(), true)?)
        .with_cert_resolver(Arc::new(identity.clone()));
    Ok((server, client_config(roots, Some(identity))?))
}

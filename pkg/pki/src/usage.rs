//! What a leaf certificate may be used for, and how long certificates live.

use std::time::Duration;

use x509_cert::builder::Result;
use x509_cert::builder::profile::BuilderProfile;
use x509_cert::certificate::TbsCertificate;
use x509_cert::der::oid::ObjectIdentifier;
use x509_cert::ext::pkix::{
    AuthorityKeyIdentifier, BasicConstraints, ExtendedKeyUsage, KeyUsage, KeyUsages, SubjectAltName,
    SubjectKeyIdentifier, name::GeneralName,
};
use x509_cert::ext::{Extension, ToExtension};
use x509_cert::name::Name;
use x509_cert::spki::SubjectPublicKeyInfoRef;

pub(crate) const CA_LIFETIME: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);
pub(crate) const LEAF_LIFETIME: Duration = Duration::from_secs(365 * 24 * 60 * 60);
/// A leaf with less than this left is issued anew at start.
pub(crate) const RENEW_BEFORE: Duration = Duration::from_secs(90 * 24 * 60 * 60);
/// Certificates start this much in the past: clocks of nodes differ.
pub(crate) const BACKDATE: Duration = Duration::from_secs(5 * 60);

const SERVER_AUTH: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.1");
const CLIENT_AUTH: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.2");

/// Which side of a TLS connection a leaf stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Usage {
    Server,
    Client,
    /// Raft peers dial each other with one certificate.
    Both,
}

/// The contents of a certificate, as `x509-cert` asks for them.
pub struct Profile {
    pub(crate) issuer: Option<Name>,
    pub(crate) subject: Name,
    /// `None` is a certificate authority.
    pub(crate) usage: Option<Usage>,
    pub(crate) sans: Vec<GeneralName>,
}

impl BuilderProfile for Profile {
    fn get_issuer(&self, subject: &Name) -> Name {
        self.issuer.clone().unwrap_or_else(|| subject.clone())
    }

    fn get_subject(&self) -> Name {
        self.subject.clone()
    }

    fn build_extensions(
        &self,
        spk: SubjectPublicKeyInfoRef<'_>,
        issuer_spk: SubjectPublicKeyInfoRef<'_>,
        tbs: &TbsCertificate,
    ) -> Result<Vec<Extension>> {
        let mut extensions: Vec<Extension> = Vec::new();
        let mut add = |extension: Extension| extensions.push(extension);
        let subject = tbs.subject();
        let is_ca = self.usage.is_none();
        let key_usage = if is_ca {
            KeyUsages::DigitalSignature | KeyUsages::KeyEncipherment | KeyUsages::KeyCertSign
        } else {
            KeyUsages::DigitalSignature | KeyUsages::KeyEncipherment
        };
        add(KeyUsage(key_usage).to_extension(subject, &[])?);
        if let Some(usage) = self.usage {
            let oids = match usage {
                Usage::Server => vec![SERVER_AUTH],
                Usage::Client => vec![CLIENT_AUTH],
                Usage::Both => vec![SERVER_AUTH, CLIENT_AUTH],
            };
            add(ExtendedKeyUsage(oids).to_extension(subject, &[])?);
        }
        // Upstream marks it critical also on leaves.
        add((true, &BasicConstraints { ca: is_ca, path_len_constraint: None }).to_extension(subject, &[])?);
        add(SubjectKeyIdentifier::try_from(spk)?.to_extension(subject, &[])?);
        if !is_ca {
            add(AuthorityKeyIdentifier::try_from(issuer_spk)?.to_extension(subject, &[])?);
        }
        if !self.sans.is_empty() {
            add(SubjectAltName(self.sans.clone()).to_extension(subject, &[])?);
        }
        Ok(extensions)
    }
}

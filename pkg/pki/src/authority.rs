//! A certificate authority: issues leaves for servers and clients.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use der::asn1::{Any, BitString, OctetString, SetOfVec, Utf8StringRef};
use der::oid::ObjectIdentifier;
use der::{Decode, Encode};
use ring::rand::{SecureRandom, SystemRandom};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use x509_cert::Certificate;
use x509_cert::attr::AttributeTypeAndValue;
use x509_cert::builder::{Builder, CertificateBuilder};
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::name::Name;
use x509_cert::serial_number::SerialNumber;
use x509_cert::spki::SubjectPublicKeyInfoOwned;
use x509_cert::time::{Time, Validity};

use crate::error::Error;
use crate::file::to_pem;
use crate::key::{Algorithm, KeyPair};
use crate::usage::{BACKDATE, CA_LIFETIME, LEAF_LIFETIME, Profile, Usage};

const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");
const ORGANIZATION: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.10");

/// Names under which a server is reached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sans {
    pub hostnames: Vec<String>,
    pub ips: Vec<IpAddr>,
}

impl Sans {
    /// Sorted, each once: equal sets compare equal.
    #[must_use]
    pub fn normalized(mut self) -> Self {
        self.hostnames.sort_unstable();
        self.hostnames.dedup();
        self.ips.sort_unstable();
        self.ips.dedup();
        self
    }

    pub(crate) fn to_general_names(&self) -> Result<Vec<GeneralName>, Error> {
        let mut names = Vec::with_capacity(self.hostnames.len() + self.ips.len());
        for host in &self.hostnames {
            names.push(GeneralName::DnsName(der::asn1::Ia5String::new(host)?));
        }
        for ip in &self.ips {
            let octets = match ip {
                IpAddr::V4(v4) => v4.octets().to_vec(),
                IpAddr::V6(v6) => v6.octets().to_vec(),
            };
            names.push(GeneralName::IpAddress(OctetString::new(octets)?));
        }
        Ok(names)
    }
}

/// A certificate for one server or client, with its key.
#[derive(Clone, Debug)]
pub struct Leaf {
    pub cert: CertificateDer<'static>,
    pub key: KeyPair,
}

impl Leaf {
    pub fn cert_pem(&self) -> String {
        to_pem("CERTIFICATE", &self.cert)
    }

    pub fn key_pem(&self) -> String {
        self.key.to_pem()
    }
}

/// A certificate authority that can issue.
#[derive(Clone, Debug)]
pub struct Authority {
    cert: CertificateDer<'static>,
    /// The subject as it stands in the certificate: issued leaves name it byte for byte.
    subject: Name,
    key: KeyPair,
}

impl Authority {
    /// A new self-signed authority.
    pub fn generate(common_name: &str) -> Result<Self, Error> {
        Self::with_key(common_name, KeyPair::generate()?)
    }

    pub(crate) fn with_key(common_name: &str, key: KeyPair) -> Result<Self, Error> {
        let subject = name(common_name, &[])?;
        let profile = Profile { issuer: None, subject: subject.clone(), usage: None, sans: Vec::new() };
        let cert = build(profile, key.spki(), CA_LIFETIME, &key)?;
        Ok(Self { cert, subject, key })
    }

    /// An authority from its certificate (the first of the PEM text) and key; `None` if they do not belong together.
    pub fn from_pem(cert_pem: &[u8], key: KeyPair) -> Result<Option<Self>, Error> {
        let cert = CertificateDer::from_pem_slice(cert_pem)
            .map_err(|_| Error::Certificate("no PEM certificate".to_owned()))?;
        let parsed = Certificate::from_der(&cert)?;
        if parsed.tbs_certificate().subject_public_key_info().to_der()? != key.spki() {
            return Ok(None);
        }
        let subject = parsed.tbs_certificate().subject().clone();
        Ok(Some(Self { cert: cert.into_owned(), subject, key }))
    }

    pub fn cert(&self) -> &CertificateDer<'static> {
        &self.cert
    }

    pub fn cert_pem(&self) -> String {
        to_pem("CERTIFICATE", &self.cert)
    }

    pub fn key(&self) -> &KeyPair {
        &self.key
    }

    /// A server's certificate for `sans`, valid a year.
    pub fn issue_server(&self, common_name: &str, orgs: &[&str], sans: &Sans) -> Result<Leaf, Error> {
        self.issue(Usage::Server, common_name, orgs, sans, KeyPair::generate()?)
    }

    /// A client's certificate: the user `common_name` in the groups `orgs`, valid a year.
    pub fn issue_client(&self, common_name: &str, orgs: &[&str]) -> Result<Leaf, Error> {
        self.issue(Usage::Client, common_name, orgs, &Sans::default(), KeyPair::generate()?)
    }

    /// A leaf for a key that exists already.
    pub fn issue(
        &self,
        usage: Usage,
        common_name: &str,
        orgs: &[&str],
        sans: &Sans,
        key: KeyPair,
    ) -> Result<Leaf, Error> {
        let names = sans.to_general_names()?;
        let cert = self.sign(usage, name(common_name, orgs)?, names, key.spki(), LEAF_LIFETIME)?;
        Ok(Leaf { cert, key })
    }

    /// Signs any public key; never beyond the authority's own end.
    pub(crate) fn sign(
        &self,
        usage: Usage,
        subject: Name,
        sans: Vec<GeneralName>,
        spki: &[u8],
        lifetime: Duration,
    ) -> Result<CertificateDer<'static>, Error> {
        let own_end = not_after(&self.cert)?;
        let left = own_end.duration_since(SystemTime::now()).unwrap_or_default();
        let profile = Profile { issuer: Some(self.subject.clone()), subject, usage: Some(usage), sans };
        build(profile, spki, lifetime.min(left), &self.key)
    }
}

/// `CN=common_name` with one `O=` for each of `orgs`, each a relative name of its own as Go's `crypto/x509` writes them.
pub(crate) fn name(common_name: &str, orgs: &[&str]) -> Result<Name, Error> {
    let entry = |oid, text: &str| -> Result<_, Error> {
        let value = Any::encode_from(&Utf8StringRef::new(text)?)?;
        Ok(SetOfVec::try_from(vec![AttributeTypeAndValue { oid, value }])?)
    };
    let mut names = Vec::with_capacity(orgs.len() + 1);
    for org in orgs {
        names.push(entry(ORGANIZATION, org)?);
    }
    names.push(entry(COMMON_NAME, common_name)?);
    Ok(Name::from_der(&names.to_der()?)?)
}

/// When a certificate ends.
pub(crate) fn not_after(cert: &CertificateDer<'_>) -> Result<SystemTime, Error> {
    let parsed = Certificate::from_der(cert)?;
    Ok(parsed.tbs_certificate().validity().not_after.to_system_time())
}

fn build(
    profile: Profile,
    spki: &[u8],
    lifetime: Duration,
    signer: &KeyPair,
) -> Result<CertificateDer<'static>, Error> {
    let now = SystemTime::now();
    let validity = Validity::new(Time::try_from(now - BACKDATE)?, Time::try_from(now + lifetime)?);
    let spki = SubjectPublicKeyInfoOwned::from_der(spki)?;
    let builder = CertificateBuilder::new(profile, serial()?, validity, spki)?;
    let cert = builder.build::<_, RawSignature>(&RingSigner(signer))?;
    Ok(CertificateDer::from(cert.to_der()?))
}

fn serial() -> Result<SerialNumber, Error> {
    let mut bytes = [0u8; 16];
    SystemRandom::new().fill(&mut bytes)?;
    // A serial is positive and has no leading zero.
    bytes[0] = bytes[0] & 0x7f | 0x40;
    Ok(SerialNumber::new(&bytes)?)
}

/// The hex SHA-256 of `bytes`: of a CA file in a join token, of a certificate in a log line.
pub fn fingerprint(bytes: &[u8]) -> String {
    hex(ring::digest::digest(&ring::digest::SHA256, bytes).as_ref())
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// A key pair as the `signature` traits want it.
pub(crate) struct RingSigner<'a>(pub(crate) &'a KeyPair);

#[derive(Clone)]
pub(crate) struct PublicKey(Vec<u8>);

pub(crate) struct RawSignature(Vec<u8>);

impl signature::Keypair for RingSigner<'_> {
    type VerifyingKey = PublicKey;

    fn verifying_key(&self) -> PublicKey {
        PublicKey(self.0.spki().to_vec())
    }
}

impl signature::Signer<RawSignature> for RingSigner<'_> {
    fn try_sign(&self, message: &[u8]) -> Result<RawSignature, signature::Error> {
        self.0.sign_asn1(message).map(RawSignature).map_err(|_| signature::Error::new())
    }
}

impl spki::DynSignatureAlgorithmIdentifier for RingSigner<'_> {
    fn signature_algorithm_identifier(&self) -> spki::Result<spki::AlgorithmIdentifierOwned> {
        let (oid, parameters) = match self.0.algorithm() {
            // ecdsa-with-SHA256 has no parameters, sha256WithRSAEncryption a NULL.
            Algorithm::Es256 => ("1.2.840.10045.4.3.2", None),
            Algorithm::Rs256 => ("1.2.840.113549.1.1.11", Some(Any::null())),
        };
        Ok(spki::AlgorithmIdentifierOwned { oid: ObjectIdentifier::new_unwrap(oid), parameters })
    }
}

impl spki::EncodePublicKey for PublicKey {
    fn to_public_key_der(&self) -> spki::Result<der::Document> {
        Ok(der::Document::try_from(self.0.as_slice())?)
    }
}

impl spki::SignatureBitStringEncoding for RawSignature {
    fn to_bitstring(&self) -> der::Result<BitString> {
        BitString::from_bytes(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use x509_parser::prelude::*;

    use super::*;

    #[test]
    fn a_client_keeps_all_its_groups() {
        let ca = Authority::generate("coracle-client-ca").unwrap();
        let leaf = ca.issue_client("alice", &["dev", "system:masters", "a,b=c/d"]).unwrap();
        let (_, cert) = X509Certificate::from_der(&leaf.cert).unwrap();
        let orgs: Vec<_> = cert.subject().iter_organization().map(|o| o.as_str().unwrap()).collect();
        assert_eq!(orgs, ["dev", "system:masters", "a,b=c/d"]);
        let names: Vec<_> = cert.subject().iter_common_name().map(|o| o.as_str().unwrap()).collect();
        assert_eq!(names, ["alice"]);
        let (_, ca_cert) = X509Certificate::from_der(ca.cert()).unwrap();
        cert.verify_signature(Some(ca_cert.public_key())).unwrap();
        assert!(ca_cert.is_ca());
        assert!(!cert.is_ca());
        assert!(cert.extended_key_usage().unwrap().unwrap().value.client_auth);
    }

    #[test]
    fn a_server_has_its_names() {
        let ca = Authority::generate("coracle-server-ca").unwrap();
        let sans = Sans { hostnames: vec!["kubernetes.default".into()], ips: vec!["10.43.0.1".parse().unwrap()] };
        let leaf = ca.issue_server("kube-apiserver", &[], &sans).unwrap();
        assert_eq!(crate::csr::sans_of(&leaf.cert).unwrap(), sans);
        let (_, cert) = X509Certificate::from_der(&leaf.cert).unwrap();
        assert!(cert.extended_key_usage().unwrap().unwrap().value.server_auth);
    }

    #[test]
    fn another_key_is_no_authority() {
        let ca = Authority::generate("a").unwrap();
        let pem = ca.cert_pem();
        assert!(Authority::from_pem(pem.as_bytes(), KeyPair::generate().unwrap()).unwrap().is_none());
        let again = Authority::from_pem(pem.as_bytes(), ca.key().clone()).unwrap().unwrap();
        assert_eq!(again.cert(), ca.cert());
    }
}

//! Certificate signing requests: making and reading them, and signing for Kubernetes' built-in signers under their rules.

use std::net::IpAddr;
use std::time::Duration;

use der::{Decode, Encode};
use rustls::pki_types::CertificateDer;
use x509_cert::builder::Builder;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::name::Name;
use x509_cert::request::RequestBuilder;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::extensions::{GeneralName as ParsedName, ParsedExtension};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::authority::{Authority, RawSignature, RingSigner, Sans, name};
use crate::error::Error;
use crate::file::to_pem;
use crate::key::KeyPair;
use crate::usage::{BACKDATE, LEAF_LIFETIME, Usage};

/// The shortest lifetime that a request may ask for.
const MIN_LIFETIME: Duration = Duration::from_secs(600);
/// Certificates that live shorter than this keep their whole time, though they begin in the past.
const SHORT: Duration = Duration::from_secs(8 * 60 * 60);

/// The signers that sign with the cluster's own authorities.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignerName {
    KubeApiserverClient,
    KubeApiserverClientKubelet,
    KubeletServing,
}

impl SignerName {
    /// As requests name it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::KubeApiserverClient => "kubernetes.io/kube-apiserver-client",
            Self::KubeApiserverClientKubelet => "kubernetes.io/kube-apiserver-client-kubelet",
            Self::KubeletServing => "kubernetes.io/kubelet-serving",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        [Self::KubeApiserverClient, Self::KubeApiserverClientKubelet, Self::KubeletServing]
            .into_iter()
            .find(|signer| signer.as_str() == name)
    }
}

/// Why a request is refused; the texts are those of the `Failed` condition.
#[derive(Debug, thiserror::Error)]
pub enum CsrError {
    #[error("{0}")]
    Parse(String),
    #[error("{0}")]
    Usage(String),
    #[error("{0}")]
    Subject(&'static str),
    #[error(transparent)]
    Sign(#[from] Error),
}

/// What a request asks for; its signature has been verified.
#[derive(Clone, Debug)]
pub struct CsrSubject {
    pub common_name: String,
    pub organizations: Vec<String>,
    pub sans: Sans,
    pub emails: usize,
    pub uris: usize,
    spki: Vec<u8>,
    subject_der: Vec<u8>,
}

/// Reads a PEM `CERTIFICATE REQUEST` and checks that its sender holds the key.
pub fn parse_csr(pem: &[u8]) -> Result<CsrSubject, CsrError> {
    let parse = |why: &dyn std::fmt::Display| CsrError::Parse(why.to_string());
    let (_, block) =
        x509_parser::pem::parse_x509_pem(pem).map_err(|_| parse(&"PEM block type must be CERTIFICATE REQUEST"))?;
    if block.label != "CERTIFICATE REQUEST" {
        return Err(parse(&"PEM block type must be CERTIFICATE REQUEST"));
    }
    let (_, csr) = X509CertificationRequest::from_der(&block.contents).map_err(|e| parse(&e))?;
    csr.verify_signature().map_err(|e| parse(&e))?;
    let info = &csr.certification_request_info;
    let text = |value: &x509_parser::x509::AttributeTypeAndValue<'_>| value.as_str().unwrap_or("").to_owned();
    let (mut sans, mut emails, mut uris) = (Sans::default(), 0, 0);
    for extension in csr.requested_extensions().into_iter().flatten() {
        if let ParsedExtension::SubjectAlternativeName(names) = extension {
            for name in &names.general_names {
                match name {
                    ParsedName::RFC822Name(_) => emails += 1,
                    ParsedName::URI(_) => uris += 1,
                    other => collect(&mut sans, other),
                }
            }
        }
    }
    Ok(CsrSubject {
        common_name: info.subject.iter_common_name().next().map(text).unwrap_or_default(),
        organizations: info.subject.iter_organization().map(text).collect(),
        sans,
        emails,
        uris,
        spki: info.subject_pki.raw.to_vec(),
        subject_der: info.subject.as_raw().to_vec(),
    })
}

fn collect(sans: &mut Sans, name: &ParsedName<'_>) {
    match name {
        ParsedName::DNSName(host) => sans.hostnames.push((*host).to_owned()),
        ParsedName::IPAddress(octets) => {
            if let Ok(v4) = <[u8; 4]>::try_from(*octets) {
                sans.ips.push(IpAddr::from(v4));
            } else if let Ok(v6) = <[u8; 16]>::try_from(*octets) {
                sans.ips.push(IpAddr::from(v6));
            }
        }
        _ => {}
    }
}

/// The names in a certificate.
pub fn sans_of(cert: &CertificateDer<'_>) -> Result<Sans, Error> {
    let (_, parsed) = X509Certificate::from_der(cert).map_err(|e| Error::Certificate(e.to_string()))?;
    let mut sans = Sans::default();
    let extension = parsed.subject_alternative_name().map_err(|e| Error::Certificate(e.to_string()))?;
    for name in extension.iter().flat_map(|e| &e.value.general_names) {
        collect(&mut sans, name);
    }
    Ok(sans)
}

impl CsrSubject {
    /// The SubjectPublicKeyInfo in DER.
    pub fn public_key(&self) -> &[u8] {
        &self.spki
    }

    /// The rules of a built-in signer, in upstream's order and with its texts.
    pub fn check(&self, signer: SignerName, usages: &[&str]) -> Result<(), CsrError> {
        let refuse = |why| Err(CsrError::Subject(why));
        if signer == SignerName::KubeApiserverClient {
            return check_client_usages(usages);
        }
        let serving = signer == SignerName::KubeletServing;
        let (hosts, ips) = (!self.sans.hostnames.is_empty(), !self.sans.ips.is_empty());
        match () {
            () if self.organizations != ["system:nodes"] => refuse("subject organization is not system:nodes"),
            () if serving && !hosts && !ips => refuse("DNS or IP subjectAltName is required"),
            () if !serving && hosts => refuse("DNS subjectAltNames are not allowed"),
            () if self.emails > 0 => refuse("Email subjectAltNames are not allowed"),
            () if !serving && ips => refuse("IP subjectAltNames are not allowed"),
            () if self.uris > 0 => refuse("URI subjectAltNames are not allowed"),
            () if !self.common_name.starts_with("system:node:") => {
                refuse("subject common name does not begin with system:node:")
            }
            () => check_kubelet_usages(if serving { "server auth" } else { "client auth" }, usages),
        }
    }
}

fn check_client_usages(usages: &[&str]) -> Result<(), CsrError> {
    let allowed = ["digital signature", "key encipherment", "client auth"];
    if let Some(usage) = usages.iter().find(|usage| !allowed.contains(usage)) {
        return Err(CsrError::Usage(format!("invalid usage for client certificate: {usage}")));
    }
    if !usages.contains(&"client auth") {
        return Err(CsrError::Usage("missing required usage for client certificate: client auth".to_owned()));
    }
    Ok(())
}

/// `purpose` and digital signatures are needed; encipherment, which only RSA keys can do, may be asked for.
fn check_kubelet_usages(purpose: &str, usages: &[&str]) -> Result<(), CsrError> {
    let mut allowed = ["digital signature", "key encipherment", purpose];
    allowed.sort_unstable();
    let needed = usages.contains(&purpose) && usages.contains(&"digital signature");
    if needed && usages.iter().all(|usage| allowed.contains(usage)) {
        return Ok(());
    }
    Err(CsrError::Usage(format!("usages did not match [{}]", allowed.join(" "))))
}

impl Authority {
    /// Signs `request` for a built-in signer with the `usages` that were asked for, after checking the signer's rules.
    /// Returns the certificate as PEM. The kubelet-serving signer is for the server CA, the others for the client CA.
    pub fn sign_csr(
        &self,
        signer: SignerName,
        request: &CsrSubject,
        usages: &[&str],
        lifetime: Option<Duration>,
    ) -> Result<String, CsrError> {
        request.check(signer, usages)?;
        let usage = if signer == SignerName::KubeletServing { Usage::Server } else { Usage::Client };
        let lifetime = lifetime.map_or(LEAF_LIFETIME, |l| l.clamp(MIN_LIFETIME, LEAF_LIFETIME));
        let lifetime = if lifetime < SHORT { lifetime } else { lifetime - BACKDATE };
        let subject = Name::from_der(&request.subject_der).map_err(Error::from)?;
        let names = request.sans.to_general_names()?;
        let cert = self.sign(usage, subject, names, &request.spki, lifetime)?;
        Ok(to_pem("CERTIFICATE", &cert))
    }
}

impl KeyPair {
    /// A PEM `CERTIFICATE REQUEST` for this key: `CN=common_name`, one `O=` for each of `orgs`, and `sans` if there are
    /// any.
    pub fn request(&self, common_name: &str, orgs: &[&str], sans: &Sans) -> Result<String, Error> {
        let mut builder = RequestBuilder::new(name(common_name, orgs)?)?;
        let names = sans.to_general_names()?;
        if !names.is_empty() {
            builder.add_extension(&SubjectAltName(names))?;
        }
        let request = builder.build::<_, RawSignature>(&RingSigner(self))?;
        Ok(to_pem("CERTIFICATE REQUEST", &request.to_der()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(common_name: &str, orgs: &[&str], hosts: &[&str]) -> CsrSubject {
        CsrSubject {
            common_name: common_name.to_owned(),
            organizations: orgs.iter().map(|o| (*o).to_owned()).collect(),
            sans: Sans { hostnames: hosts.iter().map(|h| (*h).to_owned()).collect(), ips: Vec::new() },
            emails: 0,
            uris: 0,
            spki: crate::KeyPair::generate().unwrap().spki().to_vec(),
            subject_der: crate::authority::name(common_name, orgs).unwrap().to_der().unwrap(),
        }
    }

    #[test]
    fn built_in_signers_keep_their_rules() {
        use SignerName::*;
        let node = "system:node:n1";
        let nodes: &[&str] = &["system:nodes"];
        let client: &[&str] = &["digital signature", "client auth"];
        let server: &[&str] = &["digital signature", "server auth"];
        let cases = [
            (KubeApiserverClient, request("alice", &["dev"], &[]), client, Ok(())),
            (
                KubeApiserverClient,
                request("alice", &["dev"], &[]),
                server,
                Err("invalid usage for client certificate: server auth"),
            ),
            (
                KubeApiserverClient,
                request("alice", &["dev"], &[]),
                &["digital signature"],
                Err("missing required usage"),
            ),
            (KubeApiserverClientKubelet, request(node, nodes, &[]), client, Ok(())),
            (
                KubeApiserverClientKubelet,
                request("alice", nodes, &[]),
                client,
                Err("subject common name does not begin with system:node:"),
            ),
            (
                KubeApiserverClientKubelet,
                request(node, &["x"], &[]),
                client,
                Err("subject organization is not system:nodes"),
            ),
            (
                KubeApiserverClientKubelet,
                request(node, nodes, &["h"]),
                client,
                Err("DNS subjectAltNames are not allowed"),
            ),
            (KubeletServing, request(node, nodes, &["h"]), server, Ok(())),
            (KubeletServing, request(node, nodes, &[]), server, Err("DNS or IP subjectAltName is required")),
            (
                KubeletServing,
                request(node, nodes, &["h"]),
                client,
                Err("usages did not match [digital signature key encipherment server auth]"),
            ),
            (KubeApiserverClientKubelet, request(node, nodes, &[]), &["client auth"], Err("usages did not match")),
        ];
        let ca = Authority::generate("ca").unwrap();
        for (signer, request, usages, want) in cases {
            let got = ca.sign_csr(signer, &request, usages, None);
            match want {
                Ok(()) => assert!(got.unwrap().starts_with("-----BEGIN CERTIFICATE-----")),
                Err(text) => {
                    let got = got.unwrap_err().to_string();
                    assert!(got.contains(text), "{got}");
                }
            }
        }
        assert!(parse_csr(b"junk").is_err());
    }

    #[test]
    fn requests_of_other_tools_are_read_and_signed() {
        let node = parse_csr(include_bytes!("../testdata/node.csr")).unwrap();
        assert_eq!(
            (node.common_name.as_str(), node.organizations.as_slice()),
            ("system:node:n1", &["system:nodes".to_owned()][..])
        );
        assert_eq!(node.sans.hostnames, ["n1.example"]);
        assert_eq!(node.sans.ips, ["10.0.0.1".parse::<IpAddr>().unwrap(), "fd00::1".parse().unwrap()]);
        let ca = Authority::generate("ca").unwrap();
        let usages = ["key encipherment", "digital signature", "server auth"];
        let pem = ca.sign_csr(SignerName::KubeletServing, &node, &usages, Some(Duration::from_secs(60))).unwrap();
        let certs = crate::tls::certs_from_pem(pem.as_bytes()).unwrap();
        assert_eq!(sans_of(&certs[0]).unwrap(), node.sans);
        let (_, parsed) = X509Certificate::from_der(&certs[0]).unwrap();
        let lifetime = parsed.validity().not_after.timestamp() - parsed.validity().not_before.timestamp();
        assert_eq!(lifetime, 600 + 300, "never below ten minutes; begun five minutes ago");
        let masters = parse_csr(include_bytes!("../testdata/masters.csr")).unwrap();
        assert_eq!(masters.organizations, ["system:masters", "dev"]);
        let mut forged = include_bytes!("../testdata/node.csr").to_vec();
        let middle = forged.len() / 2;
        forged[middle] ^= 1;
        assert!(parse_csr(&forged).is_err(), "the sender must hold the key");
    }

    #[test]
    fn a_request_is_read_as_it_was_made() {
        let key = KeyPair::generate().unwrap();
        let sans = Sans { hostnames: vec!["n1".to_owned()], ips: vec!["10.0.0.1".parse().unwrap()] };
        let read = parse_csr(key.request("system:node:n1", &["system:nodes", "b"], &sans).unwrap().as_bytes()).unwrap();
        assert_eq!((read.common_name.as_str(), read.organizations.len()), ("system:node:n1", 2));
        assert_eq!((&read.sans, read.public_key()), (&sans, key.spki()));
        let bare = parse_csr(key.request("a", &[], &Sans::default()).unwrap().as_bytes()).unwrap();
        assert_eq!(bare.sans, Sans::default());
    }
}

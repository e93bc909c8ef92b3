//! Certificate signing requests: reading them, and signing for Kubernetes' built-in signers under their rules.

use std::net::IpAddr;
use std::time::Duration;

use der::Decode;
use rustls::pki_types::CertificateDer;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::name::Name;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::extensions::{GeneralName as ParsedName, ParsedExtension};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::authority::{Authority, Sans};
use crate::error::Error;
use crate::file::to_pem;
use crate::usage::{LEAF_LIFETIME, Usage};

/// Shortest and longest lifetime that a request may ask for.
const MIN_LIFETIME: Duration = Duration::from_secs(600);

/// The signers that sign with the cluster's own authorities.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignerName {
    KubeApiserverClient,
    KubeApiserverClientKubelet,
    KubeletServing,
}

impl SignerName {
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "kubernetes.io/kube-apiserver-client" => Some(Self::KubeApiserverClient),
            "kubernetes.io/kube-apiserver-client-kubelet" => Some(Self::KubeApiserverClientKubelet),
            "kubernetes.io/kubelet-serving" => Some(Self::KubeletServing),
            _ => None,
        }
    }
}

/// Why a request is refused; the texts are those of the `Failed` condition.
#[derive(Debug, thiserror::Error)]
pub enum CsrError {
    #[error("unable to parse csr: {0}")]
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
    /// Other organisational facts that built-in signers ignore.
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
pub(crate) fn sans_of(cert: &CertificateDer<'_>) -> Result<Sans, Error> {
    let (_, parsed) = X509Certificate::from_der(cert).map_err(|e| Error::Certificate(e.to_string()))?;
    let mut sans = Sans::default();
    let extension = parsed.subject_alternative_name().map_err(|e| Error::Certificate(e.to_string()))?;
    for name in extension.iter().flat_map(|e| &e.value.general_names) {
        collect(&mut sans, name);
    }
    Ok(sans)
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
        check(signer, request, usages)?;
        let usage = if signer == SignerName::KubeletServing { Usage::Server } else { Usage::Client };
        let mut names = Vec::new();
        for host in &request.sans.hostnames {
            names.push(GeneralName::DnsName(der::asn1::Ia5String::new(host).map_err(Error::from)?));
        }
        names.extend(request.sans.ips.iter().map(|ip| GeneralName::from(*ip)));
        let lifetime = lifetime.map_or(LEAF_LIFETIME, |l| l.clamp(MIN_LIFETIME, LEAF_LIFETIME));
        let subject = Name::from_der(&request.subject_der).map_err(Error::from)?;
        let cert = self.sign(usage, subject, names, &request.spki, lifetime)?;
        Ok(to_pem("CERTIFICATE", &cert))
    }
}

/// The rules of each built-in signer, with upstream's texts.
fn check(signer: SignerName, request: &CsrSubject, usages: &[&str]) -> Result<(), CsrError> {
    let (needed, allowed): (&str, &[&str]) = match signer {
        SignerName::KubeletServing => ("server auth", &["key encipherment", "digital signature", "server auth"]),
        _ => ("client auth", &["key encipherment", "digital signature", "client auth"]),
    };
    if usages.iter().any(|u| !allowed.contains(u)) || !usages.contains(&needed) {
        return Err(CsrError::Usage(format!("usages did not match [{}]", allowed.join(" "))));
    }
    if signer == SignerName::KubeApiserverClient {
        return Ok(());
    }
    if request.organizations != ["system:nodes"] {
        return Err(CsrError::Subject("organization was not system:nodes"));
    }
    if !request.common_name.starts_with("system:node:") {
        return Err(CsrError::Subject("commonName did not start with system:node:"));
    }
    let names = request.sans.hostnames.len() + request.sans.ips.len();
    match signer {
        SignerName::KubeletServing if names == 0 => Err(CsrError::Subject("DNSNames or IPAddresses must be specified")),
        SignerName::KubeApiserverClientKubelet if !request.sans.hostnames.is_empty() => {
            Err(CsrError::Subject("DNSNames not allowed"))
        }
        SignerName::KubeApiserverClientKubelet if !request.sans.ips.is_empty() => {
            Err(CsrError::Subject("IPAddresses not allowed"))
        }
        _ if request.emails > 0 => Err(CsrError::Subject("emailAddresses not allowed")),
        _ if request.uris > 0 => Err(CsrError::Subject("uris not allowed")),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(common_name: &str, orgs: &[&str], hosts: &[&str]) -> CsrSubject {
        use der::Encode;
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
            (KubeApiserverClient, request("alice", &["dev"], &[]), server, Err("usages did not match")),
            (KubeApiserverClientKubelet, request(node, nodes, &[]), client, Ok(())),
            (KubeApiserverClientKubelet, request("alice", nodes, &[]), client, Err("commonName did not start")),
            (KubeApiserverClientKubelet, request(node, &["x"], &[]), client, Err("organization was not")),
            (KubeApiserverClientKubelet, request(node, nodes, &["h"]), client, Err("DNSNames not allowed")),
            (KubeletServing, request(node, nodes, &["h"]), server, Ok(())),
            (KubeletServing, request(node, nodes, &[]), server, Err("DNSNames or IPAddresses must be")),
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
}

//! Facts about certificates and requests that somebody else made, for those who check objects that carry them.

use base64::Engine as _;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::public_key::PublicKey;

/// One block of a PEM text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// `CERTIFICATE` and the like.
    pub label: String,
    /// Lines such as `Proc-Type: 4,ENCRYPTED` stand before its contents.
    pub has_headers: bool,
    pub der: Vec<u8>,
}

/// The blocks of a PEM text, in order; what stands between them, and blocks that do not decode, are left out.
pub fn pem_blocks(text: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut rest = text;
    while let Some((_, after)) = rest.split_once("-----BEGIN ") {
        rest = after;
        let Some((label, body)) = after.split_once("-----") else { break };
        let Some((body, after)) = body.split_once(&format!("-----END {label}-----")) else { continue };
        rest = after;
        let is_header = |line: &&str| line.contains(':');
        let contents: String = body.lines().filter(|line| !is_header(line)).map(str::trim).collect();
        if let Ok(der) = base64::engine::general_purpose::STANDARD.decode(contents) {
            let has_headers = body.lines().any(|line| is_header(&line));
            blocks.push(Block { label: label.to_owned(), has_headers, der });
        }
    }
    blocks
}

/// What a certificate says.
#[derive(Clone, Debug)]
pub struct CertificateFacts {
    pub is_ca: bool,
    /// Unix seconds.
    pub not_before: i64,
    /// Unix seconds.
    pub not_after: i64,
    pub dns_names: Vec<String>,
    /// The first common name of the subject.
    pub common_name: String,
    /// The SubjectPublicKeyInfo in DER.
    pub public_key: Vec<u8>,
}

/// Reads a DER certificate; `None` if it is none.
pub fn certificate_facts(der: &[u8]) -> Option<CertificateFacts> {
    let (rest, cert) = X509Certificate::from_der(der).ok()?;
    if !rest.is_empty() {
        return None;
    }
    let constraints = cert.basic_constraints().ok()?;
    let names = cert.subject_alternative_name().ok()?;
    let names = names.iter().flat_map(|names| &names.value.general_names);
    let dns_names = names.filter_map(|name| match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        _ => None,
    });
    Some(CertificateFacts {
        is_ca: constraints.is_some_and(|c| c.value.ca),
        not_before: cert.validity().not_before.timestamp(),
        not_after: cert.validity().not_after.timestamp(),
        dns_names: dns_names.collect(),
        common_name: cert.subject().iter_common_name().next().and_then(|n| n.as_str().ok()).unwrap_or("").to_owned(),
        public_key: cert.public_key().raw.to_vec(),
    })
}

/// The kind of a public key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    Ed25519,
    /// Size of the curve in bits.
    Ec(usize),
    /// Size of the modulus in bits.
    Rsa(usize),
    Other,
}

/// What a request says; its signature has been verified.
#[derive(Clone, Debug)]
pub struct RequestFacts {
    pub key: KeyKind,
    /// The SubjectPublicKeyInfo in DER.
    pub public_key: Vec<u8>,
}

/// Why a request is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestFault {
    Malformed,
    Signature,
}

/// Reads a DER PKCS#10 request and checks that its sender holds the key.
///
/// # Errors
///
/// [`RequestFault::Signature`] also for keys that this build cannot verify (ECDSA P-521).
pub fn request_facts(der: &[u8]) -> Result<RequestFacts, RequestFault> {
    let (rest, request) = X509CertificationRequest::from_der(der).map_err(|_| RequestFault::Malformed)?;
    if !rest.is_empty() {
        return Err(RequestFault::Malformed);
    }
    request.verify_signature().map_err(|_| RequestFault::Signature)?;
    let spki = &request.certification_request_info.subject_pki;
    let key = match spki.parsed() {
        Ok(PublicKey::EC(point)) => KeyKind::Ec(point.key_size()),
        Ok(PublicKey::RSA(key)) => KeyKind::Rsa(key.key_size()),
        _ if spki.algorithm.algorithm.to_id_string() == "1.3.101.112" => KeyKind::Ed25519,
        _ => KeyKind::Other,
    };
    Ok(RequestFacts { key, public_key: spki.raw.to_vec() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Authority, Sans};

    #[test]
    fn blocks_are_found_between_other_text() {
        let text =
            "note\n-----BEGIN A-----\nAQI=\n-----END A-----\nmore\n-----BEGIN B-----\nx: y\n\nAw==\n-----END B-----\n";
        let blocks = pem_blocks(text);
        let shown: Vec<_> = blocks.iter().map(|b| (b.label.as_str(), b.has_headers, b.der.as_slice())).collect();
        assert_eq!(shown, [("A", false, &[1, 2][..]), ("B", true, &[3][..])]);
        assert_eq!(pem_blocks("-----BEGIN A-----\nAQI=\n-----END B-----"), []);
    }

    #[test]
    fn authorities_and_leaves_are_told_apart() {
        let authority = Authority::generate("test").unwrap();
        let facts = certificate_facts(authority.cert()).unwrap();
        assert!(facts.is_ca && facts.not_before < facts.not_after);
        let sans = Sans { hostnames: vec!["a.example".to_owned()], ips: Vec::new() };
        let leaf = authority.issue_server("leaf", &[], &sans).unwrap();
        let blocks = pem_blocks(&leaf.cert_pem());
        let facts = certificate_facts(&blocks[0].der).unwrap();
        assert!(!facts.is_ca);
        assert_eq!(facts.dns_names, ["a.example"]);
        assert!(certificate_facts(b"nothing").is_none());
    }
}

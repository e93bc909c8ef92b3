//! Key pairs on ring: ECDSA P-256, which we make, and RSA, which we accept from elsewhere.

use std::sync::Arc;

use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, RSA_PKCS1_SHA256,
    RsaKeyPair,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::error::Error;
use crate::file::to_pem;

/// How a key signs, by its JOSE name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    Es256,
    Rs256,
}

impl Algorithm {
    pub fn name(self) -> &'static str {
        match self {
            Self::Es256 => "ES256",
            Self::Rs256 => "RS256",
        }
    }
}

enum Signer {
    /// ring fixes the signature's form with the key, so that it is kept in both: ASN.1 for X.509, fixed for JOSE.
    Ecdsa(Box<EcdsaForms>),
    Rsa(Box<RsaKeyPair>),
}

struct EcdsaForms {
    asn1: EcdsaKeyPair,
    fixed: EcdsaKeyPair,
}

struct Inner {
    pkcs8: Vec<u8>,
    public: Vec<u8>,
    spki: Vec<u8>,
    signer: Signer,
    random: SystemRandom,
}

/// A private key with its public half. Cheap to clone.
#[derive(Clone)]
pub struct KeyPair(Arc<Inner>);

impl std::fmt::Debug for KeyPair {
    /// Never shows the key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyPair").field("algorithm", &self.algorithm()).finish_non_exhaustive()
    }
}

// AlgorithmIdentifier { id-ecPublicKey, prime256v1 } and { rsaEncryption, NULL }, in DER.
const EC_P256_ALGORITHM: &[u8] = &[
    0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03,
    0x01, 0x07,
];
const RSA_ALGORITHM: &[u8] =
    &[0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00];

impl KeyPair {
    /// A new ECDSA P-256 key.
    pub fn generate() -> Result<Self, Error> {
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &SystemRandom::new())?;
        Self::from_pkcs8(pkcs8.as_ref())
    }

    /// Reads PKCS#8: an ECDSA P-256 key or an RSA key of at least 2048 bits.
    pub fn from_pkcs8(pkcs8: &[u8]) -> Result<Self, Error> {
        let random = SystemRandom::new();
        let (signer, public, algorithm) =
            match EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, pkcs8, &random) {
                Ok(asn1) => {
                    let fixed = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8, &random)
                        .map_err(|_| Error::Key("not a usable P-256 key"))?;
                    let public = asn1.public_key().as_ref().to_vec();
                    (Signer::Ecdsa(Box::new(EcdsaForms { asn1, fixed })), public, EC_P256_ALGORITHM)
                }
                Err(_) => {
                    let rsa = RsaKeyPair::from_pkcs8(pkcs8)
                        .map_err(|_| Error::Key("neither an ECDSA P-256 nor an RSA key of 2048 bits or more"))?;
                    let public = rsa.public_key().as_ref().to_vec();
                    (Signer::Rsa(Box::new(rsa)), public, RSA_ALGORITHM)
                }
            };
        let spki = spki_der(algorithm, &public);
        Ok(Self(Arc::new(Inner { pkcs8: pkcs8.to_vec(), public, spki, signer, random })))
    }

    /// Reads the first private key of a PEM text.
    pub fn from_pem(pem: &[u8]) -> Result<Self, Error> {
        match PrivateKeyDer::from_pem_slice(pem) {
            Ok(PrivateKeyDer::Pkcs8(key)) => Self::from_pkcs8(key.secret_pkcs8_der()),
            Ok(PrivateKeyDer::Pkcs1(key)) => {
                let rsa = RsaKeyPair::from_der(key.secret_pkcs1_der());
                rsa.map_err(|_| Error::Key("not an RSA key of 2048 bits or more"))?;
                Self::from_pkcs8(&pkcs8_of_rsa(key.secret_pkcs1_der()))
            }
            Ok(PrivateKeyDer::Sec1(key)) => Self::from_pkcs8(&pkcs8_of_ec(key.secret_sec1_der())),
            Ok(_) => Err(Error::Key("the key is not in PKCS#8 form; convert it with `openssl pkcs8 -topk8 -nocrypt`")),
            Err(_) => Err(Error::Key("no PEM private key")),
        }
    }

    /// PKCS#8 PEM.
    pub fn to_pem(&self) -> String {
        to_pem("PRIVATE KEY", &self.0.pkcs8)
    }

    /// The key for rustls.
    pub fn to_rustls(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.0.pkcs8.clone()))
    }

    pub fn algorithm(&self) -> Algorithm {
        match self.0.signer {
            Signer::Ecdsa(_) => Algorithm::Es256,
            Signer::Rsa(_) => Algorithm::Rs256,
        }
    }

    /// The public key as ring verifies with it: an uncompressed point, or PKCS#1 `RSAPublicKey`.
    pub fn public_key(&self) -> &[u8] {
        &self.0.public
    }

    /// The public key as DER `SubjectPublicKeyInfo`.
    pub fn spki(&self) -> &[u8] {
        &self.0.spki
    }

    /// The public key as PEM `PUBLIC KEY`.
    pub fn public_pem(&self) -> String {
        to_pem("PUBLIC KEY", &self.0.spki)
    }

    /// A signature as X.509 wants it.
    pub fn sign_asn1(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        match &self.0.signer {
            Signer::Ecdsa(forms) => Ok(forms.asn1.sign(&self.0.random, message)?.as_ref().to_vec()),
            Signer::Rsa(rsa) => self.sign_rsa(rsa, message),
        }
    }

    /// A signature as JOSE wants it.
    pub fn sign_jose(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        match &self.0.signer {
            Signer::Ecdsa(forms) => Ok(forms.fixed.sign(&self.0.random, message)?.as_ref().to_vec()),
            Signer::Rsa(rsa) => self.sign_rsa(rsa, message),
        }
    }

    fn sign_rsa(&self, rsa: &RsaKeyPair, message: &[u8]) -> Result<Vec<u8>, Error> {
        let mut signature = vec![0; rsa.public().modulus_len()];
        rsa.sign(&RSA_PKCS1_SHA256, &self.0.random, message, &mut signature)?;
        Ok(signature)
    }
}

/// A DER length; all values here are below 64 KiB.
fn der_header(tag: u8, len: usize) -> Vec<u8> {
    match len {
        0..=0x7f => vec![tag, len as u8],
        0x80..=0xff => vec![tag, 0x81, len as u8],
        _ => vec![tag, 0x82, (len >> 8) as u8, len as u8],
    }
}

fn der_sequence(parts: &[&[u8]]) -> Vec<u8> {
    let len = parts.iter().map(|p| p.len()).sum();
    let mut out = der_header(0x30, len);
    parts.iter().for_each(|p| out.extend_from_slice(p));
    out
}

fn spki_der(algorithm: &[u8], public: &[u8]) -> Vec<u8> {
    // A BIT STRING starts with its count of unused bits.
    let mut bits = der_header(0x03, public.len() + 1);
    bits.push(0);
    bits.extend_from_slice(public);
    der_sequence(&[algorithm, &bits])
}

fn pkcs8(algorithm: &[u8], key: &[u8]) -> Vec<u8> {
    let mut octets = der_header(0x04, key.len());
    octets.extend_from_slice(key);
    der_sequence(&[&[0x02, 0x01, 0x00], algorithm, &octets])
}

fn pkcs8_of_rsa(pkcs1: &[u8]) -> Vec<u8> {
    pkcs8(RSA_ALGORITHM, pkcs1)
}

/// `openssl ecparam -genkey` writes the curve twice, inside the key as well; PKCS#8 names it once, outside.
fn pkcs8_of_ec(sec1: &[u8]) -> Vec<u8> {
    const CURVE: &[u8] = &[0xa0, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
    let inner = match sec1.windows(CURVE.len()).position(|window| window == CURVE) {
        // The header of a P-256 key is two bytes: its contents are shorter than 128.
        Some(at) if sec1.len() > 2 && sec1[1] < 0x80 => der_sequence(&[&sec1[2..at], &sec1[at + CURVE.len()..]]),
        _ => sec1.to_vec(),
    };
    pkcs8(EC_P256_ALGORITHM, &inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_survives_its_pem() {
        let key = KeyPair::generate().unwrap();
        let again = KeyPair::from_pem(key.to_pem().as_bytes()).unwrap();
        assert_eq!(key.public_key(), again.public_key());
        assert!(key.public_pem().starts_with("-----BEGIN PUBLIC KEY-----\n"));
        assert!(format!("{key:?}").contains("Es256"));
    }

    #[test]
    fn nonsense_is_refused_with_a_reason() {
        let sec1 = "-----BEGIN EC PRIVATE KEY-----\nAAAA\n-----END EC PRIVATE KEY-----\n";
        let error = KeyPair::from_pem(sec1.as_bytes()).unwrap_err().to_string();
        assert!(error.contains("neither an ECDSA P-256 nor an RSA key"), "{error}");
        assert!(KeyPair::from_pem(b"").is_err());
    }

    #[test]
    fn keys_of_other_tools_are_read() {
        let rsa = KeyPair::from_pem(include_bytes!("../testdata/rsa-pkcs1.key")).unwrap();
        assert_eq!(rsa.algorithm(), Algorithm::Rs256);
        assert_eq!(KeyPair::from_pem(rsa.to_pem().as_bytes()).unwrap().spki(), rsa.spki());
        let ec = KeyPair::from_pem(include_bytes!("../testdata/ec-sec1.key")).unwrap();
        assert_eq!(ec.algorithm(), Algorithm::Es256);
        assert_eq!(KeyPair::from_pem(ec.to_pem().as_bytes()).unwrap().spki(), ec.spki());
    }
}

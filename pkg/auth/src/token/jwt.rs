//! JSON Web Tokens in compact form, signed and verified by ring. Only the algorithm of the key that `kid` names is accepted:
//! what the header claims decides nothing.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use pki::{Algorithm, KeyPair};
use ring::digest::{SHA256, digest};
use ring::signature::{ECDSA_P256_SHA256_FIXED, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey, VerificationAlgorithm};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Tokens longer than this are not looked at.
const TOKEN_BYTES_MAX: usize = 64 * 1024;

#[derive(Serialize)]
struct HeaderOut<'a> {
    alg: &'a str,
    kid: &'a str,
}

#[derive(Deserialize)]
struct HeaderIn {
    alg: String,
    #[serde(default)]
    kid: String,
}

/// A key's name: the URL-safe base64 of the SHA-256 of its public half in DER.
pub fn key_id(spki: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(digest(&SHA256, spki))
}

/// The public half of a signing key.
#[derive(Clone, Debug)]
pub struct VerifyingKey {
    pub id: String,
    pub algorithm: Algorithm,
    pub public: Vec<u8>,
}

impl VerifyingKey {
    pub fn of(key: &KeyPair) -> Self {
        Self { id: key_id(key.spki()), algorithm: key.algorithm(), public: key.public_key().to_vec() }
    }

    fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        let algorithm: &'static dyn VerificationAlgorithm = match self.algorithm {
            Algorithm::Es256 => &ECDSA_P256_SHA256_FIXED,
            Algorithm::Rs256 => &RSA_PKCS1_2048_8192_SHA256,
        };
        UnparsedPublicKey::new(algorithm, &self.public).verify(message, signature).is_ok()
    }
}

/// Signs `claims`.
pub fn sign(key: &KeyPair, key_id: &str, claims: &impl Serialize) -> Result<String, pki::Error> {
    let header = HeaderOut { alg: key.algorithm().name(), kid: key_id };
    let json = |value: serde_json::Result<Vec<u8>>| value.map_err(|e| pki::Error::Certificate(e.to_string()));
    let mut token = URL_SAFE_NO_PAD.encode(json(serde_json::to_vec(&header))?);
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(json(serde_json::to_vec(claims))?, &mut token);
    let signature = key.sign_jose(token.as_bytes())?;
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(signature, &mut token);
    Ok(token)
}

/// A token taken apart; nothing in it is proven yet.
pub struct Unverified<'a> {
    message: &'a str,
    signature: &'a str,
    header: HeaderIn,
    payload: Vec<u8>,
}

impl<'a> Unverified<'a> {
    /// `None` if `token` is no JWT at all.
    pub fn parse(token: &'a str) -> Option<Self> {
        if token.len() > TOKEN_BYTES_MAX {
            return None;
        }
        let (message, signature) = token.rsplit_once('.')?;
        let (header, payload) = message.split_once('.')?;
        let header = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(header).ok()?).ok()?;
        let payload = URL_SAFE_NO_PAD.decode(payload).ok()?;
        Some(Self { message, signature, header, payload })
    }

    /// Reads the claims without trust, e.g. to see whose token it is.
    pub fn claims<C: DeserializeOwned>(&self) -> Option<C> {
        serde_json::from_slice(&self.payload).ok()
    }

    /// True if one of `keys` signed the token. A token that names no key is tried with all of them.
    pub fn is_signed_by(&self, keys: &[VerifyingKey]) -> bool {
        let Ok(signature) = URL_SAFE_NO_PAD.decode(self.signature) else { return false };
        keys.iter()
            .filter(|key| self.header.kid.is_empty() || self.header.kid == key.id)
            .filter(|key| self.header.alg == key.algorithm.name())
            .any(|key| key.verifies(self.message.as_bytes(), &signature))
    }
}

//! What others need to verify our tokens: `/openid/v1/jwks` and `/.well-known/openid-configuration`.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use pki::Algorithm;
use serde_json::{Value, json};

use super::jwt::VerifyingKey;

/// The JSON Web Key Set of `keys`. Served as `application/jwk-set+json`.
pub fn jwks(keys: &[VerifyingKey]) -> Value {
    json!({ "keys": keys.iter().map(jwk).collect::<Vec<_>>() })
}

fn jwk(key: &VerifyingKey) -> Value {
    let mut jwk = json!({ "use": "sig", "kid": key.id, "alg": key.algorithm.name() });
    let parts: [(&str, String); 3] = match key.algorithm {
        Algorithm::Es256 => {
            // An uncompressed point: 0x04, x, y.
            let (x, y) = key.public.get(1..65).unwrap_or(&[0; 64]).split_at(32);
            [("kty", "EC".to_owned()), ("x", URL_SAFE_NO_PAD.encode(x)), ("y", URL_SAFE_NO_PAD.encode(y))]
        }
        Algorithm::Rs256 => {
            let (n, e) = rsa_parts(&key.public).unwrap_or_default();
            [("kty", "RSA".to_owned()), ("n", URL_SAFE_NO_PAD.encode(n)), ("e", URL_SAFE_NO_PAD.encode(e))]
        }
    };
    for (name, value) in parts {
        jwk[name] = value.into();
    }
    if key.algorithm == Algorithm::Es256 {
        jwk["crv"] = "P-256".into();
    }
    jwk
}

/// Modulus and exponent of a PKCS#1 `RSAPublicKey`, without leading zeros.
fn rsa_parts(der: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let (body, _) = der_value(der, 0x30)?;
    let (modulus, rest) = der_value(body, 0x02)?;
    let (exponent, _) = der_value(rest, 0x02)?;
    let bare = |bytes: &[u8]| bytes.iter().copied().skip_while(|b| *b == 0).collect::<Vec<u8>>();
    Some((bare(modulus), bare(exponent)))
}

/// The contents of the DER value at the start of `der`, and what follows it.
fn der_value(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&found, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first()?;
    if found != tag {
        return None;
    }
    let (len, rest) = if first < 0x80 {
        (usize::from(first), rest)
    } else {
        let count = usize::from(first & 0x7f);
        let bytes = rest.get(..count).filter(|_| count <= 4)?;
        (bytes.iter().fold(0, |len, b| len << 8 | usize::from(*b)), rest.get(count..)?)
    };
    Some((rest.get(..len)?, rest.get(len..)?))
}

/// The discovery document of `issuer`; `jwks_uri` is the address of the key set.
pub fn openid_configuration(issuer: &str, jwks_uri: &str, keys: &[VerifyingKey]) -> Value {
    let mut algorithms: Vec<&str> = keys.iter().map(|k| k.algorithm.name()).collect();
    algorithms.sort_unstable();
    algorithms.dedup();
    json!({
        "issuer": issuer,
        "jwks_uri": jwks_uri,
        "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": algorithms,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_have_the_usual_members() {
        let key = VerifyingKey::of(&pki::KeyPair::generate().unwrap());
        let set = jwks(std::slice::from_ref(&key));
        let jwk = &set["keys"][0];
        assert_eq!((&jwk["kty"], &jwk["crv"], &jwk["alg"]), (&json!("EC"), &json!("P-256"), &json!("ES256")));
        assert_eq!(URL_SAFE_NO_PAD.decode(jwk["x"].as_str().unwrap()).unwrap(), key.public[1..33]);
        let document = openid_configuration("https://i", "https://i/openid/v1/jwks", &[key]);
        assert_eq!(document["id_token_signing_alg_values_supported"], json!(["ES256"]));
    }

    #[test]
    fn rsa_keys_are_taken_apart() {
        let der = [0x30, 0x0a, 0x02, 0x03, 0x00, 0xab, 0xcd, 0x02, 0x03, 0x01, 0x00, 0x01];
        assert_eq!(rsa_parts(&der), Some((vec![0xab, 0xcd], vec![1, 0, 1])));
        assert_eq!(rsa_parts(&[0x30, 0x84, 0xff]), None);
    }
}

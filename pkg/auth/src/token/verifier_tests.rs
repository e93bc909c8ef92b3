//! Tokens that are good, and every way in which one is not.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use pki::KeyPair;
use serde_json::{Value, json};

use super::super::{Binding, DEFAULT_ISSUER, TokenSpec, jwt};
use super::*;

/// A clock that stands where it is set.
struct At(AtomicU64);

impl Clock for At {
    fn now(&self) -> Instant {
        Instant::now()
    }
    fn wall(&self) -> Duration {
        Duration::from_secs(self.0.load(Ordering::Relaxed))
    }
}

#[derive(Default)]
struct World {
    gone: parking_lot::Mutex<Vec<&'static str>>,
    deleting: parking_lot::Mutex<Vec<(&'static str, i64)>>,
    secret_token: parking_lot::Mutex<String>,
}

impl World {
    fn object(&self, kind: &str, uid: &str) -> Option<BoundObject> {
        let deleting = self.deleting.lock().iter().find(|(k, _)| *k == kind).map(|(_, at)| *at);
        let token = self.secret_token.lock().clone().into_bytes();
        let gone = self.gone.lock().contains(&kind);
        (!gone).then(|| BoundObject { uid: uid.to_owned(), deletion_timestamp: deleting, token })
    }
}

impl Lister for World {
    fn service_account(&self, _: &str, _: &str) -> Option<BoundObject> {
        self.object("service account", "sa-uid")
    }
    fn pod(&self, _: &str, _: &str) -> Option<BoundObject> {
        self.object("pod", "pod-uid")
    }
    fn secret(&self, _: &str, _: &str) -> Option<BoundObject> {
        self.object("secret", "secret-uid")
    }
    fn node(&self, _: &str) -> Option<BoundObject> {
        self.object("node", "node-uid")
    }
}

const NOW: u64 = 1_800_000_000;

struct Bench {
    clock: Arc<At>,
    world: Arc<World>,
    key: KeyPair,
    issuer: Issuer,
    verifier: Verifier,
}

fn bench() -> Bench {
    let clock = Arc::new(At(AtomicU64::new(NOW)));
    let world = Arc::new(World::default());
    let key = KeyPair::generate().unwrap();
    let issuer = Issuer::new(key.clone(), DEFAULT_ISSUER, &[], clock.clone());
    let verifier = Verifier::new(&issuer, Vec::new(), world.clone(), clock.clone());
    Bench { clock, world, key, issuer, verifier }
}

fn spec(binding: Option<Binding>, seconds: i64) -> TokenSpec {
    TokenSpec {
        namespace: "ns".into(),
        service_account: ObjectRef::new("sa", "sa-uid"),
        audiences: Vec::new(),
        expiration_seconds: seconds,
        binding,
    }
}

fn pod() -> Option<Binding> {
    Some(Binding::Pod(ObjectRef::new("p", "pod-uid"), Some(ObjectRef::new("n", "node-uid"))))
}

#[test]
fn a_pod_token_tells_who_and_where() {
    let b = bench();
    let issued = b.issuer.sign(&spec(pod(), 600)).unwrap();
    assert_eq!(issued.expiration, NOW as i64 + 600);
    let verified = b.verifier.authenticate_token(&issued.token, &[]).unwrap().unwrap();
    assert_eq!(verified.audiences, [DEFAULT_ISSUER]);
    assert_eq!(verified.user.name, "system:serviceaccount:ns:sa");
    assert_eq!(verified.user.uid, "sa-uid");
    assert_eq!(verified.user.groups, ["system:serviceaccounts", "system:serviceaccounts:ns", "system:authenticated"]);
    let extra = |key: &str| verified.user.extra[&format!("authentication.kubernetes.io/{key}")].join(",");
    assert_eq!(extra("pod-name"), "p");
    assert_eq!(extra("pod-uid"), "pod-uid");
    assert_eq!(extra("node-name"), "n");
    assert_eq!(extra("node-uid"), "node-uid");
    assert_eq!(extra("credential-id"), format!("JTI={}", issued.id));
}

#[test]
fn claims_have_upstreams_shape() {
    let b = bench();
    let token = b.issuer.sign(&spec(pod(), 3607)).unwrap().token;
    let parts: Vec<&str> = token.split('.').collect();
    let json = |part: &str| -> Value { serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap() };
    assert_eq!(json(parts[0])["alg"], "ES256");
    assert_eq!(json(parts[0])["kid"], b.issuer.verifying_key().id.as_str());
    let mut claims = json(parts[1]);
    claims.as_object_mut().unwrap().remove("jti").unwrap();
    let year = 365 * 24 * 3600;
    assert_eq!(
        claims,
        json!({
            "aud": [DEFAULT_ISSUER], "iss": DEFAULT_ISSUER, "sub": "system:serviceaccount:ns:sa",
            "iat": NOW, "nbf": NOW, "exp": NOW + year,
            "kubernetes.io": {
                "namespace": "ns", "serviceaccount": {"name": "sa", "uid": "sa-uid"},
                "pod": {"name": "p", "uid": "pod-uid"}, "node": {"name": "n", "uid": "node-uid"},
                "warnafter": NOW + 3607,
            },
        })
    );
}

#[test]
fn bad_tokens_are_refused() {
    let b = bench();
    let sign = |claims: &Value| jwt::sign(&b.key, &b.issuer.verifying_key().id, claims).unwrap();
    let good = json!({
        "aud": [DEFAULT_ISSUER], "iss": DEFAULT_ISSUER, "sub": "system:serviceaccount:ns:sa",
        "iat": NOW, "nbf": NOW, "exp": NOW + 600,
        "kubernetes.io": {"namespace": "ns", "serviceaccount": {"name": "sa", "uid": "sa-uid"}},
    });
    let with = |key: &str, value: Value| {
        let mut claims = good.clone();
        claims[key] = value;
        sign(&claims)
    };
    assert!(b.verifier.authenticate_token(&sign(&good), &[]).unwrap().is_some());

    let stranger = KeyPair::generate().unwrap();
    let token = sign(&good);
    let payload = token.split('.').nth(1).unwrap();
    let signature = token.split('.').nth(2).unwrap();
    let header = |json: &str| URL_SAFE_NO_PAD.encode(json);
    let kid = b.issuer.verifying_key().id;
    let cases = [
        ("another audience", with("aud", json!(["elsewhere"])), "token audiences"),
        ("expired", with("exp", json!(NOW - 61)), "token has expired"),
        ("not yet", with("nbf", json!(NOW + 61)), "token is not valid yet"),
        ("another key", jwt::sign(&stranger, &jwt::key_id(stranger.spki()), &good).unwrap(), "invalid signature"),
        ("another key under our name", jwt::sign(&stranger, &kid, &good).unwrap(), "invalid signature"),
        ("alg none", format!("{}.{payload}.", header(r#"{"alg":"none"}"#)), "invalid signature"),
        (
            "alg swapped",
            format!("{}.{payload}.{signature}", header(&format!(r#"{{"alg":"HS256","kid":"{kid}"}}"#))),
            "invalid signature",
        ),
        (
            "no signature",
            format!("{}.{payload}.", header(&format!(r#"{{"alg":"ES256","kid":"{kid}"}}"#))),
            "invalid signature",
        ),
        ("another subject", with("sub", json!("system:serviceaccount:kube-system:admin")), "subject"),
        ("no private claims", with("kubernetes.io", json!(null)), "claims are missing"),
        (
            "another uid",
            with("kubernetes.io", json!({"namespace": "ns", "serviceaccount": {"name": "sa", "uid": "old"}})),
            "UID",
        ),
    ];
    for (what, token, why) in cases {
        let error = b.verifier.authenticate_token(&token, &[]).unwrap_err();
        assert!(error.contains(why), "{what}: {error}");
    }
    let foreign = with("iss", json!("https://accounts.example.com"));
    for nothing in ["", "abc", "a.b.c", "..", foreign.as_str()] {
        assert_eq!(b.verifier.authenticate_token(nothing, &[]), Ok(None), "{nothing:?}");
    }
}

#[test]
fn a_token_ends_with_what_it_is_bound_to() {
    let bindings = [
        ("service account", None),
        ("pod", pod()),
        ("secret", Some(Binding::Secret(ObjectRef::new("s", "secret-uid")))),
        ("node", Some(Binding::Node(ObjectRef::new("n", "node-uid")))),
    ];
    for (kind, binding) in bindings {
        let b = bench();
        let token = b.issuer.sign(&spec(binding, 600)).unwrap().token;
        let valid = || b.verifier.authenticate_token(&token, &[]).is_ok();
        assert!(valid());
        // Within the leeway of a deletion it still works: the pod may be in its grace period.
        b.world.deleting.lock().push((kind, NOW as i64));
        assert!(valid(), "{kind}");
        b.clock.0.store(NOW + 61, Ordering::Relaxed);
        assert!(!valid(), "{kind}: deleted a minute ago");
        b.world.deleting.lock().clear();
        assert!(valid());
        b.world.gone.lock().push(kind);
        assert!(!valid(), "{kind} is gone, and the cache does not hide it");
    }
}

#[test]
fn audiences_meet() {
    let b = bench();
    let token =
        b.issuer.sign(&TokenSpec { audiences: vec!["vault".into(), "x".into()], ..spec(None, 600) }).unwrap().token;
    let ask = |audiences: &[&str]| {
        let audiences: Vec<String> = audiences.iter().map(|a| (*a).to_owned()).collect();
        b.verifier.authenticate_token(&token, &audiences).map(|v| v.unwrap().audiences)
    };
    assert!(ask(&[]).is_err(), "not meant for the API server");
    assert_eq!(ask(&["vault", "other"]).unwrap(), ["vault"]);
    assert!(ask(&["other"]).is_err());
}

#[test]
fn the_expiry_has_leeway_and_is_checked_on_cached_tokens() {
    let b = bench();
    let token = b.issuer.sign(&spec(None, 600)).unwrap().token;
    for (after, valid) in [(0, true), (600, true), (659, true), (660, false)] {
        b.clock.0.store(NOW + after, Ordering::Relaxed);
        assert_eq!(b.verifier.authenticate_token(&token, &[]).is_ok(), valid, "{after}");
    }
}

#[test]
fn a_legacy_token_lives_in_its_secret() {
    let b = bench();
    let token = b.issuer.sign_legacy("ns", &ObjectRef::new("sa", "sa-uid"), "s").unwrap();
    assert!(b.verifier.authenticate_token(&token, &[]).is_err(), "the secret holds another token");
    token.clone_into(&mut b.world.secret_token.lock());
    let user = b.verifier.authenticate_token(&token, &[]).unwrap().unwrap().user;
    assert_eq!(user.name, "system:serviceaccount:ns:sa");
    b.world.gone.lock().push("secret");
    assert!(b.verifier.authenticate_token(&token, &[]).is_err());
}

#[test]
fn retired_keys_still_verify() {
    let b = bench();
    let token = b.issuer.sign(&spec(None, 600)).unwrap().token;
    let successor = Issuer::new(KeyPair::generate().unwrap(), DEFAULT_ISSUER, &[], b.clock.clone());
    let alone = Verifier::new(&successor, Vec::new(), b.world.clone(), b.clock.clone());
    assert!(alone.authenticate_token(&token, &[]).is_err());
    let both = Verifier::new(&successor, vec![b.issuer.verifying_key()], b.world.clone(), b.clock.clone());
    assert!(both.authenticate_token(&token, &[]).is_ok());
}

#[test]
fn rsa_keys_work_as_well() {
    let clock = Arc::new(At(AtomicU64::new(NOW)));
    let key = KeyPair::from_pem(include_bytes!("../../../pki/testdata/rsa-pkcs1.key")).unwrap();
    let issuer = Issuer::new(key, DEFAULT_ISSUER, &[], clock.clone());
    let verifier = Verifier::new(&issuer, Vec::new(), Arc::new(World::default()), clock);
    let token = issuer.sign(&spec(None, 600)).unwrap().token;
    assert!(verifier.authenticate_token(&token, &[]).unwrap().is_some());
    let (message, _) = token.rsplit_once('.').unwrap();
    assert!(verifier.authenticate_token(&format!("{message}.AAAA"), &[]).is_err());
    assert_eq!(super::super::jwks(&[issuer.verifying_key()])["keys"][0]["e"], "AQAB");
}

//! PodCertificateRequests (KEP-4317).

use apimachinery::field::{Error, ErrorList, Path};
use apimachinery::validation::is_dns1123_subdomain;
use apimachinery::{Object, meta::ObjectExt};
use base64::Engine;
use pki::inspect::{CertificateFacts, KeyKind, RequestFault, certificate_facts, pem_blocks, request_facts};
use serde_json::Value;

use super::{GROUP, signer_name};
use crate::cells::{NAME_AGE, name_age};
use crate::check;
use crate::conditions;
use crate::podspec::projected::user_annotations;
use crate::resource::{Resource, Strategy, Subresource};
use crate::tree::{Fill, Tree};

pub const ROW: Resource = Resource {
    columns: NAME_AGE,
    cells: name_age,
    selectable: &[
        ("spec.signerName", |o| o.str_at("spec/signerName").to_owned()),
        ("spec.podName", |o| o.str_at("spec/podName").to_owned()),
        ("spec.nodeName", |o| o.str_at("spec/nodeName").to_owned()),
    ],
    subresources: &[Subresource::STATUS],
    strategy: Strategy {
        default: |o| {
            if let Some(spec) = crate::tree::spec_mut(o) {
                spec.default_value("maxExpirationSeconds", || DAY.into());
            }
        },
        validate: |o| validate(o.field("spec")),
        validate_update: |new, old| {
            let mut errors = ErrorList::new();
            check::immutable(&mut errors, &Path::default(), new, old, "spec");
            errors
        },
        validate_status_update: |new, old| validate_status(new, old, jiff::Timestamp::now().as_second()),
        prepare_for_status_update: crate::strategy::keep_metadata_too,
        generation_changed: None,
        allow_unconditional_update: false,
        ..Strategy::SPEC_STATUS
    },
    ..Resource::namespaced(GROUP, "v1", "podcertificaterequests", "podcertificaterequest", "PodCertificateRequest")
};

const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;
const UID_MAX: usize = 128;
const REQUEST_MAX: usize = 10 * 1024;
const CHAIN_MAX: usize = 100 * 1024;

/// The longest lifetime that may be asked of a signer: a day for those of `kubernetes.io`, 91 days for others.
fn lifetime_max(signer: &str) -> i64 {
    if signer.starts_with("kubernetes.io/") { DAY } else { 91 * DAY }
}

fn validate(spec: &Value) -> ErrorList {
    let mut errors = ErrorList::new();
    let at = Path::new("spec");
    signer_name(&mut errors, &at.child("signerName"), spec.text("signerName"));
    if spec.has("unverifiedUserAnnotations") {
        let path = at.child("unverifiedUserAnnotations");
        user_annotations(&mut errors, &path, spec.field("unverifiedUserAnnotations"));
    }
    for (name, uid) in [("podName", "podUID"), ("serviceAccountName", "serviceAccountUID"), ("nodeName", "nodeUID")] {
        check::text(&mut errors, &at, name, spec.text(name), is_dns1123_subdomain);
        if spec.text(uid).is_empty() {
            errors.push(Error::invalid(&at.child(uid), "", "must not be empty"));
        }
        if spec.text(uid).len() > UID_MAX {
            errors.push(Error::too_long(&at.child(uid), UID_MAX));
        }
    }
    let path = at.child("maxExpirationSeconds");
    let max = lifetime_max(spec.text("signerName"));
    match spec.int("maxExpirationSeconds") {
        None => {
            errors.push(Error::required(&path, "must be set"));
            return errors;
        }
        Some(seconds) if !(HOUR..=max).contains(&seconds) => {
            errors.push(Error::invalid(&path, seconds, format!("must be in the range [{HOUR}, {max}]")));
        }
        Some(_) => {}
    }
    stub_request(&mut errors, &at.child("stubPKCS10Request"), spec.text("stubPKCS10Request"));
    errors
}

fn decoded(spec: &Value) -> Vec<u8> {
    base64::engine::general_purpose::STANDARD.decode(spec.text("stubPKCS10Request")).unwrap_or_default()
}

/// A request whose signature proves that the node holds the key, of a kind that is strong enough.
fn stub_request(errors: &mut ErrorList, at: &Path, encoded: &str) {
    let der = base64::engine::general_purpose::STANDARD.decode(encoded).unwrap_or_default();
    if der.len() > REQUEST_MAX {
        errors.push(Error::too_long(at, REQUEST_MAX));
        return;
    }
    let why = match request_facts(&der).map(|facts| facts.key) {
        Err(RequestFault::Malformed) => "must be a valid PKCS#10 certificate signing request",
        Err(RequestFault::Signature) => "could not verify proof-of-possession signature",
        Ok(KeyKind::Ec(256 | 384 | 521) | KeyKind::Rsa(3072 | 4096) | KeyKind::Ed25519) => return,
        Ok(KeyKind::Ec(_)) => "elliptic public keys must use curve P256, P384 or P521",
        Ok(KeyKind::Rsa(_)) => "RSA keys must have modulus size 3072 or 4096",
        Ok(KeyKind::Other) => "unknown public key type; supported types are Ed25519, ECDSA, and RSA",
    };
    errors.push(Error::invalid(at, encoded, why));
}

const ISSUED: &str = "Issued";
const REFUSED: [&str; 2] = ["Denied", "Failed"];

/// Fields of the status besides its conditions.
const RESULTS: [&str; 4] = ["certificateChain", "notBefore", "notAfter", "beginRefreshAt"];

/// `now` is Unix time in seconds.
pub(super) fn validate_status(new: &Object, old: &Object, now: i64) -> ErrorList {
    let mut errors = ErrorList::new();
    let (at, status, before) = (Path::new("status"), new.field("status"), old.field("status"));
    final_conditions(&mut errors, &at.child("conditions"), status.list("conditions"));
    conditions::validate(&mut errors, &at.child("conditions"), status.list("conditions"));
    if !errors.is_empty() {
        return errors;
    }
    let is = |status: &Value, kind: &str| conditions::is_true(status.list("conditions"), kind);
    let is_refused = |status: &Value| REFUSED.iter().any(|kind| is(status, kind));
    // A status never goes back from its end.
    let why = if is(before, ISSUED) || is_refused(before) {
        (status != before).then_some("immutable after PodCertificateRequest is issued, denied, or failed")
    } else if is_refused(status) {
        let filled = RESULTS.iter().any(|field| status.has(field));
        filled.then_some("non-condition status fields must be empty when denying or failing the PodCertificateRequest")
    } else if is(status, ISSUED) {
        issued(&mut errors, new, now);
        None
    } else {
        let changed = RESULTS.iter().chain(&["conditions"]).any(|field| status.field(field) != before.field(field));
        changed.then_some("status is immutable unless transitioning to \"Issued\", \"Denied\", or \"Failed\"")
    };
    errors.extend(why.map(|why| Error { value: None, ..Error::invalid(&at, Value::Null, why) }));
    errors
}

fn final_conditions(errors: &mut ErrorList, at: &Path, list: &[Value]) {
    let known = [ISSUED, REFUSED[0], REFUSED[1]];
    let mut count = 0;
    for (i, condition) in list.iter().enumerate() {
        // Upstream writes the index as a field of its own.
        let at = at.child(&format!("[{i}]"));
        let (kind, status) = (condition.text("type"), condition.text("status"));
        if !known.contains(&kind) {
            errors.push(Error::not_supported(&at.child("type"), kind, &known));
            continue;
        }
        count += 1;
        if count > 1 {
            let why = "There may be at most one condition with type \"Issued\", \"Denied\", or \"Failed\"";
            errors.push(Error::invalid(&at.child("type"), kind, why));
        }
        if status != "True" {
            errors.push(Error::not_supported(&at.child("status"), status, &["True"]));
        }
    }
}

/// The chain is for the requested key, and the times are those of its first certificate. The first fault is told.
fn issued(errors: &mut ErrorList, request: &Object, now: i64) {
    let (at, status) = (Path::new("status"), request.field("status"));
    let chain = status.text("certificateChain");
    let path = at.child("certificateChain");
    if chain.len() > CHAIN_MAX {
        errors.push(Error::too_long(&path, CHAIN_MAX));
        return;
    }
    let leaf = match leaf(chain, &decoded(request.field("spec"))) {
        Ok(leaf) => leaf,
        Err(why) => return errors.push(Error::invalid(&path, chain, why)),
    };
    dns_names(errors, &path, &leaf);
    for (field, why) in [
        ("notBefore", "must be present and consistent with the issued certificate"),
        ("notAfter", "must be present and consistent with the issued certificate"),
        ("beginRefreshAt", "must be present and in the range [notbefore+10min, notafter-10min]"),
    ] {
        if !status.has(field) {
            errors.push(Error::required(&at.child(field), why));
        }
    }
    if errors.is_empty() {
        errors.extend(times_fault(request, &leaf, now));
    }
    if errors.is_empty() && pem_blocks(chain).iter().any(|block| block.label != "CERTIFICATE") {
        let why = "issued certificate chain must consist entirely of CERTFICATE PEM blocks";
        errors.push(Error::invalid(&path, chain, why));
    }
    if errors.is_empty() && pem_blocks(chain).iter().any(|block| certificate_facts(&block.der).is_none()) {
        errors.push(Error::invalid(&path, chain, "intermediate certificate does not parse as valid X.509"));
    }
}

fn leaf(chain: &str, request: &[u8]) -> Result<CertificateFacts, &'static str> {
    let blocks = pem_blocks(chain);
    let first = blocks.first().ok_or("issued certificate chain must contain at least one certificate")?;
    if first.label != "CERTIFICATE" {
        return Err("issued certificate chain must consist entirely of CERTIFICATE PEM blocks");
    }
    let facts = certificate_facts(&first.der).ok_or("leaf certificate does not parse as valid X.509")?;
    if request_facts(request).is_ok_and(|request| request.public_key == facts.public_key) {
        Ok(facts)
    } else {
        Err("leaf certificate was not issued to the requested public key")
    }
}

fn dns_names(errors: &mut ErrorList, path: &Path, leaf: &CertificateFacts) {
    for name in &leaf.dns_names {
        let rules = [
            (name.is_empty(), "leaf certificate should not contain empty DNSName"),
            (name.contains(".."), "leaf certificate's DNSName should not contain '..'"),
            (
                name.starts_with('.') || name.ends_with('.'),
                "leaf certificate's DNSName should not start or end with '.'",
            ),
        ];
        let broken = rules.into_iter().filter(|(broken, _)| *broken);
        errors.extend(broken.map(|(_, why)| Error::invalid(path, name.as_str(), why)));
    }
}

/// What the times of the status have to do with those of the certificate.
fn times_fault(request: &Object, leaf: &CertificateFacts, now: i64) -> Option<Error> {
    const MINUTE: i64 = 60;
    let (at, status) = (Path::new("status"), request.field("status"));
    let seconds = |field: &str| status.text(field).parse::<jiff::Timestamp>().map_or(0, |t| t.as_second());
    let fault = |field: &str, why: &str| Some(Error::invalid(&at.child(field), status.field(field).clone(), why));
    let (start, end, refresh) = (seconds("notBefore"), seconds("notAfter"), seconds("beginRefreshAt"));
    if start != leaf.not_before {
        return fault("notBefore", "must be set to the NotBefore time encoded in the leaf certificate");
    }
    if (start - now).abs() >= 5 * MINUTE {
        return fault("notBefore", "must be set to within 5 minutes of kube-apiserver's current time");
    }
    if end != leaf.not_after {
        return fault("notAfter", "must be set to the NotAfter time encoded in the leaf certificate");
    }
    let max = request.field("spec").int("maxExpirationSeconds").unwrap_or(DAY);
    let chain_fault = |why: String| Some(Error::invalid(&at.child("certificateChain"), end - start, why));
    if end - start < HOUR {
        return chain_fault("leaf certificate lifetime must be >= 1 hour".to_owned());
    }
    if end - start > max {
        return chain_fault(format!("leaf certificate lifetime must be <= spec.maxExpirationSeconds ({max})"));
    }
    if refresh < start + 10 * MINUTE {
        return fault("beginRefreshAt", "must be at least 10 minutes after status.notBefore");
    }
    if refresh > end - 10 * MINUTE {
        return fault("beginRefreshAt", "must be at least 10 minutes before status.notAfter");
    }
    None
}

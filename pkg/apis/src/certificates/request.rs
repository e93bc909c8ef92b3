//! CertificateSigningRequests.

use apimachinery::field::{Error, ErrorList, Path};
use apimachinery::{Object, UserInfo, duration::human_duration, meta::ObjectExt, meta::object_mut};
use base64::Engine;
use pki::inspect::{certificate_facts, pem_blocks};
use serde_json::{Value, json};

use super::{GROUP, signer_name};
use crate::cells::age;
use crate::resource::{Column, Resource, Strategy, Subresource, SubresourceUpdate, Verbs};
use crate::strategy::{keep, keep_nested, path_segment_name};
use crate::tree::{Fill, Tree};

pub const ROW: Resource = Resource {
    short_names: &["csr"],
    columns: &[
        Column::NAME,
        Column::AGE,
        Column::text("SignerName", "Who is to sign it."),
        Column::text("Requestor", "Who asked for it."),
        Column::text("RequestedDuration", "How long it is to be valid."),
        Column::text("Condition", "Where it is in its life."),
    ],
    cells: |o, now| {
        let spec = o.field("spec");
        let duration = spec.int("expirationSeconds").map_or_else(|| "<none>".to_owned(), human_duration);
        vec![
            o.name().into(),
            age(o, now),
            spec.text("signerName").into(),
            spec.text("username").into(),
            duration.into(),
            condition(o.field("status")).into(),
        ]
    },
    selectable: &[("spec.signerName", |o| o.str_at("spec/signerName").to_owned())],
    subresources: &[
        Subresource::part(
            "approval",
            Verbs::STATUS.0,
            SubresourceUpdate { prepare: prepare_approval, validate: |new, old| update(new, old, Part::Approval) },
        ),
        Subresource::STATUS,
    ],
    strategy: Strategy {
        fill_from_user: Some(fill_from_user),
        prepare_for_update: |new, old| {
            keep(new, old, "spec");
            keep(new, old, "status");
        },
        prepare_for_status_update: prepare_status,
        validate: |o| validate(o, None),
        validate_update: |new, old| update(new, old, Part::Main),
        validate_status_update: |new, old| update(new, old, Part::Status),
        validate_name: path_segment_name,
        generation_changed: None,
        ..Strategy::SPEC_STATUS
    },
    ..Resource::cluster(
        GROUP,
        "v1",
        "certificatesigningrequests",
        "certificatesigningrequest",
        "CertificateSigningRequest",
    )
};

/// Who asks is what the server saw, never what the request says.
fn fill_from_user(request: &mut Object, user: &UserInfo) {
    let spec = object_mut(request).sub_or_new("spec");
    for field in ["username", "uid", "groups", "extra"] {
        spec.remove(field);
    }
    spec.insert("username".to_owned(), user.name.as_str().into());
    if !user.uid.is_empty() {
        spec.insert("uid".to_owned(), user.uid.as_str().into());
    }
    if !user.groups.is_empty() {
        spec.insert("groups".to_owned(), user.groups.clone().into());
    }
    if !user.extra.is_empty() {
        spec.insert("extra".to_owned(), json!(user.extra));
    }
}

/// What approvers say.
const APPROVAL: [&str; 2] = ["Approved", "Denied"];
/// Conditions that are true or not there.
const ONLY_TRUE: [&str; 3] = ["Approved", "Denied", "Failed"];

fn conditions(request: &Object) -> &[Value] {
    request.field("status").list("conditions")
}

fn of_type<'a>(request: &'a Object, kind: &'a str) -> impl Iterator<Item = &'a Value> {
    conditions(request).iter().filter(move |c| c.text("type") == kind)
}

/// The approval endpoint writes conditions alone.
fn prepare_approval(new: &mut Object, old: &Object) {
    keep(new, old, "spec");
    keep_nested(new, old, "status", "certificate");
    stamp_conditions(new, old);
}

/// The status endpoint does not touch what approvers said; more or fewer of their conditions are left for validation.
fn prepare_status(new: &mut Object, old: &Object) {
    keep(new, old, "spec");
    for kind in APPROVAL {
        let before: Vec<Value> = of_type(old, kind).cloned().collect();
        if of_type(new, kind).count() == before.len() {
            let mut before = before.into_iter();
            object_mut(new).sub_or_new("status").each("conditions", |condition| {
                if condition.text("type") == kind
                    && let Some(Value::Object(old)) = before.next()
                {
                    *condition = old;
                }
            });
        }
    }
    stamp_conditions(new, old);
}

/// Times that a writer left out: now, or when a condition that stays became what it is.
fn stamp_conditions(request: &mut Object, old: &Object) {
    let now = apimachinery::time::now_rfc3339();
    object_mut(request).sub_or_new("status").each("conditions", |condition| {
        condition.default_text("lastUpdateTime", &now);
        let same = |c: &&Value| ["type", "status"].iter().all(|f| c.text(f) == condition.text(f));
        let since = conditions(old).iter().find(same).map(|c| c.text("lastTransitionTime")).filter(|t| !t.is_empty());
        condition.default_text("lastTransitionTime", since.unwrap_or(&now));
    });
}

/// As upstream lists them: sorted.
const USAGES: &[&str] = &[
    "any",
    "cert sign",
    "client auth",
    "code signing",
    "content commitment",
    "crl sign",
    "data encipherment",
    "decipher only",
    "digital signature",
    "email protection",
    "encipher only",
    "ipsec end system",
    "ipsec tunnel",
    "ipsec user",
    "key agreement",
    "key encipherment",
    "microsoft sgc",
    "netscape sgc",
    "ocsp signing",
    "s/mime",
    "server auth",
    "signing",
    "timestamping",
];

/// The signer of requests that are older than `v1`.
const LEGACY_SIGNER: &str = "kubernetes.io/legacy-unknown";

/// `old` is the request before an update: what it has already may stay.
fn validate(request: &Object, old: Option<&Object>) -> ErrorList {
    let mut errors = ErrorList::new();
    let (at, spec) = (Path::new("spec"), request.field("spec"));
    let decoded = base64::engine::general_purpose::STANDARD.decode(spec.text("request")).unwrap_or_default();
    if let Err(error) = pki::parse_csr(&decoded) {
        let why = error.to_string();
        let why = why.strip_prefix("unable to parse csr: ").unwrap_or(&why).to_owned();
        errors.push(Error::invalid(&at.child("request"), spec.field("request").clone(), why));
    }
    usages(&mut errors, &at.child("usages"), spec, old.map(|old| old.field("spec")));
    let signer = spec.text("signerName");
    if signer == LEGACY_SIGNER && old.is_none_or(|old| old.field("spec").text("signerName") != signer) {
        let why = "the legacy signerName is not allowed via this API version";
        errors.push(Error::invalid(&at.child("signerName"), signer, why));
    } else {
        signer_name(&mut errors, &at.child("signerName"), signer);
    }
    if let Some(seconds) = spec.int("expirationSeconds").filter(|s| *s < 600) {
        let why = "may not specify a duration less than 600 seconds (10 minutes)";
        errors.push(Error::invalid(&at.child("expirationSeconds"), seconds, why));
    }
    validate_conditions(&mut errors, request, old);
    let certificate = request.field("status").text("certificate");
    let before = old.map_or("", |old| old.field("status").text("certificate"));
    if certificate != before
        && certificate_fault(before).is_none()
        && let Some(why) = certificate_fault(certificate)
    {
        errors.push(Error::invalid(&Path::new("status").child("certificate"), "<certificate data>", why));
    }
    errors
}

fn usages(errors: &mut ErrorList, at: &Path, spec: &Value, old: Option<&Value>) {
    let list: Vec<&str> = spec.texts("usages").collect();
    let is_unknown = |usage: &str| !USAGES.contains(&usage);
    let repeats = |list: &[&str], i: usize| list[..i].contains(&list[i]);
    let before: Vec<&str> = old.map(|old| old.texts("usages").collect()).unwrap_or_default();
    if list.is_empty() {
        errors.push(Error::required(at, ""));
    }
    if !before.iter().any(|usage| is_unknown(usage)) {
        let unknown = list.iter().enumerate().filter(|(_, usage)| is_unknown(usage));
        errors.extend(unknown.map(|(i, usage)| Error::not_supported(&at.index(i), *usage, USAGES)));
    }
    if !(0..before.len()).any(|i| repeats(&before, i)) {
        let repeated = (0..list.len()).filter(|i| repeats(&list, *i));
        errors.extend(repeated.map(|i| Error::duplicate(&at.index(i), list[i])));
    }
}

fn validate_conditions(errors: &mut ErrorList, request: &Object, old: Option<&Object>) {
    let list = conditions(request);
    let before = old.map_or(&[][..], conditions);
    let has = |list: &[Value], kind: &str| list.iter().any(|c| c.text("type") == kind);
    let repeats = |list: &[Value], i: usize| has(&list[..i], list[i].text("type"));
    let had_both = APPROVAL.iter().all(|kind| has(before, kind));
    let (had_empty, had_repeated) = (has(before, ""), (0..before.len()).any(|i| repeats(before, i)));
    let at = Path::new("status").child("conditions");
    for (i, condition) in list.iter().enumerate() {
        let (path, kind, status) = (at.index(i), condition.text("type"), condition.text("status"));
        if kind.is_empty() && !had_empty {
            errors.push(Error::required(&path.child("type"), ""));
        }
        let known: &[&str] = if ONLY_TRUE.contains(&kind) { &["True"] } else { &["False", "True", "Unknown"] };
        if status.is_empty() {
            errors.push(Error::required(&path.child("status"), ""));
        } else if !known.contains(&status) {
            errors.push(Error::not_supported(&path.child("status"), status, known));
        }
        let other = APPROVAL.iter().find(|other| APPROVAL.contains(&kind) && **other != kind);
        if !had_both && other.is_some_and(|other| has(&list[..i], other)) {
            errors.push(Error::invalid(&at, kind, "Approved and Denied conditions are mutually exclusive"));
        }
        if !had_repeated && repeats(list, i) {
            errors.push(Error::duplicate(&path.child("type"), kind));
        }
    }
}

/// What is wrong with an issued certificate (base64 of PEM blocks); an empty one is none yet.
fn certificate_fault(encoded: &str) -> Option<String> {
    if encoded.is_empty() {
        return None;
    }
    let pem = base64::engine::general_purpose::STANDARD.decode(encoded).unwrap_or_default();
    let blocks = pem_blocks(&String::from_utf8_lossy(&pem));
    if blocks.is_empty() {
        return Some("must contain at least one CERTIFICATE PEM block".to_owned());
    }
    for block in &blocks {
        if block.label != "CERTIFICATE" {
            return Some(format!("only CERTIFICATE PEM blocks are allowed, found {:?}", block.label));
        }
        if block.has_headers {
            return Some("no PEM block headers are permitted".to_owned());
        }
        if certificate_facts(&block.der).is_none() {
            return Some("x509: malformed certificate".to_owned());
        }
    }
    None
}

/// The endpoint that an update comes through.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Main,
    Status,
    Approval,
}

fn update(new: &Object, old: &Object, part: Part) -> ErrorList {
    let mut errors = validate(new, Some(old));
    let at = Path::new("status").child("conditions");
    let counts = |kind: &str| (of_type(new, kind).count(), of_type(old, kind).count());
    for kind in ONLY_TRUE {
        let (now, before) = counts(kind);
        if now < before {
            errors.push(Error::forbidden(&at, format!("updates may not remove a condition of type {kind:?}")));
        }
    }
    for kind in APPROVAL.into_iter().filter(|_| part != Part::Approval) {
        let (now, before) = counts(kind);
        if now > before {
            errors.push(Error::forbidden(&at, format!("updates may not add a condition of type {kind:?}")));
        } else if now == before && !of_type(new, kind).eq(of_type(old, kind)) {
            errors.push(Error::forbidden(&at, format!("updates may not modify a condition of type {kind:?}")));
        }
    }
    let certificate = |o: &Object| o.field("status").text("certificate").to_owned();
    if certificate(new) != certificate(old) {
        let at = Path::new("status").child("certificate");
        if part != Part::Status {
            errors.push(Error::forbidden(&at, "updates may not set certificate content"));
        } else if !certificate(old).is_empty() {
            errors.push(Error::forbidden(&at, "updates may not modify existing certificate content"));
        }
    }
    errors
}

/// Where a request is in its life.
fn condition(status: &Value) -> String {
    let has = |kind: &str| status.list("conditions").iter().any(|c| c.text("type") == kind);
    let mut text = match (has("Denied"), has("Approved")) {
        (true, _) => "Denied",
        (false, true) => "Approved",
        (false, false) => "Pending",
    }
    .to_owned();
    if has("Failed") {
        text.push_str(",Failed");
    }
    if !status.text("certificate").is_empty() {
        text.push_str(",Issued");
    }
    text
}

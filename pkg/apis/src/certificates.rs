//! Rows of `certificates.k8s.io`.

use apimachinery::field::{Error, ErrorList, Path};
use apimachinery::{Object, UserInfo, duration::human_duration, meta::ObjectExt, meta::object_mut};
use base64::Engine;
use serde_json::{Value, json};

use crate::cells::{NAME_AGE, age, name_age};
use crate::check;
use crate::resource::{Column, Resource, Strategy, Subresource, SubresourceUpdate, Verbs};
use crate::strategy::{keep, keep_nested};
use crate::tree::{Fill, Tree};

const GROUP: &str = "certificates.k8s.io";

pub const ROWS: &[Resource] = &[SIGNING_REQUEST, TRUST_BUNDLE, POD_REQUEST];

const SIGNING_REQUEST: Resource = Resource {
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
            SubresourceUpdate { prepare: prepare_approval, validate: validate_conditions },
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
        validate,
        validate_update: |new, _| validate(new),
        validate_status_update: |new, old| {
            let mut errors = validate_conditions(new, old);
            let (now, then) = (new.field("status").text("certificate"), old.field("status").text("certificate"));
            if !then.is_empty() && now != then {
                let path = Path::new("status").child("certificate");
                errors.push(Error::forbidden(&path, "field is immutable"));
            }
            errors
        },
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

const APPROVAL: [&str; 2] = ["Approved", "Denied"];

/// The approval endpoint writes conditions alone.
fn prepare_approval(new: &mut Object, old: &Object) {
    keep(new, old, "spec");
    keep_nested(new, old, "status", "certificate");
    stamp_conditions(new);
}

/// The status endpoint writes everything but what approvers said.
fn prepare_status(new: &mut Object, old: &Object) {
    keep(new, old, "spec");
    let of_approvers = |c: &Value| APPROVAL.contains(&c.text("type"));
    let mut conditions: Vec<Value> =
        old.field("status").list("conditions").iter().filter(|c| of_approvers(c)).cloned().collect();
    conditions.extend(new.field("status").list("conditions").iter().filter(|c| !of_approvers(c)).cloned());
    let status = object_mut(new).sub_or_new("status");
    if conditions.is_empty() {
        status.remove("conditions");
    } else {
        status.insert("conditions".to_owned(), conditions.into());
    }
    stamp_conditions(new);
}

fn stamp_conditions(request: &mut Object) {
    let now = apimachinery::time::now_rfc3339();
    let status = object_mut(request).sub_or_new("status");
    status.each("conditions", |condition| {
        condition.default_text("lastUpdateTime", &now);
        condition.default_text("lastTransitionTime", &now);
    });
}

const USAGES: &[&str] = &[
    "signing",
    "digital signature",
    "content commitment",
    "key encipherment",
    "key agreement",
    "data encipherment",
    "cert sign",
    "crl sign",
    "encipher only",
    "decipher only",
    "any",
    "server auth",
    "client auth",
    "code signing",
    "email protection",
    "s/mime",
    "ipsec end system",
    "ipsec tunnel",
    "ipsec user",
    "timestamping",
    "ocsp signing",
    "microsoft sgc",
    "netscape sgc",
];

fn validate(request: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    let (at, spec) = (Path::new("spec"), request.field("spec"));
    let pem = base64::engine::general_purpose::STANDARD.decode(spec.text("request")).unwrap_or_default();
    if !String::from_utf8_lossy(&pem).contains("-----BEGIN CERTIFICATE REQUEST-----") {
        let why = "PEM block type must be CERTIFICATE REQUEST";
        errors.push(Error::invalid(&at.child("request"), spec.field("request").clone(), why));
    }
    if spec.list("usages").is_empty() {
        errors.push(Error::required(&at.child("usages"), "usages must be provided"));
    }
    let usages: Vec<&str> = spec.texts("usages").collect();
    for (i, usage) in usages.iter().enumerate() {
        let path = at.child("usages").index(i);
        if !USAGES.contains(usage) {
            errors.push(Error::not_supported(&path, *usage, USAGES));
        } else if usages[..i].contains(usage) {
            errors.push(Error::duplicate(&path, *usage));
        }
    }
    signer_name(&mut errors, &at.child("signerName"), spec.text("signerName"));
    if let Some(seconds) = spec.int("expirationSeconds").filter(|s| *s < 600) {
        let why = "may not specify a duration less than 600 seconds (10 minutes)";
        errors.push(Error::invalid(&at.child("expirationSeconds"), seconds, why));
    }
    errors
}

/// `<domain>/<path>`.
fn signer_name(errors: &mut ErrorList, at: &Path, name: &str) {
    if name.is_empty() {
        errors.push(Error::required(at, ""));
        return;
    }
    let Some((domain, path)) = name.split_once('/').filter(|(_, path)| !path.contains('/')) else {
        let why = "must be a fully qualified domain and path of the form 'example.com/signer-name'";
        errors.push(Error::invalid(at, name, why));
        return;
    };
    let reasons = apimachinery::validation::is_dns1123_subdomain(domain);
    errors.extend(reasons.into_iter().map(|e| Error::invalid(at, domain, format!("validating label {domain:?}: {e}"))));
    if !domain.contains('.') {
        errors.push(Error::invalid(at, name, "should be a domain with at least two segments separated by dots"));
    }
    let reasons = apimachinery::validation::is_dns1123_subdomain(path);
    errors.extend(reasons.into_iter().map(|e| Error::invalid(at, path, format!("validating label {path:?}: {e}"))));
}

fn validate_conditions(new: &Object, _old: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    let conditions = new.field("status").list("conditions");
    let at = Path::new("status").child("conditions");
    for (i, condition) in conditions.iter().enumerate() {
        let at = at.index(i);
        let kind = condition.text("type");
        match condition.text("status") {
            "" => errors.push(Error::required(&at.child("status"), "")),
            "True" => {}
            other if matches!(kind, "Approved" | "Denied" | "Failed") => {
                errors.push(Error::not_supported(&at.child("status"), other, &["True"]));
            }
            _ => {}
        }
        if kind.is_empty() {
            errors.push(Error::required(&at.child("type"), ""));
        } else if conditions[..i].iter().any(|c| c.text("type") == kind) {
            errors.push(Error::duplicate(&at.child("type"), kind));
        }
    }
    if APPROVAL.iter().all(|kind| conditions.iter().any(|c| c.text("type") == *kind)) {
        let why = "Approved and Denied conditions are mutually exclusive";
        errors.push(Error::invalid(&at, new.field("status").field("conditions").clone(), why));
    }
    errors
}

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

const TRUST_BUNDLE: Resource = Resource {
    columns: &[Column::NAME, Column::text("SignerName", "Signer whose certificates it trusts.")],
    cells: |o, _| {
        let signer = o.str_at("spec/signerName");
        vec![o.name().into(), crate::cells::or_none(signer)]
    },
    selectable: &[("spec.signerName", |o| o.str_at("spec/signerName").to_owned())],
    strategy: Strategy {
        validate: validate_bundle,
        validate_update: |new, old| {
            let mut errors = validate_bundle(new);
            check::immutable(&mut errors, &Path::new("spec"), new.field("spec"), old.field("spec"), "signerName");
            errors
        },
        ..Strategy::PLAIN
    },
    ..Resource::cluster(GROUP, "v1", "clustertrustbundles", "clustertrustbundle", "ClusterTrustBundle")
};

fn validate_bundle(bundle: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    let (at, spec) = (Path::new("spec"), bundle.field("spec"));
    let signer = spec.text("signerName");
    if !signer.is_empty() {
        signer_name(&mut errors, &at.child("signerName"), signer);
        let prefix = format!("{}:", signer.replace('/', ":"));
        if !bundle.name().starts_with(&prefix) {
            let why = format!("ClusterTrustBundle for signerName {signer} must be named with prefix {prefix}");
            errors.push(Error::invalid(&Path::new("metadata").child("name"), bundle.name(), why));
        }
    }
    let trust = spec.text("trustBundle");
    let at = at.child("trustBundle");
    if trust.len() > 1024 * 1024 {
        errors.push(Error::too_long(&at, 1024 * 1024));
    } else if !trust.contains("-----BEGIN CERTIFICATE-----") {
        errors.push(Error::invalid(&at, "<value omitted>", "at least one trust anchor must be provided"));
    }
    errors
}

const POD_REQUEST: Resource = Resource {
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
                spec.default_nonzero("maxExpirationSeconds", 86400);
            }
        },
        validate: |o| {
            let mut errors = ErrorList::new();
            let (at, spec) = (Path::new("spec"), o.field("spec"));
            signer_name(&mut errors, &at.child("signerName"), spec.text("signerName"));
            for field in ["podName", "podUID", "serviceAccountName", "serviceAccountUID", "nodeName", "nodeUID"] {
                check::required(&mut errors, &at, spec, field);
            }
            errors
        },
        validate_update: |new, old| {
            let mut errors = ErrorList::new();
            check::immutable(&mut errors, &Path::default(), new, old, "spec");
            errors
        },
        generation_changed: None,
        ..Strategy::SPEC_STATUS
    },
    ..Resource::namespaced(GROUP, "v1", "podcertificaterequests", "podcertificaterequest", "PodCertificateRequest")
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{cells, create_errors, row};

    fn request() -> Value {
        let pem = base64::engine::general_purpose::STANDARD.encode("-----BEGIN CERTIFICATE REQUEST-----");
        json!({ "metadata": { "name": "c" }, "spec": {
            "request": pem, "signerName": "kubernetes.io/kube-apiserver-client", "usages": ["client auth"],
        } })
    }

    #[test]
    fn requests() {
        let requests = row(GROUP, "certificatesigningrequests");
        assert_eq!(create_errors(requests, request()), [""; 0]);
        let mut bad = request();
        bad["spec"]["signerName"] = json!("nobody");
        let want = "spec.signerName: Invalid value: \"nobody\": must be a fully qualified domain and path of the form \
                    'example.com/signer-name'";
        assert_eq!(create_errors(requests, bad), [want]);
        let mut object = request();
        object["spec"]["username"] = json!("root");
        fill_from_user(&mut object, &UserInfo::new("ann", ["dev"]));
        assert_eq!(object["spec"]["username"], "ann");
        object["status"] = json!({ "conditions": [{ "type": "Approved", "status": "True" }], "certificate": "eA==" });
        assert_eq!(cells(requests, &object)[5], "Approved,Issued");
    }

    #[test]
    fn approval_is_for_approvers() {
        let mut old = request();
        old["status"] = json!({ "conditions": [{ "type": "Approved", "status": "True" }] });
        let mut new = request();
        new["status"] = json!({ "certificate": "eA==", "conditions": [{ "type": "Denied", "status": "True" }] });
        prepare_status(&mut new, &old);
        assert_eq!(new["status"]["conditions"][0]["type"], "Approved");
        assert_eq!(new["status"]["conditions"].as_array().map(Vec::len), Some(1));
        let mut new = old.clone();
        new["status"]["certificate"] = json!("forged");
        prepare_approval(&mut new, &old);
        assert_eq!(new["status"].get("certificate"), None);
    }
}

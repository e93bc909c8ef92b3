//! ClusterTrustBundles.

use std::collections::BTreeMap;

use apimachinery::field::{Error, ErrorList, Path};
use apimachinery::validation::is_dns1123_subdomain;
use apimachinery::{Object, meta::ObjectExt};
use pki::inspect::{Block, certificate_facts, pem_blocks};

use super::{GROUP, signer_name};
use crate::check;
use crate::resource::{Column, Resource, Strategy};
use crate::tree::Tree;

pub const ROW: Resource = Resource {
    columns: &[Column::NAME, Column::text("SignerName", "Signer whose certificates it trusts.")],
    cells: |o, _| {
        let signer = o.str_at("spec/signerName");
        vec![o.name().into(), crate::cells::or_none(signer)]
    },
    selectable: &[("spec.signerName", |o| o.str_at("spec/signerName").to_owned())],
    strategy: Strategy {
        validate: |o| validate(o, None),
        validate_update: |new, old| {
            let mut errors = validate(new, Some(old));
            check::immutable(&mut errors, &Path::new("spec"), new.field("spec"), old.field("spec"), "signerName");
            errors
        },
        // Which names are legal depends on the signer: `validate` decides.
        validate_name: |_, _| Vec::new(),
        allow_unconditional_update: false,
        ..Strategy::PLAIN
    },
    ..Resource::cluster(GROUP, "v1", "clustertrustbundles", "clustertrustbundle", "ClusterTrustBundle")
};

const BUNDLE_MAX: usize = 1024 * 1024;

fn validate(bundle: &Object, old: Option<&Object>) -> ErrorList {
    let mut errors = ErrorList::new();
    let (at, spec) = (Path::new("spec"), bundle.field("spec"));
    let signer = spec.text("signerName");
    let faults = name_faults(bundle.name(), signer).into_iter();
    errors.extend(faults.map(|why| Error::invalid(&Path::new("metadata").child("name"), bundle.name(), why)));
    if !signer.is_empty() {
        signer_name(&mut errors, &at.child("signerName"), signer);
    }
    let anchors = spec.text("trustBundle");
    if old.is_none_or(|old| old.field("spec").text("trustBundle") != anchors) {
        trust_anchors(&mut errors, &at.child("trustBundle"), anchors);
    }
    errors
}

/// The name of a bundle begins with its signer, `/` written as `:`.
fn name_faults(name: &str, signer: &str) -> Vec<String> {
    if signer.is_empty() {
        return match name.contains(':') {
            true => vec!["ClusterTrustBundle without signer name must not have \":\" in its name".to_owned()],
            false => is_dns1123_subdomain(name),
        };
    }
    let prefix = format!("{}:", signer.replace('/', ":"));
    match name.strip_prefix(&prefix) {
        Some(rest) => is_dns1123_subdomain(rest),
        None => vec![format!("ClusterTrustBundle for signerName {signer} must be named with prefix {prefix}")],
    }
}

fn trust_anchors(errors: &mut ErrorList, at: &Path, text: &str) {
    if text.len() > BUNDLE_MAX {
        errors.push(Error::too_long(at, BUNDLE_MAX));
        return;
    }
    let mut refuse = |why: String| errors.push(Error::invalid(at, "<value omitted>", why));
    let blocks = pem_blocks(text);
    let faults: Vec<String> = blocks.iter().enumerate().filter_map(|(i, block)| anchor_fault(i, block)).collect();
    if !faults.is_empty() {
        faults.into_iter().for_each(refuse);
        return;
    }
    if blocks.is_empty() {
        refuse("at least one trust anchor must be provided".to_owned());
    }
    let mut places: BTreeMap<&[u8], Vec<String>> = BTreeMap::new();
    for (i, block) in blocks.iter().enumerate() {
        places.entry(&block.der).or_default().push(i.to_string());
    }
    for places in places.values().filter(|places| places.len() > 1) {
        refuse(format!("duplicate trust anchor (indices [{}])", places.join(" ")));
    }
}

fn anchor_fault(i: usize, block: &Block) -> Option<String> {
    if block.label != "CERTIFICATE" {
        return Some(format!("entry {i} has bad block type: {}", block.label));
    }
    if block.has_headers {
        return Some(format!("entry {i} has PEM block headers"));
    }
    match certificate_facts(&block.der) {
        None => Some(format!("entry {i} does not parse as X.509")),
        Some(facts) if !facts.is_ca => Some(format!("entry {i} does not have the CA bit set")),
        Some(_) => None,
    }
}

//! Rows of `certificates.k8s.io`.

mod bundle;
mod pod;
mod request;

use apimachinery::field::{Error, ErrorList, Path};
use apimachinery::validation::{DNS_LABEL_MAX, DNS_SUBDOMAIN_MAX, is_dns1123_label, is_dns1123_subdomain};

use crate::resource::Resource;

const GROUP: &str = "certificates.k8s.io";

pub const ROWS: &[Resource] = &[request::ROW, bundle::ROW, pod::ROW];

/// `<domain>/<path>`; `at` is the field itself.
pub(crate) fn signer_name(errors: &mut ErrorList, at: &Path, name: &str) {
    const NAME_MAX: usize = DNS_SUBDOMAIN_MAX + 1 + DNS_SUBDOMAIN_MAX + DNS_LABEL_MAX + 1;
    if name.is_empty() {
        errors.push(Error::required(at, ""));
        return;
    }
    let Some((domain, path)) = name.split_once('/').filter(|(_, path)| !path.contains('/')) else {
        let why = "must be a fully qualified domain and path of the form 'example.com/signer-name'";
        errors.push(Error::invalid(at, name, why));
        return;
    };
    if domain.len() > DNS_SUBDOMAIN_MAX {
        errors.push(Error::too_long(at, DNS_SUBDOMAIN_MAX));
    }
    labels(errors, at, domain, is_dns1123_label);
    if !domain.contains('.') {
        errors.push(Error::invalid(at, domain, "should be a domain with at least two segments separated by dots"));
    }
    labels(errors, at, path, is_dns1123_subdomain);
    if name.len() > NAME_MAX {
        errors.push(Error::too_long(at, NAME_MAX));
    }
}

fn labels(errors: &mut ErrorList, at: &Path, segment: &str, rule: crate::check::Rule) {
    for label in segment.split('.') {
        let reasons = rule(label).into_iter().map(|e| format!("validating label {label:?}: {e}"));
        errors.extend(reasons.map(|why| Error::invalid(at, segment, why)));
    }
}

#[cfg(test)]
mod tests;

//! What only pods for Windows have: security options, and host process containers.

use apimachinery::field::{Error, ErrorList, Path};
use apimachinery::validation::is_dns1123_subdomain;
use serde_json::Value;

use super::fields::PodSpec;
use crate::check;
use crate::tree::{Tree, items};

/// Longest credential spec, in KiB.
const CREDENTIAL_KIB: usize = 64;

/// `windowsOptions` of the security context at `owner`.
pub fn validate_options(errors: &mut ErrorList, owner: &Path, options: &Value) {
    if options.is_null() {
        return;
    }
    let at = &owner.child("windowsOptions");
    if let Some(name) = options.field("gmsaCredentialSpecName").as_str() {
        check::text(errors, at, "gmsaCredentialSpecName", name, is_dns1123_subdomain);
    }
    if let Some(spec) = options.field("gmsaCredentialSpec").as_str() {
        let path = at.child("gmsaCredentialSpec");
        if spec.is_empty() {
            errors.push(Error::invalid(&path, spec, "gmsaCredentialSpec cannot be an empty string"));
        } else if spec.len() > CREDENTIAL_KIB * 1024 {
            errors.push(Error::invalid(
                &path,
                spec,
                format!("gmsaCredentialSpec size must be under {CREDENTIAL_KIB} KiB"),
            ));
        }
    }
    if let Some(name) = options.field("runAsUserName").as_str() {
        for why in user_name_faults(name) {
            errors.push(Error::invalid(&at.child("runAsUserName"), name, why));
        }
    }
}

/// `[DOMAIN\]USER`.
fn user_name_faults(name: &str) -> Vec<&'static str> {
    if name.is_empty() {
        return vec!["runAsUserName cannot be an empty string"];
    }
    if name.chars().any(|c| c.is_ascii_control()) {
        return vec!["runAsUserName cannot contain control characters"];
    }
    let parts: Vec<&str> = name.split('\\').collect();
    let (domain, user) = match parts[..] {
        [user] => (None, user),
        [domain, user] => (Some(domain), user),
        _ => return vec!["runAsUserName cannot contain more than one backslash"],
    };
    let mut faults = Vec::new();
    if let Some(domain) = domain {
        if domain.len() >= 256 {
            faults.push("runAsUserName's Domain length must be under 256 characters");
        }
        if !is_netbios(domain) && !is_dns(domain) {
            faults.push("runAsUserName's Domain doesn't match the NetBios nor the DNS format");
        }
    }
    if user.is_empty() {
        faults.push("runAsUserName's User cannot be empty");
    } else if user.len() > 104 {
        faults.push("runAsUserName's User length must not be longer than 104 characters");
    }
    if !user.is_empty() && user.bytes().all(|c| matches!(c, b'.' | b' ')) {
        faults.push("runAsUserName's User cannot contain only periods or spaces");
    }
    if user.contains(|c| "\"/\\:;|=,+*?<>@[]".contains(c)) {
        faults.push("runAsUserName's User cannot contain the following characters: \"/\\:;|=,+*?<>@[]");
    }
    faults
}

fn is_netbios(domain: &str) -> bool {
    let length = domain.chars().count();
    (1..=15).contains(&length) && !domain.starts_with('.') && !domain.contains(|c| "\\/:*?\"<>|".contains(c))
}

fn is_dns(domain: &str) -> bool {
    let is_label = |label: &str| {
        let legal = |c: u8| c.is_ascii_alphanumeric() || c == b'-';
        (1..=63).contains(&label.len()) && label.bytes().all(legal) && !label.starts_with('-') && !label.ends_with('-')
    };
    domain.split('.').all(is_label)
}

/// Either all containers of a pod are processes of the host, or none is.
pub fn validate_host_process(errors: &mut ErrorList, at: &Path, spec: &PodSpec<'_>) {
    let own = |context: &Value| context.field("windowsOptions").field("hostProcess").as_bool();
    let of_pod = own(spec.security_context);
    let (mut all, mut processes) = (0, 0);
    for (list, containers) in spec.container_lists() {
        for (i, container) in items(containers).iter().enumerate() {
            all += 1;
            let of_container = own(container.field("securityContext"));
            if let (Some(pod), Some(container)) = (of_pod, of_container)
                && pod != container
            {
                let at = at.child(list).index(i).child("securityContext").child("windowsOptions");
                let why = format!("pod hostProcess value must be identical if both are specified, was {pod}");
                errors.push(Error::invalid(&at.child("hostProcess"), container, why));
            }
            processes += u32::from(of_container.or(of_pod) == Some(true));
        }
    }
    if processes == 0 {
        return;
    }
    if processes != all {
        let why = "If pod contains any hostProcess containers then all containers must be HostProcess containers";
        errors.push(Error::invalid(at, "", why));
    }
    if spec.host_network != &Value::Bool(true) {
        let why = "hostNetwork must be true if pod contains any hostProcess containers";
        errors.push(Error::invalid(&at.child("hostNetwork"), false, why));
    }
}

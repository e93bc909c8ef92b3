//! Texts of IP addresses and CIDRs, with the strict rules of KEP-4858: no leading zeros, no IPv4 inside IPv6, no bits
//! behind the prefix; newer fields also want the canonical form.

use std::borrow::Cow;
use std::net::IpAddr;

use apimachinery::field::{Error, ErrorList, Path};
use ipnet::IpNet;

const IP_TEXT: &str = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
const CIDR_TEXT: &str = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";
const ZEROS_TEXT: &str = "must not have leading 0s";
const MAPPED_TEXT: &str = "must not be an IPv4-mapped IPv6 address";

/// The address that a text means, leading zeros of its decimal parts aside.
pub fn sloppy_ip(text: &str) -> Option<IpAddr> {
    without_zeros(text).parse().ok()
}

/// The network that a text means, leading zeros aside.
pub fn sloppy_cidr(text: &str) -> Option<IpNet> {
    let (ip, bits) = text.split_once('/')?;
    if bits.is_empty() || !bits.bytes().all(|c| c.is_ascii_digit()) {
        return None;
    }
    IpNet::new(sloppy_ip(ip)?, bits.parse().ok()?).ok()
}

fn without_zeros(text: &str) -> Cow<'_, str> {
    let start = text.rfind(':').map_or(0, |colon| colon + 1);
    let (head, decimal) = text.split_at(start);
    if !decimal.contains('.') || !decimal.split('.').any(has_leading_zero) {
        return Cow::Borrowed(text);
    }
    let short = |part: &str| if has_leading_zero(part) { part.trim_start_matches('0') } else { part }.to_owned();
    let parts: Vec<String> =
        decimal.split('.').map(|part| if is_zero(part) { "0".to_owned() } else { short(part) }).collect();
    Cow::Owned(format!("{head}{}", parts.join(".")))
}

fn has_leading_zero(part: &str) -> bool {
    part.len() > 1 && part.starts_with('0')
}

fn is_zero(part: &str) -> bool {
    !part.is_empty() && part.bytes().all(|c| c == b'0')
}

fn is_mapped(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V6(ip) if ip.to_ipv4_mapped().is_some())
}

/// What is wrong with the text of an address; the canonical form is not asked for.
fn ip_fault(text: &str) -> Option<&'static str> {
    match text.parse::<IpAddr>() {
        Ok(ip) if is_mapped(ip) => Some(MAPPED_TEXT),
        Ok(_) => None,
        Err(_) if sloppy_ip(text).is_some() => Some(ZEROS_TEXT),
        Err(_) => Some(IP_TEXT),
    }
}

fn cidr_fault(text: &str) -> Option<&'static str> {
    let Some(net) = sloppy_cidr(text) else { return Some(CIDR_TEXT) };
    let (ip, bits) = text.split_once('/')?;
    if ip.parse::<IpAddr>().is_err() || has_leading_zero(bits) {
        Some(ZEROS_TEXT)
    } else if is_mapped(net.addr()) {
        Some(MAPPED_TEXT)
    } else if net.addr() != net.network() {
        Some("must not have bits set beyond the prefix length")
    } else {
        None
    }
}

/// An address in a field that is older than the canonical form. Texts in `kept` were there before and may stay.
pub fn legacy_ip(errors: &mut ErrorList, path: &Path, text: &str, kept: &[&str]) {
    if let Some(why) = ip_fault(text).filter(|_| !kept.contains(&text)) {
        errors.push(Error::invalid(path, text, why));
    }
}

/// The same for a network.
pub fn legacy_cidr(errors: &mut ErrorList, path: &Path, text: &str, kept: &[&str]) {
    if let Some(why) = cidr_fault(text).filter(|_| !kept.contains(&text)) {
        errors.push(Error::invalid(path, text, why));
    }
}

/// The reason why a text is no address in canonical form.
pub fn canonical_ip_fault(text: &str) -> Option<String> {
    let form = text.parse::<IpAddr>().map(|ip| ip.to_string()).unwrap_or_default();
    ip_fault(text).map(str::to_owned).or_else(|| not_canonical(text, &form))
}

/// The reason why a text is no network in canonical form.
pub fn canonical_cidr_fault(text: &str) -> Option<String> {
    let form = sloppy_cidr(text).map(|net| net.to_string()).unwrap_or_default();
    cidr_fault(text).map(str::to_owned).or_else(|| not_canonical(text, &form))
}

/// The reason why a text is no address of an interface: a whole address with the length of its network's prefix.
pub fn interface_fault(text: &str) -> Option<String> {
    let Some(net) = sloppy_cidr(text) else { return Some(CIDR_TEXT.to_owned()) };
    not_canonical(text, &net.to_string())
}

fn not_canonical(text: &str, form: &str) -> Option<String> {
    (text != form).then(|| format!("must be in canonical form ({form:?})"))
}

/// The warning for an address that is legal but not canonical.
pub fn ip_warning(path: &Path, text: &str) -> Option<String> {
    let form = text.parse::<IpAddr>().ok()?.to_string();
    (text != form).then(|| format!("{path}: IPv6 address {text:?} should be in RFC 5952 canonical format ({form:?})"))
}

/// The warning for a network that is legal but not canonical.
pub fn cidr_warning(path: &Path, text: &str) -> Option<String> {
    let form = text.parse::<IpNet>().ok()?.to_string();
    (text != form)
        .then(|| format!("{path}: IPv6 CIDR value {text:?} should be in RFC 5952 canonical format ({form:?})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_strict() {
        let cases: &[(&str, Option<&str>)] = &[
            ("10.9.8.7", None),
            ("2001:db8::ffff", None),
            ("2001:DB8::FFFF", None),
            ("10.9.8", Some(IP_TEXT)),
            ("10.9.8.256", Some(IP_TEXT)),
            ("fe80::1%eth0", Some(IP_TEXT)),
            ("", Some(IP_TEXT)),
            ("010.009.8.7", Some(ZEROS_TEXT)),
            ("10.000.8.7", Some(ZEROS_TEXT)),
            ("::ffff:10.0.0.01", Some(ZEROS_TEXT)),
            ("::ffff:10.0.0.1", Some(MAPPED_TEXT)),
        ];
        for (text, want) in cases {
            assert_eq!(ip_fault(text), *want, "{text}");
        }
        assert_eq!(canonical_ip_fault("2001:DB8::1").as_deref(), Some("must be in canonical form (\"2001:db8::1\")"));
        assert_eq!(canonical_ip_fault("2001:db8::1"), None);
    }

    #[test]
    fn networks_are_strict() {
        let cases: &[(&str, Option<&str>)] = &[
            ("10.9.8.0/24", None),
            ("0.0.0.0/0", None),
            ("2001:db8::/64", None),
            ("10.9.8.0", Some(CIDR_TEXT)),
            ("10.9.8.0/33", Some(CIDR_TEXT)),
            ("10.9.8.0/-1", Some(CIDR_TEXT)),
            ("10.09.8.0/24", Some(ZEROS_TEXT)),
            ("10.9.8.0/024", Some(ZEROS_TEXT)),
            ("::ffff:10.0.0.0/120", Some(MAPPED_TEXT)),
            ("10.9.8.7/24", Some("must not have bits set beyond the prefix length")),
        ];
        for (text, want) in cases {
            assert_eq!(cidr_fault(text), *want, "{text}");
        }
        let mapped = "must not be an IPv4-mapped IPv6 address";
        assert_eq!(canonical_cidr_fault("::ffff:10.0.0.0/120").as_deref(), Some(mapped));
        let want = "must be in canonical form (\"2001:db8::/64\")";
        assert_eq!(canonical_cidr_fault("2001:DB8:0::/64").as_deref(), Some(want));
    }
}

//! Formats of strings in schemas of custom resources. Formats that are not known here are not checked, as upstream does with
//! those that it does not know.

use std::net::{Ipv4Addr, Ipv6Addr};

use base64::Engine;
use ipnet::IpNet;

/// The text is of the format, or the format is not known.
pub fn fits(format: &str, text: &str) -> bool {
    match format {
        "byte" => base64::engine::general_purpose::STANDARD.decode(text).is_ok(),
        "cidr" => text.parse::<IpNet>().is_ok(),
        "date" => text.parse::<jiff::civil::Date>().is_ok() && text.len() == "2006-01-02".len(),
        "date-time" => text.parse::<jiff::Timestamp>().is_ok(),
        "ipv4" => text.parse::<Ipv4Addr>().is_ok(),
        "ipv6" => text.parse::<Ipv6Addr>().is_ok(),
        "mac" => is_mac(text),
        "uuid" => is_uuid(text),
        _ => true,
    }
}

fn is_hex(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|c| c.is_ascii_hexdigit())
}

/// Six bytes, joined by `:` or `-`.
fn is_mac(text: &str) -> bool {
    [':', '-'].iter().any(|joint| text.split(*joint).count() == 6 && text.split(*joint).all(|byte| is_hex(byte, 2)))
}

/// Groups of 8, 4, 4, 4 and 12 digits; the joints may be missing.
fn is_uuid(text: &str) -> bool {
    let groups: Vec<&str> = text.split('-').collect();
    is_hex(text, 32) || (groups.len() == 5 && groups.iter().zip([8, 4, 4, 4, 12]).all(|(group, n)| is_hex(group, n)))
}

#[cfg(test)]
mod tests {
    use super::fits;

    #[test]
    fn formats() {
        let cases: &[(&str, &[&str], &[&str])] = &[
            ("byte", &["", "MQ=="], &["M", "!"]),
            ("cidr", &["10.0.0.0/8", "fd00::/64"], &["10.0.0.0", "10.0.0.0/33"]),
            ("date", &["2026-11-21"], &["2026-11-31", "21.11.2026", "2026-11-21T00:00:00"]),
            ("date-time", &["2026-11-21T10:00:00Z", "2026-11-21T10:00:00.5+01:00"], &["2026-11-21", "now"]),
            ("ipv4", &["10.0.0.1"], &["::1", "10.0.0"]),
            ("ipv6", &["::1"], &["10.0.0.1", ":"]),
            ("mac", &["01:23:45:67:89:ab", "01-23-45-67-89-AB"], &["01:23:45:67:89", "01:23:45:67:89:xy"]),
            ("uuid", &["00000000-0000-4000-8000-000000000000"], &["00000000", "x"]),
            ("something", &["", "x"], &[]),
        ];
        for (format, good, bad) in cases {
            for text in *good {
                assert!(fits(format, text), "{format}: {text}");
            }
            for text in *bad {
                assert!(!fits(format, text), "{format}: {text}");
            }
        }
    }
}

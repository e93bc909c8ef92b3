//! Rules for names, labels and simple values, with upstream's texts. Every function answers the reasons why a text is
//! refused; no reasons means that it is legal.

/// Longest DNS-1123 and DNS-1035 label.
pub const DNS_LABEL_MAX: usize = 63;
/// Longest DNS-1123 subdomain.
pub const DNS_SUBDOMAIN_MAX: usize = 253;

const DNS1123_LABEL_TEXT: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', \
     and must start and end with an alphanumeric character";
const DNS1123_LABEL_FORMAT: &str = "[a-z0-9]([-a-z0-9]*[a-z0-9])?";
const DNS1123_SUBDOMAIN_TEXT: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, \
     '-' or '.', and must start and end with an alphanumeric character";
const DNS1123_SUBDOMAIN_FORMAT: &str = "[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*";
const DNS1035_LABEL_TEXT: &str = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with \
     an alphabetic character, and end with an alphanumeric character";
const DNS1035_LABEL_FORMAT: &str = "[a-z]([-a-z0-9]*[a-z0-9])?";
const QUALIFIED_NAME_TEXT: &str =
    "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character";
const QUALIFIED_NAME_FORMAT: &str = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]";
const LABEL_VALUE_TEXT: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or \
     '.', and must start and end with an alphanumeric character";
const LABEL_VALUE_FORMAT: &str = "(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?";

/// `must be no more than <max> bytes`; upstream counts bytes since 1.34.
pub fn max_len_error(max: usize) -> String {
    format!("must be no more than {max} bytes")
}

pub fn empty_error() -> String {
    "must be non-empty".to_owned()
}

/// The text and examples that go with a regular expression: `<text> (e.g. 'a', or 'b', regex used for validation is '<format>')`.
pub fn regex_error(text: &str, format: &str, examples: &[&str]) -> String {
    if examples.is_empty() {
        return format!("{text} (regex used for validation is '{format}')");
    }
    let mut out = format!("{text} (e.g. ");
    for (i, example) in examples.iter().enumerate() {
        if i > 0 {
            out.push_str(" or ");
        }
        out.push('\'');
        out.push_str(example);
        out.push_str("', ");
    }
    out.push_str("regex used for validation is '");
    out.push_str(format);
    out.push_str("')");
    out
}

fn lower_alnum(c: u8) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit()
}

/// First and last character by `ends`, the rest by `ends` or one of `inner`.
fn delimited(text: &str, ends: impl Fn(u8) -> bool, inner: &[u8]) -> bool {
    match text.as_bytes() {
        [] => false,
        bytes @ [first, .., last] => ends(*first) && ends(*last) && bytes.iter().all(|c| ends(*c) || inner.contains(c)),
        [only] => ends(*only),
    }
}

fn label_shape(text: &str) -> bool {
    delimited(text, lower_alnum, b"-")
}

fn subdomain_shape(text: &str) -> bool {
    text.split('.').all(label_shape)
}

fn name_part_shape(text: &str) -> bool {
    delimited(text, |c| c.is_ascii_alphanumeric(), b"-_.")
}

pub fn is_dns1123_label(value: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if value.len() > DNS_LABEL_MAX {
        errors.push(max_len_error(DNS_LABEL_MAX));
    }
    if !label_shape(value) {
        if subdomain_shape(value) {
            errors.push("must not contain dots".to_owned());
        } else {
            errors.push(regex_error(DNS1123_LABEL_TEXT, DNS1123_LABEL_FORMAT, &["my-name", "123-abc"]));
        }
    }
    errors
}

pub fn is_dns1123_subdomain(value: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if value.len() > DNS_SUBDOMAIN_MAX {
        errors.push(max_len_error(DNS_SUBDOMAIN_MAX));
    }
    if !subdomain_shape(value) {
        errors.push(regex_error(DNS1123_SUBDOMAIN_TEXT, DNS1123_SUBDOMAIN_FORMAT, &["example.com"]));
    }
    errors
}

/// A DNS-1123 subdomain whose labels may also have `_`, though not at their end, as some DNS names have.
pub fn is_dns1123_subdomain_with_underscore(value: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if value.len() > DNS_SUBDOMAIN_MAX {
        errors.push(max_len_error(DNS_SUBDOMAIN_MAX));
    }
    let part = |p: &str| delimited(p.strip_prefix('_').unwrap_or(p), lower_alnum, b"-_");
    if !value.split('.').all(part) {
        let text = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '_', '-' or '.', \
                    and must start and end with an alphanumeric character";
        let label = "_?[a-z0-9]([-_a-z0-9]*[a-z0-9])?";
        errors.push(regex_error(text, &format!("{label}(\\.{label})*"), &["example.com"]));
    }
    errors
}

pub fn is_wildcard_dns1123_subdomain(value: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if value.len() > DNS_SUBDOMAIN_MAX {
        errors.push(max_len_error(DNS_SUBDOMAIN_MAX));
    }
    if !value.strip_prefix("*.").is_some_and(subdomain_shape) {
        let text = "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must \
                    consist of lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character";
        let format = format!("\\*\\.{DNS1123_SUBDOMAIN_FORMAT}");
        errors.push(regex_error(text, &format, &["*.example.com"]));
    }
    errors
}

pub fn is_dns1035_label(value: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if value.len() > DNS_LABEL_MAX {
        errors.push(max_len_error(DNS_LABEL_MAX));
    }
    if !label_shape(value) || !value.starts_with(|c: char| c.is_ascii_lowercase()) {
        errors.push(regex_error(DNS1035_LABEL_TEXT, DNS1035_LABEL_FORMAT, &["my-name", "abc-123"]));
    }
    errors
}

/// `[prefix/]name`: a label or annotation key, a resource name, a finalizer.
pub fn is_qualified_name(value: &str) -> Vec<String> {
    let mut errors = Vec::new();
    let (prefix, name) = match value.split_once('/') {
        None => (None, value),
        Some((prefix, name)) if !name.contains('/') => (Some(prefix), name),
        Some(_) => {
            let text = format!("a qualified name {QUALIFIED_NAME_TEXT}");
            let text = regex_error(&text, QUALIFIED_NAME_FORMAT, &["MyName", "my.name", "123-abc"]);
            return vec![format!("{text} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')")];
        }
    };
    match prefix {
        Some("") => errors.push(format!("prefix part {}", empty_error())),
        Some(prefix) => errors.extend(is_dns1123_subdomain(prefix).iter().map(|e| format!("prefix part {e}"))),
        None => {}
    }
    if name.is_empty() {
        errors.push(format!("name part {}", empty_error()));
    } else if name.len() > DNS_LABEL_MAX {
        errors.push(format!("name part {}", max_len_error(DNS_LABEL_MAX)));
    }
    if !name_part_shape(name) {
        let text = regex_error(QUALIFIED_NAME_TEXT, QUALIFIED_NAME_FORMAT, &["MyName", "my.name", "123-abc"]);
        errors.push(format!("name part {text}"));
    }
    errors
}

pub fn is_valid_label_value(value: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if value.len() > DNS_LABEL_MAX {
        errors.push(max_len_error(DNS_LABEL_MAX));
    }
    if !value.is_empty() && !name_part_shape(value) {
        errors.push(regex_error(LABEL_VALUE_TEXT, LABEL_VALUE_FORMAT, &["MyValue", "my_value", "12345"]));
    }
    errors
}

/// A domain-like name with at least two parts.
pub fn is_fully_qualified_name(value: &str) -> Vec<String> {
    if value.is_empty() {
        return vec![empty_error()];
    }
    let errors = is_dns1123_subdomain(value);
    if !errors.is_empty() {
        return errors;
    }
    if value.split('.').count() < 3 {
        return vec!["should be a domain with at least three segments separated by dots".to_owned()];
    }
    Vec::new()
}

/// `example.com/some/path`.
pub fn is_domain_prefixed_path(value: &str) -> Vec<String> {
    let Some((domain, path)) = value.split_once('/') else {
        return vec!["must be a domain-prefixed path (such as \"acme.io/foo\")".to_owned()];
    };
    if domain.is_empty() || path.is_empty() {
        return vec!["must be a domain-prefixed path (such as \"acme.io/foo\")".to_owned()];
    }
    let domain_errors = is_dns1123_subdomain(domain);
    if !domain_errors.is_empty() {
        return domain_errors;
    }
    let legal = |c: u8| c.is_ascii_alphanumeric() || b"/-._~%!$&'()*+,;=:".contains(&c);
    if path.bytes().all(legal) { Vec::new() } else { vec![regex_error("Invalid path", HTTP_PATH_FORMAT, &[])] }
}

const HTTP_PATH_FORMAT: &str = r"[A-Za-z0-9/\-._~%!$&'()*+,;=:]+";

/// `example.com/name`: a qualified name that must have a domain.
pub fn is_domain_prefixed_key(value: &str) -> Vec<String> {
    let errors = is_qualified_name(value);
    if errors.is_empty() && !value.contains('/') {
        return vec!["must be a domain-prefixed key (such as \"acme.io/foo\")".to_owned()];
    }
    errors
}

/// Lower and upper case, digits, `-`, `_`, `.`: keys of ConfigMaps and Secrets.
pub fn is_config_map_key(value: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if value.len() > DNS_SUBDOMAIN_MAX {
        errors.push(max_len_error(DNS_SUBDOMAIN_MAX));
    }
    if value.is_empty() || !value.bytes().all(|c| c.is_ascii_alphanumeric() || b"-_.".contains(&c)) {
        let text = "a valid config key must consist of alphanumeric characters, '-', '_' or '.'";
        errors.push(regex_error(text, "[-._a-zA-Z0-9]+", &["key.name", "KEY_NAME", "key-name"]));
    }
    errors.extend(dots_errors(value));
    errors
}

fn dots_errors(value: &str) -> Option<String> {
    match value {
        "." => Some("must not be '.'".to_owned()),
        ".." => Some("must not be '..'".to_owned()),
        v if v.starts_with("..") => Some("must not start with '..'".to_owned()),
        _ => None,
    }
}

/// Environment variable names: printable ASCII without `=` (upstream's relaxed rule, on by default since 1.34).
pub fn is_env_var_name(value: &str) -> Vec<String> {
    if value.is_empty() {
        return vec![format!("environment variable name {}", empty_error())];
    }
    if !value.bytes().all(|c| (b' '..=b'~').contains(&c) && c != b'=') {
        let text = "a valid environment variable name must consist only of printable ASCII characters other than '='";
        return vec![text.to_owned()];
    }
    Vec::new()
}

pub fn is_http_header_name(value: &str) -> Vec<String> {
    if !value.is_empty() && value.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-') {
        return Vec::new();
    }
    let text = "a valid HTTP header must consist of alphanumeric characters or '-'";
    vec![regex_error(text, "[-A-Za-z0-9]+", &["X-Header-Name"])]
}

/// The text for a number out of a range, both ends included.
pub fn inclusive_range_error(low: i64, high: i64) -> String {
    format!("must be between {low} and {high}, inclusive")
}

pub fn is_in_range(value: i64, low: i64, high: i64) -> Vec<String> {
    if (low..=high).contains(&value) { Vec::new() } else { vec![inclusive_range_error(low, high)] }
}

pub fn is_valid_port_num(port: i64) -> Vec<String> {
    is_in_range(port, 1, 65535)
}

/// Names of ports (IANA service names): at most 15 characters with a letter among them.
pub fn is_valid_port_name(value: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if value.len() > 15 {
        errors.push(max_len_error(15));
    }
    if value.is_empty() || !value.bytes().all(|c| lower_alnum(c) || c == b'-') {
        errors.push("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)".to_owned());
    }
    if !value.bytes().any(|c| c.is_ascii_lowercase()) {
        errors.push("must contain at least one letter (a-z)".to_owned());
    }
    if value.contains("--") {
        errors.push("must not contain consecutive hyphens".to_owned());
    }
    if value.starts_with('-') || value.ends_with('-') {
        errors.push("must not begin or end with a hyphen".to_owned());
    }
    errors
}

/// `10%`.
pub fn is_valid_percent(value: &str) -> Vec<String> {
    let digits = value.strip_suffix('%').unwrap_or("");
    if !digits.is_empty() && digits.bytes().all(|c| c.is_ascii_digit()) {
        return Vec::new();
    }
    let text = "a valid percent string must be a numeric string followed by an ending '%'";
    vec![regex_error(text, "[0-9]+%", &["1%", "93%"])]
}

/// Names that become one segment of a URL path: anything but `.`, `..`, and names with `/` or `%`.
pub fn is_path_segment_name(name: &str) -> Vec<String> {
    if name == "." || name == ".." {
        return vec![format!("may not be '{name}'")];
    }
    let bad = ["/", "%"].iter().filter(|c| name.contains(**c));
    bad.map(|c| format!("may not contain '{c}'")).collect()
}

/// Wraps a name rule for `generateName`: the trailing dash, to which the suffix is appended, is no fault.
pub fn mask_trailing_dash(name: &str, generate: bool) -> String {
    match name.strip_suffix('-') {
        Some(stem) if generate && !stem.is_empty() => format!("{stem}a"),
        _ => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        type Rule = fn(&str) -> Vec<String>;
        let rules: &[(Rule, &[&str], &[&str])] = &[
            (is_dns1123_label, &["a", "0", "a-b", "a--b9"], &["", "-a", "a-", "A", "a.b", "a_b"]),
            (is_dns1123_subdomain, &["a", "a.b-c.d", "1.2"], &["", ".", "a.", ".a", "a..b", "a.-b", "A.b"]),
            (is_dns1035_label, &["a", "a1", "a-1"], &["", "1a", "-a", "a-", "a.b"]),
            (is_qualified_name, &["a", "A_b.c", "x.y/Z"], &["", "/a", "a/", "a/b/c", "-a", "A.b/c", "a b"]),
            (is_valid_label_value, &["", "a", "A_b.c-d"], &["-a", "a-", "a b", "a/b"]),
            (is_config_map_key, &["a", "A.b_c-d", ".a"], &["", ".", "..", "..a", "a/b"]),
            (is_valid_port_name, &["a", "http", "a-1"], &["", "-a", "a-", "1", "a--b", "a23456789012345x", "A"]),
            (is_valid_percent, &["1%", "100%"], &["", "%", "1", "-1%", "1.5%"]),
            (is_env_var_name, &["a", "1x y"], &["", "a=b", "a\nb"]),
            (is_wildcard_dns1123_subdomain, &["*.a", "*.a.b"], &["*", "*.", "a.b", "**.a"]),
            (is_dns1123_subdomain_with_underscore, &["a", "_a.b_c"], &["", "a_", "_", "__a", "a._", "A"]),
            (is_domain_prefixed_key, &["a/b", "a.b/C_d"], &["", "a", "a/", "/b", "a/b/c"]),
            (is_domain_prefixed_path, &["a/b", "a.b/c/d"], &["", "a", "a/", "/b", "A/b", "a/b?"]),
        ];
        for (i, (rule, good, bad)) in rules.iter().enumerate() {
            for text in *good {
                assert_eq!(rule(text), Vec::<String>::new(), "rule {i}: {text:?}");
            }
            for text in *bad {
                assert!(!rule(text).is_empty(), "rule {i}: {text:?} must be refused");
            }
        }
        assert_eq!(is_dns1123_label(&"a".repeat(64)), ["must be no more than 63 bytes"]);
        assert_eq!(is_dns1123_label("a.b"), ["must not contain dots"]);
    }

    #[test]
    fn upstream_text() {
        assert_eq!(
            is_dns1123_subdomain("A"),
            [
                "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must \
              start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is \
              '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
            ]
        );
        assert!(is_dns1123_label("A")[0].contains("(e.g. 'my-name',  or '123-abc', regex used"));
        assert_eq!(is_valid_port_num(0), ["must be between 1 and 65535, inclusive"]);
    }
}

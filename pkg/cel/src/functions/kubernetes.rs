//! The functions that Kubernetes adds.

use super::Row;

const EXTREME: &[&str] = of_ordered!("list(", ").() -> ", "");
const OF_URL: &[&str] = &["URL.() -> string"];
const OF_IMAGE: &[&str] = &["Image.() -> string"];
const OF_IP: &[&str] = &["IP.() -> bool"];
const OF_CHECK: &[&str] = &["ResourceCheck.(string) -> ResourceCheck"];
const QUANTITIES: &[&str] = &["Quantity.(Quantity) -> Quantity", "Quantity.(int) -> Quantity"];
const COMPARED: &[&str] = &["Quantity.(Quantity) -> bool", "Semver.(Semver) -> bool"];
const OF_VERSION: &[&str] = &["Semver.() -> int"];
const FORMAT: &[&str] = &["() -> NamedFormat"];

pub const TABLE: &[Row] = &[
    // Lists.
    (
        "sum",
        &["list(int).() -> int", "list(uint).() -> uint", "list(double).() -> double", "list(duration).() -> duration"],
    ),
    ("min", EXTREME),
    ("max", EXTREME),
    ("indexOf", &["list(A).(A) -> int"]),
    ("lastIndexOf", &["list(A).(A) -> int"]),
    // Regular expressions.
    ("find", &["string.(string) -> string"]),
    ("findAll", &["string.(string) -> list(string)", "string.(string, int) -> list(string)"]),
    // URLs.
    ("url", &["(string) -> URL"]),
    ("isURL", &["(string) -> bool"]),
    ("getScheme", OF_URL),
    ("getHost", OF_URL),
    ("getHostname", OF_URL),
    ("getPort", OF_URL),
    ("getEscapedPath", OF_URL),
    ("getQuery", &["URL.() -> map(string, list(string))"]),
    // Addresses and networks.
    ("ip", &["(string) -> IP", "CIDR.() -> IP"]),
    ("isIP", &["(string) -> bool"]),
    ("ip.isCanonical", &["(string) -> bool"]),
    ("family", &["IP.() -> int"]),
    ("isUnspecified", OF_IP),
    ("isLoopback", OF_IP),
    ("isLinkLocalMulticast", OF_IP),
    ("isLinkLocalUnicast", OF_IP),
    ("isGlobalUnicast", OF_IP),
    ("cidr", &["(string) -> CIDR"]),
    ("isCIDR", &["(string) -> bool"]),
    ("containsIP", &["CIDR.(string) -> bool", "CIDR.(IP) -> bool"]),
    ("containsCIDR", &["CIDR.(string) -> bool", "CIDR.(CIDR) -> bool"]),
    ("prefixLength", &["CIDR.() -> int"]),
    ("masked", &["CIDR.() -> CIDR"]),
    // Quantities.
    ("quantity", &["(string) -> Quantity"]),
    ("isQuantity", &["(string) -> bool"]),
    ("sign", &["Quantity.() -> int"]),
    ("isInteger", &["Quantity.() -> bool"]),
    ("asInteger", &["Quantity.() -> int"]),
    ("asApproximateFloat", &["Quantity.() -> double"]),
    ("add", QUANTITIES),
    ("sub", QUANTITIES),
    ("isGreaterThan", COMPARED),
    ("isLessThan", COMPARED),
    ("compareTo", &["Quantity.(Quantity) -> int", "Semver.(Semver) -> int"]),
    // Versions.
    ("semver", &["(string) -> Semver", "(string, bool) -> Semver"]),
    ("isSemver", &["(string) -> bool", "(string, bool) -> bool"]),
    ("major", OF_VERSION),
    ("minor", OF_VERSION),
    ("patch", OF_VERSION),
    // Names of images.
    ("image", &["(string) -> Image"]),
    ("isImage", &["(string) -> bool"]),
    ("containsDigest", &["Image.() -> bool"]),
    ("registry", OF_IMAGE),
    ("repository", OF_IMAGE),
    ("identifier", OF_IMAGE),
    ("tag", OF_IMAGE),
    ("digest", OF_IMAGE),
    // Formats of strings.
    ("format.named", &["(string) -> optional_type(NamedFormat)"]),
    ("format.dns1123Label", FORMAT),
    ("format.dns1123Subdomain", FORMAT),
    ("format.dns1035Label", FORMAT),
    ("format.qualifiedName", FORMAT),
    ("format.dns1123LabelPrefix", FORMAT),
    ("format.dns1123SubdomainPrefix", FORMAT),
    ("format.dns1035LabelPrefix", FORMAT),
    ("format.labelValue", FORMAT),
    ("format.uri", FORMAT),
    ("format.uuid", FORMAT),
    ("format.byte", FORMAT),
    ("format.date", FORMAT),
    ("format.datetime", FORMAT),
    ("validate", &["NamedFormat.(string) -> optional_type(list(string))"]),
    // Questions to the authorizer.
    ("path", &["Authorizer.(string) -> PathCheck"]),
    ("group", &["Authorizer.(string) -> GroupCheck"]),
    ("serviceAccount", &["Authorizer.(string, string) -> Authorizer"]),
    ("resource", &["GroupCheck.(string) -> ResourceCheck"]),
    ("subresource", OF_CHECK),
    ("namespace", OF_CHECK),
    ("name", OF_CHECK),
    ("fieldSelector", OF_CHECK),
    ("labelSelector", OF_CHECK),
    ("check", &["PathCheck.(string) -> Decision", "ResourceCheck.(string) -> Decision"]),
    ("allowed", &["Decision.() -> bool"]),
    ("reason", &["Decision.() -> string"]),
    ("errored", &["Decision.() -> bool"]),
    ("error", &["Decision.() -> string"]),
];

pub const PATCHES: &[Row] = &[("jsonpatch.escapeKey", &["(string) -> string"])];

/// An attribute of a device has one value or several.
pub const DEVICES: &[Row] = &[("includes", &["A.(B) -> bool"])];

mod ingress;
mod slices;

use serde_json::json;

use crate::testing::{Rules, cells, check_create, check_defaults, check_update, row, warnings};

const GROUP: &str = super::GROUP;

const SUBDOMAIN: &str = "{subdomain}";

/// One wrong value of a text, with its reason.
fn invalid(path: &str, value: &str, why: &str) -> String {
    format!("{path}: Invalid value: {value:?}: {why}")
}

#[test]
fn policy_rules() {
    let rows = row(GROUP, "networkpolicies");
    let base = json!({ "metadata": { "name": "p" }, "spec": {
        "podSelector": {}, "ingress": [{ "from": [{ "ipBlock": { "cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"] } }] }],
        "egress": [{ "ports": [{ "port": 53 }], "to": [{ "podSelector": {}, "namespaceSelector": {} }] }],
    } });
    let block = "spec.ingress[0].from[0].ipBlock";
    let at = |field: &str, rest: &str| format!("{block}.{field}: {rest}");
    let rules: Rules<'_> = &[
        ("", &[]),
        ("spec.ingress[0].from[0] = {}", &["spec.ingress[0].from[0]: Required value: must specify a peer"]),
        (
            "spec.ingress[0].from[0].podSelector = {}",
            &["spec.ingress[0].from[0]: Forbidden: may not specify both ipBlock and another peer"],
        ),
        ("spec.ingress[0].from[0].ipBlock.cidr = null", &[&at("cidr", "Required value")]),
        (
            "spec.ingress[0].from[0].ipBlock.cidr = 10.0.0.1/8",
            &[&at("cidr", "Invalid value: \"10.0.0.1/8\": must not have bits set beyond the prefix length")],
        ),
        (
            "spec.ingress[0].from[0].ipBlock.cidr = x",
            &[&at("cidr", "Invalid value: \"x\": must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)")],
        ),
        (
            "spec.ingress[0].from[0].ipBlock.except[0] = 11.0.0.0/16",
            &[&at("except[0]", "Invalid value: \"11.0.0.0/16\": must be a strict subset of `cidr`")],
        ),
        (
            "spec.ingress[0].from[0].ipBlock.except[0] = 10.0.0.0/8",
            &[&at("except[0]", "Invalid value: \"10.0.0.0/8\": must be a strict subset of `cidr`")],
        ),
        (
            "spec.podSelector.matchLabels[a b] = c",
            &["spec.podSelector.matchLabels: Invalid value: \"a b\": {name part}"],
        ),
        ("spec.egress[0].ports[0].endPort = 60", &[]),
        (
            "spec.egress[0].ports[0].endPort = 50",
            &["spec.egress[0].ports[0].endPort: Invalid value: 50: must be greater than or equal to `port`"],
        ),
        (
            "spec.egress[0].ports[0].endPort = 65536",
            &["spec.egress[0].ports[0].endPort: Invalid value: 65536: must be between 1 and 65535, inclusive"],
        ),
        (
            "spec.egress[0].ports[0] = {\"endPort\":60}",
            &["spec.egress[0].ports[0].endPort: Invalid value: 60: may not be specified when `port` is not specified"],
        ),
        (
            "spec.egress[0].ports[0] = {\"port\":\"dns\",\"endPort\":60}",
            &["spec.egress[0].ports[0].endPort: Invalid value: 60: may not be specified when `port` is non-numeric"],
        ),
        (
            "spec.egress[0].ports[0].port = 0",
            &["spec.egress[0].ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive"],
        ),
        (
            "spec.egress[0].ports[0].protocol = ICMP",
            &["spec.egress[0].ports[0].protocol: Unsupported value: \"ICMP\": supported values: \"TCP\", \"UDP\", \
               \"SCTP\""],
        ),
        (
            "spec.policyTypes = [\"Both\"]",
            &["spec.policyTypes[0]: Unsupported value: \"Both\": supported values: \"Ingress\", \"Egress\""],
        ),
        (
            "spec.policyTypes = [\"Ingress\",\"Egress\",\"Ingress\"]",
            &["spec.policyTypes: Invalid value: [\"Ingress\",\"Egress\",\"Ingress\"]: may not specify more than two \
               policyTypes"],
        ),
    ];
    check_create(rows, &base, rules);
    let mut old = base.clone();
    old["spec"]["ingress"][0]["from"][0]["ipBlock"]["cidr"] = json!("10.0.0.1/8");
    check_update(rows, &old, &[("spec.policyTypes = [\"Ingress\"]", &[])]);
    let defaults = [
        ("", "spec.policyTypes = [\"Ingress\",\"Egress\"] ; spec.egress[0].ports[0].protocol = TCP"),
        ("spec.egress = null", "spec.policyTypes = [\"Ingress\"]"),
    ];
    check_defaults(rows, &base, &defaults);
    assert_eq!(cells(rows, &base), ["p", "<none>", "<unknown>"]);
    let mut six = base;
    six["spec"]["ingress"][0]["from"][0]["ipBlock"] = json!({ "cidr": "2001:DB8::/32" });
    let want = "spec.ingress[0].from[0].ipBlock.cidr: IPv6 CIDR value \"2001:DB8::/32\" should be in RFC 5952 canonical \
                format (\"2001:db8::/32\")";
    assert_eq!(warnings(rows, &six), [want]);
}

#[test]
fn address_rules() {
    let rows = row(GROUP, "ipaddresses");
    let parent = json!({ "resource": "services", "namespace": "d", "name": "web" });
    let base = json!({ "metadata": { "name": "10.0.0.1" }, "spec": { "parentRef": parent } });
    let rules: Rules<'_> = &[
        ("", &[]),
        ("spec = {}", &["spec.parentRef: Required value"]),
        ("spec.parentRef = {}", &["spec.parentRef.resource: Required value", "spec.parentRef.name: Required value"]),
        ("spec.parentRef.group = A", &[&invalid("spec.parentRef.group", "A", SUBDOMAIN)]),
        ("spec.parentRef.resource = a/b", &["spec.parentRef.resource: Invalid value: \"a/b\": may not contain '/'"]),
        ("spec.parentRef.name = a%", &["spec.parentRef.name: Invalid value: \"a%\": may not contain '%'"]),
        ("spec.parentRef.namespace = ..", &["spec.parentRef.namespace: Invalid value: \"..\": may not be '..'"]),
    ];
    check_create(rows, &base, rules);
    let changed = json!({ "name": "other", "namespace": "d", "resource": "services" });
    let want = format!("spec.parentRef: Invalid value: {changed}: field is immutable");
    check_update(rows, &base, &[("metadata.labels.a = b", &[]), ("spec.parentRef.name = other", &[&want])]);
    assert_eq!(cells(rows, &base), ["10.0.0.1", "services/d/web"]);
    let name = rows.strategy.validate_name;
    assert_eq!(name("2001:db8::1", false), [""; 0]);
    assert_eq!(name("2001:DB8::1", false), ["must be in canonical form (\"2001:db8::1\")"]);
    assert_eq!(name("10.0.0", false), ["must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"]);
}

#[test]
fn service_cidr_rules() {
    let rows = row(GROUP, "servicecidrs");
    let base = json!({ "metadata": { "name": "c" }, "spec": { "cidrs": ["10.0.0.0/16"] } });
    let rules: Rules<'_> = &[
        ("", &[]),
        ("spec.cidrs = []", &["spec.cidrs: Required value: at least one CIDR required"]),
        ("spec.cidrs[1] = 2001:db8::/64", &[]),
        (
            "spec.cidrs[1] = 10.1.0.0/16",
            &[
                "spec.cidrs: Invalid value: [\"10.0.0.0/16\",\"10.1.0.0/16\"]: may specify no more than one IP for each IP \
               family, i.e 192.168.0.0/24 and 2001:db8::/64",
            ],
        ),
        (
            "spec.cidrs[1] = 2001:db8::/64 ; spec.cidrs[2] = 10.1.0.0/16",
            &[
                "spec.cidrs: Invalid value: {\"cidrs\":[\"10.0.0.0/16\",\"2001:db8::/64\",\"10.1.0.0/16\"]}: may only hold \
               up to 2 values",
            ],
        ),
        (
            "spec.cidrs[0] = 10.0.0.1/16",
            &["spec.cidrs[0]: Invalid value: \"10.0.0.1/16\": must not have bits set beyond the prefix length"],
        ),
        (
            "spec.cidrs[0] = 2001:DB8::/64",
            &["spec.cidrs[0]: Invalid value: \"2001:DB8::/64\": must be in canonical form (\"2001:db8::/64\")"],
        ),
    ];
    check_create(rows, &base, rules);
    let updates: Rules<'_> = &[
        ("spec.cidrs[1] = 2001:db8::/64", &[]),
        ("spec.cidrs[0] = 10.1.0.0/16", &["spec.cidrs[0]: Invalid value: \"10.1.0.0/16\": field is immutable"]),
        ("spec.cidrs = []", &["spec.cidrs: Invalid value: []: field is immutable"]),
    ];
    check_update(rows, &base, updates);
    assert_eq!(cells(rows, &base), ["c", "10.0.0.0/16", "<unknown>"]);
}

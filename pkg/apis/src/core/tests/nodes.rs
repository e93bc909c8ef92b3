//! Rules of Nodes.

use serde_json::{Value, json};

use crate::testing::{change, check_create, check_status, check_update, check_warnings, created, row};

fn node() -> Value {
    json!({ "apiVersion": "v1", "kind": "Node", "metadata": { "name": "n1" }, "spec": {}, "status": {} })
}

#[test]
fn taints() {
    let taint = |effect: &str| format!("{{\"key\":\"a\",\"value\":\"b\",\"effect\":\"{effect}\"}}");
    let (run, schedule) = (taint("NoExecute"), taint("NoSchedule"));
    check_create(
        row("", "nodes"),
        &node(),
        &[
            ("", &[]),
            (&format!("spec.taints = [{run},{schedule}]"), &[]),
            (
                &format!("spec.taints = [{run},{run}]"),
                &[
                    "metadata.taints[1]: Duplicate value: {\"effect\":\"NoExecute\",\"key\":\"a\",\"value\":\"b\"}: taints \
                   must be unique by key and effect pair",
                ],
            ),
            (
                r#"spec.taints = [{"key":"a b","value":"c d"}]"#,
                &[
                    "metadata.taints[0].key: Invalid value: \"a b\": {name part}",
                    "metadata.taints[0].value: Invalid value: \"c d\": {label value}",
                    "metadata.taints[0].effect: Required value",
                ],
            ),
            (
                r#"spec.taints = [{"key":"a","effect":"Odd"}]"#,
                &["metadata.taints[0].effect: Unsupported value: \"Odd\": supported values: \"NoSchedule\", \
                   \"PreferNoSchedule\", \"NoExecute\""],
            ),
            (
                r#"metadata.annotations = {"scheduler.alpha.kubernetes.io/taints":"[{\"key\":\"a\",\"effect\":\"Odd\"}]"}"#,
                &["metadata.annotations.scheduler.alpha.kubernetes.io/taints[0].effect: Unsupported value: \"Odd\": \
                   supported values: \"NoSchedule\", \"PreferNoSchedule\", \"NoExecute\""],
            ),
            (
                r#"metadata.annotations = {"scheduler.alpha.kubernetes.io/preferAvoidPods":"{\"preferAvoidPods\":[{\"podSignature\":{}},{\"podSignature\":{\"podController\":{\"controller\":false}}},{\"podSignature\":{\"podController\":{\"controller\":true}}}]}"}"#,
                &[
                    "metadata.annotations.scheduler.alpha.kubernetes.io/preferAvoidPods[0].PodSignature: Required value",
                    "metadata.annotations.scheduler.alpha.kubernetes.io/preferAvoidPods[1].PodSignature.PodController.\
                     Controller: Invalid value: false: must point to a controller",
                ],
            ),
            (
                r#"metadata.annotations = {"scheduler.alpha.kubernetes.io/preferAvoidPods":"["}"#,
                &[
                    "metadata.annotations.AvoidPods: Invalid value: \"scheduler.alpha.kubernetes.io/preferAvoidPods\": {…}",
                ],
            ),
        ],
    );
}

#[test]
fn networks_and_amounts() {
    const BOTH: &str = "may specify no more than one CIDR for each IP family";
    check_create(
        row("", "nodes"),
        &node(),
        &[
            ("spec.podCIDR = 10.0.0.0/24", &[]),
            (r#"spec.podCIDRs = ["10.0.0.0/24","fd00::/64"]"#, &[]),
            (
                r#"spec.podCIDRs = ["10.0.0.0"]"#,
                &["spec.podCIDRs[0]: Invalid value: \"10.0.0.0\": must be a valid CIDR value, (e.g. 10.9.8.0/24 or \
                   2001:db8::/64)"],
            ),
            (
                r#"spec.podCIDRs = ["10.0.0.0/24","10.0.1.0/24"]"#,
                &[&format!("spec.podCIDRs: Invalid value: [\"10.0.0.0/24\",\"10.0.1.0/24\"]: {BOTH}")],
            ),
            (
                r#"spec.podCIDRs = ["10.0.0.0/24","fd00::/64","10.0.0.0/24"]"#,
                &[
                    &format!("spec.podCIDRs: Invalid value: [\"10.0.0.0/24\",\"fd00::/64\",\"10.0.0.0/24\"]: {BOTH}"),
                    "spec.podCIDRs[2]: Duplicate value: \"10.0.0.0/24\"",
                ],
            ),
            (
                r#"status.capacity = {"cpu":"-1","pods":"1500m"}"#,
                &[
                    "status.capacity.cpu: Invalid value: \"-1\": must be greater than or equal to 0",
                    "status.capacity.pods: Invalid value: \"1500m\": must be an integer",
                    "status.allocatable.cpu: Invalid value: \"-1\": must be greater than or equal to 0",
                    "status.allocatable.pods: Invalid value: \"1500m\": must be an integer",
                ],
            ),
        ],
    );
}

#[test]
fn what_is_set_once() {
    let mut known = node();
    change(&mut known, "spec.podCIDR = 10.0.0.0/24 ; spec.providerID = p");
    let networks = "spec.podCIDRs: Forbidden: node updates may not change podCIDR except from \"\" to valid";
    let provider = "spec.providerID: Forbidden: node updates may not change providerID except from \"\" to valid";
    let rules = [
        ("spec.unschedulable = true", vec![]),
        (r#"spec.podCIDRs = ["10.1.0.0/24"]"#, vec![networks]),
        (r#"spec.podCIDRs = ["10.0.0.0/24","fd00::/64"]"#, vec![networks]),
        ("spec.podCIDR = null ; spec.podCIDRs = null", vec![networks]),
        ("spec.providerID = q", vec![provider]),
        ("spec.providerID = null", vec![provider]),
        ("spec.externalID = x", vec!["spec.externalID: Forbidden: may not be updated"]),
    ];
    for (changes, errors) in &rules {
        check_update(row("", "nodes"), &known, &[(changes, errors)]);
    }
    check_update(row("", "nodes"), &node(), &[("spec.podCIDR = 10.0.0.0/24 ; spec.providerID = p", &[])]);
    // The main endpoint looks at the whole node and then at what changed.
    let effect = "metadata.taints[0].effect: Required value";
    check_update(row("", "nodes"), &node(), &[(r#"spec.taints = [{"key":"a"}]"#, &[effect, effect])]);
}

#[test]
fn statuses() {
    check_status(
        row("", "nodes"),
        &node(),
        &[
            (
                r#"status.addresses = [{"type":"InternalIP","address":"10.0.0.1"},{"type":"ExternalIP","address":"10.0.0.1"}]"#,
                &[],
            ),
            (
                r#"status.addresses = [{"type":"InternalIP","address":"10.0.0.1"},{"type":"InternalIP","address":"10.0.0.1"}]"#,
                &["status.addresses[1]: Duplicate value: {\"address\":\"10.0.0.1\",\"type\":\"InternalIP\"}"],
            ),
            (
                r#"status.allocatable = {"cpu":"-1"}"#,
                &["status.allocatable.cpu: Invalid value: \"-1\": must be greater than or equal to 0"],
            ),
        ],
    );
}

#[test]
fn configuration_through_the_api_is_gone() {
    let nodes = row("", "nodes");
    let mut old = node();
    change(&mut old, r#"spec.configSource = {"configMap":{}} ; status.config = {"error":"x"}"#);
    let got = created(nodes, old);
    assert_eq!((got["spec"].get("configSource"), got["status"].get("config")), (None, None));
    let mut new = got.clone();
    change(&mut new, r#"spec.configSource = {"configMap":{}}"#);
    (nodes.strategy.prepare_for_update)(&mut new, &got);
    assert_eq!(new, got);
    change(&mut new, r#"status.config = {"error":"x"}"#);
    (nodes.strategy.prepare_for_status_update)(&mut new, &got);
    assert_eq!(new, got);
}

#[test]
fn warnings() {
    check_warnings(
        row("", "nodes"),
        &node(),
        &[
            ("", &[]),
            ("spec.externalID = x", &["spec.externalID: this field is deprecated, and is unused by Kubernetes"]),
            (
                r#"spec.podCIDRs = ["FD00::/64"]"#,
                &[
                    "spec.podCIDRs[0]: IPv6 CIDR value \"FD00::/64\" should be in RFC 5952 canonical format (\"fd00::/64\")",
                ],
            ),
        ],
    );
}

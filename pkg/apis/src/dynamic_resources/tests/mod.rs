mod admin;
mod devices;
mod selectors;

use serde_json::{Value, json};

use super::GROUP;
use crate::testing::{
    Rules, assert_texts, cells, check_create, check_defaults, check_status, check_update, created, defaulted, row,
};

const LABEL: &str = "{label}";

/// The same item again and again, each with a name of its own.
fn many(count: usize, item: &Value) -> Value {
    let named = |i: usize| {
        let mut item = item.clone();
        item["name"] = format!("n{i}").into();
        item
    };
    (0..count).map(named).collect()
}

fn claim() -> Value {
    let exactly = json!({ "deviceClassName": "gpu.example", "selectors": [{ "cel": { "expression": "true" } }],
        "tolerations": [{ "key": "a", "value": "b" }] });
    let one = json!({ "name": "small", "deviceClassName": "gpu.example" });
    json!({ "metadata": { "name": "c" }, "spec": { "devices": {
        "requests": [{ "name": "gpu", "exactly": exactly }, { "name": "any", "firstAvailable": [one] }],
        "constraints": [{ "requests": ["gpu", "any/small"], "matchAttribute": "gpu.example/numa" }],
        "config": [{ "requests": ["gpu"], "opaque": { "driver": "gpu.example", "parameters": { "a": 1 } } }],
    } } })
}

#[test]
fn claim_rules() {
    let rows = row(GROUP, "resourceclaims");
    let at = "spec.devices";
    let exactly = json!({ "deviceClassName": "gpu.example" });
    let requests = many(33, &json!({ "exactly": exactly }));
    let alternatives = many(9, &exactly);
    let reference =
        "must be the name of a request in the claim or the name of a request and a subrequest separated by '/'";
    let label = |path: &str, value: &str| format!("{path}: Invalid value: {value:?}: {LABEL}");
    let long = "x".repeat(10 * 1024 + 1);
    let cases: &[(String, Vec<String>)] = &[
        (String::new(), vec![]),
        (
            format!("requests = {requests} ; {at}.constraints = null ; {at}.config = null"),
            vec!["requests: Too many: 33: must have at most 32 items".into()],
        ),
        ("requests[0].name = A".to_owned(), vec![label("requests[0].name", "A"), String::new(), String::new()]),
        ("requests[1].name = gpu ; spec.devices.constraints = null".to_owned(), vec!["requests[1]: Duplicate value: \"gpu\"".into()]),
        (
            "requests[0].exactly = null".to_owned(),
            vec!["requests[0]: Required value: exactly one of `exactly` or `firstAvailable` is required".into()],
        ),
        (
            format!("requests[1].exactly = {exactly}"),
            vec![
                "requests[1]: Invalid value: null: exactly one of `exactly` or `firstAvailable` is required, but multiple \
                 fields are set"
                    .into(),
            ],
        ),
        (
            format!("requests[1].firstAvailable = {alternatives} ; {at}.constraints = null"),
            vec!["requests[1].firstAvailable: Too many: 9: must have at most 8 items".into()],
        ),
        (
            "requests[0].exactly.deviceClassName = null".to_owned(),
            vec!["requests[0].exactly.deviceClassName: Required value".into()],
        ),
        ("requests[0].exactly.allocationMode = All".to_owned(), vec![]),
        (
            "requests[0].exactly.allocationMode = All ; spec.devices.requests[0].exactly.count = 2".to_owned(),
            vec![
                "requests[0].exactly.count: Invalid value: 2: must not be specified when allocationMode is 'All'".into(),
            ],
        ),
        (
            "requests[0].exactly.count = -1".to_owned(),
            vec!["requests[0].exactly.count: Invalid value: -1: must be greater than zero".into()],
        ),
        (
            "requests[0].exactly.allocationMode = Some".to_owned(),
            vec![
                "requests[0].exactly.allocationMode: Unsupported value: \"Some\": supported values: \"All\", \
                 \"ExactCount\""
                    .into(),
            ],
        ),
        (
            "requests[0].exactly.selectors[0] = {}".to_owned(),
            vec!["requests[0].exactly.selectors[0].cel: Required value".into()],
        ),
        (
            format!("requests[0].exactly.selectors[0].cel.expression = {long}"),
            vec!["requests[0].exactly.selectors[0].cel.expression: Too long: may not be more than 10240 bytes".into()],
        ),
        (
            "requests[0].exactly.tolerations[0].operator = Exists".to_owned(),
            vec![
                "requests[0].exactly.tolerations[0].value: Invalid value: \"b\": must be empty for operator `Exists`"
                    .into(),
            ],
        ),
        (
            "requests[0].exactly.tolerations[0].operator = Is".to_owned(),
            vec![
                "requests[0].exactly.tolerations[0].operator: Unsupported value: \"Is\": supported values: \"Equal\", \
                 \"Exists\""
                    .into(),
            ],
        ),
        (
            "requests[0].exactly.tolerations[0].effect = Never".to_owned(),
            vec![
                "requests[0].exactly.tolerations[0].effect: Unsupported value: \"Never\": supported values: \"NoExecute\", \
                 \"NoSchedule\", \"None\""
                    .into(),
            ],
        ),
        (
            "constraints[0].requests[1] = any/large".to_owned(),
            vec![format!("constraints[0].requests[1]: Invalid value: \"any/large\": {reference}")],
        ),
        (
            "constraints[0].requests[1] = gpu".to_owned(),
            vec!["constraints[0].requests[1]: Duplicate value: \"gpu\"".into()],
        ),
        (
            "constraints[0].matchAttribute = numa".to_owned(),
            vec![
                "constraints[0].matchAttribute: Invalid value: \"numa\": a fully qualified name must be a domain and a \
                 name separated by a slash"
                    .into(),
            ],
        ),
        (
            "constraints[0].matchAttribute = a/b/c".to_owned(),
            vec!["constraints[0].matchAttribute: Invalid value: \"a/b/c\": must not contain more than one slash".into()],
        ),
        (
            "constraints[0].matchAttribute = /b".to_owned(),
            vec!["constraints[0].matchAttribute: Invalid value: \"\": the domain must not be empty".into()],
        ),
        (
            "constraints[0].matchAttribute = a/".to_owned(),
            vec!["constraints[0].matchAttribute: Invalid value: \"\": the name must not be empty".into()],
        ),
        (
            "constraints[0].matchAttribute = null".to_owned(),
            vec![
                "constraints[0]: Required value: exactly one of \"matchAttribute\" or \"distinctAttribute\" is required, \
                 but multiple fields are set"
                    .into(),
            ],
        ),
        ("config[0].opaque = null".to_owned(), vec!["config[0].opaque: Required value".into()]),
        ("config[0].opaque.driver = null".to_owned(), vec!["config[0].opaque.driver: Required value".into()]),
        ("config[0].opaque.parameters = null".to_owned(), vec!["config[0].opaque.parameters: Required value".into()]),
        (
            "config[0].opaque.parameters = 1".to_owned(),
            vec!["config[0].opaque.parameters: Invalid value: \"<value omitted>\": must be a valid JSON object".into()],
        ),
        (
            format!("config[0].opaque.parameters.a = {long}"),
            vec!["config[0].opaque.parameters: Too long: may not be more than 10240 bytes".into()],
        ),
    ];
    for (change, want) in cases {
        let change = if change.is_empty() { String::new() } else { format!("{at}.{change}") };
        let mut object = claim();
        crate::testing::change(&mut object, &change);
        let got = crate::testing::create_errors(rows, object);
        assert_eq!(got.len(), want.len(), "{change}: {got:?}");
        for (got, want) in got.iter().zip(want).filter(|(_, want)| !want.is_empty()) {
            assert_texts(vec![got.clone()], &[&format!("{at}.{want}")], || change.clone());
        }
    }
}

#[test]
fn claims_get_defaults_and_stay() {
    let rows = row(GROUP, "resourceclaims");
    let defaults = "spec.devices.requests[0].exactly.allocationMode = ExactCount ; \
                    spec.devices.requests[0].exactly.count = 1 ; \
                    spec.devices.requests[0].exactly.tolerations[0].operator = Equal ; \
                    spec.devices.requests[1].firstAvailable[0].count = 1";
    check_defaults(rows, &claim(), &[("", defaults)]);
    let update = crate::testing::update_errors(rows, claim(), |o| o["spec"]["devices"]["config"] = json!([]));
    assert_eq!(update.len(), 1);
    assert!(update[0].starts_with("spec: Invalid value: ") && update[0].ends_with(": field is immutable"));
    let mut gated = claim();
    gated["spec"]["devices"]["requests"][0]["exactly"]["derivedAttributes"] = json!([{ "name": "a/b" }]);
    assert_eq!(created(rows, gated), created(rows, claim()), "fields of gates that are off go");
    let mut object = claim();
    assert_eq!(cells(rows, &object)[1], "pending");
    object["status"] = json!({ "allocation": {}, "reservedFor": [{}] });
    assert_eq!(cells(rows, &object)[1], "allocated,reserved");
}

#[test]
fn template_rules() {
    let rows = row(GROUP, "resourceclaimtemplates");
    let base = json!({ "metadata": { "name": "t" }, "spec": { "spec": claim()["spec"] } });
    let rules: Rules<'_> = &[
        ("", &[]),
        ("spec.metadata.labels.a = b", &[]),
        (
            "spec.metadata.labels[/a] = b",
            &["spec.metadata.labels: Invalid value: \"/a\": prefix part must be non-empty"],
        ),
        (
            "spec.spec.devices.requests[0].exactly = null",
            &[
                "spec.spec.devices.requests[0]: Required value: exactly one of `exactly` or `firstAvailable` is required",
            ],
        ),
    ];
    check_create(rows, &base, rules);
    check_defaults(rows, &base, &[("", "spec.spec.devices.requests[0].exactly.count = 1")]);
    let update =
        crate::testing::update_errors(rows, base, |o| o["spec"]["metadata"] = json!({ "labels": { "a": "b" } }));
    assert!(update[0].starts_with("spec: Invalid value: ") && update[0].ends_with(": field is immutable"));
}

#[test]
fn status_rules() {
    let rows = row(GROUP, "resourceclaims");
    let result = json!({ "request": "gpu", "driver": "gpu.example", "pool": "n1", "device": "gpu-0" });
    let consumer = json!({ "resource": "pods", "name": "web", "uid": "u" });
    let device = json!({ "driver": "gpu.example", "pool": "n1", "device": "gpu-0" });
    let mut base = claim();
    base["status"] = json!({ "allocation": { "devices": { "results": [result] } }, "reservedFor": [consumer] });
    let many_consumers: Value =
        (0..257).map(|i| json!({ "resource": "pods", "name": "web", "uid": format!("u{i}") })).collect();
    let too_many = format!("status.reservedFor = {many_consumers}");
    let with_device = |rest: &str| format!("status.devices = [{device}]{rest}");
    let of_other =
        format!("status.devices = [{}]", json!({ "driver": "gpu.example", "pool": "n1", "device": "gpu-1" }));
    let moved = json!({ "devices": { "results": [{ "request": "gpu", "driver": "gpu.example", "pool": "n2", "device": "gpu-0" }] } });
    let immutable = format!("status.allocation: Invalid value: {moved}: field is immutable");
    let rules: Rules<'_> = &[
        ("", &[]),
        (&with_device(" ; status.devices[0].networkData = {\"ips\":[\"10.0.0.1/24\"]}"), &[]),
        (&too_many, &["status.reservedFor: Too many: 257: must have at most 256 items"]),
        (
            "status.reservedFor[0] = {}",
            &[
                "status.reservedFor[0].resource: Required value",
                "status.reservedFor[0].name: Required value",
                "status.reservedFor[0].uid: Required value",
            ],
        ),
        (
            "status.allocation = null",
            &["status.reservedFor: Forbidden: may not be specified when `allocated` is not set"],
        ),
        ("status.allocation.devices.results[0].pool = n2", &[&immutable]),
        (
            &of_other,
            &["status.devices[0]: Invalid value: \"gpu.example/n1/gpu-1\": must be an allocated device in the claim"],
        ),
        (
            &with_device(" ; status.devices[0].conditions = [{\"type\":\"A\",\"status\":\"True\",\"reason\":\"R\"}]"),
            &["status.devices[0].conditions[0].lastTransitionTime: Required value: must be set"],
        ),
        (
            &with_device(" ; status.devices[0].data = 1"),
            &["status.devices[0].data: Invalid value: \"<value omitted>\": must be a valid JSON object"],
        ),
        (
            &with_device(" ; status.devices[0].networkData.ips = [\"10.0.0.1\",\"2001:DB8::1/64\"]"),
            &[
                "status.devices[0].networkData.ips[0]: Invalid value: \"10.0.0.1\": must be a valid CIDR value, (e.g. \
                 10.9.8.0/24 or 2001:db8::/64)",
                "status.devices[0].networkData.ips[1]: Invalid value: \"2001:DB8::1/64\": must be in canonical form \
                 (\"2001:db8::1/64\")",
            ],
        ),
    ];
    check_status(rows, &base, rules);
    let mut fresh = claim();
    fresh["status"] = json!({});
    let allocate = |rest: &str| format!("status.allocation.devices.results = [{result}]{rest}");
    let first = "status.allocation.devices.results[0]";
    let rules: Rules<'_> = &[
        (&allocate(""), &[]),
        (
            &allocate(" ; status.allocation.devices.results[0].request = other"),
            &[
                "status.allocation.devices.results[0].request: Invalid value: \"other\": must be the name of a request in \
               the claim or the name of a request and a subrequest separated by '/'",
            ],
        ),
        (
            &allocate(&format!(" ; {first}.driver = null ; {first}.pool = null")),
            &[
                "status.allocation.devices.results[0].driver: Required value",
                "status.allocation.devices.results[0].pool: Required value",
            ],
        ),
        (
            &allocate(&format!(" ; {first}.shareID = x")),
            &[
                "status.allocation.devices.results[0].shareID: Invalid value: \"x\": error validating uid: invalid UUID \
               length: 1",
            ],
        ),
        (
            &allocate(&format!(" ; {first}.bindingConditions = [\"a\"]")),
            &["status.allocation.devices.results[0].bindingFailureConditions: Invalid value: null: \
               bindingFailureConditions are required to use bindingConditions"],
        ),
        (
            &allocate(" ; status.allocation.devices.config = [{\"source\":\"FromSky\"}]"),
            &[
                "status.allocation.devices.config[0].source: Unsupported value: \"FromSky\": supported values: \
                 \"FromClaim\", \"FromClass\"",
                "status.allocation.devices.config[0].opaque: Required value",
            ],
        ),
        (
            &allocate(" ; status.allocation.nodeSelector = {}"),
            &[
                "status.allocation.nodeSelector.nodeSelectorTerms: Required value: must have at least one node selector \
               term",
            ],
        ),
    ];
    check_status(rows, &fresh, rules);
    let mut deleting = base.clone();
    deleting["metadata"]["deletionTimestamp"] = json!("2026-11-21T00:00:00Z");
    let added = "status.reservedFor[1] = {\"resource\":\"pods\",\"name\":\"x\",\"uid\":\"v\"}";
    let why = "status.reservedFor: Forbidden: new entries may not be added while `deallocationRequested` or \
               `deletionTimestamp` are set";
    check_status(rows, &deleting, &[("status.reservedFor = []", &[]), (added, &[why])]);
}

#[test]
fn class_rules() {
    let rows = row(GROUP, "deviceclasses");
    let base = json!({ "metadata": { "name": "gpu.example" }, "spec": { "selectors": [{ "cel": { "expression": "true" } }] } });
    let rules: Rules<'_> = &[
        ("", &[]),
        ("spec = {}", &[]),
        ("spec.selectors[0] = {}", &["spec.selectors[0].cel: Required value"]),
        ("spec.selectors[0].cel = {}", &["spec.selectors[0].cel.expression: Required value"]),
        ("spec.config = [{}]", &["spec.config[0].opaque: Required value"]),
        ("spec.extendedResourceName = example.com/gpu", &[]),
        (
            "spec.extendedResourceName = gpu",
            &["spec.extendedResourceName: Invalid value: \"gpu\": must be a valid extended resource name"],
        ),
    ];
    check_create(rows, &base, rules);
    check_update(rows, &base, rules);
}

#[test]
fn taint_rules() {
    let rows = row(GROUP, "devicetaintrules");
    let base = json!({ "metadata": { "name": "t" }, "spec": {
        "deviceSelector": { "driver": "gpu.example", "pool": "n1", "device": "gpu-0" },
        "taint": { "key": "a.example/b", "value": "c", "effect": "NoExecute", "timeAdded": "2026-11-21T00:00:00Z" },
    } });
    let rules: Rules<'_> = &[
        ("", &[]),
        ("spec.deviceSelector = null", &[]),
        ("spec.deviceSelector.driver = \"\"", &["spec.deviceSelector.driver: Required value"]),
        ("spec.deviceSelector.pool = \"\"", &["spec.deviceSelector.pool: Required value"]),
        (
            "spec.deviceSelector.device = a.b",
            &["spec.deviceSelector.device: Invalid value: \"a.b\": must not contain dots"],
        ),
        ("spec.taint.key = /a", &["spec.taint.key: Invalid value: \"/a\": prefix part must be non-empty"]),
        ("spec.taint.effect = null", &["spec.taint.effect: Required value"]),
        (
            "spec.taint.effect = Never",
            &[
                "spec.taint.effect: Unsupported value: \"Never\": supported values: \"NoExecute\", \"NoSchedule\", \"None\"",
            ],
        ),
    ];
    check_create(rows, &base, rules);
    let mut old = base.clone();
    old["spec"]["taint"]["effect"] = json!("FromTheFuture");
    check_update(rows, &old, &[("spec.taint.value = d", &[])]);
    let mut bare = base.clone();
    bare["spec"]["taint"]["timeAdded"] = Value::Null;
    assert!(defaulted(rows, bare)["spec"]["taint"]["timeAdded"].is_string());
    let mut new = base.clone();
    new["spec"]["taint"]["effect"] = json!("NoSchedule");
    (rows.strategy.prepare_for_update)(&mut new, &base);
    assert_ne!(
        new["spec"]["taint"]["timeAdded"], base["spec"]["taint"]["timeAdded"],
        "another effect is another taint"
    );
    let conditions = many(9, &json!({ "status": "True", "reason": "R", "lastTransitionTime": "2026-11-21T00:00:00Z" }));
    let conditions: Value = conditions
        .as_array()
        .into_iter()
        .flatten()
        .map(|c| {
            let mut c = c.clone();
            c["type"] = c["name"].take();
            c
        })
        .collect();
    let too_many = format!("status.conditions = {conditions}");
    check_status(
        rows,
        &base,
        &[("", &[]), (&too_many, &["status.conditions: Too many: 9: must have at most 8 items"])],
    );
}

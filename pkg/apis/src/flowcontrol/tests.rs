use serde_json::{Value, json};

use crate::testing::{Rules, cells, check_create, check_defaults, check_status, row};

const GROUP: &str = "flowcontrol.apiserver.k8s.io";

fn level() -> Value {
    json!({ "metadata": { "name": "l" },
        "spec": { "type": "Limited", "limited": { "limitResponse": { "type": "Queue", "queuing": {} } } } })
}

#[test]
fn level_rules() {
    let rows = row(GROUP, "prioritylevelconfigurations");
    let only = "type must be 'Exempt' if and only if name is 'exempt'";
    let (limited_exempt, exempt_other) = (
        format!("spec.type: Invalid value: \"Limited\": {only}"),
        format!("spec.type: Invalid value: \"Exempt\": {only}"),
    );
    let none = "spec.type: Unsupported value: \"Some\": supported values: \"Exempt\", \"Limited\"";
    let rules: Rules<'_> = &[
        ("", &[]),
        ("spec.type = Some ; spec.limited = null", &[none]),
        ("spec.type = Exempt ; spec.limited = null", &[&exempt_other]),
        ("spec.limited = null", &["spec.limited: Required value: must not be empty when type is Limited"]),
        ("spec.exempt = {}", &["spec.exempt: Forbidden: must be nil if the type is Limited"]),
        ("spec.limited.nominalConcurrencyShares = 0", &[]),
        (
            "spec.limited.nominalConcurrencyShares = -1",
            &["spec.limited.nominalConcurrencyShares: Invalid value: -1: must be a non-negative integer"],
        ),
        (
            "spec.limited.lendablePercent = 101",
            &["spec.limited.lendablePercent: Invalid value: 101: must be between 0 and 100, inclusive"],
        ),
        (
            "spec.limited.borrowingLimitPercent = -1",
            &["spec.limited.borrowingLimitPercent: Invalid value: -1: if specified, must be a non-negative integer"],
        ),
        ("spec.limited.limitResponse = {\"type\":\"Reject\"}", &[]),
        (
            "spec.limited.limitResponse.type = Reject",
            &[
                "spec.limited.limitResponse.queuing: Forbidden: must be nil if limited.limitResponse.type is not Limited",
            ],
        ),
        (
            "spec.limited.limitResponse = {\"type\":\"Queue\"}",
            &[
                "spec.limited.limitResponse.queuing: Required value: must not be empty if limited.limitResponse.type is \
               Limited",
            ],
        ),
        (
            "spec.limited.limitResponse = {}",
            &["spec.limited.limitResponse.type: Unsupported value: \"\": supported values: \"Queue\", \"Reject\""],
        ),
        (
            "spec.limited.limitResponse.queuing = {\"queues\":-1,\"handSize\":-1,\"queueLengthLimit\":-1}",
            &[
                "spec.limited.limitResponse.queuing.queueLengthLimit: Invalid value: -1: must be positive",
                "spec.limited.limitResponse.queuing.queues: Invalid value: -1: must be positive",
                "spec.limited.limitResponse.queuing.handSize: Invalid value: -1: must be positive",
            ],
        ),
        (
            "spec.limited.limitResponse.queuing.queues = 10000001",
            &[
                "spec.limited.limitResponse.queuing.queues: Invalid value: 10000001: must not be greater than 10000000",
                "spec.limited.limitResponse.queuing.handSize: Invalid value: 8: required entropy bits of deckSize \
                 10000001 and handSize 8 should not be greater than 60",
            ],
        ),
        (
            "spec.limited.limitResponse.queuing.queues = 7",
            &["spec.limited.limitResponse.queuing.handSize: Invalid value: 8: should not be greater than queues (7)"],
        ),
        ("metadata.name = exempt ; spec = {\"type\":\"Exempt\",\"exempt\":{\"lendablePercent\":50}}", &[]),
        (
            "metadata.name = exempt ; spec = {\"type\":\"Exempt\",\"exempt\":{\"nominalConcurrencyShares\":-1,\
             \"lendablePercent\":101}}",
            &[
                "spec.exempt.nominalConcurrencyShares: Invalid value: -1: must be a non-negative integer",
                "spec.exempt.lendablePercent: Invalid value: 101: must be between 0 and 100, inclusive",
            ],
        ),
        (
            "metadata.name = catch-all ; spec = {\"type\":\"Limited\",\"limited\":{\"nominalConcurrencyShares\":5,\
             \"limitResponse\":{\"type\":\"Reject\"}}}",
            &[],
        ),
    ];
    check_create(rows, &level(), rules);
    let mut exempt = level();
    exempt["metadata"]["name"] = json!("exempt");
    let errors = crate::testing::create_errors(rows, exempt);
    assert_eq!(errors[0], limited_exempt);
    assert!(errors[1].ends_with(": spec of 'exempt' except the 'spec.exempt' field must equal the fixed value"));
    let mut catch_all = level();
    catch_all["metadata"]["name"] = json!("catch-all");
    let errors = crate::testing::create_errors(rows, catch_all);
    assert!(errors[0].ends_with(": spec of 'catch-all' must equal the fixed value"), "{errors:?}");
    let defaults = [
        (
            "",
            "spec.limited.nominalConcurrencyShares = 30 ; spec.limited.lendablePercent = 0 ; \
             spec.limited.limitResponse.queuing = {\"queues\":64,\"handSize\":8,\"queueLengthLimit\":50}",
        ),
        ("spec = {\"type\":\"Exempt\"}", "spec.exempt = {\"nominalConcurrencyShares\":0,\"lendablePercent\":0}"),
    ];
    check_defaults(rows, &level(), &defaults);
    let got = crate::testing::defaulted(rows, level());
    assert_eq!(cells(rows, &got), ["l", "Limited", "30", "64", "8", "50", "<unknown>"]);
}

fn schema() -> Value {
    let resources = json!({ "verbs": ["get"], "apiGroups": [""], "resources": ["pods"], "namespaces": ["d"] });
    let urls = json!({ "verbs": ["get"], "nonResourceURLs": ["/healthz/*", "/"] });
    let subject = json!({ "kind": "User", "user": { "name": "ann" } });
    json!({ "metadata": { "name": "s" }, "spec": {
        "priorityLevelConfiguration": { "name": "l" }, "distinguisherMethod": { "type": "ByUser" },
        "rules": [{ "subjects": [subject], "resourceRules": [resources], "nonResourceRules": [urls] }],
    } })
}

#[test]
fn schema_rules() {
    let rows = row(GROUP, "flowschemas");
    let rules: Rules<'_> = &[
        ("", &[]),
        ("spec.rules = null", &[]),
        ("spec.matchingPrecedence = -1", &["spec.matchingPrecedence: Invalid value: -1: must be a positive value"]),
        (
            "spec.matchingPrecedence = 10001",
            &["spec.matchingPrecedence: Invalid value: 10001: must not be greater than 10000"],
        ),
        (
            "spec.matchingPrecedence = 1",
            &[
                "spec.matchingPrecedence: Invalid value: 1: only the schema named 'exempt' may have matchingPrecedence 1",
            ],
        ),
        (
            "spec.distinguisherMethod.type = ByPod",
            &["spec.distinguisherMethod.type: Unsupported value: {\"type\":\"ByPod\"}: supported values: \
               \"ByNamespace\", \"ByUser\""],
        ),
        (
            "spec.priorityLevelConfiguration = {}",
            &["spec.priorityLevelConfiguration.name: Required value: must reference a priority level"],
        ),
        (
            "spec.rules[0].subjects = []",
            &["spec.rules[0].subjects: Required value: subjects must contain at least one value"],
        ),
        (
            "spec.rules[0].resourceRules = [] ; spec.rules[0].nonResourceRules = []",
            &["spec.rules[0]: Required value: at least one of resourceRules and nonResourceRules has to be non-empty"],
        ),
    ];
    check_create(rows, &schema(), rules);
    check_defaults(rows, &schema(), &[("", "spec.matchingPrecedence = 1000")]);
    assert_eq!(cells(rows, &schema())[..4], ["s", "l", "0", "ByUser"]);
    check_status(
        rows,
        &schema(),
        &[
            ("status.conditions = [{\"type\":\"Dangling\"}]", &[]),
            (
                "status.conditions = [{\"type\":\"\"}]",
                &["status.conditions[0].type: Required value: must not be empty"],
            ),
            (
                "status.conditions = [{\"type\":\"A\"},{\"type\":\"A\"}]",
                &["status.conditions[1].type: Duplicate value: \"A\""],
            ),
        ],
    );
    let all =
        "\"verbs\":[\"*\"],\"apiGroups\":[\"*\"],\"resources\":[\"*\"],\"clusterScope\":true,\"namespaces\":[\"*\"]";
    let fixed = format!(
        "metadata.name = exempt ; spec = {{\"matchingPrecedence\":1,\"priorityLevelConfiguration\":{{\"name\":\"exempt\"}},\
         \"rules\":[{{\"subjects\":[{{\"kind\":\"Group\",\"group\":{{\"name\":\"system:masters\"}}}}],\
         \"resourceRules\":[{{{all}}}],\"nonResourceRules\":[{{\"verbs\":[\"*\"],\"nonResourceURLs\":[\"*\"]}}]}}]}}"
    );
    check_create(rows, &schema(), &[(&fixed, &[])]);
    let mut other = schema();
    other["metadata"]["name"] = json!("catch-all");
    let errors = crate::testing::create_errors(rows, other);
    assert!(errors[0].ends_with(": spec of 'catch-all' must equal the fixed value"), "{errors:?}");
}

#[test]
fn subjects_have_what_their_kind_needs() {
    let rows = row(GROUP, "flowschemas");
    let at = "spec.rules[0].subjects[0]";
    let cases: &[(&str, &[&str])] = &[
        ("{\"kind\":\"Group\",\"group\":{\"name\":\"g\"}}", &[]),
        ("{\"kind\":\"ServiceAccount\",\"serviceAccount\":{\"name\":\"*\",\"namespace\":\"d\"}}", &[]),
        (
            "{\"kind\":\"Pod\"}",
            &["kind: Unsupported value: \"Pod\": supported values: \"Group\", \"ServiceAccount\", \"User\""],
        ),
        ("{\"kind\":\"User\"}", &["user: Required value: user is required when subject kind is 'User'"]),
        ("{\"kind\":\"User\",\"user\":{}}", &["user.name: Required value"]),
        (
            "{\"kind\":\"User\",\"user\":{\"name\":\"u\"},\"group\":{},\"serviceAccount\":{}}",
            &[
                "serviceAccount: Forbidden: serviceAccount is forbidden when subject kind is not 'ServiceAccount'",
                "group: Forbidden: group is forbidden when subject kind is not 'Group'",
            ],
        ),
        (
            "{\"kind\":\"ServiceAccount\",\"serviceAccount\":{}}",
            &[
                "serviceAccount.name: Required value",
                "serviceAccount.namespace: Required value: must specify namespace for service account",
            ],
        ),
    ];
    for (subject, want) in cases {
        let want: Vec<String> = want.iter().map(|w| format!("{at}.{w}")).collect();
        let want: Vec<&str> = want.iter().map(String::as_str).collect();
        check_create(rows, &schema(), &[(&format!("{at} = {subject}"), &want)]);
    }
}

#[test]
fn rules_name_verbs_and_places() {
    let rows = row(GROUP, "flowschemas");
    let (resources, urls) = ("spec.rules[0].resourceRules[0]", "spec.rules[0].nonResourceRules[0]");
    let verbs = "\"create\", \"delete\", \"deletecollection\", \"get\", \"list\", \"patch\", \"proxy\", \"update\", \
                 \"watch\"";
    let unknown = format!("verbs: Unsupported value: [\"see\"]: supported values: {verbs}");
    let cases: &[(&str, &str, &[&str])] = &[
        (resources, "verbs = [\"*\"]", &[]),
        (resources, "verbs = []", &["verbs: Required value: verbs must contain at least one value"]),
        (resources, "verbs = [\"see\"]", &[&unknown]),
        (
            urls,
            "verbs = [\"*\",\"get\"]",
            &["verbs: Invalid value: [\"*\",\"get\"]: if '*' is present, must not specify other verbs"],
        ),
        (
            resources,
            "apiGroups = []",
            &["apiGroups: Required value: resource rules must supply at least one api group"],
        ),
        (
            resources,
            "apiGroups = [\"*\",\"a\"]",
            &["apiGroups: Invalid value: [\"*\",\"a\"]: if '*' is present, must not specify other api groups"],
        ),
        (resources, "resources = []", &["resources: Required value: resource rules must supply at least one resource"]),
        (
            resources,
            "resources = [\"*\",\"a\"]",
            &["resources: Invalid value: [\"*\",\"a\"]: if '*' is present, must not specify other resources"],
        ),
        (
            resources,
            "namespaces = []",
            &[
                "namespaces: Required value: resource rules that are not cluster scoped must supply at least one namespace",
            ],
        ),
        (
            resources,
            "namespaces = [\"*\",\"a\"]",
            &["namespaces: Invalid value: [\"*\",\"a\"]: if '*' is present, must not specify other namespaces"],
        ),
        (
            resources,
            "namespaces = [\"a.b\"]",
            &[
                "namespaces[0]: Invalid value: \"a.b\": each member of this list must be '*' or a DNS-1123 label; must not \
               contain dots",
            ],
        ),
        (
            urls,
            "nonResourceURLs = []",
            &["nonResourceURLs: Required value: nonResourceURLs must contain at least one value"],
        ),
        (
            urls,
            "nonResourceURLs = [\"*\",\"/a\"]",
            &[
                "nonResourceURLs: Invalid value: [\"*\",\"/a\"]: if '*' is present, must not specify other non-resource \
               URLs",
            ],
        ),
        (urls, "nonResourceURLs = [\"\"]", &["nonResourceURLs[0]: Invalid value: \"\": must not be empty"]),
        (urls, "nonResourceURLs = [\"a\"]", &["nonResourceURLs[0]: Invalid value: \"a\": must start with slash"]),
        (
            urls,
            "nonResourceURLs = [\"/a b\"]",
            &["nonResourceURLs[0]: Invalid value: \"/a b\": must not contain white-space"],
        ),
        (
            urls,
            "nonResourceURLs = [\"/a//b\"]",
            &["nonResourceURLs[0]: Invalid value: \"/a//b\": must not contain double slash"],
        ),
        (
            urls,
            "nonResourceURLs = [\"/a*\"]",
            &["nonResourceURLs[0]: Invalid value: \"/a*\": wildcard can only do suffix matching"],
        ),
    ];
    for (at, change, want) in cases {
        let want: Vec<String> = want.iter().map(|w| format!("{at}.{w}")).collect();
        let want: Vec<&str> = want.iter().map(String::as_str).collect();
        check_create(rows, &schema(), &[(&format!("{at}.{change}"), &want)]);
    }
}

#[test]
fn the_exempt_level_has_no_limits() {
    let levels = row("flowcontrol.apiserver.k8s.io", "prioritylevelconfigurations");
    let base = json!({ "metadata": { "name": "exempt" }, "spec": { "type": "Exempt" } });
    let fixed = "spec: Invalid value: {…}: spec of 'exempt' except the 'spec.exempt' field must equal the fixed value";
    check_create(
        levels,
        &base,
        &[
            ("", &[]),
            ("spec.exempt.lendablePercent = 50", &[]),
            (
                "spec.limited = {\"limitResponse\":{\"type\":\"Reject\"}}",
                &["spec.limited: Forbidden: must be nil if the type is not Limited", fixed],
            ),
        ],
    );
}

use serde_json::{Value, json};

use super::{GROUP, SUBDOMAIN};
use crate::testing::{Rules, cells, check_create, check_defaults, check_update, row};

fn configuration() -> Value {
    let rule = json!({ "operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"] });
    json!({ "kind": "MutatingWebhookConfiguration", "metadata": { "name": "w" }, "webhooks": [{
        "name": "a.b.example", "sideEffects": "None", "admissionReviewVersions": ["v1"], "rules": [rule],
        "clientConfig": { "service": { "name": "s", "namespace": "d" } },
    }] })
}

#[test]
fn webhook_rules() {
    let rows = row(GROUP, "mutatingwebhookconfigurations");
    let name = format!("webhooks[0].name: Invalid value: \"A.b.c\": {SUBDOMAIN}");
    let rules: Rules<'_> = &[
        ("", &[]),
        ("webhooks = null", &[]),
        ("webhooks[0].name = null", &["webhooks[0].name: Required value"]),
        ("webhooks[0].name = A.b.c", &[&name]),
        (
            "webhooks[0].name = b.example",
            &[
                "webhooks[0].name: Invalid value: \"b.example\": should be a domain with at least three segments separated \
               by dots",
            ],
        ),
        ("webhooks[0].rules[0].operations = []", &["webhooks[0].rules[0].operations: Required value"]),
        (
            "webhooks[0].failurePolicy = Stop",
            &["webhooks[0].failurePolicy: Unsupported value: \"Stop\": supported values: \"Fail\", \"Ignore\""],
        ),
        (
            "webhooks[0].matchPolicy = Some",
            &["webhooks[0].matchPolicy: Unsupported value: \"Some\": supported values: \"Equivalent\", \"Exact\""],
        ),
        (
            "webhooks[0].sideEffects = null",
            &["webhooks[0].sideEffects: Required value: must specify one of None, NoneOnDryRun"],
        ),
        (
            "webhooks[0].sideEffects = Some",
            &["webhooks[0].sideEffects: Unsupported value: \"Some\": supported values: \"None\", \"NoneOnDryRun\""],
        ),
        ("webhooks[0].timeoutSeconds = 30", &[]),
        (
            "webhooks[0].timeoutSeconds = 31",
            &["webhooks[0].timeoutSeconds: Invalid value: 31: the timeout value must be between 1 and 30 seconds"],
        ),
        (
            "webhooks[0].namespaceSelector = {\"matchExpressions\":[{\"key\":\"a\",\"operator\":\"Is\"}]}",
            &[
                "webhooks[0].namespaceSelector.matchExpressions[0].operator: Invalid value: \"Is\": not a valid selector \
               operator",
            ],
        ),
        (
            "webhooks[0].reinvocationPolicy = Often",
            &[
                "webhooks[0].reinvocationPolicy: Unsupported value: \"Often\": supported values: \"IfNeeded\", \"Never\"",
            ],
        ),
        (
            "webhooks[0].matchConditions = [{\"name\":\"a\"}]",
            &["webhooks[0].matchConditions[0].expression: Required value"],
        ),
        (
            "webhooks[0].admissionReviewVersions = []",
            &["webhooks[0].admissionReviewVersions: Required value: must specify one of v1, v1beta1"],
        ),
        ("webhooks[0].admissionReviewVersions = [\"v2\",\"v1\"]", &[]),
        (
            "webhooks[0].admissionReviewVersions = [\"v1\",\"v1\"]",
            &["webhooks[0].admissionReviewVersions[1]: Invalid value: \"v1\": duplicate version"],
        ),
        (
            "webhooks[0].admissionReviewVersions = [\"v2\"]",
            &["webhooks[0].admissionReviewVersions: Invalid value: [\"v2\"]: must include at least one of v1, v1beta1"],
        ),
    ];
    check_create(rows, &configuration(), rules);
    let twice = format!("webhooks[1] = {}", configuration()["webhooks"][0]);
    check_create(rows, &configuration(), &[(&twice, &["webhooks[1].name: Duplicate value: \"a.b.example\""])]);
    // An older configuration goes on as it is.
    let mut old = configuration();
    crate::testing::change(
        &mut old,
        "webhooks[0].sideEffects = Some ; webhooks[0].admissionReviewVersions = [\"v2\"] ; \
         webhooks[0].matchConditions = [{\"name\":\"a\"}]",
    );
    check_update(rows, &old, &[("webhooks[0].timeoutSeconds = 3", &[])]);
    let defaults = "webhooks[0].failurePolicy = Fail ; webhooks[0].timeoutSeconds = 10 ; \
                    webhooks[0].reinvocationPolicy = Never ; webhooks[0].matchPolicy = Equivalent ; \
                    webhooks[0].objectSelector = {} ; webhooks[0].namespaceSelector = {} ; \
                    webhooks[0].rules[0].scope = * ; webhooks[0].clientConfig.service.port = 443";
    check_defaults(rows, &configuration(), &[("", defaults)]);
    let mut validating = configuration();
    validating["kind"] = json!("ValidatingWebhookConfiguration");
    let rows = row(GROUP, "validatingwebhookconfigurations");
    check_defaults(rows, &validating, &[("", "webhooks[0].reinvocationPolicy = null")]);
    assert_eq!(cells(rows, &validating), ["w", "1", "<unknown>"]);
}

#[test]
fn webhooks_are_reached_by_url_or_service() {
    let rows = row(GROUP, "mutatingwebhookconfigurations");
    let at = "webhooks[0].clientConfig";
    let form = "desired format: https://host[/path]";
    let cases: &[(&str, &[&str])] = &[
        ("{\"url\":\"https://a.example:8443/x\"}", &[]),
        ("{}", &[": Required value: exactly one of url or service is required"]),
        (
            "{\"url\":\"https://a\",\"service\":{\"name\":\"s\",\"namespace\":\"d\"}}",
            &[": Required value: exactly one of url or service is required"],
        ),
        ("{\"url\":\"http://a\"}", &[".url: Invalid value: \"http\": 'https' is the only allowed URL scheme; FORM"]),
        (
            "{\"url\":\"a.example\"}",
            &[
                ".url: Invalid value: \"\": 'https' is the only allowed URL scheme; FORM",
                ".url: Invalid value: \"\": host must be specified; FORM",
            ],
        ),
        (
            "{\"url\":\"https://u@a/x?q=1#f\"}",
            &[
                ".url: Invalid value: \"u\": user information is not permitted in the URL",
                ".url: Invalid value: \"f\": fragments are not permitted in the URL",
                ".url: Invalid value: \"q=1\": query parameters are not permitted in the URL",
            ],
        ),
        (
            "{\"service\":{}}",
            &[
                ".service.name: Required value: service name is required",
                ".service.namespace: Required value: service namespace is required",
            ],
        ),
        ("{\"service\":{\"name\":\"s\",\"namespace\":\"d\",\"path\":\"/a/b/\"}}", &[]),
        (
            "{\"service\":{\"name\":\"s\",\"namespace\":\"d\",\"port\":65536}}",
            &[".service.port: Invalid value: 65536: port is not valid: must be between 1 and 65535, inclusive"],
        ),
        (
            "{\"service\":{\"name\":\"s\",\"namespace\":\"d\",\"path\":\"//\"}}",
            &[".service.path: Invalid value: \"//\": segment[0] may not be empty"],
        ),
        (
            "{\"service\":{\"name\":\"s\",\"namespace\":\"d\",\"path\":\"xa//b\"}}",
            &[
                ".service.path: Invalid value: \"xa//b\": must start with a '/'",
                ".service.path: Invalid value: \"xa//b\": segment[1] may not be empty",
            ],
        ),
    ];
    for (config, want) in cases {
        let want: Vec<String> = want.iter().map(|w| format!("{at}{}", w.replace("FORM", form))).collect();
        let want: Vec<&str> = want.iter().map(String::as_str).collect();
        check_create(rows, &configuration(), &[(&format!("{at} = {config}"), &want)]);
    }
}

#[test]
fn some_texts_are_no_urls() {
    let rows = row(GROUP, "mutatingwebhookconfigurations");
    let url = |text: &str| {
        let mut object = configuration();
        object["webhooks"][0]["clientConfig"] = json!({ "url": text });
        crate::testing::create_errors(rows, object)
    };
    let at = "webhooks[0].clientConfig.url";
    let form = "; desired format: https://host[/path]";
    assert_eq!(url("https://a.example/b"), [""; 0]);
    let broken = |why: &str| format!("{at}: Required value: url must be a valid URL: {why}{form}");
    assert_eq!(url(":a"), [broken("parse \":a\": missing protocol scheme")]);
    assert_eq!(url("https://a\tb"), [broken("parse \"https://a\\tb\": net/url: invalid control character in URL")]);
}

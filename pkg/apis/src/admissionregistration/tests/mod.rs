mod expressions;
mod webhooks;

use serde_json::{Value, json};

use crate::testing::{Rules, cells, check_create, check_defaults, check_status, check_update, row};

const GROUP: &str = "admissionregistration.k8s.io";

const SUBDOMAIN: &str = "{subdomain}";

fn validating() -> Value {
    let rule =
        json!({ "operations": ["CREATE"], "apiGroups": ["apps"], "apiVersions": ["v1"], "resources": ["deployments"] });
    json!({ "kind": "ValidatingAdmissionPolicy", "metadata": { "name": "p" }, "spec": {
        "paramKind": { "apiVersion": "a.example/v1", "kind": "Limit" }, "matchConstraints": { "resourceRules": [rule] },
        "validations": [{ "expression": "true", "reason": "Invalid", "message": "no" }],
    } })
}

#[test]
fn rules_match_requests() {
    let rows = row(GROUP, "validatingadmissionpolicies");
    let at = "spec.matchConstraints.resourceRules[0]";
    let of = |rest: &str| format!("{at}.{rest}");
    let set = |field: &str, value: &str| format!("{at}.{field} = {value}");
    let cases: &[(&str, &str, &[&str])] = &[
        ("operations", "[\"*\"]", &[]),
        ("operations", "[]", &["operations: Required value"]),
        (
            "operations",
            "[\"*\",\"CREATE\"]",
            &["operations: Invalid value: [\"*\",\"CREATE\"]: if '*' is present, must not specify other operations"],
        ),
        (
            "operations",
            "[\"GET\"]",
            &[
                "operations[0]: Unsupported value: \"GET\": supported values: \"*\", \"CONNECT\", \"CREATE\", \"DELETE\", \
               \"UPDATE\"",
            ],
        ),
        ("apiGroups", "[\"\"]", &[]),
        ("apiGroups", "[]", &["apiGroups: Required value"]),
        (
            "apiGroups",
            "[\"a\",\"*\"]",
            &["apiGroups: Invalid value: [\"a\",\"*\"]: if '*' is present, must not specify other API groups"],
        ),
        ("apiVersions", "[]", &["apiVersions: Required value"]),
        ("apiVersions", "[\"\"]", &["apiVersions[0]: Required value"]),
        (
            "apiVersions",
            "[\"v1\",\"*\"]",
            &["apiVersions: Invalid value: [\"v1\",\"*\"]: if '*' is present, must not specify other API versions"],
        ),
        ("resources", "[]", &["resources: Required value"]),
        ("resources", "[\"\"]", &["resources[0]: Required value"]),
        ("resources", "[\"*\",\"pods/log\"]", &[]),
        (
            "resources",
            "[\"*\",\"pods\"]",
            &[
                "resources: Invalid value: [\"*\",\"pods\"]: if '*' is present, must not specify other resources without \
               subresources",
            ],
        ),
        (
            "resources",
            "[\"*/*\",\"pods\"]",
            &["resources: Invalid value: [\"*/*\",\"pods\"]: if '*/*' is present, must not specify other resources"],
        ),
        (
            "resources",
            "[\"pods/*\",\"pods/log\"]",
            &["resources[1]: Invalid value: \"pods/log\": if 'pods/*' is present, must not specify pods/log"],
        ),
        (
            "resources",
            "[\"*/log\",\"pods/log\"]",
            &["resources[1]: Invalid value: \"pods/log\": if '*/log' is present, must not specify pods/log"],
        ),
        (
            "scope",
            "Both",
            &["scope: Unsupported value: \"Both\": supported values: \"*\", \"Cluster\", \"Namespaced\""],
        ),
        ("resourceNames", "[\"a\",\"b\"]", &[]),
        ("resourceNames", "[\"a\",\"a\"]", &["resourceNames[1]: Duplicate value: \"a\""]),
        ("resourceNames", "[\"a/b\"]", &["resourceNames[0]: Invalid value: \"a/b\": may not contain '/'"]),
    ];
    for (field, value, want) in cases {
        let want: Vec<String> = want.iter().map(|w| of(w)).collect();
        let want: Vec<&str> = want.iter().map(String::as_str).collect();
        check_create(rows, &validating(), &[(&set(field, value), &want)]);
    }
}

#[test]
fn validating_policy_rules() {
    let rows = row(GROUP, "validatingadmissionpolicies");
    let neither = "Required value: validations or auditAnnotations must contain at least one item";
    let (no_rules, no_notes) = (format!("spec.validations: {neither}"), format!("spec.auditAnnotations: {neither}"));
    let group = format!("spec.paramKind.apiVersion: Invalid value: \"A\": {SUBDOMAIN}");
    let note = |key: &str| json!({ "key": key, "valueExpression": "'x'" });
    let many: Vec<Value> = (0..21).map(|i| note(&format!("k{i}"))).collect();
    let (set_many, long) = (
        format!("spec.auditAnnotations = {}", Value::from(many.clone())),
        format!("spec.auditAnnotations = [{{\"key\":\"a\",\"valueExpression\":\"{}\"}}]", "x".repeat(5 * 1024 + 1)),
    );
    let too_many = format!(
        "spec.auditAnnotations: Invalid value: {}: must not have more than 20 auditAnnotations",
        Value::from(many)
    );
    let conditions =
        format!("spec.matchConditions = {}", Value::from(vec![json!({ "name": "a", "expression": "true" }); 65]));
    let rules: Rules<'_> = &[
        ("", &[]),
        (
            "spec.failurePolicy = Stop",
            &["spec.failurePolicy: Unsupported value: \"Stop\": supported values: \"Fail\", \"Ignore\""],
        ),
        ("spec.paramKind.apiVersion = v1", &[]),
        ("spec.paramKind.apiVersion = null", &["spec.paramKind.apiVersion: Required value"]),
        (
            "spec.paramKind.apiVersion = a/b/c",
            &["spec.paramKind.apiVersion: Invalid value: \"a/b/c\": unexpected GroupVersion string: a/b/c"],
        ),
        ("spec.paramKind.apiVersion = A/v1", &[&group]),
        (
            "spec.paramKind.apiVersion = a/",
            &["spec.paramKind.apiVersion: Invalid value: \"a/\": version must be specified"],
        ),
        ("spec.paramKind.kind = null", &["spec.paramKind.kind: Required value"]),
        ("spec.matchConstraints = null", &["spec.matchConstraints: Required value"]),
        ("spec.matchConstraints.resourceRules = []", &["spec.matchConstraints.resourceRules: Required value"]),
        (
            "spec.matchConstraints.matchPolicy = Some",
            &["spec.matchConstraints.matchPolicy: Unsupported value: \"Some\": supported values: \"Equivalent\", \
               \"Exact\""],
        ),
        (
            "spec.matchConstraints.objectSelector = {\"matchExpressions\":[{\"key\":\"a\",\"operator\":\"Is\"}]}",
            &["spec.matchConstraints.objectSelector.matchExpressions[0].operator: Invalid value: \"Is\": not a valid \
               selector operator"],
        ),
        ("spec.matchConditions = [{\"name\":\"a\",\"expression\":\"true\"}]", &[]),
        (
            "spec.matchConditions = [{\"name\":\"\",\"expression\":\" \"}]",
            &["spec.matchConditions[0].expression: Required value", "spec.matchConditions[0].name: Required value"],
        ),
        (
            "spec.matchConditions = [{\"name\":\"a\",\"expression\":\"true\"},{\"name\":\"a\",\"expression\":\"true\"}]",
            &["spec.matchConditions[1].name: Duplicate value: \"a\""],
        ),
        ("spec.variables = [{\"name\":\"a_1\",\"expression\":\"true\"}]", &[]),
        (
            "spec.variables = [{\"name\":\"\",\"expression\":\"\"}]",
            &[
                "spec.variables[0].name: Required value: name is not specified",
                "spec.variables[0].expression: Required value: expression is not specified",
            ],
        ),
        (
            "spec.variables = [{\"name\":\"if\",\"expression\":\"true\"}]",
            &["spec.variables[0].name: Invalid value: \"if\": name is not a valid CEL identifier"],
        ),
        ("spec.validations = []", &[&no_rules, &no_notes]),
        (
            "spec.validations[0].expression = null",
            &["spec.validations[0].expression: Required value: expression is not specified"],
        ),
        (
            "spec.validations[0].messageExpression = \" \"",
            &["spec.validations[0].messageExpression: Invalid value: \" \": must be non-empty if specified"],
        ),
        (
            "spec.validations[0].message = \" \"",
            &["spec.validations[0].message: Invalid value: \" \": message must be non-empty if specified"],
        ),
        (
            "spec.validations[0].message = \"a\\nb\"",
            &["spec.validations[0].message: Invalid value: \"a\\nb\": message must not contain line breaks"],
        ),
        (
            "spec.validations[0].reason = Because",
            &[
                "spec.validations[0].reason: Unsupported value: \"Because\": supported values: \"Forbidden\", \"Invalid\", \
               \"RequestEntityTooLarge\", \"Unauthorized\"",
            ],
        ),
        ("spec.auditAnnotations = [{\"key\":\"a\",\"valueExpression\":\"'x'\"}]", &[]),
        (
            "spec.auditAnnotations = [{\"key\":\"\",\"valueExpression\":\"\"}]",
            &[
                "spec.auditAnnotations[0].key: Invalid value: \"p/\": name part must be non-empty",
                "spec.auditAnnotations[0].key: Invalid value: \"p/\": {name part}",
                "spec.auditAnnotations[0].valueExpression: Required value: valueExpression is not specified",
            ],
        ),
        (&set_many, &[&too_many]),
        (&long, &["spec.auditAnnotations[0].valueExpression: Required value: must not exceed 5120 bytes in length"]),
    ];
    check_create(rows, &validating(), rules);
    let errors = crate::testing::create_errors(rows, {
        let mut policy = validating();
        crate::testing::change(&mut policy, &conditions);
        policy
    });
    assert_eq!(errors[0], "spec.matchConditions: Too many: 65: must have at most 64 items");
    check_update(rows, &validating(), &[("spec.validations[0].expression = 1 == 1", &[])]);
    let defaults = "spec.failurePolicy = Fail ; spec.matchConstraints.matchPolicy = Equivalent ; \
                    spec.matchConstraints.namespaceSelector = {} ; spec.matchConstraints.objectSelector = {} ; \
                    spec.matchConstraints.resourceRules[0].scope = *";
    check_defaults(rows, &validating(), &[("", defaults)]);
    check_status(
        rows,
        &validating(),
        &[
            ("status.typeChecking.expressionWarnings = [{\"fieldRef\":\"spec.x\",\"warning\":\"w\"}]", &[]),
            (
                "status.typeChecking.expressionWarnings = [{}]",
                &[
                    "status.typeChecking.expressionWarnings[0].warning: Required value",
                    "status.typeChecking.expressionWarnings[0].fieldRef: Required value",
                ],
            ),
            (
                "status.conditions = [{\"type\":\"A\",\"status\":\"True\",\"reason\":\"R\"}]",
                &["status.conditions[0].lastTransitionTime: Required value: must be set"],
            ),
        ],
    );
    assert_eq!(cells(rows, &validating()), ["p", "1", "a.example/v1/Limit", "<unknown>"]);
}

#[test]
fn mutating_policy_rules() {
    let rows = row(GROUP, "mutatingadmissionpolicies");
    let mut base = validating();
    base["kind"] = json!("MutatingAdmissionPolicy");
    crate::testing::change(
        &mut base,
        "spec.validations = null ; spec.reinvocationPolicy = Never ; \
         spec.mutations = [{\"patchType\":\"JSONPatch\",\"jsonPatch\":{\"expression\":\"[]\"}}]",
    );
    let rules: Rules<'_> = &[
        ("", &[]),
        ("spec.mutations = []", &["spec.mutations: Required value: mutations must contain at least one item"]),
        ("spec.mutations[0].patchType = null", &["spec.mutations[0].patchType: Required value"]),
        (
            "spec.mutations[0].patchType = Merge",
            &["spec.mutations[0].patchType: Unsupported value: \"Merge\": supported values: \"ApplyConfiguration\", \
               \"JSONPatch\""],
        ),
        (
            "spec.mutations[0].patchType = ApplyConfiguration",
            &[
                "spec.mutations[0].applyConfiguration: Required value: must be specified when patchType is \
                 ApplyConfiguration",
                "spec.mutations[0].jsonPatch: Invalid value: \"{jsonPatch}\": must not be specified when patchType is \
                 ApplyConfiguration",
            ],
        ),
        (
            "spec.mutations[0].jsonPatch = {}",
            &["spec.mutations[0].jsonPatch.expression: Required value: expression is not specified"],
        ),
        ("spec.reinvocationPolicy = null", &["spec.reinvocationPolicy: Required value"]),
        (
            "spec.reinvocationPolicy = Often",
            &["spec.reinvocationPolicy: Unsupported value: \"Often\": supported values: \"IfNeeded\", \"Never\""],
        ),
    ];
    check_create(rows, &base, rules);
    assert_eq!(cells(rows, &base), ["p", "1", "a.example/v1/Limit", "<unknown>"]);
}

#[test]
fn binding_rules() {
    let rows = row(GROUP, "validatingadmissionpolicybindings");
    let base = json!({ "kind": "ValidatingAdmissionPolicyBinding", "metadata": { "name": "b" }, "spec": {
        "policyName": "p", "paramRef": { "name": "x", "parameterNotFoundAction": "Deny" }, "matchResources": {},
        "validationActions": ["Deny", "Audit"],
    } });
    let name = format!("spec.policyName: Invalid value: \"A\": {SUBDOMAIN}");
    let rules: Rules<'_> = &[
        ("", &[]),
        ("spec.paramRef = null", &[]),
        ("spec.policyName = null", &["spec.policyName: Required value"]),
        ("spec.policyName = A", &[&name]),
        ("spec.paramRef.name = null", &["spec.paramRef: Required value: one of name or selector must be specified"]),
        ("spec.paramRef.name = a/b", &["spec.paramRef.name: Invalid value: \"a/b\": may not contain '/'"]),
        (
            "spec.paramRef.selector = {}",
            &[
                "spec.paramRef.name: Forbidden: name and selector are mutually exclusive",
                "spec.paramRef.selector: Forbidden: name and selector are mutually exclusive",
            ],
        ),
        ("spec.paramRef.parameterNotFoundAction = null", &["spec.paramRef.parameterNotFoundAction: Required value"]),
        (
            "spec.paramRef.parameterNotFoundAction = Skip",
            &["spec.paramRef.parameterNotFoundAction: Unsupported value: \"Skip\": supported values: \"Deny\", \
               \"Allow\""],
        ),
        (
            "spec.matchResources.matchPolicy = Some",
            &["spec.matchResources.matchPolicy: Unsupported value: \"Some\": supported values: \"Equivalent\", \
               \"Exact\""],
        ),
        (
            "spec.validationActions = []",
            &["spec.validationActions: Required value: at least one validation action is required"],
        ),
        (
            "spec.validationActions = [\"Log\",\"Audit\",\"Audit\"]",
            &[
                "spec.validationActions[0]: Unsupported value: \"Log\": supported values: \"Audit\", \"Deny\", \"Warn\"",
                "spec.validationActions[2]: Duplicate value: \"Audit\"",
            ],
        ),
        (
            "spec.validationActions = [\"Deny\",\"Warn\"]",
            &["spec.validationActions: Invalid value: [\"Deny\",\"Warn\"]: must not contain both Deny and Warn \
               (repeating the same validation failure information in the API response and headers serves no purpose)"],
        ),
    ];
    check_create(rows, &base, rules);
    check_defaults(
        rows,
        &base,
        &[(
            "",
            "spec.matchResources = {\"matchPolicy\":\"Equivalent\",\"namespaceSelector\":{},\"objectSelector\":{}}",
        )],
    );
    assert_eq!(cells(rows, &base), ["b", "p", "*/x", "<unknown>"]);
    let mut mutating = base;
    mutating["kind"] = json!("MutatingAdmissionPolicyBinding");
    check_create(row(GROUP, "mutatingadmissionpolicybindings"), &mutating, &[("spec.validationActions = null", &[])]);
}

#[test]
fn kinds_of_parameters_and_names_of_policies() {
    let rows = row(GROUP, "validatingadmissionpolicies");
    check_create(
        rows,
        &validating(),
        &[
            (
                "spec.paramKind.kind = a.b",
                &["spec.paramKind.kind: Invalid value: \"a.b\": may have mixed case, but should otherwise match: \
                   {dns-1035}"],
            ),
            (
                r#"metadata.name = null ; spec.auditAnnotations = [{"key":"a","valueExpression":"'x'"}]"#,
                &["spec.auditAnnotations[0].key: Invalid value: \"a\": requires metadata.name be non-empty"],
            ),
        ],
    );
}

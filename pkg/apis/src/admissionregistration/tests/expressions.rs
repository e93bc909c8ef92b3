//! Expressions of policies and webhooks: one that compiles and one that does not, for each field that holds them.

use serde_json::{Value, json};

use super::{GROUP, validating};
use crate::testing::{change, create_errors, row, update_errors};

/// What setting a field of `base` to a value says.
fn errors(plural: &str, base: &Value, path: &str, value: Value) -> Vec<String> {
    let mut object = base.clone();
    change(&mut object, &format!("{path} = {value}"));
    create_errors(row(GROUP, plural), object)
}

/// For a field: an expression that is accepted, one that is not, and why, up to the line that shows it.
type Case<'a> = (&'a str, &'a str, &'a str, &'a str);

fn check(plural: &str, base: &Value, cases: &[Case<'_>]) {
    for (path, good, wrong, why) in cases {
        assert_eq!(errors(plural, base, path, json!(good)), [""; 0], "{path} = {good}");
        let got = errors(plural, base, path, json!(wrong));
        assert_eq!(got.len(), 1, "{path} = {wrong}: {got:?}");
        let want = format!("{path}: Invalid value: {}: {why}", json!(wrong));
        assert_eq!(got[0].lines().next(), Some(want.as_str()), "{path} = {wrong}");
    }
}

#[test]
fn policies_that_validate_hold_expressions_that_compile() {
    let mut base = validating();
    change(
        &mut base,
        "spec.matchConditions = [{\"name\":\"a\",\"expression\":\"true\"}] ; \
         spec.variables = [{\"name\":\"a\",\"expression\":\"1\"},{\"name\":\"b\",\"expression\":\"2\"}] ; \
         spec.auditAnnotations = [{\"key\":\"a\",\"valueExpression\":\"'x'\"}]",
    );
    let undeclared = |name: &str, place: &str| {
        format!("compilation failed: ERROR: <input>:{place}: undeclared reference to '{name}' (in container '')")
    };
    let (no_variables, no_authorizer) = (undeclared("variables", "1:1"), undeclared("authorizer", "1:1"));
    check(
        "validatingadmissionpolicies",
        &base,
        &[
            (
                "spec.validations[0].expression",
                "object.spec.replicas <= params.most && variables.a < variables.b && \
                 authorizer.group('apps').resource('deployments').check('scale').allowed()",
                "object.spec.replicas",
                "must evaluate to bool but got dyn",
            ),
            (
                "spec.validations[0].expression",
                "request.operation == 'CREATE' && has(object.metadata.labels)",
                "1 + 'a' == 2",
                "compilation failed: ERROR: <input>:1:3: found no matching overload for '_+_' applied to '(int, string)'",
            ),
            (
                "spec.validations[0].messageExpression",
                "'at most ' + string(params.most) + string(variables.a)",
                "variables.a",
                "must evaluate to string but got int",
            ),
            ("spec.validations[0].messageExpression", "'x'", "authorizer.path('/x')", &no_authorizer),
            (
                "spec.auditAnnotations[0].valueExpression",
                "null",
                "['x']",
                "must evaluate to one of [string null_type] but got list(string)",
            ),
            (
                "spec.matchConditions[0].expression",
                "params.a == 1 && authorizer != null",
                "variables.a == 1",
                &no_variables,
            ),
            ("spec.variables[1].expression", "variables.a + 1", "variables.c", UNKNOWN_FIELD),
        ],
    );
    // Without a kind of parameters there are none.
    change(&mut base, "spec.paramKind = null");
    let path = "spec.validations[0].expression";
    let why = undeclared("params", "1:1");
    check("validatingadmissionpolicies", &base, &[(path, "true", "params.a == 1", &why)]);
}

const UNKNOWN_FIELD: &str = "compilation failed: ERROR: <input>:1:10: undefined field 'c'";

#[test]
fn policies_that_mutate_hold_expressions_that_compile() {
    let mut base = validating();
    base["kind"] = json!("MutatingAdmissionPolicy");
    change(
        &mut base,
        "spec.validations = null ; spec.reinvocationPolicy = Never ; spec.variables = [{\"name\":\"a\",\"expression\":\"1\"}] ; \
         spec.matchConditions = [{\"name\":\"a\",\"expression\":\"true\"}] ; \
         spec.mutations = [{\"patchType\":\"JSONPatch\",\"jsonPatch\":{\"expression\":\"[]\"}}, \
         {\"patchType\":\"ApplyConfiguration\",\"applyConfiguration\":{\"expression\":\"Object{}\"}}]",
    );
    check(
        "mutatingadmissionpolicies",
        &base,
        &[
            (
                "spec.mutations[0].jsonPatch.expression",
                "has(object.a) ? [JSONPatch{op: 'add', path: '/a/' + jsonpatch.escapeKey('b'), value: variables.a}] : []",
                "Object{}",
                "must evaluate to list(JSONPatch) but got Object",
            ),
            (
                "spec.mutations[1].applyConfiguration.expression",
                "Object{spec: Object.spec{replicas: variables.a}}",
                "[]",
                "must evaluate to Object but got list(dyn)",
            ),
            ("spec.variables[0].expression", "object.a", "variables.c", UNKNOWN_FIELD),
            ("spec.matchConditions[0].expression", "true", "'a'", "must evaluate to bool but got string"),
        ],
    );
}

#[test]
fn webhooks_hold_conditions_that_compile() {
    for (kind, plural) in [
        ("MutatingWebhookConfiguration", "mutatingwebhookconfigurations"),
        ("ValidatingWebhookConfiguration", "validatingwebhookconfigurations"),
    ] {
        let base = json!({ "kind": kind, "metadata": { "name": "w" }, "webhooks": [{
            "name": "a.b.example", "sideEffects": "None", "admissionReviewVersions": ["v1"],
            "clientConfig": { "url": "https://a.example" }, "matchConditions": [{ "name": "a", "expression": "true" }],
        }] });
        check(
            plural,
            &base,
            &[(
                "webhooks[0].matchConditions[0].expression",
                "!request.userInfo.username.startsWith('system:') && object.a != oldObject.a",
                "params.a == 1",
                "compilation failed: ERROR: <input>:1:1: undeclared reference to 'params' (in container '')",
            )],
        );
    }
}

#[test]
fn errors_of_conditions_are_about_the_text_without_blanks() {
    let set = json!([{ "name": "a", "expression": " 1 +\n" }]);
    let got = errors("validatingadmissionpolicies", &validating(), "spec.matchConditions", set);
    let expr = "{'[', '{', '(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, \
                IDENTIFIER}";
    assert_eq!(
        got,
        [format!(
            "spec.matchConditions[0].expression: Invalid value: \"1 +\": compilation failed: ERROR: <input>:1:4: Syntax \
             error: mismatched input '<EOF>' expecting {expr}\n | 1 +\n | ...^"
        )]
    );
}

#[test]
fn what_is_stored_already_does_not_stop_other_changes() {
    let mut stored = validating();
    change(&mut stored, "spec.validations[0].expression = foo");
    let rows = row(GROUP, "validatingadmissionpolicies");
    let label = update_errors(rows, stored.clone(), |policy| change(policy, "metadata.labels = {\"a\":\"b\"}"));
    assert_eq!(label, [""; 0]);
    let spec = update_errors(rows, stored, |policy| change(policy, "spec.validations[0].expression = foo2"));
    assert_eq!(spec.len(), 1);
}

//! Rules of schemas are CEL expressions that compile.

use serde_json::{Value, json};

use super::schemas::{errors_of, with};
use super::{definition, definitions};
use crate::testing::update_errors;

fn with_rule(rule: &Value) -> Value {
    with(json!({ "type": "string", "x-kubernetes-validations": [rule] }))
}

#[test]
fn rules_and_their_messages_compile() {
    let at = ".properties[a].x-kubernetes-validations[0]";
    let (rule, message) = ("compilation failed: ERROR:", "messageExpression compilation failed: ERROR:");
    for (rule, want) in [
        (json!({ "rule": "self.startsWith('a') && self != oldSelf" }), String::new()),
        (json!({ "rule": "self.all(x, x > 1)", "messageExpression": "'not ' + string(self)" }), String::new()),
        (json!({ "rule": "self.a || oldSelf.hasValue()", "optionalOldSelf": true }), String::new()),
        (json!({ "rule": "self.flag", "messageExpression": "self.name" }), String::new()),
        (json!({ "rule": "self.size()" }), "rule|cel expression must evaluate to a bool".to_owned()),
        (
            json!({ "rule": "object == self" }),
            format!("rule|{rule} <input>:1:1: undeclared reference to 'object' (in container '')"),
        ),
        (
            json!({ "rule": "true", "messageExpression": "1" }),
            "messageExpression|messageExpression must evaluate to a string".to_owned(),
        ),
        (
            json!({ "rule": "true", "messageExpression": "'a' + 1" }),
            format!(
                "messageExpression|{message} <input>:1:5: found no matching overload for '_+_' applied to '(string, int)'"
            ),
        ),
    ] {
        let got = errors_of(with_rule(&rule));
        let lines: Vec<&str> = got.iter().filter_map(|error| error.lines().next()).collect();
        let want = want.split_once('|').map(|(field, why)| format!("{at}.{field}: Invalid value: {rule}: {why}"));
        assert_eq!(lines, want.iter().map(String::as_str).collect::<Vec<_>>(), "{rule}");
    }
}

#[test]
fn rules_that_a_definition_had_already_stay() {
    let set = |definition: &mut Value, rule: &str| {
        let schema = with_rule(&json!({ "rule": rule }));
        definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"] = schema;
    };
    let mut stored = definition();
    set(&mut stored, "foo");
    let label = update_errors(definitions(), stored.clone(), |new| new["metadata"]["labels"] = json!({ "a": "b" }));
    assert_eq!(label, [""; 0]);
    assert_eq!(update_errors(definitions(), stored, |new| set(new, "foo2")).len(), 1);
}

//! Rules of schemas are CEL expressions that compile, with the types that the schema gives.

use serde_json::{Value, json};

use super::schemas::{errors_of, with};
use super::{definition, definitions};
use crate::testing::update_errors;

/// Fields of all types, with a rule.
fn with_rule(rule: &Value) -> Value {
    with(json!({ "type": "object", "x-kubernetes-validations": [rule], "properties": {
        "name": { "type": "string" }, "size": { "type": "integer" }, "share": { "type": "number" },
        "flag": { "type": "boolean" }, "secret": { "type": "string", "format": "byte" },
        "since": { "type": "string", "format": "date-time" }, "wait": { "type": "string", "format": "duration" },
        "port": { "x-kubernetes-int-or-string": true }, "any": { "x-kubernetes-preserve-unknown-fields": true },
        "labels": { "type": "object", "additionalProperties": { "type": "string" } },
        "parts": { "type": "array", "items": { "type": "object", "properties": { "a-b": { "type": "integer" } } } },
        "namespace": { "type": "string" }, "empty": { "type": "object", "x-kubernetes-preserve-unknown-fields": true },
        "pod": { "type": "object", "x-kubernetes-embedded-resource": true, "x-kubernetes-preserve-unknown-fields": true },
    } }))
}

/// The first line of each error, without the path of the rule.
fn errors(rule: &Value) -> Vec<String> {
    let at = ".properties[a].x-kubernetes-validations[0].";
    let got = errors_of(with_rule(rule));
    let first = |error: &String| error.lines().next().unwrap_or_default().replace(at, "");
    got.iter().map(first).collect()
}

#[test]
fn rules_know_the_types_of_the_schema() {
    for rule in [
        "self.name.startsWith('a') && self != oldSelf",
        "self.size + oldSelf.size > 0 && self.share < 1.5 && self.size < self.share",
        "self.flag",
        "self.secret == b'a' && self.since > timestamp('2024-01-01T00:00:00Z') && self.wait < duration('1h')",
        "self.port == 'http' || self.port == 80 || int(self.port) > 1",
        "self.labels.all(k, k.size() < 10 && self.labels[k] != 'x') && 'a' in self.labels",
        "self.parts.exists(p, p.a__dash__b == 1) && has(self.parts) && self.parts[0].a__dash__b > 1",
        "self.__namespace__ == 'a' && has(self.empty)",
        "self.pod.kind == 'Pod' && self.pod.metadata.name != ''",
    ] {
        assert_eq!(errors(&json!({ "rule": rule })), [""; 0], "{rule}");
    }
    let optional = json!({ "rule": "oldSelf.hasValue() && oldSelf.value().size < self.size", "optionalOldSelf": true });
    assert_eq!(errors(&optional), [""; 0]);
    for (rule, why) in [
        ("self.z == 100", "compilation failed: ERROR: <input>:1:5: undefined field 'z'"),
        ("self.any == 1", "compilation failed: ERROR: <input>:1:5: undefined field 'any'"),
        ("self.empty.a == 1", "compilation failed: ERROR: <input>:1:11: undefined field 'a'"),
        ("self.pod.metadata.labels == {}", "compilation failed: ERROR: <input>:1:18: undefined field 'labels'"),
        (
            "self.size > 'a'",
            "compilation failed: ERROR: <input>:1:11: found no matching overload for '_>_' applied to '(int, string)'",
        ),
        (
            "object == self",
            "compilation failed: ERROR: <input>:1:1: undeclared reference to 'object' (in container '')",
        ),
        ("self.size", "cel expression must evaluate to a bool"),
        // A number or a text: of no type that is known.
        ("self.port", "cel expression must evaluate to a bool"),
    ] {
        let rule = json!({ "rule": rule });
        assert_eq!(errors(&rule), [format!("rule: Invalid value: {rule}: {why}")]);
    }
}

#[test]
fn the_root_has_names_and_kind() {
    let rooted = |rule: &str| {
        let rule = json!({ "rule": rule });
        errors_of(json!({ "type": "object", "x-kubernetes-validations": [rule] })).len()
    };
    assert_eq!(rooted("self.metadata.name.startsWith('a') && self.kind == 'Foo' && self.apiVersion != ''"), 0);
    assert_eq!(rooted("has(self.metadata.labels)"), 1);
}

#[test]
fn messages_are_texts() {
    for (message, why) in [
        ("'not %d'.format([self.size])", None),
        ("self.name", None),
        ("['not', self.name]", None),
        ("self.size", Some("messageExpression must evaluate to a string or a list of strings")),
        ("self.port", Some("messageExpression must evaluate to a string or a list of strings")),
        ("[self.size]", Some("messageExpression must evaluate to a string or a list of strings")),
        ("self.z", Some("messageExpression compilation failed: ERROR: <input>:1:5: undefined field 'z'")),
    ] {
        let rule = json!({ "rule": "self.flag", "messageExpression": message });
        let want = why.map(|why| format!("messageExpression: Invalid value: {rule}: {why}"));
        assert_eq!(errors(&rule), want.into_iter().collect::<Vec<_>>());
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

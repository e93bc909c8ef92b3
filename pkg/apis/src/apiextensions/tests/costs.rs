//! What rules cost at most, by the limits of their schemas, and which are too dear: upstream's figures and texts.

use cel::kubernetes;
use serde_json::{Value, json};

use super::super::expression_types::declare;
use super::schemas::{errors_of, with};
use super::{definition, definitions};
use crate::testing::update_errors;

/// What a rule about data of this schema costs at most.
pub fn cost(schema: &Value, rule: &str) -> u64 {
    let mut environment = kubernetes::schema();
    let declared = declare(&mut environment, "self", schema, false).expect("data that has a type");
    environment.set_shape(declared.shape);
    environment.set("self", declared.of.clone());
    environment.set("oldSelf", declared.of);
    environment.estimate(rule).expect("a rule that compiles").cost.max
}

pub fn of(kind: &str) -> Value {
    match kind {
        "int-or-string" => json!({ "x-kubernetes-int-or-string": true }),
        "duration" | "date" | "date-time" | "byte" => json!({ "type": "string", "format": kind }),
        kind => json!({ "type": kind }),
    }
}

pub fn list(items: &Value) -> Value {
    json!({ "type": "array", "items": items })
}

pub fn map(values: &Value) -> Value {
    json!({ "type": "object", "additionalProperties": values })
}

/// The schema with a limit of its own kind.
pub fn limited(mut schema: Value, most: u64) -> Value {
    let field = match schema["type"].as_str() {
        Some("array") => "maxItems",
        Some("object") => "maxProperties",
        _ => "maxLength",
    };
    schema[field] = most.into();
    schema
}

/// Costs without a limit, with one of so many, and then.
type Row<'a> = (Value, &'a str, u64, u64, u64);

fn check(rows: &[Row<'_>]) {
    for (schema, rule, unlimited, most, want) in rows {
        assert_eq!(cost(schema, rule), *unlimited, "{rule} of {schema}");
        let schema = limited(schema.clone(), *most);
        assert_eq!(cost(&schema, rule), *want, "{rule} of {schema}");
    }
}

#[test]
fn lists_hold_what_fits_into_a_request() {
    let item = json!({ "type": "object", "required": ["required"], "properties": {
        "required": { "type": "string" }, "optional": { "type": "string" } } });
    let all = "self.all(x, true)";
    check(&[
        (list(&of("number")), all, 4_718_591, 10, 32),
        (list(&of("string")), all, 3_145_727, 20, 62),
        (list(&of("boolean")), all, 1_887_437, 5, 17),
        (list(&list(&of("number"))), all, 3_145_727, 100, 302),
        (list(&item), all, 555_128, 50, 152),
        (list(&of("int-or-string")), all, 4_718_591, 10, 32),
        (list(&of("duration")), all, 2_359_295, 5, 17),
        (list(&of("date")), all, 725_936, 15, 47),
        (list(&of("date-time")), all, 428_963, 25, 77),
        (list(&of("number")), "self[1] == 0.0", 2, 5000, 2),
        (list(&of("string")), "self[1] == self[1]", 314_577, 8, 314_577),
        (list(&of("number")), "self.all(x, x == 0.0)", 6_291_454, 3 * 1024 * 2048, 25_165_826),
        (list(&of("int-or-string")), "self[0] == 5", 3, 10, 3),
        (list(&list(&of("number"))), "self[0][0] == -1.0", 3, 51, 3),
        (list(&map(&of("number"))), "self.all(x, x.y == 25.2)", 6_291_452, 12, 74),
        (list(&map(&of("number"))), "self[0].x > 2.0", 4, 3000, 4),
        (list(&of("duration")), "self[0].getHours() == 2", 4, 525, 4),
    ]);
    assert_eq!(cost(&limited(list(&of("number")), 10), "self.all(x, self.all(y, true))"), 352);
    assert_eq!(cost(&limited(list(&of("number")), 10), "self.all(x, self.all(y, self.all(z, true)))"), 3552);
    assert!(cost(&list(&of("number")), "self.all(x, self.all(y, true))") > 1 << 40);
}

#[test]
fn maps_hold_what_fits_into_a_request() {
    let item = json!({ "type": "object", "required": ["required"], "properties": {
        "required": { "type": "string" }, "optional": { "type": "string" } } });
    let all = "self.all(x, true)";
    check(&[
        (map(&of("number")), all, 1_348_169, 10, 32),
        (map(&of("string")), all, 1_179_647, 3, 11),
        (map(&of("boolean")), all, 943_718, 100, 302),
        (map(&of("int-or-string")), all, 1_348_169, 15, 47),
        (map(&item), all, 428_963, 20, 62),
        (map(&map(&of("number"))), all, 1_179_647, 10, 32),
        (map(&list(&of("number"))), all, 1_179_647, 25, 77),
        (map(&of("duration")), all, 1_048_577, 5, 17),
        (map(&of("date")), all, 524_288, 10, 32),
        (map(&of("date-time")), all, 349_526, 25, 77),
        (map(&of("string")), "self.all(x, x.contains(self[x]))", 2_752_507, 10, 72),
        (map(&of("number")), "self['x'] == 0.0", 2, 0, 2),
        (map(&of("number")), "has(self.x)", 1, 100, 1),
        (map(&of("integer")), "oldSelf.size() == self.size()", 5, 10, 5),
        (map(&of("date-time")), "self['a'] == self['b']", 8, 7, 8),
        (map(&of("duration")), "self['c'] == self['d']", 8, 42, 8),
    ]);
}

#[test]
fn texts_are_as_long_as_a_request() {
    let string = || of("string");
    check(&[
        (string(), "self.contains('test')", 314_574, 10, 5),
        (string(), "self.startsWith('test')", 2, 15, 2),
        (string(), "size(self + \"hello\") > size(\"hello\")", 314_578, 4, 7),
        (string(), "self.matches(\"x\")", 314_574, 50, 22),
        (string(), "\"\".matches(\"(((((((((())))))))))[0-9]\")", 7, 10, 7),
        (string(), "self.matches(\"\")", 1, 100, 1),
        (string(), "self == \"x\"", 2, 0, 1),
        (string(), "self.find('[0-9]+') == ''", 629_147, 10, 11),
        (string(), "self.lowerAscii() == 'lower!'", 314_575, 10, 6),
        (of("byte"), "self == b\"x\"", 2, 0, 1),
        (json!({ "type": "string", "enum": ["A", "B", "C", "LongValue"] }), "self.contains('A')", 2, 1000, 401),
    ]);
}

#[test]
fn limits_of_parts_count() {
    let fields = |fields: Value| json!({ "type": "object", "properties": fields });
    let short = |most: u64| limited(of("string"), most);
    for (schema, rule, want) in [
        (limited(list(&short(10)), 10), "self.join(' ') == 'aa bb'", 43),
        (list(&of("string")), "self.join(' ') == 'aa bb'", 329_853_068_905),
        (limited(list(&short(10)), 10), "self.isSorted() == true", 52),
        (list(&of("string")), "self.isSorted() == true", 329_854_432_052),
        (
            fields(json!({ "str": short(4), "before": short(2), "after": short(4) })),
            "self.str.replace(self.before, self.after) == 'does not matter'",
            12,
        ),
        (
            fields(json!({ "str": of("string"), "before": short(2), "after": short(4) })),
            "self.str.replace(self.before, self.after) == 'does not matter'",
            629_154,
        ),
        (fields(json!({ "str": short(10), "separator": short(10) })), "self.str.split(self.separator) == []", 22),
        (
            fields(json!({ "str": of("string"), "separator": of("string") })),
            "self.str.split(self.separator) == []",
            629_160,
        ),
        (fields(json!({ "a": of("integer") })), "self.a == oldSelf.a && type(self.a) == int", 8),
    ] {
        assert_eq!(cost(&schema, rule), want, "{rule} of {schema}");
    }
}

const TRY: &str = "(try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and \
                   strings are declared)";
const CONTRIBUTED: &str =
    "Forbidden: contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema";

/// An error of the rule at `path`, or of the whole schema.
fn told(path: &str, why: &str) -> String {
    match why {
        CONTRIBUTED => format!("{path}: {why}"),
        _ => format!("{path}: Forbidden: {why} {TRY}"),
    }
}

fn ruled(mut schema: Value, rule: &Value) -> Value {
    schema["x-kubernetes-validations"] = json!([rule]);
    schema
}

#[test]
fn rules_that_cost_too_much_are_refused() {
    let rule = |text: &str| json!({ "rule": text });
    let at = ".properties[a].x-kubernetes-validations[0].rule";
    let nested = rule("self.all(x, self.all(y, true))");
    let over = |by: &str| told(at, &format!("estimated rule cost exceeds budget by factor of {by}"));
    let whole = |by: &str| {
        let what = "x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema";
        told("", &format!("{what} exceeds budget by factor of {by}"))
    };
    for (schema, want) in [
        (limited(list(&of("number")), 1000), vec![]),
        (limited(list(&of("number")), 2000), vec![over("1.201000x")]),
        (limited(list(&of("number")), 2500), vec![over("1.9x")]),
        (limited(list(&of("number")), 10_000), vec![over("30.0x"), told(at, CONTRIBUTED), whole("3.0x")]),
        (list(&of("number")), vec![over("more than 100x"), told(at, CONTRIBUTED), whole("more than 100x")]),
    ] {
        let got = errors_of(with(ruled(schema.clone(), &nested)));
        assert_eq!(got, want, "{schema}");
    }
}

#[test]
fn rules_cost_as_often_as_they_are_evaluated() {
    // 2 for the field; to compare with nothing is for nothing.
    let item = || {
        ruled(
            json!({ "type": "object", "properties": { "n": { "type": "string" } } }),
            &json!({ "rule": "self.n != ''" }),
        )
    };
    let text = || ruled(limited(of("string"), 100), &json!({ "rule": "self.contains('a')" }));
    let at = |path: &str| format!(".properties[a].{path}.x-kubernetes-validations[0].rule");
    let over = |path: &str, by: &str| told(&at(path), &format!("estimated rule cost exceeds budget by factor of {by}"));
    for (schema, want) in [
        // A million times.
        (limited(list(&item()), 1_000_000), vec![]),
        (limited(list(&limited(list(&item()), 1_000)), 6_000), vec![over("items.items", "1.200000x")]),
        (limited(map(&limited(list(&item()), 1_000)), 6_000), vec![over("additionalProperties.items", "1.200000x")]),
        // As often as objects of two bytes fit into a request.
        (list(&item()), vec![]),
        (list(&text()), vec![over("items", "4.3x")]),
        (map(&text()), vec![over("additionalProperties", "4.3x")]),
    ] {
        let got = errors_of(with(schema.clone()));
        assert_eq!(got, want, "{schema}");
    }
}

#[test]
fn messages_cost_once() {
    let message = "'min (' + string(self.min) + ') is over max (' + string(self.max) + ')'";
    let rule = json!({ "rule": "self.min <= self.max", "messageExpression": message });
    let worker = json!({ "type": "object", "properties": { "min": of("integer"), "max": of("integer") } });
    let at = ".properties[a].x-kubernetes-validations[0].messageExpression";
    let whole = "x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema";
    assert_eq!(
        errors_of(with(ruled(worker.clone(), &rule))),
        [
            told(at, "estimated messageExpression cost exceeds budget by factor of more than 100x"),
            told(at, CONTRIBUTED),
            told("", &format!("{whole} exceeds budget by factor of more than 100x")),
        ]
    );
    let formatted =
        json!({ "rule": "self.min <= self.max", "messageExpression": "'%d > %d'.format([self.min, self.max])" });
    assert_eq!(errors_of(with(limited(list(&ruled(worker, &formatted)), 10))), [""; 0]);
}

/// A schema that was stored is not measured again, and one that is wrong otherwise is not measured at all.
#[test]
fn only_new_schemas_that_are_right_are_measured() {
    let dear = ruled(list(&of("number")), &json!({ "rule": "self.all(x, self.all(y, true))" }));
    let set = |definition: &mut Value, schema: &Value| {
        definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"] = with(schema.clone());
    };
    let mut stored = definition();
    set(&mut stored, &dear);
    let label = update_errors(definitions(), stored.clone(), |new| new["metadata"]["labels"] = json!({ "a": "b" }));
    assert_eq!(label, [""; 0]);
    let mut other = dear.clone();
    other["description"] = json!("numbers");
    assert_eq!(update_errors(definitions(), stored, |new| set(new, &other)).len(), 3);
    let mut wrong = dear;
    wrong["x-kubernetes-list-type"] = json!("bag");
    let why = "Unsupported value: \"bag\": supported values: \"atomic\", \"set\", \"map\"";
    let at = ".properties[a].x-kubernetes-list-type";
    assert_eq!(errors_of(with(wrong)), [format!("{at}: {why}")]);
}

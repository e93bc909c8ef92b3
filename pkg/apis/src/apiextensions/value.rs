//! Whether a value fits a schema of a custom resource, in the words of the validator that upstream uses (kube-openapi): each
//! fault names the field from the value's root (`a.b[0]`), and what it should be.

use apimachinery::field::{Error, ErrorList, Path};
use regex::RegexBuilder;
use serde_json::{Map, Value};

use super::format;
use super::schema::INT_OR_STRING;
use crate::tree::Tree;

/// A place in the value that is checked.
struct Place<'a> {
    /// Where the value itself stands.
    base: &'a Path,
    /// The place below it: `a.b[0]`; empty for the value as a whole.
    name: String,
}

impl Place<'_> {
    fn path(&self) -> Path {
        if self.name.is_empty() { self.base.clone() } else { self.base.child(&self.name) }
    }

    fn field(&self, name: &str) -> Self {
        let name = if self.name.is_empty() { name.to_owned() } else { format!("{}.{name}", self.name) };
        Self { name, ..*self }
    }

    fn item(&self, index: usize) -> Self {
        Self { name: format!("{}[{index}]", self.name), ..*self }
    }

    fn fault(&self, value: impl Into<Value>, what: &str) -> Error {
        Error::invalid(&self.path(), value, format!("{} in body {what}", self.name))
    }

    /// A value of the type `got` where another is wanted.
    fn wrong_type(&self, wanted: &str, got: &str) -> Error {
        let detail = format!("{} in body must be of type {wanted}: {got:?}", self.name);
        Error::type_invalid(&self.path(), got, detail)
    }
}

/// Checks `value`, which stands at `at`, against `schema`.
pub fn validate(errors: &mut ErrorList, at: &Path, schema: &Value, value: &Value) {
    check(errors, &Place { base: at, name: String::new() }, schema, value);
}

fn check(errors: &mut ErrorList, place: &Place<'_>, schema: &Value, value: &Value) {
    check_type(errors, place, schema, value);
    if !value.is_null() {
        alternatives(errors, place, schema, value);
        match value {
            Value::String(text) => string(errors, place, schema, text),
            Value::Number(_) => number(errors, place, schema, value),
            Value::Array(items) => list(errors, place, schema, items),
            _ => {}
        }
    }
    if schema.has("enum") && !schema.list("enum").iter().any(|known| same(known, value)) {
        let text = |known: &Value| known.as_str().map_or_else(|| known.to_string(), str::to_owned);
        let known: Vec<String> = schema.list("enum").iter().map(text).collect();
        let known: Vec<&str> = known.iter().map(String::as_str).collect();
        errors.push(Error::not_supported(&place.path(), value.clone(), &known));
    }
    if let Value::Object(fields) = value {
        object(errors, place, schema, fields);
    }
}

/// Equal, where `1` and `1.0` are the same number.
fn same(a: &Value, b: &Value) -> bool {
    a == b || (a.is_number() && b.is_number() && a.as_f64() == b.as_f64())
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn check_type(errors: &mut ErrorList, place: &Place<'_>, schema: &Value, value: &Value) {
    let wanted: &[&str] = match schema.text("type") {
        _ if schema.flag(INT_OR_STRING) => &["integer", "string"],
        "" => return,
        kind => &[kind],
    };
    let got = type_of(value);
    let whole = || value.as_f64().is_some_and(|number| number.fract() == 0.0);
    let fits = match got {
        "null" => schema.flag("nullable"),
        "integer" => wanted.contains(&"integer") || wanted.contains(&"number"),
        "number" => wanted.contains(&"number") || (wanted.contains(&"integer") && whole()),
        got => wanted.contains(&got),
    };
    if !fits {
        errors.push(place.wrong_type(&wanted.join(","), got));
    }
}

/// The faults that `schema` finds.
fn faults(place: &Place<'_>, schema: &Value, value: &Value) -> ErrorList {
    let mut errors = ErrorList::new();
    check(&mut errors, place, schema, value);
    errors
}

fn alternatives(errors: &mut ErrorList, place: &Place<'_>, schema: &Value, value: &Value) {
    // These are told of the value as a whole.
    let composed = |what: String| Error::invalid(place.base, "", format!("{:?} must {what}", place.name));
    let tried = |list: &str| schema.list(list).iter().map(|s| faults(place, s, value)).collect::<Vec<ErrorList>>();
    // Of several alternatives that all fail, the nearest one tells why.
    let nearest = |tried: Vec<ErrorList>| tried.into_iter().min_by_key(Vec::len).unwrap_or_default();
    let any = tried("anyOf");
    if !any.is_empty() && any.iter().all(|faults| !faults.is_empty()) {
        errors.push(composed("validate at least one schema (anyOf)".to_owned()));
        errors.extend(nearest(any));
    }
    let one = tried("oneOf");
    let legal = one.iter().filter(|faults| faults.is_empty()).count();
    if !one.is_empty() && legal == 0 {
        errors.push(composed("validate one and only one schema (oneOf). Found none valid".to_owned()));
        errors.extend(nearest(one));
    } else if legal > 1 {
        let what = format!("validate one and only one schema (oneOf). Found {legal} valid alternatives");
        errors.push(composed(what));
    }
    let all = tried("allOf");
    let legal = all.iter().filter(|faults| faults.is_empty()).count();
    if legal != all.len() {
        errors.extend(all.into_iter().flatten());
        let more = if legal == 0 { ". None validated" } else { "" };
        errors.push(composed(format!("validate all the schemas (allOf){more}")));
    }
    if schema.has("not") && faults(place, schema.field("not"), value).is_empty() {
        errors.push(composed("not validate the schema (not)".to_owned()));
    }
}

/// The largest compiled form of a pattern, in bytes.
const PATTERN_MAX: usize = 1 << 20;

fn string(errors: &mut ErrorList, place: &Place<'_>, schema: &Value, text: &str) {
    let length = || i64::try_from(text.chars().count()).unwrap_or(i64::MAX);
    if let Some(max) = schema.int("maxLength").filter(|max| length() > *max) {
        errors.push(Error::too_long(&place.path(), usize::try_from(max).unwrap_or(0)));
    }
    if let Some(min) = schema.int("minLength").filter(|min| length() < *min) {
        errors.push(place.fault(text, &format!("should be at least {min} chars long")));
    }
    let pattern = schema.text("pattern");
    match (pattern, RegexBuilder::new(pattern).size_limit(PATTERN_MAX).build()) {
        ("", _) => {}
        (_, Ok(compiled)) if compiled.is_match(text) => {}
        (_, Ok(_)) => errors.push(place.fault(text, &format!("should match '{pattern}'"))),
        (_, Err(why)) => {
            errors.push(place.fault(text, &format!("should match '{pattern}, but pattern is invalid: {why}'")));
        }
    }
    let format = schema.text("format");
    if !format::fits(format, text) {
        errors.push(place.wrong_type(format, text));
    }
}

fn number(errors: &mut ErrorList, place: &Place<'_>, schema: &Value, value: &Value) {
    let Some(number) = value.as_f64() else { return };
    let limit = |name: &str| schema.field(name).as_f64();
    if let Some(of) = limit("multipleOf").filter(|of| *of > 0.0 && (number / of).fract() != 0.0) {
        errors.push(place.fault(value.clone(), &format!("should be a multiple of {of}")));
    }
    if let Some(max) = limit("maximum") {
        if schema.flag("exclusiveMaximum") && number >= max {
            errors.push(place.fault(value.clone(), &format!("should be less than {max}")));
        } else if number > max {
            errors.push(place.fault(value.clone(), &format!("should be less than or equal to {max}")));
        }
    }
    if let Some(min) = limit("minimum") {
        if schema.flag("exclusiveMinimum") && number <= min {
            errors.push(place.fault(value.clone(), &format!("should be greater than {min}")));
        } else if number < min {
            errors.push(place.fault(value.clone(), &format!("should be greater than or equal to {min}")));
        }
    }
}

/// More entries than `field` of the schema allows.
fn too_many(errors: &mut ErrorList, place: &Place<'_>, schema: &Value, field: &str, count: usize) {
    if let Some(max) = schema.int(field).and_then(|max| usize::try_from(max).ok()).filter(|max| count > *max) {
        errors.push(Error::too_many(&place.path(), count, max));
    }
}

/// Fewer entries than `field` of the schema asks for.
fn too_few(schema: &Value, field: &str, count: usize) -> Option<i64> {
    schema.int(field).filter(|min| i64::try_from(count).is_ok_and(|count| count < *min))
}

fn list(errors: &mut ErrorList, place: &Place<'_>, schema: &Value, items: &[Value]) {
    if schema.field("items").is_object() {
        for (i, item) in items.iter().enumerate() {
            check(errors, &place.item(i), schema.field("items"), item);
        }
    }
    if let Some(min) = too_few(schema, "minItems", items.len()) {
        errors.push(place.fault(items.len(), &format!("should have at least {min} items")));
    }
    too_many(errors, place, schema, "maxItems", items.len());
}

fn object(errors: &mut ErrorList, place: &Place<'_>, schema: &Value, fields: &Map<String, Value>) {
    if let Some(min) = too_few(schema, "minProperties", fields.len()) {
        errors.push(place.fault(fields.len(), &format!("should have at least {min} properties")));
    }
    too_many(errors, place, schema, "maxProperties", fields.len());
    let (properties, additional) = (schema.field("properties"), schema.field("additionalProperties"));
    for (name, value) in fields {
        let place = place.field(name);
        match properties.get(name) {
            Some(property) => check(errors, &place, property, value),
            None if additional.is_object() => check(errors, &place, additional, value),
            None if *additional == false => errors.push(place.fault("", "is a forbidden property")),
            None => {}
        }
    }
    for name in schema.texts("required").filter(|name| !fields.contains_key(*name)) {
        errors.push(Error::required(&place.field(name).path(), ""));
    }
}

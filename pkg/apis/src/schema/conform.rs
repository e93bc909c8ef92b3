//! Bringing a decoded tree into the form that upstream's typed decoding and encoding would give it: unknown fields go
//! (and are reported), wrong types are refused with Go's texts, nulls and zero values that `omitempty` drops vanish,
//! quantities and times become canonical, base64 is checked.

use std::fmt;
use std::sync::OnceLock;

use apimachinery::patch::Present;
use apimachinery::{GroupVersionKind, decode::STRICT_ERRORS_MAX, quantity, time};
use base64::Engine as _;
use serde_json::{Map, Value};

use super::present::always_present;
use super::table::{Base, Container, Field, Type};

/// Where a value stands; lives on the stack of the walk.
pub(super) struct Place<'a> {
    parent: Option<&'a Place<'a>>,
    step: Step<'a>,
}

enum Step<'a> {
    Field(&'a str),
    Key(&'a str),
    Index(usize),
}

impl fmt::Display for Place<'_> {
    /// `spec.containers[0].name`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(parent) = self.parent {
            parent.fmt(f)?;
        }
        match self.step {
            Step::Field(name) | Step::Key(name) if self.parent.is_some() => write!(f, ".{name}"),
            Step::Field(name) | Step::Key(name) => f.write_str(name),
            Step::Index(index) => write!(f, "[{index}]"),
        }
    }
}

impl Place<'_> {
    /// Go's field stack: names of fields only.
    fn go_path(&self, out: &mut String) {
        if let Some(parent) = self.parent {
            parent.go_path(out);
        }
        if let Step::Field(name) = self.step {
            out.push('.');
            out.push_str(name);
        }
    }
}

/// Conforms `object` to its kind. Answers the paths of unknown fields, which are removed, or the reason why the object
/// cannot be of this kind. A kind that the table does not have is left as it is.
pub fn conform(gvk: &GroupVersionKind, object: &mut Value) -> Result<Vec<String>, String> {
    match Type::of(gvk) {
        Some(type_) => conform_to(type_, object),
        None => Ok(Vec::new()),
    }
}

/// The same for a type that is known.
pub fn conform_to(type_: Type, object: &mut Value) -> Result<Vec<String>, String> {
    let mut walk = Walk { unknown: Vec::new() };
    match object {
        Value::Object(map) => walk.structure(type_, map, None)?,
        other => {
            return Err(format!("json: cannot unmarshal {} into Go value of type {}", go_kind(other), type_.go_name()));
        }
    }
    Ok(walk.unknown)
}

/// The value of a struct field that Go holds by value and nobody has set; `None` for other fields. `status` of a
/// ReplicaSet is `{"replicas": 0}`.
pub fn zero_struct(of: Type, field: &str) -> Option<Value> {
    let by_value = always_present(of.id()).contains(&(field, Present::Empty));
    let target = of.field(field).and_then(Field::target).filter(|_| by_value)?;
    Some(Value::Object(zero_of(target).clone()))
}

/// What Go writes of a struct that nobody has set. Made once a type.
fn zero_of(of: Type) -> &'static Map<String, Value> {
    type Zero = OnceLock<Map<String, Value>>;
    static ZEROS: OnceLock<Box<[Zero]>> = OnceLock::new();
    let zeros = ZEROS.get_or_init(|| Type::all().map(|_| Zero::new()).collect());
    zeros[usize::from(of.id().0)].get_or_init(|| {
        let mut zero = Map::new();
        complete(of, &mut zero);
        zero_scalars(of, &mut zero);
        zero
    })
}

/// Adds the structs that Go holds by value and so always writes: who leaves them out and who sends them empty means the
/// same, and must be found to have sent the same.
fn complete(of: Type, map: &mut Map<String, Value>) {
    for (name, present) in always_present(of.id()) {
        let is_there = |value: &Value| value.as_object().is_none_or(|map| !map.is_empty());
        if *present != Present::Empty || map.get(*name).is_some_and(is_there) {
            continue;
        }
        let zero = of.field(name).and_then(Field::target).map_or_else(Map::new, |target| zero_of(target).clone());
        map.insert((*name).to_owned(), Value::Object(zero));
    }
}

struct Walk {
    unknown: Vec<String>,
}

/// Go's word for the JSON type of a value.
pub fn go_kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn mismatch(owner: Type, place: &Place<'_>, value: &str, go_type: &str) -> String {
    let mut path = owner.short_name().to_owned();
    place.go_path(&mut path);
    format!("json: cannot unmarshal {value} into Go struct field {path} of type {go_type}")
}

impl Walk {
    fn structure(
        &mut self,
        type_: Type,
        map: &mut Map<String, Value>,
        parent: Option<&Place<'_>>,
    ) -> Result<(), String> {
        let mut gone = Vec::new();
        let outcome = self.fields(type_, map, parent, &mut gone);
        for name in gone {
            map.remove(name.as_str());
        }
        outcome?;
        complete(type_, map);
        Ok(())
    }

    /// Collects which fields are to be dropped: mostly none, and a walk costs less than to retain what is to stay.
    fn fields(
        &mut self,
        type_: Type,
        map: &mut Map<String, Value>,
        parent: Option<&Place<'_>>,
        gone: &mut Vec<String>,
    ) -> Result<(), String> {
        for (name, value) in map.iter_mut() {
            let place = Place { parent, step: Step::Field(name) };
            let stays = match type_.field(name) {
                Some(field) => self.field(type_, field, value, &place)?,
                None => {
                    self.note_unknown(&place);
                    false
                }
            };
            if !stays {
                gone.push(name.clone());
            }
        }
        Ok(())
    }

    fn note_unknown(&mut self, place: &Place<'_>) {
        if self.unknown.len() < STRICT_ERRORS_MAX {
            self.unknown.push(place.to_string());
        }
    }

    /// `Ok(false)`: the field is to be dropped.
    fn field(&mut self, owner: Type, field: Field, value: &mut Value, place: &Place<'_>) -> Result<bool, String> {
        if value.is_null() {
            return Ok(field.base() == Base::Any && field.container() == Container::One);
        }
        match (field.container(), value) {
            (Container::One, value) => {
                self.base(owner, field, value, place)?;
                Ok(!(field.vanishes() && is_zero(value)))
            }
            (Container::List, Value::Array(items)) => {
                self.items(owner, field, items, place)?;
                Ok(!(items.is_empty() && field.vanishes()))
            }
            (Container::Map, Value::Object(map)) => {
                for (key, value) in map.iter_mut() {
                    let place = Place { parent: Some(place), step: Step::Key(key) };
                    self.base(owner, field, value, &place)?;
                }
                Ok(!(map.is_empty() && field.vanishes()))
            }
            (Container::MapOfLists, Value::Object(map)) => {
                for (key, value) in map.iter_mut() {
                    let place = Place { parent: Some(place), step: Step::Key(key) };
                    self.inner_list(owner, field, value, &place)?;
                }
                Ok(!(map.is_empty() && field.vanishes()))
            }
            (Container::ListOfLists, Value::Array(lists)) => {
                for (i, list) in lists.iter_mut().enumerate() {
                    let place = Place { parent: Some(place), step: Step::Index(i) };
                    self.inner_list(owner, field, list, &place)?;
                }
                Ok(!(lists.is_empty() && field.vanishes()))
            }
            (_, other) => Err(mismatch(owner, place, go_kind(other), &field.go_type())),
        }
    }

    fn inner_list(&mut self, owner: Type, field: Field, value: &mut Value, place: &Place<'_>) -> Result<(), String> {
        match value {
            Value::Null => Ok(()),
            Value::Array(items) => self.items(owner, field, items, place),
            other => Err(mismatch(owner, place, go_kind(other), "[]string")),
        }
    }

    fn items(&mut self, owner: Type, field: Field, items: &mut [Value], place: &Place<'_>) -> Result<(), String> {
        for (i, item) in items.iter_mut().enumerate() {
            let place = Place { parent: Some(place), step: Step::Index(i) };
            self.base(owner, field, item, &place)?;
        }
        Ok(())
    }

    fn base(&mut self, owner: Type, field: Field, value: &mut Value, place: &Place<'_>) -> Result<(), String> {
        if value.is_null() {
            *value = zero(field.base());
            if !value.is_object() {
                return Ok(());
            }
        }
        match (field.base(), &mut *value) {
            (Base::String, Value::String(_)) | (Base::Bool, Value::Bool(_)) | (Base::Any, _) => Ok(()),
            (Base::Double, Value::Number(n)) => {
                if let Some(double) = n.as_f64().filter(|_| n.is_f64()) {
                    *value = number(double);
                }
                Ok(())
            }
            (Base::Int32 | Base::Int64, Value::Number(number)) => {
                let fits = number.as_i64().is_some_and(|n| field.base() == Base::Int64 || i32::try_from(n).is_ok());
                let shown = || format!("number {number}");
                if fits { Ok(()) } else { Err(mismatch(owner, place, &shown(), scalar_name(field.base()))) }
            }
            (Base::Struct, Value::Object(map)) => match field.target() {
                Some(target) => self.structure(target, map, Some(place)),
                None => Ok(()),
            },
            (Base::SchemaOrList | Base::SchemaOrBool | Base::SchemaOrStrings, value) => {
                self.alternative(field, value, place)
            }
            (Base::Bytes, Value::String(text)) => canonical_base64(text),
            (Base::Time, Value::String(text)) => replace(text, time::canonical),
            (Base::MicroTime, Value::String(text)) => replace(text, time::canonical_micro),
            (Base::Quantity, Value::String(text)) => {
                replace(text, |t| quantity::canonical(t).map_err(|e| e.to_string()))
            }
            (Base::Quantity, Value::Number(number)) => {
                *value = quantity::canonical(&number.to_string()).map_err(|e| e.to_string())?.into();
                Ok(())
            }
            (Base::Quantity, _) => Err(quantity::QuantityError::Format.to_string()),
            (Base::IntOrString, Value::String(_)) => Ok(()),
            (Base::IntOrString, Value::Number(n)) if n.as_i64().is_some_and(|n| i32::try_from(n).is_ok()) => Ok(()),
            // These read themselves, so that Go's error does not name the field.
            (Base::IntOrString, Value::Number(n)) => {
                Err(format!("json: cannot unmarshal number {n} into Go value of type int32"))
            }
            (Base::IntOrString, other) => {
                Err(format!("json: cannot unmarshal {} into Go value of type int32", go_kind(other)))
            }
            (Base::Time | Base::MicroTime, other) => {
                Err(format!("json: cannot unmarshal {} into Go value of type string", go_kind(other)))
            }
            (_, other) => Err(mismatch(owner, place, go_kind(other), &item_type(field))),
        }
    }
}

impl Walk {
    /// A JSON schema or what may stand in its place. Upstream's readers of these take what they know and no notice of the
    /// rest, which leaves an empty value; here the rest is refused.
    fn alternative(&mut self, field: Field, value: &mut Value, place: &Place<'_>) -> Result<(), String> {
        let schema = |walk: &mut Self, map: &mut Map<String, Value>, place: &Place<'_>| match field.schema_alternative()
        {
            Some(type_) => walk.structure(type_, map, Some(place)),
            None => Ok(()),
        };
        match (field.base(), value) {
            (_, Value::Object(map)) => schema(self, map, place),
            (Base::SchemaOrBool, Value::Bool(_)) => Ok(()),
            (Base::SchemaOrList, Value::Array(items)) => {
                for (i, item) in items.iter_mut().enumerate() {
                    let place = Place { parent: Some(place), step: Step::Index(i) };
                    match item {
                        Value::Object(map) => schema(self, map, &place)?,
                        other => return Err(alternative_mismatch(other, "v1.JSONSchemaProps")),
                    }
                }
                Ok(())
            }
            (Base::SchemaOrStrings, Value::Array(items)) => match items.iter().find(|item| !item.is_string()) {
                Some(other) => Err(alternative_mismatch(other, "string")),
                None => Ok(()),
            },
            (Base::SchemaOrBool, _) => Err("boolean or JSON schema expected".to_owned()),
            (_, other) => Err(alternative_mismatch(other, &field.go_type())),
        }
    }
}

/// These read themselves, so that Go's error does not name the field.
fn alternative_mismatch(given: &Value, go_type: &str) -> String {
    format!("json: cannot unmarshal {} into Go value of type {go_type}", go_kind(given))
}

fn scalar_name(base: Base) -> &'static str {
    if base == Base::Int32 { "int32" } else { "int64" }
}

/// The type of one item or value, for error texts.
fn item_type(field: Field) -> String {
    let whole = field.go_type();
    let inner = whole.trim_start_matches("map[string]");
    if field.base() == Base::Bytes { inner.to_owned() } else { inner.trim_start_matches("[]").to_owned() }
}

fn replace(text: &mut String, canonical: impl Fn(&str) -> Result<String, String>) -> Result<(), String> {
    let form = canonical(text)?;
    if form != *text {
        *text = form;
    }
    Ok(())
}

/// Go's decoder skips line ends; what is stored has none.
fn canonical_base64(text: &mut String) -> Result<(), String> {
    if text.contains(['\n', '\r']) {
        text.retain(|c| c != '\n' && c != '\r');
    }
    let engine = base64::engine::general_purpose::STANDARD;
    match engine.decode(text.as_bytes()) {
        Ok(_) => Ok(()),
        Err(base64::DecodeError::InvalidByte(at, _) | base64::DecodeError::InvalidLastSymbol(at, _)) => {
            Err(format!("illegal base64 data at input byte {at}"))
        }
        Err(_) => Err(format!("illegal base64 data at input byte {}", text.len() / 4 * 4)),
    }
}

/// Adds what Go writes of an empty struct: the scalars that are no pointers and have no `omitempty`.
fn zero_scalars(type_: Type, map: &mut Map<String, Value>) {
    for field in type_.fields().filter(|f| f.is_required() && f.container() == Container::One) {
        let scalar = matches!(field.base(), Base::String | Base::Bool | Base::Int32 | Base::Int64 | Base::Double);
        if scalar && !map.contains_key(field.name()) {
            map.insert(field.name().to_owned(), zero(field.base()));
        }
    }
}

/// What Go makes of a null item or map value.
fn zero(base: Base) -> Value {
    match base {
        Base::String | Base::Bytes => "".into(),
        Base::Bool => false.into(),
        Base::Int32 | Base::Int64 | Base::Double | Base::IntOrString => 0.into(),
        Base::Quantity => "0".into(),
        Base::Struct => Value::Object(Map::new()),
        Base::Any | Base::Time | Base::MicroTime => Value::Null,
        Base::SchemaOrList | Base::SchemaOrBool | Base::SchemaOrStrings => Value::Null,
    }
}

/// A double as Go writes it: whole ones without a fraction.
pub(super) fn number(double: f64) -> Value {
    /// Up to here every whole number is one of `f64`.
    const WHOLE_MAX: f64 = 9_007_199_254_740_992.0;
    if double.fract() == 0.0 && double.abs() <= WHOLE_MAX { (double as i64).into() } else { double.into() }
}

fn is_zero(value: &Value) -> bool {
    match value {
        Value::String(s) => s.is_empty(),
        Value::Bool(b) => !b,
        Value::Number(n) => n.as_f64() == Some(0.0),
        _ => false,
    }
}

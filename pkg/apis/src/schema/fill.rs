//! Random objects of any type of the table, for round-trip tests and fuzzers. The same seed gives the same objects.

use apimachinery::patch::Present;
use apimachinery::{quantity, time};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::present::always_present;
use super::table::{Base, Container, Field, Type};

/// How far an object is from the form that the server keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Canonical, and without empty lists and maps, which protobuf cannot say.
    Canonical,
    /// What a client may send: nulls, zero values, other spellings of times and quantities, unknown fields.
    Wild,
}

/// Makes objects. The generator is SplitMix64: small, and good enough to reach every branch.
#[derive(Clone, Debug)]
pub struct Filler {
    state: u64,
    shape: Shape,
    /// Structs that the object may still have before only required fields are filled.
    budget: u32,
}

/// Structs of one object: schemas hold schemas, and would never end.
const STRUCTS_MAX: u32 = 150;
/// From this depth on, only required fields are filled.
const DEPTH_MAX: u32 = 12;
/// Later than any date that RFC 3339 can write.
const SECONDS: (i64, i64) = (-62_135_596_799, 253_402_207_200);

/// Whether canonical form has the struct, empty or not.
fn is_always_present(type_: Type, field: Field) -> bool {
    always_present(type_.id()).contains(&(field.name(), Present::Empty))
}

impl Filler {
    pub fn new(seed: u64, shape: Shape) -> Self {
        Self { state: seed, shape, budget: 0 }
    }

    /// The next number of the sequence.
    pub fn number(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`, which is not 0.
    pub fn below(&mut self, end: u64) -> u64 {
        self.number() % end
    }

    fn one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }

    fn is_wild(&mut self, one_in: u64) -> bool {
        self.shape == Shape::Wild && self.one_in(one_in)
    }

    /// An object of a root kind, with its apiVersion and kind.
    pub fn object(&mut self, group: &str, version: &str, kind: &str, type_: Type) -> Value {
        self.budget = STRUCTS_MAX;
        let mut map = self.structure(type_, 0);
        let api_version = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
        map.insert("apiVersion".to_owned(), api_version.into());
        map.insert("kind".to_owned(), kind.into());
        Value::Object(map)
    }

    fn structure(&mut self, type_: Type, depth: u32) -> Map<String, Value> {
        let mut map = Map::new();
        self.budget = self.budget.saturating_sub(1);
        // One of how many optional fields: fewer the deeper, or objects would grow without end.
        let rarity = 1 + u64::from(depth.min(6)) * 2 / 3;
        for field in type_.fields().filter(|f| !f.wire().is_empty()) {
            let wanted = field.is_required()
                || is_always_present(type_, field)
                || (depth < DEPTH_MAX && self.budget > 0 && self.one_in(rarity));
            if wanted && let Some(value) = self.field(field, depth) {
                map.insert(field.name().to_owned(), value);
            }
        }
        if self.is_wild(8) {
            map.insert("noSuchField".to_owned(), self.json(2));
        }
        map
    }

    fn field(&mut self, field: Field, depth: u32) -> Option<Value> {
        if self.is_wild(12) {
            return Some(Value::Null);
        }
        let empty = self.is_wild(6);
        let count = if empty { 0 } else { 1 + self.below(if depth < 4 { 3 } else { 2 }) };
        Some(match field.container() {
            Container::One => self.base(field, depth, field.vanishes()),
            Container::List => (0..count).map(|_| self.item(field, depth)).collect(),
            Container::ListOfLists => (0..count).map(|_| self.inner_list(field, depth)).collect(),
            Container::Map => Value::Object((0..count).map(|_| (self.text(), self.item(field, depth))).collect()),
            Container::MapOfLists => {
                Value::Object((0..count).map(|_| (self.text(), self.inner_list(field, depth))).collect())
            }
        })
    }

    fn inner_list(&mut self, field: Field, depth: u32) -> Value {
        (0..self.below(3)).map(|_| self.item(field, depth)).collect()
    }

    fn item(&mut self, field: Field, depth: u32) -> Value {
        if self.is_wild(12) { Value::Null } else { self.base(field, depth, false) }
    }

    /// A value. `not_zero`: the zero value would vanish in canonical form.
    fn base(&mut self, field: Field, depth: u32, not_zero: bool) -> Value {
        let zero = if self.shape == Shape::Wild { self.one_in(4) } else { !not_zero && self.one_in(4) };
        match field.base() {
            Base::String if zero => "".into(),
            Base::String => self.text().into(),
            Base::Bool => (!zero).into(),
            Base::Int32 | Base::Int64 | Base::Double if zero => 0.into(),
            Base::Int32 => self.int32().into(),
            Base::Int64 => self.int64().into(),
            Base::Double => self.double(),
            Base::Bytes => self.bytes(not_zero).into(),
            Base::Quantity => self.quantity(),
            Base::Time => self.time().into(),
            Base::MicroTime => self.micro_time().into(),
            Base::IntOrString if self.one_in(2) => self.text().into(),
            Base::IntOrString => if zero { 0 } else { self.int32() }.into(),
            Base::Any => json!({ "f:metadata": self.json(3) }),
            Base::SchemaOrBool if self.one_in(3) => self.one_in(2).into(),
            Base::SchemaOrList if self.one_in(3) => (0..1 + self.below(2)).map(|_| self.schema(field, depth)).collect(),
            Base::SchemaOrStrings if self.one_in(3) => (0..1 + self.below(2)).map(|_| self.text()).collect(),
            Base::SchemaOrBool | Base::SchemaOrList | Base::SchemaOrStrings => self.schema(field, depth),
            Base::Struct => match field.target() {
                Some(type_) => Value::Object(self.structure(type_, depth + 1)),
                None => Value::Object(Map::new()),
            },
        }
    }

    fn schema(&mut self, field: Field, depth: u32) -> Value {
        let type_ = field.schema_alternative().filter(|_| depth < DEPTH_MAX);
        Value::Object(type_.map(|type_| self.structure(type_, depth + 1)).unwrap_or_default())
    }

    /// Never empty.
    fn text(&mut self) -> String {
        const PIECES: [&str; 12] =
            ["a", "web", "-", "0", "Ünï", "\u{1f600}", "\"", "\\", "\n", "/", "{\"metadata\":\"\"}", "kubernetes.io"];
        let length = if self.one_in(40) { 60 } else { 1 + self.below(4) };
        (0..length).map(|_| PIECES[self.below(PIECES.len() as u64) as usize]).collect()
    }

    fn int32(&mut self) -> i32 {
        const EDGES: [i32; 6] = [1, -1, 127, 128, i32::MAX, i32::MIN];
        if self.one_in(3) { EDGES[self.below(6) as usize] } else { (self.number() as i32).max(1) }
    }

    fn int64(&mut self) -> i64 {
        const EDGES: [i64; 6] = [1, -1, 1 << 31, 1 << 53, i64::MAX, i64::MIN];
        if self.one_in(3) { EDGES[self.below(6) as usize] } else { self.number().cast_signed() | 1 }
    }

    fn double(&mut self) -> Value {
        // Halves and wholes of moderate size: their texts read back exactly.
        let half = 1 + self.below(1 << 40);
        let value = half as f64 / 2.0;
        super::conform::number(if self.one_in(2) { -value } else { value })
    }

    fn bytes(&mut self, not_empty: bool) -> String {
        let length = self.below(40).max(u64::from(not_empty));
        let bytes: Vec<u8> = (0..length).map(|_| self.number() as u8).collect();
        STANDARD.encode(bytes)
    }

    fn quantity(&mut self) -> Value {
        const SUFFIXES: [&str; 10] = ["", "m", "k", "M", "Ki", "Mi", "Gi", "e3", "E", "n"];
        let number = self.below(1 << 20);
        if self.is_wild(4) {
            return number.into();
        }
        let fraction = if self.one_in(3) { ".5" } else { "" };
        let text = format!("{number}{fraction}{}", SUFFIXES[self.below(SUFFIXES.len() as u64) as usize]);
        if self.shape == Shape::Wild { text.into() } else { quantity::canonical(&text).unwrap_or_default().into() }
    }

    fn timestamp(&mut self) -> Timestamp {
        let seconds = if self.one_in(8) {
            let span = SECONDS.1 - SECONDS.0;
            SECONDS.0 + self.below(span.cast_unsigned()).cast_signed()
        } else {
            1_700_000_000 + self.below(1 << 28).cast_signed()
        };
        Timestamp::from_second(seconds).unwrap_or_default()
    }

    fn time(&mut self) -> String {
        let at = self.timestamp();
        if self.is_wild(3) { at.strftime("%Y-%m-%dT%H:%M:%S.25+00:00").to_string() } else { time::format(at) }
    }

    fn micro_time(&mut self) -> String {
        let at = self.timestamp();
        format!("{}.{:06}Z", at.strftime("%Y-%m-%dT%H:%M:%S"), self.below(1_000_000))
    }

    /// Any JSON, so deep at most.
    fn json(&mut self, depth: u32) -> Value {
        match self.below(if depth == 0 { 4 } else { 6 }) {
            0 => self.one_in(2).into(),
            1 => self.int64().into(),
            2 => self.text().into(),
            3 => Value::Null,
            4 => (0..self.below(3)).map(|_| self.json(depth - 1)).collect(),
            _ => Value::Object((0..self.below(3)).map(|_| (self.text(), self.json(depth - 1))).collect()),
        }
    }
}

//! The static type table and how to look things up in it.

use std::ops::Range;

use apimachinery::GroupVersionKind;
use apimachinery::patch::{ListType, MapType, TypeId};

include!(concat!(env!("OUT_DIR"), "/schema_table.rs"));

/// A piece of `NAMES`.
#[derive(Clone, Copy)]
pub(super) struct Name {
    at: u32,
    length: u8,
}

impl Name {
    fn get(self) -> &'static str {
        let at = self.at as usize;
        &NAMES[at..at + usize::from(self.length)]
    }
}

impl Name {
    const fn head(self) -> u64 {
        let (_, name) = NAMES.as_bytes().split_at(self.at as usize);
        head(name.split_at(self.length as usize).0)
    }
}

/// The first bytes of a name as a number: ordered as the names are, and most searches need no more of them.
const fn head(name: &[u8]) -> u64 {
    if let Some(first) = name.first_chunk() {
        return u64::from_be_bytes(*first);
    }
    let (mut head, mut at) = ([0; size_of::<u64>()], 0);
    while at < name.len() {
        head[at] = name[at];
        at += 1;
    }
    u64::from_be_bytes(head)
}

/// The head of each field's name.
static FIELD_HEADS: [u64; FIELDS.len()] = {
    let (mut heads, mut at) = ([0; FIELDS.len()], 0);
    while at < heads.len() {
        heads[at] = FIELDS[at].name.head();
        at += 1;
    }
    heads
};

/// The head of each root's kind.
static ROOT_HEADS: [u64; ROOTS.len()] = {
    let (mut heads, mut at) = ([0; ROOTS.len()], 0);
    while at < heads.len() {
        heads[at] = ROOTS[at].kind.head();
        at += 1;
    }
    heads
};

/// The rows of a table in the order of their names that may have this name.
fn candidates<'a, R>(heads: &[u64], rows: &'a [R], name: &str) -> impl Iterator<Item = &'a R> {
    let wanted = head(name.as_bytes());
    let first = heads.partition_point(|head| *head < wanted);
    let same = heads[first..].iter().zip(&rows[first..]).take_while(move |(head, _)| **head == wanted);
    same.map(|(_, row)| row)
}

pub(super) struct TypeRow {
    name: Name,
    first: u16,
    count: u8,
    atomic: bool,
}

pub(super) struct FieldRow {
    name: Name,
    container: Container,
    base: Base,
    target: u16,
    wire: [u8; 3],
    required: bool,
    vanishes: bool,
    merge: u8,
}

pub(super) struct MergeRow {
    list_type: Option<ListType>,
    list_map_keys: &'static str,
    map_type: Option<MapType>,
    strategy: &'static str,
    merge_key: &'static str,
    default: &'static str,
}

pub(super) struct RootRow {
    group: Name,
    version: Name,
    kind: Name,
    type_: u16,
}

/// What a value is, below lists and maps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Base {
    String,
    Bool,
    Int32,
    Int64,
    Double,
    /// Base64 in JSON.
    Bytes,
    Quantity,
    Time,
    MicroTime,
    IntOrString,
    /// Anything: embedded objects, raw JSON.
    Any,
    /// A JSON schema, or a list of them.
    SchemaOrList,
    /// A JSON schema, or a truth value.
    SchemaOrBool,
    /// A JSON schema, or a list of texts.
    SchemaOrStrings,
    Struct,
}

/// What stands around the base.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Container {
    One,
    List,
    Map,
    MapOfLists,
    ListOfLists,
}

/// A struct type of the API.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Type(pub(super) u16);

/// A field of a struct type.
#[derive(Clone, Copy)]
pub struct Field(&'static FieldRow);

impl Type {
    fn row(self) -> &'static TypeRow {
        &TYPES[usize::from(self.0)]
    }

    /// The type of a kind's root object.
    pub fn of(gvk: &GroupVersionKind) -> Option<Self> {
        Self::lookup(&gvk.group, &gvk.version, &gvk.kind)
    }

    pub fn lookup(group: &str, version: &str, kind: &str) -> Option<Self> {
        let is_wanted =
            |root: &&RootRow| root.kind.get() == kind && root.group.get() == group && root.version.get() == version;
        match candidates(&ROOT_HEADS, &ROOTS, kind).find(is_wanted) {
            Some(root) => Some(Self(root.type_)),
            // Options are of every group.
            None if kind.ends_with("Options") && group != "meta.k8s.io" => Self::lookup("meta.k8s.io", "v1", kind),
            None => None,
        }
    }

    /// By its full name, such as `io.k8s.api.core.v1.PodSpec`.
    pub fn by_name(name: &str) -> Option<Self> {
        let at = TYPES.binary_search_by(|t| t.name.get().cmp(name)).ok()?;
        u16::try_from(at).ok().map(Self)
    }

    pub fn id(self) -> TypeId {
        TypeId(self.0)
    }

    /// Every type, in the order of their numbers.
    pub(super) fn all() -> impl Iterator<Item = Self> {
        (0..=u16::MAX).take(TYPES.len()).map(Self)
    }

    /// `io.k8s.api.core.v1.PodSpec`.
    pub fn name(self) -> &'static str {
        self.row().name.get()
    }

    /// `PodSpec`.
    pub fn short_name(self) -> &'static str {
        self.name().rsplit('.').next().unwrap_or_default()
    }

    /// As Go writes it: `v1.PodSpec`.
    pub fn go_name(self) -> &'static str {
        let name = self.name();
        let dots = name.rmatch_indices('.').nth(1);
        dots.map_or(name, |(at, _)| &name[at + 1..])
    }

    /// Whether server-side apply takes values of this type as a whole.
    pub fn is_atomic(self) -> bool {
        self.row().atomic
    }

    /// Where its fields are in their table.
    fn range(self) -> Range<usize> {
        let row = self.row();
        let first = usize::from(row.first);
        first..first + usize::from(row.count)
    }

    /// Fields in the order of their names.
    pub fn fields(self) -> impl ExactSizeIterator<Item = Field> {
        FIELDS[self.range()].iter().map(Field)
    }

    pub fn field(self, name: &str) -> Option<Field> {
        let range = self.range();
        candidates(&FIELD_HEADS[range.clone()], &FIELDS[range], name).find(|row| row.name.get() == name).map(Field)
    }
}

impl std::fmt::Debug for Type {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl Field {
    fn merge(self) -> &'static MergeRow {
        &MERGES[usize::from(self.0.merge)]
    }

    pub fn name(self) -> &'static str {
        self.0.name.get()
    }

    pub fn container(self) -> Container {
        self.0.container
    }

    pub fn base(self) -> Base {
        self.0.base
    }

    /// The struct type of the value, its items or its values.
    pub fn target(self) -> Option<Type> {
        (self.0.base == Base::Struct).then_some(Type(self.0.target))
    }

    /// The type of the schema in a value that is one or something else.
    pub fn schema_alternative(self) -> Option<Type> {
        let either = matches!(self.0.base, Base::SchemaOrList | Base::SchemaOrBool | Base::SchemaOrStrings);
        either.then_some(Type(self.0.target))
    }

    /// Field numbers in protobuf, outermost first: more than one where JSON inlines an embedded message; empty where the
    /// type has no protobuf form.
    pub fn wire(self) -> &'static [u8] {
        let wire = &self.0.wire;
        let length = wire.iter().position(|n| *n == 0).unwrap_or(wire.len());
        &wire[..length]
    }

    pub fn is_required(self) -> bool {
        self.0.required
    }

    /// Whether the zero value (empty text, 0, false, empty list or map) is written as no value at all.
    pub fn vanishes(self) -> bool {
        self.0.vanishes
    }

    /// The declared list type; `None` where none is declared, which means atomic.
    pub fn list_type(self) -> Option<ListType> {
        self.merge().list_type
    }

    pub fn list_map_keys(self) -> &'static str {
        self.merge().list_map_keys
    }

    pub fn map_type(self) -> Option<MapType> {
        self.merge().map_type
    }

    /// Comma-separated `patchStrategy`.
    pub fn patch_strategy(self) -> &'static str {
        self.merge().strategy
    }

    pub fn patch_merge_key(self) -> &'static str {
        self.merge().merge_key
    }

    /// The declared default as JSON text; empty if there is none.
    pub fn default_text(self) -> &'static str {
        self.merge().default
    }

    /// The type as Go names it, for error texts.
    pub(super) fn go_type(self) -> String {
        let base = match self.0.base {
            Base::String => "string",
            Base::Bool => "bool",
            Base::Int32 => "int32",
            Base::Int64 => "int64",
            Base::Double => "float64",
            Base::Bytes => "[]uint8",
            Base::Quantity if self.0.container == Container::Map => return "v1.ResourceList".to_owned(),
            Base::Quantity => "resource.Quantity",
            Base::Time => "v1.Time",
            Base::MicroTime => "v1.MicroTime",
            Base::IntOrString => "intstr.IntOrString",
            Base::Any => "runtime.RawExtension",
            Base::SchemaOrList => "v1.JSONSchemaPropsOrArray",
            Base::SchemaOrBool => "v1.JSONSchemaPropsOrBool",
            Base::SchemaOrStrings => "v1.JSONSchemaPropsOrStringArray",
            Base::Struct => Type(self.0.target).go_name(),
        };
        match self.0.container {
            Container::One => base.to_owned(),
            Container::List => format!("[]{base}"),
            Container::Map => format!("map[string]{base}"),
            Container::MapOfLists => format!("map[string][]{base}"),
            Container::ListOfLists => format!("[][]{base}"),
        }
    }
}

/// Every root kind of the table: group, version, kind, type.
pub fn roots() -> impl Iterator<Item = (&'static str, &'static str, &'static str, Type)> {
    ROOTS.iter().map(|r| (r.group.get(), r.version.get(), r.kind.get(), Type(r.type_)))
}

//! What patches must know of types, without knowing any kind.

/// A struct type of some schema table; opaque here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TypeId(pub u16);

/// What a field holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueType {
    /// A string, number, boolean or a type with a form of its own (time, quantity, …).
    Scalar,
    Struct(TypeId),
    /// Items are structs of the given type, or scalars.
    List(Option<TypeId>),
    /// Values are structs of the given type, or something else.
    Map(Option<TypeId>),
    /// Anything: embedded objects, raw JSON.
    Any,
}

/// `patchStrategy` of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct MergeStrategy {
    /// Lists merge instead of being replaced.
    pub merge: bool,
    /// Maps and structs are replaced instead of merged.
    pub replace: bool,
    /// Writers may say `$retainKeys`.
    pub retain_keys: bool,
}

/// `x-kubernetes-list-type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum ListType {
    #[default]
    Atomic,
    Set,
    Map,
}

/// `x-kubernetes-map-type`, for maps and structs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum MapType {
    #[default]
    Granular,
    Atomic,
}

/// How one field merges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MergeField {
    pub value: ValueType,
    pub strategy: MergeStrategy,
    /// `patchMergeKey`; empty if there is none.
    pub merge_key: &'static str,
    pub list_type: ListType,
    /// Comma-separated `x-kubernetes-list-map-keys`; empty if there are none.
    pub list_map_keys: &'static str,
    pub map_type: MapType,
}

impl MergeField {
    /// A field of which nothing is known: scalars and lists replace, maps merge.
    pub const UNTYPED: Self = Self {
        value: ValueType::Any,
        strategy: MergeStrategy { merge: false, replace: false, retain_keys: false },
        merge_key: "",
        list_type: ListType::Atomic,
        list_map_keys: "",
        map_type: MapType::Granular,
    };

    pub fn map_keys(&self) -> impl Iterator<Item = &'static str> {
        self.list_map_keys.split(',').filter(|k| !k.is_empty())
    }
}

/// A table of types. Implemented over the built-in kinds by `apis::schema`, over CRD schemas elsewhere.
pub trait MergeSchema {
    /// `None`: the type has no such field.
    fn field(&self, of: TypeId, name: &str) -> Option<MergeField>;
    /// The type's name, for error texts.
    fn type_name(&self, id: TypeId) -> &str;
    /// Whether server-side apply takes values of this type as a whole, wherever they stand.
    fn is_atomic(&self, _of: TypeId) -> bool {
        false
    }
    /// The declared default of a field as JSON text; empty if there is none. Lists are keyed by it where a key is missing.
    fn default_text(&self, _of: TypeId, _field: &str) -> &str {
        ""
    }
    /// What the scalars of a field, of its items or of its values are.
    fn scalar(&self, _of: TypeId, _field: &str) -> ScalarKind {
        ScalarKind::Any
    }
    /// Fields that upstream's typed form always writes, in the order of their names: see [`Present`].
    fn always_present(&self, _of: TypeId) -> &[(&str, Present)] {
        &[]
    }
}

/// The type of a scalar as far as applied configurations are checked for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScalarKind {
    Text,
    Number,
    Bool,
    /// Any of them: quantities, times, numbers or texts.
    Any,
}

/// How a field of upstream's typed form shows although nobody set it. Who first fills it does not own the field itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Present {
    /// A struct held by value: `{}`.
    Empty,
    /// A list or map that is not left out when it is missing: `null`.
    Null,
}

//! One kind that holds values of every sort.

use serde_json::Value;

use crate::managed::{Filter, Versions};
use crate::patch::{ListType, MapType, MergeField, MergeSchema, MergeStrategy, Present, ScalarKind, TypeId, ValueType};

pub const ROOT: TypeId = TypeId(0);
const META: TypeId = TypeId(1);
pub const ITEM: TypeId = TypeId(2);
const PORT: TypeId = TypeId(3);
const REFERENCE: TypeId = TypeId(4);

/// The table of types.
pub struct Types;

impl MergeSchema for Types {
    fn field(&self, of: TypeId, name: &str) -> Option<MergeField> {
        let field = |value| MergeField { value, strategy: MergeStrategy::default(), ..MergeField::UNTYPED };
        let scalar = field(ValueType::Scalar);
        let atomic = |value| MergeField { map_type: MapType::Atomic, ..field(value) };
        let keyed = |items, keys| MergeField {
            list_type: ListType::Map,
            list_map_keys: keys,
            ..field(ValueType::List(Some(items)))
        };
        Some(match (of, name) {
            (ROOT, "apiVersion" | "kind") => scalar,
            (ROOT, "metadata") => field(ValueType::Struct(META)),
            (ROOT, "spec" | "status") => field(ValueType::Struct(ITEM)),
            (ROOT, "data") => field(ValueType::Map(None)),
            (META, "name" | "namespace" | "uid" | "resourceVersion" | "generation" | "creationTimestamp") => scalar,
            (META, "labels" | "annotations") => field(ValueType::Map(None)),
            (META, "finalizers") => MergeField { list_type: ListType::Set, ..field(ValueType::List(None)) },
            (META, "managedFields") => field(ValueType::List(None)),
            (ITEM, "name" | "value" | "other" | "count" | "flag") => scalar,
            (ITEM, "map") => field(ValueType::Map(None)),
            (ITEM, "items") => field(ValueType::Map(Some(ITEM))),
            (ITEM, "struct" | "held") => field(ValueType::Struct(ITEM)),
            (ITEM, "atomicMap") => atomic(ValueType::Map(None)),
            (ITEM, "atomicStruct") => atomic(ValueType::Struct(ITEM)),
            (ITEM, "reference") => field(ValueType::Struct(REFERENCE)),
            (ITEM, "list" | "nullable") => keyed(ITEM, "name"),
            (ITEM, "ports") => keyed(PORT, "port,protocol"),
            (ITEM, "pairs") => keyed(ITEM, "name,value"),
            (ITEM, "references") => keyed(REFERENCE, "name"),
            (ITEM, "set") => MergeField { list_type: ListType::Set, ..field(ValueType::List(None)) },
            (ITEM, "atomicList") => field(ValueType::List(None)),
            (ITEM, "atomicItems") => field(ValueType::List(Some(ITEM))),
            (ITEM, "any") => field(ValueType::Any),
            (PORT, "port" | "protocol" | "name" | "value") => scalar,
            (REFERENCE, "name" | "value") => scalar,
            _ => return None,
        })
    }

    fn type_name(&self, _: TypeId) -> &str {
        "v1.Thing"
    }

    fn is_atomic(&self, of: TypeId) -> bool {
        of == REFERENCE
    }

    fn default_text(&self, of: TypeId, field: &str) -> &str {
        if (of, field) == (PORT, "protocol") { "\"TCP\"" } else { "" }
    }

    fn scalar(&self, _: TypeId, field: &str) -> ScalarKind {
        match field {
            "count" | "port" | "generation" => ScalarKind::Number,
            "flag" => ScalarKind::Bool,
            "other" => ScalarKind::Any,
            _ => ScalarKind::Text,
        }
    }

    fn always_present(&self, of: TypeId) -> &[(&str, Present)] {
        match of {
            ROOT => &[("metadata", Present::Empty), ("spec", Present::Empty), ("status", Present::Empty)],
            ITEM => &[("held", Present::Empty), ("nullable", Present::Null)],
            _ => &[],
        }
    }
}

/// `v1` and `v2`, which calls `spec.value` `spec.other`; `untyped/v1` has no schema.
pub struct Things {
    pub filter: Filter,
}

impl Versions for Things {
    fn schema(&self) -> &dyn MergeSchema {
        &Types
    }

    fn root(&self, api_version: &str) -> Option<Option<TypeId>> {
        match api_version {
            "v1" | "v2" => Some(Some(ROOT)),
            "untyped/v1" => Some(None),
            _ => None,
        }
    }

    fn convert(&self, object: &Value, api_version: &str) -> Value {
        let mut object = object.clone();
        let (from, to) = if api_version == "v2" { ("value", "other") } else { ("other", "value") };
        if let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut)
            && let Some(value) = spec.remove(from)
        {
            spec.insert(to.to_owned(), value);
        }
        object["apiVersion"] = api_version.into();
        object
    }

    fn filter(&self) -> Filter {
        self.filter
    }
}

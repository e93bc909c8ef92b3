//! The table as the schema of patches.

use apimachinery::patch::{
    ListType, MapType, MergeField, MergeSchema, MergeStrategy, Present, ScalarKind, TypeId, ValueType,
};

use super::present;
use super::table::{Base, Container, Field, Type};

/// The built-in kinds' types.
#[derive(Clone, Copy, Debug, Default)]
pub struct Schema;

impl MergeSchema for Schema {
    fn field(&self, of: TypeId, name: &str) -> Option<MergeField> {
        Type(of.0).field(name).map(merge_field)
    }

    fn type_name(&self, id: TypeId) -> &str {
        Type(id.0).go_name()
    }

    fn is_atomic(&self, id: TypeId) -> bool {
        Type(id.0).is_atomic()
    }

    fn default_text(&self, of: TypeId, field: &str) -> &str {
        Type(of.0).field(field).map_or("", Field::default_text)
    }

    fn scalar(&self, of: TypeId, field: &str) -> ScalarKind {
        match Type(of.0).field(field).map(Field::base) {
            Some(Base::String | Base::Bytes) => ScalarKind::Text,
            Some(Base::Bool) => ScalarKind::Bool,
            Some(Base::Int32 | Base::Int64 | Base::Double) => ScalarKind::Number,
            _ => ScalarKind::Any,
        }
    }

    fn always_present(&self, of: TypeId) -> &[(&str, Present)] {
        present::always_present(of)
    }
}

fn merge_field(field: Field) -> MergeField {
    let target = field.target().map(Type::id);
    let value = match (field.container(), field.base()) {
        (Container::One, Base::Struct) => target.map_or(ValueType::Any, ValueType::Struct),
        (Container::One, Base::Any | Base::SchemaOrList | Base::SchemaOrBool | Base::SchemaOrStrings) => ValueType::Any,
        (Container::One, _) => ValueType::Scalar,
        (Container::List | Container::ListOfLists, _) => ValueType::List(target),
        (Container::Map | Container::MapOfLists, _) => ValueType::Map(target),
    };
    let atomic_type = || field.target().is_some_and(Type::is_atomic) && field.container() == Container::One;
    let map_type = field.map_type().unwrap_or(if atomic_type() { MapType::Atomic } else { MapType::Granular });
    MergeField {
        value,
        strategy: strategy_of(field.patch_strategy()),
        merge_key: field.patch_merge_key(),
        list_type: field.list_type().unwrap_or(ListType::Atomic),
        list_map_keys: field.list_map_keys(),
        map_type,
    }
}

fn strategy_of(words: &str) -> MergeStrategy {
    let mut strategy = MergeStrategy::default();
    if words.is_empty() {
        // As with most fields: not even split.
        return strategy;
    }
    for word in words.split(',') {
        match word {
            "merge" => strategy.merge = true,
            "replace" => strategy.replace = true,
            "retainKeys" => strategy.retain_keys = true,
            _ => {}
        }
    }
    strategy
}

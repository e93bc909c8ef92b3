//! The table as the schema of patches.

use apimachinery::patch::{ListType, MapType, MergeField, MergeSchema, MergeStrategy, TypeId, ValueType};

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
    let mut strategy = MergeStrategy::default();
    for word in field.patch_strategy().split(',') {
        match word {
            "merge" => strategy.merge = true,
            "replace" => strategy.replace = true,
            "retainKeys" => strategy.retain_keys = true,
            _ => {}
        }
    }
    let atomic_type = || field.target().is_some_and(Type::is_atomic) && field.container() == Container::One;
    let map_type = field.map_type().unwrap_or(if atomic_type() { MapType::Atomic } else { MapType::Granular });
    MergeField {
        value,
        strategy,
        merge_key: field.patch_merge_key(),
        list_type: field.list_type().unwrap_or(ListType::Atomic),
        list_map_keys: field.list_map_keys(),
        map_type,
    }
}

//! The documented semantics of strategic merge patch, one case a line: name, object, patch, result (or the error's code).

use serde_json::{Value, json};

use super::schema::{MergeField, MergeSchema, MergeStrategy, TypeId, ValueType};
use super::strategic::{merge, merge_untyped};

const ITEM: TypeId = TypeId(1);

/// One type that holds itself in every way that there is.
struct Items;

impl MergeSchema for Items {
    fn field(&self, _: TypeId, name: &str) -> Option<MergeField> {
        let merge = MergeStrategy { merge: true, ..MergeStrategy::default() };
        let retain = MergeStrategy { retain_keys: true, ..MergeStrategy::default() };
        let both = MergeStrategy { merge: true, retain_keys: true, replace: false };
        let replace = MergeStrategy { replace: true, ..MergeStrategy::default() };
        let field = |value, strategy, merge_key| MergeField { value, strategy, merge_key, ..MergeField::UNTYPED };
        let none = MergeStrategy::default();
        Some(match name {
            "name" | "value" | "other" | "count" => field(ValueType::Scalar, none, ""),
            "map" => field(ValueType::Map(None), none, ""),
            "items" => field(ValueType::Map(Some(ITEM)), none, ""),
            "struct" => field(ValueType::Struct(ITEM), none, ""),
            "replaced" => field(ValueType::Struct(ITEM), replace, ""),
            "retained" => field(ValueType::Struct(ITEM), retain, ""),
            "list" => field(ValueType::List(Some(ITEM)), merge, "name"),
            "retainedList" => field(ValueType::List(Some(ITEM)), both, "name"),
            "atomicList" => field(ValueType::List(Some(ITEM)), none, ""),
            "keyless" => field(ValueType::List(Some(ITEM)), merge, ""),
            "set" => field(ValueType::List(None), merge, ""),
            "scalars" => field(ValueType::List(None), none, ""),
            "any" => field(ValueType::Any, none, ""),
            _ => return None,
        })
    }

    fn type_name(&self, _: TypeId) -> &str {
        "v1.Item"
    }
}

type Case = (&'static str, Value, Value, Value);

fn check(cases: impl IntoIterator<Item = Case>) {
    for (name, object, patch, expected) in cases {
        let mut merged = object;
        match (merge(&mut merged, patch, &Items, ITEM), expected) {
            (Ok(()), expected) => assert_eq!(merged, expected, "{name}"),
            (Err(error), Value::Number(code)) => {
                assert_eq!(u64::from(error.code()), code.as_u64().unwrap(), "{name}: {error}")
            }
            (Err(error), _) => panic!("{name}: {error}"),
        }
    }
}

#[test]
fn scalars_and_maps() {
    check([
        ("add field", json!({}), json!({"name": "a"}), json!({"name": "a"})),
        ("change field", json!({"name": "a"}), json!({"name": "b"}), json!({"name": "b"})),
        ("keep others", json!({"name": "a", "value": 1}), json!({"name": "b"}), json!({"name": "b", "value": 1})),
        ("null deletes", json!({"name": "a", "value": 1}), json!({"value": null}), json!({"name": "a"})),
        ("null for nothing", json!({"name": "a"}), json!({"value": null}), json!({"name": "a"})),
        ("empty patch", json!({"name": "a"}), json!({}), json!({"name": "a"})),
        ("type changes", json!({"value": 1}), json!({"value": "x"}), json!({"value": "x"})),
        ("add map", json!({}), json!({"map": {"a": "1"}}), json!({"map": {"a": "1"}})),
        ("add map without its nulls", json!({}), json!({"map": {"a": "1", "b": null}}), json!({"map": {"a": "1"}})),
        (
            "merge map",
            json!({"map": {"a": "1", "b": "2"}}),
            json!({"map": {"b": "3", "c": "4"}}),
            json!({"map": {"a": "1", "b": "3", "c": "4"}}),
        ),
        (
            "delete from map",
            json!({"map": {"a": "1", "b": "2"}}),
            json!({"map": {"b": null}}),
            json!({"map": {"a": "1"}}),
        ),
        ("delete map", json!({"map": {"a": "1"}}), json!({"map": null}), json!({})),
        ("delete last of map", json!({"map": {"a": "1"}}), json!({"map": {"a": null}}), json!({"map": {}})),
        ("scalar to map", json!({"any": 1}), json!({"any": {"a": 1, "b": null}}), json!({"any": {"a": 1}})),
        ("map to scalar", json!({"any": {"a": 1}}), json!({"any": 1}), json!({"any": 1})),
        (
            "nested struct",
            json!({"struct": {"struct": {"name": "a", "value": 1}}}),
            json!({"struct": {"struct": {"value": 2}}}),
            json!({"struct": {"struct": {"name": "a", "value": 2}}}),
        ),
        (
            "map of structs",
            json!({"items": {"x": {"name": "a", "set": [1]}}}),
            json!({"items": {"x": {"set": [2]}, "y": {"name": "b"}}}),
            json!({"items": {"x": {"name": "a", "set": [2, 1]}, "y": {"name": "b"}}}),
        ),
        (
            "untyped merges maps, replaces lists",
            json!({"any": {"a": {"b": 1, "l": [1]}}}),
            json!({"any": {"a": {"c": 2, "l": [2]}}}),
            json!({"any": {"a": {"b": 1, "c": 2, "l": [2]}}}),
        ),
        ("field nobody knows, new", json!({}), json!({"huh": 1}), json!({"huh": 1})),
        ("field nobody knows, on both sides", json!({"huh": {}}), json!({"huh": {}}), json!(500)),
        ("patch is no object", json!({}), json!([]), json!(400)),
    ]);
}

#[test]
fn patch_directive_on_maps() {
    check([
        (
            "replace root",
            json!({"name": "a", "value": 1}),
            json!({"$patch": "replace", "name": "b"}),
            json!({"name": "b"}),
        ),
        ("delete root", json!({"name": "a"}), json!({"$patch": "delete"}), json!({})),
        (
            "replace map",
            json!({"map": {"a": "1"}}),
            json!({"map": {"$patch": "replace", "b": "2"}}),
            json!({"map": {"b": "2"}}),
        ),
        (
            "replace map by nothing",
            json!({"map": {"a": "1"}}),
            json!({"map": {"$patch": "replace"}}),
            json!({"map": {}}),
        ),
        (
            "delete map",
            json!({"map": {"a": "1"}, "name": "x"}),
            json!({"map": {"$patch": "delete"}}),
            json!({"map": {}, "name": "x"}),
        ),
        (
            "replace what is not there",
            json!({}),
            json!({"map": {"$patch": "replace", "a": "1"}}),
            json!({"map": {"a": "1"}}),
        ),
        ("delete what is not there", json!({}), json!({"map": {"$patch": "delete"}}), json!({})),
        ("huh", json!({"map": {"a": "1"}}), json!({"map": {"$patch": "huh"}}), json!(500)),
        (
            "strategy replace",
            json!({"replaced": {"name": "a", "value": 1}}),
            json!({"replaced": {"name": "b"}}),
            json!({"replaced": {"name": "b"}}),
        ),
        ("strategy replace, deleted", json!({"replaced": {"name": "a"}}), json!({"replaced": null}), json!({})),
    ]);
}

#[test]
fn lists_of_objects() {
    let two = || json!({"list": [{"name": "a", "value": 1}, {"name": "b", "value": 2}]});
    check([
        ("add list", json!({}), json!({"list": [{"name": "a"}]}), json!({"list": [{"name": "a"}]})),
        (
            "merge by key",
            two(),
            json!({"list": [{"name": "b", "other": 3}]}),
            json!({"list": [{"name": "a", "value": 1}, {"name": "b", "value": 2, "other": 3}]}),
        ),
        (
            "append",
            json!({"list": [{"name": "a"}]}),
            json!({"list": [{"name": "b"}]}),
            json!({"list": [{"name": "b"}, {"name": "a"}]}),
        ),
        (
            "null in an item",
            two(),
            json!({"list": [{"name": "a", "value": null}]}),
            json!({"list": [{"name": "a"}, {"name": "b", "value": 2}]}),
        ),
        (
            "null in a new item",
            json!({"list": []}),
            json!({"list": [{"name": "a", "value": null}]}),
            json!({"list": [{"name": "a"}]}),
        ),
        (
            "delete item",
            two(),
            json!({"list": [{"$patch": "delete", "name": "a"}]}),
            json!({"list": [{"name": "b", "value": 2}]}),
        ),
        ("delete item that is not there", two(), json!({"list": [{"$patch": "delete", "name": "z"}]}), two()),
        ("delete without key", two(), json!({"list": [{"$patch": "delete"}]}), json!(500)),
        (
            "delete and add",
            two(),
            json!({"list": [{"$patch": "delete", "name": "a"}, {"name": "c"}]}),
            json!({"list": [{"name": "c"}, {"name": "b", "value": 2}]}),
        ),
        (
            "replace a list that is not there",
            json!({}),
            json!({"list": [{"name": "c"}, {"$patch": "replace"}]}),
            json!({"list": [{"name": "c"}]}),
        ),
        (
            "replace list",
            two(),
            json!({"list": [{"name": "c"}, {"$patch": "replace"}]}),
            json!({"list": [{"name": "c"}]}),
        ),
        ("replace list by nothing", two(), json!({"list": [{"$patch": "replace"}]}), json!({"list": []})),
        ("merge item directive", two(), json!({"list": [{"$patch": "merge", "name": "a"}]}), json!(500)),
        ("unknown item directive", two(), json!({"list": [{"$patch": "huh", "name": "a"}]}), json!(500)),
        ("item without key", two(), json!({"list": [{"value": 1}]}), json!(500)),
        (
            "list without merge key",
            json!({"keyless": [{"name": "a"}]}),
            json!({"keyless": [{"name": "b"}]}),
            json!(500),
        ),
        ("delete list", two(), json!({"list": null}), json!({})),
        ("empty list changes nothing", two(), json!({"list": []}), two()),
        (
            "atomic list is replaced",
            json!({"atomicList": [{"name": "a"}]}),
            json!({"atomicList": [{"name": "b"}]}),
            json!({"atomicList": [{"name": "b"}]}),
        ),
        (
            "atomic list is emptied",
            json!({"atomicList": [{"name": "a"}]}),
            json!({"atomicList": []}),
            json!({"atomicList": []}),
        ),
        (
            "nested lists merge",
            json!({"list": [{"name": "a", "list": [{"name": "x", "value": 1}]}]}),
            json!({"list": [{"name": "a", "list": [{"name": "x", "other": 2}]}]}),
            json!({"list": [{"name": "a", "list": [{"name": "x", "value": 1, "other": 2}]}]}),
        ),
        ("mixed items", json!({"list": [{"name": "a"}]}), json!({"list": [1]}), json!(500)),
        ("lists of lists", json!({"set": [[1]]}), json!({"set": [[2]]}), json!(422)),
        (
            "key is a number",
            json!({"list": [{"name": 1, "value": 1}]}),
            json!({"list": [{"name": 1, "value": 2}]}),
            json!({"list": [{"name": 1, "value": 2}]}),
        ),
        ("list to scalar", two(), json!({"list": 1}), json!({"list": 1})),
        (
            "directives in a new item",
            json!({}),
            json!({"list": [{"name": "a", "$setElementOrder/list": [], "map": {"$patch": "replace", "x": "1"}}, {"$patch": "delete", "name": "b"}]}),
            json!({"list": [{"name": "a", "map": {"x": "1"}}]}),
        ),
    ]);
}

#[test]
fn lists_of_scalars() {
    check([
        ("union", json!({"set": [1, 2]}), json!({"set": [2, 3]}), json!({"set": [1, 2, 3]})),
        ("union drops repetition", json!({"set": [1, 1]}), json!({"set": [1]}), json!({"set": [1]})),
        ("replaced", json!({"scalars": [1, 2]}), json!({"scalars": [3]}), json!({"scalars": [3]})),
        ("replaced by nothing", json!({"scalars": [1, 2]}), json!({"scalars": []}), json!({"scalars": []})),
        (
            "deleteFromPrimitiveList",
            json!({"set": ["a", "b", "c"]}),
            json!({"$deleteFromPrimitiveList/set": ["b", "z"]}),
            json!({"set": ["a", "c"]}),
        ),
        ("delete from nothing", json!({}), json!({"$deleteFromPrimitiveList/set": ["b"]}), json!({})),
        (
            "delete and add",
            json!({"set": ["a", "b"]}),
            json!({"$deleteFromPrimitiveList/set": ["a"], "set": ["c"]}),
            json!({"set": ["c", "b"]}),
        ),
        (
            "delete, add and order",
            json!({"set": ["a", "b"]}),
            json!({"$deleteFromPrimitiveList/set": ["a"], "$setElementOrder/set": ["b", "c"], "set": ["c"]}),
            json!({"set": ["b", "c"]}),
        ),
        (
            "order alone",
            json!({"set": ["a", "b", "c"]}),
            json!({"$setElementOrder/set": ["c", "a", "b"]}),
            json!({"set": ["c", "a", "b"]}),
        ),
        (
            "order with items of the server",
            json!({"set": ["a", "x", "b"]}),
            json!({"$setElementOrder/set": ["b", "a"]}),
            json!({"set": ["x", "b", "a"]}),
        ),
        (
            "delete in a struct",
            json!({"struct": {"set": [1, 2]}}),
            json!({"struct": {"$deleteFromPrimitiveList/set": [1]}}),
            json!({"struct": {"set": [2]}}),
        ),
    ]);
}

#[test]
fn element_order() {
    let abc = || json!({"list": [{"name": "a"}, {"name": "b"}, {"name": "c"}]});
    let key = |k: &str| json!({"name": k});
    let order = |keys: &[&str]| keys.iter().map(|k| key(k)).collect::<Value>();
    check([
        (
            "order alone",
            abc(),
            json!({"$setElementOrder/list": order(&["c", "b", "a"])}),
            json!({"list": order(&["c", "b", "a"])}),
        ),
        (
            "order of some",
            abc(),
            json!({"$setElementOrder/list": order(&["c", "a"])}),
            json!({"list": order(&["b", "c", "a"])}),
        ),
        (
            "add in the middle",
            abc(),
            json!({"$setElementOrder/list": order(&["a", "x", "b", "c"]), "list": [{"name": "x"}]}),
            json!({"list": order(&["a", "x", "b", "c"])}),
        ),
        (
            "add at the front",
            abc(),
            json!({"$setElementOrder/list": order(&["x", "a", "b", "c"]), "list": [{"name": "x"}]}),
            json!({"list": order(&["x", "a", "b", "c"])}),
        ),
        (
            "add at the end",
            abc(),
            json!({"$setElementOrder/list": order(&["a", "b", "c", "x"]), "list": [{"name": "x"}]}),
            json!({"list": order(&["a", "b", "c", "x"])}),
        ),
        (
            "delete with order",
            abc(),
            json!({"$setElementOrder/list": order(&["a", "c"]), "list": [{"$patch": "delete", "name": "b"}]}),
            json!({"list": order(&["a", "c"])}),
        ),
        (
            "change with order",
            abc(),
            json!({"$setElementOrder/list": order(&["b", "a", "c"]), "list": [{"name": "a", "value": 1}]}),
            json!({"list": [{"name": "b"}, {"name": "a", "value": 1}, {"name": "c"}]}),
        ),
        (
            "server's item keeps its place",
            json!({"list": order(&["a", "s", "b"])}),
            json!({"$setElementOrder/list": order(&["a", "b"])}),
            json!({"list": order(&["a", "s", "b"])}),
        ),
        (
            "server's item in front",
            json!({"list": order(&["s", "a", "b"])}),
            json!({"$setElementOrder/list": order(&["b", "a"])}),
            json!({"list": order(&["s", "b", "a"])}),
        ),
        (
            "list is new",
            json!({}),
            json!({"$setElementOrder/list": order(&["b", "a"]), "list": [{"name": "b"}, {"name": "a"}]}),
            json!({"list": order(&["b", "a"])}),
        ),
        (
            "order for nothing",
            json!({"name": "x"}),
            json!({"$setElementOrder/list": order(&["a"])}),
            json!({"name": "x"}),
        ),
        (
            "item not in order",
            abc(),
            json!({"$setElementOrder/list": order(&["a"]), "list": [{"name": "x"}]}),
            json!(500),
        ),
        (
            "order contradicts list",
            abc(),
            json!({"$setElementOrder/list": order(&["a", "b"]), "list": [{"name": "b"}, {"name": "a"}]}),
            json!(500),
        ),
        ("order is no list", abc(), json!({"$setElementOrder/list": {}}), json!(500)),
        (
            "nested order",
            json!({"struct": abc()}),
            json!({"struct": {"$setElementOrder/list": order(&["c", "b", "a"])}}),
            json!({"struct": {"list": order(&["c", "b", "a"])}}),
        ),
        (
            "order inside of an item",
            json!({"list": [{"name": "a", "list": order(&["x", "y"])}]}),
            json!({"$setElementOrder/list": order(&["a"]), "list": [{"name": "a", "$setElementOrder/list": order(&["y", "x"])}]}),
            json!({"list": [{"name": "a", "list": order(&["y", "x"])}]}),
        ),
    ]);
}

#[test]
fn retained_keys() {
    check([
        (
            "drop the others",
            json!({"retained": {"name": "a", "value": 1}}),
            json!({"retained": {"$retainKeys": ["other"], "other": 2}}),
            json!({"retained": {"other": 2}}),
        ),
        (
            "keep and change",
            json!({"retained": {"name": "a", "value": 1}}),
            json!({"retained": {"$retainKeys": ["name", "other"], "other": 2}}),
            json!({"retained": {"name": "a", "other": 2}}),
        ),
        (
            "nothing retained",
            json!({"retained": {"name": "a"}}),
            json!({"retained": {"$retainKeys": []}}),
            json!({"retained": {}}),
        ),
        (
            "new",
            json!({}),
            json!({"retained": {"$retainKeys": ["name"], "name": "a"}}),
            json!({"retained": {"name": "a"}}),
        ),
        (
            "a null needs no mention",
            json!({"retained": {"name": "a", "value": 1}}),
            json!({"retained": {"$retainKeys": ["name"], "value": null}}),
            json!({"retained": {"name": "a"}}),
        ),
        (
            "not mentioned",
            json!({"retained": {"name": "a"}}),
            json!({"retained": {"$retainKeys": ["name"], "value": 1}}),
            json!(400),
        ),
        ("no list", json!({"retained": {"name": "a"}}), json!({"retained": {"$retainKeys": {}}}), json!(400)),
        (
            "in a list's item",
            json!({"retainedList": [{"name": "a", "value": 1}, {"name": "b"}]}),
            json!({"retainedList": [{"$retainKeys": ["name", "other"], "name": "a", "other": 2}]}),
            json!({"retainedList": [{"name": "a", "other": 2}, {"name": "b"}]}),
        ),
        (
            "in a new item",
            json!({"retainedList": []}),
            json!({"retainedList": [{"$retainKeys": ["name"], "name": "a"}]}),
            json!({"retainedList": [{"name": "a"}]}),
        ),
    ]);
}

#[test]
fn without_a_schema() {
    let mut object = json!({"list": [{"name": "a"}], "map": {"a": 1}});
    let patch = json!({"list": [{"name": "b"}], "map": {"$retainKeys": ["b"], "b": 2}});
    merge_untyped(&mut object, patch).unwrap();
    assert_eq!(object, json!({"list": [{"name": "b"}], "map": {"b": 2}}));
}

#[test]
fn refusals_say_what_upstream_says() {
    let one = || json!({"list": [{"name": "a", "value": 1}], "set": [1, 2], "retained": {"name": "x"}});
    for (patch, code, message) in [
        (json!([]), 400, "json: cannot unmarshal array into Go value of type map[string]interface {}"),
        (json!("x"), 400, "json: cannot unmarshal string into Go value of type map[string]interface {}"),
        (json!({"$patch": "huh", "a": 1}), 500, "unknown patch type: huh in map: map[$patch:huh a:1]"),
        (json!({"$patch": "merge"}), 500, "unknown patch type: merge in map: map[$patch:merge]"),
        (
            json!({"struct": 1, "list": [{"$patch": "huh", "name": "a"}]}),
            500,
            "unknown patch type: huh in map: map[$patch:huh name:a]",
        ),
        (json!({"list": [{"$patch": "merge"}]}), 500, "merging lists cannot yet be specified in the patch"),
        (json!({"list": [{"value": 2}]}), 500, "map: map[value:2] does not contain declared merge key: name"),
        (
            json!({"list": [{"$patch": "delete", "value": 2}]}),
            500,
            "map: map[$patch:delete value:2] does not contain declared merge key: name",
        ),
        (json!({"list": [1]}), 500, "list element types are not identical: [[map[name:a value:1]] [1]]"),
        (json!({"set": ["x"]}), 500, "list element types are not identical: [[1 2] [x]]"),
        (json!({"set": [[1]]}), 500, "list element types are not identical: [[1 2] [[1]]]"),
        (json!({"retained": {"$retainKeys": 1}}), 400, "invalid patch format of retainKeys"),
        (json!({"retained": {"$retainKeys": ["name"], "value": 1}}), 400, "invalid patch format of retainKeys"),
        (
            json!({"$setElementOrder/list": [{"name": "b"}], "list": [{"name": "a", "value": 2}]}),
            500,
            "The order in patch list:\n[map[name:a value:2]]\n doesn't match $setElementOrder list:\n[map[name:b]]\n",
        ),
        (json!({"$setElementOrder/list": 1}), 500, "expected a []interface {}, but received a int64"),
        (json!({"$setElementOrder/list": "x"}), 500, "expected a []interface {}, but received a string"),
        (json!({"$setElementOrder/list": true}), 500, "expected a []interface {}, but received a bool"),
        (json!({"$setElementOrder/list": 1.5}), 500, "expected a []interface {}, but received a float64"),
        (
            json!({"$setElementOrder/list": [], "list": null}),
            500,
            "expected a []interface {}, but received a %!s(<nil>)",
        ),
        (
            json!({"$setElementOrder/list": [], "list": {"x": 1}}),
            500,
            "expected a []interface {}, but received a map[string]interface {}",
        ),
        (
            json!({"$setElementOrder/retained": []}),
            500,
            "expected a []interface {}, but received a map[string]interface {}",
        ),
        (
            json!({"$setElementOrder/huh": []}),
            500,
            "unable to find api field in struct Item for the json field \"huh\"",
        ),
    ] {
        let error = merge(&mut one(), patch.clone(), &Items, ITEM).expect_err(&patch.to_string());
        assert_eq!((error.code(), error.message()), (code, message), "{patch}");
    }
    let mut keyless = json!({"keyless": [{"name": "a"}]});
    let error = merge(&mut keyless, json!({"keyless": [{"name": "b"}]}), &Items, ITEM).unwrap_err();
    assert_eq!(error.message(), "cannot merge lists without merge key for type struct");
}

#[test]
fn directives_at_several_levels() {
    let item =
        |name: &str| json!({"name": name, "list": [{"name": "x", "value": 1}, {"name": "y"}], "map": {"k": "v"}});
    check([
        (
            "delete an item of an item",
            json!({"list": [item("a")]}),
            json!({"list": [{"name": "a", "list": [{"$patch": "delete", "name": "x"}]}]}),
            json!({"list": [{"name": "a", "list": [{"name": "y"}], "map": {"k": "v"}}]}),
        ),
        (
            "replace a list of an item",
            json!({"list": [item("a")]}),
            json!({"list": [{"name": "a", "list": [{"$patch": "replace"}, {"name": "z"}]}]}),
            json!({"list": [{"name": "a", "list": [{"name": "z"}], "map": {"k": "v"}}]}),
        ),
        (
            "replace a map of an item",
            json!({"list": [item("a")]}),
            json!({"list": [{"name": "a", "map": {"$patch": "replace", "l": "w"}}]}),
            json!({"list": [{"name": "a", "list": [{"name": "x", "value": 1}, {"name": "y"}], "map": {"l": "w"}}]}),
        ),
        (
            "replace a struct",
            json!({"struct": item("a")}),
            json!({"struct": {"$patch": "replace", "name": "b"}}),
            json!({"struct": {"name": "b"}}),
        ),
        (
            "delete a struct",
            json!({"name": "n", "struct": item("a")}),
            json!({"struct": {"$patch": "delete"}}),
            json!({"name": "n", "struct": {}}),
        ),
        (
            "retain keys of an item of an item",
            json!({"list": [{"name": "a", "retainedList": [{"name": "x", "value": 1, "other": 2}]}]}),
            json!({"list": [{"name": "a", "retainedList": [{"name": "x", "$retainKeys": ["name", "value"], "value": 3}]}]}),
            json!({"list": [{"name": "a", "retainedList": [{"name": "x", "value": 3}]}]}),
        ),
        (
            "delete from a set of an item",
            json!({"list": [{"name": "a", "set": ["x", "y"]}]}),
            json!({"list": [{"name": "a", "$deleteFromPrimitiveList/set": ["x"]}]}),
            json!({"list": [{"name": "a", "set": ["y"]}]}),
        ),
        (
            "several directives in one patch",
            json!({"list": [item("a"), item("b")], "set": [1, 2], "map": {"x": "1"}}),
            json!({
                "$setElementOrder/list": [{"name": "c"}, {"name": "a"}],
                "list": [{"name": "c"}, {"$patch": "delete", "name": "b"}],
                "$deleteFromPrimitiveList/set": [1],
                "$setElementOrder/set": [3, 2],
                "set": [3],
                "map": {"$patch": "replace", "y": "2"},
            }),
            json!({"list": [{"name": "c"}, item("a")], "set": [3, 2], "map": {"y": "2"}}),
        ),
    ]);
}

#[test]
fn what_kubectl_sends() {
    check([
        (
            "an image is set",
            json!({"list": [{"name": "web", "value": "v1"}, {"name": "side", "value": "v1"}]}),
            json!({"$setElementOrder/list": [{"name": "web"}, {"name": "side"}], "list": [{"name": "web", "value": "v2"}]}),
            json!({"list": [{"name": "web", "value": "v2"}, {"name": "side", "value": "v1"}]}),
        ),
        (
            "an item is renamed",
            json!({"list": [{"name": "a", "value": 1}]}),
            json!({
                "$setElementOrder/list": [{"name": "b"}],
                "list": [{"name": "b", "value": 1}, {"$patch": "delete", "name": "a"}],
            }),
            json!({"list": [{"name": "b", "value": 1}]}),
        ),
        (
            "an item of the server stays through an apply",
            json!({"list": [{"name": "a"}, {"name": "injected"}]}),
            json!({"$setElementOrder/list": [{"name": "a"}], "list": [{"name": "a", "value": 2}]}),
            json!({"list": [{"name": "a", "value": 2}, {"name": "injected"}]}),
        ),
        (
            "a strategy is changed to one without parameters",
            json!({"retained": {"name": "RollingUpdate", "struct": {"value": 1}}}),
            json!({"retained": {"$retainKeys": ["name"], "name": "Recreate"}}),
            json!({"retained": {"name": "Recreate"}}),
        ),
        (
            "a label is removed",
            json!({"map": {"a": "1", "b": "2"}}),
            json!({"map": {"a": null}}),
            json!({"map": {"b": "2"}}),
        ),
        (
            "a finalizer is removed",
            json!({"set": ["a/x", "b/y"]}),
            json!({"$deleteFromPrimitiveList/set": ["a/x"], "$setElementOrder/set": ["b/y"]}),
            json!({"set": ["b/y"]}),
        ),
        (
            "an order without items of it",
            json!({"list": [{"name": "a"}]}),
            json!({"$setElementOrder/list": [], "list": [{"name": "b"}]}),
            json!({"list": [{"name": "a"}, {"name": "b"}]}),
        ),
        (
            "an order for a list that is only deleted from",
            json!({"list": [{"name": "a"}, {"name": "b"}]}),
            json!({"$setElementOrder/list": [{"name": "a"}], "list": [{"$patch": "delete", "name": "b"}]}),
            json!({"list": [{"name": "a"}]}),
        ),
        (
            "an item is deleted that stands twice",
            json!({"list": [{"name": "a", "value": 1}, {"name": "a", "value": 2}, {"name": "b"}]}),
            json!({"list": [{"$patch": "delete", "name": "a"}]}),
            json!({"list": [{"name": "b"}]}),
        ),
        (
            "an item is changed that stands twice",
            json!({"list": [{"name": "a", "value": 1}, {"name": "a", "value": 2}]}),
            json!({"list": [{"name": "a", "other": 3}]}),
            json!({"list": [{"name": "a", "value": 1, "other": 3}, {"name": "a", "value": 2}]}),
        ),
    ]);
}

//! Laws that hold for any configuration.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::schema::Things;
use crate::gvk::GroupVersionKind;
use crate::managed::{
    Applied, Entry, FieldSet, Filter, Managers, Operation, Ordered, Path, PathElement, Updater, Writer, apply,
    track_update,
};
use crate::meta::ObjectExt as _;

const NAMES: [&str; 4] = ["a", "b", "c", "d"];

fn name() -> impl Strategy<Value = String> {
    prop::sample::select(&NAMES[..]).prop_map(str::to_owned)
}

fn keyed(key: &'static str, items: impl Strategy<Value = Map<String, Value>>) -> impl Strategy<Value = Value> {
    // An empty list of parts is nobody's.
    prop::collection::btree_map(name(), items, 1..4).prop_map(move |items| {
        let items = items.into_iter().map(|(name, mut item)| {
            item.insert(key.to_owned(), name.into());
            Value::Object(item)
        });
        items.collect()
    })
}

fn text_map() -> impl Strategy<Value = Value> {
    prop::collection::btree_map(name(), name(), 1..4).prop_map(|map| json!(map))
}

/// A struct of the test's schema with any of its fields.
fn item(depth: u32) -> BoxedStrategy<Map<String, Value>> {
    let mut fields: Vec<(&'static str, BoxedStrategy<Value>)> = vec![
        ("name", name().prop_map(Value::from).boxed()),
        ("value", name().prop_map(Value::from).boxed()),
        ("count", (0..3i64).prop_map(Value::from).boxed()),
        ("map", text_map().boxed()),
        ("atomicMap", text_map().boxed()),
        ("atomicList", prop::collection::vec(name(), 0..3).prop_map(|v| json!(v)).boxed()),
        ("set", prop::collection::btree_set(name(), 1..4).prop_map(|v| json!(v)).prop_shuffle_list().boxed()),
        ("any", text_map().boxed()),
    ];
    if depth > 0 {
        fields.push(("struct", item(depth - 1).prop_map(Value::Object).boxed()));
        fields.push(("list", keyed("name", item(depth - 1)).prop_shuffle_list().boxed()));
        fields
            .push(("items", prop::collection::btree_map(name(), item(depth - 1), 1..3).prop_map(|m| json!(m)).boxed()));
    }
    let each = fields.into_iter().map(|(name, value)| {
        prop::option::weighted(0.3, value).prop_map(move |value| value.map(|value| (name.to_owned(), value))).boxed()
    });
    each.collect::<Vec<_>>().prop_map(|fields| fields.into_iter().flatten().collect()).boxed()
}

trait ShuffleList: Strategy<Value = Value> + Sized {
    /// The same items in any order.
    fn prop_shuffle_list(self) -> impl Strategy<Value = Value> {
        let items = self.prop_map(|list| list.as_array().cloned().unwrap_or_default());
        items.prop_shuffle().prop_map(Value::Array)
    }
}

impl<S: Strategy<Value = Value>> ShuffleList for S {}

fn config() -> impl Strategy<Value = Value> {
    (item(2), prop::option::of(text_map())).prop_map(|(spec, data)| {
        let mut object = json!({ "apiVersion": "v1", "kind": "Thing", "metadata": { "name": "thing" }, "spec": spec });
        if let Some(data) = data {
            object["data"] = data;
        }
        object
    })
}

const THINGS: Things = Things { filter: Filter::NONE };

fn applied(live: Option<&Value>, manager: &str, config: &Value, now: &str) -> Value {
    let kind = GroupVersionKind::new("", "v1", "Thing");
    let writer = Writer { manager, api_version: "v1", subresource: "", now };
    let mut object =
        apply(Updater::new(&THINGS), live, Applied { config, kind: &kind, writer, force: true }).expect("forced");
    super::table::drop_nulls(&mut object);
    object
}

const FIRST: &str = "2026-01-01T00:00:01Z";
const SECOND: &str = "2026-01-01T00:00:02Z";

fn managers(object: &Value) -> Managers {
    Managers::decode(object.at("metadata/managedFields")).expect("a list")
}

fn owned_by(object: &Value, manager: &str) -> FieldSet {
    let all = managers(object).0.into_iter().filter(|entry| entry.manager == manager);
    all.fold(FieldSet::default(), |all, entry| all.union(entry.fields))
}

fn without_list(object: &Value) -> Value {
    let mut object = object.clone();
    object.metadata_mut().remove("managedFields");
    object
}

/// Lists of items with keys in one order, as their order is not what a law is about.
fn in_order(mut value: Value) -> Value {
    match &mut value {
        Value::Object(map) => {
            for (name, value) in map.iter_mut() {
                *value = in_order(value.take());
                if let (true, Value::Array(items)) = (matches!(name.as_str(), "list" | "set"), value) {
                    items.sort_by_key(Value::to_string);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| *item = in_order(item.take())),
        _ => {}
    }
    value
}

/// Without structs that have lost all their fields: nobody owns those.
fn without_empty(mut value: Value) -> Value {
    match &mut value {
        Value::Object(map) => {
            map.values_mut().for_each(|value| *value = without_empty(value.take()));
            map.retain(|_, value| !value.as_object().is_some_and(Map::is_empty));
        }
        Value::Array(items) => items.iter_mut().for_each(|item| *item = without_empty(item.take())),
        _ => {}
    }
    value
}

fn element() -> impl Strategy<Value = PathElement> {
    prop_oneof![
        4 => "[a-z./\"]{1,6}".prop_map(|name| PathElement::field(&name)),
        2 => (name(), 0..500i64).prop_map(|(name, n)| {
            PathElement::key(vec![("port".into(), n.into()), ("name".into(), name.into())])
        }),
        1 => any::<i32>().prop_map(|n| PathElement::Value(Box::new(n.into()))),
        1 => ".{0,4}".prop_map(|text| PathElement::Value(Box::new(text.into()))),
        1 => (0..9i64).prop_map(PathElement::Index),
    ]
}

fn set() -> impl Strategy<Value = FieldSet> {
    prop::collection::vec(prop::collection::vec(element(), 1..4), 0..12)
        .prop_map(|paths| FieldSet::of(paths.into_iter().map(Path)))
}

/// Any tree, with names that the schema knows more often than not.
fn tree() -> impl Strategy<Value = Value> {
    const NAMES: [&str; 27] = [
        "spec",
        "status",
        "metadata",
        "data",
        "labels",
        "managedFields",
        "list",
        "set",
        "map",
        "items",
        "struct",
        "held",
        "nullable",
        "ports",
        "pairs",
        "references",
        "reference",
        "atomicMap",
        "atomicList",
        "any",
        "name",
        "value",
        "port",
        "fieldsV1",
        "f:spec",
        "k:{\"name\":\"a\"}",
        "operation",
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (0..3i64).prop_map(Value::from),
        name().prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 60, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
            prop::collection::btree_map(prop::sample::select(&NAMES[..]), inner, 0..5)
                .prop_map(|map| map.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, max_global_rejects: 65_536, ..ProptestConfig::default() })]

    #[test]
    fn an_apply_again_changes_nothing(first in config(), second in config()) {
        let live = applied(Some(&applied(None, "a", &first, FIRST)), "b", &second, FIRST);
        let once = applied(Some(&live), "b", &second, SECOND);
        prop_assert_eq!(without_list(&once), without_list(&live));
        let twice = applied(Some(&once), "b", &second, SECOND);
        prop_assert_eq!(&twice, &once);
    }

    #[test]
    fn appliers_of_different_fields_commute(first in config(), second in config()) {
        let fields = |config: &Value| Updater::new(&THINGS).fields_of(config, "v1").expect("a version");
        let left = applied(Some(&applied(None, "a", &first, FIRST)), "b", &second, FIRST);
        let right = applied(Some(&applied(None, "b", &second, FIRST)), "a", &first, FIRST);
        let apart = fields(&first).leaves().intersection(&fields(&second)).is_empty()
            && fields(&second).leaves().intersection(&fields(&first)).is_empty()
            && owned_by(&left, "a") == fields(&first) && owned_by(&right, "b") == fields(&second);
        prop_assume!(apart);
        prop_assert_eq!(in_order(without_list(&left)), in_order(without_list(&right)));
        prop_assert_eq!(managers(&left), managers(&right));
    }

    #[test]
    fn every_applied_leaf_has_an_owner_and_a_changed_one_only_the_last(first in config(), second in config()) {
        let before = applied(None, "a", &first, FIRST);
        let live = applied(Some(&before), "b", &second, SECOND);
        let updater = Updater::new(&THINGS);
        let all = updater.fields_of(&live, "v1").expect("a version").leaves();
        let (a, b) = (owned_by(&live, "a"), owned_by(&live, "b"));
        prop_assert!(all.difference(&a.clone().union(b.clone())).is_empty());
        prop_assert_eq!(&b, &updater.fields_of(&second, "v1").expect("a version"));
        // What both own has the value that both want.
        let both = a.intersection(&b);
        let part = |config: &Value| updater.extract(config, "v1", &both).map(in_order);
        prop_assert_eq!(part(&first), part(&second));
    }

    #[test]
    fn what_an_applier_owns_is_what_it_applied(first in config(), second in config()) {
        let updater = Updater::new(&THINGS);
        let live = applied(Some(&applied(None, "a", &first, FIRST)), "b", &second, FIRST);
        let part = updater.extract(&live, "v1", &owned_by(&live, "b")).expect("a version");
        let again = applied(Some(&live), "b", &part, SECOND);
        prop_assert_eq!(without_list(&again), without_list(&live));
        prop_assert_eq!(owned_by(&again, "b"), owned_by(&live, "b"));
    }

    #[test]
    fn an_apply_of_nothing_takes_everything_back(first in config(), second in config()) {
        let before = applied(None, "a", &first, FIRST);
        let nothing = json!({ "apiVersion": "v1", "kind": "Thing", "metadata": { "name": "thing" } });
        let gone = applied(Some(&before), "a", &nothing, SECOND);
        prop_assert_eq!(without_list(&gone), nothing.clone());
        // With somebody else's fields in it, those remain.
        let both = applied(Some(&before), "b", &second, FIRST);
        let rest = applied(Some(&both), "a", &nothing, SECOND);
        prop_assert_eq!(owned_by(&rest, "b"), owned_by(&both, "b"));
        prop_assert!(owned_by(&rest, "a").is_empty());
    }

    #[test]
    fn an_update_owns_exactly_what_it_changes(first in config(), second in config()) {
        let old = applied(None, "a", &first, FIRST);
        let writer = Writer { manager: "u", api_version: "v1", subresource: "", now: SECOND };
        let mut new = second;
        let list = track_update(Updater::new(&THINGS), &old, &new, writer);
        new.metadata_mut().extend(list.map(|list| ("managedFields".to_owned(), list)));
        let (a, u) = (owned_by(&new, "a"), owned_by(&new, "u"));
        prop_assert!(a.intersection(&u).is_empty());
        let all = Updater::new(&THINGS).fields_of(&without_empty(new.clone()), "v1").expect("a version");
        prop_assert!(all.leaves().difference(&a.union(u)).is_empty());
        let again = track_update(Updater::new(&THINGS), &new, &new, writer);
        prop_assert_eq!(again.as_ref(), new.at("metadata/managedFields"));
    }

    #[test]
    fn a_creator_owns_what_an_update_of_nothing_would_add_or_change(new in prop_oneof![config(), tree()]) {
        let updater = Updater::new(&THINGS);
        let found = updater.compare(&json!({}), &new, "v1").expect("a version");
        prop_assert_eq!(updater.claims(&new, "v1"), Some(found.added.union(found.modified)));
    }

    #[test]
    fn lists_have_one_text(set in set(), other in set(), manager in ".{0,3}", time in prop::option::of(Just(FIRST))) {
        let entry = |fields, operation| Entry {
            manager: manager.clone(),
            operation,
            api_version: "v1".to_owned(),
            subresource: manager.clone(),
            time: time.map(str::to_owned),
            fields,
        };
        let managers = Managers(vec![entry(set, Operation::Update), entry(other, Operation::Apply)]);
        let list = managers.clone().encode().expect("a list");
        prop_assert_eq!(managers.to_json(), serde_json::to_string(&Ordered(&list)).ok());
    }

    #[test]
    fn any_trees_can_be_walked(live in tree(), config in tree()) {
        let writer = Writer { manager: "u", api_version: "v1", subresource: "", now: FIRST };
        let updater = Updater::new(&THINGS);
        let list = track_update(updater, &live, &config, writer);
        if live.at("metadata/managedFields").is_none() {
            prop_assert!(Managers::decode(list.as_ref()).is_ok());
        }
        let mut config = config;
        if let Value::Object(map) = &mut config {
            map.insert("apiVersion".to_owned(), "v1".into());
            map.insert("kind".to_owned(), "Thing".into());
        }
        let kind = GroupVersionKind::new("", "v1", "Thing");
        // Whether it can be applied is not the question.
        let outcome = apply(updater, Some(&live), Applied { config: &config, kind: &kind, writer, force: true });
        let fields = updater.fields_of(outcome.as_ref().unwrap_or(&live), "v1").expect("a version");
        let _ = updater.extract(&live, "v1", &fields);
    }

    #[test]
    fn sets_survive_their_texts(set in set()) {
        prop_assert_eq!(FieldSet::from_value(&set.to_value()), Ok(set.clone()));
        prop_assert_eq!(FieldSet::from_json(&set.to_json()), Ok(set.clone()));
        let entry = serde_json::json!({ "fieldsV1": set.to_value() });
        let text = serde_json::to_string(&Ordered(&entry)).expect("a tree has a text");
        prop_assert_eq!(text, format!("{{\"fieldsV1\":{}}}", set.to_json()));
        prop_assert_eq!(FieldSet::of(set.paths()), set);
    }

    #[test]
    fn sets_obey_the_laws_of_sets(a in set(), b in set(), c in set()) {
        let union = |a: &FieldSet, b: &FieldSet| a.clone().union(b.clone());
        prop_assert_eq!(union(&a, &b), union(&b, &a));
        prop_assert_eq!(union(&union(&a, &b), &c), union(&a, &union(&b, &c)));
        prop_assert_eq!(union(&a.clone().difference(&b), &a.intersection(&b)), a.clone());
        prop_assert_eq!(a.intersection(&union(&b, &c)), union(&a.intersection(&b), &a.intersection(&c)));
        prop_assert!(a.clone().difference(&b).intersection(&b).is_empty());
        prop_assert!(a.clone().recursive_difference(&b).difference(&a.clone().difference(&b)).is_empty());
        prop_assert!(a.leaves().difference(&a).is_empty());
        for path in a.paths() {
            prop_assert!(a.contains(&path));
            prop_assert_eq!(union(&a, &b).contains(&path), true);
        }
    }
}

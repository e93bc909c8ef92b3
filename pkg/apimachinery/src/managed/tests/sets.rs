//! Sets, and their forms as text.

use crate::managed::{FieldSet, Ordered, Path, PathElement, Spot};
use serde_json::json;

fn path(text: &str) -> Path {
    Path(text.split_whitespace().filter_map(|element| PathElement::parse(element).unwrap()).collect())
}

fn set(paths: &[&str]) -> FieldSet {
    FieldSet::of(paths.iter().map(|text| path(text)))
}

fn texts(set: &FieldSet) -> Vec<String> {
    set.paths().iter().map(ToString::to_string).collect()
}

#[test]
fn json_is_as_upstream_writes_it() {
    let cases: [(&[&str], &str); 9] = [
        (&[], r#"{}"#),
        (&["f:a"], r#"{"f:a":{}}"#),
        (&["f:a f:b"], r#"{"f:a":{"f:b":{}}}"#),
        (&["f:a", "f:a f:b"], r#"{"f:a":{".":{},"f:b":{}}}"#),
        (&["f:b", "f:a"], r#"{"f:a":{},"f:b":{}}"#),
        (&[r#"f:l k:{"name":"x"}"#], r#"{"f:l":{"k:{\"name\":\"x\"}":{}}}"#),
        (
            &[r#"f:l k:{"protocol":"TCP","port":80}"#, r#"f:l k:{"port":443,"protocol":"TCP"}"#],
            r#"{"f:l":{"k:{\"port\":80,\"protocol\":\"TCP\"}":{},"k:{\"port\":443,\"protocol\":\"TCP\"}":{}}}"#,
        ),
        (&[r#"f:l v:"b""#, "f:l v:1", "f:l v:true"], r#"{"f:l":{"v:1":{},"v:\"b\"":{},"v:true":{}}}"#),
        (&["i:2", "i:1", "v:1", r#"k:{"a":1}"#, "f:z"], r#"{"f:z":{},"k:{\"a\":1}":{},"v:1":{},"i:1":{},"i:2":{}}"#),
    ];
    for (paths, text) in cases {
        let set = set(paths);
        assert_eq!(set.to_json(), text);
        assert_eq!(FieldSet::from_json(text), Ok(set.clone()));
        assert_eq!(FieldSet::from_value(&set.to_value()), Ok(set));
    }
}

#[test]
fn objects_are_written_with_elements_in_their_own_order() {
    let key = |port: u16| format!(r#"k:{{"port":{port}}}"#);
    let object = json!({ "metadata": { "managedFields": [{ "fieldsV1": {
        "f:ports": { key(443): {}, key(80): { ".": {}, "f:b": {}, "f:a": {} }, ".": {} }, "f:args": { "v:10": {}, "v:9": {} },
    } }] } });
    let text = serde_json::to_string(&Ordered(&object)).unwrap();
    let want = r#"{"metadata":{"managedFields":[{"fieldsV1":{"f:args":{"v:9":{},"v:10":{}},"f:ports":{".":{},"k:{\"port\":80}":{".":{},"f:a":{},"f:b":{}},"k:{\"port\":443}":{}}}}]}}"#;
    assert_eq!(text, want);
    assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), object);
}

#[test]
fn what_is_read_that_nobody_writes() {
    for (text, paths) in [
        (r#"{"f:a":{"f:b":{},".":{}}}"#, vec![".a", ".a.b"]),
        (r#"{"f:b":{},"f:a":{}}"#, vec![".a", ".b"]),
        (r#"{"f:a":null}"#, vec![".a"]),
        (r#"{"x:new":{},"f:a":{}}"#, vec![".a"]),
        (r#"null"#, vec![]),
        (r#"{".":{}}"#, vec![]),
    ] {
        assert_eq!(texts(&FieldSet::from_json(text).unwrap()), paths, "{text}");
    }
}

#[test]
fn what_is_no_set() {
    let deep = format!("{}{}", r#"{"f:a":"#.repeat(125), "{}".to_owned() + &"}".repeat(125));
    for text in [r#"[]"#, r#"{"a":{}}"#, r#"{"k:1":{}}"#, r#"{"v:x":{}}"#, r#"{"i:x":{}}"#, r#"{"f:a":1}"#, "{", &deep]
    {
        assert!(FieldSet::from_json(text).is_err(), "{text}");
    }
    let many: String = (0..200_001).map(|i| format!("\"f:{i}\":{{}},")).collect();
    assert!(FieldSet::from_json(&format!("{{{}\"f:x\":{{}}}}", many)).is_err());
}

#[test]
fn union_intersection_and_differences() {
    let a = set(&["f:a", "f:a f:b", "f:c f:d", "f:e"]);
    let b = set(&["f:a", "f:a f:x", "f:c f:d", "f:c"]);
    assert_eq!(texts(&a.clone().union(b.clone())), [".a", ".c", ".e", ".a.b", ".a.x", ".c.d"]);
    assert_eq!(texts(&a.intersection(&b)), [".a", ".c.d"]);
    assert_eq!(texts(&a.clone().difference(&b)), [".e", ".a.b"]);
    assert_eq!(texts(&b.clone().difference(&a)), [".c", ".a.x"]);
    assert_eq!(texts(&a.clone().recursive_difference(&b)), [".e"]);
    assert_eq!(texts(&b.clone().recursive_difference(&a)), [".c"]);
    assert_eq!(texts(&a.leaves()), [".e", ".a.b", ".c.d"]);
    assert_eq!(texts(&a.with_prefix(&PathElement::field("a"))), [".b"]);
    assert!(a.with_prefix(&PathElement::field("z")).is_empty());
    assert_eq!((a.len(), FieldSet::default().len()), (4, 0));
}

#[test]
fn membership() {
    let a = set(&["f:a f:b", r#"f:l k:{"n":1}"#]);
    for (text, expected) in
        [("f:a", false), ("f:a f:b", true), ("f:a f:b f:c", false), (r#"f:l k:{"n":1}"#, true), ("", false)]
    {
        assert_eq!(a.contains(&path(text)), expected, "{text}");
    }
    assert_eq!(a.get_field("a").map(|spot| spot.member), Some(false));
    assert_eq!(a.get_field("b"), None);
}

#[test]
fn adding_out_of_order_keeps_order() {
    let mut a = FieldSet::default();
    for name in ["c", "a", "b", "a"] {
        a.add(PathElement::field(name), Spot::MEMBER);
    }
    a.add(PathElement::field("z"), Spot::default());
    assert_eq!(a, set(&["f:a", "f:b", "f:c"]));
}

#[test]
fn paths_are_shown_as_in_messages() {
    for (text, shown) in [
        ("f:spec f:replicas", ".spec.replicas"),
        (r#"f:l k:{"name":"a\"b"}"#, r#".l[name="a\"b"]"#),
        (r#"f:l k:{"port":80,"protocol":"TCP"} f:x"#, r#".l[port=80,protocol="TCP"].x"#),
        (r#"f:s v:"a""#, r#".s[="a"]"#),
        ("f:s v:1.5", ".s[=1.5]"),
        ("f:a i:3", ".a[3]"),
    ] {
        assert_eq!(path(text).to_string(), shown);
    }
}

#[test]
fn values_are_ordered_as_upstream_orders_them() {
    let ordered = [
        json!(-1),
        json!(0.5),
        json!(1),
        json!(2),
        json!("1"),
        json!("a"),
        json!(false),
        json!(true),
        json!([]),
        json!([1]),
        json!({}),
        json!({"a": 1}),
        json!({"a": 2}),
        json!(null),
    ];
    for pair in ordered.windows(2) {
        let [a, b] = pair else { unreachable!() };
        let element = |v: &serde_json::Value| PathElement::Value(Box::new(v.clone()));
        assert!(element(a) < element(b), "{a} < {b}");
    }
}

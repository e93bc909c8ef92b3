//! Tables of decisions, and the proof that the index decides as a plain reading of the objects does.

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn cluster_role(name: &str, rules: Value) -> Value {
    json!({"kind": "ClusterRole", "metadata": {"name": name}, "rules": rules})
}

fn binding(kind: &str, namespace: &str, name: &str, role: (&str, &str), subjects: Value) -> Value {
    json!({"kind": kind, "metadata": {"name": name, "namespace": namespace},
           "roleRef": {"kind": role.0, "name": role.1}, "subjects": subjects})
}

fn allowed(policy: &Policy, attributes: &Attributes<'_>) -> bool {
    policy.authorize(attributes).is_allowed()
}

#[test]
fn rules_match_as_upstream() {
    let policy = Policy::default();
    policy.replace([
        cluster_role(
            "r",
            json!([
                {"verbs": ["get", "list"], "apiGroups": [""], "resources": ["pods", "pods/log"]},
                {"verbs": ["update"], "apiGroups": ["apps"], "resources": ["*/scale"]},
                {"verbs": ["get"], "apiGroups": ["*"], "resources": ["leases"], "resourceNames": ["me"]},
                {"verbs": ["get"], "nonResourceURLs": ["/healthz", "/apis/*"]},
                {"verbs": ["*"], "apiGroups": ["example.com"], "resources": ["*"]},
            ]),
        ),
        binding("ClusterRoleBinding", "", "b", ("ClusterRole", "r"), json!([{"kind": "User", "name": "u"}])),
    ]);
    let user = UserInfo::new("u", []);
    let ask = |verb, group, resource| Attributes::resource(&user, verb, group, resource);
    let cases = [
        (ask("get", "", "pods"), true),
        (ask("get", "", "pods").in_namespace("ns").named("p"), true),
        (ask("get", "", "pods").sub("log"), true),
        (ask("get", "", "pods").sub("exec"), false),
        (ask("delete", "", "pods"), false),
        (ask("get", "apps", "pods"), false),
        (ask("update", "apps", "deployments").sub("scale"), true),
        (ask("update", "apps", "deployments"), false),
        (ask("update", "apps", "scale"), false),
        (ask("get", "coordination.k8s.io", "leases").named("me"), true),
        (ask("get", "coordination.k8s.io", "leases").named("you"), false),
        (ask("get", "coordination.k8s.io", "leases"), false),
        (ask("frobnicate", "example.com", "things").sub("part").named("x"), true),
        (Attributes::non_resource(&user, "get", "/healthz"), true),
        (Attributes::non_resource(&user, "get", "/healthz/etcd"), false),
        (Attributes::non_resource(&user, "get", "/apis/apps/v1"), true),
        (Attributes::non_resource(&user, "get", "/apis"), false),
        (Attributes::non_resource(&user, "post", "/healthz"), false),
    ];
    for (attributes, want) in cases {
        assert_eq!(allowed(&policy, &attributes), want, "{attributes:?}");
    }
}

#[test]
fn bindings_reach_their_subjects_in_their_scope() {
    let policy = Policy::default();
    let rules = json!([{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}]);
    policy.upsert(&cluster_role("c", rules.clone()));
    policy.upsert(&json!({"kind": "Role", "metadata": {"name": "r", "namespace": "a"}, "rules": rules}));
    let bindings = [
        binding("RoleBinding", "a", "one", ("Role", "r"), json!([{"kind": "ServiceAccount", "name": "sa"}])),
        binding(
            "RoleBinding",
            "b",
            "two",
            ("ClusterRole", "c"),
            json!([{"kind": "ServiceAccount", "name": "sa", "namespace": "a"}]),
        ),
        binding("ClusterRoleBinding", "", "three", ("ClusterRole", "c"), json!([{"kind": "Group", "name": "g"}])),
        binding("RoleBinding", "c", "four", ("Role", "gone"), json!([{"kind": "User", "name": "u"}])),
    ];
    bindings.iter().for_each(|b| policy.upsert(b));
    let sa = UserInfo::new("system:serviceaccount:a:sa", []);
    let member = UserInfo::new("m", ["g"]);
    let user = UserInfo::new("u", []);
    let pods = |user, namespace| Attributes::resource(user, "get", "", "pods").in_namespace(namespace);
    for (attributes, want) in [
        (pods(&sa, "a"), true),
        (pods(&sa, "b"), true),
        (pods(&sa, "c"), false),
        (pods(&sa, ""), false),
        (pods(&member, ""), true),
        (pods(&member, "x"), true),
        (pods(&user, "a"), false),
    ] {
        assert_eq!(allowed(&policy, &attributes), want, "{attributes:?}");
    }
    let reason = |user, namespace| match policy.authorize(&pods(user, namespace)) {
        Decision::Allow(reason) => reason.to_string(),
        Decision::Deny(reason) | Decision::NoOpinion(reason) => reason,
    };
    assert_eq!(reason(&sa, "b"), r#"RBAC: allowed by RoleBinding "two/b" of ClusterRole "c" to ServiceAccount "sa/a""#);
    assert_eq!(reason(&member, ""), r#"RBAC: allowed by ClusterRoleBinding "three" of ClusterRole "c" to Group "g""#);
    assert_eq!(reason(&user, "c"), r#"RBAC: role.rbac.authorization.k8s.io "gone" not found"#);
    policy.replace_kind("RoleBinding", [bindings[0].clone()]);
    assert!(allowed(&policy, &pods(&sa, "a")) && !allowed(&policy, &pods(&sa, "b")), "the others are gone");
    assert!(allowed(&policy, &pods(&member, "")), "another kind stays");
    bindings.iter().for_each(|b| policy.delete(b));
    assert!(!allowed(&policy, &pods(&sa, "a")) && !allowed(&policy, &pods(&member, "")));
    assert!(policy.0.read().scopes.is_empty(), "nothing is left behind");
}

#[test]
fn aggregation_follows_labels_through_levels() {
    let policy = Policy::default();
    let aggregate = |name: &str, to: &str, from: &str| {
        json!({"kind": "ClusterRole", "metadata": {"name": name, "labels": {to: "true"}},
               "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {from: "true"}}]},
               "rules": [{"verbs": ["stale"], "apiGroups": [""], "resources": ["pods"]}]})
    };
    let part = json!({"kind": "ClusterRole", "metadata": {"name": "part", "labels": {"to-view": "true"}},
                      "rules": [{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}]});
    // A circle must not hang.
    let view = aggregate("view", "to-edit", "to-view");
    let edit = aggregate("edit", "to-view", "to-edit");
    [&part, &view, &edit].into_iter().for_each(|o| policy.upsert(o));
    policy.upsert(&binding(
        "ClusterRoleBinding",
        "",
        "b",
        ("ClusterRole", "edit"),
        json!([{"kind": "User", "name": "u"}]),
    ));
    let user = UserInfo::new("u", []);
    let get = Attributes::resource(&user, "get", "", "pods");
    assert!(allowed(&policy, &get));
    assert!(!allowed(&policy, &Attributes { verb: "stale", ..get }), "stored rules of an aggregate do not count");
    policy.delete(&part);
    assert!(!allowed(&policy, &get));
}

/// The plain reading: every binding, every subject, every rule.
fn naive(objects: &[Value], attributes: &Attributes<'_>) -> bool {
    let of_kind = |kind: &'static str| objects.iter().filter(move |o| o.kind() == kind);
    let rules = |binding: &Value| -> Vec<Rule> {
        let kind = binding.str_at("roleRef/kind").to_owned();
        let name = binding.str_at("roleRef/name").to_owned();
        let namespace = if kind == "Role" { binding.namespace().to_owned() } else { String::new() };
        let found = objects.iter().rfind(|o| o.kind() == kind && o.name() == name && o.namespace() == namespace);
        found.map(Rule::list).unwrap_or_default()
    };
    let cluster = of_kind("ClusterRoleBinding");
    let own =
        of_kind("RoleBinding").filter(|b| !attributes.namespace.is_empty() && b.namespace() == attributes.namespace);
    cluster.chain(own).any(|b| {
        subjects(b, b.namespace()).iter().any(|(subject, _)| match subject {
            Subject::User(name) => *name == attributes.user.name,
            Subject::Group(name) => attributes.user.in_group(name),
        }) && rules(b).iter().any(|rule| rule.allows(attributes))
    })
}

fn pick(of: &'static [&'static str], len: std::ops::Range<usize>) -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec(prop::sample::select(of).prop_map(str::to_owned), len)
}

const VERBS: &[&str] = &["get", "list", "create", "*"];
const GROUPS: &[&str] = &["", "apps", "*"];
const RESOURCES: &[&str] = &["pods", "pods/log", "deployments", "*/log", "*", "deployments/scale"];
const NAMESPACES: &[&str] = &["a", "b"];

fn any_rule() -> impl Strategy<Value = Value> {
    let resource = (pick(VERBS, 1..3), pick(GROUPS, 1..3), pick(RESOURCES, 1..3), pick(&["x", "y"], 0..2))
        .prop_map(|(v, g, r, n)| json!({"verbs": v, "apiGroups": g, "resources": r, "resourceNames": n}));
    let url = (pick(VERBS, 1..2), pick(&["/a", "/a/*", "*"], 1..2))
        .prop_map(|(v, u)| json!({"verbs": v, "nonResourceURLs": u}));
    prop_oneof![4 => resource, 1 => url]
}

fn any_object() -> impl Strategy<Value = Value> {
    let name = prop::sample::select(&["one", "two", "three"][..]);
    let namespace = prop::sample::select(NAMESPACES);
    let rules = prop::collection::vec(any_rule(), 0..3);
    let subject = prop_oneof![
        prop::sample::select(&["u", "v"][..]).prop_map(|n| json!({"kind": "User", "name": n})),
        prop::sample::select(&["g", "h"][..]).prop_map(|n| json!({"kind": "Group", "name": n})),
        (prop::sample::select(&["s"][..]), prop::sample::select(&["", "a", "b"][..]))
            .prop_map(|(n, ns)| json!({"kind": "ServiceAccount", "name": n, "namespace": ns})),
    ];
    let subjects = prop::collection::vec(subject, 0..3);
    let kind = prop::sample::select(&["ClusterRole", "Role", "ClusterRoleBinding", "RoleBinding"][..]);
    let reference = prop::sample::select(&["ClusterRole", "Role"][..]);
    let role = prop::sample::select(&["one", "two", "three"][..]);
    (kind, name, namespace, rules, subjects, reference, role).prop_map(
        |(kind, name, namespace, rules, subjects, reference, role)| {
            let namespace = if kind.starts_with("Cluster") { "" } else { namespace };
            let reference = if kind == "ClusterRoleBinding" { "ClusterRole" } else { reference };
            if kind.ends_with("Binding") {
                binding(kind, namespace, name, (reference, role), json!(subjects))
            } else {
                json!({"kind": kind, "metadata": {"name": name, "namespace": namespace}, "rules": rules})
            }
        },
    )
}

/// The last write of each object counts.
fn last_of_each(objects: &[Value]) -> Vec<Value> {
    let key = |o: &Value| (o.kind().to_owned(), o.namespace().to_owned(), o.name().to_owned());
    let last = |i: usize| !objects[i + 1..].iter().any(|o| key(o) == key(&objects[i]));
    (0..objects.len()).filter(|i| last(*i)).map(|i| objects[i].clone()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]
    #[test]
    fn the_index_agrees_with_a_plain_reading(
        objects in prop::collection::vec(any_object(), 0..24),
        drop in prop::collection::vec(any::<prop::sample::Index>(), 0..4),
    ) {
        let policy = Policy::default();
        objects.iter().for_each(|o| policy.upsert(o));
        let mut live = last_of_each(&objects);
        for index in drop {
            if !live.is_empty() {
                policy.delete(&live.remove(index.index(live.len())));
            }
        }
        let users = [
            UserInfo::new("u", ["g"]), UserInfo::new("v", []), UserInfo::new("system:serviceaccount:a:s", ["h"]),
        ];
        for user in &users {
            for namespace in ["", "a", "b"] {
                for (resource, sub) in [("pods", ""), ("pods", "log"), ("deployments", "scale"), ("services", "")] {
                    for (verb, group, name) in [("get", "", ""), ("get", "apps", "x"), ("create", "", "y")] {
                        let asked = Attributes::resource(user, verb, group, resource)
                            .sub(sub).in_namespace(namespace).named(name);
                        prop_assert_eq!(allowed(&policy, &asked), naive(&live, &asked), "{:?}", asked);
                    }
                }
            }
            for path in ["/a", "/a/b", "/c"] {
                let asked = Attributes::non_resource(user, "get", path);
                prop_assert_eq!(allowed(&policy, &asked), naive(&live, &asked), "{:?}", asked);
            }
        }
    }
}

//! The names are golden; what the roles allow is asked of the real policy engine.

use std::collections::BTreeSet;

use apimachinery::UserInfo;
use apimachinery::meta::ObjectExt;

use super::*;
use crate::Attributes;
use crate::authz::Authorizer;
use crate::rbac::Policy;

fn loaded() -> Policy {
    let policy = Policy::default();
    policy.replace(cluster_roles().into_iter().chain(cluster_role_bindings()).chain(roles()).chain(role_bindings()));
    policy
}

#[test]
fn names_are_golden() {
    let names: Vec<String> = cluster_roles().iter().map(|r| r.name().to_owned()).collect();
    let golden = include_str!("golden-cluster-roles.txt");
    assert_eq!(names.join("\n"), golden.trim_end(), "a bootstrap role came or went");
    let unique: BTreeSet<&String> = names.iter().collect();
    assert_eq!(unique.len(), names.len());
    for binding in cluster_role_bindings() {
        assert!(names.iter().any(|n| n == binding.str_at("roleRef/name")), "{} binds nothing", binding.name());
    }
    let namespaced: Vec<(String, String)> =
        roles().iter().map(|r| (r.namespace().to_owned(), r.name().to_owned())).collect();
    for binding in role_bindings() {
        let role = (binding.namespace().to_owned(), binding.str_at("roleRef/name").to_owned());
        assert!(namespaced.contains(&role), "{} binds nothing", binding.name());
    }
}

#[test]
fn identities_may_do_their_work_and_no_more() {
    let policy = loaded();
    let anonymous = UserInfo::anonymous();
    let somebody = UserInfo::new("bob", []);
    let scheduler = UserInfo::new("system:kube-scheduler", []);
    let manager = UserInfo::new("system:kube-controller-manager", []);
    let proxy = UserInfo::new("system:kube-proxy", []);
    let dns = UserInfo::new("system:coredns", []);
    let joiner = UserInfo::new("system:bootstrap:abcdef", ["system:bootstrappers", joining::NODE_TOKENS]);
    let node = UserInfo::new("system:node:n1", ["system:nodes"]);
    let masters = UserInfo::new("root", ["system:masters"]);
    let replicaset = UserInfo::new(
        "system:serviceaccount:kube-system:replicaset-controller",
        ["system:serviceaccounts", "system:serviceaccounts:kube-system"],
    );
    let of = Attributes::resource;
    let path = |user, path| Attributes::non_resource(user, "get", path);
    let cases = [
        (path(&anonymous, "/livez"), true),
        (path(&anonymous, "/version"), true),
        (path(&anonymous, "/cacerts"), true),
        (path(&anonymous, "/v1-coracle/config"), false),
        (path(&joiner, "/v1-coracle/config"), true),
        (of(&joiner, "create", "certificates.k8s.io", "certificatesigningrequests"), true),
        (of(&joiner, "create", "certificates.k8s.io", "certificatesigningrequests").sub("nodeclient"), true),
        (of(&joiner, "create", "certificates.k8s.io", "certificatesigningrequests").sub("selfnodeclient"), false),
        (of(&joiner, "list", "", "secrets").in_namespace("kube-system"), false),
        (of(&node, "create", "certificates.k8s.io", "certificatesigningrequests").sub("selfnodeclient"), true),
        (of(&node, "create", "certificates.k8s.io", "certificatesigningrequests").sub("nodeclient"), false),
        (of(&node, "watch", "discovery.k8s.io", "endpointslices"), true),
        (path(&anonymous, "/api"), false),
        (path(&anonymous, "/metrics"), false),
        (path(&somebody, "/apis/apps/v1"), true),
        (path(&somebody, "/openapi/v3"), true),
        (path(&somebody, "/metrics"), false),
        (of(&somebody, "create", "authorization.k8s.io", "selfsubjectaccessreviews"), true),
        (of(&somebody, "list", "", "pods").in_namespace("default"), false),
        (of(&scheduler, "create", "", "pods").sub("binding").in_namespace("ns"), true),
        (
            of(&scheduler, "update", "coordination.k8s.io", "leases")
                .in_namespace("kube-system")
                .named("kube-scheduler"),
            true,
        ),
        (of(&scheduler, "list", "storage.k8s.io", "storageclasses"), true),
        (of(&scheduler, "get", "", "secrets").in_namespace("ns").named("s"), false),
        (of(&manager, "list", "example.com", "anything"), true),
        (of(&manager, "update", "apps", "replicasets").sub("status").in_namespace("ns"), true),
        (
            of(&manager, "update", "coordination.k8s.io", "leases")
                .in_namespace("kube-system")
                .named("kube-controller-manager"),
            true,
        ),
        (of(&replicaset, "create", "", "pods").in_namespace("ns"), true),
        (of(&replicaset, "delete", "apps", "deployments").in_namespace("ns"), false),
        (of(&proxy, "watch", "discovery.k8s.io", "endpointslices"), true),
        (of(&proxy, "get", "", "secrets").in_namespace("ns"), false),
        (of(&dns, "watch", "discovery.k8s.io", "endpointslices"), true),
        (path(&replicaset, "/openid/v1/jwks"), true),
        (of(&masters, "anything", "at.all", "really"), true),
    ];
    for (attributes, want) in cases {
        assert_eq!(policy.authorize(&attributes).is_allowed(), want, "{attributes:?}");
    }
}

#[test]
fn admin_edit_and_view_build_on_each_other() {
    let policy = loaded();
    for role in ["admin", "edit", "view"] {
        let mut binding = object("RoleBinding", "ns", role);
        binding["roleRef"] = json!({"kind": "ClusterRole", "name": role});
        binding["subjects"] = json!([{"kind": "User", "name": role}]);
        policy.upsert(&binding);
    }
    let allowed = |user: &str, verb, group, resource| {
        let user = UserInfo::new(user, []);
        policy.authorize(&Attributes::resource(&user, verb, group, resource).in_namespace("ns")).is_allowed()
    };
    let of = |verb, group, resource| ["view", "edit", "admin"].map(|user| allowed(user, verb, group, resource));
    assert_eq!(of("list", "", "pods"), [true, true, true]);
    assert_eq!(of("get", "", "secrets"), [false, true, true]);
    assert_eq!(of("delete", "apps", "deployments"), [false, true, true]);
    assert_eq!(of("create", "rbac.authorization.k8s.io", "roles"), [false, false, true]);
    assert_eq!(of("update", "", "resourcequotas"), [false, false, false]);
    let aggregated: Vec<String> = policy.aggregated().into_iter().map(|(name, _)| name).collect();
    assert_eq!(aggregated.len(), 3);
}

#[test]
fn reconciling_adds_and_never_takes() {
    let wanted = cluster_roles().into_iter().find(|r| r.name() == "system:kube-dns").unwrap();
    assert_eq!(reconcile(&wanted, &wanted), None);
    let mut changed = wanted.clone();
    changed["rules"] = json!([{"verbs": ["list"], "apiGroups": [""], "resources": ["services", "extra"]}]);
    let mended = reconcile(&changed, &wanted).unwrap();
    assert!(mended.array_at("rules").contains(&changed["rules"][0]));
    assert_eq!(reconcile(&mended, &wanted), None, "one pass is enough");
    changed["metadata"]["annotations"]["rbac.authorization.kubernetes.io/autoupdate"] = "false".into();
    assert_eq!(reconcile(&changed, &wanted), None);
    let binding = cluster_role_bindings().into_iter().find(|r| r.name() == "cluster-admin").unwrap();
    let mut other = binding.clone();
    other["subjects"] = json!([{"apiGroup": GROUP, "kind": "User", "name": "x"}]);
    assert_eq!(reconcile(&other, &binding).unwrap().array_at("subjects").len(), 2);
}

use crate::rbac::GROUP;

/// Not a test of speed (machines differ): run by hand with `--run-ignored only --no-capture` to see what a check costs.
#[test]
#[ignore = "prints a figure, checks nothing"]
fn cost_of_a_check() {
    let policy = loaded();
    let user = UserInfo::new(
        "system:serviceaccount:kube-system:generic-garbage-collector",
        ["system:serviceaccounts", "system:serviceaccounts:kube-system"],
    );
    for (verb, resource) in [("delete", "pods"), ("escalate", "pods")] {
        let attributes = Attributes::resource(&user, verb, "", resource).in_namespace("ns").named("p");
        let start = std::time::Instant::now();
        let allowed = (0..10_000).filter(|_| policy.authorize(&attributes).is_allowed()).count();
        println!("{verb}: {allowed} allowed, {:?} a check", start.elapsed() / 10_000);
    }
}

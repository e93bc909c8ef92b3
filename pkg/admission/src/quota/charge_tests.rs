//! Quota as clients meet it.

use serde_json::json;

use super::*;
use crate::testing::{Ask, World, ask};

fn quota(name: &str, hard: Value, used: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": name, "namespace": "ns"},
           "spec": {"hard": hard}, "status": {"hard": hard, "used": used}})
}

fn pod(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "ns"},
           "spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": "500m"}}}]}})
}

fn used(world: &World, name: &str) -> String {
    let quota = world.get(&GroupResource::new("", "resourcequotas"), "ns", name).unwrap();
    shown(&amounts(quota.at("status/used")))
}

fn create(name: &str) -> Ask {
    ask(Operation::Create, "", "pods").named(name)
}

/// Writes what is admitted with what it is charged to, as the registry does.
async fn admit(
    world: &World,
    plugin: &ResourceQuota,
    a: &Attributes<'_>,
    new: Value,
    old: Option<&Value>,
) -> ApiResult<()> {
    let charge = plugin.charge(a, &new, old).await?;
    charge.quotas.into_iter().for_each(|quota| world.put(quota));
    world.put(new);
    Ok(())
}

#[tokio::test]
async fn charges_and_refuses_with_upstreams_text() {
    let world = World::new([quota("q", json!({"pods": "2", "cpu": "10"}), json!({"pods": "1", "cpu": "1"})), pod("a")]);
    let plugin = ResourceQuota::new(world.clone());
    admit(&world, &plugin, &create("b").attributes(), pod("b"), None).await.unwrap();
    assert_eq!(used(&world, "q"), "cpu=1500m,pods=2");
    let error = plugin.charge(&create("c").attributes(), &pod("c"), None).await.unwrap_err();
    let text = r#"pods "c" is forbidden: exceeded quota: q, requested: pods=1, used: pods=2, limited: pods=2"#;
    assert_eq!((error.code(), error.message()), (403, text));
    let bare = json!({"metadata": {"name": "d"}, "spec": {"containers": [{"name": "x"}]}});
    let error = plugin.charge(&create("d").attributes(), &bare, None).await.unwrap_err();
    assert_eq!(error.message(), r#"pods "d" is forbidden: failed quota: q: must specify cpu for: x"#);
    assert_eq!(used(&world, "q"), "cpu=1500m,pods=2", "a refusal charges nothing");
}

#[tokio::test]
async fn a_stale_count_is_mended_before_a_refusal() {
    let world = World::new([quota("q", json!({"pods": "2"}), json!({"pods": "2"})), pod("a")]);
    let plugin = ResourceQuota::new(world.clone());
    admit(&world, &plugin, &create("b").attributes(), pod("b"), None).await.unwrap();
    assert_eq!(used(&world, "q"), "pods=2");
}

#[tokio::test]
async fn a_new_quota_counts_at_once() {
    let mut fresh = quota("q", json!({"pods": "2"}), json!({}));
    fresh.as_object_mut().unwrap().remove("status");
    let world = World::new([fresh, pod("a")]);
    let plugin = ResourceQuota::new(world.clone());
    admit(&world, &plugin, &create("b").attributes(), pod("b"), None).await.unwrap();
    assert_eq!(used(&world, "q"), "pods=2");
    assert!(plugin.charge(&create("c").attributes(), &pod("c"), None).await.is_err());
}

#[tokio::test]
async fn nothing_is_charged_by_halves_or_for_show_or_for_nothing() {
    let world = World::new([
        quota("a-wide", json!({"pods": "9"}), json!({"pods": "0"})),
        quota("b-full", json!({"pods": "0"}), json!({"pods": "0"})),
        quota("c-other", json!({"secrets": "9"}), json!({"secrets": "0"})),
    ]);
    let plugin = ResourceQuota::new(world.clone());
    let asked = create("p");
    assert!(plugin.charge(&asked.attributes(), &pod("p"), None).await.is_err());
    world.put(quota("b-full", json!({"pods": "1"}), json!({"pods": "0"})));
    let dry = Attributes { dry_run: true, ..asked.attributes() };
    let charge = plugin.charge(&dry, &pod("p"), None).await.unwrap();
    assert!(charge.quotas.is_empty() && charge.turn.is_none());
    let charge = plugin.charge(&asked.attributes(), &pod("p"), None).await.unwrap();
    let charged: Vec<&str> = charge.quotas.iter().map(|quota| quota.name()).collect();
    assert_eq!(charged, ["a-wide", "b-full"]);
}

#[tokio::test]
async fn writers_of_a_namespace_take_turns() {
    let world = World::new([quota("q", json!({"pods": "2"}), json!({"pods": "0"}))]);
    let plugin = ResourceQuota::new(world);
    let (asked, first) = (create("a"), pod("a"));
    let held = plugin.charge(&asked.attributes(), &first, None).await.unwrap();
    let attributes = asked.attributes();
    let mut second = std::pin::pin!(plugin.charge(&attributes, &first, None));
    tokio::select! {
        biased;
        _ = &mut second => panic!("it is another's turn"),
        () = std::future::ready(()) => {}
    }
    drop(held);
    assert!(second.await.unwrap().turn.is_some());
}

#[tokio::test]
async fn updates_charge_the_difference() {
    let service = |kind: &str| json!({"metadata": {"name": "s"}, "spec": {"type": kind, "ports": [{}]}});
    let world = World::new([quota("q", json!({"services.nodeports": "1"}), json!({"services.nodeports": "0"}))]);
    let plugin = ResourceQuota::new(world.clone());
    let update = ask(Operation::Update, "", "services").named("s");
    for (new, old, expected) in
        [("NodePort", "ClusterIP", 1), ("NodePort", "NodePort", 1), ("ClusterIP", "NodePort", 0)]
    {
        admit(&world, &plugin, &update.attributes(), service(new), Some(&service(old))).await.unwrap();
        assert_eq!(used(&world, "q"), format!("services.nodeports={expected}"));
    }
}

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

#[tokio::test]
async fn charges_and_refuses_with_upstreams_text() {
    let world = World::new([quota("q", json!({"pods": "2", "cpu": "10"}), json!({"pods": "1", "cpu": "1"})), pod("a")]);
    let plugin = ResourceQuota::new(world.clone());
    plugin.charge(&create("b").attributes(), Some(&pod("b")), None).await.unwrap();
    assert_eq!(used(&world, "q"), "cpu=1500m,pods=2");
    world.put(pod("b"));
    let error = plugin.charge(&create("c").attributes(), Some(&pod("c")), None).await.unwrap_err();
    let text = r#"pods "c" is forbidden: exceeded quota: q, requested: pods=1, used: pods=2, limited: pods=2"#;
    assert_eq!((error.code(), error.message()), (403, text));
    let bare = json!({"metadata": {"name": "d"}, "spec": {"containers": [{"name": "x"}]}});
    let error = plugin.charge(&create("d").attributes(), Some(&bare), None).await.unwrap_err();
    assert_eq!(error.message(), r#"pods "d" is forbidden: failed quota: q: must specify cpu for: x"#);
    assert_eq!(used(&world, "q"), "cpu=1,pods=2", "a refusal counted anew and charged nothing");
}

#[tokio::test]
async fn a_stale_count_is_mended_before_a_refusal() {
    let world = World::new([quota("q", json!({"pods": "2"}), json!({"pods": "2"})), pod("a")]);
    let plugin = ResourceQuota::new(world.clone());
    plugin.charge(&create("b").attributes(), Some(&pod("b")), None).await.unwrap();
    assert_eq!(used(&world, "q"), "pods=2");
}

#[tokio::test]
async fn a_new_quota_counts_at_once() {
    let mut fresh = quota("q", json!({"pods": "1"}), json!({}));
    fresh.as_object_mut().unwrap().remove("status");
    let world = World::new([fresh, pod("a")]);
    let plugin = ResourceQuota::new(world.clone());
    assert!(plugin.charge(&create("b").attributes(), Some(&pod("b")), None).await.is_err());
    assert_eq!(used(&world, "q"), "pods=1");
}

#[tokio::test]
async fn nothing_is_charged_by_halves_or_for_show() {
    let world = World::new([
        quota("a-wide", json!({"pods": "9"}), json!({"pods": "0"})),
        quota("b-full", json!({"pods": "0"}), json!({"pods": "0"})),
    ]);
    let plugin = ResourceQuota::new(world.clone());
    assert!(plugin.charge(&create("p").attributes(), Some(&pod("p")), None).await.is_err());
    assert_eq!(used(&world, "a-wide"), "pods=0");
    let open = World::new([quota("q", json!({"pods": "9"}), json!({"pods": "0"}))]);
    let plugin = ResourceQuota::new(open.clone());
    let asked = create("p");
    let dry = Attributes { dry_run: true, ..asked.attributes() };
    plugin.charge(&dry, Some(&pod("p")), None).await.unwrap();
    assert_eq!(used(&open, "q"), "pods=0");
}

#[tokio::test]
async fn a_count_keeps_what_is_charged_and_not_stored_yet() {
    let world = World::new([quota("q", json!({"pods": "1"}), json!({"pods": "0"}))]);
    let plugin = ResourceQuota::new(world.clone());
    let try_one = async |name: &str| plugin.charge(&create(name).attributes(), Some(&pod(name)), None).await.is_ok();
    assert!(try_one("a").await);
    assert!(!try_one("b").await, "the first is on its way");
    assert_eq!(used(&world, "q"), "pods=1");
    world.put(pod("a"));
    assert!(!try_one("b").await);
    assert_eq!(used(&world, "q"), "pods=1", "and counts once when it is there");
}

#[tokio::test]
async fn updates_charge_the_difference() {
    let service = |kind: &str| json!({"metadata": {"name": "s"}, "spec": {"type": kind, "ports": [{}]}});
    let world = World::new([quota("q", json!({"services.nodeports": "1"}), json!({"services.nodeports": "0"}))]);
    let plugin = ResourceQuota::new(world.clone());
    let update = ask(Operation::Update, "", "services").named("s");
    plugin.charge(&update.attributes(), Some(&service("NodePort")), Some(&service("ClusterIP"))).await.unwrap();
    assert_eq!(used(&world, "q"), "services.nodeports=1");
    plugin.charge(&update.attributes(), Some(&service("NodePort")), Some(&service("NodePort"))).await.unwrap();
    plugin.charge(&update.attributes(), Some(&service("ClusterIP")), Some(&service("NodePort"))).await.unwrap();
    assert_eq!(used(&world, "q"), "services.nodeports=0");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_crowd_cannot_exceed_a_quota() {
    let world = World::new([quota("q", json!({"configmaps": "10"}), json!({"configmaps": "0"}))]);
    let plugin = Arc::new(ResourceQuota::new(world.clone()));
    let tasks: Vec<_> = (0..64)
        .map(|i| {
            let (plugin, world) = (plugin.clone(), world.clone());
            tokio::spawn(async move {
                let name = format!("c{i}");
                let map = json!({"kind": "ConfigMap", "metadata": {"name": name, "namespace": "ns"}});
                let asked = ask(Operation::Create, "", "configmaps").named(&name);
                let admitted = plugin.charge(&asked.attributes(), Some(&map), None).await.is_ok();
                if admitted {
                    world.put(map);
                }
                admitted
            })
        })
        .collect();
    let mut admitted = 0;
    for task in tasks {
        admitted += usize::from(task.await.unwrap());
    }
    assert_eq!(used(&world, "q"), "configmaps=10");
    assert_eq!(admitted, 10);
}

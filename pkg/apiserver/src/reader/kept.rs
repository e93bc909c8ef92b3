//! What admission reads with nearly every write, decoded and kept for as long as it is so.

use std::collections::HashMap;
use std::sync::Arc;

use apimachinery::GroupResource;
use apis::resource::Resource;
use futures::{FutureExt as _, StreamExt as _};
use parking_lot::Mutex;
use registry::{Registry, StoredObject, Watch, WatchEvent, WatchQuery};
use serde_json::Value;

/// Group and plural of the kinds: few objects each, seldom written.
const KINDS: [(&str, &str); 8] = [
    ("", "namespaces"),
    ("", "limitranges"),
    ("", "serviceaccounts"),
    ("", "resourcequotas"),
    ("scheduling.k8s.io", "priorityclasses"),
    ("node.k8s.io", "runtimeclasses"),
    ("storage.k8s.io", "storageclasses"),
    ("networking.k8s.io", "ingressclasses"),
];

/// Of each kind so many bytes are kept, as stored, and for each answer that much besides.
const BYTES_MAX: usize = 4 << 20;
const ANSWER_BYTES: usize = 256;

/// All kinds of which answers are kept.
pub struct Kept(Vec<Kind>);

/// One kind, with what was read of it.
pub struct Kind {
    resource: &'static Resource,
    answers: Mutex<Answers>,
}

/// The store queues every change for its watches before anybody can read it. So what was read stays the newest until the
/// watch, asked at every read, tells of a change.
#[derive(Default)]
struct Answers {
    watch: Option<Watch>,
    /// By namespace. Under no name are objects that are in none, and lists of all.
    places: HashMap<String, Place>,
    bytes: usize,
}

#[derive(Default)]
struct Place {
    objects: HashMap<String, Arc<Value>>,
    list: Option<Vec<Arc<Value>>>,
}

impl Kept {
    pub fn new(registry: &Registry) -> Self {
        let rows = KINDS.iter().filter_map(|(group, plural)| registry.rows().newest(group, plural));
        Self(rows.map(|found| Kind { resource: found.resource, answers: Mutex::default() }).collect())
    }

    pub fn of(&self, resource: &GroupResource) -> Option<&Kind> {
        self.0.iter().find(|kind| kind.resource.plural == resource.resource && kind.resource.group == resource.group)
    }
}

impl Kind {
    /// The newest state of an object.
    pub fn get(&self, registry: &Registry, namespace: &str, name: &str) -> Option<Arc<Value>> {
        let namespace = self.place_of(namespace);
        let mut answers = self.answers.lock();
        answers.forget_changed(registry, self.resource);
        if let Some(object) = answers.places.get(namespace).and_then(|place| place.objects.get(name)) {
            return Some(object.clone());
        }
        let stored = registry.get(self.resource, namespace, name).ok()?;
        let object = Arc::new(stored.decode());
        answers.place(namespace, &[stored]).objects.insert(name.to_owned(), object.clone());
        Some(object)
    }

    /// The newest state of all objects of a namespace, or everywhere if that is empty.
    pub fn list(&self, registry: &Registry, namespace: &str) -> Vec<Arc<Value>> {
        let namespace = self.place_of(namespace);
        let mut answers = self.answers.lock();
        answers.forget_changed(registry, self.resource);
        if let Some(list) = answers.places.get(namespace).and_then(|place| place.list.as_ref()) {
            return list.clone();
        }
        let stored = registry.read_all(self.resource.group, self.resource.plural, namespace);
        let list: Vec<_> = stored.iter().map(|one| Arc::new(one.decode())).collect();
        answers.place(namespace, &stored).list = Some(list.clone());
        list
    }

    fn place_of<'a>(&self, namespace: &'a str) -> &'a str {
        if self.resource.namespaced { namespace } else { "" }
    }
}

impl Answers {
    /// Afterwards only what is still so is here. The lock that is held lets nobody else hear of a change before that.
    fn forget_changed(&mut self, registry: &Registry, resource: &'static Resource) {
        while let Some(watch) = &mut self.watch {
            match watch.next().now_or_never() {
                None => return,
                Some(Some(Ok(WatchEvent::Change { object, .. }))) => {
                    self.places.remove(registry::split_key(resource, object.key()).0);
                    self.places.remove("");
                }
                Some(Some(Ok(WatchEvent::Bookmark { .. }))) => {}
                // It fell behind, or the state was replaced.
                Some(Some(Err(_)) | None) => self.watch = None,
            }
        }
        self.clear();
        let query = WatchQuery { resource_version: registry.revision().to_string(), ..WatchQuery::default() };
        self.watch = registry.watch(resource, None, query).ok();
    }

    /// Where an answer that rests on `read` is to be kept.
    fn place(&mut self, namespace: &str, read: &[StoredObject]) -> &mut Place {
        if self.bytes >= BYTES_MAX {
            // Rare, and what is asked for is soon back.
            self.clear();
        }
        self.bytes += ANSWER_BYTES + read.iter().map(|one| one.body().len()).sum::<usize>();
        self.places.entry(namespace.to_owned()).or_default()
    }

    fn clear(&mut self) {
        self.places.clear();
        self.bytes = 0;
    }
}

#[cfg(test)]
mod tests {
    use apimachinery::UserInfo;
    use apimachinery::meta::ObjectExt as _;
    use registry::{Call, DeleteOptions, NoAdmission, Options, ServiceOptions};
    use serde_json::json;

    use super::*;

    /// A registry of its own, and what is kept of it.
    struct World {
        registry: Arc<Registry>,
        kept: Kept,
        user: UserInfo,
        _dir: tempfile::TempDir,
    }

    impl World {
        async fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let storage = storage::Storage::open(storage::Config::new(dir.path())).await.unwrap();
            let options = Options { storage, resources: apis::all(), services: ServiceOptions::default() };
            let registry = Registry::new(options).unwrap();
            Self { kept: Kept::new(&registry), registry, user: UserInfo::new("admin", []), _dir: dir }
        }

        fn call<'a>(&'a self, plural: &str, namespace: &'a str, name: &'a str) -> Call<'a> {
            let found = self.registry.rows().newest("", plural).unwrap();
            Call {
                resource: found.resource,
                version: found.version,
                subresource: "",
                namespace,
                name,
                user: &self.user,
                field_manager: "test",
                dry_run: false,
                admission: &NoAdmission,
                warnings: std::sync::Mutex::default(),
            }
        }

        async fn create(&self, plural: &str, kind: &str, namespace: &str, name: &str) {
            let object =
                json!({ "apiVersion": "v1", "kind": kind, "metadata": { "name": name }, "spec": { "limits": [] } });
            self.registry.create(&self.call(plural, namespace, ""), object).await.unwrap();
        }

        async fn delete(&self, plural: &str, namespace: &str, name: &str) {
            self.registry.delete(&self.call(plural, namespace, name), &DeleteOptions::default()).await.unwrap();
        }

        fn kind(&self, plural: &str) -> &Kind {
            self.kept.of(&GroupResource::new("", plural)).unwrap()
        }

        fn names(&self, plural: &str, namespace: &str) -> Vec<String> {
            let list = self.kind(plural).list(&self.registry, namespace);
            list.iter().map(|object| object.name().to_owned()).collect()
        }
    }

    #[tokio::test]
    async fn every_write_is_read_by_who_asks_after_it() {
        let world = World::new().await;
        for round in 0..3 {
            assert_eq!(world.names("limitranges", "a"), Vec::<String>::new(), "round {round}");
            world.create("limitranges", "LimitRange", "a", "x").await;
            assert_eq!(world.names("limitranges", "a"), ["x"]);
            world.create("limitranges", "LimitRange", "b", "y").await;
            assert_eq!(world.names("limitranges", "b"), ["y"]);
            assert_eq!(world.names("limitranges", ""), ["x", "y"]);
            world.delete("limitranges", "a", "x").await;
            assert_eq!(world.names("limitranges", ""), ["y"]);
            world.delete("limitranges", "b", "y").await;
            assert_eq!(world.names("limitranges", "b"), Vec::<String>::new());
        }
    }

    #[tokio::test]
    async fn what_nobody_wrote_is_decoded_once() {
        let world = World::new().await;
        world.create("serviceaccounts", "ServiceAccount", "a", "default").await;
        world.create("serviceaccounts", "ServiceAccount", "b", "default").await;
        let read = |namespace| world.kind("serviceaccounts").get(&world.registry, namespace, "default").unwrap();
        let (a, b) = (read("a"), read("b"));
        world.create("serviceaccounts", "ServiceAccount", "a", "other").await;
        assert!(Arc::ptr_eq(&b, &read("b")), "what is in another namespace did not change");
        assert_eq!(a, read("a"));
        world.delete("serviceaccounts", "b", "default").await;
        assert!(world.kind("serviceaccounts").get(&world.registry, "b", "default").is_none());
    }

    #[tokio::test]
    async fn a_watch_that_fell_behind_is_begun_anew() {
        let world = World::new().await;
        world.create("namespaces", "Namespace", "", "a").await;
        let read = || world.kind("namespaces").get(&world.registry, "", "a").unwrap();
        let first = read();
        world.kind("namespaces").answers.lock().watch = None;
        assert!(!Arc::ptr_eq(&first, &read()), "nothing is known of what happened meanwhile");
        let second = read();
        assert!(Arc::ptr_eq(&second, &read()));
    }

    #[tokio::test]
    async fn only_so_much_is_kept() {
        let world = World::new().await;
        world.create("namespaces", "Namespace", "", "a").await;
        let read = || world.kind("namespaces").get(&world.registry, "", "a").unwrap();
        let first = read();
        world.kind("namespaces").answers.lock().bytes = BYTES_MAX;
        assert!(world.kind("namespaces").get(&world.registry, "", "b").is_none());
        assert!(Arc::ptr_eq(&first, &read()), "what is not there takes no place");
        assert!(world.names("namespaces", "").contains(&"a".to_owned()));
        assert!(!Arc::ptr_eq(&first, &read()));
    }
}

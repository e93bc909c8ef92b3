//! A small world for the tests of plugins: objects by resource, and questions that are short to write.

use std::collections::BTreeMap;
use std::sync::Arc;

use apimachinery::meta::ObjectExt;
use apimachinery::{ApiError, ApiResult, GroupResource, UserInfo};
use async_trait::async_trait;
use parking_lot::Mutex;
use serde_json::Value;

use crate::{Attributes, Authorizer, Kind, Operation, Permission, Plugin, Reader};

type Key = (String, String, String);

/// Objects by (resource, namespace, name).
#[derive(Default)]
pub struct World(Mutex<BTreeMap<Key, Arc<Value>>>);

/// `RuntimeClass` → `runtimeclasses`, `Namespace` → `namespaces`.
fn plural(kind: &str) -> String {
    let lower = kind.to_ascii_lowercase();
    if lower.ends_with('s') { lower + "es" } else { lower + "s" }
}

impl World {
    pub fn new(objects: impl IntoIterator<Item = Value>) -> Arc<Self> {
        let world = Self::default();
        objects.into_iter().for_each(|o| world.put(o));
        Arc::new(world)
    }

    pub fn put(&self, object: Value) {
        let key = (plural(object.kind()), object.namespace().to_owned(), object.name().to_owned());
        self.0.lock().insert(key, Arc::new(object));
    }
}

#[async_trait]
impl Reader for World {
    fn get(&self, resource: &GroupResource, namespace: &str, name: &str) -> Option<Arc<Value>> {
        self.0.lock().get(&(resource.resource.clone(), namespace.to_owned(), name.to_owned())).cloned()
    }

    fn list(&self, resource: &GroupResource, namespace: &str) -> Vec<Arc<Value>> {
        let objects = self.0.lock();
        let wanted = |(r, ns, _): &Key| *r == resource.resource && (namespace.is_empty() || ns == namespace);
        objects.iter().filter(|(key, _)| wanted(key)).map(|(_, object)| object.clone()).collect()
    }
}

/// Allows `verb resource/name` texts.
pub struct Allow(pub &'static [&'static str]);

impl Authorizer for Allow {
    fn is_allowed(&self, p: &Permission<'_>) -> bool {
        self.0.contains(&format!("{} {}/{}", p.verb, p.resource, p.name).as_str())
    }
}

/// An owned question.
#[derive(Clone)]
pub struct Ask {
    operation: Operation,
    group: String,
    resource: String,
    subresource: String,
    namespace: String,
    name: String,
    user: UserInfo,
}

pub fn ask(operation: Operation, group: &str, resource: &str) -> Ask {
    Ask {
        operation,
        group: group.to_owned(),
        resource: resource.to_owned(),
        subresource: String::new(),
        namespace: "ns".to_owned(),
        name: String::new(),
        user: UserInfo::new("bob", []),
    }
}

impl Ask {
    pub fn in_namespace(&self, namespace: &str) -> Self {
        Self { namespace: namespace.to_owned(), ..self.clone() }
    }

    pub fn named(&self, name: &str) -> Self {
        Self { name: name.to_owned(), ..self.clone() }
    }

    pub fn of(&self, subresource: &str) -> Self {
        Self { subresource: subresource.to_owned(), ..self.clone() }
    }

    pub fn by(&self, user: UserInfo) -> Self {
        Self { user, ..self.clone() }
    }

    pub fn attributes(&self) -> Attributes<'_> {
        Attributes {
            operation: self.operation,
            kind: Kind { group: &self.group, version: "v1", kind: "" },
            group: &self.group,
            version: "v1",
            resource: &self.resource,
            subresource: &self.subresource,
            namespace: &self.namespace,
            name: &self.name,
            user: &self.user,
            dry_run: false,
            warn: &|_| {},
        }
    }
}

/// Both passes; the object as it came out.
pub fn run(plugin: &dyn Plugin, ask: &Ask, object: &Value, old: Option<&Value>) -> ApiResult<Value> {
    let mut object = object.clone();
    plugin.mutate(&ask.attributes(), &mut object, old)?;
    plugin.validate(&ask.attributes(), Some(&object), old)?;
    Ok(object)
}

pub fn passes(plugin: &dyn Plugin, ask: &Ask, object: &Value, old: Option<&Value>) -> Value {
    run(plugin, ask, object, old).unwrap_or_else(|e| panic!("{:?}: {e}", ask.attributes()))
}

pub fn fails(plugin: &dyn Plugin, ask: &Ask, object: &Value, old: Option<&Value>) -> ApiError {
    match run(plugin, ask, object, old) {
        Err(error) => error,
        Ok(object) => panic!("{:?} was let through: {object}", ask.attributes()),
    }
}

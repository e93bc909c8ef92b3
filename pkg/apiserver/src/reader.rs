//! The registry as the readers that authentication and admission want: the newest state, in this process.

mod kept;

use std::sync::Arc;

use apimachinery::meta::ObjectExt as _;
use apimachinery::time::parse_seconds;
use apimachinery::{ApiResult, GroupResource};
use async_trait::async_trait;
use auth::Attributes;
use auth::authn::bootstrap_token::{Data, SECRET_PREFIX, SECRET_TYPE};
use auth::authz::Authorizer;
use auth::token::{BoundObject, Lister};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use registry::Registry;
use serde_json::Value;

use self::kept::Kept;

/// What tokens are bound to, out of the registry.
pub struct TokenLister(pub Arc<Registry>);

impl TokenLister {
    fn read(&self, plural: &str, namespace: &str, name: &str) -> Option<Value> {
        self.0.read("", plural, namespace, name)
    }
}

fn bound(object: &Value) -> BoundObject {
    let deletion_timestamp = parse_seconds(object.meta_str("deletionTimestamp"));
    BoundObject { uid: object.uid().to_owned(), deletion_timestamp, token: Vec::new() }
}

impl Lister for TokenLister {
    fn service_account(&self, namespace: &str, name: &str) -> Option<BoundObject> {
        self.read("serviceaccounts", namespace, name).map(|object| bound(&object))
    }

    fn pod(&self, namespace: &str, name: &str) -> Option<BoundObject> {
        self.read("pods", namespace, name).map(|object| bound(&object))
    }

    fn secret(&self, namespace: &str, name: &str) -> Option<BoundObject> {
        let object = self.read("secrets", namespace, name)?;
        let token = STANDARD.decode(object.str_at("data/token")).unwrap_or_default();
        Some(BoundObject { token, ..bound(&object) })
    }

    fn node(&self, name: &str) -> Option<BoundObject> {
        self.read("nodes", "", name).map(|object| bound(&object))
    }
}

impl auth::authn::BootstrapLister for TokenLister {
    fn bootstrap_token(&self, id: &str) -> Option<Data> {
        let secret = self.read("secrets", "kube-system", &format!("{SECRET_PREFIX}{id}"))?;
        let usable = secret.str_at("type") == SECRET_TYPE && secret.meta_str("deletionTimestamp").is_empty();
        usable.then(|| data_of(&secret))
    }

    fn join_tokens(&self) -> Option<Data> {
        self.read("secrets", "kube-system", auth::authn::join_token::SECRET).map(|secret| data_of(&secret))
    }
}

/// The data of a Secret, decoded. What is no text is left out.
fn data_of(secret: &Value) -> Data {
    let fields = secret.at("data").and_then(Value::as_object).into_iter().flatten();
    let text = |value: &Value| String::from_utf8(STANDARD.decode(value.as_str()?).ok()?).ok();
    fields.filter_map(|(key, value)| Some((key.clone(), text(value)?))).collect()
}

/// What admission reads, out of the registry.
pub struct AdmissionReader {
    registry: Arc<Registry>,
    kept: Kept,
}

impl AdmissionReader {
    pub fn new(registry: Arc<Registry>) -> Self {
        Self { kept: Kept::new(&registry), registry }
    }
}

#[async_trait]
impl admission::Reader for AdmissionReader {
    fn get(&self, resource: &GroupResource, namespace: &str, name: &str) -> Option<Arc<Value>> {
        match self.kept.of(resource) {
            Some(kind) => kind.get(&self.registry, namespace, name),
            None => self.registry.read(&resource.group, &resource.resource, namespace, name).map(Arc::new),
        }
    }

    fn list(&self, resource: &GroupResource, namespace: &str) -> Vec<Arc<Value>> {
        match self.kept.of(resource) {
            Some(kind) => kind.list(&self.registry, namespace),
            None => {
                let stored = self.registry.read_all(&resource.group, &resource.resource, namespace);
                stored.iter().map(|one| Arc::new(one.decode())).collect()
            }
        }
    }

    async fn catch_up(&self) -> ApiResult<bool> {
        self.registry.catch_up().await
    }
}

/// What admission asks about permissions.
pub struct Permissions(pub Arc<dyn Authorizer>);

impl admission::Authorizer for Permissions {
    fn is_allowed(&self, asked: &admission::Permission<'_>) -> bool {
        let attributes = Attributes::resource(asked.user, asked.verb, asked.group, asked.resource)
            .sub(asked.subresource)
            .in_namespace(asked.namespace)
            .named(asked.name);
        self.0.authorize(&attributes).is_allowed()
    }
}

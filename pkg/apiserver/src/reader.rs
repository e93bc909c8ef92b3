//! The registry as the readers that authentication wants: the newest state, in this process.

use std::sync::Arc;

use apimachinery::meta::ObjectExt as _;
use apimachinery::time::parse_seconds;
use auth::token::{BoundObject, Lister};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use registry::Registry;
use serde_json::Value;

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

//! Writes of roles and bindings: nobody grants what he does not hold.

use std::sync::Arc;

use apimachinery::meta::ObjectExt as _;
use apimachinery::{ApiResult, UserInfo};
use registry::Found;
use serde_json::Value;

use crate::context::Context;
use crate::server::Inner;

const GROUP: &str = "rbac.authorization.k8s.io";

/// Checks a new role or binding; other objects pass.
pub fn check(context: &Context<'_>, found: Found, new: &Value, old: Option<&Value>) -> ApiResult<()> {
    match Guarded::new(context, found) {
        Some(guard) => guard.check(&in_namespace(new, &context.info.namespace), old),
        None => Ok(()),
    }
}

/// The check may run before the registry has put the namespace into the object.
fn in_namespace(object: &Value, namespace: &str) -> Value {
    let mut object = object.clone();
    if !namespace.is_empty() && object.namespace().is_empty() {
        object.metadata_mut().insert("namespace".to_owned(), namespace.into());
    }
    object
}

/// The check of an update, which runs each time the object was read anew.
pub struct Guarded {
    server: Arc<Inner>,
    user: Arc<UserInfo>,
}

impl Guarded {
    /// `None` for kinds that grant nothing and for administrators.
    pub fn new(context: &Context<'_>, found: Found) -> Option<Self> {
        if found.resource.group != GROUP || context.user.in_group("system:masters") {
            return None;
        }
        Some(Self { server: context.server.clone(), user: context.user.clone() })
    }

    pub fn check(&self, new: &Value, old: Option<&Value>) -> ApiResult<()> {
        let config = &self.server.config;
        auth::rbac::check_write(&config.policy, &*config.authorizer, &self.user, new, old)
    }
}

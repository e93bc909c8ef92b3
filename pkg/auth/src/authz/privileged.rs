//! Groups that may do everything, whatever policies say.

use std::sync::Arc;

use super::{Authorizer, Decision};
use crate::Attributes;

/// `system:masters`: whoever holds a certificate of the client CA for it is an administrator, even with no policy loaded.
pub struct PrivilegedGroups {
    groups: Vec<String>,
    allowed: Arc<str>,
}

impl Default for PrivilegedGroups {
    fn default() -> Self {
        Self { groups: vec!["system:masters".to_owned()], allowed: Arc::from("") }
    }
}

impl Authorizer for PrivilegedGroups {
    fn authorize(&self, attributes: &Attributes<'_>) -> Decision {
        if self.groups.iter().any(|group| attributes.user.in_group(group)) {
            Decision::Allow(self.allowed.clone())
        } else {
            Decision::none()
        }
    }
}

//! Authorization: may this user do this? Authorizers answer in memory, in microseconds.

mod privileged;
mod review;

use std::sync::Arc;

use crate::Attributes;

pub use privileged::PrivilegedGroups;
pub use review::{ReviewedAccess, access_of_review, rules_of_review};

/// An authorizer's answer. Texts are shared: the common case allocates nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// With what allowed it, for audit and access reviews.
    Allow(Arc<str>),
    /// Final: no other authorizer is asked.
    Deny(String),
    /// The next authorizer decides; if none allows, the request is refused with these reasons.
    NoOpinion(String),
}

impl Decision {
    pub fn is_allowed(&self) -> bool {
        matches!(self, Self::Allow(_))
    }

    /// Nothing to say.
    pub fn none() -> Self {
        Self::NoOpinion(String::new())
    }
}

/// Decides about requests.
pub trait Authorizer: Send + Sync {
    fn authorize(&self, attributes: &Attributes<'_>) -> Decision;
}

/// Asks one authorizer after the other: the first that allows or denies decides.
pub struct Union(pub Vec<Arc<dyn Authorizer>>);

impl Authorizer for Union {
    fn authorize(&self, attributes: &Attributes<'_>) -> Decision {
        let mut reasons: Vec<String> = Vec::new();
        for authorizer in &self.0 {
            match authorizer.authorize(attributes) {
                Decision::NoOpinion(reason) if reason.is_empty() => {}
                Decision::NoOpinion(reason) => reasons.push(reason),
                decided => return decided,
            }
        }
        Decision::NoOpinion(reasons.join("\n"))
    }
}

/// Errs with the 403 that clients see, unless `authorizer` allows.
pub fn require(authorizer: &dyn Authorizer, attributes: &Attributes<'_>) -> apimachinery::ApiResult<()> {
    match authorizer.authorize(attributes) {
        Decision::Allow(_) => Ok(()),
        Decision::Deny(reason) | Decision::NoOpinion(reason) => Err(attributes.forbidden(&reason)),
    }
}

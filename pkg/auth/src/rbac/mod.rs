//! Role-based access control: roles, bindings, and who may do what by them. Start reading at [`Policy`].

mod covers;
mod escalation;
mod index;
mod policy;
mod rule;
mod subject;

pub(crate) use covers::missing as missing_rules;
pub use escalation::check_write;
pub use policy::{Policy, RulesForUser};
pub use rule::Rule;

pub const GROUP: &str = "rbac.authorization.k8s.io";

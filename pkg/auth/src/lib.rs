//! Who makes a request (authentication) and whether it may (authorization), decided in memory.
//!
//! It must not know routes or storage: objects come in through small lister traits and through `upsert`/`delete` calls of
//! whoever watches the store. Start reading at [`authn::Authenticator`] and [`authz::Authorizer`]; [`bootstrap`] holds the
//! roles that every cluster starts with.

mod attributes;
pub mod authn;
pub mod authz;
pub mod bootstrap;
pub mod impersonation;
pub mod node;
pub mod rbac;
pub mod token;

pub use attributes::Attributes;

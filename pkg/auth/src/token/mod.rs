//! ServiceAccount tokens: JSON Web Tokens signed with the cluster's key, bound to a pod, a secret or a node, valid while
//! all of these live. Start reading at [`Issuer`] and [`Verifier`].

pub(crate) mod cache;
mod claims;
mod discovery;
mod issuer;
mod jwt;
mod request;
mod verifier;

pub use claims::{Binding, Claims, ObjectRef};
pub use discovery::{jwks, openid_configuration};
pub use issuer::{IssuedToken, Issuer, TokenSpec};
pub use request::token_request;
pub use verifier::{BoundObject, Lister, Verifier};

/// The issuer of a cluster with the domain `cluster.local`, and by default its only audience.
pub const DEFAULT_ISSUER: &str = "https://kubernetes.default.svc.cluster.local";

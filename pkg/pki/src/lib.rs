//! Keys and certificates of a cluster: certificate authorities, leaves, rustls configurations whose certificates can be
//! swapped while they serve, kubeconfig files and join tokens.
//!
//! It must not know who uses them: no Kubernetes object, no HTTP, no async runtime. Start reading at [`Pki`], the set of
//! files in one directory; [`Authority`] issues, [`tls`] serves.
//!
//! Certificates are built by `x509-cert` and signed by `ring`. The better known `rcgen` keeps only the last `O=` of a
//! subject, and with it a Kubernetes user would lose its groups.

mod authority;
mod csr;
mod error;
mod file;
pub mod inspect;
mod key;
mod kubeconfig;
mod store;
pub mod tls;
mod token;
mod usage;
mod verify;

pub use authority::{Authority, Leaf, Sans, fingerprint};
pub use csr::{CsrError, CsrSubject, SignerName, parse_csr, sans_of};
pub use error::Error;
pub use file::write_private;
pub use key::{Algorithm, KeyPair};
pub use kubeconfig::{Kubeconfig, UserAuth};
pub use rustls::pki_types::CertificateDer;
pub use store::{Options, Pki};
pub use tls::Identity;
pub use token::{JoinToken, join_token, random_bootstrap, random_secret, split_bootstrap};
pub use usage::{Profile, Usage};
pub use verify::{ClientSubject, ClientVerifier};

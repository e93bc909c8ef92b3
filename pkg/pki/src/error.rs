//! What can go wrong with keys, certificates and their files. Texts name the file and the remedy.

use std::io;
use std::path::PathBuf;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot {action} {path}: {source}", path = path.display())]
    Io {
        action: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{path} holds no {what}: {why}; restore it from a backup, or {remedy}", path = path.display())]
    Unreadable { path: PathBuf, what: &'static str, why: String, remedy: &'static str },
    #[error(
        "{cert} and {key} do not belong together; restore both from the same backup, or {remedy}",
        cert = cert.display(), key = key.display()
    )]
    Mismatch { cert: PathBuf, key: PathBuf, remedy: &'static str },
    #[error(
        "{key} is missing while {cert} is there; restore it from a backup, or {remedy}",
        key = key.display(), cert = cert.display()
    )]
    KeyMissing { cert: PathBuf, key: PathBuf, remedy: &'static str },
    #[error("{path} expired at {at}; {remedy}", path = path.display())]
    Expired { path: PathBuf, at: String, remedy: &'static str },
    #[error("key: {0}")]
    Key(&'static str),
    #[error("certificate: {0}")]
    Certificate(String),
    #[error("cannot use the certificate for TLS: {0}")]
    Tls(#[from] rustls::Error),
    #[error("join token: {0}")]
    Token(&'static str),
}

impl From<x509_cert::builder::Error> for Error {
    fn from(error: x509_cert::builder::Error) -> Self {
        Self::Certificate(error.to_string())
    }
}

impl From<der::Error> for Error {
    fn from(error: der::Error) -> Self {
        Self::Certificate(error.to_string())
    }
}

impl From<ring::error::Unspecified> for Error {
    fn from(_: ring::error::Unspecified) -> Self {
        Self::Key("the system's random number generator or the signer failed")
    }
}

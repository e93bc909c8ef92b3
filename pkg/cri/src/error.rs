//! What a call to the runtime can fail with.

use std::time::Duration;

/// A failed call. The runtime's own text is kept whole: users search for it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{0}")]
    NotFound(String),
    #[error("{0}")]
    AlreadyExists(String),
    #[error("{0}")]
    Unimplemented(String),
    #[error("container runtime is not reachable: {0}")]
    Unavailable(String),
    #[error("the container runtime did not answer within {0:?}")]
    DeadlineExceeded(Duration),
    #[error("rpc error: code = {code:?} desc = {message}")]
    Rpc { code: tonic::Code, message: String },
    #[error("bad endpoint {endpoint:?}: {reason}")]
    Endpoint { endpoint: String, reason: String },
}

impl Error {
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound(_))
    }

    /// The text without gRPC's wrapping.
    pub fn message(&self) -> String {
        match self {
            Self::Rpc { message, .. } => message.clone(),
            other => other.to_string(),
        }
    }
}

impl From<tonic::Status> for Error {
    fn from(status: tonic::Status) -> Self {
        let message = status.message().to_owned();
        match status.code() {
            tonic::Code::NotFound => Self::NotFound(message),
            tonic::Code::AlreadyExists => Self::AlreadyExists(message),
            tonic::Code::Unimplemented => Self::Unimplemented(message),
            tonic::Code::Unavailable => Self::Unavailable(message),
            code => Self::Rpc { code, message },
        }
    }
}

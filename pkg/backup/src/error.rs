use std::io;
use std::path::{Path, PathBuf};

use crate::archive::ArchiveError;

/// Why something was not done. Every text says what to do, and nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The snapshot cannot be used.
    #[error("snapshot {}: {why}", path.display())]
    Archive {
        /// Its file.
        path: PathBuf,
        /// What is wrong.
        why: ArchiveError,
    },
    /// The store in the data folder cannot be used.
    #[error(transparent)]
    Store(#[from] raft::OpenError),
    /// Keys cannot be written.
    #[error(transparent)]
    Keys(#[from] pki::Error),
    /// There is no such snapshot.
    #[error("there is no snapshot {name:?} in {}", folder.display())]
    NotFound {
        /// What was asked for.
        name: String,
        /// Where.
        folder: PathBuf,
    },
    /// A text that is no name of a snapshot.
    #[error("{0:?} is no name of a snapshot: letters, digits, dots and dashes")]
    Name(String),
    /// Whoever wanted it does not any more.
    #[error("cancelled: nothing was saved")]
    Cancelled,
    /// There is nothing to revive.
    #[error("{} holds no server's data: give the --data-dir of the server that is to be revived", .0.display())]
    NoServer(PathBuf),
    /// A server is to be the only one, and is not.
    #[error("other servers of the cluster run: {0}; stop them first, for they would lose what they write from here on")]
    Running(String),
    /// The file system failed.
    #[error("{}: {why}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The system's error.
        why: io::Error,
    },
}

impl Error {
    pub(crate) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |why| Self::Io { path, why }
    }

    pub(crate) fn archive(path: &Path) -> impl FnOnce(ArchiveError) -> Self + use<> {
        let path = path.to_owned();
        move |why| Self::Archive { path, why }
    }
}

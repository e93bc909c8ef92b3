//! One snapshot as one file.
//!
//! | Bytes | What |
//! |---|---|
//! | 16 | `coracle-snapshot` |
//! | 4 | the format's number, little-endian as all numbers |
//! | frames | one [`Header`], one of keys, any number of records, one end |
//!
//! A frame is its kind (1 byte), the length of its contents, the length of their zstd form, a CRC-32 of the frame without
//! this field (4 bytes each), and that form. Records are what a checkpoint keeps: key and value, each behind its length. The
//! end says how many records there are, and the SHA-256 of all bytes before it. Behind it there is nothing. So every byte
//! is covered by a checksum, and where a file is damaged is known within a quarter of a megabyte.
//!
//! Writing and checking need the memory of one frame.

mod frame;
mod read;
mod write;

use std::collections::BTreeMap;
use std::io;

use serde::{Deserialize, Serialize};

pub use read::{check, read, read_header};
pub use write::write;

/// The format that this version writes, and the only one that it reads.
const FORMAT: u32 = 1;
const MAGIC: &[u8; 16] = b"coracle-snapshot";

/// What a snapshot says about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// The version of Kubernetes that its server spoke, as `v1.37.0`.
    pub version: String,
    /// The server that saved it.
    pub node: String,
    /// Unix seconds.
    pub created: u64,
    /// The revision of the state.
    pub revision: u64,
    /// How many objects there are.
    pub objects: u64,
    /// The cluster's number.
    pub cluster: Option<u64>,
    /// What the cluster was before it was restored or reset, the last one first.
    pub earlier: Vec<u64>,
    /// The settings that all servers of the cluster share, by the names of their flags.
    pub settings: BTreeMap<String, String>,
}

/// Files by name: the shared keys of a cluster's servers, and their token.
pub type Files = Vec<(String, String)>;

/// What goes into a snapshot.
pub struct Contents {
    /// `revision` and `objects` are the state's, whatever it says.
    pub header: Header,
    /// Secret.
    pub files: Files,
    /// Everything that is stored.
    pub state: mvcc::Snapshot,
}

/// What was read.
pub struct Archive {
    /// What it says about itself.
    pub header: Header,
    /// Secret.
    pub files: Files,
    /// Everything that was stored.
    pub state: mvcc::Snapshot,
}

/// Why a snapshot cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// Another kind of file.
    #[error("it is no snapshot of Coracle")]
    Foreign,
    /// A version that this one does not know.
    #[error("it has format {0}, this version knows {FORMAT}: use the version that saved it")]
    Format(u32),
    /// It is not what was saved.
    #[error("it is damaged at byte {offset}: {detail}")]
    Damaged {
        /// Where the frame that cannot be used begins.
        offset: u64,
        /// What is wrong.
        detail: String,
    },
    /// The file system failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// The last frame.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct End {
    records: u64,
    /// Of all bytes before this frame, in hexadecimal digits.
    sha256: String,
}

#[cfg(test)]
pub(crate) mod tests;

//! The Kubernetes storage contract on `mvcc` and `raft`: create, get, list, guaranteed_update, delete, watch.
//!
//! What callers may rely on:
//! - A write that returned is on stable storage, on a majority of the servers, and visible to every later read on the
//!   same server, and on any other behind a [`Storage::read_barrier`]; one that failed with anything but
//!   [`StorageError::Unconfirmed`] did not happen.
//! - Each write has a revision of its own; it is in the object's bytes, and nowhere else is one made.
//! - A list is the state at exactly one revision, which it names; its further pages are of the same revision.
//! - A watch from revision r shows every change of its prefix after r, once, in order, with the object before it; or it
//!   ends with an error that says to list again.
//! - Reads touch no disk and parse nothing: bodies are served as they were written.
//!
//! It must not know HTTP, authentication, kinds or selectors.
//!
//! Start reading at [`Storage`]; then [`NewObject::encode`] for what is stored.

mod attributes;
mod encodings;
mod group;
mod list;
mod object;
mod resource_version;
mod state;
mod storage;
mod update;
mod watch;

pub use attributes::Attributes;
pub use list::{At, ListOptions, Page, Predicate};
pub use mvcc::{EventKind, Revision};
pub use object::{NewObject, StoredObject};
pub use raft::{Integrity, Member, OpenError, PEER_SERVER_NAME, PeerConfig, Problem, StateReport, Verified, verify};
pub use resource_version::{InvalidResourceVersion, ResourceVersion};
pub use storage::{Config, Statistics, Storage, StorageError};
pub use update::{Change, Companion, Outcome, UpdateError};
pub use watch::{Watch, WatchEnd, WatchEvent};

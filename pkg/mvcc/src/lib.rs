//! The revisioned key-value state machine under the API's objects.
//!
//! Every committed write gets a revision of its own: n writes are n events, in order. Live state is an ordered
//! persistent map, so a snapshot costs one reference count; recent changes are kept in a ring bounded by bytes and age,
//! from which watches are replayed and exact older revisions are rebuilt. What fell out of the ring is compacted.
//!
//! A value is an opaque body plus opaque attributes. The one thing done to a body is the *stamp*: the decimal text of
//! the revision that wrote it is spliced in at an offset that the writer chose, so that bytes can be served as they are.
//!
//! It must not know Raft, JSON, HTTP, or what a key means (save that watches are grouped by prefixes that end in `/`).
//!
//! Start reading at [`Store::apply`]; then [`Map`](map::Map), [`Snapshot`] and [`Watcher`].

mod codec;
mod digest;
mod feed;
mod map;
mod record;
mod revision;
mod ring;
mod snapshot;
mod store;
mod transaction;

pub use codec::Malformed;
pub use digest::Digest;
pub use feed::{WatchEnd, Watcher};
pub use record::{Event, EventKind, Record};
pub use revision::Revision;
pub use snapshot::{Range, Snapshot, SnapshotBuilder};
pub use store::{Limits, OutOfRange, Statistics, Store};
pub use transaction::{Operation, Outcome, Precondition, Transaction};

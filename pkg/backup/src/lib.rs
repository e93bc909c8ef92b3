//! Backups of a cluster and what they are for: snapshots in one file each, restoring one, and reviving a server of several
//! from what it has.
//!
//! A snapshot is everything that a cluster is: its objects at one revision, its authorities with their keys, its server
//! token, and the settings that its servers must share. It is as secret as those keys. Whoever restores it has the same
//! cluster for all who trusted it (kubeconfigs, tokens, certificates), on whatever host and addresses; for its servers it
//! is a new one (see [`raft::offline`]), and its revisions go on far beyond ([`revision`]), so that no client takes the new
//! history for the old.
//!
//! Nothing that was there is overwritten: old folders are moved aside, in one step with the new one's taking their place.
//!
//! It must not know HTTP, flags, or what an object means. Start reading at [`archive`]; then [`folder`] and [`restore`].

pub mod archive;
mod error;
pub mod folder;
mod place;
pub mod restore;
pub mod revision;
mod saving;

pub use archive::{Archive, ArchiveError, Contents, Header};
pub use error::Error;
pub use saving::{Progress, Saving};

//! Server-side apply and the tracking of who set which field (KEP-555): the pure part.
//!
//! A [`FieldSet`] is a set of fields; [`Managers`] are the entries of `metadata.managedFields`. [`track_update`] says who
//! owns what after a create, update or patch, [`apply()`] merges an applied configuration into the live object. What a field
//! is comes from the schema ([`crate::patch::MergeSchema`]); without one, maps are taken as fields and lists as a whole.
//!
//! Start reading at [`FieldSet`], then `compare`, then `updater`.

mod apply;
mod check;
mod claims;
mod collect;
mod compare;
mod conflict;
mod element;
mod entry;
mod fields_v1;
mod filter;
mod last_applied;
mod merge;
mod ordered;
mod set;
mod shape;
mod track;
mod updater;

#[cfg(test)]
mod tests;

pub use apply::{Applied, apply};
pub use check::go_text;
pub use conflict::Conflicts;
pub use element::{Path, PathElement};
pub use entry::{Entry, Managers, Operation};
pub use filter::{Filter, Pattern};
pub use ordered::Ordered;
pub use set::{FieldSet, Spot};
pub use track::{MANAGER_LENGTH_MAX, Writer, track_create, track_update};
pub use updater::{Updater, Versions};

//! `events.k8s.io`: the newer view of the core group's events, kept in the same store.

use crate::resource::Resource;

pub const ROWS: &[Resource] = &[Resource {
    short_names: &["ev"],
    storage_group: "",
    ..Resource::namespaced("events.k8s.io", "v1", "events", "event", "Event")
}];

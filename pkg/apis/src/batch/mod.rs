//! Rows of `batch`.

mod cron;
mod cronjob;
mod indexes;
mod job;
mod job_policies;
mod job_spec;
mod job_status;
mod job_update;

use crate::resource::{Resource, Subresource};

const fn row(plural: &'static str, singular: &'static str, kind: &'static str) -> Resource {
    Resource {
        categories: &["all"],
        subresources: &[Subresource::STATUS],
        ..Resource::namespaced("batch", "v1", plural, singular, kind)
    }
}

pub const ROWS: &[Resource] = &[cronjob::ROW, job::ROW];

#[cfg(test)]
mod tests;

//! Rows of `batch`.

use crate::resource::{Resource, Strategy, Subresource};

const fn row(plural: &'static str, singular: &'static str, kind: &'static str) -> Resource {
    Resource {
        categories: &["all"],
        strategy: Strategy::SPEC_STATUS,
        subresources: &[Subresource::STATUS],
        ..Resource::namespaced("batch", "v1", plural, singular, kind)
    }
}

pub const ROWS: &[Resource] = &[
    Resource { short_names: &["cj"], ..row("cronjobs", "cronjob", "CronJob") },
    Resource { strategy: Strategy { orphan_by_default: true, ..Strategy::SPEC_STATUS }, ..row("jobs", "job", "Job") },
];

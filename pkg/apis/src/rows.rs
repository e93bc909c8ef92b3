//! All rows, in the order in which discovery lists the groups.

use std::sync::LazyLock;

use crate::resource::Resource;

static ALL: LazyLock<Vec<Resource>> = LazyLock::new(|| {
    let groups: &[&[Resource]] = &[
        crate::core::ROWS,
        crate::apiextensions::AGGREGATION_ROWS,
        crate::apps::ROWS,
        crate::events::ROWS,
        crate::auth::ROWS,
        crate::autoscaling::ROWS,
        crate::batch::ROWS,
        crate::certificates::ROWS,
        crate::networking::ROWS,
        crate::policy::ROWS,
        crate::rbac::ROWS,
        crate::storage::ROWS,
        crate::admissionregistration::ROWS,
        crate::apiextensions::ROWS,
        crate::scheduling::ROWS,
        crate::coordination::ROWS,
        crate::scheduling::NODE_ROWS,
        crate::networking::DISCOVERY_ROWS,
        crate::flowcontrol::ROWS,
        crate::dynamic_resources::ROWS,
        crate::storage::MIGRATION_ROWS,
    ];
    groups.concat()
});

/// Every built-in resource.
pub fn all() -> &'static [Resource] {
    &ALL
}

/// The row of `plural` in `group`.
pub fn find(group: &str, plural: &str) -> Option<&'static Resource> {
    all().iter().find(|r| r.group == group && r.plural == plural)
}

/// The row of `kind` in `group`.
pub fn by_kind(group: &str, kind: &str) -> Option<&'static Resource> {
    all().iter().find(|r| r.group == group && r.kind == kind)
}

#[cfg(test)]
mod tests;

//! Rows of `storage.k8s.io` and `storagemigration.k8s.io`.

mod attachment;
mod class;
mod csi;
mod migration;

use crate::resource::Resource;

const GROUP: &str = "storage.k8s.io";

pub const ROWS: &[Resource] =
    &[csi::DRIVER, csi::NODE, csi::CAPACITY, class::STORAGE, attachment::ROW, class::ATTRIBUTES];

pub const MIGRATION_ROWS: &[Resource] = &[migration::ROW];

#[cfg(test)]
mod tests;

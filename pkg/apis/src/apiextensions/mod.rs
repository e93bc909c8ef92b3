//! Rows of `apiextensions.k8s.io` and `apiregistration.k8s.io`.

mod defaults;
mod definition;
mod expression_types;
mod expressions;
mod format;
mod path;
mod schema;
mod service;
mod standard;
mod value;
mod version;

use crate::resource::Resource;

pub const ROWS: &[Resource] = &[definition::ROW];

pub const AGGREGATION_ROWS: &[Resource] = &[service::ROW];

#[cfg(test)]
mod tests;

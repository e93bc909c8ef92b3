//! Rows of the core group.

pub mod claim;
mod claim_update;
mod config;
pub(crate) mod controller;
mod endpoints;
mod limits;
mod namespace;
mod node;
pub mod pod;
mod quota;
pub(crate) mod service;
mod volume;
mod volumes;

use crate::resource::Resource;

const CONNECT: &[&str] = &["create", "get"];
const PROXY: &[&str] = &["create", "delete", "get", "patch", "update"];

pub const ROWS: &[Resource] = &[
    Resource::namespaced("", "v1", "bindings", "binding", "Binding").review(),
    node::COMPONENT_STATUS,
    config::CONFIG_MAP,
    endpoints::ROW,
    crate::events::CORE,
    limits::LIMIT_RANGE,
    namespace::ROW,
    node::NODE,
    volumes::CLAIM,
    volumes::VOLUME,
    pod::ROW,
    controller::POD_TEMPLATE,
    controller::REPLICATION_CONTROLLER,
    quota::RESOURCE_QUOTA,
    config::SECRET,
    config::SERVICE_ACCOUNT,
    service::ROW,
];

#[cfg(test)]
mod tests;

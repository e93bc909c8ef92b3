//! Rows of `networking.k8s.io` and `discovery.k8s.io`.

mod address;
mod endpointslice;
mod ingress;
mod policy;

use crate::resource::Resource;

const GROUP: &str = "networking.k8s.io";

pub const ROWS: &[Resource] = &[ingress::CLASS, ingress::ROW, address::IP, policy::ROW, address::SERVICE_CIDR];

pub const DISCOVERY_ROWS: &[Resource] = &[endpointslice::ROW];

#[cfg(test)]
mod tests;

//! What a node's kubelet may do: read what its own pods need, and write about itself. Start reading at [`NodeAuthorizer`].

mod authorizer;
mod graph;
mod references;

pub use authorizer::NodeAuthorizer;
pub use graph::{Kind, NodeGraph};

use apimachinery::UserInfo;

/// The node that a user is, if it is one: `system:node:<name>` in the group `system:nodes`.
pub fn node_of(user: &UserInfo) -> Option<&str> {
    user.name.strip_prefix("system:node:").filter(|_| user.in_group("system:nodes"))
}

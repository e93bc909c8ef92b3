//! What those may do who join the cluster, and the loops that let them in. Coracle's own: upstream leaves it to installers.

use crate::authn::join_token::SERVER_USER;

use super::table::{BindingRow, RoleRow, URLS, Who, role};

/// The group of every token with which nodes may join.
pub const NODE_TOKENS: &str = "system:bootstrappers:coracle:default-node-token";
/// Where a joiner reads what it has to know of the cluster.
pub const CONFIG_PATH: &str = "/v1-coracle/config";
/// Where a server gets what all servers share, and where it asks to be one of them.
pub const SERVERS_PATH: &str = "/v1-coracle/servers";
/// Where an administrator reads how the store does.
pub const STORE_PATH: &str = "/v1-coracle/store";
/// Where anyone reads the certificates of the servers' authority; a token's hash tells whether they are the right ones.
pub const AUTHORITY_PATH: &str = "/cacerts";

const JOINERS: Who = Who::Group(NODE_TOKENS);
const NODES: Who = Who::Group("system:nodes");
const MANAGER: Who = Who::User("system:kube-controller-manager");
const CERTIFICATES: Who = Who::Account("kube-system", "certificate-controller");

pub const CLUSTER_ROLES: &[RoleRow] = &[
    // A name is given away only after a look at the newest state.
    role("coracle:node-approver", &[("get", "", "nodes", "")]),
    role("coracle:joiner", &[("get", URLS, CONFIG_PATH, "")]),
    // The endpoint itself looks at the token once more.
    role("coracle:server-joiner", &[("post", URLS, "/v1-coracle/servers,/v1-coracle/servers/*", "")]),
    role("coracle:public", &[("get", URLS, AUTHORITY_PATH, "")]),
];

const fn bound(name: &'static str, role: &'static str, who: &'static [Who]) -> BindingRow {
    BindingRow { name, role, who }
}

pub const CLUSTER_BINDINGS: &[BindingRow] = &[
    bound("coracle:node-approver", "coracle:node-approver", &[CERTIFICATES, MANAGER]),
    bound("coracle:joiner", "coracle:joiner", &[JOINERS, NODES]),
    bound(
        "coracle:public",
        "coracle:public",
        &[Who::Group("system:authenticated"), Who::Group("system:unauthenticated")],
    ),
    bound("coracle:server-joiner", "coracle:server-joiner", &[Who::User(SERVER_USER)]),
    bound("coracle:node-bootstrapper", "system:node-bootstrapper", &[JOINERS]),
    bound(
        "coracle:node-autoapprove-bootstrap",
        "system:certificates.k8s.io:certificatesigningrequests:nodeclient",
        &[JOINERS],
    ),
    bound(
        "coracle:node-autoapprove-certificate-rotation",
        "system:certificates.k8s.io:certificatesigningrequests:selfnodeclient",
        &[NODES],
    ),
    bound(
        "coracle:kubelet-serving-approver",
        "system:certificates.k8s.io:kubelet-serving-approver",
        &[CERTIFICATES, MANAGER],
    ),
    // The service proxy and the DNS of an agent ask as its node.
    bound("coracle:node-proxier", "system:node-proxier", &[NODES]),
];

/// In `kube-system`.
pub const ROLES: &[RoleRow] =
    &[role("coracle:node-identity", &[("create,delete,get,list,patch,update,watch", "", "secrets", "")])];

/// In `kube-system`.
pub const BINDINGS: &[BindingRow] =
    &[bound("coracle:node-identity", "coracle:node-identity", &[CERTIFICATES, MANAGER])];

//! Roles and bindings inside of `kube-system` and `kube-public`.

use super::table::{BindingRow, EVENTS, READ, RoleRow, Who, role};

pub const SYSTEM: &str = "kube-system";
const PUBLIC: &str = "kube-public";

#[rustfmt::skip]
pub const ROLES: &[(&str, RoleRow)] = &[
    (PUBLIC, role("system:controller:bootstrap-signer", &[
        (READ, "", "configmaps", ""),
        ("update", "", "configmaps", "cluster-info"),
        EVENTS,
    ])),
    (SYSTEM, role("extension-apiserver-authentication-reader", &[
        (READ, "", "configmaps", "extension-apiserver-authentication"),
    ])),
    (SYSTEM, role("system:controller:bootstrap-signer", &[(READ, "", "secrets", "")])),
    (SYSTEM, role("system:controller:cloud-provider", &[("create,get,list,watch", "", "configmaps", "")])),
    (SYSTEM, role("system:controller:token-cleaner", &[("delete,get,list,watch", "", "secrets", ""), EVENTS])),
    (SYSTEM, role("system::leader-locking-kube-controller-manager", &[
        ("watch", "", "configmaps", ""),
        ("get,update", "", "configmaps", "kube-controller-manager"),
        ("create,get,list,update,watch", "coordination.k8s.io", "leases", ""),
        ("create,get,list,update,watch", "coordination.k8s.io", "leasecandidates", ""),
    ])),
    (SYSTEM, role("system::leader-locking-kube-scheduler", &[
        ("watch", "", "configmaps", ""),
        ("get,update", "", "configmaps", "kube-scheduler"),
        ("create,get,list,update,watch", "coordination.k8s.io", "leases", ""),
        ("create,get,list,update,watch", "coordination.k8s.io", "leasecandidates", ""),
    ])),
];

const fn bound(name: &'static str, role: &'static str, who: &'static [Who]) -> BindingRow {
    BindingRow { name, role, who }
}

#[rustfmt::skip]
pub const BINDINGS: &[(&str, BindingRow)] = &[
    (PUBLIC, bound("system:controller:bootstrap-signer", "system:controller:bootstrap-signer", &[
        Who::Account(SYSTEM, "bootstrap-signer"),
    ])),
    (SYSTEM, bound("system:controller:bootstrap-signer", "system:controller:bootstrap-signer", &[
        Who::Account(SYSTEM, "bootstrap-signer"),
    ])),
    (SYSTEM, bound("system:controller:cloud-provider", "system:controller:cloud-provider", &[
        Who::Account(SYSTEM, "cloud-provider"),
    ])),
    (SYSTEM, bound("system:controller:token-cleaner", "system:controller:token-cleaner", &[
        Who::Account(SYSTEM, "token-cleaner"),
    ])),
    (SYSTEM, bound("system:extension-apiserver-authentication-reader", "extension-apiserver-authentication-reader", &[
        Who::User("system:kube-controller-manager"),
        Who::User("system:kube-scheduler"),
    ])),
    (SYSTEM, bound("system::leader-locking-kube-controller-manager", "system::leader-locking-kube-controller-manager", &[
        Who::User("system:kube-controller-manager"),
        Who::Account(SYSTEM, "kube-controller-manager"),
    ])),
    (SYSTEM, bound("system::leader-locking-kube-scheduler", "system::leader-locking-kube-scheduler", &[
        Who::User("system:kube-scheduler"),
        Who::Account(SYSTEM, "kube-scheduler"),
    ])),
];

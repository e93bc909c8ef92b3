//! One ClusterRole for each controller, bound to its ServiceAccount in `kube-system` and to `system:kube-controller-manager`,
//! so that controllers may run each under its own account or all under the one user.

use serde_json::Value;

use super::table::{BindingRow, EVENTS, READ, RuleRow, Who, rules};

const APPS: &str = "apps,extensions";
const CERTIFICATES: &str = "certificates.k8s.io";
const DISCOVERY: &str = "discovery.k8s.io";
const NETWORKING: &str = "networking.k8s.io";
const RESOURCE: &str = "resource.k8s.io";
const STORAGE: &str = "storage.k8s.io";
const READ_WRITE: &str = "create,delete,get,list,patch,update,watch";

/// ServiceAccount and rules; the role is `system:controller:<account>`.
// One line a rule reads better than what rustfmt makes of it.
#[rustfmt::skip]
pub const CONTROLLERS: &[(&str, &[RuleRow])] = &[
    ("attachdetach-controller", &[
        ("list,watch", "", "persistentvolumeclaims,persistentvolumes", ""),
        (READ, "", "nodes", ""),
        ("patch,update", "", "nodes/status", ""),
        ("list,watch", "", "pods", ""),
        EVENTS,
        ("create,delete,get,list,watch", STORAGE, "volumeattachments", ""),
        (READ, STORAGE, "csidrivers", ""),
        (READ, STORAGE, "csinodes", ""),
    ]),
    ("certificate-controller", &[
        ("delete,get,list,watch", CERTIFICATES, "certificatesigningrequests", ""),
        ("update", CERTIFICATES, "certificatesigningrequests/approval,certificatesigningrequests/status", ""),
        ("approve", CERTIFICATES, "signers", "kubernetes.io/kube-apiserver-client-kubelet"),
        ("sign", CERTIFICATES, "signers", "kubernetes.io/kube-apiserver-client,kubernetes.io/kube-apiserver-client-kubelet,kubernetes.io/kubelet-serving,kubernetes.io/legacy-unknown"),
        ("create", "authorization.k8s.io", "subjectaccessreviews", ""),
        EVENTS,
    ]),
    ("clusterrole-aggregation-controller", &[
        ("escalate,get,list,patch,update,watch", "rbac.authorization.k8s.io", "clusterroles", ""),
    ]),
    ("cronjob-controller", &[
        ("get,list,update,watch", "batch", "cronjobs", ""),
        (READ_WRITE, "batch", "jobs", ""),
        ("update", "batch", "cronjobs/status", ""),
        ("update", "batch", "cronjobs/finalizers", ""),
        ("delete,list,watch", "", "pods", ""),
        EVENTS,
    ]),
    ("daemon-set-controller", &[
        (READ, APPS, "daemonsets", ""),
        ("update", APPS, "daemonsets/status", ""),
        ("update", APPS, "daemonsets/finalizers", ""),
        ("list,watch", "", "nodes", ""),
        ("create,delete,list,patch,watch", "", "pods", ""),
        ("create", "", "pods/binding", ""),
        (READ_WRITE, "apps", "controllerrevisions", ""),
        EVENTS,
    ]),
    ("deployment-controller", &[
        ("get,list,update,watch", APPS, "deployments", ""),
        ("update", APPS, "deployments/status", ""),
        ("update", APPS, "deployments/finalizers", ""),
        (READ_WRITE, APPS, "replicasets", ""),
        ("get,list,update,watch", "", "pods", ""),
        EVENTS,
    ]),
    ("device-taint-eviction-controller", &[
        ("delete,get,list,watch", "", "pods", ""),
        ("patch,update", "", "pods/status", ""),
        (READ, RESOURCE, "resourceclaims", ""),
        (READ, RESOURCE, "resourceslices", ""),
        (READ, RESOURCE, "deviceclasses", ""),
        EVENTS,
    ]),
    ("disruption-controller", &[
        (READ, APPS, "deployments", ""),
        (READ, APPS, "replicasets", ""),
        (READ, "", "replicationcontrollers", ""),
        (READ, "policy", "poddisruptionbudgets", ""),
        (READ, "apps", "statefulsets", ""),
        ("update", "policy", "poddisruptionbudgets/status", ""),
        ("patch,update", "", "pods/status", ""),
        ("get", "*", "*/scale", ""),
        EVENTS,
    ]),
    ("endpoint-controller", &[
        (READ, "", "pods,services", ""),
        ("create,delete,get,list,update,watch", "", "endpoints", ""),
        ("create", "", "endpoints/restricted", ""),
        EVENTS,
    ]),
    ("endpointslice-controller", &[
        (READ, "", "nodes,pods,services", ""),
        ("update", "", "services/finalizers", ""),
        ("create,delete,get,list,update,watch", DISCOVERY, "endpointslices", ""),
        EVENTS,
    ]),
    ("endpointslicemirroring-controller", &[
        (READ, "", "endpoints,services", ""),
        ("update", "", "services/finalizers", ""),
        ("update", "", "endpoints/finalizers", ""),
        ("create,delete,get,list,update,watch", DISCOVERY, "endpointslices", ""),
        EVENTS,
    ]),
    ("ephemeral-volume-controller", &[
        (READ, "", "pods", ""),
        ("update", "", "pods/finalizers", ""),
        ("create,get,list,watch", "", "persistentvolumeclaims", ""),
        EVENTS,
    ]),
    ("expand-controller", &[
        ("get,list,patch,update,watch", "", "persistentvolumes", ""),
        ("patch,update", "", "persistentvolumeclaims/status", ""),
        (READ, "", "persistentvolumeclaims", ""),
        EVENTS,
    ]),
    ("generic-garbage-collector", &[("delete,get,list,patch,update,watch", "*", "*", ""), EVENTS]),
    ("horizontal-pod-autoscaler", &[
        (READ, "autoscaling", "horizontalpodautoscalers", ""),
        ("update", "autoscaling", "horizontalpodautoscalers/status", ""),
        ("get,update", "*", "*/scale", ""),
        ("list,watch", "", "pods", ""),
        ("list,watch", "metrics.k8s.io", "pods", ""),
        (READ, "custom.metrics.k8s.io", "*", ""),
        (READ, "external.metrics.k8s.io", "*", ""),
        EVENTS,
    ]),
    ("job-controller", &[
        ("get,list,patch,update,watch", "batch", "jobs", ""),
        ("update", "batch", "jobs/status", ""),
        ("update", "batch", "jobs/finalizers", ""),
        ("create,delete,list,patch,watch", "", "pods", ""),
        EVENTS,
    ]),
    ("legacy-service-account-token-cleaner", &[
        ("get", "", "configmaps", "kube-apiserver-legacy-service-account-token-tracking"),
        ("delete,patch", "", "secrets", ""),
    ]),
    ("namespace-controller", &[
        ("delete,get,list,watch", "", "namespaces", ""),
        ("update", "", "namespaces/finalize,namespaces/status", ""),
        ("delete,deletecollection,get,list,watch", "*", "*", ""),
    ]),
    ("node-controller", &[
        ("delete,get,list,patch,update,watch", "", "nodes", ""),
        ("patch,update", "", "nodes/status", ""),
        ("patch,update", "", "pods/status", ""),
        ("delete,get,list,watch", "", "pods", ""),
        EVENTS,
    ]),
    ("persistent-volume-binder", &[
        ("create,delete,get,list,update,watch", "", "persistentvolumes", ""),
        ("update", "", "persistentvolumes/status", ""),
        ("get,list,update,watch", "", "persistentvolumeclaims", ""),
        ("update", "", "persistentvolumeclaims/status", ""),
        ("create,delete,get,list,watch", "", "pods", ""),
        (READ, STORAGE, "storageclasses", ""),
        ("list,watch", "", "nodes", ""),
        EVENTS,
        ("watch", "", "events", ""),
    ]),
    ("pod-garbage-collector", &[
        ("delete,list,watch", "", "pods", ""),
        (READ, "", "nodes", ""),
        ("patch", "", "pods/status", ""),
    ]),
    ("podcertificaterequestcleaner", &[("delete,get,list,watch", CERTIFICATES, "podcertificaterequests", "")]),
    ("pv-protection-controller", &[("get,list,update,watch", "", "persistentvolumes", ""), EVENTS]),
    ("pvc-protection-controller", &[
        ("get,list,update,watch", "", "persistentvolumeclaims", ""),
        ("update", "", "persistentvolumeclaims/status", ""),
        (READ, "", "pods", ""),
        EVENTS,
    ]),
    ("replicaset-controller", &[
        ("get,list,update,watch", APPS, "replicasets", ""),
        ("update", APPS, "replicasets/status", ""),
        ("update", APPS, "replicasets/finalizers", ""),
        ("create,delete,list,patch,watch", "", "pods", ""),
        EVENTS,
    ]),
    ("replication-controller", &[
        ("get,list,update,watch", "", "replicationcontrollers", ""),
        ("update", "", "replicationcontrollers/status", ""),
        ("update", "", "replicationcontrollers/finalizers", ""),
        ("create,delete,list,patch,watch", "", "pods", ""),
        EVENTS,
    ]),
    ("resource-claim-controller", &[
        (READ, "", "pods", ""),
        ("update", "", "pods/finalizers", ""),
        ("create,delete,get,list,watch", RESOURCE, "resourceclaims", ""),
        (READ, RESOURCE, "resourceclaimtemplates", ""),
        ("patch,update", RESOURCE, "resourceclaims,resourceclaims/status", ""),
        ("patch,update", "", "pods/status", ""),
        EVENTS,
        ("patch,update", RESOURCE, "resourceclaims/binding", ""),
    ]),
    ("resourcequota-controller", &[("list,watch", "*", "*", ""), ("update", "", "resourcequotas/status", ""), EVENTS]),
    ("root-ca-cert-publisher", &[("create,update", "", "configmaps", ""), EVENTS]),
    ("route-controller", &[("list,watch", "", "nodes", ""), ("patch", "", "nodes/status", ""), EVENTS]),
    ("selinux-warning-controller", &[
        EVENTS,
        (READ, "", "persistentvolumes", ""),
        (READ, "", "persistentvolumeclaims", ""),
        (READ, "", "pods", ""),
        (READ, STORAGE, "csidrivers", ""),
    ]),
    ("service-account-controller", &[("create", "", "serviceaccounts", ""), EVENTS]),
    ("service-cidrs-controller", &[
        ("get,list,patch,update,watch", NETWORKING, "servicecidrs", ""),
        ("patch,update", NETWORKING, "servicecidrs/finalizers", ""),
        ("patch,update", NETWORKING, "servicecidrs/status", ""),
        (READ, NETWORKING, "ipaddresses", ""),
        EVENTS,
    ]),
    ("service-controller", &[
        (READ, "", "services", ""),
        ("patch,update", "", "services/status", ""),
        ("list,watch", "", "nodes", ""),
        EVENTS,
    ]),
    ("statefulset-controller", &[
        ("list,watch", "", "pods", ""),
        (READ, "apps", "statefulsets", ""),
        ("update", "apps", "statefulsets/status", ""),
        ("update", "apps", "statefulsets/finalizers", ""),
        ("create,delete,get,patch,update", "", "pods", ""),
        (READ_WRITE, "apps", "controllerrevisions", ""),
        ("create,get,list,watch", "", "persistentvolumeclaims", ""),
        ("delete,update", "", "persistentvolumeclaims", ""),
        ("update", "", "pods/finalizers", ""),
        EVENTS,
    ]),
    ("ttl-after-finished-controller", &[("delete,get,list,watch", "batch", "jobs", ""), EVENTS]),
    ("ttl-controller", &[("list,patch,update,watch", "", "nodes", ""), EVENTS]),
    ("validatingadmissionpolicy-status-controller", &[
        (READ, "admissionregistration.k8s.io", "validatingadmissionpolicies", ""),
        ("get,patch,update", "admissionregistration.k8s.io", "validatingadmissionpolicies/status", ""),
        EVENTS,
    ]),
    ("volumeattributesclass-protection-controller", &[
        (READ, "", "persistentvolumeclaims", ""),
        (READ, "", "persistentvolumes", ""),
        ("get,list,update,watch", STORAGE, "volumeattributesclasses", ""),
        EVENTS,
    ]),
];

fn name_of(account: &str) -> String {
    format!("system:controller:{account}")
}

pub fn cluster_roles() -> impl Iterator<Item = Value> {
    CONTROLLERS.iter().map(|(account, rows)| {
        let mut role = super::object("ClusterRole", "", &name_of(account));
        role["rules"] = rules(rows).into();
        role
    })
}

pub fn cluster_role_bindings() -> impl Iterator<Item = Value> {
    const WITHOUT_NAME: BindingRow = BindingRow { name: "", role: "", who: &[] };
    CONTROLLERS.iter().map(|(account, _)| {
        let mut binding = WITHOUT_NAME.cluster_role_binding();
        let name = name_of(account);
        let subjects = [Who::Account("kube-system", account), Who::User("system:kube-controller-manager")];
        binding["subjects"] = subjects.iter().map(Who::subject).collect();
        binding["roleRef"]["name"] = name.as_str().into();
        binding["metadata"]["name"] = name.into();
        binding
    })
}

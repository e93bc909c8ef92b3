//! ClusterRoles that are not a single controller's, and their bindings.

use super::table::{ALL, BindingRow, EVENTS, READ, RoleRow, RuleRow, URLS, WRITE, Who, binding, role};

const RBAC: &str = "rbac.authorization.k8s.io";
const AUTHENTICATION: &str = "authentication.k8s.io";
const AUTHORIZATION: &str = "authorization.k8s.io";
const CERTIFICATES: &str = "certificates.k8s.io";
const COORDINATION: &str = "coordination.k8s.io";
const DISCOVERY: &str = "discovery.k8s.io";
const NETWORKING: &str = "networking.k8s.io";
const RESOURCE: &str = "resource.k8s.io";
const STORAGE: &str = "storage.k8s.io";

/// What a node may do (`system:node`).
pub const NODE: &[RuleRow] = &[
    ("create", AUTHENTICATION, "tokenreviews", ""),
    ("create", AUTHORIZATION, "localsubjectaccessreviews,subjectaccessreviews", ""),
    (READ, "", "services", ""),
    ("create,get,list,watch", "", "nodes", ""),
    ("patch,update", "", "nodes/status", ""),
    ("patch,update", "", "nodes", ""),
    ("create,patch,update", "", "events", ""),
    (READ, "", "pods", ""),
    ("create,delete", "", "pods", ""),
    ("patch,update", "", "pods/status", ""),
    ("create", "", "pods/eviction", ""),
    (READ, "", "configmaps,secrets", ""),
    ("get", "", "persistentvolumeclaims,persistentvolumes", ""),
    ("get", "", "endpoints", ""),
    ("create,get,list,watch", CERTIFICATES, "certificatesigningrequests", ""),
    ("create,delete,get,patch,update", COORDINATION, "leases", ""),
    ("get", STORAGE, "volumeattachments", ""),
    ("create", "", "serviceaccounts/token", ""),
    ("get,patch,update", "", "persistentvolumeclaims/status", ""),
    (READ, STORAGE, "csidrivers", ""),
    ("create,delete,get,patch,update", STORAGE, "csinodes", ""),
    (READ, "node.k8s.io", "runtimeclasses", ""),
    ("get", RESOURCE, "resourceclaims", ""),
    ("create,delete,deletecollection,get,list,patch,update,watch", RESOURCE, "resourceslices", ""),
    (READ, CERTIFICATES, "clustertrustbundles", ""),
    ("create,get,list,watch", CERTIFICATES, "podcertificaterequests", ""),
];

const CORE_WORKLOADS: &str = "pods,pods/attach,pods/exec,pods/portforward,pods/proxy";
const EXTENSIONS_READ: &str = "daemonsets,daemonsets/status,deployments,deployments/scale,deployments/status,ingresses,ingresses/status,networkpolicies,replicasets,replicasets/scale,replicasets/status,replicationcontrollers/scale";
const EXTENSIONS_WRITE: &str = "daemonsets,deployments,deployments/rollback,deployments/scale,ingresses,networkpolicies,replicasets,replicasets/scale,replicationcontrollers/scale";
const APPS_READ: &str = "controllerrevisions,daemonsets,daemonsets/status,deployments,deployments/scale,deployments/status,replicasets,replicasets/scale,replicasets/status,statefulsets,statefulsets/scale,statefulsets/status";
const APPS_WRITE: &str = "daemonsets,deployments,deployments/rollback,deployments/scale,replicasets,replicasets/scale,statefulsets,statefulsets/scale";

const TO_EDIT: &[RuleRow] = &[
    (READ, "", "pods/attach,pods/exec,pods/portforward,pods/proxy,secrets,services/proxy", ""),
    ("impersonate", "", "serviceaccounts", ""),
    (WRITE, "", CORE_WORKLOADS, ""),
    ("create", "", "pods/eviction", ""),
    (
        WRITE,
        "",
        "configmaps,events,persistentvolumeclaims,replicationcontrollers,replicationcontrollers/scale,secrets,serviceaccounts,services,services/proxy",
        "",
    ),
    ("create", "", "serviceaccounts/token", ""),
    (WRITE, "apps", APPS_WRITE, ""),
    (WRITE, "autoscaling", "horizontalpodautoscalers", ""),
    (WRITE, "batch", "cronjobs,jobs", ""),
    (WRITE, "extensions", EXTENSIONS_WRITE, ""),
    (WRITE, "policy", "poddisruptionbudgets", ""),
    (WRITE, NETWORKING, "ingresses,networkpolicies", ""),
    (ALL, COORDINATION, "leases", ""),
    (WRITE, RESOURCE, "resourceclaims,resourceclaimtemplates", ""),
];

const TO_VIEW: &[RuleRow] = &[
    (
        READ,
        "",
        "configmaps,endpoints,persistentvolumeclaims,persistentvolumeclaims/status,pods,replicationcontrollers,replicationcontrollers/scale,serviceaccounts,services,services/status",
        "",
    ),
    (
        READ,
        "",
        "bindings,events,limitranges,namespaces/status,pods/log,pods/status,replicationcontrollers/status,resourcequotas,resourcequotas/status",
        "",
    ),
    (READ, "", "namespaces", ""),
    (READ, DISCOVERY, "endpointslices", ""),
    (READ, "apps", APPS_READ, ""),
    (READ, "autoscaling", "horizontalpodautoscalers,horizontalpodautoscalers/status", ""),
    (READ, "batch", "cronjobs,cronjobs/status,jobs,jobs/status", ""),
    (READ, "extensions", EXTENSIONS_READ, ""),
    (READ, "policy", "poddisruptionbudgets,poddisruptionbudgets/status", ""),
    (READ, NETWORKING, "ingresses,ingresses/status,networkpolicies", ""),
    (READ, RESOURCE, "resourceclaims,resourceclaims/status,resourceclaimtemplates", ""),
];

const KUBE_CONTROLLER_MANAGER: &[RuleRow] = &[
    EVENTS,
    ("create", COORDINATION, "leases", ""),
    ("get,update", COORDINATION, "leases", "kube-controller-manager"),
    ("create", "", "secrets,serviceaccounts", ""),
    ("delete", "", "secrets", ""),
    ("get", "", "configmaps,namespaces,secrets,serviceaccounts", ""),
    ("update", "", "secrets,serviceaccounts", ""),
    ("create", AUTHENTICATION, "tokenreviews", ""),
    ("create", AUTHORIZATION, "subjectaccessreviews", ""),
    ("list,watch", "*", "*", ""),
    ("create", "", "serviceaccounts/token", ""),
];

const KUBE_SCHEDULER: &[RuleRow] = &[
    EVENTS,
    ("create", COORDINATION, "leases", ""),
    ("get,update", COORDINATION, "leases", "kube-scheduler"),
    ("create,get,list,update,watch", COORDINATION, "leasecandidates", ""),
    (READ, "", "nodes", ""),
    ("delete,get,list,watch", "", "pods", ""),
    ("create", "", "bindings,pods/binding", ""),
    ("patch,update", "", "pods/status", ""),
    ("update", "", "pods/finalizers", ""),
    (READ, "", "replicationcontrollers,services", ""),
    (READ, "apps,extensions", "replicasets", ""),
    (READ, "apps", "statefulsets", ""),
    (READ, "policy", "poddisruptionbudgets", ""),
    (READ, "", "persistentvolumeclaims,persistentvolumes", ""),
    ("create", AUTHENTICATION, "tokenreviews", ""),
    ("create", AUTHORIZATION, "subjectaccessreviews", ""),
    (READ, STORAGE, "csinodes", ""),
    (READ, "", "namespaces", ""),
    (READ, STORAGE, "csidrivers", ""),
    (READ, STORAGE, "csistoragecapacities", ""),
    (READ, STORAGE, "volumeattachments", ""),
    (READ, RESOURCE, "deviceclasses,resourceslices", ""),
    ("create,delete,get,list,patch,update,watch", RESOURCE, "resourceclaims", ""),
    ("patch,update", RESOURCE, "resourceclaims/binding,resourceclaims/status", ""),
    (READ, RESOURCE, "devicetaintrules", ""),
    (READ, "scheduling.k8s.io", "podgroups,workloads", ""),
    ("patch,update", "scheduling.k8s.io", "podgroups/status,workloads/status", ""),
];

/// Rows in the order of their names.
pub const ROLES: &[RoleRow] = &[
    RoleRow { name: "admin", aggregates: "admin", aggregated_to: "", rules: &[] },
    role("cluster-admin", &[("*", "*", "*", ""), ("*", URLS, "*", "")]),
    RoleRow { name: "edit", aggregates: "edit", aggregated_to: "admin", rules: &[] },
    RoleRow {
        name: "system:aggregate-to-admin",
        aggregates: "",
        aggregated_to: "admin",
        rules: &[("create", AUTHORIZATION, "localsubjectaccessreviews", ""), (ALL, RBAC, "rolebindings,roles", "")],
    },
    RoleRow { name: "system:aggregate-to-edit", aggregates: "", aggregated_to: "edit", rules: TO_EDIT },
    RoleRow { name: "system:aggregate-to-view", aggregates: "", aggregated_to: "view", rules: TO_VIEW },
    role(
        "system:auth-delegator",
        &[("create", AUTHENTICATION, "tokenreviews", ""), ("create", AUTHORIZATION, "subjectaccessreviews", "")],
    ),
    role(
        "system:basic-user",
        &[
            ("create", AUTHORIZATION, "selfsubjectaccessreviews,selfsubjectrulesreviews", ""),
            ("create", AUTHENTICATION, "selfsubjectreviews", ""),
        ],
    ),
    role(
        "system:certificates.k8s.io:certificatesigningrequests:nodeclient",
        &[("create", CERTIFICATES, "certificatesigningrequests/nodeclient", "")],
    ),
    role(
        "system:certificates.k8s.io:certificatesigningrequests:selfnodeclient",
        &[("create", CERTIFICATES, "certificatesigningrequests/selfnodeclient", "")],
    ),
    role(
        "system:certificates.k8s.io:kube-apiserver-client-approver",
        &[("approve", CERTIFICATES, "signers", "kubernetes.io/kube-apiserver-client")],
    ),
    role(
        "system:certificates.k8s.io:kube-apiserver-client-kubelet-approver",
        &[("approve", CERTIFICATES, "signers", "kubernetes.io/kube-apiserver-client-kubelet")],
    ),
    role(
        "system:certificates.k8s.io:kubelet-serving-approver",
        &[("approve", CERTIFICATES, "signers", "kubernetes.io/kubelet-serving")],
    ),
    role(
        "system:certificates.k8s.io:legacy-unknown-approver",
        &[("approve", CERTIFICATES, "signers", "kubernetes.io/legacy-unknown")],
    ),
    role("system:cluster-trust-bundle-discovery", &[(READ, CERTIFICATES, "clustertrustbundles", "")]),
    // The cluster's DNS runs in every agent under this user.
    role(
        "system:coredns",
        &[
            ("list,watch", "", "endpoints,namespaces,pods,services", ""),
            ("get", "", "nodes", ""),
            ("list,watch", DISCOVERY, "endpointslices", ""),
        ],
    ),
    role(
        "system:discovery",
        &[(
            "get",
            URLS,
            "/api,/api/*,/apis,/apis/*,/healthz,/livez,/openapi,/openapi/*,/readyz,/version,/version/",
            "",
        )],
    ),
    role("system:heapster", &[(READ, "", "events,namespaces,nodes,pods", ""), (READ, "extensions", "deployments", "")]),
    role("system:kube-aggregator", &[(READ, "", "endpoints,services", "")]),
    role("system:kube-controller-manager", KUBE_CONTROLLER_MANAGER),
    role("system:kube-dns", &[("list,watch", "", "endpoints,services", "")]),
    role("system:kube-scheduler", KUBE_SCHEDULER),
    role(
        "system:kubelet-api-admin",
        &[
            (READ, "", "nodes", ""),
            ("proxy", "", "nodes", ""),
            ("*", "", "nodes/configz,nodes/healthz,nodes/log,nodes/metrics,nodes/pods,nodes/proxy,nodes/stats", ""),
        ],
    ),
    role(
        "system:monitoring",
        &[(
            "get",
            URLS,
            "/flagz,/healthz,/healthz/*,/livez,/livez/*,/metrics,/metrics/slis,/readyz,/readyz/*,/statusz",
            "",
        )],
    ),
    role("system:node", NODE),
    role("system:node-bootstrapper", &[("create,get,list,watch", CERTIFICATES, "certificatesigningrequests", "")]),
    role("system:node-problem-detector", &[("get", "", "nodes", ""), ("patch", "", "nodes/status", ""), EVENTS]),
    role(
        "system:node-proxier",
        &[
            ("list,watch", "", "endpoints,services", ""),
            (READ, "", "nodes", ""),
            EVENTS,
            ("list,watch", DISCOVERY, "endpointslices", ""),
            ("list,watch", NETWORKING, "servicecidrs", ""),
        ],
    ),
    role(
        "system:persistent-volume-provisioner",
        &[
            ("create,delete,get,list,watch", "", "persistentvolumes", ""),
            ("get,list,update,watch", "", "persistentvolumeclaims", ""),
            (READ, STORAGE, "storageclasses", ""),
            ("watch", "", "events", ""),
            EVENTS,
        ],
    ),
    role("system:public-info-viewer", &[("get", URLS, "/healthz,/livez,/readyz,/version,/version/", "")]),
    role(
        "system:service-account-issuer-discovery",
        &[("get", URLS, "/.well-known/openid-configuration,/openid/v1/jwks", "")],
    ),
    role(
        "system:volume-scheduler",
        &[
            ("get,list,patch,update,watch", "", "persistentvolumes", ""),
            (READ, STORAGE, "storageclasses", ""),
            ("get,list,patch,update,watch", "", "persistentvolumeclaims", ""),
        ],
    ),
    RoleRow { name: "view", aggregates: "view", aggregated_to: "edit", rules: &[] },
];

const AUTHENTICATED: Who = Who::Group("system:authenticated");
const UNAUTHENTICATED: Who = Who::Group("system:unauthenticated");

pub const BINDINGS: &[BindingRow] = &[
    binding("cluster-admin", &[Who::Group("system:masters")]),
    binding("system:basic-user", &[AUTHENTICATED]),
    binding("system:cluster-trust-bundle-discovery", &[Who::Group("system:serviceaccounts")]),
    binding("system:coredns", &[Who::User("system:coredns"), Who::Account("kube-system", "coredns")]),
    binding("system:discovery", &[AUTHENTICATED]),
    binding("system:kube-controller-manager", &[Who::User("system:kube-controller-manager")]),
    binding("system:kube-dns", &[Who::Account("kube-system", "kube-dns")]),
    binding("system:kube-scheduler", &[Who::User("system:kube-scheduler")]),
    binding("system:monitoring", &[Who::Group("system:monitoring")]),
    // Without subjects: the Node authorizer does this by node.
    binding("system:node", &[]),
    binding("system:node-proxier", &[Who::User("system:kube-proxy")]),
    binding("system:public-info-viewer", &[AUTHENTICATED, UNAUTHENTICATED]),
    binding("system:service-account-issuer-discovery", &[Who::Group("system:serviceaccounts")]),
    binding("system:volume-scheduler", &[Who::User("system:kube-scheduler")]),
];

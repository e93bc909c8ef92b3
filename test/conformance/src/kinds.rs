//! The kinds that the tests use: where each one's objects are found.

/// A kind of object and its place in the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind {
    /// `v1` or `group/version`.
    pub api_version: &'static str,
    pub kind: &'static str,
    pub plural: &'static str,
    pub namespaced: bool,
}

impl Kind {
    const fn namespaced(api_version: &'static str, kind: &'static str, plural: &'static str) -> Self {
        Self { api_version, kind, plural, namespaced: true }
    }

    const fn cluster(api_version: &'static str, kind: &'static str, plural: &'static str) -> Self {
        Self { api_version, kind, plural, namespaced: false }
    }

    /// The group's name, empty for the core group, and the version.
    pub fn group_version(&self) -> (&'static str, &'static str) {
        self.api_version.split_once('/').unwrap_or(("", self.api_version))
    }

    /// The path of the group and version.
    pub fn root(&self) -> String {
        match self.group_version() {
            ("", version) => format!("/api/{version}"),
            (group, version) => format!("/apis/{group}/{version}"),
        }
    }
}

macro_rules! kinds {
    ($($name:ident: $scope:ident($version:literal, $kind:literal, $plural:literal);)*) => {
        $(pub const $name: Kind = Kind::$scope($version, $kind, $plural);)*
    };
}

kinds! {
    CONFIG_MAP: namespaced("v1", "ConfigMap", "configmaps");
    ENDPOINTS: namespaced("v1", "Endpoints", "endpoints");
    CORE_EVENT: namespaced("v1", "Event", "events");
    LIMIT_RANGE: namespaced("v1", "LimitRange", "limitranges");
    NAMESPACE: cluster("v1", "Namespace", "namespaces");
    NODE: cluster("v1", "Node", "nodes");
    PERSISTENT_VOLUME: cluster("v1", "PersistentVolume", "persistentvolumes");
    PERSISTENT_VOLUME_CLAIM: namespaced("v1", "PersistentVolumeClaim", "persistentvolumeclaims");
    POD: namespaced("v1", "Pod", "pods");
    POD_TEMPLATE: namespaced("v1", "PodTemplate", "podtemplates");
    REPLICATION_CONTROLLER: namespaced("v1", "ReplicationController", "replicationcontrollers");
    RESOURCE_QUOTA: namespaced("v1", "ResourceQuota", "resourcequotas");
    SECRET: namespaced("v1", "Secret", "secrets");
    SERVICE: namespaced("v1", "Service", "services");
    SERVICE_ACCOUNT: namespaced("v1", "ServiceAccount", "serviceaccounts");

    CONTROLLER_REVISION: namespaced("apps/v1", "ControllerRevision", "controllerrevisions");
    DAEMON_SET: namespaced("apps/v1", "DaemonSet", "daemonsets");
    DEPLOYMENT: namespaced("apps/v1", "Deployment", "deployments");
    REPLICA_SET: namespaced("apps/v1", "ReplicaSet", "replicasets");
    STATEFUL_SET: namespaced("apps/v1", "StatefulSet", "statefulsets");
    TOKEN_REVIEW: cluster("authentication.k8s.io/v1", "TokenReview", "tokenreviews");
    LOCAL_ACCESS_REVIEW: namespaced("authorization.k8s.io/v1", "LocalSubjectAccessReview", "localsubjectaccessreviews");
    SELF_ACCESS_REVIEW: cluster("authorization.k8s.io/v1", "SelfSubjectAccessReview", "selfsubjectaccessreviews");
    ACCESS_REVIEW: cluster("authorization.k8s.io/v1", "SubjectAccessReview", "subjectaccessreviews");
    CRON_JOB: namespaced("batch/v1", "CronJob", "cronjobs");
    JOB: namespaced("batch/v1", "Job", "jobs");
    SIGNING_REQUEST: cluster("certificates.k8s.io/v1", "CertificateSigningRequest", "certificatesigningrequests");
    TRUST_BUNDLE: cluster("certificates.k8s.io/v1", "ClusterTrustBundle", "clustertrustbundles");
    POD_CERTIFICATE_REQUEST: namespaced("certificates.k8s.io/v1", "PodCertificateRequest", "podcertificaterequests");
    LEASE: namespaced("coordination.k8s.io/v1", "Lease", "leases");
    ENDPOINT_SLICE: namespaced("discovery.k8s.io/v1", "EndpointSlice", "endpointslices");
    EVENT: namespaced("events.k8s.io/v1", "Event", "events");
    FLOW_SCHEMA: cluster("flowcontrol.apiserver.k8s.io/v1", "FlowSchema", "flowschemas");
    PRIORITY_LEVEL: cluster("flowcontrol.apiserver.k8s.io/v1", "PriorityLevelConfiguration", "prioritylevelconfigurations");
    INGRESS: namespaced("networking.k8s.io/v1", "Ingress", "ingresses");
    INGRESS_CLASS: cluster("networking.k8s.io/v1", "IngressClass", "ingressclasses");
    IP_ADDRESS: cluster("networking.k8s.io/v1", "IPAddress", "ipaddresses");
    SERVICE_CIDR: cluster("networking.k8s.io/v1", "ServiceCIDR", "servicecidrs");
    RUNTIME_CLASS: cluster("node.k8s.io/v1", "RuntimeClass", "runtimeclasses");
    DISRUPTION_BUDGET: namespaced("policy/v1", "PodDisruptionBudget", "poddisruptionbudgets");
    DEVICE_CLASS: cluster("resource.k8s.io/v1", "DeviceClass", "deviceclasses");
    DEVICE_TAINT_RULE: cluster("resource.k8s.io/v1", "DeviceTaintRule", "devicetaintrules");
    RESOURCE_CLAIM: namespaced("resource.k8s.io/v1", "ResourceClaim", "resourceclaims");
    RESOURCE_CLAIM_TEMPLATE: namespaced("resource.k8s.io/v1", "ResourceClaimTemplate", "resourceclaimtemplates");
    RESOURCE_SLICE: cluster("resource.k8s.io/v1", "ResourceSlice", "resourceslices");
    PRIORITY_CLASS: cluster("scheduling.k8s.io/v1", "PriorityClass", "priorityclasses");
    CSI_DRIVER: cluster("storage.k8s.io/v1", "CSIDriver", "csidrivers");
    CSI_NODE: cluster("storage.k8s.io/v1", "CSINode", "csinodes");
    CSI_CAPACITY: namespaced("storage.k8s.io/v1", "CSIStorageCapacity", "csistoragecapacities");
    STORAGE_CLASS: cluster("storage.k8s.io/v1", "StorageClass", "storageclasses");
    VOLUME_ATTACHMENT: cluster("storage.k8s.io/v1", "VolumeAttachment", "volumeattachments");
    VOLUME_ATTRIBUTES_CLASS: cluster("storage.k8s.io/v1", "VolumeAttributesClass", "volumeattributesclasses");
    STORAGE_VERSION_MIGRATION: cluster("storagemigration.k8s.io/v1", "StorageVersionMigration", "storageversionmigrations");
}

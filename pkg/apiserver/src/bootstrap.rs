//! What every cluster has from its first start: system namespaces, priority classes, roles, and the way to this server.

use apimachinery::meta::ObjectExt as _;
use apimachinery::{ApiError, ApiResult, UserInfo};
use registry::{Call, Change, Found, NoAdmission, Registry};
use serde_json::{Value, json};

use crate::server::{Config, Inner};

const NAMESPACES: [&str; 4] = ["default", "kube-system", "kube-public", "kube-node-lease"];
const RBAC: &str = "rbac.authorization.k8s.io";
const SERVICE: &str = "kubernetes";

/// Writes what is missing and mends what must be right. The order is that of what needs what.
pub async fn write(server: &Inner) -> ApiResult<()> {
    let writer =
        Writer { registry: &server.config.registry, user: UserInfo::new("system:apiserver", ["system:masters"]) };
    for namespace in NAMESPACES {
        let object = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": namespace } });
        writer.ensure("", "namespaces", object).await?;
    }
    for (name, value, description) in [
        (
            "system-node-critical",
            2_000_001_000,
            "Used for system critical pods that must not be moved from their current node.",
        ),
        (
            "system-cluster-critical",
            2_000_000_000,
            "Used for system critical pods that must run in the cluster, but can be moved to another node if necessary.",
        ),
    ] {
        let object = json!({
            "apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": { "name": name },
            "value": value, "description": description,
        });
        writer.ensure("scheduling.k8s.io", "priorityclasses", object).await?;
    }
    for (plural, objects) in [
        ("clusterroles", auth::bootstrap::cluster_roles()),
        ("clusterrolebindings", auth::bootstrap::cluster_role_bindings()),
        ("roles", auth::bootstrap::roles()),
        ("rolebindings", auth::bootstrap::role_bindings()),
    ] {
        for object in objects {
            writer.reconcile_role(plural, object).await?;
        }
    }
    writer.way_to_here(&server.config).await
}

struct Writer<'a> {
    registry: &'a Registry,
    user: UserInfo,
}

impl Writer<'_> {
    fn found(&self, group: &str, plural: &str) -> ApiResult<Found> {
        let missing = || ApiError::internal(format!("{plural} are not served"));
        self.registry.rows().newest(group, plural).ok_or_else(missing)
    }

    fn call<'c>(&'c self, found: Found, object: &'c Value) -> Call<'c> {
        Call {
            resource: found.resource,
            version: found.version,
            subresource: "",
            namespace: object.namespace(),
            name: object.name(),
            user: &self.user,
            dry_run: false,
            admission: &NoAdmission,
            warnings: std::sync::Mutex::default(),
        }
    }

    /// Creates `object` unless there is one of its name.
    async fn ensure(&self, group: &str, plural: &str, object: Value) -> ApiResult<()> {
        let found = self.found(group, plural)?;
        let call = self.call(found, &object);
        if self.registry.get(found.resource, call.namespace, call.name).is_ok() {
            return Ok(());
        }
        match self.registry.create(&call, object.clone()).await {
            Err(error) if error.reason() != "AlreadyExists" => Err(error),
            _ => Ok(()),
        }
    }

    /// Creates a bootstrap role or binding, or adds to it what it lacks.
    async fn reconcile_role(&self, plural: &str, wanted: Value) -> ApiResult<()> {
        let found = self.found(RBAC, plural)?;
        let call = self.call(found, &wanted);
        if self.registry.get(found.resource, call.namespace, call.name).is_err() {
            return self.ensure(RBAC, plural, wanted.clone()).await;
        }
        let mend = |current: Value| Ok(auth::bootstrap::reconcile(&current, &wanted).unwrap_or(current));
        self.registry.update(&call, Change::Patch(&mend)).await.map(drop)
    }

    /// The `kubernetes` Service and its endpoints.
    async fn way_to_here(&self, config: &Config) -> ApiResult<()> {
        let labels = json!({ "component": "apiserver", "provider": "kubernetes" });
        let address = config.service_address.to_string();
        let service = json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": { "name": SERVICE, "namespace": "default", "labels": labels },
            "spec": {
                "type": "ClusterIP", "clusterIP": address, "clusterIPs": [address], "sessionAffinity": "None",
                "ports": [{ "name": "https", "port": 443, "protocol": "TCP", "targetPort": config.secure_port }],
            },
        });
        self.ensure("", "services", service).await?;
        let here = config.advertise_address.to_string();
        let port = json!([{ "name": "https", "port": config.secure_port, "protocol": "TCP" }]);
        self.replace(
            "",
            "endpoints",
            json!({
                "apiVersion": "v1", "kind": "Endpoints",
                "metadata": {
                    "name": SERVICE, "namespace": "default",
                    "labels": { "endpointslice.kubernetes.io/skip-mirror": "true" },
                },
                "subsets": [{ "addresses": [{ "ip": here }], "ports": port }],
            }),
        )
        .await?;
        self.replace(
            "discovery.k8s.io",
            "endpointslices",
            json!({
                "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
                "metadata": {
                    "name": SERVICE, "namespace": "default", "labels": { "kubernetes.io/service-name": SERVICE },
                },
                "addressType": if config.advertise_address.is_ipv4() { "IPv4" } else { "IPv6" },
                "endpoints": [{ "addresses": [here], "conditions": { "ready": true } }],
                "ports": port,
            }),
        )
        .await
    }

    /// Creates `object`, or puts everything but the metadata of it into the one that is there.
    async fn replace(&self, group: &str, plural: &str, object: Value) -> ApiResult<()> {
        let found = self.found(group, plural)?;
        let call = self.call(found, &object);
        if self.registry.get(found.resource, call.namespace, call.name).is_err() {
            return self.ensure(group, plural, object.clone()).await;
        }
        let put = |mut current: Value| {
            for (field, value) in object.as_object().into_iter().flatten().filter(|(field, _)| *field != "metadata") {
                current[field.as_str()] = value.clone();
            }
            Ok(current)
        };
        self.registry.update(&call, Change::Patch(&put)).await.map(drop)
    }
}

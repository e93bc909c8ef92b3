//! What every cluster has from its first start: system namespaces, priority classes, roles, and the way to this server.

use std::collections::BTreeSet;

use apimachinery::meta::ObjectExt as _;
use apimachinery::{ApiError, ApiResult, UserInfo};
use futures::future::BoxFuture;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use registry::{Call, Change, Found, NoAdmission, Registry};
use serde_json::{Value, json};

use crate::server::{Config, Inner};

const NAMESPACES: [&str; 4] = ["default", "kube-system", "kube-public", "kube-node-lease"];
/// Name, value, description.
const PRIORITY_CLASSES: [(&str, i64, &str); 2] = [
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
];
const WRITES_AT_ONCE: usize = 64;
const RBAC: &str = "rbac.authorization.k8s.io";
const SERVICE: &str = "kubernetes";

/// Writes what is missing and mends what must be right. The order is that of what needs what.
pub async fn write(server: &Inner) -> ApiResult<()> {
    let writer = Writer::of(server);
    writer.namespaces().await?;
    let classes = PRIORITY_CLASSES.map(|(name, value, description)| {
        let object = json!({
            "apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": { "name": name },
            "value": value, "description": description,
        });
        ("scheduling.k8s.io", "priorityclasses", object)
    });
    writer.ensure_all(classes.into_iter()).await?;
    let roles = [
        ("clusterroles", auth::bootstrap::cluster_roles()),
        ("clusterrolebindings", auth::bootstrap::cluster_role_bindings()),
        ("roles", auth::bootstrap::roles()),
        ("rolebindings", auth::bootstrap::role_bindings()),
    ];
    let roles: Vec<Pending<'_>> = roles
        .into_iter()
        .flat_map(|(plural, objects)| objects.into_iter().map(move |object| (plural, object)))
        .map(|(plural, object)| Box::pin(writer.reconcile_role(plural, object)) as Pending<'_>)
        .collect();
    all(roles).await?;
    writer.service_cidr().await?;
    writer.registry.repair_service_addresses().await?;
    writer.client_authorities(&server.config).await?;
    writer.way_to_here(&server.config, &crate::endpoints::at_start(server)).await
}

/// Writes again what a running cluster cannot do without: the system namespaces and the way to this server.
pub async fn restore(server: &Inner) -> ApiResult<()> {
    let writer = Writer::of(server);
    writer.namespaces().await?;
    writer.client_authorities(&server.config).await?;
    writer.way_to_here(&server.config, &crate::endpoints::at_start(server)).await
}

/// Makes `addresses` the endpoints of the `kubernetes` Service.
pub async fn write_endpoints(server: &Inner, addresses: &BTreeSet<String>) -> ApiResult<()> {
    Writer::of(server).endpoints(&server.config, addresses).await
}

/// Brings the rules of ClusterRoles that aggregate others up to date.
pub async fn write_aggregated(server: &Inner) -> ApiResult<()> {
    let writer = Writer::of(server);
    let found = writer.found(RBAC, "clusterroles")?;
    for (name, rules) in server.config.policy.aggregated() {
        let wanted: Vec<Value> = rules.iter().map(auth::rbac::Rule::to_value).collect();
        let object = json!({ "metadata": { "name": name } });
        let call = writer.call(found, &object);
        let put = |mut role: Value| {
            role["rules"] = wanted.clone().into();
            Ok(role)
        };
        match writer.registry.update(&call, Change::Patch(&put)).await {
            // Deleted meanwhile.
            Err(error) if error.reason() == "NotFound" => {}
            other => drop(other?),
        }
    }
    Ok(())
}

pub(crate) type Pending<'a> = BoxFuture<'a, ApiResult<()>>;

/// Writes at the same time share one wait for the disk.
pub(crate) async fn all(writes: Vec<Pending<'_>>) -> ApiResult<()> {
    stream::iter(writes).buffer_unordered(WRITES_AT_ONCE).try_collect().await
}

/// Writes objects as the server itself.
pub(crate) struct Writer<'a> {
    pub(crate) registry: &'a Registry,
    user: UserInfo,
}

impl<'a> Writer<'a> {
    pub(crate) fn of(server: &'a Inner) -> Self {
        Self { registry: &server.config.registry, user: UserInfo::new("system:apiserver", ["system:masters"]) }
    }
}

impl Writer<'_> {
    pub(crate) fn found(&self, group: &str, plural: &str) -> ApiResult<Found> {
        let missing = || ApiError::internal(format!("{plural} are not served"));
        self.registry.rows().newest(group, plural).ok_or_else(missing)
    }

    pub(crate) fn call<'c>(&'c self, found: Found, object: &'c Value) -> Call<'c> {
        Call {
            resource: found.resource,
            version: found.version,
            subresource: "",
            namespace: object.namespace(),
            name: object.name(),
            user: &self.user,
            field_manager: "kube-apiserver",
            dry_run: false,
            admission: &NoAdmission,
            warnings: std::sync::Mutex::default(),
        }
    }

    async fn ensure_all(&self, objects: impl Iterator<Item = (&'static str, &'static str, Value)>) -> ApiResult<()> {
        let writes = objects.map(|(group, plural, object)| Box::pin(self.ensure(group, plural, object)) as Pending<'_>);
        all(writes.collect()).await
    }

    async fn namespaces(&self) -> ApiResult<()> {
        let namespaces = NAMESPACES.map(|namespace| {
            ("", "namespaces", json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": namespace } }))
        });
        self.ensure_all(namespaces.into_iter()).await
    }

    /// Creates `object` unless there is one of its name.
    pub(crate) async fn ensure(&self, group: &str, plural: &str, object: Value) -> ApiResult<()> {
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

    /// The range of Service addresses as an object, for those who look it up.
    async fn service_cidr(&self) -> ApiResult<()> {
        let (group, plural) = ("networking.k8s.io", "servicecidrs");
        let object = json!({
            "apiVersion": "networking.k8s.io/v1", "kind": "ServiceCIDR", "metadata": { "name": SERVICE },
            "spec": { "cidrs": [self.registry.service_options().to_string()] },
        });
        self.ensure(group, plural, object.clone()).await?;
        let found = self.found(group, plural)?;
        let call = Call { subresource: "status", ..self.call(found, &object) };
        let ready = |mut current: Value| {
            if current.array_at("status/conditions").is_empty() {
                let now = apimachinery::time::now_rfc3339();
                current["status"]["conditions"] = json!([{
                    "type": "Ready", "status": "True", "reason": "", "lastTransitionTime": now,
                    "message": "Kubernetes default Service CIDR is ready",
                }]);
            }
            Ok(current)
        };
        self.registry.update(&call, Change::Patch(&ready)).await.map(drop)
    }

    /// Whom this server believes, for other servers that ask it about their callers (schedulers and controller managers
    /// among them). The lists are JSON in texts, as upstream writes them.
    async fn client_authorities(&self, config: &Config) -> ApiResult<()> {
        let authorities = &config.client_authorities;
        let object = json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": { "name": "extension-apiserver-authentication", "namespace": "kube-system" },
            "data": {
                "client-ca-file": authorities.client_ca,
                "requestheader-client-ca-file": authorities.request_header_ca,
                "requestheader-allowed-names": r#"["system:auth-proxy"]"#,
                "requestheader-username-headers": r#"["X-Remote-User"]"#,
                "requestheader-uid-headers": r#"["X-Remote-Uid"]"#,
                "requestheader-group-headers": r#"["X-Remote-Group"]"#,
                "requestheader-extra-headers-prefix": r#"["X-Remote-Extra-"]"#,
            },
        });
        self.replace("", "configmaps", object).await
    }

    /// The `kubernetes` Service and its endpoints.
    async fn way_to_here(&self, config: &Config, addresses: &BTreeSet<String>) -> ApiResult<()> {
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
        if config.advertise_address.is_loopback() {
            // Pods could not reach it, and Endpoints may not name it.
            tracing::warn!("the advertised address is of this machine alone: pods cannot reach this server");
            return Ok(());
        }
        self.endpoints(config, addresses).await
    }

    /// The endpoints of the `kubernetes` Service.
    async fn endpoints(&self, config: &Config, addresses: &BTreeSet<String>) -> ApiResult<()> {
        let port = json!([{ "name": "https", "port": config.secure_port, "protocol": "TCP" }]);
        let plain: Vec<Value> = addresses.iter().map(|address| json!({ "ip": address })).collect();
        self.replace(
            "",
            "endpoints",
            json!({
                "apiVersion": "v1", "kind": "Endpoints",
                "metadata": {
                    "name": SERVICE, "namespace": "default",
                    "labels": { "endpointslice.kubernetes.io/skip-mirror": "true" },
                },
                "subsets": [{ "addresses": plain, "ports": port }],
            }),
        )
        .await?;
        let ready = |address| json!({ "addresses": [address], "conditions": { "ready": true } });
        self.replace(
            "discovery.k8s.io",
            "endpointslices",
            json!({
                "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
                "metadata": {
                    "name": SERVICE, "namespace": "default", "labels": { "kubernetes.io/service-name": SERVICE },
                },
                "addressType": if config.advertise_address.is_ipv4() { "IPv4" } else { "IPv6" },
                "endpoints": addresses.iter().map(ready).collect::<Vec<_>>(),
                "ports": port,
            }),
        )
        .await
    }

    /// As [`Self::replace`], with the annotations of `object`.
    pub(crate) async fn replace_with_annotations(&self, group: &str, plural: &str, object: Value) -> ApiResult<()> {
        let call = self.call(self.found(group, plural)?, &object);
        let put = |mut current: Value| {
            current["metadata"]["annotations"] = object["metadata"]["annotations"].clone();
            current["spec"] = object["spec"].clone();
            Ok(current)
        };
        self.registry.update(&call, Change::Patch(&put)).await.map(drop)
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

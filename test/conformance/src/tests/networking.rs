//! Services and Endpoints as objects.

use serde_json::{Value, json};

use crate::Cluster;
use crate::kinds::{ENDPOINT_SLICE, ENDPOINTS, SERVICE};
use crate::must::must;
use crate::operations::Operations;

tests!(networking:
    endpoints_lifecycle, service_collection, services_of_all_namespaces, kubernetes_service, kubernetes_endpoints,
);

async fn endpoints_lifecycle(cluster: &Cluster) -> anyhow::Result<()> {
    let subsets = |ip: &str, port: u16| json!({"subsets": [{"addresses": [{"ip": ip}], "ports": [{"name": "http", "port": port, "protocol": "TCP"}]}]});
    Operations::of(ENDPOINTS, subsets("10.0.0.24", 80)).patch(subsets("10.0.0.25", 8080)).run(cluster).await
}

async fn service_collection(cluster: &Cluster) -> anyhow::Result<()> {
    let services = cluster.of(SERVICE);
    for (name, set) in [("one", "deleted"), ("two", "deleted"), ("three", "kept")] {
        let labels = json!({"conformance": cluster.unique, "set": set});
        let spec = json!({"ports": [{"name": "http", "port": 80, "targetPort": 80}]});
        services.create(&json!({"metadata": {"name": name, "labels": labels}, "spec": spec})).await?;
    }
    services.until_count(&cluster.selector(), 3).await?;
    services.delete_collection("set=deleted").await?;
    let left = services.until_count(&cluster.selector(), 1).await?;
    must(left[0]["metadata"]["name"] == "three", "only the others MUST be deleted", &left[0])
}

async fn services_of_all_namespaces(cluster: &Cluster) -> anyhow::Result<()> {
    let services = cluster.everywhere(SERVICE).items("").await?;
    let found = |s: &&Value| s["metadata"]["name"] == "kubernetes" && s["metadata"]["namespace"] == "default";
    must(services.iter().any(|s| found(&s)), "the Service kubernetes of default MUST be found", &json!(services))
}

async fn kubernetes_service(cluster: &Cluster) -> anyhow::Result<()> {
    let service = cluster.within(SERVICE, "default").get("kubernetes").await?;
    let secure = |p: &Value| p["name"] == "https" && p["port"] == 443;
    let ports = service["spec"]["ports"].as_array();
    must(ports.is_some_and(|all| all.iter().any(secure)), "the server MUST be offered at https", &service)
}

async fn kubernetes_endpoints(cluster: &Cluster) -> anyhow::Result<()> {
    let endpoints = cluster.within(ENDPOINTS, "default").get("kubernetes").await?;
    let subset = &endpoints["subsets"][0];
    let slices = cluster.within(ENDPOINT_SLICE, "default").items("kubernetes.io/service-name=kubernetes").await?;
    must(slices.len() == 1, "one EndpointSlice MUST point to the server", &json!(slices))?;
    for address in subset["addresses"].as_array().into_iter().flatten() {
        let in_slice = |e: &Value| e["addresses"].as_array().is_some_and(|all| all.contains(&address["ip"]));
        let endpoints = slices[0]["endpoints"].as_array();
        must(endpoints.is_some_and(|all| all.iter().any(in_slice)), "both MUST have the same addresses", &slices[0])?;
    }
    must(subset["ports"][0]["port"] == slices[0]["ports"][0]["port"], "both MUST have the same port", subset)?;
    must(subset["addresses"].is_array(), "there MUST be an address", &endpoints)
}

//! A pod's sandbox: its hostname, DNS, logs folder, ports and kernel namespaces.

use std::collections::BTreeMap;
use std::path::PathBuf;

use cri::v1;
use k8s_openapi::api::core::v1::Pod;

use super::security;
use crate::config::Config;
use crate::pod::PodExt as _;
use crate::{cgroups, dns, names, resources};

/// A hostname's length that the kernel takes.
const HOSTNAME_MAX: usize = 63;

/// `/var/log/pods/<namespace>_<name>_<uid>`
pub fn log_directory(pod: &Pod) -> PathBuf {
    PathBuf::from(names::POD_LOGS).join(format!("{}_{}_{}", pod.namespace(), pod.name(), pod.uid()))
}

/// Labels of everything that belongs to the pod.
pub fn pod_labels(pod: &Pod) -> BTreeMap<String, String> {
    BTreeMap::from([
        (names::POD_NAME.to_owned(), pod.name().to_owned()),
        (names::POD_NAMESPACE.to_owned(), pod.namespace().to_owned()),
        (names::POD_UID.to_owned(), pod.uid().to_owned()),
    ])
}

/// (hostname, domain) of a pod; the domain is empty without a subdomain.
pub fn hostname_and_domain(pod: &Pod, cluster_domain: &str) -> (String, String) {
    let spec = pod.pod_spec();
    if let Some(whole) = spec.hostname_override.as_deref().filter(|h| !h.is_empty()) {
        return (whole.to_owned(), String::new());
    }
    let own = spec.hostname.as_deref().filter(|h| !h.is_empty()).unwrap_or(pod.name());
    let subdomain = spec.subdomain.as_deref().unwrap_or_default();
    let domain = match subdomain {
        "" => String::new(),
        subdomain => format!("{subdomain}.{}.svc.{cluster_domain}", pod.namespace()),
    };
    (cut(own), domain)
}

/// Cuts at 63 bytes, and then what may not end a hostname.
fn cut(name: &str) -> String {
    let end = name.char_indices().map(|(at, c)| at + c.len_utf8()).take_while(|end| *end <= HOSTNAME_MAX).last();
    name[..end.unwrap_or(0)].trim_end_matches(['-', '.']).to_owned()
}

/// What `uname -n` says inside: the full name where the pod asks for it.
fn sandbox_hostname(pod: &Pod, config: &Config) -> String {
    if pod.host_network() && pod.pod_spec().hostname_override.is_none() {
        return String::new();
    }
    let (hostname, domain) = hostname_and_domain(pod, &config.cluster_domain);
    if pod.pod_spec().set_hostname_as_fqdn == Some(true) && !domain.is_empty() {
        return format!("{hostname}.{domain}");
    }
    hostname
}

/// The configuration of attempt `attempt`.
pub fn sandbox_config(pod: &Pod, attempt: u32, config: &Config, cgroups: &cgroups::Cgroups) -> v1::PodSandboxConfig {
    let mut labels = pod.labels().clone();
    labels.extend(pod_labels(pod));
    let security_context = Some(security::sandbox_context(pod));
    let spec = pod.pod_spec();
    let sysctls = spec.security_context.as_ref().and_then(|s| s.sysctls.as_ref());
    let sysctls = sysctls.into_iter().flatten().map(|s| (s.name.clone(), s.value.clone())).collect();
    let linux = v1::LinuxPodSandboxConfig {
        cgroup_parent: cgroups.pod_parent(pod),
        security_context,
        sysctls,
        overhead: None,
        resources: Some(sandbox_resources(pod)),
    };
    v1::PodSandboxConfig {
        metadata: Some(v1::PodSandboxMetadata {
            name: pod.name().to_owned(),
            uid: pod.uid().to_owned(),
            namespace: pod.namespace().to_owned(),
            attempt,
        }),
        hostname: sandbox_hostname(pod, config),
        log_directory: log_directory(pod).display().to_string(),
        dns_config: Some(dns::pod_dns(pod, config)),
        port_mappings: port_mappings(pod),
        labels,
        annotations: pod.annotations().clone(),
        linux: Some(linux),
    }
}

/// What the pod as a whole may use; runtimes that make VMs size them by it.
fn sandbox_resources(pod: &Pod) -> v1::LinuxContainerResources {
    let spec = pod.pod_spec();
    let (cpu_quota, cpu_period) = resources::pod_limit_milli(spec, "cpu").map_or((0, 0), resources::cpu_quota);
    v1::LinuxContainerResources {
        cpu_shares: resources::cpu_shares(resources::pod_request_milli(spec, "cpu")),
        cpu_quota,
        cpu_period,
        memory_limit_in_bytes: resources::pod_limit_milli(spec, "memory").map_or(0, |m| m / 1000),
        ..Default::default()
    }
}

fn port_mappings(pod: &Pod) -> Vec<v1::PortMapping> {
    if pod.host_network() {
        return Vec::new();
    }
    let ports = pod.all_containers().flat_map(|c| c.ports.iter().flatten());
    ports
        .map(|port| v1::PortMapping {
            protocol: match port.protocol.as_deref() {
                Some("UDP") => v1::Protocol::Udp,
                Some("SCTP") => v1::Protocol::Sctp,
                _ => v1::Protocol::Tcp,
            } as i32,
            container_port: port.container_port,
            host_port: port.host_port.unwrap_or(0),
            host_ip: port.host_ip.clone().unwrap_or_default(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn hostnames_are_cut_and_have_domains() {
        let long = format!("{}-.x", "a".repeat(62));
        let cases = [
            (json!({"metadata": {"name": "p", "namespace": "n"}}), ("p", "")),
            (
                json!({"metadata": {"name": "p", "namespace": "n"}, "spec": {"hostname": "h", "subdomain": "s"}}),
                ("h", "s.n.svc.cluster.local"),
            ),
            (json!({"metadata": {"name": long, "namespace": "n"}}), (&long[..62], "")),
        ];
        for (pod, (hostname, domain)) in cases {
            let pod: Pod = serde_json::from_value(pod).expect("a pod");
            assert_eq!(hostname_and_domain(&pod, "cluster.local"), (hostname.to_owned(), domain.to_owned()));
        }
    }
}

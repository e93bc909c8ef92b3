//! What goes into a pod's resolv.conf and hosts files.

use cri::v1;
use k8s_openapi::api::core::v1::Pod;

use crate::config::Config;
use crate::pod::PodExt as _;

/// The resolver's own limits.
const SERVERS_MAX: usize = 3;
const SEARCHES_MAX: usize = 32;
const SEARCH_CHARACTERS_MAX: usize = 2048;

/// A parsed resolv.conf.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResolvConf {
    pub servers: Vec<String>,
    pub searches: Vec<String>,
    pub options: Vec<String>,
}

impl ResolvConf {
    pub fn parse(text: &str) -> Self {
        let mut parsed = Self::default();
        for line in text.lines() {
            let line = line.split(['#', ';']).next().unwrap_or_default();
            let mut words = line.split_whitespace();
            match words.next() {
                Some("nameserver") => parsed.servers.extend(words.next().map(str::to_owned)),
                Some("search" | "domain") => parsed.searches = words.map(str::to_owned).collect(),
                Some("options") => parsed.options = words.map(str::to_owned).collect(),
                _ => {}
            }
        }
        parsed
    }

    /// The node's own. Behind systemd-resolved's stub the real servers are elsewhere.
    pub fn of_node() -> Self {
        let read = |path: &str| std::fs::read_to_string(path).map(|text| Self::parse(&text)).ok();
        let own = read("/etc/resolv.conf").unwrap_or_default();
        if own.servers.iter().any(|s| s == "127.0.0.53") {
            return read("/run/systemd/resolve/resolv.conf").unwrap_or(own);
        }
        own
    }
}

/// The DNS configuration by the pod's policy.
pub fn pod_dns(pod: &Pod, config: &Config) -> v1::DnsConfig {
    let spec = pod.pod_spec();
    let policy = spec.dns_policy.as_deref().unwrap_or("ClusterFirst");
    let cluster = !config.cluster_dns.is_empty()
        && (policy == "ClusterFirstWithHostNet" || policy == "ClusterFirst" && !pod.host_network());
    let mut dns = match policy {
        "None" => ResolvConf::default(),
        _ if cluster => cluster_dns(pod, config),
        _ => config.resolv_conf.clone(),
    };
    if let Some(extra) = &spec.dns_config {
        append_new(&mut dns.servers, extra.nameservers.iter().flatten().cloned());
        append_new(&mut dns.searches, extra.searches.iter().flatten().cloned());
        let options = extra.options.iter().flatten().map(|o| {
            let name = o.name.clone().unwrap_or_default();
            o.value.as_ref().map_or(name.clone(), |value| format!("{name}:{value}"))
        });
        merge_options(&mut dns.options, options);
    }
    limit(&mut dns);
    v1::DnsConfig { servers: dns.servers, searches: dns.searches, options: dns.options }
}

fn cluster_dns(pod: &Pod, config: &Config) -> ResolvConf {
    let domain = &config.cluster_domain;
    let mut searches = vec![format!("{}.svc.{domain}", pod.namespace()), format!("svc.{domain}"), domain.clone()];
    append_new(&mut searches, config.resolv_conf.searches.iter().cloned());
    let servers = config.cluster_dns.iter().map(ToString::to_string).collect();
    ResolvConf { servers, searches, options: vec!["ndots:5".to_owned()] }
}

fn append_new(list: &mut Vec<String>, more: impl Iterator<Item = String>) {
    for item in more {
        if !list.contains(&item) {
            list.push(item);
        }
    }
}

/// A pod's own option replaces one of the same name.
fn merge_options(options: &mut Vec<String>, more: impl Iterator<Item = String>) {
    let name = |option: &str| option.split(':').next().unwrap_or_default().to_owned();
    for option in more {
        options.retain(|o| name(o) != name(&option));
        options.push(option);
    }
}

fn limit(dns: &mut ResolvConf) {
    dns.servers.truncate(SERVERS_MAX);
    dns.searches.truncate(SEARCHES_MAX);
    while dns.searches.iter().map(|s| s.len() + 1).sum::<usize>() > SEARCH_CHARACTERS_MAX + 1 {
        dns.searches.pop();
    }
}

/// `/etc/hosts` of a pod: its own names and aliases, or the node's file plus aliases on the host's network.
pub fn hosts_file(pod: &Pod, ips: &[String], hostname: &str, domain: &str, node_hosts: &str) -> String {
    let mut text = if pod.host_network() {
        format!("# Kubernetes-managed hosts file (host network).\n{node_hosts}")
    } else {
        let mut text = String::from(
            "# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n\
             fe00::\tip6-localnet\nfe00::\tip6-mcastprefix\nfe00::1\tip6-allnodes\nfe00::2\tip6-allrouters\n",
        );
        for ip in ips {
            let names =
                if domain.is_empty() { hostname.to_owned() } else { format!("{hostname}.{domain}\t{hostname}") };
            text.push_str(&format!("{ip}\t{names}\n"));
        }
        text
    };
    let aliases = pod.pod_spec().host_aliases.as_deref().unwrap_or_default();
    if !aliases.is_empty() {
        text.push_str("\n# Entries added by HostAliases.\n");
        for alias in aliases {
            text.push_str(&format!(
                "{}\t{}\n",
                alias.ip,
                alias.hostnames.iter().flatten().cloned().collect::<Vec<_>>().join("\t")
            ));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn dns(spec: serde_json::Value) -> v1::DnsConfig {
        let mut config = Config::for_tests();
        config.cluster_dns = vec!["10.43.0.10".parse().expect("an address")];
        config.resolv_conf = ResolvConf::parse("nameserver 9.9.9.9\nsearch corp.example # x\noptions rotate\n");
        let pod = json!({"metadata": {"name": "p", "namespace": "n"}, "spec": spec});
        pod_dns(&serde_json::from_value(pod).expect("a pod"), &config)
    }

    #[test]
    fn policies() {
        let cluster = dns(json!({}));
        assert_eq!(cluster.servers, ["10.43.0.10"]);
        assert_eq!(cluster.searches, ["n.svc.cluster.local", "svc.cluster.local", "cluster.local", "corp.example"]);
        assert_eq!(cluster.options, ["ndots:5"]);
        assert_eq!(dns(json!({"hostNetwork": true})).servers, ["9.9.9.9"]);
        assert_eq!(dns(json!({"hostNetwork": true, "dnsPolicy": "ClusterFirstWithHostNet"})).servers, ["10.43.0.10"]);
        assert_eq!(dns(json!({"dnsPolicy": "Default"})).options, ["rotate"]);
        let own = json!({"dnsPolicy": "None", "dnsConfig": {"nameservers": ["1.1.1.1"],
            "options": [{"name": "ndots", "value": "2"}, {"name": "edns0"}]}});
        let own = dns(own);
        assert_eq!((own.servers, own.options), (vec!["1.1.1.1".into()], vec!["ndots:2".into(), "edns0".into()]));
        let merged = dns(json!({"dnsConfig": {"options": [{"name": "ndots", "value": "1"}]}}));
        assert_eq!(merged.options, ["ndots:1"]);
    }

    #[test]
    fn hosts_have_aliases() {
        let pod = json!({"spec": {"hostAliases": [{"ip": "1.2.3.4", "hostnames": ["a", "b"]}]}});
        let pod: Pod = serde_json::from_value(pod).expect("a pod");
        let text = hosts_file(&pod, &["10.42.0.2".into()], "p", "s.n.svc.cluster.local", "");
        assert!(text.contains("10.42.0.2\tp.s.n.svc.cluster.local\tp\n"), "{text}");
        assert!(text.ends_with("# Entries added by HostAliases.\n1.2.3.4\ta\tb\n"), "{text}");
    }
}

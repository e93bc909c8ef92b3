//! The cluster's side of joining: what this server tells agents and further servers, and whom it lets in.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use apimachinery::{ApiError, ApiResult};
use apiserver::Joining;
use async_trait::async_trait;
use pki::Pki;
use registry::Registry;
use serde_json::{Value, json};
use storage::{Member, Storage, StorageError};

use crate::agent::{CLOCK_SKEW_MAX, ClusterConfig};
use crate::anew::Lineage;
use crate::options::ServerOptions;
use crate::version;

/// What must be the same on all servers, by the names of the flags.
pub type Agreed = BTreeMap<String, String>;

/// The settings of this server that others must share.
pub fn agreed(options: &ServerOptions) -> Agreed {
    let network = &options.network;
    let (first, last) = network.service_node_port_range;
    let settings = [
        ("--cluster-cidr", network.cluster_cidr.to_string()),
        ("--service-cidr", network.service_cidr.to_string()),
        ("--cluster-dns", network.dns_address().to_string()),
        ("--cluster-domain", network.cluster_domain.clone()),
        ("--service-node-port-range", format!("{first}-{last}")),
        ("--flannel-backend", options.node.flannel_backend().to_owned()),
    ];
    settings.map(|(flag, value)| (flag.to_owned(), value)).into()
}

/// Each difference, in words for whoever starts the joining server.
pub fn differences(cluster: &Agreed, joiner: &Agreed) -> Vec<String> {
    let differing = cluster.iter().filter(|(flag, value)| joiner.get(*flag) != Some(value));
    let words = |(flag, value): (&String, &String)| match joiner.get(flag) {
        Some(other) => format!("{flag} is {other}, the cluster has {value}"),
        None => format!("{flag} is not known to the joining server, the cluster has {value}"),
    };
    differing.map(words).collect()
}

/// The request of a server that wants the cluster's keys.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
pub struct Admission {
    pub name: String,
    pub version: String,
    /// Unix seconds.
    pub time: u64,
    pub settings: Agreed,
    /// The hash of its `--agent-token`, if it was given one.
    #[serde(default)]
    pub agent_token: Option<String>,
}

/// What is wrong with a joiner's `--agent-token`, by its hash and the cluster's. A joiner without one takes the cluster's.
fn agent_token_difference(cluster: Option<&str>, joiner: Option<&str>) -> Option<String> {
    match (cluster, joiner?) {
        (Some(cluster), joiner) if cluster == joiner => None,
        (Some(_), _) => Some("--agent-token is not the cluster's: leave it out, or give the same".to_owned()),
        (None, _) => {
            Some("--agent-token is given, and the cluster has none: give it to the other servers first".to_owned())
        }
    }
}

/// The request of a server that is ready to be a member.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
pub struct Membership {
    pub id: u64,
    /// `host:port` on which other servers reach it.
    pub address: String,
}

/// How long a member may take to answer when nobody leads, and a joiner at all.
const DIAL_LIMIT: Duration = Duration::from_millis(500);
const JOINER_LIMIT: Duration = Duration::from_secs(3);

pub fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// This server, as joiners see it.
pub struct Host {
    pub pki: Pki,
    pub options: Arc<ServerOptions>,
    pub storage: Storage,
    pub registry: Arc<Registry>,
    /// Others can reach this server's store.
    pub listens: bool,
}

impl Host {
    /// The name of an agent is not free for a server.
    fn is_an_agents(&self, name: &str) -> bool {
        self.registry.read("", "secrets", "kube-system", &controller::node_identity_secret(name)).is_some()
    }

    /// The hash of the agents' token, if they have one of their own.
    fn agent_token(&self) -> Option<String> {
        let tokens = self.registry.read("", "secrets", "kube-system", auth::authn::join_token::SECRET)?;
        let encoded = tokens["data"][auth::authn::join_token::AGENT].as_str()?;
        let hash = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, encoded).ok()?;
        String::from_utf8(hash).ok()
    }

    /// All members by name, and whether each can be reached: as the leader says or, when nobody leads, by asking each.
    async fn members(&self) -> Vec<(Member, bool)> {
        let (mut members, own) = (self.storage.members().await, self.storage.node_id());
        // They come in the order of their random numbers.
        members.sort_by(|a, b| a.name.cmp(&b.name));
        let led = self.storage.leader().is_some();
        let asked = members.into_iter().map(|member| async move {
            let known = member.id == own || member.reachable();
            let reachable = known || (!led && answers(&member.address, DIAL_LIMIT).await);
            (member, reachable)
        });
        futures::future::join_all(asked).await
    }

    /// Which cluster this server belongs to, for servers that may be of another one.
    fn lineage(&self) -> Lineage {
        Lineage {
            cluster: self.storage.cluster_id(),
            earlier: self.storage.earlier_clusters(),
            members: self.storage.leader().map(|_| self.storage.member_ids()).unwrap_or_default(),
        }
    }

    async fn member(&self, name: &str) -> ApiResult<Member> {
        let members = self.storage.members().await;
        let missing = || ApiError::new(404, "NotFound", format!("there is no server {name:?}"));
        members.into_iter().find(|member| member.name == name).ok_or_else(missing)
    }
}

/// Whether anything listens at `address`.
async fn answers(address: &str, limit: Duration) -> bool {
    let dial = tokio::time::timeout(limit, tokio::net::TcpStream::connect(address));
    matches!(dial.await, Ok(Ok(_)))
}

fn refuse(why: String) -> ApiError {
    ApiError::new(409, "Conflict", why)
}

fn unavailable(error: StorageError) -> ApiError {
    ApiError::service_unavailable(error.to_string())
}

fn member_value(member: &Member, reachable: bool) -> Value {
    json!({
        "id": member.id,
        "name": member.name,
        "address": member.address,
        "voter": member.voter,
        "leader": member.leader,
        "reachable": reachable,
        "silentMillis": member.silent.map(|silent| u64::try_from(silent.as_millis()).unwrap_or(u64::MAX)),
        "matched": member.matched,
    })
}

#[async_trait]
impl Joining for Host {
    fn authority(&self) -> String {
        self.pki.server_ca().cert_pem()
    }

    fn config(&self) -> Value {
        let network = &self.options.network;
        let config = ClusterConfig {
            cluster_cidr: network.cluster_cidr,
            service_cidr: network.service_cidr,
            cluster_dns: network.dns_address(),
            cluster_domain: network.cluster_domain.clone(),
            flannel_backend: self.options.node.flannel_backend().to_owned(),
            client_ca: self.pki.client_ca().cert_pem(),
            version: component_base::version::KUBERNETES.to_owned(),
            time: unix_now(),
        };
        let mut config = serde_json::to_value(config).unwrap_or_default();
        config["lineage"] = json!(self.lineage());
        config
    }

    fn admit(&self, request: &Value) -> ApiResult<Value> {
        let request: Admission =
            serde_json::from_value(request.clone()).map_err(|e| ApiError::bad_request(e.to_string()))?;
        if !self.listens {
            let port = self.options.member.peer_port;
            return Err(refuse(format!(
                "the server that was asked does not listen for others: its --peer-port {port} was in use when it started"
            )));
        }
        version::check_server(&request.version, component_base::version::KUBERNETES).map_err(refuse)?;
        let skew = unix_now().abs_diff(request.time);
        if skew > CLOCK_SKEW_MAX {
            let why = format!("the clocks of the two servers differ by {skew} s; set them (timedatectl set-ntp true)");
            return Err(refuse(why));
        }
        let mut differing = differences(&agreed(&self.options), &request.settings);
        differing.extend(agent_token_difference(self.agent_token().as_deref(), request.agent_token.as_deref()));
        if !differing.is_empty() {
            return Err(refuse(format!("settings differ: {}", differing.join("; "))));
        }
        if self.is_an_agents(&request.name) {
            let name = &request.name;
            return Err(refuse(format!(
                "the name {name:?} is that of an agent: give another --node-name, or run `kubectl delete node {name}` first"
            )));
        }
        let files = self.pki.shared_files().map_err(ApiError::internal)?;
        Ok(json!({ "files": files }))
    }

    async fn add(&self, name: &str, request: &Value) -> ApiResult<Value> {
        let asked: Membership =
            serde_json::from_value(request.clone()).map_err(|e| ApiError::bad_request(e.to_string()))?;
        if !answers(&asked.address, JOINER_LIMIT).await {
            return Err(refuse(format!(
                "the joining server cannot be reached at {}: does a firewall block that port (--peer-port), or is the \
                 address not the right one (--node-ip, --advertise-address)?",
                asked.address
            )));
        }
        self.storage.add_member(asked.id, name, &asked.address).await.map_err(unavailable)?;
        crate::peers::warn_if_even(self.storage.members().await.len());
        Ok(json!({ "name": name }))
    }

    async fn servers(&self) -> ApiResult<Value> {
        let members = self.members().await;
        Ok(json!({
            "members": members.iter().map(|(member, reachable)| member_value(member, *reachable)).collect::<Vec<_>>(),
            "leader": self.storage.leader(),
            "answeredBy": self.storage.node_id(),
            "warnings": crate::store::problems(&self.storage),
        }))
    }

    async fn missing(&self) -> Vec<String> {
        let members = self.members().await;
        members.into_iter().filter(|(_, reachable)| !reachable).map(|(member, _)| member.name).collect()
    }

    fn knows_tokens(&self) -> bool {
        self.registry.read("", "secrets", "kube-system", auth::authn::join_token::SECRET).is_some()
    }

    async fn store(&self) -> ApiResult<Value> {
        Ok(crate::store::value(&self.storage).await)
    }

    fn store_problem(&self) -> Option<String> {
        let known = self.storage.integrity();
        // Of two that differ neither is known to be wrong, and one of them has to serve.
        let wrong = known.damaged.is_some() || (known.own && !known.unclear);
        let text = format!("the state of this server is not that of the others at revision {}", known.revision);
        wrong.then_some(text)
    }

    fn store_warnings(&self) -> Vec<String> {
        crate::store::warnings(&self.storage)
    }

    async fn remove(&self, name: &str) -> ApiResult<Value> {
        let member = self.member(name).await?;
        self.storage.remove_member(member.id).await.map_err(unavailable)?;
        Ok(json!({ "name": name }))
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::options::{Cli, Command};

    fn settings(arguments: &[&str]) -> Agreed {
        let cli = Cli::try_parse_from([&["coracle", "server"], arguments].concat()).expect("the flags parse");
        match cli.command {
            Command::Server(options) => agreed(&options),
            _ => panic!("not a server"),
        }
    }

    #[test]
    fn every_difference_is_named() {
        let cluster = settings(&[]);
        assert_eq!(differences(&cluster, &settings(&["--cluster-domain=cluster.local"])), Vec::<String>::new());
        let other = settings(&["--cluster-cidr=10.52.0.0/16", "--service-node-port-range=30000-31000"]);
        assert_eq!(
            differences(&cluster, &other),
            [
                "--cluster-cidr is 10.52.0.0/16, the cluster has 10.42.0.0/16",
                "--service-node-port-range is 30000-31000, the cluster has 30000-32767",
            ]
        );
        assert_eq!(differences(&cluster, &Agreed::new()).len(), cluster.len());
    }

    #[test]
    fn a_joiner_brings_no_agent_token_of_its_own() {
        for (cluster, joiner, want) in [
            (None, None, None),
            (Some("a"), None, None),
            (Some("a"), Some("a"), None),
            (Some("a"), Some("b"), Some("not the cluster's")),
            (None, Some("b"), Some("the cluster has none")),
        ] {
            let why = agent_token_difference(cluster, joiner);
            assert_eq!(why.is_some(), want.is_some(), "{cluster:?} {joiner:?}");
            assert!(why.unwrap_or_default().contains(want.unwrap_or_default()), "{cluster:?} {joiner:?}");
        }
    }
}

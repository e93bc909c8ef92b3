//! Flags of agents, of servers that join, and of the commands about tokens and servers.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{CommonOptions, NodeOptions};

/// How agents begin, for whoever asks for help.
pub const AGENT_HELP: &str = "\
On a server, print a token that lets agents in for a day:   coracle token create
On the new machine, as root:                                coracle agent --server https://SERVER:6443 --token TOKEN
Then, on a server:                                          coracle kubectl get nodes

Addresses, DNS and the pod network are the server's. Every flag is also a key of /etc/coracle/config.yaml.";

#[derive(Clone, Debug, Args)]
#[command(after_help = AGENT_HELP)]
pub struct AgentOptions {
    #[command(flatten)]
    pub common: CommonOptions,
    /// URL of any server of the cluster; the others are found through it
    #[arg(long, short = 's', value_name = "URL", env = "CORACLE_URL", help_heading = "Cluster")]
    pub server: String,
    #[command(flatten)]
    pub token: TokenOptions,
    #[command(flatten)]
    pub node: NodeOptions,
    /// Address that the node's own API listens on
    #[arg(long, value_name = "IP", default_value_t = IpAddr::V4(Ipv4Addr::UNSPECIFIED), help_heading = "Node")]
    pub bind_address: IpAddr,
    /// Leave out a packaged part of the node: dns, proxy
    #[arg(long, value_name = "PART", value_delimiter = ',', value_parser = ["dns", "proxy"], help_heading = "Parts")]
    pub disable: Vec<String>,
}

/// A token, on the command line, in the environment or in a file.
#[derive(Clone, Args)]
#[command(next_help_heading = "Cluster")]
pub struct TokenOptions {
    /// Token to join with; a full one (K10…) also says which cluster is meant
    #[arg(long, short = 't', value_name = "TOKEN", env = "CORACLE_TOKEN", hide_env_values = true)]
    pub token: Option<String>,
    /// File that holds the token
    #[arg(long, value_name = "FILE", env = "CORACLE_TOKEN_FILE", conflicts_with = "token")]
    pub token_file: Option<PathBuf>,
}

impl std::fmt::Debug for TokenOptions {
    /// Never shows the token.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenOptions").field("token_file", &self.token_file).finish_non_exhaustive()
    }
}

impl TokenOptions {
    /// The token's text, if one was given.
    pub fn read(&self) -> anyhow::Result<Option<String>> {
        let Some(file) = &self.token_file else { return Ok(self.token.clone()) };
        let text = std::fs::read_to_string(file);
        let text = text.map_err(|error| anyhow::anyhow!("--token-file {}: {error}", file.display()))?;
        Ok(Some(text.trim().to_owned()))
    }
}

/// What makes a server one of several.
#[derive(Clone, Args)]
#[command(next_help_heading = "Cluster")]
pub struct MemberOptions {
    /// Begin a cluster that other servers may join; every server does so, and this flag only says that it is meant
    #[arg(long, conflicts_with = "server")]
    pub cluster_init: bool,
    /// Join the cluster of the server at this URL
    #[arg(long, short = 's', value_name = "URL", env = "CORACLE_URL")]
    pub server: Option<String>,
    #[command(flatten)]
    pub token: TokenOptions,
    /// Token with which agents alone can join [default: the server token]
    #[arg(long, value_name = "TOKEN", env = "CORACLE_AGENT_TOKEN", hide_env_values = true)]
    pub agent_token: Option<String>,
    /// Port on which servers talk to each other
    #[arg(long, value_name = "PORT", default_value_t = 2380)]
    pub peer_port: u16,
}

impl std::fmt::Debug for MemberOptions {
    /// Never shows a token.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MemberOptions")
            .field("server", &self.server)
            .field("peer_port", &self.peer_port)
            .finish_non_exhaustive()
    }
}

/// What can be done with servers, besides running one.
#[derive(Clone, Debug, Subcommand)]
pub enum ServerAction {
    /// Remove a server from the cluster
    Remove {
        #[command(flatten)]
        admin: AdminOptions,
        /// Name of the server, which is its node's
        name: String,
    },
}

/// How commands reach the cluster as its administrator.
#[derive(Clone, Debug, Args)]
pub struct AdminOptions {
    /// Configuration file of the server, which names its kubeconfig [default: /etc/coracle/config.yaml if it exists]
    #[arg(long, short = 'c', value_name = "FILE", env = "CORACLE_CONFIG_FILE")]
    pub config: Option<PathBuf>,
    /// The administrator's kubeconfig
    #[arg(long, value_name = "FILE", env = "CORACLE_KUBECONFIG_OUTPUT", default_value = "/etc/coracle/coracle.yaml")]
    pub kubeconfig: PathBuf,
}

#[derive(Clone, Debug, Args)]
pub struct TokenArguments {
    #[command(subcommand)]
    pub command: TokenCommand,
}

#[derive(Clone, Debug, Subcommand)]
pub enum TokenCommand {
    /// Make a token with which agents can join for a while, and print it
    Create(TokenCreate),
    /// List the tokens that were made
    List(AdminOptions),
    /// Delete tokens by id
    Delete {
        #[command(flatten)]
        admin: AdminOptions,
        /// Ids (the part before the dot) or whole tokens
        #[arg(required = true, value_name = "TOKEN")]
        tokens: Vec<String>,
    },
    /// Replace the server token; run it on a server
    Rotate {
        #[command(flatten)]
        admin: AdminOptions,
        /// Folder that holds all state
        #[arg(long, short = 'd', value_name = "DIR", env = "CORACLE_DATA_DIR", default_value = "/var/lib/coracle")]
        data_dir: PathBuf,
    },
}

#[derive(Clone, Debug, Args)]
pub struct TokenCreate {
    #[command(flatten)]
    pub admin: AdminOptions,
    /// How long the token is good, as 30m or 24h; 0 is for ever
    #[arg(long, value_name = "DURATION", default_value = "24h", value_parser = parse_ttl)]
    pub ttl: u64,
    /// What it is for
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub description: String,
}

/// Seconds.
fn parse_ttl(text: &str) -> Result<u64, String> {
    super::parse_duration(text).map(|duration| duration.as_secs())
}

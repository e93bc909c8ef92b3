//! The way into a cluster: which servers it has, whom they are vouched for by, and what a token opens.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use client::balanced::server_address;
use client::{Balanced, Client, Servers};
use http::Request;
use pki::JoinToken;
use serde_json::Value;

const AGENT: &str = "coracle-join";
/// How long a server may take to get ready that has just been started, and between two looks.
const STARTING_LIMIT: Duration = Duration::from_secs(10);
const STARTING_PAUSE: Duration = Duration::from_millis(200);
/// What is no certificate file.
const AUTHORITY_BYTES_MAX: usize = 64 << 10;

/// A cluster that is to be joined.
pub struct Door {
    pub servers: Servers,
    /// The certificate of the servers' authority, PEM.
    pub ca_pem: String,
    url: String,
    token: JoinToken,
}

impl Door {
    /// Asks the server at `url` for the certificate of its authority, and believes it if the token vouches for it. `memory`
    /// is where the list of servers is kept.
    ///
    /// # Errors
    ///
    /// One line for whoever started the join: what is wrong, and what to do.
    pub async fn find(url: &str, token: &str, memory: Option<PathBuf>) -> anyhow::Result<Self> {
        let address = server_address(url).map_err(|why| anyhow!("--server {url}: {why}"))?;
        let token = JoinToken::parse(token).context("--token")?;
        let servers = Servers::new(&address, memory);
        let anyone = Balanced::new(servers.clone(), pki::tls::unverified_client()?.with_no_client_auth()).client(AGENT);
        let ca_pem = authority(&anyone, url).await?;
        if ca_pem.len() > AUTHORITY_BYTES_MAX || pki::tls::certs_from_pem(ca_pem.as_bytes()).is_err() {
            bail!("--server {url}: what answers there is no Coracle server");
        }
        let found = pki::fingerprint(ca_pem.as_bytes());
        match &token.ca_hash {
            Some(expected) if *expected != found => bail!(
                "--token: it is for another cluster than that of --server {url} (it names the CA {}…, the server has {}…)",
                &expected[..12],
                &found[..12]
            ),
            Some(_) => {}
            None => tracing::warn!(
                ca_sha256 = found,
                "the token does not say which cluster is meant; believing the server, which a full token (K10…) avoids"
            ),
        }
        Ok(Self { servers, ca_pem, url: url.to_owned(), token })
    }

    /// What is known from an earlier join.
    pub fn known(url: &str, token: &str, memory: PathBuf, ca_pem: String) -> anyhow::Result<Self> {
        let address = server_address(url).map_err(|why| anyhow!("--server {url}: {why}"))?;
        let token = JoinToken::parse(token).context("--token")?;
        if !token.trusts(&ca_pem) {
            bail!(
                "--token: it is for another cluster than the one that this machine belongs to; remove the agent folder \
                 in --data-dir to join that one instead"
            );
        }
        Ok(Self { servers: Servers::new(&address, Some(memory)), ca_pem, url: url.to_owned(), token })
    }

    /// Connections that trust this cluster's servers, as `identity` if there is one.
    pub fn connect(&self, identity: Option<&pki::Identity>) -> anyhow::Result<Balanced> {
        let certs = pki::tls::certs_from_pem(self.ca_pem.as_bytes())?;
        Ok(Balanced::new(self.servers.clone(), pki::tls::client_config(pki::tls::roots(&certs)?, identity)?))
    }

    /// A client that is known by the token alone.
    pub fn with_token(&self) -> anyhow::Result<Client> {
        let client = self.connect(None)?.client_with_token(AGENT, &self.token.secret);
        client.ok_or_else(|| anyhow!("--token: it has characters that no token has"))
    }

    /// What went wrong at this door, in one line.
    pub fn explain(&self, error: &kube::Error) -> anyhow::Error {
        no_way(&self.url, error)
    }
}

/// The certificate of the servers' authority. A server that has just been started does not know yet who may read it.
async fn authority(anyone: &Client, url: &str) -> anyhow::Result<String> {
    let deadline = tokio::time::Instant::now() + STARTING_LIMIT;
    loop {
        match get(anyone, "/cacerts").await {
            Err(kube::Error::Api(status)) if matches!(status.code, 403 | 503) => {
                if tokio::time::Instant::now() >= deadline {
                    bail!("--server {url}: what answers there is no Coracle server, or one that does not get ready");
                }
                tokio::time::sleep(STARTING_PAUSE).await;
            }
            answer => return answer.map_err(|error| no_way(url, &error)),
        }
    }
}

/// GET, as text.
pub async fn get(client: &Client, path: &str) -> Result<String, kube::Error> {
    let request = Request::get(path).body(Vec::new()).map_err(kube::Error::HttpError)?;
    client.request_text(request).await
}

/// POST or DELETE with JSON both ways.
pub async fn send(client: &Client, method: &str, path: &str, body: &Value) -> Result<Value, kube::Error> {
    let bytes = serde_json::to_vec(body).map_err(kube::Error::SerdeError)?;
    let request = Request::builder().method(method).uri(path).header("content-type", "application/json");
    client.request(request.body(bytes).map_err(kube::Error::HttpError)?).await
}

/// What a failed call means for whoever joins.
fn no_way(url: &str, error: &kube::Error) -> anyhow::Error {
    if let kube::Error::Api(status) = error {
        return match status.code {
            401 => {
                anyhow!("--token: the cluster of --server {url} does not know it; it may have run out or been replaced")
            }
            403 => anyhow!(
                "--token: it lets agents in, not servers; the server token is in server/token in the data folder of a server"
            ),
            404 => anyhow!("--server {url}: what answers there is no Coracle server"),
            _ => anyhow!("--server {url}: {}", status.message),
        };
    }
    // TLS names its reasons in this form alone.
    let reasons = format!("{error:?}");
    if reasons.contains("NotValidYet") || reasons.contains("Expired") {
        return anyhow!(
            "--server {url}: its certificate is not valid at this machine's time: set the clock (timedatectl set-ntp true)"
        );
    }
    if reasons.contains("InvalidCertificate") {
        return anyhow!("--server {url}: its certificate is not of the cluster that the token is for");
    }
    anyhow!(
        "--server {url}: no server answers there; is it running, and does a firewall let its port through? ({})",
        cause(error)
    )
}

/// What lies at the bottom of an error.
pub fn cause(error: &kube::Error) -> String {
    let mut deepest: &dyn std::error::Error = error;
    while let Some(next) = deepest.source() {
        deepest = next;
    }
    deepest.to_string()
}

//! The way into a cluster: which servers it has, whom they are vouched for by, and what a token opens.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use auth::bootstrap::joining::{AUTHORITY_PATH, CONFIG_PATH};
use client::balanced::server_address;
use client::{Balanced, Client, Servers};
use futures::{AsyncBufReadExt as _, Stream, StreamExt as _};
use http::Request;
use pki::JoinToken;
use serde_json::Value;

const AGENT: &str = "coracle-join";
/// How long a server is waited for that has just been started, and between two looks.
const STARTING_LIMIT: Duration = Duration::from_secs(60);
const STARTING_PAUSE: Duration = Duration::from_millis(200);
/// A server that was reached and says nothing for so long lets nobody in: its port is open before it serves, and it may be
/// waiting for others itself. The longest that it is asked for is a change of members.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);
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
        let ca_pem =
            patiently(url, || get(&anyone, AUTHORITY_PATH)).await.map_err(|error| no_authority(url, &error))?;
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

    /// What the cluster says of itself to the holder of the token.
    ///
    /// # Errors
    ///
    /// One line for whoever started the join.
    pub async fn config(&self) -> anyhow::Result<Value> {
        let client = self.with_token()?;
        let text = patiently(&self.url, || get(&client, CONFIG_PATH)).await.map_err(|error| self.explain(&error))?;
        serde_json::from_str(&text).with_context(|| format!("the answer of {CONFIG_PATH}"))
    }

    /// POST by the token, with JSON both ways.
    ///
    /// # Errors
    ///
    /// One line for whoever started the join.
    pub async fn post(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        let client = self.with_token()?;
        let asked = patiently(&self.url, || send(&client, "POST", path, body)).await;
        asked.map_err(|error| self.explain(&error))
    }

    /// What went wrong at this door, in one line.
    pub fn explain(&self, error: &kube::Error) -> anyhow::Error {
        no_way(&self.url, error)
    }
}

/// Asks again for as long as the server says that it is starting, within a limit, and for no answer longer than another.
async fn patiently<T, Asked>(url: &str, ask: impl Fn() -> Asked) -> Result<T, kube::Error>
where
    Asked: Future<Output = Result<T, kube::Error>>,
{
    let deadline = tokio::time::Instant::now() + STARTING_LIMIT;
    let mut told = false;
    loop {
        let answer = tokio::time::timeout(ANSWER_LIMIT, ask()).await;
        match answer.unwrap_or_else(|_| Err(kube::Error::Service("no answer in time".into()))) {
            Err(error) if is_starting(&error) && tokio::time::Instant::now() < deadline => {
                if !std::mem::replace(&mut told, true) {
                    tracing::info!(server = url, "the server is starting; waiting until it lets others in");
                }
                tokio::time::sleep(STARTING_PAUSE).await;
            }
            answer => return answer,
        }
    }
}

/// A server that is not there yet says when to come again; one that cannot do what was asked does not.
fn is_starting(error: &kube::Error) -> bool {
    let kube::Error::Api(status) = error else { return false };
    status.code == 503 && status.details.as_ref().is_some_and(|details| details.retry_after_seconds > 0)
}

/// Why there is no certificate of the servers' authority: no token was shown yet.
fn no_authority(url: &str, error: &kube::Error) -> anyhow::Error {
    match error {
        kube::Error::Api(status) if status.code != 503 => {
            anyhow!("--server {url}: what answers there is no Coracle server")
        }
        error => no_way(url, error),
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

/// POST with JSON that is answered by lines of JSON, as they come.
pub async fn lines(
    client: &Client,
    path: &str,
    body: &Value,
) -> Result<impl Stream<Item = std::io::Result<Value>> + use<>, kube::Error> {
    let bytes = serde_json::to_vec(body).map_err(kube::Error::SerdeError)?;
    let request = Request::post(path).header("content-type", "application/json");
    let answer = client.request_stream(request.body(bytes).map_err(kube::Error::HttpError)?).await?;
    Ok(answer.lines().map(|line| Ok(serde_json::from_str(&line?)?)))
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

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use kube::core::Status;
    use kube::core::response::StatusDetails;

    use super::*;

    fn refusal(code: u16, retry_after_seconds: u32) -> kube::Error {
        let details = StatusDetails {
            name: String::new(),
            group: String::new(),
            kind: String::new(),
            uid: String::new(),
            causes: Vec::new(),
            retry_after_seconds,
        };
        let status = Status { code, details: Some(details), message: "why".to_owned(), ..Status::default() };
        kube::Error::Api(Box::new(status))
    }

    /// How often is asked of a server that refuses so often, and what comes of it.
    async fn asked(refusals: usize, code: u16, retry_after: u32) -> (usize, Result<(), u16>) {
        let count = Cell::new(0);
        let answer = patiently("https://s:6443", || {
            count.set(count.get() + 1);
            let refused = count.get() <= refusals;
            async move { if refused { Err(refusal(code, retry_after)) } else { Ok(()) } }
        });
        let answer = answer.await.map_err(|error| match error {
            kube::Error::Api(status) => status.code,
            _ => 0,
        });
        (count.get(), answer)
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_starts_is_waited_for_and_no_other() {
        assert_eq!(asked(3, 503, 1).await, (4, Ok(())));
        for (code, retry_after) in [(503, 0), (403, 0), (429, 1)] {
            assert_eq!(asked(1, code, retry_after).await, (1, Err(code)), "{code}");
        }
        let (times, outcome) = asked(usize::MAX, 503, 1).await;
        let most = (STARTING_LIMIT.as_millis() / STARTING_PAUSE.as_millis()) as usize + 1;
        assert!(outcome == Err(503) && (most / 2..=most).contains(&times), "{times} {outcome:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_says_nothing_is_not_waited_for_without_end() {
        let silence = patiently("https://s:6443", std::future::pending::<Result<(), kube::Error>>);
        let error = tokio::time::timeout(2 * ANSWER_LIMIT, silence).await.expect("it ends").expect_err("no answer");
        let said = no_way("https://s:6443", &error).to_string();
        assert!(said.contains("no server answers there") && said.contains("no answer in time"), "{said}");
    }

    #[test]
    fn what_went_wrong_is_said_by_flag() {
        let url = "https://s:6443";
        for (code, expected) in [
            (401, "--token: the cluster of --server https://s:6443 does not know it"),
            (403, "--token: it lets agents in, not servers"),
            (404, "--server https://s:6443: what answers there is no Coracle server"),
            (409, "--server https://s:6443: why"),
            (503, "--server https://s:6443: why"),
        ] {
            let said = no_way(url, &refusal(code, 0)).to_string();
            assert!(said.starts_with(expected), "{code}: {said}");
        }
        for code in [401, 403, 404] {
            let said = no_authority(url, &refusal(code, 0)).to_string();
            assert_eq!(said, "--server https://s:6443: what answers there is no Coracle server", "{code}");
        }
        assert_eq!(no_authority(url, &refusal(503, 1)).to_string(), "--server https://s:6443: why");
    }
}

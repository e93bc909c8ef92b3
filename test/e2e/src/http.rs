//! A lean HTTP/1.1 client: one kept connection a worker, so that what is measured is the server.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use base64::Engine as _;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::wire::Wire;

/// An answer takes at most this long, or the run fails.
pub(crate) const LIMIT: Duration = Duration::from_secs(120);

/// A server and how to be admitted to it.
#[derive(Clone)]
pub struct Target {
    pub name: String,
    authority: String,
    token: Option<String>,
    tls: Arc<ClientConfig>,
}

impl Target {
    /// The cluster and user of a kubeconfig with embedded certificates.
    pub fn from_kubeconfig(name: &str, path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
        let config: Value = serde_saphyr::from_str(&text)?;
        let server = config["clusters"][0]["cluster"]["server"].as_str().context("the kubeconfig names no server")?;
        let user = &config["users"][0]["user"];
        let pem = |field: &str| {
            let text = user[field].as_str().with_context(|| format!("the kubeconfig has no {field}"))?;
            anyhow::Ok(base64::engine::general_purpose::STANDARD.decode(text)?)
        };
        let chain = CertificateDer::pem_slice_iter(&pem("client-certificate-data")?).collect::<Result<Vec<_>, _>>()?;
        let key = PrivateKeyDer::from_pem_slice(&pem("client-key-data")?)?;
        let tls = pki::tls::unverified_client()?.with_client_auth_cert(chain, key)?;
        Ok(Self { name: name.to_owned(), authority: authority(server)?, token: None, tls: Arc::new(tls) })
    }

    /// Any Kubernetes API server, with a bearer token.
    pub fn with_token(name: &str, url: &str, token: &str) -> anyhow::Result<Self> {
        let tls = pki::tls::unverified_client()?.with_no_client_auth();
        let token = Some(format!("Bearer {token}"));
        Ok(Self { name: name.to_owned(), authority: authority(url)?, token, tls: Arc::new(tls) })
    }

    /// The same user at another server of the cluster, `HOST:PORT`.
    pub fn at(&self, authority: &str) -> Self {
        Self { authority: authority.to_owned(), ..self.clone() }
    }

    /// For one request after the other at the least cost.
    pub async fn wire(&self) -> anyhow::Result<Wire> {
        Ok(Wire::new(self.stream().await?, &self.authority, self.token.as_deref()))
    }

    pub async fn connect(&self) -> anyhow::Result<Connection> {
        let (sender, connection) = handshake(TokioIo::new(self.stream().await?)).await?;
        tokio::spawn(connection);
        Ok(Connection { sender, target: self.clone() })
    }

    async fn stream(&self) -> anyhow::Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(&self.authority).await.with_context(|| self.authority.clone())?;
        stream.set_nodelay(true)?;
        let host = self.authority.rsplit_once(':').map_or(&*self.authority, |(host, _)| host).to_owned();
        Ok(TlsConnector::from(self.tls.clone()).connect(ServerName::try_from(host)?, stream).await?)
    }
}

/// One kept connection.
pub struct Connection {
    sender: SendRequest<Full<Bytes>>,
    target: Target,
}

impl Connection {
    pub async fn send(&mut self, method: Method, path: &str, body: Bytes) -> anyhow::Result<Response<Incoming>> {
        let mut request = Request::builder()
            .method(&method)
            .uri(path)
            .header("host", &self.target.authority)
            .header("accept", "application/json")
            .header("content-type", "application/json");
        if method == Method::PATCH {
            request = request.header("content-type", "application/merge-patch+json");
        }
        if let Some(token) = &self.target.token {
            request = request.header("authorization", token);
        }
        self.sender.ready().await?;
        let answer = self.sender.send_request(request.body(Full::new(body))?);
        Ok(tokio::time::timeout(LIMIT, answer).await.context("no answer in time")??)
    }

    /// Sends, and reads the whole answer, whatever it is.
    pub async fn exchange(
        &mut self,
        method: Method,
        path: &str,
        body: impl Into<Bytes>,
    ) -> anyhow::Result<(StatusCode, Bytes)> {
        let answer = self.send(method, path, body.into()).await?;
        let status = answer.status();
        Ok((status, answer.into_body().collect().await?.to_bytes()))
    }

    /// Sends, reads the whole answer, and fails unless it is a success.
    pub async fn call(&mut self, method: Method, path: &str, body: impl Into<Bytes>) -> anyhow::Result<Bytes> {
        let (status, body) = self.exchange(method, path, body).await?;
        ensure!(status.is_success(), "{path}: {status} {}", String::from_utf8_lossy(&body));
        Ok(body)
    }
}

fn authority(url: &str) -> anyhow::Result<String> {
    let rest = url.strip_prefix("https://").with_context(|| format!("{url}: expected https://HOST:PORT"))?;
    let authority = rest.trim_end_matches('/');
    Ok(if authority.contains(':') { authority.to_owned() } else { format!("{authority}:443") })
}

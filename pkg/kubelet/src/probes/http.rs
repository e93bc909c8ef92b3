//! HTTP and HTTPS GET for probes and hooks. Certificates are not checked: the pod is asked for a sign of life, not
//! trusted with anything.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use bytes::Bytes;
use http::{Uri, header};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::{ContainerPort, HTTPGetAction};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, SignatureScheme};
use tokio::net::TcpStream;

use super::{Attempt, resolve_port};

const BODY_MAX: usize = 10 * 1024;
const REDIRECTS_MAX: usize = 10;

/// One GET.
#[derive(Clone, Debug)]
pub struct Request {
    pub tls: bool,
    pub host: String,
    pub port: u16,
    pub path: String,
    pub headers: Vec<(String, String)>,
}

pub struct Answer {
    pub status: u16,
    location: Option<String>,
}

impl Request {
    pub fn from_action(action: &HTTPGetAction, pod_ip: &str, ports: &[ContainerPort]) -> Result<Self, String> {
        let port = resolve_port(&action.port, ports).ok_or("couldn't find a port of that name")?;
        let host = action.host.as_deref().filter(|h| !h.is_empty()).unwrap_or(pod_ip);
        let path = action.path.as_deref().unwrap_or("/");
        Ok(Self {
            tls: action.scheme.as_deref() == Some("HTTPS"),
            host: host.to_owned(),
            port,
            path: if path.starts_with('/') { path.to_owned() } else { format!("/{path}") },
            headers: action.http_headers.iter().flatten().map(|h| (h.name.clone(), h.value.clone())).collect(),
        })
    }

    fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        format!("{host}:{}", self.port)
    }

    fn url(&self) -> String {
        format!("{}://{}{}", if self.tls { "https" } else { "http" }, self.authority(), self.path)
    }
}

pub async fn probe(request: &Request, timeout: Duration) -> Attempt {
    let mut request = request.clone();
    let started = std::time::Instant::now();
    for _ in 0..REDIRECTS_MAX {
        match get(&request, timeout.saturating_sub(started.elapsed())).await {
            Err(error) => return Attempt::Failure(format!("Get \"{}\": {error}", request.url())),
            Ok(answer) if (300..400).contains(&answer.status) => match redirect(&request, &answer) {
                Some(next) => request = next,
                // Leads elsewhere: alive, and followed no further.
                None => return Attempt::Success,
            },
            Ok(answer) if (200..300).contains(&answer.status) => return Attempt::Success,
            Ok(answer) => return Attempt::Failure(format!("HTTP probe failed with statuscode: {}", answer.status)),
        }
    }
    Attempt::Failure("stopped after 10 redirects".to_owned())
}

/// The target of a redirect, if it stays on the same host.
fn redirect(request: &Request, answer: &Answer) -> Option<Request> {
    let location: Uri = answer.location.as_deref()?.parse().ok()?;
    let path = location.path_and_query().map_or("/", |p| p.as_str()).to_owned();
    let mut next = Request { path, ..request.clone() };
    if let Some(authority) = location.authority() {
        if authority.host() != request.host {
            return None;
        }
        next.tls = location.scheme_str() == Some("https");
        next.port = authority.port_u16().unwrap_or(if next.tls { 443 } else { 80 });
    }
    Some(next)
}

/// Sends the request and reads the beginning of the answer.
pub async fn get(request: &Request, timeout: Duration) -> Result<Answer, String> {
    match tokio::time::timeout(timeout, get_unbounded(request)).await {
        Ok(answer) => answer,
        Err(_) => Err("context deadline exceeded (Client.Timeout exceeded while awaiting headers)".to_owned()),
    }
}

async fn get_unbounded(request: &Request) -> Result<Answer, String> {
    let stream = TcpStream::connect((request.host.as_str(), request.port)).await;
    let stream = stream.map_err(|e| format!("dial tcp {}: {e}", request.authority()))?;
    if !request.tls {
        return exchange(stream, request).await;
    }
    let name = ServerName::try_from(request.host.clone()).map_err(|e| e.to_string())?;
    let connector = tokio_rustls::TlsConnector::from(UNVERIFIED.clone());
    let stream = connector.connect(name, stream).await.map_err(|e| e.to_string())?;
    exchange(stream, request).await
}

async fn exchange<S>(stream: S, request: &Request) -> Result<Answer, String>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin + 'static,
{
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(|e| e.to_string())?;
    let connection = tokio_util::task::AbortOnDropHandle::new(tokio::spawn(connection));
    let mut message = http::Request::get(request.path.as_str());
    let own = |name: &str| request.headers.iter().any(|(n, _)| n.eq_ignore_ascii_case(name));
    if !own("host") {
        message = message.header(header::HOST, request.authority());
    }
    if !own("user-agent") {
        message = message.header(header::USER_AGENT, "kube-probe/1.37");
    }
    if !own("accept") {
        message = message.header(header::ACCEPT, "*/*");
    }
    for (name, value) in &request.headers {
        message = message.header(name, value);
    }
    let message = message.header(header::CONNECTION, "close").body(Empty::<Bytes>::new()).map_err(|e| e.to_string())?;
    let answer = sender.send_request(message).await.map_err(|e| e.to_string())?;
    let status = answer.status().as_u16();
    let location = answer.headers().get(header::LOCATION).and_then(|l| l.to_str().ok()).map(str::to_owned);
    // The body is read, so that the other side can send it, but only so much; a long one is no failure.
    let _ = Limited::new(answer.into_body(), BODY_MAX).collect().await;
    drop(connection);
    Ok(Answer { status, location })
}

static UNVERIFIED: LazyLock<Arc<rustls::ClientConfig>> = LazyLock::new(|| {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let schemes = provider.signature_verification_algorithms.supported_schemes();
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider supports the default versions");
    let verifier = Arc::new(AnyCertificate(schemes));
    Arc::new(builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth())
});

/// Takes certificates that cannot even be read, as probes must: upstream's do not look at them. (`pki`'s client for joiners
/// checks that the server has the certificate's key.)
#[derive(Debug)]
struct AnyCertificate(Vec<SignatureScheme>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.clone()
    }
}

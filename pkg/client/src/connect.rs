//! Making a [`Client`]: over TLS from a kubeconfig, or straight onto a service in this process.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::USER_AGENT;
use http::{HeaderValue, Request, Response};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::{Connection, HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use kube::client::{Body, ConfigExt as _};
use kube::config::{AuthInfo, KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use secrecy::ExposeSecret as _;
use tower::{BoxError, Service, ServiceBuilder};

/// A dead connection is found after this much silence, plus the same again for the answer to a ping.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Why a client could not be made. All of these are faults of the kubeconfig, not of the network.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("kubeconfig {path}: {source}")]
    Kubeconfig {
        path: PathBuf,
        #[source]
        source: Box<kube::config::KubeconfigError>,
    },
    #[error("kubeconfig: cannot read {path}: {source}")]
    Read {
        path: String,
        #[source]
        source: std::io::Error,
    },
    #[error("kubeconfig: {field} is not base64: {source}")]
    Base64 {
        field: &'static str,
        #[source]
        source: base64::DecodeError,
    },
    #[error("kubeconfig: {field} is not PEM: {source}")]
    Pem {
        field: &'static str,
        #[source]
        source: rustls::pki_types::pem::Error,
    },
    #[error("kubeconfig: a client certificate and its key must be given together")]
    HalfIdentity,
    #[error("kubeconfig: certificate-authority has no usable certificate")]
    NoAuthority,
    #[error("TLS: {0}")]
    Tls(#[from] rustls::Error),
    #[error("kubeconfig: {0}")]
    Auth(#[source] Box<kube::Error>),
}

/// A client for the current context of a kubeconfig file: TLS with a client certificate or a token, HTTP/2, no limit on
/// queries a second.
pub async fn from_kubeconfig(path: &Path) -> Result<Client, Error> {
    from_kubeconfig_with_agent(path, "coracle").await
}

/// The same, naming itself to the server as `agent` (`User-Agent`).
pub async fn from_kubeconfig_with_agent(path: &Path, agent: &str) -> Result<Client, Error> {
    let kubeconfig_error = |source| Error::Kubeconfig { path: path.to_owned(), source: Box::new(source) };
    let kubeconfig = Kubeconfig::read_from(path).map_err(kubeconfig_error)?;
    let options = KubeConfigOptions::default();
    let config = Config::from_custom_kubeconfig(kubeconfig, &options).await.map_err(kubeconfig_error)?;

    let mut http = HttpConnector::new();
    http.enforce_http(false);
    http.set_nodelay(true);
    http.set_connect_timeout(Some(CONNECT_TIMEOUT));
    let transport = transport(tls_config(&config)?, http);

    let auth = |e| Error::Auth(Box::new(e));
    let agent = HeaderValue::from_str(agent).unwrap_or(HeaderValue::from_static("coracle"));
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(config.auth_layer().map_err(auth)?)
        .layer(config.extra_headers_layer().map_err(auth)?)
        .map_request(move |mut request: Request<Body>| {
            request.headers_mut().entry(USER_AGENT).or_insert_with(|| agent.clone());
            request
        })
        .map_err(BoxError::from)
        .service(transport);
    Ok(Client::new(service, config.default_namespace))
}

pub(crate) type Https<C> = hyper_rustls::HttpsConnector<C>;

/// HTTP/2 where the server speaks it, over what `connector` opens.
pub(crate) fn transport<C>(tls: rustls::ClientConfig, connector: C) -> legacy::Client<Https<C>, Body>
where
    C: Service<http::Uri> + Clone + Send + Sync + 'static,
    C::Response: Connection + hyper::rt::Read + hyper::rt::Write + Send + Unpin + 'static,
    C::Future: Send + 'static,
    C::Error: Into<BoxError>,
{
    let https = hyper_rustls::HttpsConnectorBuilder::new()
        .with_tls_config(tls)
        .https_or_http()
        .enable_all_versions()
        .wrap_connector(connector);
    legacy::Client::builder(TokioExecutor::new())
        .timer(TokioTimer::new())
        .pool_timer(TokioTimer::new())
        .http2_keep_alive_interval(KEEP_ALIVE)
        .http2_keep_alive_timeout(KEEP_ALIVE)
        .http2_keep_alive_while_idle(true)
        // Windows as large as client-go's: a list of many pods must not wait for window updates.
        .http2_initial_stream_window_size(4 << 20)
        .http2_initial_connection_window_size(16 << 20)
        .build(https)
}

/// A client that calls `service` (the API server's own stack, with an identity already attached) without a network.
pub fn in_process<S, B>(service: S, default_namespace: &str) -> Client
where
    S: Service<Request<Body>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    B: http_body::Body<Data = bytes::Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    Client::new(service, default_namespace)
}

fn tls_config(config: &Config) -> Result<rustls::ClientConfig, Error> {
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let mut roots = rustls::RootCertStore::empty();
    let authorities = config.root_cert.iter().flatten().map(|der| CertificateDer::from(der.clone()));
    let (added, _) = roots.add_parsable_certificates(authorities);
    let plain = config.cluster_url.scheme_str() == Some("http");
    if added == 0 && !plain {
        return Err(Error::NoAuthority);
    }
    let builder = builder.with_root_certificates(roots);
    match identity(&config.auth_info)? {
        Some((chain, key)) => Ok(builder.with_client_auth_cert(chain, key)?),
        None => Ok(builder.with_no_client_auth()),
    }
}

type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn identity(auth: &AuthInfo) -> Result<Option<Identity>, Error> {
    const CERTIFICATE: &str = "client-certificate";
    const KEY: &str = "client-key";
    let chain =
        inline_or_file(CERTIFICATE, auth.client_certificate_data.as_deref(), auth.client_certificate.as_deref())?;
    let key_data = auth.client_key_data.as_ref().map(|key| key.expose_secret());
    let key = inline_or_file(KEY, key_data, auth.client_key.as_deref())?;
    match (chain, key) {
        (None, None) => Ok(None),
        (Some(chain), Some(key)) => {
            let chain = CertificateDer::pem_slice_iter(&chain).collect::<Result<Vec<_>, _>>();
            let chain = chain.map_err(|source| Error::Pem { field: CERTIFICATE, source })?;
            let key = PrivateKeyDer::from_pem_slice(&key).map_err(|source| Error::Pem { field: KEY, source })?;
            Ok(Some((chain, key)))
        }
        _ => Err(Error::HalfIdentity),
    }
}

fn inline_or_file(field: &'static str, inline: Option<&str>, file: Option<&str>) -> Result<Option<Vec<u8>>, Error> {
    match (inline, file) {
        (Some(text), _) => STANDARD.decode(text).map(Some).map_err(|source| Error::Base64 { field, source }),
        (None, Some(path)) => fs::read(path).map(Some).map_err(|source| Error::Read { path: path.to_owned(), source }),
        (None, None) => Ok(None),
    }
}

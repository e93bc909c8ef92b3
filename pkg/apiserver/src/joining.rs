//! Joining a cluster: what agents and further servers ask for before they are anyone.
//!
//! | Method and path | For whom | What |
//! |---|---|---|
//! | `GET /cacerts` | anyone | the certificate of the servers' authority, PEM |
//! | `GET /v1-coracle/config` | holders of a token, nodes | what an agent has to know |
//! | `GET /v1-coracle/servers` | administrators | the servers of the cluster |
//! | `POST /v1-coracle/servers` | the server token | compares settings; answers with the keys that all servers share |
//! | `POST /v1-coracle/servers/NAME` | the server token | adds a server that is ready to be told what there is |
//! | `DELETE /v1-coracle/servers/NAME` | administrators | removes a server |
//! | `GET /v1-coracle/store` | administrators | the store on all servers, in figures |

use std::sync::atomic::Ordering;

use apimachinery::status::Details;
use apimachinery::{ApiError, ApiResult};
use async_trait::async_trait;
use auth::authn::join_token::SERVER_USER;
use auth::bootstrap::joining::{AUTHORITY_PATH, CONFIG_PATH, SERVERS_PATH, STORE_PATH};
use http::request::Parts;
use http::{Method, StatusCode};
use serde_json::Value;

use crate::context::{Context, method_not_allowed};
use crate::http::body::RequestBody;
use crate::http::respond::{self, Response};
use crate::server::Inner;

/// What the server's own process knows about itself and its peers.
#[async_trait]
pub trait Joining: Send + Sync {
    /// The certificate of the authority that vouches for servers, PEM.
    fn authority(&self) -> String;

    /// What an agent has to know of the cluster.
    fn config(&self) -> Value;

    /// Compares a joining server's settings with the cluster's, and answers with what all servers share. The answer holds
    /// private keys.
    ///
    /// # Errors
    ///
    /// Names each difference.
    fn admit(&self, request: &Value) -> ApiResult<Value>;

    /// Adds the server `name` to those that hold the store.
    async fn add(&self, name: &str, request: &Value) -> ApiResult<Value>;

    /// All servers that hold the store.
    async fn servers(&self) -> ApiResult<Value>;

    /// Names of servers that do not answer, when there is no majority of them.
    async fn missing(&self) -> Vec<String>;

    /// The cluster knows the tokens of joiners: from the end of the first start on.
    fn knows_tokens(&self) -> bool;

    /// Removes the server `name` from them.
    async fn remove(&self, name: &str) -> ApiResult<Value>;

    /// The store on all servers, in figures.
    async fn store(&self) -> ApiResult<Value>;

    /// Why this server should not be asked: its state is not that of the others.
    fn store_problem(&self) -> Option<String>;

    /// What else should be known of the store.
    fn store_warnings(&self) -> Vec<String>;
}

/// True for the paths of this module.
pub fn is_path(path: &str) -> bool {
    path == AUTHORITY_PATH
        || path == CONFIG_PATH
        || path == SERVERS_PATH
        || path == STORE_PATH
        || server_name(path).is_some()
}

/// What joiners are told while this server starts. Roles and tokens are not known before: they would be refused by rights.
pub fn not_yet(server: &Inner, parts: &Parts) -> Option<ApiError> {
    let path = parts.uri.path();
    let asks_for_servers = path == SERVERS_PATH || server_name(path).is_some();
    let of_joiners = matches!(path, AUTHORITY_PATH | CONFIG_PATH) || (asks_for_servers && parts.method == Method::POST);
    let joining = server.config.joining.as_ref().filter(|_| of_joiners)?;
    if server.started.load(Ordering::Acquire) && joining.knows_tokens() {
        return None;
    }
    let again = Details { retry_after_seconds: 1, ..Details::default() };
    Some(ApiError::service_unavailable("the server is starting").with_details(again))
}

fn server_name(path: &str) -> Option<&str> {
    path.strip_prefix(SERVERS_PATH)?.strip_prefix('/').filter(|name| !name.is_empty() && !name.contains('/'))
}

pub async fn serve(context: &Context<'_>, path: &str, body: RequestBody) -> ApiResult<Response> {
    let Some(joining) = &context.server.config.joining else { return Err(ApiError::page_not_found()) };
    let method = &context.parts.method;
    let answer = match (method, path, server_name(path)) {
        (&Method::GET, AUTHORITY_PATH, _) => return Ok(respond::text(StatusCode::OK, joining.authority())),
        (&Method::GET, CONFIG_PATH, _) => joining.config(),
        (&Method::GET, SERVERS_PATH, _) => joining.servers().await?,
        (&Method::GET, STORE_PATH, _) => joining.store().await?,
        (&Method::POST, SERVERS_PATH, _) => {
            let request = joiner(context, body).await?;
            let answer = joining.admit(&request);
            let refused = answer.as_ref().err().map(|error| error.message().to_owned());
            // Whoever asks for the cluster's keys is written down, whatever came of it.
            tracing::info!(joiner = request["name"].as_str(), refused, "a server asked for the keys of the cluster");
            answer?
        }
        (&Method::POST, _, Some(name)) => {
            let request = joiner(context, body).await?;
            tracing::info!(joiner = name, "a server asks to be a member");
            joining.add(name, &request).await?
        }
        (&Method::DELETE, _, Some(name)) => {
            tracing::info!(server = name, user = context.user.name, "removing a server");
            joining.remove(name).await?
        }
        _ => return Err(method_not_allowed()),
    };
    Ok(respond::json(StatusCode::OK, &answer))
}

/// The request of a joining server. Whatever roles say, only the server token counts, and not somebody who may act for its
/// user.
async fn joiner(context: &Context<'_>, body: RequestBody) -> ApiResult<Value> {
    let token = auth::authn::bearer_of(context.parts);
    let verified = token.and_then(|token| context.server.config.tokens.review(&token, &[]).ok().flatten());
    if verified.is_none_or(|verified| verified.user.name != SERVER_USER) {
        let why = "servers join with the server token (server/token in the data folder of a server)".to_owned();
        return Err(ApiError::new(403, "Forbidden", why));
    }
    let bytes = body.read().await?;
    serde_json::from_slice(&bytes).map_err(|error| ApiError::bad_request(format!("not JSON: {error}")))
}

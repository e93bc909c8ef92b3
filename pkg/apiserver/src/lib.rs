//! The API over HTTP: authentication, authorization, decoding, admission, registry, encoding; discovery, OpenAPI, watches,
//! and the streams to kubelets.
//!
//! It must not know redb, openraft or any kind but those with endpoints of their own. Start reading at
//! [`Server`], then `pipeline` (the way of every request) and `resource` (what requests for resources do).

mod admit;
mod bootstrap;
mod connection;
mod context;
mod discovery;
mod dispatch;
mod endpoints;
mod escalation;
mod fairness;
mod feed;
mod health;
mod http;
mod joining;
mod limits;
mod metrics;
mod openapi;
mod peer;
mod pipeline;
pub mod reader;
mod resource;
mod server;
pub mod snapshots;
mod stall;
mod stream;
mod tokens;
mod upkeep;

pub use crate::http::body::{BoxError, RequestBody, ResponseBody};
pub use admit::ChainHook;
pub use connection::Bounds;
pub use endpoints::SELECTOR as SERVER_LEASES;
pub use joining::Joining;
pub use server::{ClientAuthorities, Config, InProcess, Server};

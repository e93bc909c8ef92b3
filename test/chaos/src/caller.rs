//! A client of all servers: one kept connection to each, and every answer sorted by what is known then.

use std::time::Duration;

use bytes::Bytes;
use e2e::http::{Connection, Target};
use hyper::Method;
use serde_json::Value;
use tokio::time::timeout;

/// How long a connection may take.
const CONNECT_LIMIT: Duration = Duration::from_secs(1);

/// What came of a request.
#[derive(Debug)]
pub enum Answer {
    /// The server's word: its status, and the body as far as it is JSON.
    Said(u16, Value),
    /// It was surely not sent.
    Unsent,
    /// It may have happened.
    Unknown,
}

impl Answer {
    /// The body of a success.
    pub fn success(self) -> Option<Value> {
        match self {
            Self::Said(200..=299, body) => Some(body),
            _ => None,
        }
    }
}

/// One user's connections.
pub struct Caller {
    targets: Vec<Target>,
    connections: Vec<Option<Connection>>,
    /// How long an answer may take.
    limit: Duration,
}

impl Caller {
    pub fn new(targets: Vec<Target>, limit: Duration) -> Self {
        let connections = targets.iter().map(|_| None).collect();
        Self { targets, connections, limit }
    }

    /// How many servers there are.
    pub fn servers(&self) -> usize {
        self.targets.len()
    }

    pub async fn call(&mut self, server: usize, method: Method, path: &str, body: impl Into<Bytes>) -> Answer {
        let mut connection = match self.connections[server].take() {
            Some(connection) => connection,
            None => match timeout(CONNECT_LIMIT, self.targets[server].connect()).await {
                Ok(Ok(connection)) => connection,
                _ => return Answer::Unsent,
            },
        };
        // A connection that broke or is late is not used again.
        let Ok(Ok((status, body))) = timeout(self.limit, connection.exchange(method, path, body)).await else {
            return Answer::Unknown;
        };
        self.connections[server] = Some(connection);
        Answer::Said(status.as_u16(), serde_json::from_slice(&body).unwrap_or(Value::Null))
    }

    /// Asks one server after the other until one has a success to tell.
    pub async fn ask(&mut self, method: Method, path: &str, body: &str) -> Option<Value> {
        for server in 0..self.servers() {
            if let Some(body) = self.call(server, method.clone(), path, body.to_owned()).await.success() {
                return Some(body);
            }
        }
        None
    }
}

/// The number of an object's revision.
pub fn revision(object: &Value) -> Option<u64> {
    object["metadata"]["resourceVersion"].as_str()?.parse().ok()
}

/// What a client of ours wrote into an object.
pub fn value(object: &Value) -> Option<u64> {
    object["metadata"]["annotations"]["value"].as_str()?.parse().ok()
}

/// An object with a value; with a revision it replaces that one only.
pub fn object(name: &str, value: u64, revision: Option<u64>) -> String {
    let mut metadata = serde_json::json!({ "name": name, "annotations": { "value": value.to_string() } });
    if let Some(revision) = revision {
        metadata["resourceVersion"] = revision.to_string().into();
    }
    serde_json::json!({ "apiVersion": "v1", "kind": "Secret", "metadata": metadata }).to_string()
}

//! Keeping a copy of a collection: list it, watch from the list's revision, and list again only when the server says
//! that the revision is gone (410).
//!
//! The order of events is kept, a lost connection resumes at the last revision that was seen (bookmarks included), and a
//! relist is given to the [`Sink`] as a whole so that deletions during a gap are found by comparing. Nothing is dropped:
//! an event that cannot be parsed ends the watch and leads to a relist.

mod event;

use std::pin::pin;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use component_base::Shutdown;
use http::{Request, header};
use http_body_util::BodyExt as _;
use kube::Client;
use kube::client::Body;
use rand::Rng as _;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::time::{Instant, sleep_until, timeout_at};

use self::event::Event;
use crate::cached::Source;
use crate::metrics;

/// Items a list page asks for.
const PAGE: &str = "500";
/// One watch event or list answer may not be larger than this; etcd's own limit on an object is 1.5 MB.
const EVENT_BYTES_MAX: usize = 16 << 20;
const BACKOFF_MIN: Duration = Duration::from_millis(100);
const BACKOFF_MAX: Duration = Duration::from_secs(30);
/// A watch that ends sooner than this without an event counts as failed, so that a broken server is not hammered.
const SHORT_WATCH: Duration = Duration::from_secs(1);
/// How much longer than asked a watch may be silent before the connection is given up.
const WATCH_GRACE: Duration = Duration::from_secs(30);

/// Where a reflector's findings go. Calls come from one task, in the order of revisions.
pub trait Sink<T>: Send {
    /// `metadata.resourceVersion` of an object.
    fn revision(object: &T) -> &str;
    /// The collection as a whole: what is not in `objects` does not exist (any more).
    fn replace(&mut self, objects: Vec<T>);
    fn upsert(&mut self, object: T);
    /// `object` is as it was when it was deleted.
    fn delete(&mut self, object: T);
}

/// Why a list or a watch ended.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("{0}")]
    Request(#[from] kube::Error),
    #[error("reading the answer: {0}")]
    Body(String),
    #[error("{code} {reason}: {message}")]
    Status { code: u16, reason: String, message: String },
    #[error("cannot parse {what}: {source}")]
    Parse {
        what: &'static str,
        #[source]
        source: serde_json::Error,
    },
    #[error("an event of more than {EVENT_BYTES_MAX} bytes")]
    TooLarge,
    #[error("nothing was heard for too long")]
    Silent,
    #[error("the watch ended at once")]
    Short,
}

impl Failure {
    /// The revision to continue from is not usable: only a new list helps.
    fn needs_list(&self) -> bool {
        match self {
            Self::Status { code, reason, .. } => *code == 410 || reason == "Expired" || reason == "Gone",
            Self::Parse { .. } | Self::TooLarge => true,
            _ => false,
        }
    }
}

/// Lists and watches `source` into `sink` until `shutdown`. Failures are logged and tried again for ever.
pub async fn run<T: DeserializeOwned + Send>(
    client: Client,
    source: Source,
    mut sink: impl Sink<T>,
    shutdown: Shutdown,
) {
    let reflect = async {
        let mut backoff = Backoff::default();
        loop {
            match reflect(&client, &source, &mut sink, &mut backoff).await {
                Failure::Status { code: 410, .. } => {
                    tracing::debug!(path = source.path, "revision expired; listing again")
                }
                failure => tracing::warn!(path = source.path, error = %failure, "list failed; trying again"),
            }
            backoff.wait().await;
        }
    };
    shutdown.race(reflect).await;
}

/// One list and the watches that follow from it, until only a new list helps.
async fn reflect<T: DeserializeOwned + Send>(
    client: &Client,
    source: &Source,
    sink: &mut impl Sink<T>,
    backoff: &mut Backoff,
) -> Failure {
    let (objects, mut revision) = match list(client, source).await {
        Ok(listed) => listed,
        Err(failure) => return failure,
    };
    sink.replace(objects);
    loop {
        let before = revision.clone();
        let started = Instant::now();
        let ended = watch(client, source, &mut revision, sink).await;
        if revision != before || started.elapsed() > SHORT_WATCH {
            backoff.reset();
        }
        match ended {
            Ok(()) if revision != before || started.elapsed() > SHORT_WATCH => continue,
            Ok(()) => tracing::debug!(path = source.path, error = %Failure::Short, "watching again"),
            Err(failure) if failure.needs_list() => return failure,
            Err(failure) => tracing::debug!(path = source.path, error = %failure, "watch ended; watching again"),
        }
        backoff.wait().await;
    }
}

#[derive(Deserialize)]
struct ListMeta {
    #[serde(default, rename = "resourceVersion")]
    resource_version: String,
    #[serde(default, rename = "continue")]
    next: Option<String>,
}

#[derive(Deserialize)]
struct List<T> {
    metadata: ListMeta,
    // Go writes `null` for an empty list.
    #[serde(default = "Option::default")]
    items: Option<Vec<T>>,
}

/// All pages of one consistent list. If the snapshot expires between pages, the list is taken once more in one piece.
async fn list<T: DeserializeOwned>(client: &Client, source: &Source) -> Result<(Vec<T>, String), Failure> {
    metrics::list(&source.path);
    match list_paged(client, source, Some(PAGE)).await {
        Err(Failure::Status { code: 410, .. }) => list_paged(client, source, None).await,
        other => other,
    }
}

async fn list_paged<T: DeserializeOwned>(
    client: &Client,
    source: &Source,
    limit: Option<&str>,
) -> Result<(Vec<T>, String), Failure> {
    let mut objects = Vec::new();
    let mut next = String::new();
    loop {
        let mut query = Vec::new();
        query.extend(limit.map(|limit| ("limit", limit)));
        if !next.is_empty() {
            query.push(("continue", next.as_str()));
        }
        let body = send(client, source.list_accept(), &source.uri(&query)).await?;
        let bytes = body.collect().await.map_err(|e| Failure::Body(e.to_string()))?.to_bytes();
        let page: List<T> = parse("a list", &bytes)?;
        objects.extend(page.items.unwrap_or_default());
        match page.metadata.next {
            Some(token) if !token.is_empty() => next = token,
            _ => return Ok((objects, page.metadata.resource_version)),
        }
    }
}

/// Checks the encoding once for the whole text instead of for each string in it.
fn parse<T: DeserializeOwned>(what: &'static str, bytes: &[u8]) -> Result<T, Failure> {
    let text = std::str::from_utf8(bytes).map_err(serde::de::Error::custom);
    text.and_then(serde_json::from_str).map_err(|source| Failure::Parse { what, source })
}

/// Sends a GET and hands back the body of a good answer.
async fn send(client: &Client, accept: &str, uri: &str) -> Result<Body, Failure> {
    let request = Request::get(uri).header(header::ACCEPT, accept).body(Body::empty());
    let request = request.map_err(kube::Error::HttpError)?;
    let response = client.send(request).await?;
    let code = response.status().as_u16();
    if response.status().is_success() {
        return Ok(response.into_body());
    }
    let bytes = response.into_body().collect().await.map_err(|e| Failure::Body(e.to_string()))?.to_bytes();
    Err(status_failure(code, &bytes))
}

fn status_failure(code: u16, body: &[u8]) -> Failure {
    let status: StatusBody = serde_json::from_slice(body).unwrap_or_default();
    let code = if status.code == 0 { code } else { status.code };
    Failure::Status { code, reason: status.reason, message: status.message }
}

#[derive(Default, Deserialize)]
struct StatusBody {
    #[serde(default)]
    code: u16,
    #[serde(default)]
    reason: String,
    #[serde(default)]
    message: String,
}

/// One watch request from `revision` on; `revision` follows what was seen. `Ok` is the server's orderly end.
async fn watch<T: DeserializeOwned>(
    client: &Client,
    source: &Source,
    revision: &mut String,
    sink: &mut impl Sink<T>,
) -> Result<(), Failure> {
    metrics::watch(&source.path);
    // Spread, so that the watches of a process do not all end at once.
    let seconds = rand::rng().random_range(300..600_u64);
    let seconds_text = seconds.to_string();
    let from = revision.clone();
    let query = [
        ("watch", "true"),
        ("allowWatchBookmarks", "true"),
        ("resourceVersion", from.as_str()),
        ("timeoutSeconds", seconds_text.as_str()),
    ];
    let deadline = Instant::now() + Duration::from_secs(seconds) + WATCH_GRACE;
    let uri = source.uri(&query);
    let open = send(client, &source.accept, &uri);
    let mut body = timeout_at(deadline, open).await.map_err(|_| Failure::Silent)??;
    let mut over = pin!(sleep_until(deadline));
    let mut lines = Lines::default();
    loop {
        while let Some(line) = lines.next()? {
            apply(&line, revision, sink)?;
            // A server in this process is polled here, too, and may always have more.
            tokio::task::coop::consume_budget().await;
        }
        let frame = tokio::select! {
            biased;
            frame = body.frame() => frame,
            () = over.as_mut() => return Err(Failure::Silent),
        };
        match frame {
            None => return Ok(()),
            Some(Err(error)) => return Err(Failure::Body(error.to_string())),
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    lines.push(data);
                }
            }
        }
    }
}

/// Gives one event to the sink.
fn apply<T: DeserializeOwned, S: Sink<T>>(line: &[u8], revision: &mut String, sink: &mut S) -> Result<(), Failure> {
    let mut seen = |newer: &str| {
        if !newer.is_empty() {
            newer.clone_into(revision);
        }
    };
    match parse("a watch event", line)? {
        Event::Changed(object) => {
            seen(S::revision(&object));
            sink.upsert(object);
        }
        Event::Deleted(object) => {
            seen(S::revision(&object));
            sink.delete(object);
        }
        Event::Bookmark(at) => seen(&at.metadata.resource_version),
        Event::Error(status) => return Err(status_failure(500, status.get().as_bytes())),
        Event::Unknown(kind) => tracing::warn!(%kind, "unknown kind of watch event; skipped"),
    }
    Ok(())
}

/// Cuts a stream of chunks into lines, without copying where a chunk ends with a line.
#[derive(Default)]
struct Lines {
    partial: BytesMut,
    chunk: Bytes,
}

impl Lines {
    fn push(&mut self, chunk: Bytes) {
        debug_assert!(self.chunk.is_empty(), "the last chunk was read to its end");
        self.chunk = chunk;
    }

    /// The next whole, non-empty line; `None` when more input is needed.
    fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        loop {
            let Some(end) = memchr::memchr(b'\n', &self.chunk) else {
                if self.partial.len() + self.chunk.len() > EVENT_BYTES_MAX {
                    return Err(Failure::TooLarge);
                }
                self.partial.extend_from_slice(&self.chunk);
                self.chunk.clear();
                return Ok(None);
            };
            let head = self.chunk.split_to(end + 1);
            let line = if self.partial.is_empty() {
                head.slice(..end)
            } else {
                self.partial.extend_from_slice(&head[..end]);
                self.partial.split().freeze()
            };
            if !line.trim_ascii().is_empty() {
                return Ok(Some(line));
            }
        }
    }
}

/// Doubling waits, each between half and the whole of its nominal length.
#[derive(Default)]
struct Backoff {
    failures: u32,
}

impl Backoff {
    fn reset(&mut self) {
        self.failures = 0;
    }

    fn next(&mut self) -> Duration {
        let nominal = BACKOFF_MIN.saturating_mul(1 << self.failures.min(16)).min(BACKOFF_MAX);
        self.failures += 1;
        nominal.mul_f64(rand::rng().random_range(0.5..1.0))
    }

    async fn wait(&mut self) {
        tokio::time::sleep(self.next()).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_found_across_chunks() {
        let mut lines = Lines::default();
        let mut found = Vec::new();
        for chunk in ["{\"a\"", ":1}\n{\"b\":2}\n\n", "{", "}", "\n", "rest"] {
            lines.push(Bytes::from_static(chunk.as_bytes()));
            while let Some(line) = lines.next().unwrap() {
                found.push(String::from_utf8(line.to_vec()).unwrap());
            }
        }
        assert_eq!(found, ["{\"a\":1}", "{\"b\":2}", "{}"]);
    }

    /// What a sink was told, as text.
    #[derive(Default)]
    struct Told(Vec<String>);

    impl Sink<serde_json::Value> for Told {
        fn revision(object: &serde_json::Value) -> &str {
            object["metadata"]["resourceVersion"].as_str().unwrap_or_default()
        }
        fn replace(&mut self, _: Vec<serde_json::Value>) {}
        fn upsert(&mut self, object: serde_json::Value) {
            self.0.push(format!("+{}", object["metadata"]["name"]));
        }
        fn delete(&mut self, object: serde_json::Value) {
            self.0.push(format!("-{}", object["metadata"]["name"]));
        }
    }

    #[test]
    fn an_event_is_read_whatever_the_order_of_its_fields() {
        let object = r#"{"metadata":{"name":"a","resourceVersion":"7"}}"#;
        for (line, told, at) in [
            (format!(r#"{{"type":"ADDED","object":{object}}}"#), "+\"a\"", "7"),
            (format!(r#"{{"object":{object},"type":"MODIFIED","more":[1]}}"#), "+\"a\"", "7"),
            (format!(r#"{{"type":"DELETED","object":{object}}}"#), "-\"a\"", "7"),
            (format!(r#"{{"type":"BOOKMARK","object":{object}}}"#), "", "7"),
            (format!(r#"{{"type":"NEW","object":{object}}}"#), "", "1"),
            (r#"{"type":"ADDED","object":{"metadata":{"name":"a"}}}"#.to_owned(), "+\"a\"", "1"),
        ] {
            let (mut sink, mut revision) = (Told::default(), "1".to_owned());
            apply(line.as_bytes(), &mut revision, &mut sink).unwrap();
            assert_eq!((sink.0.concat().as_str(), revision.as_str()), (told, at), "{line}");
        }
        let failure = |line: &str| apply(line.as_bytes(), &mut "1".to_owned(), &mut Told::default()).unwrap_err();
        let gone = failure(r#"{"type":"ERROR","object":{"kind":"Status","code":410,"reason":"Expired"}}"#);
        assert!(gone.needs_list() && matches!(gone, Failure::Status { code: 410, .. }), "{gone}");
        for line in ["", "{}", "[]", r#"{"type":"ADDED"}"#, r#"{"object":{}}"#, r#"{"type":"ADDED","object":{}"#] {
            assert!(matches!(failure(line), Failure::Parse { .. }), "{line}");
        }
    }

    #[test]
    fn an_endless_line_is_refused() {
        let mut lines = Lines::default();
        lines.push(Bytes::from(vec![b'x'; EVENT_BYTES_MAX]));
        assert!(lines.next().unwrap().is_none());
        lines.push(Bytes::from_static(b"x"));
        assert!(matches!(lines.next(), Err(Failure::TooLarge)));
    }

    #[test]
    fn backoff_grows_and_stays_bounded() {
        let mut backoff = Backoff::default();
        let waits: Vec<_> = (0..40).map(|_| backoff.next()).collect();
        assert!(waits[0] >= BACKOFF_MIN / 2 && waits[0] <= BACKOFF_MIN);
        assert!(waits.iter().all(|wait| *wait <= BACKOFF_MAX));
        assert!(*waits.last().unwrap() >= BACKOFF_MAX / 2);
    }
}

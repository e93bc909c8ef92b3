//! Watches over HTTP: one JSON document a line or one frame of protobuf an event, many a write where many are ready.

use std::pin::Pin;
use std::task::{Context as Poller, Poll};
use std::time::Duration;

use apimachinery::watch::EventType;
use apimachinery::{ApiError, ApiResult};
use apis::schema::Type;
use apis::schema::protobuf::{self, Envelope, WatchFrame};
use bytes::Bytes;
use futures::Stream;
use http::HeaderValue;
use rand::Rng as _;
use registry::{Found, StoredObject, WatchEvent};
use serde_json::{Value, json};
use tokio::time::Sleep;
use tokio_util::sync::WaitForCancellationFutureOwned;

use super::render::{self, api_version, is_verbatim, partial, tree_of};
use super::{options, table};
use crate::context::Context;
use crate::http::body::{BoxError, ResponseBody};
use crate::http::negotiate::{Form, Format, Media};
use crate::http::respond::{self, Response};

/// Watches without a timeout of their own end after a random time from here to twice that.
const TIMEOUT_MIN: Duration = Duration::from_secs(1800);
/// So much is gathered into one write if it is ready. Not more: what is this small the allocator keeps at hand, and larger
/// buffers are pages that have to be touched anew.
const BATCH: usize = 8 * 1024;

pub async fn serve(context: &Context<'_>, found: Found) -> ApiResult<Response> {
    let media = render::negotiate(context, found, true)?;
    let tables = table::Options::from_query(context, media.version)?;
    let query = options::watch(context, found)?;
    let timeout = context.query.number("timeoutSeconds")?.and_then(|n| u64::try_from(n).ok()).filter(|n| *n > 0);
    let timeout = timeout.map_or_else(random_timeout, Duration::from_secs);
    let encoder = Encoder { found, api_version: api_version(found), media, tables };
    let registry = context.registry();
    let reached = registry.reach_watch(&query).await;
    let events = match reached.and_then(|()| registry.watch(found.resource, context.scope(found), query)) {
        Ok(watch) => Some(watch),
        // What is too old or still to come is said in the stream, where clients look for it.
        Err(error) if matches!(error.code(), 410 | 504) => {
            let mut out = Vec::new();
            encoder.put_error(&error, &mut out);
            return Ok(respond::stream(stream_type(media), ResponseBody::full(out)));
        }
        Err(error) => return Err(error),
    };
    let frames = Frames {
        encoder,
        events,
        timeout: Box::pin(tokio::time::sleep(timeout)),
        shutdown: Box::pin(context.server.shutdown.token().cancelled_owned()),
    };
    let mut response = respond::stream(stream_type(media), ResponseBody::stream(frames));
    response.headers_mut().insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    Ok(response)
}

/// The media type of events.
fn stream_type(media: Media) -> HeaderValue {
    match media.format {
        Format::Protobuf => HeaderValue::from_static("application/vnd.kubernetes.protobuf;stream=watch"),
        _ => respond::content_type(Format::Json),
    }
}

fn random_timeout() -> Duration {
    TIMEOUT_MIN.mul_f64(1.0 + rand::rng().random::<f64>())
}

struct Frames {
    encoder: Encoder,
    events: Option<registry::Watch>,
    timeout: Pin<Box<Sleep>>,
    shutdown: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl Stream for Frames {
    type Item = Result<Bytes, BoxError>;

    fn poll_next(self: Pin<&mut Self>, poller: &mut Poller<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        let mut batch = Vec::new();
        while let Some(events) = &mut this.events {
            match Pin::new(events).poll_next(poller) {
                Poll::Ready(Some(Ok(event))) => this.encoder.put(&event, &mut batch),
                Poll::Ready(Some(Err(error))) => {
                    this.encoder.put_error(&error, &mut batch);
                    this.events = None;
                }
                Poll::Ready(None) => this.events = None,
                Poll::Pending => break,
            }
            if batch.len() >= BATCH {
                break;
            }
        }
        if !batch.is_empty() {
            return Poll::Ready(Some(Ok(batch.into())));
        }
        if this.events.is_some() && this.timeout.as_mut().poll(poller).is_ready() {
            // The next watch can start from where this one was.
            let bookmark = this.events.take().and_then(|mut events| events.closing_bookmark());
            return Poll::Ready(bookmark.map(|event| {
                this.encoder.put(&event, &mut batch);
                Ok(batch.into())
            }));
        }
        let over = this.events.is_none() || this.shutdown.as_mut().poll(poller).is_ready();
        if over { Poll::Ready(None) } else { Poll::Pending }
    }
}

/// Writes events in the form that the client reads.
struct Encoder {
    found: Found,
    api_version: String,
    media: Media,
    tables: table::Options,
}

impl Encoder {
    fn put(&mut self, event: &WatchEvent, out: &mut Vec<u8>) {
        match event {
            WatchEvent::Change { kind, object } => {
                if let Err(error) = self.put_change(*kind, object, out) {
                    self.put_error(&error, out);
                }
            }
            WatchEvent::Bookmark { revision, initial_end } => {
                let object = self.bookmark(*revision, *initial_end);
                self.put_tree(EventType::Bookmark, &object, out);
            }
        }
    }

    fn put_change(&mut self, kind: EventType, object: &StoredObject, out: &mut Vec<u8>) -> ApiResult<()> {
        if is_verbatim(self.found, self.media) {
            put_line(out, kind, object.body());
        } else if render::is_cut(self.found, self.media) {
            put_line(out, kind, &render::cut(object.body(), self.media.version)?);
        } else if render::is_message(self.media) {
            let envelope = Envelope { api_version: &self.api_version, kind: self.found.resource.kind };
            WatchFrame { event: kind.as_str(), envelope }.put(&render::message(self.found, object)?, out);
        } else {
            let tree = self.shaped(tree_of(self.found, object.body())?);
            self.put_tree(kind, &tree, out);
        }
        Ok(())
    }

    /// A tree that is already in the form that was asked for.
    fn put_tree(&self, kind: EventType, object: &Value, out: &mut Vec<u8>) {
        let text = |field: &str| object.get(field).and_then(Value::as_str).unwrap_or_default();
        if self.media.format != Format::Protobuf {
            return put_line(out, kind, object.to_string().as_bytes());
        }
        let envelope = Envelope { api_version: text("apiVersion"), kind: text("kind") };
        let (group, version) = envelope.api_version.split_once('/').unwrap_or(("", envelope.api_version));
        // All that is negotiated to be sent in protobuf has a type.
        if let Some(type_) = Type::lookup(group, version, envelope.kind) {
            WatchFrame { event: kind.as_str(), envelope }.put(&protobuf::message(type_, object), out);
        }
    }

    fn put_error(&self, error: &ApiError, out: &mut Vec<u8>) {
        self.put_tree(EventType::Error, &error.to_status(), out);
    }

    fn shaped(&mut self, tree: Value) -> Value {
        match self.media.form {
            Form::Whole => tree,
            Form::Partial | Form::PartialList => partial(&tree, self.media.version),
            Form::Table => {
                let table = table::of(self.found, self.tables, std::slice::from_ref(&tree), &tree);
                self.tables.no_headers = true;
                table
            }
        }
    }

    fn bookmark(&mut self, revision: u64, initial_end: bool) -> Value {
        let mut metadata = json!({ "resourceVersion": revision.to_string(), "creationTimestamp": null });
        if initial_end {
            metadata["annotations"] = json!({ "k8s.io/initial-events-end": "true" });
        }
        let object = json!({
            "kind": self.found.resource.kind, "apiVersion": self.api_version, "metadata": metadata,
        });
        if self.media.form != Form::Table {
            return self.shaped(object);
        }
        let mut table = table::of(self.found, self.tables, &[], &object);
        self.tables.no_headers = true;
        table["rows"] = json!([{ "cells": [], "object": partial(&object, self.media.version) }]);
        table
    }
}

fn put_line(out: &mut Vec<u8>, kind: EventType, object: &[u8]) {
    let kind = kind.as_str();
    out.reserve(object.len() + kind.len() + 24);
    out.extend_from_slice(b"{\"type\":\"");
    out.extend_from_slice(kind.as_bytes());
    out.extend_from_slice(b"\",\"object\":");
    out.extend_from_slice(object);
    out.extend_from_slice(b"}\n");
}

//! Watches over HTTP: one JSON document a line, many lines a write where many are ready.

use std::pin::Pin;
use std::task::{Context as Poller, Poll};
use std::time::Duration;

use apimachinery::watch::EventType;
use apimachinery::{ApiError, ApiResult};
use bytes::{BufMut as _, Bytes, BytesMut};
use futures::Stream;
use http::HeaderValue;
use rand::Rng as _;
use registry::{Found, WatchEvent};
use serde_json::{Value, json};
use tokio::time::Sleep;
use tokio_util::sync::WaitForCancellationFutureOwned;

use super::render::{api_version, is_verbatim, partial, tree_of};
use super::{options, table};
use crate::context::Context;
use crate::http::body::{BoxError, ResponseBody};
use crate::http::negotiate::{Form, Media, negotiate};
use crate::http::respond::{self, Response};

/// Watches without a timeout of their own end after a random time from here to twice that.
const TIMEOUT_MIN: Duration = Duration::from_secs(1800);
/// So much is gathered into one write if it is ready.
const BATCH: usize = 32 * 1024;

pub fn serve(context: &Context<'_>, found: Found) -> ApiResult<Response> {
    let media = negotiate(context.headers(), &context.query, true)?;
    let rows = table::Rows::from_query(context)?;
    let query = options::watch(context, found)?;
    let timeout = context.query.number("timeoutSeconds")?.and_then(|n| u64::try_from(n).ok()).filter(|n| *n > 0);
    let timeout = timeout.map_or_else(random_timeout, Duration::from_secs);
    let events = match context.registry().watch(found.resource, context.scope(found), query) {
        Ok(watch) => Some(watch),
        // What is too old is said in the stream, where clients look for it.
        Err(error) if error.code() == 410 => return Ok(respond::json_stream(ResponseBody::full(error_frame(&error)))),
        Err(error) => return Err(error),
    };
    let frames = Frames {
        encoder: Encoder { found, media, rows, columns: true, verbatim: is_verbatim(found, media) },
        events,
        timeout: Box::pin(tokio::time::sleep(timeout)),
        shutdown: Box::pin(context.server.shutdown.token().cancelled_owned()),
    };
    let mut response = respond::json_stream(ResponseBody::stream(frames));
    response.headers_mut().insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    Ok(response)
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
        let mut batch = BytesMut::new();
        while let Some(events) = &mut this.events {
            match Pin::new(events).poll_next(poller) {
                Poll::Ready(Some(Ok(event))) => this.encoder.put(&event, &mut batch),
                Poll::Ready(Some(Err(error))) => {
                    batch.put_slice(&error_frame(&error));
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
            return Poll::Ready(Some(Ok(batch.freeze())));
        }
        let over = this.events.is_none()
            || this.timeout.as_mut().poll(poller).is_ready()
            || this.shutdown.as_mut().poll(poller).is_ready();
        if over { Poll::Ready(None) } else { Poll::Pending }
    }
}

/// Writes events in the form that the client reads.
struct Encoder {
    found: Found,
    media: Media,
    rows: table::Rows,
    /// The next table is the first: it has the column definitions.
    columns: bool,
    verbatim: bool,
}

impl Encoder {
    fn put(&mut self, event: &WatchEvent, out: &mut BytesMut) {
        match event {
            WatchEvent::Change { kind, body } if self.verbatim => put_frame(out, *kind, body),
            WatchEvent::Change { kind, body } => match tree_of(self.found, body) {
                Ok(tree) => put_frame(out, *kind, self.shaped(tree).to_string().as_bytes()),
                Err(error) => out.put_slice(&error_frame(&error)),
            },
            WatchEvent::Bookmark { revision, initial_end } => {
                let object = self.bookmark(*revision, *initial_end);
                put_frame(out, EventType::Bookmark, object.to_string().as_bytes());
            }
        }
    }

    fn shaped(&mut self, tree: Value) -> Value {
        match self.media.form {
            Form::Whole => tree,
            Form::Partial | Form::PartialList => partial(&tree),
            Form::Table => {
                let columns = std::mem::take(&mut self.columns);
                table::of(self.found, self.rows, std::slice::from_ref(&tree), columns, &tree)
            }
        }
    }

    fn bookmark(&mut self, revision: u64, initial_end: bool) -> Value {
        let mut metadata = json!({ "resourceVersion": revision.to_string(), "creationTimestamp": null });
        if initial_end {
            metadata["annotations"] = json!({ "k8s.io/initial-events-end": "true" });
        }
        let object = json!({
            "kind": self.found.resource.kind, "apiVersion": api_version(self.found), "metadata": metadata,
        });
        match self.media.form {
            Form::Whole => object,
            Form::Partial | Form::PartialList => partial(&object),
            Form::Table => {
                let columns = std::mem::take(&mut self.columns);
                let mut table = table::of(self.found, self.rows, &[], columns, &object);
                table["rows"] = json!([{ "cells": [], "object": partial(&object) }]);
                table
            }
        }
    }
}

fn put_frame(out: &mut BytesMut, kind: EventType, object: &[u8]) {
    let kind = kind.as_str();
    out.reserve(object.len() + kind.len() + 24);
    out.put_slice(b"{\"type\":\"");
    out.put_slice(kind.as_bytes());
    out.put_slice(b"\",\"object\":");
    out.put_slice(object);
    out.put_slice(b"}\n");
}

fn error_frame(error: &ApiError) -> Bytes {
    let mut out = BytesMut::new();
    put_frame(&mut out, EventType::Error, error.to_status().to_string().as_bytes());
    out.freeze()
}

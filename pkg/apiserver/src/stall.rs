//! Clients that take nothing: a connection whose socket stands still is closed, and an answer that nobody fetches is let
//! go, so that neither holds memory for as long as the client likes.
//!
//! Nothing here runs while clients read: a timer is armed when something waits to be fetched, and looks again only while
//! something does.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;
use tokio::time::Sleep;

use crate::http::body::{BoxError, ResponseBody};

/// What is known of one connection.
pub struct Activity {
    opened: Instant,
    /// Answers that are not at their end.
    running: AtomicUsize,
    /// When the last of them ended, in milliseconds after the opening.
    quiet_since: AtomicU64,
    quiet: Notify,
    /// Streams for people, who may pause them: while there are any, nobody is hurried.
    patient: AtomicUsize,
    limit: Duration,
    streams: Mutex<Vec<Weak<Mutex<Fetched>>>>,
    armed: AtomicBool,
    fetched: Notify,
}

/// A body that is made while it is sent.
struct Fetched {
    body: Option<ResponseBody>,
    /// When a piece was handed out; empty while the client waits for us.
    since: Option<Instant>,
}

impl Activity {
    /// `limit` is how long a client may take nothing.
    pub fn new(limit: Duration) -> Arc<Self> {
        Arc::new(Self {
            opened: Instant::now(),
            running: AtomicUsize::new(0),
            quiet_since: AtomicU64::new(0),
            quiet: Notify::new(),
            patient: AtomicUsize::new(0),
            limit,
            streams: Mutex::default(),
            armed: AtomicBool::new(false),
            fetched: Notify::new(),
        })
    }

    /// Counts a request in; it is counted out when its answer is dropped.
    pub fn begin(self: &Arc<Self>) -> Running {
        self.running.fetch_add(1, Ordering::AcqRel);
        Running { activity: self.clone(), patient: false }
    }

    fn is_patient(&self) -> bool {
        self.patient.load(Ordering::Acquire) > 0
    }

    /// Returns when there was no request for `time`. Wakes nobody while requests run.
    pub async fn idle(&self, time: Duration) {
        loop {
            if self.running.load(Ordering::Acquire) > 0 {
                self.quiet.notified().await;
                continue;
            }
            let due = self.opened + Duration::from_millis(self.quiet_since.load(Ordering::Acquire)) + time;
            if due <= Instant::now() {
                return;
            }
            tokio::time::sleep_until(due.into()).await;
        }
    }

    /// Lets answers go that nobody fetches. Never returns.
    pub async fn watch_streams(&self) {
        loop {
            if !self.armed.load(Ordering::Acquire) {
                self.fetched.notified().await;
            }
            tokio::time::sleep(self.limit).await;
            // What is handed out from here on arms it again.
            self.armed.store(false, Ordering::Release);
            if self.let_go() {
                self.armed.store(true, Ordering::Release);
            }
        }
    }

    /// True if there are answers that may become overdue.
    fn let_go(&self) -> bool {
        let mut waiting = false;
        self.streams.lock().retain(|stream| {
            let Some(stream) = stream.upgrade() else { return false };
            let mut stream = stream.lock();
            match stream.since {
                Some(since) if since.elapsed() >= self.limit => stream.body = None,
                Some(_) => waiting = true,
                None => {}
            }
            stream.body.is_some()
        });
        waiting
    }

    fn handed_out(&self) {
        if !self.armed.swap(true, Ordering::AcqRel) {
            self.fetched.notify_one();
        }
    }
}

/// A request that is counted as running.
pub struct Running {
    activity: Arc<Activity>,
    patient: bool,
}

impl Running {
    /// Its answer is for a person. `for_good`: the whole connection is given to it.
    pub fn be_patient(&mut self, for_good: bool) {
        self.activity.patient.fetch_add(1, Ordering::AcqRel);
        self.patient = !for_good;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let activity = &*self.activity;
        if self.patient {
            activity.patient.fetch_sub(1, Ordering::AcqRel);
        }
        let now = u64::try_from(activity.opened.elapsed().as_millis()).unwrap_or(u64::MAX);
        activity.quiet_since.store(now, Ordering::Release);
        if activity.running.fetch_sub(1, Ordering::AcqRel) == 1 {
            activity.quiet.notify_one();
        }
    }
}

/// An answer on its connection.
pub struct Answer {
    kind: Kind,
    running: Running,
}

enum Kind {
    Whole(ResponseBody),
    Stream(Arc<Mutex<Fetched>>),
}

impl Answer {
    pub fn new(body: ResponseBody, running: Running) -> Self {
        let activity = &running.activity;
        if body.as_full().is_some() || running.patient {
            return Self { kind: Kind::Whole(body), running };
        }
        let stream = Arc::new(Mutex::new(Fetched { body: Some(body), since: None }));
        let mut streams = activity.streams.lock();
        if streams.len() == streams.capacity() {
            streams.retain(|stream| stream.strong_count() > 0);
        }
        streams.push(Arc::downgrade(&stream));
        drop(streams);
        Self { kind: Kind::Stream(stream), running }
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        let stream = match &mut this.kind {
            Kind::Whole(body) => return Pin::new(body).poll_frame(context),
            Kind::Stream(stream) => stream,
        };
        let mut stream = stream.lock();
        stream.since = None;
        let Some(body) = &mut stream.body else {
            return Poll::Ready(Some(Err("the answer was not fetched in time".into())));
        };
        let frame = Pin::new(body).poll_frame(context);
        if matches!(frame, Poll::Ready(Some(Ok(_)))) {
            stream.since = Some(Instant::now());
            this.running.activity.handed_out();
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Whole(body) => body.is_end_stream(),
            Kind::Stream(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Whole(body) => body.size_hint(),
            Kind::Stream(stream) => stream.lock().body.as_ref().map_or_else(SizeHint::default, Body::size_hint),
        }
    }
}

/// A socket that fails when it takes nothing for too long.
pub struct Socket<S> {
    inner: S,
    activity: Arc<Activity>,
    stalled: Option<Pin<Box<Sleep>>>,
}

impl<S> Socket<S> {
    pub fn new(inner: S, activity: Arc<Activity>) -> Self {
        Self { inner, activity, stalled: None }
    }

    /// What a write that waits amounts to.
    fn waits(&mut self, context: &mut Context<'_>) -> Poll<io::Error> {
        let limit = self.activity.limit;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        if stalled.as_mut().poll(context).is_pending() {
            return Poll::Pending;
        }
        self.stalled = None;
        if self.activity.is_patient() {
            // Armed again, for the time after the pause.
            return self.waits(context);
        }
        Poll::Ready(io::Error::new(io::ErrorKind::TimedOut, "the client takes nothing"))
    }

    fn judge<T>(&mut self, outcome: Poll<io::Result<T>>, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        if outcome.is_pending() {
            return self.waits(context).map(Err);
        }
        self.stalled = None;
        outcome
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Socket<S> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_read(context, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Socket<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let outcome = Pin::new(&mut this.inner).poll_write(context, buf);
        this.judge(outcome, context)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let outcome = Pin::new(&mut this.inner).poll_write_vectored(context, bufs);
        this.judge(outcome, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let outcome = Pin::new(&mut this.inner).poll_flush(context);
        this.judge(outcome, context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let outcome = Pin::new(&mut this.inner).poll_shutdown(context);
        this.judge(outcome, context)
    }
}

//! Bodies: requests come from the network or from this process, answers are bytes or a stream of them.

use std::pin::Pin;
use std::task::{Context, Poll};

use apimachinery::{ApiError, ApiResult};
use bytes::{Bytes, BytesMut};
use futures::Stream;
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt as _;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Incoming;

pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The largest body that is read.
pub const REQUEST_BODY_MAX: usize = 3 * 1024 * 1024;

/// What a client sends.
pub enum RequestBody {
    Network(Incoming),
    InProcess(UnsyncBoxBody<Bytes, BoxError>),
}

impl http_body::Body for RequestBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        match self.get_mut() {
            Self::Network(body) => Pin::new(body).poll_frame(context).map_err(Into::into),
            Self::InProcess(body) => Pin::new(body).poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Network(body) => body.is_end_stream(),
            Self::InProcess(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Network(body) => body.size_hint(),
            Self::InProcess(body) => body.size_hint(),
        }
    }
}

impl RequestBody {
    /// Reads all of it, up to `REQUEST_BODY_MAX`.
    pub async fn read(mut self) -> ApiResult<Bytes> {
        let too_large =
            || ApiError::request_too_large(format!("Request entity too large: limit is {REQUEST_BODY_MAX}"));
        let hint = http_body::Body::size_hint(&self).lower();
        if hint > REQUEST_BODY_MAX as u64 {
            return Err(too_large());
        }
        let mut first = Bytes::new();
        let mut rest = BytesMut::new();
        while let Some(frame) = self.frame().await {
            let frame = frame.map_err(|e| ApiError::bad_request(format!("unable to read the body: {e}")))?;
            let Ok(data) = frame.into_data() else { continue };
            if first.len() + rest.len() + data.len() > REQUEST_BODY_MAX {
                return Err(too_large());
            }
            // Small bodies come in one frame: no copy.
            if first.is_empty() && rest.is_empty() {
                first = data;
                continue;
            }
            if rest.is_empty() {
                rest.extend_from_slice(&first);
                first.clear();
            }
            rest.extend_from_slice(&data);
        }
        Ok(if rest.is_empty() { first } else { rest.freeze() })
    }
}

type BoxStream = Pin<Box<dyn Stream<Item = Result<Bytes, BoxError>> + Send>>;

/// What the server answers with.
pub struct ResponseBody(Kind);

enum Kind {
    Full(Bytes),
    Stream(BoxStream),
    /// The answer of another server, passed through.
    Foreign(UnsyncBoxBody<Bytes, BoxError>),
}

impl ResponseBody {
    pub fn empty() -> Self {
        Self(Kind::Full(Bytes::new()))
    }

    pub fn full(bytes: impl Into<Bytes>) -> Self {
        Self(Kind::Full(bytes.into()))
    }

    pub fn stream(stream: impl Stream<Item = Result<Bytes, BoxError>> + Send + 'static) -> Self {
        Self(Kind::Stream(Box::pin(stream)))
    }

    pub fn foreign<B>(body: B) -> Self
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        Self(Kind::Foreign(body.map_err(Into::into).boxed_unsync()))
    }

    /// The bytes, if they are all there already.
    pub fn as_full(&self) -> Option<&Bytes> {
        match &self.0 {
            Kind::Full(bytes) => Some(bytes),
            _ => None,
        }
    }
}

impl http_body::Body for ResponseBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        match &mut self.get_mut().0 {
            Kind::Full(bytes) if bytes.is_empty() => Poll::Ready(None),
            Kind::Full(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Kind::Stream(stream) => stream.as_mut().poll_next(context).map_ok(Frame::data),
            Kind::Foreign(body) => Pin::new(body).poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Full(bytes) => bytes.is_empty(),
            Kind::Stream(_) => false,
            Kind::Foreign(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Kind::Stream(_) => SizeHint::default(),
            Kind::Foreign(body) => body.size_hint(),
        }
    }
}

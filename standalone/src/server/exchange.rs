//! One request and its response, and the handling of the part of the body that a handler does not read.
//!
//! A handler may refuse a request before reading its body, and most clients read the response only after they have sent
//! everything. If the server closed the connection immediately, the client's system would discard the response. The
//! response therefore has `Connection: close`, and the rest of the body is read and discarded, within limits.

use std::{
    convert::Infallible,
    error::Error as StdError,
    fmt,
    future::poll_fn,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::{Router, body::Body, extract::ConnectInfo};
use bytes::Bytes;
use http::{
    HeaderValue, Request, Response, StatusCode,
    header::{CONNECTION, EXPECT},
};
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep};
use tower::Service as _;

use super::{Port, limits::ConnectionLimits, refusal, socket::Activity, stall::Patience};

/// The largest rest of a body that is read before the response if it has already arrived, so that the connection can be
/// reused.
const KEPT_FOR: u64 = 64 * 1024;

/// How often the connection is polled for that rest: once for data that it has buffered, and once for data in the
/// socket.
const LOOKS: usize = 3;

/// The state of the requests of one connection.
#[derive(Clone)]
pub(super) struct Exchange {
    pub(super) handlers: Router,
    pub(super) port: Port,
    pub(super) client: SocketAddr,
    pub(super) body_idle: Duration,
    pub(super) activity: Arc<Activity>,
    /// The unread rest of the last request.
    pub(super) rest: Arc<Mutex<Option<Rest>>>,
}

impl hyper::service::Service<Request<Incoming>> for Exchange {
    type Response = Response<Answer>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Answer>, Infallible>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        self.activity.begin_request();
        let working = Working(Arc::clone(&self.activity));
        let exchange = self.clone();
        Box::pin(async move { Ok(exchange.answer(request).await.map(|body| Answer { body, _working: working })) })
    }
}

impl Exchange {
    async fn answer(mut self, request: Request<Incoming>) -> Response<Body> {
        let (mut parts, incoming) = request.into_parts();
        parts.extensions.insert(ConnectInfo(self.client));
        if incoming.is_end_stream() {
            return self.ask(Request::from_parts(parts, Body::empty())).await;
        }
        let waits_for_permission = parts.headers.contains_key(EXPECT);
        let body = Arc::new(Mutex::new(Received { rest: None, state: Reading::Open }));
        let sent = Sent { incoming: Some(incoming), patience: Patience::new(self.body_idle), body: Arc::clone(&body) };
        let mut response = self.ask(Request::from_parts(parts, Body::new(sent))).await;

        let (rest, state) = {
            let mut received = locked(&body);
            (received.rest.take(), received.state)
        };
        let closes = match (rest, state) {
            (_, Reading::Whole) => false,
            // A client that sends nothing is not waited for again.
            (_, Reading::Stalled) => {
                response = refusal(self.port, StatusCode::REQUEST_TIMEOUT);
                true
            }
            (_, Reading::Broken) => {
                self.activity.leave_unread();
                true
            }
            (Some(rest), Reading::Open) => {
                // A client that waits for `100 Continue` has sent nothing, and reading would send it.
                let rest = if waits_for_permission { Some(rest) } else { take_what_is_there(rest).await };
                let closes = rest.is_some();
                *locked(&self.rest) = rest.map(Rest);
                closes
            }
            // A task that continues still has the body, or has read it by now.
            (None, Reading::Open) => locked(&body).state != Reading::Whole,
        };
        if closes {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }

    async fn ask(&mut self, request: Request<Body>) -> Response<Body> {
        // A router is always ready.
        self.handlers.call(request).await.unwrap_or_else(|never| match never {})
    }
}

/// The rest of a body after the data that has already arrived.
async fn take_what_is_there(mut incoming: Incoming) -> Option<Incoming> {
    let mut taken = 0;
    for _ in 0..LOOKS {
        let mut looked = false;
        let came = poll_fn(|cx| match Pin::new(&mut incoming).poll_frame(cx) {
            Poll::Ready(frame) => Poll::Ready(Some(frame)),
            // The connection reads more data when it is polled again.
            Poll::Pending if looked => Poll::Ready(None),
            Poll::Pending => {
                looked = true;
                cx.waker().wake_by_ref();
                Poll::Pending
            }
        });
        match came.await {
            Some(None) => return None,
            Some(Some(Ok(frame))) => taken += frame.data_ref().map_or(0, Bytes::len) as u64,
            Some(Some(Err(_))) => break,
            None => {}
        }
        if incoming.is_end_stream() {
            return None;
        }
        if taken > KEPT_FOR || incoming.size_hint().lower() > KEPT_FOR {
            break;
        }
    }
    Some(incoming)
}

/// How much of a body was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reading {
    Open,
    /// All of it.
    Whole,
    /// The client stopped sending.
    Stalled,
    /// It does not match its head, or the client has disconnected.
    Broken,
}

struct Received {
    /// The part that the handler did not read, after it has dropped the body.
    rest: Option<Incoming>,
    state: Reading,
}

/// The body of a request for its handler.
struct Sent {
    incoming: Option<Incoming>,
    patience: Patience,
    body: Arc<Mutex<Received>>,
}

#[derive(Clone, Copy, Debug)]
struct Stalled;

impl fmt::Display for Stalled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the client stopped sending the body")
    }
}

impl StdError for Stalled {}

impl http_body::Body for Sent {
    type Data = Bytes;
    type Error = axum::BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::BoxError>>> {
        let this = &mut *self;
        let Some(incoming) = &mut this.incoming else { return Poll::Ready(None) };
        let frame = match Pin::new(&mut *incoming).poll_frame(cx) {
            Poll::Ready(frame) => frame,
            Poll::Pending => {
                ready!(this.patience.poll_lost(cx));
                locked(&this.body).state = Reading::Stalled;
                return Poll::Ready(Some(Err(Stalled.into())));
            }
        };
        match &frame {
            Some(Ok(frame)) => this.patience.progress(frame.data_ref().map_or(0, Bytes::len)),
            Some(Err(_)) => locked(&this.body).state = Reading::Broken,
            None => locked(&this.body).state = Reading::Whole,
        }
        if incoming.is_end_stream() && !matches!(frame, Some(Err(_))) {
            locked(&this.body).state = Reading::Whole;
        }
        Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.as_ref().is_none_or(http_body::Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.as_ref().map_or_else(|| SizeHint::with_exact(0), http_body::Body::size_hint)
    }
}

impl Drop for Sent {
    fn drop(&mut self) {
        let mut body = locked(&self.body);
        if body.state == Reading::Open {
            body.rest = self.incoming.take();
        }
    }
}

/// The unread rest of a body.
pub(super) struct Rest(Incoming);

/// Reads and discards the rest of a body within the limits.
pub(super) struct Discarding {
    incoming: Incoming,
    left: u64,
    idle: Duration,
    end: Pin<Box<Sleep>>,
    pause: Pin<Box<Sleep>>,
}

impl Discarding {
    pub(super) fn new(rest: Rest, limits: &ConnectionLimits) -> Self {
        Self {
            incoming: rest.0,
            left: limits.discard_bytes,
            idle: limits.discard_idle,
            end: Box::pin(tokio::time::sleep(limits.discard)),
            pause: Box::pin(tokio::time::sleep(limits.discard_idle)),
        }
    }

    /// Ready when the body has ended, or the limit is reached.
    pub(super) fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while let Poll::Ready(frame) = Pin::new(&mut self.incoming).poll_frame(cx) {
            let Some(Ok(frame)) = frame else { return Poll::Ready(()) };
            let bytes = frame.data_ref().map_or(0, Bytes::len) as u64;
            self.left = self.left.saturating_sub(bytes);
            if self.left == 0 || self.incoming.is_end_stream() {
                return Poll::Ready(());
            }
            self.pause.as_mut().reset(Instant::now() + self.idle);
        }
        if self.end.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        self.pause.as_mut().poll(cx)
    }
}

/// Marks a request as in progress until it is dropped.
struct Working(Arc<Activity>);

impl Drop for Working {
    fn drop(&mut self) {
        self.0.end_request();
    }
}

/// The body of a response. The request ends with it.
pub(super) struct Answer {
    body: Body,
    _working: Working,
}

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

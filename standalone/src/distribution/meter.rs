//! Metrics of the served requests: by behaviour, never by path.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use axum::{body::Body, response::Response};
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use http_body::{Frame, SizeHint};
use xfiles_core::{
    object_key::Visibility,
    prometheus::{Counters, OTHER, Registry, status_class},
};

use super::{
    X_CACHE,
    behaviour::{Behaviour, Origins},
};

#[derive(Clone)]
pub(super) struct Meter {
    requests: Counters<3>,
    bytes: Counters<1>,
}

impl Meter {
    pub(super) fn new(registry: &Registry) -> Self {
        Self {
            requests: registry.counters(
                "xfiles_cdn_requests_total",
                "Requests to the CDN by behaviour, status class and cache result.",
                ["behaviour", "status", "cache"],
            ),
            bytes: registry.counters(
                "xfiles_cdn_bytes_total",
                "Bytes of bodies that the CDN sent to viewers.",
                ["behaviour"],
            ),
        }
    }

    /// Counts the response, and its bytes while they are sent.
    pub(super) fn count(&self, path: &str, response: Response) -> Response {
        let behaviour = label(path);
        self.requests.increment([behaviour, status_class(response.status()), cached(&response)]);
        let bytes = self.bytes.clone();
        response.map(|body| Body::new(Counted { body, bytes, behaviour, sent: 0 }))
    }
}

fn label(path: &str) -> &'static str {
    match Behaviour::of(path).map(|behaviour| (behaviour.origins, behaviour.visibility)) {
        Some((Origins::Bucket, Visibility::Public)) => "public-original",
        Some((Origins::Bucket, Visibility::Private)) => "private-original",
        Some((Origins::BucketThenWorker, Visibility::Public)) => "public-variant",
        Some((Origins::BucketThenWorker, Visibility::Private)) => "private-variant",
        None => OTHER,
    }
}

fn cached(response: &Response) -> &'static str {
    let said = |headers: &HeaderMap, word: &str| {
        headers.get(X_CACHE).is_some_and(|v| v.as_bytes().starts_with(word.as_bytes()))
    };
    match response.status() {
        StatusCode::NO_CONTENT => "none",
        _ if said(response.headers(), "Hit") => "hit",
        _ if said(response.headers(), "Miss") => "miss",
        _ => "error",
    }
}

/// A body whose bytes are counted when it ends for any reason.
struct Counted {
    body: Body,
    bytes: Counters<1>,
    behaviour: &'static str,
    sent: u64,
}

impl http_body::Body for Counted {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &polled {
            self.sent += frame.data_ref().map_or(0, Bytes::len) as u64;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        if self.sent > 0 {
            self.bytes.add([self.behaviour], self.sent as f64);
        }
    }
}

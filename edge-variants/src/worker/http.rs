//! The worker's route, and its replies.

use std::time::Duration;

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    response::{IntoResponse as _, Response},
};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use xfiles_core::{object_key::ObjectKey, variant::ImageFormat};

use super::{Worker, decodings::Failure, refusals::REFUSAL_LIFE};
use crate::render::Refusal;

/// The largest reply that Lambda carries: 6 MB of JSON with the bytes in base64, less the headers.
const MAX_REPLY_BYTES: usize = 4_500_000;

/// Names the reason why there is no variant; the body explains it.
const REFUSAL: HeaderName = HeaderName::from_static("x-variant-refusal");

/// What comes of a request for a variant.
#[derive(Clone, Debug)]
pub(super) enum Outcome {
    Made {
        bytes: Bytes,
        format: ImageFormat,
        /// The ETag that the bucket will reply with, if this worker stored the variant.
        etag: Option<HeaderValue>,
    },
    /// Another variant, because the one asked for is not ready yet.
    Stopgap {
        bytes: Bytes,
        format: ImageFormat,
    },
    NotFound,
    Refused(Refusal),
    Unavailable(Duration),
}

impl From<Failure> for Outcome {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::NotFound => Self::NotFound,
            Failure::Unavailable(retry_after) => Self::Unavailable(retry_after),
        }
    }
}

impl Worker {
    /// One route for every path: GET and HEAD of a variant.
    pub fn router(self) -> Router {
        Router::new().fallback(serve).with_state(self)
    }
}

async fn serve(State(worker): State<Worker>, request: Request) -> Response {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        return (StatusCode::METHOD_NOT_ALLOWED, [(header::ALLOW, "GET, HEAD")]).into_response();
    }
    // A variant has one URL: no query, no encoding, no second slash.
    let path = request.uri().path().strip_prefix('/').filter(|_| request.uri().query().is_none());
    match path.and_then(|path| path.parse::<ObjectKey>().ok()) {
        Some(key) => {
            let outcome = worker.variant(&key).await;
            reply(&key, outcome)
        }
        None => not_found(),
    }
}

fn reply(key: &ObjectKey, outcome: Outcome) -> Response {
    match outcome {
        // The variant is stored by now, so the same URL leads to the bucket, which has no such limit. The worker does not
        // see the viewer's query; the distribution replaces the location with the viewer's own URL. A fragment alone would
        // keep the query (RFC 3986, section 5.2.2), but curl 7.88 resolves one to the parent folder and drops the query.
        Outcome::Made { bytes, .. } | Outcome::Stopgap { bytes, .. } if bytes.len() > MAX_REPLY_BYTES => {
            let headers = [(header::LOCATION, format!("/{key}")), (header::CACHE_CONTROL, "no-store".to_owned())];
            (StatusCode::FOUND, headers).into_response()
        }
        Outcome::Made { bytes, format, etag } => {
            let headers = [(header::CONTENT_TYPE, format.mime()), (header::CACHE_CONTROL, key.cache_control())];
            let etag = etag.map(|etag| [(header::ETAG, etag)]);
            (headers, etag.into_iter().flatten().collect::<HeaderMap>(), Body::from(bytes)).into_response()
        }
        // Not with this key's cache headers: the next request may find the variant itself.
        Outcome::Stopgap { bytes, format } => {
            let headers = [(header::CONTENT_TYPE, format.mime()), (header::CACHE_CONTROL, "no-store")];
            (headers, Body::from(bytes)).into_response()
        }
        Outcome::NotFound => not_found(),
        // A faster or less busy machine may render it in time.
        Outcome::Refused(Refusal::OutOfTime) => unavailable(REFUSAL_LIFE),
        Outcome::Refused(refusal) => {
            let headers = [
                (header::CACHE_CONTROL, "public, max-age=0, s-maxage=60"),
                (header::CONTENT_TYPE, "text/plain; charset=utf-8"),
                (REFUSAL, refusal.code()),
            ];
            (StatusCode::UNSUPPORTED_MEDIA_TYPE, headers, refusal.to_string()).into_response()
        }
        Outcome::Unavailable(retry_after) => unavailable(retry_after),
    }
}

fn unavailable(retry_after: Duration) -> Response {
    let headers = [
        (header::RETRY_AFTER, HeaderValue::from(retry_after.as_secs().max(1))),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    (StatusCode::SERVICE_UNAVAILABLE, headers).into_response()
}

fn not_found() -> Response {
    (StatusCode::NOT_FOUND, [(header::CACHE_CONTROL, "public, max-age=0, s-maxage=10")]).into_response()
}

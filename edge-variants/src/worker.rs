//! From a path that the bucket does not hold to the variant that belongs there.
//!
//! The worker does not know who asks: it decides from the path and the record alone. It makes exactly the variants
//! that a record offers, stores each where its path says, and answers 404 to everything else without reading a byte.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    response::{IntoResponse as _, Response},
};
use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode, header};
use tokio::sync::{OnceCell, Semaphore};
use xfiles_core::{
    catalog::Consistency,
    error::{Cause, Error},
    lifecycle::Files,
    object_key::ObjectKey,
};

use crate::render::{self, Refusal};

/// The largest reply that Lambda carries: 6 MB of JSON with the bytes in base64, less the headers.
const MAX_REPLY_BYTES: usize = 4_500_000;

/// The worker: the files, and how many pictures it works on at once.
#[derive(Clone)]
pub struct Worker {
    files: Files,
    renders: Arc<Semaphore>,
    flights: Flights,
}

/// The variants that are being made. Whoever asks for one of them waits for it rather than making it again.
type Flights = Arc<Mutex<HashMap<ObjectKey, Arc<OnceCell<Outcome>>>>>;

#[derive(Clone, Debug)]
enum Outcome {
    Made(Bytes),
    NotFound,
    Refused(Refusal),
    Unavailable(Duration),
}

impl Worker {
    /// A worker that renders at most `renders` pictures at once.
    pub fn new(files: Files, renders: usize) -> Self {
        Self { files, renders: Arc::new(Semaphore::new(renders)), flights: Flights::default() }
    }

    /// One route, every path: GET and HEAD of a variant.
    pub fn router(self) -> Router {
        Router::new().fallback(serve).with_state(self)
    }

    /// Makes the variant once, however many ask for it at the same time.
    async fn variant(&self, key: &ObjectKey) -> Outcome {
        let flight = {
            let mut flights = self.flights.lock().unwrap_or_else(PoisonError::into_inner);
            flights.entry(key.clone()).or_default().clone()
        };
        let outcome = flight.get_or_init(|| self.make_or_explain(key)).await.clone();
        let mut flights = self.flights.lock().unwrap_or_else(PoisonError::into_inner);
        if flights.get(key).is_some_and(|current| Arc::ptr_eq(current, &flight)) {
            flights.remove(key);
        }
        outcome
    }

    async fn make_or_explain(&self, key: &ObjectKey) -> Outcome {
        match self.make(key).await {
            Ok(outcome) => outcome,
            Err(Error::Unavailable { retry_after, source }) => {
                tracing::warn!(cause = %source, "a variant could not be made now");
                Outcome::Unavailable(retry_after)
            }
            Err(error) => {
                let cause = Cause::new("making a variant", &error);
                tracing::error!(%cause, "a variant could not be made");
                Outcome::Unavailable(Duration::from_secs(5))
            }
        }
    }

    async fn make(&self, key: &ObjectKey) -> Result<Outcome, Error> {
        let ObjectKey::Variant { file: id, spec, .. } = *key else {
            return Ok(Outcome::NotFound);
        };
        let file = match self.files.catalog.file(id, Consistency::Eventual).await {
            Ok(file) if file.offers(key) => file,
            Ok(_) | Err(Error::FileNotFound) => return Ok(Outcome::NotFound),
            Err(error) => return Err(error),
        };
        // One permit from before the original is in memory until the variant is out of it: the permits bound both.
        let permit = self.renders.acquire().await.expect("the semaphore is never closed");
        let Some(original) = self.files.blobs.get(&file.original_key()).await? else {
            return Ok(Outcome::NotFound);
        };
        let rendered = tokio::task::spawn_blocking(move || render::render(&original, spec)).await;
        drop(permit);
        let bytes = match rendered {
            Ok(Ok(rendered)) => Bytes::from(rendered.bytes),
            Ok(Err(Refusal::FormatNotOffered)) => return Ok(Outcome::NotFound),
            Ok(Err(refusal)) => return Ok(Outcome::Refused(refusal)),
            Err(panic) => return Err(Error::Internal(Cause::new("rendering", &panic))),
        };
        self.files.blobs.put_variant(key, bytes.clone()).await?;
        // The record may have changed while the picture was made; then, or when nobody can tell, what was just stored
        // must not stay.
        match self.files.catalog.file(id, Consistency::Strong).await {
            Ok(now) if now.epoch == file.epoch && now.offers(key) => Ok(Outcome::Made(bytes)),
            read => {
                self.files.blobs.delete([key.clone()]).await?;
                match read {
                    Ok(_) | Err(Error::FileNotFound) => Ok(Outcome::NotFound),
                    Err(error) => Err(error),
                }
            }
        }
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
        // Stored by now, so the same path leads to the bucket, which has no such limit.
        Outcome::Made(bytes) if bytes.len() > MAX_REPLY_BYTES => {
            let location = HeaderValue::from_str(&format!("/{key}")).expect("a key is visible ASCII");
            let headers = [(header::LOCATION, location), (header::CACHE_CONTROL, HeaderValue::from_static("no-store"))];
            (StatusCode::FOUND, headers).into_response()
        }
        Outcome::Made(bytes) => {
            let ObjectKey::Variant { spec, .. } = key else {
                return not_found();
            };
            let headers = [(header::CONTENT_TYPE, spec.format.mime()), (header::CACHE_CONTROL, key.cache_control())];
            (headers, Body::from(bytes)).into_response()
        }
        Outcome::NotFound => not_found(),
        Outcome::Refused(refusal) => {
            let headers = [(header::CACHE_CONTROL, "public, max-age=0, s-maxage=60")];
            (StatusCode::UNSUPPORTED_MEDIA_TYPE, headers, refusal.to_string()).into_response()
        }
        Outcome::Unavailable(retry_after) => {
            let headers = [
                (header::RETRY_AFTER, HeaderValue::from(retry_after.as_secs().max(1))),
                (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
            ];
            (StatusCode::SERVICE_UNAVAILABLE, headers).into_response()
        }
    }
}

fn not_found() -> Response {
    (StatusCode::NOT_FOUND, [(header::CACHE_CONTROL, "public, max-age=0, s-maxage=10")]).into_response()
}

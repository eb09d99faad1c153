//! Step 4, on a miss: the origins. The bucket first; then, for a variant that it does not have, the worker. The worker
//! gets only the path: no query, no cookie, no header of the viewer.

use std::{sync::Arc, time::Duration};

use aws_sdk_s3::{
    Client,
    error::{ProvideErrorMetadata as _, SdkError},
    operation::get_object::{GetObjectError, GetObjectOutput, builders::GetObjectFluentBuilder},
    primitives::DateTimeFormat,
};
use axum::{
    Router,
    body::{Body, to_bytes},
    extract::Request,
    response::Response,
};
use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, StatusCode,
    header::{
        CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LENGTH, CONTENT_TYPE, ETAG,
        LAST_MODIFIED, LOCATION, RETRY_AFTER,
    },
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tower::ServiceExt as _;
use xfiles_core::{blobs::DAMAGE_HEADER, object_key::ObjectKey};

use super::{
    behaviour::{Behaviour, Origins},
    range::ByteRange,
};

/// The largest object that is held in memory; larger ones are streamed from the bucket to each viewer.
pub(super) const MAX_HELD: usize = 8 * 1024 * 1024;

/// The unit in which memory is counted.
const UNIT: usize = 1024;

/// `Retry-After` if there is not enough memory.
const RETRY_SECONDS: &str = "1";

/// How long a 404 is cached. This is also CloudFront's default for errors.
const MISSING_LIFETIME: Duration = Duration::from_secs(10);

/// The headers of an origin's response that describe the object and are passed to the viewer.
const DESCRIBING: [HeaderName; 7] =
    [CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_TYPE, ETAG, LAST_MODIFIED];

/// A bucket and its client.
#[derive(Clone, Debug)]
pub struct Bucket {
    /// A client with permission to get objects.
    pub client: Client,
    /// The name of the bucket.
    pub name: String,
}

pub(super) struct Origin {
    pub(super) bucket: Bucket,
    pub(super) worker: Router,
    pub(super) memory: Memory,
}

/// The memory for objects: those being fetched, those in the cache, and those that slow viewers still read after their
/// eviction. Clones share it.
#[derive(Clone)]
pub(super) struct Memory(Arc<Semaphore>);

impl Memory {
    pub(super) fn new(bytes: usize) -> Self {
        Self(Arc::new(Semaphore::new((bytes / UNIT).min(Semaphore::MAX_PERMITS))))
    }

    /// Reserves memory, if enough is available.
    fn room(&self, bytes: u64) -> Option<OwnedSemaphorePermit> {
        let units = u32::try_from(bytes.div_ceil(UNIT as u64)).ok()?;
        Arc::clone(&self.0).try_acquire_many_owned(units).ok()
    }
}

/// Bytes whose memory is released with the last reader.
struct Held {
    bytes: Bytes,
    _room: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

fn held(bytes: Bytes, room: OwnedSemaphorePermit) -> Bytes {
    Bytes::from_owner(Held { bytes, _room: room })
}

/// The response of the origins for a path.
pub(super) type Outcome = Result<Arc<Object>, Absence>;

/// The reason why there is no object.
#[derive(Clone, Debug)]
pub(super) enum Absence {
    /// Neither origin has the object, or the reader lacks permission to know.
    Missing,
    /// The origin redirects the viewer. Not cached.
    Elsewhere {
        /// The target, relative to the viewer's URL.
        location: HeaderValue,
    },
    /// An origin refused, or returned no usable response.
    Failed {
        status: StatusCode,
        /// `Retry-After` of the origin.
        retry_after: Option<HeaderValue>,
        /// How long the refusal is cached, if the origin allows it.
        lifetime: Duration,
    },
}

pub(super) struct Object {
    pub(super) headers: HeaderMap,
    pub(super) length: u64,
    body: Option<Bytes>,
    lifetime: Duration,
}

impl Origin {
    pub(super) async fn fetch(&self, behaviour: &Behaviour) -> Outcome {
        let asked = self.get(&behaviour.key).send().await;
        // The worker can replace damaged variants: it renders them again, and the store accepts the replacement.
        let worker_can_help = match &asked {
            Ok(_) => false,
            Err(error) => is_absent(error) || is_damaged(error),
        };
        match (asked, behaviour.origins) {
            (Err(_), Origins::BucketThenWorker) if worker_can_help => self.ask_worker(&behaviour.key).await,
            (Ok(output), _) => take_in(&behaviour.key, output, &self.memory).await,
            (Err(error), _) => Err(refusal(&behaviour.key, &error)),
        }
    }

    /// Streams an object that is too large to be held, or a range of it, from the bucket.
    pub(super) async fn stream(
        &self,
        key: &ObjectKey,
        object: &Object,
        range: Option<ByteRange>,
    ) -> Result<Body, Absence> {
        // Ensures that the same version is streamed that was described.
        let etag = object.headers.get(ETAG).and_then(|etag| etag.to_str().ok()).map(ToOwned::to_owned);
        let range = range.map(|range| format!("bytes={}-{}", range.first, range.last));
        let request = self.get(key).set_if_match(etag).set_range(range);
        match request.send().await {
            Ok(output) => Ok(Body::new(output.body.into_inner())),
            Err(error) => Err(refusal(key, &error)),
        }
    }

    fn get(&self, key: &ObjectKey) -> GetObjectFluentBuilder {
        self.bucket.client.get_object().bucket(&self.bucket.name).key(key.to_string())
    }

    async fn ask_worker(&self, key: &ObjectKey) -> Outcome {
        let request = Request::builder().uri(format!("/{key}")).body(Body::empty()).expect("a key is a path");
        let Ok(response) = self.worker.clone().oneshot(request).await;
        match response.status() {
            StatusCode::OK => take_over(key, response, &self.memory).await,
            // The variant is too large for a Lambda response; the worker has stored it and redirects the viewer here.
            StatusCode::FOUND => match response.headers().get(LOCATION) {
                Some(location) => Err(Absence::Elsewhere { location: location.clone() }),
                None => Err(failure(key, "the worker's redirect has no target")),
            },
            StatusCode::FORBIDDEN | StatusCode::NOT_FOUND => Err(Absence::Missing),
            status => {
                let headers = response.headers();
                // Failures are not cached. A refusal by the worker, for example of an original that is not an image, is
                // cached as long as the worker says.
                let lifetime = if status.is_client_error() { shared_lifetime(headers) } else { Duration::ZERO };
                Err(Absence::Failed { status, retry_after: headers.get(RETRY_AFTER).cloned(), lifetime })
            }
        }
    }
}

/// Converts the bucket's response.
async fn take_in(key: &ObjectKey, output: GetObjectOutput, memory: &Memory) -> Outcome {
    let headers = headers_of(&output);
    let Some(length) = output.content_length().and_then(|length| u64::try_from(length).ok()) else {
        return Err(failure(key, "the bucket's response has no length"));
    };
    if length > MAX_HELD as u64 {
        return Ok(Arc::new(Object::described(headers, length, None)));
    }
    let Some(room) = memory.room(length) else {
        // It is streamed to this viewer, and not cached.
        return Ok(Arc::new(Object { lifetime: Duration::ZERO, ..Object::described(headers, length, None) }));
    };
    match output.body.collect().await.map(|body| body.into_bytes()) {
        Ok(body) if body.len() as u64 == length => {
            Ok(Arc::new(Object::described(headers, length, Some(held(body, room)))))
        }
        Ok(_) | Err(_) => Err(failure(key, "the bucket's response ended early")),
    }
}

/// Converts the worker's response.
async fn take_over(key: &ObjectKey, response: Response, memory: &Memory) -> Outcome {
    let (parts, body) = response.into_parts();
    let mut headers = parts.headers;
    let declared = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    match to_bytes(body, MAX_HELD).await {
        Ok(body) if declared.is_none_or(|length| length == body.len()) => {
            headers =
                DESCRIBING.into_iter().filter_map(|name| headers.remove(&name).map(|value| (name, value))).collect();
            let length = body.len() as u64;
            let room = memory.room(length).ok_or(Absence::NO_MEMORY)?;
            Ok(Arc::new(Object::described(headers, length, Some(held(body, room)))))
        }
        Ok(_) | Err(_) => Err(failure(key, "the worker's response ended early or is too large")),
    }
}

fn headers_of(output: &GetObjectOutput) -> HeaderMap {
    let last_modified = output.last_modified().and_then(|time| time.fmt(DateTimeFormat::HttpDate).ok());
    [
        (CACHE_CONTROL, output.cache_control()),
        (CONTENT_DISPOSITION, output.content_disposition()),
        (CONTENT_ENCODING, output.content_encoding()),
        (CONTENT_LANGUAGE, output.content_language()),
        (CONTENT_TYPE, output.content_type()),
        (ETAG, output.e_tag()),
        (LAST_MODIFIED, last_modified.as_deref()),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some((name, HeaderValue::from_str(value?).ok()?)))
    .collect()
}

/// Returns true if the bucket has no such object. S3 returns 403 for this to readers without list permission.
fn is_absent(error: &SdkError<GetObjectError>) -> bool {
    matches!(status_of(error), Some(403 | 404))
}

/// Returns true if the bucket has the object but its bytes are damaged or missing.
fn is_damaged(error: &SdkError<GetObjectError>) -> bool {
    error.raw_response().is_some_and(|response| response.headers().get(DAMAGE_HEADER).is_some())
}

fn status_of(error: &SdkError<GetObjectError>) -> Option<u16> {
    error.raw_response().map(|response| response.status().as_u16())
}

/// Converts an error of the bucket.
fn refusal(key: &ObjectKey, error: &SdkError<GetObjectError>) -> Absence {
    if is_absent(error) {
        return Absence::Missing;
    }
    let status = status_of(error);
    tracing::warn!(object.directory = %directory(key), s3.status = status, s3.code = error.code(), "the bucket returned an error: {error}");
    Absence::BROKEN
}

fn failure(key: &ObjectKey, what: &str) -> Absence {
    tracing::warn!(object.directory = %directory(key), "{what}");
    Absence::BROKEN
}

/// The directory of a key, for logs. The stored name is omitted, because it is derived from the client's file name.
fn directory(key: &ObjectKey) -> String {
    let key = key.to_string();
    key.rsplit_once('/').map(|(directory, _)| directory.to_owned()).unwrap_or_default()
}

/// How long an outcome may be cached; zero if not at all.
pub(super) fn lifetime(outcome: &Outcome) -> Duration {
    match outcome {
        Ok(object) => object.lifetime,
        Err(Absence::Missing) => MISSING_LIFETIME,
        Err(Absence::Elsewhere { .. }) => Duration::ZERO,
        Err(Absence::Failed { lifetime, .. }) => *lifetime,
    }
}

impl Absence {
    pub(super) const BROKEN: Self =
        Self::Failed { status: StatusCode::BAD_GATEWAY, retry_after: None, lifetime: Duration::ZERO };

    /// Not enough memory is available at the moment.
    const NO_MEMORY: Self = Self::Failed {
        status: StatusCode::SERVICE_UNAVAILABLE,
        retry_after: Some(HeaderValue::from_static(RETRY_SECONDS)),
        lifetime: Duration::ZERO,
    };
}

impl Object {
    fn described(headers: HeaderMap, length: u64, body: Option<Bytes>) -> Self {
        let lifetime = shared_lifetime(&headers);
        Self { headers, length, body, lifetime }
    }

    /// The bytes, if the object is held in memory.
    pub(super) fn held_body(&self) -> Option<&Bytes> {
        self.body.as_ref()
    }

    #[cfg(test)]
    pub(super) fn held(body: Bytes, lifetime: Duration) -> Self {
        Self { headers: HeaderMap::new(), length: body.len() as u64, body: Some(body), lifetime }
    }
}

/// How long a shared cache may keep a response with these headers. Like CloudFront, `private` responses are not cached.
fn shared_lifetime(headers: &HeaderMap) -> Duration {
    let cache_control = headers.get(CACHE_CONTROL).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let (mut max_age, mut s_maxage) = (None, None);
    for directive in cache_control.split(',').map(|directive| directive.trim().to_ascii_lowercase()) {
        let (name, value) = directive.split_once('=').unwrap_or((&directive, ""));
        match name {
            "no-store" | "no-cache" | "private" => return Duration::ZERO,
            "s-maxage" => s_maxage = value.parse().ok(),
            "max-age" => max_age = value.parse().ok(),
            _ => {}
        }
    }
    s_maxage.or(max_age).map_or(Duration::ZERO, Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_released_when_the_last_reader_is_dropped() {
        let memory = Memory::new(10 * UNIT);
        let body = held(Bytes::from_static(b"hello"), memory.room(9 * UNIT as u64).unwrap());
        let part = body.slice(1..3);
        drop(body);
        assert!(memory.room(2 * UNIT as u64).is_none());
        assert_eq!(part, "el");
        drop(part);
        assert!(memory.room(10 * UNIT as u64).is_some());
        assert!(memory.room(u64::MAX).is_none());
    }

    #[test]
    fn the_shared_lifetime_is_s_maxage_and_else_max_age() {
        for (cache_control, seconds) in [
            ("public, max-age=3600, s-maxage=31536000", 31_536_000),
            ("max-age=300, s-maxage=31536000", 31_536_000),
            ("Max-Age=300", 300),
            ("s-maxage=60, no-store", 0),
            ("private, max-age=300", 0),
            ("no-cache", 0),
            ("s-maxage=soon", 0),
            ("", 0),
        ] {
            let headers = HeaderMap::from_iter([(CACHE_CONTROL, HeaderValue::from_static(cache_control))]);
            assert_eq!(shared_lifetime(&headers), Duration::from_secs(seconds), "{cache_control}");
        }
    }
}

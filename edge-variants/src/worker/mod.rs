//! From a path that the bucket does not hold to the variant that belongs there.
//!
//! The worker does not know who asks: it decides from the path and the record alone. It makes exactly the variants
//! that a record offers, stores each where its path says, and answers 404 to everything else without reading a byte.
//!
//! It takes on no more than it can do: so many pictures at once, so many more that wait, and 503 to the rest. An
//! original that is refused once, or was given up because it took too long, is refused for a minute without being read
//! again. AVIF takes seconds where the others take a fraction of one, so nobody waits for it for long: see
//! [`Worker::patient_for`].

mod placeholder;

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    response::{IntoResponse as _, Response},
};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch};
use xfiles_core::{
    blobs::{Reading, StoredVariant},
    catalog::Consistency,
    clock::Timestamp,
    error::{Cause, Error},
    file::File,
    id::FileId,
    lifecycle::Stores,
    metrics::{Metric, Metrics},
    object_key::ObjectKey,
    thumbhash::ThumbHash,
    variant::{Colour, ImageFormat, VariantSpec},
};

use crate::render::{Arrival, CutOff, Decoding, Job, Original, Refusal, Rendered, Small};

/// The largest reply that Lambda carries: 6 MB of JSON with the bytes in base64, less the headers.
const MAX_REPLY_BYTES: usize = 4_500_000;

/// How long somebody waits for AVIF. A page waits for its pictures about as long.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long a variant waits for its turn, and how long an original may take to be a small picture. Together less than the
/// function may take.
const TURN: Duration = Duration::from_secs(25);
const RENDER: Duration = Duration::from_secs(15);

/// How many variants wait for each that is being made: a page of thumbnails takes a few seconds then.
const WAITING_PER_RENDER: usize = 64;

/// How long an original that was refused is not looked at again. As long as the CDN remembers the refusal.
const REFUSAL_LIFE: Duration = Duration::from_secs(60);

/// What fails if the store does not give an original.
const READING: &str = "reading an original";

/// How many refusals are remembered. Forgetting one costs a look at the original.
const MAX_REFUSALS: usize = 10_000;

/// The worker: the files, and how many pictures it works on at once.
#[derive(Clone)]
pub struct Worker {
    files: Stores,
    lane: Lane,
    /// Beside the other, for what is shown while AVIF is made: on Lambda that alone would fill it.
    stopgaps: Lane,
    patience: Duration,
    render: Duration,
    background: Colour,
    flights: Flights,
    refusals: Arc<Mutex<HashMap<FileId, (Refusal, Timestamp)>>>,
    metrics: Metrics,
}

/// The variants that are being made. Whoever asks for one of them waits for it rather than making it again.
type Flights = Arc<Mutex<HashMap<ObjectKey, watch::Receiver<Option<Outcome>>>>>;

/// So many at once, and so many more that wait.
#[derive(Clone)]
struct Lane {
    places: Arc<Semaphore>,
    renders: Arc<Semaphore>,
    decodings: Decodings,
}

/// The originals that are being decoded, or wait for it, and the variants that are still to be made of each. Whoever wants
/// another variant of one of them has it made of the same bytes, and where it can be of the same pixels. A file has no
/// more than 35.
type Decodings = Arc<Mutex<HashMap<FileId, Vec<Order>>>>;

/// A variant that is wanted of a decoding.
struct Order {
    job: Job,
    reply: oneshot::Sender<Result<Shrunk, Failure>>,
}

/// What only has to be encoded, and the decoding's own permit for the last who gets something of it.
struct Shrunk {
    small: Result<Small, Refusal>,
    permit: Option<OwnedSemaphorePermit>,
}

/// Why nothing came of a decoding, for all who waited for it.
#[derive(Clone, Copy)]
enum Failure {
    NotFound,
    Unavailable(Duration),
}

impl Lane {
    fn new(renders: usize) -> Self {
        let places = renders.saturating_mul(1 + WAITING_PER_RENDER).min(Semaphore::MAX_PERMITS);
        Self {
            places: Arc::new(Semaphore::new(places)),
            renders: Arc::new(Semaphore::new(renders)),
            decodings: Decodings::default(),
        }
    }
}

#[derive(Clone, Debug)]
enum Outcome {
    Made {
        bytes: Bytes,
        /// As what they are encoded.
        format: ImageFormat,
        /// As the bucket will give it from now on, if this worker stored it.
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
    /// A worker that renders at most `renders` pictures at once.
    pub fn new(files: impl Into<Stores>, renders: usize) -> Self {
        Self {
            files: files.into(),
            lane: Lane::new(renders),
            stopgaps: Lane::new(renders),
            patience: PATIENCE,
            render: RENDER,
            background: Colour::WHITE,
            flights: Flights::default(),
            refusals: Arc::default(),
            metrics: Metrics::default(),
        }
    }

    /// The same worker, with nobody waiting longer than this for AVIF. Who would is given the WebP of that width, which
    /// is not to be stored, and the AVIF is there for whoever asks after it is made. On Lambda, which stops a function
    /// between its requests, it is made while later ones are answered.
    #[must_use]
    pub fn patient_for(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// The same worker, giving each original this long to become a small picture. What takes longer is given up, frees its
    /// place, and is not tried again for a minute.
    #[must_use]
    pub fn rendering_within(self, render: Duration) -> Self {
        Self { render, ..self }
    }

    /// The same worker, with this colour behind what is transparent in an original and cannot be in a JPEG. Variants that
    /// are stored keep theirs.
    #[must_use]
    pub fn flattening_on(self, background: Colour) -> Self {
        Self { background, ..self }
    }

    /// The same worker, with its counts going there.
    #[must_use]
    pub fn counting(self, metrics: Metrics) -> Self {
        Self { metrics, ..self }
    }

    /// One route, every path: GET and HEAD of a variant.
    pub fn router(self) -> Router {
        Router::new().fallback(serve).with_state(self)
    }

    async fn variant(&self, key: &ObjectKey) -> Outcome {
        let made = self.made_once(key, &self.lane);
        match stopgap_for(key) {
            None => made.await,
            Some(stopgap) => match tokio::time::timeout(self.patience, made).await {
                Ok(outcome) => outcome,
                Err(_) => match self.made_once(&stopgap, &self.stopgaps).await {
                    Outcome::Made { bytes, format, .. } => Outcome::Stopgap { bytes, format },
                    other => other,
                },
            },
        }
    }

    /// Makes the variant once, however many ask for it at the same time, and even if nobody waits any more.
    fn made_once(&self, key: &ObjectKey, lane: &Lane) -> impl Future<Output = Outcome> + use<> {
        let mut landing = {
            let mut flights = self.flights.lock().unwrap_or_else(PoisonError::into_inner);
            match flights.get(key) {
                Some(landing) => landing.clone(),
                None => {
                    let (outcome, landing) = watch::channel(None);
                    flights.insert(key.clone(), landing.clone());
                    let (worker, key, lane) = (self.clone(), key.clone(), lane.clone());
                    tokio::spawn(async move {
                        // Also if it panics: the path is free then.
                        let _landed = Landed { flights: Arc::clone(&worker.flights), key: key.clone() };
                        outcome.send_replace(Some(worker.make_or_explain(&key, &lane).await));
                    });
                    landing
                }
            }
        };
        async move {
            match landing.wait_for(Option::is_some).await.as_deref() {
                Ok(Some(outcome)) => outcome.clone(),
                Ok(None) | Err(_) => Outcome::Unavailable(Duration::from_secs(5)),
            }
        }
    }

    async fn make_or_explain(&self, key: &ObjectKey, lane: &Lane) -> Outcome {
        match self.make(key, lane).await {
            Ok(outcome) => outcome,
            Err(error) => Outcome::Unavailable(explain(&error, "making a variant")),
        }
    }

    async fn make(&self, key: &ObjectKey, lane: &Lane) -> Result<Outcome, Error> {
        let ObjectKey::Variant { file: id, spec, .. } = *key else {
            return Ok(Outcome::NotFound);
        };
        let file = match self.files.catalog.file(id, Consistency::Eventual).await {
            Ok(file) if file.offers(key) => file,
            Ok(_) | Err(Error::FileNotFound) => return Ok(Outcome::NotFound),
            Err(error) => return Err(error),
        };
        if let Some(refusal) = self.refused(id) {
            return Ok(Outcome::Refused(refusal));
        }
        let Ok(_place) = lane.places.try_acquire() else {
            tracing::warn!("a variant was not begun: too many wait");
            return Ok(Outcome::Unavailable(Duration::from_secs(2)));
        };
        let job = Job::new(spec).on(self.background).with_placeholder(file.thumbhash.is_none());
        let Shrunk { small, permit } = match self.shrunk(&file, job, lane).await {
            Ok(Ok(shrunk)) => shrunk,
            Ok(Err(failure)) => return Ok(failure.into()),
            Err(gone) => return Err(Error::Internal(Cause::new("decoding", &gone))),
        };
        let rendered = match (small, permit) {
            (Ok(small), Some(permit)) => encoded(job, small, permit).await,
            (Ok(small), None) => match turn(&lane.renders).await {
                Ok(permit) => encoded(job, small, permit).await,
                Err(failure) => return Ok(failure.into()),
            },
            (Err(refusal), _) => Ok(Err(refusal)),
        };
        let (bytes, format, placeholder) = match rendered {
            Ok(Ok(rendered)) => (Bytes::from(rendered.bytes), rendered.format, rendered.placeholder),
            Ok(Err(refusal)) => {
                self.remember(id, refusal);
                return Ok(Outcome::Refused(refusal));
            }
            Err(panic) => return Err(Error::Internal(Cause::new("rendering", &panic))),
        };
        let etag = match self.files.blobs.put_variant(key, format, bytes.clone()).await? {
            StoredVariant::New { etag } => etag.and_then(|etag| etag.parse().ok()),
            StoredVariant::Before => {
                self.metrics.count(Metric::VariantsStoredBefore, 1);
                None
            }
        };
        // The record may have changed while the picture was made; then, or when nobody can tell, what was just stored
        // must not stay.
        match self.look_again(id, placeholder).await {
            Ok(now) if now.epoch == file.epoch && now.offers(key) => Ok(Outcome::Made { bytes, format, etag }),
            read => {
                self.files.blobs.delete([key.clone()]).await?;
                match read {
                    Ok(_) | Err(Error::FileNotFound) => Ok(Outcome::NotFound),
                    Err(error) => Err(error),
                }
            }
        }
    }

    /// Has a variant made of the decoding of its file that is under way, or of a new one.
    fn shrunk(&self, file: &File, job: Job, lane: &Lane) -> oneshot::Receiver<Result<Shrunk, Failure>> {
        let (reply, shrunk) = oneshot::channel();
        let order = Order { job, reply };
        let mut decodings = lane.decodings.lock().unwrap_or_else(PoisonError::into_inner);
        match decodings.entry(file.id) {
            Entry::Occupied(mut orders) => orders.get_mut().push(order),
            Entry::Vacant(place) => {
                place.insert(vec![order]);
                let queue = Queue { decodings: Arc::clone(&lane.decodings), file: file.id, is_open: true };
                let (worker, key, renders) = (self.clone(), file.original_key(), Arc::clone(&lane.renders));
                tokio::spawn(async move { worker.decode(&key, queue, &renders).await });
            }
        }
        shrunk
    }

    /// Reads an original and makes everything of it that is wanted until nothing more is.
    async fn decode(&self, original: &ObjectKey, queue: Queue, renders: &Arc<Semaphore>) {
        // One permit from before the original is in memory until it is out of it, and for each encoding: the permits
        // bound both.
        let permit = match turn(renders).await {
            Ok(permit) => permit,
            Err(failure) => return queue.fail(failure),
        };
        let object = match self.files.blobs.open(original).await {
            Ok(Some(object)) => object,
            Ok(None) => return queue.fail(Failure::NotFound),
            Err(error) => return queue.fail(Failure::Unavailable(explain(&error, READING))),
        };
        let end = Instant::now() + self.render;
        let (arrival, original) = Original::arriving(object.length());
        let fetch = tokio::spawn(carry(object, arrival, end));
        let decoded = tokio::task::spawn_blocking(move || queue.serve(Decoding::new(original), end, permit)).await;
        if let Err(panic) = decoded {
            let cause = Cause::new("decoding", &panic);
            tracing::error!(%cause, "an original could not be decoded");
        }
        if let Ok(Err(error)) = fetch.await {
            // Who waited knows already that it broke off.
            explain(&error, READING);
        }
    }

    /// The record as it is now, with the placeholder noted if there is a new one.
    async fn look_again(&self, id: FileId, placeholder: Option<ThumbHash>) -> Result<File, Error> {
        let Some(placeholder) = placeholder else {
            return self.files.catalog.file(id, Consistency::Strong).await;
        };
        match self.files.catalog.note_thumbhash(id, &placeholder).await {
            // A transaction on the record was in its way, say. The next variant has the placeholder as well.
            Err(error) if !matches!(error, Error::FileNotFound) => {
                let cause = Cause::new("noting a placeholder", &error);
                tracing::warn!(%cause, "a placeholder was not noted");
                self.files.catalog.file(id, Consistency::Strong).await
            }
            noted => noted,
        }
    }

    /// Why the original was refused a moment ago, if it was. Its bytes never change.
    fn refused(&self, id: FileId) -> Option<Refusal> {
        let refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        let (refusal, at) = *refusals.get(&id)?;
        (self.files.clock.now().since(at) < REFUSAL_LIFE).then_some(refusal)
    }

    fn remember(&self, id: FileId, refusal: Refusal) {
        // That is about the variant, and about this moment.
        if refusal == Refusal::Unencodable {
            return;
        }
        let now = self.files.clock.now();
        let mut refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        if refusals.len() >= MAX_REFUSALS {
            refusals.retain(|_, (_, at)| now.since(*at) < REFUSAL_LIFE);
        }
        if refusals.len() < MAX_REFUSALS {
            refusals.insert(id, (refusal, now));
        }
    }
}

/// What is wanted of one decoding. Dropped, it takes no more, and who waits learns that nothing comes.
struct Queue {
    decodings: Decodings,
    file: FileId,
    is_open: bool,
}

impl Drop for Queue {
    fn drop(&mut self) {
        // Once it is closed, the place of the file may be another's.
        if self.is_open {
            self.close();
        }
    }
}

impl Queue {
    /// Makes everything that is wanted, before a moment. One refusal is one for all.
    fn serve(mut self, mut decoding: Decoding<'_>, end: Instant, permit: OwnedSemaphorePermit) {
        let mut refused = None;
        let mut next = self.next(&decoding);
        while let Some(Order { job, reply }) = next {
            let small = match refused {
                Some(refusal) => Ok(Err(refusal)),
                None => decoding.shrink(job.until(end)),
            };
            refused = small.as_ref().ok().and_then(|small| small.as_ref().err().copied());
            next = self.next(&decoding);
            let answer = |permit| match small {
                Ok(small) => Ok(Shrunk { small, permit }),
                Err(CutOff) => Err(Failure::Unavailable(Duration::from_secs(1))),
            };
            if next.is_none() {
                drop(decoding);
                drop(reply.send(answer(Some(permit))));
                return;
            }
            drop(reply.send(answer(None)));
        }
    }

    /// The next variant that is wanted, of the same pixels if there is one. After the last, the next begins anew.
    fn next(&mut self, decoding: &Decoding<'_>) -> Option<Order> {
        let mut decodings = self.decodings.lock().unwrap_or_else(PoisonError::into_inner);
        let orders = decodings.get_mut(&self.file)?;
        if orders.is_empty() {
            decodings.remove(&self.file);
            self.is_open = false;
            return None;
        }
        let same = orders.iter().position(|order| decoding.has_pixels_for(&order.job));
        Some(orders.remove(same.unwrap_or(0)))
    }

    fn close(&mut self) -> Vec<Order> {
        self.is_open = false;
        self.decodings.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.file).unwrap_or_default()
    }

    /// Tells all who wait.
    fn fail(mut self, failure: Failure) {
        for order in self.close() {
            drop(order.reply.send(Err(failure)));
        }
    }
}

/// Waits for a permit.
async fn turn(renders: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, Failure> {
    let Ok(permit) = tokio::time::timeout(TURN, Arc::clone(renders).acquire_owned()).await else {
        tracing::warn!("a variant was not made: its turn did not come");
        return Err(Failure::Unavailable(Duration::from_secs(2)));
    };
    Ok(permit.expect("the semaphore is never closed"))
}

async fn encoded(
    job: Job,
    small: Small,
    permit: OwnedSemaphorePermit,
) -> Result<Result<Rendered, Refusal>, tokio::task::JoinError> {
    let rendered = tokio::task::spawn_blocking(move || job.encode(small)).await;
    drop(permit);
    rendered
}

/// Says in the log why something failed, and answers after how long it may be tried again.
fn explain(error: &Error, doing: &'static str) -> Duration {
    match error {
        Error::Unavailable { retry_after, source } => {
            tracing::warn!(cause = %source, "{doing} is not possible now");
            *retry_after
        }
        error => {
            tracing::error!(cause = %Cause::new(doing, error), "{doing} failed");
            Duration::from_secs(5)
        }
    }
}

/// Carries an object to where it is rendered, as far as that wants it. If it breaks off, or is not there in time, it never
/// ends for the other side.
async fn carry(mut object: Reading, arrival: Arrival, end: Instant) -> Result<(), Error> {
    let end = end.into();
    loop {
        let part = tokio::select! {
            () = arrival.enough() => return Ok(()),
            part = tokio::time::timeout_at(end, object.next()) => part,
        };
        let late = |_| {
            let source = Cause::because(READING, "it did not arrive in time");
            Error::Unavailable { retry_after: Duration::from_secs(1), source }
        };
        let sent = match part.map_err(late)?? {
            Some(bytes) => arrival.send(bytes).await,
            None => {
                // If nobody waits for it, that was enough.
                let _ = arrival.end().await;
                return Ok(());
            }
        };
        if sent.is_err() {
            return Ok(());
        }
    }
}

/// What is shown instead while a variant is made that takes long. Every viewer of AVIF knows WebP.
fn stopgap_for(key: &ObjectKey) -> Option<ObjectKey> {
    match key {
        ObjectKey::Variant {
            visibility,
            project,
            file,
            stem,
            spec: VariantSpec { width, format: ImageFormat::Avif },
        } => {
            let spec = VariantSpec { width: *width, format: ImageFormat::WebP };
            Some(ObjectKey::Variant {
                visibility: *visibility,
                project: *project,
                file: *file,
                stem: stem.clone(),
                spec,
            })
        }
        ObjectKey::Variant { .. } | ObjectKey::Original { .. } | ObjectKey::Staging { .. } => None,
    }
}

/// Takes a flight off the list when it ends.
struct Landed {
    flights: Flights,
    key: ObjectKey,
}

impl Drop for Landed {
    fn drop(&mut self) {
        self.flights.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
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
        // Stored by now, so the same URL leads to the bucket, which has no such limit. The worker does not see the
        // viewer's query; the distribution replaces the location with the viewer's own URL. A fragment alone would keep
        // the query (RFC 3986, section 5.2.2), but curl 7.88 resolves one to the parent folder and drops the query.
        Outcome::Made { bytes, .. } | Outcome::Stopgap { bytes, .. } if bytes.len() > MAX_REPLY_BYTES => {
            let headers = [(header::LOCATION, format!("/{key}")), (header::CACHE_CONTROL, "no-store".to_owned())];
            (StatusCode::FOUND, headers).into_response()
        }
        Outcome::Made { bytes, format, etag } => {
            let headers = [(header::CONTENT_TYPE, format.mime()), (header::CACHE_CONTROL, key.cache_control())];
            let etag = etag.map(|etag| [(header::ETAG, etag)]);
            (headers, etag.into_iter().flatten().collect::<HeaderMap>(), Body::from(bytes)).into_response()
        }
        // Not under this key's cache headers: the next request may find the variant itself.
        Outcome::Stopgap { bytes, format } => {
            let headers = [(header::CONTENT_TYPE, format.mime()), (header::CACHE_CONTROL, "no-store")];
            (headers, Body::from(bytes)).into_response()
        }
        Outcome::NotFound => not_found(),
        // Nothing is wrong with it that another machine might not bear.
        Outcome::Refused(Refusal::OutOfTime) => unavailable(REFUSAL_LIFE),
        Outcome::Refused(refusal) => {
            let headers = [(header::CACHE_CONTROL, "public, max-age=0, s-maxage=60")];
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

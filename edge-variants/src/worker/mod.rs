//! From a path that the bucket does not hold to the variant that belongs there.
//!
//! The worker does not know who asks: it decides from the path and the record alone. It makes exactly the variants
//! that a record offers, stores each where its path says, and answers 404 to everything else without reading a byte.
//!
//! It takes on no more than it can do: so many pictures at once, in so much memory together, so many more that wait, and
//! 503 to the rest. What a picture needs is read off its header before it is decoded; projects take turns. An original that is refused once, or was given up because it took too long, is refused for a minute without being read
//! again. AVIF takes seconds where the others take a fraction of one, so nobody waits for it for long: see
//! [`Worker::patient_for`].

mod budget;
mod invocations;
mod placeholder;

pub use self::invocations::Invocations;

use std::{
    any::Any,
    cell::RefCell,
    collections::{HashMap, hash_map::Entry},
    panic::{AssertUnwindSafe, catch_unwind},
    rc::Rc,
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
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use tokio::sync::{OwnedRwLockWriteGuard, RwLock, oneshot, watch};
use xfiles_core::{
    blobs::{Reading, StoredVariant},
    catalog::Consistency,
    clock::Moment,
    error::{Cause, Error},
    file::File,
    id::{FileId, ProjectId},
    metrics::{Metric, Metrics},
    object_key::ObjectKey,
    operations::Variants,
    share,
    thumbhash::ThumbHash,
    variant::{Colour, ImageFormat, VariantSpec},
};

use self::budget::{Budget, LaneKind, Permit, Places};
use crate::render::{Arrival, Decoding, Job, Original, Refusal, Rendered, Small, Unfinished};

/// The largest reply that Lambda carries: 6 MB of JSON with the bytes in base64, less the headers.
const MAX_REPLY_BYTES: usize = 4_500_000;

/// How long somebody waits for AVIF. A page waits for its pictures about as long.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long a variant waits for its turn, and how long an original may take to be a small picture. Together less than the
/// function may take.
const TURN: Duration = Duration::from_secs(25);
const RENDER: Duration = Duration::from_secs(15);

/// How many variants wait for each that is being made: a page of thumbnails takes a few seconds then. One project alone
/// gets half of these places.
const WAITING_PER_RENDER: usize = 128;

/// What a render is given to read a header with: the head of the file, the parts of it that are on their way, and what
/// most pictures need besides.
const LOOK_BYTES: u64 = 8 << 20;

/// How old a record may be when a variant is stored that was made for it. Less than
/// [`WORKER_LIFE`](xfiles_core::file::WORKER_LIFE), after which variants are purged for the last time.
const FRESH: Duration = Duration::from_secs(60);

/// How long an original that was refused is not looked at again. As long as the CDN remembers the refusal.
const REFUSAL_LIFE: Duration = Duration::from_secs(60);

/// Names why there is no variant, beside the text that says it.
const REFUSAL: HeaderName = HeaderName::from_static("x-variant-refusal");

/// What fails if the store does not give an original.
const READING: &str = "reading an original";

/// How many refusals are remembered. Forgetting one costs a look at the original.
const MAX_REFUSALS: usize = 10_000;

/// The worker: the files, and how many pictures it works on at once.
#[derive(Clone)]
pub struct Worker {
    files: Variants,
    renders: usize,
    budget: Budget,
    lane: Lane,
    /// Beside the other, for what is shown while AVIF is made: on Lambda that alone would fill it.
    stopgaps: Lane,
    patience: Duration,
    render: Duration,
    background: Colour,
    flights: Flights,
    /// Held for reading while a variant is stored, from the last check before to the last check after.
    storing: Arc<RwLock<()>>,
    refusals: Arc<Mutex<HashMap<FileId, (Refusal, Moment)>>>,
    metrics: Metrics,
}

/// While it lives, no variant is stored.
#[expect(dead_code, reason = "it is held and never looked at")]
#[derive(Debug)]
pub struct Pause(OwnedRwLockWriteGuard<()>);

/// The variants that are being made. Whoever asks for one of them waits for it rather than making it again.
type Flights = Arc<Mutex<HashMap<ObjectKey, watch::Receiver<Option<Outcome>>>>>;

/// So many at once, and so many more that wait.
#[derive(Clone)]
struct Lane {
    kind: LaneKind,
    places: Places,
    decodings: Decodings,
}

/// The originals that are being decoded, or wait for it, and the variants that are still to be made of each. Whoever wants
/// another variant of one of them has it made of the same bytes, and where it can be of the same pixels. A file has no
/// more than 35.
type Decodings = Arc<Mutex<HashMap<FileId, Vec<Order>>>>;

/// A variant that is wanted of a decoding.
struct Order {
    job: Job,
    /// Whether it is encoded afterwards.
    is_encoded: bool,
    reply: oneshot::Sender<Result<Shrunk, Failure>>,
}

/// What comes of a decoding for one variant.
enum Shrunk {
    /// What only has to be encoded, with the memory for that. The last who gets something of the decoding gets its slot
    /// as well.
    Small(Small, Permit),
    /// The variant, where there was no memory to keep the picture until its turn.
    Rendered(Result<Rendered, Refusal>),
    Refused(Refusal),
}

/// Why nothing came of a decoding, for all who waited for it.
#[derive(Clone, Copy)]
enum Failure {
    NotFound,
    Unavailable(Duration),
}

impl Lane {
    fn new(kind: LaneKind, renders: usize) -> Self {
        let places = Places::new(renders.saturating_mul(1 + WAITING_PER_RENDER));
        Self { kind, places, decodings: Decodings::default() }
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
    /// What all renders together may take when nothing else is asked for, in bytes. On a machine of 1 GB it leaves half
    /// to the system and to the rest of the program, which holds 64 MiB of the CDN's answers, the caches of two databases
    /// and the bodies that are on their way.
    pub const RENDER_MEMORY: u64 = 512 << 20;

    /// The least that all renders together need: less would refuse photographs of 12 megapixels of some kinds.
    pub const LEAST_RENDER_MEMORY: u64 = 128 << 20;

    /// A worker that renders at most `renders` pictures at once.
    pub fn new(files: impl Into<Variants>, renders: usize) -> Self {
        Self {
            files: files.into(),
            renders,
            budget: Budget::new(Self::RENDER_MEMORY, renders),
            lane: Lane::new(LaneKind::Asked, renders),
            stopgaps: Lane::new(LaneKind::Stopgap, renders),
            patience: PATIENCE,
            render: RENDER,
            background: Colour::WHITE,
            flights: Flights::default(),
            storing: Arc::default(),
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

    /// The same worker, with so many bytes for all renders together. An original that needs more than that by itself is
    /// refused.
    #[must_use]
    pub fn rendering_in(self, bytes: u64) -> Self {
        Self { budget: Budget::new(bytes, self.renders), ..self }
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

    /// Waits until no variant is being stored, and lets none be until the guard is dropped: where the process may be
    /// frozen, it must not be in the middle of that.
    pub async fn pause(&self) -> Pause {
        Pause(Arc::clone(&self.storing).write_owned().await)
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
                    tokio::spawn(share::carried(async move {
                        // Also if it panics: the path is free then.
                        let landed = Landed { flights: Arc::clone(&worker.flights), key: key.clone() };
                        let made = worker.make_or_explain(&key, &lane).await;
                        // Before the outcome is sent: a request that follows an error is not given the same one.
                        drop(landed);
                        outcome.send_replace(Some(made));
                    }));
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
        let read_at = (self.files.clock().now(), self.files.clock().monotonic());
        let file = match self.files.file(id, Consistency::Eventual).await {
            Ok(file) if file.offers(key) => file,
            Ok(_) | Err(Error::FileNotFound) => return Ok(Outcome::NotFound),
            Err(error) => return Err(error),
        };
        if let Some(refusal) = self.refused(id) {
            return Ok(Outcome::Refused(refusal));
        }
        let Some(_place) = lane.places.take(file.project) else {
            tracing::warn!("a variant was not begun: too many wait");
            return Ok(Outcome::Unavailable(Duration::from_secs(2)));
        };
        let job = Job::new(spec).on(self.background).with_placeholder(file.thumbhash.is_none());
        let rendered = match self.shrunk(&file, job, true, lane).await {
            Ok(Ok(Shrunk::Small(small, permit))) if permit.has_slot() => encoded(job, small, permit, None).await,
            Ok(Ok(Shrunk::Small(small, permit))) => match self.turn(file.project, lane.kind, 0).await {
                Ok(slot) => encoded(job, small, permit, Some(slot)).await,
                Err(failure) => return Ok(failure.into()),
            },
            Ok(Ok(Shrunk::Rendered(rendered))) => Ok(rendered),
            Ok(Ok(Shrunk::Refused(refusal))) => Ok(Err(refusal)),
            Ok(Err(failure)) => return Ok(failure.into()),
            Err(gone) => return Err(Error::Internal(Cause::new("decoding", &gone))),
        };
        let (bytes, format, placeholder) = match rendered {
            Ok(Ok(rendered)) => (Bytes::from(rendered.bytes), rendered.format, rendered.placeholder),
            Ok(Err(refusal)) => {
                self.remember(id, refusal);
                return Ok(Outcome::Refused(refusal));
            }
            Err(panic) => return Err(Error::Internal(Cause::new("rendering", &panic))),
        };
        let _storing = self.storing.read().await;
        let is_current = |now: &File| now.epoch == file.epoch && now.offers(key);
        // The process may have been frozen for minutes since it read the record. What changed then has been purged for the
        // last time. The wall clock counts while the process is frozen, and the other while that clock is set back.
        let age = self.files.clock().now().since(read_at.0).max(self.files.clock().monotonic().since(read_at.1));
        if age >= FRESH {
            match self.files.file(id, Consistency::Strong).await {
                Ok(now) if is_current(&now) => {}
                Ok(_) | Err(Error::FileNotFound) => return Ok(Outcome::NotFound),
                Err(error) => return Err(error),
            }
        }
        let put = self.files.store(key, format, bytes.clone()).await;
        // The record may have changed while the picture was made; then, or when nobody can tell, what was just stored
        // must not stay. A put that failed may have stored it.
        match self.look_again(id, placeholder).await {
            Ok(now) if is_current(&now) => {
                let etag = match put {
                    Ok(StoredVariant::New { etag }) => etag.and_then(|etag| etag.parse().ok()),
                    Ok(StoredVariant::Before) => {
                        self.metrics.count(Metric::VariantsStoredBefore, 1);
                        None
                    }
                    // It is shown all the same, and made again when it is asked for again.
                    Err(Error::StorageFull(cause)) => {
                        tracing::warn!(%cause, "a variant was not stored");
                        None
                    }
                    Err(error) => return Err(error),
                };
                Ok(Outcome::Made { bytes, format, etag })
            }
            read => {
                self.files.remove(key).await?;
                match read {
                    Ok(_) | Err(Error::FileNotFound) => Ok(Outcome::NotFound),
                    Err(error) => Err(error),
                }
            }
        }
    }

    /// Has a variant made of the decoding of its file that is under way, or of a new one.
    fn shrunk(
        &self,
        file: &File,
        job: Job,
        is_encoded: bool,
        lane: &Lane,
    ) -> oneshot::Receiver<Result<Shrunk, Failure>> {
        let (reply, shrunk) = oneshot::channel();
        let order = Order { job, is_encoded, reply };
        let mut decodings = lane.decodings.lock().unwrap_or_else(PoisonError::into_inner);
        match decodings.entry(file.id) {
            Entry::Occupied(mut orders) => orders.get_mut().push(order),
            Entry::Vacant(place) => {
                place.insert(vec![order]);
                let queue = Queue { decodings: Arc::clone(&lane.decodings), file: file.id, is_open: true };
                let (worker, key, project, kind) = (self.clone(), file.original_key(), file.project, lane.kind);
                tokio::spawn(async move { worker.decode(&key, project, kind, queue).await });
            }
        }
        shrunk
    }

    /// Reads an original and makes everything of it that is wanted until nothing more is.
    async fn decode(&self, original: &ObjectKey, project: ProjectId, lane: LaneKind, mut queue: Queue) {
        // Until its header is read, nobody knows what it needs.
        let mut need = LOOK_BYTES;
        loop {
            // One permit from before the original is in memory until it is out of it, and for each encoding: the permits
            // bound both.
            let permit = match self.turn(project, lane, need).await {
                Ok(permit) => permit,
                Err(failure) => return queue.fail(failure),
            };
            let object = match self.files.open(original).await {
                Ok(Some(object)) => object,
                Ok(None) => return queue.fail(Failure::NotFound),
                Err(error) => return queue.fail(Failure::Unavailable(explain(&error, READING))),
            };
            let end = Instant::now() + self.render;
            let (arrival, original) = Original::arriving(object.length());
            let fetch = tokio::spawn(carry(object, arrival, end));
            let budget = self.budget.clone();
            let served = tokio::task::spawn_blocking(move || queue.serve(original, end, permit, &budget)).await;
            if let Ok(Err(error)) = fetch.await {
                // Who waited knows already that it broke off.
                explain(&error, READING);
            }
            match served {
                Ok(Served::All) => return,
                // What it needs is not free: it waits for that without holding anything, and is read again.
                Ok(Served::Short(waiting, bytes)) => (queue, need) = (waiting, bytes),
                Err(panic) => {
                    let cause = Cause::new("decoding", &panic);
                    tracing::error!(%cause, "an original could not be decoded");
                    return;
                }
            }
        }
    }

    /// Waits for a slot and so many bytes.
    async fn turn(&self, project: ProjectId, lane: LaneKind, bytes: u64) -> Result<Permit, Failure> {
        tokio::time::timeout(TURN, self.budget.acquire(project, lane, bytes)).await.map_err(|_| {
            tracing::warn!("a variant was not made: its turn did not come");
            Failure::Unavailable(Duration::from_secs(2))
        })
    }

    /// The record as it is now, with the placeholder noted if there is a new one.
    async fn look_again(&self, id: FileId, placeholder: Option<ThumbHash>) -> Result<File, Error> {
        let Some(placeholder) = placeholder else {
            return self.files.file(id, Consistency::Strong).await;
        };
        match self.files.note_thumbhash(id, &placeholder).await {
            // A transaction on the record was in its way, say. The next variant has the placeholder as well.
            Err(error) if !matches!(error, Error::FileNotFound) => {
                let cause = Cause::new("noting a placeholder", &error);
                tracing::warn!(%cause, "a placeholder was not noted");
                self.files.file(id, Consistency::Strong).await
            }
            noted => noted,
        }
    }

    /// Why the original was refused a moment ago, if it was. Its bytes never change.
    fn refused(&self, id: FileId) -> Option<Refusal> {
        let refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        let (refusal, at) = *refusals.get(&id)?;
        (self.files.clock().monotonic().since(at) < REFUSAL_LIFE).then_some(refusal)
    }

    fn remember(&self, id: FileId, refusal: Refusal) {
        // That is about the variant, and about this moment.
        if refusal == Refusal::Unencodable {
            return;
        }
        let now = self.files.clock().monotonic();
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

/// How far a decoding came.
enum Served {
    /// Nothing more is wanted.
    All,
    /// What is left needs so many bytes, which are not free.
    Short(Queue, u64),
}

impl Queue {
    /// Makes everything that is wanted, before a moment, in the memory that the permit is for and as much more as is free.
    /// One refusal is one for all.
    fn serve(mut self, original: Original<'static>, end: Instant, permit: Permit, budget: &Budget) -> Served {
        let permit = Rc::new(RefCell::new(permit));
        let more = Rc::clone(&permit);
        let mut decoding = Decoding::new(original).within(move |bytes| more.borrow_mut().resize(bytes));
        let mut refused = None;
        let mut next = self.next(&decoding);
        while let Some(order) = next {
            let shrunk = match refused {
                Some(refusal) => Ok(Err(refusal)),
                None => match caught(|| decoding.shrink(order.job.until(end))) {
                    Ok(shrunk) => shrunk,
                    Err(cause) => {
                        let kind = decoding.kind();
                        tracing::error!(file = %self.file, kind, cause, "a decoder panicked");
                        Ok(Err(Refusal::Undecodable { kind }))
                    }
                },
            };
            let shrunk = match shrunk {
                Err(Unfinished::Short { bytes }) if bytes > budget.total() => {
                    Ok(Err(Refusal::TooMuchMemory { bytes, budget: budget.total() }))
                }
                other => other,
            };
            let small = match shrunk {
                Ok(Ok(small)) => small,
                Ok(Err(refusal)) => {
                    refused = Some(refusal);
                    drop(order.reply.send(Ok(Shrunk::Refused(refusal))));
                    next = self.next(&decoding);
                    continue;
                }
                Err(Unfinished::CutOff) => {
                    // All of it at once, and closed before the first answer: a request that follows reads again.
                    self.put_back(order);
                    self.fail(Failure::Unavailable(Duration::from_secs(1)));
                    return Served::All;
                }
                Err(Unfinished::Short { bytes }) => {
                    self.put_back(order);
                    return Served::Short(self, bytes);
                }
            };
            let Order { job, is_encoded, reply } = order;
            let bytes = if is_encoded { job.encoding_bytes(&small) } else { small.bytes() };
            next = self.next(&decoding);
            if next.is_none() {
                drop(decoding);
                // The other handle went with the decoding.
                if let Some(mut permit) = Rc::into_inner(permit).map(RefCell::into_inner) {
                    permit.resize(bytes);
                    drop(reply.send(Ok(Shrunk::Small(small, permit))));
                }
                return Served::All;
            }
            let shrunk = match budget.try_bytes(bytes) {
                Some(permit) => Shrunk::Small(small, permit),
                None => Shrunk::Rendered(job.encode(small)),
            };
            drop(reply.send(Ok(shrunk)));
        }
        Served::All
    }

    /// Takes an order back that could not be filled.
    fn put_back(&mut self, order: Order) {
        let mut decodings = self.decodings.lock().unwrap_or_else(PoisonError::into_inner);
        decodings.entry(self.file).or_default().insert(0, order);
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

/// Does some work. An error is what a panic in it says.
fn caught<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic: Box<dyn Any + Send>| {
        let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        text.or_else(|| panic.downcast_ref().cloned()).unwrap_or_else(|| "it says nothing".to_owned())
    })
}

async fn encoded(
    job: Job,
    small: Small,
    memory: Permit,
    slot: Option<Permit>,
) -> Result<Result<Rendered, Refusal>, tokio::task::JoinError> {
    let rendered = tokio::task::spawn_blocking(move || job.encode(small)).await;
    drop((memory, slot));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_caught_with_what_it_says_and_becomes_a_refusal_that_names_the_kind() {
        assert_eq!(caught(|| 7), Ok(7));
        assert_eq!(caught(|| panic!("no such row")), Err::<(), _>("no such row".to_owned()));
        assert_eq!(caught(|| panic!("row {}", 7)), Err::<(), _>("row 7".to_owned()));
        let refusal = Refusal::Undecodable { kind: "TIFF" };
        assert_eq!((refusal.code(), refusal.to_string().contains("TIFF")), ("undecodable", true));
    }
}

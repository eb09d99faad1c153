//! Decodes each original once for all variants that are wanted of it.

use std::{
    any::Any,
    cell::RefCell,
    collections::{HashMap, hash_map::Entry},
    panic::{AssertUnwindSafe, catch_unwind},
    rc::Rc,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::oneshot;
use xfiles_core::{
    blobs::Reading,
    error::{Cause, Error},
    file::File,
    id::{FileId, ProjectId},
    object_key::ObjectKey,
};

use super::{
    Worker,
    budget::{Budget, LaneKind, Permit, Places},
    variant::explain,
};
use crate::render::{Arrival, Decoding, Job, Original, Refusal, Rendered, Small, Unfinished};

/// How long a variant waits for its turn.
const TURN: Duration = Duration::from_secs(25);

/// How many variants wait for each that is being made: a page of thumbnails takes a few seconds then. One project alone
/// gets half of these places.
const WAITING_PER_RENDER: usize = 128;

/// The memory to read a header with: the head of the file, the parts that are being received, and what most images need
/// besides.
const LOOK_BYTES: u64 = 8 << 20;

/// What fails if the store does not deliver an original.
const READING: &str = "reading an original";

/// A limited number of renders at once, and of variants that wait.
#[derive(Clone)]
pub(super) struct Lane {
    pub kind: LaneKind,
    pub places: Places,
    decodings: Decodings,
}

impl Lane {
    pub(super) fn new(kind: LaneKind, renders: usize) -> Self {
        let places = Places::new(renders.saturating_mul(1 + WAITING_PER_RENDER));
        Self { kind, places, decodings: Decodings::default() }
    }
}

/// The originals that are being decoded or wait for it, with the variants that are still to be made of each. Another
/// variant of one of them is made of the same bytes and, where possible, of the same pixels. A file has at most 35.
type Decodings = Arc<Mutex<HashMap<FileId, Vec<Order>>>>;

/// A variant that is wanted of a decoding.
struct Order {
    job: Job,
    /// Whether it is encoded afterwards.
    is_encoded: bool,
    reply: oneshot::Sender<Result<Shrunk, Failure>>,
}

/// What a decoding yields for one variant.
pub(super) enum Shrunk {
    /// An image that only has to be encoded, with the memory for that. With the last one comes the slot of the decoding.
    Small(Small, Permit),
    /// The variant, if there was no memory to keep the image until its turn.
    Rendered(Result<Rendered, Refusal>),
    Refused(Refusal),
}

/// Why a decoding yielded nothing, for all who waited for it.
#[derive(Clone, Copy)]
pub(super) enum Failure {
    NotFound,
    Unavailable(Duration),
}

impl Worker {
    /// Orders a variant from the decoding of its file that is under way, or from a new one.
    pub(super) fn shrunk(
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

    /// Reads an original and fills orders until there are no more.
    async fn decode(&self, original: &ObjectKey, project: ProjectId, lane: LaneKind, mut queue: Queue) {
        // What the image needs is not known before its header is read.
        let mut need = LOOK_BYTES;
        loop {
            // The permit is held from before the original is in memory until it is out of it, so permits bound both.
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
                // For the log. The requests have their answer already.
                explain(&error, READING);
            }
            match served {
                Ok(Served::All) => return,
                // It waits for the memory that it needs without holding any, and is read again.
                Ok(Served::Short(waiting, bytes)) => (queue, need) = (waiting, bytes),
                Err(panic) => {
                    let cause = Cause::new("decoding", &panic);
                    tracing::error!(%cause, "an original could not be decoded");
                    return;
                }
            }
        }
    }

    /// Waits for a slot and for this much memory.
    pub(super) async fn turn(&self, project: ProjectId, lane: LaneKind, bytes: u64) -> Result<Permit, Failure> {
        tokio::time::timeout(TURN, self.budget.acquire(project, lane, bytes)).await.map_err(|_| {
            tracing::warn!("a variant was not made: its turn did not come");
            Failure::Unavailable(Duration::from_secs(2))
        })
    }
}

/// The orders of one decoding. Dropped, it takes no more, and those that wait learn that nothing comes.
struct Queue {
    decodings: Decodings,
    file: FileId,
    is_open: bool,
}

impl Drop for Queue {
    fn drop(&mut self) {
        // Once it is closed, the entry of the file may be another decoding's.
        if self.is_open {
            self.close();
        }
    }
}

/// How far a decoding came.
enum Served {
    /// All orders are filled.
    All,
    /// The next order needs this much memory, which is not free.
    Short(Queue, u64),
}

impl Queue {
    /// Fills orders until there are no more, before `end`, in the memory of the permit and as much more as is free. An
    /// original that is refused once is refused for all orders.
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
                    // Fails all orders at once, and closes before the first answer: a request that follows reads again.
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

    /// The next order, of the same pixels if there is one. Behind the last, the queue is closed, and the next order starts
    /// another decoding.
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

    /// Fails all orders.
    fn fail(mut self, failure: Failure) {
        for order in self.close() {
            drop(order.reply.send(Err(failure)));
        }
    }
}

/// Runs `work`. An error is the message of a panic in it.
fn caught<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic: Box<dyn Any + Send>| {
        let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        text.or_else(|| panic.downcast_ref().cloned()).unwrap_or_else(|| "a panic without a message".to_owned())
    })
}

/// Passes an object on to where it is rendered, as far as that needs it. If the store breaks off or is late, the original
/// never ends for the renderer, which takes it as cut off.
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
                // An error means that the renderer had enough.
                let _ = arrival.end().await;
                return Ok(());
            }
        };
        if sent.is_err() {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_caught_with_its_message_and_becomes_a_refusal_that_names_the_kind() {
        assert_eq!(caught(|| 7), Ok(7));
        assert_eq!(caught(|| panic!("no such row")), Err::<(), _>("no such row".to_owned()));
        assert_eq!(caught(|| panic!("row {}", 7)), Err::<(), _>("row 7".to_owned()));
        let refusal = Refusal::Undecodable { kind: "TIFF" };
        assert_eq!((refusal.code(), refusal.to_string().contains("TIFF")), ("undecodable", true));
    }
}

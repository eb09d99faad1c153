//! Step 3: the cache of the origins' responses, by path, in memory, for the lifetime that the origin set. Concurrent
//! misses of a path share one fetch. The cache never contacts an origin itself.

use std::{
    collections::{BTreeMap, HashMap},
    ops::Bound,
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use bytes::Bytes;
use futures::{
    FutureExt as _,
    future::{BoxFuture, Shared},
};
use xfiles_core::clock::{Clock, Moment};

use super::{
    invalidation::PathPattern,
    origin::{Absence, Outcome, lifetime},
};

/// The memory of an entry besides its bytes, twice its path and its headers: the nodes of the maps.
const ENTRY_OVERHEAD: usize = 1024;

/// The cache of the distribution. Clones share it.
#[derive(Clone)]
pub(super) struct Cache {
    clock: Clock,
    shelf: Arc<Mutex<Shelf>>,
}

/// A response, and its age if it was cached.
pub(super) struct Lookup {
    /// The response of the origins.
    pub(super) outcome: Outcome,
    /// The age, if it was cached.
    pub(super) age: Option<Duration>,
}

impl Cache {
    /// An empty cache with an approximate capacity in bytes.
    pub(super) fn new(capacity: usize, clock: Clock) -> Self {
        Self { clock, shelf: Arc::new(Mutex::new(Shelf::new(capacity))) }
    }

    /// Returns the cached response for the path, or the result of `fetch`. Callers that miss during a fetch share it.
    /// The fetch continues, and its result is cached, even if all callers are dropped.
    pub(super) async fn get_or_fetch<F>(&self, path: &str, fetch: impl FnOnce() -> F) -> Lookup
    where
        F: Future<Output = Outcome> + Send + 'static,
    {
        let now = self.clock.monotonic();
        let flight = {
            let mut shelf = self.lock();
            if let Some((outcome, stored_at)) = shelf.get(path, now) {
                return Lookup { outcome, age: Some(now.since(stored_at)) };
            }
            match shelf.flights.get(path) {
                Some(flight) => flight.landing.clone(),
                None => self.take_off(&mut shelf, path, fetch()),
            }
        };
        Lookup { outcome: flight.await, age: None }
    }

    /// Removes cached paths that match, and prevents the caching of matching fetches in progress. Later callers never
    /// get an earlier response.
    pub(super) fn forget(&self, pattern: &PathPattern) {
        let mut shelf = self.lock();
        shelf.forget(pattern);
        shelf.flights.retain(|path, _| !pattern.matches(path));
    }

    pub(super) fn holds(&self, pattern: &PathPattern) -> bool {
        let shelf = self.lock();
        let from = shelf.entries.range::<str, _>((Bound::Included(pattern.first()), Bound::Unbounded));
        from.take_while(|(path, _)| pattern.matches(path)).any(|(_, entry)| entry.outcome.is_ok())
    }

    fn take_off(
        &self,
        shelf: &mut Shelf,
        path: &str,
        fetch: impl Future<Output = Outcome> + Send + 'static,
    ) -> Shared<BoxFuture<'static, Outcome>> {
        let path: Arc<str> = path.into();
        shelf.departures += 1;
        let number = shelf.departures;
        let cache = self.clone();
        let journey = {
            let path = Arc::clone(&path);
            async move {
                // A panic must also complete the fetch, or the path would wait for it forever.
                let outcome = AssertUnwindSafe(fetch).catch_unwind().await.unwrap_or(Err(Absence::BROKEN));
                cache.land(&path, number, &outcome);
                outcome
            }
        };
        // A separate task, because the first viewer may disconnect.
        let task = tokio::spawn(journey);
        let landing = task.map(|landed| landed.unwrap_or(Err(Absence::BROKEN))).boxed().shared();
        shelf.flights.insert(path, Flight { number, landing: landing.clone() });
        landing
    }

    fn land(&self, path: &Arc<str>, number: u64, outcome: &Outcome) {
        let mut shelf = self.lock();
        // An invalidation may have removed this fetch, and a later one may have replaced it.
        if shelf.flights.get(path).is_none_or(|flight| flight.number != number) {
            return;
        }
        shelf.flights.remove(path);
        let lifetime = lifetime(outcome);
        if !lifetime.is_zero() {
            let now = self.clock.monotonic();
            shelf.insert(Arc::clone(path), outcome.clone(), now, lifetime);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock().expect("no holder of the cache's lock panics")
    }
}

struct Flight {
    number: u64,
    landing: Shared<BoxFuture<'static, Outcome>>,
}

/// Entries by path, and their paths by last use. Sorted by path, so that a wildcard is a range.
struct Shelf {
    entries: BTreeMap<Arc<str>, Entry>,
    by_use: BTreeMap<u64, Arc<str>>,
    uses: u64,
    bytes: usize,
    capacity: usize,
    flights: HashMap<Arc<str>, Flight>,
    departures: u64,
}

struct Entry {
    outcome: Outcome,
    stored_at: Moment,
    lifetime: Duration,
    last_use: u64,
}

impl Shelf {
    fn new(capacity: usize) -> Self {
        Self {
            entries: BTreeMap::new(),
            by_use: BTreeMap::new(),
            uses: 0,
            bytes: 0,
            capacity,
            flights: HashMap::new(),
            departures: 0,
        }
    }

    fn get(&mut self, path: &str, now: Moment) -> Option<(Outcome, Moment)> {
        let entry = self.entries.get_mut(path)?;
        if now.since(entry.stored_at) >= entry.lifetime {
            self.remove(path);
            return None;
        }
        let path = self.by_use.remove(&entry.last_use).expect("every entry has a last use");
        self.uses += 1;
        entry.last_use = self.uses;
        self.by_use.insert(self.uses, path);
        Some((entry.outcome.clone(), entry.stored_at))
    }

    fn insert(&mut self, path: Arc<str>, outcome: Outcome, stored_at: Moment, lifetime: Duration) {
        self.remove(&path);
        self.uses += 1;
        self.bytes += cost(&path, &outcome);
        self.by_use.insert(self.uses, Arc::clone(&path));
        self.entries.insert(path, Entry { outcome, stored_at, lifetime, last_use: self.uses });
        while self.bytes > self.capacity {
            let (_, oldest) = self.by_use.first_key_value().expect("only entries have bytes");
            let oldest = Arc::clone(oldest);
            self.remove(&oldest);
        }
    }

    fn remove(&mut self, path: &str) {
        if let Some((path, entry)) = self.entries.remove_entry(path) {
            self.by_use.remove(&entry.last_use);
            self.bytes -= cost(&path, &entry.outcome);
        }
    }

    fn forget(&mut self, pattern: &PathPattern) {
        let from = self.entries.range::<str, _>((Bound::Included(pattern.first()), Bound::Unbounded));
        let matching: Vec<Arc<str>> =
            from.map(|(path, _)| path).take_while(|path| pattern.matches(path)).cloned().collect();
        for path in matching {
            self.remove(&path);
        }
    }
}

fn cost(path: &str, outcome: &Outcome) -> usize {
    let body = outcome.as_ref().ok().and_then(|object| object.held_body()).map_or(0, Bytes::len);
    let headers = outcome
        .as_ref()
        .map_or(0, |object| object.headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum());
    body + headers + 2 * path.len() + ENTRY_OVERHEAD
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::Notify;
    use xfiles_core::clock::Timestamp;

    use super::{super::origin::Object, *};

    const START: Timestamp = Timestamp::from_millis(1_767_290_412_345);
    const HOUR: Duration = Duration::from_secs(3600);

    fn object(text: &'static str, lifetime: Duration) -> Outcome {
        Ok(Arc::new(Object::held(Bytes::from_static(text.as_bytes()), lifetime)))
    }

    fn cache(capacity: usize) -> (Cache, Clock) {
        let clock = Clock::manual(START);
        (Cache::new(capacity, clock.clone()), clock)
    }

    fn text(lookup: &Lookup) -> &str {
        match &lookup.outcome {
            Ok(object) => std::str::from_utf8(object.held_body().unwrap()).unwrap(),
            Err(Absence::Missing) => "missing",
            Err(Absence::Elsewhere { .. }) => "elsewhere",
            Err(Absence::Failed { .. }) => "failed",
        }
    }

    /// Requests a path; returns the response and its age in seconds if it was cached.
    async fn ask(cache: &Cache, path: &str, fresh: Outcome) -> (String, Option<u64>) {
        let lookup = cache.get_or_fetch(path, || async { fresh }).await;
        (text(&lookup).to_owned(), lookup.age.map(|age| age.as_secs()))
    }

    fn answer(text: &str, age: Option<u64>) -> (String, Option<u64>) {
        (text.to_owned(), age)
    }

    #[tokio::test]
    async fn a_response_is_cached_for_its_lifetime() {
        let (cache, clock) = cache(1 << 20);
        assert_eq!(ask(&cache, "/a", object("one", HOUR)).await, answer("one", None));
        clock.advance(HOUR - Duration::from_secs(1));
        assert_eq!(ask(&cache, "/a", object("two", HOUR)).await, answer("one", Some(3599)));
        clock.advance(Duration::from_secs(1));
        assert_eq!(ask(&cache, "/a", object("two", HOUR)).await, answer("two", None));
    }

    #[tokio::test]
    async fn a_missing_object_is_cached_for_ten_seconds_and_a_failure_is_not() {
        let (cache, clock) = cache(1 << 20);
        assert_eq!(ask(&cache, "/a", Err(Absence::Missing)).await, answer("missing", None));
        assert_eq!(ask(&cache, "/a", object("one", HOUR)).await, answer("missing", Some(0)));
        clock.advance(Duration::from_secs(10));
        assert_eq!(ask(&cache, "/a", Err(Absence::BROKEN)).await, answer("failed", None));
        assert_eq!(ask(&cache, "/a", object("one", HOUR)).await, answer("one", None));
    }

    #[tokio::test]
    async fn setting_the_clock_back_extends_no_entry() {
        let (cache, clock) = cache(1 << 20);
        assert_eq!(ask(&cache, "/a", Err(Absence::Missing)).await, answer("missing", None));
        assert_eq!(ask(&cache, "/b", object("one", HOUR)).await, answer("one", None));
        clock.set(Timestamp::from_millis(START.as_millis() - 3_600_000));
        clock.advance(Duration::from_secs(9));
        assert_eq!(ask(&cache, "/a", object("found", HOUR)).await, answer("missing", Some(9)));
        clock.advance(Duration::from_secs(1));
        assert_eq!(ask(&cache, "/a", object("found", HOUR)).await, answer("found", None));
        clock.advance(HOUR);
        assert_eq!(ask(&cache, "/b", object("two", HOUR)).await, answer("two", None));
    }

    #[tokio::test]
    async fn setting_the_clock_forward_expires_no_entry() {
        let (cache, clock) = cache(1 << 20);
        assert_eq!(ask(&cache, "/b", object("one", HOUR)).await, answer("one", None));
        clock.set(START + 1000 * HOUR);
        assert_eq!(ask(&cache, "/b", object("two", HOUR)).await, answer("one", Some(0)));
    }

    #[tokio::test]
    async fn the_least_recently_used_entry_is_evicted() {
        let (cache, _) = cache(3 * (ENTRY_OVERHEAD + 10));
        for path in ["/a", "/b", "/c"] {
            ask(&cache, path, object("old", HOUR)).await;
        }
        ask(&cache, "/a", object("new", HOUR)).await;
        ask(&cache, "/d", object("old", HOUR)).await;
        assert_eq!(ask(&cache, "/a", object("new", HOUR)).await.0, "old");
        assert_eq!(ask(&cache, "/d", object("new", HOUR)).await.0, "old");
        assert_eq!(ask(&cache, "/b", object("new", HOUR)).await.0, "new");
    }

    #[tokio::test]
    async fn an_object_larger_than_the_cache_is_served_and_not_cached() {
        let (cache, _) = cache(ENTRY_OVERHEAD);
        assert_eq!(ask(&cache, "/a", object("one", HOUR)).await, answer("one", None));
        assert_eq!(ask(&cache, "/a", object("two", HOUR)).await, answer("two", None));
    }

    #[tokio::test]
    async fn an_invalidation_pattern_removes_exactly_what_it_matches() {
        let (cache, _) = cache(1 << 20);
        for path in ["/f/a/1", "/f/a/2", "/f/a", "/f/ab/1", "/f/b/1"] {
            ask(&cache, path, object("old", HOUR)).await;
        }
        cache.forget(&"/f/a/*".parse().unwrap());
        cache.forget(&"/f/b/1".parse().unwrap());
        for (path, text) in
            [("/f/a/1", "new"), ("/f/a/2", "new"), ("/f/a", "old"), ("/f/ab/1", "old"), ("/f/b/1", "new")]
        {
            assert_eq!(ask(&cache, path, object("new", HOUR)).await.0, text, "{path}");
        }
    }

    #[tokio::test]
    async fn viewers_who_miss_together_cause_one_fetch() {
        let (cache, _) = cache(1 << 20);
        let (gate, fetches) = (Arc::new(Notify::new()), Arc::new(AtomicUsize::new(0)));
        let viewers = (0..100).map(|_| {
            cache.get_or_fetch("/a", || {
                let (gate, fetches) = (Arc::clone(&gate), Arc::clone(&fetches));
                async move {
                    fetches.fetch_add(1, Ordering::SeqCst);
                    gate.notified().await;
                    object("one", HOUR)
                }
            })
        });
        let opened = async { gate.notify_one() };
        let (answers, ()) = futures::join!(futures::future::join_all(viewers), opened);
        assert!(answers.iter().all(|lookup| text(lookup) == "one"));
        assert_eq!(fetches.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn a_viewer_that_disconnects_does_not_stop_the_fetch() {
        let (cache, _) = cache(1 << 20);
        let gate = Arc::new(Notify::new());
        let waiting = Arc::clone(&gate);
        let impatient = cache.get_or_fetch("/a", || async move {
            waiting.notified().await;
            object("one", HOUR)
        });
        assert!(impatient.now_or_never().is_none());
        gate.notify_one();
        assert_eq!(ask(&cache, "/a", object("two", HOUR)).await.0, "one");
    }

    #[tokio::test]
    async fn a_fetch_in_progress_during_an_invalidation_is_not_cached() {
        let (cache, _) = cache(1 << 20);
        let gate = Arc::new(Notify::new());
        let waiting = Arc::clone(&gate);
        let before = cache.get_or_fetch("/f/a", || async move {
            waiting.notified().await;
            object("stale", HOUR)
        });
        let mut before = Box::pin(before);
        assert!(before.as_mut().now_or_never().is_none());

        cache.forget(&"/f/*".parse().unwrap());
        // A later viewer does not wait for the outdated response, and its own result is cached.
        assert_eq!(ask(&cache, "/f/a", object("fresh", HOUR)).await, answer("fresh", None));
        gate.notify_one();
        assert_eq!(text(&before.await), "stale");
        assert_eq!(ask(&cache, "/f/a", object("other", HOUR)).await, answer("fresh", Some(0)));
    }

    #[tokio::test]
    async fn a_fetch_that_panics_fails_its_viewers_and_frees_the_path() {
        let (cache, _) = cache(1 << 20);
        let lookup = cache.get_or_fetch("/a", || async { panic!("the origin's client is broken") }).await;
        assert_eq!(text(&lookup), "failed");
        assert_eq!(ask(&cache, "/a", object("one", HOUR)).await.0, "one");
    }
}

//! Who calls: from a bearer token to a project and its scopes.

use std::{
    collections::HashMap,
    marker::PhantomData,
    num::NonZeroU32,
    ops::Deref,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};

use axum::extract::FromRequestParts;
use http::{header, request::Parts};
use xfiles_core::{
    api_key::{ApiKey, KeyHash, Scope},
    catalog::{Attempt, KeyRecord},
    clock::{Clock, Moment},
    error::Error,
    id::{KeyId, ProjectId},
    operations::{KeyAttempt, Projects, Uploader},
    share::Share,
};

use crate::{
    Api, Code,
    error::Problem,
    operation::{Operation, Part},
};

/// How long a key that was looked up may be used without another look: a key that another process revoked stops working
/// within it. One that this process revoked stops at once.
const KEY_LIFE: Duration = Duration::from_secs(30);

/// How many keys are remembered. When there are more, all are forgotten and looked up again.
const KEYS_REMEMBERED: usize = 10_000;

/// How old the note of a key's last use may become before it is renewed.
const LAST_USED_GRAIN: Duration = Duration::from_secs(60 * 60);

/// How long a request waits for the note of its key's last use to be written. The note is for people; a request does
/// not fail for it, and is not held up by a store that does not take it.
const NOTE_TIME: Duration = Duration::from_millis(250);

/// Keys that were looked up lately.
#[derive(Clone, Debug)]
pub(crate) struct KeyCache {
    projects: Projects,
    clock: Clock,
    seen: Arc<Mutex<HashMap<KeyHash, Seen>>>,
}

/// A key as it was read.
#[derive(Clone, Debug)]
struct Seen {
    record: KeyRecord,
    /// When it was read. A clock that is set back must not make it last longer.
    at: Moment,
    /// [`Projects::key_changes`] before it was read: when the number is another one, this process has changed a key.
    changes: u64,
}

impl KeyCache {
    pub(crate) fn new(projects: Projects, clock: Clock) -> Self {
        Self { projects, clock, seen: Arc::default() }
    }

    async fn live(&self, key: &ApiKey) -> Result<Option<KeyRecord>, Error> {
        let hash = key.hash();
        let now = self.clock.now();
        let (at, changes) = (self.clock.monotonic(), self.projects.key_changes());
        if let Some(record) = self.remembered(&hash, at, changes) {
            return Ok(Some(record).filter(|record| record.is_live(now)));
        }
        let found = self.projects.key(&hash).await?;
        if let Some(record) = &found {
            let noted = record.last_used.is_some_and(|last| now.since(last) < LAST_USED_GRAIN);
            if record.is_live(now) && !noted {
                self.note_use(record).await;
            }
            let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            if seen.len() >= KEYS_REMEMBERED {
                seen.clear();
            }
            seen.insert(hash, Seen { record: record.clone(), at, changes });
        }
        Ok(found.filter(|record| record.is_live(now)))
    }

    async fn note_use(&self, record: &KeyRecord) {
        let noted = tokio::time::timeout(NOTE_TIME, self.projects.note_key_use(&record.hash)).await;
        if !matches!(noted, Ok(Ok(()))) {
            tracing::warn!(key.id = %record.id, "the last use of a key could not be noted");
        }
    }

    fn remembered(&self, hash: &KeyHash, now: Moment, changes: u64) -> Option<KeyRecord> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let found = seen.get(hash)?;
        let good = found.changes == changes && now.since(found.at) < KEY_LIFE;
        good.then(|| found.record.clone())
    }
}

/// Whose request it is, for the log line; set once the key has been found good.
pub(crate) type IdentitySlot = Arc<OnceLock<Identity>>;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Identity {
    pub(crate) project: ProjectId,
    pub(crate) key: KeyId,
}

/// The authenticated caller.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    pub(crate) project: ProjectId,
    pub(crate) key: KeyId,
    pub(crate) scopes: Vec<Scope>,
    /// The attempt at a request that is carried out once, in its handler.
    pub(crate) attempt: Option<Attempt>,
    raw: ApiKey,
}

impl Caller {
    /// Refuses a caller whose key lacks the scope.
    pub(crate) fn require(&self, scope: Scope) -> Result<(), Problem> {
        if self.scopes.contains(&scope) { Ok(()) } else { Err(Problem::missing_scope(scope)) }
    }

    /// The caller as one who begins uploads.
    pub(crate) fn uploader(&self) -> Uploader {
        Uploader { project: self.project, key: Some(self.key), attempt: self.attempt.clone() }
    }

    /// The attempt at a request that makes an API key.
    pub(crate) fn key_attempt(&self) -> Option<KeyAttempt<'_>> {
        self.attempt.as_ref().map(|attempt| KeyAttempt { attempt, caller: &self.raw })
    }
}

/// A caller whose key has a scope. A handler that takes one is open to no other caller, and its description says so.
pub(crate) struct By<S> {
    caller: Caller,
    scope: PhantomData<S>,
}

impl<S> Deref for By<S> {
    type Target = Caller;

    fn deref(&self) -> &Caller {
        &self.caller
    }
}

impl<S: Needs> FromRequestParts<Api> for By<S> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Problem> {
        let caller = Caller::from_request_parts(parts, api).await?;
        caller.require(S::SCOPE)?;
        Ok(Self { caller, scope: PhantomData })
    }
}

impl<S: Needs> Part for By<S> {
    fn describe(operation: &mut Operation) {
        operation.scope = Some(S::SCOPE);
    }
}

/// A scope as a type.
pub(crate) trait Needs: Send {
    const SCOPE: Scope;
}

macro_rules! scopes {
    ($($name:ident),*) => {$(
        pub(crate) struct $name;

        impl Needs for $name {
            const SCOPE: Scope = Scope::$name;
        }
    )*};
}

scopes!(Read, Write, Delete, Admin);

impl FromRequestParts<Api> for Caller {
    type Rejection = Problem;

    /// Unknown, malformed, expired and revoked keys are all the same refusal.
    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Problem> {
        let key = bearer(parts).ok_or_else(|| Problem::new(Code::Unauthorized))?;
        let record = api.keys.live(&key).await?.ok_or_else(|| Problem::new(Code::Unauthorized))?;
        Share::set_project(record.project);
        // A request that is read by more than one layer counts once.
        let first = match parts.extensions.get::<IdentitySlot>() {
            Some(slot) => slot.set(Identity { project: record.project, key: record.id }).is_ok(),
            None => true,
        };
        if first {
            api.rate.take(record.id, api.files.clock().monotonic())?;
        }
        let attempt = parts.extensions.get::<Attempt>().cloned();
        Ok(Self { project: record.project, key: record.id, scopes: record.scopes, attempt, raw: key })
    }
}

/// How often a key may ask: so many requests a second, and twice as many at once after a rest.
#[derive(Clone, Debug)]
pub(crate) struct RateLimit {
    per_second: Option<NonZeroU32>,
    buckets: Arc<Mutex<HashMap<KeyId, Bucket>>>,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    tokens: f64,
    filled: Moment,
}

impl RateLimit {
    pub(crate) fn new(per_second: Option<NonZeroU32>) -> Self {
        Self { per_second, buckets: Arc::default() }
    }

    fn take(&self, key: KeyId, now: Moment) -> Result<(), Problem> {
        let Some(rate) = self.per_second.map(|rate| f64::from(rate.get())) else {
            return Ok(());
        };
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= KEYS_REMEMBERED {
            buckets.clear();
        }
        let bucket = buckets.entry(key).or_insert(Bucket { tokens: 2.0 * rate, filled: now });
        bucket.tokens = (bucket.tokens + now.since(bucket.filled).as_secs_f64() * rate).min(2.0 * rate);
        bucket.filled = now;
        if bucket.tokens < 1.0 {
            let retry_after = Some(Duration::from_secs_f64((1.0 - bucket.tokens) / rate));
            return Err(Problem { retry_after, ..Problem::new(Code::RateLimited) });
        }
        bucket.tokens -= 1.0;
        Ok(())
    }
}

/// The key that a request carries, good or not.
pub(crate) fn bearer(parts: &Parts) -> Option<ApiKey> {
    let value = parts.headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    if scheme.eq_ignore_ascii_case("bearer") { token.trim().parse().ok() } else { None }
}

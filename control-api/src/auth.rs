//! Who calls: from a bearer token to a project and its scopes.

use std::{
    collections::HashMap,
    num::NonZeroU32,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};

use axum::extract::FromRequestParts;
use http::{header, request::Parts};
use xfiles_core::{
    api_key::{ApiKey, KeyHash, Scope},
    catalog::{Catalog, KeyRecord},
    clock::{Clock, Timestamp},
    error::Error,
    id::{KeyId, ProjectId},
    share::Share,
};

use crate::{
    Api,
    error::{Code, Problem},
};

/// How long a key that was looked up may be used without another look; a revoked key stops working within it.
const KEY_LIFE: Duration = Duration::from_secs(30);

/// How many keys are remembered. When there are more, all are forgotten and looked up again.
const KEYS_REMEMBERED: usize = 10_000;

/// How old the note of a key's last use may become before it is renewed.
const LAST_USED_GRAIN: Duration = Duration::from_secs(60 * 60);

/// Keys that were looked up lately.
#[derive(Clone, Debug)]
pub(crate) struct KeyCache {
    catalog: Catalog,
    clock: Clock,
    seen: Arc<Mutex<HashMap<KeyHash, (KeyRecord, Timestamp)>>>,
}

impl KeyCache {
    pub(crate) fn new(catalog: Catalog, clock: Clock) -> Self {
        Self { catalog, clock, seen: Arc::default() }
    }

    async fn live(&self, key: &ApiKey) -> Result<Option<KeyRecord>, Error> {
        let hash = key.hash();
        let now = self.clock.now();
        if let Some(record) = self.remembered(&hash, now) {
            return Ok(Some(record).filter(|record| record.is_live(now)));
        }
        let found = self.catalog.key(&hash).await?;
        if let Some(record) = &found {
            if record.is_live(now) && record.last_used.is_none_or(|last| now.since(last) >= LAST_USED_GRAIN) {
                self.catalog.touch_key(&hash, now).await?;
            }
            let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            if seen.len() >= KEYS_REMEMBERED {
                seen.clear();
            }
            seen.insert(hash, (record.clone(), now));
        }
        Ok(found.filter(|record| record.is_live(now)))
    }

    fn remembered(&self, hash: &KeyHash, now: Timestamp) -> Option<KeyRecord> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.get(hash).filter(|(_, at)| now.since(*at) < KEY_LIFE).map(|(record, _)| record.clone())
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
    pub(crate) scopes: Vec<Scope>,
}

impl Caller {
    /// The caller's project, if its key has the scope.
    pub(crate) fn with(&self, scope: Scope) -> Result<ProjectId, Problem> {
        if self.scopes.contains(&scope) { Ok(self.project) } else { Err(Problem::missing_scope(scope)) }
    }
}

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
            api.rate.take(record.id, api.files.clock.now())?;
        }
        Ok(Self { project: record.project, scopes: record.scopes })
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
    filled: Timestamp,
}

impl RateLimit {
    pub(crate) fn new(per_second: Option<NonZeroU32>) -> Self {
        Self { per_second, buckets: Arc::default() }
    }

    fn take(&self, key: KeyId, now: Timestamp) -> Result<(), Problem> {
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

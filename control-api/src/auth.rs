//! Who calls: from a bearer token to a project and its scopes.

use std::{
    collections::HashMap,
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
};

use crate::{
    Api,
    error::{Code, Problem},
};

/// How long a key that was looked up may be used without another look; a revoked key stops working within it.
const KEY_LIFE: Duration = Duration::from_secs(30);

/// How many keys are remembered. When there are more, all are forgotten and looked up again.
const KEYS_REMEMBERED: usize = 10_000;

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
    project: ProjectId,
    scopes: Vec<Scope>,
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
        if let Some(slot) = parts.extensions.get::<IdentitySlot>() {
            slot.get_or_init(|| Identity { project: record.project, key: record.id });
        }
        Ok(Self { project: record.project, scopes: record.scopes })
    }
}

fn bearer(parts: &Parts) -> Option<ApiKey> {
    let value = parts.headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    if scheme.eq_ignore_ascii_case("bearer") { token.trim().parse().ok() } else { None }
}

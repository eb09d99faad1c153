//! Operations on API keys.

use std::time::Duration;

use super::{Projects, ROTATION_GRACE};
use crate::{
    api_key::{ApiKey, KeyHash, Scope},
    catalog::{Attempt, Consistency, KeyRecord},
    error::{Error, Result},
    id::{KeyId, ProjectId},
};

/// A key to make.
#[derive(Clone, Debug)]
pub struct NewKey {
    /// Its name, for people.
    pub name: String,
    /// What it may do.
    pub scopes: Vec<Scope>,
    /// How long it works. `None`: until it is revoked.
    pub expires_in: Option<Duration>,
}

/// A key that was made: its record, and the key itself, which is stored nowhere.
#[derive(Clone, Debug)]
pub struct IssuedKey {
    /// The record.
    pub record: KeyRecord,
    /// The key, for the one answer that shows it.
    pub key: ApiKey,
}

/// An attempt at a request that makes a key. The new key is derived from the attempt and its caller's key, so that a
/// repeated attempt finds the key that an earlier one made.
#[derive(Clone, Copy, Debug)]
pub struct KeyAttempt<'a> {
    /// The attempt.
    pub attempt: &'a Attempt,
    /// The key of the caller.
    pub caller: &'a ApiKey,
}

impl Projects {
    /// A project's keys, oldest first.
    pub async fn keys(&self, project: ProjectId) -> Result<Vec<KeyRecord>> {
        self.catalog.project(project, Consistency::Eventual).await?;
        self.catalog.keys(project).await
    }

    /// Makes a key.
    pub async fn create_key(
        &self,
        project: ProjectId,
        new: NewKey,
        attempt: Option<KeyAttempt<'_>>,
    ) -> Result<IssuedKey> {
        self.catalog.project(project, Consistency::Strong).await?;
        let key = match self.mint(attempt).await? {
            (key, Some(record)) => return Ok(IssuedKey { record, key }),
            (key, None) => key,
        };
        self.issue(project, new, key).await
    }

    /// Revokes a key. Revoking it again changes nothing.
    pub async fn revoke_key(&self, project: ProjectId, id: KeyId) -> Result<KeyRecord> {
        self.catalog.revoke_key(project, id, self.clock.now()).await
    }

    /// Makes a key like another one, which works on for the grace, by default [`ROTATION_GRACE`].
    pub async fn rotate_key(
        &self,
        project: ProjectId,
        id: KeyId,
        grace: Option<Duration>,
        attempt: Option<KeyAttempt<'_>>,
    ) -> Result<IssuedKey> {
        let key = match self.mint(attempt).await? {
            (key, Some(record)) => return Ok(IssuedKey { record, key }),
            (key, None) => key,
        };
        let now = self.clock.now();
        let old = self.catalog.keys(project).await?.into_iter().find(|k| k.id == id && k.is_live(now));
        let old = old.ok_or(Error::KeyNotFound)?;
        let record = KeyRecord::new(&key, project, old.name.clone(), &old.scopes, now);
        let record = KeyRecord { expires_at: old.expires_at, ..record };
        self.catalog.succeed_key(&old, &record, now + grace.unwrap_or(ROTATION_GRACE)).await?;
        Ok(IssuedKey { record, key })
    }

    /// Looks a key up.
    pub async fn key(&self, hash: &KeyHash) -> Result<Option<KeyRecord>> {
        self.catalog.key(hash).await
    }

    /// How often this process has changed what a key may do. What was read of a key before the number changed may be
    /// out of date.
    pub fn key_changes(&self) -> u64 {
        self.catalog.key_changes()
    }

    /// Stores the time of a key's last use.
    pub async fn note_key_use(&self, hash: &KeyHash) -> Result<()> {
        self.catalog.touch_key(hash, self.clock.now()).await
    }

    /// Makes a key for a project that is known to exist.
    pub(super) async fn issue(&self, project: ProjectId, new: NewKey, key: ApiKey) -> Result<IssuedKey> {
        let now = self.clock.now();
        let record = KeyRecord::new(&key, project, new.name, &new.scopes, now);
        let record = KeyRecord { expires_at: new.expires_in.map(|life| now + life), ..record };
        self.catalog.create_key(&record).await?;
        Ok(IssuedKey { record, key })
    }

    /// The key that an attempt makes, with its record if an earlier attempt at the same request has made it.
    async fn mint(&self, attempt: Option<KeyAttempt<'_>>) -> Result<(ApiKey, Option<KeyRecord>)> {
        let Some(KeyAttempt { attempt, caller }) = attempt else {
            return Ok((ApiKey::mint(), None));
        };
        let key = ApiKey::derived(&attempt.seed, caller);
        let made = if attempt.is_repeated { self.catalog.key(&key.hash()).await? } else { None };
        Ok((key, made))
    }
}

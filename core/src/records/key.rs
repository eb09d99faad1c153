//! API keys as they are stored.

use crate::{
    api_key::{ApiKey, KeyHash, Scope},
    clock::Timestamp,
    id::{KeyId, ProjectId},
};

/// An API key as the catalog knows it: everything but the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRecord {
    /// The hash by which it is looked up.
    pub hash: KeyHash,
    /// Its public name.
    pub id: KeyId,
    /// Whose files it opens.
    pub project: ProjectId,
    /// Its name, for people.
    pub name: String,
    /// The raw key's last four characters, for people.
    pub last_four: String,
    /// What it may do.
    pub scopes: Vec<Scope>,
    /// When it was made.
    pub created: Timestamp,
    /// When it stops working by itself.
    pub expires_at: Option<Timestamp>,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
    /// When it was last used, to the hour.
    pub last_used: Option<Timestamp>,
}

impl KeyRecord {
    /// The record of a new key.
    pub fn new(key: &ApiKey, project: ProjectId, name: impl Into<String>, scopes: &[Scope], now: Timestamp) -> Self {
        Self {
            hash: key.hash(),
            id: KeyId::mint(),
            project,
            name: name.into(),
            last_four: key.last_four().to_owned(),
            scopes: scopes.to_vec(),
            created: now,
            expires_at: None,
            revoked_at: None,
            last_used: None,
        }
    }

    /// Whether the key opens anything.
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|at| now < at)
    }
}

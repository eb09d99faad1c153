//! Projects.

use std::collections::BTreeMap;

use crate::{
    clock::Timestamp,
    id::{KeyId, ProjectId},
};

/// A project: an owner of files and keys with a quota.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Project {
    /// Which project.
    pub id: ProjectId,
    /// Its name, for people.
    pub name: String,
    /// How many bytes its files may hold together.
    pub quota_bytes: u64,
    /// How many of them are neither held nor reserved.
    pub free_bytes: u64,
    /// How many of them are reserved by uploads that are not confirmed.
    pub reserved_bytes: u64,
    /// How many confirmed files it has.
    pub file_count: u64,
    /// How many uploads have begun and have neither been published nor ended.
    pub pending_uploads: u64,
    /// How many of them each API key began.
    pub pending_by_key: BTreeMap<KeyId, u64>,
    /// How many bytes could still be uploaded for files that hold no quota any more, because their upload URLs work.
    pub late_bytes: u64,
    /// When it was made.
    pub created: Timestamp,
    /// The clearing that is under way.
    pub clearing: Option<Clearing>,
}

/// The removal of all files that a project had at some time, in the background.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clearing {
    /// Files that were begun before this go.
    pub before: Timestamp,
    /// Whether the project itself goes with them. It takes no new uploads then.
    pub and_project: bool,
}

impl Project {
    /// A project without files.
    pub fn new(name: impl Into<String>, quota_bytes: u64, now: Timestamp) -> Self {
        Self {
            id: ProjectId::mint(),
            name: name.into(),
            quota_bytes,
            free_bytes: quota_bytes,
            reserved_bytes: 0,
            file_count: 0,
            pending_uploads: 0,
            pending_by_key: BTreeMap::new(),
            late_bytes: 0,
            created: now,
            clearing: None,
        }
    }

    /// How many bytes its files hold or reserve.
    pub fn used_bytes(&self) -> u64 {
        self.quota_bytes - self.free_bytes
    }
}

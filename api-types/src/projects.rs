//! Projects and their API keys.

use serde_json::json;
use xfiles_core::{
    api_key::Scope,
    clock::Timestamp,
    id::{KeyId, ProjectId},
};

use crate::{
    limits,
    wire::{List, Nullable},
    words::{Grace, LastFour, Name, ProjectStatus, Quota, RawKey, Seconds, Word},
};

object! {
    /// A project to make.
    pub struct NewProject {
        name: Name = "shop",
        /// How much it may hold.
        quota_bytes: Quota = 10_737_418_240_u64,
    }

    /// What of a project is to change; what is left out stays.
    #[derive(Default)]
    pub struct ProjectChange {
        name: Option<Name>,
        /// Not less than what the project holds and has reserved.
        quota_bytes: Option<Quota> = 21_474_836_480_u64,
    }

    /// A key to make.
    pub struct NewKey {
        /// The name that people know it by.
        name: Name = "web server",
        /// If they are left out, all but `admin`.
        scopes: Option<List<Scope, 1, { usize::MAX }>> = json!(["read", "write"]),
        /// Seconds until it ends, ten years at most; if it is left out, never.
        expires_in: Option<Seconds<1, { limits::MAX_KEY_LIFE }>>,
    }

    /// How the old key ends.
    pub struct KeyRotation {
        /// Seconds that the old key still works, 30 days at most.
        grace_period: Grace [default default_grace()] = 3600,
    }
}

/// How long a replaced key or secret goes on working if the request does not say.
pub(crate) fn default_grace() -> Grace {
    Seconds(std::time::Duration::from_secs(limits::DEFAULT_GRACE))
}

object! {
    /// What a project holds, in bytes.
    pub struct Usage {
        quota_bytes: u64 = 10_737_418_240_u64,
        /// Held by confirmed files.
        used_bytes: u64 = 99_129_923,
        /// Held for uploads that are not confirmed yet.
        reserved_bytes: u64 = 2_417_803,
        free_bytes: u64 = 10_635_870_514_u64,
        /// How many files are confirmed.
        files: u64 = 41,
    }

    /// A project.
    pub struct Project {
        id: ProjectId,
        name: Name = "shop",
        status: Word<ProjectStatus> = "active",
        usage: Usage,
        created_at: Timestamp = "2026-01-05T09:30:00.000Z",
    }

    /// `{"project": Project}`.
    pub struct ProjectAnswer {
        project: Project,
    }

    /// `{"projects": [Project]}`.
    pub struct ProjectsAnswer {
        projects: Vec<Project>,
    }

    /// A key, without what opens anything.
    pub struct Key {
        id: KeyId,
        name: Name = "web server",
        prefix: String = "xf_",
        last_four: LastFour,
        scopes: Vec<Word<Scope>> = json!(["read", "write"]),
        created_at: Timestamp = "2026-01-05T09:31:00.000Z",
        last_used_at: Nullable<Timestamp> = "2026-01-31T11:40:00.000Z",
        expires_at: Nullable<Timestamp>,
        revoked_at: Nullable<Timestamp>,
    }

    /// `{"keys": [Key]}`.
    pub struct KeysAnswer {
        keys: Vec<Key>,
    }

    /// A key and, in the one answer that makes it, the raw key.
    pub struct KeyAnswer {
        key: Key,
        api_key: Option<RawKey>,
    }
}

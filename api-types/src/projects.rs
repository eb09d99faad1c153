//! Projects and their API keys.

use serde_json::json;
use xfiles_core::{
    api_key::Scope,
    catalog::{self, Clearing, KeyRecord},
    clock::Timestamp,
    id::{KeyId, ProjectId},
    operations::{self, IssuedKey, ROTATION_GRACE},
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
        grace_period: Grace [default Seconds(ROTATION_GRACE)] = 3600,
    }
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

    /// `{"key": Key}`.
    pub struct KeyAnswer {
        key: Key,
    }

    /// A new key, and the raw key, which no other answer shows.
    pub struct IssuedKeyAnswer {
        key: Key,
        api_key: RawKey,
    }
}

impl From<NewProject> for operations::NewProject {
    fn from(NewProject { name: Name(name), quota_bytes: Quota(quota_bytes) }: NewProject) -> Self {
        Self { name, quota_bytes }
    }
}

impl From<ProjectChange> for operations::ProjectChange {
    fn from(asked: ProjectChange) -> Self {
        Self { name: asked.name.map(|name| name.0), quota_bytes: asked.quota_bytes.map(|quota| quota.0) }
    }
}

impl From<NewKey> for operations::NewKey {
    fn from(asked: NewKey) -> Self {
        let mut scopes = asked.scopes.map_or_else(|| Scope::DEFAULT.to_vec(), |scopes| scopes.0);
        scopes.sort_unstable();
        scopes.dedup();
        Self { name: asked.name.0, scopes, expires_in: asked.expires_in.map(|life| life.0) }
    }
}

impl From<&catalog::Project> for Usage {
    fn from(project: &catalog::Project) -> Self {
        Self {
            quota_bytes: project.quota_bytes,
            used_bytes: project.used_bytes() - project.reserved_bytes,
            reserved_bytes: project.reserved_bytes,
            free_bytes: project.free_bytes,
            files: project.file_count,
        }
    }
}

impl From<&catalog::Project> for Project {
    fn from(project: &catalog::Project) -> Self {
        let status = match project.clearing {
            None => ProjectStatus::Active,
            Some(Clearing { and_project: false, .. }) => ProjectStatus::Emptying,
            Some(Clearing { and_project: true, .. }) => ProjectStatus::Deleting,
        };
        Self {
            id: project.id,
            name: Name(project.name.clone()),
            status: status.into(),
            usage: Usage::from(project),
            created_at: project.created,
        }
    }
}

impl From<&KeyRecord> for Key {
    fn from(key: &KeyRecord) -> Self {
        Self {
            id: key.id,
            name: Name(key.name.clone()),
            prefix: "xf_".to_owned(),
            last_four: LastFour(key.last_four.clone()),
            scopes: key.scopes.iter().map(|scope| (*scope).into()).collect(),
            created_at: key.created,
            last_used_at: Nullable(key.last_used),
            expires_at: Nullable(key.expires_at),
            revoked_at: Nullable(key.revoked_at),
        }
    }
}

impl From<&IssuedKey> for IssuedKeyAnswer {
    fn from(issued: &IssuedKey) -> Self {
        Self { key: Key::from(&issued.record), api_key: RawKey(issued.key.reveal().to_owned()) }
    }
}

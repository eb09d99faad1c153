//! The requests of whoever runs a deployment: projects, their keys, and the cleanup. All but [`Client::usage`] need a
//! key with the scope `admin`.

use std::time::Duration;

use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};
use ureq::http::Method;
use xfiles_core::{
    api_key::Scope,
    clock::Timestamp,
    id::{KeyId, ProjectId},
};

use super::{Answer, Client, time};
use crate::failure::Failure;

/// A project.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Project {
    pub(crate) id: ProjectId,
    pub(crate) name: String,
    pub(crate) status: String,
    pub(crate) usage: Usage,
    #[serde(deserialize_with = "time")]
    pub(crate) created_at: Option<Timestamp>,
}

/// What a project holds, in bytes.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Usage {
    pub(crate) quota_bytes: u64,
    pub(crate) used_bytes: u64,
    pub(crate) reserved_bytes: u64,
    pub(crate) free_bytes: u64,
    pub(crate) files: u64,
}

/// `{"project": Project}`.
#[derive(Deserialize)]
pub(crate) struct OneProject {
    pub(crate) project: Project,
}

/// `{"projects": [Project]}`, oldest first.
#[derive(Deserialize)]
pub(crate) struct Projects {
    pub(crate) projects: Vec<Project>,
}

/// An API key, without what opens anything.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Key {
    pub(crate) id: KeyId,
    pub(crate) name: String,
    pub(crate) last_four: String,
    pub(crate) scopes: Vec<String>,
    #[serde(deserialize_with = "time")]
    pub(crate) created_at: Option<Timestamp>,
    #[serde(deserialize_with = "time")]
    pub(crate) last_used_at: Option<Timestamp>,
    #[serde(deserialize_with = "time")]
    pub(crate) expires_at: Option<Timestamp>,
    #[serde(deserialize_with = "time")]
    pub(crate) revoked_at: Option<Timestamp>,
}

/// `{"keys": [Key]}`, oldest first.
#[derive(Deserialize)]
pub(crate) struct Keys {
    pub(crate) keys: Vec<Key>,
}

/// A key that was just made. It holds the raw key, so it has no `Debug`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct NewKey {
    pub(crate) key: Key,
    pub(crate) api_key: String,
}

/// What one cleanup did.
#[derive(Default, Deserialize)]
pub(crate) struct Sweep {
    pub(crate) settled: u64,
    /// The ids of the records that could not be settled.
    pub(crate) failed: Vec<String>,
    /// Whether it stopped at its bounds with more to do.
    pub(crate) more: bool,
}

/// What a cleanup would settle.
#[derive(Deserialize)]
pub(crate) struct Overdue {
    pub(crate) overdue: Vec<OverdueFile>,
    /// Whether there is more than is shown.
    pub(crate) more: bool,
}

/// What of bucket, records and quota does not agree.
#[derive(Deserialize)]
pub(crate) struct Report {
    pub(crate) report: Findings,
}

/// The findings of a report.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Findings {
    pub(crate) objects: u64,
    pub(crate) records: u64,
    pub(crate) orphans: Vec<FoundOrphan>,
    pub(crate) missing: Vec<String>,
    /// An older server does not look.
    #[serde(default)]
    pub(crate) damaged: Vec<String>,
    pub(crate) drifts: Vec<FoundDrift>,
    /// Whether there is more than was looked at.
    pub(crate) more: bool,
}

/// An object that no record knows of.
#[derive(Deserialize)]
pub(crate) struct FoundOrphan {
    pub(crate) key: String,
}

/// A project whose counter is off.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct FoundDrift {
    pub(crate) project_id: String,
    pub(crate) missing_bytes: i64,
}

/// A record that a cleanup would settle.
#[derive(Deserialize)]
pub(crate) struct OverdueFile {
    pub(crate) id: String,
    pub(crate) state: String,
    pub(crate) size: u64,
}

impl Client {
    /// What the key's own project holds.
    pub(crate) fn usage(&self) -> Result<Answer<Usage>, Failure> {
        self.read("/api/v1/usage")
    }

    /// All projects.
    pub(crate) fn projects(&self) -> Result<Answer<Projects>, Failure> {
        self.read("/api/v1/projects")
    }

    /// Makes a project. Not safe to repeat: each success makes another.
    pub(crate) fn create_project(&self, name: &str, quota_bytes: u64) -> Result<Answer<OneProject>, Failure> {
        self.post("/api/v1/projects", &json!({"name": name, "quotaBytes": quota_bytes}))
    }

    /// Changes a project's name or quota.
    pub(crate) fn change_project(&self, id: ProjectId, changes: &Value) -> Result<Answer<OneProject>, Failure> {
        self.api(Method::PATCH, &of_project(id, ""), Some(changes), None)
    }

    /// Lets the cleanup delete all files that a project has now.
    pub(crate) fn empty_project(&self, id: ProjectId) -> Result<Answer<Value>, Failure> {
        self.post(&of_project(id, "/empty"), &json!({}))
    }

    /// Lets the cleanup delete a project, and its keys stop working.
    pub(crate) fn delete_project(&self, id: ProjectId) -> Result<Answer<Value>, Failure> {
        self.remove(&of_project(id, ""))
    }

    /// The keys of a project.
    pub(crate) fn keys(&self, project: ProjectId) -> Result<Answer<Keys>, Failure> {
        self.read(&of_project(project, "/keys"))
    }

    /// Makes a key. Never under an idempotency key: the server would have to keep the raw key for a repeated answer.
    pub(crate) fn create_key(
        &self,
        project: ProjectId,
        name: &str,
        scopes: &[Scope],
        life: Option<Duration>,
    ) -> Result<Answer<NewKey>, Failure> {
        let scopes: Vec<_> = scopes.iter().map(|scope| scope.as_str()).collect();
        let body = json!({"name": name, "scopes": scopes, "expiresIn": life.map(|life| life.as_secs())});
        self.post(&of_project(project, "/keys"), &body)
    }

    /// Ends a key.
    pub(crate) fn revoke_key(&self, project: ProjectId, key: KeyId) -> Result<Answer<Value>, Failure> {
        self.remove(&of_project(project, &format!("/keys/{key}")))
    }

    /// Makes a key like another one, which works on for `grace`.
    pub(crate) fn rotate_key(
        &self,
        project: ProjectId,
        key: KeyId,
        grace: Duration,
    ) -> Result<Answer<NewKey>, Failure> {
        self.post(&of_project(project, &format!("/keys/{key}/rotate")), &json!({"gracePeriod": grace.as_secs()}))
    }

    /// Settles what is overdue, as far as one request goes. Safe to repeat.
    pub(crate) fn clean_up(&self) -> Result<Sweep, Failure> {
        self.post("/api/v1/cleanup", &json!({"dryRun": false})).map(|answer| answer.value)
    }

    /// What [`Client::clean_up`] would settle.
    pub(crate) fn overdue(&self) -> Result<Answer<Overdue>, Failure> {
        self.post("/api/v1/cleanup", &json!({"dryRun": true}))
    }

    /// What of bucket, records and quota does not agree.
    pub(crate) fn reconciliation(&self) -> Result<Answer<Report>, Failure> {
        self.post("/api/v1/cleanup", &json!({"report": true}))
    }

    fn remove<T: DeserializeOwned>(&self, path: &str) -> Result<Answer<T>, Failure> {
        self.api(Method::DELETE, path, None, None)
    }
}

fn of_project(id: ProjectId, rest: &str) -> String {
    format!("/api/v1/projects/{id}{rest}")
}

//! The requests of the operator of a deployment: projects, their keys, and the cleanup. All but [`Client::usage`] need a
//! key with the scope `admin`.

use std::time::Duration;

use ureq::http::Method;
use xfiles_api_types::{
    files::Done,
    projects::{
        IssuedKeyAnswer, KeyAnswer, KeyRotation, KeysAnswer, NewKey, NewProject, ProjectAnswer, ProjectChange,
        ProjectsAnswer, Usage,
    },
    running::{CleanupDone, CleanupDue, CleanupReport, CleanupWish},
    wire::{Wire, to_json},
    words::Seconds,
};
use xfiles_core::id::{KeyId, ProjectId};

use super::{Answer, Client};
use crate::failure::Failure;

impl Client {
    /// What the key's own project holds.
    pub(crate) fn usage(&self) -> Result<Answer<Usage>, Failure> {
        self.read("/api/v1/usage")
    }

    /// All projects.
    pub(crate) fn projects(&self) -> Result<Answer<ProjectsAnswer>, Failure> {
        self.read("/api/v1/projects")
    }

    /// Makes a project. Not safe to repeat: each success makes another.
    pub(crate) fn create_project(&self, new: &NewProject) -> Result<Answer<ProjectAnswer>, Failure> {
        self.post("/api/v1/projects", new)
    }

    /// Changes a project's name or quota.
    pub(crate) fn change_project(
        &self,
        id: ProjectId,
        change: &ProjectChange,
    ) -> Result<Answer<ProjectAnswer>, Failure> {
        self.api(Method::PATCH, &of_project(id, ""), Some(to_json(change)), None)
    }

    /// Lets the cleanup delete all files that a project has now.
    pub(crate) fn empty_project(&self, id: ProjectId) -> Result<Answer<Done>, Failure> {
        self.api(Method::POST, &of_project(id, "/empty"), None, None)
    }

    /// Lets the cleanup delete a project, and its keys stop working.
    pub(crate) fn delete_project(&self, id: ProjectId) -> Result<Answer<Done>, Failure> {
        self.remove(&of_project(id, ""))
    }

    /// The keys of a project.
    pub(crate) fn keys(&self, project: ProjectId) -> Result<Answer<KeysAnswer>, Failure> {
        self.read(&of_project(project, "/keys"))
    }

    /// Makes a key. Never under an idempotency key: the server would have to keep the raw key for a repeated answer.
    pub(crate) fn create_key(&self, project: ProjectId, new: &NewKey) -> Result<Answer<IssuedKeyAnswer>, Failure> {
        self.post(&of_project(project, "/keys"), new)
    }

    /// Ends a key.
    pub(crate) fn revoke_key(&self, project: ProjectId, key: KeyId) -> Result<Answer<KeyAnswer>, Failure> {
        self.remove(&of_project(project, &format!("/keys/{key}")))
    }

    /// Makes a key like another one, which works on for `grace`.
    pub(crate) fn rotate_key(
        &self,
        project: ProjectId,
        key: KeyId,
        grace: Duration,
    ) -> Result<Answer<IssuedKeyAnswer>, Failure> {
        let rotation = KeyRotation { grace_period: Seconds(grace) };
        self.post(&of_project(project, &format!("/keys/{key}/rotate")), &rotation)
    }

    /// Settles what is overdue, as far as one request goes. Safe to repeat.
    pub(crate) fn clean_up(&self) -> Result<CleanupDone, Failure> {
        self.cleanup(false, false).map(|answer| answer.value)
    }

    /// What [`Client::clean_up`] would settle.
    pub(crate) fn overdue(&self) -> Result<Answer<CleanupDue>, Failure> {
        self.cleanup(true, false)
    }

    /// What of bucket, records and quota does not agree.
    pub(crate) fn reconciliation(&self) -> Result<Answer<CleanupReport>, Failure> {
        self.cleanup(false, true)
    }

    fn cleanup<T: Wire>(&self, dry_run: bool, report: bool) -> Result<Answer<T>, Failure> {
        self.post("/api/v1/cleanup", &CleanupWish { dry_run, report })
    }

    fn remove<T: Wire>(&self, path: &str) -> Result<Answer<T>, Failure> {
        self.api(Method::DELETE, path, None, None)
    }
}

fn of_project(id: ProjectId, rest: &str) -> String {
    format!("/api/v1/projects/{id}{rest}")
}

//! Operations on projects.

mod clear;

pub(super) use self::clear::Cleared;
use super::{IssuedKey, NewKey, Projects};
use crate::{
    api_key::{ApiKey, Scope},
    catalog::{Attempt, Consistency, Project},
    error::{Error, Result},
    id::ProjectId,
};

/// A project to make.
#[derive(Clone, Debug)]
pub struct NewProject {
    /// Its name, for people.
    pub name: String,
    /// How many bytes its files may hold together.
    pub quota_bytes: u64,
}

/// A change to a project. `None` leaves the property as it is.
#[derive(Clone, Debug, Default)]
pub struct ProjectChange {
    /// The new name.
    pub name: Option<String>,
    /// The new quota, in bytes.
    pub quota_bytes: Option<u64>,
}

/// The name of the project that a new deployment has, and of that project's first key.
const FIRST_PROJECT: &str = "default";

impl Projects {
    /// Every project, oldest first.
    pub async fn list(&self) -> Result<Vec<Project>> {
        self.catalog.projects().await
    }

    /// One project.
    pub async fn get(&self, id: ProjectId) -> Result<Project> {
        self.catalog.project(id, Consistency::Strong).await
    }

    /// Makes a project. A repeated attempt returns the project that an earlier one made.
    pub async fn create(&self, new: NewProject, attempt: Option<&Attempt>) -> Result<Project> {
        let mut project = Project::new(new.name, new.quota_bytes, self.clock.now());
        if let Some(attempt) = attempt {
            project.id = ProjectId::derived(&attempt.seed, 0);
            if attempt.is_repeated {
                match self.get(project.id).await {
                    Err(Error::ProjectNotFound) => {}
                    made => return made,
                }
            }
        }
        self.catalog.create_project(&project).await?;
        Ok(project)
    }

    /// Changes a project's quota, then its name.
    ///
    /// # Errors
    /// [`QuotaBelowUsage`](Error::QuotaBelowUsage) when the project holds more than the new quota; the name is not
    /// changed then either.
    pub async fn change(&self, id: ProjectId, change: &ProjectChange) -> Result<Project> {
        if let Some(quota_bytes) = change.quota_bytes {
            self.catalog.set_quota(id, quota_bytes).await?;
        }
        if let Some(name) = &change.name {
            self.catalog.rename_project(id, name).await?;
        }
        self.get(id).await
    }

    /// The oldest project, which is made if there is none, and its first key, if it had none.
    pub async fn first(&self, quota_bytes: u64) -> Result<(ProjectId, Option<IssuedKey>)> {
        let project = match self.list().await?.first() {
            Some(project) => project.id,
            None => self.create(NewProject { name: FIRST_PROJECT.to_owned(), quota_bytes }, None).await?.id,
        };
        // A crash between project and key leaves a project without one.
        if !self.catalog.keys(project).await?.is_empty() {
            return Ok((project, None));
        }
        let new = NewKey { name: FIRST_PROJECT.to_owned(), scopes: Scope::ALL.to_vec(), expires_in: None };
        Ok((project, Some(self.issue(project, new, ApiKey::mint()).await?)))
    }
}

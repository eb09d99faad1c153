//! Records that are made again from what a damaged data directory still has.

use super::{NewProject, Projects};
use crate::{
    catalog::{Consistency, Project},
    clock::Timestamp,
    error::{Error, Result},
    file::File,
    id::{FileId, ProjectId},
    object_key::Visibility,
};

impl Projects {
    /// Makes the table, unless it is there.
    pub async fn create_table(&self) -> Result<()> {
        self.catalog.create_table().await
    }

    /// Makes a project whose record was lost, under its id. A project that has a record keeps it.
    pub async fn readmit_project(&self, id: ProjectId, new: NewProject, created: Timestamp) -> Result<()> {
        match self.get(id).await {
            Err(Error::ProjectNotFound) => {
                let project = Project::new(new.name, new.quota_bytes, created);
                self.catalog.create_project(&Project { id, ..project }).await
            }
            found => found.map(drop),
        }
    }

    /// Adds a published file whose record was lost. Its project's quota is raised if there is no room for it. A file that
    /// has a record keeps it.
    pub async fn readmit_file(&self, file: &File) -> Result<()> {
        self.catalog.readmit(file).await
    }

    /// Corrects the visibility of a file whose original was found at the other one. A move that was under way has ended.
    pub async fn correct_visibility(&self, id: FileId, visibility: Visibility) -> Result<()> {
        let file = self.catalog.file(id, Consistency::Strong).await?;
        self.catalog.replace(&file.correct_visibility(visibility)).await
    }
}

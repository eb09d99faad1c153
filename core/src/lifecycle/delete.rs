//! Deleting a file: hide, then take apart.

use super::Files;
use crate::{
    catalog::Consistency,
    error::{Error, Result},
    id::{FileId, ProjectId},
};

impl Files {
    /// Removes a confirmed file: original, variants, cached copies, record, and its share of the quota.
    ///
    /// Once this answers without error nobody can read the file. When a step fails, the file is hidden already and
    /// the cleanup finishes.
    pub async fn delete(&self, project: ProjectId, id: FileId) -> Result<()> {
        let file = self.catalog.file(id, Consistency::Strong).await?;
        if file.project != project {
            return Err(Error::FileNotFound);
        }
        let hidden = file.hide(self.clock.now())?;
        self.catalog.hide(&hidden).await?;
        self.settle(&hidden).await
    }
}

//! Clearing a project: removing all files that it had at some time, and perhaps the project itself.

use std::time::Duration;

use crate::operations::Files;
use crate::{
    catalog::{Clearing, Consistency, FileFilter},
    clock::Timestamp,
    error::{Error, Result},
    id::ProjectId,
};

/// How long a clearing that waits for pending uploads to expire waits before it looks again.
const PAUSE: Duration = Duration::from_secs(60);

impl Files {
    /// Begins to remove all files that the project has now. The cleanup does it.
    pub async fn empty_project(&self, project: ProjectId) -> Result<()> {
        self.empty_project_as_of(project, self.clock.now()).await
    }

    /// Begins to remove all files that the project had at that time.
    pub async fn empty_project_as_of(&self, project: ProjectId, at: Timestamp) -> Result<()> {
        let clearing = Clearing { before: at + Duration::from_millis(1), and_project: false };
        self.catalog.begin_clearing(project, clearing, self.clock.now()).await
    }

    /// Begins to remove the project with its keys and all its files. Its keys stop working and it takes no new uploads;
    /// the cleanup does the rest.
    pub async fn delete_project(&self, project: ProjectId) -> Result<()> {
        let now = self.clock.now();
        let clearing = Clearing { before: now + Duration::from_millis(1), and_project: true };
        self.catalog.begin_clearing(project, clearing, now).await?;
        for key in self.catalog.keys(project).await? {
            self.catalog.revoke_key(project, key.id, now).await?;
        }
        Ok(())
    }

    /// Goes on with a clearing for some time.
    pub(in crate::operations) async fn clear(&self, id: ProjectId, time: Duration) -> Result<Cleared> {
        let project = match self.catalog.project(id, Consistency::Strong).await {
            Err(Error::ProjectNotFound) => return Ok(Cleared::Nothing),
            project => project?,
        };
        let Some(clearing) = project.clearing else {
            return Ok(Cleared::Nothing);
        };
        let filter = FileFilter { created_before: Some(clearing.before), ..FileFilter::default() };
        if self.delete_matching(id, &filter, time).await?.more {
            // It goes on behind all that is due by now.
            self.catalog.begin_clearing(id, clearing, self.clock.now()).await?;
            return Ok(Cleared::OutOfTime);
        }
        if !clearing.and_project {
            self.catalog.end_clearing(&project).await?;
            return Ok(Cleared::Whole);
        }
        // It takes no new uploads, so what holds nothing now never will. The record goes last: it is what owes the rest.
        let used = match self.catalog.project(id, Consistency::Strong).await {
            Err(Error::ProjectNotFound) => return Ok(Cleared::Nothing),
            project => project?.used_bytes(),
        };
        if used == 0 {
            for key in self.catalog.keys(id).await? {
                self.catalog.remove_key(&key.hash).await?;
            }
            for endpoint in self.catalog.endpoints(id).await? {
                self.catalog.remove_endpoint(id, endpoint.id).await?;
            }
            if self.catalog.remove_project(id).await? {
                return Ok(Cleared::Whole);
            }
        }
        // Pending uploads hold quota until they expire.
        self.catalog.begin_clearing(id, clearing, self.clock.now() + PAUSE).await?;
        Ok(Cleared::Nothing)
    }
}

/// How far a clearing came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::operations) enum Cleared {
    /// There is nothing left to clear.
    Whole,
    /// Its time ran out with more to do.
    OutOfTime,
    /// There was nothing to do, or nothing before a later time.
    Nothing,
}

//! Deleting files: hide, then take apart.

use std::time::Duration;

use futures::{StreamExt as _, stream};

use crate::operations::{AT_ONCE, Files};
use crate::{
    catalog::{Consistency, FileFilter},
    error::{Cause, Error, Result},
    file::{File, State},
    id::{FileId, ProjectId},
};

/// What a bulk deletion did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BulkDeleted {
    /// How many files were hidden by this call.
    pub deleted: u64,
    /// Whether its time ran out with more to hide; another call goes on.
    pub more: bool,
}

impl Files {
    /// Removes a file: original, variants, cached copies, record, and its share of the quota. A pending upload ends.
    ///
    /// When this returns without error, the file can no longer be read. When a step fails, the file is hidden already and
    /// the cleanup finishes.
    pub async fn delete(&self, project: ProjectId, id: FileId, revision: Option<u64>) -> Result<()> {
        let file = self.catalog.file(id, Consistency::Strong).await?;
        if file.project != project {
            return Err(Error::FileNotFound);
        }
        if file.is_confirmed() && revision.is_some_and(|revision| revision != file.revision) {
            return Err(Error::PreconditionFailed);
        }
        let hidden = self.hide(&file).await?;
        self.settle(&hidden).await
    }

    /// Hides a file. Its bytes are removed when the record is settled.
    async fn hide(&self, file: &File) -> Result<File> {
        let now = self.clock.now();
        if file.state == State::Pending {
            let expiring = file.expire(now)?;
            self.catalog.replace(&expiring).await?;
            return Ok(expiring);
        }
        let hidden = file.hide(now)?;
        self.catalog.hide(&hidden).await?;
        Ok(hidden)
    }

    /// Removes each of these files, and says of each in the same order how it went. A deletion that has not begun within
    /// the time is [`Unavailable`](Error::Unavailable), and can be asked for again.
    pub async fn delete_all(&self, project: ProjectId, ids: &[FileId], time: Duration) -> Vec<Result<()>> {
        let started = self.clock.monotonic();
        let delete = |id| async move {
            if self.clock.monotonic().since(started) >= time {
                let source = Cause::because("deleting files", "the request's time ended before this one's turn");
                return Err(Error::Unavailable { retry_after: Duration::from_secs(1), source });
            }
            self.delete(project, id, None).await
        };
        stream::iter(ids.to_vec()).map(delete).buffered(AT_ONCE).collect().await
    }

    /// Removes every confirmed file that the filter accepts, within a time. Counts those that this call hid. What is
    /// hidden when the time ends and not yet taken apart is the cleanup's.
    pub async fn delete_matching(
        &self,
        project: ProjectId,
        filter: &FileFilter,
        time: Duration,
    ) -> Result<BulkDeleted> {
        let started = self.clock.monotonic();
        let mut deleted = 0;
        let mut cursor = None;
        loop {
            let page = self.catalog.scan(project, filter, cursor.as_ref()).await?;
            let outcomes: Vec<Result<bool>> = stream::iter(page.ids)
                .map(|id| self.delete_listed(project, id))
                .buffer_unordered(AT_ONCE)
                .collect()
                .await;
            for outcome in outcomes {
                deleted += u64::from(outcome?);
            }
            cursor = page.next;
            if cursor.is_none() {
                return Ok(BulkDeleted { deleted, more: false });
            }
            if self.clock.monotonic().since(started) >= time {
                return Ok(BulkDeleted { deleted, more: true });
            }
        }
    }

    /// Whether this call hid the file. A file that another request removed is not counted.
    async fn delete_listed(&self, project: ProjectId, id: FileId) -> Result<bool> {
        let hidden = async {
            let file = self.get(project, id).await?;
            self.hide(&file).await
        };
        let hidden = match hidden.await {
            Err(Error::FileNotFound | Error::Conflict) => return Ok(false),
            hidden => hidden?,
        };
        if let Err(error) = self.settle(&hidden).await {
            tracing::warn!(file.id = %id, %error, "a hidden file is left to the cleanup");
        }
        Ok(true)
    }
}

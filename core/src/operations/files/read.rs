//! Reading files: records, lists, URLs.

use std::time::Duration;

use crate::operations::Files;
use crate::{
    catalog::{Consistency, Cursor, FileFilter, FilePage, FileRun, PageNumber, PageSize, PendingCursor, PendingRun},
    cdn::{CdnUrl, Expiry},
    error::{Error, Result},
    file::{File, State},
    id::{FileId, ProjectId},
    variant::{ImageFormat, Width},
};

/// How often a caller that waits for a confirmation reads the record.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Where a file's bytes can be read.
#[derive(Debug)]
pub struct FileUrls {
    /// The original.
    pub original: CdnUrl,
    /// Every width, if variants are made of it.
    pub variants: Vec<VariantUrl>,
}

/// Where one variant can be read.
#[derive(Debug)]
pub struct VariantUrl {
    /// Its width.
    pub width: Width,
    /// Its URL.
    pub url: CdnUrl,
}

impl Files {
    /// A confirmed file of the project. Missing, foreign, pending and deleted files are the same [`Error::FileNotFound`].
    pub async fn get(&self, project: ProjectId, id: FileId) -> Result<File> {
        let file = self.catalog.file(id, Consistency::Strong).await?;
        if file.project == project && file.is_confirmed() { Ok(file) } else { Err(Error::FileNotFound) }
    }

    /// The same, waiting for a pending upload to be confirmed.
    pub async fn get_within(&self, project: ProjectId, id: FileId, wait: Duration) -> Result<File> {
        let until = tokio::time::Instant::now() + wait;
        loop {
            let file = self.catalog.file(id, Consistency::Strong).await?;
            if file.project != project {
                return Err(Error::FileNotFound);
            }
            let left = until.saturating_duration_since(tokio::time::Instant::now());
            match file.state {
                State::Confirmed { .. } | State::Moving { .. } => return Ok(file),
                State::Pending | State::Confirming { .. } if !left.is_zero() => {
                    tokio::time::sleep(left.min(LOOK_EVERY)).await;
                }
                State::Pending
                | State::Confirming { .. }
                | State::Expiring
                | State::Deleting { .. }
                | State::Removed { .. } => {
                    return Err(Error::FileNotFound);
                }
            }
        }
    }

    /// Whether both stores answer and URLs can be signed.
    pub async fn ready(&self) -> Result<()> {
        self.catalog.ready().await?;
        self.blobs.ready().await?;
        self.cdn.ready().await
    }

    /// One page of the project's confirmed files.
    pub async fn list(
        &self,
        project: ProjectId,
        filter: &FileFilter,
        page: PageNumber,
        size: PageSize,
    ) -> Result<FilePage> {
        self.catalog.list(project, filter, page, size).await
    }

    /// One page of a walk through the project's confirmed files.
    pub async fn walk(
        &self,
        project: ProjectId,
        filter: &FileFilter,
        from: Option<&Cursor>,
        size: PageSize,
    ) -> Result<FileRun> {
        self.catalog.walk(project, filter, from, size).await
    }

    /// One page of the project's pending uploads.
    pub async fn pending(
        &self,
        project: ProjectId,
        from: Option<&PendingCursor>,
        size: PageSize,
    ) -> Result<PendingRun> {
        self.catalog.pending(project, from, size).await
    }

    /// The URLs of a confirmed file, permanent or signed by what they lead to; signed ones live as long as is asked for,
    /// or five to six minutes. As a download, the original is saved under the name it had on the client. Takes no request
    /// but, for the first signature, the one that reads the key.
    pub async fn urls(
        &self,
        file: &File,
        format: ImageFormat,
        life: Option<Duration>,
        as_download: bool,
    ) -> Result<FileUrls> {
        let now = self.clock.now();
        let expiry = life.map_or_else(|| self.cdn.expiry(now), |life| Expiry::after(now, life));
        let key = file.original_key();
        let original = match as_download {
            false => self.cdn.url(&key, expiry).await?,
            true => self.cdn.download_url(&key, file.original_filename.as_str(), expiry).await?,
        };
        let variants = if file.has_variants() {
            let (visibility, stem) = (file.variants.visibility, file.name.stem());
            let urls = self.cdn.variant_urls(visibility, file.project, file.id, stem, format, expiry).await?;
            urls.into_iter().map(|(width, url)| VariantUrl { width, url }).collect()
        } else {
            Vec::new()
        };
        Ok(FileUrls { original, variants })
    }
}

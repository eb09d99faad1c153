//! Reading files: records, lists, URLs.

use super::Files;
use crate::{
    catalog::{Consistency, FileFilter, FilePage, PageNumber, PageSize},
    cdn::CdnUrl,
    error::{Error, Result},
    file::File,
    id::{FileId, ProjectId},
    variant::{ImageFormat, Width},
};

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

    /// The URLs of a confirmed file, permanent or signed by what they lead to. Takes no request to any store.
    pub fn urls(&self, file: &File, format: ImageFormat) -> FileUrls {
        let now = self.clock.now();
        let original = self.cdn.url(&file.original_key(), now).expect("an original is served");
        let variants = if file.has_variants() {
            let (visibility, stem) = (file.variants.visibility, file.name.stem());
            let urls = self.cdn.variant_urls(visibility, file.project, file.id, stem, format, now);
            urls.into_iter().map(|(width, url)| VariantUrl { width, url }).collect()
        } else {
            Vec::new()
        };
        FileUrls { original, variants }
    }
}

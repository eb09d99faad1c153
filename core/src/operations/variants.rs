//! What the image worker does with files: it reads the record and the original, stores variants, and notes placeholders.

use super::Files;
use crate::{
    blobs::{Blobs, Reading, StoredVariant},
    catalog::{Catalog, Consistency},
    clock::Clock,
    error::Result,
    file::File,
    id::FileId,
    object_key::ObjectKey,
    thumbhash::ThumbHash,
    variant::ImageFormat,
};

/// The files as the image worker needs them, which knows no CDN.
#[derive(Clone, Debug)]
pub struct Variants {
    catalog: Catalog,
    blobs: Blobs,
    clock: Clock,
}

impl From<Files> for Variants {
    fn from(files: Files) -> Self {
        Self { catalog: files.catalog, blobs: files.blobs, clock: files.clock }
    }
}

impl Variants {
    /// The files in these stores.
    pub fn new(catalog: Catalog, blobs: Blobs, clock: Clock) -> Self {
        Self { catalog, blobs, clock }
    }

    /// The clock of the operations.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// The record of a file, in whatever state.
    pub async fn file(&self, id: FileId, consistency: Consistency) -> Result<File> {
        self.catalog.file(id, consistency).await
    }

    /// Stores the placeholder of a file that has none, and reads the file, in one request. The version stays: see
    /// [`Catalog::note_thumbhash`].
    pub async fn note_thumbhash(&self, id: FileId, thumbhash: &ThumbHash) -> Result<File> {
        self.catalog.note_thumbhash(id, thumbhash).await
    }

    /// Begins to read an original. `None`: it does not exist.
    pub async fn open(&self, original: &ObjectKey) -> Result<Option<Reading>> {
        self.blobs.open(original).await
    }

    /// Stores a variant, unless it is there.
    pub async fn store(&self, key: &ObjectKey, format: ImageFormat, bytes: bytes::Bytes) -> Result<StoredVariant> {
        self.blobs.put_variant(key, format, bytes).await
    }

    /// Removes a variant.
    pub async fn remove(&self, key: &ObjectKey) -> Result<()> {
        self.blobs.delete([key.clone()]).await
    }

    #[cfg(feature = "aws")]
    pub(crate) fn into_stores(self) -> (Catalog, Blobs) {
        (self.catalog, self.blobs)
    }
}

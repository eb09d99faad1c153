//! Beginning uploads: mint, presign, reserve.

use super::Files;
use crate::{blobs::PresignedPut, catalog::Catalog, error::Result, file::File, id::ProjectId, intent::UploadIntent};

/// An upload that has begun.
#[derive(Debug)]
pub struct Begun {
    /// The pending file.
    pub file: File,
    /// Where the client puts its bytes.
    pub upload: PresignedPut,
}

impl Files {
    /// Reserves quota for an upload and makes its URL.
    ///
    /// # Errors
    /// [`QuotaExceeded`](crate::error::Error::QuotaExceeded) when the project has no room.
    pub async fn begin(&self, project: ProjectId, intent: UploadIntent) -> Result<Begun> {
        let begun = self.prepare(project, intent).await?;
        self.catalog.reserve(std::slice::from_ref(&begun.file)).await?;
        Ok(begun)
    }

    /// Begins several uploads, each for itself: those for which there is room. Answers in the order of the intents.
    pub async fn begin_each(&self, project: ProjectId, intents: Vec<UploadIntent>) -> Vec<Result<Begun>> {
        let mut begun = Vec::with_capacity(intents.len());
        // One after the other: they all take from the same quota, and would only be in each other's way.
        for intent in intents {
            begun.push(self.begin(project, intent).await);
        }
        begun
    }

    /// Begins several uploads: all of them, or none.
    pub async fn begin_all(&self, project: ProjectId, intents: Vec<UploadIntent>) -> Result<Vec<Begun>> {
        let mut begun = Vec::with_capacity(intents.len());
        for intent in intents {
            begun.push(self.prepare(project, intent).await?);
        }
        let files: Vec<File> = begun.iter().map(|b| b.file.clone()).collect();
        for (i, part) in files.chunks(Catalog::RESERVE_AT_ONCE).enumerate() {
            if let Err(error) = self.catalog.reserve(part).await {
                self.take_back(&files[..i * Catalog::RESERVE_AT_ONCE]).await;
                return Err(error);
            }
        }
        Ok(begun)
    }

    /// Presigning takes no request, so it comes first: what cannot be signed is never reserved.
    async fn prepare(&self, project: ProjectId, intent: UploadIntent) -> Result<Begun> {
        let file = File::begin(project, intent, self.clock.now());
        let upload = self.blobs.presign_put(&file).await?;
        Ok(Begun { file, upload })
    }

    /// Ends uploads whose companions found no room. One that cannot be ended now expires by itself.
    async fn take_back(&self, files: &[File]) {
        for file in files {
            if let Err(error) = self.settle(file).await {
                tracing::warn!(file.id = %file.id, %error, "an upload is left to expire");
            }
        }
    }
}

//! Beginning an upload: mint, presign, reserve.

use super::Files;
use crate::{blobs::PresignedPut, error::Result, file::File, id::ProjectId, intent::UploadIntent};

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
        let now = self.clock.now();
        let file = File::begin(project, intent, now);
        // Presigning takes no request, so it comes first: what cannot be signed is never reserved.
        let upload = self.blobs.presign_put(&file).await?;
        self.catalog.reserve(&file).await?;
        Ok(Begun { file, upload })
    }
}

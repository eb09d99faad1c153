//! Confirming an upload: inspect, claim, publish.

use futures::{StreamExt as _, stream};

use crate::operations::{AT_ONCE, Files};
use crate::{
    blobs::{Copied, Upload},
    catalog::Consistency,
    error::{Cause, Error, Result},
    event::Event,
    file::{File, State},
    id::{FileId, ProjectId},
    object_key::ObjectKey,
    sniff,
};

/// What becomes of an upload whose bytes are not what was declared.
#[derive(Clone, Copy)]
enum OnMismatch {
    /// It ends.
    Refuse,
    /// It stays as it is.
    Leave,
}

/// A file that is confirmed.
enum Confirmation {
    /// By this call.
    Now(File),
    /// Before it.
    Before(File),
}

/// How often a confirmation starts over because the record or the staged bytes changed under it.
const ATTEMPTS: u32 = 4;

impl Files {
    /// Publishes an uploaded file. Any number of calls publish once and answer the same.
    ///
    /// # Errors
    /// [`NotUploaded`](Error::NotUploaded) while the bytes have not arrived, and
    /// [`ContentTypeMismatch`](Error::ContentTypeMismatch) when they are not what was declared; that ends the upload.
    pub async fn confirm(&self, project: ProjectId, id: FileId) -> Result<File> {
        let (Confirmation::Now(file) | Confirmation::Before(file)) =
            self.confirm_or(project, id, OnMismatch::Refuse).await?;
        Ok(file)
    }

    /// Publishes the file whose bytes have just arrived, for a client that may have died. `false`: there is nothing to
    /// publish. Bytes that are not what was declared stay until the client asks, and learns why, or the upload expires;
    /// those of an upload that has ended are removed.
    pub async fn confirm_arrived(&self, key: &ObjectKey) -> Result<bool> {
        let ObjectKey::Staging { project, file, .. } = key else {
            return Ok(false);
        };
        match self.confirm_or(*project, *file, OnMismatch::Leave).await {
            Ok(Confirmation::Now(_)) => Ok(true),
            Ok(Confirmation::Before(_)) => self.blobs.delete([key.clone()]).await.map(|()| true),
            Err(Error::FileNotFound) => self.blobs.delete([key.clone()]).await.map(|()| false),
            Err(Error::NotUploaded | Error::ContentTypeMismatch { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Removes staged bytes that have arrived after their upload was published or has ended: the upload URL works
    /// until it expires, and nothing reads them any more. Returns true if they were late.
    pub async fn remove_late(&self, key: &ObjectKey) -> Result<bool> {
        let ObjectKey::Staging { file, .. } = key else {
            return Ok(false);
        };
        let late = match self.catalog.file(*file, Consistency::Strong).await {
            // An upload that has ended is never open again, so that nothing can need these bytes later.
            Ok(record) => !record.is_upload_under_way(),
            Err(Error::FileNotFound) => true,
            Err(error) => return Err(error),
        };
        if late {
            self.blobs.delete([key.clone()]).await?;
        }
        Ok(late)
    }

    async fn confirm_or(&self, project: ProjectId, id: FileId, mismatch: OnMismatch) -> Result<Confirmation> {
        for _ in 0..ATTEMPTS {
            let file = self.catalog.file(id, Consistency::Strong).await?;
            if file.project != project {
                return Err(Error::FileNotFound);
            }
            let step = match &file.state {
                State::Confirmed { .. } | State::Moving { .. } => return Ok(Confirmation::Before(file)),
                State::Expiring | State::Deleting { .. } | State::Removed { .. } => return Err(Error::FileNotFound),
                State::Confirming { .. } => self.publish(&file).await,
                State::Pending => match self.claim(&file, mismatch).await {
                    Ok(claimed) => self.publish(&claimed).await,
                    Err(e) => Err(e),
                },
            };
            match step {
                Ok(Some(confirmed)) => return Ok(Confirmation::Now(confirmed)),
                // The bytes were replaced, or another request changed the record: start over.
                Ok(None) | Err(Error::Conflict) => {}
                // Nothing is staged when another request has published it.
                Err(Error::NotUploaded) => {
                    let now = self.catalog.file(id, Consistency::Strong).await?;
                    if now.version == file.version {
                        return Err(Error::NotUploaded);
                    }
                }
                Err(e) => return Err(e),
            }
        }
        Err(Error::Conflict)
    }

    /// Confirms each of these uploads, and says of each in the same order how it went.
    pub async fn confirm_each(&self, project: ProjectId, ids: &[FileId]) -> Vec<Result<File>> {
        stream::iter(ids.to_vec()).map(|id| self.confirm(project, id)).buffered(AT_ONCE).collect().await
    }

    async fn claim(&self, file: &File, mismatch: OnMismatch) -> Result<File> {
        let staged = self.blobs.inspect(&file.staging_key()).await?.ok_or(Error::NotUploaded)?;
        if !agrees(file, &staged) {
            return match mismatch {
                OnMismatch::Refuse => self.refuse(file).await,
                OnMismatch::Leave => Err(Error::ContentTypeMismatch { declared: file.content_type.to_string() }),
            };
        }
        let dimensions = sniff::dimensions(&file.content_type, &staged.head);
        let claimed = file.claim(staged.etag, dimensions, self.clock.now())?;
        self.catalog.replace(&claimed).await?;
        Ok(claimed)
    }

    async fn refuse(&self, file: &File) -> Result<File> {
        let expiring = file.expire(self.clock.now())?;
        self.catalog.replace(&expiring).await?;
        self.settle(&expiring).await?;
        Err(Error::ContentTypeMismatch { declared: file.content_type.to_string() })
    }

    /// Publishes claimed bytes. `None`: they were replaced before they could be copied, and the upload is open again.
    ///
    /// The staged bytes go before the record is cleared, so that a crash in between leaves work on the record rather
    /// than an object without a record.
    pub(in crate::operations) async fn publish(&self, file: &File) -> Result<Option<File>> {
        let State::Confirming { etag } = &file.state else {
            return Err(Error::Conflict);
        };
        match self.blobs.publish(file, etag).await? {
            Copied::Yes { etag } => {
                self.blobs.delete([file.staging_key()]).await?;
                let now = self.clock.now();
                let confirmed = file.finish(etag, now)?;
                match self.catalog.publish(&confirmed, &Event::confirmed(&confirmed, now)).await {
                    Ok(()) => Ok(Some(confirmed)),
                    Err(error) => {
                        if let Error::Conflict | Error::FileNotFound = error {
                            Box::pin(self.account_for_copy(file, file.visibility)).await?;
                        }
                        Err(error)
                    }
                }
            }
            Copied::SourceChanged => {
                self.catalog.replace(&file.reopen(self.clock.now())?).await?;
                Ok(None)
            }
            Copied::Occupied => {
                let claimed = self.claim_published(file).await?;
                Box::pin(self.publish(&claimed)).await
            }
        }
    }

    /// Claims what lies in the file's place already: the copy of an earlier claim that was given up arrived after all.
    /// It was inspected then, and nothing replaces it, so that the first copy to arrive is the one that is published.
    async fn claim_published(&self, file: &File) -> Result<File> {
        let published = self.blobs.inspect(&file.original_key()).await?.ok_or(Error::Conflict)?;
        if !agrees(file, &published) {
            let reason = "an object that is not what was declared is in the file's place";
            return Err(Error::Internal(Cause::because("publishing an upload", reason)));
        }
        let dimensions = sniff::dimensions(&file.content_type, &published.head);
        let claimed = file.claim_instead(published.etag, dimensions, self.clock.now())?;
        self.catalog.replace(&claimed).await?;
        Ok(claimed)
    }
}

/// Whether the bytes are what was declared. The upload's signature binds size and type already; a store that is not
/// ours might not have checked it.
fn agrees(file: &File, staged: &Upload) -> bool {
    staged.size == file.size.bytes()
        && file.content_type.is(&staged.content_type)
        && sniff::agrees(&file.content_type, &staged.head)
}

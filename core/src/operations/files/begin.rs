//! Beginning uploads: mint, presign, reserve.

use crate::operations::Files;
use crate::{
    blobs::PresignedPut,
    catalog::{Attempt, Catalog, Consistency},
    error::{Error, Result},
    file::{File, State},
    id::{FileId, KeyId, ProjectId},
    intent::UploadIntent,
};

/// Who begins uploads, and under which idempotency key.
#[derive(Clone, Debug)]
pub struct Uploader {
    /// Whose files they become.
    pub project: ProjectId,
    /// The API key, if one began them.
    pub key: Option<KeyId>,
    /// The attempt at a request that is carried out once. The ids of its files follow from it, so that a second attempt
    /// finds what the first one reserved before its process died.
    pub attempt: Option<Attempt>,
}

impl From<ProjectId> for Uploader {
    fn from(project: ProjectId) -> Self {
        Self { project, key: None, attempt: None }
    }
}

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
    /// [`QuotaExceeded`](crate::error::Error::QuotaExceeded) when the project has no room, and
    /// [`TooManyPending`](crate::error::Error::TooManyPending) when it, or the API key, has too many pending uploads.
    pub async fn begin(&self, by: impl Into<Uploader>, intent: UploadIntent) -> Result<Begun> {
        self.begin_nth(&by.into(), 0, intent).await
    }

    /// Begins several uploads, each for itself: those for which there is room. Answers in the order of the intents.
    pub async fn begin_each(&self, by: impl Into<Uploader>, intents: Vec<UploadIntent>) -> Vec<Result<Begun>> {
        let by = by.into();
        let mut begun = Vec::with_capacity(intents.len());
        // One after the other: they all take from the same quota, and would only be in each other's way.
        for (nth, intent) in (0..).zip(intents) {
            begun.push(self.begin_nth(&by, nth, intent).await);
        }
        begun
    }

    /// Begins several uploads: all of them, or none.
    pub async fn begin_all(&self, by: impl Into<Uploader>, intents: Vec<UploadIntent>) -> Result<Vec<Begun>> {
        let by = by.into();
        let mut begun = Vec::with_capacity(intents.len());
        let (mut reserved, mut new) = (Vec::new(), Vec::with_capacity(intents.len()));
        for (nth, intent) in (0..).zip(intents) {
            match self.begun_before(&by, nth).await? {
                Some(before) => {
                    reserved.push(before.file.clone());
                    begun.push(before);
                }
                None => {
                    let prepared = self.prepare(&by, nth, intent).await?;
                    new.push(prepared.file.clone());
                    begun.push(prepared);
                }
            }
        }
        for part in new.chunks(Catalog::RESERVE_AT_ONCE) {
            if let Err(error) = self.catalog.reserve(part).await {
                self.take_back(&reserved).await;
                return Err(error);
            }
            reserved.extend_from_slice(part);
        }
        Ok(begun)
    }

    async fn begin_nth(&self, by: &Uploader, nth: u32, intent: UploadIntent) -> Result<Begun> {
        if let Some(before) = self.begun_before(by, nth).await? {
            return Ok(before);
        }
        let begun = self.prepare(by, nth, intent).await?;
        self.catalog.reserve(std::slice::from_ref(&begun.file)).await?;
        Ok(begun)
    }

    /// What an earlier attempt reserved in this place, with a fresh URL, as its answer was lost with the process. Only a
    /// second attempt has to look.
    async fn begun_before(&self, by: &Uploader, nth: u32) -> Result<Option<Begun>> {
        let Some(attempt) = by.attempt.as_ref().filter(|attempt| attempt.is_repeated) else {
            return Ok(None);
        };
        match self.catalog.file(FileId::derived(&attempt.seed, nth), Consistency::Strong).await {
            Ok(file) if file.project != by.project => Err(Error::Conflict),
            Ok(file) if file.state == State::Pending => self.renew(&file).await.map(Some),
            // Its bytes cannot have been asked for: the URL was never given out. The cleanup has begun to end it.
            Ok(_) => Err(Error::Conflict),
            Err(Error::FileNotFound) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Presigning takes no request, so it comes first: what cannot be signed is never reserved.
    async fn prepare(&self, by: &Uploader, nth: u32, intent: UploadIntent) -> Result<Begun> {
        let mut file = File::begin(by.project, intent, self.clock.now());
        file.uploader = by.key;
        if let Some(attempt) = &by.attempt {
            file.id = FileId::derived(&attempt.seed, nth);
        }
        let upload = self.blobs.presign_put(&file).await?;
        Ok(Begun { file, upload })
    }

    /// Ends uploads whose companions found no room. One that cannot be ended now expires by itself.
    async fn take_back(&self, files: &[File]) {
        for file in files {
            if let Err(error) = self.settle(&file.withdraw_url()).await {
                tracing::warn!(file.id = %file.id, %error, "an upload is left to expire");
            }
        }
    }
}

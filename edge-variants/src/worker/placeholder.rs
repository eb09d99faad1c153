//! The placeholder of a picture that nobody has looked at, made when it is told that the picture was published.
//!
//! The worker may be told twice, late, or of a file that has changed or gone since: the record decides. Nothing is stored
//! but the placeholder, which follows from the bytes; what is not made here is made with the first variant. Of an original
//! that somebody looks at meanwhile it takes what is decoded for them.

use std::time::Duration;

use xfiles_core::{
    catalog::Consistency,
    error::{Cause, Error},
    id::FileId,
    thumbhash::ThumbHash,
    variant::{ImageFormat, VariantSpec, Width},
};

use super::{Failure, Shrunk, Worker};
use crate::render::Job;

/// Of as few pixels as the smallest variant has.
const SMALLEST: VariantSpec = VariantSpec { width: Width::ALL[0], format: ImageFormat::WebP };

impl Worker {
    /// Makes the placeholder of a published picture that has none, and notes it in the record. A picture that cannot be
    /// decoded is left without, and is no error.
    ///
    /// # Errors
    /// What may go well another time: a store failed, or the worker has too much to do.
    pub async fn note_placeholder(&self, id: FileId) -> Result<(), Error> {
        // An older read may not know yet that it was published.
        let file = match self.files.file(id, Consistency::Strong).await {
            Ok(file) if file.lacks_placeholder() => file,
            Ok(_) | Err(Error::FileNotFound) => return Ok(()),
            Err(error) => return Err(error),
        };
        if self.refused(id).is_some() {
            return Ok(());
        }
        let unavailable = |retry_after, reason| Error::Unavailable {
            retry_after,
            source: Cause::because("making a placeholder", reason),
        };
        let Some(_place) = self.lane.places.take(file.project) else {
            return Err(unavailable(Duration::from_secs(2), "the worker has too much to do"));
        };
        let Ok(shrunk) = self.shrunk(&file, Job::new(SMALLEST).with_placeholder(true), false, &self.lane).await else {
            // Nobody is left to decode it, which the log has.
            return Ok(());
        };
        let refusal = match shrunk {
            Ok(Shrunk::Small(small, permit)) => {
                let placeholder = small.placeholder();
                drop(permit);
                return self.note(id, &placeholder).await;
            }
            Ok(Shrunk::Rendered(Ok(rendered))) => match rendered.placeholder {
                Some(placeholder) => return self.note(id, &placeholder).await,
                None => return Ok(()),
            },
            Ok(Shrunk::Rendered(Err(refusal)) | Shrunk::Refused(refusal)) => refusal,
            Err(Failure::NotFound) => return Ok(()),
            Err(Failure::Unavailable(retry_after)) => {
                return Err(unavailable(retry_after, "the original could not be read"));
            }
        };
        self.remember(id, refusal);
        Ok(())
    }

    async fn note(&self, id: FileId, placeholder: &ThumbHash) -> Result<(), Error> {
        match self.files.note_thumbhash(id, placeholder).await {
            Ok(_) | Err(Error::FileNotFound) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

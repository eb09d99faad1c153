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
        let file = match self.files.catalog.file(id, Consistency::Strong).await {
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
        let Ok(_place) = self.lane.places.try_acquire() else {
            return Err(unavailable(Duration::from_secs(2), "the worker has too much to do"));
        };
        let Ok(shrunk) = self.shrunk(&file, Job::new(SMALLEST), &self.lane).await else {
            // A decoder panicked, which the log has; the same bytes would make it panic again.
            return Ok(());
        };
        let small = match shrunk {
            Ok(Shrunk { small, permit }) => {
                drop(permit);
                small
            }
            Err(Failure::NotFound) => return Ok(()),
            Err(Failure::Unavailable(retry_after)) => {
                return Err(unavailable(retry_after, "the original could not be read"));
            }
        };
        let placeholder = match small {
            Ok(small) => small.placeholder(),
            Err(refusal) => {
                self.remember(id, refusal);
                return Ok(());
            }
        };
        match self.files.catalog.note_thumbhash(id, &placeholder).await {
            Ok(_) | Err(Error::FileNotFound) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

//! The placeholder of a picture that nobody has looked at, made when it is told that the picture was published.
//!
//! The worker may be told twice, late, or of a file that has changed or gone since: the record decides. Nothing is stored
//! but the placeholder, which follows from the bytes; what is not made here is made with the first variant.

use std::time::{Duration, Instant};

use tokio::time::timeout;
use xfiles_core::{
    catalog::Consistency,
    error::{Cause, Error},
    id::FileId,
    variant::{ImageFormat, VariantSpec, Width},
};

use super::{TURN, Worker};
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
        let busy = || Error::Unavailable {
            retry_after: Duration::from_secs(2),
            source: Cause::because("making a placeholder", "the worker has too much to do"),
        };
        let _place = self.lane.places.try_acquire().map_err(|_| busy())?;
        let permit = timeout(TURN, self.lane.renders.acquire()).await.map_err(|_| busy())?;
        let permit = permit.expect("the semaphore is never closed");
        let Some(original) = self.files.blobs.get(&file.original_key()).await? else {
            return Ok(());
        };
        let job = Job::new(SMALLEST).until(Instant::now() + self.render);
        let made = tokio::task::spawn_blocking(move || job.placeholder(&original)).await;
        drop(permit);
        let placeholder = match made {
            Ok(Ok(placeholder)) => placeholder,
            Ok(Err(refusal)) => {
                self.remember(id, refusal);
                return Ok(());
            }
            Err(panic) => {
                // The same bytes would make it panic again.
                tracing::error!(cause = %Cause::new("rendering", &panic), "a placeholder could not be made");
                return Ok(());
            }
        };
        match self.files.catalog.note_thumbhash(id, &placeholder).await {
            Ok(_) | Err(Error::FileNotFound) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

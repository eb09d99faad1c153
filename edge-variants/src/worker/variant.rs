//! Makes a variant: from its record over the original to the bucket.

use std::time::Duration;

use bytes::Bytes;
use xfiles_core::{
    blobs::StoredVariant,
    catalog::Consistency,
    error::{Cause, Error},
    file::File,
    id::FileId,
    metrics::Metric,
    object_key::ObjectKey,
    thumbhash::ThumbHash,
};

use super::{
    Worker,
    budget::Permit,
    decodings::{Lane, Shrunk},
    http::Outcome,
};
use crate::render::{Job, Refusal, Rendered, Small};

/// How old the record of a variant may be when the variant is stored. Less than
/// [`WORKER_LIFE`](xfiles_core::file::WORKER_LIFE), after which variants are purged for the last time.
const FRESH: Duration = Duration::from_secs(60);

impl Worker {
    pub(super) async fn make_or_explain(&self, key: &ObjectKey, lane: &Lane) -> Outcome {
        match self.make(key, lane).await {
            Ok(outcome) => outcome,
            Err(error) => Outcome::Unavailable(explain(&error, "making a variant")),
        }
    }

    async fn make(&self, key: &ObjectKey, lane: &Lane) -> Result<Outcome, Error> {
        let ObjectKey::Variant { file: id, spec, .. } = *key else {
            return Ok(Outcome::NotFound);
        };
        let read_at = (self.files.clock().now(), self.files.clock().monotonic());
        let file = match self.files.file(id, Consistency::Eventual).await {
            Ok(file) if file.offers(key) => file,
            Ok(_) | Err(Error::FileNotFound) => return Ok(Outcome::NotFound),
            Err(error) => return Err(error),
        };
        if let Some(refusal) = self.refused(id) {
            return Ok(Outcome::Refused(refusal));
        }
        let Some(_place) = lane.places.take(file.project) else {
            tracing::warn!("a variant was not begun: too many wait");
            return Ok(Outcome::Unavailable(Duration::from_secs(2)));
        };
        let job = Job::new(spec).on(self.background).with_placeholder(file.thumbhash.is_none());
        let rendered = match self.shrunk(&file, job, true, lane).await {
            Ok(Ok(Shrunk::Small(small, permit))) if permit.has_slot() => encoded(job, small, permit, None).await,
            Ok(Ok(Shrunk::Small(small, permit))) => match self.turn(file.project, lane.kind, 0).await {
                Ok(slot) => encoded(job, small, permit, Some(slot)).await,
                Err(failure) => return Ok(failure.into()),
            },
            Ok(Ok(Shrunk::Rendered(rendered))) => Ok(rendered),
            Ok(Ok(Shrunk::Refused(refusal))) => Ok(Err(refusal)),
            Ok(Err(failure)) => return Ok(failure.into()),
            Err(gone) => return Err(Error::Internal(Cause::new("decoding", &gone))),
        };
        let (bytes, format, placeholder) = match rendered {
            Ok(Ok(rendered)) => (Bytes::from(rendered.bytes), rendered.format, rendered.placeholder),
            Ok(Err(refusal)) => {
                self.remember(id, refusal);
                return Ok(Outcome::Refused(refusal));
            }
            Err(panic) => return Err(Error::Internal(Cause::new("rendering", &panic))),
        };
        let _storing = self.storing.read().await;
        let is_current = |now: &File| now.epoch == file.epoch && now.offers(key);
        // The process may have been frozen for minutes since it read the record, and what changed then has been purged for
        // the last time. The wall clock counts while the process is frozen, and the monotonic clock when the wall clock is
        // set back.
        let age = self.files.clock().now().since(read_at.0).max(self.files.clock().monotonic().since(read_at.1));
        if age >= FRESH {
            match self.files.file(id, Consistency::Strong).await {
                Ok(now) if is_current(&now) => {}
                Ok(_) | Err(Error::FileNotFound) => return Ok(Outcome::NotFound),
                Err(error) => return Err(error),
            }
        }
        let put = self.files.store(key, format, bytes.clone()).await;
        // The record may have changed while the variant was made. Then, or if that cannot be read, what was just stored
        // must not stay. A put that failed may have stored it.
        match self.look_again(id, placeholder).await {
            Ok(now) if is_current(&now) => {
                let etag = match put {
                    Ok(StoredVariant::New { etag }) => etag.and_then(|etag| etag.parse().ok()),
                    Ok(StoredVariant::Before) => {
                        self.metrics.count(Metric::VariantsStoredBefore, 1);
                        None
                    }
                    // The variant is shown all the same, and made again at the next request.
                    Err(Error::StorageFull(cause)) => {
                        tracing::warn!(%cause, "a variant was not stored");
                        None
                    }
                    Err(error) => return Err(error),
                };
                Ok(Outcome::Made { bytes, format, etag })
            }
            read => {
                self.files.remove(key).await?;
                match read {
                    Ok(_) | Err(Error::FileNotFound) => Ok(Outcome::NotFound),
                    Err(error) => Err(error),
                }
            }
        }
    }

    /// The record as it is now. Stores the placeholder in it, if there is a new one.
    async fn look_again(&self, id: FileId, placeholder: Option<ThumbHash>) -> Result<File, Error> {
        let Some(placeholder) = placeholder else {
            return self.files.file(id, Consistency::Strong).await;
        };
        match self.files.note_thumbhash(id, &placeholder).await {
            // For example, a transaction on the record was under way. The next variant stores the placeholder.
            Err(error) if !matches!(error, Error::FileNotFound) => {
                let cause = Cause::new("noting a placeholder", &error);
                tracing::warn!(%cause, "a placeholder was not noted");
                self.files.file(id, Consistency::Strong).await
            }
            noted => noted,
        }
    }
}

async fn encoded(
    job: Job,
    small: Small,
    memory: Permit,
    slot: Option<Permit>,
) -> Result<Result<Rendered, Refusal>, tokio::task::JoinError> {
    let rendered = tokio::task::spawn_blocking(move || job.encode(small)).await;
    drop((memory, slot));
    rendered
}

/// Logs why something failed, and returns after how long it may be tried again.
pub(super) fn explain(error: &Error, doing: &'static str) -> Duration {
    match error {
        Error::Unavailable { retry_after, source } => {
            tracing::warn!(cause = %source, "{doing} is not possible now");
            *retry_after
        }
        error => {
            tracing::error!(cause = %Cause::new(doing, error), "{doing} failed");
            Duration::from_secs(5)
        }
    }
}

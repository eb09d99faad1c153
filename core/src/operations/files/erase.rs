//! Erasing a file: deleting it, and looking at every place where a trace of it could be.

use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _, stream};

use crate::operations::{AT_ONCE, Files};
use crate::{
    catalog::Consistency,
    clock::Timestamp,
    error::{Cause, Error, Result},
    file::{File, State},
    id::{FileId, ProjectId, random_mark},
    object_key::{ObjectKey, Visibility},
    variant::VariantSpec,
};

/// How often a trace that comes back is removed again before the caller is asked to come back, too.
const ROUNDS: u32 = 3;

/// What was looked at after an erasure, and found gone.
#[derive(Debug)]
pub struct Erased {
    /// Every key under which the bucket could have had something of the file.
    pub objects: Vec<ObjectKey>,
    /// Every CDN path, with a trailing `*`, under which nothing of the file is cached any more.
    pub paths: Vec<String>,
    /// Every CDN path that was asked to be forgotten, on a CDN that cannot be asked whether it has.
    pub unverified_paths: Vec<String>,
    /// When the cleanup looks once more: until then a worker may be busy with what it read before, or an upload URL may
    /// still work.
    pub again_at: Option<Timestamp>,
}

impl Files {
    /// Removes a file like [`Files::delete`], then asks for each of its objects and cached paths whether it is gone.
    /// One whose removal was begun and not finished can be erased again, until its record is gone.
    ///
    /// # Errors
    /// [`Unavailable`](Error::Unavailable) when an object keeps coming back, or a store does not answer.
    pub async fn erase(&self, project: ProjectId, id: FileId, revision: Option<u64>) -> Result<Erased> {
        let file = self.catalog.file(id, Consistency::Strong).await?;
        if file.project != project {
            return Err(Error::FileNotFound);
        }
        match &file.state {
            State::Expiring | State::Deleting { .. } => match self.settle(&file).await {
                Ok(()) | Err(Error::Conflict | Error::FileNotFound) => {}
                Err(error) => return Err(error),
            },
            State::Removed { .. } => {}
            State::Pending | State::Confirming { .. } | State::Confirmed { .. } | State::Moving { .. } => {
                self.delete(project, id, revision).await?;
            }
        }
        let objects = traces(&file);
        let mut found = Vec::new();
        for _ in 0..ROUNDS {
            found = self.still_there(&objects).await?;
            let (paths, cached): (Vec<_>, Vec<_>) = paths(&file).partition(|path| self.cdn.holds(path) != Some(true));
            if found.is_empty() && cached.is_empty() {
                let (paths, unverified_paths) = paths.into_iter().partition(|path| self.cdn.holds(path).is_some());
                let again_at = match self.catalog.file(id, Consistency::Strong).await {
                    Ok(record) => record.due,
                    Err(Error::FileNotFound) => None,
                    Err(error) => return Err(error),
                };
                return Ok(Erased { objects, paths, unverified_paths, again_at });
            }
            // A worker or a replayed upload was under way. Bytes go before cached copies.
            if !found.is_empty() {
                self.blobs.delete(found.clone()).await?;
            }
            // Of its own for each run: a CDN does nothing for a reference that it has seen.
            let reference = format!("{id}-erase-{}", random_mark());
            self.cdn.invalidate(&reference, self::paths(&file).collect()).await?;
        }
        let source = Cause::because("erasing a file", format!("{} objects keep coming back", found.len()));
        Err(Error::Unavailable { retry_after: Duration::from_secs(5), source })
    }

    /// Those of the objects that exist.
    async fn still_there(&self, objects: &[ObjectKey]) -> Result<Vec<ObjectKey>> {
        let asked = stream::iter(objects.to_vec()).map(|key| async move {
            let there = self.blobs.head(&key).await?.is_some();
            Ok::<_, Error>(there.then_some(key))
        });
        let answers: Vec<Option<ObjectKey>> = asked.buffered(AT_ONCE).try_collect().await?;
        Ok(answers.into_iter().flatten().collect())
    }
}

/// Every key under which the bucket can have something of the file.
fn traces(file: &File) -> Vec<ObjectKey> {
    let originals = Visibility::ALL.into_iter().map(|v| file.original_key_at(v));
    let variants =
        Visibility::ALL.into_iter().flat_map(|v| VariantSpec::all().map(move |spec| file.variant_key(v, spec)));
    std::iter::once(file.staging_key()).chain(originals).chain(variants).collect()
}

/// Every path under which a CDN can have cached something of the file.
fn paths(file: &File) -> impl Iterator<Item = String> + use<> {
    let (project, id) = (file.project, file.id);
    Visibility::ALL
        .into_iter()
        .flat_map(move |v| [ObjectKey::original_paths(v, project, id), ObjectKey::variant_paths(v, project, id)])
}

//! Doing what a record owes, whoever began it; and the sweep that finds what is overdue.

use std::time::Duration;

use super::Files;
use crate::{
    blobs::Copied,
    catalog::{Catalog, Consistency, Debtor},
    clock::Timestamp,
    error::{Cause, Error, Result},
    file::{File, Purge, State},
    id::FileId,
    object_key::{ObjectKey, Visibility},
    variant::VariantSpec,
};

/// What a sweep did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sweep {
    /// How many records owe nothing any more.
    pub settled: u64,
    /// The ids of the records that could not be settled; they are tried again at the next sweep.
    pub failed: Vec<String>,
    /// Whether the sweep stopped at its limit or its time with more to do.
    pub more: bool,
}

impl Files {
    /// Does what the record owes. Each step can be done twice, so this may be called again after any failure.
    pub async fn settle(&self, file: &File) -> Result<()> {
        match &file.state {
            State::Confirmed { owes: None, .. } => Ok(()),
            State::Confirmed { owes: Some(purge), .. } => self.purge(file, *purge).await.map(drop),
            State::Moving { etag, to, .. } => self.move_original(file, etag, *to).await.map(drop),
            State::Pending => {
                let expiring = file.expire(self.clock.now())?;
                self.catalog.replace(&expiring).await?;
                self.remove_staged(&expiring).await
            }
            State::Confirming { .. } => self.publish(file).await.map(drop),
            State::Expiring => self.remove_staged(file).await,
            State::Deleting => self.remove_published(file).await,
        }
    }

    async fn remove_staged(&self, file: &File) -> Result<()> {
        self.blobs.delete([file.staging_key()]).await?;
        self.catalog.release_reserved(file).await
    }

    /// Moves the published bytes to the other visibility, and removes what the move leaves behind.
    pub(super) async fn move_original(&self, file: &File, etag: &str, to: Visibility) -> Result<File> {
        match self.blobs.move_to(file, to, etag).await? {
            Copied::Yes => {}
            Copied::SourceChanged => {
                return Err(Error::Internal(Cause::because("moving a file", "its published bytes are gone")));
            }
        }
        let swapped = file.swap(self.clock.now())?;
        self.catalog.replace(&swapped).await?;
        match swapped.state {
            State::Confirmed { owes: Some(purge), .. } => self.purge(&swapped, purge).await,
            _ => Ok(swapped),
        }
    }

    /// Removes what a change left behind. Bytes go before cached copies, or an edge would fetch and cache them again.
    pub(super) async fn purge(&self, file: &File, purge: Purge) -> Result<File> {
        // What lies where the file now is, is no leftover: the file came back before this was done.
        let original = purge.original.filter(|visibility| *visibility != file.visibility);
        let variants = purge.variants().flat_map(|v| VariantSpec::all().map(move |spec| file.variant_key(v, spec)));
        self.blobs.delete(variants.chain(original.map(|v| file.original_key_at(v)))).await?;
        let originals = original.map(|v| ObjectKey::original_paths(v, file.project, file.id));
        let variants = purge.variants().map(|v| ObjectKey::variant_paths(v, file.project, file.id));
        let paths = originals.into_iter().chain(variants);
        self.cdn.invalidate(&format!("{}-{}", file.id, file.version), paths.collect()).await?;
        let purged = file.purged(self.clock.now())?;
        self.catalog.replace(&purged).await?;
        Ok(purged)
    }

    /// Bytes go before the purge, or an edge would fetch and cache them again after it.
    async fn remove_published(&self, file: &File) -> Result<()> {
        let variants = Visibility::ALL.into_iter().flat_map(|v| VariantSpec::all().map(move |spec| (v, spec)));
        let objects = variants.map(|(visibility, spec)| file.variant_key(visibility, spec));
        let originals = Visibility::ALL.into_iter().map(|v| file.original_key_at(v));
        // A replayed upload URL may have put something into staging since.
        self.blobs.delete(objects.chain(originals).chain([file.staging_key()])).await?;
        let paths = Visibility::ALL.into_iter().flat_map(|v| {
            let (project, id) = (file.project, file.id);
            [ObjectKey::original_paths(v, project, id), ObjectKey::variant_paths(v, project, id)]
        });
        // The same reference for every try of one change: CloudFront counts them as one invalidation.
        self.cdn.invalidate(&format!("{}-{}", file.id, file.version), paths.collect()).await?;
        self.catalog.release_held(file).await
    }

    /// Settles what is overdue, until nothing is, `limit` records were tried, or `budget` has passed. Safe to run
    /// several at once. A record that cannot be settled does not keep others waiting.
    pub async fn sweep(&self, limit: u64, budget: Duration) -> Result<Sweep> {
        let mut sweep = Sweep::default();
        let started = self.clock.now();
        let mut tried = 0;
        for shard in 0..Catalog::DUE_SHARDS {
            let mut after = None;
            loop {
                let page = self.catalog.due(shard, started, after).await?;
                for debtor in page.debtors {
                    if tried == limit || self.clock.now().since(started) >= budget {
                        sweep.more = true;
                        return Ok(sweep);
                    }
                    tried += 1;
                    let settled = match debtor {
                        Debtor::File(id) => self.settle_overdue(id, started).await,
                        Debtor::Project(id) => self.clear(id, budget).await,
                    };
                    match settled {
                        Ok(true) => sweep.settled += 1,
                        Ok(false) => {}
                        Err(error) => {
                            let id = match debtor {
                                Debtor::File(id) => id.to_string(),
                                Debtor::Project(id) => id.to_string(),
                            };
                            tracing::warn!(id, %error, "a record could not be settled");
                            sweep.failed.push(id);
                        }
                    }
                }
                after = page.next;
                if after.is_none() {
                    break;
                }
            }
        }
        Ok(sweep)
    }

    /// What is overdue, without touching it: at most `limit` records, each as the table has it now.
    pub async fn overdue(&self, limit: usize) -> Result<Vec<File>> {
        let now = self.clock.now();
        let mut files = Vec::new();
        for shard in 0..Catalog::DUE_SHARDS {
            let mut after = None;
            loop {
                let page = self.catalog.due(shard, now, after).await?;
                for debtor in page.debtors {
                    let Debtor::File(id) = debtor else {
                        continue;
                    };
                    if files.len() == limit {
                        return Ok(files);
                    }
                    match self.catalog.file(id, Consistency::Strong).await {
                        Ok(file) if file.is_overdue(now) => files.push(file),
                        Ok(_) | Err(Error::FileNotFound) => {}
                        Err(error) => return Err(error),
                    }
                }
                after = page.next;
                if after.is_none() {
                    break;
                }
            }
        }
        Ok(files)
    }

    /// Whether there was anything to settle.
    async fn settle_overdue(&self, id: FileId, now: Timestamp) -> Result<bool> {
        // The index may lag: the record itself says whether it is overdue.
        let file = match self.catalog.file(id, Consistency::Strong).await {
            Err(Error::FileNotFound) => return Ok(false),
            read => read?,
        };
        if !file.is_overdue(now) {
            return Ok(false);
        }
        match self.settle(&file).await {
            Ok(()) => Ok(true),
            // Somebody else was quicker; what is left of the work is theirs.
            Err(Error::Conflict | Error::FileNotFound) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

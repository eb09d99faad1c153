//! Doing what a record owes, whoever began it; and the sweep that finds what is overdue.

use std::time::Duration;

use super::Files;
use crate::{
    catalog::{Catalog, Consistency},
    clock::Timestamp,
    error::{Error, Result},
    file::{File, State},
    id::FileId,
    object_key::{ObjectKey, Visibility},
    variant::VariantSpec,
};

/// What a sweep did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sweep {
    /// How many records owe nothing any more.
    pub settled: u64,
    /// The records that could not be settled; they are tried again at the next sweep.
    pub failed: Vec<FileId>,
    /// Whether the sweep stopped at its limit or its time with more to do.
    pub more: bool,
}

impl Files {
    /// Does what the record owes. Each step can be done twice, so this may be called again after any failure.
    pub async fn settle(&self, file: &File) -> Result<()> {
        match &file.state {
            State::Confirmed { .. } => Ok(()),
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

    /// Bytes go before the purge, or an edge would fetch and cache them again after it.
    async fn remove_published(&self, file: &File) -> Result<()> {
        let variants = Visibility::ALL.into_iter().flat_map(|v| VariantSpec::all().map(move |spec| (v, spec)));
        let objects = variants.map(|(visibility, spec)| file.variant_key(visibility, spec));
        // A replayed upload URL may have put something into staging since.
        self.blobs.delete(objects.chain([file.original_key(), file.staging_key()])).await?;
        let paths = Visibility::ALL.into_iter().flat_map(|v| ObjectKey::purge_paths(v, file.project, file.id));
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
                for id in page.files {
                    if tried == limit || self.clock.now().since(started) >= budget {
                        sweep.more = true;
                        return Ok(sweep);
                    }
                    tried += 1;
                    match self.settle_overdue(id, started).await {
                        Ok(true) => sweep.settled += 1,
                        Ok(false) => {}
                        Err(error) => {
                            tracing::warn!(file.id = %id, error = %error, "a record could not be settled");
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
                for id in page.files {
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

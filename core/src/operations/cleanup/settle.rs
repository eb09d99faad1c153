//! Settling what a record owes, and the sweep that finds overdue records.

use std::time::Duration;

use futures::{StreamExt as _, stream};

use crate::operations::{AT_ONCE, Files, projects::Cleared};
use crate::{
    blobs::{Copied, Deletion},
    catalog::{Consistency, Debtor, DuePages, Project},
    clock::Timestamp,
    error::{Cause, Error, Result},
    event::Event,
    file::{File, LEASE, Leftovers, SWEEP_LEASE, State},
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
    /// For how long the record had been due that had waited longest of those it came to.
    pub oldest: Duration,
}

/// How far one record was settled.
#[derive(Clone, Copy, Debug, Default)]
struct Settled {
    /// Whether it owes nothing any more.
    whole: bool,
    /// For how long it had been due.
    overdue_for: Duration,
}

impl Settled {
    fn when(whole: bool) -> Self {
        Self { whole, ..Self::default() }
    }
}

impl Sweep {
    fn note(&mut self, id: String, settled: Result<Settled>) {
        match settled {
            Ok(Settled { whole, overdue_for }) => {
                self.settled += u64::from(whole);
                self.oldest = self.oldest.max(overdue_for);
            }
            Err(error) => {
                tracing::warn!(id, %error, "a record could not be settled");
                self.failed.push(id);
            }
        }
    }
}

/// How long all clearings of one sweep may take together, beside a third of its budget, and each of them in its turn.
const CLEARING_SHARE: Duration = Duration::from_secs(15);
const CLEARING_TURN: Duration = Duration::from_secs(5);

/// How long a record that could not be settled waits before it is tried again, behind all that were due before.
const BACK_OFF: Duration = Duration::from_secs(60);

/// A record whose work is overdue, as it is now.
#[derive(Clone, Debug)]
pub enum Overdue {
    /// A file.
    File(Box<File>),
    /// A project that is being cleared.
    Project(Project),
}

impl Files {
    /// Does what the record owes. Each step can be done twice, so this may be called again after any failure.
    pub async fn settle(&self, file: &File) -> Result<()> {
        // In boxes: one future for all of them would be as large as the largest, on the stack of every caller.
        match &file.state {
            State::Confirmed { owes, .. } => {
                let now = self.clock.now();
                if let Some(visibility) = file.place_to_check()
                    && self.blobs.head(&file.original_key_at(visibility)).await?.is_some()
                {
                    return self.remove_left_behind(file, visibility).await;
                }
                match owes {
                    Some(leftovers) => Box::pin(self.remove_leftovers(file, *leftovers)).await.map(drop),
                    None if file.due.is_some() => self.catalog.replace(&file.clear_debt(now, now)?).await,
                    None => Ok(()),
                }
            }
            State::Moving { etag, to, .. } => Box::pin(self.move_original(file, etag, *to)).await.map(drop),
            State::Pending => {
                let expiring = file.expire(self.clock.now())?;
                self.catalog.replace(&expiring).await?;
                Box::pin(self.remove_staged(&expiring)).await
            }
            State::Confirming { .. } => Box::pin(self.publish(file)).await.map(drop),
            State::Expiring => Box::pin(self.remove_staged(file)).await,
            State::Deleting { leaves } => Box::pin(self.remove_published(file, *leaves)).await,
            State::Removed { leaves, .. } => Box::pin(self.remove_again(file, *leaves)).await,
        }
    }

    async fn remove_staged(&self, file: &File) -> Result<()> {
        let started = self.clock.now();
        // A claim that was given up may have had its copy arrive. Without one, an original is proof that the record is
        // older than the bucket, as after a restore of the table: then it is not this record's to remove.
        let published = file.late_copies.last().map(|_| file.original_key());
        self.blobs.delete([file.staging_key()].into_iter().chain(published.clone())).await?;
        if published.is_some() {
            let path = ObjectKey::original_paths(file.visibility, file.project, file.id);
            self.cdn.invalidate(&reference(file), vec![path]).await?;
        }
        let event = Event::expired(file, self.clock.now());
        self.catalog.release_reserved(file, file.remove(started, self.clock.now()).as_ref(), &event).await
    }

    /// Has the record owe an original that was found at the visibility where the file is not, and removes it. The file
    /// may move there at any moment: then its record must know of the removal.
    pub(in crate::operations) async fn remove_left_behind(&self, file: &File, visibility: Visibility) -> Result<()> {
        let leaving = file.owe_original(visibility, self.clock.now())?;
        self.catalog.replace(&leaving).await?;
        Box::pin(self.settle(&leaving)).await
    }

    /// The record changed while the original was copied to this visibility. Unless the record as it is now accounts for
    /// the copy, it goes: at once, because nothing else would look for it before the late copies are due.
    pub(in crate::operations) async fn account_for_copy(&self, file: &File, visibility: Visibility) -> Result<()> {
        let now = match self.catalog.file(file.id, Consistency::Strong).await {
            Err(Error::FileNotFound) => return self.remove_copy(file, visibility).await,
            now => now?,
        };
        let accounted = match &now.state {
            State::Confirmed { .. } if now.visibility != visibility && !now.is_on_the_move() => {
                self.remove_left_behind(&now, visibility).await
            }
            State::Removed { .. } => {
                let owing = now.owe_late_copy(visibility)?;
                match self.catalog.replace(&owing).await {
                    Ok(()) => self.remove_copy(&owing, visibility).await,
                    Err(error) => Err(error),
                }
            }
            State::Pending
            | State::Confirming { .. }
            | State::Confirmed { .. }
            | State::Moving { .. }
            | State::Expiring
            | State::Deleting { .. } => Ok(()),
        };
        match accounted {
            // The record changed once more; its late copies are still to be checked.
            Err(Error::Conflict | Error::FileNotFound) => Ok(()),
            accounted => accounted,
        }
    }

    async fn remove_copy(&self, file: &File, visibility: Visibility) -> Result<()> {
        self.blobs.delete([file.original_key_at(visibility)]).await?;
        let path = ObjectKey::original_paths(visibility, file.project, file.id);
        Ok(self.cdn.invalidate(&format!("{}-copy-{visibility}", reference(file)), vec![path]).await?)
    }

    /// Moves the published bytes to the other visibility, and removes what the move leaves behind.
    pub(in crate::operations) async fn move_original(&self, file: &File, etag: &str, to: Visibility) -> Result<File> {
        let etag = match self.copy_for_move(file, etag, to).await? {
            Copied::Yes { etag } => etag,
            Copied::SourceChanged => {
                // If another process has moved or removed it meanwhile, the record has changed.
                if self.catalog.file(file.id, Consistency::Strong).await?.version != file.version {
                    return Err(Error::Conflict);
                }
                return Err(Error::Internal(Cause::because("moving a file", "its published bytes are gone")));
            }
            Copied::Occupied => {
                let reason = "another object is in the file's place";
                return Err(Error::Internal(Cause::because("moving a file", reason)));
            }
        };
        let swapped = file.swap(etag, self.clock.now())?;
        if let Err(error) = self.catalog.replace(&swapped).await {
            if let Error::Conflict | Error::FileNotFound = error {
                Box::pin(self.account_for_copy(file, to)).await?;
            }
            return Err(error);
        }
        match swapped.state {
            State::Confirmed { owes: Some(leftovers), .. } => self.remove_leftovers(&swapped, leftovers).await,
            _ => Ok(swapped),
        }
    }

    /// Copies the original to the other visibility. An object that is there already is a late copy, or an earlier one
    /// under an ETag of its own: the file has never been there since, and moves under one claim at a time, so it goes.
    async fn copy_for_move(&self, file: &File, etag: &str, to: Visibility) -> Result<Copied> {
        let copied = self.blobs.move_to(file, to, etag).await?;
        if copied != Copied::Occupied {
            return Ok(copied);
        }
        match self.blobs.delete_once([file.original_key_at(to)]).await? {
            Deletion::Sent => self.blobs.move_to(file, to, etag).await,
            Deletion::MayBeRepeated => {
                let source =
                    Cause::because("moving a file", "a deletion of what is in its place may still be under way");
                Err(Error::Unavailable { retry_after: LEASE, source })
            }
        }
    }

    /// Removes what a change left behind. Bytes go before cached copies, or an edge would fetch and cache them again.
    pub(in crate::operations) async fn remove_leftovers(&self, file: &File, leftovers: Leftovers) -> Result<File> {
        // What lies where the file now is, is no leftover: the file came back before this was done.
        let original = leftovers.original.filter(|visibility| *visibility != file.visibility);
        let variants = leftovers.variants().flat_map(|v| VariantSpec::all().map(move |spec| file.variant_key(v, spec)));
        let started = self.clock.now();
        let deletion = self.blobs.delete_once(variants.chain(original.map(|v| file.original_key_at(v)))).await?;
        let originals = original.map(|v| ObjectKey::original_paths(v, file.project, file.id));
        let variants = leftovers.variants().map(|v| ObjectKey::variant_paths(v, file.project, file.id));
        let paths = originals.into_iter().chain(variants);
        self.cdn.invalidate(&reference(file), paths.collect()).await?;
        if original.is_some() && deletion == Deletion::MayBeRepeated {
            // The file must not come back while a deletion may still arrive. The record owes this until it is overdue,
            // when no request of this process is under way any more; then it is done again.
            return Ok(file.clone());
        }
        let now = self.clock.now();
        let cleared = file.clear_debt(started, now)?;
        // The event says that the file is private, so it must not be readable where it was.
        let updated = leftovers.moved.then(|| Event::updated(&cleared, now));
        let made_wrong = !leftovers.again && leftovers.variants().next().is_some();
        let variants = made_wrong.then(|| Event::purged(&cleared, leftovers, now));
        let events: Vec<Event> = updated.into_iter().chain(variants).collect();
        if events.is_empty() {
            self.catalog.replace(&cleared).await?;
        } else {
            self.catalog.replace_and_tell_all(&cleared, &events).await?;
        }
        Ok(cleared)
    }

    /// Bytes go before the purge, or an edge would fetch and cache them again after it.
    async fn remove_published(&self, file: &File, leaves: Leftovers) -> Result<()> {
        let variants = Visibility::ALL.into_iter().flat_map(|v| VariantSpec::all().map(move |spec| (v, spec)));
        let objects = variants.map(|(visibility, spec)| file.variant_key(visibility, spec));
        let originals = Visibility::ALL.into_iter().map(|v| file.original_key_at(v));
        let started = self.clock.now();
        // A replayed upload URL may have put something into staging since.
        self.blobs.delete(objects.chain(originals).chain([file.staging_key()])).await?;
        // Each path costs: only those under which something can be cached.
        let originals = Visibility::ALL.into_iter().filter(|v| *v == file.visibility || leaves.original == Some(*v));
        let originals = originals.map(|v| ObjectKey::original_paths(v, file.project, file.id));
        let paths = originals.chain(leaves.variants().map(|v| ObjectKey::variant_paths(v, file.project, file.id)));
        self.cdn.invalidate(&reference(file), paths.collect()).await?;
        let now = self.clock.now();
        let event = Event::deleted(file, now);
        self.catalog.release_held(file, file.remove(started, now).as_ref(), &event).await
    }

    /// A worker that was busy during the removal may have stored a variant since, and a late copy may have created the
    /// original; and an edge may have cached it. A client may have used the upload URL again.
    async fn remove_again(&self, file: &File, leaves: Leftovers) -> Result<()> {
        let mut file = file.clone();
        let started = self.clock.now();
        for visibility in Visibility::ALL {
            // Each path costs: only that of an original which is there, or was found earlier. The record says so before
            // the original goes, or a death in between would leave the cached copy.
            if leaves.original != Some(visibility) {
                if file.late_copies.at(visibility).is_none()
                    || self.blobs.head(&file.original_key_at(visibility)).await?.is_none()
                {
                    continue;
                }
                file = file.owe_late_copy(visibility)?;
                self.catalog.replace(&file).await?;
            }
            self.remove_copy(&file, visibility).await?;
        }
        let variants: Vec<_> = leaves.variants().collect();
        let specs = variants.iter().flat_map(|v| VariantSpec::all().map(|spec| (*v, spec)));
        let uploaded = matches!(file.state, State::Removed { late: true, .. }).then(|| file.staging_key());
        let objects: Vec<_> = specs.map(|(v, spec)| file.variant_key(v, spec)).chain(uploaded).collect();
        if !objects.is_empty() {
            self.blobs.delete(objects).await?;
        }
        if !variants.is_empty() {
            let paths = variants.iter().map(|v| ObjectKey::variant_paths(*v, file.project, file.id));
            self.cdn.invalidate(&reference(&file), paths.collect()).await?;
        }
        match file.remove_again(started) {
            Some(waiting) => self.catalog.replace(&waiting).await,
            None => self.catalog.forget(&file).await,
        }
    }

    /// Settles what is overdue, until nothing is, `limit` records were tried, or `budget` has passed. Safe to run
    /// several at once.
    ///
    /// A page of each partition in turn, several records at a time. A record that cannot be settled goes to the end of
    /// its partition, and clearings have a share of the time, so that no record and no project keeps others waiting.
    pub async fn sweep(&self, limit: u64, budget: Duration) -> Result<Sweep> {
        let mut sweep = Sweep::default();
        let (now, started) = (self.clock.now(), self.clock.monotonic());
        let is_over = || self.clock.monotonic().since(started) >= budget;
        let mut tried = 0;
        let mut clearing = CLEARING_SHARE.min(budget / 3);
        let mut partitions = self.catalog.due_by_partition(now);
        while !partitions.is_empty() {
            let reads: Vec<_> = partitions.into_iter().map(DuePages::step).collect();
            let mut pages = stream::iter(reads).buffered(AT_ONCE);
            let (mut debtors, mut left, mut unread) = (Vec::new(), Vec::new(), None);
            while let Some((page, partition)) = pages.next().await {
                match page {
                    Ok(page) => {
                        debtors.extend(page.unwrap_or_default());
                        left.extend(partition.has_more().then_some(partition));
                    }
                    Err(error) => unread = Some(error),
                }
            }
            drop(pages);
            let mut files = Vec::new();
            let mut projects = Vec::new();
            for debtor in debtors {
                match debtor {
                    Debtor::File(id) => files.push(id),
                    Debtor::Project(id) => projects.push(id),
                }
            }
            let room = usize::try_from(limit - tried).unwrap_or(usize::MAX);
            sweep.more |= files.len() > room;
            files.truncate(room);
            tried += files.len() as u64;
            let mut settled = stream::iter(files)
                .map(|id| async move { (id, if is_over() { None } else { Some(self.settle_overdue(id, now).await) }) })
                .buffered(AT_ONCE);
            while let Some((id, settled)) = settled.next().await {
                match settled {
                    Some(settled) => sweep.note(id.to_string(), settled),
                    None => sweep.more = true,
                }
            }
            drop(settled);
            for id in projects {
                if is_over() || clearing.is_zero() || tried >= limit {
                    sweep.more = true;
                    break;
                }
                tried += 1;
                let began = self.clock.monotonic();
                let cleared = self.clear(id, CLEARING_TURN.min(clearing)).await;
                clearing = clearing.saturating_sub(self.clock.monotonic().since(began));
                sweep.more |= matches!(cleared, Ok(Cleared::OutOfTime));
                sweep.note(id.to_string(), cleared.map(|cleared| Settled::when(cleared == Cleared::Whole)));
            }
            if let Some(error) = unread {
                return Err(error);
            }
            if !left.is_empty() && (is_over() || tried >= limit) {
                sweep.more = true;
                return Ok(sweep);
            }
            partitions = left;
        }
        Ok(sweep)
    }

    /// What is overdue, without touching it: at most `limit` records.
    pub async fn overdue(&self, limit: usize) -> Result<Vec<Overdue>> {
        let now = self.clock.now();
        let mut overdue = Vec::new();
        let mut due = self.catalog.due(now);
        while let Some(debtors) = due.next().await? {
            for debtor in debtors {
                if overdue.len() == limit {
                    return Ok(overdue);
                }
                match debtor {
                    Debtor::File(id) => match self.catalog.file(id, Consistency::Strong).await {
                        Ok(file) if file.is_overdue(now) => overdue.push(Overdue::File(Box::new(file))),
                        // One that cannot be read fails in the sweep, which counts it.
                        Ok(_) | Err(Error::FileNotFound | Error::Internal(_)) => {}
                        Err(error) => return Err(error),
                    },
                    Debtor::Project(id) => match self.catalog.project(id, Consistency::Strong).await {
                        Ok(project) if project.clearing.is_some() => overdue.push(Overdue::Project(project)),
                        Ok(_) | Err(Error::ProjectNotFound | Error::Internal(_)) => {}
                        Err(error) => return Err(error),
                    },
                }
            }
        }
        Ok(overdue)
    }

    async fn settle_overdue(&self, id: FileId, now: Timestamp) -> Result<Settled> {
        // The index may lag: the record itself says whether it is overdue.
        let file = match self.catalog.file(id, Consistency::Strong).await {
            Err(Error::FileNotFound) => return Ok(Settled::default()),
            read => read?,
        };
        let Some(due) = file.due.filter(|due| *due <= now) else {
            return Ok(Settled::default());
        };
        let overdue_for = now.since(due);
        match self.take_over_and_settle(&file, SWEEP_LEASE).await {
            Ok(()) => Ok(Settled { whole: true, overdue_for }),
            // Another process has taken the work over.
            Err(Error::Conflict | Error::FileNotFound) => Ok(Settled { whole: false, overdue_for }),
            Err(error) => {
                self.put_off(&file).await;
                Err(error)
            }
        }
    }

    /// Puts work that failed behind what others wait for. If that fails as well, the record keeps its place.
    async fn put_off(&self, file: &File) {
        let now = self.clock.now();
        // What was taken over waits for the end of its lease anyway.
        if file.is_on_the_move() {
            return;
        }
        let put_off = match file.take_over(now, BACK_OFF) {
            Ok(put_off) => self.catalog.replace(&put_off).await,
            Err(error) => Err(error),
        };
        if let Err(error) = put_off {
            tracing::debug!(file.id = %file.id, %error, "a record that could not be settled keeps its place");
        }
    }

    /// Settles what another process left undone. If bytes are on the move, first claims the record for this long.
    pub(in crate::operations) async fn take_over_and_settle(&self, file: &File, lease: Duration) -> Result<()> {
        if !file.is_on_the_move() {
            return self.settle(file).await;
        }
        let taken = file.take_over(self.clock.now(), lease)?;
        self.catalog.replace(&taken).await?;
        self.settle(&taken).await
    }
}

/// The reference of the invalidation that a record's version owes: the same for every try, so that CloudFront counts
/// them as one.
fn reference(file: &File) -> String {
    format!("{}-{}", file.id, file.version)
}

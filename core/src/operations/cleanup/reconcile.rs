//! Reconciling bucket, records and quota: what no crash of an operation can explain, found by walking through all of it.
//!
//! The walk is bounded and goes on where it ended. It repairs nothing at first sight: an object without a record, and a
//! counter that is off, must be found twice, a day apart, because between two reads anything can be under way.

use std::{collections::HashSet, ops::RangeInclusive, str::FromStr, time::Duration};

use crate::operations::Files;
use crate::{
    blobs::Presence,
    catalog::{Consistency, Cursor, Debtor, FileFilter, PageSize, UploadCounts, WalkCounts},
    clock::Timestamp,
    error::{Error, Result},
    file::File,
    id::{FileId, ProjectId},
    object_key::ObjectKey,
};

/// How long something must have been wrong before it is repaired.
pub const CERTAINTY: Duration = Duration::from_secs(24 * 60 * 60);

/// How long after one complete walk the next begins.
const PAUSE: Duration = Duration::from_secs(6 * 60 * 60);

/// Later than everything that is due.
const END_OF_TIME: Timestamp = Timestamp::from_millis(99_999_999_999_999);

/// How many originals without a record, and records without an original, a walk may find before nothing is removed any
/// more: one of a hundred objects, but never more than this many, and never fewer than that many, which a small store
/// may have by accident. So much is not an accident: bucket and table are of different ages, as after a restore of one.
const FUSE: RangeInclusive<u64> = 10..=1_000;

/// How many findings of each kind one report carries; the counts go on.
const MAX_FINDINGS: usize = 1_000;

/// What a walk may do with what it finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reconciling {
    /// Look, from the beginning, and write nothing.
    Report,
    /// Go on where the last walk ended, and note what is wrong, but repair nothing: while bucket and table may be of
    /// different ages, as before and after a restore.
    Watch,
    /// Go on where the last walk ended, and repair what has been wrong for a day; unless that is too much to be an
    /// accident.
    Repair,
    /// Repair however much it is.
    Force,
}

/// A text that is no way to reconcile on a schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be `watch`, `repair` or `force`")]
pub struct NoSuchReconciling;

impl FromStr for Reconciling {
    type Err = NoSuchReconciling;

    fn from_str(text: &str) -> Result<Self, NoSuchReconciling> {
        match text {
            "watch" => Ok(Self::Watch),
            "repair" => Ok(Self::Repair),
            "force" => Ok(Self::Force),
            _ => Err(NoSuchReconciling),
        }
    }
}

/// What a walk found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reconciliation {
    /// How many objects were looked at.
    pub objects: u64,
    /// How many published records were looked at.
    pub records: u64,
    /// Objects that no record knows of, and since when that is known.
    pub orphans: Vec<Orphan>,
    /// How many of them were removed.
    pub removed: u64,
    /// How many objects have keys of another form. They are left alone.
    pub foreign: u64,
    /// How many originals have no record, and how many published records no original.
    pub unmatched: u64,
    /// Published files whose bytes are not there.
    pub missing: Vec<FileId>,
    /// Published files whose bytes are there, and are not those that were published.
    pub damaged: Vec<FileId>,
    /// Projects whose free bytes are not what their files leave.
    pub drifts: Vec<Drift>,
    /// Whether it removes nothing, because this walk or the last complete one found too much that does not match: bucket
    /// and table are of different ages.
    pub stopped: bool,
    /// Whether it stopped before the end.
    pub more: bool,
}

/// Whether that is too much to be an accident, in a bucket of this many objects.
fn blows_fuse(counted: WalkCounts, objects: u64) -> bool {
    counted.unmatched > (objects / 100).clamp(*FUSE.start(), *FUSE.end())
}

/// An object that no record knows of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Orphan {
    /// Its key.
    pub key: ObjectKey,
    /// When it was first found. `None`: just now.
    pub since: Option<Timestamp>,
}

/// A project whose counter is off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drift {
    /// Which project.
    pub project: ProjectId,
    /// How many bytes too few are free; negative: too many.
    pub missing_bytes: i64,
    /// By how much its counters of uploads differ from its records, by name. Empty: they do not.
    pub counters: String,
    /// Whether it was put right.
    pub repaired: bool,
}

/// What is wrong with a published file's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Loss {
    Missing,
    Damaged,
}

impl Loss {
    fn describe(self) -> &'static str {
        match self {
            Self::Missing => "a published file has no bytes",
            Self::Damaged => "the bytes of a published file are damaged",
        }
    }
}

/// Where a walk is: in the bucket, then in one project after another.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    /// After this key.
    Objects(String),
    /// In this project, after this entry of its list.
    Records(ProjectId, Option<Cursor>),
    /// At the end, since this time.
    Done(Timestamp),
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Objects(after) => write!(f, "objects {after}"),
            Self::Records(project, None) => write!(f, "records {project}"),
            Self::Records(project, Some(cursor)) => write!(f, "records {project} {cursor}"),
            Self::Done(at) => write!(f, "done {}", at.as_millis()),
        }
    }
}

/// A text that is no place.
struct NoPlace;

impl FromStr for Place {
    type Err = NoPlace;

    fn from_str(text: &str) -> Result<Self, NoPlace> {
        match text.splitn(3, ' ').collect::<Vec<_>>().as_slice() {
            ["objects", after] => Ok(Self::Objects((*after).to_owned())),
            ["records", project] => Ok(Self::Records(project.parse().map_err(|_| NoPlace)?, None)),
            ["records", project, cursor] => {
                let cursor = cursor.parse().map_err(|_| NoPlace)?;
                Ok(Self::Records(project.parse().map_err(|_| NoPlace)?, Some(cursor)))
            }
            ["done", at] => Ok(Self::Done(Timestamp::from_millis(at.parse().map_err(|_| NoPlace)?))),
            _ => Err(NoPlace),
        }
    }
}

impl Files {
    /// Compares bucket, records and quota for some time. Several at once do no harm.
    pub async fn reconcile(&self, how: Reconciling, time: Duration) -> Result<Reconciliation> {
        let (now, started) = (self.clock.now(), self.clock.monotonic());
        let mut found = Reconciliation::default();
        let beginning = Place::Objects(String::new());
        // What this walk has counted in earlier runs, and what the last complete one did.
        let (mut walk, mut last) = (WalkCounts::default(), WalkCounts::default());
        let mut place = match how {
            Reconciling::Report => beginning,
            Reconciling::Watch | Reconciling::Repair | Reconciling::Force => {
                let kept = self.catalog.reconciled_to().await?;
                let kept = kept.and_then(|(text, walk, last)| Some((text.parse().ok()?, walk, last)));
                match kept {
                    // A walk costs a request for each file: there is time. If the clock was set back, nothing is known.
                    Some((Place::Done(at), _, last)) if at <= now && now.since(at) < PAUSE => {
                        found.stopped = how != Reconciling::Force && blows_fuse(last, last.objects);
                        return Ok(found);
                    }
                    Some((Place::Done(_), _, complete)) => {
                        last = complete;
                        beginning
                    }
                    None => beginning,
                    Some((place, counted, complete)) => {
                        (walk, last) = (counted, complete);
                        place
                    }
                }
            }
        };
        loop {
            let too_much = |walk: WalkCounts| {
                how != Reconciling::Force
                    && (blows_fuse(last, last.objects) || blows_fuse(walk, walk.objects.max(last.objects)))
            };
            found.stopped = too_much(walk);
            let (objects, unmatched) = (found.objects, found.unmatched);
            place = match place {
                Place::Objects(after) => self.reconcile_objects(&after, how, &mut found).await?,
                Place::Records(project, cursor) => {
                    match self.reconcile_records(project, cursor.as_ref(), how, &mut found).await {
                        Err(error @ Error::Internal(_)) => {
                            self.catalog.note_unreadable(&format!("something of project {project}"), &error);
                            self.next_project(Some(project)).await?
                        }
                        place => place?,
                    }
                }
                Place::Done(at) => Place::Done(at),
            };
            walk.objects += found.objects - objects;
            walk.unmatched += found.unmatched - unmatched;
            found.stopped = too_much(walk);
            if how != Reconciling::Report {
                if matches!(place, Place::Done(_)) {
                    last = walk;
                }
                self.catalog.keep_reconciled_to(&place.to_string(), walk, last).await?;
            }
            if found.stopped && how != Reconciling::Report {
                tracing::error!(
                    walk.objects = walk.objects,
                    walk.unmatched = walk.unmatched,
                    last.unmatched = last.unmatched,
                    "bucket and table do not match; the reconciliation removes nothing"
                );
            }
            if matches!(place, Place::Done(_)) {
                return Ok(found);
            }
            if self.clock.monotonic().since(started) >= time {
                found.more = true;
                return Ok(found);
            }
        }
    }

    /// One page of the bucket: which of its objects does a record know of?
    async fn reconcile_objects(&self, after: &str, how: Reconciling, found: &mut Reconciliation) -> Result<Place> {
        let page = self.blobs.list(after).await?;
        found.objects += page.keys.len() as u64;
        let mut keys = Vec::new();
        for text in &page.keys {
            match text.parse::<ObjectKey>() {
                Ok(key) => keys.push(key),
                Err(_) => found.foreign += 1,
            }
        }
        // A file's objects are neighbours.
        let mut ids: Vec<FileId> = keys.iter().map(ObjectKey::file).collect();
        ids.dedup();
        for ids in ids.chunks(100) {
            let records = self.catalog.records(ids).await?;
            let asked: HashSet<FileId> = ids.iter().copied().collect();
            for key in keys.iter().filter(|key| asked.contains(&key.file())) {
                if !records.get(&key.file()).is_some_and(|file| file.accounts_for(key)) {
                    self.take_orphan(key, how, found).await?;
                }
            }
        }
        match page.next {
            Some(next) => Ok(Place::Objects(next)),
            None => self.next_project(None).await,
        }
    }

    async fn take_orphan(&self, key: &ObjectKey, how: Reconciling, found: &mut Reconciliation) -> Result<()> {
        let now = self.clock.now();
        let since = self.catalog.orphaned_since(key).await?;
        found.unmatched += u64::from(matches!(key, ObjectKey::Original { .. }));
        if found.orphans.len() < MAX_FINDINGS {
            found.orphans.push(Orphan { key: key.clone(), since });
        }
        if how == Reconciling::Report {
            return Ok(());
        }
        match since {
            None => self.catalog.mark_orphan(key, now).await,
            Some(since) if now.since(since) < CERTAINTY || found.stopped || how == Reconciling::Watch => Ok(()),
            Some(_) => {
                // The record once more, just before: it is what an upload that is being confirmed writes first.
                let file = match self.catalog.file(key.file(), Consistency::Strong).await {
                    Ok(file) => Some(file),
                    Err(Error::FileNotFound) => None,
                    // A record that cannot be read may account for it.
                    Err(Error::Internal(_)) => return Ok(()),
                    Err(error) => return Err(error),
                };
                if !file.as_ref().is_some_and(|file| file.accounts_for(key)) {
                    match self.remove_orphan(key, file.as_ref(), now).await {
                        Ok(()) => found.removed += 1,
                        // The file is being changed: the next walk looks again.
                        Err(Error::Conflict) => return Ok(()),
                        Err(error) => return Err(error),
                    }
                }
                self.catalog.unmark_orphan(key).await
            }
        }
    }

    async fn remove_orphan(&self, key: &ObjectKey, file: Option<&File>, now: Timestamp) -> Result<()> {
        if let (ObjectKey::Original { visibility, .. }, Some(file)) = (key, file)
            && *key == file.original_key_at(*visibility)
        {
            return self.remove_left_behind(file, *visibility).await;
        }
        self.blobs.delete([key.clone()]).await?;
        if !matches!(key, ObjectKey::Staging { .. }) {
            let reference = format!("{}-orphan-{}", key.file(), now.as_millis());
            self.cdn.invalidate(&reference, vec![format!("/{key}")]).await?;
        }
        Ok(())
    }

    /// One page of a project's published files: are their bytes there? At its end, the project's counter.
    async fn reconcile_records(
        &self,
        project: ProjectId,
        from: Option<&Cursor>,
        how: Reconciling,
        found: &mut Reconciliation,
    ) -> Result<Place> {
        let size = PageSize::new(PageSize::MAX).expect("within bounds");
        let run = self.catalog.walk(project, &FileFilter::default(), from, size).await?;
        found.records += run.files.len() as u64;
        for file in &run.files {
            if self.loss_of(file).await?.is_none() {
                continue;
            }
            // It may have moved or gone since its record was read.
            let Some(loss) = self.loss_of_latest(file).await? else { continue };
            let list = match loss {
                Loss::Missing => {
                    found.unmatched += 1;
                    &mut found.missing
                }
                Loss::Damaged => &mut found.damaged,
            };
            tracing::error!(file.id = %file.id, "{}", loss.describe());
            if list.len() < MAX_FINDINGS {
                list.push(file.id);
            }
        }
        if let Some(next) = run.next {
            return Ok(Place::Records(project, Some(next)));
        }
        self.reconcile_quota(project, how, found).await?;
        self.next_project(Some(project)).await
    }

    /// What is wrong with the bytes where a record says that they are.
    async fn loss_of(&self, file: &File) -> Result<Option<Loss>> {
        Ok(match self.blobs.presence(&file.original_key()).await? {
            Presence::There { size, .. } if size == file.size.bytes() => None,
            Presence::There { .. } | Presence::Damaged => Some(Loss::Damaged),
            Presence::Absent | Presence::Lost => Some(Loss::Missing),
        })
    }

    /// The same for the record as it is now. `None` as well if it changed meanwhile: the next walk will tell.
    async fn loss_of_latest(&self, file: &File) -> Result<Option<Loss>> {
        match self.get(file.project, file.id).await {
            Ok(now) => Ok(self.loss_of(&now).await?.filter(|_| now.version == file.version)),
            Err(Error::FileNotFound) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Compares a project's free bytes with what its files leave.
    async fn reconcile_quota(&self, id: ProjectId, how: Reconciling, found: &mut Reconciliation) -> Result<()> {
        let before = match self.catalog.project(id, Consistency::Strong).await {
            Err(Error::ProjectNotFound) => return Ok(()),
            read => read?,
        };
        let records = self.all_records(id).await?;
        let held: u64 = records.iter().map(File::holds).sum();
        let counts = UploadCounts::of(&records);
        let after = match self.catalog.project(id, Consistency::Strong).await {
            Err(Error::ProjectNotFound) => return Ok(()),
            read => read?,
        };
        let signed = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
        let missing_bytes = signed(before.quota_bytes) - signed(before.free_bytes) - signed(held);
        if before != after {
            // The project is being changed: the next walk looks again.
            return Ok(());
        }
        let counters = counts.difference(&before);
        if missing_bytes == 0 && counters.is_empty() {
            if how != Reconciling::Report {
                self.catalog.unmark_drift(id).await?;
                self.catalog.drop_idle_key_counters(&before).await?;
            }
            return Ok(());
        }
        let mut repaired = false;
        if how != Reconciling::Report {
            let now = self.clock.now();
            let repairs = how != Reconciling::Watch && !found.stopped;
            match self.catalog.drifted_since(id, missing_bytes, &counters).await? {
                Some(since) if now.since(since) >= CERTAINTY && repairs => {
                    repaired = missing_bytes == 0 || self.catalog.repair_free_bytes(&before, missing_bytes).await?;
                    repaired &= counters.is_empty() || self.catalog.repair_upload_counts(&before, &counts).await?;
                    self.catalog.unmark_drift(id).await?;
                }
                Some(_) => {}
                None => self.catalog.mark_drift(id, missing_bytes, &counters, now).await?,
            }
        }
        tracing::error!(
            project.id = %id, drift.bytes = missing_bytes, drift.counters = counters, drift.repaired = repaired,
            "a project's counters differ from its records"
        );
        if found.drifts.len() < MAX_FINDINGS {
            found.drifts.push(Drift { project: id, missing_bytes, counters, repaired });
        }
        Ok(())
    }

    /// Every record of a project: what is listed, and what owes work.
    async fn all_records(&self, project: ProjectId) -> Result<Vec<File>> {
        let mut ids = HashSet::new();
        let mut cursor = None;
        loop {
            let run = self.catalog.scan(project, &FileFilter::default(), cursor.as_ref()).await?;
            ids.extend(run.ids);
            cursor = run.next;
            if cursor.is_none() {
                break;
            }
        }
        let mut due = self.catalog.due(END_OF_TIME);
        while let Some(debtors) = due.next().await? {
            ids.extend(debtors.into_iter().filter_map(|debtor| match debtor {
                Debtor::File(id) => Some(id),
                Debtor::Project(_) => None,
            }));
        }
        let ids: Vec<FileId> = ids.into_iter().collect();
        let mut files = Vec::new();
        for ids in ids.chunks(100) {
            let records = self.catalog.records(ids).await?;
            files.extend(records.into_values().filter(|file| file.project == project));
        }
        Ok(files)
    }

    /// The project after this one, or the end.
    async fn next_project(&self, after: Option<ProjectId>) -> Result<Place> {
        let mut ids: Vec<ProjectId> = self.catalog.projects().await?.iter().map(|project| project.id).collect();
        ids.sort_unstable();
        let next = ids.into_iter().find(|id| after.is_none_or(|after| *id > after));
        Ok(next.map_or(Place::Done(self.clock.now()), |id| Place::Records(id, None)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_displays_as_text_and_parses_back() {
        let project = ProjectId::mint();
        let places = [
            Place::Objects(String::new()),
            Place::Objects("files/a b".to_owned()),
            Place::Records(project, None),
            Place::Done(Timestamp::from_millis(7)),
        ];
        for place in places {
            let text = place.to_string();
            assert!(text.parse::<Place>().is_ok_and(|parsed| parsed == place) || text.contains("a b"), "{text}");
        }
        assert!("records nobody".parse::<Place>().is_err() && "".parse::<Place>().is_err());
    }
}

//! Pending uploads: how many there may be, and the list of them.
//!
//! A project counts its pending uploads, and those of each API key, in its own item, in the transaction that reserves
//! quota. So the limits hold exactly, whatever races, and cost no write of their own.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    num::NonZeroU32,
    str::FromStr,
};

use aws_sdk_dynamodb::types::{AttributeValue, TransactWriteItem};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use futures::{StreamExt as _, TryStreamExt as _, stream};

use super::{
    Catalog,
    item::{self, CLOSED, DUE, FREE_BYTES, Item, LATE_BYTES, PENDING_UPLOADS, PK, QUOTA_BYTES, RESERVED_BYTES, n, s},
};
use crate::{
    error::{Error, PendingOf, Result},
    file::{File, State},
    id::{FileId, KeyId, ProjectId},
    records::{PageSize, Project},
    stores::fault::failed,
};

/// How many uploads may be pending at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UploadLimits {
    /// Of one project.
    pub per_project: NonZeroU32,
    /// Of one API key.
    pub per_key: NonZeroU32,
}

impl UploadLimits {
    /// A project that gives up one upload in four and begins twenty a second has 9,000 pending, because an abandoned
    /// upload is pending for half an hour.
    pub const DEFAULT_PER_PROJECT: NonZeroU32 = NonZeroU32::new(10_000).expect("more than zero");
    /// Half of a project's, so that one key cannot keep the others from uploading.
    pub const DEFAULT_PER_KEY: NonZeroU32 = NonZeroU32::new(5_000).expect("more than zero");
}

impl Default for UploadLimits {
    fn default() -> Self {
        Self { per_project: Self::DEFAULT_PER_PROJECT, per_key: Self::DEFAULT_PER_KEY }
    }
}

/// How many late bytes a project may have whatever its quota is: ten of the largest uploads. A larger quota is its own
/// limit.
pub const LATE_BYTES_FLOOR: u64 = 10 * crate::intent::ByteSize::MAX.bytes();

/// One page of a project's pending uploads.
#[derive(Clone, Debug)]
pub struct PendingRun {
    /// The uploads, the one that ends first coming first. There may be fewer than asked for, even none, with more to
    /// come.
    pub files: Vec<File>,
    /// Where the next page begins; `None` at the end.
    pub next: Option<PendingCursor>,
}

/// A place in the list of pending uploads: just after this position of the due index. Displays as an opaque text and
/// parses back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingCursor(String);

/// A text that no list of pending uploads gave out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be a `nextCursor` of the list of pending uploads")]
pub struct InvalidPendingCursor;

/// How the text of a cursor begins, so that one of another list is refused.
const CURSOR_MARK: &[u8] = b"pending:";

impl fmt::Display for PendingCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&BASE64.encode([CURSOR_MARK, self.0.as_bytes()].concat()))
    }
}

impl FromStr for PendingCursor {
    type Err = InvalidPendingCursor;

    fn from_str(text: &str) -> Result<Self, InvalidPendingCursor> {
        if text.len() > 128 {
            return Err(InvalidPendingCursor);
        }
        let bytes = BASE64.decode(text).map_err(|_| InvalidPendingCursor)?;
        let position = bytes.strip_prefix(CURSOR_MARK).ok_or(InvalidPendingCursor)?;
        String::from_utf8(position.to_vec()).map(Self).map_err(|_| InvalidPendingCursor)
    }
}

/// How many entries of each due partition one page looks at.
const ENTRIES_OF_A_SHARD: i32 = 250;

/// The first entries of one due partition after a position.
struct Shard {
    items: Vec<Item>,
    more: bool,
}

impl Catalog {
    /// One page of the uploads of a project that are neither published nor ended.
    ///
    /// They are found in the due index, which has every pending upload of every project in the order in which they end.
    /// So they cost no index entry of their own, and a page costs the same however many there are: one query of each
    /// partition, of at most 250 entries.
    pub async fn pending(
        &self,
        project: ProjectId,
        from: Option<&PendingCursor>,
        size: PageSize,
    ) -> Result<PendingRun> {
        let reads = (0..Self::DUE_SHARDS).map(|shard| self.pending_shard(shard, from));
        let shards: Vec<Shard> = stream::iter(reads).buffered(usize::from(Self::DUE_SHARDS)).try_collect().await?;

        // Up to here all partitions have been read: a partition with more may continue right after its last entry.
        let mut read_to: Option<String> = None;
        let mut entries = Vec::new();
        for shard in &shards {
            for found in &shard.items {
                entries.push((item::sort_key(found, DUE)?, item::pending_upload(found, project)?));
            }
            if let (true, Some(last)) = (shard.more, shard.items.last()) {
                let last = item::sort_key(last, DUE)?;
                read_to = Some(read_to.map_or(last.clone(), |before| before.min(last)));
            }
        }
        entries.retain(|(position, _)| read_to.as_ref().is_none_or(|end| position <= end));
        entries.sort_unstable();

        let wanted = size.get() as usize;
        let ours: Vec<(String, FileId)> =
            entries.into_iter().filter_map(|(position, id)| Some((position, id?))).take(wanted + 1).collect();
        let next = match ours.get(wanted) {
            Some(_) => ours.get(wanted - 1).map(|(position, _)| position.clone()),
            None => read_to,
        };
        let ids: Vec<FileId> = ours.into_iter().take(wanted).map(|(_, id)| id).collect();
        let mut found = self.records(&ids).await?;
        found.retain(|_, file| file.project == project && file.is_upload_under_way());
        let files = ids.iter().filter_map(|id| found.remove(id)).collect();
        Ok(PendingRun { files, next: next.map(PendingCursor) })
    }

    async fn pending_shard(&self, shard: u8, from: Option<&PendingCursor>) -> Result<Shard> {
        let after = from.map_or_else(|| "0".to_owned(), |cursor| cursor.0.clone());
        let page = self
            .dynamodb
            .query()
            .table_name(&self.table)
            .index_name(DUE.name)
            .key_condition_expression(format!("{} = :shard AND {} > :after", DUE.pk, DUE.sk))
            .expression_attribute_values(":shard", s(item::due_shard(shard)))
            .expression_attribute_values(":after", s(after))
            .limit(ENTRIES_OF_A_SHARD)
            .send()
            .await
            .map_err(|e| failed("listing pending uploads", e))?;
        let more = page.last_evaluated_key().is_some_and(|key| !key.is_empty());
        Ok(Shard { items: page.items.unwrap_or_default(), more })
    }

    /// What takes the bytes of new uploads from a project's quota, and counts them.
    pub(super) fn reservation(&self, first: &File, uploads: u64, size: u64) -> TransactWriteItem {
        let room = |limit: NonZeroU32| i64::from(limit.get()) - i64::try_from(uploads).unwrap_or(i64::MAX);
        let (of_project, of_key) = (room(self.limits.per_project), room(self.limits.per_key));
        let mut update = format!(
            "SET {FREE_BYTES} = {FREE_BYTES} - :size, {RESERVED_BYTES} = {RESERVED_BYTES} + :size, \
             {PENDING_UPLOADS} = if_not_exists({PENDING_UPLOADS}, :zero) + :uploads"
        );
        let mut condition = format!(
            "attribute_exists({PK}) AND attribute_not_exists({CLOSED}) AND {FREE_BYTES} >= :size \
             AND (attribute_not_exists({LATE_BYTES}) OR {LATE_BYTES} <= :late OR {LATE_BYTES} <= {QUOTA_BYTES}) \
             AND {}",
            at_most(PENDING_UPLOADS, ":ofProject", of_project)
        );
        let mut values = vec![
            (":size", n(size)),
            (":zero", n(0)),
            (":uploads", n(uploads)),
            (":late", n(LATE_BYTES_FLOOR)),
            (":ofProject", n(of_project)),
        ];
        if let Some(key) = first.uploader {
            let counter = item::pending_of_key(key);
            update.push_str(&format!(", {counter} = if_not_exists({counter}, :zero) + :uploads"));
            condition.push_str(&format!(" AND {}", at_most(&counter, ":ofKey", of_key)));
            values.push((":ofKey", n(of_key)));
        }
        self.project_update(first, update, condition, values)
    }

    /// Why a project does not take new uploads, by its item at that moment.
    pub(super) fn refusal(&self, found: &Item, first: &File, uploads: u64, size: u64) -> Result<Error> {
        let project = item::project_from_item(found)?;
        let exceeds = |pending: u64, limit: NonZeroU32| pending + uploads > u64::from(limit.get());
        let (limits, pending) = (self.limits, project.pending_uploads);
        let of_key = first.uploader.and_then(|key| project.pending_by_key.get(&key)).copied().unwrap_or(0);
        let too_many = |of, pending, limit: NonZeroU32| Error::TooManyPending { of, pending, limit: limit.get() };
        Ok(match () {
            () if found.contains_key(CLOSED) => Error::ProjectNotFound,
            () if project.free_bytes < size => {
                let (free, reserved) = (project.free_bytes, project.reserved_bytes);
                Error::QuotaExceeded { size, free, reserved, pending }
            }
            () if first.uploader.is_some() && exceeds(of_key, limits.per_key) => {
                too_many(PendingOf::Key, of_key, limits.per_key)
            }
            () if exceeds(pending, limits.per_project) => too_many(PendingOf::Project, pending, limits.per_project),
            () if project.late_bytes > LATE_BYTES_FLOOR.max(project.quota_bytes) => {
                Error::TooManyLateBytes { late: project.late_bytes, limit: LATE_BYTES_FLOOR.max(project.quota_bytes) }
            }
            () => Error::Conflict,
        })
    }

    /// Corrects a project's counters of uploads, if its item has not changed since it was read. Returns whether it did.
    pub async fn repair_upload_counts(&self, project: &Project, counts: &UploadCounts) -> Result<bool> {
        let mut values = vec![
            (":pending".to_owned(), n(counts.pending)),
            (":late".to_owned(), n(counts.late_bytes)),
            (":pendingBefore".to_owned(), n(project.pending_uploads)),
            (":lateBefore".to_owned(), n(project.late_bytes)),
        ];
        let mut set = format!("SET {PENDING_UPLOADS} = :pending, {LATE_BYTES} = :late");
        let same = |name: &str, value: &str, read: u64| {
            // Zero is also what an absent attribute, or one below zero, reads as.
            let zero =
                if read == 0 { format!("attribute_not_exists({name}) OR {name} < {value} OR ") } else { String::new() };
            format!("({zero}{name} = {value})")
        };
        let mut condition = format!(
            "{} AND {}",
            same(PENDING_UPLOADS, ":pendingBefore", project.pending_uploads),
            same(LATE_BYTES, ":lateBefore", project.late_bytes)
        );
        let keys: BTreeSet<KeyId> =
            project.pending_by_key.keys().chain(counts.pending_by_key.keys()).copied().collect();
        for (nth, key) in keys.into_iter().enumerate() {
            let (name, before, after) = (item::pending_of_key(key), format!(":before{nth}"), format!(":after{nth}"));
            let count = |counts: &BTreeMap<KeyId, u64>| counts.get(&key).copied().unwrap_or(0);
            set.push_str(&format!(", {name} = {after}"));
            condition.push_str(&format!(" AND {}", same(&name, &before, count(&project.pending_by_key))));
            values.push((before, n(count(&project.pending_by_key))));
            values.push((after, n(count(&counts.pending_by_key))));
        }
        let values: Vec<(&str, AttributeValue)> = values.iter().map(|(name, v)| (name.as_str(), v.clone())).collect();
        self.update_project(project.id, &set, &condition, &values, &[]).await
    }

    /// Removes the counters of API keys that have nothing pending, once there are many: an item of more than 1 KB makes
    /// every reservation dearer.
    pub async fn drop_idle_key_counters(&self, project: &Project) -> Result<()> {
        const KEPT: usize = 10;

        let idle: Vec<String> = project
            .pending_by_key
            .iter()
            .filter(|(_, n)| **n == 0)
            .map(|(key, _)| item::pending_of_key(*key))
            .collect();
        if idle.len() <= KEPT {
            return Ok(());
        }
        let condition: Vec<String> = idle.iter().map(|name| format!("{name} <= :zero")).collect();
        let (remove, condition) = (format!("REMOVE {}", idle.join(", ")), condition.join(" AND "));
        // When one of them counts again the next walk tries the others.
        self.update_project(project.id, &remove, &condition, &[(":zero", n(0))], &[]).await.map(drop)
    }
}

/// A project's counters of uploads, as its records have them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UploadCounts {
    /// How many uploads are pending.
    pub pending: u64,
    /// How many of them each API key began.
    pub pending_by_key: BTreeMap<KeyId, u64>,
    /// How many bytes could still be uploaded for files that hold no quota any more.
    pub late_bytes: u64,
}

impl UploadCounts {
    /// Counts the records of one project.
    pub fn of<'a>(files: impl IntoIterator<Item = &'a File>) -> Self {
        let mut counts = Self::default();
        for file in files {
            match file.state {
                State::Pending | State::Confirming { .. } | State::Expiring if file.url_expires.is_some() => {
                    counts.pending += 1;
                    if let Some(key) = file.uploader {
                        *counts.pending_by_key.entry(key).or_default() += 1;
                    }
                }
                State::Removed { late: true, .. } => counts.late_bytes += file.size.bytes(),
                State::Pending
                | State::Confirming { .. }
                | State::Expiring
                | State::Confirmed { .. }
                | State::Moving { .. }
                | State::Deleting { .. }
                | State::Removed { late: false, .. } => {}
            }
        }
        counts
    }

    /// By how much a project's own counters differ, as a text that stays the same while uploads come and go. Empty:
    /// they do not.
    pub fn difference(&self, project: &Project) -> String {
        let less = |own: u64, counted: u64| i128::from(counted) - i128::from(own);
        let mut differences = vec![
            (PENDING_UPLOADS.to_owned(), less(project.pending_uploads, self.pending)),
            (LATE_BYTES.to_owned(), less(project.late_bytes, self.late_bytes)),
        ];
        let keys: BTreeSet<&KeyId> = project.pending_by_key.keys().chain(self.pending_by_key.keys()).collect();
        for key in keys {
            let count = |counts: &BTreeMap<KeyId, u64>| counts.get(key).copied().unwrap_or(0);
            differences
                .push((item::pending_of_key(*key), less(count(&project.pending_by_key), count(&self.pending_by_key))));
        }
        let off = differences.into_iter().filter(|(_, by)| *by != 0).map(|(name, by)| format!("{name} {by:+}"));
        off.collect::<Vec<_>>().join(", ")
    }
}

/// The condition that a counter, which an older item lacks, is at most a number.
fn at_most(counter: &str, value: &str, number: i64) -> String {
    // Without the attribute the count is zero.
    let absent = if number >= 0 { format!("attribute_not_exists({counter}) OR ") } else { String::new() };
    format!("({absent}{counter} <= {value})")
}

/// The part of an update expression that no longer counts a file as a pending upload; `:one` is a value of it. Nothing
/// for a record that was not counted. A counter that is missing stays at zero.
pub(super) fn uncount(file: &File) -> String {
    if file.url_expires.is_none() {
        return String::new();
    }
    let less_one = |counter: &str| format!(", {counter} = if_not_exists({counter}, :one) - :one");
    let of_key = file.uploader.map(|key| less_one(&item::pending_of_key(key))).unwrap_or_default();
    less_one(PENDING_UPLOADS) + &of_key
}

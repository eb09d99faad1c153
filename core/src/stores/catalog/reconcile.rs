//! What the reconciliation remembers between its walks: where it is, and since when something is wrong.

use aws_sdk_dynamodb::types::AttributeValue;

use super::{
    Catalog, Consistency,
    item::{self, FREE_BYTES, Item, QUOTA_BYTES, Reader, n, s},
    once::TTL,
};
use crate::{
    clock::Timestamp,
    error::{Error, Result},
    id::ProjectId,
    object_key::ObjectKey,
    records::Project,
    stores::fault::failed,
};

/// How long a finding is remembered that no later walk confirms.
const MEMORY: std::time::Duration = std::time::Duration::from_secs(30 * 24 * 60 * 60);

/// What a walk has counted since it began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WalkCounts {
    /// How many objects it has looked at.
    pub objects: u64,
    /// How many originals have no record, and how many published records no original.
    pub unmatched: u64,
}

impl Catalog {
    /// Where the walk is, what it has counted, and what the last complete one did.
    pub async fn reconciled_to(&self) -> Result<Option<(String, WalkCounts, WalkCounts)>> {
        let found = self.get("reading where a walk is", item::walk_key(), Consistency::Strong).await?;
        let Some(item) = found else {
            return Ok(None);
        };
        let read = Reader(&item);
        let count = |name| Ok::<u64, Error>(read.maybe_number(name)?.unwrap_or(0));
        let walk = WalkCounts { objects: count("objects")?, unmatched: count("unmatched")? };
        let last = WalkCounts { objects: count("lastObjects")?, unmatched: count("lastUnmatched")? };
        Ok(Some((read.text("place")?.to_owned(), walk, last)))
    }

    /// Keeps where the walk is, what it has counted, and what the last complete one did.
    pub async fn keep_reconciled_to(&self, place: &str, walk: WalkCounts, last: WalkCounts) -> Result<()> {
        let mut record = item::walk_key();
        record.insert("place".to_owned(), s(place));
        record.insert("objects".to_owned(), n(walk.objects));
        record.insert("unmatched".to_owned(), n(walk.unmatched));
        record.insert("lastObjects".to_owned(), n(last.objects));
        record.insert("lastUnmatched".to_owned(), n(last.unmatched));
        self.put_finding("keeping where a walk is", record).await
    }

    /// When an object was first found without a record.
    pub async fn orphaned_since(&self, key: &ObjectKey) -> Result<Option<Timestamp>> {
        let found = self.get("reading a finding", item::orphan_key(key), Consistency::Strong).await?;
        found.map(|item| Reader(&item).number("seen").map(Timestamp::from_millis)).transpose()
    }

    /// Remembers that an object has no record.
    pub async fn mark_orphan(&self, key: &ObjectKey, now: Timestamp) -> Result<()> {
        self.put_finding("keeping a finding", seen(item::orphan_key(key), now)).await
    }

    /// Forgets it.
    pub async fn unmark_orphan(&self, key: &ObjectKey) -> Result<()> {
        self.delete("forgetting a finding", item::orphan_key(key)).await
    }

    /// Since when a project's free bytes are off by just as much, and its counters of uploads in the same way.
    pub async fn drifted_since(
        &self,
        project: ProjectId,
        missing_bytes: i64,
        counters: &str,
    ) -> Result<Option<Timestamp>> {
        let Some(found) = self.get("reading a finding", item::drift_key(project), Consistency::Strong).await? else {
            return Ok(None);
        };
        let read = Reader(&found);
        let same = read.number::<i64>("missingBytes")? == missing_bytes
            && read.maybe_text("counters")?.unwrap_or_default() == counters;
        Ok(same.then_some(Timestamp::from_millis(read.number("seen")?)))
    }

    /// Remembers by how much a project's free bytes and its counters of uploads are off.
    pub async fn mark_drift(
        &self,
        project: ProjectId,
        missing_bytes: i64,
        counters: &str,
        now: Timestamp,
    ) -> Result<()> {
        let mut record = seen(item::drift_key(project), now);
        record.insert("missingBytes".to_owned(), n(missing_bytes));
        record.insert("counters".to_owned(), s(counters));
        self.put_finding("keeping a finding", record).await
    }

    /// Forgets it.
    pub async fn unmark_drift(&self, project: ProjectId) -> Result<()> {
        self.delete("forgetting a finding", item::drift_key(project)).await
    }

    /// Corrects a project's free bytes, if they have not changed since it was read. Returns whether it did.
    pub async fn repair_free_bytes(&self, project: &Project, missing_bytes: i64) -> Result<bool> {
        let Some(free) = project.free_bytes.checked_add_signed(missing_bytes) else {
            return Ok(false);
        };
        let values: [(&str, AttributeValue); 3] =
            [(":free", n(free)), (":before", n(project.free_bytes)), (":quota", n(project.quota_bytes))];
        let condition = format!("{FREE_BYTES} = :before AND {QUOTA_BYTES} = :quota");
        self.update_project(project.id, &format!("SET {FREE_BYTES} = :free"), &condition, &values, &[]).await
    }

    async fn put_finding(&self, doing: &'static str, record: Item) -> Result<()> {
        let put = self.dynamodb.put_item().table_name(&self.table).set_item(Some(record));
        put.send().await.map(drop).map_err(|e| failed(doing, e))
    }
}

fn seen(mut record: Item, now: Timestamp) -> Item {
    record.insert("seen".to_owned(), n(now.as_millis()));
    record.insert(TTL.to_owned(), n((now + MEMORY).as_secs()));
    record
}

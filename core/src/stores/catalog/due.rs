//! What is due: the records that owe work and the deliveries that wait for an attempt, longest overdue first.
//!
//! The due index is spread over partitions. The index may lag behind the records, so read each record again before acting
//! on it.

use std::ops::Range;

use super::{
    Catalog,
    item::{self, DUE, Item, s},
};
use crate::{clock::Timestamp, error::Result, records::Debtor, stores::fault::failed};

/// How many entries one page has at most.
const PAGE: i32 = 25;

/// What is due in some partitions of the due index, read page by page, one partition after the other.
#[derive(Debug)]
pub struct DuePages<'a, T> {
    pub(super) catalog: &'a Catalog,
    pub(super) doing: &'static str,
    /// The partitions that are not read to their ends.
    pub(super) partitions: Range<u8>,
    pub(super) partition: fn(u8) -> String,
    pub(super) read: fn(&Item) -> Result<T>,
    pub(super) until: Timestamp,
    pub(super) after: Option<Item>,
}

impl<T> DuePages<'_, T> {
    /// The next page, which may be empty; `None` after the last.
    pub async fn next(&mut self) -> Result<Option<Vec<T>>> {
        let Range { start: partition, end } = self.partitions;
        if partition >= end {
            return Ok(None);
        }
        let page = self
            .catalog
            .dynamodb
            .query()
            .table_name(&self.catalog.table)
            .index_name(DUE.name)
            .key_condition_expression(format!("{} = :partition AND {} < :until", DUE.pk, DUE.sk))
            .expression_attribute_values(":partition", s((self.partition)(partition)))
            .expression_attribute_values(":until", s(item::due_until(self.until)))
            .limit(PAGE)
            .set_exclusive_start_key(self.after.take())
            .send()
            .await
            .map_err(|e| failed(self.doing, e))?;
        let found = self.catalog.readable(page.items(), self.read);
        self.after = page.last_evaluated_key.filter(|key| !key.is_empty());
        if self.after.is_none() {
            self.partitions.start += 1;
        }
        Ok(Some(found))
    }

    /// The next page, and the reader to go on with: for several readers at the same time.
    pub async fn step(mut self) -> (Result<Option<Vec<T>>>, Self) {
        (self.next().await, self)
    }

    /// Whether there may be another page.
    pub fn has_more(&self) -> bool {
        !self.partitions.is_empty()
    }
}

impl Catalog {
    /// How many partitions the records have in the due index.
    pub const DUE_SHARDS: u8 = item::DUE_SHARDS;

    /// The files and projects whose work is due.
    pub fn due(&self, until: Timestamp) -> DuePages<'_, Debtor> {
        self.due_in(0..Self::DUE_SHARDS, until)
    }

    /// The same, as one reader for each partition, so that all of them can be read at the same time.
    pub fn due_by_partition(&self, until: Timestamp) -> Vec<DuePages<'_, Debtor>> {
        (0..Self::DUE_SHARDS).map(|shard| self.due_in(shard..shard + 1, until)).collect()
    }

    fn due_in(&self, partitions: Range<u8>, until: Timestamp) -> DuePages<'_, Debtor> {
        DuePages {
            catalog: self,
            doing: "reading what is due",
            partitions,
            partition: item::due_shard,
            read: item::debtor,
            until,
            after: None,
        }
    }
}

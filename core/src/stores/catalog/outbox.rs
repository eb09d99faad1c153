//! The outbox: events, written in the transaction of their change, that wait to be sent.
//!
//! A row holds the events of one change. Rows lie in partitions of their own in the table itself, oldest first: they
//! are due as soon as they are there, so no index is paid for, and a read misses none that was acknowledged.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::{AttributeValue, TransactWriteItem};
use sha2::{Digest as _, Sha256};

use super::{
    Catalog,
    item::{Item, PK, Reader, SK, corrupt, key, millis, s},
};
use crate::{
    clock::Timestamp,
    error::{Error, Result},
    event::{Event, EventType},
    id::ProjectId,
    stores::fault::failed,
};

/// How many events one row holds. An event is up to 7 KB, if each character of owner and entity is six bytes of JSON, and
/// an item of DynamoDB is at most 400 KB.
const EVENTS_IN_A_ROW: usize = 49;

/// How many rows one page has at most.
const PAGE: i32 = 25;

/// Some of the events of one change.
#[derive(Clone, Debug, PartialEq)]
pub struct OutboxRow {
    /// The events, in the order in which they happened.
    pub events: Vec<Event>,
    key: Item,
}

/// The outbox, read page by page, one partition after the other.
#[derive(Debug)]
pub struct OutboxPages<'a> {
    catalog: &'a Catalog,
    shard: u8,
    after: Option<Item>,
}

impl OutboxPages<'_> {
    /// The next page, its rows oldest first; it may be empty. `None` after the last.
    pub async fn next(&mut self) -> Result<Option<Vec<OutboxRow>>> {
        if !self.has_more() {
            return Ok(None);
        }
        let page = self
            .catalog
            .dynamodb
            .query()
            .table_name(&self.catalog.table)
            .consistent_read(true)
            .key_condition_expression(format!("{PK} = :shard"))
            .expression_attribute_values(":shard", s(partition(self.shard)))
            .limit(PAGE)
            .set_exclusive_start_key(self.after.take())
            .send()
            .await
            .map_err(|e| failed("reading the outbox", e))?;
        let rows = self.catalog.readable(page.items(), row_from_item);
        self.after = page.last_evaluated_key.filter(|key| !key.is_empty());
        if self.after.is_none() {
            self.shard += 1;
        }
        Ok(Some(rows))
    }

    /// Whether there may be another page.
    pub fn has_more(&self) -> bool {
        self.shard < Catalog::OUTBOX_SHARDS
    }
}

impl Catalog {
    /// How many partitions the outbox has. One takes about 1,000 written units a second, an event of up to 1 KB is two
    /// when it is written and one when it is removed.
    pub const OUTBOX_SHARDS: u8 = 8;

    /// The rows of the outbox.
    pub fn outbox(&self) -> OutboxPages<'_> {
        OutboxPages { catalog: self, shard: 0, after: None }
    }

    /// Removes a row whose events have been handed on. Removing it again changes nothing.
    pub async fn remove_outbox_row(&self, row: &OutboxRow) -> Result<()> {
        self.delete("removing an outbox row", row.key.clone()).await
    }

    /// What tells the events when it is part of a transaction: one action for each [`EVENTS_IN_A_ROW`] of them.
    pub(super) fn tell<'a>(&'a self, events: &'a [Event]) -> impl Iterator<Item = TransactWriteItem> + 'a {
        events.chunks(EVENTS_IN_A_ROW).filter_map(row_to_item).map(|row| {
            let row = self.put(row).build().expect("table and item are set");
            TransactWriteItem::builder().put(row).build()
        })
    }
}

fn partition(shard: u8) -> String {
    format!("E#{shard}")
}

fn row_to_item(events: &[Event]) -> Option<Item> {
    let first = events.first()?;
    let shard = Sha256::digest(first.id.as_str())[0] % Catalog::OUTBOX_SHARDS;
    let mut item = key(partition(shard), &format!("{}#{}", millis(first.created), first.id));
    let told = |event: &Event| {
        AttributeValue::M(HashMap::from([
            ("id".to_owned(), s(event.id.as_str())),
            ("type".to_owned(), s(event.kind.as_str())),
            ("body".to_owned(), s(&event.body)),
        ]))
    };
    item.insert("project".to_owned(), s(first.project.as_str()));
    item.insert("events".to_owned(), AttributeValue::L(events.iter().map(told).collect()));
    Some(item)
}

fn row_from_item(item: &Item) -> Result<OutboxRow> {
    let read = Reader(item);
    let project: ProjectId = read.parsed("project")?;
    let (pk, sk) = (read.text(PK)?, read.text(SK)?);
    let created = sk.split('#').next().and_then(|millis| millis.parse().ok()).map(Timestamp::from_millis);
    let created = created.ok_or_else(|| corrupt(SK))?;
    let event = |told: &AttributeValue| -> Result<Event, Error> {
        let told = Reader(told.as_m().map_err(|_| corrupt("events"))?);
        let kind: EventType = told.parsed("type")?;
        Ok(Event { id: told.parsed("id")?, kind, project, created, body: told.text("body")?.to_owned() })
    };
    let events = item.get("events").and_then(|told| told.as_l().ok()).ok_or_else(|| corrupt("events"))?;
    Ok(OutboxRow { events: events.iter().map(event).collect::<Result<_>>()?, key: key(pk.to_owned(), sk) })
}

//! The records, in one DynamoDB table: projects, API keys, files, webhooks, events and idempotency keys.
//!
//! Every write of a file is conditional on the version that was read. Bytes are accounted for in the same transaction
//! that makes or removes the record, so quota is taken once and given back once, whatever dies in between.
//! Nothing here touches S3 or the CDN.

mod due;
mod files;
mod item;
mod keys;
mod list;
mod once;
mod outbox;
mod pending;
mod projects;
mod reconcile;
mod requests;
mod table;
mod webhooks;

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError, atomic::AtomicU64},
};

use aws_sdk_dynamodb::Client;

use self::item::Item;
pub use self::{
    due::DuePages,
    item::{DUE, ENTITY, INDEXES, Index, LIST, OWNER, PROJECTED, THUMBHASH, file_from_json},
    list::{Cursor, FilePage, FileRun, InvalidCursor, PAGE_CEILING},
    once::TTL,
    outbox::{OutboxPages, OutboxRow},
    pending::{InvalidPendingCursor, LATE_BYTES_FLOOR, PendingCursor, PendingRun, UploadCounts, UploadLimits},
    reconcile::WalkCounts,
    webhooks::{DeliveryKey, DeliveryPage},
};
use crate::error::{Cause, Error, Result};
pub use crate::{
    records::{
        Attempt, Clearing, Debtor, FileFilter, KeyRecord, NamePrefix, Once, Outcome, PageNumber, PageSize, Project,
        TypeFilter,
    },
    stores::fault::STORAGE_FULL,
};

/// Whether a read may miss the writes of the last moment, at half the price.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consistency {
    /// Sees every write that was acknowledged.
    Strong,
    /// May miss a write of the last moment.
    Eventual,
}

/// The table.
#[derive(Clone, Debug)]
pub struct Catalog {
    dynamodb: Client,
    table: String,
    limits: UploadLimits,
    key_changes: Arc<AtomicU64>,
    /// The keys of items that could not be read, as far as this process has met them.
    unreadable: Arc<Mutex<BTreeSet<String>>>,
}

/// How many unreadable items are remembered, so that each is logged once.
const MAX_UNREADABLE: usize = 1_000;

impl Catalog {
    /// The catalog in that table.
    pub fn new(dynamodb: Client, table: impl Into<String>) -> Self {
        Self {
            dynamodb,
            table: table.into(),
            limits: UploadLimits::default(),
            key_changes: Arc::default(),
            unreadable: Arc::default(),
        }
    }

    /// The same catalog with other limits on pending uploads.
    #[must_use]
    pub fn with_limits(self, limits: UploadLimits) -> Self {
        Self { limits, ..self }
    }

    /// How many items this process could not read, and has skipped.
    pub fn unreadable_items(&self) -> u64 {
        self.unreadable.lock().unwrap_or_else(PoisonError::into_inner).len() as u64
    }

    /// What can be read of some items. An item that cannot be read is logged once and counted, and holds up no other.
    pub(super) fn readable<'a, T>(
        &self,
        items: impl IntoIterator<Item = &'a Item>,
        read: impl Fn(&Item) -> Result<T>,
    ) -> Vec<T> {
        let readable = |item| match read(item) {
            Ok(read) => Some(read),
            Err(error) => {
                self.note_unreadable(&item::name(item), &error);
                None
            }
        };
        items.into_iter().filter_map(readable).collect()
    }

    /// Logs an item that cannot be read, once, and counts it.
    pub(crate) fn note_unreadable(&self, name: &str, error: &Error) {
        let mut unreadable = self.unreadable.lock().unwrap_or_else(PoisonError::into_inner);
        if unreadable.len() < MAX_UNREADABLE && unreadable.insert(name.to_owned()) {
            let cause = Cause::new("reading an item", error);
            tracing::error!(item = name, %cause, "an item cannot be read and is passed over");
        }
    }
}

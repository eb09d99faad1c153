//! The records: projects, API keys and files, in one DynamoDB table.
//!
//! Every write of a file is conditional on the version that was read. Bytes are accounted for in the same transaction
//! that makes or removes the record, so quota is taken once and given back once, whatever dies in between.
//! Nothing here touches S3 or the CDN.

mod item;
mod list;
mod once;
mod outbox;
mod pending;
mod reconcile;
mod webhooks;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use aws_sdk_dynamodb::{
    Client,
    error::{ProvideErrorMetadata, SdkError},
    operation::{put_item::PutItemError, transact_write_items::TransactWriteItemsError},
    types::{
        AttributeDefinition, AttributeValue, BillingMode, CancellationReason, Delete, GlobalSecondaryIndex,
        KeySchemaElement, KeyType, Projection, ProjectionType, Put, ReturnValue, ReturnValuesOnConditionCheckFailure,
        ScalarAttributeType, TransactWriteItem, Update,
    },
};

use self::item::{
    CLOSED, FILE_COUNT, FREE_BYTES, Item, LATE_BYTES, PK, QUOTA_BYTES, RESERVED_BYTES, REVOKED_AT, SK, VERSION, n, s,
};
pub use self::{
    item::{DUE, ENTITY, INDEXES, Index, LIST, OWNER, PROJECTED, THUMBHASH, file_from_json},
    list::{
        Cursor, FileFilter, FilePage, FileRun, InvalidCursor, NamePrefix, PAGE_CEILING, PageNumber, PageSize,
        TypeFilter,
    },
    once::{Attempt, Once, Outcome, TTL},
    outbox::{OutboxPage, OutboxPosition, OutboxRow},
    pending::{InvalidPendingCursor, LATE_BYTES_FLOOR, PendingCursor, PendingRun, UploadCounts, UploadLimits},
    reconcile::WalkCounts,
    webhooks::{DeliveryKey, DeliveryPage, DueDeliveries},
};
use crate::{
    api_key::{ApiKey, KeyHash, Scope},
    clock::Timestamp,
    error::{Cause, Error, Result},
    event::Event,
    file::{File, State},
    id::{FileId, KeyId, ProjectId, random_mark},
    thumbhash::ThumbHash,
};

/// A project: an owner of files and keys with a quota.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Project {
    /// Which project.
    pub id: ProjectId,
    /// Its name, for people.
    pub name: String,
    /// How many bytes its files may hold together.
    pub quota_bytes: u64,
    /// How many of them are neither held nor reserved.
    pub free_bytes: u64,
    /// How many of them are reserved by uploads that are not confirmed.
    pub reserved_bytes: u64,
    /// How many confirmed files it has.
    pub file_count: u64,
    /// How many uploads have begun and have neither been published nor ended.
    pub pending_uploads: u64,
    /// How many of them each API key began.
    pub pending_by_key: BTreeMap<KeyId, u64>,
    /// How many bytes could still be uploaded for files that hold no quota any more, because their upload URLs work.
    pub late_bytes: u64,
    /// When it was made.
    pub created: Timestamp,
    /// The clearing that is under way.
    pub clearing: Option<Clearing>,
}

/// The removal of all files that a project had at some time, in the background.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clearing {
    /// Files that were begun before this go.
    pub before: Timestamp,
    /// Whether the project itself goes with them. It takes no new uploads then.
    pub and_project: bool,
}

impl Project {
    /// A project without files.
    pub fn new(name: impl Into<String>, quota_bytes: u64, now: Timestamp) -> Self {
        Self {
            id: ProjectId::mint(),
            name: name.into(),
            quota_bytes,
            free_bytes: quota_bytes,
            reserved_bytes: 0,
            file_count: 0,
            pending_uploads: 0,
            pending_by_key: BTreeMap::new(),
            late_bytes: 0,
            created: now,
            clearing: None,
        }
    }

    /// How many bytes its files hold or reserve.
    pub fn used_bytes(&self) -> u64 {
        self.quota_bytes - self.free_bytes
    }
}

/// An API key as the catalog knows it: everything but the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRecord {
    /// The hash by which it is looked up.
    pub hash: KeyHash,
    /// Its public name.
    pub id: KeyId,
    /// Whose files it opens.
    pub project: ProjectId,
    /// Its name, for people.
    pub name: String,
    /// The raw key's last four characters, for people.
    pub last_four: String,
    /// What it may do.
    pub scopes: Vec<Scope>,
    /// When it was made.
    pub created: Timestamp,
    /// When it stops working by itself.
    pub expires_at: Option<Timestamp>,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
    /// When it was last used, to the hour.
    pub last_used: Option<Timestamp>,
}

impl KeyRecord {
    /// The record of a new key.
    pub fn new(key: &ApiKey, project: ProjectId, name: impl Into<String>, scopes: &[Scope], now: Timestamp) -> Self {
        Self {
            hash: key.hash(),
            id: KeyId::mint(),
            project,
            name: name.into(),
            last_four: key.last_four().to_owned(),
            scopes: scopes.to_vec(),
            created: now,
            expires_at: None,
            revoked_at: None,
            last_used: None,
        }
    }

    /// Whether the key opens anything.
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|at| now < at)
    }
}

/// Whether a read may be a moment old, at half the price.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consistency {
    /// Sees every write that was acknowledged.
    Strong,
    /// May miss a write of the last moment.
    Eventual,
}

/// Somebody whose work is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Debtor {
    /// A file.
    File(FileId),
    /// A project that is being cleared.
    Project(ProjectId),
}

/// Those whose work is due.
#[derive(Debug)]
pub struct DuePage {
    /// Who.
    pub debtors: Vec<Debtor>,
    /// Where the next page begins, if there may be one.
    pub next: Option<DuePosition>,
}

/// A place in a due partition.
#[derive(Debug)]
pub struct DuePosition(Item);

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

/// The code of an embedded store's refusal to write on a full disk. DynamoDB knows no such refusal.
pub const STORAGE_FULL: &str = "StorageFull";

/// How many unreadable items are remembered, so that each is logged once.
const MAX_UNREADABLE: usize = 1_000;

/// How often a write is tried while transactions touch the same items at the same time.
const TRANSACTION_ATTEMPTS: u32 = 8;

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

    /// Makes the table with its indexes, unless it is there. On AWS the template makes it.
    pub async fn create_table(&self) -> Result<()> {
        let mut request = self.dynamodb.create_table().table_name(&self.table).billing_mode(BillingMode::PayPerRequest);
        for (name, kind) in [(PK, KeyType::Hash), (SK, KeyType::Range)] {
            request = request.key_schema(key_element(name, kind)).attribute_definitions(text_attribute(name));
        }
        for Index { name, pk, sk } in INDEXES {
            let projection = Projection::builder()
                .projection_type(ProjectionType::Include)
                .set_non_key_attributes(Some(PROJECTED.iter().map(ToString::to_string).collect()))
                .build();
            let index = GlobalSecondaryIndex::builder()
                .index_name(name)
                .key_schema(key_element(pk, KeyType::Hash))
                .key_schema(key_element(sk, KeyType::Range))
                .projection(projection)
                .build()
                .expect("name, keys and projection are set");
            request = request
                .attribute_definitions(text_attribute(pk))
                .attribute_definitions(text_attribute(sk))
                .global_secondary_indexes(index);
        }
        match request.send().await {
            Ok(_) => Ok(()),
            Err(e) if e.code() == Some("ResourceInUseException") => Ok(()),
            Err(e) => Err(failed("creating the table", e)),
        }
    }

    /// Whether the table answers.
    pub async fn ready(&self) -> Result<()> {
        self.get("asking the table whether it is there", item::file_key(FileId::mint()), Consistency::Eventual)
            .await
            .map(drop)
    }

    /// How many items this process could not read and has passed over.
    pub fn unreadable_items(&self) -> u64 {
        self.unreadable.lock().unwrap_or_else(PoisonError::into_inner).len() as u64
    }

    /// What can be read of some items. An item that cannot be read is logged once and counted, and holds up no other.
    fn readable<'a, T>(&self, items: impl IntoIterator<Item = &'a Item>, read: impl Fn(&Item) -> Result<T>) -> Vec<T> {
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

    /// Adds a project.
    pub async fn create_project(&self, project: &Project) -> Result<()> {
        self.put_new("creating a project", item::project_to_item(project)).await
    }

    /// Reads a project.
    pub async fn project(&self, id: ProjectId, consistency: Consistency) -> Result<Project> {
        let item = self.get("reading a project", item::project_key(id), consistency).await?;
        item::project_from_item(&item.ok_or(Error::ProjectNotFound)?)
    }

    /// Every project, oldest first.
    pub async fn projects(&self) -> Result<Vec<Project>> {
        let mut projects = Vec::new();
        for entry in self.index_partition("listing projects", LIST, item::PROJECTS).await? {
            let read = match item::project_id(&entry) {
                Ok(id) => self.project(id, Consistency::Strong).await,
                Err(error) => Err(error),
            };
            match read {
                Ok(project) => projects.push(project),
                // The index may lag behind its removal.
                Err(Error::ProjectNotFound) => {}
                Err(error @ Error::Internal(_)) => self.note_unreadable(&item::name(&entry), &error),
                Err(error) => return Err(error),
            }
        }
        Ok(projects)
    }

    /// How often this catalog, or a clone of it, has changed what a key may do. What was read of a key before the number
    /// changed may be wrong.
    pub fn key_changes(&self) -> u64 {
        self.key_changes.load(Ordering::SeqCst)
    }

    /// After a write that takes something from a key, and after one that failed: it may have been carried out.
    fn note_key_change<T>(&self, written: T) -> T {
        self.key_changes.fetch_add(1, Ordering::SeqCst);
        written
    }

    /// Adds an API key.
    pub async fn create_key(&self, key: &KeyRecord) -> Result<()> {
        self.put_new("creating a key", item::key_to_item(key)).await
    }

    /// Looks a key up by its hash.
    pub async fn key(&self, hash: &KeyHash) -> Result<Option<KeyRecord>> {
        let item = self.get("reading a key", item::api_key_key(hash), Consistency::Eventual).await?;
        item.map(|item| item::key_from_item(&item)).transpose()
    }

    /// A project's keys, oldest first.
    pub async fn keys(&self, project: ProjectId) -> Result<Vec<KeyRecord>> {
        let mut keys = Vec::new();
        for entry in self.index_partition("listing keys", LIST, &item::keys_of(project)).await? {
            keys.extend(self.key(&item::key_hash(&entry)?).await?);
        }
        Ok(keys)
    }

    /// Revokes a project's key. Revoking it again changes nothing.
    pub async fn revoke_key(&self, project: ProjectId, id: KeyId, now: Timestamp) -> Result<KeyRecord> {
        let mut key = self.key_named(project, id).await?;
        if key.revoked_at.is_none() {
            self.note_key_change(self.set_on_key(&key.hash, REVOKED_AT, now).await)?;
            key.revoked_at = Some(now);
        }
        Ok(key)
    }

    /// Adds a key in another's place, which stops working at a time, if it would work longer: both or neither.
    pub async fn succeed_key(&self, old: &KeyRecord, new: &KeyRecord, at: Timestamp) -> Result<()> {
        let there = format!("attribute_exists({PK})");
        let end = Update::builder().table_name(&self.table).set_key(Some(item::api_key_key(&old.hash)));
        let end = match old.expires_at {
            Some(end) if end <= at => None,
            _ => Some(
                end.update_expression("SET expiresAt = :at")
                    .condition_expression(there)
                    .expression_attribute_values(":at", n(at.as_millis()))
                    .build()
                    .expect("table, key and update are set"),
            ),
        };
        let put = self.put(item::key_to_item(new)).condition_expression(format!("attribute_not_exists({PK})"));
        let put = TransactWriteItem::builder().put(put.build().expect("table and item are set")).build();
        let end = end.map(|end| TransactWriteItem::builder().update(end).build());
        match self.note_key_change(self.transact("replacing a key", std::iter::once(put).chain(end).collect()).await)? {
            None => Ok(()),
            Some(_) => Err(Error::KeyNotFound),
        }
    }

    /// Notes that a key was used. Nobody waits for it to be exact.
    pub async fn touch_key(&self, hash: &KeyHash, now: Timestamp) -> Result<()> {
        self.set_on_key(hash, "lastUsed", now).await
    }

    async fn key_named(&self, project: ProjectId, id: KeyId) -> Result<KeyRecord> {
        self.keys(project).await?.into_iter().find(|k| k.id == id).ok_or(Error::KeyNotFound)
    }

    async fn set_on_key(&self, hash: &KeyHash, attribute: &str, at: Timestamp) -> Result<()> {
        let update = self
            .dynamodb
            .update_item()
            .table_name(&self.table)
            .set_key(Some(item::api_key_key(hash)))
            .update_expression("SET #attribute = :at")
            .condition_expression(format!("attribute_exists({PK})"))
            .expression_attribute_names("#attribute", attribute)
            .expression_attribute_values(":at", n(at.as_millis()));
        past_conflicts(|| update.clone().send()).await.map_err(|e| failed("changing a key", e))?;
        Ok(())
    }

    /// Removes a key's record.
    pub async fn remove_key(&self, hash: &KeyHash) -> Result<()> {
        self.note_key_change(self.delete("removing a key", item::api_key_key(hash)).await)
    }

    /// Renames a project.
    pub async fn rename_project(&self, id: ProjectId, name: &str) -> Result<()> {
        self.update_project(
            id,
            "SET #name = :name",
            &format!("attribute_exists({PK})"),
            &[(":name", s(name))],
            &[("#name", "name")],
        )
        .await?
        .then_some(())
        .ok_or(Error::ProjectNotFound)
    }

    /// Gives a project another quota: what is free changes by as much.
    ///
    /// # Errors
    /// [`QuotaBelowUsage`](Error::QuotaBelowUsage) when the project holds more than that.
    pub async fn set_quota(&self, id: ProjectId, quota_bytes: u64) -> Result<()> {
        for _ in 0..TRANSACTION_ATTEMPTS {
            let project = self.project(id, Consistency::Strong).await?;
            let used = project.used_bytes();
            let free = quota_bytes.checked_sub(used).ok_or(Error::QuotaBelowUsage { used })?;
            let written = self
                .update_project(
                    id,
                    &format!("SET {QUOTA_BYTES} = :quota, {FREE_BYTES} = :free"),
                    &format!("{QUOTA_BYTES} = :quotaBefore AND {FREE_BYTES} = :freeBefore"),
                    &[
                        (":quota", n(quota_bytes)),
                        (":free", n(free)),
                        (":quotaBefore", n(project.quota_bytes)),
                        (":freeBefore", n(project.free_bytes)),
                    ],
                    &[],
                )
                .await?;
            if written {
                return Ok(());
            }
        }
        Err(Error::Conflict)
    }

    /// Begins to clear a project, or moves the time before which files go. What is due at once is due for the cleanup.
    pub async fn begin_clearing(&self, id: ProjectId, clearing: Clearing, due: Timestamp) -> Result<()> {
        let Clearing { before, and_project } = clearing;
        let [(pk, shard), (sk, place)] = item::due_entry(id.as_str(), due);
        let mut set = format!("SET clearBefore = :before, {pk} = :shard, {sk} = :place");
        let mut values = vec![(":before", n(before.as_millis())), (":shard", s(shard)), (":place", s(place))];
        if and_project {
            set.push_str(&format!(", {CLOSED} = :closed"));
            values.push((":closed", AttributeValue::Bool(true)));
        }
        let there = self.update_project(id, &set, &format!("attribute_exists({PK})"), &values, &[]).await?;
        there.then_some(()).ok_or(Error::ProjectNotFound)
    }

    /// A clearing is complete; unless another was begun meanwhile.
    pub async fn end_clearing(&self, project: &Project) -> Result<()> {
        let Some(Clearing { before, .. }) = project.clearing else {
            return Ok(());
        };
        let remove = format!("REMOVE clearBefore, {}, {}", DUE.pk, DUE.sk);
        self.update_project(project.id, &remove, "clearBefore = :before", &[(":before", n(before.as_millis()))], &[])
            .await
            .map(drop)
    }

    /// Removes the record of a project that holds nothing. `false`: it still holds something. Removing it again changes
    /// nothing.
    pub async fn remove_project(&self, id: ProjectId) -> Result<bool> {
        let delete = self
            .dynamodb
            .delete_item()
            .table_name(&self.table)
            .set_key(Some(item::project_key(id)))
            .condition_expression(format!("attribute_not_exists({PK}) OR {FREE_BYTES} = {QUOTA_BYTES}"));
        match past_conflicts(|| delete.clone().send()).await {
            Ok(_) => Ok(true),
            Err(e) if e.code() == Some("ConditionalCheckFailedException") => Ok(false),
            Err(e) => Err(failed("removing a project", e)),
        }
    }

    /// Whether the condition held and the update was made.
    async fn update_project(
        &self,
        id: ProjectId,
        update: &str,
        condition: &str,
        values: &[(&str, AttributeValue)],
        names: &[(&str, &str)],
    ) -> Result<bool> {
        let owned = |(name, value): &(&str, AttributeValue)| ((*name).to_owned(), value.clone());
        let names: HashMap<_, _> = names.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
        let update = self
            .dynamodb
            .update_item()
            .table_name(&self.table)
            .set_key(Some(item::project_key(id)))
            .update_expression(update)
            .condition_expression(condition)
            .set_expression_attribute_values((!values.is_empty()).then(|| values.iter().map(owned).collect()))
            .set_expression_attribute_names((!names.is_empty()).then_some(names));
        match past_conflicts(|| update.clone().send()).await {
            Ok(_) => Ok(true),
            Err(e) if e.code() == Some("ConditionalCheckFailedException") => Ok(false),
            Err(e) => Err(failed("changing a project", e)),
        }
    }

    async fn delete(&self, doing: &'static str, key: Item) -> Result<()> {
        let request = self.dynamodb.delete_item().table_name(&self.table).set_key(Some(key));
        past_conflicts(|| request.clone().send()).await.map_err(|e| failed(doing, e))?;
        Ok(())
    }

    /// Reads a file, in whatever state.
    pub async fn file(&self, id: FileId, consistency: Consistency) -> Result<File> {
        let item = self.get("reading a file", item::file_key(id), consistency).await?;
        item::file_from_item(&item.ok_or(Error::FileNotFound)?)
    }

    /// Notes the placeholder of a file that has none, and reads the file, in one request.
    ///
    /// It waits for nobody and has nobody wait: the version stays, and a write of somebody who had read the file before
    /// may leave it without. Then whoever makes the next variant notes it again.
    pub async fn note_thumbhash(&self, id: FileId, thumbhash: &ThumbHash) -> Result<File> {
        let update = self
            .dynamodb
            .update_item()
            .table_name(&self.table)
            .set_key(Some(item::file_key(id)))
            .update_expression(format!("SET {THUMBHASH} = if_not_exists({THUMBHASH}, :thumbhash)"))
            .condition_expression(format!("attribute_exists({PK})"))
            .expression_attribute_values(":thumbhash", s(thumbhash.to_string()))
            .return_values(ReturnValue::AllNew);
        match past_conflicts(|| update.clone().send()).await {
            Ok(noted) => item::file_from_item(&noted.attributes.ok_or(Error::FileNotFound)?),
            Err(e) if e.code() == Some("ConditionalCheckFailedException") => Err(Error::FileNotFound),
            Err(e) => Err(failed("noting a placeholder", e)),
        }
    }

    /// How many files one [`Catalog::reserve`] takes: DynamoDB's 100 actions in a transaction, less the project's.
    pub const RESERVE_AT_ONCE: usize = 99;

    /// Adds pending files of one project, which one uploader began, and takes their bytes from its quota: all or none.
    /// The limits are exact: the counters that they are compared with change in the same transaction.
    ///
    /// # Errors
    /// [`QuotaExceeded`](Error::QuotaExceeded) when the project has no room for all of them together;
    /// [`TooManyPending`](Error::TooManyPending) and [`TooManyLateBytes`](Error::TooManyLateBytes) when its uploads
    /// reach a limit; [`Conflict`](Error::Conflict) when one of the files exists.
    pub async fn reserve(&self, files: &[File]) -> Result<()> {
        let Some(first) = files.first() else {
            return Ok(());
        };
        let size = files.iter().map(|file| file.size.bytes()).sum();
        let quota = self.reservation(first, files.len() as u64, size);
        let records = files.iter().map(|file| {
            let new = self.put(item::file_to_item(file)).condition_expression(format!("attribute_not_exists({PK})"));
            TransactWriteItem::builder().put(new.build().expect("table and item are set")).build()
        });
        match self.transact("reserving quota", std::iter::once(quota).chain(records).collect()).await? {
            None => Ok(()),
            // The project took them, so one of the records was there.
            Some(reasons) if reasons.first().is_some_and(|r| r.code() != Some("ConditionalCheckFailed")) => {
                Err(Error::Conflict)
            }
            Some(reasons) => match reasons.first().and_then(|r| r.item()) {
                Some(found) => Err(self.refusal(found, first, files.len() as u64, size)?),
                None => Err(Error::ProjectNotFound),
            },
        }
    }

    /// Adds a published file whose record was lost, and takes its bytes from its project's quota, which is raised if
    /// there is no room for them. A file that has a record keeps it.
    pub async fn readmit(&self, file: &File) -> Result<()> {
        let size = file.size.bytes();
        for _ in 0..TRANSACTION_ATTEMPTS {
            let counters = self.project_update(
                file,
                format!("SET {FREE_BYTES} = {FREE_BYTES} - :size, {FILE_COUNT} = {FILE_COUNT} + :one"),
                format!("attribute_exists({PK}) AND {FREE_BYTES} >= :size"),
                [(":size", n(size)), (":one", n(1))],
            );
            let new = self.put(item::file_to_item(file)).condition_expression(format!("attribute_not_exists({PK})"));
            let record = TransactWriteItem::builder().put(new.build().expect("table and item are set")).build();
            if self.transact("readmitting a file", vec![record, counters]).await?.is_none() {
                return Ok(());
            }
            match self.file(file.id, Consistency::Strong).await {
                Err(Error::FileNotFound) => {
                    let project = self.project(file.project, Consistency::Strong).await?;
                    self.set_quota(project.id, project.quota_bytes + size).await?;
                }
                found => return found.map(drop),
            }
        }
        Err(Error::Conflict)
    }

    /// Writes a file over the version before it.
    pub async fn replace(&self, file: &File) -> Result<()> {
        let write = Write::of(file);
        let put = self
            .dynamodb
            .put_item()
            .table_name(&self.table)
            .set_item(Some(write.item.clone()))
            .condition_expression(format!("{VERSION} = :before"))
            .expression_attribute_values(":before", n(file.version - 1))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        match past_conflicts(|| put.clone().send()).await {
            Ok(_) => Ok(()),
            Err(e) => match e.as_service_error() {
                Some(PutItemError::ConditionalCheckFailedException(found)) => write.is_done(found.item()),
                _ => Err(failed("writing a file", e)),
            },
        }
    }

    /// Writes a file over the version before it, and tells of it.
    pub async fn replace_and_tell(&self, file: &File, event: &Event) -> Result<()> {
        self.replace_and_tell_all(file, std::slice::from_ref(event)).await
    }

    /// Writes a file over the version before it, and tells of it by several events.
    pub async fn replace_and_tell_all(&self, file: &File, events: &[Event]) -> Result<()> {
        self.replace_with("writing a file", file, None, events).await
    }

    /// How many files one [`Catalog::replace_all`] takes: DynamoDB's 100 actions in a transaction, less the two that an
    /// event for each of them takes.
    pub const REPLACE_AT_ONCE: usize = 98;

    /// Writes files over the versions before them, and tells of it: all or none.
    pub async fn replace_all(&self, files: &[File], events: &[Event]) -> Result<()> {
        if files.is_empty() {
            return Ok(());
        }
        let writes =
            files.iter().map(|file| self.record_write(file, &Write::of(file))).chain(self.tell(events)).collect();
        match self.transact("writing files", writes).await? {
            None => Ok(()),
            Some(_) => Err(Error::Conflict),
        }
    }

    /// Writes a file that has just been confirmed, and tells of it: its bytes are no longer reserved but held, and it
    /// counts.
    pub async fn publish(&self, file: &File, event: &Event) -> Result<()> {
        let uncount = pending::uncount(file);
        let counters = self.project_update(
            file,
            format!("SET {RESERVED_BYTES} = {RESERVED_BYTES} - :size, {FILE_COUNT} = {FILE_COUNT} + :one{uncount}"),
            format!("attribute_exists({PK})"),
            [(":size", n(file.size.bytes())), (":one", n(1))],
        );
        self.replace_with("publishing a file", file, Some(counters), std::slice::from_ref(event)).await
    }

    /// Writes a file that has just been hidden: it no longer counts, and still holds its bytes.
    pub async fn hide(&self, file: &File) -> Result<()> {
        let counters = self.project_update(
            file,
            format!("SET {FILE_COUNT} = {FILE_COUNT} - :one"),
            format!("attribute_exists({PK})"),
            [(":one", n(1))],
        );
        self.replace_with("hiding a file", file, Some(counters), &[]).await
    }

    /// Gives the reserved bytes of a file back that was never published, and tells of it. The record becomes `kept`,
    /// or goes.
    pub async fn release_reserved(&self, file: &File, kept: Option<&File>, event: &Event) -> Result<()> {
        let uncount = pending::uncount(file);
        let give_back =
            format!("SET {FREE_BYTES} = {FREE_BYTES} + :size, {RESERVED_BYTES} = {RESERVED_BYTES} - :size{uncount}");
        let one = (!uncount.is_empty()).then(|| (":one", n(1)));
        self.release(file, kept, event, give_back, one).await
    }

    /// Gives the bytes of a file back that was hidden, and tells of it. The record becomes `kept`, or goes.
    pub async fn release_held(&self, file: &File, kept: Option<&File>, event: &Event) -> Result<()> {
        self.release(file, kept, event, format!("SET {FREE_BYTES} = {FREE_BYTES} + :size"), None).await
    }

    async fn release(
        &self,
        file: &File,
        kept: Option<&File>,
        event: &Event,
        mut give_back: String,
        value: Option<(&str, AttributeValue)>,
    ) -> Result<()> {
        let late = kept.is_some_and(|kept| matches!(kept.state, State::Removed { late: true, .. }));
        let mut values = vec![(":size", n(file.size.bytes()))];
        values.extend(value);
        if late {
            give_back.push_str(&format!(", {LATE_BYTES} = if_not_exists({LATE_BYTES}, :zero) + :size"));
            values.push((":zero", n(0)));
        }
        let counters = self.project_update(file, give_back, format!("attribute_exists({PK})"), values);
        match kept {
            Some(kept) => {
                let events = std::slice::from_ref(event);
                self.replace_with("releasing a file", kept, Some(counters), events).await
            }
            None => self.remove("removing a file", file, counters, Some(event)).await,
        }
    }

    /// Removes the record of a file that holds no quota, and whose upload URLs have expired.
    pub async fn forget(&self, file: &File) -> Result<()> {
        if matches!(file.state, State::Removed { late: true, .. }) {
            let counters = self.project_update(
                file,
                format!("SET {LATE_BYTES} = if_not_exists({LATE_BYTES}, :size) - :size"),
                format!("attribute_exists({PK})"),
                [(":size", n(file.size.bytes()))],
            );
            match self.remove("forgetting a file", file, counters, None).await {
                // The project may be gone with its counters.
                Err(Error::ProjectNotFound) => {}
                removed => return removed,
            }
        }
        let delete = self
            .dynamodb
            .delete_item()
            .table_name(&self.table)
            .set_key(Some(item::file_key(file.id)))
            .condition_expression(format!("{VERSION} = :version"))
            .expression_attribute_values(":version", n(file.version));
        match past_conflicts(|| delete.clone().send()).await {
            Ok(_) => Ok(()),
            Err(e) if e.code() == Some("ConditionalCheckFailedException") => Err(Error::Conflict),
            Err(e) => Err(failed("forgetting a file", e)),
        }
    }

    /// A page of those whose work is due in one of the [`Catalog::DUE_SHARDS`] partitions, longest overdue first.
    /// The index may lag behind the records: read each again before acting on it.
    pub async fn due(&self, shard: u8, now: Timestamp, after: Option<DuePosition>) -> Result<DuePage> {
        let page = self
            .dynamodb
            .query()
            .table_name(&self.table)
            .index_name(DUE.name)
            .key_condition_expression(format!("{} = :shard AND {} < :until", DUE.pk, DUE.sk))
            .expression_attribute_values(":shard", s(item::due_shard(shard)))
            .expression_attribute_values(":until", s(item::due_until(now)))
            .limit(25)
            .set_exclusive_start_key(after.map(|position| position.0))
            .send()
            .await
            .map_err(|e| failed("reading what is due", e))?;
        let debtors = self.readable(page.items(), item::debtor);
        let next = page.last_evaluated_key.filter(|key| !key.is_empty()).map(DuePosition);
        Ok(DuePage { debtors, next })
    }

    /// How many partitions [`Catalog::due`] has.
    pub const DUE_SHARDS: u8 = item::DUE_SHARDS;

    async fn get(&self, doing: &'static str, key: Item, consistency: Consistency) -> Result<Option<Item>> {
        let read = self
            .dynamodb
            .get_item()
            .table_name(&self.table)
            .set_key(Some(key))
            .consistent_read(consistency == Consistency::Strong);
        Ok(read.send().await.map_err(|e| failed(doing, e))?.item)
    }

    async fn put_new(&self, doing: &'static str, item: Item) -> Result<()> {
        let put = self
            .dynamodb
            .put_item()
            .table_name(&self.table)
            .set_item(Some(item.clone()))
            .condition_expression(format!("attribute_not_exists({PK})"))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        match past_conflicts(|| put.clone().send()).await {
            Ok(_) => Ok(()),
            Err(e) if found_instead(&e) == Some(&item) => Ok(()),
            Err(e) => Err(failed(doing, e)),
        }
    }

    fn put(&self, item: Item) -> aws_sdk_dynamodb::types::builders::PutBuilder {
        Put::builder().table_name(&self.table).set_item(Some(item))
    }

    fn project_update<'a>(
        &self,
        file: &File,
        update: String,
        condition: String,
        values: impl IntoIterator<Item = (&'a str, AttributeValue)>,
    ) -> TransactWriteItem {
        let values = values.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let update = Update::builder()
            .table_name(&self.table)
            .set_key(Some(item::project_key(file.project)))
            .update_expression(update)
            .condition_expression(condition)
            .set_expression_attribute_values(Some(values))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .build()
            .expect("table, key and update are set");
        TransactWriteItem::builder().update(update).build()
    }

    fn record_write(&self, file: &File, write: &Write) -> TransactWriteItem {
        let record = self
            .put(write.item.clone())
            .condition_expression(format!("{VERSION} = :before"))
            .expression_attribute_values(":before", n(file.version - 1))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .build()
            .expect("table and item are set");
        TransactWriteItem::builder().put(record).build()
    }

    async fn replace_with(
        &self,
        doing: &'static str,
        file: &File,
        counters: Option<TransactWriteItem>,
        events: &[Event],
    ) -> Result<()> {
        let told = self.tell(events);
        let write = Write::of(file);
        let writes = std::iter::once(self.record_write(file, &write)).chain(counters).chain(told).collect();
        match self.transact(doing, writes).await? {
            None => Ok(()),
            Some(reasons) => write.is_done(reasons.first().and_then(CancellationReason::item)),
        }
    }

    async fn remove(
        &self,
        doing: &'static str,
        file: &File,
        counters: TransactWriteItem,
        event: Option<&Event>,
    ) -> Result<()> {
        let record = Delete::builder()
            .table_name(&self.table)
            .set_key(Some(item::file_key(file.id)))
            .condition_expression(format!("{VERSION} = :version"))
            .expression_attribute_values(":version", n(file.version))
            .build()
            .expect("table and key are set");
        let record = TransactWriteItem::builder().delete(record).build();
        let told = self.tell(event.map_or(&[], std::slice::from_ref));
        let writes = [record, counters].into_iter().chain(told).collect();
        match self.transact(doing, writes).await? {
            None => Ok(()),
            Some(reasons) if reasons.get(1).is_some_and(|r| r.code() == Some("ConditionalCheckFailed")) => {
                Err(Error::ProjectNotFound)
            }
            Some(_) => Err(Error::Conflict),
        }
    }

    /// Runs a transaction, again while other transactions are in its way. Answers the reasons when a condition failed.
    async fn transact(
        &self,
        doing: &'static str,
        items: Vec<TransactWriteItem>,
    ) -> Result<Option<Vec<CancellationReason>>> {
        for attempt in 1.. {
            let request = self.dynamodb.transact_write_items().set_transact_items(Some(items.clone()));
            let Err(e) = request.send().await else {
                return Ok(None);
            };
            let Some(TransactWriteItemsError::TransactionCanceledException(canceled)) = e.as_service_error() else {
                return Err(failed(doing, e));
            };
            let said = |code| canceled.cancellation_reasons().iter().any(|r| r.code() == Some(code));
            // Where one action met a condition and another a conflict, only another try tells all the conditions.
            let passing =
                said("TransactionConflict") || said("ThrottlingError") || said("ProvisionedThroughputExceeded");
            if passing && attempt < TRANSACTION_ATTEMPTS {
                tokio::time::sleep(jittered(attempt)).await;
            } else if passing {
                return Err(unavailable(doing, &e));
            } else if said("ConditionalCheckFailed") {
                return Ok(Some(canceled.cancellation_reasons().to_vec()));
            } else {
                return Err(failed(doing, e));
            }
        }
        unreachable!("the loop ends by its last attempt")
    }

    /// Every entry of a partition, read in slices.
    async fn index_partition(&self, doing: &'static str, index: Index, partition: &str) -> Result<Vec<Item>> {
        let mut entries = Vec::new();
        let mut start: Option<HashMap<String, AttributeValue>> = None;
        loop {
            let page = self
                .dynamodb
                .query()
                .table_name(&self.table)
                .index_name(index.name)
                .key_condition_expression(format!("{} = :partition", index.pk))
                .expression_attribute_values(":partition", s(partition))
                .limit(i32::try_from(list::SLICE).expect("a slice is small"))
                .set_exclusive_start_key(start)
                .send()
                .await
                .map_err(|e| failed(doing, e))?;
            entries.extend(page.items.unwrap_or_default());
            match page.last_evaluated_key {
                Some(key) if !key.is_empty() => start = Some(key),
                _ => return Ok(entries),
            }
        }
    }
}

/// What a put found in its place, if that is why it failed. A retry of a put whose reply was lost finds what it put.
fn found_instead(error: &SdkError<PutItemError>) -> Option<&Item> {
    match error.as_service_error()? {
        PutItemError::ConditionalCheckFailedException(found) => found.item(),
        _ => None,
    }
}

/// One write of a file, told from every other by a random mark: two processes may write the same change in the same
/// millisecond, and only one of them may believe that it did.
struct Write {
    item: Item,
    mark: String,
}

impl Write {
    fn of(file: &File) -> Self {
        let mark = random_mark();
        let mut item = item::file_to_item(file);
        item.insert(item::WRITE.to_owned(), s(&mark));
        Self { item, mark }
    }

    /// A condition failed. A retry of a write whose reply was lost finds its own mark: that is success.
    fn is_done(&self, found: Option<&Item>) -> Result<()> {
        match found {
            Some(found) if found.get(item::WRITE).and_then(|mark| mark.as_s().ok()) == Some(&self.mark) => Ok(()),
            Some(_) => Err(Error::Conflict),
            None => Err(Error::FileNotFound),
        }
    }
}

/// Sends a write of a single item, again while a transaction is in its way, as [`Catalog::transact`] does.
async fn past_conflicts<T, E, F>(send: impl Fn() -> F) -> Result<T, SdkError<E>>
where
    E: ProvideErrorMetadata,
    F: Future<Output = Result<T, SdkError<E>>>,
{
    let mut attempt = 1;
    loop {
        match send().await {
            Err(e) if e.code() == Some("TransactionConflictException") && attempt < TRANSACTION_ATTEMPTS => {
                tokio::time::sleep(jittered(attempt)).await;
                attempt += 1;
            }
            answer => return answer,
        }
    }
}

/// Somewhere between nothing and a wait that doubles with each attempt, so that those who collided spread out.
fn jittered(attempt: u32) -> Duration {
    let mut random = [0; 2];
    getrandom::fill(&mut random).expect("the operating system has random bytes");
    let ceiling = Duration::from_millis(10) * 2u32.pow(attempt.min(6));
    ceiling.mul_f64(f64::from(u16::from_le_bytes(random)) / f64::from(u16::MAX))
}

fn failed<E>(doing: &'static str, error: SdkError<E>) -> Error
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    if error.code() == Some(STORAGE_FULL) {
        return Error::StorageFull(Cause::new(doing, &error));
    }
    let passing = match &error {
        SdkError::TimeoutError(_) | SdkError::DispatchFailure(_) | SdkError::ResponseError(_) => true,
        // Whatever the code is, if there is one: the fault is on the other side.
        _ if error.raw_response().is_some_and(|answer| answer.status().is_server_error()) => true,
        _ => matches!(
            error.code(),
            Some(
                "ThrottlingException"
                    | "ProvisionedThroughputExceededException"
                    | "RequestLimitExceeded"
                    | "TransactionConflictException"
                    | "TransactionInProgressException"
                    | "InternalServerError"
                    | "ServiceUnavailable"
                    // They are refreshed soon, or the function is started anew.
                    | "ExpiredTokenException"
            )
        ),
    };
    if passing { unavailable(doing, &error) } else { Error::Internal(Cause::new(doing, &error)) }
}

fn unavailable(doing: &'static str, error: &(dyn std::error::Error + 'static)) -> Error {
    Error::Unavailable { retry_after: Duration::from_secs(1), source: Cause::new(doing, error) }
}

fn key_element(name: &str, kind: KeyType) -> KeySchemaElement {
    KeySchemaElement::builder().attribute_name(name).key_type(kind).build().expect("name and kind are set")
}

fn text_attribute(name: &str) -> AttributeDefinition {
    AttributeDefinition::builder()
        .attribute_name(name)
        .attribute_type(ScalarAttributeType::S)
        .build()
        .expect("name and type are set")
}

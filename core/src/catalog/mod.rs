//! The records: projects, API keys and files, in one DynamoDB table.
//!
//! Every write of a file is conditional on the version that was read. Bytes are accounted for in the same transaction
//! that makes or removes the record, so quota is taken once and given back once, whatever dies in between.
//! Nothing here touches S3 or the CDN.

mod item;
mod list;

use std::{collections::HashMap, time::Duration};

use aws_sdk_dynamodb::{
    Client,
    error::{ProvideErrorMetadata, SdkError},
    operation::{put_item::PutItemError, transact_write_items::TransactWriteItemsError},
    types::{
        AttributeDefinition, AttributeValue, BillingMode, CancellationReason, Delete, GlobalSecondaryIndex,
        KeySchemaElement, KeyType, Projection, ProjectionType, Put, ReturnValuesOnConditionCheckFailure,
        ScalarAttributeType, TransactWriteItem, Update,
    },
};

use self::item::{FILE_COUNT, FREE_BYTES, Item, PK, RESERVED_BYTES, REVOKED_AT, SK, VERSION, n, s};
pub use self::{
    item::{DUE, ENTITY, INDEXES, Index, LIST, OWNER, PROJECTED},
    list::{FileFilter, FilePage, PageNumber, PageSize},
};
use crate::{
    api_key::{ApiKey, KeyHash, Scope},
    clock::Timestamp,
    error::{Cause, Error, Result},
    file::File,
    id::{FileId, KeyId, ProjectId},
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
    /// When it was made.
    pub created: Timestamp,
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
            created: now,
        }
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

/// Files whose work is due.
#[derive(Debug)]
pub struct DuePage {
    /// The files.
    pub files: Vec<FileId>,
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
}

/// How often a transaction is tried while others touch the same project at the same time.
const TRANSACTION_ATTEMPTS: u32 = 8;

impl Catalog {
    /// The catalog in that table.
    pub fn new(dynamodb: Client, table: impl Into<String>) -> Self {
        Self { dynamodb, table: table.into() }
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
            projects.push(self.project(item::project_id(&entry)?, Consistency::Strong).await?);
        }
        Ok(projects)
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
        let mut key = self.keys(project).await?.into_iter().find(|k| k.id == id).ok_or(Error::KeyNotFound)?;
        if key.revoked_at.is_none() {
            self.dynamodb
                .update_item()
                .table_name(&self.table)
                .set_key(Some(item::api_key_key(&key.hash)))
                .update_expression("SET #revoked = :now")
                .condition_expression("attribute_exists(PK)")
                .expression_attribute_names("#revoked", REVOKED_AT)
                .expression_attribute_values(":now", n(now.as_millis()))
                .send()
                .await
                .map_err(|e| failed("revoking a key", e))?;
            key.revoked_at = Some(now);
        }
        Ok(key)
    }

    /// Reads a file, in whatever state.
    pub async fn file(&self, id: FileId, consistency: Consistency) -> Result<File> {
        let item = self.get("reading a file", item::file_key(id), consistency).await?;
        item::file_from_item(&item.ok_or(Error::FileNotFound)?)
    }

    /// Adds a pending file and takes its bytes from the project's quota.
    pub async fn reserve(&self, file: &File) -> Result<()> {
        let size = file.size.bytes();
        let quota = self.project_update(
            file,
            format!("SET {FREE_BYTES} = {FREE_BYTES} - :size, {RESERVED_BYTES} = {RESERVED_BYTES} + :size"),
            format!("attribute_exists({PK}) AND {FREE_BYTES} >= :size"),
            [(":size", n(size))],
        );
        let record = self.put(item::file_to_item(file)).condition_expression(format!("attribute_not_exists({PK})"));
        let record = record.build().expect("table and item are set");
        match self.transact("reserving quota", vec![quota, TransactWriteItem::builder().put(record).build()]).await? {
            None => Ok(()),
            Some(reasons) => match reasons.first().and_then(|r| r.item()) {
                Some(project) => Err(Error::QuotaExceeded { size, free: item::project_from_item(project)?.free_bytes }),
                None => Err(Error::ProjectNotFound),
            },
        }
    }

    /// Writes a file over the version before it.
    pub async fn replace(&self, file: &File) -> Result<()> {
        let written = self
            .dynamodb
            .put_item()
            .table_name(&self.table)
            .set_item(Some(item::file_to_item(file)))
            .condition_expression(format!("{VERSION} = :before"))
            .expression_attribute_values(":before", n(file.version - 1))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .send()
            .await;
        match written {
            Ok(_) => Ok(()),
            Err(e) => match e.as_service_error() {
                Some(PutItemError::ConditionalCheckFailedException(found)) => settled_before(found.item(), file),
                _ => Err(failed("writing a file", e)),
            },
        }
    }

    /// Writes a file that has just been confirmed: its bytes are no longer reserved but held, and it counts.
    pub async fn publish(&self, file: &File) -> Result<()> {
        let counters = self.project_update(
            file,
            format!("SET {RESERVED_BYTES} = {RESERVED_BYTES} - :size, {FILE_COUNT} = {FILE_COUNT} + :one"),
            format!("attribute_exists({PK})"),
            [(":size", n(file.size.bytes())), (":one", n(1))],
        );
        self.replace_with("publishing a file", file, counters).await
    }

    /// Writes a file that has just been hidden: it no longer counts, and still holds its bytes.
    pub async fn hide(&self, file: &File) -> Result<()> {
        let counters = self.project_update(
            file,
            format!("SET {FILE_COUNT} = {FILE_COUNT} - :one"),
            format!("attribute_exists({PK})"),
            [(":one", n(1))],
        );
        self.replace_with("hiding a file", file, counters).await
    }

    /// Removes the record of a file that was never published and gives its reserved bytes back.
    pub async fn release_reserved(&self, file: &File) -> Result<()> {
        self.remove(
            file,
            format!("SET {FREE_BYTES} = {FREE_BYTES} + :size, {RESERVED_BYTES} = {RESERVED_BYTES} - :size"),
        )
        .await
    }

    /// Removes the record of a file that was hidden and gives its bytes back.
    pub async fn release_held(&self, file: &File) -> Result<()> {
        self.remove(file, format!("SET {FREE_BYTES} = {FREE_BYTES} + :size")).await
    }

    /// A page of the files whose work is due in one of the [`Catalog::DUE_SHARDS`] partitions, longest overdue first.
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
        let files = page.items().iter().map(item::file_id).collect::<Result<_>>()?;
        let next = page.last_evaluated_key.filter(|key| !key.is_empty()).map(DuePosition);
        Ok(DuePage { files, next })
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
        self.dynamodb
            .put_item()
            .table_name(&self.table)
            .set_item(Some(item))
            .condition_expression(format!("attribute_not_exists({PK})"))
            .send()
            .await
            .map_err(|e| failed(doing, e))?;
        Ok(())
    }

    fn put(&self, item: Item) -> aws_sdk_dynamodb::types::builders::PutBuilder {
        Put::builder().table_name(&self.table).set_item(Some(item))
    }

    fn project_update<const N: usize>(
        &self,
        file: &File,
        update: String,
        condition: String,
        values: [(&str, AttributeValue); N],
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

    async fn replace_with(&self, doing: &'static str, file: &File, counters: TransactWriteItem) -> Result<()> {
        let record = self
            .put(item::file_to_item(file))
            .condition_expression(format!("{VERSION} = :before"))
            .expression_attribute_values(":before", n(file.version - 1))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .build()
            .expect("table and item are set");
        let record = TransactWriteItem::builder().put(record).build();
        match self.transact(doing, vec![record, counters]).await? {
            None => Ok(()),
            Some(reasons) => settled_before(reasons.first().and_then(CancellationReason::item), file),
        }
    }

    async fn remove(&self, file: &File, give_back: String) -> Result<()> {
        let size = [(":size", n(file.size.bytes()))];
        let quota = self.project_update(file, give_back, format!("attribute_exists({PK})"), size);
        let record = Delete::builder()
            .table_name(&self.table)
            .set_key(Some(item::file_key(file.id)))
            .condition_expression(format!("{VERSION} = :version"))
            .expression_attribute_values(":version", n(file.version))
            .build()
            .expect("table and key are set");
        let record = TransactWriteItem::builder().delete(record).build();
        match self.transact("removing a file", vec![record, quota]).await? {
            None => Ok(()),
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
            if said("ConditionalCheckFailed") {
                return Ok(Some(canceled.cancellation_reasons().to_vec()));
            }
            let passing =
                said("TransactionConflict") || said("ThrottlingError") || said("ProvisionedThroughputExceeded");
            if !passing {
                return Err(failed(doing, e));
            }
            if attempt == TRANSACTION_ATTEMPTS {
                return Err(unavailable(doing, &e));
            }
            tokio::time::sleep(jittered(attempt)).await;
        }
        unreachable!("the loop ends by its last attempt")
    }

    /// Every entry of a partition that is known to be small.
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

/// A condition failed. A retry of a write whose reply was lost meets its own work: that is success.
fn settled_before(found: Option<&Item>, file: &File) -> Result<()> {
    match found.map(item::file_from_item).transpose()? {
        Some(found) if found == *file => Ok(()),
        Some(_) => Err(Error::Conflict),
        None => Err(Error::FileNotFound),
    }
}

/// Somewhere between nothing and a wait that doubles with each attempt, so that those who collided spread out.
fn jittered(attempt: u32) -> Duration {
    let mut random = [0; 2];
    getrandom::fill(&mut random).expect("the operating system has random bytes");
    let ceiling = Duration::from_millis(10) * 2u32.pow(attempt.min(6));
    ceiling.mul_f64(f64::from(u16::from_le_bytes(random)) / f64::from(u16::MAX))
}

fn failed<E, R>(doing: &'static str, error: SdkError<E, R>) -> Error
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
    R: std::fmt::Debug + 'static,
{
    let passing = match &error {
        SdkError::TimeoutError(_) | SdkError::DispatchFailure(_) | SdkError::ResponseError(_) => true,
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

//! Records of files. Every write is conditional on the version that was read, and moves the project's counters in the same
//! transaction.

use aws_sdk_dynamodb::{
    error::ProvideErrorMetadata as _,
    operation::put_item::PutItemError,
    types::{
        AttributeValue, CancellationReason, Delete, ReturnValue, ReturnValuesOnConditionCheckFailure, TransactWriteItem,
    },
};

use super::{
    Catalog, Consistency,
    item::{self, FILE_COUNT, FREE_BYTES, Item, LATE_BYTES, PK, RESERVED_BYTES, THUMBHASH, VERSION, n, s},
    pending,
    requests::{TRANSACTION_ATTEMPTS, past_conflicts},
};
use crate::{
    error::{Error, Result},
    event::Event,
    file::{File, State},
    id::{FileId, random_mark},
    stores::fault::failed,
    thumbhash::ThumbHash,
};

impl Catalog {
    /// Reads a file, in whatever state.
    pub async fn file(&self, id: FileId, consistency: Consistency) -> Result<File> {
        let item = self.get("reading a file", item::file_key(id), consistency).await?;
        item::file_from_item(&item.ok_or(Error::FileNotFound)?)
    }

    /// Notes the placeholder of a file that has none, and reads the file, in one request.
    ///
    /// It does not bump the version, so it conflicts with nothing. A concurrent write may drop it, and the next variant
    /// stores it again.
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
}

/// One write of a file, identified by a random mark: two processes may write the same change in the same
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

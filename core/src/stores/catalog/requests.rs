//! Requests to the table that all records share: reads, conditional writes, transactions, partitions.

use std::{collections::HashMap, time::Duration};

use aws_sdk_dynamodb::{
    error::{ProvideErrorMetadata, SdkError},
    operation::{put_item::PutItemError, transact_write_items::TransactWriteItemsError},
    types::{
        AttributeValue, CancellationReason, Put, ReturnValuesOnConditionCheckFailure, TransactWriteItem,
        builders::PutBuilder,
    },
};

use super::{
    Catalog, Consistency,
    item::{Index, Item, PK, s},
};
use crate::{
    error::{Cause, Result},
    random,
    stores::fault::{Fault, failed, unavailable},
};

/// How many index entries one query looks at. An embedded engine does one query at a time and takes one or two
/// milliseconds for this many, so that others wait no longer.
pub(super) const SLICE: usize = 200;

/// How often a write is tried while transactions touch the same items at the same time.
pub(super) const TRANSACTION_ATTEMPTS: u32 = 8;

impl Catalog {
    pub(super) async fn get(&self, doing: &'static str, key: Item, consistency: Consistency) -> Result<Option<Item>> {
        let read = self
            .dynamodb
            .get_item()
            .table_name(&self.table)
            .set_key(Some(key))
            .consistent_read(consistency == Consistency::Strong);
        Ok(read.send().await.map_err(|e| failed(doing, e))?.item)
    }

    pub(super) async fn put_new(&self, doing: &'static str, item: Item) -> Result<()> {
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

    pub(super) fn put(&self, item: Item) -> PutBuilder {
        Put::builder().table_name(&self.table).set_item(Some(item))
    }

    pub(super) async fn delete(&self, doing: &'static str, key: Item) -> Result<()> {
        let request = self.dynamodb.delete_item().table_name(&self.table).set_key(Some(key));
        past_conflicts(|| request.clone().send()).await.map_err(|e| failed(doing, e))?;
        Ok(())
    }

    /// Runs a transaction, again while other transactions are in its way. Answers the reasons when a condition failed.
    pub(super) async fn transact(
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
                canceled.cancellation_reasons().iter().any(|reason| Fault::of_code(reason.code()) == Fault::Passing);
            if passing && attempt < TRANSACTION_ATTEMPTS {
                tokio::time::sleep(jittered(attempt)).await;
            } else if passing {
                return Err(unavailable(Cause::new(doing, &e)));
            } else if said("ConditionalCheckFailed") {
                return Ok(Some(canceled.cancellation_reasons().to_vec()));
            } else {
                return Err(failed(doing, e));
            }
        }
        unreachable!("the loop ends by its last attempt")
    }

    /// Every entry of a partition, read in slices.
    pub(super) async fn index_partition(
        &self,
        doing: &'static str,
        index: Index,
        partition: &str,
    ) -> Result<Vec<Item>> {
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
                .limit(i32::try_from(SLICE).expect("a slice is small"))
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
pub(super) fn found_instead(error: &SdkError<PutItemError>) -> Option<&Item> {
    match error.as_service_error()? {
        PutItemError::ConditionalCheckFailedException(found) => found.item(),
        _ => None,
    }
}

/// Sends a write of a single item, again while a transaction is in its way, as [`Catalog::transact`] does.
pub(super) async fn past_conflicts<T, E, F>(send: impl Fn() -> F) -> Result<T, SdkError<E>>
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
pub(super) fn jittered(attempt: u32) -> Duration {
    let ceiling = Duration::from_millis(10) * 2u32.pow(attempt.min(6));
    ceiling.mul_f64(f64::from(u16::from_le_bytes(random::bytes())) / f64::from(u16::MAX))
}

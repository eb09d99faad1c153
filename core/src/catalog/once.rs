//! Requests that are carried out once: an idempotency key, what was asked under it, and how it ended.

use std::time::Duration;

use aws_sdk_dynamodb::{error::ProvideErrorMetadata as _, types::ReturnValuesOnConditionCheckFailure};

use super::{
    Catalog, failed, found_instead,
    item::{self, Item, PK, Reader, n, s},
};
use crate::{clock::Timestamp, error::Result, id::ProjectId};

/// How long an outcome is replayed.
const OUTCOME_LIFE: Duration = Duration::from_secs(24 * 60 * 60);

/// How long a request is believed to be in flight. An HTTP API ends a request after 30 s; whoever holds a key longer
/// has died.
const FLIGHT: Duration = Duration::from_secs(60);

/// The attribute that DynamoDB's own expiry looks at, in seconds. It is on these items and on deliveries of
/// webhooks, and on no others.
pub const TTL: &str = "ttl";

/// How a request ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The HTTP status.
    pub status: u16,
    /// The `ETag`, where the answer has one.
    pub etag: Option<String>,
    /// The body.
    pub body: String,
}

/// What is known of an idempotency key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Once {
    /// Nothing: the request is the caller's to carry out.
    Fresh,
    /// It was carried out.
    Done(Outcome),
    /// Somebody else is carrying it out.
    InFlight,
    /// It was used for another request.
    Mismatch,
}

impl Catalog {
    /// Takes an idempotency key for a request, told from others by a digest.
    pub async fn take_once(&self, project: ProjectId, key: &str, request: &str, now: Timestamp) -> Result<Once> {
        let mut taker = [0; 16];
        getrandom::fill(&mut taker).expect("the operating system has random bytes");
        let mut record = item::once_key(project, key);
        record.insert("request".to_owned(), s(request));
        record.insert("taker".to_owned(), s(hex::encode(taker)));
        record.insert("inFlightUntil".to_owned(), n((now + FLIGHT).as_millis()));
        record.insert(TTL.to_owned(), n((now + OUTCOME_LIFE).as_secs()));
        let taken = self
            .dynamodb
            .put_item()
            .table_name(&self.table)
            .set_item(Some(record.clone()))
            .condition_expression(format!(
                "attribute_not_exists({PK}) OR #ttl <= :seconds OR (attribute_not_exists(outcome) AND inFlightUntil <= :now)"
            ))
            .expression_attribute_names("#ttl", TTL)
            .expression_attribute_values(":seconds", n(now.as_secs()))
            .expression_attribute_values(":now", n(now.as_millis()))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .send()
            .await;
        let error = match taken {
            Ok(_) => return Ok(Once::Fresh),
            Err(error) => error,
        };
        match found_instead(&error) {
            // The reply to the first try was lost.
            Some(found) if *found == record => Ok(Once::Fresh),
            Some(found) => known(found, request),
            None => Err(failed("taking an idempotency key", error)),
        }
    }

    /// Keeps how the request under a key ended.
    pub async fn keep_outcome(&self, project: ProjectId, key: &str, outcome: &Outcome) -> Result<()> {
        let mut request = self
            .dynamodb
            .update_item()
            .table_name(&self.table)
            .set_key(Some(item::once_key(project, key)))
            .condition_expression(format!("attribute_exists({PK})"))
            .expression_attribute_values(":status", n(outcome.status))
            .expression_attribute_values(":body", s(&outcome.body));
        let mut update = "SET outcome = :status, body = :body".to_owned();
        if let Some(etag) = &outcome.etag {
            update.push_str(", etag = :etag");
            request = request.expression_attribute_values(":etag", s(etag));
        }
        request.update_expression(update).send().await.map_err(|e| failed("keeping an outcome", e))?;
        Ok(())
    }

    /// Gives a key back whose request did not end in an outcome worth keeping.
    pub async fn forget_once(&self, project: ProjectId, key: &str) -> Result<()> {
        let request = self.dynamodb.delete_item().table_name(&self.table);
        let deleted = request
            .set_key(Some(item::once_key(project, key)))
            .condition_expression(format!("attribute_exists({PK}) AND attribute_not_exists(outcome)"))
            .send()
            .await;
        match deleted {
            Ok(_) => Ok(()),
            Err(e) if e.code() == Some("ConditionalCheckFailedException") => Ok(()),
            Err(e) => Err(failed("giving an idempotency key back", e)),
        }
    }
}

fn known(found: &Item, request: &str) -> Result<Once> {
    let read = Reader(found);
    if read.text("request")? != request {
        return Ok(Once::Mismatch);
    }
    let Some(status) = read.maybe_number("outcome")? else {
        return Ok(Once::InFlight);
    };
    let etag = read.maybe_text("etag")?.map(str::to_owned);
    Ok(Once::Done(Outcome { status, etag, body: read.text("body")?.to_owned() }))
}

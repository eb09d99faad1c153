//! Idempotency keys: what was asked under each, who carries it out, and how it ended.

use std::time::Duration;

use aws_sdk_dynamodb::{error::ProvideErrorMetadata as _, types::ReturnValuesOnConditionCheckFailure};

use super::{
    Catalog,
    item::{self, Item, PK, Reader, corrupt, n, s},
    requests::found_instead,
};
use crate::{
    clock::Timestamp,
    error::{Error, Result},
    id::ProjectId,
    random,
    records::{Attempt, FLIGHT, Once, Outcome},
    stores::fault::failed,
};

/// How long an outcome is replayed.
const OUTCOME_LIFE: Duration = Duration::from_secs(24 * 60 * 60);

/// The attribute that DynamoDB's own expiry looks at, in seconds. It is on these items and on deliveries of
/// webhooks, and on no others.
pub const TTL: &str = "ttl";

impl Catalog {
    /// Takes an idempotency key for a request, which a digest identifies.
    pub async fn take_once(&self, project: ProjectId, key: &str, request: &str, now: Timestamp) -> Result<Once> {
        let attempt = Attempt { seed: random::bytes(), begun: now, is_repeated: false, taker: random::hex::<16>() };
        let mut record = item::once_key(project, key);
        record.insert("request".to_owned(), s(request));
        record.insert("taker".to_owned(), s(&attempt.taker));
        record.insert("seed".to_owned(), s(hex::encode(attempt.seed)));
        record.insert("begun".to_owned(), n(now.as_millis()));
        record.insert("inFlightUntil".to_owned(), n((now + FLIGHT).as_millis()));
        record.insert(TTL.to_owned(), n((now + OUTCOME_LIFE).as_secs()));
        let taken = self
            .dynamodb
            .put_item()
            .table_name(&self.table)
            .set_item(Some(record.clone()))
            .condition_expression(format!("attribute_not_exists({PK}) OR #ttl <= :seconds"))
            .expression_attribute_names("#ttl", TTL)
            .expression_attribute_values(":seconds", n(now.as_secs()))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .send()
            .await;
        let error = match taken {
            Ok(_) => return Ok(Once::Fresh(attempt)),
            Err(error) => error,
        };
        match found_instead(&error) {
            // The reply to the first try was lost.
            Some(found) if *found == record => Ok(Once::Fresh(attempt)),
            Some(found) => match known(found, request, now)? {
                Known::Ended(once) => Ok(once),
                Known::Abandoned { taker, seed, begun } => {
                    let attempt = Attempt { seed: seed.unwrap_or(attempt.seed), begun, is_repeated: true, ..attempt };
                    self.take_over_once(project, key, &taker, attempt, now).await
                }
            },
            None => Err(failed("taking an idempotency key", error)),
        }
    }

    /// Takes a key over whose attempt has died, with its seed. Of several who try, one succeeds.
    async fn take_over_once(
        &self,
        project: ProjectId,
        key: &str,
        taker: &str,
        attempt: Attempt,
        now: Timestamp,
    ) -> Result<Once> {
        let taken = self
            .dynamodb
            .update_item()
            .table_name(&self.table)
            .set_key(Some(item::once_key(project, key)))
            .update_expression("SET taker = :new, seed = :seed, inFlightUntil = :until")
            // A retry of this very request finds its own work.
            .condition_expression("(taker = :old OR taker = :new) AND attribute_not_exists(outcome)")
            .expression_attribute_values(":old", s(taker))
            .expression_attribute_values(":new", s(&attempt.taker))
            .expression_attribute_values(":seed", s(hex::encode(attempt.seed)))
            .expression_attribute_values(":until", n((now + FLIGHT).as_millis()))
            .send()
            .await;
        match taken {
            Ok(_) => Ok(Once::Fresh(attempt)),
            Err(e) if e.code() == Some("ConditionalCheckFailedException") => Ok(Once::InFlight),
            Err(e) => Err(failed("taking an idempotency key over", e)),
        }
    }

    /// Says that an attempt goes on, so that no other begins.
    ///
    /// # Errors
    /// [`Conflict`](Error::Conflict) when another attempt has taken the key over.
    pub async fn renew_once(&self, project: ProjectId, key: &str, attempt: &Attempt, now: Timestamp) -> Result<()> {
        let renewed = self
            .dynamodb
            .update_item()
            .table_name(&self.table)
            .set_key(Some(item::once_key(project, key)))
            .update_expression("SET inFlightUntil = :until")
            .condition_expression("taker = :taker")
            .expression_attribute_values(":taker", s(&attempt.taker))
            .expression_attribute_values(":until", n((now + FLIGHT).as_millis()))
            .send()
            .await;
        match renewed {
            Ok(_) => Ok(()),
            Err(e) if e.code() == Some("ConditionalCheckFailedException") => Err(Error::Conflict),
            Err(e) => Err(failed("renewing an idempotency key", e)),
        }
    }

    /// Keeps how the request under a key ended, unless another attempt has kept that already.
    pub async fn keep_outcome(
        &self,
        project: ProjectId,
        key: &str,
        attempt: &Attempt,
        outcome: &Outcome,
    ) -> Result<()> {
        let mut request = self
            .dynamodb
            .update_item()
            .table_name(&self.table)
            .set_key(Some(item::once_key(project, key)))
            .condition_expression("taker = :taker")
            .expression_attribute_values(":taker", s(&attempt.taker))
            .expression_attribute_values(":status", n(outcome.status))
            .expression_attribute_values(":body", s(&outcome.body));
        let mut update = "SET outcome = :status, body = :body".to_owned();
        if let Some(etag) = &outcome.etag {
            update.push_str(", etag = :etag");
            request = request.expression_attribute_values(":etag", s(etag));
        }
        match request.update_expression(update).send().await {
            Ok(_) => Ok(()),
            // Another attempt keeps its own.
            Err(e) if e.code() == Some("ConditionalCheckFailedException") => Ok(()),
            Err(e) => Err(failed("keeping an outcome", e)),
        }
    }

    /// Gives a key back whose request did not end in an outcome worth keeping.
    pub async fn forget_once(&self, project: ProjectId, key: &str, attempt: &Attempt) -> Result<()> {
        let request = self.dynamodb.delete_item().table_name(&self.table);
        let deleted = request
            .set_key(Some(item::once_key(project, key)))
            .condition_expression("taker = :taker AND attribute_not_exists(outcome)")
            .expression_attribute_values(":taker", s(&attempt.taker))
            .send()
            .await;
        match deleted {
            Ok(_) => Ok(()),
            Err(e) if e.code() == Some("ConditionalCheckFailedException") => Ok(()),
            Err(e) => Err(failed("giving an idempotency key back", e)),
        }
    }
}

/// What a record says of a request.
enum Known {
    /// The request is not the caller's to carry out.
    Ended(Once),
    /// An attempt began and has given no sign of life for [`FLIGHT`].
    Abandoned {
        taker: String,
        /// `None` in a record that was written before there were seeds.
        seed: Option<[u8; 16]>,
        begun: Timestamp,
    },
}

fn known(found: &Item, request: &str, now: Timestamp) -> Result<Known> {
    let read = Reader(found);
    if read.text("request")? != request {
        return Ok(Known::Ended(Once::Mismatch));
    }
    if let Some(status) = read.maybe_number("outcome")? {
        let etag = read.maybe_text("etag")?.map(str::to_owned);
        return Ok(Known::Ended(Once::Done(Outcome { status, etag, body: read.text("body")?.to_owned() })));
    }
    if Timestamp::from_millis(read.number("inFlightUntil")?) > now {
        return Ok(Known::Ended(Once::InFlight));
    }
    let seed = match read.maybe_text("seed")? {
        Some(text) => {
            let bytes = hex::decode(text).map_err(|_| corrupt("seed"))?;
            Some(bytes.try_into().map_err(|_| corrupt("seed"))?)
        }
        None => None,
    };
    let begun = read.maybe_number("begun")?.map_or(now, Timestamp::from_millis);
    Ok(Known::Abandoned { taker: read.text("taker")?.to_owned(), seed, begun })
}

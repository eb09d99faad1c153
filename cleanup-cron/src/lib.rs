//! The scheduled cleanup: finishes what was begun and never finished, and reports. What finishing means is the core's.
//! On the same schedule, `deliver` sends the events that wait in the outbox; `post` carries each to its endpoint, and
//! `bus` to EventBridge.
//! `confirm_arrivals` is not on the schedule: S3 tells when an upload has arrived, on AWS through a queue, whose messages
//! `confirm_messages` takes.

mod bus;
mod deliver;
mod post;

use std::time::Duration;

use serde::Serialize;
use serde_json::Value;
use xfiles_core::{
    error::{Cause, Error},
    object_key::ObjectKey,
    operations::{Files, Reconciling},
    share::{Class, Share},
    store_event,
};

pub use self::{
    bus::{EventBus, SOURCE},
    deliver::{Sent, deliver, deliver_every},
    post::Courier,
};

/// How often it runs.
pub const INTERVAL: Duration = Duration::from_secs(60);

/// How long one run walks through bucket and records.
const WALK: Duration = Duration::from_secs(20);

/// How much one run may do.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// How many records it tries.
    pub records: u64,
    /// How long it takes on new records.
    pub time: Duration,
    /// What it may do with what does not match.
    pub reconciling: Reconciling,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { records: 10_000, time: Duration::from_secs(45), reconciling: Reconciling::Repair }
    }
}

/// What a run did.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// How many records owe nothing any more.
    pub settled: u64,
    /// The ids of the records that could not be settled and are tried again at the next run.
    pub failed: Vec<String>,
    /// Whether it stopped at its bounds with more to do.
    pub more: bool,
    /// How many objects without a record it removed.
    pub orphans: u64,
    /// Whether it removes none, because so much does not match that bucket and table must be of different ages.
    pub stopped: bool,
    /// For how many seconds the record had been due that had waited longest.
    pub oldest: u64,
    /// How many items the process could not read and has passed over since it began.
    pub unreadable: u64,
}

/// Publishes what a notification of S3 says has arrived, so that an upload is confirmed whose client died after its PUT.
/// Answers how many. Done again, it changes nothing.
///
/// # Errors
/// When a store failed for one of them: the others were tried, and the same notification can be handled again.
pub async fn confirm_arrivals(files: &Files, notification: &Value) -> Result<u64, Error> {
    let (mut confirmed, mut failed) = (0, None);
    for key in store_event::created(notification) {
        // It is the work of a client that may have gone.
        let share = match &key {
            ObjectKey::Staging { project, .. } => Share::of(Class::Api).for_project(*project),
            _ => Share::of(Class::Background),
        };
        match share.scope(files.confirm_arrived(&key)).await {
            Ok(published) => confirmed += u64::from(published),
            Err(error) => failed = Some(error),
        }
    }
    failed.map_or(Ok(confirmed), Err)
}

/// Removes those of the objects that a notification of S3 says have arrived whose upload has ended: for a deployment
/// that does not confirm what arrives. [`confirm_arrivals`] does it as well. Answers how many.
///
/// # Errors
/// When a store failed for one of them: the others were tried, and the same notification can be handled again.
pub async fn remove_late_arrivals(files: &Files, notification: &Value) -> Result<u64, Error> {
    let (mut removed, mut failed) = (0, None);
    for key in store_event::created(notification) {
        match files.remove_late(&key).await {
            Ok(late) => removed += u64::from(late),
            Err(error) => failed = Some(error),
        }
    }
    failed.map_or(Ok(removed), Err)
}

/// Does [`confirm_arrivals`] for each message of a batch from SQS, whose body is a notification of S3. Answers the ids of
/// the messages that must come again; the others are done with, those that are no notification included.
pub async fn confirm_messages(files: &Files, batch: &Value) -> Vec<String> {
    let messages = batch["Records"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut again = Vec::new();
    for message in messages {
        let body = message["body"].as_str().unwrap_or_default();
        let notification = serde_json::from_str(body).unwrap_or(Value::Null);
        if let Err(error) = confirm_arrivals(files, &notification).await {
            let cause = Cause::new("confirming what has arrived", &error);
            tracing::warn!(%cause, "an upload that has arrived is not confirmed yet");
            again.extend(message["messageId"].as_str().map(str::to_owned));
        }
    }
    again
}

/// Runs once. Several runs at the same time do no harm.
///
/// # Errors
/// When the overdue records cannot be read; a record that cannot be settled is in the report instead.
pub async fn run(files: &Files, bounds: Bounds) -> Result<Report, Error> {
    // It ends with less on the disk, whatever it has to write for that.
    Share::of(Class::Background).freeing_room().scope(clean(files, bounds)).await
}

async fn clean(files: &Files, bounds: Bounds) -> Result<Report, Error> {
    let started = files.clock().monotonic();
    let sweep = files.sweep(bounds.records, bounds.time).await?;
    let mut report = Report {
        settled: sweep.settled,
        failed: sweep.failed,
        more: sweep.more,
        orphans: 0,
        stopped: false,
        oldest: sweep.oldest.as_secs(),
        unreadable: 0,
    };
    // What is due comes first; the walk through everything takes what time is left.
    let left = bounds.time.saturating_sub(files.clock().monotonic().since(started));
    if !report.more && !left.is_zero() {
        let found = files.reconcile(bounds.reconciling, left.min(WALK)).await?;
        (report.orphans, report.stopped) = (found.removed, found.stopped);
    }
    report.unreadable = files.unreadable_items();
    if report.settled > 0 || report.orphans > 0 || !report.failed.is_empty() {
        tracing::info!(
            cleanup.settled = report.settled,
            cleanup.failed = report.failed.len(),
            cleanup.more = report.more,
            cleanup.orphans = report.orphans,
            "cleanup"
        );
    }
    Ok(report)
}

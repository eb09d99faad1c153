//! The scheduled cleanup: finishes interrupted operations and reports. The operations themselves are defined in core.
//! On the same schedule, `deliver` sends the events of the outbox; `post` sends each to its endpoint, and `bus` to
//! EventBridge. `confirm_arrivals` is not scheduled: S3 sends notifications of uploads that have arrived, on AWS
//! through a queue, whose messages `confirm_messages` handles.

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

/// The interval of the cleanup.
pub const INTERVAL: Duration = Duration::from_secs(60);

/// How long one run of the reconciliation reads the bucket and the records.
const WALK: Duration = Duration::from_secs(20);

/// The limits of one run.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// The maximum number of records that it settles.
    pub records: u64,
    /// The time after which it settles no more records.
    pub time: Duration,
    /// What it may do about differences between bucket and records.
    pub reconciling: Reconciling,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { records: 10_000, time: Duration::from_secs(45), reconciling: Reconciling::Repair }
    }
}

/// The result of a run.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The number of records that were settled.
    pub settled: u64,
    /// The ids of the records that could not be settled and are retried by the next run.
    pub failed: Vec<String>,
    /// Whether it reached its limits with more to do.
    pub more: bool,
    /// The number of objects without a record that it removed.
    pub orphans: u64,
    /// Whether the reconciliation removes nothing because too many objects do not match, so that bucket and table are
    /// probably of different ages.
    pub stopped: bool,
    /// The longest time for which a processed record had been due, in seconds.
    pub oldest: u64,
    /// The number of items that the process could not parse and has skipped since it started.
    pub unreadable: u64,
}

/// Confirms the uploads that an S3 notification reports as arrived, whose clients may have crashed after the PUT.
/// Returns their number. Idempotent.
///
/// # Errors
/// If a store failed for one of them. The others were processed, and the same notification can be handled again.
pub async fn confirm_arrivals(files: &Files, notification: &Value) -> Result<u64, Error> {
    let (mut confirmed, mut failed) = (0, None);
    for key in store_event::created(notification) {
        // It is work of the client's project, although the client may be gone.
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

/// Removes the objects that an S3 notification reports as arrived if their uploads have ended, for deployments that do
/// not confirm arrivals. [`confirm_arrivals`] also does this. Returns their number.
///
/// # Errors
/// If a store failed for one of them. The others were processed, and the same notification can be handled again.
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

/// Calls [`confirm_arrivals`] for each message of an SQS batch, whose body is an S3 notification. Returns the ids of
/// the messages that must be delivered again; all others are done, including those that are not notifications.
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

/// Runs once. Concurrent runs are safe.
///
/// # Errors
/// If the overdue records cannot be read. Records that cannot be settled are in the report instead.
pub async fn run(files: &Files, bounds: Bounds) -> Result<Report, Error> {
    // In total the cleanup frees disk space, although it writes records.
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
    // Due records come first; the reconciliation uses the remaining time.
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

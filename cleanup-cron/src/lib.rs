//! The scheduled cleanup: finishes what was begun and never finished, and reports. What finishing means is the core's.

use std::time::Duration;

use serde::Serialize;
use xfiles_core::{error::Error, lifecycle::Files};

/// How often it runs.
pub const INTERVAL: Duration = Duration::from_secs(60);

/// How much one run may do.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// How many records it tries.
    pub records: u64,
    /// How long it takes on new records.
    pub time: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { records: 10_000, time: Duration::from_secs(45) }
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
}

/// Runs once. Several runs at the same time do no harm.
///
/// # Errors
/// When the overdue records cannot be read; a record that cannot be settled is in the report instead.
pub async fn run(files: &Files, bounds: Bounds) -> Result<Report, Error> {
    let sweep = files.sweep(bounds.records, bounds.time).await?;
    let report = Report { settled: sweep.settled, failed: sweep.failed, more: sweep.more };
    if report.settled > 0 || !report.failed.is_empty() {
        tracing::info!(
            cleanup.settled = report.settled,
            cleanup.failed = report.failed.len(),
            cleanup.more = report.more,
            "cleanup"
        );
    }
    Ok(report)
}

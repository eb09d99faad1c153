//! The handlers of whoever runs the deployment; all need the scope `admin`.

use std::time::Duration;

use axum::{Json, extract::State};
use xfiles_core::{api_key::Scope, operations::Reconciling};

use crate::{
    Api,
    auth::Caller,
    error::Problem,
    input::{Body, CleanupWish},
    view::{CleanupAnswer, OverdueView},
};

/// How many records one request settles, and how long it takes on new ones: it must answer within the 30 s that an
/// HTTP API allows.
const MAX_RECORDS: u64 = 1_000;
const MAX_TIME: Duration = Duration::from_secs(20);

pub(crate) async fn cleanup(
    State(api): State<Api>,
    caller: Caller,
    body: Body,
) -> Result<Json<CleanupAnswer>, Problem> {
    caller.with(Scope::Admin)?;
    Ok(Json(match body.cleanup_wish()? {
        CleanupWish::Report => {
            let found = api.files.reconcile(Reconciling::Report, MAX_TIME).await?;
            CleanupAnswer::Report { report: found.into() }
        }
        CleanupWish::DryRun => {
            let limit = usize::try_from(MAX_RECORDS).unwrap_or(usize::MAX);
            let overdue = api.files.overdue(limit).await?;
            let more = overdue.len() == limit;
            CleanupAnswer::DryRun { overdue: overdue.iter().map(OverdueView::from).collect(), more }
        }
        CleanupWish::Run => {
            let sweep = api.files.sweep(MAX_RECORDS, MAX_TIME).await?;
            CleanupAnswer::Run { settled: sweep.settled, failed: sweep.failed, more: sweep.more }
        }
    }))
}

//! The handlers of whoever runs the deployment; all need the scope `admin`.

use std::time::Duration;

use axum::{Json, extract::State};
use xfiles_core::api_key::Scope;

use crate::{
    Api,
    auth::Caller,
    error::Problem,
    input::Body,
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
    if body.dry_run()? {
        let limit = usize::try_from(MAX_RECORDS).unwrap_or(usize::MAX);
        let overdue = api.files.overdue(limit).await?;
        let more = overdue.len() == limit;
        return Ok(Json(CleanupAnswer::DryRun { overdue: overdue.iter().map(OverdueView::from).collect(), more }));
    }
    let sweep = api.files.sweep(MAX_RECORDS, MAX_TIME).await?;
    Ok(Json(CleanupAnswer::Run { settled: sweep.settled, failed: sweep.failed, more: sweep.more }))
}

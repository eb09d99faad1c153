//! What the operator of a deployment asks: the cleanup, and what a monitor asks.

use std::time::Duration;

use axum::extract::State;
use serde_json::json;
use xfiles_api_types::{
    problem::Code,
    running::{Cleanup, CleanupDone, CleanupDue, CleanupReport, CleanupWish, Health, Overdue, Reconciliation, Version},
    wire::Wire as _,
};
use xfiles_core::{error::Error, operations::Reconciling};

use crate::{
    Api,
    answer::{Answer, Json},
    auth::{Admin, By},
    error::Problem,
    extract::Body,
    openapi::Document,
    operation::{Resource, get, post},
};

/// How many records one request settles, and how long it takes on new ones: it must answer within the 30 s that an
/// HTTP API allows.
const MAX_RECORDS: u64 = 1_000;
const MAX_TIME: Duration = Duration::from_secs(20);

pub(super) fn resource() -> Resource {
    let operations = vec![
        post("/api/v1/cleanup", "cleanUp", cleanup)
            .says(
                "Clean up",
                "Finishes what is overdue: uploads that were not confirmed, changes that were interrupted, projects \
                 that are being emptied. It runs on a schedule anyway. `more` is true when it stopped at the bounds \
                 of one request. With `report` it changes nothing and compares the bucket with the records and the \
                 records with the quota; what has not agreed for a day the scheduled cleanup repairs.",
            )
            .or_reads("run", json!({}))
            .or_answers("run", CleanupDone::example().unwrap_or_default())
            .or_answers("report", CleanupReport::example().unwrap_or_default()),
        get("/healthz", "isAlive", is_alive).says("Whether the process lives", "Looks at nothing but itself."),
        get("/readyz", "isReady", is_ready)
            .says(
                "Whether the stores answer",
                "Asks the metadata store and the object store, and whether URLs can be signed.",
            )
            .refuses([Code::Unavailable]),
        get("/version", "getVersion", version)
            .says("Which version this is", "The version of the software that answers."),
        get("/openapi.json", "getDescription", description)
            .says("Get this document", "The description of this API in OpenAPI 3.1."),
    ];
    Resource { name: "Running", description: "What the operator of the deployment asks.", operations }
}

async fn cleanup(State(api): State<Api>, _: By<Admin>, Body(asked): Body<CleanupWish>) -> Answer<Cleanup> {
    if asked.report {
        let report = Reconciliation::from(api.files.reconcile(Reconciling::Report, MAX_TIME).await?);
        return Ok(Json(Cleanup::Report(CleanupReport { report })));
    }
    if asked.dry_run {
        let limit = usize::try_from(MAX_RECORDS).unwrap_or(usize::MAX);
        let overdue = api.files.overdue(limit).await?;
        let more = overdue.len() == limit;
        return Ok(Json(Cleanup::Due(CleanupDue { overdue: overdue.iter().map(Overdue::from).collect(), more })));
    }
    Ok(Json(Cleanup::Done(api.files.sweep(MAX_RECORDS, MAX_TIME).await?.into())))
}

async fn is_alive() -> Json<Health> {
    Json(Health { status: "ok".to_owned() })
}

async fn is_ready(State(api): State<Api>) -> Answer<Health> {
    match api.files.ready().await {
        Ok(()) => Ok(Json(Health { status: "ok".to_owned() })),
        Err(error) => Err(not_ready(error)),
    }
}

/// Names the store that failed, to anyone. What the store said is for the log.
fn not_ready(error: Error) -> Problem {
    let failed = match &error {
        Error::Unavailable { source, .. } | Error::StorageFull(source) | Error::Internal(source) => {
            Some(source.doing())
        }
        _ => None,
    };
    let problem = Problem::from(error);
    match failed {
        Some(doing) => problem.because(format!("{doing} failed")),
        None => problem,
    }
}

async fn version() -> Json<Version> {
    Json(Version { name: "xfiles".to_owned(), version: env!("CARGO_PKG_VERSION").to_owned() })
}

async fn description() -> Document {
    Document
}

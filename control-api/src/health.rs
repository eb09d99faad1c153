//! What a monitor asks: whether the process lives, whether its stores answer, which version it is.

use axum::{Json, extract::State};
use serde::Serialize;
use utoipa::ToSchema;

use xfiles_core::error::Error;

use crate::{Api, error::Problem};

/// Well: whoever is not answers otherwise, or not at all.
#[derive(Serialize, ToSchema)]
pub(crate) struct Health {
    /// `ok`.
    status: &'static str,
}

/// Which version answers.
#[derive(Serialize, ToSchema)]
pub(crate) struct Version {
    name: &'static str,
    version: &'static str,
}

/// The process lives.
pub(crate) async fn live() -> Json<Health> {
    Json(Health { status: "ok" })
}

/// The stores answer, and URLs can be signed.
pub(crate) async fn ready(State(api): State<Api>) -> Result<Json<Health>, Problem> {
    match api.files.ready().await {
        Ok(()) => Ok(Json(Health { status: "ok" })),
        Err(error) => Err(not_ready(error)),
    }
}

/// Which of them it is may be told to anybody; what it said is for the log.
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

/// Which version this is.
pub(crate) async fn version() -> Json<Version> {
    Json(Version { name: "xfiles", version: env!("CARGO_PKG_VERSION") })
}

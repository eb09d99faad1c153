//! The handlers of a project's webhooks: where its events are sent, and what became of each.

use axum::{Json, extract::State};
use http::StatusCode;
use xfiles_core::api_key::Scope;

use crate::{
    Api,
    auth::Caller,
    error::Problem,
    input::{Body, Parameters, ProjectPath, WebhookPath},
    view::{DeliveriesAnswer, DeliveryView, Done, ReplayedAnswer, WebhookAnswer, WebhookView, WebhooksAnswer},
};

type Answer<T> = Result<Json<T>, Problem>;

pub(crate) async fn list(
    State(api): State<Api>,
    caller: Caller,
    ProjectPath(project): ProjectPath,
) -> Answer<WebhooksAnswer> {
    caller.with(Scope::Admin)?;
    let endpoints = api.files.projects().endpoints(project).await?;
    Ok(Json(WebhooksAnswer { webhooks: endpoints.iter().map(WebhookView::from).collect() }))
}

pub(crate) async fn create(
    State(api): State<Api>,
    caller: Caller,
    ProjectPath(project): ProjectPath,
    body: Body,
) -> Result<(StatusCode, Json<WebhookAnswer>), Problem> {
    caller.with(Scope::Admin)?;
    let new = body.webhook(api.webhooks)?;
    let endpoint = api.files.projects().create_endpoint(project, new, caller.attempt.as_ref()).await?;
    Ok((StatusCode::CREATED, Json(WebhookAnswer::with_secret(&endpoint))))
}

pub(crate) async fn patch(
    State(api): State<Api>,
    caller: Caller,
    at: WebhookPath,
    body: Body,
) -> Answer<WebhookAnswer> {
    caller.with(Scope::Admin)?;
    let change = body.webhook_patch(api.webhooks)?;
    let endpoint = api.files.projects().change_endpoint(at.project, at.webhook, change).await?;
    Ok(Json(WebhookAnswer::without_secret(&endpoint)))
}

pub(crate) async fn delete(State(api): State<Api>, caller: Caller, at: WebhookPath) -> Answer<Done> {
    caller.with(Scope::Admin)?;
    api.files.projects().delete_endpoint(at.project, at.webhook).await?;
    Ok(Json(Done { success: true }))
}

/// A new secret; messages are signed with the old one as well for a grace.
pub(crate) async fn rotate(
    State(api): State<Api>,
    caller: Caller,
    at: WebhookPath,
    body: Body,
) -> Answer<WebhookAnswer> {
    caller.with(Scope::Admin)?;
    let (projects, attempt) = (api.files.projects(), caller.attempt.as_ref());
    let endpoint = projects.rotate_secret(at.project, at.webhook, body.grace()?, attempt).await?;
    Ok(Json(WebhookAnswer::with_secret(&endpoint)))
}

pub(crate) async fn deliveries(
    State(api): State<Api>,
    caller: Caller,
    at: WebhookPath,
    query: Parameters,
) -> Answer<DeliveriesAnswer> {
    caller.with(Scope::Admin)?;
    let (status, cursor) = query.deliveries()?;
    let page = api.files.projects().deliveries(at.project, at.webhook, status, cursor.as_deref()).await?;
    let deliveries = page.deliveries.iter().map(DeliveryView::from).collect();
    Ok(Json(DeliveriesAnswer { deliveries, next_cursor: page.next }))
}

pub(crate) async fn replay(
    State(api): State<Api>,
    caller: Caller,
    at: WebhookPath,
    body: Body,
) -> Answer<ReplayedAnswer> {
    caller.with(Scope::Admin)?;
    let projects = api.files.projects();
    Ok(Json(match body.delivery_id()? {
        Some(delivery) => {
            projects.replay_delivery(at.project, at.webhook, &delivery).await?;
            ReplayedAnswer { replayed: 1, more: false }
        }
        None => {
            let replayed = projects.replay_parked(at.project, at.webhook).await?;
            ReplayedAnswer { replayed: replayed.count, more: replayed.more }
        }
    }))
}

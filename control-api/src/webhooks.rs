//! The handlers of a project's webhooks: where its events are sent, and what became of each.

use std::time::Duration;

use axum::{Json, extract::State};
use http::StatusCode;
use xfiles_core::{
    api_key::Scope,
    catalog::{Consistency, DeliveryKey},
    error::Error,
    id::{EndpointId, ProjectId},
    webhook::{DeliveryStatus, Endpoint, MAX_ENDPOINTS, Secret},
};

use crate::{
    Api,
    auth::Caller,
    error::{Code, Problem},
    input::{Body, Parameters, ProjectPath, WebhookPath},
    view::{DeliveriesAnswer, DeliveryView, Done, ReplayedAnswer, WebhookAnswer, WebhookView, WebhooksAnswer},
};

type Answer<T> = Result<Json<T>, Problem>;

/// How long a rotated secret signs on without being asked.
const GRACE: Duration = Duration::from_secs(24 * 60 * 60);

/// How many deliveries a page has.
const PAGE: u8 = 50;

/// How many parked deliveries one request replays.
const REPLAYED_AT_ONCE: u64 = 500;

pub(crate) async fn list(
    State(api): State<Api>,
    caller: Caller,
    ProjectPath(project): ProjectPath,
) -> Answer<WebhooksAnswer> {
    caller.with(Scope::Admin)?;
    api.files.catalog.project(project, Consistency::Eventual).await?;
    let endpoints = api.files.catalog.endpoints(project).await?;
    Ok(Json(WebhooksAnswer { webhooks: endpoints.iter().map(WebhookView::from).collect() }))
}

pub(crate) async fn create(
    State(api): State<Api>,
    caller: Caller,
    ProjectPath(project): ProjectPath,
    body: Body,
) -> Result<(StatusCode, Json<WebhookAnswer>), Problem> {
    caller.with(Scope::Admin)?;
    let asked = body.webhook(api.webhooks)?;
    let catalog = &api.files.catalog;
    catalog.project(project, Consistency::Strong).await?;
    let id = caller.attempt.as_ref().map_or_else(EndpointId::mint, |attempt| EndpointId::derived(&attempt.seed, 0));
    if caller.is_repeated() {
        match catalog.endpoint(project, id).await {
            Ok(before) => return Ok((StatusCode::CREATED, Json(WebhookAnswer::with_secret(&before)))),
            Err(Error::EndpointNotFound) => {}
            Err(error) => return Err(error.into()),
        }
    }
    if catalog.endpoints(project).await?.len() >= MAX_ENDPOINTS {
        return Err(Problem::new(Code::TooManyWebhooks)
            .because(format!("the project has {MAX_ENDPOINTS} webhooks, and none has more")));
    }
    let endpoint = Endpoint::new(project, asked.url, asked.events, api.files.clock.now());
    let endpoint = Endpoint { id, enabled: asked.enabled, ..endpoint };
    catalog.create_endpoint(&endpoint).await?;
    Ok((StatusCode::CREATED, Json(WebhookAnswer::with_secret(&endpoint))))
}

pub(crate) async fn patch(
    State(api): State<Api>,
    caller: Caller,
    at: WebhookPath,
    body: Body,
) -> Answer<WebhookAnswer> {
    caller.with(Scope::Admin)?;
    let asked = body.webhook_patch(api.webhooks)?;
    let before = api.files.catalog.endpoint(at.project, at.webhook).await?;
    let mut after = before.clone();
    after.url = asked.url.unwrap_or(after.url);
    after.types = asked.events.unwrap_or(after.types);
    after.enabled = asked.enabled.unwrap_or(after.enabled);
    api.files.catalog.replace_endpoint(&before, &after).await?;
    Ok(Json(WebhookAnswer::without_secret(&after)))
}

pub(crate) async fn delete(State(api): State<Api>, caller: Caller, at: WebhookPath) -> Answer<Done> {
    caller.with(Scope::Admin)?;
    api.files.catalog.endpoint(at.project, at.webhook).await?;
    api.files.catalog.remove_endpoint(at.project, at.webhook).await?;
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
    let grace = body.grace()?.unwrap_or(GRACE);
    let before = api.files.catalog.endpoint(at.project, at.webhook).await?;
    let secret = caller.attempt.as_ref().map_or_else(Secret::mint, |attempt| Secret::derived(&attempt.seed));
    if before.secret == secret {
        // An earlier attempt at this request has rotated it.
        return Ok(Json(WebhookAnswer::with_secret(&before)));
    }
    let after = before.rotate(secret, grace, api.files.clock.now());
    api.files.catalog.replace_endpoint(&before, &after).await?;
    Ok(Json(WebhookAnswer::with_secret(&after)))
}

pub(crate) async fn deliveries(
    State(api): State<Api>,
    caller: Caller,
    at: WebhookPath,
    query: Parameters,
) -> Answer<DeliveriesAnswer> {
    caller.with(Scope::Admin)?;
    let (status, cursor) = query.deliveries()?;
    api.files.catalog.endpoint(at.project, at.webhook).await?;
    let page = api.files.catalog.deliveries(at.webhook, status, cursor.as_deref(), PAGE).await?;
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
    let wanted = body.delivery_id()?;
    api.files.catalog.endpoint(at.project, at.webhook).await?;
    Ok(Json(match wanted {
        Some(name) => replay_one(&api, at.project, at.webhook, &name).await?,
        None => replay_parked(&api, at.webhook).await?,
    }))
}

async fn replay_one(
    api: &Api,
    project: ProjectId,
    endpoint: EndpointId,
    name: &str,
) -> Result<ReplayedAnswer, Problem> {
    let catalog = &api.files.catalog;
    let delivery = catalog.delivery(&DeliveryKey::new(endpoint, name)).await?;
    let delivery = delivery.filter(|delivery| delivery.project == project).ok_or(Error::DeliveryNotFound)?;
    if !catalog.replace_delivery(&delivery, &delivery.replayed(api.files.clock.now())).await? {
        return Err(Error::Conflict.into());
    }
    Ok(ReplayedAnswer { replayed: 1, more: false })
}

async fn replay_parked(api: &Api, endpoint: EndpointId) -> Result<ReplayedAnswer, Problem> {
    let catalog = &api.files.catalog;
    let (mut replayed, mut cursor) = (0, None);
    loop {
        let page = catalog.deliveries(endpoint, Some(DeliveryStatus::Parked), cursor.as_deref(), PAGE).await?;
        for delivery in &page.deliveries {
            let again = catalog.replace_delivery(delivery, &delivery.replayed(api.files.clock.now())).await?;
            replayed += u64::from(again);
        }
        cursor = page.next;
        if cursor.is_none() || replayed >= REPLAYED_AT_ONCE {
            return Ok(ReplayedAnswer { replayed, more: cursor.is_some() });
        }
    }
}

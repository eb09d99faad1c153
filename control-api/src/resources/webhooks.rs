//! The webhooks of a project: where its events are sent, and what became of each.

use axum::extract::State;
use serde_json::json;
use xfiles_api_types::{
    files::Done,
    problem::Code,
    webhooks::{
        DeliveriesAnswer, DeliveriesQuery, Delivery, NewWebhook, ReplayWish, ReplayedAnswer, SecretRotation, Webhook,
        WebhookAnswer, WebhookChange, WebhookSecretAnswer, WebhooksAnswer,
    },
    wire::{List, Nullable},
    words::DeliveryId,
};

use crate::{
    Api,
    answer::{Answer, Created, Json},
    auth::{Admin, By},
    error::Problem,
    extract::{Body, ProjectAt, Query, WebhookAt},
    operation::{Resource, delete, get, patch, post},
};

pub(super) fn resource() -> Resource {
    let operations = vec![
        get("/api/v1/projects/{id}/webhooks", "listWebhooks", list)
            .says("List webhooks", "Where the events of a project are sent, without the secrets.")
            .refuses([Code::NotFound]),
        post("/api/v1/projects/{id}/webhooks", "createWebhook", create)
            .says(
                "Make a webhook",
                "From now on events of the project are POSTed to the URL, signed with `secret`, which is shown in this \
                 answer only. A project has at most ten.",
            )
            .refuses([Code::NotFound, Code::TooManyWebhooks]),
        patch("/api/v1/projects/{id}/webhooks/{webhook}", "changeWebhook", change)
            .says(
                "Change a webhook",
                "The URL, the events, or whether anything is sent. Deliveries that fall due while it is off are parked.",
            )
            .refuses([Code::NotFound, Code::Conflict]),
        delete("/api/v1/projects/{id}/webhooks/{webhook}", "deleteWebhook", delete_webhook)
            .says("Delete a webhook", "Deliveries to it that are pending are dropped.")
            .refuses([Code::NotFound]),
        post("/api/v1/projects/{id}/webhooks/{webhook}/rotate", "rotateWebhookSecret", rotate)
            .says(
                "Rotate a webhook's secret",
                "`secret` is the new one. For a grace every message carries two signatures, by the new and by the old.",
            )
            .refuses([Code::NotFound, Code::Conflict]),
        get("/api/v1/projects/{id}/webhooks/{webhook}/deliveries", "listDeliveries", deliveries)
            .says("List deliveries", "What was and will be sent to a webhook, newest first; kept for 30 days.")
            .refuses([Code::NotFound]),
        post("/api/v1/projects/{id}/webhooks/{webhook}/replay", "replayDeliveries", replay)
            .says(
                "Replay deliveries",
                "Tries a delivery again, or all that are parked, for another day. The messages keep their ids.",
            )
            .or_reads("all", json!({}))
            .refuses([Code::NotFound, Code::Conflict]),
    ];
    let description = "Where a project's events are sent, signed as the Standard Webhooks specification says.";
    Resource { name: "Webhooks", description, operations }
}

async fn list(State(api): State<Api>, _: By<Admin>, ProjectAt(project): ProjectAt) -> Answer<WebhooksAnswer> {
    let endpoints = api.files.projects().endpoints(project).await?;
    Ok(Json(WebhooksAnswer { webhooks: List(endpoints.iter().map(Webhook::from).collect()) }))
}

async fn create(
    State(api): State<Api>,
    by: By<Admin>,
    ProjectAt(project): ProjectAt,
    Body(new): Body<NewWebhook>,
) -> Result<Created<WebhookSecretAnswer>, Problem> {
    let endpoint = api.files.projects().create_endpoint(project, new.into(), by.attempt.as_ref()).await?;
    Ok(Created(WebhookSecretAnswer::from(&endpoint)))
}

async fn change(
    State(api): State<Api>,
    _: By<Admin>,
    WebhookAt(project, webhook): WebhookAt,
    Body(change): Body<WebhookChange>,
) -> Answer<WebhookAnswer> {
    let endpoint = api.files.projects().change_endpoint(project, webhook, change.into()).await?;
    Ok(Json(WebhookAnswer { webhook: Webhook::from(&endpoint) }))
}

async fn delete_webhook(State(api): State<Api>, _: By<Admin>, WebhookAt(project, webhook): WebhookAt) -> Answer<Done> {
    api.files.projects().delete_endpoint(project, webhook).await?;
    Ok(Json(Done { success: true }))
}

async fn rotate(
    State(api): State<Api>,
    by: By<Admin>,
    WebhookAt(project, webhook): WebhookAt,
    Body(asked): Body<SecretRotation>,
) -> Answer<WebhookSecretAnswer> {
    let grace = Some(asked.grace_period.0);
    let endpoint = api.files.projects().rotate_secret(project, webhook, grace, by.attempt.as_ref()).await?;
    Ok(Json(WebhookSecretAnswer::from(&endpoint)))
}

async fn deliveries(
    State(api): State<Api>,
    _: By<Admin>,
    WebhookAt(project, webhook): WebhookAt,
    Query(DeliveriesQuery { status, cursor }): Query<DeliveriesQuery>,
) -> Answer<DeliveriesAnswer> {
    let after = cursor.and_then(|cursor| cursor.0);
    let page =
        api.files.projects().deliveries(project, webhook, status, after.as_ref().map(DeliveryId::as_str)).await?;
    let deliveries = List(page.deliveries.iter().map(Delivery::from).collect());
    Ok(Json(DeliveriesAnswer { deliveries, next_cursor: Nullable(page.next) }))
}

async fn replay(
    State(api): State<Api>,
    _: By<Admin>,
    WebhookAt(project, webhook): WebhookAt,
    Body(asked): Body<ReplayWish>,
) -> Answer<ReplayedAnswer> {
    let projects = api.files.projects();
    Ok(Json(match asked.delivery_id {
        Some(id) => {
            projects.replay_delivery(project, webhook, id.as_str()).await?;
            ReplayedAnswer { replayed: 1, more: false }
        }
        None => projects.replay_parked(project, webhook).await?.into(),
    }))
}

//! The requests about the webhooks of a project. All need a key with the scope `admin`.

use std::time::Duration;

use ureq::http::Method;
use xfiles_api_types::{
    files::Done,
    webhooks::{
        DeliveriesAnswer, NewWebhook, ReplayWish, ReplayedAnswer, SecretRotation, WebhookAnswer, WebhookChange,
        WebhookSecretAnswer, WebhooksAnswer,
    },
    wire::to_json,
    words::{DeliveryId, Seconds},
};
use xfiles_core::id::{EndpointId, ProjectId};

use super::{Answer, Client, path};
use crate::failure::Failure;

impl Client {
    pub(crate) fn webhooks(&self, project: ProjectId) -> Result<Answer<WebhooksAnswer>, Failure> {
        self.read(&of_webhooks(project, ""))
    }

    /// Makes a webhook. Not safe to repeat: each success makes another.
    pub(crate) fn create_webhook(
        &self,
        project: ProjectId,
        new: &NewWebhook,
    ) -> Result<Answer<WebhookSecretAnswer>, Failure> {
        self.post(&of_webhooks(project, ""), new)
    }

    pub(crate) fn change_webhook(
        &self,
        project: ProjectId,
        webhook: EndpointId,
        change: &WebhookChange,
    ) -> Result<Answer<WebhookAnswer>, Failure> {
        self.api(Method::PATCH, &of_webhooks(project, &format!("/{webhook}")), Some(to_json(change)), None)
    }

    pub(crate) fn delete_webhook(&self, project: ProjectId, webhook: EndpointId) -> Result<Answer<Done>, Failure> {
        self.api(Method::DELETE, &of_webhooks(project, &format!("/{webhook}")), None, None)
    }

    /// Gives a webhook a new secret; messages carry the old one's signature too for `grace`.
    pub(crate) fn rotate_webhook(
        &self,
        project: ProjectId,
        webhook: EndpointId,
        grace: Duration,
    ) -> Result<Answer<WebhookSecretAnswer>, Failure> {
        let rotation = SecretRotation { grace_period: Seconds(grace) };
        self.post(&of_webhooks(project, &format!("/{webhook}/rotate")), &rotation)
    }

    /// One page of a webhook's deliveries.
    pub(crate) fn deliveries(
        &self,
        project: ProjectId,
        webhook: EndpointId,
        query: &[(&'static str, String)],
    ) -> Result<Answer<DeliveriesAnswer>, Failure> {
        self.read(&path(&of_webhooks(project, &format!("/{webhook}/deliveries")), query))
    }

    /// Tries parked deliveries again: one, or all.
    pub(crate) fn replay(
        &self,
        project: ProjectId,
        webhook: EndpointId,
        delivery: Option<&DeliveryId>,
    ) -> Result<Answer<ReplayedAnswer>, Failure> {
        let wish = ReplayWish { delivery_id: delivery.cloned() };
        self.post(&of_webhooks(project, &format!("/{webhook}/replay")), &wish)
    }
}

fn of_webhooks(project: ProjectId, rest: &str) -> String {
    format!("/api/v1/projects/{project}/webhooks{rest}")
}

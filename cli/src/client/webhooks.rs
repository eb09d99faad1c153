//! The requests about the webhooks of a project. All need a key with the scope `admin`.

use serde::Deserialize;
use serde_json::{Value, json};
use ureq::http::Method;
use xfiles_core::{
    clock::Timestamp,
    id::{EndpointId, ProjectId},
};

use super::{Answer, Client, path, time};
use crate::failure::Failure;

/// Where a project's events are sent.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Webhook {
    pub(crate) id: EndpointId,
    pub(crate) url: String,
    /// Which events; empty: all.
    pub(crate) events: Vec<String>,
    pub(crate) enabled: bool,
    #[serde(deserialize_with = "time")]
    pub(crate) created_at: Option<Timestamp>,
}

/// `{"webhooks": [Webhook]}`.
#[derive(Deserialize)]
pub(crate) struct Webhooks {
    pub(crate) webhooks: Vec<Webhook>,
}

/// A webhook and, when it or its secret is new, the secret. So it has no `Debug`.
#[derive(Deserialize)]
pub(crate) struct OneWebhook {
    pub(crate) webhook: Webhook,
    pub(crate) secret: Option<String>,
}

/// One message to a webhook.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Delivery {
    pub(crate) id: String,
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) status: String,
    pub(crate) attempts: u64,
    #[serde(deserialize_with = "time")]
    pub(crate) created_at: Option<Timestamp>,
    pub(crate) last_status: Option<u16>,
    pub(crate) last_error: Option<String>,
}

/// One page of deliveries.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Deliveries {
    pub(crate) deliveries: Vec<Delivery>,
    pub(crate) next_cursor: Option<String>,
}

/// How many deliveries will be tried again.
#[derive(Deserialize)]
pub(crate) struct Replayed {
    pub(crate) replayed: u64,
    /// Whether the same request has more to do.
    pub(crate) more: bool,
}

impl Client {
    pub(crate) fn webhooks(&self, project: ProjectId) -> Result<Answer<Webhooks>, Failure> {
        self.read(&of_webhooks(project, ""))
    }

    /// Makes a webhook. Not safe to repeat: each success makes another.
    pub(crate) fn create_webhook(
        &self,
        project: ProjectId,
        url: &str,
        events: &[String],
    ) -> Result<Answer<OneWebhook>, Failure> {
        self.post(&of_webhooks(project, ""), &json!({"url": url, "events": events}))
    }

    pub(crate) fn change_webhook(
        &self,
        project: ProjectId,
        webhook: EndpointId,
        changes: &Value,
    ) -> Result<Answer<OneWebhook>, Failure> {
        self.api(Method::PATCH, &of_webhooks(project, &format!("/{webhook}")), Some(changes), None)
    }

    pub(crate) fn delete_webhook(&self, project: ProjectId, webhook: EndpointId) -> Result<Answer<Value>, Failure> {
        self.api(Method::DELETE, &of_webhooks(project, &format!("/{webhook}")), None, None)
    }

    /// Gives a webhook a new secret; messages carry the old one's signature too for `grace` seconds.
    pub(crate) fn rotate_webhook(
        &self,
        project: ProjectId,
        webhook: EndpointId,
        grace: u64,
    ) -> Result<Answer<OneWebhook>, Failure> {
        self.post(&of_webhooks(project, &format!("/{webhook}/rotate")), &json!({"gracePeriod": grace}))
    }

    /// One page of a webhook's deliveries.
    pub(crate) fn deliveries(
        &self,
        project: ProjectId,
        webhook: EndpointId,
        query: &[(&'static str, String)],
    ) -> Result<Answer<Deliveries>, Failure> {
        self.read(&path(&of_webhooks(project, &format!("/{webhook}/deliveries")), query))
    }

    /// Tries parked deliveries again: one, or all.
    pub(crate) fn replay(
        &self,
        project: ProjectId,
        webhook: EndpointId,
        delivery: Option<&str>,
    ) -> Result<Answer<Replayed>, Failure> {
        let wish = delivery.map_or_else(|| json!({}), |id| json!({"deliveryId": id}));
        self.post(&of_webhooks(project, &format!("/{webhook}/replay")), &wish)
    }
}

fn of_webhooks(project: ProjectId, rest: &str) -> String {
    format!("/api/v1/projects/{project}/webhooks{rest}")
}

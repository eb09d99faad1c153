//! The webhooks of a project, and the deliveries to them.

use std::collections::BTreeSet;

use serde_json::json;
use xfiles_core::{
    clock::Timestamp,
    event::{EventId, EventType},
    id::EndpointId,
    operations::{EndpointChange, NewEndpoint, ROTATION_GRACE, Replayed},
    webhook::{self, Attempt, DeliveryStatus, Endpoint, MAX_ENDPOINTS},
};

use crate::{
    limits,
    wire::{List, Nullable},
    words::{DeliveryCursor, DeliveryId, Grace, PublicUrl, RawSecret, Seconds, WebhookUrl, Word},
};

const ADDRESS: &str = "https://app.example.com/hooks/files";

object! {
    /// A webhook to make.
    pub struct NewWebhook {
        url: PublicUrl = ADDRESS,
        /// Which events; all if there are none.
        events: Vec<EventType> [default Vec::new()] = json!(["file.confirmed"]),
        /// Whether anything is sent.
        enabled: bool [default true],
    }

    /// What of a webhook is to change; what is left out stays.
    pub struct WebhookChange {
        url: Option<PublicUrl>,
        /// Empty: all.
        events: Option<Vec<EventType>>,
        enabled: Option<bool> = false,
    }

    /// How the old secret ends.
    pub struct SecretRotation {
        /// Seconds for which messages carry the old secret's signature too, 30 days at most.
        grace_period: Grace [default Seconds(ROTATION_GRACE)] = 3600,
    }

    /// What to replay.
    pub struct ReplayWish {
        /// One delivery, whatever its status; if it is left out, all that are parked.
        delivery_id: Option<DeliveryId> = DELIVERY,
    }

    /// Which deliveries are listed.
    pub struct DeliveriesQuery {
        /// Only those in this status.
        status: Option<DeliveryStatus>,
        /// Empty to begin, then the `nextCursor` of the page before.
        cursor: Option<DeliveryCursor>,
    }
}

const DELIVERY: &str = "01769860800000-evt_0d8f3b2a6c4e9f7150a2b3c4d5e6f708";

object! {
    /// Where a project's events are sent.
    pub struct Webhook {
        id: EndpointId,
        url: WebhookUrl = ADDRESS,
        /// Which events; empty: all.
        events: List<Word<EventType>, 0, { EventType::ALL.len() }> = json!(["file.confirmed"]),
        /// False when it was switched off, or answered 410.
        enabled: bool = true,
        /// Until when messages carry the old secret's signature too, after a rotation.
        old_secret_until: Nullable<Timestamp>,
        created_at: Timestamp = "2026-01-05T09:32:00.000Z",
    }

    /// `{"webhook": Webhook}`.
    pub struct WebhookAnswer {
        webhook: Webhook,
    }

    /// A webhook with a new secret, which no other answer shows.
    pub struct WebhookSecretAnswer {
        webhook: Webhook,
        secret: RawSecret,
    }

    /// `{"webhooks": [Webhook]}`.
    pub struct WebhooksAnswer {
        webhooks: List<Webhook, 0, { MAX_ENDPOINTS }>,
    }

    /// One event on its way to one webhook.
    pub struct Delivery {
        id: DeliveryId,
        /// The same as in the header `webhook-id`.
        event_id: EventId,
        kind as "type": Word<EventType> = "file.confirmed",
        status: Word<DeliveryStatus> = "pending",
        attempts: u32 = 1,
        created_at: Timestamp,
        last_attempt_at: Nullable<Timestamp> = "2026-01-31T12:00:00.412Z",
        /// The HTTP status of the last answer.
        last_status: Nullable<u16> = 503,
        /// Why the last attempt had no answer.
        last_error: Nullable<String>,
        next_attempt_at: Nullable<Timestamp> = "2026-01-31T12:00:31.000Z",
    }

    /// A page of deliveries, newest first. With a filter a page may be short and still have a next one.
    pub struct DeliveriesAnswer {
        deliveries: List<Delivery, 0, { limits::DELIVERIES_PAGE }>,
        /// Where the next page begins; null at the end.
        next_cursor: Nullable<String>,
    }

    /// What was replayed.
    pub struct ReplayedAnswer {
        /// How many deliveries will be tried again.
        replayed: u64 = 1,
        /// Whether there are more: the same request goes on.
        more: bool = false,
    }
}

/// Each type once.
fn distinct(types: Vec<EventType>) -> Vec<EventType> {
    types.into_iter().collect::<BTreeSet<_>>().into_iter().collect()
}

impl From<NewWebhook> for NewEndpoint {
    fn from(asked: NewWebhook) -> Self {
        Self { url: asked.url.0, types: distinct(asked.events), enabled: asked.enabled }
    }
}

impl From<WebhookChange> for EndpointChange {
    fn from(asked: WebhookChange) -> Self {
        Self { url: asked.url.map(|url| url.0), types: asked.events.map(distinct), enabled: asked.enabled }
    }
}

impl From<&Endpoint> for Webhook {
    fn from(endpoint: &Endpoint) -> Self {
        Self {
            id: endpoint.id,
            url: WebhookUrl(endpoint.url.to_string()),
            events: List(endpoint.types.iter().map(|kind| (*kind).into()).collect()),
            enabled: endpoint.enabled,
            old_secret_until: Nullable(endpoint.retiring.as_ref().map(|(_, until)| *until)),
            created_at: endpoint.created,
        }
    }
}

impl From<&Endpoint> for WebhookSecretAnswer {
    fn from(endpoint: &Endpoint) -> Self {
        Self { webhook: Webhook::from(endpoint), secret: RawSecret(endpoint.secret.reveal().to_owned()) }
    }
}

impl From<&webhook::Delivery> for Delivery {
    fn from(delivery: &webhook::Delivery) -> Self {
        let (at, last_status, last_error) = match delivery.last.clone() {
            None => (None, None, None),
            Some((at, Attempt::Answered(status))) => (Some(at), Some(status), None),
            Some((at, Attempt::Failed(reason))) => (Some(at), None, Some(reason)),
        };
        Self {
            id: DeliveryId::new(delivery.key().name()).expect("a delivery is named by its event's time and id"),
            event_id: delivery.event.clone(),
            kind: delivery.kind.into(),
            status: delivery.status.into(),
            attempts: delivery.attempts,
            created_at: delivery.created,
            last_attempt_at: Nullable(at),
            last_status: Nullable(last_status),
            last_error: Nullable(last_error),
            next_attempt_at: Nullable(delivery.due),
        }
    }
}

impl From<Replayed> for ReplayedAnswer {
    fn from(Replayed { count, more }: Replayed) -> Self {
        Self { replayed: count, more }
    }
}

//! The webhooks of a project, and the deliveries to them.

use serde_json::json;
use xfiles_core::{
    clock::Timestamp,
    event::{EventId, EventType},
    id::EndpointId,
    webhook::{DeliveryStatus, MAX_ENDPOINTS},
};

use crate::{
    limits,
    projects::default_grace,
    wire::{List, Nullable},
    words::{DeliveryCursor, DeliveryId, Grace, PublicUrl, RawSecret, Url, Word},
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
        grace_period: Grace [default default_grace()] = 3600,
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
        url: Url = ADDRESS,
        /// Which events; empty: all.
        events: List<Word<EventType>, 0, { EventType::ALL.len() }> = json!(["file.confirmed"]),
        /// False when it was switched off, or answered 410.
        enabled: bool = true,
        /// Until when messages carry the old secret's signature too, after a rotation.
        old_secret_until: Nullable<Timestamp>,
        created_at: Timestamp = "2026-01-05T09:32:00.000Z",
    }

    /// A webhook and, in an answer that makes one, its secret.
    pub struct WebhookAnswer {
        webhook: Webhook,
        secret: Option<RawSecret>,
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

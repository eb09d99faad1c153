//! Sending what was told: from the outbox to one delivery for each endpoint that wants the event, and each delivery until
//! its endpoint takes it.
//!
//! A row of the outbox goes when its deliveries are written, and a delivery is claimed for an attempt before anything is
//! sent. So a death loses nothing; it may send a message a second time, with the same id.

use std::{
    collections::{BTreeSet, HashMap, hash_map::Entry},
    time::Duration,
};

use futures::{StreamExt as _, stream};
use xfiles_core::{
    catalog::{Catalog, DeliveryKey, OutboxRow},
    error::Error,
    event::{Event, EventId},
    id::ProjectId,
    lifecycle::Files,
    webhook::{Attempt, Delivery, DeliveryStatus, Endpoint},
};

use crate::{Bounds, bus::EventBus, post::Courier};

/// How many messages are under way at the same time.
const AT_ONCE: usize = 16;

/// How long the bus is offered an event that it does not take.
const OFFERED_FOR: Duration = Duration::from_secs(24 * 60 * 60);

/// What a run sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// How many deliveries were taken by their endpoints.
    pub delivered: u64,
    /// How many will be tried again.
    pub retried: u64,
    /// How many were given up.
    pub parked: u64,
    /// Whether it stopped at its bounds with more to do.
    pub more: bool,
}

/// Sends what waits and what is due again. Several runs at the same time do no harm.
///
/// # Errors
/// When the outbox or the index of what is due cannot be read; what fails for one event or endpoint stays for the next
/// run.
pub async fn deliver(files: &Files, courier: &Courier, bounds: Bounds) -> Result<Sent, Error> {
    let (sent, started) = (Sent::default(), files.clock.monotonic());
    let mut run = Run { files, courier, sent, tried: 0, bounds, started, bus: courier.bus() };
    run.empty_outbox().await?;
    run.retry_due().await?;
    let Sent { delivered, retried, parked, .. } = run.sent;
    if delivered + retried + parked > 0 {
        tracing::info!(
            webhooks.delivered = delivered,
            webhooks.retried = retried,
            webhooks.parked = parked,
            "webhooks were sent"
        );
    }
    Ok(run.sent)
}

struct Run<'a> {
    files: &'a Files,
    courier: &'a Courier,
    sent: Sent,
    tried: u64,
    bounds: Bounds,
    started: xfiles_core::clock::Moment,
    /// Where events go beside the endpoints. None once it has failed: the rest waits for the next run.
    bus: Option<&'a EventBus>,
}

impl Run<'_> {
    async fn empty_outbox(&mut self) -> Result<(), Error> {
        for shard in 0..Catalog::OUTBOX_SHARDS {
            let mut after = None;
            loop {
                if self.is_over() {
                    return Ok(());
                }
                let page = self.files.catalog.outbox(shard, after).await?;
                self.tried += page.rows.len() as u64;
                let kept = self.put_on_bus(&page.rows).await;
                // Read after the page, so that no endpoint that was there before an event is missed.
                let mut endpoints = HashMap::new();
                let mut claimed = Vec::new();
                for row in page.rows {
                    match self.fan_out(&row, &kept, &mut endpoints).await {
                        Ok(deliveries) => claimed.extend(deliveries),
                        Err(error) => tracing::warn!(%error, "an outbox row is left to the next run"),
                    }
                }
                self.attempt_all(claimed).await;
                after = page.next;
                if after.is_none() {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Puts the events of these rows on the bus, and answers which of them it is to be offered again.
    async fn put_on_bus(&mut self, rows: &[OutboxRow]) -> BTreeSet<EventId> {
        let Some(configured) = self.courier.bus() else {
            return BTreeSet::new();
        };
        let events: Vec<&Event> = rows.iter().flat_map(|row| &row.events).collect();
        let taken = match self.bus {
            Some(_) => configured.put(&events).await,
            None => BTreeSet::new(),
        };
        let left: Vec<&Event> = events.into_iter().filter(|event| !taken.contains(&event.id)).collect();
        if !left.is_empty() {
            self.bus = None;
        }
        let now = self.files.clock.now();
        let (old, young): (Vec<&Event>, Vec<&Event>) =
            left.into_iter().partition(|event| now.since(event.created) >= OFFERED_FOR);
        for event in old {
            tracing::error!(event.id = %event.id, "the bus did not take an event for a day, and is not offered it again");
        }
        young.into_iter().map(|event| event.id.clone()).collect()
    }

    /// Writes the deliveries of a row, removes the row unless something of it is kept for the bus, and answers those
    /// that are this run's to try.
    async fn fan_out(
        &self,
        row: &OutboxRow,
        kept: &BTreeSet<EventId>,
        known: &mut HashMap<ProjectId, Vec<Endpoint>>,
    ) -> Result<Vec<Delivery>, Error> {
        let (catalog, now) = (&self.files.catalog, self.files.clock.now());
        let mut claimed = Vec::new();
        for event in &row.events {
            let endpoints = match known.entry(event.project) {
                Entry::Occupied(entry) => entry.into_mut(),
                Entry::Vacant(entry) => entry.insert(catalog.endpoints(event.project).await?),
            };
            for endpoint in endpoints.iter().filter(|endpoint| endpoint.wants(event.kind)) {
                let delivery = Delivery::new(event, endpoint.id, now);
                if catalog.add_delivery(&delivery).await? {
                    claimed.push(delivery);
                }
            }
            self.courier.tell(event);
        }
        if !row.events.iter().any(|event| kept.contains(&event.id)) {
            catalog.remove_outbox_row(row).await?;
        }
        Ok(claimed)
    }

    async fn retry_due(&mut self) -> Result<(), Error> {
        let now = self.files.clock.now();
        for shard in 0..Catalog::DELIVERY_SHARDS {
            let mut after = None;
            loop {
                if self.is_over() {
                    return Ok(());
                }
                let page = self.files.catalog.due_deliveries(shard, now, after).await?;
                self.tried += page.deliveries.len() as u64;
                let mut claimed = Vec::new();
                for key in page.deliveries {
                    match self.claim(&key).await {
                        Ok(delivery) => claimed.extend(delivery),
                        Err(error) => tracing::warn!(%error, "a delivery is left to the next run"),
                    }
                }
                self.attempt_all(claimed).await;
                after = page.next;
                if after.is_none() {
                    break;
                }
            }
        }
        Ok(())
    }

    async fn claim(&self, key: &DeliveryKey) -> Result<Option<Delivery>, Error> {
        // The index may lag: the delivery itself says whether it is due.
        let Some(delivery) = self.files.catalog.delivery(key).await? else {
            return Ok(None);
        };
        let now = self.files.clock.now();
        if delivery.due.is_none_or(|due| now < due) {
            return Ok(None);
        }
        let claimed = delivery.claim(now);
        Ok(self.files.catalog.replace_delivery(&delivery, &claimed).await?.then_some(claimed))
    }

    async fn attempt_all(&mut self, deliveries: Vec<Delivery>) {
        let (files, courier) = (self.files, self.courier);
        let mut ended = stream::iter(deliveries)
            .map(|delivery| async move { attempt(files, courier, &delivery).await })
            .buffer_unordered(AT_ONCE);
        while let Some(ended) = ended.next().await {
            match ended {
                Ok(Some(DeliveryStatus::Delivered)) => self.sent.delivered += 1,
                Ok(Some(DeliveryStatus::Pending)) => self.sent.retried += 1,
                Ok(Some(DeliveryStatus::Parked)) => self.sent.parked += 1,
                Ok(None) => {}
                Err(error) => tracing::warn!(%error, "a delivery is left to the next run"),
            }
        }
    }

    fn is_over(&mut self) -> bool {
        let over =
            self.tried >= self.bounds.records || self.files.clock.monotonic().since(self.started) >= self.bounds.time;
        self.sent.more |= over;
        over
    }
}

/// Tries a claimed delivery once and notes how it ended. `None`: nobody wants it any more, or somebody else noted it.
async fn attempt(files: &Files, courier: &Courier, delivery: &Delivery) -> Result<Option<DeliveryStatus>, Error> {
    let catalog = &files.catalog;
    let endpoint = match catalog.endpoint(delivery.project, delivery.endpoint).await {
        Err(Error::EndpointNotFound) => {
            catalog.remove_delivery(delivery).await?;
            return Ok(None);
        }
        endpoint => endpoint?,
    };
    let ended = if endpoint.enabled {
        let ended = courier.post(&endpoint, delivery, files.clock.now()).await;
        if ended == Attempt::Answered(GONE) {
            tracing::warn!(webhook.id = %endpoint.id, "an endpoint says that it is gone and is disabled");
            catalog.disable_endpoint(&endpoint).await?;
        }
        delivery.attempted(ended, files.clock.now())
    } else {
        delivery.parked()
    };
    Ok(catalog.replace_delivery(delivery, &ended).await?.then_some(ended.status))
}

/// With this status an endpoint asks to be sent nothing more.
const GONE: u16 = 410;

//! Sending events: from the outbox to deliveries, and from a delivery that is due to its outcome.

use super::Projects;
use crate::{
    catalog::{DeliveryKey, DuePages, OutboxPages, OutboxRow},
    clock::Timestamp,
    error::{Error, Result},
    event::Event,
    id::ProjectId,
    webhook::{Attempt, Delivery, DeliveryStatus, Endpoint},
};

/// With this status an endpoint asks to be sent nothing more.
const GONE: u16 = 410;

impl Projects {
    /// The events that wait to be sent.
    pub fn outbox(&self) -> OutboxPages<'_> {
        self.catalog.outbox()
    }

    /// The endpoints to which a project's events go, without a look at the project, which may be gone already.
    pub async fn receivers(&self, project: ProjectId) -> Result<Vec<Endpoint>> {
        self.catalog.endpoints(project).await
    }

    /// Writes the delivery of an event that was found in the outbox, claimed by the caller. `None`: there is one already.
    pub async fn add_delivery(&self, event: &Event, endpoint: &Endpoint) -> Result<Option<Delivery>> {
        let delivery = Delivery::new(event, endpoint.id, self.clock.now());
        Ok(self.catalog.add_delivery(&delivery).await?.then_some(delivery))
    }

    /// Removes a row of the outbox whose events have been handed on. Removing it again changes nothing.
    pub async fn remove_outbox_row(&self, row: &OutboxRow) -> Result<()> {
        self.catalog.remove_outbox_row(row).await
    }

    /// The deliveries that were due at a time.
    pub fn due_deliveries(&self, until: Timestamp) -> DuePages<'_, DeliveryKey> {
        self.catalog.due_deliveries(until)
    }

    /// Claims a delivery for an attempt. `None`: it is gone, is not due, or another process has claimed it.
    pub async fn claim_delivery(&self, key: &DeliveryKey) -> Result<Option<Delivery>> {
        // The index may lag: the delivery itself says whether it is due.
        let Some(delivery) = self.catalog.delivery(key).await? else {
            return Ok(None);
        };
        let now = self.clock.now();
        if delivery.due.is_none_or(|due| now < due) {
            return Ok(None);
        }
        let claimed = delivery.claim(now);
        Ok(self.catalog.replace_delivery(&delivery, &claimed).await?.then_some(claimed))
    }

    /// The endpoint of a claimed delivery. `None`: it was removed, and the delivery with it.
    pub async fn receiver_of(&self, delivery: &Delivery) -> Result<Option<Endpoint>> {
        match self.catalog.endpoint(delivery.project, delivery.endpoint).await {
            Err(Error::EndpointNotFound) => self.catalog.remove_delivery(delivery).await.map(|()| None),
            endpoint => endpoint.map(Some),
        }
    }

    /// Stores how an attempt at a claimed delivery ended. `None`: another process has stored an outcome.
    pub async fn end_attempt(
        &self,
        delivery: &Delivery,
        endpoint: &Endpoint,
        outcome: Attempt,
    ) -> Result<Option<DeliveryStatus>> {
        if outcome == Attempt::Answered(GONE) {
            tracing::warn!(webhook.id = %endpoint.id, "an endpoint returned 410 and is disabled");
            self.catalog.disable_endpoint(endpoint).await?;
        }
        self.end_delivery(delivery, &delivery.attempted(outcome, self.clock.now())).await
    }

    /// Parks a claimed delivery without an attempt, because its endpoint is disabled. `None`: another process has stored
    /// an outcome.
    pub async fn park_delivery(&self, delivery: &Delivery) -> Result<Option<DeliveryStatus>> {
        self.end_delivery(delivery, &delivery.parked()).await
    }

    async fn end_delivery(&self, claimed: &Delivery, ended: &Delivery) -> Result<Option<DeliveryStatus>> {
        Ok(self.catalog.replace_delivery(claimed, ended).await?.then_some(ended.status))
    }
}

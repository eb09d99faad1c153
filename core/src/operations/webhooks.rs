//! Operations on webhooks: a project's endpoints, and the deliveries to each.

use std::time::Duration;

use super::{Projects, ROTATION_GRACE};
use crate::{
    catalog::{Attempt, Consistency, DeliveryKey, DeliveryPage},
    error::{Error, Result},
    event::EventType,
    id::{EndpointId, ProjectId},
    webhook::{Delivery, DeliveryStatus, Endpoint, MAX_ENDPOINTS, Secret, TargetUrl},
};

/// How many deliveries a page has.
const PAGE: u8 = 50;

/// After how many replayed deliveries one call stops.
const REPLAYED_AT_ONCE: u64 = 500;

/// An endpoint to make.
#[derive(Clone, Debug)]
pub struct NewEndpoint {
    /// Where messages are sent.
    pub url: TargetUrl,
    /// Of which events; empty: of all.
    pub types: Vec<EventType>,
    /// Whether anything is sent.
    pub enabled: bool,
}

/// A change to an endpoint. `None` leaves the property as it is.
#[derive(Clone, Debug, Default)]
pub struct EndpointChange {
    /// Where messages are sent.
    pub url: Option<TargetUrl>,
    /// Of which events; empty: of all.
    pub types: Option<Vec<EventType>>,
    /// Whether anything is sent.
    pub enabled: Option<bool>,
}

/// How many parked deliveries were replayed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replayed {
    /// How many.
    pub count: u64,
    /// Whether there may be more of them.
    pub more: bool,
}

impl Projects {
    /// A project's endpoints, oldest first.
    pub async fn endpoints(&self, project: ProjectId) -> Result<Vec<Endpoint>> {
        self.catalog.project(project, Consistency::Eventual).await?;
        self.catalog.endpoints(project).await
    }

    /// One endpoint.
    pub async fn endpoint(&self, project: ProjectId, id: EndpointId) -> Result<Endpoint> {
        self.catalog.endpoint(project, id).await
    }

    /// Makes an endpoint. A repeated attempt returns the endpoint that an earlier one made.
    ///
    /// # Errors
    /// [`TooManyEndpoints`](Error::TooManyEndpoints) when the project has [`MAX_ENDPOINTS`].
    pub async fn create_endpoint(
        &self,
        project: ProjectId,
        new: NewEndpoint,
        attempt: Option<&Attempt>,
    ) -> Result<Endpoint> {
        self.catalog.project(project, Consistency::Strong).await?;
        let mut endpoint = Endpoint::new(project, new.url, new.types, self.clock.now());
        endpoint.enabled = new.enabled;
        if let Some(attempt) = attempt {
            endpoint.id = EndpointId::derived(&attempt.seed, 0);
            if attempt.is_repeated {
                match self.endpoint(project, endpoint.id).await {
                    Err(Error::EndpointNotFound) => {}
                    made => return made,
                }
            }
        }
        if self.catalog.endpoints(project).await?.len() >= MAX_ENDPOINTS {
            return Err(Error::TooManyEndpoints { limit: MAX_ENDPOINTS });
        }
        self.catalog.create_endpoint(&endpoint).await?;
        Ok(endpoint)
    }

    /// Changes an endpoint.
    pub async fn change_endpoint(
        &self,
        project: ProjectId,
        id: EndpointId,
        change: EndpointChange,
    ) -> Result<Endpoint> {
        let before = self.endpoint(project, id).await?;
        let mut after = before.clone();
        after.url = change.url.unwrap_or(after.url);
        after.types = change.types.unwrap_or(after.types);
        after.enabled = change.enabled.unwrap_or(after.enabled);
        self.catalog.replace_endpoint(&before, &after).await?;
        Ok(after)
    }

    /// Removes an endpoint.
    pub async fn delete_endpoint(&self, project: ProjectId, id: EndpointId) -> Result<()> {
        self.endpoint(project, id).await?;
        self.catalog.remove_endpoint(project, id).await
    }

    /// Gives an endpoint a new secret. Messages carry signatures of both until the grace has passed, by default
    /// [`ROTATION_GRACE`].
    pub async fn rotate_secret(
        &self,
        project: ProjectId,
        id: EndpointId,
        grace: Option<Duration>,
        attempt: Option<&Attempt>,
    ) -> Result<Endpoint> {
        let before = self.endpoint(project, id).await?;
        let secret = attempt.map_or_else(Secret::mint, |attempt| Secret::derived(&attempt.seed));
        if before.secret == secret {
            // An earlier attempt at this request has rotated it.
            return Ok(before);
        }
        let after = before.rotate(secret, grace.unwrap_or(ROTATION_GRACE), self.clock.now());
        self.catalog.replace_endpoint(&before, &after).await?;
        Ok(after)
    }

    /// A page of an endpoint's deliveries, newest first: of all, or of those in one status.
    pub async fn deliveries(
        &self,
        project: ProjectId,
        endpoint: EndpointId,
        status: Option<DeliveryStatus>,
        after: Option<&str>,
    ) -> Result<DeliveryPage> {
        self.endpoint(project, endpoint).await?;
        self.catalog.deliveries(endpoint, status, after, PAGE).await
    }

    /// Has one delivery tried again, whatever its status.
    pub async fn replay_delivery(&self, project: ProjectId, endpoint: EndpointId, name: &str) -> Result<()> {
        self.endpoint(project, endpoint).await?;
        let delivery = self.catalog.delivery(&DeliveryKey::new(endpoint, name)).await?;
        let delivery = delivery.filter(|delivery| delivery.project == project).ok_or(Error::DeliveryNotFound)?;
        if self.replay(&delivery).await? { Ok(()) } else { Err(Error::Conflict) }
    }

    /// Has an endpoint's parked deliveries tried again, up to a bound.
    pub async fn replay_parked(&self, project: ProjectId, endpoint: EndpointId) -> Result<Replayed> {
        self.endpoint(project, endpoint).await?;
        let (mut count, mut after) = (0, None::<String>);
        loop {
            let page = self.catalog.deliveries(endpoint, Some(DeliveryStatus::Parked), after.as_deref(), PAGE).await?;
            for delivery in &page.deliveries {
                count += u64::from(self.replay(delivery).await?);
            }
            after = page.next;
            if after.is_none() || count >= REPLAYED_AT_ONCE {
                return Ok(Replayed { count, more: after.is_some() });
            }
        }
    }

    /// Returns false if the delivery has changed since it was read.
    async fn replay(&self, delivery: &Delivery) -> Result<bool> {
        self.catalog.replace_delivery(delivery, &delivery.replayed(self.clock.now())).await
    }
}

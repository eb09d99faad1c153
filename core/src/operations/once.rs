//! Requests that are carried out once: the first outcome under an idempotency key is kept and given again.

use super::Projects;
use crate::{
    catalog::{Attempt, Once, Outcome},
    error::Result,
    id::ProjectId,
};

impl Projects {
    /// Takes an idempotency key for a request, which a digest identifies.
    pub async fn take_once(&self, project: ProjectId, key: &str, request: &str) -> Result<Once> {
        self.catalog.take_once(project, key, request, self.clock.now()).await
    }

    /// Says that an attempt is still under way, so that no other begins. To be called every [`Attempt::RENEW_EVERY`].
    ///
    /// # Errors
    /// [`Conflict`](crate::error::Error::Conflict) when another attempt has taken the key over.
    pub async fn renew_once(&self, project: ProjectId, key: &str, attempt: &Attempt) -> Result<()> {
        self.catalog.renew_once(project, key, attempt, self.clock.now()).await
    }

    /// Keeps how a request ended, unless another attempt has taken the key over.
    pub async fn keep_outcome(
        &self,
        project: ProjectId,
        key: &str,
        attempt: &Attempt,
        outcome: &Outcome,
    ) -> Result<()> {
        self.catalog.keep_outcome(project, key, attempt, outcome).await
    }

    /// Gives an idempotency key back whose request ended in nothing that must be repeated.
    pub async fn forget_once(&self, project: ProjectId, key: &str, attempt: &Attempt) -> Result<()> {
        self.catalog.forget_once(project, key, attempt).await
    }
}

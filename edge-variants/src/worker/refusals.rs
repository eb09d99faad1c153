//! Remembers which originals were refused, so that they are not read again for a while.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use xfiles_core::{clock::Moment, id::FileId};

use super::Worker;
use crate::render::Refusal;

/// How long a refusal is remembered: as long as the CDN caches it.
pub(super) const REFUSAL_LIFE: Duration = Duration::from_secs(60);

/// How many refusals are remembered. A forgotten one costs one more read of the original.
const MAX_REFUSALS: usize = 10_000;

/// The refusal of each file, and when it was refused.
#[derive(Clone, Default)]
pub(super) struct Refusals(Arc<Mutex<HashMap<FileId, (Refusal, Moment)>>>);

impl Worker {
    /// Why an original was refused a moment ago, if it was. Its bytes never change.
    pub(super) fn refused(&self, id: FileId) -> Option<Refusal> {
        let refusals = self.refusals.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (refusal, at) = *refusals.get(&id)?;
        (self.files.clock().monotonic().since(at) < REFUSAL_LIFE).then_some(refusal)
    }

    pub(super) fn remember(&self, id: FileId, refusal: Refusal) {
        // That depends on the variant, not on the original.
        if refusal == Refusal::Unencodable {
            return;
        }
        let now = self.files.clock().monotonic();
        let mut refusals = self.refusals.0.lock().unwrap_or_else(PoisonError::into_inner);
        if refusals.len() >= MAX_REFUSALS {
            refusals.retain(|_, (_, at)| now.since(*at) < REFUSAL_LIFE);
        }
        if refusals.len() < MAX_REFUSALS {
            refusals.insert(id, (refusal, now));
        }
    }
}

//! Requests that are carried out once: an attempt at one, and how it ended.
//!
//! Every attempt at a request under one idempotency key has the same seed. What an attempt makes gets its id from the
//! seed, so that another attempt, after the process of the first died, finds it instead of making it again.

use std::time::Duration;

use crate::clock::Timestamp;

/// How long a request is believed to be in flight after the last sign of life. An HTTP API ends a request after 30 s;
/// one that takes longer renews its hold on the key.
pub(crate) const FLIGHT: Duration = Duration::from_secs(60);

/// How a request ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The HTTP status.
    pub status: u16,
    /// The `ETag`, where the answer has one.
    pub etag: Option<String>,
    /// The body.
    pub body: String,
}

/// One attempt at a request under an idempotency key.
#[derive(Clone, PartialEq, Eq)]
pub struct Attempt {
    /// What the ids of everything that the request makes follow from; the same for every attempt, and secret, as ids
    /// must not be guessed.
    pub seed: [u8; 16],
    /// When the first attempt began.
    pub begun: Timestamp,
    /// Whether an earlier attempt began and left no outcome.
    pub is_repeated: bool,
    /// What tells this attempt from every other.
    pub(crate) taker: String,
}

impl std::fmt::Debug for Attempt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Attempt").field("begun", &self.begun).field("is_repeated", &self.is_repeated).finish()
    }
}

impl Attempt {
    /// How often an attempt that goes on renews its hold on the key.
    pub const RENEW_EVERY: Duration = Duration::from_secs(FLIGHT.as_secs() / 3);
}

/// What is known of an idempotency key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Once {
    /// No outcome: the request is the caller's to carry out.
    Fresh(Attempt),
    /// It was carried out.
    Done(Outcome),
    /// Another attempt is carrying it out.
    InFlight,
    /// It was used for another request.
    Mismatch,
}

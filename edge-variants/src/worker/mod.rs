//! From a path that the bucket does not hold to the variant that belongs there.
//!
//! The worker does not know who asks: it decides from the path and the record alone. It makes exactly the variants that a
//! record offers, stores each where its path says, and answers 404 to everything else without reading a byte.
//!
//! | file | what it holds |
//! |---|---|
//! | `http` | the route, and the reply for each outcome |
//! | `flights` | one making of each variant at a time, however many ask |
//! | `variant` | a variant from its record to the bucket |
//! | `decodings` | one decoding of each original for all variants that are wanted of it |
//! | `budget` | memory and processors, and the order in which projects get them |
//! | `refusals` | which originals were refused a moment ago |
//! | `stopgap` | the WebP that is shown while an AVIF is made |
//! | `placeholder` | the placeholder of a published image |
//! | `invocations` | a process that is frozen between requests |

mod budget;
mod decodings;
mod flights;
mod http;
mod invocations;
mod placeholder;
mod refusals;
mod stopgap;
mod variant;

pub use self::invocations::Invocations;

use std::{sync::Arc, time::Duration};

use tokio::sync::{OwnedRwLockWriteGuard, RwLock};
use xfiles_core::{metrics::Metrics, operations::Variants, variant::Colour};

use self::{
    budget::{Budget, LaneKind},
    decodings::Lane,
    flights::Flights,
    refusals::Refusals,
};

/// How long an original may take to become a small image. Together with the wait for a turn it is less than the function
/// may take.
const RENDER: Duration = Duration::from_secs(15);

/// The worker: the stores, and how many images it renders at once.
#[derive(Clone)]
pub struct Worker {
    files: Variants,
    renders: usize,
    budget: Budget,
    lane: Lane,
    /// A lane of its own, because on Lambda one AVIF fills the other.
    stopgaps: Lane,
    patience: Duration,
    render: Duration,
    background: Colour,
    flights: Flights,
    /// Held for reading while a variant is stored, from the last check before to the last check after.
    storing: Arc<RwLock<()>>,
    refusals: Refusals,
    metrics: Metrics,
}

/// While it lives, no variant is stored.
#[expect(dead_code, reason = "it is held and never looked at")]
#[derive(Debug)]
pub struct Pause(OwnedRwLockWriteGuard<()>);

impl Worker {
    /// The default memory of all renders together, in bytes. On a machine of 1 GB it leaves half to the system and to the
    /// rest of the program, which holds 64 MiB of the CDN's answers, the caches of two databases and the bodies of
    /// requests.
    pub const RENDER_MEMORY: u64 = 512 << 20;

    /// The least memory of all renders together: with less, some photographs of 12 megapixels would be refused.
    pub const LEAST_RENDER_MEMORY: u64 = 128 << 20;

    /// A worker that renders at most `renders` images at once.
    pub fn new(files: impl Into<Variants>, renders: usize) -> Self {
        Self {
            files: files.into(),
            renders,
            budget: Budget::new(Self::RENDER_MEMORY, renders),
            lane: Lane::new(LaneKind::Asked, renders),
            stopgaps: Lane::new(LaneKind::Stopgap, renders),
            patience: stopgap::PATIENCE,
            render: RENDER,
            background: Colour::WHITE,
            flights: Flights::default(),
            storing: Arc::default(),
            refusals: Refusals::default(),
            metrics: Metrics::default(),
        }
    }

    /// Sets how long a request waits for AVIF. After that it gets the WebP of that width, not to be stored, and a later
    /// request finds the AVIF. On Lambda, which freezes a function between its requests, the AVIF is made while later ones
    /// are answered.
    #[must_use]
    pub fn patient_for(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// Sets the memory of all renders together, in bytes. An original that needs more by itself is refused.
    #[must_use]
    pub fn rendering_in(self, bytes: u64) -> Self {
        Self { budget: Budget::new(bytes, self.renders), ..self }
    }

    /// Sets how long an original may take to become a small image. What takes longer is stopped, frees its place, and is
    /// not tried again for a minute.
    #[must_use]
    pub fn rendering_within(self, render: Duration) -> Self {
        Self { render, ..self }
    }

    /// Sets the colour behind transparent pixels in JPEG. Stored variants keep theirs.
    #[must_use]
    pub fn flattening_on(self, background: Colour) -> Self {
        Self { background, ..self }
    }

    /// Sets where the worker counts.
    #[must_use]
    pub fn counting(self, metrics: Metrics) -> Self {
        Self { metrics, ..self }
    }

    /// Waits until no variant is being stored, and lets none be stored until the guard is dropped. A process that may be
    /// frozen must not be frozen while it stores one.
    pub async fn pause(&self) -> Pause {
        Pause(Arc::clone(&self.storing).write_owned().await)
    }
}

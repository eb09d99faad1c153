//! When rendering has to stop.

use std::time::Instant;

use super::Refusal;

/// A moment, or never. It is checked between the steps of rendering and, in the longest of our own steps, decoding a
/// JPEG, between rows. With what [`limits`](super::limits) admits, no other step takes more than a few seconds.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Deadline(Option<Instant>);

impl Deadline {
    pub(super) const NEVER: Self = Self(None);

    pub(super) fn at(moment: Instant) -> Self {
        Self(Some(moment))
    }

    pub(super) fn is_past(self) -> bool {
        self.0.is_some_and(|moment| moment <= Instant::now())
    }

    pub(super) fn check(self) -> Result<(), Refusal> {
        if self.is_past() { Err(Refusal::OutOfTime) } else { Ok(()) }
    }
}

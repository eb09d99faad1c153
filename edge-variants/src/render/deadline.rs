//! Until when a rendering may go on.

use std::time::Instant;

use super::Refusal;

/// A moment, or never. It is looked at between the steps of a rendering, and in the longest one that is ours, the walk
/// through a JPEG, between rows. No other step takes more than a few seconds with what [`limits`](super::limits) admits.
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

//! Detection of stalled transfers.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep};

use super::limits::MIN_PROGRESS;

/// Measures the time without enough progress. Only time spent waiting counts, so that a slow server does not blame its
/// clients.
pub(super) struct Patience {
    whole: Duration,
    left: Duration,
    moved: usize,
    waiting_since: Option<Instant>,
    alarm: Option<Pin<Box<Sleep>>>,
}

impl Patience {
    pub(super) fn new(whole: Duration) -> Self {
        Self { whole, left: whole, moved: 0, waiting_since: None, alarm: None }
    }

    /// Records progress of this many bytes.
    pub(super) fn progress(&mut self, bytes: usize) {
        let Some(since) = self.waiting_since.take() else { return };
        self.left = self.left.saturating_sub(since.elapsed());
        self.moved = self.moved.saturating_add(bytes);
        if self.moved >= MIN_PROGRESS {
            self.restore();
        }
    }

    /// Resets the timer: everything has arrived.
    pub(super) fn restore(&mut self) {
        (self.left, self.moved, self.waiting_since) = (self.whole, 0, None);
    }

    /// Called while waiting. Ready once the time limit is exceeded; until then the task is woken for that.
    pub(super) fn poll_lost(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.waiting_since.is_none() {
            self.waiting_since = Some(Instant::now());
            let left = self.left;
            match &mut self.alarm {
                Some(alarm) => alarm.as_mut().reset(Instant::now() + left),
                None => self.alarm = Some(Box::pin(sleep(left))),
            }
        }
        self.alarm.as_mut().map_or(Poll::Pending, |alarm| alarm.as_mut().poll(cx))
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use futures::FutureExt as _;

    use super::*;

    const IDLE: Duration = Duration::from_secs(30);

    async fn lost_within(patience: &mut Patience, seconds: u64) -> bool {
        let lost = poll_fn(|cx| patience.poll_lost(cx));
        tokio::time::timeout(Duration::from_secs(seconds), lost).await.is_ok()
    }

    #[tokio::test(start_paused = true)]
    async fn progress_resets_the_timer_and_a_single_byte_does_not() {
        let mut patience = Patience::new(IDLE);
        assert!(!lost_within(&mut patience, 29).await);
        patience.progress(MIN_PROGRESS);
        assert!(!lost_within(&mut patience, 29).await);
        patience.progress(1);
        assert!(lost_within(&mut patience, 2).await);
    }

    #[tokio::test(start_paused = true)]
    async fn only_waiting_time_counts() {
        let mut patience = Patience::new(IDLE);
        assert!(!lost_within(&mut patience, 20).await);
        patience.progress(1);
        tokio::time::advance(Duration::from_secs(3_600)).await;
        assert!(poll_fn(|cx| patience.poll_lost(cx)).now_or_never().is_none());
        assert!(lost_within(&mut patience, 11).await);
    }
}

//! Invocations of the worker where its process is frozen between them, as Lambda does.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{Pause, Worker};

/// A worker that may be frozen while it has no invocation. Variants that are being made continue with the next invocation,
/// but none is stored across a freeze, because a change to its file may complete meanwhile.
pub struct Invocations {
    worker: Worker,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    running: usize,
    /// Held while nothing runs.
    pause: Option<Pause>,
}

impl Invocations {
    /// Invocations of this worker.
    pub fn of(worker: Worker) -> Self {
        Self { worker, state: Mutex::default() }
    }

    /// Runs one invocation, then waits for variants that are being stored.
    pub async fn run<T>(&self, work: impl Future<Output = T>) -> T {
        let running = Running::begin(self);
        let done = work.await;
        if running.is_last() {
            let pause = self.worker.pause().await;
            let mut state = self.state();
            if state.running == 1 {
                state.pause = Some(pause);
            }
        }
        drop(running);
        done
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An invocation that has not ended.
struct Running<'a>(&'a Invocations);

impl<'a> Running<'a> {
    fn begin(of: &'a Invocations) -> Self {
        let mut state = of.state();
        state.running += 1;
        state.pause = None;
        drop(state);
        Self(of)
    }

    fn is_last(&self) -> bool {
        self.0.state().running == 1
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.state().running -= 1;
    }
}

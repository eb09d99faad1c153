//! Retries of operations that are safe to repeat.

use std::{thread, time::Duration};

use crate::failure::{Failure, Retry};

/// The pauses between attempts: four attempts in all, so that a server that is down is reported within four seconds.
const PAUSES: [Duration; 3] = [Duration::from_millis(500), Duration::from_secs(1), Duration::from_secs(2)];
/// The longest pause that `Retry-After` can request, for a user who waits at a terminal.
const LONGEST: Duration = Duration::from_secs(30);

/// Calls `attempt` until it succeeds, fails permanently, or the attempts are used up.
pub(crate) fn with_retries<T>(mut attempt: impl FnMut() -> Result<T, Failure>) -> Result<T, Failure> {
    for pause in PAUSES {
        match attempt() {
            Err(failure) => match failure.retries() {
                Retry::Never => return Err(failure),
                Retry::After(asked) => thread::sleep(pause.max(asked.min(LONGEST))),
            },
            done => return done,
        }
    }
    attempt()
}

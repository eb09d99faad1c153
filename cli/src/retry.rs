//! Trying again what may succeed the next time. Only for operations that are safe to repeat.

use std::{thread, time::Duration};

use crate::failure::{Failure, Retry};

/// The pauses between tries: four tries in all, and a server that is down is reported within four seconds.
const PAUSES: [Duration; 3] = [Duration::from_millis(500), Duration::from_secs(1), Duration::from_secs(2)];
/// The longest pause that a `Retry-After` can ask for; nobody waits longer in front of a terminal.
const LONGEST: Duration = Duration::from_secs(30);

/// Does `attempt` until it succeeds, fails for good, or has been tried often enough.
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

//! The uploads that `xf upload` has begun on the server and not published yet. They hold quota until they expire, so an
//! interrupt or a failure cancels them.

use std::{
    collections::BTreeSet,
    io::Write as _,
    process,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use tokio::{
    runtime::{Builder, Runtime},
    signal::unix::{SignalKind, signal},
    sync::oneshot,
};
use xfiles_api_types::files::Upload;
use xfiles_core::id::FileId;

use crate::{
    client::{Client, IdempotencyKey},
    failure::{Exit, Failure},
};

/// How long an interrupt waits for responses to upload intents: without the response, the id of the upload is not
/// known.
const PATIENCE: Duration = Duration::from_secs(5);

/// The number of uploads that one request cancels.
const ENDED_AT_ONCE: usize = 100;

/// The exit code that a shell reports for a process that Ctrl-C ended: 128 plus the signal number.
const INTERRUPTED: i32 = 130;

/// The uploads, shared by the threads that execute them.
#[derive(Default)]
pub(crate) struct Unfinished {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// The number of intents without a response.
    beginning: usize,
    begun: BTreeSet<FileId>,
    interrupted: bool,
}

impl Unfinished {
    /// Begins an upload and records it.
    pub(crate) fn begin(&self, begin: impl FnOnce() -> Result<Upload, Failure>) -> Result<Upload, Failure> {
        {
            let mut state = self.lock();
            if state.interrupted {
                return Err(interrupted());
            }
            state.beginning += 1;
        }
        let begun = begin();
        let mut state = self.lock();
        state.beginning -= 1;
        if let Ok(ticket) = &begun {
            state.begun.insert(ticket.file_id);
        }
        self.changed.notify_all();
        if state.interrupted { Err(interrupted()) } else { begun }
    }

    /// From here on the upload may be published, so it is no longer cancelled.
    pub(crate) fn publish(&self, file: FileId) -> Result<(), Failure> {
        let mut state = self.lock();
        if state.interrupted {
            return Err(interrupted());
        }
        state.begun.remove(&file);
        Ok(())
    }

    /// Cancels a failed upload that was not published. Best effort: it expires in half an hour anyway.
    pub(crate) fn give_up(&self, file: FileId, client: &Client) {
        let mine = {
            let mut state = self.lock();
            !state.interrupted && state.begun.remove(&file)
        };
        if mine {
            end(&[file], client);
        }
    }

    /// Prevents further uploads and publications, and returns the uploads that have begun.
    fn interrupt(&self) -> Vec<FileId> {
        let mut state = self.lock();
        state.interrupted = true;
        let waits = self.changed.wait_timeout_while(state, PATIENCE, |state| state.beginning > 0);
        let (mut state, _) = waits.unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut state.begun).into_iter().collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs the work. If Ctrl-C or SIGTERM interrupts it, cancels its unfinished uploads and ends the process; a second
    /// signal ends the process at once.
    pub(crate) fn unless_interrupted<T>(&self, client: &Client, work: impl FnOnce() -> T) -> T {
        let (finished, end_of_work) = oneshot::channel::<()>();
        thread::scope(|scope| {
            scope.spawn(|| {
                if let Some(runtime) = interrupted_before(end_of_work) {
                    self.end_process(client, runtime);
                }
            });
            let done = work();
            drop(finished);
            done
        })
    }

    fn end_process(&self, client: &Client, runtime: Runtime) {
        thread::spawn(move || {
            runtime.block_on(next_signal());
            process::exit(INTERRUPTED);
        });
        let begun = self.interrupt();
        let ended = begun.chunks(ENDED_AT_ONCE).map(|ids| end(ids, client)).sum::<usize>();
        let uploads = |count| if count == 1 { "1 upload".to_owned() } else { format!("{count} uploads") };
        let text = match (begun.len(), ended) {
            (0, _) => "interrupted".to_owned(),
            (begun, ended) if begun == ended => format!("interrupted; cancelled on the server: {}", uploads(begun)),
            (begun, ended) => {
                format!("interrupted; not cancelled, and expiring within half an hour: {}", uploads(begun - ended))
            }
        };
        // The process ends even if this cannot be written.
        drop(writeln!(std::io::stderr(), "{text}"));
        process::exit(INTERRUPTED);
    }
}

/// Cancels uploads and returns the number of those that were cancelled.
fn end(ids: &[FileId], client: &Client) -> usize {
    let outcomes = client.delete(ids, &IdempotencyKey::mint());
    outcomes.map_or(0, |outcomes| outcomes.into_iter().filter(Result::is_ok).count())
}

fn interrupted() -> Failure {
    Failure::new(Exit::Failed, "interrupted")
}

/// Waits for a signal or the end of the work. After a signal, returns the runtime for waiting for the next one.
fn interrupted_before(end_of_work: oneshot::Receiver<()>) -> Option<Runtime> {
    // Without a runtime or a handler a signal ends the process, and the uploads expire.
    let runtime = Builder::new_current_thread().enable_all().build().ok()?;
    let interrupted = runtime.block_on(async {
        tokio::select! {
            heard = next_signal() => heard,
            _ = end_of_work => false,
        }
    });
    interrupted.then_some(runtime)
}

/// Returns true after a signal, and false if signals cannot be received.
async fn next_signal() -> bool {
    let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return false;
    };
    tokio::select! {
        heard = interrupt.recv() => heard.is_some(),
        heard = terminate.recv() => heard.is_some(),
    }
}

#[cfg(test)]
mod tests {
    use xfiles_api_types::wire::Wire as _;

    use super::*;

    #[test]
    fn nothing_starts_or_is_published_after_an_interrupt_and_started_uploads_are_listed() {
        let unfinished = Unfinished::default();
        let (published, begun) = (FileId::mint(), FileId::mint());
        let a_ticket = |id: FileId| -> Upload {
            let mut answer = Upload::example().unwrap();
            answer["fileId"] = id.to_string().into();
            xfiles_api_types::read_answer(&answer).unwrap()
        };
        let ticket = |id| move || Ok(a_ticket(id));
        assert!(unfinished.begin(ticket(published)).is_ok() && unfinished.begin(ticket(begun)).is_ok());
        assert!(unfinished.publish(published).is_ok());

        // One intent gets its response only after the interrupt.
        let late = FileId::mint();
        let ended = thread::scope(|scope| {
            let (sent, send) = std::sync::mpsc::channel();
            let unfinished = &unfinished;
            let beginning = scope.spawn(move || {
                unfinished.begin(|| {
                    sent.send(()).unwrap();
                    while !unfinished.lock().interrupted {
                        thread::yield_now();
                    }
                    Ok(a_ticket(late))
                })
            });
            send.recv().unwrap();
            let ended = unfinished.interrupt();
            assert!(beginning.join().unwrap().is_err());
            ended
        });
        assert_eq!(ended, BTreeSet::from([begun, late]).into_iter().collect::<Vec<_>>());
        assert!(unfinished.begin(ticket(FileId::mint())).is_err() && unfinished.publish(begun).is_err());
    }
}

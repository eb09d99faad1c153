//! Requests that write run to their end, whether or not their client waits.
//!
//! A server drops a handler when its client disconnects. A handler that writes would be left half-way: a batch partly
//! reserved, a file moved and not purged. So it runs in a task of its own; the connection only waits for the response.
//! A read changes nothing and ends with its connection.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, Method, header};
use sha2::{Digest as _, Sha256};
use tokio::sync::watch;

use crate::{Code, error::Problem};

/// How many requests of one API key may go on without their clients. One that is at the limit waits for them.
const LEFT_OF_ONE_CALLER: usize = 32;

/// How many requests may go on without their clients altogether: each holds at most a body and an answer of 512 KB.
const LEFT_ALTOGETHER: usize = 512;

/// How long a refused client waits before it tries again.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The requests that write, and are under way.
#[derive(Clone, Debug)]
pub(crate) struct Work {
    left: Arc<Mutex<Left>>,
    under_way: Arc<watch::Sender<usize>>,
}

/// How many of them have lost their clients.
#[derive(Debug, Default)]
struct Left {
    altogether: usize,
    by_caller: HashMap<Caller, usize>,
}

/// Whose request it is: the beginning of a digest of the `Authorization` header, which nobody has looked up yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Caller([u8; 8]);

/// The client of a request.
#[derive(Clone, Debug, Default)]
pub(crate) struct Client {
    is_gone: Arc<AtomicBool>,
}

impl Client {
    /// Returns true if the client no longer waits for the response.
    pub(crate) fn is_gone(&self) -> bool {
        self.is_gone.load(Ordering::SeqCst)
    }
}

impl Work {
    pub(crate) fn new() -> Self {
        Self { left: Arc::default(), under_way: Arc::new(watch::channel(0).0) }
    }

    /// Returns true if a request by this method is carried out even if its client leaves.
    pub(crate) fn is_kept(method: &Method) -> bool {
        !method.is_safe()
    }

    /// Answers a request: to the end if it writes, and as long as its client waits if it only reads.
    pub(crate) async fn answer<F>(
        &self,
        method: &Method,
        headers: &HeaderMap,
        answer: impl FnOnce(Client, Option<Problem>) -> F,
    ) -> Response
    where
        F: Future<Output = Response> + Send + 'static,
    {
        let client = Client::default();
        if !Self::is_kept(method) {
            return answer(client, None).await;
        }
        let caller = Caller::of(headers);
        let answer = answer(client.clone(), self.refusal(caller));
        self.under_way.send_modify(|count| *count += 1);
        let ends = Ends { work: self.clone(), caller, client: client.clone() };
        let task = tokio::spawn(async move {
            let response = answer.await;
            drop(ends);
            response
        });
        let mut waits = Waits { work: self, caller, client: &client, answered: false };
        let answered = task.await;
        waits.answered = true;
        // The answer catches the panics of its handler; this is one of the code around it, or the end of the process.
        answered.unwrap_or_else(|_| Problem::new(Code::Internal).into_response())
    }

    /// Waits until nothing is under way.
    pub(crate) async fn ended(&self) {
        // The sender is here, so the channel is open.
        drop(self.under_way.subscribe().wait_for(|count| *count == 0).await);
    }

    fn refusal(&self, caller: Caller) -> Option<Problem> {
        let left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        let of_caller = left.by_caller.get(&caller).copied().unwrap_or(0);
        let (code, count, whose) = match () {
            () if of_caller >= LEFT_OF_ONE_CALLER => (Code::RateLimited, of_caller, "of this API key"),
            () if left.altogether >= LEFT_ALTOGETHER => (Code::Unavailable, left.altogether, "of all API keys"),
            () => return None,
        };
        let detail = format!("{count} requests {whose} are still being carried out although their clients have left");
        Some(Problem { retry_after: Some(RETRY_AFTER), ..Problem::new(code).because(detail) })
    }
}

impl Caller {
    fn of(headers: &HeaderMap) -> Self {
        let key = headers.get(header::AUTHORIZATION).map(|value| value.as_bytes()).unwrap_or_default();
        Self(*Sha256::digest(key).first_chunk().expect("a digest has 32 bytes"))
    }
}

/// A connection that waits for a response. Dropped before it has it, the client is gone.
struct Waits<'a> {
    work: &'a Work,
    caller: Caller,
    client: &'a Client,
    answered: bool,
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        if self.answered {
            return;
        }
        let mut left = self.work.left.lock().unwrap_or_else(PoisonError::into_inner);
        // Under the lock, so that the end of the work either sees it or has come before.
        if !self.client.is_gone.swap(true, Ordering::SeqCst) {
            left.altogether += 1;
            *left.by_caller.entry(self.caller).or_default() += 1;
        }
    }
}

/// The end of a request's work, also by a panic.
struct Ends {
    work: Work,
    caller: Caller,
    client: Client,
}

impl Drop for Ends {
    fn drop(&mut self) {
        let mut left = self.work.left.lock().unwrap_or_else(PoisonError::into_inner);
        // A client that leaves from here on has left nothing behind.
        if self.client.is_gone.swap(true, Ordering::SeqCst) {
            left.altogether -= 1;
            if let Some(count) = left.by_caller.get_mut(&self.caller) {
                *count -= 1;
                if *count == 0 {
                    left.by_caller.remove(&self.caller);
                }
            }
        }
        drop(left);
        self.work.under_way.send_modify(|count| *count -= 1);
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::Notify;

    use super::*;

    /// Begins a request whose work ends when it is told to, and leaves.
    async fn leave(work: &Work, end: Arc<Notify>) {
        let began = Arc::new(Notify::new());
        let begins = began.clone();
        let headers = HeaderMap::new();
        let answer = work.answer(&Method::POST, &headers, move |_, refused| async move {
            begins.notify_one();
            if let Some(problem) = refused {
                return problem.into_response();
            }
            end.notified().await;
            "done".into_response()
        });
        tokio::select! {
            biased;
            _ = answer => {}
            () = began.notified() => {}
        }
    }

    #[tokio::test]
    async fn work_whose_client_left_ends_and_counts_until_then() {
        let (work, end) = (Work::new(), Arc::new(Notify::new()));
        for _ in 0..LEFT_OF_ONE_CALLER {
            leave(&work, end.clone()).await;
        }
        let caller = Caller::of(&HeaderMap::new());
        assert_eq!(work.refusal(caller).map(|problem| problem.code), Some(Code::RateLimited));
        let other = HeaderMap::from_iter([(header::AUTHORIZATION, "Bearer other".parse().unwrap())]);
        assert!(work.refusal(Caller::of(&other)).is_none(), "another caller is not held up");

        for _ in 0..LEFT_OF_ONE_CALLER {
            end.notify_one();
            tokio::task::yield_now().await;
        }
        work.ended().await;
        assert!(work.refusal(caller).is_none());
        assert!(work.left.lock().unwrap().by_caller.is_empty());
    }

    #[tokio::test]
    async fn a_read_ends_with_its_client() {
        let (work, end) = (Work::new(), Arc::new(Notify::new()));
        let (held, headers) = (end.clone(), HeaderMap::new());
        let answer = work.answer(&Method::GET, &headers, move |_, _| async move {
            held.notified().await;
            "read".into_response()
        });
        drop(answer);
        assert_eq!(Arc::strong_count(&end), 1, "nothing of it is left");
        work.ended().await;
    }

    #[tokio::test]
    async fn a_panic_outside_the_handler_is_an_internal_error() {
        let (work, headers) = (Work::new(), HeaderMap::new());
        let answer = work.answer(&Method::POST, &headers, |_, _| async { panic!("outside") }).await;
        assert_eq!(answer.status(), http::StatusCode::INTERNAL_SERVER_ERROR);
        work.ended().await;
    }
}

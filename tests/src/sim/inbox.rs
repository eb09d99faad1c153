//! The receiver of webhooks: takes a message, takes it and does not say so, refuses it, or is not there.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard},
};

use http::{Response, StatusCode};
use http_body_util::Empty;
use hyper::{body::Bytes, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::io::DuplexStream;

use super::random::Choices;

/// Whoever is told.
#[derive(Clone)]
pub(super) struct Inbox(Arc<Mutex<State>>);

struct State {
    choices: Choices,
    /// How many messages in a hundred it does not take, or takes without saying so.
    moody: u32,
    taken: BTreeSet<String>,
}

impl Inbox {
    pub(super) fn new(choices: Choices, moody: u32) -> Self {
        Self(Arc::new(Mutex::new(State { choices, moody, taken: BTreeSet::new() })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no holder panics")
    }

    /// From now on it takes everything.
    pub(super) fn calm_down(&self) {
        self.state().moody = 0;
    }

    /// Whether it took a message of this id at some time.
    pub(super) fn has(&self, id: &str) -> bool {
        self.state().taken.contains(id)
    }

    /// A connection to it.
    pub(super) fn connect(&self) -> DuplexStream {
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        let (answers, status) = {
            let State { choices, moody, .. } = &mut *self.state();
            match choices.percent(*moody) {
                false => (true, StatusCode::NO_CONTENT),
                true => *choices.one_of(&[
                    (true, StatusCode::INTERNAL_SERVER_ERROR),
                    (false, StatusCode::NO_CONTENT),
                    (false, StatusCode::INTERNAL_SERVER_ERROR),
                ]),
            }
        };
        let inbox = self.clone();
        tokio::spawn(async move {
            let take = service_fn(|request: http::Request<hyper::body::Incoming>| {
                let id = request.headers().get("webhook-id").and_then(|id| id.to_str().ok()).map(str::to_owned);
                if status.is_success() {
                    inbox.state().taken.extend(id);
                }
                let answer = Response::builder().status(status).body(Empty::<Bytes>::new()).expect("a response");
                std::future::ready(if answers { Ok(answer) } else { Err("the line is cut") })
            });
            // Whoever sent it may be gone.
            drop(http1::Builder::new().serve_connection(TokioIo::new(theirs), take).await);
        });
        ours
    }
}

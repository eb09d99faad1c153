//! What AWS says when it is busy, and the embedded engines never do: bounded retries, then a clear refusal, and nothing
//! left behind.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use aws_smithy_runtime_api::{
    client::{
        http::{HttpConnector as _, HttpConnectorFuture, SharedHttpConnector},
        orchestrator::{HttpRequest, HttpResponse},
        result::ConnectorError,
    },
    http::StatusCode,
};
use aws_smithy_types::body::SdkBody;
use futures::future::join_all;
use serde_json::json;
use xfiles_core::{error::Error, lifecycle::Files};
use xfiles_tests::{
    TEXT, World, file_id,
    wire::{self, Line},
};

/// How a store fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// `TransactWriteItems` meets another transaction.
    Conflict,
    /// DynamoDB throttles everything.
    Throttling,
    /// S3 asks to slow down.
    SlowDown,
    /// A copy begins to answer 200 and fails in the body.
    CopyFailsLate,
    /// A copy is made, and S3 answers 503.
    CopyDoneAnd503,
    /// No answer in time.
    Timeout,
    /// The credentials have ended.
    ExpiredToken,
}

/// A line on which requests fail, so many times.
#[derive(Debug)]
struct Failing {
    fault: Fault,
    times: usize,
    failed: AtomicUsize,
}

fn answer(status: u16, body: &'static str) -> HttpResponse {
    HttpResponse::new(StatusCode::try_from(status).unwrap(), SdkBody::from(body))
}

impl Failing {
    fn meets(&self, request: &HttpRequest) -> bool {
        let target = request.headers().get("x-amz-target");
        let copies = request.headers().get("x-amz-copy-source").is_some();
        match self.fault {
            Fault::Conflict => target.is_some_and(|target| target.ends_with("TransactWriteItems")),
            Fault::Throttling => target.is_some(),
            Fault::SlowDown => target.is_none(),
            Fault::CopyFailsLate | Fault::CopyDoneAnd503 => copies,
            Fault::Timeout | Fault::ExpiredToken => true,
        }
    }
}

impl Line for Failing {
    fn carry(&self, request: HttpRequest, store: SharedHttpConnector) -> HttpConnectorFuture {
        if !self.meets(&request) || self.failed.fetch_add(1, Ordering::SeqCst) >= self.times {
            return HttpConnectorFuture::new(async move { store.call(request).await });
        }
        let slow = "<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>";
        let of_dynamodb = request.headers().get("x-amz-target").is_some();
        HttpConnectorFuture::ready(match self.fault {
            Fault::Conflict => Ok(answer(
                400,
                r#"{"__type":"com.amazonaws.dynamodb.v20120810#TransactionCanceledException","CancellationReasons":[{"Code":"TransactionConflict"},{"Code":"None"}]}"#,
            )),
            Fault::Throttling => {
                Ok(answer(400, r#"{"__type":"com.amazonaws.dynamodb.v20120810#ThrottlingException","message":"slow"}"#))
            }
            Fault::SlowDown => Ok(answer(503, slow)),
            Fault::CopyFailsLate => Ok(answer(200, slow)),
            Fault::CopyDoneAnd503 => {
                return HttpConnectorFuture::new(async move {
                    drop(store.call(request).await);
                    Ok(answer(503, slow))
                });
            }
            Fault::Timeout => Err(ConnectorError::timeout("no answer".into())),
            Fault::ExpiredToken if of_dynamodb => Ok(answer(
                400,
                r#"{"__type":"com.amazon.coral.service#ExpiredTokenException","message":"The security token included in the request is expired"}"#,
            )),
            Fault::ExpiredToken => {
                Ok(answer(400, "<Error><Code>ExpiredToken</Code><Message>The token has expired.</Message></Error>"))
            }
        })
    }
}

fn failing(world: &World, fault: Fault, times: usize) -> (Files, Arc<Failing>) {
    let line = Arc::new(Failing { fault, times, failed: AtomicUsize::new(0) });
    (world.stack.files_through(|client| wire::through(line.clone(), client)), line)
}

/// A world with an upload that only has to be confirmed.
async fn uploaded() -> (World, xfiles_core::id::FileId) {
    let world = World::with_quota(1_000).await;
    let intent = world.client.intent(TEXT.0, TEXT.1, TEXT.2.len(), json!({})).await.ok();
    world.client.put(&intent, TEXT.1, TEXT.2).await;
    let id = file_id(&intent);
    (world, id)
}

async fn confirms_through(fault: Fault, times: usize) {
    let (world, id) = uploaded().await;
    let (files, line) = failing(&world, fault, times);
    files.confirm(world.stack.project(), id).await.unwrap();
    assert!(line.failed.load(Ordering::SeqCst) >= times, "{fault:?} was met");
    world.end().await;
}

async fn gives_up_cleanly(fault: Fault) {
    let (world, id) = uploaded().await;
    let (files, line) = failing(&world, fault, usize::MAX);
    match files.confirm(world.stack.project(), id).await {
        Err(Error::Unavailable { retry_after, .. }) => assert!(!retry_after.is_zero()),
        other => panic!("{fault:?}: {other:?}"),
    }
    let tried = line.failed.load(Ordering::SeqCst);
    assert!((1..=30).contains(&tried), "{fault:?}: {tried} tries are neither none nor without end");
    world.client.confirm(&id.to_string()).await.ok();
    world.end().await;
}

#[tokio::test]
async fn a_conflict_of_transactions_is_tried_again() {
    confirms_through(Fault::Conflict, 3).await;
}

#[tokio::test]
async fn throttling_is_tried_again() {
    confirms_through(Fault::Throttling, 2).await;
}

#[tokio::test]
async fn a_slow_down_is_tried_again() {
    confirms_through(Fault::SlowDown, 2).await;
}

#[tokio::test]
async fn a_copy_that_was_made_and_answered_503_counts_as_made() {
    confirms_through(Fault::CopyDoneAnd503, 1).await;
}

#[tokio::test]
async fn a_storm_of_conflicts_ends_in_unavailable_and_the_next_try_succeeds() {
    gives_up_cleanly(Fault::Conflict).await;
}

#[tokio::test]
async fn endless_throttling_ends_in_unavailable_and_the_next_try_succeeds() {
    gives_up_cleanly(Fault::Throttling).await;
}

#[tokio::test]
async fn an_endless_slow_down_ends_in_unavailable_and_the_next_try_succeeds() {
    gives_up_cleanly(Fault::SlowDown).await;
}

#[tokio::test]
async fn a_copy_that_fails_in_its_body_ends_in_unavailable_and_the_next_try_succeeds() {
    gives_up_cleanly(Fault::CopyFailsLate).await;
}

#[tokio::test]
async fn stores_that_do_not_answer_end_in_unavailable_and_the_next_try_succeeds() {
    gives_up_cleanly(Fault::Timeout).await;
}

#[tokio::test]
async fn ended_credentials_end_in_unavailable_and_the_next_try_succeeds() {
    gives_up_cleanly(Fault::ExpiredToken).await;
}

#[tokio::test]
async fn of_two_hundred_intents_at_once_exactly_those_that_fit_succeed() {
    let world = World::with_quota(50 * 10).await;
    let answers = join_all((0..200).map(|_| world.client.intent("a.txt", "text/plain", 10, json!({})))).await;
    let begun = answers.iter().filter(|answer| answer.status.is_success()).count();
    assert_eq!(begun, 50);
    for refused in answers.into_iter().filter(|answer| !answer.status.is_success()) {
        refused.refused(413, "quota_exceeded");
    }
    assert_eq!(world.project().await.free_bytes, 0);
    assert_eq!(world.records(world.stack.project()).await.len(), 50);
    world.end().await;
}

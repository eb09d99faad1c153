//! Errors of busy AWS services, which the embedded engines never return: bounded retries, then a clear error, and
//! nothing left behind.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use aws_credential_types::{Credentials, provider::SharedCredentialsProvider};
use aws_smithy_runtime_api::{
    client::{
        http::{HttpConnector as _, HttpConnectorFuture, SharedHttpConnector},
        orchestrator::{HttpRequest, HttpResponse},
        result::ConnectorError,
    },
    http::StatusCode,
};
use aws_smithy_types::body::SdkBody;
use axum::body::Body;
use futures::future::join_all;
use serde_json::{Value, json};
use tower::ServiceExt as _;
use xfiles_core::{
    cdn::{Cdn, Invalidate, InvalidateError, InvalidateFuture, KeyPairId, Signer, SigningKey, URL_LIFE},
    error::Error,
    intent::{ByteSize, OriginalFilename, UploadIntent, VariantPolicy},
    object_key::Visibility,
    operations::Files,
};
use xfiles_edge_variants::Worker;
use xfiles_tests::{
    TEXT, World, file_id, fixture, id_of,
    wire::{self, Line},
};

/// The failure of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// `TransactWriteItems` conflicts with another transaction.
    Conflict,
    /// DynamoDB throttles all requests.
    Throttling,
    /// S3 returns SlowDown.
    SlowDown,
    /// A copy returns 200 and then fails in the body.
    CopyFailsLate,
    /// A copy is completed, and S3 returns 503.
    CopyDoneAnd503,
    /// The response times out.
    Timeout,
    /// The credentials have expired.
    ExpiredToken,
    /// S3 returns 403 for a missing key, as it does without list permission.
    Missing403,
}

/// A connection on which this many requests fail.
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
            Fault::Missing403 => target.is_none() && matches!(request.method(), "GET" | "HEAD"),
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
            Fault::Missing403 => Ok(answer(403, "<Error><Code>AccessDenied</Code><Message>Denied</Message></Error>")),
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
    assert!((1..=30).contains(&tried), "{fault:?}: {tried} attempts are not between 1 and 30");
    world.client.confirm(&id.to_string()).await.ok();
    world.end().await;
}

#[tokio::test]
async fn a_transaction_conflict_is_retried() {
    confirms_through(Fault::Conflict, 3).await;
}

#[tokio::test]
async fn throttling_is_retried() {
    confirms_through(Fault::Throttling, 2).await;
}

#[tokio::test]
async fn a_slow_down_response_is_retried() {
    confirms_through(Fault::SlowDown, 2).await;
}

#[tokio::test]
async fn a_completed_copy_whose_response_was_503_counts_as_done() {
    confirms_through(Fault::CopyDoneAnd503, 1).await;
}

#[tokio::test]
async fn continuous_conflicts_return_unavailable_and_a_later_retry_succeeds() {
    gives_up_cleanly(Fault::Conflict).await;
}

#[tokio::test]
async fn continuous_throttling_returns_unavailable_and_a_later_retry_succeeds() {
    gives_up_cleanly(Fault::Throttling).await;
}

#[tokio::test]
async fn continuous_slow_down_returns_unavailable_and_a_later_retry_succeeds() {
    gives_up_cleanly(Fault::SlowDown).await;
}

#[tokio::test]
async fn a_copy_error_in_a_200_body_returns_unavailable_and_a_later_retry_succeeds() {
    gives_up_cleanly(Fault::CopyFailsLate).await;
}

#[tokio::test]
async fn unresponsive_stores_return_unavailable_and_a_later_retry_succeeds() {
    gives_up_cleanly(Fault::Timeout).await;
}

#[tokio::test]
async fn expired_credentials_return_unavailable_and_a_later_retry_succeeds() {
    gives_up_cleanly(Fault::ExpiredToken).await;
}

#[tokio::test]
async fn exactly_those_of_two_hundred_concurrent_intents_that_fit_succeed() {
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

#[tokio::test]
async fn a_key_that_s3_denies_because_it_does_not_exist_is_not_uploaded() {
    let world = World::with_quota(1_000).await;
    let intent = world.client.intent(TEXT.0, TEXT.1, TEXT.2.len(), json!({})).await.ok();
    let (files, _) = failing(&world, Fault::Missing403, usize::MAX);
    let confirmed = files.confirm(world.stack.project(), file_id(&intent)).await;
    assert!(matches!(confirmed, Err(Error::NotUploaded)), "{confirmed:?}");
    world.client.put(&intent, TEXT.1, TEXT.2).await;
    world.client.confirm(file_id(&intent).as_str()).await.ok();
    world.end().await;
}

#[tokio::test]
async fn a_worker_with_an_unresponsive_table_returns_retry_after_and_is_not_cached() {
    let world = World::start().await;
    let file = world.client.upload(("a.png", "image/png", &fixture("palette-alpha.png")), public_variants()).await;
    let read = world.client.get(&format!("/api/v1/files/{}", id_of(&file))).await.ok();
    let url = read["variants"][0]["url"].as_str().unwrap();
    let path = &url[url.find("/files/").unwrap()..];
    let (files, _) = failing(&world, Fault::Throttling, usize::MAX);
    let worker = Worker::new(files, 1).router();
    let answer = worker.oneshot(http::Request::get(path).body(Body::empty()).unwrap()).await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.headers()["cache-control"].to_str().unwrap()), (503, "no-store"));
    assert!(answer.headers().contains_key("retry-after"));
    assert_eq!(world.get(path).await.status(), 200);
    world.end().await;
}

#[tokio::test]
async fn a_placeholder_that_failed_because_of_a_store_is_made_later() {
    let world = World::start().await;
    let file = world.client.upload(("a.png", "image/png", &fixture("palette-alpha.png")), json!({})).await;
    for fault in [Fault::Throttling, Fault::SlowDown, Fault::Timeout] {
        let (files, _) = failing(&world, fault, usize::MAX);
        let failed = Worker::new(files, 1).note_placeholder(file_id(&file)).await;
        assert!(matches!(failed, Err(Error::Unavailable { .. })), "{fault:?}: {failed:?}");
    }
    Worker::new(world.files().clone(), 1).note_placeholder(file_id(&file)).await.unwrap();
    let read = world.client.get(&format!("/api/v1/files/{}", id_of(&file))).await.ok();
    assert!(read["file"]["thumbhash"].is_string());
    world.end().await;
}

fn public_variants() -> Value {
    json!({"visibility": "public", "transformations": {"image": {"enabled": true, "visibility": "public"}}})
}

/// A CDN that accepts no invalidations for now.
#[derive(Debug)]
struct BusyCdn;

impl Invalidate for BusyCdn {
    fn invalidate<'a>(&'a self, _: &'a str, _: Vec<String>) -> InvalidateFuture<'a> {
        Box::pin(async { Err(InvalidateError::Busy) })
    }
}

#[tokio::test]
async fn a_busy_cdn_leaves_the_invalidation_pending_and_the_bytes_deleted() {
    let world = World::start().await;
    let file = world.client.upload((TEXT.0, TEXT.1, TEXT.2), json!({"visibility": "public"})).await;
    let url = world.client.get(&format!("/api/v1/files/{}", id_of(&file))).await.ok()["url"].clone();
    assert_eq!(world.get(url.as_str().unwrap()).await.status(), 200);
    let (key, _) = SigningKey::generate_p256(KeyPairId::mint());
    let cdn = Cdn::new(world.stack.url().clone(), Signer::new(key, URL_LIFE), Arc::new(BusyCdn));
    let files = world.files().clone().with_cdn(cdn);
    let deleted = files.delete(world.stack.project(), file_id(&file), None).await;
    assert!(matches!(deleted, Err(Error::Unavailable { .. })), "{deleted:?}");
    assert!(world.objects().await.is_empty(), "bytes go before cached copies");
    assert_eq!(world.get(url.as_str().unwrap()).await.status(), 200, "the CDN still has it");
    world.pass_expiry();
    assert!(world.sweep().await.failed.is_empty());
    assert_eq!(world.get(url.as_str().unwrap()).await.status(), 404);
    assert_eq!(world.told_of(file_id(&file)).await.len(), 2);
    world.end().await;
}

#[tokio::test]
async fn urls_expire_before_the_credentials_that_signed_them() {
    let world = World::start().await;
    let now = std::time::UNIX_EPOCH + Duration::from_millis(world.clock.now().as_millis().try_into().unwrap());
    let ending = |life| {
        let ends = Some(now + Duration::from_secs(life));
        SharedCredentialsProvider::new(Credentials::new("AKID", "secret", None, ends, "test"))
    };
    for (life, expected) in [(60, 30), (931, 900), (10_000, 900)] {
        let files = world.files().clone().presigning_with(world.stack.s3_client(), ending(life));
        let begun = files.begin(world.stack.project(), intent()).await.unwrap();
        assert_eq!(begun.upload.life.as_secs(), expected, "{life}");
    }
    world.end().await;
}

fn intent() -> UploadIntent {
    UploadIntent {
        original_filename: OriginalFilename::new(TEXT.0).unwrap(),
        content_type: TEXT.1.parse().unwrap(),
        size: ByteSize::new(TEXT.2.len() as u64).unwrap(),
        visibility: Visibility::Public,
        owner: None,
        entity: None,
        variants: VariantPolicy::default(),
        checksum: None,
    }
}

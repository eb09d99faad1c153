//! Unfinished uploads are expired exactly once.

use std::{sync::Arc, time::Duration};

use aws_smithy_runtime_api::client::{
    http::{HttpConnector as _, HttpConnectorFuture, SharedHttpConnector},
    orchestrator::HttpRequest,
};
use futures::future::join_all;
use reqwest::StatusCode;
use serde_json::json;
use xfiles_core::clock::Clock;
use xfiles_tests::{
    TEXT, World, file_id, id_of, is_gone,
    wire::{self, Line},
};

#[tokio::test]
async fn an_upload_that_was_never_finished_returns_its_quota_once_it_is_due() {
    let world = World::with_quota(1_000).await;
    let never_put = world.client.intent("a.txt", "text/plain", 400, json!({})).await.ok();
    let never_confirmed = world.client.intent(TEXT.0, TEXT.1, TEXT.2.len(), json!({})).await.ok();
    world.client.put(&never_confirmed, TEXT.1, TEXT.2).await;
    let kept = world.client.upload(TEXT, json!({})).await;

    assert_eq!(world.sweep().await.settled, 0, "nothing is due yet");
    world.pass_expiry();
    let answer = world.client.post("/api/v1/cleanup", &json!({"dryRun": true})).await.ok();
    assert_eq!(answer["overdue"].as_array().unwrap().len(), 2);
    assert_eq!(world.project().await.free_bytes, 1_000 - 400 - 2 * TEXT.2.len() as u64, "a dry run changes nothing");

    let answer = world.client.post("/api/v1/cleanup", &json!({})).await.ok();
    assert_eq!(answer, json!({"settled": 2, "failed": [], "more": false}));
    assert_eq!(world.project().await.free_bytes, 1_000 - TEXT.2.len() as u64);
    for gone in [never_put, never_confirmed] {
        assert!(is_gone(
            &world.files().inspect().catalog.file(file_id(&gone), xfiles_core::catalog::Consistency::Strong).await
        ));
        world.client.confirm(id_of(&gone)).await.refused(404, "file_not_found");
    }
    assert!(world.objects().await.keys().all(|key| key.contains(id_of(&kept))));
    world.end().await;
}

#[tokio::test]
async fn concurrent_sweeps_return_the_quota_exactly_once() {
    let world = World::with_quota(10_000).await;
    for _ in 0..50 {
        world.client.intent("a.txt", "text/plain", 100, json!({})).await.ok();
    }
    world.pass_expiry();
    let reports = join_all((0..4).map(|_| world.sweep())).await;
    assert!(reports.iter().all(|report| report.failed.is_empty()), "{reports:?}");
    assert_eq!(world.project().await.free_bytes, 10_000);
    assert!(world.records(world.stack.project()).await.is_empty());
    world.end().await;
}

#[tokio::test]
async fn a_sweep_stops_at_its_limits_and_reports_it() {
    let world = World::start().await;
    for _ in 0..5 {
        world.client.intent("a.txt", "text/plain", 100, json!({})).await.ok();
    }
    world.pass_expiry();
    let bounds = xfiles_cleanup_cron::Bounds { records: 3, ..xfiles_cleanup_cron::Bounds::default() };
    let report = xfiles_cleanup_cron::run(world.files(), bounds).await.unwrap();
    assert_eq!((report.settled, report.more), (3, true));
    let report = xfiles_cleanup_cron::run(world.files(), bounds).await.unwrap();
    assert_eq!((report.settled, report.more), (2, false));
    world.end().await;
}

/// Every request takes a second.
#[derive(Debug)]
struct Slow(Clock);

impl Line for Slow {
    fn carry(&self, request: HttpRequest, store: SharedHttpConnector) -> HttpConnectorFuture {
        self.0.advance(Duration::from_secs(1));
        HttpConnectorFuture::new(async move { store.call(request).await })
    }
}

#[tokio::test]
async fn a_project_deletion_is_overdue_until_done_and_a_sweep_that_times_out_in_it_reports_it() {
    let world = World::start().await;
    for _ in 0..110 {
        world.client.upload(TEXT, json!({})).await;
    }
    world.pass(xfiles_core::file::LATE_COPIES);
    let project = world.stack.project();
    world.client.post(&format!("/api/v1/projects/{project}/empty"), &json!({})).await;
    let overdue = async || {
        let answer = world.client.post("/api/v1/cleanup", &json!({"dryRun": true})).await.ok();
        answer["overdue"].as_array().unwrap().iter().map(|debtor| debtor["state"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(overdue().await, ["clearing"]);

    let line = Arc::new(Slow(world.clock.clone()));
    let slow = world.stack.files_through(|client| wire::through(line.clone(), client));
    let report = slow.sweep(1_000, Duration::from_secs(100)).await.unwrap();
    assert!(report.more && report.failed.is_empty(), "{report:?}");
    assert_eq!(world.project().await.file_count, 10, "a page of its files was deleted");
    assert_eq!(overdue().await, ["clearing"]);

    let report = world.sweep().await;
    assert!(!report.more && report.failed.is_empty(), "{report:?}");
    assert_eq!(world.project().await.file_count, 0);
    assert!(overdue().await.is_empty());
    world.end().await;
}

#[tokio::test]
async fn exactly_one_of_a_confirmation_and_an_expiry_wins() {
    let world = World::start().await;
    for _ in 0..20 {
        let intent = world.client.intent(TEXT.0, TEXT.1, TEXT.2.len(), json!({})).await.ok();
        world.client.put(&intent, TEXT.1, TEXT.2).await;
        world.pass_expiry();
        let (confirmed, _) = tokio::join!(world.client.confirm(id_of(&intent)), world.sweep());
        let read = world.client.get(&format!("/api/v1/files/{}", id_of(&intent))).await;
        let published =
            world.objects().await.keys().any(|key| key.starts_with("files/") && key.contains(id_of(&intent)));
        match confirmed.status {
            StatusCode::OK => assert!(read.status == StatusCode::OK && published),
            StatusCode::NOT_FOUND | StatusCode::BAD_REQUEST => {
                assert!(read.status == StatusCode::NOT_FOUND && !published)
            }
            other => panic!("{other}: {}", confirmed.body),
        }
        world.check().await;
    }
    world.end().await;
}

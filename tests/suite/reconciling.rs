//! Inconsistencies that no crash explains: objects without records, records without objects, wrong counters. The
//! reconciliation reports them at once and repairs them a day later.

use std::time::Duration;

use aws_sdk_s3::primitives::ByteStream;
use serde_json::json;
use xfiles_core::operations::Reconciling;
use xfiles_standalone::BUCKET;
use xfiles_tests::{TEXT, World, id_of};

const DAY: Duration = Duration::from_secs(24 * 60 * 60 + 1);

async fn put(world: &World, key: &str) {
    let put = world.stack.s3_client().put_object().bucket(BUCKET).key(key).body(ByteStream::from_static(b"lost"));
    put.send().await.unwrap();
}

/// The key of an object that could belong to the first project but has no record.
async fn orphan(world: &World) -> String {
    let file = world.client.upload(TEXT, json!({"visibility": "public"})).await;
    let key = world.objects().await.into_keys().find(|key| key.contains(id_of(&file))).unwrap();
    world.pass(xfiles_core::file::LATE_COPIES);
    world.client.delete(&format!("/api/v1/files/{}", id_of(&file))).await.ok();
    put(world, &key).await;
    key
}

#[tokio::test]
async fn an_object_without_a_record_is_reported_at_once_and_removed_after_a_day() {
    let world = World::start().await;
    let kept = world.client.upload(TEXT, json!({})).await;
    let key = orphan(&world).await;

    let report = world.client.post("/api/v1/cleanup", &json!({"report": true})).await.ok()["report"].clone();
    assert_eq!(report["orphans"], json!([{"key": key}]));
    assert_eq!((&report["objects"], &report["records"]), (&json!(2), &json!(1)));

    assert_eq!(world.sweep().await.orphans, 0, "nothing is removed at the first finding");
    world.pass(DAY / 2);
    assert_eq!(world.sweep().await.orphans, 0, "nor before a day has passed");
    assert!(world.objects().await.contains_key(&key));
    world.pass(DAY / 2);
    assert_eq!(world.sweep().await.orphans, 1);
    let left: Vec<String> = world.objects().await.into_keys().collect();
    assert!(left.len() == 1 && left[0].contains(id_of(&kept)), "{left:?}");
    world.end().await;
}

#[tokio::test]
async fn objects_left_in_staging_by_replayed_uploads_are_removed() {
    let world = World::start().await;
    let intent = world.client.intent(TEXT.0, TEXT.1, TEXT.2.len(), json!({})).await.ok();
    world.client.put(&intent, TEXT.1, TEXT.2).await;
    world.client.confirm(id_of(&intent)).await.ok();
    assert_eq!(world.client.put(&intent, TEXT.1, TEXT.2).await, 200);
    assert_eq!(world.objects().await.len(), 2);
    world.sweep().await;
    world.pass(DAY);
    assert_eq!(world.sweep().await.orphans, 1);
    assert_eq!(world.objects().await.len(), 1);
    world.end().await;
}

#[tokio::test]
async fn foreign_objects_are_counted_and_not_removed() {
    let world = World::start().await;
    put(&world, "foreign/object's").await;
    world.sweep().await;
    world.pass(DAY);
    world.sweep().await;
    let found = world.files().reconcile(Reconciling::Report, Duration::from_secs(60)).await.unwrap();
    assert_eq!((found.foreign, found.orphans.len()), (1, 0));
    assert!(world.objects().await.contains_key("foreign/object's"));
    world.end().await;
}

#[tokio::test]
async fn an_upload_in_progress_is_not_an_orphan() {
    let world = World::start().await;
    let intent = world.client.intent(TEXT.0, TEXT.1, TEXT.2.len(), json!({})).await.ok();
    world.client.put(&intent, TEXT.1, TEXT.2).await;
    let found = world.files().reconcile(Reconciling::Report, Duration::from_secs(60)).await.unwrap();
    assert_eq!(found.orphans, []);
    world.end().await;
}

#[tokio::test]
async fn a_published_file_without_bytes_is_reported() {
    let world = World::start().await;
    let file = world.client.upload(TEXT, json!({})).await;
    let key = world.objects().await.into_keys().next().unwrap();
    world.stack.s3_client().delete_object().bucket(BUCKET).key(key).send().await.unwrap();
    let report = world.client.post("/api/v1/cleanup", &json!({"report": true})).await.ok()["report"].clone();
    assert_eq!(report["missing"], json!([id_of(&file)]));
    world.stack.stop().await;
}

#[tokio::test]
async fn wrong_free_bytes_are_reported_and_corrected_after_a_day() {
    let world = World::with_quota(1_000).await;
    world.client.upload(TEXT, json!({})).await;
    world.client.intent("a.txt", "text/plain", 100, json!({})).await.ok();
    let project = world.project().await;
    assert!(world.files().inspect().catalog.repair_free_bytes(&project, -40).await.unwrap());

    let report = world.client.post("/api/v1/cleanup", &json!({"report": true})).await.ok()["report"].clone();
    assert_eq!(report["drifts"], json!([{"projectId": project.id, "missingBytes": 40}]));
    world.sweep().await;
    assert_eq!(world.project().await.free_bytes, project.free_bytes - 40, "nothing is repaired at the first finding");
    world.pass(DAY);
    world.sweep().await;
    assert_eq!(
        world.project().await.free_bytes,
        1_000 - TEXT.2.len() as u64,
        "including the bytes of the expired upload"
    );
    world.end().await;
}

#[tokio::test]
async fn a_pass_resumes_where_the_last_run_stopped() {
    let world = World::start().await;
    let key = orphan(&world).await;
    // Without time, each call does one step: the bucket first and then the project.
    let steps = [(1, true), (0, true), (0, false)];
    let mut seen = Vec::new();
    for _ in 0..2 {
        let found = world.files().reconcile(Reconciling::Repair, Duration::ZERO).await.unwrap();
        seen.push((found.orphans.len(), found.more));
    }
    assert_eq!(seen[0], steps[0], "{key}");
    assert!(seen[1] == steps[1] || seen[1] == steps[2], "{seen:?}");
    world.stack.stop().await;
}

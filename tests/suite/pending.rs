//! Pending uploads: the bytes that they and their URLs hold, their limits, and their list.

use std::{collections::BTreeSet, num::NonZeroU32, time::Duration};

use futures::future::join_all;
use serde_json::{Value, json};
use xfiles_core::{
    catalog::{Consistency, UploadLimits},
    error::Error,
    file::File,
    operations::Reconciling,
};
use xfiles_standalone::{Data, Stack, StackOptions};
use xfiles_tests::{Client, TEXT, World, WorldOptions, file_id, id_of};

const SIZE: usize = 9_000;

async fn begin(client: &Client, size: usize) -> Value {
    client.intent("a.txt", "text/plain", size, json!({})).await.ok()
}

async fn put(client: &Client, intent: &Value) {
    assert_eq!(client.put(intent, "text/plain", vec![b'a'; SIZE]).await, 200);
}

async fn staged(world: &World) -> u64 {
    world.objects().await.iter().filter(|(key, _)| key.starts_with("staging/")).map(|(_, size)| size).sum()
}

/// Sends the store's notification for every staged object.
async fn tell_of_staged(world: &World) {
    for key in world.objects().await.into_keys().filter(|key| key.starts_with("staging/")) {
        let notification = json!({"Records": [{"eventName": "ObjectCreated:Put", "s3": {"object": {"key": key}}}]});
        xfiles_cleanup_cron::remove_late_arrivals(world.files(), &notification).await.unwrap();
    }
}

#[tokio::test]
async fn the_bytes_admitted_by_the_url_of_an_ended_upload_count_until_the_url_expires() {
    let world = World::with_quota(10_000).await;
    for (ended, end) in (1..).zip(["delete pending", "refuse", "delete confirmed"]) {
        let intent = begin(&world.client, SIZE).await;
        let path = format!("/api/v1/files/{}", id_of(&intent));
        put(&world.client, &intent).await;
        match end {
            "delete pending" => drop(world.client.delete(&path).await.ok()),
            "refuse" => {
                let record = world.files().inspect().catalog.file(file_id(&intent), Consistency::Strong).await.unwrap();
                let html = world.stack.s3_client().put_object().bucket(xfiles_standalone::BUCKET);
                let html = html.key(record.staging_key().to_string()).content_type("text/html");
                html.body(b"<html>".to_vec().into()).send().await.unwrap();
                world.client.confirm(id_of(&intent)).await.refused(422, "content_type_mismatch");
            }
            _ => {
                world.client.confirm(id_of(&intent)).await.ok();
                world.client.delete(&path).await.ok();
            }
        }
        let project = world.project().await;
        assert_eq!((project.free_bytes, project.pending_uploads), (10_000, 0), "the quota is free at once: {end}");
        assert_eq!(project.late_bytes, (ended * SIZE) as u64, "{end}");
        // The URL is still valid.
        put(&world.client, &intent).await;
    }
    assert_eq!(staged(&world).await, 3 * SIZE as u64);
    tell_of_staged(&world).await;
    assert_eq!(staged(&world).await, 0, "bytes with a notification are removed at once");

    world.pass_expiry();
    world.sweep().await;
    assert_eq!((world.project().await.late_bytes, world.unfinished().await.len()), (0, 0));
    world.end().await;
}

#[tokio::test]
async fn late_bytes_without_a_store_notification_are_removed_after_the_url_expires() {
    let world = World::with_quota(10_000).await;
    for confirmed in [false, true] {
        let intent = begin(&world.client, SIZE).await;
        put(&world.client, &intent).await;
        if confirmed {
            world.client.confirm(id_of(&intent)).await.ok();
        }
        world.client.delete(&format!("/api/v1/files/{}", id_of(&intent))).await.ok();
        put(&world.client, &intent).await;
    }
    world.sweep().await;
    assert_eq!(staged(&world).await, 2 * SIZE as u64, "no sweep removes them before the URLs have expired");
    world.pass_expiry();
    world.sweep().await;
    assert_eq!((world.objects().await.len(), world.unfinished().await.len()), (0, 0));
    world.end().await;
}

#[tokio::test]
async fn a_renewed_url_counts_from_the_time_of_renewal() {
    let world = World::start().await;
    let intent = begin(&world.client, SIZE).await;
    world.pass(Duration::from_secs(14 * 60));
    let path = format!("/api/v1/files/{}", id_of(&intent));
    let renewed = world.client.post(&format!("{path}/resign"), &json!({})).await.ok();
    world.client.delete(&path).await.ok();
    world.pass(Duration::from_secs(14 * 60));
    put(&world.client, &renewed).await;
    world.pass(Duration::from_secs(10 * 60));
    world.sweep().await;
    assert_eq!(staged(&world).await, SIZE as u64);
    world.pass(Duration::from_secs(10 * 60));
    world.sweep().await;
    assert_eq!((staged(&world).await, world.project().await.late_bytes), (0, 0));
    world.end().await;
}

/// The same attack on `xf serve`.
#[tokio::test]
async fn a_server_removes_bytes_that_arrive_after_their_upload_has_ended() {
    let stack = Stack::start(StackOptions {
        listen: "127.0.0.1:0".parse().unwrap(),
        cleanup_every: Some(Duration::from_secs(3_600)),
        ..StackOptions::new(Data::Ephemeral)
    })
    .await
    .unwrap();
    let world = World::start().await;
    let client = world.client.at(&stack.listens_at().to_string()).with_key(stack.first_key().unwrap().reveal());
    for _ in 0..5 {
        let intent = begin(&client, SIZE).await;
        put(&client, &intent).await;
        client.delete(&format!("/api/v1/files/{}", id_of(&intent))).await.ok();
        put(&client, &intent).await;
    }
    // Arrivals are handled in turn; the list is empty after the last one.
    loop {
        let objects = stack.s3_client().list_objects_v2().bucket(xfiles_standalone::BUCKET).send().await.unwrap();
        if objects.contents().is_empty() {
            break;
        }
        tokio::task::yield_now().await;
    }
    stack.stop().await;
    world.end().await;
}

fn limits(per_project: u32, per_key: u32) -> UploadLimits {
    UploadLimits { per_project: NonZeroU32::new(per_project).unwrap(), per_key: NonZeroU32::new(per_key).unwrap() }
}

async fn limited(world: &World, limits: UploadLimits) -> Client {
    let mut files = world.files().clone();
    files = files.with_upload_limits(limits);
    world.client_through(files).await
}

#[tokio::test]
async fn the_limits_on_pending_uploads_are_exact_under_races_and_the_error_has_a_remedy() {
    let world = World::start().await;
    let one = limited(&world, limits(10, 6)).await;
    let other = one.with_key(world.client_with(&xfiles_core::api_key::Scope::ALL).await.key());
    let begun = |client: Client| async move { client.intent("a.txt", "text/plain", 10, json!({})).await };
    let answers = join_all((0..24).map(|_| begun(one.clone()))).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 6);
    for refused in answers.into_iter().filter(|answer| answer.status != 200) {
        let problem = refused.refused(409, "too_many_pending_uploads");
        assert!(problem["detail"].as_str().unwrap().contains("the API key has 6 pending uploads, and the limit is 6"));
        assert!(problem["hint"].as_str().unwrap().contains("uploadStatus=pending"));
    }
    let answers = join_all((0..24).map(|_| begun(other.clone()))).await;
    let (mut taken, mut rest) = (Vec::new(), Vec::new());
    answers.into_iter().for_each(|answer| if answer.status == 200 { taken.push(answer) } else { rest.push(answer) });
    assert_eq!((taken.len(), rest.len()), (4, 20));
    let problem = rest.pop().unwrap().refused(409, "too_many_pending_uploads");
    assert!(problem["detail"].as_str().unwrap().contains("the project has 10 pending uploads"), "{problem}");

    // A batch that exceeds the limit is refused completely.
    let batch = json!({"allOrNothing": true, "files": vec![json!({"filename": "a", "contentType": "text/plain", "size": 1}); 7]});
    one.post("/api/v1/files/upload-intents", &batch).await.refused(409, "too_many_pending_uploads");

    // Each end of an upload allows another: a deletion, a confirmation, an expiry.
    let first = taken.pop().unwrap().body;
    other.delete(&format!("/api/v1/files/{}", id_of(&first))).await.ok();
    let next = begun(other.clone()).await.ok();
    begun(other.clone()).await.refused(409, "too_many_pending_uploads");
    assert_eq!(other.put(&next, "text/plain", vec![b'a'; 10]).await, 200);
    other.confirm(id_of(&next)).await.ok();
    begun(other.clone()).await.ok();
    world.pass_expiry();
    world.sweep().await;
    let project = world.project().await;
    assert_eq!((project.pending_uploads, project.reserved_bytes), (0, 0));
    assert!(project.pending_by_key.values().all(|count| *count == 0), "{:?}", project.pending_by_key);
    begun(one).await.ok();
    world.end().await;
}

#[tokio::test]
async fn a_quota_error_says_how_much_pending_uploads_hold() {
    let world = World::with_quota(10_000).await;
    begin(&world.client, 6_000).await;
    begin(&world.client, 3_000).await;
    let full = world.client.intent("a.txt", "text/plain", 2_000, json!({})).await.refused(413, "quota_exceeded");
    let detail = full["detail"].as_str().unwrap();
    assert!(detail.contains("9000 bytes are held by 2 pending uploads"), "{detail}");
    world.end().await;
}

async fn listed(client: &Client, limit: u32) -> Vec<Value> {
    let (mut found, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = client.get(&format!("/api/v1/files?uploadStatus=pending&limit={limit}&cursor={cursor}")).await.ok();
        let files = page["files"].as_array().unwrap();
        assert!(files.len() <= limit as usize);
        found.extend(files.iter().cloned());
        match page["nextCursor"].as_str() {
            Some(next) => cursor = next.to_owned(),
            None => return found,
        }
    }
}

#[tokio::test]
async fn pending_uploads_are_paginated_and_contain_only_the_projects_own() {
    let world = World::start().await;
    let other = world.client_of_another_project().await;
    let mut mine = BTreeSet::new();
    for i in 0..30 {
        mine.insert(id_of(&begin(&world.client, 10 + i).await).to_owned());
        begin(&other, 10).await;
        world.pass(Duration::from_millis(1));
    }
    // Uploads that are no longer pending are not listed.
    let gone = mine.pop_first().unwrap();
    world.client.delete(&format!("/api/v1/files/{gone}")).await.ok();
    let file = world.client.upload(TEXT, json!({})).await;

    for limit in [1, 7, 29, 100] {
        let found = listed(&world.client, limit).await;
        assert_eq!(found.len(), mine.len(), "each once, {limit} a page");
        assert_eq!(found.iter().map(|f| id_of(f).to_owned()).collect::<BTreeSet<_>>(), mine);
        let ends: Vec<&str> = found.iter().map(|file| file["expiresAt"].as_str().unwrap()).collect();
        assert!(ends.is_sorted(), "sorted by deadline");
    }
    let one = &listed(&world.client, 100).await[0];
    assert_eq!((&one["uploadStatus"], &one["originalFilename"]), (&json!("pending"), &json!("a.txt")));
    assert!(one["createdAt"].is_string() && one["size"].is_u64());
    assert_eq!(listed(&other, 100).await.len(), 30);

    let confirmed = world.client.get("/api/v1/files?uploadStatus=confirmed").await.ok();
    assert_eq!(id_of(&confirmed["files"][0]), id_of(&file));
    assert!(confirmed["files"][0].get("expiresAt").is_none());
    for wrong in [
        "uploadStatus=other",
        "uploadStatus=pending&page=1",
        "uploadStatus=pending&q=a",
        "uploadStatus=pending&cursor=AAAA",
    ] {
        world.client.get(&format!("/api/v1/files?{wrong}")).await.refused(400, "invalid_request");
    }
    world.end().await;
}

#[tokio::test]
async fn uncounted_uploads_of_an_earlier_version_end_like_any_other() {
    let world = World::with_quota(10_000).await;
    let mut older = Vec::new();
    for _ in 0..3 {
        let intent = begin(&world.client, 10).await;
        let record = world.files().inspect().catalog.file(file_id(&intent), Consistency::Strong).await.unwrap();
        let uncounted = File { url_expires: None, uploader: None, version: record.version + 1, ..record };
        world.files().inspect().catalog.replace(&uncounted).await.unwrap();
        older.push(intent);
    }
    let project = world.project().await;
    let none = xfiles_core::catalog::UploadCounts::default();
    assert!(world.files().inspect().catalog.repair_upload_counts(&project, &none).await.unwrap());

    begin(&world.client, 10).await;
    assert_eq!(world.client.put(&older[0], "text/plain", vec![b'a'; 10]).await, 200);
    world.client.confirm(id_of(&older[0])).await.ok();
    world.client.delete(&format!("/api/v1/files/{}", id_of(&older[1]))).await.ok();
    assert_eq!(world.project().await.pending_uploads, 1, "only counted uploads are counted");
    world.pass_expiry();
    world.sweep().await;
    let project = world.project().await;
    assert_eq!((project.pending_uploads, project.late_bytes, project.reserved_bytes), (0, 0, 0));
    world.end().await;
}

#[tokio::test]
async fn wrong_counters_are_corrected_after_a_day() {
    let world = World::with(WorldOptions { quota_bytes: 10_000, ..WorldOptions::default() }).await;
    let project = world.project().await;
    let wrong = xfiles_core::catalog::UploadCounts {
        pending: 7,
        late_bytes: 900,
        pending_by_key: [(xfiles_core::id::KeyId::mint(), 3)].into(),
    };
    assert!(world.files().inspect().catalog.repair_upload_counts(&project, &wrong).await.unwrap());
    let drifts = |found: xfiles_core::operations::Reconciliation| found.drifts;
    let found = world.files().reconcile(Reconciling::Repair, Duration::from_secs(60)).await.unwrap();
    assert!(drifts(found)[0].counters.contains("pendingUploads -7"), "it is reported");
    assert_eq!(world.project().await.pending_uploads, 7, "nothing is repaired at the first finding");
    world.pass(Duration::from_secs(25 * 60 * 60));
    world.sweep().await;
    let project = world.project().await;
    assert_eq!((project.pending_uploads, project.late_bytes), (0, 0));
    assert!(project.pending_by_key.values().all(|count| *count == 0));
    assert_eq!(project.free_bytes, 10_000);
    world.end().await;
}

#[tokio::test]
async fn a_removed_project_leaves_no_record_of_late_bytes() {
    let world = World::start().await;
    let client = world.client_of_another_project().await;
    let intent = begin(&client, 10).await;
    let id = file_id(&intent);
    client.delete(&format!("/api/v1/files/{id}")).await.ok();
    let project = world.files().inspect().catalog.file(id, Consistency::Strong).await.unwrap().project;
    world.files().delete_project(project).await.unwrap();
    world.sweep().await;
    world.pass_expiry();
    world.sweep().await;
    let found = world.files().inspect().catalog.file(id, Consistency::Strong).await;
    assert!(matches!(found, Err(Error::FileNotFound)), "{found:?}");
    world.end().await;
}

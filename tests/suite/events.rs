//! Events of files: one for each change, written in its transaction.

use futures::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use xfiles_core::{
    catalog::Catalog,
    event::EventType::{FileConfirmed, FileDeleted, FileExpired, FileUpdated, VariantsPurged},
};
use xfiles_tests::{Answer, Client, TEXT, World, file_id, fixture, id_of};

async fn patch(client: &Client, file: &Value, change: Value) {
    let request = client.request(Method::PATCH, &format!("/api/v1/files/{}", id_of(file)));
    Answer::of(request.json(&change).send().await.unwrap()).await.ok();
}

#[tokio::test]
async fn a_confirmed_upload_has_one_event_however_often_it_is_confirmed() {
    let world = World::start().await;
    let more = json!({"ownerUserId": "u1", "entity": {"type": "listing", "id": "7", "role": "cover"}});
    let file = world.client.upload(TEXT, more).await;
    world.client.confirm(id_of(&file)).await.ok();
    assert_eq!(world.told_of(file_id(&file)).await, [FileConfirmed]);
    let body: Value = serde_json::from_str(&world.told().await[0].body).unwrap();
    let expected = json!({
        "fileId": id_of(&file), "projectId": world.stack.project(), "revision": 1, "contentType": TEXT.1,
        "size": TEXT.2.len(), "visibility": "private", "ownerUserId": "u1",
        "entity": {"type": "listing", "id": "7", "role": "cover", "position": 0},
    });
    assert_eq!(body["data"], expected);
    world.end().await;
}

#[tokio::test]
async fn concurrent_confirmations_produce_one_event() {
    let world = World::start().await;
    let intent = world.client.intent(TEXT.0, TEXT.1, TEXT.2.len(), json!({})).await.ok();
    world.client.put(&intent, TEXT.1, TEXT.2).await;
    join_all((0..8).map(|_| world.client.confirm(id_of(&intent)))).await;
    assert_eq!(world.told_of(file_id(&intent)).await, [FileConfirmed]);
    world.end().await;
}

#[tokio::test]
async fn each_change_of_a_file_has_an_event_and_a_move_only_once_completed() {
    let world = World::start().await;
    let file = world.client.upload(TEXT, json!({"visibility": "public"})).await;
    patch(&world.client, &file, json!({"ownerUserId": "u2"})).await;
    patch(&world.client, &file, json!({"visibility": "private"})).await;
    assert_eq!(world.told_of(file_id(&file)).await, [FileConfirmed, FileUpdated, FileUpdated]);
    let moved = world.told().await.into_iter().map(|e| serde_json::from_str::<Value>(&e.body).unwrap());
    let moved = moved.max_by_key(|body| body["data"]["revision"].as_u64()).unwrap();
    assert_eq!((&moved["data"]["visibility"], &moved["data"]["ownerUserId"]), (&json!("private"), &json!("u2")));
    world.end().await;
}

#[tokio::test]
async fn a_reorder_of_the_most_files_is_atomic_and_has_an_event_for_each() {
    let world = World::start().await;
    let more = json!({"entity": {"type": "listing", "id": "7"}});
    let files = join_all((0..Catalog::REPLACE_AT_ONCE).map(|_| world.client.upload(TEXT, more.clone()))).await;
    let ids: Vec<&str> = files.iter().rev().map(id_of).collect();
    let request = world.client.request(Method::PUT, "/api/v1/entities/listing/7/order");
    let answer = Answer::of(request.json(&json!({ "fileIds": ids })).send().await.unwrap()).await.ok();
    assert_eq!(answer["files"].as_array().unwrap().iter().map(id_of).collect::<Vec<_>>(), ids);
    let listed = world.client.get("/api/v1/files?entityType=listing&entityId=7&limit=100").await.ok();
    assert_eq!(listed["files"].as_array().unwrap().iter().map(id_of).collect::<Vec<_>>(), ids);
    for file in &files {
        assert_eq!(world.told_of(file_id(file)).await, [FileConfirmed, FileUpdated]);
    }
    world.end().await;
}

#[tokio::test]
async fn a_reorder_has_an_event_for_every_file_in_it() {
    let world = World::start().await;
    let more = json!({"entity": {"type": "listing", "id": "7"}});
    let files = [world.client.upload(TEXT, more.clone()).await, world.client.upload(TEXT, more).await];
    let ids: Vec<&str> = files.iter().rev().map(id_of).collect();
    let request = world.client.request(Method::PUT, "/api/v1/entities/listing/7/order");
    Answer::of(request.json(&json!({ "fileIds": ids })).send().await.unwrap()).await.ok();
    for file in &files {
        assert_eq!(world.told_of(file_id(file)).await, [FileConfirmed, FileUpdated]);
    }
    world.end().await;
}

#[tokio::test]
async fn a_purge_of_variants_that_runs_twice_has_one_event() {
    let world = World::start().await;
    let more = json!({"transformations": {"image": {"enabled": true, "visibility": "public"}}});
    let file = world.client.upload(("a.png", "image/png", &fixture("palette-alpha.png")), more).await;
    patch(&world.client, &file, json!({"transformations": {"image": {"enabled": false}}})).await;
    world.pass(xfiles_core::file::WORKER_LIFE);
    assert_eq!(world.sweep().await.settled, 1);
    assert_eq!(world.told_of(file_id(&file)).await, [FileConfirmed, FileUpdated, VariantsPurged]);
    world.end().await;
}

#[tokio::test]
async fn a_deleted_file_and_an_ended_upload_have_events() {
    let world = World::start().await;
    let deleted = world.client.upload(TEXT, json!({})).await;
    world.client.delete(&format!("/api/v1/files/{}", id_of(&deleted))).await.ok();
    assert_eq!(world.told_of(file_id(&deleted)).await, [FileConfirmed, FileDeleted]);

    let refused = world.client.intent("a.png", "image/png", TEXT.2.len(), json!({})).await.ok();
    world.client.put(&refused, "image/png", TEXT.2).await;
    world.client.confirm(id_of(&refused)).await.refused(422, "content_type_mismatch");
    let abandoned = world.client.intent(TEXT.0, TEXT.1, 100, json!({})).await.ok();
    world.pass_expiry();
    world.sweep().await;
    for ended in [refused, abandoned] {
        assert_eq!(world.told_of(file_id(&ended)).await, [FileExpired]);
    }
    world.end().await;
}

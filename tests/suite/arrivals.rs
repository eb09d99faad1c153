//! Uploads that are confirmed when their bytes arrive, and requests that wait for this.

use std::sync::Arc;

use aws_smithy_runtime_api::client::{
    http::{HttpConnector as _, HttpConnectorFuture, SharedHttpConnector},
    orchestrator::HttpRequest,
    result::ConnectorError,
};
use serde_json::json;
use xfiles_core::event::EventType::FileConfirmed;
use xfiles_tests::{
    TEXT, World, WorldOptions, file_id, id_of,
    wire::{Line, through},
};

async fn world() -> World {
    World::with(WorldOptions { auto_confirm: true, ..WorldOptions::default() }).await
}

#[tokio::test]
async fn an_upload_that_its_client_never_confirms_is_confirmed_with_one_event() {
    let world = world().await;
    let intent = world.client.intent(TEXT.0, TEXT.1, TEXT.2.len(), json!({})).await.ok();
    let path = format!("/api/v1/files/{}?wait=30", id_of(&intent));
    let (found, put) = tokio::join!(world.client.get(&path), world.client.put(&intent, TEXT.1, TEXT.2));
    assert_eq!(put, 200);
    assert_eq!(found.ok()["file"]["uploadStatus"], "confirmed");
    assert_eq!(world.told_of(file_id(&intent)).await, [FileConfirmed]);
    world.end().await;
}

#[tokio::test]
async fn a_client_that_confirms_gets_the_same_response_with_and_without_auto_confirm() {
    let world = world().await;
    for _ in 0..10 {
        let file = world.client.upload(TEXT, json!({})).await;
        assert_eq!(file["uploadStatus"], "confirmed");
        assert_eq!(world.told_of(file_id(&file)).await, [FileConfirmed]);
    }
    let wrong = world.client.intent("a.png", "image/png", TEXT.2.len(), json!({})).await.ok();
    world.client.put(&wrong, "image/png", TEXT.2).await;
    world.client.get(&format!("/api/v1/files/{}?wait=1", id_of(&wrong))).await.refused(404, "file_not_found");
    world.client.confirm(id_of(&wrong)).await.refused(422, "content_type_mismatch");
    world.end().await;
}

#[tokio::test]
async fn a_store_notification_may_be_duplicate_late_or_for_no_upload() {
    let world = World::start().await;
    let intent = world.client.intent(TEXT.0, TEXT.1, TEXT.2.len(), json!({})).await.ok();
    let key = world.files().inspect().catalog.file(file_id(&intent), xfiles_core::catalog::Consistency::Strong);
    let key = key.await.unwrap().staging_key().to_string();
    let notification = json!({"Records": [{"eventName": "ObjectCreated:Put", "s3": {"object": {"key": key}}}]});
    let notify = async || xfiles_cleanup_cron::confirm_arrivals(world.files(), &notification).await.unwrap();
    assert_eq!(notify().await, 0, "nothing has arrived");
    world.client.put(&intent, TEXT.1, TEXT.2).await;
    let (one, other) = tokio::join!(notify(), notify());
    assert_eq!((one, other), (1, 1));
    assert_eq!(world.told_of(file_id(&intent)).await, [FileConfirmed]);
    world.client.delete(&format!("/api/v1/files/{}", id_of(&intent))).await.ok();
    assert_eq!(notify().await, 0, "the upload is gone");
    world.end().await;
}

#[tokio::test]
async fn a_batch_of_messages_returns_only_those_whose_uploads_could_not_be_confirmed() {
    let world = World::start().await;
    let mut messages = vec![
        json!({"messageId": "test", "body": json!({"Event": "s3:TestEvent"}).to_string()}),
        json!({"messageId": "noise", "body": "no JSON"}),
    ];
    let mut intents = Vec::new();
    for id in ["first", "second"] {
        let intent = world.client.intent(TEXT.0, TEXT.1, TEXT.2.len(), json!({})).await.ok();
        world.client.put(&intent, TEXT.1, TEXT.2).await;
        let key = world.files().inspect().catalog.file(file_id(&intent), xfiles_core::catalog::Consistency::Strong);
        let key = key.await.unwrap().staging_key().to_string();
        let body = json!({"Records": [{"eventName": "ObjectCreated:Put", "s3": {"object": {"key": key}}}]});
        messages.push(json!({"messageId": id, "body": body.to_string()}));
        intents.push(intent);
    }
    let batch = json!({"Records": messages});
    // The bytes of the second upload cannot be read.
    let blocked = world.stack.files_through({
        let folder = id_of(&intents[1]).to_owned();
        move |inner| through(Arc::new(Without(folder.clone())), inner)
    });
    assert_eq!(xfiles_cleanup_cron::confirm_messages(&blocked, &batch).await, ["second"]);
    world.client.get(&format!("/api/v1/files/{}", id_of(&intents[0]))).await.ok();
    world.client.get(&format!("/api/v1/files/{}", id_of(&intents[1]))).await.refused(404, "file_not_found");

    assert!(xfiles_cleanup_cron::confirm_messages(world.files(), &batch).await.is_empty());
    world.client.get(&format!("/api/v1/files/{}", id_of(&intents[1]))).await.ok();
    world.end().await;
}

/// A connection that fails requests whose path contains this text.
#[derive(Debug)]
struct Without(String);

impl Line for Without {
    fn carry(&self, request: HttpRequest, store: SharedHttpConnector) -> HttpConnectorFuture {
        if request.uri().contains(&self.0) {
            return HttpConnectorFuture::ready(Err(ConnectorError::io("the line is cut".into())));
        }
        store.call(request)
    }
}

#[tokio::test]
async fn only_a_pending_upload_of_the_project_is_waited_for() {
    let world = World::start().await;
    let started = std::time::Instant::now();
    world.client.get("/api/v1/files/aaaaaaaaaaaaaaaaaaaa?wait=20").await.refused(404, "file_not_found");
    let intent = world.client.intent(TEXT.0, TEXT.1, TEXT.2.len(), json!({})).await.ok();
    let path = format!("/api/v1/files/{}", id_of(&intent));
    let other = world.client_of_another_project().await;
    other.get(&format!("{path}?wait=20")).await.refused(404, "file_not_found");
    assert!(started.elapsed() < std::time::Duration::from_secs(15));
    world.client.get(&format!("{path}?wait=1")).await.refused(404, "file_not_found");
    world.client.get(&format!("{path}?wait=31")).await.refused(400, "invalid_request");
    world.end().await;
}

//! The cache of API keys in a process, and its maximum age.

use std::{sync::Arc, time::Duration};

use aws_smithy_runtime_api::client::{
    http::{HttpConnector as _, HttpConnectorFuture, SharedHttpConnector},
    orchestrator::HttpRequest,
    result::ConnectorError,
};
use reqwest::Method;
use serde_json::json;
use xfiles_core::{
    api_key::{ApiKey, Scope},
    catalog::KeyRecord,
};
use xfiles_tests::{
    Answer, Client, World,
    wire::{Line, through},
};

/// A client with its own key that the server has cached, and the key's id.
async fn known(world: &World) -> (Client, String) {
    let key = world.client.post(&format!("{}/keys", project(world)), &json!({"name": "a", "scopes": ["read"]})).await;
    assert_eq!(key.status, 201);
    let client = world.client.with_key(key.body["apiKey"].as_str().unwrap());
    client.get("/api/v1/files").await.ok();
    (client, key.body["key"]["id"].as_str().unwrap().to_owned())
}

fn project(world: &World) -> String {
    format!("/api/v1/projects/{}", world.stack.project())
}

#[tokio::test]
async fn a_revoked_key_stops_at_once_in_the_process_that_revoked_it() {
    let world = World::start().await;
    let (revoked, id) = known(&world).await;
    world.client.delete(&format!("{}/keys/{id}", project(&world))).await.ok();
    revoked.get("/api/v1/files").await.refused(401, "unauthorized");

    let (rotated, id) = known(&world).await;
    let rotate = format!("{}/keys/{id}/rotate", project(&world));
    let new = world.client.post(&rotate, &json!({"gracePeriod": 0})).await;
    assert_eq!(new.status, 201, "{}", new.body);
    rotated.get("/api/v1/files").await.refused(401, "unauthorized");
    world.client.with_key(new.body["apiKey"].as_str().unwrap()).get("/api/v1/files").await.ok();

    // The same through core, as in the cleanup.
    let key = ApiKey::mint();
    let record = KeyRecord::new(&key, world.stack.project(), "a", &[Scope::Read], world.clock.now());
    world.files().inspect().catalog.create_key(&record).await.unwrap();
    let removed = world.client.with_key(key.reveal());
    removed.get("/api/v1/files").await.ok();
    world.files().inspect().catalog.remove_key(&record.hash).await.unwrap();
    removed.get("/api/v1/files").await.refused(401, "unauthorized");
    // A recreated key works again.
    world.files().inspect().catalog.create_key(&record).await.unwrap();
    removed.get("/api/v1/files").await.ok();
    world.end().await;
}

#[tokio::test]
async fn the_keys_of_a_deleted_project_stop_at_once() {
    let world = World::start().await;
    let other = world.client_of_another_project().await;
    other.get("/api/v1/files").await.ok();
    let projects = world.client.get("/api/v1/projects").await.ok();
    let id = projects["projects"].as_array().unwrap().iter().find(|p| p["name"] == "another").unwrap()["id"].clone();
    let answer = world.client.delete(&format!("/api/v1/projects/{}", id.as_str().unwrap())).await;
    assert_eq!(answer.status, 202);
    other.get("/api/v1/files").await.refused(401, "unauthorized");
    world.sweep().await;
    other.get("/api/v1/files").await.refused(401, "unauthorized");
    world.end().await;
}

#[tokio::test]
async fn a_key_that_another_process_revoked_stops_within_thirty_seconds_whatever_the_clock_says() {
    let world = World::start().await;
    let (client, id) = known(&world).await;
    let elsewhere = world.stack.files_through(|inner| inner);
    let id = id.parse().unwrap();
    elsewhere.inspect().catalog.revoke_key(world.stack.project(), id, world.clock.now()).await.unwrap();
    client.get("/api/v1/files").await.ok();
    let set_back = xfiles_core::clock::Timestamp::from_millis(world.clock.now().as_millis() - 3_600_000);
    world.clock.set(set_back);
    world.pass(Duration::from_secs(30));
    client.get("/api/v1/files").await.refused(401, "unauthorized");
    world.stack.stop().await;
}

/// A connection that fails all writes, like a store with a full disk.
#[derive(Debug)]
struct Full;

impl Line for Full {
    fn carry(&self, request: HttpRequest, store: SharedHttpConnector) -> HttpConnectorFuture {
        let writes = request.headers().get("x-amz-target").is_some_and(|target| target.ends_with("UpdateItem"));
        if writes {
            return HttpConnectorFuture::ready(Err(ConnectorError::io("the disk is full".into())));
        }
        store.call(request)
    }
}

#[tokio::test]
async fn a_request_does_not_fail_if_the_last_use_of_its_key_cannot_be_stored() {
    let world = World::start().await;
    let full = world.client_through(world.stack.files_through(|inner| through(Arc::new(Full), inner))).await;
    full.get("/api/v1/files").await.ok();
    Answer::of(full.request(Method::GET, "/api/v1/usage").send().await.unwrap()).await.ok();
    world.end().await;
}

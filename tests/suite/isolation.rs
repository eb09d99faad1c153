//! No sequence of calls with one project's key observes or changes anything of another project.

use proptest::{
    prelude::{Strategy, any},
    strategy::ValueTree as _,
    test_runner::TestRunner,
};
use reqwest::Method;
use serde_json::{Value, json};
use xfiles_core::api_key::Scope;
use xfiles_tests::{Answer, Client, TEXT, World, fixture, id_of};

/// Everything that the owner of a project can see of it.
async fn everything(client: &Client) -> Value {
    let files = client.get("/api/v1/files?limit=100").await.ok();
    let mut each = Vec::new();
    for file in files["files"].as_array().unwrap() {
        each.push(client.get(&format!("/api/v1/files/{}", id_of(file))).await.ok()["file"].clone());
    }
    json!({"files": files, "each": each, "usage": client.get("/api/v1/usage").await.ok()})
}

/// One call that a stranger might try on somebody's file.
fn attempt(kind: u8, id: &str) -> (Method, String, Option<Value>) {
    let file = format!("/api/v1/files/{id}");
    match kind % 14 {
        0 => (Method::GET, file, None),
        1 => (Method::DELETE, file, None),
        2 => (Method::PATCH, file, Some(json!({"visibility": "public", "ownerUserId": "mallory"}))),
        3 => (Method::POST, format!("{file}/url"), Some(json!({"expiresIn": 600}))),
        4 => (Method::POST, format!("{file}/resign"), None),
        5 => (Method::POST, "/api/v1/files/confirm".to_owned(), Some(json!({"fileId": id}))),
        6 => (Method::POST, "/api/v1/files/confirms".to_owned(), Some(json!({"fileIds": [id]}))),
        7 => (Method::POST, "/api/v1/files/delete".to_owned(), Some(json!({"fileIds": [id]}))),
        8 => (Method::DELETE, "/api/v1/files?entityType=listing&entityId=7".to_owned(), None),
        9 => (Method::PUT, "/api/v1/entities/listing/7/order".to_owned(), Some(json!({"fileIds": [id]}))),
        10 => (Method::GET, "/api/v1/files?ownerUserId=ann&include=urls".to_owned(), None),
        11 => (Method::GET, "/api/v1/files?entityType=listing&entityId=7&cursor=".to_owned(), None),
        12 => (Method::GET, "/api/v1/files?q=n".to_owned(), None),
        _ => (Method::GET, "/api/v1/usage".to_owned(), None),
    }
}

#[tokio::test]
async fn a_strangers_calls_neither_see_nor_change_anything() {
    let world = World::start().await;
    let victim = world.client_of_another_project().await;
    let more = |visibility: &str| json!({"visibility": visibility, "ownerUserId": "ann", "entity": {"type": "listing", "id": "7"}});
    let mut targets = Vec::new();
    for visibility in ["public", "private"] {
        targets.push(victim.upload(TEXT, more(visibility)).await);
        targets.push(victim.upload(("p.png", "image/png", &fixture("palette-alpha.png")), more(visibility)).await);
    }
    targets.push(victim.intent("pending.txt", "text/plain", 10, json!({})).await.ok());
    let ids: Vec<String> = targets.iter().map(|file| id_of(file).to_owned()).collect();
    let before = (everything(&victim).await, world.objects().await);

    let stranger = world.client_with(&Scope::DEFAULT).await;
    let mut runner = TestRunner::deterministic();
    let calls = proptest::collection::vec((any::<u8>(), 0..ids.len()), 200);
    for (kind, target) in calls.new_tree(&mut runner).unwrap().current() {
        let (method, path, body) = attempt(kind, &ids[target]);
        let request = stranger.request(method.clone(), &path);
        let request = if let Some(body) = &body { request.json(body) } else { request };
        let mut answer = Answer::of(request.send().await.unwrap()).await;
        if let Some(refusal) = answer.body.as_object_mut() {
            // The path that the stranger asked for, back to the stranger.
            refusal.remove("instance");
        }
        let seen = answer.body.to_string();
        assert!(!ids.iter().any(|id| seen.contains(id)), "{method} {path}: {seen}");
    }
    assert_eq!((everything(&victim).await, world.objects().await), before);
    world.end().await;
}

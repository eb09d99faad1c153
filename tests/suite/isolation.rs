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

const INTENT: &str = "/api/v1/files/upload-intent";

/// The idempotency key that both projects use.
const SHARED: &str = "order-1187";

/// Everything that the owner of a project can see of it.
async fn everything(client: &Client) -> Value {
    let files = client.get("/api/v1/files?limit=100").await.ok();
    let mut each = Vec::new();
    for file in files["files"].as_array().unwrap() {
        each.push(client.get(&format!("/api/v1/files/{}", id_of(file))).await.ok()["file"].clone());
    }
    json!({"files": files, "each": each, "usage": client.get("/api/v1/usage").await.ok()})
}

/// What the other project's client knows of a file.
struct Known {
    project: String,
    key: String,
    webhook: String,
    cursor: String,
}

/// A call that another project's client might try on the file, or with words that the owner also uses.
fn attempt(kind: u8, id: &str, known: &Known) -> (Method, String, Option<Value>) {
    let file = format!("/api/v1/files/{id}");
    let Known { project, key, webhook, cursor, .. } = known;
    let project = format!("/api/v1/projects/{project}");
    let same_words = json!({
        "filename": "n.txt", "contentType": "text/plain", "size": 4, "ownerUserId": "ann",
        "entity": {"type": "listing", "id": "7"},
    });
    match kind % 34 {
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
        13 => (Method::GET, "/api/v1/usage".to_owned(), None),
        14 => (Method::DELETE, format!("{file}?erase=true"), None),
        15 => (Method::GET, format!("{file}?wait=1"), None),
        16 => (Method::GET, format!("/api/v1/files?cursor={cursor}"), None),
        17 => (Method::GET, "/api/v1/files?entityType=listing&cursor=".to_owned(), None),
        18 => (Method::DELETE, "/api/v1/files?entityType=listing".to_owned(), None),
        19 => (Method::DELETE, "/api/v1/files?entityId=7".to_owned(), None),
        20 => (Method::POST, INTENT.to_owned(), Some(same_words)),
        21 => {
            (Method::POST, "/api/v1/files/upload-intents".to_owned(), Some(json!({"files": [same_words, same_words]})))
        }
        22 => (Method::GET, project, None),
        23 => (Method::PATCH, project, Some(json!({"quotaBytes": 1, "name": "mallory's"}))),
        24 => (Method::DELETE, project, None),
        25 => (Method::POST, format!("{project}/empty"), None),
        26 => (Method::GET, format!("{project}/keys"), None),
        27 => (Method::POST, format!("{project}/keys"), Some(json!({"name": "mallory", "scopes": ["admin"]}))),
        28 => (Method::DELETE, format!("{project}/keys/{key}"), None),
        29 => (Method::POST, format!("{project}/keys/{key}/rotate"), Some(json!({"gracePeriod": 0}))),
        30 => (Method::POST, format!("{project}/webhooks"), Some(json!({"url": "https://example.com/"}))),
        31 => (Method::PATCH, format!("{project}/webhooks/{webhook}"), Some(json!({"enabled": false}))),
        32 => (Method::GET, format!("{project}/webhooks/{webhook}/deliveries"), None),
        _ => (Method::POST, format!("{project}/webhooks/{webhook}/replay"), Some(json!({}))),
    }
}

/// Everything that an operator can see of a project.
async fn administered(world: &World, project: &str) -> Value {
    let mut seen = json!({});
    for part in ["", "/keys", "/webhooks"] {
        seen[part] = world.client.get(&format!("/api/v1/projects/{project}{part}")).await.ok();
    }
    seen
}

#[tokio::test]
async fn calls_with_another_projects_key_neither_see_nor_change_anything() {
    let world = World::start().await;
    let victim = world.client_of_another_project().await;
    let projects = world.client.get("/api/v1/projects").await.ok();
    let project = projects["projects"].as_array().unwrap().iter().find(|p| p["name"] == "another").unwrap();
    let project = id_of(project).to_owned();
    let hooks = format!("/api/v1/projects/{project}/webhooks");
    let hook = world.client.post(&hooks, &json!({"url": "https://example.com/"})).await.body;
    let more = |visibility: &str| json!({"visibility": visibility, "ownerUserId": "ann", "entity": {"type": "listing", "id": "7"}});
    let mut targets = Vec::new();
    for visibility in ["public", "private"] {
        targets.push(victim.upload(TEXT, more(visibility)).await);
        targets.push(victim.upload(("p.png", "image/png", &fixture("palette-alpha.png")), more(visibility)).await);
    }
    let pending = json!({"filename": "n.txt", "contentType": "text/plain", "size": 4});
    let once = victim.request(Method::POST, INTENT).header("idempotency-key", SHARED).json(&pending);
    targets.push(Answer::of(once.send().await.unwrap()).await.ok());
    let ids: Vec<String> = targets.iter().map(|file| id_of(file).to_owned()).collect();
    let before = (everything(&victim).await, administered(&world, &project).await, world.objects().await);
    let known = Known {
        key: id_of(&before.1["/keys"]["keys"][0]).to_owned(),
        webhook: id_of(&hook["webhook"]).to_owned(),
        cursor: victim.get("/api/v1/files?limit=1&cursor=").await.ok()["nextCursor"].as_str().unwrap().to_owned(),
        project,
    };

    let stranger = world.client_with(&Scope::DEFAULT).await;
    let mut runner = TestRunner::deterministic();
    let calls = proptest::collection::vec((any::<u8>(), 0..ids.len()), 300);
    for (kind, target) in calls.new_tree(&mut runner).unwrap().current() {
        let (method, path, body) = attempt(kind, &ids[target], &known);
        let request = stranger.request(method.clone(), &path);
        let request = if path == INTENT { request.header("idempotency-key", SHARED) } else { request };
        let request = if let Some(body) = &body { request.json(body) } else { request };
        let mut answer = Answer::of(request.send().await.unwrap()).await;
        if let Some(refusal) = answer.body.as_object_mut() {
            // The requested path, which is returned to its own client.
            refusal.remove("instance");
        }
        let seen = answer.body.to_string();
        let theirs = ids.iter().chain([&known.project, &known.key, &known.webhook]);
        assert!(!theirs.into_iter().any(|id| seen.contains(id)), "{method} {path}: {seen}");
    }
    assert_eq!((everything(&victim).await, administered(&world, &known.project).await, world.objects().await), before);
    world.end().await;
}

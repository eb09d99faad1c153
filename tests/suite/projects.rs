//! Projects, keys, usage, health.

use std::{num::NonZeroU32, time::Duration};

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use xfiles_core::api_key::Scope;
use xfiles_tests::{Answer, Client, TEXT, World, id_of};

async fn patch(client: &Client, path: &str, body: Value) -> Answer {
    Answer::of(client.request(Method::PATCH, path).json(&body).send().await.unwrap()).await
}

async fn new_project(world: &World, quota: u64) -> (String, Client) {
    world.pass(Duration::from_millis(1));
    let made = world.client.post("/api/v1/projects", &json!({"name": "shop", "quotaBytes": quota})).await;
    assert_eq!(made.status, StatusCode::CREATED);
    let id = id_of(&made.body["project"]).to_owned();
    let key = world.client.post(&format!("/api/v1/projects/{id}/keys"), &json!({"name": "web"})).await;
    assert_eq!(key.status, StatusCode::CREATED);
    (id, world.client.with_key(key.body["apiKey"].as_str().unwrap()))
}

#[tokio::test]
async fn an_operator_creates_projects_and_keys_and_a_key_sees_only_its_own_project() {
    let world = World::start().await;
    let (id, shop) = new_project(&world, 10_000).await;
    let file = shop.upload(TEXT, json!({})).await;
    world.client.get(&format!("/api/v1/files/{}", id_of(&file))).await.refused(404, "file_not_found");
    let usage = shop.get("/api/v1/usage").await.ok();
    let size = TEXT.2.len();
    assert_eq!(
        usage,
        json!({"quotaBytes": 10_000, "usedBytes": size, "reservedBytes": 0, "freeBytes": 10_000 - size, "files": 1})
    );
    for path in ["/api/v1/projects".to_owned(), format!("/api/v1/projects/{id}"), format!("/api/v1/projects/{id}/keys")]
    {
        shop.get(&path).await.refused(403, "missing_scope");
    }
    let projects = world.client.get("/api/v1/projects").await.ok();
    let names: Vec<&str> =
        projects["projects"].as_array().unwrap().iter().map(|p| p["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["default", "shop"]);
    world.end().await;
}

#[tokio::test]
async fn a_raw_key_is_shown_once_and_listed_by_its_last_four() {
    let world = World::start().await;
    let path = format!("/api/v1/projects/{}/keys", world.stack.project());
    let body = json!({"name": "reader", "scopes": ["read"], "expiresIn": 60});
    let made = world.client.post(&path, &body).await.body;
    let raw = made["apiKey"].as_str().unwrap().to_owned();
    let reader = world.client.with_key(&raw);
    reader.get("/api/v1/files").await.ok();
    let listed = world.client.get(&path).await.ok();
    let listed = listed["keys"].as_array().unwrap().iter().find(|k| k["name"] == "reader").unwrap().clone();
    assert!(!listed.to_string().contains(&raw[3..]));
    assert_eq!((&listed["prefix"], &listed["scopes"]), (&json!("xf_"), &json!(["read"])));
    assert_eq!(listed["lastFour"], raw[raw.len() - 4..]);
    assert!(listed["lastUsedAt"].is_string());
    world.pass(Duration::from_secs(61));
    reader.get("/api/v1/files").await.refused(401, "unauthorized");
    for body in [json!({}), json!({"name": "x", "scopes": []}), json!({"name": "x", "scopes": ["root"]})] {
        world.client.post(&path, &body).await.refused(400, "invalid_request");
    }
    world.end().await;
}

#[tokio::test]
async fn a_secret_shown_once_is_replayed_only_under_the_same_idempotency_key() {
    let directory = tempfile::tempdir().unwrap();
    let data = xfiles_standalone::Data::Directory(directory.path().to_owned());
    let world = World::with(xfiles_tests::WorldOptions { data, ..xfiles_tests::WorldOptions::default() }).await;
    let project = format!("/api/v1/projects/{}", world.stack.project());
    let post = async |client: &Client, path: &str, body: &Value| {
        let request = client.request(Method::POST, path).header("idempotency-key", format!("k{path}"));
        Answer::of(request.json(body).send().await.unwrap()).await
    };
    let other = world.client_with(&Scope::ALL).await;
    let hook = json!({"url": "https://example.com/"});
    let mut secrets = Vec::new();
    for (path, body, field) in [("/keys", json!({"name": "web"}), "apiKey"), ("/webhooks", hook, "secret")] {
        let path = format!("{project}{path}");
        let first = post(&world.client, &path, &body).await;
        let again = post(&world.client, &path, &body).await;
        assert_eq!((first.status, again.status), (StatusCode::CREATED, StatusCode::CREATED));
        assert_eq!(again.headers["idempotency-replayed"], "true");
        assert_eq!(again.body, first.body);
        secrets.push(first.body[field].as_str().unwrap().to_owned());
        post(&other, &path, &body).await.refused(422, "idempotency_key_reused");
    }
    let id = world.client.get(&format!("{project}/keys")).await.ok()["keys"][0]["id"].as_str().unwrap().to_owned();
    let rotate = format!("{project}/keys/{id}/rotate");
    let rotated = post(&world.client, &rotate, &json!({})).await;
    assert_eq!(post(&world.client, &rotate, &json!({})).await.body, rotated.body);
    secrets.push(rotated.body["apiKey"].as_str().unwrap().to_owned());
    world.client.with_key(&secrets[2]).get("/api/v1/files").await.ok();
    let keys = world.client.get(&format!("{project}/keys")).await.ok();
    assert_eq!(keys["keys"].as_array().unwrap().len(), 4, "each was made once: {keys}");
    world.end().await;

    let stored: Vec<Vec<u8>> = std::fs::read_dir(directory.path())
        .unwrap()
        .filter_map(|entry| std::fs::read(entry.unwrap().path()).ok())
        .collect();
    let holds = |text: &str| stored.iter().any(|file| file.windows(text.len()).any(|w| w == text.as_bytes()));
    assert!(!holds(&secrets[0]) && !holds(&secrets[2]), "no raw API key is stored");
}

#[tokio::test]
async fn a_rotated_key_works_during_its_grace_period_and_a_revoked_one_does_not() {
    let world = World::start().await;
    let path = format!("/api/v1/projects/{}/keys", world.stack.project());
    let made = world.client.post(&path, &json!({"name": "web"})).await.body;
    let (id, old) = (id_of(&made["key"]), world.client.with_key(made["apiKey"].as_str().unwrap()));
    let rotated = world.client.post(&format!("{path}/{id}/rotate"), &json!({"gracePeriod": 3600})).await;
    let new = world.client.with_key(rotated.body["apiKey"].as_str().unwrap());
    for client in [&old, &new] {
        client.get("/api/v1/files").await.ok();
    }
    world.pass(Duration::from_secs(3601));
    old.get("/api/v1/files").await.refused(401, "unauthorized");
    new.get("/api/v1/files").await.ok();
    world.client.delete(&format!("{path}/{}", id_of(&rotated.body["key"]))).await.ok();
    world.pass(Duration::from_secs(31));
    new.get("/api/v1/files").await.refused(401, "unauthorized");
    world.client.delete(&format!("{path}/aaaaaaaaaa")).await.refused(404, "not_found");
    world.end().await;
}

#[tokio::test]
async fn a_quota_cannot_be_set_below_the_used_bytes() {
    let world = World::start().await;
    let (id, shop) = new_project(&world, 100).await;
    shop.upload(TEXT, json!({})).await;
    let path = format!("/api/v1/projects/{id}");
    let size = TEXT.2.len() as u64;
    patch(&world.client, &path, json!({"quotaBytes": size - 1})).await.refused(409, "quota_below_usage");
    let changed = patch(&world.client, &path, json!({"quotaBytes": size, "name": "store"})).await.ok();
    assert_eq!((&changed["project"]["name"], &changed["project"]["usage"]["freeBytes"]), (&json!("store"), &json!(0)));
    shop.intent("a", "text/plain", 1, json!({})).await.refused(413, "quota_exceeded");
    patch(&world.client, &path, json!({"quotaBytes": size + 1})).await.ok();
    shop.intent("a", "text/plain", 1, json!({})).await.ok();
    world.end().await;
}

#[tokio::test]
async fn a_project_and_its_files_are_deleted_in_the_background() {
    let world = World::start().await;
    let (id, shop) = new_project(&world, 10_000).await;
    let path = format!("/api/v1/projects/{id}");
    for _ in 0..3 {
        shop.upload(TEXT, json!({"visibility": "public"})).await;
    }
    let emptied = world.client.post(&format!("{path}/empty"), &json!({})).await;
    assert_eq!(emptied.status, StatusCode::ACCEPTED);
    assert_eq!(world.client.get(&path).await.ok()["project"]["status"], "emptying");
    world.pass(Duration::from_secs(1));
    let later = shop.upload(TEXT, json!({})).await;
    world.sweep().await;
    let project = world.client.get(&path).await.ok()["project"].clone();
    assert_eq!((&project["status"], &project["usage"]["files"]), (&json!("active"), &json!(1)));
    shop.get(&format!("/api/v1/files/{}", id_of(&later))).await.ok();

    let pending = shop.intent("a", "text/plain", 10, json!({})).await.ok();
    assert_eq!(world.client.delete(&path).await.status, StatusCode::ACCEPTED);
    world.pass(Duration::from_secs(31));
    shop.get("/api/v1/files").await.refused(401, "unauthorized");
    world.sweep().await;
    assert_eq!(world.client.get(&path).await.ok()["project"]["status"], "deleting", "a pending upload holds quota");
    world.pass_expiry();
    world.sweep().await;
    world.pass(Duration::from_secs(61));
    world.sweep().await;
    world.client.get(&path).await.refused(404, "not_found");
    assert!(world.objects().await.keys().all(|key| !key.contains(id_of(&pending))));
    world.end().await;
}

#[tokio::test]
async fn a_key_above_its_rate_limit_gets_retry_after() {
    let world = World::with(xfiles_tests::WorldOptions {
        requests_per_second: NonZeroU32::new(5),
        ..xfiles_tests::WorldOptions::default()
    })
    .await;
    for _ in 0..10 {
        world.client.get("/api/v1/files").await.ok();
    }
    let refused = world.client.get("/api/v1/files").await;
    assert_eq!(refused.headers["retry-after"], "1");
    refused.refused(429, "rate_limited");
    world.client_with(&[Scope::Read]).await.get("/api/v1/files").await.ok();
    world.pass(Duration::from_secs(1));
    world.client.get("/api/v1/files").await.ok();
    world.end().await;
}

#[tokio::test]
async fn health_readiness_and_metrics_are_available_to_a_monitor() {
    let world = World::start().await;
    world.client.get("/api/v1/files").await.ok();
    for path in ["/healthz", "/readyz"] {
        assert_eq!(Answer::of(world.get(path).await).await.ok(), json!({"status": "ok"}));
    }
    assert_eq!(Answer::of(world.get("/version").await).await.ok()["name"], "xfiles");
    let metrics = world.metrics().await;
    let line = "xfiles_http_requests_total{method=\"GET\",route=\"/api/v1/files\",status=\"200\"} 1";
    assert!(metrics.lines().any(|found| found == line), "{metrics}");
    world.end().await;
}

#[tokio::test]
async fn only_pages_of_allowed_origins_may_call_the_api() {
    let world = World::with(xfiles_tests::WorldOptions {
        allowed_origins: vec!["https://app.example.com".to_owned()],
        ..xfiles_tests::WorldOptions::default()
    })
    .await;
    let ask = |method: Method, origin: &'static str| {
        let request = world.client.request(method, "/api/v1/files").header("origin", origin);
        async move { request.send().await.unwrap() }
    };
    let allowed = ask(Method::OPTIONS, "https://app.example.com").await;
    assert_eq!(allowed.status(), StatusCode::NO_CONTENT);
    assert!(allowed.headers()["access-control-allow-methods"].to_str().unwrap().contains("PATCH"));
    let sent = allowed.headers()["access-control-allow-headers"].to_str().unwrap().to_owned();
    assert!(["Authorization", "Idempotency-Key", "If-Match"].iter().all(|name| sent.contains(name)), "{sent}");
    let allowed = ask(Method::GET, "https://app.example.com").await;
    assert_eq!(allowed.headers()["access-control-allow-origin"], "https://app.example.com");
    let shown = allowed.headers()["access-control-expose-headers"].to_str().unwrap();
    assert!(["ETag", "Idempotency-Replayed", "Request-Id", "Retry-After"].iter().all(|name| shown.contains(name)));
    for method in [Method::GET, Method::OPTIONS] {
        let other = ask(method, "https://evil.example.com").await;
        assert!(!other.headers().contains_key("access-control-allow-origin"));
    }
    world.end().await;
}

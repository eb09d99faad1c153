//! API keys, scopes and the common format of errors.

use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use xfiles_core::{api_key::Scope, id::FileId};
use xfiles_tests::{Answer, TEXT, World, id_of};

const INTENT: &str = "/api/v1/files/upload-intent";

#[tokio::test]
async fn a_request_without_a_valid_key_always_gets_the_same_refusal() {
    let world = World::start().await;
    let unknown = format!("xf_{}", "a".repeat(32));
    let mut bodies = Vec::new();
    for key in ["", "nonsense", "xf_short", &unknown] {
        let answer = world.client.with_key(key).get("/api/v1/files").await;
        assert_eq!(answer.headers["www-authenticate"], "Bearer");
        let mut body = answer.refused(401, "unauthorized");
        body["requestId"] = Value::Null;
        bodies.push(body);
    }
    bodies.dedup();
    assert_eq!(bodies.len(), 1);
    let without = Answer::of(world.request(Method::GET, "/api/v1/files").send().await.unwrap()).await;
    without.refused(401, "unauthorized");
    world.end().await;
}

#[tokio::test]
async fn a_revoked_key_stops_working_within_thirty_seconds() {
    let world = World::start().await;
    let client = world.client_with(&Scope::DEFAULT).await;
    client.get("/api/v1/files").await.ok();
    let catalog = &world.files().inspect().catalog;
    let keys = catalog.keys(world.stack.project()).await.unwrap();
    let key = keys.iter().find(|k| client.key().ends_with(&k.last_four)).unwrap();
    catalog.revoke_key(world.stack.project(), key.id, world.clock.now()).await.unwrap();
    world.pass(Duration::from_secs(30));
    client.get("/api/v1/files").await.refused(401, "unauthorized");
    world.end().await;
}

#[tokio::test]
async fn each_route_needs_its_scope() {
    let world = World::start().await;
    let id = FileId::mint();
    let file = format!("/api/v1/files/{id}");
    for (scope, method, path, body) in [
        (Scope::Write, Method::POST, INTENT.to_owned(), Some(json!({}))),
        (Scope::Write, Method::POST, "/api/v1/files/confirm".to_owned(), Some(json!({"fileId": id}))),
        (Scope::Read, Method::GET, "/api/v1/files".to_owned(), None),
        (Scope::Read, Method::GET, file.clone(), None),
        (Scope::Read, Method::POST, format!("{file}/url"), None),
        (Scope::Delete, Method::DELETE, file, None),
        (Scope::Admin, Method::POST, "/api/v1/cleanup".to_owned(), Some(json!({"dryRun": true}))),
    ] {
        let others: Vec<Scope> = Scope::ALL.into_iter().filter(|s| *s != scope).collect();
        for (scopes, refused) in [(others, true), (vec![scope], false)] {
            let client = world.client_with(&scopes).await;
            let request = client.request(method.clone(), &path);
            let request = if let Some(body) = &body { request.json(body) } else { request };
            let answer = Answer::of(request.send().await.unwrap()).await;
            if refused {
                answer.refused(403, "missing_scope");
            } else {
                assert_ne!(answer.status, StatusCode::FORBIDDEN, "{method} {path}");
            }
        }
    }
    world.end().await;
}

#[tokio::test]
async fn all_field_errors_of_a_request_are_reported_together() {
    let world = World::start().await;
    let body = json!({
        "filename": "",
        "contentType": "application/x-msdownload",
        "size": 104_857_601,
        "visibility": "secret",
        "ownerUserId": "x".repeat(257),
        "entity": {"id": "7", "position": -1},
        "transformations": {"image": {"enabled": "yes", "visibility": "all"}},
        "checksumSha256": "abc",
    });
    let refusal = world.client.post(INTENT, &body).await.refused(400, "invalid_request");
    let pointers: Vec<&str> =
        refusal["errors"].as_array().unwrap().iter().map(|e| e["pointer"].as_str().unwrap()).collect();
    assert_eq!(
        pointers,
        [
            "/filename",
            "/contentType",
            "/size",
            "/visibility",
            "/ownerUserId",
            "/entity/type",
            "/entity/position",
            "/transformations/image/enabled",
            "/transformations/image/visibility",
            "/checksumSha256",
        ]
    );
    let refusal = world.client.post(INTENT, &json!({})).await.refused(400, "invalid_request");
    assert_eq!(refusal["errors"].as_array().unwrap().len(), 3);
    assert_eq!(world.project().await.reserved_bytes, 0);
    world.end().await;
}

#[tokio::test]
async fn the_bounds_of_an_intent_are_the_published_ones() {
    let world = World::start().await;
    for (size, accepted) in [(0, true), (1, true), (104_857_600, true), (104_857_601, false)] {
        let answer = world.client.intent("a.txt", "text/plain", size, json!({})).await;
        assert_eq!(answer.status == StatusCode::OK, accepted, "{size}");
    }
    for (length, accepted) in [(1, true), (1024, true), (1025, false)] {
        let answer = world.client.intent(&"ü".repeat(length), "text/plain", 1, json!({})).await;
        assert_eq!(answer.status == StatusCode::OK, accepted, "{length} characters");
    }
    for size in [json!(1.5), json!("1"), json!(-1), json!(null)] {
        let body = json!({"filename": "a", "contentType": "text/plain", "size": size});
        world.client.post(INTENT, &body).await.refused(400, "invalid_request");
    }
    world.end().await;
}

#[tokio::test]
async fn hostile_file_names_are_kept_for_display_and_sanitised_in_the_object_key() {
    let world = World::start().await;
    for name in
        ["../../etc/passwd", "a\r\nX: y.jpg", "\u{202e}gpj.exe", "\"quoted\".png", "....", "名前.png", "a/b\\c.png"]
    {
        let file = world.client.upload((name, TEXT.1, TEXT.2), json!({})).await;
        assert_eq!(file["originalFilename"], *name);
        let stored = file["filename"].as_str().unwrap();
        assert!(
            stored.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.'),
            "{stored}"
        );
    }
    world.end().await;
}

#[tokio::test]
async fn every_layer_returns_errors_in_the_same_format() {
    let world = World::start().await;
    let client = &world.client;
    client.get("/api/v1/nothing").await.refused(404, "route_not_found");
    client.get("/api").await.refused(404, "route_not_found");
    let answer = client.send(Method::PUT, "/api/v1/files").await;
    assert_eq!(answer.headers["allow"], "GET,HEAD,DELETE");
    answer.refused(405, "method_not_allowed");
    let raw = |content_type: &'static str, body: String| async move {
        let request = client.request(Method::POST, INTENT).header("content-type", content_type).body(body);
        Answer::of(request.send().await.unwrap()).await
    };
    raw("application/json", "{".into()).await.refused(400, "malformed_json");
    raw("application/json", "[]".into()).await.refused(400, "malformed_json");
    raw("application/json", "\u{0}".into()).await.refused(400, "malformed_json");
    raw("text/plain", "{}".into()).await.refused(415, "unsupported_media_type");
    raw("application/json", format!("{{\"a\":\"{}\"}}", "x".repeat(600_000))).await.refused(413, "body_too_large");
    client.get("/api/v1/files?page=0&limit=101&visibility=all&include=all").await.refused(400, "invalid_request");
    client.get("/api/v1/files?page=1&page=2").await.refused(400, "invalid_request");
    client.get(&format!("/api/v1/files/{}?format=bmp", FileId::mint())).await.refused(400, "invalid_request");
    world.end().await;
}

#[tokio::test]
async fn a_request_id_from_the_caller_is_kept_and_otherwise_generated() {
    let world = World::start().await;
    let ask = |id: &'static str| {
        let request = world.client.request(Method::GET, "/api/v1/files").header("request-id", id);
        async move { request.send().await.unwrap().headers()["request-id"].to_str().unwrap().to_owned() }
    };
    assert_eq!(ask("trace-0123456789").await, "trace-0123456789");
    for bad in ["short", "spaces are not ok", "x\"y\"zzzzzzzz"] {
        assert_ne!(ask(bad).await, bad);
    }
    world.end().await;
}

#[tokio::test]
async fn missing_foreign_pending_and_deleted_files_return_the_same_404() {
    let world = World::start().await;
    let other = world.client_of_another_project().await;
    let foreign = other.upload(TEXT, json!({})).await;
    let pending = world.client.intent(TEXT.0, TEXT.1, TEXT.2.len(), json!({})).await.ok();
    let deleted = world.client.upload(TEXT, json!({})).await;
    world.client.delete(&format!("/api/v1/files/{}", id_of(&deleted))).await.ok();
    let missing = FileId::mint().to_string();
    for suffix in ["", "/url"] {
        let mut seen = Vec::new();
        for id in [id_of(&foreign), id_of(&pending), id_of(&deleted), &missing, "not-an-id"] {
            let method = if suffix.is_empty() { Method::GET } else { Method::POST };
            let request = world.client.request(method, &format!("/api/v1/files/{id}{suffix}"));
            let response = request.header("request-id", "the-same-for-all").send().await.unwrap();
            let text = response.text().await.unwrap();
            seen.push(text.replace(id, "ID"));
        }
        seen.dedup();
        assert_eq!(seen.len(), 1, "{seen:#?}");
    }
    for id in [id_of(&foreign), &missing] {
        world.client.confirm(id).await.refused(404, "file_not_found");
        world.client.delete(&format!("/api/v1/files/{id}")).await.refused(404, "file_not_found");
    }
    other.get(&format!("/api/v1/files/{}", id_of(&foreign))).await.ok();
    world.end().await;
}

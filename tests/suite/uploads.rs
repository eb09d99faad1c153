//! The three steps of an upload from a client's perspective.

use std::time::Duration;

use futures::future::join_all;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use xfiles_core::intent::Sha256Checksum;
use xfiles_tests::{TEXT, World, fixture, id_of};

const PNG: &str = "palette-alpha.png";

#[tokio::test]
async fn three_steps_publish_a_file_under_a_sanitised_name_and_keep_the_original_name() {
    let world = World::start().await;
    let photo = fixture("portrait-exif6.jpg");
    let intent =
        world.client.intent("Best Ever Photo (2024).JPG", "image/jpeg", photo.len(), json!({"visibility": "public"}));
    let intent = intent.await.ok();
    assert_eq!(intent["expiresIn"], 900);
    assert_eq!(intent["method"], "PUT");
    assert_eq!(intent["headers"], json!({"content-type": "image/jpeg"}));
    let (id, key) = (id_of(&intent).to_owned(), intent["key"].as_str().unwrap());
    assert!(key.starts_with(&format!("files/originals/public/{}/{id}/best-ever-photo-2024-", world.stack.project())));
    assert!(key.ends_with(".jpg") && !key.contains('_'));

    assert_eq!(world.client.put(&intent, "image/jpeg", photo.clone()).await, StatusCode::OK);
    let file = world.client.confirm(&id).await.ok()["file"].clone();
    assert_eq!(file["originalFilename"], "Best Ever Photo (2024).JPG");
    assert_eq!((&file["uploadStatus"], &file["size"]), (&json!("confirmed"), &json!(photo.len())));
    assert_eq!(file["entity"], Value::Null);
    assert_eq!(file["transformations"], json!({"image": {"enabled": false, "visibility": "private"}}));

    let answer = world.client.get(&format!("/api/v1/files/{id}")).await.ok();
    assert_eq!(answer["file"], file);
    assert_eq!(answer["variants"], json!([]));
    let url = answer["url"].as_str().unwrap();
    assert_eq!(url, format!("{}/{key}", world.stack.url()));
    let served = world.get(url).await;
    assert_eq!(served.status(), StatusCode::OK);
    assert_eq!(served.headers()["content-type"], "image/jpeg");
    assert_eq!(served.headers()["cache-control"], "public, max-age=3600, s-maxage=31536000");
    assert_eq!(served.bytes().await.unwrap(), photo);
    world.end().await;
}

#[tokio::test]
async fn width_and_height_are_those_of_the_upright_picture() {
    let world = World::start().await;
    let photo = fixture("portrait-exif6.jpg");
    let stored = image::load_from_memory(&photo).unwrap();
    let file = world.client.upload(("p.jpg", "image/jpeg", &photo), json!({})).await;
    assert_eq!((&file["width"], &file["height"]), (&json!(stored.height()), &json!(stored.width())));
    world.end().await;
}

#[tokio::test]
async fn a_jpeg_size_is_found_after_a_profile_and_preview_of_a_megabyte() {
    let world = World::start().await;
    let photo = fixture("portrait-exif6.jpg");
    let plain = world.client.upload(("a.jpg", "image/jpeg", &photo), json!({})).await;
    let (start, rest) = photo.split_at(2);
    let segment = [&[0xFF, 0xEB, 0xFF, 0xFF][..], &[0; 0xFFFD]].concat();
    for segments in [1, 15] {
        let long = [start, &segment.repeat(segments), rest].concat();
        let file = world.client.upload(("b.jpg", "image/jpeg", &long), json!({})).await;
        assert!(plain["width"].is_u64());
        assert_eq!((&file["width"], &file["height"]), (&plain["width"], &plain["height"]), "{segments} segments");
    }
    world.end().await;
}

#[tokio::test]
async fn confirming_again_returns_the_same_and_changes_nothing() {
    let world = World::start().await;
    let intent = world.client.intent(TEXT.0, TEXT.1, TEXT.2.len(), json!({})).await.ok();
    world.client.put(&intent, TEXT.1, TEXT.2).await;
    let answers = join_all((0..8).map(|_| world.client.confirm(id_of(&intent)))).await;
    let first = world.client.confirm(id_of(&intent)).await.ok();
    for answer in answers {
        assert_eq!(answer.ok(), first);
    }
    assert_eq!(world.project().await.file_count, 1);
    world.end().await;
}

#[tokio::test]
async fn confirming_before_the_upload_is_refused_and_the_upload_stays_open() {
    let world = World::start().await;
    let intent = world.client.intent(TEXT.0, TEXT.1, TEXT.2.len(), json!({})).await.ok();
    world.client.confirm(id_of(&intent)).await.refused(400, "not_uploaded");
    assert_eq!(world.client.put(&intent, TEXT.1, TEXT.2).await, StatusCode::OK);
    world.client.confirm(id_of(&intent)).await.ok();
    world.end().await;
}

#[tokio::test]
async fn the_upload_url_admits_only_the_declared_upload() {
    let world = World::start().await;
    let intent = world.client.intent(TEXT.0, TEXT.1, TEXT.2.len(), json!({})).await.ok();
    assert_eq!(world.client.put(&intent, "text/html", TEXT.2).await, StatusCode::FORBIDDEN, "another type");
    assert_eq!(world.client.put(&intent, TEXT.1, &TEXT.2[1..]).await, StatusCode::FORBIDDEN, "another length");
    let elsewhere = intent["uploadUrl"].as_str().unwrap().replace("/staging/", "/files/originals/public/");
    let moved = json!({ "uploadUrl": elsewhere });
    assert_eq!(world.client.put(&moved, TEXT.1, TEXT.2).await, StatusCode::FORBIDDEN, "another path");
    let extra = world.request(Method::PUT, intent["uploadUrl"].as_str().unwrap());
    let extra =
        extra.header("content-type", TEXT.1).header("x-amz-acl", "public-read").body(TEXT.2).send().await.unwrap();
    assert_eq!(extra.status(), StatusCode::FORBIDDEN, "an unsigned x-amz header");
    assert!(world.objects().await.is_empty());

    world.pass(Duration::from_secs(901));
    assert_eq!(world.client.put(&intent, TEXT.1, TEXT.2).await, StatusCode::FORBIDDEN, "expired");
    assert!(world.objects().await.is_empty());
    world.end().await;
}

#[tokio::test]
async fn a_declared_checksum_is_bound_verified_and_shown() {
    let world = World::start().await;
    let checksum = Sha256Checksum::of(TEXT.2).to_string();
    let intent = world.client.intent(TEXT.0, TEXT.1, TEXT.2.len(), json!({"checksumSha256": checksum})).await.ok();
    assert_eq!(intent["headers"]["x-amz-checksum-sha256"], checksum);
    assert_eq!(world.client.put(&intent, TEXT.1, TEXT.2).await, StatusCode::FORBIDDEN, "without the checksum");
    let put = |bytes: &'static [u8]| {
        let request = world.request(Method::PUT, intent["uploadUrl"].as_str().unwrap());
        let request = request.header("content-type", TEXT.1).header("x-amz-checksum-sha256", &checksum);
        async move { request.body(bytes).send().await.unwrap().status() }
    };
    assert_eq!(put(b"hello, World\n").await, StatusCode::BAD_REQUEST, "other bytes of the same length");
    assert!(world.objects().await.is_empty());
    assert_eq!(put(TEXT.2).await, StatusCode::OK);
    let file = world.client.confirm(id_of(&intent)).await.ok()["file"].clone();
    assert_eq!(file["checksumSha256"], checksum);
    world.end().await;
}

#[tokio::test]
async fn replaying_the_upload_url_after_confirmation_changes_nothing_that_is_published() {
    let world = World::start().await;
    let intent = world.client.intent(TEXT.0, TEXT.1, TEXT.2.len(), json!({"visibility": "public"})).await.ok();
    world.client.put(&intent, TEXT.1, TEXT.2).await;
    world.client.confirm(id_of(&intent)).await.ok();
    let answer = world.client.get(&format!("/api/v1/files/{}", id_of(&intent))).await.ok();
    assert_eq!(world.client.put(&intent, TEXT.1, "HELLO, WORLD\n").await, StatusCode::OK);
    world.client.confirm(id_of(&intent)).await.ok();
    assert_eq!(world.get(answer["url"].as_str().unwrap()).await.bytes().await.unwrap(), TEXT.2);
    world.end().await;
}

#[tokio::test]
async fn staged_and_pending_objects_are_never_served() {
    let world = World::start().await;
    let intent = world.client.intent(TEXT.0, TEXT.1, TEXT.2.len(), json!({"visibility": "public"})).await.ok();
    world.client.put(&intent, TEXT.1, TEXT.2).await;
    let staged = world.objects().await.into_keys().next().unwrap();
    assert!(staged.starts_with("staging/"));
    assert_eq!(world.get(&format!("/{staged}")).await.status(), StatusCode::NOT_FOUND);
    assert_eq!(world.get(&format!("/{}", intent["key"].as_str().unwrap())).await.status(), StatusCode::NOT_FOUND);
    world.client.get(&format!("/api/v1/files/{}", id_of(&intent))).await.refused(404, "file_not_found");
    assert_eq!(world.client.get("/api/v1/files").await.ok()["total"], 0);
    world.end().await;
}

#[tokio::test]
async fn headers_that_the_client_adds_do_not_survive_publication() {
    let world = World::start().await;
    let intent = world.client.intent(TEXT.0, TEXT.1, TEXT.2.len(), json!({"visibility": "public"})).await.ok();
    let put = world.request(Method::PUT, intent["uploadUrl"].as_str().unwrap()).header("content-type", TEXT.1);
    let put =
        put.header("content-encoding", "gzip").header("cache-control", "no-store").header("content-disposition", "x");
    assert_eq!(put.body(TEXT.2).send().await.unwrap().status(), StatusCode::OK);
    world.client.confirm(id_of(&intent)).await.ok();
    let served = world.get(&format!("/{}", intent["key"].as_str().unwrap())).await;
    assert_eq!(served.status(), StatusCode::OK);
    for absent in ["content-encoding", "content-disposition"] {
        assert!(!served.headers().contains_key(absent), "{absent}");
    }
    assert_eq!(served.headers()["cache-control"], "public, max-age=3600, s-maxage=31536000");
    world.end().await;
}

#[tokio::test]
async fn content_that_differs_from_its_declaration_is_refused_and_its_quota_is_returned() {
    let world = World::with_quota(1000).await;
    for (content_type, bytes) in [
        ("image/png", b"<html><script>alert(1)</script></html>".as_slice()),
        ("image/jpeg", b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0"),
        ("text/plain", b"MZ\x90\0\x03\0\0\0\x04\0\0\0"),
        ("application/pdf", b"GIF89a"),
        ("image/svg+xml", b"<!DOCTYPE html><html><svg onload=alert(1)></svg></html>"),
        ("image/webp", b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>"),
        ("image/gif", b"GIF89a/*\0\0\0\0\0*/=1;<script>alert(1)</script>"),
        ("text/csv", b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0"),
    ] {
        let intent = world.client.intent("x", content_type, bytes.len(), json!({})).await.ok();
        assert_eq!(world.client.put(&intent, content_type, bytes).await, StatusCode::OK);
        world.client.confirm(id_of(&intent)).await.refused(422, "content_type_mismatch");
        world.client.confirm(id_of(&intent)).await.refused(404, "file_not_found");
    }
    assert_eq!(world.project().await.free_bytes, 1000);
    assert!(world.objects().await.is_empty());
    world.end().await;
}

#[tokio::test]
async fn active_documents_are_served_as_sandboxed_attachments() {
    let world = World::start().await;
    for (name, content_type, bytes) in [
        ("a.svg", "image/svg+xml", b"<svg xmlns=\"http://www.w3.org/2000/svg\"/>".as_slice()),
        ("a.html", "text/html", b"<!doctype html><p>hello"),
        ("a.xml", "application/xml", b"<?xml version=\"1.0\"?><a/>"),
        ("a.js", "text/javascript", b"alert(1)"),
        ("a.pdf", "application/pdf", b"%PDF-1.7\n"),
    ] {
        let more = json!({"visibility": "public", "transformations": {"image": {"enabled": true}}});
        let file = world.client.upload((name, content_type, bytes), more).await;
        let answer = world.client.get(&format!("/api/v1/files/{}", id_of(&file))).await.ok();
        assert_eq!(answer["variants"], json!([]), "{name} has no variants");
        let served = world.get(answer["url"].as_str().unwrap()).await;
        let headers = served.headers();
        assert_eq!(headers["content-disposition"], "attachment", "{name}");
        assert_eq!(headers["x-content-type-options"], "nosniff");
        assert!(headers["content-security-policy"].to_str().unwrap().contains("sandbox"));
    }
    world.end().await;
}

#[tokio::test]
async fn exactly_the_concurrent_intents_that_fit_into_the_quota_succeed() {
    let world = World::with_quota(700).await;
    let answers = join_all((0..40).map(|_| world.client.intent("a.txt", "text/plain", 100, json!({})))).await;
    let (taken, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(|a| a.status == StatusCode::OK);
    assert_eq!(taken.len(), 7);
    for answer in refused {
        answer.refused(413, "quota_exceeded");
    }
    assert_eq!(world.project().await.free_bytes, 0);
    world.end().await;
}

#[tokio::test]
async fn deleting_removes_everything_and_returns_the_quota() {
    let world = World::with_quota(100_000).await;
    let png = fixture(PNG);
    let more = json!({"visibility": "public", "transformations": {"image": {"enabled": true, "visibility": "public"}}});
    let file = world.client.upload((PNG, "image/png", &png), more).await;
    let path = format!("/api/v1/files/{}", id_of(&file));
    let answer = world.client.get(&path).await.ok();
    let (original, variant) = (answer["url"].as_str().unwrap(), answer["variants"][0]["url"].as_str().unwrap());
    assert_eq!(world.get(original).await.status(), StatusCode::OK);
    assert_eq!(world.get(variant).await.status(), StatusCode::OK);
    assert_eq!(world.objects().await.len(), 2);

    assert_eq!(world.client.delete(&path).await.ok(), json!({"success": true}));
    assert!(world.objects().await.is_empty());
    assert_eq!(world.project().await.free_bytes, 100_000);
    assert_eq!(world.get(original).await.status(), StatusCode::NOT_FOUND);
    assert_eq!(world.get(variant).await.status(), StatusCode::NOT_FOUND);
    world.client.get(&path).await.refused(404, "file_not_found");
    world.client.delete(&path).await.refused(404, "file_not_found");
    world.client.confirm(id_of(&file)).await.refused(404, "file_not_found");
    world.end().await;
}

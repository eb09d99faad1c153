//! Files as browsers, recorders and operating systems name them: aliases, parameters, charsets, no bytes, other scripts.

use reqwest::{Method, StatusCode, header};
use serde_json::json;
use xfiles_core::content_type::ContentType;
use xfiles_tests::{TEXT, World, fixture, id_of};

/// Uploads with the declared type to the byte, as a browser does with `File.type`.
async fn upload(world: &World, name: &str, declared: &str, bytes: &[u8]) -> serde_json::Value {
    let intent = world.client.intent(name, declared, bytes.len(), json!({"visibility": "public"})).await.ok();
    assert_eq!(intent["headers"]["content-type"], declared, "the client is to send what it declared");
    assert_eq!(world.client.put(&intent, declared, bytes.to_vec()).await, StatusCode::OK, "{declared}");
    world.client.confirm(id_of(&intent)).await.ok()["file"].clone()
}

async fn served_type(world: &World, file: &serde_json::Value) -> String {
    let path = format!("/api/v1/files/{}", id_of(file));
    let url = world.client.get(&path).await.ok()["url"].as_str().unwrap().to_owned();
    let served = world.get(&url).await;
    assert_eq!(served.status(), StatusCode::OK);
    served.headers()[header::CONTENT_TYPE].to_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_type_is_uploaded_as_it_was_declared_and_served_under_its_registered_name() {
    let world = World::start().await;
    let photo = fixture("photo-baseline.jpg");
    let webm = b"\x1A\x45\xDF\xA3\x9F\x42\x86\x81\x01\x42\x82\x84webm\0";
    for (name, declared, bytes, served) in [
        ("photo.jpg", "image/jpg", photo.as_slice(), "image/jpeg"),
        ("photo.jpg", "IMAGE/JPEG", &photo, "image/jpeg"),
        ("a.zip", "application/x-zip-compressed", b"PK\x03\x04\x14\0", "application/zip"),
        ("a.xml", "text/xml", b"<?xml version='1.0'?><a/>", "application/xml"),
        ("clip.webm", "video/webm;codecs=vp9,opus", webm, "video/webm"),
        ("note.txt", "text/plain;charset=UTF-8", TEXT.2, "text/plain; charset=utf-8"),
        ("note.md", "text/markdown", b"# A title\n", "text/markdown"),
        ("old.doc", "application/msword", b"{\\rtf1\\ansi a}", "application/msword"),
    ] {
        let file = upload(&world, name, declared, bytes).await;
        assert_eq!(file["contentType"], served, "{declared}");
        assert_eq!(served_type(&world, &file).await, served, "{declared}");
    }
    world.end().await;
}

#[tokio::test]
async fn a_list_finds_a_type_by_each_of_its_names_and_whatever_its_charset() {
    let world = World::start().await;
    upload(&world, "a.txt", "text/plain; charset=utf-8", TEXT.2).await;
    upload(&world, "a.zip", "application/x-zip-compressed", b"PK\x03\x04\x14\0").await;
    for (filter, found) in
        [("text/plain", 1), ("application/zip", 1), ("application/x-zip", 1), ("text/*", 1), ("image/*", 0)]
    {
        let list = world.client.get(&format!("/api/v1/files?contentType={filter}")).await.ok();
        assert_eq!(list["total"], found, "{filter}");
    }
    world.end().await;
}

#[tokio::test]
async fn a_fresh_url_and_a_repeated_upload_keep_the_declared_type() {
    let world = World::start().await;
    let declared = "audio/x-wav";
    let bytes = b"RIFF\x24\0\0\0WAVEfmt \0";
    let intent = world.client.intent("a.wav", declared, bytes.len(), json!({})).await.ok();
    let resigned = world.client.send(Method::POST, &format!("/api/v1/files/{}/resign", id_of(&intent))).await.ok();
    for url in [&intent, &resigned, &intent] {
        assert_eq!(world.client.put(url, declared, bytes.to_vec()).await, StatusCode::OK);
    }
    assert_eq!(world.client.confirm(id_of(&intent)).await.ok()["file"]["contentType"], "audio/wav");
    world.end().await;
}

#[tokio::test]
async fn an_empty_file_is_stored_served_and_deleted_like_any_other() {
    let world = World::start().await;
    let file = upload(&world, "empty.txt", "text/plain", b"").await;
    assert_eq!(file["size"], 0);
    let url = world.client.get(&format!("/api/v1/files/{}", id_of(&file))).await.ok()["url"].clone();
    let served = world.get(url.as_str().unwrap()).await;
    assert_eq!((served.status(), served.bytes().await.unwrap().len()), (StatusCode::OK, 0));
    let private = json!({"visibility": "private"});
    let patch = world.client.request(Method::PATCH, &format!("/api/v1/files/{}", id_of(&file))).json(&private);
    assert_eq!(patch.send().await.unwrap().status(), StatusCode::OK);
    assert_eq!(world.get(url.as_str().unwrap()).await.status(), StatusCode::NOT_FOUND);
    world.check().await;
    world.client.delete(&format!("/api/v1/files/{}", id_of(&file))).await.ok();
    // A picture without bytes is no picture.
    let intent = world.client.intent("empty.png", "image/png", 0, json!({})).await.ok();
    assert_eq!(world.client.put(&intent, "image/png", Vec::new()).await, StatusCode::OK);
    world.client.confirm(id_of(&intent)).await.refused(422, "content_type_mismatch");
    world.end().await;
}

#[tokio::test]
async fn an_empty_file_is_not_confirmed_before_it_is_uploaded() {
    let world = World::start().await;
    let intent = world.client.intent("empty.txt", "text/plain", 0, json!({})).await.ok();
    world.client.confirm(id_of(&intent)).await.refused(400, "not_uploaded");
    world.stack.stop().await;
}

#[tokio::test]
async fn a_refused_type_is_answered_with_those_that_are_near() {
    let world = World::start().await;
    for (refused, near) in [("image/jpe", "image/jpeg"), ("image/xyz", "image/png"), ("video/xyz", "video/mp4")] {
        let refusal = world.client.intent("a", refused, 1, json!({})).await.refused(400, "invalid_request");
        let detail = refusal["errors"][0]["detail"].as_str().unwrap();
        assert!(detail.contains(&format!("`{near}`")), "{refused}: {detail}");
    }
    world.end().await;
}

#[tokio::test]
async fn every_listed_type_and_alias_begins_an_upload() {
    let world = World::start().await;
    for name in ContentType::names().chain(ContentType::aliases()) {
        world.client.intent("a", name, 1, json!({})).await.ok();
    }
    world.end().await;
}

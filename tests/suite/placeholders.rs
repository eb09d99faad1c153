//! Placeholders of images that were never requested, made because of the event of their publication.

use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use xfiles_core::{content_type::ContentType, error::Error, event::published_picture, id::FileId};
use xfiles_edge_variants::{Invocation, Worker};
use xfiles_standalone::Placeholders;
use xfiles_tests::{TEXT, World, WorldOptions, file_id, fixture, id_of};

const PHOTO: (&str, &str) = ("p.jpg", "image/jpeg");

async fn upload_photo(world: &World, more: Value) -> Value {
    world.client.upload((PHOTO.0, PHOTO.1, &fixture("portrait-exif6.jpg")), more).await
}

async fn read(world: &World, file: &Value) -> Value {
    world.client.get(&format!("/api/v1/files/{}", id_of(file))).await.ok()
}

/// The file, once it has its placeholder.
async fn with_placeholder(world: &World, file: &Value) -> Value {
    let noted = async {
        loop {
            let file = read(world, file).await["file"].clone();
            if file["thumbhash"].is_string() {
                return file;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), noted).await.expect("the placeholder is made within seconds")
}

fn variants(visibility: &str, enabled: bool) -> Value {
    json!({"visibility": visibility, "transformations": {"image": {"enabled": enabled, "visibility": visibility}}})
}

#[tokio::test]
async fn an_image_gets_its_placeholder_without_a_request_and_it_equals_that_of_the_first_variant() {
    let world = World::start().await;
    let viewed = upload_photo(&world, variants("public", true)).await;
    let url = read(&world, &viewed).await["variants"][0]["url"].clone();
    assert_eq!(world.get(url.as_str().unwrap()).await.status(), StatusCode::OK);
    let expected = read(&world, &viewed).await["file"]["thumbhash"].clone();
    assert!(expected.is_string());

    let before = world.objects().await.len();
    for more in [variants("public", true), variants("private", true), variants("public", false), json!({})] {
        let file = upload_photo(&world, more.clone()).await;
        assert!(file.get("thumbhash").is_none(), "the confirmation does not wait for it");
        world.deliver().await;
        let seen = with_placeholder(&world, &file).await;
        assert_eq!(seen["thumbhash"], expected, "{more}");
        assert_eq!(seen["etag"], file["etag"], "it does not change the ETag");
    }
    assert_eq!(world.objects().await.len(), before + 4, "originals, and no variant");
    world.end().await;
}

#[tokio::test]
async fn one_list_request_has_everything_for_images_with_blurred_placeholders() {
    let world = World::start().await;
    let file = upload_photo(&world, variants("public", true)).await;
    world.deliver().await;
    with_placeholder(&world, &file).await;
    let listed = world.client.get("/api/v1/files?include=urls").await.ok()["files"][0].clone();
    for name in ["width", "height", "thumbhash", "url"] {
        assert!(!listed[name].is_null(), "{name} of {listed}");
    }
    assert_eq!(listed["variants"].as_array().unwrap().len(), 7);
    world.end().await;
}

#[tokio::test]
async fn late_deleted_moved_and_undecodable_files_get_no_placeholder_and_block_nothing() {
    let world = World::start().await;
    let (deleted, erased) = (upload_photo(&world, json!({})).await, upload_photo(&world, json!({})).await);
    let moved = upload_photo(&world, variants("public", true)).await;
    let text = world.client.upload(TEXT, json!({})).await;
    let mut broken = fixture("palette-alpha.png");
    broken.truncate(100);
    let broken = world.client.upload(("b.png", "image/png", &broken), variants("public", true)).await;
    world.client.delete(&format!("/api/v1/files/{}", id_of(&deleted))).await.ok();
    world.client.delete(&format!("/api/v1/files/{}?erase=true", id_of(&erased))).await.ok();
    let hide = world.client.request(Method::PATCH, &format!("/api/v1/files/{}", id_of(&moved)));
    let hidden = hide.json(&json!({"visibility": "private"})).send().await.unwrap();
    assert_eq!(hidden.status(), StatusCode::OK);
    let events = world.told().await;
    world.deliver().await;
    with_placeholder(&world, &moved).await;
    let last = upload_photo(&world, json!({})).await;
    world.deliver().await;
    // They are handled one after the other, so all the others are done by now.
    with_placeholder(&world, &last).await;
    for file in [&text, &broken] {
        assert!(read(&world, file).await["file"].get("thumbhash").is_none());
    }
    let url = read(&world, &broken).await["variants"][0]["url"].clone();
    assert_eq!(world.get(url.as_str().unwrap()).await.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);

    // A repeated event is not an error for any of them.
    let worker = Worker::new(world.files().clone(), 1);
    for event in events {
        if let Some(file) = published_picture(&serde_json::from_str(&event.body).unwrap()) {
            worker.note_placeholder(file).await.unwrap();
        }
    }
    worker.note_placeholder(file_id(&text)).await.unwrap();
    worker.note_placeholder(FileId::mint()).await.unwrap();
    world.end().await;
}

#[tokio::test]
async fn with_on_view_the_placeholder_is_made_with_the_first_variant() {
    let options = WorldOptions { placeholders: Placeholders::OnView, ..WorldOptions::default() };
    let world = World::with(options).await;
    let file = upload_photo(&world, variants("public", true)).await;
    world.deliver().await;
    assert!(world.told().await.is_empty(), "all events were sent");
    for _ in 0..20 {
        assert!(read(&world, &file).await["file"].get("thumbhash").is_none());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let url = read(&world, &file).await["variants"][0]["url"].clone();
    assert_eq!(world.get(url.as_str().unwrap()).await.status(), StatusCode::OK);
    assert!(read(&world, &file).await["file"]["thumbhash"].is_string());
    world.end().await;
}

#[tokio::test]
async fn a_busy_worker_postpones_the_placeholder() {
    let world = World::start().await;
    let file = upload_photo(&world, json!({})).await;
    let busy = Worker::new(world.files().clone(), 0).note_placeholder(file_id(&file)).await;
    assert!(matches!(busy, Err(Error::Unavailable { .. })), "{busy:?}");

    // A render that timed out is not started again for a minute, and is not an error that is retried.
    let worker = Worker::new(world.files().clone(), 1);
    worker.clone().rendering_within(Duration::ZERO).note_placeholder(file_id(&file)).await.unwrap();
    worker.note_placeholder(file_id(&file)).await.unwrap();
    assert!(read(&world, &file).await["file"].get("thumbhash").is_none());
    world.pass(Duration::from_secs(61));
    worker.note_placeholder(file_id(&file)).await.unwrap();
    assert!(read(&world, &file).await["file"]["thumbhash"].is_string());
    world.end().await;
}

/// The event that a rule sends, according to "AWS service event metadata" in EventBridge's documentation.
fn enveloped(event: &xfiles_core::event::Event) -> Value {
    json!({
        "version": "0", "id": "17793124-05d4-b198-2fde-7ededc63b103", "detail-type": event.kind.as_str(),
        "source": xfiles_cleanup_cron::SOURCE, "account": "111122223333", "time": "2026-01-31T12:00:00Z",
        "region": "eu-central-1", "resources": [], "detail": serde_json::from_str::<Value>(&event.body).unwrap(),
    })
}

/// Returns true if an event matches an EventBridge pattern of exact values: every field of the pattern has one of its
/// values.
fn matches(pattern: &serde_norway::Value, event: &Value) -> bool {
    pattern.as_mapping().unwrap().iter().all(|(name, wanted)| {
        let field = &event[name.as_str().unwrap()];
        match wanted {
            serde_norway::Value::Sequence(values) => values.iter().any(|value| value.as_str() == field.as_str()),
            nested => matches(nested, field),
        }
    })
}

#[tokio::test]
async fn the_event_rule_on_aws_matches_only_published_images_and_the_worker_can_parse_them() {
    let template: serde_norway::Value = serde_norway::from_str(include_str!("../../infra/template.yaml")).unwrap();
    let choice = &template["Parameters"]["Placeholders"];
    let names: Vec<&str> = choice["AllowedValues"].as_sequence().unwrap().iter().map(|n| n.as_str().unwrap()).collect();
    assert_eq!(names, Placeholders::ALL.map(Placeholders::as_str));
    assert_eq!(choice["Default"].as_str(), Some(Placeholders::OnConfirm.as_str()));
    let pattern = &template["Resources"]["ImagePublished"]["Properties"]["EventPattern"];
    let listed = pattern["detail"]["data"]["contentType"].as_sequence().unwrap();
    let listed: Vec<&str> = listed.iter().map(|name| name.as_str().unwrap()).collect();
    assert_eq!(listed, ContentType::rasters().collect::<Vec<_>>());

    let world = World::start().await;
    let photo = upload_photo(&world, json!({})).await;
    world.client.upload(TEXT, json!({})).await;
    let gone = upload_photo(&world, json!({})).await;
    world.client.delete(&format!("/api/v1/files/{}", id_of(&gone))).await.ok();
    let (mut sent, outbox) = (Vec::new(), world.told().await);
    assert_eq!(outbox.len(), 4);
    for event in outbox.iter().map(enveloped) {
        let payload = serde_json::from_value::<Invocation<Value>>(event.clone()).unwrap();
        let Invocation::Told(body) = payload else { panic!("{event} is no request") };
        assert_eq!(matches(pattern, &event), published_picture(&body).is_some(), "{event}");
        sent.extend(published_picture(&body));
    }
    sent.sort();
    let mut pictures = vec![file_id(&photo), file_id(&gone)];
    pictures.sort();
    assert_eq!(sent, pictures);
    for file in sent {
        Worker::new(world.files().clone(), 1).note_placeholder(file).await.unwrap();
    }
    assert!(read(&world, &photo).await["file"]["thumbhash"].is_string());
    world.end().await;
}

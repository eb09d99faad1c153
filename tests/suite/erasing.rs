//! Erasure: nothing of a file is left, and the response lists where it was checked.

use std::time::Duration;

use serde_json::{Value, json};
use xfiles_core::file::{LATE_COPIES, WORKER_LIFE};
use xfiles_tests::{TEXT, World, fixture, id_of};

async fn picture(world: &World) -> (String, Vec<String>) {
    let more = json!({"visibility": "public", "transformations": {"image": {"enabled": true, "visibility": "public"}}});
    let file = world.client.upload(("a.png", "image/png", &fixture("palette-alpha.png")), more).await;
    let answer = world.client.get(&format!("/api/v1/files/{}", id_of(&file))).await.ok();
    let urls = [&answer["url"], &answer["variants"][0]["url"]].map(|url| url.as_str().unwrap().to_owned());
    for url in &urls {
        assert_eq!(world.get(url).await.status(), 200);
    }
    (id_of(&file).to_owned(), urls.to_vec())
}

fn texts(value: &Value) -> Vec<&str> {
    value.as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect()
}

#[tokio::test]
async fn an_erasure_removes_every_trace_and_lists_where_it_looked() {
    let world = World::start().await;
    let (id, urls) = picture(&world).await;
    let keys: Vec<String> = world.objects().await.into_keys().collect();
    let erased = world.client.delete(&format!("/api/v1/files/{id}?erase=true")).await.ok();
    let objects = texts(&erased["objects"]);
    assert!(keys.len() == 2 && keys.iter().all(|key| objects.contains(&key.as_str())), "{keys:?}");
    assert!(objects.iter().any(|key| key.starts_with("staging/")));
    for url in &urls {
        assert_eq!(world.get(url).await.status(), 404);
        let covers = |path: &&str| url.contains(path.trim_end_matches('*'));
        assert_eq!(texts(&erased["paths"]).iter().filter(|path| covers(path)).count(), 1, "{url}");
    }
    assert_eq!(erased["unverifiedPaths"], json!([]));
    assert!(world.objects().await.is_empty());
    world.end().await;
}

#[tokio::test]
async fn an_erased_image_is_checked_again_after_every_worker_has_ended() {
    let world = World::start().await;
    let (id, _) = picture(&world).await;
    world.pass(LATE_COPIES);
    world.pass_expiry();
    let erased = world.client.delete(&format!("/api/v1/files/{id}?erase=true")).await.ok();
    assert!(erased["againAt"].is_string());
    let again = world.client.delete(&format!("/api/v1/files/{id}?erase=true")).await.ok();
    assert_eq!(again["againAt"], erased["againAt"], "the erasure can be repeated until then");
    world.pass(WORKER_LIFE + Duration::from_secs(1));
    assert_eq!(world.sweep().await.settled, 1);
    world.client.delete(&format!("/api/v1/files/{id}?erase=true")).await.refused(404, "file_not_found");
    world.end().await;
}

#[tokio::test]
async fn an_erased_document_leaves_no_record() {
    let world = World::with_quota(1_000).await;
    let file = world.client.upload(TEXT, json!({})).await;
    world.pass(LATE_COPIES);
    world.pass_expiry();
    let erased = world.client.delete(&format!("/api/v1/files/{}?erase=true", id_of(&file))).await.ok();
    assert!(erased.get("againAt").is_none());
    assert_eq!(world.project().await.free_bytes, 1_000);
    world.pass_expiry();
    assert_eq!(world.sweep().await.settled, 0);
    world.end().await;
}

#[tokio::test]
async fn an_erased_document_with_a_valid_upload_url_is_checked_again_after_the_url_expires() {
    let world = World::with_quota(1_000).await;
    let intent = world.client.intent(TEXT.0, TEXT.1, TEXT.2.len(), json!({})).await.ok();
    world.client.put(&intent, TEXT.1, TEXT.2).await;
    world.client.confirm(id_of(&intent)).await.ok();
    let path = format!("/api/v1/files/{}?erase=true", id_of(&intent));
    let erased = world.client.delete(&path).await.ok();
    assert!(erased["againAt"].is_string());
    world.client.put(&intent, TEXT.1, TEXT.2).await;
    world.pass_expiry();
    assert_eq!(world.sweep().await.settled, 1);
    assert!(world.objects().await.is_empty());
    world.client.delete(&path).await.refused(404, "file_not_found");
    world.end().await;
}

#[tokio::test]
async fn a_pending_upload_can_be_erased() {
    let world = World::with_quota(1_000).await;
    let intent = world.client.intent(TEXT.0, TEXT.1, TEXT.2.len(), json!({})).await.ok();
    world.client.put(&intent, TEXT.1, TEXT.2).await;
    world.client.delete(&format!("/api/v1/files/{}?erase=true", id_of(&intent))).await.ok();
    assert!(world.objects().await.is_empty());
    assert_eq!(world.project().await.free_bytes, 1_000);
    world.end().await;
}

#[tokio::test]
async fn erase_is_true_or_false() {
    let world = World::start().await;
    let file = world.client.upload(TEXT, json!({})).await;
    world.pass(LATE_COPIES);
    let answer = world.client.delete(&format!("/api/v1/files/{}?erase=maybe", id_of(&file))).await;
    assert_eq!(answer.refused(400, "invalid_request")["errors"][0]["pointer"], "?erase");
    world.end().await;
}

#[tokio::test]
async fn a_key_cannot_erase_the_file_of_another_project() {
    let world = World::start().await;
    let file = world.client.upload(TEXT, json!({})).await;
    world.pass(LATE_COPIES);
    let other = world.client_of_another_project().await;
    other.delete(&format!("/api/v1/files/{}?erase=true", id_of(&file))).await.refused(404, "file_not_found");
    world.client.get(&format!("/api/v1/files/{}", id_of(&file))).await.ok();
    world.end().await;
}

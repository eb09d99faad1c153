//! Private files: who can read them, and for how long.

use std::time::Duration;

use reqwest::StatusCode;
use serde_json::{Value, json};
use xfiles_tests::{TEXT, World, fixture, id_of};

async fn url_of(world: &World, id: &str) -> String {
    let answer = world.client.get(&format!("/api/v1/files/{id}")).await.ok();
    answer["url"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_private_file_opens_only_with_its_signature() {
    let world = World::start().await;
    let file = world.client.upload(TEXT, json!({})).await;
    let url = url_of(&world, id_of(&file)).await;
    let (bare, query) = url.split_once('?').unwrap();

    let served = world.get(&url).await;
    assert_eq!(served.status(), StatusCode::OK);
    assert_eq!(served.headers()["cache-control"], "max-age=300, s-maxage=31536000");
    assert_eq!(served.bytes().await.unwrap(), TEXT.2);

    assert_eq!(world.get(bare).await.status(), StatusCode::FORBIDDEN);
    let public = url.replace("/originals/private/", "/originals/public/");
    assert_eq!(world.get(&public).await.status(), StatusCode::NOT_FOUND);
    for parameter in ["Expires", "Signature", "Key-Pair-Id"] {
        let without: Vec<&str> = query.split('&').filter(|pair| !pair.starts_with(parameter)).collect();
        assert_eq!(
            world.get(&format!("{bare}?{}", without.join("&"))).await.status(),
            StatusCode::FORBIDDEN,
            "{parameter}"
        );
    }
    let later = url.replacen("Expires=1", "Expires=2", 1);
    assert_eq!(world.get(&later).await.status(), StatusCode::FORBIDDEN, "another expiry");
    world.end().await;
}

#[tokio::test]
async fn a_signature_ends_between_five_and_six_minutes_after_it_was_made() {
    let world = World::start().await;
    let file = world.client.upload(TEXT, json!({})).await;
    let url = url_of(&world, id_of(&file)).await;
    world.pass(Duration::from_secs(299));
    assert_eq!(world.get(&url).await.status(), StatusCode::OK);
    world.pass(Duration::from_secs(62));
    assert_eq!(world.get(&url).await.status(), StatusCode::FORBIDDEN);
    let fresh = url_of(&world, id_of(&file)).await;
    assert_eq!(world.get(&fresh).await.status(), StatusCode::OK);
    world.end().await;
}

#[tokio::test]
async fn two_responses_within_a_minute_have_identical_urls() {
    let world = World::start().await;
    let file = world.client.upload(TEXT, json!({"transformations": {"image": {"enabled": true}}})).await;
    // To the beginning of a minute.
    world.pass(Duration::from_millis(60_000 - world.clock.now().as_millis().unsigned_abs() % 60_000));
    let first = url_of(&world, id_of(&file)).await;
    world.pass(Duration::from_secs(59));
    assert_eq!(url_of(&world, id_of(&file)).await, first);
    world.pass(Duration::from_secs(2));
    assert_ne!(url_of(&world, id_of(&file)).await, first);
    world.end().await;
}

#[tokio::test]
async fn one_files_signature_opens_no_other_file() {
    let world = World::start().await;
    let png = fixture("palette-alpha.png");
    let more = json!({"transformations": {"image": {"enabled": true}}});
    let mut queries = Vec::new();
    let mut urls = Vec::new();
    for _ in 0..2 {
        let file = world.client.upload(("a.png", "image/png", &png), more.clone()).await;
        let answer = world.client.get(&format!("/api/v1/files/{}", id_of(&file))).await.ok();
        for url in [&answer["url"], &answer["variants"][0]["url"]] {
            let (bare, query) = url.as_str().unwrap().split_once('?').unwrap();
            urls.push(bare.to_owned());
            queries.push(query.to_owned());
        }
    }
    for (i, url) in urls.iter().enumerate() {
        for (j, query) in queries.iter().enumerate() {
            let expected = if i == j { StatusCode::OK } else { StatusCode::FORBIDDEN };
            assert_eq!(world.get(&format!("{url}?{query}")).await.status(), expected, "url {i} with signature {j}");
        }
    }
    world.end().await;
}

#[tokio::test]
async fn signed_urls_are_returned_with_their_expiry() {
    let world = World::start().await;
    let png = fixture("palette-alpha.png");
    let upload = |visibility: &'static str, variants: Value| {
        let more = json!({"visibility": visibility, "transformations": {"image": variants}});
        let (world, png) = (&world, &png);
        async move {
            let file = world.client.upload(("a.png", "image/png", png), more).await;
            world.client.post(&format!("/api/v1/files/{}/url", id_of(&file)), &json!({})).await.ok()
        }
    };
    let public = upload("public", json!({"enabled": true, "visibility": "public"})).await;
    assert!(public.get("expiresIn").is_none());
    assert_eq!(public["variants"].as_array().unwrap().len(), 7);
    let mixed = upload("public", json!({"enabled": true, "visibility": "private"})).await;
    assert_eq!(mixed["expiresIn"], 300);
    assert!(!mixed["url"].as_str().unwrap().contains('?'));
    assert!(mixed["variants"][0]["url"].as_str().unwrap().contains("Policy="));
    let private = upload("private", json!({})).await;
    assert_eq!((&private["expiresIn"], &private["variants"]), (&json!(300), &json!([])));
    world.end().await;
}

//! Changes of files: fields, visibility, variants, order, versions.

use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use xfiles_core::file::WORKER_LIFE;
use xfiles_tests::{Answer, Client, TEXT, World, fixture, id_of};

async fn patch(client: &Client, id: &str, body: Value) -> Answer {
    let request = client.request(Method::PATCH, &format!("/api/v1/files/{id}")).json(&body);
    Answer::of(request.send().await.unwrap()).await
}

async fn urls(world: &World, id: &str) -> (String, Vec<String>) {
    let answer = world.client.get(&format!("/api/v1/files/{id}")).await.ok();
    let variants = answer["variants"].as_array().unwrap().iter().map(|v| v["url"].as_str().unwrap().to_owned());
    (answer["url"].as_str().unwrap().to_owned(), variants.collect())
}

#[tokio::test]
async fn owner_and_position_change_and_the_lists_follow() {
    let world = World::start().await;
    let more =
        |position: u32| json!({"ownerUserId": "ann", "entity": {"type": "listing", "id": "7", "position": position}});
    let first = world.client.upload(TEXT, more(0)).await;
    let second = world.client.upload(TEXT, more(1)).await;
    let changed = patch(&world.client, id_of(&first), json!({"ownerUserId": "bob", "position": 5})).await.ok();
    assert_eq!((&changed["file"]["ownerUserId"], &changed["file"]["entity"]["position"]), (&json!("bob"), &json!(5)));
    let ids = |query: &'static str| {
        let client = &world.client;
        async move {
            let answer = client.get(&format!("/api/v1/files?{query}")).await.ok();
            answer["files"].as_array().unwrap().iter().map(|f| id_of(f).to_owned()).collect::<Vec<_>>()
        }
    };
    assert_eq!(ids("entityType=listing&entityId=7").await, [id_of(&second), id_of(&first)]);
    assert_eq!(ids("ownerUserId=bob").await, [id_of(&first)]);
    patch(&world.client, id_of(&first), json!({"ownerUserId": null})).await.ok();
    assert!(ids("ownerUserId=bob").await.is_empty());
    let plain = world.client.upload(TEXT, json!({})).await;
    patch(&world.client, id_of(&plain), json!({"position": 1})).await.refused(400, "no_entity");
    patch(&world.client, id_of(&plain), json!({"position": -1, "visibility": "all"}))
        .await
        .refused(400, "invalid_request");
    world.end().await;
}

#[tokio::test]
async fn a_stale_etag_is_refused_and_changes_nothing() {
    let world = World::start().await;
    let file = world.client.upload(TEXT, json!({})).await;
    let path = format!("/api/v1/files/{}", id_of(&file));
    let tag = |answer: &Answer| answer.headers["etag"].to_str().unwrap().to_owned();
    let first = tag(&world.client.get(&path).await);
    let with = |method: Method, tag: &str| world.client.request(method, &path).header("if-match", tag);
    let changed = with(Method::PATCH, &first).json(&json!({"ownerUserId": "ann"})).send().await.unwrap();
    let changed = Answer::of(changed).await;
    assert_ne!(tag(&changed), first);
    let stale = with(Method::PATCH, &first).json(&json!({"ownerUserId": "bob"})).send().await.unwrap();
    Answer::of(stale).await.refused(412, "precondition_failed");
    let stale = with(Method::DELETE, &first).send().await.unwrap();
    Answer::of(stale).await.refused(412, "precondition_failed");
    assert_eq!(world.client.get(&path).await.ok()["file"]["ownerUserId"], "ann");
    let current = tag(&changed);
    Answer::of(with(Method::DELETE, &current).send().await.unwrap()).await.ok();
    world.end().await;
}

#[tokio::test]
async fn a_file_made_private_is_gone_from_its_public_url_and_back_again() {
    let world = World::start().await;
    let file = world.client.upload(TEXT, json!({"visibility": "public"})).await;
    let (public, _) = urls(&world, id_of(&file)).await;
    assert_eq!(world.get(&public).await.status(), StatusCode::OK);

    let changed = patch(&world.client, id_of(&file), json!({"visibility": "private"})).await.ok();
    assert_eq!(changed["file"]["visibility"], "private");
    assert_eq!(world.get(&public).await.status(), StatusCode::NOT_FOUND);
    let (private, _) = urls(&world, id_of(&file)).await;
    let served = world.get(&private).await;
    assert_eq!(served.headers()["cache-control"], "max-age=300, s-maxage=31536000");
    assert_eq!(served.bytes().await.unwrap(), TEXT.2);
    assert_eq!(world.objects().await.len(), 1);

    patch(&world.client, id_of(&file), json!({"visibility": "public"})).await.ok();
    // The CDN caches a 404 for ten seconds.
    world.pass(Duration::from_secs(10));
    assert_eq!(world.get(&public).await.bytes().await.unwrap(), TEXT.2);
    assert_eq!(world.get(&private).await.status(), StatusCode::NOT_FOUND);
    assert_eq!(world.objects().await.len(), 1);
    world.end().await;
}

#[tokio::test]
async fn variants_that_are_no_longer_public_are_purged_from_store_and_cdn() {
    let world = World::start().await;
    let more = json!({"visibility": "public", "transformations": {"image": {"enabled": true, "visibility": "public"}}});
    let file = world.client.upload(("p.png", "image/png", &fixture("palette-alpha.png")), more).await;
    let (_, public) = urls(&world, id_of(&file)).await;
    for url in &public[..2] {
        assert_eq!(world.get(url).await.status(), StatusCode::OK);
    }
    let to_private = json!({"transformations": {"image": {"visibility": "private"}}});
    patch(&world.client, id_of(&file), to_private).await.ok();
    for url in &public {
        assert_eq!(world.get(url).await.status(), StatusCode::NOT_FOUND);
    }
    let (_, private) = urls(&world, id_of(&file)).await;
    assert_eq!(world.get(&private[0]).await.status(), StatusCode::OK);

    let off = json!({"transformations": {"image": {"enabled": false}}});
    patch(&world.client, id_of(&file), off).await.ok();
    assert_eq!(world.get(&private[0]).await.status(), StatusCode::NOT_FOUND);
    assert_eq!(urls(&world, id_of(&file)).await.1.len(), 0);
    assert_eq!(world.objects().await.len(), 1, "only the original");

    // A busy worker may store its variant late; the second pass finds it.
    let key = public[0].strip_prefix(&format!("{}/", world.stack.url())).unwrap();
    let late = world.stack.s3_client().put_object().bucket("xfiles").key(key).body(vec![1].into());
    late.send().await.unwrap();
    world.pass(WORKER_LIFE);
    world.sweep().await;
    assert_eq!(world.objects().await.len(), 1, "only the original");
    assert!(world.files().overdue(10).await.unwrap().is_empty());
    world.end().await;
}

#[tokio::test]
async fn a_deletion_during_an_unfinished_purge_leaves_nothing_in_the_cdn_at_either_visibility() {
    let world = World::start().await;
    let more = json!({"visibility": "public", "transformations": {"image": {"enabled": true, "visibility": "public"}}});
    let file = world.client.upload(("p.png", "image/png", &fixture("palette-alpha.png")), more).await;
    let (original, variants) = urls(&world, id_of(&file)).await;
    let to_private = json!({"visibility": "private", "transformations": {"image": {"visibility": "private"}}});
    patch(&world.client, id_of(&file), to_private).await.ok();
    let (private_original, private_variants) = urls(&world, id_of(&file)).await;
    // A busy worker stores a variant after the purge, and the CDN caches it.
    let key = variants[0].strip_prefix(&format!("{}/", world.stack.url())).unwrap();
    let late = world.stack.s3_client().put_object().bucket("xfiles").key(key).body(vec![1].into());
    late.send().await.unwrap();
    world.pass(Duration::from_secs(10));
    let cached = [&variants[0], &private_original, &private_variants[0]];
    for url in cached {
        assert_eq!(world.get(url).await.status(), StatusCode::OK);
    }

    world.client.delete(&format!("/api/v1/files/{}", id_of(&file))).await.ok();
    for url in cached.into_iter().chain([&original]) {
        assert_eq!(world.get(url).await.status(), StatusCode::NOT_FOUND);
    }
    assert!(world.objects().await.is_empty());
    world.end().await;
}

#[tokio::test]
async fn a_gallery_is_reordered_in_one_call_or_not_at_all() {
    let world = World::start().await;
    let more = json!({"entity": {"type": "listing", "id": "a/b#c"}});
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.push(id_of(&world.client.upload(TEXT, more.clone()).await).to_owned());
    }
    let other = world.client.upload(TEXT, json!({"entity": {"type": "listing", "id": "8"}})).await;
    let order = |ids: Vec<String>| {
        let request = world.client.request(Method::PUT, "/api/v1/entities/listing/a%2Fb%23c/order");
        async move { Answer::of(request.json(&json!({ "fileIds": ids })).send().await.unwrap()).await }
    };
    ids.reverse();
    let answer = order(ids.clone()).await.ok();
    let positions: Vec<u64> =
        answer["files"].as_array().unwrap().iter().map(|f| f["entity"]["position"].as_u64().unwrap()).collect();
    assert_eq!(positions, [0, 1, 2, 3, 4]);
    order(vec![ids[1].clone(), id_of(&other).to_owned()]).await.refused(404, "file_not_found");
    order(vec![ids[1].clone(), ids[1].clone()]).await.refused(400, "invalid_request");
    let listed = world.client.get("/api/v1/files?entityType=listing&entityId=a%2Fb%23c").await.ok();
    let listed: Vec<&str> = listed["files"].as_array().unwrap().iter().map(id_of).collect();
    assert_eq!(listed, ids);
    world.end().await;
}

#[tokio::test]
async fn signed_urls_have_the_requested_lifetime_within_the_limit_of_the_key() {
    let world = World::start().await;
    let file = world.client.upload(TEXT, json!({})).await;
    let path = format!("/api/v1/files/{}/url", id_of(&file));
    let short = world.client.post(&path, &json!({"expiresIn": 5})).await.ok();
    assert_eq!(short["expiresIn"], 5);
    let url = short["url"].as_str().unwrap();
    assert_eq!(world.get(url).await.status(), StatusCode::OK);
    world.pass(Duration::from_secs(7));
    assert_eq!(world.get(url).await.status(), StatusCode::FORBIDDEN);
    for bad in [4, 604_801] {
        world.client.post(&path, &json!({"expiresIn": bad})).await.refused(400, "invalid_request");
    }
    let reader = world.client_with(&[xfiles_core::api_key::Scope::Read]).await;
    reader.post(&path, &json!({"expiresIn": 3600})).await.ok();
    reader.post(&path, &json!({"expiresIn": 3601})).await.refused(403, "missing_scope");
    let week = world.client.post(&path, &json!({"expiresIn": 604_800})).await.ok();
    world.pass(Duration::from_secs(604_799));
    assert_eq!(world.get(week["url"].as_str().unwrap()).await.status(), StatusCode::OK);
    world.end().await;
}

#[tokio::test]
async fn a_download_has_the_clients_file_name_only_in_content_disposition() {
    let world = World::start().await;
    for visibility in ["public", "private"] {
        let more = json!({ "visibility": visibility });
        let file = world.client.upload(("Größe \"1\".txt", TEXT.1, TEXT.2), more).await;
        let path = format!("/api/v1/files/{}/url", id_of(&file));
        let answer = world.client.post(&path, &json!({"download": true})).await.ok();
        let url = answer["url"].as_str().unwrap();
        let served = world.get(url).await;
        assert_eq!(served.status(), StatusCode::OK);
        assert_eq!(
            served.headers()["content-disposition"],
            "attachment; filename=\"Gr__e _1_.txt\"; filename*=UTF-8''Gr%C3%B6%C3%9Fe%20%221%22.txt"
        );
        let plain = world.client.post(&path, &json!({})).await.ok();
        assert!(!world.get(plain["url"].as_str().unwrap()).await.headers().contains_key("content-disposition"));
        if visibility == "private" {
            let renamed = url.replacen("download=", "download=x", 1);
            assert_eq!(world.get(&renamed).await.status(), StatusCode::FORBIDDEN, "the name is signed");
        }
    }
    world.end().await;
}

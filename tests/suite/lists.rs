//! Lists: their contents, order and pages.

use std::{collections::BTreeSet, time::Duration};

use serde_json::{Value, json};
use xfiles_tests::{Client, TEXT, World, id_of};

async fn add(world: &World, more: Value) -> String {
    world.pass(Duration::from_millis(5));
    id_of(&world.client.upload(TEXT, more).await).to_owned()
}

async fn ids(client: &Client, query: &str) -> Vec<String> {
    let answer = client.get(&format!("/api/v1/files?{query}")).await.ok();
    answer["files"].as_array().unwrap().iter().map(|file| id_of(file).to_owned()).collect()
}

#[tokio::test]
async fn pages_hold_twenty_newest_first_and_together_every_file_once() {
    let world = World::start().await;
    let mut added = Vec::new();
    for _ in 0..45 {
        added.push(add(&world, json!({})).await);
    }
    added.reverse();
    let mut walked = Vec::new();
    for page in 1..=3 {
        let answer = world.client.get(&format!("/api/v1/files?page={page}")).await.ok();
        assert_eq!((&answer["total"], &answer["page"], &answer["totalPages"]), (&json!(45), &json!(page), &json!(3)));
        walked.extend(answer["files"].as_array().unwrap().iter().map(|f| id_of(f).to_owned()));
    }
    assert_eq!(walked, added);
    let past = world.client.get("/api/v1/files?page=4").await.ok();
    assert_eq!((&past["files"], &past["total"]), (&json!([]), &json!(45)));
    assert_eq!(ids(&world.client, "limit=7&page=2").await, added[7..14]);
    world.end().await;
}

#[tokio::test]
async fn an_entitys_files_are_in_the_order_of_position_then_oldest_first() {
    let world = World::start().await;
    let at = |position: u32| json!({"entity": {"type": "listing", "id": "7", "position": position}});
    let last = add(&world, at(10)).await;
    let second = add(&world, at(2)).await;
    let third = add(&world, at(2)).await;
    let first = add(&world, json!({"entity": {"type": "listing", "id": "7"}})).await;
    add(&world, json!({"entity": {"type": "listing", "id": "8"}})).await;
    add(&world, json!({})).await;
    assert_eq!(
        ids(&world.client, "entityType=listing&entityId=7").await,
        [&first, &second, &third, &last].map(Clone::clone)
    );
    world.end().await;
}

#[tokio::test]
async fn a_types_files_are_listed_entity_by_entity_in_order_of_position() {
    let world = World::start().await;
    let mut added = Vec::new();
    for i in 0..12_u32 {
        let entity = json!({"type": "listing", "id": (i % 3).to_string(), "position": 12 - i, "role": "photo"});
        added.push((i % 3, 12 - i, add(&world, json!({ "entity": entity })).await));
    }
    add(&world, json!({"entity": {"type": "user", "id": "0"}})).await;
    let mut walked = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = world.client.get(&format!("/api/v1/files?entityType=listing&limit=5&cursor={cursor}")).await.ok();
        walked.extend(page["files"].as_array().unwrap().clone());
        match page["nextCursor"].as_str() {
            Some(next) => cursor = next.to_owned(),
            None => break,
        }
    }
    let place = |file: &Value| (file["entity"]["id"].clone(), file["entity"]["position"].as_u64().unwrap());
    let places: Vec<_> = walked.iter().map(place).collect();
    for entity in places.chunks(4) {
        assert!(entity.iter().all(|(id, _)| *id == entity[0].0), "one entity after the other: {places:?}");
        assert!(entity.is_sorted_by_key(|(_, position)| *position), "each by position: {places:?}");
    }
    let all = |ids: &mut dyn Iterator<Item = String>| ids.collect::<BTreeSet<_>>();
    let expected = all(&mut added.iter().map(|(_, _, id)| id.clone()));
    assert_eq!((walked.len(), all(&mut walked.iter().map(|f| id_of(f).to_owned()))), (12, expected));

    added.sort();
    added.sort_by_key(|(_, position, _)| *position);
    let by_position: Vec<String> = added.iter().map(|(_, _, id)| id.clone()).collect();
    assert_eq!(ids(&world.client, "entityType=listing").await, by_position);
    assert_eq!(ids(&world.client, "entityType=listing&role=photo&limit=5&page=3").await, by_position[10..]);
    let since = world.clock.now();
    let late = add(&world, json!({"entity": {"type": "listing", "id": "0"}})).await;
    assert_eq!(ids(&world.client, &format!("entityType=listing&createdAfter={since}&cursor=")).await, [late]);
    world.end().await;
}

#[tokio::test]
async fn a_listed_file_has_the_etag_that_a_change_requires() {
    let world = World::start().await;
    let id = add(&world, json!({})).await;
    let listed = world.client.get("/api/v1/files").await.ok()["files"][0].clone();
    let path = format!("/api/v1/files/{id}");
    assert_eq!(world.client.get(&path).await.headers["etag"].to_str().ok(), listed["etag"].as_str());
    let change = || {
        let request = world.client.request(reqwest::Method::PATCH, &path);
        request.header("if-match", listed["etag"].as_str().unwrap()).json(&json!({"ownerUserId": "ann"}))
    };
    xfiles_tests::Answer::of(change().send().await.unwrap()).await.ok();
    xfiles_tests::Answer::of(change().send().await.unwrap()).await.refused(412, "precondition_failed");
    world.end().await;
}

#[tokio::test]
async fn filters_combine() {
    let world = World::start().await;
    let file = |kind: &str, id: &str, role: &str, owner: &str, visibility: &str, variants: &str| {
        json!({
            "entity": {"type": kind, "id": id, "role": role}, "ownerUserId": owner, "visibility": visibility,
            "transformations": {"image": {"enabled": true, "visibility": variants}},
        })
    };
    let mut added = Vec::new();
    for (kind, id) in [("listing", "1"), ("listing", "2"), ("user", "1")] {
        for (role, owner) in [("cover", "ann"), ("cover", "bob"), ("plan", "ann")] {
            for (visibility, variants) in [("public", "public"), ("private", "public"), ("private", "private")] {
                let more = file(kind, id, role, owner, visibility, variants);
                let added_id = add(&world, more.clone()).await;
                added.push((added_id, more));
            }
        }
    }
    let field = |name: &str, more: &Value| match name {
        "entityType" => more["entity"]["type"].clone(),
        "entityId" => more["entity"]["id"].clone(),
        "role" => more["entity"]["role"].clone(),
        "variantVisibility" => more["transformations"]["image"]["visibility"].clone(),
        name => more[name].clone(),
    };
    for filter in [
        vec![("entityType", "listing")],
        vec![("entityId", "1")],
        vec![("role", "cover")],
        vec![("ownerUserId", "ann")],
        vec![("visibility", "private"), ("variantVisibility", "public")],
        vec![("entityType", "listing"), ("entityId", "1"), ("role", "cover")],
        vec![("entityType", "user"), ("ownerUserId", "bob"), ("visibility", "public")],
        vec![("entityType", "listing"), ("entityId", "2"), ("ownerUserId", "ann"), ("variantVisibility", "private")],
        vec![("entityType", "nothing")],
    ] {
        let query: Vec<String> = filter.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let query = format!("limit=100&{}", query.join("&"));
        let matches = |more: &Value| filter.iter().all(|(name, value)| field(name, more) == *value);
        let expected: BTreeSet<&String> = added.iter().filter(|(_, more)| matches(more)).map(|(id, _)| id).collect();
        let answer = world.client.get(&format!("/api/v1/files?{query}")).await.ok();
        let found: Vec<String> = answer["files"].as_array().unwrap().iter().map(|f| id_of(f).to_owned()).collect();
        assert_eq!(found.iter().collect::<BTreeSet<_>>(), expected, "{query}");
        assert_eq!(found.len(), expected.len(), "{query}: no duplicates");
        assert_eq!(answer["total"], expected.len(), "{query}");
    }
    world.end().await;
}

#[tokio::test]
async fn entity_words_with_any_characters_neither_collide_nor_leak() {
    let world = World::start().await;
    let long = "é".repeat(256);
    let pairs = [
        ("a#b", "c"),
        ("a", "b#c"),
        ("a/b", "c"),
        ("a%23b", "c"),
        ("A#B", "c"),
        ("日本", "語"),
        (&long, &long),
        ("a#", "bc"),
    ];
    let mut added = Vec::new();
    for (kind, id) in pairs {
        added.push(add(&world, json!({"entity": {"type": kind, "id": id}})).await);
    }
    for ((kind, id), file) in pairs.iter().zip(&added) {
        let request = world
            .client
            .request(reqwest::Method::GET, "/api/v1/files")
            .query(&[("entityType", kind), ("entityId", id)]);
        let answer = xfiles_tests::Answer::of(request.send().await.unwrap()).await.ok();
        let found: Vec<&str> = answer["files"].as_array().unwrap().iter().map(id_of).collect();
        assert_eq!(found, [file], "{kind} {id}");
    }
    world.end().await;
}

#[tokio::test]
async fn a_list_shows_nothing_of_another_project() {
    let world = World::start().await;
    let other = world.client_of_another_project().await;
    let more = json!({"entity": {"type": "listing", "id": "1"}, "ownerUserId": "ann"});
    let ours = add(&world, more.clone()).await;
    let theirs = id_of(&other.upload(TEXT, more).await).to_owned();
    for query in ["", "entityType=listing&entityId=1", "ownerUserId=ann", "role=none"] {
        let expected_ours: &[&String] = if query == "role=none" { &[] } else { &[&ours] };
        assert_eq!(ids(&world.client, query).await.iter().collect::<Vec<_>>(), expected_ours, "{query}");
        assert!(!ids(&other, query).await.contains(&ours));
    }
    assert_eq!(ids(&other, "").await, [theirs]);
    world.end().await;
}

#[tokio::test]
async fn a_list_can_carry_the_urls_so_that_a_gallery_is_one_request() {
    let world = World::start().await;
    let id = add(&world, json!({"visibility": "public"})).await;
    let plain = world.client.get("/api/v1/files").await.ok();
    assert!(plain["files"][0].get("url").is_none());
    let listed = world.client.get("/api/v1/files?include=urls").await.ok();
    let single = world.client.get(&format!("/api/v1/files/{id}")).await.ok();
    assert_eq!(listed["files"][0]["url"], single["url"]);
    assert_eq!(listed["files"][0]["variants"], single["variants"]);
    world.end().await;
}

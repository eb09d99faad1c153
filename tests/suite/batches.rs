//! Batches, bulk deletion, cursors, idempotency keys.

use std::collections::BTreeSet;

use futures::future::join_all;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use xfiles_core::{catalog::FileFilter, intent::EntityWord};
use xfiles_tests::{Answer, TEXT, World, id_of};

fn intents(n: usize, size: u64) -> Vec<Value> {
    vec![json!({"filename": "a.txt", "contentType": "text/plain", "size": size}); n]
}

#[tokio::test]
async fn a_batch_of_intents_and_confirms_returns_a_result_for_each_item_in_order() {
    let world = World::with_quota(1_000).await;
    let files = intents(3, TEXT.2.len() as u64);
    let answer = world.client.post("/api/v1/files/upload-intents", &json!({ "files": files })).await.ok();
    let begun = answer["results"].as_array().unwrap();
    for intent in &begun[..2] {
        assert_eq!(world.client.put(intent, "text/plain", TEXT.2).await, StatusCode::OK);
    }
    let ids: Vec<&str> = begun.iter().map(id_of).chain(["nonsense"]).collect();
    let answer = world.client.post("/api/v1/files/confirms", &json!({ "fileIds": ids })).await.ok();
    let results = answer["results"].as_array().unwrap();
    assert_eq!(id_of(&results[0]["file"]), ids[0]);
    assert_eq!(id_of(&results[1]["file"]), ids[1]);
    assert_eq!(results[2]["error"]["code"], "not_uploaded");
    assert_eq!(results[3]["error"]["code"], "file_not_found");
    world.end().await;
}

#[tokio::test]
async fn a_batch_accepts_the_items_that_fit_or_all_or_nothing_on_request() {
    let world = World::with_quota(1_000).await;
    let batch = |n, size, all: bool| {
        let (body, client) = (json!({"files": intents(n, size), "allOrNothing": all}), &world.client);
        async move { client.post("/api/v1/files/upload-intents", &body).await }
    };
    let mut all = batch(100, 10, true).await.ok();
    assert_eq!(all["results"].as_array_mut().unwrap().len(), 100);
    batch(2, 1, true).await.refused(413, "quota_exceeded");
    world.pass_expiry();
    world.sweep().await;
    assert_eq!(world.project().await.free_bytes, 1_000);
    // More than one transaction: the second part does not fit, and the first is rolled back.
    batch(100, 10, true).await.ok();
    world.pass_expiry();
    world.sweep().await;
    world.client.intent("a", "text/plain", 5, json!({})).await.ok();
    batch(100, 10, true).await.refused(413, "quota_exceeded");
    assert_eq!(world.project().await.free_bytes, 995);
    let each = batch(5, 300, false).await.ok();
    let codes: Vec<&Value> = each["results"].as_array().unwrap().iter().map(|r| &r["error"]["code"]).collect();
    assert_eq!(codes, [&json!(null), &json!(null), &json!(null), &json!("quota_exceeded"), &json!("quota_exceeded")]);
    world.end().await;
}

#[tokio::test]
async fn a_batch_names_the_item_whose_field_is_wrong() {
    let world = World::start().await;
    let mut files = intents(3, 1);
    files[1]["size"] = json!(-1);
    files[2] = json!("no object");
    let refusal = world.client.post("/api/v1/files/upload-intents", &json!({ "files": files })).await;
    let refusal = refusal.refused(400, "invalid_request");
    let pointers: Vec<&str> =
        refusal["errors"].as_array().unwrap().iter().map(|e| e["pointer"].as_str().unwrap()).collect();
    assert_eq!(pointers, ["/files/1/size", "/files/2"]);
    for files in [json!([]), json!(intents(101, 1)), json!(7), json!(null)] {
        world
            .client
            .post("/api/v1/files/upload-intents", &json!({ "files": files }))
            .await
            .refused(400, "invalid_request");
    }
    world.end().await;
}

#[tokio::test]
async fn bulk_deletion_removes_exactly_the_matching_files_past_one_page() {
    let world = World::start().await;
    let upload = |kind: &'static str, role: &'static str| {
        let world = &world;
        async move { world.client.upload(TEXT, json!({"entity": {"type": kind, "id": "1", "role": role}})).await }
    };
    for _ in 0..60 {
        join_all([upload("listing", "photo"), upload("listing", "photo")]).await;
    }
    let kept = [upload("listing", "plan").await, upload("user", "photo").await];
    world.client.delete("/api/v1/files").await.refused(400, "invalid_request");
    world.client.delete("/api/v1/files?entityTyp=listing").await.refused(400, "invalid_request");
    // A request whose time is used up stops after a page and reports this; the next one continues.
    let photos =
        FileFilter { entity_type: EntityWord::new("listing"), role: EntityWord::new("photo"), ..FileFilter::default() };
    let project = world.stack.project();
    let part = world.files().delete_matching(project, &photos, std::time::Duration::ZERO).await.unwrap();
    assert_eq!((part.deleted, part.more), (100, true));
    let gone = world.client.delete("/api/v1/files?entityType=listing&entityId=1&role=photo").await.ok();
    assert_eq!(gone, json!({"deleted": 20}));
    let again = world.client.delete("/api/v1/files?entityType=listing&entityId=1&role=photo").await.ok();
    assert_eq!(again, json!({"deleted": 0}));
    let left = world.client.get("/api/v1/files").await.ok();
    let left: BTreeSet<&str> = left["files"].as_array().unwrap().iter().map(id_of).collect();
    assert_eq!(left, kept.iter().map(id_of).collect());
    world.end().await;
}

#[tokio::test]
async fn deletion_by_ids_returns_a_result_for_each_id() {
    let world = World::start().await;
    let other = world.client_of_another_project().await;
    let ours = world.client.upload(TEXT, json!({})).await;
    let pending = world.client.intent(TEXT.0, TEXT.1, TEXT.2.len(), json!({})).await.ok();
    let theirs = other.upload(TEXT, json!({})).await;
    let ids = [id_of(&ours), id_of(&theirs), "x", id_of(&pending), id_of(&ours)];
    let answer = world.client.post("/api/v1/files/delete", &json!({ "fileIds": ids })).await.ok();
    let results = answer["results"].as_array().unwrap();
    assert_eq!(results[1]["error"]["code"], "file_not_found");
    assert_eq!(results[2]["error"]["code"], "file_not_found");
    assert_eq!(results[3], json!({"success": true}));
    let twice = [&results[0], &results[4]];
    assert_eq!(twice.iter().filter(|r| r["success"] == true).count(), 1, "{twice:?}");
    assert_eq!(world.project().await.reserved_bytes, 0, "the pending upload's quota is free at once");
    other.get(&format!("/api/v1/files/{}", id_of(&theirs))).await.ok();
    world.end().await;
}

#[tokio::test]
async fn a_cursor_returns_every_file_that_existed_throughout_exactly_once() {
    let world = World::start().await;
    let add = || async {
        world.pass(std::time::Duration::from_millis(1));
        id_of(&world.client.upload(TEXT, json!({"ownerUserId": "ann"})).await).to_owned()
    };
    let mut stay = Vec::new();
    let mut go = Vec::new();
    for i in 0..60 {
        if i % 3 == 0 { go.push(add().await) } else { stay.push(add().await) }
    }
    let mut seen = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = world.client.get(&format!("/api/v1/files?limit=7&ownerUserId=ann&cursor={cursor}")).await.ok();
        assert!(page.get("total").is_none());
        seen.extend(page["files"].as_array().unwrap().iter().map(|f| id_of(f).to_owned()));
        add().await;
        if let Some(id) = go.pop() {
            world.client.delete(&format!("/api/v1/files/{id}")).await.ok();
        }
        match page["nextCursor"].as_str() {
            Some(next) => cursor = next.to_owned(),
            None => break,
        }
    }
    assert_eq!(seen.len(), seen.iter().collect::<BTreeSet<_>>().len(), "nothing twice");
    assert!(stay.iter().all(|id| seen.contains(id)), "nothing missing");
    world.end().await;
}

#[tokio::test]
async fn a_cursor_is_valid_only_for_its_own_list() {
    let world = World::start().await;
    for _ in 0..3 {
        world.client.upload(TEXT, json!({})).await;
    }
    let page = world.client.get("/api/v1/files?limit=1&cursor=").await.ok();
    let cursor = page["nextCursor"].as_str().unwrap();
    let other = world.client_of_another_project().await;
    other.get(&format!("/api/v1/files?limit=1&cursor={cursor}")).await.refused(400, "invalid_request");
    for query in
        [format!("visibility=public&cursor={cursor}"), "cursor=AAAA".to_owned(), format!("page=1&cursor={cursor}")]
    {
        world.client.get(&format!("/api/v1/files?{query}")).await.refused(400, "invalid_request");
    }
    world.client.get("/api/v1/files?page=100000").await.refused(400, "page_too_deep");
    world.end().await;
}

#[tokio::test]
async fn lists_can_be_narrowed_by_time_type_and_name() {
    let world = World::start().await;
    let first = world.client.upload(("Report final.txt", TEXT.1, TEXT.2), json!({})).await;
    world.pass(std::time::Duration::from_secs(60));
    let middle = world.clock.now().to_string();
    let second = world.client.upload(("report.csv", "text/csv", b"a,b\n".as_slice()), json!({})).await;
    let third = world.client.upload(("photo.json", "application/json", b"{}".as_slice()), json!({})).await;
    for (query, expected) in [
        (format!("createdAfter={middle}"), vec![&third, &second]),
        (format!("createdBefore={middle}"), vec![&first]),
        ("contentType=text/*".to_owned(), vec![&second, &first]),
        ("contentType=application/json".to_owned(), vec![&third]),
        ("q=REPORT".to_owned(), vec![&second, &first]),
        ("q=report%20f".to_owned(), vec![&first]),
    ] {
        for mode in ["", "&cursor="] {
            let answer = world.client.get(&format!("/api/v1/files?{query}{mode}")).await.ok();
            let found: Vec<&str> = answer["files"].as_array().unwrap().iter().map(id_of).collect();
            let mut expected: Vec<&str> = expected.iter().map(|f| id_of(f)).collect();
            // The two later ones began in the same millisecond.
            let mut found = found;
            found.sort_unstable();
            expected.sort_unstable();
            assert_eq!(found, expected, "{query}{mode}");
        }
    }
    for bad in ["createdAfter=yesterday", "contentType=image", "q="] {
        world.client.get(&format!("/api/v1/files?{bad}")).await.refused(400, "invalid_request");
    }
    world.end().await;
}

#[tokio::test]
async fn a_repeated_post_under_one_idempotency_key_is_done_once() {
    let world = World::with_quota(1_000).await;
    let post = |key: &'static str, size: u64| {
        let request = world.client.request(Method::POST, "/api/v1/files/upload-intent").header("idempotency-key", key);
        let body = json!({"filename": "a.txt", "contentType": "text/plain", "size": size});
        async move { Answer::of(request.json(&body).send().await.unwrap()).await }
    };
    let first = post("k-1", 100).await;
    assert!(!first.headers.contains_key("idempotency-replayed"));
    let again = post("k-1", 100).await;
    assert_eq!(again.headers["idempotency-replayed"], "true");
    assert_eq!(again.ok(), first.ok());
    assert_eq!(world.project().await.reserved_bytes, 100);
    post("k-1", 101).await.refused(422, "idempotency_key_reused");
    post("k-2", 950).await.refused(413, "quota_exceeded");
    // An error is not stored: once there is quota, the same request succeeds.
    world.pass_expiry();
    world.sweep().await;
    post("k-2", 950).await.ok();
    // Results are deleted after a day.
    world.pass(std::time::Duration::from_secs(24 * 60 * 60));
    world.sweep().await;
    assert!(!post("k-1", 100).await.headers.contains_key("idempotency-replayed"));
    world.end().await;
}

#[tokio::test]
async fn a_replayed_response_has_the_etag_of_the_first() {
    let world = World::start().await;
    let intent = world.client.intent(TEXT.0, TEXT.1, TEXT.2.len(), json!({})).await.ok();
    world.client.put(&intent, TEXT.1, TEXT.2).await;
    let confirm = || async {
        let request = world.client.request(Method::POST, "/api/v1/files/confirm").header("idempotency-key", "k");
        Answer::of(request.json(&json!({"fileId": id_of(&intent)})).send().await.unwrap()).await
    };
    let (first, again) = (confirm().await, confirm().await);
    assert_eq!(again.headers["idempotency-replayed"], "true");
    assert_eq!(again.headers["etag"], first.headers["etag"]);
    assert_eq!(again.ok(), first.ok());
    world.end().await;
}

#[tokio::test]
async fn an_error_that_ended_an_upload_is_replayed_and_other_errors_are_not() {
    let world = World::start().await;
    let intent = world.client.intent("a.png", "image/png", TEXT.2.len(), json!({})).await.ok();
    let confirm = async |key: &'static str| {
        let request = world.client.request(Method::POST, "/api/v1/files/confirm").header("idempotency-key", key);
        Answer::of(request.json(&json!({"fileId": id_of(&intent)})).send().await.unwrap()).await
    };
    confirm("k").await.refused(400, "not_uploaded");
    assert_eq!(world.client.put(&intent, "image/png", TEXT.2).await, StatusCode::OK);
    let first = confirm("k").await.refused(422, "content_type_mismatch");
    let again = confirm("k").await;
    assert_eq!(again.headers["idempotency-replayed"], "true");
    assert_eq!(again.refused(422, "content_type_mismatch")["detail"], first["detail"]);
    confirm("another").await.refused(404, "file_not_found");
    world.end().await;
}

#[tokio::test]
async fn only_one_of_concurrent_posts_under_one_key_is_executed() {
    let world = World::with_quota(10_000).await;
    let body = json!({"filename": "a.txt", "contentType": "text/plain", "size": 100});
    let answers = join_all((0..8).map(|_| async {
        let request = world.client.request(Method::POST, "/api/v1/files/upload-intent");
        Answer::of(request.header("idempotency-key", "one").json(&body).send().await.unwrap()).await
    }))
    .await;
    let mut ids = BTreeSet::new();
    for answer in answers {
        if answer.status == StatusCode::OK {
            ids.insert(id_of(&answer.body).to_owned());
        } else {
            answer.refused(409, "request_in_flight");
        }
    }
    assert_eq!(ids.len(), 1);
    assert_eq!(world.project().await.reserved_bytes, 100);
    world.end().await;
}

#[tokio::test]
async fn a_pending_upload_can_be_cancelled_or_given_a_new_url() {
    let world = World::with_quota(1_000).await;
    let intent = world.client.intent(TEXT.0, TEXT.1, TEXT.2.len(), json!({})).await.ok();
    world.pass(std::time::Duration::from_secs(1_000));
    assert_eq!(world.client.put(&intent, TEXT.1, TEXT.2).await, StatusCode::FORBIDDEN);
    let path = format!("/api/v1/files/{}", id_of(&intent));
    let fresh = world.client.post(&format!("{path}/resign"), &json!({})).await.ok();
    assert_eq!(id_of(&fresh), id_of(&intent));
    world.pass(std::time::Duration::from_secs(890));
    world.sweep().await;
    assert_eq!(world.client.put(&fresh, TEXT.1, TEXT.2).await, StatusCode::OK);
    world.client.confirm(id_of(&fresh)).await.ok();
    world.client.post(&format!("{path}/resign"), &json!({})).await.refused(409, "not_pending");

    let other = world.client.intent("a", "text/plain", 500, json!({})).await.ok();
    world.client.delete(&format!("/api/v1/files/{}", id_of(&other))).await.ok();
    assert_eq!(world.project().await.reserved_bytes, 0);
    world.end().await;
}

//! Tests that run on every deployment: each starts its own stack, or uses the deployment whose ready file `XFILES_LIVE`
//! names: an emulator from `localstack/up`, or AWS, with `url`, `cdnUrl`, `workerUrl`, `apiKey` (with the scope
//! `admin`), `autoConfirm`, if uploads are confirmed on arrival, and `placeholders`, if they are made `on-view`. With
//! `--features live` and without such a file every test reports that it was skipped. Tests of features that a
//! deployment lacks print the reason. Each test removes its uploads.

use std::{net::SocketAddr, time::Duration};

use futures::future::join_all;
use image::{Rgb, RgbImage};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode, redirect::Policy};
use serde_json::{Value, json};
use xfiles_standalone::{Data, Stack, StackOptions};
use xfiles_tests::fixture;

/// The time limit for an invalidation in CloudFront.
const PURGE: Duration = Duration::from_secs(60);

/// The time for a one-minute schedule to start and finish a run.
const SCHEDULE: Duration = Duration::from_secs(150);

/// A deployment and a client that follows no redirects.
struct Live {
    ready: Value,
    http: Client,
    stack: Option<Stack>,
}

impl Live {
    /// The deployment, if there is one.
    async fn find(test: &str) -> Option<Self> {
        #[expect(clippy::disallowed_methods, reason = "the caller says which deployment is meant")]
        let named = std::env::var("XFILES_LIVE").ok();
        let (ready, stack) = match named {
            Some(path) => {
                let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("XFILES_LIVE={path}: {e}"));
                (serde_json::from_str(&text).expect("a ready file is JSON"), None)
            }
            None if cfg!(feature = "live") => {
                eprintln!("SKIPPED {test}: XFILES_LIVE names no ready file of a deployment");
                return None;
            }
            None => {
                let stack = Stack::start(StackOptions {
                    listen: SocketAddr::from(([127, 0, 0, 1], 0)),
                    cleanup_every: Some(Duration::from_millis(200)),
                    auto_confirm: true,
                    ..StackOptions::new(Data::Ephemeral)
                })
                .await
                .expect("a stack starts");
                let (url, key) = (stack.url().as_str(), stack.first_key().expect("a first start makes a key").reveal());
                (json!({"url": url, "cdnUrl": url, "apiKey": key, "autoConfirm": true}), Some(stack))
            }
        };
        let http = Client::builder().redirect(Policy::none()).build().unwrap();
        Some(Self { ready, http, stack })
    }

    /// The deployment, if it is on AWS.
    async fn on_aws(test: &str, why: &str) -> Option<Self> {
        Self::where_it_is(test, why, |live| live.stack.is_none() && live.ready["emulator"].is_null()).await
    }

    /// The deployment, if it is not a stack started by the test.
    async fn deployed(test: &str, why: &str) -> Option<Self> {
        Self::where_it_is(test, why, |live| live.stack.is_none()).await
    }

    async fn where_it_is(test: &str, why: &str, here: fn(&Self) -> bool) -> Option<Self> {
        let live = Self::find(test).await?;
        if here(&live) {
            return Some(live);
        }
        eprintln!("SKIPPED {test}: {why}");
        live.end().await;
        None
    }

    async fn end(self) {
        if let Some(stack) = self.stack {
            stack.stop().await;
        }
    }

    fn address(&self, name: &str) -> String {
        let address = self.ready[name].as_str().unwrap_or_else(|| panic!("the ready file has no {name}"));
        address.trim_end_matches('/').to_owned()
    }

    async fn get(&self, url: &str) -> Response {
        self.http.get(url).send().await.unwrap()
    }

    async fn status(&self, url: &str) -> StatusCode {
        self.get(url).await.status()
    }

    fn key(&self) -> &str {
        self.ready["apiKey"].as_str().expect("the ready file has an API key")
    }

    async fn api(&self, method: Method, path: &str, body: Value) -> Value {
        self.api_as(self.key(), method, path, body).await
    }

    async fn api_as(&self, key: &str, method: Method, path: &str, body: Value) -> Value {
        let (status, body) = self.ask(key, method, path, body).await;
        assert!(status.is_success(), "{path}: {status} {body}");
        body
    }

    /// Calls the API; accepts every response.
    async fn ask(&self, key: &str, method: Method, path: &str, body: Value) -> (StatusCode, Value) {
        let request = self.http.request(method, format!("{}{path}", self.address("url")));
        let answer = request.bearer_auth(key).json(&body).send().await.unwrap();
        let (status, body) = (answer.status(), answer.text().await.unwrap());
        (status, serde_json::from_str(&body).unwrap_or(Value::Null))
    }

    /// A project with this quota, and a key of it. [`Live::remove_project`] removes it.
    async fn project(&self, quota_bytes: usize) -> (String, String) {
        let project = json!({"name": "live", "quotaBytes": quota_bytes});
        let project = self.api(Method::POST, "/api/v1/projects", project).await;
        let project = format!("/api/v1/projects/{}", id(&project));
        let key = self.api(Method::POST, &format!("{project}/keys"), json!({"name": "live"})).await;
        (project, key["apiKey"].as_str().expect("a new key is shown").to_owned())
    }

    async fn remove_project(&self, project: &str) {
        self.api(Method::DELETE, project, Value::Null).await;
    }

    async fn intent(&self, visibility: &str, name: &str, content_type: &str, size: usize) -> Value {
        self.intent_as(self.key(), visibility, name, content_type, size).await
    }

    async fn intent_as(&self, key: &str, visibility: &str, name: &str, content_type: &str, size: usize) -> Value {
        let images = json!({"image": {"enabled": content_type == "image/png", "visibility": visibility}});
        let body = json!({"filename": name, "contentType": content_type, "size": size, "visibility": visibility,
            "transformations": images});
        self.api_as(key, Method::POST, "/api/v1/files/upload-intent", body).await
    }

    fn put(&self, intent: &Value, content_type: &str, bytes: &[u8]) -> RequestBuilder {
        let put = self.http.put(intent["uploadUrl"].as_str().unwrap());
        put.header("content-type", content_type).body(bytes.to_vec())
    }

    /// Uploads a file and returns it with its URLs.
    async fn upload(&self, visibility: &str, name: &str, content_type: &str, bytes: &[u8]) -> Value {
        let intent = self.intent(visibility, name, content_type, bytes.len()).await;
        let put = self.put(&intent, content_type, bytes).send().await.unwrap();
        assert_eq!(put.status(), StatusCode::OK);
        self.api(Method::POST, "/api/v1/files/confirm", json!({"fileId": intent["fileId"]})).await;
        self.api(Method::GET, &format!("/api/v1/files/{}?format=png", id(&intent)), Value::Null).await
    }

    /// A public file whose upload had additional unsigned headers, and the response that serves it.
    async fn served_after_adding(&self, headers: &[(&str, &str)]) -> (Value, Response) {
        let intent = self.intent("public", "n.txt", "text/plain", 5).await;
        let put = self.put(&intent, "text/plain", b"hello");
        let put = headers.iter().fold(put, |put, (name, value)| put.header(*name, *value));
        assert_eq!(put.send().await.unwrap().status(), StatusCode::OK);
        self.api(Method::POST, "/api/v1/files/confirm", json!({"fileId": id(&intent)})).await;
        let file = self.api(Method::GET, &format!("/api/v1/files/{}", id(&intent)), Value::Null).await;
        let served = self.get(url(&file)).await;
        assert_eq!(served.status(), StatusCode::OK);
        (file, served)
    }

    /// Waits until the CDN no longer serves the URL.
    async fn is_gone(&self, url: &str) {
        let gone = async {
            while self.status(url).await == StatusCode::OK {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        };
        tokio::time::timeout(PURGE, gone).await.expect("the CDN forgets within a minute");
    }

    async fn remove(&self, file: &Value) {
        self.api(Method::DELETE, &format!("/api/v1/files/{}", id(file)), Value::Null).await;
    }
}

fn id(of: &Value) -> &str {
    let ids = [&of["fileId"], &of["id"], &of["file"]["id"], &of["project"]["id"]];
    ids.into_iter().find_map(Value::as_str).expect("it has an id")
}

fn url(file: &Value) -> &str {
    file["url"].as_str().expect("a file has a URL")
}

fn variant(file: &Value, width: usize) -> &str {
    let variants = file["variants"].as_array().expect("an image has variants");
    variants.iter().find(|v| v["width"] == width).and_then(|v| v["url"].as_str()).expect("the width is offered")
}

fn header<'a>(response: &'a Response, name: &str) -> &'a str {
    response.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

#[tokio::test]
async fn an_upload_is_listed_changed_and_deleted() {
    let Some(live) = Live::find("an_upload_is_listed_changed_and_deleted").await else { return };
    let before = live.api(Method::GET, "/api/v1/usage", Value::Null).await;
    let file = live.upload("private", "Best Photo (1).TXT", "text/plain", b"hello").await;
    assert_eq!(file["file"]["originalFilename"], "Best Photo (1).TXT");
    let path = format!("/api/v1/files/{}", id(&file));
    let entity = live.api(Method::PATCH, &path, json!({"ownerUserId": "u-1"})).await;
    assert_eq!(entity["file"]["ownerUserId"], "u-1");
    let listed = live.api(Method::GET, "/api/v1/files?ownerUserId=u-1", Value::Null).await;
    let ids: Vec<_> = listed["files"].as_array().unwrap().iter().map(id).collect();
    assert!(ids.contains(&id(&file)), "{listed}");
    let during = live.api(Method::GET, "/api/v1/usage", Value::Null).await;
    assert!(during["usedBytes"].as_u64() >= Some(5), "{during}");
    live.remove(&file).await;
    let gone = live.http.get(format!("{}{path}", live.address("url"))).bearer_auth(live.key()).send().await.unwrap();
    assert_eq!((gone.status(), header(&gone, "content-type")), (StatusCode::NOT_FOUND, "application/problem+json"));
    assert_eq!(before["quotaBytes"], during["quotaBytes"]);
    live.end().await;
}

#[tokio::test]
async fn a_request_without_a_key_gets_a_problem_document() {
    let Some(live) = Live::find("a_request_without_a_key_gets_a_problem_document").await else { return };
    let refused = live.http.get(format!("{}/api/v1/files", live.address("url"))).send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
    let id = header(&refused, "request-id").to_owned();
    let problem: Value = serde_json::from_str(&refused.text().await.unwrap()).unwrap();
    assert_eq!((&problem["code"], problem["requestId"].as_str()), (&json!("unauthorized"), Some(id.as_str())));
    live.end().await;
}

#[tokio::test]
async fn an_idempotency_key_replays_the_first_response() {
    let Some(live) = Live::find("an_idempotency_key_replays_the_first_response").await else { return };
    let key = format!("live-{}", xfiles_core::id::FileId::mint());
    let body = json!({"filename": "n.txt", "contentType": "text/plain", "size": 5});
    let mut answers = Vec::new();
    for _ in 0..2 {
        let request = live.http.post(format!("{}/api/v1/files/upload-intent", live.address("url")));
        let answer = request.bearer_auth(live.key()).header("idempotency-key", &key).json(&body).send().await.unwrap();
        let replayed = header(&answer, "idempotency-replayed").to_owned();
        answers.push((replayed, serde_json::from_str::<Value>(&answer.text().await.unwrap()).unwrap()));
    }
    assert_eq!((answers[0].0.as_str(), answers[1].0.as_str()), ("", "true"));
    assert_eq!(answers[0].1, answers[1].1);
    live.remove(&answers[0].1).await;
    live.end().await;
}

#[tokio::test]
async fn an_upload_is_confirmed_by_its_arrival() {
    let test = "an_upload_is_confirmed_by_its_arrival";
    let Some(live) = Live::find(test).await else { return };
    if live.ready["autoConfirm"] != true {
        eprintln!("SKIPPED {test}: the deployment does not confirm what arrives (its parameter AutoConfirm)");
        return live.end().await;
    }
    let intent = live.intent("private", "n.txt", "text/plain", 5).await;
    assert_eq!(live.put(&intent, "text/plain", b"hello").send().await.unwrap().status(), StatusCode::OK);
    let file = live.api(Method::GET, &format!("/api/v1/files/{}?wait=30", id(&intent)), Value::Null).await;
    assert_eq!(file["file"]["uploadStatus"], "confirmed");
    live.remove(&file).await;
    live.end().await;
}

#[tokio::test]
async fn an_image_that_was_never_requested_has_a_placeholder() {
    let test = "an_image_that_was_never_requested_has_a_placeholder";
    let Some(live) = Live::find(test).await else { return };
    if live.ready["placeholders"] == "on-view" {
        eprintln!(
            "SKIPPED {test}: the deployment makes placeholders with variants (its parameters Placeholders, EventBusName)"
        );
        return live.end().await;
    }
    let photo = fixture("palette-alpha.png");
    let upload = |visibility| live.upload(visibility, "p.png", "image/png", &photo);
    for file in [upload("public").await, upload("private").await] {
        let path = format!("/api/v1/files/{}", id(&file));
        let noted = async {
            while live.api(Method::GET, &path, Value::Null).await["file"]["thumbhash"].is_null() {
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        };
        tokio::time::timeout(SCHEDULE, noted).await.expect("the event arrives after the schedule has come round");
        live.remove(&file).await;
    }
    live.end().await;
}

#[tokio::test]
async fn a_deleted_project_is_emptied_by_the_scheduled_cleanup() {
    let Some(live) = Live::find("a_deleted_project_is_emptied_by_the_scheduled_cleanup").await else { return };
    let (project, key) = live.project(1000).await;
    let key = key.as_str();
    let intent = live.intent_as(key, "public", "n.txt", "text/plain", 5).await;
    assert_eq!(live.put(&intent, "text/plain", b"hello").send().await.unwrap().status(), StatusCode::OK);
    live.api_as(key, Method::POST, "/api/v1/files/confirm", json!({"fileId": id(&intent)})).await;
    let file = live.api_as(key, Method::GET, &format!("/api/v1/files/{}", id(&intent)), Value::Null).await;
    assert_eq!(live.status(url(&file)).await, StatusCode::OK);

    live.api(Method::POST, &format!("{project}/empty"), json!({})).await;
    let emptied = async {
        while live.api(Method::GET, &project, Value::Null).await["project"]["status"] != "active" {
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    };
    tokio::time::timeout(SCHEDULE, emptied).await.expect("the scheduled cleanup empties it");
    let left = live.api(Method::GET, &project, Value::Null).await;
    assert_eq!((&left["project"]["usage"]["files"], &left["project"]["usage"]["usedBytes"]), (&json!(0), &json!(0)));
    live.is_gone(url(&file)).await;
    live.remove_project(&project).await;
    live.end().await;
}

#[tokio::test]
async fn the_store_refuses_an_upload_that_differs_from_the_signed_one() {
    let Some(live) = Live::find("the_store_refuses_an_upload_that_differs_from_the_signed_one").await else { return };
    let intent = live.intent("private", "n.txt", "text/plain", 5).await;
    let other = intent["uploadUrl"].as_str().unwrap().replacen("staging/", "files/originals/public/", 1);
    for (what, put) in [
        ("another type", live.put(&intent, "text/html", b"hello")),
        ("another length", live.put(&intent, "text/plain", b"hello, world")),
        ("another place", live.http.put(other).header("content-type", "text/plain").body("hello")),
        ("another method", live.http.get(intent["uploadUrl"].as_str().unwrap())),
    ] {
        assert_eq!(put.send().await.unwrap().status(), StatusCode::FORBIDDEN, "{what}");
    }
    let confirm = json!({"fileId": id(&intent)});
    let early = live.ask(live.key(), Method::POST, "/api/v1/files/confirm", confirm).await;
    assert_eq!((early.0, &early.1["code"]), (StatusCode::BAD_REQUEST, &json!("not_uploaded")));
    live.remove(&intent).await;
    live.end().await;
}

#[tokio::test]
async fn the_store_refuses_bytes_whose_checksum_is_not_the_declared_one() {
    let test = "the_store_refuses_bytes_whose_checksum_is_not_the_declared_one";
    let Some(live) = Live::find(test).await else { return };
    let body = json!({"filename": "n.txt", "contentType": "text/plain", "size": 5,
        "checksumSha256": xfiles_core::intent::Sha256Checksum::of(b"hello").to_string()});
    let intent = live.api(Method::POST, "/api/v1/files/upload-intent", body).await;
    let put = |bytes: &'static [u8]| {
        let headers = intent["headers"].as_object().unwrap().iter();
        let put = live.http.put(intent["uploadUrl"].as_str().unwrap()).body(bytes);
        headers.fold(put, |put, (name, value)| put.header(name, value.as_str().unwrap())).send()
    };
    assert_eq!(put(b"jello").await.unwrap().status(), StatusCode::BAD_REQUEST);
    let confirm = json!({"fileId": id(&intent)});
    let nothing = live.ask(live.key(), Method::POST, "/api/v1/files/confirm", confirm.clone()).await;
    assert_eq!(nothing.1["code"], "not_uploaded", "the refused upload is not stored");
    assert_eq!(put(b"hello").await.unwrap().status(), StatusCode::OK);
    live.api(Method::POST, "/api/v1/files/confirm", confirm).await;
    live.remove(&intent).await;
    live.end().await;
}

#[tokio::test]
async fn a_published_file_cannot_be_changed_through_its_upload_url() {
    let Some(live) = Live::find("a_published_file_cannot_be_changed_through_its_upload_url").await else { return };
    let intent = live.intent("public", "n.txt", "text/plain", 5).await;
    assert_eq!(live.put(&intent, "text/plain", b"hello").send().await.unwrap().status(), StatusCode::OK);
    live.api(Method::POST, "/api/v1/files/confirm", json!({"fileId": id(&intent)})).await;
    let replayed = live.put(&intent, "text/plain", b"jello").send().await.unwrap();
    assert_eq!(replayed.status(), StatusCode::OK, "the URL is valid for staging until it expires");
    live.api(Method::POST, "/api/v1/files/confirm", json!({"fileId": id(&intent)})).await;
    let file = live.api(Method::GET, &format!("/api/v1/files/{}", id(&intent)), Value::Null).await;
    assert_eq!(live.get(url(&file)).await.text().await.unwrap(), "hello");
    live.remove(&file).await;
    live.end().await;
}

#[tokio::test]
async fn an_upload_is_on_the_cdn_after_its_confirmation_and_not_before() {
    let Some(live) = Live::find("an_upload_is_on_the_cdn_after_its_confirmation_and_not_before").await else { return };
    let intent = live.intent("public", "n.txt", "text/plain", 5).await;
    let cdn = live.address("cdnUrl");
    let staged = intent["uploadUrl"].as_str().unwrap().split('?').next().unwrap();
    let staged = &staged[staged.find("/staging/").expect("uploads go to staging")..];
    let published = format!("{cdn}/{}", intent["key"].as_str().unwrap());
    assert!(live.status(&published).await.is_client_error(), "the path is empty before the upload");
    assert_eq!(live.put(&intent, "text/plain", b"hello").send().await.unwrap().status(), StatusCode::OK);
    assert!(live.status(&format!("{cdn}{staged}")).await.is_client_error(), "the CDN does not serve staging");
    live.api(Method::POST, "/api/v1/files/confirm", json!({"fileId": id(&intent)})).await;
    // The 404 is cached for ten seconds.
    let served = async {
        while live.status(&published).await != StatusCode::OK {
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(15), served).await.expect("it is served within ten seconds");
    live.remove(&intent).await;
    live.end().await;
}

#[tokio::test]
async fn concurrent_confirmations_all_get_the_same_response() {
    let Some(live) = Live::find("concurrent_confirmations_all_get_the_same_response").await else { return };
    let intent = live.intent("private", "n.txt", "text/plain", 5).await;
    assert_eq!(live.put(&intent, "text/plain", b"hello").send().await.unwrap().status(), StatusCode::OK);
    let confirm = || live.ask(live.key(), Method::POST, "/api/v1/files/confirm", json!({"fileId": id(&intent)}));
    let answers = join_all((0..4).map(|_| confirm())).await;
    for (status, body) in &answers {
        assert_eq!((*status, body), (StatusCode::OK, &answers[0].1));
    }
    live.remove(&intent).await;
    live.end().await;
}

#[tokio::test]
async fn exactly_those_of_concurrent_intents_that_fit_succeed() {
    let Some(live) = Live::find("exactly_those_of_concurrent_intents_that_fit_succeed").await else { return };
    let (project, key) = live.project(30).await;
    let intent = || {
        let body = json!({"filename": "n.txt", "contentType": "text/plain", "size": 10});
        live.ask(&key, Method::POST, "/api/v1/files/upload-intent", body)
    };
    let answers = join_all((0..6).map(|_| intent())).await;
    let (begun, refused): (Vec<_>, Vec<_>) = answers.iter().partition(|(status, _)| status.is_success());
    assert_eq!(begun.len(), 3, "{answers:?}");
    assert!(refused.iter().all(|(status, _)| *status == StatusCode::PAYLOAD_TOO_LARGE), "{refused:?}");
    let usage = live.api_as(&key, Method::GET, "/api/v1/usage", Value::Null).await;
    assert_eq!((&usage["reservedBytes"], &usage["freeBytes"]), (&json!(30), &json!(0)), "{usage}");
    for (_, intent) in begun {
        live.api_as(&key, Method::DELETE, &format!("/api/v1/files/{}", id(intent)), Value::Null).await;
    }
    let usage = live.api_as(&key, Method::GET, "/api/v1/usage", Value::Null).await;
    assert_eq!(usage["freeBytes"], 30, "quota is returned exactly once: {usage}");
    live.remove_project(&project).await;
    live.end().await;
}

#[tokio::test]
async fn missing_pending_foreign_and_deleted_files_return_the_same_404() {
    let test = "missing_pending_foreign_and_deleted_files_return_the_same_404";
    let Some(live) = Live::find(test).await else { return };
    let (project, key) = live.project(100).await;
    let pending = live.intent_as(&key, "private", "n.txt", "text/plain", 5).await;
    let deleted = live.upload("private", "n.txt", "text/plain", b"hello").await;
    live.remove(&deleted).await;
    let mut answers = Vec::new();
    for (key, id) in [
        (key.as_str(), id(&pending)),
        (live.key(), id(&pending)),
        (live.key(), id(&deleted)),
        (live.key(), "aaaaaaaaaaaaaaaaaaaa"),
    ] {
        let (status, mut body) = live.ask(key, Method::GET, &format!("/api/v1/files/{id}"), Value::Null).await;
        body["requestId"] = Value::Null;
        body["instance"] = Value::Null;
        answers.push((status, body));
    }
    assert_eq!(answers[0].0, StatusCode::NOT_FOUND);
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    live.api_as(&key, Method::DELETE, &format!("/api/v1/files/{}", id(&pending)), Value::Null).await;
    live.remove_project(&project).await;
    live.end().await;
}

#[tokio::test]
async fn an_entitys_files_are_listed_once_each_in_order_and_deleted_together() {
    let test = "an_entitys_files_are_listed_once_each_in_order_and_deleted_together";
    let Some(live) = Live::find(test).await else { return };
    let (project, key) = live.project(1000).await;
    let mut expected = Vec::new();
    for position in [2, 0, 1] {
        let body = json!({"filename": "n.txt", "contentType": "text/plain", "size": 5,
            "entity": {"type": "a#b/ü", "id": "1%23/2", "position": position}});
        let intent = live.api_as(&key, Method::POST, "/api/v1/files/upload-intent", body).await;
        assert_eq!(live.put(&intent, "text/plain", b"hello").send().await.unwrap().status(), StatusCode::OK);
        live.api_as(&key, Method::POST, "/api/v1/files/confirm", json!({"fileId": id(&intent)})).await;
        expected.push((position, id(&intent).to_owned()));
    }
    expected.sort();
    let expected: Vec<_> = expected.into_iter().map(|(_, id)| id).collect();
    let filter = "entityType=a%23b%2F%C3%BC&entityId=1%2523%2F2";
    let walk = async || {
        let (mut seen, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = format!("/api/v1/files?{filter}&limit=2&cursor={cursor}");
            let page = live.api_as(&key, Method::GET, &page, Value::Null).await;
            seen.extend(page["files"].as_array().unwrap().iter().map(|file| id(file).to_owned()));
            match page["nextCursor"].as_str() {
                Some(next) => cursor = next.to_owned(),
                None => return seen,
            }
        }
    };
    // DynamoDB's indexes are eventually consistent.
    let walked = async {
        while walk().await != expected {
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), walked).await.expect("every file is listed, once and in order");
    let deleted = live.api_as(&key, Method::DELETE, &format!("/api/v1/files?{filter}"), Value::Null).await;
    assert_eq!(deleted["deleted"], 3);
    assert!(walk().await.is_empty(), "deleted files are not listed, even if the index lags");
    live.remove_project(&project).await;
    live.end().await;
}

#[tokio::test]
async fn a_revoked_key_stops_working_within_thirty_seconds() {
    let test = "a_revoked_key_stops_working_within_thirty_seconds";
    let why = "tests/suite/api.rs shows it with a clock of its own, without waiting";
    let Some(live) = Live::deployed(test, why).await else { return };
    let (project, key) = live.project(100).await;
    live.api_as(&key, Method::GET, "/api/v1/usage", Value::Null).await;
    let keys = live.api(Method::GET, &format!("{project}/keys"), Value::Null).await;
    let revoked = keys["keys"][0]["id"].as_str().expect("a key has an id");
    live.api(Method::DELETE, &format!("{project}/keys/{revoked}"), Value::Null).await;
    let refused = async {
        while live.ask(&key, Method::GET, "/api/v1/usage", Value::Null).await.0 != StatusCode::UNAUTHORIZED {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(31), refused).await.expect("it stops working");
    live.remove_project(&project).await;
    live.end().await;
}

#[tokio::test]
async fn the_store_refuses_a_header_that_is_not_signed() {
    let Some(live) = Live::find("the_store_refuses_a_header_that_is_not_signed").await else { return };
    let intent = live.intent("private", "n.txt", "text/plain", 5).await;
    let put = live.put(&intent, "text/plain", b"hello").header("x-amz-meta-a", "b").send().await.unwrap();
    assert_eq!(put.status(), StatusCode::FORBIDDEN);
    live.remove(&intent).await;
    live.end().await;
}

#[tokio::test]
async fn an_upload_is_served_with_its_own_headers_and_none_of_the_clients() {
    let test = "an_upload_is_served_with_its_own_headers_and_none_of_the_clients";
    let Some(live) = Live::find(test).await else { return };
    let file = live.upload("public", "n.txt", "text/plain", b"hello").await;
    let served = live.get(&format!("{}?response-content-type=text/html&download=Bericht.txt", url(&file))).await;
    assert_eq!((served.status(), header(&served, "content-type")), (StatusCode::OK, "text/plain"));
    assert_eq!(header(&served, "x-content-type-options"), "nosniff");
    assert!(header(&served, "content-security-policy").contains("sandbox"));
    // The viewer-response function sees a query that the cache policy drops.
    assert!(header(&served, "content-disposition").contains("filename=\"Bericht.txt\""));
    live.remove(&file).await;
    live.end().await;
}

#[tokio::test]
async fn headers_that_a_client_adds_do_not_survive_publication() {
    let Some(live) = Live::find("headers_that_a_client_adds_do_not_survive_publication").await else { return };
    let added = [("cache-control", "no-store"), ("content-disposition", "inline; filename=evil.exe")];
    let (file, served) = live.served_after_adding(&added).await;
    assert_eq!(header(&served, "cache-control"), "public, max-age=3600, s-maxage=31536000");
    assert_eq!(header(&served, "content-disposition"), "");
    live.remove(&file).await;
    live.end().await;
}

#[tokio::test]
async fn a_content_encoding_that_a_client_adds_does_not_survive_publication() {
    let test = "a_content_encoding_that_a_client_adds_does_not_survive_publication";
    let Some(live) = Live::find(test).await else { return };
    let (file, served) = live.served_after_adding(&[("content-encoding", "gzip")]).await;
    let encoding = header(&served, "content-encoding").to_owned();
    live.remove(&file).await;
    assert_eq!(encoding, "");
    live.end().await;
}

#[tokio::test]
async fn a_document_that_can_run_script_is_served_as_a_sandboxed_attachment() {
    let test = "a_document_that_can_run_script_is_served_as_a_sandboxed_attachment";
    let Some(live) = Live::find(test).await else { return };
    let drawing = br#"<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>"#;
    let file = live.upload("public", "a.svg", "image/svg+xml", drawing).await;
    let served = live.get(url(&file)).await;
    assert_eq!((served.status(), header(&served, "content-disposition")), (StatusCode::OK, "attachment"));
    assert!(header(&served, "content-security-policy").contains("sandbox"));
    assert_eq!(header(&served, "x-content-type-options"), "nosniff");
    live.remove(&file).await;
    live.end().await;
}

#[tokio::test]
async fn a_private_file_opens_only_with_its_own_signature() {
    let Some(live) = Live::find("a_private_file_opens_only_with_its_own_signature").await else { return };
    let (file, other) = (
        live.upload("private", "a.txt", "text/plain", b"a").await,
        live.upload("private", "b.txt", "text/plain", b"b").await,
    );
    let (bare, query) = url(&file).split_once('?').unwrap();
    assert_eq!(live.status(url(&file)).await, StatusCode::OK);
    assert_eq!(live.status(bare).await, StatusCode::FORBIDDEN);
    let (bare_other, _) = url(&other).split_once('?').unwrap();
    assert_eq!(live.status(&format!("{bare_other}?{query}")).await, StatusCode::FORBIDDEN);
    let forged = forged(query);
    assert_eq!(live.status(&format!("{bare}?{forged}")).await, StatusCode::FORBIDDEN, "one byte is changed");
    for file in [&file, &other] {
        live.remove(file).await;
    }
    live.end().await;
}

/// A query whose signature differs in one character.
fn forged(query: &str) -> String {
    let at = query.find("Signature=").expect("it is signed") + "Signature=".len() + 20;
    let other = if query.as_bytes()[at] == b'A' { "B" } else { "A" };
    format!("{}{other}{}", &query[..at], &query[at + 1..])
}

#[tokio::test]
async fn a_signature_for_variants_opens_no_other_files_and_no_public_path() {
    let test = "a_signature_for_variants_opens_no_other_files_and_no_public_path";
    let Some(live) = Live::find(test).await else { return };
    let picture = fixture("palette-alpha.png");
    let (file, other) = (
        live.upload("private", "a.png", "image/png", &picture).await,
        live.upload("private", "b.png", "image/png", &picture).await,
    );
    let (bare, query) = variant(&file, 100).split_once('?').unwrap();
    let (bare_other, _) = variant(&other, 100).split_once('?').unwrap();
    assert_eq!(live.status(&format!("{bare_other}?{query}")).await, StatusCode::FORBIDDEN);
    let public = bare.replace("/private/", "/public/");
    assert_eq!(live.status(&public).await, StatusCode::NOT_FOUND, "a private variant is not served at a public path");
    for file in [&file, &other] {
        live.remove(file).await;
    }
    live.end().await;
}

#[tokio::test]
async fn a_signed_url_is_the_same_for_a_minute_and_ends_when_it_says() {
    let Some(live) = Live::find("a_signed_url_is_the_same_for_a_minute_and_ends_when_it_says").await else { return };
    let file = live.upload("private", "a.txt", "text/plain", b"a").await;
    let path = format!("/api/v1/files/{}", id(&file));
    let fresh = async || live.api(Method::GET, &path, Value::Null).await["url"].clone();
    // The second pair is within a minute if the first was not.
    let same = fresh().await == fresh().await || fresh().await == fresh().await;
    assert!(same, "two responses within a minute have identical URLs");
    let short = live.api(Method::POST, &format!("{path}/url"), json!({"expiresIn": 5})).await;
    assert_eq!(live.status(url(&short)).await, StatusCode::OK);
    let ended = async {
        while live.status(url(&short)).await != StatusCode::FORBIDDEN {
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    };
    // The edge's cache does not bypass the signature.
    tokio::time::timeout(Duration::from_secs(15), ended).await.expect("it ends");
    live.remove(&file).await;
    live.end().await;
}

#[tokio::test]
async fn the_first_request_is_rendered_and_later_ones_come_from_the_cache_with_the_same_etag() {
    let Some(live) = Live::find("a_first_request_is_made_by_the_worker").await else { return };
    let picture = fixture("palette-alpha.png");
    let file = live.upload("private", "p.png", "image/png", &picture).await;
    let made = live.get(variant(&file, 100)).await;
    assert_eq!((made.status(), header(&made, "content-type")), (StatusCode::OK, "image/png"));
    let (etag, made) = (header(&made, "etag").to_owned(), made.bytes().await.unwrap());
    let cached = live.get(variant(&file, 100)).await;
    assert!(header(&cached, "x-cache").starts_with("Hit"), "{}", header(&cached, "x-cache"));
    assert_eq!((header(&cached, "etag"), !etag.is_empty()), (etag.as_str(), true));
    assert_eq!(cached.bytes().await.unwrap(), made);
    live.remove(&file).await;
    live.end().await;
}

#[tokio::test]
async fn a_variant_is_upright_without_metadata_of_its_width_and_equal_for_concurrent_viewers() {
    let test = "a_variant_is_upright_without_metadata_of_its_width_and_equal_for_concurrent_viewers";
    let Some(live) = Live::find(test).await else { return };
    let photo = fixture("portrait-exif6.jpg");
    let images = json!({"image": {"enabled": true, "visibility": "public"}});
    let body = json!({"filename": "p.jpg", "contentType": "image/jpeg", "size": photo.len(), "visibility": "public",
        "transformations": images});
    let intent = live.api(Method::POST, "/api/v1/files/upload-intent", body).await;
    assert_eq!(live.put(&intent, "image/jpeg", &photo).send().await.unwrap().status(), StatusCode::OK);
    live.api(Method::POST, "/api/v1/files/confirm", json!({"fileId": id(&intent)})).await;
    let path = format!("/api/v1/files/{}?format=jpeg", id(&intent));
    let file = live.api(Method::GET, &path, Value::Null).await;
    let made = join_all((0..3).map(|_| async { live.get(variant(&file, 300)).await.bytes().await.unwrap() })).await;
    assert!(made.iter().all(|bytes| *bytes == made[0]), "three first requests get the same bytes");
    let picture = image::load_from_memory(&made[0]).unwrap();
    assert!(picture.width() == 300 && picture.height() > 300, "{} x {}", picture.width(), picture.height());
    assert!(!made[0].windows(4).any(|bytes| bytes == b"Exif"), "the camera's metadata is removed");
    live.remove(&file).await;
    live.end().await;
}

#[tokio::test]
async fn a_viewer_gets_the_best_format_that_it_accepts() {
    let Some(live) = Live::find("a_viewer_gets_the_best_format_that_it_accepts").await else { return };
    let file = live.upload("public", "p.png", "image/png", &fixture("palette-alpha.png")).await;
    let auto = variant(&file, 100).replace(".png", ".auto");
    for (accept, given) in [("image/webp,*/*", "image/webp"), ("*/*", "image/png")] {
        let answer = live.http.get(&auto).header("accept", accept).send().await.unwrap();
        let seen = (answer.status(), header(&answer, "content-type"), header(&answer, "vary").contains("Accept"));
        assert_eq!(seen, (StatusCode::OK, given, true), "{accept}");
    }
    live.remove(&file).await;
    live.end().await;
}

#[tokio::test]
async fn a_private_variant_too_large_for_a_lambda_response_is_served_with_its_own_signature() {
    let Some(live) = Live::find("a_private_variant_too_large_for_a_reply").await else { return };
    let mut seed = 1_u32;
    let noise = RgbImage::from_fn(1200, 1300, |_, _| {
        Rgb([(); 3].map(|()| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            seed.to_be_bytes()[0]
        }))
    });
    let mut png = std::io::Cursor::new(Vec::new());
    noise.write_to(&mut png, image::ImageFormat::Png).unwrap();
    let file = live.upload("private", "n.png", "image/png", png.get_ref()).await;
    let sent = live.get(variant(&file, 1200)).await;
    assert_eq!(sent.status(), StatusCode::FOUND);
    let next = sent.url().join(header(&sent, "location")).unwrap();
    assert_eq!((next.path(), next.query()), (sent.url().path(), sent.url().query()));
    let got = live.get(next.as_str()).await;
    assert_eq!(got.status(), StatusCode::OK);
    assert!(got.bytes().await.unwrap().len() > 4_500_000);
    live.remove(&file).await;
    live.end().await;
}

#[tokio::test]
async fn a_public_file_is_unreachable_soon_after_it_becomes_private() {
    let Some(live) = Live::find("a_public_file_is_unreachable_soon_after_it_becomes_private").await else { return };
    let file = live.upload("public", "p.png", "image/png", &fixture("palette-alpha.png")).await;
    let was_public = [url(&file), variant(&file, 100)];
    for url in was_public {
        assert_eq!(live.status(url).await, StatusCode::OK);
    }
    let private = json!({"visibility": "private", "transformations": {"image": {"visibility": "private"}}});
    let path = format!("/api/v1/files/{}?format=png", id(&file));
    live.api(Method::PATCH, path.split('?').next().unwrap(), private).await;
    for url in was_public {
        live.is_gone(url).await;
    }
    let moved = live.api(Method::GET, &path, Value::Null).await;
    for url in [url(&moved), variant(&moved, 100)] {
        assert_eq!(live.status(url).await, StatusCode::OK);
    }
    live.remove(&file).await;
    live.end().await;
}

#[tokio::test]
async fn nothing_is_served_at_other_paths() {
    let Some(live) = Live::find("nothing_is_served_at_other_paths").await else { return };
    let cdn = live.address("cdnUrl");
    for path in
        ["/staging/", "/files/", "/files//originals/public/", "/staging/aaaaaaaaaaaa/bbbbbbbbbbbbbbbbbbbb/a-a1b2c3.jpg"]
    {
        assert_eq!(live.status(&format!("{cdn}{path}")).await, StatusCode::NOT_FOUND, "{path}");
    }
    let missing = "aaaaaaaaaaaa/bbbbbbbbbbbbbbbbbbbb/photo-a1b2c3";
    let file = live.upload("public", "p.png", "image/png", &fixture("palette-alpha.png")).await;
    let offered = variant(&file, 100);
    for url in [
        format!("{cdn}/files/variants/public/{missing}_w100.webp"),
        offered.replace("_w100", "_w640"),
        offered.replace("_w100.png", "_w100.gif"),
        offered.replace("/public/", "/public//"),
        offered.replace("/public/", "/public%2f"),
        offered.replace("_w100", "_W100"),
    ] {
        assert_eq!(live.status(&url).await, StatusCode::NOT_FOUND, "{url}");
    }
    live.remove(&file).await;
    live.end().await;
}

#[tokio::test]
async fn the_bucket_returns_403_for_a_missing_key_without_list_permission() {
    let why = "the stand-in for the CDN returns 404 for a missing original";
    let Some(live) = Live::on_aws("the_bucket_returns_403_for_a_missing_key_without_list_permission", why).await else {
        return;
    };
    let cdn = live.address("cdnUrl");
    let missing = "aaaaaaaaaaaa/bbbbbbbbbbbbbbbbbbbb/photo-a1b2c3";
    assert_eq!(live.status(&format!("{cdn}/files/originals/public/{missing}.jpg")).await, StatusCode::FORBIDDEN);
    // The root of the CDN does not serve the API.
    assert_eq!(live.status(&format!("{cdn}/index.html")).await, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn only_the_cdn_reaches_the_worker() {
    let test = "only_the_cdn_reaches_the_worker";
    let Some(live) = Live::find(test).await else { return };
    if live.ready["workerUrl"].is_null() {
        eprintln!("SKIPPED {test}: the worker is in the process and has no URL");
        return live.end().await;
    }
    assert_eq!(live.status(&live.address("workerUrl")).await, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn a_page_of_any_origin_may_request_ranges() {
    let Some(live) = Live::find("a_page_of_any_origin_may_request_ranges").await else { return };
    let file = live.upload("public", "n.txt", "text/plain", b"hello").await;
    let preflight = live.http.request(Method::OPTIONS, url(&file)).header("origin", "https://app.example.com");
    let allowed = preflight.header("access-control-request-method", "GET").send().await.unwrap();
    assert_eq!((allowed.status(), header(&allowed, "access-control-allow-origin")), (StatusCode::NO_CONTENT, "*"));
    let part = live.http.get(url(&file)).header("origin", "https://app.example.com").header("range", "bytes=1-2");
    let part = part.send().await.unwrap();
    assert_eq!((part.status(), header(&part, "access-control-allow-origin")), (StatusCode::PARTIAL_CONTENT, "*"));
    let etag = header(&live.get(url(&file)).await, "etag").to_owned();
    let known = live.http.get(url(&file)).header("if-none-match", etag).send().await.unwrap();
    assert_eq!(known.status(), StatusCode::NOT_MODIFIED);
    live.remove(&file).await;
    live.end().await;
}

#[tokio::test]
async fn a_page_may_upload_from_a_browser() {
    let Some(live) = Live::find("a_page_may_upload_from_a_browser").await else { return };
    let intent = live.intent("private", "n.txt", "text/plain", 5).await;
    let preflight = live.http.request(Method::OPTIONS, intent["uploadUrl"].as_str().unwrap());
    let preflight =
        preflight.header("origin", "https://app.example.com").header("access-control-request-method", "PUT");
    let allowed = preflight.header("access-control-request-headers", "content-type").send().await.unwrap();
    assert!(allowed.status().is_success(), "{}", allowed.status());
    assert!(["*", "https://app.example.com"].contains(&header(&allowed, "access-control-allow-origin")));
    live.remove(&intent).await;
    live.end().await;
}

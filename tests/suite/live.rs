//! What a client sees wherever XFiles runs: each test asks a stack that it starts itself, or the deployment whose ready
//! file `XFILES_LIVE` names: an emulator's from `localstack/up`, or one of AWS, with `url`, `cdnUrl`, `workerUrl`,
//! `apiKey` (of the scope `admin`) and, if uploads are confirmed when they arrive, `autoConfirm`. With `--features live`
//! and no such file every test says that it was skipped. What a place cannot show, its tests say, with the reason.
//! Each test removes what it uploads.

use std::{net::SocketAddr, time::Duration};

use image::{Rgb, RgbImage};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode, redirect::Policy};
use serde_json::{Value, json};
use xfiles_standalone::{Data, Stack, StackOptions};
use xfiles_tests::fixture;

/// How long CloudFront may take to forget.
const PURGE: Duration = Duration::from_secs(60);

/// Until a schedule of one minute has come round, and its run has ended.
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

    /// The deployment, if it is one of AWS itself.
    async fn on_aws(test: &str, why: &str) -> Option<Self> {
        let live = Self::find(test).await?;
        if live.stack.is_none() && live.ready["emulator"].is_null() {
            return Some(live);
        }
        eprintln!("SKIPPED {test}: {why}");
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
        let request = self.http.request(method, format!("{}{path}", self.address("url")));
        let answer = request.bearer_auth(key).json(&body).send().await.unwrap();
        let status = answer.status();
        let body = answer.text().await.unwrap();
        assert!(status.is_success(), "{path}: {status} {body}");
        serde_json::from_str(&body).unwrap_or(Value::Null)
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

    /// Uploads and answers the file with its URLs.
    async fn upload(&self, visibility: &str, name: &str, content_type: &str, bytes: &[u8]) -> Value {
        let intent = self.intent(visibility, name, content_type, bytes.len()).await;
        let put = self.put(&intent, content_type, bytes).send().await.unwrap();
        assert_eq!(put.status(), StatusCode::OK);
        self.api(Method::POST, "/api/v1/files/confirm", json!({"fileId": intent["fileId"]})).await;
        self.api(Method::GET, &format!("/api/v1/files/{}?format=png", id(&intent)), Value::Null).await
    }

    /// Waits until the CDN has forgotten.
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
    let variants = file["variants"].as_array().expect("a picture has variants");
    variants.iter().find(|v| v["width"] == width).and_then(|v| v["url"].as_str()).expect("the width is offered")
}

fn header<'a>(response: &'a Response, name: &str) -> &'a str {
    response.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

#[tokio::test]
async fn an_upload_in_three_steps_is_listed_changed_and_deleted() {
    let Some(live) = Live::find("an_upload_in_three_steps_is_listed_changed_and_deleted").await else { return };
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
async fn a_request_without_a_key_is_refused_as_every_refusal_is() {
    let Some(live) = Live::find("a_request_without_a_key_is_refused_as_every_refusal_is").await else { return };
    let refused = live.http.get(format!("{}/api/v1/files", live.address("url"))).send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
    let id = header(&refused, "request-id").to_owned();
    let problem: Value = serde_json::from_str(&refused.text().await.unwrap()).unwrap();
    assert_eq!((&problem["code"], problem["requestId"].as_str()), (&json!("unauthorized"), Some(id.as_str())));
    live.end().await;
}

#[tokio::test]
async fn an_idempotency_key_replays_the_first_answer() {
    let Some(live) = Live::find("an_idempotency_key_replays_the_first_answer").await else { return };
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
async fn an_upload_that_nobody_confirms_is_confirmed_by_its_arrival() {
    let test = "an_upload_that_nobody_confirms_is_confirmed_by_its_arrival";
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
async fn a_project_that_is_emptied_is_emptied_by_the_schedule() {
    let Some(live) = Live::find("a_project_that_is_emptied_is_emptied_by_the_schedule").await else { return };
    let project = live.api(Method::POST, "/api/v1/projects", json!({"name": "live", "quotaBytes": 1000})).await;
    let project = format!("/api/v1/projects/{}", id(&project));
    let key = live.api(Method::POST, &format!("{project}/keys"), json!({"name": "live"})).await;
    let key = key["apiKey"].as_str().expect("a new key is shown");
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
    tokio::time::timeout(SCHEDULE, emptied).await.expect("the schedule comes round");
    let left = live.api(Method::GET, &project, Value::Null).await;
    assert_eq!((&left["project"]["usage"]["files"], &left["project"]["usage"]["usedBytes"]), (&json!(0), &json!(0)));
    live.is_gone(url(&file)).await;
    live.api(Method::DELETE, &project, Value::Null).await;
    live.end().await;
}

#[tokio::test]
async fn the_store_refuses_an_upload_that_is_not_what_was_signed() {
    let Some(live) = Live::find("the_store_refuses_an_upload_that_is_not_what_was_signed").await else { return };
    let intent = live.intent("private", "n.txt", "text/plain", 5).await;
    let other = intent["uploadUrl"].as_str().unwrap().replacen("staging/", "files/originals/public/", 1);
    for (what, put) in [
        ("another type", live.put(&intent, "text/html", b"hello")),
        ("another length", live.put(&intent, "text/plain", b"hello, world")),
        ("another place", live.http.put(other).header("content-type", "text/plain").body("hello")),
    ] {
        assert_eq!(put.send().await.unwrap().status(), StatusCode::FORBIDDEN, "{what}");
    }
    live.remove(&intent).await;
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
async fn an_upload_is_served_with_its_headers_and_nothing_else_of_the_clients() {
    let test = "an_upload_is_served_with_its_headers_and_nothing_else_of_the_clients";
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
async fn a_private_file_opens_with_its_own_signature_alone() {
    let Some(live) = Live::find("a_private_file_opens_with_its_own_signature_alone").await else { return };
    let (file, other) = (
        live.upload("private", "a.txt", "text/plain", b"a").await,
        live.upload("private", "b.txt", "text/plain", b"b").await,
    );
    let (bare, query) = url(&file).split_once('?').unwrap();
    assert_eq!(live.status(url(&file)).await, StatusCode::OK);
    assert_eq!(live.status(bare).await, StatusCode::FORBIDDEN);
    let (bare_other, _) = url(&other).split_once('?').unwrap();
    assert_eq!(live.status(&format!("{bare_other}?{query}")).await, StatusCode::FORBIDDEN);
    for file in [&file, &other] {
        live.remove(file).await;
    }
    live.end().await;
}

#[tokio::test]
async fn a_first_request_is_made_by_the_worker_and_the_next_ones_come_from_the_cache_with_the_same_etag() {
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
async fn a_viewer_is_given_the_best_format_that_it_names() {
    let Some(live) = Live::find("a_viewer_is_given_the_best_format_that_it_names").await else { return };
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
async fn a_private_variant_too_large_for_a_reply_arrives_under_its_own_signature() {
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
    assert_eq!((sent.status(), header(&sent, "location")), (StatusCode::FOUND, "#stored"));
    let got = live.get(sent.url().join(header(&sent, "location")).unwrap().as_str()).await;
    assert_eq!(got.status(), StatusCode::OK);
    assert!(got.bytes().await.unwrap().len() > 4_500_000);
    live.remove(&file).await;
    live.end().await;
}

#[tokio::test]
async fn what_was_public_is_gone_soon_after_it_became_private() {
    let Some(live) = Live::find("what_was_public_is_gone_soon_after_it_became_private").await else { return };
    let file = live.upload("public", "n.txt", "text/plain", b"hello").await;
    assert_eq!(live.status(url(&file)).await, StatusCode::OK);
    live.api(Method::PATCH, &format!("/api/v1/files/{}", id(&file)), json!({"visibility": "private"})).await;
    live.is_gone(url(&file)).await;
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
    assert_eq!(live.status(&format!("{cdn}/files/variants/public/{missing}_w100.webp")).await, StatusCode::NOT_FOUND);
    live.end().await;
}

#[tokio::test]
async fn the_bucket_says_403_of_a_missing_key_to_who_may_not_list() {
    let why = "the stand-in for the CDN answers 404 of a missing original";
    let Some(live) = Live::on_aws("the_bucket_says_403_of_a_missing_key_to_who_may_not_list", why).await else {
        return;
    };
    let cdn = live.address("cdnUrl");
    let missing = "aaaaaaaaaaaa/bbbbbbbbbbbbbbbbbbbb/photo-a1b2c3";
    assert_eq!(live.status(&format!("{cdn}/files/originals/public/{missing}.jpg")).await, StatusCode::FORBIDDEN);
    // At the root is nothing of the API's.
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
async fn a_page_of_any_origin_may_ask_for_parts() {
    let Some(live) = Live::find("a_page_of_any_origin_may_ask_for_parts").await else { return };
    let file = live.upload("public", "n.txt", "text/plain", b"hello").await;
    let preflight = live.http.request(Method::OPTIONS, url(&file)).header("origin", "https://app.example.com");
    let allowed = preflight.header("access-control-request-method", "GET").send().await.unwrap();
    assert_eq!((allowed.status(), header(&allowed, "access-control-allow-origin")), (StatusCode::NO_CONTENT, "*"));
    let part = live.http.get(url(&file)).header("origin", "https://app.example.com").header("range", "bytes=1-2");
    let part = part.send().await.unwrap();
    assert_eq!((part.status(), header(&part, "access-control-allow-origin")), (StatusCode::PARTIAL_CONTENT, "*"));
    live.remove(&file).await;
    live.end().await;
}

//! What only a deployment on AWS can prove. Run with `--features live` and the name of a ready file, which has `url`,
//! `cdnUrl`, `workerUrl` and `apiKey`, in `XFILES_LIVE`; without it every test says that it was skipped. Each test
//! removes what it uploads.

use std::time::Duration;

use image::{Rgb, RgbImage};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode, redirect::Policy};
use serde_json::{Value, json};
use xfiles_tests::fixture;

/// How long CloudFront may take to forget.
const PURGE: Duration = Duration::from_secs(60);

/// A deployment and a client that follows no redirects.
struct Live {
    ready: Value,
    http: Client,
}

impl Live {
    /// The deployment, if there is one.
    fn find(test: &str) -> Option<Self> {
        #[expect(clippy::disallowed_methods, reason = "the caller says which deployment is meant")]
        let Ok(path) = std::env::var("XFILES_LIVE") else {
            eprintln!("SKIPPED {test}: XFILES_LIVE names no ready file of a deployment on AWS");
            return None;
        };
        let ready = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("XFILES_LIVE={path}: {e}"));
        let http = Client::builder().redirect(Policy::none()).build().unwrap();
        Some(Self { ready: serde_json::from_str(&ready).expect("a ready file is JSON"), http })
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

    async fn api(&self, method: Method, path: &str, body: Value) -> Value {
        let request = self.http.request(method, format!("{}{path}", self.address("url")));
        let key = self.ready["apiKey"].as_str().expect("the ready file has an API key");
        let answer = request.bearer_auth(key).json(&body).send().await.unwrap();
        let status = answer.status();
        let body = answer.text().await.unwrap();
        assert!(status.is_success(), "{path}: {status} {body}");
        serde_json::from_str(&body).unwrap_or(Value::Null)
    }

    async fn intent(&self, visibility: &str, name: &str, content_type: &str, size: usize) -> Value {
        let images = json!({"image": {"enabled": content_type == "image/png", "visibility": visibility}});
        let body = json!({"filename": name, "contentType": content_type, "size": size, "visibility": visibility,
            "transformations": images});
        self.api(Method::POST, "/api/v1/files/upload-intent", body).await
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

    async fn remove(&self, file: &Value) {
        self.api(Method::DELETE, &format!("/api/v1/files/{}", id(file)), Value::Null).await;
    }
}

fn id(file: &Value) -> &str {
    file["fileId"].as_str().or(file["id"].as_str()).expect("a file has an id")
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
async fn s3_refuses_an_upload_that_is_not_what_was_signed() {
    let Some(live) = Live::find("s3_refuses_an_upload_that_is_not_what_was_signed") else { return };
    let intent = live.intent("private", "n.txt", "text/plain", 5).await;
    for (what, put) in [
        ("another type", live.put(&intent, "text/html", b"hello")),
        ("another length", live.put(&intent, "text/plain", b"hello, world")),
        ("a header that is not signed", live.put(&intent, "text/plain", b"hello").header("x-amz-meta-a", "b")),
    ] {
        assert_eq!(put.send().await.unwrap().status(), StatusCode::FORBIDDEN, "{what}");
    }
    live.remove(&intent).await;
}

#[tokio::test]
async fn an_upload_is_served_with_its_headers_and_nothing_else_of_the_clients() {
    let Some(live) = Live::find("an_upload_is_served_with_its_headers_and_nothing_else_of_the_clients") else { return };
    let file = live.upload("public", "n.txt", "text/plain", b"hello").await;
    let served = live.get(&format!("{}?response-content-type=text/html&download=Bericht.txt", url(&file))).await;
    assert_eq!((served.status(), header(&served, "content-type")), (StatusCode::OK, "text/plain"));
    assert_eq!(header(&served, "x-content-type-options"), "nosniff");
    assert!(header(&served, "content-security-policy").contains("sandbox"));
    // The viewer-response function sees a query that the cache policy drops.
    assert!(header(&served, "content-disposition").contains("filename=\"Bericht.txt\""));
    live.remove(&file).await;
}

#[tokio::test]
async fn a_private_file_opens_with_its_own_signature_alone() {
    let Some(live) = Live::find("a_private_file_opens_with_its_own_signature_alone") else { return };
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
}

#[tokio::test]
async fn a_first_request_is_made_by_the_worker_and_the_next_ones_come_from_the_cache_with_the_same_etag() {
    let Some(live) = Live::find("a_first_request_is_made_by_the_worker") else { return };
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
}

#[tokio::test]
async fn a_private_variant_too_large_for_a_reply_arrives_under_its_own_signature() {
    let Some(live) = Live::find("a_private_variant_too_large_for_a_reply") else { return };
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
}

#[tokio::test]
async fn what_was_public_is_gone_soon_after_it_became_private() {
    let Some(live) = Live::find("what_was_public_is_gone_soon_after_it_became_private") else { return };
    let file = live.upload("public", "n.txt", "text/plain", b"hello").await;
    assert_eq!(live.status(url(&file)).await, StatusCode::OK);
    live.api(Method::PATCH, &format!("/api/v1/files/{}", id(&file)), json!({"visibility": "private"})).await;
    let gone = async {
        while live.status(url(&file)).await == StatusCode::OK {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    tokio::time::timeout(PURGE, gone).await.expect("CloudFront forgets within a minute");
    live.remove(&file).await;
}

#[tokio::test]
async fn nothing_is_served_at_other_paths_and_missing_keys_are_refused() {
    let Some(live) = Live::find("nothing_is_served_at_other_paths_and_missing_keys_are_refused") else { return };
    let cdn = live.address("cdnUrl");
    let missing = "aaaaaaaaaaaa/bbbbbbbbbbbbbbbbbbbb/photo-a1b2c3";
    for path in ["/", "/files/", "/staging/", "/index.html", "/files//originals/public/"] {
        assert_eq!(live.status(&format!("{cdn}{path}")).await, StatusCode::NOT_FOUND, "{path}");
    }
    // S3 says 403 of a missing key to a reader who may not list; for a variant the worker then says 404.
    assert_eq!(live.status(&format!("{cdn}/files/originals/public/{missing}.jpg")).await, StatusCode::FORBIDDEN);
    assert_eq!(live.status(&format!("{cdn}/files/variants/public/{missing}_w100.webp")).await, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn only_the_cdn_reaches_the_worker() {
    let Some(live) = Live::find("only_the_cdn_reaches_the_worker") else { return };
    assert_eq!(live.status(&live.address("workerUrl")).await, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn a_page_of_any_origin_may_ask_for_parts() {
    let Some(live) = Live::find("a_page_of_any_origin_may_ask_for_parts") else { return };
    let file = live.upload("public", "n.txt", "text/plain", b"hello").await;
    let preflight = live.http.request(Method::OPTIONS, url(&file)).header("origin", "https://app.example.com");
    let allowed = preflight.header("access-control-request-method", "GET").send().await.unwrap();
    assert_eq!((allowed.status(), header(&allowed, "access-control-allow-origin")), (StatusCode::NO_CONTENT, "*"));
    let part = live.http.get(url(&file)).header("origin", "https://app.example.com").header("range", "bytes=1-2");
    let part = part.send().await.unwrap();
    assert_eq!((part.status(), header(&part, "access-control-allow-origin")), (StatusCode::PARTIAL_CONTENT, "*"));
    live.remove(&file).await;
}

//! Tests of the distribution from a viewer's perspective, with a bucket and a worker that record their requests.

use std::{
    collections::HashMap,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region, retry::RetryConfig};
use axum::{body::to_bytes, response::IntoResponse as _};
use bytes::Bytes;
use futures::FutureExt as _;
use http::header::{CONTENT_DISPOSITION, COOKIE, ETAG, IF_MATCH, IF_NONE_MATCH, LAST_MODIFIED, LOCATION, RANGE};
use tokio::sync::Semaphore;
use tower::ServiceExt as _;
use xfiles_core::{
    cdn::{Cdn, Invalidate as _, KeyPairId, Signer, SigningKey, URL_LIFE},
    clock::Timestamp,
};

use super::*;
use crate::in_process;

const START: Timestamp = Timestamp::from_millis(1_767_290_412_345);
const PUBLIC: &str = "/files/originals/public/aaaaaaaaaaaa/bbbbbbbbbbbbbbbbbbbb/photo-a1b2c3.jpg";
const PRIVATE: &str = "/files/originals/private/aaaaaaaaaaaa/bbbbbbbbbbbbbbbbbbbb/photo-a1b2c3.jpg";
const VARIANT: &str = "/files/variants/public/aaaaaaaaaaaa/bbbbbbbbbbbbbbbbbbbb/photo-a1b2c3_w400.webp";
const PRIVATE_VARIANT: &str = "/files/variants/private/aaaaaaaaaaaa/bbbbbbbbbbbbbbbbbbbb/photo-a1b2c3_w400.webp";

/// An origin with fixed responses by path that records its requests.
#[derive(Default)]
struct FakeOrigin {
    answers: Mutex<HashMap<String, Answer>>,
    requests: Mutex<Vec<Parts>>,
    gate: Option<Semaphore>,
}

#[derive(Clone)]
struct Answer {
    status: StatusCode,
    headers: Vec<(HeaderName, &'static str)>,
    body: Bytes,
}

impl FakeOrigin {
    fn put(&self, path: &str, answer: Answer) {
        self.answers.lock().unwrap().insert(path.to_owned(), answer);
    }

    fn remove(&self, path: &str) {
        self.answers.lock().unwrap().remove(path);
    }

    fn requests(&self) -> Vec<Parts> {
        self.requests.lock().unwrap().clone()
    }

    async fn answer(&self, prefix: &str, request: Request) -> Response {
        let (request, _) = request.into_parts();
        let path = request.uri.path().strip_prefix(prefix).unwrap().to_owned();
        let range = request.headers.get(RANGE).map(|range| range.to_str().unwrap().to_owned());
        self.requests.lock().unwrap().push(request);
        if let Some(gate) = &self.gate {
            gate.acquire().await.unwrap().forget();
        }
        let Some(Answer { status, headers, body }) = self.answers.lock().unwrap().get(&path).cloned() else {
            return StatusCode::FORBIDDEN.into_response();
        };
        let part = range.and_then(|range| {
            let (first, last) = range.strip_prefix("bytes=")?.split_once('-')?;
            Some(body.slice(first.parse::<usize>().ok()?..=last.parse().ok()?))
        });
        let body = part.unwrap_or(body);
        let mut response = Response::new(Body::from(body.clone()));
        *response.status_mut() = status;
        response.headers_mut().insert(CONTENT_LENGTH, body.len().into());
        response.headers_mut().extend(headers.into_iter().map(|(name, value)| (name, HeaderValue::from_static(value))));
        response
    }

    fn router(self: &Arc<Self>, prefix: &'static str) -> Router {
        let origin = Arc::clone(self);
        Router::new().fallback(move |request: Request| {
            let origin = Arc::clone(&origin);
            async move { origin.answer(prefix, request).await }
        })
    }
}

struct Rig {
    bucket: Arc<FakeOrigin>,
    worker: Arc<FakeOrigin>,
    clock: Clock,
    cdn: Cdn,
    distribution: Distribution,
    router: Router,
}

fn rig() -> Rig {
    rig_with(FakeOrigin::default())
}

fn rig_with(bucket: FakeOrigin) -> Rig {
    let (bucket, worker) = (Arc::new(bucket), Arc::new(FakeOrigin::default()));
    let clock = Clock::manual(START);
    let config = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::from_static("us-east-1"))
        .endpoint_url("http://s3.invalid")
        .force_path_style(true)
        .credentials_provider(Credentials::new("id", "secret", None, None, "test"))
        .retry_config(RetryConfig::disabled())
        .http_client(in_process::http_client(bucket.router("/bucket")))
        .build();
    let (key, _) = SigningKey::generate_p256(KeyPairId::mint());
    let base_url: BaseUrl = "https://cdn.example.com".parse().unwrap();
    let distribution = Distribution::new(Options {
        base_url: base_url.clone(),
        bucket: Bucket { client: aws_sdk_s3::Client::from_conf(config), name: "bucket".to_owned() },
        trusted_keys: vec![TrustedKey::from_pem(key.id().clone(), &key.public_key_pem()).unwrap()],
        clock: clock.clone(),
        cache_bytes: 64 << 20,
    });
    let cdn = Cdn::new(base_url, Signer::new(key, URL_LIFE), Arc::new(distribution.clone()));
    let router = distribution.router(worker.router(""));
    Rig { bucket, worker, clock, cdn, distribution, router }
}

/// A response to a viewer.
#[derive(Debug)]
struct Got {
    status: u16,
    headers: HeaderMap,
    body: Bytes,
}

impl Got {
    fn header(&self, name: impl http::header::AsHeaderName) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    fn cache(&self) -> (&str, &str) {
        (self.header(X_CACHE), self.header(AGE))
    }
}

impl Rig {
    async fn ask(&self, method: Method, target: &str, headers: &[(HeaderName, &str)]) -> Got {
        let mut request = Request::builder().method(method).uri(target);
        for (name, value) in headers {
            request = request.header(name, *value);
        }
        let response = self.router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        let (parts, body) = response.into_parts();
        Got { status: parts.status.as_u16(), headers: parts.headers, body: to_bytes(body, usize::MAX).await.unwrap() }
    }

    async fn get(&self, target: &str) -> Got {
        self.ask(Method::GET, target, &[]).await
    }

    /// The path with the signature that the API would create now.
    fn signed(&self, path: &str) -> String {
        let key = path[1..].parse().unwrap();
        let url = self.cdn.url(&key, self.cdn.expiry(self.clock.now()));
        let url = url.now_or_never().expect("a held key signs at once").unwrap();
        url.as_str().strip_prefix("https://cdn.example.com").unwrap().to_owned()
    }
}

fn picture(body: impl Into<Bytes>) -> Answer {
    Answer {
        status: StatusCode::OK,
        headers: vec![
            (CONTENT_TYPE, "image/jpeg"),
            (ETAG, "\"v1\""),
            (LAST_MODIFIED, "Thu, 01 Jan 2026 10:00:00 GMT"),
            (CACHE_CONTROL, "public, max-age=3600, s-maxage=31536000"),
        ],
        body: body.into(),
    }
}

fn status(status: u16, headers: &[(HeaderName, &'static str)]) -> Answer {
    Answer { status: StatusCode::from_u16(status).unwrap(), headers: headers.to_vec(), body: Bytes::new() }
}

fn patterned(length: usize) -> Bytes {
    (0..length).map(|n| u8::try_from(n % 251).unwrap()).collect()
}

#[tokio::test]
async fn a_public_original_comes_from_the_bucket_once_and_then_from_the_cache() {
    let rig = rig();
    rig.bucket.put(PUBLIC, picture("bytes"));
    let first = rig.get(PUBLIC).await;
    assert_eq!((first.status, &first.body[..]), (200, &b"bytes"[..]));
    assert_eq!(first.cache(), ("Miss from xfiles", ""));
    rig.clock.advance(Duration::from_secs(90));
    let second = rig.get(PUBLIC).await;
    assert_eq!((second.status, &second.body[..]), (200, &b"bytes"[..]));
    assert_eq!(second.cache(), ("Hit from xfiles", "90"));
    for got in [&first, &second] {
        assert_eq!(got.header(CONTENT_TYPE), "image/jpeg");
        assert_eq!(got.header(ETAG), "\"v1\"");
        assert_eq!(got.header(CACHE_CONTROL), "public, max-age=3600, s-maxage=31536000");
        assert_eq!(got.header(CONTENT_LENGTH), "5");
    }
    assert_eq!((rig.bucket.requests().len(), rig.worker.requests().len()), (1, 0));
}

#[tokio::test]
async fn a_cached_response_expires_and_is_fetched_again() {
    let rig = rig();
    rig.bucket.put(PUBLIC, picture("old"));
    rig.get(PUBLIC).await;
    rig.bucket.put(PUBLIC, picture("new"));
    rig.clock.advance(Duration::from_secs(31_535_999));
    assert_eq!(rig.get(PUBLIC).await.body, "old");
    rig.clock.advance(Duration::from_secs(1));
    assert_eq!(rig.get(PUBLIC).await.body, "new");
}

#[tokio::test]
async fn every_response_forbids_scripts_and_sniffing() {
    let rig = rig();
    rig.bucket.put(PUBLIC, picture("bytes"));
    for got in [
        rig.get(PUBLIC).await,
        rig.get(PRIVATE).await,
        rig.get("/staging/x").await,
        rig.get(VARIANT).await,
        rig.ask(Method::POST, PUBLIC, &[]).await,
        rig.ask(Method::OPTIONS, PUBLIC, &[]).await,
        rig.ask(Method::GET, PUBLIC, &[(RANGE, "bytes=9-")]).await,
    ] {
        assert_eq!(got.header(X_CONTENT_TYPE_OPTIONS), "nosniff");
        assert_eq!(got.header(CONTENT_SECURITY_POLICY), "default-src 'none'; style-src 'unsafe-inline'; sandbox");
        assert_eq!(got.header(ACCESS_CONTROL_ALLOW_ORIGIN), "*");
    }
}

#[tokio::test]
async fn active_content_is_served_as_an_attachment() {
    let rig = rig();
    let mut answer = picture("<svg/>");
    answer.headers.push((CONTENT_DISPOSITION, "attachment"));
    rig.bucket.put(PUBLIC, answer);
    assert_eq!(rig.get(PUBLIC).await.header(CONTENT_DISPOSITION), "attachment");
}

#[tokio::test]
async fn a_path_that_is_not_an_object_key_reaches_no_origin() {
    let rig = rig();
    for path in [
        "/files",
        "/files/",
        "/files/originals/",
        "/staging/aaaaaaaaaaaa/bbbbbbbbbbbbbbbbbbbb/photo-a1b2c3.jpg",
        &PUBLIC.replace("photo", "%70hoto"),
        &PUBLIC.replace("/public/", "%2fpublic%2f"),
        &PUBLIC.replace("/public/", "/public//"),
        &PUBLIC.replace("/public/", "/../originals/public/"),
        &VARIANT.replace("_w400", "_w401"),
        &format!("{PUBLIC}/"),
        &format!("/files/{}", "a".repeat(8192)),
    ] {
        assert_eq!(rig.get(path).await.status, 404, "{path}");
    }
    assert_eq!((rig.bucket.requests().len(), rig.worker.requests().len()), (0, 0));
}

#[tokio::test]
async fn query_and_cookies_neither_reach_an_origin_nor_vary_the_cache() {
    let rig = rig();
    rig.bucket.put(PUBLIC, picture("bytes"));
    rig.worker.put(VARIANT, picture("variant"));
    let cookie = [(COOKIE, "session=1")];
    let got = rig.ask(Method::GET, &format!("{PUBLIC}?response-content-type=text/html"), &cookie).await;
    assert_eq!(got.header(CONTENT_TYPE), "image/jpeg");
    assert_eq!(rig.get(PUBLIC).await.cache(), ("Hit from xfiles", "0"));
    rig.ask(Method::GET, &format!("{VARIANT}?format=png"), &cookie).await;
    for request in rig.bucket.requests() {
        assert_eq!(request.uri.query(), Some("x-id=GetObject"));
        assert!(!request.headers.contains_key(COOKIE));
    }
    let asked = rig.worker.requests();
    assert_eq!(asked.len(), 1);
    assert_eq!((asked[0].uri.path(), asked[0].uri.query(), asked[0].headers.len()), (VARIANT, None, 0));
}

#[tokio::test]
async fn a_private_path_opens_with_its_signature_until_it_expires() {
    let rig = rig();
    for path in [PRIVATE, PRIVATE_VARIANT] {
        rig.bucket.put(path, picture("secret"));
        let url = rig.signed(path);
        assert_eq!(rig.get(&url).await.body, "secret");
        assert_eq!(rig.get(&url).await.cache(), ("Hit from xfiles", "0"));
        assert_eq!(rig.get(path).await.status, 403);
        rig.clock.advance(URL_LIFE + Duration::from_secs(60));
        assert_eq!(rig.get(&url).await.status, 403);
    }
}

#[tokio::test]
async fn an_error_has_cloudfronts_text_and_repeats_no_input() {
    let rig = rig();
    let url = rig.signed(PRIVATE);
    let unsigned = rig.get(PRIVATE).await;
    assert_eq!(
        unsigned.body,
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Error><Code>MissingKey</Code>\
         <Message>Missing Key-Pair-Id query parameter or cookie value</Message></Error>"
    );
    assert_eq!((unsigned.header(CONTENT_TYPE), unsigned.header(X_CACHE)), ("text/xml", "Error from xfiles"));
    let other = rig.get(&url.replace("a1b2c3", "a1b2c4")).await;
    assert_eq!(other.status, 403);
    let body = String::from_utf8(other.body.to_vec()).unwrap();
    assert!(body.contains("<Code>AccessDenied</Code>") && !body.contains("a1b2c4") && !body.contains("Signature"));
    assert_eq!(rig.bucket.requests().len(), 0);
}

#[tokio::test]
async fn a_variant_missing_in_the_bucket_comes_from_the_worker_and_an_original_does_not() {
    let rig = rig();
    rig.worker.put(VARIANT, picture("variant"));
    rig.worker.put(PUBLIC, picture("never"));
    assert_eq!(rig.get(VARIANT).await.body, "variant");
    assert_eq!(rig.get(VARIANT).await.cache(), ("Hit from xfiles", "0"));
    assert_eq!(rig.get(PUBLIC).await.status, 404);
    assert_eq!(rig.worker.requests().len(), 1);

    let stored = VARIANT.replace("_w400", "_w800");
    rig.bucket.put(&stored, picture("stored"));
    assert_eq!(rig.get(&stored).await.body, "stored");
    assert_eq!(rig.worker.requests().len(), 1);
}

#[tokio::test]
async fn a_404_of_both_origins_is_cached_for_ten_seconds() {
    let rig = rig();
    assert_eq!(rig.get(VARIANT).await.status, 404);
    rig.worker.put(VARIANT, picture("variant"));
    rig.clock.advance(Duration::from_millis(9_999));
    assert_eq!(rig.get(VARIANT).await.status, 404);
    rig.clock.advance(Duration::from_millis(1));
    assert_eq!(rig.get(VARIANT).await.status, 200);
}

#[tokio::test]
async fn a_worker_redirect_without_a_target_is_an_error() {
    let rig = rig();
    rig.worker.put(VARIANT, status(302, &[(CACHE_CONTROL, "no-store")]));
    assert_eq!(rig.get(VARIANT).await.status, 502);
}

#[tokio::test]
async fn a_variant_too_large_for_a_response_redirects_to_the_same_url() {
    let rig = rig();
    rig.worker.put(VARIANT, status(302, &[(LOCATION, VARIANT), (CACHE_CONTROL, "no-store")]));
    let asked = format!("{VARIANT}?download=a.webp&x=%20");
    let sent = rig.get(&asked).await;
    assert_eq!((sent.status, sent.header(LOCATION), sent.header(CACHE_CONTROL)), (302, asked.as_str(), "no-store"));
    rig.bucket.put(VARIANT, picture("large"));
    let got = rig.get(VARIANT).await;
    assert_eq!((got.status, &got.body[..]), (200, &b"large"[..]));
}

#[tokio::test]
async fn a_worker_failure_is_not_cached_and_a_refusal_is_for_its_max_age() {
    let rig = rig();
    rig.worker.put(VARIANT, status(503, &[(RETRY_AFTER, "7"), (CACHE_CONTROL, "s-maxage=60")]));
    let busy = rig.get(VARIANT).await;
    assert_eq!((busy.status, busy.header(RETRY_AFTER), busy.header(CACHE_CONTROL)), (503, "7", "no-store"));
    rig.worker.put(VARIANT, status(415, &[(CACHE_CONTROL, "public, max-age=0, s-maxage=60")]));
    assert_eq!(rig.get(VARIANT).await.status, 415);
    rig.worker.put(VARIANT, picture("variant"));
    assert_eq!(rig.get(VARIANT).await.status, 415);
    rig.clock.advance(Duration::from_secs(60));
    assert_eq!(rig.get(VARIANT).await.status, 200);
}

#[tokio::test]
async fn a_bucket_failure_is_not_cached_and_does_not_fall_back_to_the_worker() {
    let rig = rig();
    rig.worker.put(VARIANT, picture("variant"));
    rig.bucket.put(VARIANT, status(500, &[]));
    assert_eq!(rig.get(VARIANT).await.status, 502);
    assert_eq!(rig.worker.requests().len(), 0);
    rig.bucket.remove(VARIANT);
    assert_eq!(rig.get(VARIANT).await.status, 200);
}

#[tokio::test]
async fn a_thousand_viewers_of_a_new_variant_cause_one_rendering() {
    let bucket = FakeOrigin { gate: Some(Semaphore::new(0)), ..FakeOrigin::default() };
    let rig = rig_with(bucket);
    rig.worker.put(VARIANT, picture("variant"));
    let served = AtomicUsize::new(0);
    let viewers = futures::future::join_all((0..1000).map(|_| async {
        let got = rig.get(VARIANT).await;
        assert_eq!(got.body, "variant");
        served.fetch_add(1, Ordering::SeqCst);
    }));
    let open = async { rig.bucket.gate.as_ref().unwrap().add_permits(1) };
    futures::join!(viewers, open);
    assert_eq!(served.load(Ordering::SeqCst), 1000);
    assert_eq!((rig.bucket.requests().len(), rig.worker.requests().len()), (1, 1));
}

#[tokio::test]
async fn parts_conditions_and_heads_are_answered_from_the_cache() {
    let rig = rig();
    rig.bucket.put(PUBLIC, picture("0123456789"));
    let part = rig.ask(Method::GET, PUBLIC, &[(RANGE, "bytes=2-4")]).await;
    assert_eq!((part.status, &part.body[..]), (206, &b"234"[..]));
    assert_eq!((part.header(CONTENT_RANGE), part.header(CONTENT_LENGTH)), ("bytes 2-4/10", "3"));

    let beyond = rig.ask(Method::GET, PUBLIC, &[(RANGE, "bytes=10-")]).await;
    assert_eq!((beyond.status, beyond.header(CONTENT_RANGE)), (416, "bytes */10"));

    let known = rig.ask(Method::GET, PUBLIC, &[(IF_NONE_MATCH, "\"v1\"")]).await;
    assert_eq!((known.status, known.header(ETAG), known.body.len()), (304, "\"v1\"", 0));
    assert_eq!(known.cache(), ("Hit from xfiles", "0"));

    let head = rig.ask(Method::HEAD, PUBLIC, &[(RANGE, "bytes=2-4")]).await;
    assert_eq!((head.status, head.header(CONTENT_LENGTH), head.body.len()), (200, "10", 0));
    assert_eq!(rig.bucket.requests().len(), 1);
}

#[tokio::test]
async fn a_large_object_is_streamed_in_parts_and_not_buffered() {
    let rig = rig();
    let bytes = patterned(9 << 20);
    rig.bucket.put(PUBLIC, picture(bytes.clone()));
    let whole = rig.get(PUBLIC).await;
    assert_eq!((whole.status, whole.cache()), (200, ("Miss from xfiles", "")));
    assert!(whole.body == bytes);

    let part = rig.ask(Method::GET, PUBLIC, &[(RANGE, "bytes=-1000")]).await;
    assert_eq!((part.status, part.header(CONTENT_RANGE)), (206, "bytes 9436184-9437183/9437184"));
    assert!(part.body == bytes.slice(9_436_184..));
    let asked = rig.bucket.requests();
    let last = asked.last().unwrap();
    assert_eq!(last.headers[RANGE], "bytes=9436184-9437183");
    assert_eq!(last.headers[IF_MATCH], "\"v1\"");

    let head = rig.ask(Method::HEAD, PUBLIC, &[]).await;
    assert_eq!((head.header(CONTENT_LENGTH), head.cache()), ("9437184", ("Hit from xfiles", "0")));
    assert_eq!(rig.ask(Method::GET, PUBLIC, &[(IF_NONE_MATCH, "\"v1\"")]).await.status, 304);
    assert_eq!(rig.bucket.requests().len(), asked.len());

    rig.bucket.remove(PUBLIC);
    assert_eq!(rig.get(PUBLIC).await.status, 404);
}

#[tokio::test]
async fn only_reading_is_allowed() {
    let rig = rig();
    rig.bucket.put(PUBLIC, picture("bytes"));
    for method in [Method::POST, Method::PUT, Method::DELETE, Method::PATCH] {
        let got = rig.ask(method, PUBLIC, &[]).await;
        assert_eq!((got.status, got.header(ALLOW)), (405, "GET, HEAD, OPTIONS"));
    }
    let preflight = rig.ask(Method::OPTIONS, PUBLIC, &[]).await;
    assert_eq!((preflight.status, preflight.header(ACCESS_CONTROL_ALLOW_METHODS)), (204, "GET, HEAD"));
    assert_eq!(rig.bucket.requests().len(), 0);
}

#[tokio::test]
async fn an_invalidation_removes_the_named_paths() {
    let rig = rig();
    let other = VARIANT.replace("bbbb/", "bbbc/");
    for path in [PUBLIC, VARIANT, &other] {
        rig.bucket.put(path, picture("old"));
        rig.get(path).await;
        rig.bucket.put(path, picture("new"));
    }
    let (project, file) = ("aaaaaaaaaaaa".parse().unwrap(), "bbbbbbbbbbbbbbbbbbbb".parse().unwrap());
    let originals = ObjectKey::original_paths(Visibility::Public, project, file);
    let variants = ObjectKey::variant_paths(Visibility::Public, project, file);
    rig.cdn.invalidate("change-1", vec![originals, variants]).await.unwrap();
    assert_eq!(rig.get(PUBLIC).await.body, "new");
    assert_eq!(rig.get(VARIANT).await.body, "new");
    assert_eq!(rig.get(&other).await.body, "old");
}

#[tokio::test]
async fn a_fetch_overtaken_by_an_invalidation_is_not_cached() {
    let bucket = FakeOrigin { gate: Some(Semaphore::new(0)), ..FakeOrigin::default() };
    let rig = rig_with(bucket);
    rig.bucket.put(PUBLIC, picture("old"));
    let purge = async {
        while rig.bucket.requests().is_empty() {
            tokio::task::yield_now().await;
        }
        rig.distribution.invalidate("change-1", vec!["/files/*".to_owned()]).await.unwrap();
        rig.bucket.gate.as_ref().unwrap().add_permits(2);
    };
    let (overtaken, ()) = futures::join!(rig.get(PUBLIC), purge);
    assert_eq!(overtaken.body, "old");
    rig.bucket.put(PUBLIC, picture("new"));
    assert_eq!(rig.get(PUBLIC).await.body, "new");
}

/// A request to the REST API in the format of aws-sdk-cloudfront.
async fn create_invalidation(api: &Router, distribution: &str, reference: &str, paths: &[&str]) -> Got {
    let items: String = paths.iter().map(|path| format!("<Path>{path}</Path>")).collect();
    let body = format!(
        "<InvalidationBatch xmlns=\"http://cloudfront.amazonaws.com/doc/2020-05-31/\"><Paths><Quantity>{}</Quantity>\
         <Items>{items}</Items></Paths><CallerReference>{reference}</CallerReference></InvalidationBatch>",
        paths.len()
    );
    let uri = format!("/2020-05-31/distribution/{distribution}/invalidation");
    send(api, Request::post(uri).header(CONTENT_TYPE, "application/xml").body(Body::from(body)).unwrap()).await
}

async fn send(api: &Router, request: Request) -> Got {
    let (parts, body) = api.clone().oneshot(request).await.unwrap().into_parts();
    Got { status: parts.status.as_u16(), headers: parts.headers, body: to_bytes(body, usize::MAX).await.unwrap() }
}

#[tokio::test]
async fn the_rest_api_invalidates_once_for_each_reference() {
    let rig = rig();
    let api = rig.distribution.rest_api("E123");
    rig.bucket.put(PUBLIC, picture("one"));
    rig.get(PUBLIC).await;

    rig.bucket.put(PUBLIC, picture("two"));
    let created = create_invalidation(&api, "E123", "a&amp;b", &["/files/originals/*", PRIVATE]).await;
    assert_eq!(created.status, 201);
    let body = String::from_utf8(created.body.to_vec()).unwrap();
    assert!(body.contains("<Status>Completed</Status>") && body.contains("<CallerReference>a&amp;b</CallerReference>"));
    assert_eq!(rig.get(PUBLIC).await.body, "two");

    rig.bucket.put(PUBLIC, picture("three"));
    let again = create_invalidation(&api, "E123", "a&amp;b", &["/files/originals/*", PRIVATE]).await;
    assert_eq!((again.status, &again.body), (201, &created.body));
    assert_eq!(rig.get(PUBLIC).await.body, "two");

    let location = created.header(LOCATION);
    let found = send(&api, Request::get(location).body(Body::empty()).unwrap()).await;
    assert_eq!((found.status, &found.body), (200, &created.body));
}

#[tokio::test]
async fn the_rest_api_refuses_with_cloudfronts_codes() {
    let rig = rig();
    let api = rig.distribution.rest_api("E123");
    create_invalidation(&api, "E123", "r1", &["/a"]).await;
    for (got, status, code) in [
        (create_invalidation(&api, "E999", "r2", &["/a"]).await, 404, "NoSuchDistribution"),
        (create_invalidation(&api, "E123", "r1", &["/b"]).await, 400, "InvalidationBatchAlreadyExists"),
        (create_invalidation(&api, "E123", "r3", &["b"]).await, 400, "InvalidArgument"),
        (create_invalidation(&api, "E123", "r3", &[]).await, 400, "InvalidArgument"),
        (
            send(&api, Request::post("/2020-05-31/distribution/E123/invalidation").body(Body::from("<x/>")).unwrap())
                .await,
            400,
            "MalformedXML",
        ),
        (
            send(&api, Request::get("/2020-05-31/distribution/E123/invalidation/I1").body(Body::empty()).unwrap())
                .await,
            404,
            "NoSuchInvalidation",
        ),
    ] {
        assert_eq!(got.status, status, "{code}");
        let body = String::from_utf8(got.body.to_vec()).unwrap();
        assert!(body.contains(&format!("<Code>{code}</Code>")), "{body}");
    }
}

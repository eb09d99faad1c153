//! The S3 features that XFiles needs, tested on the embedded object store, or on the one in the environment:
//! `XFILES_TEST_S3_ENDPOINT` (an `http://` URL, path-style), `XFILES_TEST_S3_REGION`, `XFILES_TEST_S3_BUCKET` (which
//! must exist), `XFILES_TEST_S3_ACCESS_KEY_ID` and `XFILES_TEST_S3_SECRET_ACCESS_KEY`.
//!
//! Each test uses its own prefix and does not delete its objects. Tests of features that only the embedded store has,
//! or that need its clock or directory, print that they are skipped elsewhere.

use std::{collections::BTreeSet, fmt::Debug, path::Path, sync::Arc, time::Duration};

use aws_sdk_s3::{
    Client,
    config::{BehaviorVersion, Credentials, Region, RequestChecksumCalculation, retry::RetryConfig},
    error::{ProvideErrorMetadata, SdkError},
    operation::{
        copy_object::builders::CopyObjectFluentBuilder,
        put_object::{PutObjectError, PutObjectOutput, builders::PutObjectFluentBuilder},
    },
    presigning::{PresignedRequest, PresigningConfig},
    primitives::{ByteStream, DateTime, SdkBody},
    types::{
        BucketLocationConstraint, ChecksumAlgorithm, ChecksumMode, CreateBucketConfiguration, Delete, EncodingType,
        MetadataDirective, ObjectIdentifier,
    },
};
use aws_smithy_runtime_api::http::StatusCode;
use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use futures::future::join_all;
use reqwest::Method;
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::oneshot,
    task::JoinHandle,
};
use xfiles_core::{clock::Clock, id::FileId};
use xfiles_standalone::s3::{AllowedOrigins, ObjectStore, OpenError, Options, S3Credentials};
use xfiles_tests::wire::tcp;

const REGION: &str = "eu-west-1";
const ACCESS_KEY_ID: &str = "XFCONFORMANCE";
const SECRET_ACCESS_KEY: &str = "conformance-secret";
const LIFE: Duration = Duration::from_secs(900);
const HELLO: &[u8] = b"hello, store";
/// The MD5 of [`HELLO`], computed by another implementation.
const HELLO_MD5: &str = "47821e56b247bff65cd9b4b72b8f85cf";

/// A store under test.
struct Store {
    endpoint: String,
    region: String,
    bucket: String,
    credentials: S3Credentials,
    prefix: String,
    clock: Clock,
    client: Client,
    http: reqwest::Client,
    embedded: Option<Embedded>,
}

/// The embedded store, served on a loopback port.
struct Embedded {
    store: ObjectStore,
    directory: Arc<TempDir>,
    stop: oneshot::Sender<()>,
    server: JoinHandle<std::io::Result<()>>,
}

impl Store {
    /// The store in the environment, or else a new embedded one.
    async fn open() -> Self {
        match endpoint_of_environment() {
            Some([endpoint, region, bucket, id, secret]) => {
                let credentials = S3Credentials::new(id, secret);
                Self::new(endpoint, region, bucket, credentials, Clock::system(), None)
            }
            None => Self::embedded().await,
        }
    }

    /// A new embedded store, or `None` if another store is tested.
    async fn open_embedded(check: &str) -> Option<Self> {
        if endpoint_of_environment().is_some() {
            eprintln!("SKIPPED {check}: it is about the embedded store only");
            return None;
        }
        Some(Self::embedded().await)
    }

    async fn embedded() -> Self {
        let store = Self::embedded_in(Arc::new(TempDir::new().unwrap())).await;
        store.client.create_bucket().bucket(&store.bucket).create_bucket_configuration(here()).send().await.unwrap();
        store
    }

    async fn embedded_in(directory: Arc<TempDir>) -> Self {
        // Not behind the system clock, because both are used.
        let clock = Clock::manual(Clock::system().now());
        let credentials = S3Credentials::new(ACCESS_KEY_ID, SECRET_ACCESS_KEY);
        let store = ObjectStore::open(options(directory.path(), clock.clone())).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let (stop, stopped) = oneshot::channel();
        let router = axum::Router::new().fallback_service(store.service());
        let server = axum::serve(listener, router).with_graceful_shutdown(async { drop(stopped.await) });
        let server = tokio::spawn(server.into_future());
        let embedded = Embedded { store, directory, stop, server };
        Self::new(endpoint, REGION.to_owned(), "conformance".to_owned(), credentials, clock, Some(embedded))
    }

    fn new(
        endpoint: String,
        region: String,
        bucket: String,
        credentials: S3Credentials,
        clock: Clock,
        embedded: Option<Embedded>,
    ) -> Self {
        Self {
            client: Client::from_conf(config(&endpoint, &region, &credentials, &clock).build()),
            http: reqwest::Client::builder().no_proxy().build().unwrap(),
            prefix: format!("conformance/{}", FileId::mint()),
            endpoint,
            region,
            bucket,
            credentials,
            clock,
            embedded,
        }
    }

    /// The configuration of a client of this store.
    fn config(&self) -> aws_sdk_s3::config::Builder {
        config(&self.endpoint, &self.region, &self.credentials, &self.clock)
    }

    fn client_with(&self, id: &str, secret: &str) -> Client {
        let credentials = S3Credentials::new(id, secret);
        Client::from_conf(config(&self.endpoint, &self.region, &credentials, &self.clock).build())
    }

    fn key(&self, name: &str) -> String {
        format!("{}/{name}", self.prefix)
    }

    fn presigning(&self) -> PresigningConfig {
        PresigningConfig::builder().start_time(self.clock.now().into()).expires_in(LIFE).build().unwrap()
    }

    /// A URL for putting [`HELLO`] like those of XFiles, with signed type and length.
    async fn presigned_put(&self, key: &str) -> PresignedRequest {
        let length = i64::try_from(HELLO.len()).unwrap();
        let put = self.put_request(key).content_type("image/jpeg").content_length(length);
        put.presigned(self.presigning()).await.unwrap()
    }

    fn put_request(&self, key: &str) -> PutObjectFluentBuilder {
        self.client.put_object().bucket(&self.bucket).key(key)
    }

    async fn put(&self, key: &str, bytes: &'static [u8]) -> String {
        let put = self.put_request(key).body(ByteStream::from_static(bytes)).send().await.unwrap();
        put.e_tag.unwrap()
    }

    async fn get(&self, key: &str) -> Vec<u8> {
        let got = self.client.get_object().bucket(&self.bucket).key(key).send().await.unwrap();
        got.body.collect().await.unwrap().to_vec()
    }

    async fn exists(&self, key: &str) -> bool {
        match self.client.head_object().bucket(&self.bucket).key(key).send().await {
            Ok(_) => true,
            Err(e) => {
                assert_eq!(e.raw_response().map(|r| r.status().as_u16()), Some(404));
                false
            }
        }
    }

    /// Sends a presigned request like a plain HTTP client, without its headers.
    fn bare(&self, request: &PresignedRequest) -> reqwest::RequestBuilder {
        self.http.request(request.method().parse().unwrap(), request.uri())
    }

    /// Sends a presigned request with its signed headers.
    fn whole(&self, request: &PresignedRequest) -> reqwest::RequestBuilder {
        let added_by_http = |name: &str| name == "host" || name == "content-length";
        let headers = request.headers().filter(|(name, _)| !added_by_http(name));
        headers.fold(self.bare(request), |request, (name, value)| request.header(name, value))
    }

    fn address(&self, key: &str) -> String {
        format!("{}/{}/{key}", self.endpoint, self.bucket)
    }

    /// Stops the embedded store and starts it again in the same directory.
    async fn restarted(self) -> Self {
        let Embedded { store, directory, stop, server } = self.embedded.expect("only the embedded store restarts");
        drop((self.client, self.http));
        stop.send(()).unwrap();
        server.await.unwrap().unwrap();
        drop(store);
        let mut again = Self::embedded_in(directory).await;
        again.prefix = self.prefix;
        again
    }
}

fn config(endpoint: &str, region: &str, credentials: &S3Credentials, clock: &Clock) -> aws_sdk_s3::config::Builder {
    let (id, secret) = (credentials.access_key_id(), credentials.secret_access_key());
    let credentials = Credentials::new(id, secret, None, None, "conformance");
    unsigned(endpoint, region, clock).credentials_provider(credentials)
}

fn unsigned(endpoint: &str, region: &str, clock: &Clock) -> aws_sdk_s3::config::Builder {
    aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .endpoint_url(endpoint)
        .region(Region::new(region.to_owned()))
        .force_path_style(true)
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .retry_config(RetryConfig::disabled())
        .time_source(clock.clone())
        .http_client(tcp(|body| body))
}

fn options(root: &Path, clock: Clock) -> Options {
    Options {
        root: root.to_owned(),
        durable: false,
        credentials: S3Credentials::new(ACCESS_KEY_ID, SECRET_ACCESS_KEY),
        region: REGION.to_owned(),
        clock,
        origins: AllowedOrigins::Any,
    }
}

fn here() -> CreateBucketConfiguration {
    CreateBucketConfiguration::builder().location_constraint(BucketLocationConstraint::from(REGION)).build()
}

#[expect(clippy::disallowed_methods, reason = "the environment selects another store for these tests")]
fn endpoint_of_environment() -> Option<[String; 5]> {
    let endpoint = std::env::var("XFILES_TEST_S3_ENDPOINT").ok()?;
    let set = |name: &str| std::env::var(name).unwrap_or_else(|_| panic!("{name} must be set with the endpoint"));
    Some([
        endpoint,
        set("XFILES_TEST_S3_REGION"),
        set("XFILES_TEST_S3_BUCKET"),
        set("XFILES_TEST_S3_ACCESS_KEY_ID"),
        set("XFILES_TEST_S3_SECRET_ACCESS_KEY"),
    ])
}

/// The status and the S3 code of an error in the SDK.
fn refusal<T: Debug, E: ProvideErrorMetadata + Debug>(result: Result<T, SdkError<E>>) -> (u16, String) {
    let error = result.expect_err("the store must refuse this");
    let status = error.raw_response().map_or(0, |response| response.status().as_u16());
    (status, error.code().unwrap_or_default().to_owned())
}

/// The status and the S3 code of a plain HTTP response.
async fn answer(request: reqwest::RequestBuilder) -> (u16, String) {
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    let text = response.text().await.unwrap();
    let code = text.split_once("<Code>").and_then(|(_, rest)| rest.split_once("</Code>"));
    (status, code.map(|(code, _)| code.to_owned()).unwrap_or_default())
}

fn refused(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

fn sha256(bytes: &[u8]) -> String {
    BASE64_STANDARD.encode(Sha256::digest(bytes))
}

// Presigned uploads.

#[tokio::test]
async fn a_presigned_put_stores_the_bytes_under_the_signed_type() {
    let store = Store::open().await;
    let key = store.key("photo.jpg");
    let url = store.presigned_put(&key).await;
    let response = store.bare(&url).header("content-type", "image/jpeg").body(HELLO).send().await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["etag"], format!("\"{HELLO_MD5}\""));
    let got = store.client.get_object().bucket(&store.bucket).key(&key).send().await.unwrap();
    assert_eq!(got.content_type(), Some("image/jpeg"));
    assert_eq!(got.body.collect().await.unwrap().to_vec(), HELLO);
}

#[tokio::test]
async fn a_presigned_put_binds_exactly_host_type_length_and_checksum() {
    let store = Store::open().await;
    let length = i64::try_from(HELLO.len()).unwrap();
    let put = store.put_request(&store.key("x")).content_type("image/jpeg").content_length(length);
    let url = put.checksum_sha256(sha256(HELLO)).presigned(store.presigning()).await.unwrap();
    assert!(
        url.uri().contains("X-Amz-SignedHeaders=content-length%3Bcontent-type%3Bhost%3Bx-amz-checksum-sha256&"),
        "the SDK must hoist nothing and add nothing"
    );
    assert_eq!(store.whole(&url).body(HELLO).send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_presigned_put_with_another_or_no_content_type_is_refused() {
    let store = Store::open().await;
    let key = store.key("photo.jpg");
    let url = store.presigned_put(&key).await;
    let other = store.bare(&url).header("content-type", "text/html").body(HELLO);
    assert_eq!(answer(other).await, refused(403, "SignatureDoesNotMatch"));
    assert_eq!(answer(store.bare(&url).body(HELLO)).await, refused(403, "SignatureDoesNotMatch"));
    assert!(!store.exists(&key).await);
}

#[tokio::test]
async fn a_presigned_put_of_another_length_is_refused() {
    let store = Store::open().await;
    let key = store.key("photo.jpg");
    let url = store.presigned_put(&key).await;
    for body in [&b"hello, stor"[..], b"hello, store!", b""] {
        assert_eq!(answer(store.whole(&url).body(body)).await, refused(403, "SignatureDoesNotMatch"));
    }
    assert!(!store.exists(&key).await);
}

#[tokio::test]
async fn a_presigned_put_of_unannounced_length_is_refused() {
    let store = Store::open().await;
    let key = store.key("photo.jpg");
    let url = store.presigned_put(&key).await;
    let chunks = futures::stream::iter([Ok::<_, std::io::Error>(HELLO)]);
    let (status, _) = answer(store.whole(&url).body(reqwest::Body::wrap_stream(chunks))).await;
    assert_eq!(status, 403);
    assert!(!store.exists(&key).await);
}

#[tokio::test]
async fn a_presigned_put_without_or_with_other_signed_metadata_is_refused() {
    let store = Store::open().await;
    let key = store.key("x");
    let url = store.put_request(&key).metadata("owner", "me").presigned(store.presigning()).await.unwrap();
    assert_eq!(answer(store.bare(&url).body(HELLO)).await, refused(403, "SignatureDoesNotMatch"));
    let altered = store.bare(&url).header("x-amz-meta-owner", "you").body(HELLO);
    assert_eq!(answer(altered).await, refused(403, "SignatureDoesNotMatch"));
    assert!(!store.exists(&key).await);
    assert_eq!(store.whole(&url).body(HELLO).send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_presigned_put_without_its_signed_checksum_or_condition_is_refused() {
    let store = Store::open().await;
    let key = store.key("x");
    let with_checksum = store.put_request(&key).checksum_sha256(sha256(HELLO));
    let with_condition = store.put_request(&key).if_none_match("*");
    for put in [with_checksum, with_condition] {
        let url = put.presigned(store.presigning()).await.unwrap();
        assert_eq!(answer(store.bare(&url).body(HELLO)).await, refused(403, "SignatureDoesNotMatch"));
    }
    assert!(!store.exists(&key).await);
}

#[tokio::test]
async fn a_presigned_put_of_other_bytes_than_its_signed_checksum_stores_nothing() {
    let store = Store::open().await;
    let key = store.key("x");
    let url = store.put_request(&key).checksum_sha256(sha256(HELLO)).presigned(store.presigning()).await.unwrap();
    assert_eq!(answer(store.whole(&url).body("HELLO, store")).await, refused(400, "BadDigest"));
    assert!(!store.exists(&key).await);
    assert_eq!(store.whole(&url).body(HELLO).send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_tampered_presigned_url_is_refused() {
    let store = Store::open().await;
    let key = store.key("photo.jpg");
    let url = store.presigned_put(&key).await;
    let uri = url.uri().to_owned();
    let (head, signature) = uri.split_once("X-Amz-Signature=").unwrap();
    let flipped = if signature.starts_with('0') { '1' } else { '0' };
    let tampered = [
        format!("{head}X-Amz-Signature={flipped}{}", &signature[1..]),
        uri.replace("photo.jpg", "photo.png"),
        uri.replace("X-Amz-Expires=900", "X-Amz-Expires=901"),
        format!("{uri}&x-id=GetObject"),
    ];
    for uri in tampered {
        let put = store.http.put(&uri).header("content-type", "image/jpeg").body(HELLO);
        assert_eq!(answer(put).await, refused(403, "SignatureDoesNotMatch"));
    }
    assert!(!store.exists(&key).await);
}

#[tokio::test]
async fn a_presigned_put_serves_no_other_method_and_no_other_host() {
    let store = Store::open().await;
    let key = store.key("photo.jpg");
    store.put(&key, b"before").await;
    let url = store.presigned_put(&key).await;
    for method in [Method::GET, Method::DELETE] {
        let request = store.http.request(method, url.uri()).header("content-type", "image/jpeg");
        assert_eq!(answer(request.body(HELLO)).await, refused(403, "SignatureDoesNotMatch"));
    }
    let elsewhere = store.whole(&url).header("host", "elsewhere.example:9000").body(HELLO);
    assert_eq!(answer(elsewhere).await, refused(403, "SignatureDoesNotMatch"));
    assert_eq!(store.get(&key).await, b"before");
}

#[tokio::test]
async fn a_presigned_url_of_the_past_is_refused() {
    let store = Store::open().await;
    let key = store.key("x");
    let start = std::time::SystemTime::from(store.clock.now()) - Duration::from_secs(901);
    let past = PresigningConfig::builder().start_time(start).expires_in(LIFE).build().unwrap();
    let url = store.put_request(&key).presigned(past).await.unwrap();
    assert_eq!(answer(store.whole(&url).body(HELLO)).await, refused(403, "AccessDenied"));
    assert!(!store.exists(&key).await);
}

#[tokio::test]
async fn a_presigned_url_works_until_the_second_it_says() {
    let Some(store) = Store::open_embedded("the moment of expiry").await else { return };
    let url = store.presigned_put(&store.key("x")).await;
    store.clock.advance(LIFE - Duration::from_secs(1));
    assert_eq!(store.whole(&url).body(HELLO).send().await.unwrap().status(), 200);
    store.clock.advance(Duration::from_secs(2));
    assert_eq!(answer(store.whole(&url).body(HELLO)).await, refused(403, "AccessDenied"));
}

#[tokio::test]
async fn a_presigned_url_can_be_used_again_until_it_expires() {
    let store = Store::open().await;
    let key = store.key("x");
    let url = store.put_request(&key).presigned(store.presigning()).await.unwrap();
    for body in [HELLO, b"and again"] {
        assert_eq!(store.whole(&url).body(body).send().await.unwrap().status(), 200);
    }
    assert_eq!(store.get(&key).await, b"and again");
}

#[tokio::test]
async fn a_presigned_url_of_the_far_future_is_refused() {
    let Some(store) = Store::open_embedded("URLs of the future").await else { return };
    let start = std::time::SystemTime::from(store.clock.now()) + Duration::from_secs(16 * 60);
    let future = PresigningConfig::builder().start_time(start).expires_in(LIFE).build().unwrap();
    let url = store.put_request(&store.key("x")).presigned(future).await.unwrap();
    assert_eq!(answer(store.whole(&url).body(HELLO)).await, refused(403, "RequestTimeTooSkewed"));
}

#[tokio::test]
async fn an_unsigned_amz_header_is_refused_and_nothing_is_stored() {
    let store = Store::open().await;
    let source = store.key("source");
    store.put(&source, b"secret").await;
    let copy_source = format!("{}/{source}", store.bucket);
    let key = store.key("x");
    let url = store.presigned_put(&key).await;
    let unsigned = [
        ("x-amz-meta-owner", "me"),
        ("x-amz-acl", "public-read"),
        ("x-amz-storage-class", "STANDARD"),
        ("x-amz-tagging", "a=b"),
        ("x-amz-copy-source", copy_source.as_str()),
    ];
    for (name, value) in unsigned {
        assert_eq!(
            answer(store.whole(&url).header(name, value).body(HELLO)).await,
            refused(403, "AccessDenied"),
            "{name}"
        );
    }
    assert!(!store.exists(&key).await);
}

#[tokio::test]
async fn an_unsigned_content_header_is_kept_as_on_s3() {
    let store = Store::open().await;
    let key = store.key("x");
    let url = store.presigned_put(&key).await;
    let put = store.whole(&url).header("content-encoding", "gzip").header("cache-control", "no-store").body(HELLO);
    assert_eq!(put.send().await.unwrap().status(), 200);
    let head = store.client.head_object().bucket(&store.bucket).key(&key).send().await.unwrap();
    assert_eq!((head.content_encoding(), head.cache_control()), (Some("gzip"), Some("no-store")));
}

#[tokio::test]
async fn a_presigned_get_serves_ranges_and_response_overrides() {
    let store = Store::open().await;
    let key = store.key("x");
    store.put(&key, HELLO).await;
    let get = store.client.get_object().bucket(&store.bucket).key(&key);
    let url = get.response_content_type("text/x-override").response_content_disposition("attachment");
    let url = url.presigned(store.presigning()).await.unwrap();
    let response = store.whole(&url).header("range", "bytes=0-4").send().await.unwrap();
    assert_eq!(response.status(), 206);
    assert_eq!(response.headers()["content-type"], "text/x-override");
    assert_eq!(response.headers()["content-disposition"], "attachment");
    assert_eq!(response.text().await.unwrap(), "hello");
}

// Authentication.

#[tokio::test]
async fn an_unknown_access_key_is_refused() {
    let Some(store) = Store::open_embedded("unknown access keys, which emulators accept").await else { return };
    let stranger = store.client_with("XFSTRANGER", "whatever");
    let listed = stranger.list_objects_v2().bucket(&store.bucket).send().await;
    assert_eq!(refusal(listed), refused(403, "InvalidAccessKeyId"));
    let put = stranger.put_object().bucket(&store.bucket).key("x").presigned(store.presigning()).await.unwrap();
    assert_eq!(answer(store.whole(&put).body(HELLO)).await, refused(403, "InvalidAccessKeyId"));
}

#[tokio::test]
async fn a_wrong_secret_is_refused() {
    let store = Store::open().await;
    let impostor = store.client_with(store.credentials.access_key_id(), "not the secret");
    let listed = impostor.list_objects_v2().bucket(&store.bucket).send().await;
    assert_eq!(refusal(listed), refused(403, "SignatureDoesNotMatch"));
}

#[tokio::test]
async fn anonymous_access_is_refused() {
    let Some(store) = Store::open_embedded("anonymous access, which emulators allow").await else { return };
    let key = store.key("x");
    store.put(&key, HELLO).await;
    let address = store.address(&key);
    assert_eq!(answer(store.http.get(&address)).await, refused(403, "AccessDenied"));
    assert_eq!(answer(store.http.put(&address).body("other")).await, refused(403, "AccessDenied"));
    assert_eq!(answer(store.http.delete(&address)).await, refused(403, "AccessDenied"));
    assert_eq!(answer(store.http.get(&store.endpoint)).await, refused(403, "AccessDenied"));
    assert_eq!(store.http.head(&address).send().await.unwrap().status(), 403);
    assert_eq!(store.get(&key).await, HELLO);
}

#[tokio::test]
async fn signatures_of_version_2_are_refused() {
    let Some(store) = Store::open_embedded("SigV2").await else { return };
    let address = store.address(&store.key("x"));
    let presigned = format!("{address}?AWSAccessKeyId={ACCESS_KEY_ID}&Expires=4102444800&Signature=c2lnbmF0dXJl");
    let (status, _) = answer(store.http.put(presigned).body(HELLO)).await;
    assert!((400..500).contains(&status));
    let by_header = store.http.put(&address).header("authorization", format!("AWS {ACCESS_KEY_ID}:c2lnbmF0dXJl"));
    let (status, _) = answer(by_header.header("date", "Thu, 09 Oct 2025 08:53:20 GMT").body(HELLO)).await;
    assert!((400..500).contains(&status));
    assert!(!store.exists(&store.key("x")).await);
}

#[tokio::test]
async fn two_ways_of_signing_at_once_are_refused() {
    let Some(store) = Store::open_embedded("two mechanisms").await else { return };
    let url = store.put_request(&store.key("x")).presigned(store.presigning()).await.unwrap();
    let both = store.whole(&url).header("authorization", "AWS4-HMAC-SHA256 Credential=x").body(HELLO);
    assert_eq!(answer(both).await, refused(400, "InvalidArgument"));
}

#[tokio::test]
async fn a_signature_for_another_region_is_refused() {
    let Some(store) = Store::open_embedded("regions, which emulators do not tell apart").await else { return };
    let elsewhere = Client::from_conf(store.config().region(Region::new("us-west-2")).build());
    let listed = elsewhere.list_objects_v2().bucket(&store.bucket).send().await;
    assert_eq!(refusal(listed), refused(400, "AuthorizationHeaderMalformed"));
}

#[tokio::test]
async fn a_request_signed_too_long_ago_is_refused() {
    let Some(store) = Store::open_embedded("the age of requests").await else { return };
    let then = Clock::manual(store.clock.now());
    // A client learns the server's time from a response, so each request uses a new client.
    let list = || {
        let slow = Client::from_conf(store.config().time_source(then.clone()).build());
        slow.list_objects_v2().bucket(&store.bucket).send()
    };
    store.clock.advance(Duration::from_secs(14 * 60));
    list().await.unwrap();
    store.clock.advance(Duration::from_secs(2 * 60));
    assert_eq!(refusal(list().await), refused(403, "RequestTimeTooSkewed"));
}

// Integrity.

#[tokio::test]
async fn a_wrong_content_md5_stores_nothing() {
    let store = Store::open().await;
    let key = store.key("x");
    let put = |md5: &str| store.put_request(&key).content_md5(md5).body(ByteStream::from_static(HELLO)).send();
    assert_eq!(refusal(put("1B2M2Y8AsgTpgAmY7PhCfg==").await), refused(400, "BadDigest"));
    assert_eq!(refusal(put("nonsense").await), refused(400, "InvalidDigest"));
    assert!(!store.exists(&key).await);
    put(&BASE64_STANDARD.encode(hex(HELLO_MD5))).await.unwrap();
}

fn hex(digits: &str) -> Vec<u8> {
    (0..digits.len()).step_by(2).map(|i| u8::from_str_radix(&digits[i..i + 2], 16).unwrap()).collect()
}

#[tokio::test]
async fn a_wrong_checksum_stores_nothing_whatever_its_algorithm() {
    let store = Store::open().await;
    let key = store.key("x");
    let put = || store.put_request(&key).body(ByteStream::from_static(HELLO));
    let wrong = [
        put().checksum_crc32("AAAAAA=="),
        put().checksum_crc32_c("AAAAAA=="),
        put().checksum_crc64_nvme("AAAAAAAAAAA="),
        put().checksum_sha1(BASE64_STANDARD.encode([0; 20])),
        put().checksum_sha256(BASE64_STANDARD.encode([0; 32])),
    ];
    for put in wrong {
        assert_eq!(refusal(put.send().await), refused(400, "BadDigest"));
    }
    assert!(!store.exists(&key).await);
}

#[tokio::test]
async fn a_checksum_is_stored_and_returned_on_request() {
    let store = Store::open().await;
    let key = store.key("x");
    let put = store.put_request(&key).checksum_sha256(sha256(HELLO)).body(ByteStream::from_static(HELLO));
    assert_eq!(put.send().await.unwrap().checksum_sha256(), Some(sha256(HELLO).as_str()));
    let head = store.client.head_object().bucket(&store.bucket).key(&key);
    let with = head.clone().checksum_mode(ChecksumMode::Enabled).send().await.unwrap();
    assert_eq!(with.checksum_sha256(), Some(sha256(HELLO).as_str()));
    assert_eq!(head.send().await.unwrap().checksum_sha256(), None);
}

/// A PUT of [`HELLO`] in chunks with a checksum in a trailer; `tamper` can change them before they are sent.
async fn put_in_chunks(
    store: &Store,
    endpoint: &str,
    key: &str,
    tamper: fn(Bytes) -> Bytes,
) -> Result<PutObjectOutput, SdkError<PutObjectError>> {
    let config = store.config().endpoint_url(endpoint).http_client(tcp(tamper));
    let config = config.request_checksum_calculation(RequestChecksumCalculation::WhenSupported);
    let body = ByteStream::new(SdkBody::retryable(|| {
        let chunks =
            futures::stream::iter([Ok::<_, std::io::Error>(http_body::Frame::data(Bytes::from_static(HELLO)))]);
        SdkBody::from_body_1_x(http_body_util::StreamBody::new(chunks))
    }));
    let put = Client::from_conf(config.build()).put_object().bucket(&store.bucket).key(key).body(body);
    put.content_length(12).checksum_algorithm(ChecksumAlgorithm::Crc32).send().await
}

fn shout_in_chunks(body: Bytes) -> Bytes {
    let text = String::from_utf8(body.to_vec()).unwrap();
    assert!(text.contains("x-amz-checksum-crc32:"), "the SDK must send a trailer for this check to mean anything");
    text.replace("hello", "HELLO").into()
}

#[tokio::test]
async fn signed_chunks_that_were_changed_on_the_way_store_nothing() {
    let store = Store::open().await;
    let key = store.key("x");
    let tampered = put_in_chunks(&store, &store.endpoint, &key, shout_in_chunks).await;
    assert_eq!(refusal(tampered), refused(403, "SignatureDoesNotMatch"));
    assert!(!store.exists(&key).await);
    put_in_chunks(&store, &store.endpoint, &key, |body| body).await.unwrap();
    assert_eq!(store.get(&key).await, HELLO);
}

#[tokio::test]
async fn a_wrong_checksum_in_a_trailer_stores_nothing() {
    let store = Store::open().await;
    let key = store.key("x");
    // With TLS the SDK does not sign chunks. The client here uses plain HTTP for every endpoint.
    let endpoint = store.endpoint.replace("http://", "https://");
    assert_eq!(refusal(put_in_chunks(&store, &endpoint, &key, shout_in_chunks).await), refused(400, "BadDigest"));
    assert!(!store.exists(&key).await);
    put_in_chunks(&store, &endpoint, &key, |body| body).await.unwrap();
    assert_eq!(store.get(&key).await, HELLO);
    let head = store.client.head_object().bucket(&store.bucket).key(&key).send().await.unwrap();
    assert_eq!(head.content_encoding(), None, "aws-chunked is framing, not an encoding");
}

#[tokio::test]
async fn a_signed_body_that_was_changed_on_the_way_stores_nothing() {
    let store = Store::open().await;
    let key = store.key("x");
    let config = store.config().http_client(tcp(|_| Bytes::from_static(b"HELLO, store")));
    let put = Client::from_conf(config.build())
        .put_object()
        .bucket(&store.bucket)
        .key(&key)
        .body(ByteStream::from_static(HELLO));
    assert_eq!(refusal(put.send().await), refused(400, "XAmzContentSHA256Mismatch"));
    assert!(!store.exists(&key).await);
}

#[tokio::test]
async fn an_upload_that_breaks_off_stores_nothing() {
    let store = Store::open().await;
    let key = store.key("photo.jpg");
    let url = store.presigned_put(&key).await;
    let address = store.endpoint.strip_prefix("http://").unwrap();
    let target = url.uri().strip_prefix(&store.endpoint).unwrap();
    let mut socket = TcpStream::connect(address).await.unwrap();
    let head = format!(
        "PUT {target} HTTP/1.1\r\nhost: {address}\r\ncontent-type: image/jpeg\r\ncontent-length: {}\r\n\r\nhello",
        HELLO.len()
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    socket.shutdown().await.unwrap();
    // Whatever its response, it has then released the upload.
    let mut said = String::new();
    socket.read_to_string(&mut said).await.unwrap();
    assert!(!said.starts_with("HTTP/1.1 200"), "{said}");
    assert!(!store.exists(&key).await);
}

#[tokio::test]
async fn a_large_object_streams_in_and_out() {
    let store = Store::open().await;
    let key = store.key("large");
    let bytes: Vec<u8> = (0..20_000_000_u32).map(|i| (i % 251) as u8).collect();
    store.put_request(&key).body(bytes.clone().into()).send().await.unwrap();
    assert!(store.get(&key).await == bytes);
    let part =
        store.client.get_object().bucket(&store.bucket).key(&key).range("bytes=3000000-9999999").send().await.unwrap();
    assert_eq!(part.content_range(), Some("bytes 3000000-9999999/20000000"));
    assert!(part.body.collect().await.unwrap().to_vec() == bytes[3_000_000..10_000_000]);
}

#[tokio::test]
async fn an_empty_object_is_an_object() {
    let store = Store::open().await;
    let key = store.key("empty");
    assert_eq!(store.put(&key, b"").await, "\"d41d8cd98f00b204e9800998ecf8427e\"");
    assert_eq!(store.get(&key).await, b"");
    let range = store.client.get_object().bucket(&store.bucket).key(&key).range("bytes=0-0").send().await;
    assert_eq!(refusal(range), refused(416, "InvalidRange"));
}

#[tokio::test]
async fn metadata_and_headers_come_back_with_the_object() {
    let store = Store::open().await;
    let key = store.key("x");
    let put = store.put_request(&key).body(ByteStream::from_static(HELLO)).content_type("text/plain; charset=utf-8");
    let put = put.cache_control("max-age=5").content_disposition("attachment").content_language("de");
    let put = put.content_encoding("identity").expires(DateTime::from_secs(1_760_000_000));
    put.metadata("owner", "me").metadata("note", "a b").send().await.unwrap();

    let head = store.client.head_object().bucket(&store.bucket).key(&key).send().await.unwrap();
    assert_eq!(head.content_type(), Some("text/plain; charset=utf-8"));
    assert_eq!((head.cache_control(), head.content_disposition()), (Some("max-age=5"), Some("attachment")));
    assert_eq!((head.content_language(), head.content_encoding()), (Some("de"), Some("identity")));
    assert_eq!(head.expires_string(), Some("Thu, 09 Oct 2025 08:53:20 GMT"));
    assert_eq!(head.metadata().unwrap()["owner"], "me");
    assert_eq!(head.metadata().unwrap()["note"], "a b");
    assert_eq!((head.content_length(), head.e_tag()), (Some(12), Some(format!("\"{HELLO_MD5}\"").as_str())));
    assert!(head.last_modified().is_some());
}

#[tokio::test]
async fn replacing_an_object_replaces_all_of_it() {
    let store = Store::open().await;
    let key = store.key("x");
    let put = store.put_request(&key).content_type("text/plain").metadata("owner", "me");
    put.body(ByteStream::from_static(b"a longer body than the next")).send().await.unwrap();
    store.put(&key, HELLO).await;
    let got = store.client.get_object().bucket(&store.bucket).key(&key).send().await.unwrap();
    assert!(got.metadata().is_none_or(|metadata| metadata.is_empty()));
    assert_ne!(got.content_type(), Some("text/plain"));
    assert_eq!(got.body.collect().await.unwrap().to_vec(), HELLO);
}

#[tokio::test]
async fn an_object_put_without_a_type_is_a_stream_of_octets() {
    let store = Store::open().await;
    let key = store.key("x");
    let url = store.put_request(&key).presigned(store.presigning()).await.unwrap();
    assert_eq!(store.bare(&url).body(HELLO).send().await.unwrap().status(), 200);
    let head = store.client.head_object().bucket(&store.bucket).key(&key).send().await.unwrap();
    assert_eq!(head.content_type(), Some("binary/octet-stream"));
}

#[tokio::test]
async fn too_much_metadata_is_refused() {
    let store = Store::open().await;
    let put = store.put_request(&store.key("x")).metadata("a", "v".repeat(2048)).body(ByteStream::from_static(HELLO));
    assert_eq!(refusal(put.send().await), refused(400, "MetadataTooLarge"));
}

#[tokio::test]
async fn missing_bucket_and_missing_key_are_distinguished() {
    let store = Store::open().await;
    let missing = store.client.get_object().bucket(&store.bucket).key(store.key("none")).send().await;
    assert_eq!(refusal(missing), refused(404, "NoSuchKey"));
    let no_bucket = "conformance-no-such-bucket";
    let get = store.client.get_object().bucket(no_bucket).key("x").send().await;
    assert_eq!(refusal(get), refused(404, "NoSuchBucket"));
    let put = store.client.put_object().bucket(no_bucket).key("x").body(ByteStream::from_static(HELLO)).send().await;
    assert_eq!(refusal(put), refused(404, "NoSuchBucket"));
    let list = store.client.list_objects_v2().bucket(no_bucket).send().await;
    assert_eq!(refusal(list), refused(404, "NoSuchBucket"));
    assert!(!store.exists(&store.key("none")).await);
}

// Conditions.

#[tokio::test]
async fn a_put_for_an_absent_object_does_not_replace_one() {
    let store = Store::open().await;
    let key = store.key("x");
    let put = |body| store.put_request(&key).if_none_match("*").body(ByteStream::from_static(body)).send();
    put(b"first").await.unwrap();
    assert_eq!(refusal(put(b"second").await), refused(412, "PreconditionFailed"));
    assert_eq!(store.get(&key).await, b"first");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exactly_one_of_many_puts_for_an_absent_object_wins() {
    let store = Store::open().await;
    for round in 0..5 {
        let key = store.key(&format!("race-{round}"));
        let puts = (0..16).map(|i| {
            let put = store.put_request(&key).if_none_match("*").body(format!("body {i}").into_bytes().into());
            tokio::spawn(put.send())
        });
        let outcomes: Vec<_> = join_all(puts).await.into_iter().map(Result::unwrap).collect();
        let winners: Vec<_> = outcomes.iter().filter_map(|o| o.as_ref().ok()).collect();
        assert_eq!(winners.len(), 1, "round {round}");
        let losers = outcomes.iter().filter_map(|o| o.as_ref().err());
        for loser in losers {
            // S3 may also return a conflict.
            assert!(matches!(loser.raw_response().map(|r| r.status().as_u16()), Some(412 | 409)));
        }
        let head = store.client.head_object().bucket(&store.bucket).key(&key).send().await.unwrap();
        assert_eq!(head.e_tag(), winners[0].e_tag());
    }
}

#[tokio::test]
async fn a_put_over_a_stale_etag_is_refused() {
    let store = Store::open().await;
    let key = store.key("x");
    let put = |etag: &str| store.put_request(&key).if_match(etag).body(ByteStream::from_static(b"next")).send();
    assert_eq!(refusal(put("\"0\"").await), refused(404, "NoSuchKey"));
    let etag = store.put(&key, HELLO).await;
    assert_eq!(refusal(put("\"0\"").await), refused(412, "PreconditionFailed"));
    put(&etag).await.unwrap();
    assert_eq!(refusal(put(&etag).await), refused(412, "PreconditionFailed"));
    assert_eq!(store.get(&key).await, b"next");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exactly_one_of_many_puts_over_one_etag_wins() {
    let store = Store::open().await;
    let key = store.key("x");
    let etag = store.put(&key, HELLO).await;
    let puts = (0..16).map(|i| {
        let put = store.put_request(&key).if_match(&etag).body(format!("body {i}").into_bytes().into());
        tokio::spawn(put.send())
    });
    let won = join_all(puts).await.into_iter().filter(|outcome| outcome.as_ref().unwrap().is_ok()).count();
    assert_eq!(won, 1);
}

#[tokio::test]
async fn a_delete_of_a_stale_etag_is_refused() {
    let Some(store) = Store::open_embedded("conditional deletes, which few emulators know").await else { return };
    let key = store.key("x");
    let etag = store.put(&key, HELLO).await;
    let delete = |etag: &str| store.client.delete_object().bucket(&store.bucket).key(&key).if_match(etag).send();
    assert_eq!(refusal(delete("\"0\"").await), refused(412, "PreconditionFailed"));
    assert!(store.exists(&key).await);
    delete(&etag).await.unwrap();
    assert!(!store.exists(&key).await);
}

#[tokio::test]
async fn a_read_with_the_current_etag_returns_304() {
    let store = Store::open().await;
    let key = store.key("x");
    let put = store.put_request(&key).cache_control("max-age=5").body(ByteStream::from_static(HELLO));
    let etag = put.send().await.unwrap().e_tag.unwrap();
    let get = store.client.get_object().bucket(&store.bucket).key(&key);
    let url = get.presigned(store.presigning()).await.unwrap();
    let response = store.whole(&url).header("if-none-match", &etag).send().await.unwrap();
    assert_eq!(response.status(), 304);
    assert_eq!(response.headers()["etag"], etag.as_str());
    let last_modified = response.headers()["last-modified"].clone();
    assert_eq!(response.bytes().await.unwrap(), "");

    let since = store.whole(&url).header("if-modified-since", last_modified).send().await.unwrap();
    assert_eq!(since.status(), 304);
    let other = store.whole(&url).header("if-none-match", "\"0\"").send().await.unwrap();
    assert_eq!((other.status().as_u16(), other.bytes().await.unwrap()), (200, Bytes::from_static(HELLO)));
}

#[tokio::test]
async fn a_read_with_another_etag_returns_412() {
    let store = Store::open().await;
    let key = store.key("x");
    let etag = store.put(&key, HELLO).await;
    let get = || store.client.get_object().bucket(&store.bucket).key(&key);
    assert_eq!(refusal(get().if_match("\"0\"").send().await), refused(412, "PreconditionFailed"));
    let long_ago = DateTime::from_secs(1_000_000_000);
    assert_eq!(refusal(get().if_unmodified_since(long_ago).send().await), refused(412, "PreconditionFailed"));
    get().if_match(&etag).if_unmodified_since(long_ago).send().await.unwrap();
    get().if_modified_since(long_ago).send().await.unwrap();
}

// Ranges.

#[tokio::test]
async fn a_range_returns_206_with_exactly_that_part() {
    let store = Store::open().await;
    let key = store.key("x");
    store.put(&key, HELLO).await;
    let cases = [
        ("bytes=0-4", "hello", "bytes 0-4/12"),
        ("bytes=7-", "store", "bytes 7-11/12"),
        ("bytes=-5", "store", "bytes 7-11/12"),
        ("bytes=7-1000", "store", "bytes 7-11/12"),
        ("bytes=-1000", "hello, store", "bytes 0-11/12"),
    ];
    let get = store.client.get_object().bucket(&store.bucket).key(&key);
    let url = get.presigned(store.presigning()).await.unwrap();
    for (range, part, content_range) in cases {
        let response = store.whole(&url).header("range", range).send().await.unwrap();
        assert_eq!(response.status(), 206, "{range}");
        assert_eq!(response.headers()["content-range"], content_range, "{range}");
        assert_eq!(response.headers()["content-length"], part.len().to_string().as_str(), "{range}");
        assert_eq!(response.text().await.unwrap(), part, "{range}");
    }
}

#[tokio::test]
async fn a_range_beyond_the_end_returns_416() {
    let store = Store::open().await;
    let key = store.key("x");
    store.put(&key, HELLO).await;
    for range in ["bytes=12-", "bytes=100-200", "bytes=-0"] {
        let get = store.client.get_object().bucket(&store.bucket).key(&key).range(range).send().await;
        assert_eq!(refusal(get), refused(416, "InvalidRange"), "{range}");
    }
}

// Deleting.

#[tokio::test]
async fn a_deleted_object_is_gone_and_deleting_it_again_is_no_error() {
    let store = Store::open().await;
    let key = store.key("x");
    store.put(&key, HELLO).await;
    for _ in 0..2 {
        store.client.delete_object().bucket(&store.bucket).key(&key).send().await.unwrap();
        assert!(!store.exists(&key).await);
    }
}

fn deletion(keys: impl IntoIterator<Item = String>) -> aws_sdk_s3::types::builders::DeleteBuilder {
    let named = |key: String| ObjectIdentifier::builder().key(key).build().unwrap();
    Delete::builder().set_objects(Some(keys.into_iter().map(named).collect()))
}

#[tokio::test]
async fn many_objects_are_deleted_at_once() {
    let store = Store::open().await;
    let keys: Vec<_> = ["a", "b <&> \"c\"", "never existed"].map(|name| store.key(name)).into();
    for key in &keys[..2] {
        store.put(key, HELLO).await;
    }
    let kept = store.key("kept");
    store.put(&kept, HELLO).await;
    let delete = deletion(keys.clone()).build().unwrap();
    let answer = store.client.delete_objects().bucket(&store.bucket).delete(delete).send().await.unwrap();
    let deleted: BTreeSet<_> = answer.deleted().iter().map(|d| d.key().unwrap().to_owned()).collect();
    assert_eq!(deleted, keys.iter().cloned().collect());
    assert!(answer.errors().is_empty());
    assert!(!store.exists(&keys[0]).await && !store.exists(&keys[1]).await && store.exists(&kept).await);
}

#[tokio::test]
async fn a_quiet_deletion_lists_only_errors() {
    let store = Store::open().await;
    let key = store.key("x");
    store.put(&key, HELLO).await;
    let delete = deletion([key.clone()]).quiet(true).build().unwrap();
    let answer = store.client.delete_objects().bucket(&store.bucket).delete(delete).send().await.unwrap();
    assert!(answer.deleted().is_empty() && answer.errors().is_empty());
    assert!(!store.exists(&key).await);
}

#[tokio::test]
async fn more_than_a_thousand_deletions_at_once_are_refused() {
    let store = Store::open().await;
    let delete = deletion((0..1001).map(|i| store.key(&i.to_string()))).build().unwrap();
    let answer = store.client.delete_objects().bucket(&store.bucket).delete(delete).send().await;
    assert_eq!(refusal(answer), refused(400, "MalformedXML"));
}

// Copying.

/// A source with headers and metadata, and a copy request from it.
async fn copying(store: &Store, to: &str) -> (String, CopyObjectFluentBuilder) {
    let source = store.key("source");
    let put = store.put_request(&source).content_type("text/plain").content_encoding("gzip").metadata("owner", "me");
    let etag = put.body(ByteStream::from_static(HELLO)).send().await.unwrap().e_tag.unwrap();
    let copy = store.client.copy_object().bucket(&store.bucket).key(to);
    (etag, copy.copy_source(format!("{}/{source}", store.bucket)))
}

#[tokio::test]
async fn a_copy_keeps_headers_and_metadata_unless_asked_to_replace_them() {
    let store = Store::open().await;
    let (kept, replaced) = (store.key("kept"), store.key("replaced"));
    let (etag, copy) = copying(&store, &kept).await;
    let result = copy.send().await.unwrap();
    assert_eq!(result.copy_object_result().unwrap().e_tag(), Some(etag.as_str()));
    let head = store.client.head_object().bucket(&store.bucket).key(&kept).send().await.unwrap();
    assert_eq!((head.content_type(), head.content_encoding()), (Some("text/plain"), Some("gzip")));
    assert_eq!(head.metadata().unwrap()["owner"], "me");

    let (_, copy) = copying(&store, &replaced).await;
    let copy =
        copy.metadata_directive(MetadataDirective::Replace).content_type("image/jpeg").cache_control("max-age=5");
    copy.send().await.unwrap();
    let head = store.client.head_object().bucket(&store.bucket).key(&replaced).send().await.unwrap();
    assert_eq!((head.content_type(), head.cache_control()), (Some("image/jpeg"), Some("max-age=5")));
    assert_eq!(head.content_encoding(), None);
    assert!(head.metadata().is_none_or(|metadata| metadata.is_empty()));
    assert_eq!(store.get(&replaced).await, HELLO);
}

#[tokio::test]
async fn a_copy_of_another_source_than_expected_is_refused() {
    let store = Store::open().await;
    let to = store.key("copy");
    let (etag, copy) = copying(&store, &to).await;
    let failed = refused(412, "PreconditionFailed");
    assert_eq!(refusal(copy.clone().copy_source_if_match("\"0\"").send().await), failed);
    assert_eq!(refusal(copy.clone().copy_source_if_none_match(&etag).send().await), failed);
    let long_ago = DateTime::from_secs(1_000_000_000);
    assert_eq!(refusal(copy.clone().copy_source_if_unmodified_since(long_ago).send().await), failed);
    assert!(!store.exists(&to).await);
    copy.copy_source_if_match(&etag).send().await.unwrap();
    assert_eq!(store.get(&to).await, HELLO);
}

#[tokio::test]
async fn a_copy_for_an_absent_target_does_not_replace_one() {
    let Some(store) = Store::open_embedded("conditional copies, which few emulators know").await else { return };
    let to = store.key("copy");
    let (_, copy) = copying(&store, &to).await;
    let etag = store.put(&to, b"before").await;
    let failed = refused(412, "PreconditionFailed");
    assert_eq!(refusal(copy.clone().if_none_match("*").send().await), failed);
    assert_eq!(refusal(copy.clone().if_match("\"0\"").send().await), failed);
    assert_eq!(store.get(&to).await, b"before");
    copy.if_match(&etag).send().await.unwrap();
    assert_eq!(store.get(&to).await, HELLO);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exactly_one_of_many_copies_to_an_absent_target_wins() {
    let Some(store) = Store::open_embedded("conditional copies, which few emulators know").await else { return };
    let (_, copy) = copying(&store, &store.key("copy")).await;
    let copies = (0..16).map(|_| tokio::spawn(copy.clone().if_none_match("*").send()));
    let won = join_all(copies).await.into_iter().filter(|outcome| outcome.as_ref().unwrap().is_ok()).count();
    assert_eq!(won, 1);
}

#[tokio::test]
async fn a_copy_outlives_its_source() {
    let store = Store::open().await;
    let (first, second) = (store.key("first"), store.key("second"));
    let (_, copy) = copying(&store, &first).await;
    copy.clone().send().await.unwrap();
    copy.key(&second).send().await.unwrap();
    store.put(&store.key("source"), b"replaced").await;
    store.client.delete_object().bucket(&store.bucket).key(&first).send().await.unwrap();
    assert_eq!(store.get(&second).await, HELLO);
}

#[tokio::test]
async fn a_copy_of_nothing_is_refused() {
    let store = Store::open().await;
    let copy = store.client.copy_object().bucket(&store.bucket).key(store.key("copy"));
    let copy = copy.copy_source(format!("{}/{}", store.bucket, store.key("none")));
    assert_eq!(refusal(copy.send().await), refused(404, "NoSuchKey"));
}

#[tokio::test]
async fn a_copy_to_itself_must_change_something() {
    let store = Store::open().await;
    let source = store.key("source");
    let (_, copy) = copying(&store, &source).await;
    assert_eq!(refusal(copy.clone().send().await), refused(400, "InvalidRequest"));
    copy.metadata_directive(MetadataDirective::Replace).content_type("image/png").send().await.unwrap();
    let head = store.client.head_object().bucket(&store.bucket).key(&source).send().await.unwrap();
    assert_eq!(head.content_type(), Some("image/png"));
    assert_eq!(store.get(&source).await, HELLO);
}

// Listing.

async fn fill(store: &Store, names: &[&str]) {
    join_all(names.iter().map(|name| async { store.put(&store.key(name), HELLO).await })).await;
}

/// Every key and common prefix under the test's prefix, page by page, without that prefix.
async fn list(store: &Store, prefix: &str, delimiter: Option<&str>, page_size: i32) -> (Vec<String>, Vec<String>) {
    let own = store.key("");
    let (mut keys, mut prefixes, mut token) = (Vec::new(), Vec::new(), None);
    loop {
        let list = store.client.list_objects_v2().bucket(&store.bucket).prefix(store.key(prefix)).max_keys(page_size);
        let page = list.set_delimiter(delimiter.map(str::to_owned)).set_continuation_token(token).send().await.unwrap();
        let count = i32::try_from(page.contents().len() + page.common_prefixes().len()).unwrap();
        assert!(count <= page_size);
        assert_eq!(page.key_count(), Some(count));
        let without = |text: Option<&str>| text.unwrap().strip_prefix(&own).unwrap().to_owned();
        keys.extend(page.contents().iter().map(|object| without(object.key())));
        prefixes.extend(page.common_prefixes().iter().map(|common| without(common.prefix())));
        token = page.next_continuation_token.clone();
        assert_eq!(page.is_truncated(), Some(token.is_some()));
        if token.is_none() {
            return (keys, prefixes);
        }
    }
}

#[tokio::test]
async fn a_listing_is_in_the_order_of_bytes_and_complete_for_any_page_size() {
    let store = Store::open().await;
    let sorted = ["A", "B/1", "a", "a-", "a/", "a/b", "a0", "b", "é", "\u{10000}"];
    fill(&store, &sorted).await;
    for page_size in [1, 3, 9, 10, 1000] {
        assert_eq!(list(&store, "", None, page_size).await.0, sorted, "{page_size}");
    }
}

#[tokio::test]
async fn a_listing_by_prefix_has_only_these() {
    let store = Store::open().await;
    fill(&store, &["a/1", "a/2", "ab", "b/1"]).await;
    assert_eq!(list(&store, "a/", None, 1000).await.0, ["a/1", "a/2"]);
    assert_eq!(list(&store, "a", None, 1000).await.0, ["a/1", "a/2", "ab"]);
    assert_eq!(list(&store, "c", None, 1000).await.0, [""; 0]);
}

#[tokio::test]
async fn a_delimiter_rolls_keys_up_into_prefixes() {
    let store = Store::open().await;
    let many: Vec<String> = (0..40).map(|i| format!("big/{i:02}")).collect();
    let mut names = vec!["a", "dir/1", "dir/2", "dir/sub/3", "z"];
    names.extend(many.iter().map(String::as_str));
    fill(&store, &names).await;
    for page_size in [1, 2, 3, 1000] {
        let (keys, prefixes) = list(&store, "", Some("/"), page_size).await;
        assert_eq!((keys, prefixes), (vec!["a".into(), "z".into()], vec!["big/".into(), "dir/".into()]), "{page_size}");
    }
    let (keys, prefixes) = list(&store, "dir/", Some("/"), 1000).await;
    assert_eq!((keys, prefixes), (vec!["dir/1".into(), "dir/2".into()], vec!["dir/sub/".to_owned()]));
}

#[tokio::test]
async fn a_listing_has_size_time_and_etag() {
    let store = Store::open().await;
    let etag = store.put(&store.key("x"), HELLO).await;
    let page = store.client.list_objects_v2().bucket(&store.bucket).prefix(store.key("x")).send().await.unwrap();
    let [object] = page.contents() else { panic!("one object was put") };
    assert_eq!((object.e_tag(), object.size()), (Some(etag.as_str()), Some(12)));
    assert!(object.last_modified().is_some());
}

#[tokio::test]
async fn a_listing_can_start_after_a_key() {
    let store = Store::open().await;
    fill(&store, &["a", "b", "c"]).await;
    let list = store.client.list_objects_v2().bucket(&store.bucket).prefix(store.key(""));
    let page = list.start_after(store.key("a")).send().await.unwrap();
    let keys: Vec<_> = page.contents().iter().map(|object| object.key().unwrap().to_owned()).collect();
    assert_eq!(keys, [store.key("b"), store.key("c")]);
}

#[tokio::test]
async fn an_encoded_listing_can_carry_any_key() {
    let store = Store::open().await;
    let key = store.key("a b+c%&<é>\u{1}");
    store.put(&key, HELLO).await;
    let list = store.client.list_objects_v2().bucket(&store.bucket).prefix(store.key(""));
    let page = list.encoding_type(EncodingType::Url).send().await.unwrap();
    let listed = page.contents()[0].key().unwrap();
    assert!(listed.bytes().all(|b| b.is_ascii_graphic()), "{listed}");
    let plain = listed.replace('+', " ");
    assert_eq!(percent_decoded(&plain), key);
}

fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some((plain, coded)) = rest.split_once('%') {
        bytes.extend_from_slice(plain.as_bytes());
        bytes.push(u8::from_str_radix(&coded[..2], 16).unwrap());
        rest = &coded[2..];
    }
    bytes.extend_from_slice(rest.as_bytes());
    String::from_utf8(bytes).unwrap()
}

#[tokio::test]
async fn the_first_version_of_listing_pages_by_marker() {
    let store = Store::open().await;
    fill(&store, &["a", "b/1", "b/2", "c"]).await;
    let own = store.key("");
    let (mut seen, mut marker) = (Vec::new(), None);
    loop {
        let list = store.client.list_objects().bucket(&store.bucket).prefix(&own).delimiter("/").max_keys(1);
        let page = list.set_marker(marker).send().await.unwrap();
        seen.extend(page.contents().iter().map(|object| object.key().unwrap().replace(&own, "")));
        seen.extend(page.common_prefixes().iter().map(|common| common.prefix().unwrap().replace(&own, "")));
        marker = page.next_marker.clone();
        if page.is_truncated() != Some(true) {
            break;
        }
    }
    assert_eq!(seen, ["a", "b/", "c"]);
}

#[tokio::test]
async fn an_empty_listing_is_empty_and_a_wrong_token_is_an_error() {
    let store = Store::open().await;
    fill(&store, &["a"]).await;
    let list = || store.client.list_objects_v2().bucket(&store.bucket).prefix(store.key(""));
    let none = list().max_keys(0).send().await.unwrap();
    assert_eq!((none.contents().len(), none.is_truncated()), (0, Some(false)));
    assert_eq!(refusal(list().continuation_token("?").send().await), refused(400, "InvalidArgument"));
}

// Keys.

#[tokio::test]
async fn an_awkward_key_is_a_key_like_any_other() {
    let store = Store::open().await;
    let names = [
        "a",
        "a/b",
        "a//b",
        "/a",
        "a/",
        "dot/./x",
        "dot/../x",
        "..",
        "../../etc/passwd",
        "a b",
        "a+b",
        "a%20b",
        "a%2Fb",
        "é",
        "日本語",
        "\u{1F600}",
        "?",
        "#",
        "&=;,:@!$'()*",
        "\\",
        "\"",
        "<tag>",
        "tab\there",
        "-",
        "~",
        "con",
        "A",
        "a\u{301}",
    ];
    for name in names {
        let key = store.key(name);
        store
            .put_request(&key)
            .body(name.as_bytes().to_vec().into())
            .send()
            .await
            .unwrap_or_else(|e| panic!("{name}: {e:?}"));
    }
    for name in names {
        assert_eq!(store.get(&store.key(name)).await, name.as_bytes(), "{name}");
        let copy = store.client.copy_object().bucket(&store.bucket).key(store.key("copy"));
        let source: String = store.key(name).bytes().map(|b| format!("%{b:02X}")).collect();
        copy.copy_source(format!("{}/{source}", store.bucket)).send().await.unwrap_or_else(|e| panic!("{name}: {e:?}"));
        assert_eq!(store.get(&store.key("copy")).await, name.as_bytes(), "{name}");
    }
    store.client.delete_object().bucket(&store.bucket).key(store.key("copy")).send().await.unwrap();
    let mut sorted = names.map(str::to_owned);
    sorted.sort();
    assert_eq!(list(&store, "", None, 7).await.0, sorted);
    for name in names {
        store.client.delete_object().bucket(&store.bucket).key(store.key(name)).send().await.unwrap();
    }
    assert_eq!(list(&store, "", None, 1000).await.0, [""; 0]);
}

#[tokio::test]
async fn an_awkward_key_can_be_presigned() {
    let store = Store::open().await;
    for name in ["a b+c", "a//b", "é/日本語", "a%2Fb", "(1)'&=.jpg"] {
        let key = store.key(name);
        let url = store.presigned_put(&key).await;
        assert_eq!(store.whole(&url).body(HELLO).send().await.unwrap().status(), 200, "{name}");
        assert_eq!(store.get(&key).await, HELLO, "{name}");
    }
}

#[tokio::test]
async fn a_key_may_have_1024_bytes_and_no_more() {
    let store = Store::open().await;
    let key = |length: usize| format!("{}{}", store.key(""), "k".repeat(length - store.key("").len()));
    for length in [600, 1024] {
        store.put(&key(length), HELLO).await;
        assert_eq!(store.get(&key(length)).await, HELLO);
    }
    let put = store.put_request(&key(1025)).body(ByteStream::from_static(HELLO)).send().await;
    assert_eq!(refusal(put), refused(400, "KeyTooLongError"));
}

// Browsers.

#[tokio::test]
async fn a_browser_may_put_from_any_page() {
    let Some(store) = Store::open_embedded("CORS without configuration").await else { return };
    let url = store.presigned_put(&store.key("x")).await;
    let preflight = store.http.request(Method::OPTIONS, url.uri()).header("origin", "https://app.example");
    let preflight = preflight.header("access-control-request-method", "PUT");
    let allowed = preflight.header("access-control-request-headers", "content-type").send().await.unwrap();
    assert_eq!(allowed.status(), 200);
    assert_eq!(allowed.headers()["access-control-allow-origin"], "*");
    assert!(allowed.headers()["access-control-allow-methods"].to_str().unwrap().contains("PUT"));
    assert_eq!(allowed.headers()["access-control-allow-headers"], "content-type");

    let put = store.whole(&url).header("origin", "https://app.example").body(HELLO).send().await.unwrap();
    assert_eq!(put.status(), 200);
    assert_eq!(put.headers()["access-control-allow-origin"], "*");
    assert_eq!(put.headers()["access-control-expose-headers"], "ETag");
}

#[tokio::test]
async fn a_page_can_read_why_it_was_refused() {
    let Some(store) = Store::open_embedded("CORS without configuration").await else { return };
    let address = store.address(&store.key("x"));
    let refused = store.http.put(address).header("origin", "https://app.example").body(HELLO).send().await.unwrap();
    assert_eq!(
        (refused.status().as_u16(), &refused.headers()["access-control-allow-origin"]),
        (403, &"*".parse().unwrap())
    );
}

#[tokio::test]
async fn a_preflight_for_a_deletion_is_refused() {
    let Some(store) = Store::open_embedded("CORS without configuration").await else { return };
    let preflight = store.http.request(Method::OPTIONS, store.address("x")).header("origin", "https://app.example");
    let (status, _) = answer(preflight.header("access-control-request-method", "DELETE")).await;
    assert_eq!(status, 403);
}

// Buckets.

#[tokio::test]
async fn a_bucket_is_made_found_listed_and_deleted_when_empty() {
    let Some(store) = Store::open_embedded("making buckets").await else { return };
    let client = &store.client;
    client.create_bucket().bucket("another").create_bucket_configuration(here()).send().await.unwrap();
    let again = client.create_bucket().bucket("another").create_bucket_configuration(here()).send().await;
    assert_eq!(refusal(again), refused(409, "BucketAlreadyOwnedByYou"));
    let head = client.head_bucket().bucket("another").send().await.unwrap();
    assert_eq!(head.bucket_region(), Some(REGION));
    let location = client.get_bucket_location().bucket("another").send().await.unwrap();
    assert_eq!(location.location_constraint().map(BucketLocationConstraint::as_str), Some(REGION));
    let buckets = client.list_buckets().send().await.unwrap();
    let names: Vec<_> = buckets.buckets().iter().map(|bucket| bucket.name().unwrap()).collect();
    assert_eq!(names, ["another", "conformance"]);

    client.put_object().bucket("another").key("x").body(ByteStream::from_static(HELLO)).send().await.unwrap();
    let full = client.delete_bucket().bucket("another").send().await;
    assert_eq!(refusal(full), refused(409, "BucketNotEmpty"));
    client.delete_object().bucket("another").key("x").send().await.unwrap();
    client.delete_bucket().bucket("another").send().await.unwrap();
    let gone = client.head_bucket().bucket("another").send().await;
    assert_eq!(gone.unwrap_err().raw_response().map(|r| r.status().as_u16()), Some(404));
}

#[tokio::test]
async fn objects_of_one_bucket_are_not_in_another() {
    let Some(store) = Store::open_embedded("making buckets").await else { return };
    store.client.create_bucket().bucket("another").create_bucket_configuration(here()).send().await.unwrap();
    store.put("x", HELLO).await;
    let other = store.client.get_object().bucket("another").key("x").send().await;
    assert_eq!(refusal(other), refused(404, "NoSuchKey"));
}

// The embedded store.

#[tokio::test]
async fn objects_survive_a_restart_with_everything_about_them() {
    let Some(store) = Store::open_embedded("restarts").await else { return };
    let key = store.key("x");
    let put = store.put_request(&key).content_type("image/jpeg").metadata("owner", "me").checksum_sha256(sha256(HELLO));
    let etag = put.body(ByteStream::from_static(HELLO)).send().await.unwrap().e_tag;
    let store = store.restarted().await;
    let get = store.client.get_object().bucket(&store.bucket).key(&key).checksum_mode(ChecksumMode::Enabled);
    let got = get.send().await.unwrap();
    assert_eq!((got.content_type(), got.e_tag()), (Some("image/jpeg"), etag.as_deref()));
    assert_eq!(got.metadata().unwrap()["owner"], "me");
    assert_eq!(got.checksum_sha256(), Some(sha256(HELLO).as_str()));
    assert_eq!(got.body.collect().await.unwrap().to_vec(), HELLO);
}

#[tokio::test]
async fn a_second_store_in_the_same_directory_is_refused() {
    let Some(store) = Store::open_embedded("its directory").await else { return };
    let root = store.embedded.as_ref().unwrap().directory.path();
    let second = ObjectStore::open(options(root, Clock::system()));
    assert!(matches!(second, Err(OpenError::InUse { .. })), "{second:?}");
}

#[tokio::test]
async fn a_file_in_the_way_of_the_directory_is_named() {
    let directory = TempDir::new().unwrap();
    let root = directory.path().join("taken");
    std::fs::write(&root, "").unwrap();
    let refused = ObjectStore::open(options(&root, Clock::system())).unwrap_err().to_string();
    assert!(refused.contains("taken"), "{refused}");
}

#[tokio::test]
async fn old_objects_under_a_prefix_expire() {
    let Some(store) = Store::open_embedded("its lifecycle rule").await else { return };
    store.put("staging/old", HELLO).await;
    store.put("files/old", HELLO).await;
    store.clock.advance(Duration::from_secs(3600));
    store.put("staging/new", HELLO).await;
    let engine = &store.embedded.as_ref().unwrap().store;
    assert_eq!(engine.expire(&store.bucket, "staging/", Duration::from_secs(1800)).await.unwrap(), 1);
    assert_eq!(engine.expire(&store.bucket, "staging/", Duration::from_secs(1800)).await.unwrap(), 0);
    assert!(!store.exists("staging/old").await);
    assert!(store.exists("staging/new").await && store.exists("files/old").await);
}

#[tokio::test]
async fn unsupported_operations_return_not_implemented() {
    let Some(store) = Store::open_embedded("what it does not do").await else { return };
    let key = store.key("x");
    let multipart = store.client.create_multipart_upload().bucket(&store.bucket).key(&key).send().await;
    assert_eq!(refusal(multipart), refused(501, "NotImplemented"));
    let versions = store.client.list_object_versions().bucket(&store.bucket).send().await;
    assert_eq!(refusal(versions), refused(501, "NotImplemented"));
    let tagged = store.put_request(&key).tagging("a=b").body(ByteStream::from_static(HELLO)).send().await;
    assert_eq!(refusal(tagged), refused(501, "NotImplemented"));
    let form = store.http.post(store.address("")).header("content-type", "multipart/form-data; boundary=x");
    assert_eq!(answer(form.body("--x--\r\n")).await, refused(501, "NotImplemented"));
    assert!(!store.exists(&key).await);
}

#[tokio::test]
async fn a_download_continues_while_its_object_is_deleted() {
    let Some(store) = Store::open_embedded("downloads of deleted objects").await else { return };
    let key = store.key("x");
    let bytes: Vec<u8> = (0..8_000_000_u32).map(|i| (i % 251) as u8).collect();
    store.put_request(&key).body(bytes.clone().into()).send().await.unwrap();
    let mut got = store.client.get_object().bucket(&store.bucket).key(&key).send().await.unwrap().body;
    let first = got.next().await.unwrap().unwrap();
    store.client.delete_object().bucket(&store.bucket).key(&key).send().await.unwrap();
    let rest = got.collect().await.unwrap().to_vec();
    assert!([&first[..], &rest].concat() == bytes);
}

#[tokio::test]
async fn an_sdk_in_the_same_process_needs_no_socket() {
    let Some(store) = Store::open_embedded("its in-process client").await else { return };
    let in_process = store.embedded.as_ref().unwrap().store.http_client();
    let config = unsigned("http://store.invalid", &store.region, &store.clock).http_client(in_process).allow_no_auth();
    let client = Client::from_conf(config.build());
    let bytes: Vec<u8> = (0..3_000_000_u32).map(|i| (i % 251) as u8).collect();
    let bucket = &store.bucket;
    client.put_object().bucket(bucket).key("a/ b").body(bytes.clone().into()).send().await.unwrap();
    client.head_object().bucket(bucket).key("a/ b").send().await.unwrap();
    let copy = client.copy_object().bucket(bucket).key("c").copy_source(format!("{bucket}/a/%20b"));
    copy.if_none_match("*").send().await.unwrap();
    let got = client.get_object().bucket(bucket).key("c").range("bytes=1-").send().await.unwrap();
    assert!(got.body.collect().await.unwrap().to_vec() == bytes[1..]);
    let listed = client.list_objects_v2().bucket(bucket).send().await.unwrap();
    assert_eq!(listed.contents().len(), 2);
    let delete = deletion(["a/ b".to_owned(), "c".to_owned()]).build().unwrap();
    client.delete_objects().bucket(bucket).delete(delete).send().await.unwrap();
    let gone = client.get_object().bucket(bucket).key("c").send().await;
    assert_eq!(refusal(gone), refused(404, "NoSuchKey"));
    let head = client.head_object().bucket(bucket).key("c").send().await.unwrap_err();
    assert_eq!(head.raw_response().map(|r| r.status()), Some(StatusCode::try_from(404).unwrap()));
}

//! The behaviour of the server's connections with good and bad clients: many connections, incomplete requests, clients
//! that do not read, refused bodies, invalid requests.

use std::{
    num::NonZeroUsize,
    time::{Duration, Instant},
};

use http::{Method, StatusCode};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use xfiles_standalone::{Data, server::ConnectionLimits};
use xfiles_tests::{World, WorldOptions, id_of};

/// Longer than any step of these tests; a test that reaches it has failed.
const NEVER: Duration = Duration::from_secs(60);

/// A time limit that a test waits for.
const SOON: Duration = Duration::from_millis(300);

/// A body that does not fit into a socket buffer.
const LARGE: usize = 9 * 1024 * 1024;

async fn world(connections: ConnectionLimits) -> World {
    World::with(WorldOptions { connections, ..WorldOptions::default() }).await
}

fn at_most(max: usize) -> ConnectionLimits {
    ConnectionLimits { max: NonZeroUsize::new(max), ..ConnectionLimits::default() }
}

/// The host and port of a URL.
fn address(url: impl ToString) -> String {
    url.to_string().trim_start_matches("http://").to_owned()
}

fn api(world: &World) -> String {
    address(world.stack.listens_at())
}

fn store(world: &World) -> String {
    address(world.stack.s3_url())
}

/// A connection without a client library, which would hide the details that matter here.
struct Raw {
    stream: TcpStream,
    read: Vec<u8>,
}

/// A response as received.
#[derive(Debug)]
struct Reply {
    status: u16,
    head: String,
    body: String,
}

impl Reply {
    fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().skip(1).filter_map(|line| line.split_once(':'));
        lines.filter(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).next()
    }

    fn closes(&self) -> bool {
        self.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"))
    }
}

impl Raw {
    async fn open(address: &str) -> Self {
        Self { stream: TcpStream::connect(address).await.expect("it accepts"), read: Vec::new() }
    }

    /// A connection on which a request was already served.
    async fn used(address: &str) -> Self {
        let mut raw = Self::open(address).await;
        raw.send(b"GET /nothing HTTP/1.1\r\nhost: x\r\n\r\n").await;
        let reply = raw.reply().await;
        assert!(!reply.closes(), "{reply:?}");
        raw
    }

    async fn send(&mut self, bytes: &[u8]) {
        let sent = tokio::time::timeout(NEVER, self.stream.write_all(bytes)).await.expect("it is read");
        sent.expect("the connection is open");
    }

    /// The next response, which has a length.
    async fn reply(&mut self) -> Reply {
        let end = loop {
            if let Some(end) = self.read.windows(4).position(|window| window == b"\r\n\r\n") {
                break end;
            }
            assert_ne!(
                self.more().await,
                0,
                "the connection was closed without a response: {:?}",
                String::from_utf8_lossy(&self.read)
            );
        };
        let head = String::from_utf8(self.read.drain(..end + 4).collect()).expect("a head is text");
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        let mut reply = Reply { status, head, body: String::new() };
        let length = reply.header("content-length").map_or(0, |length| length.parse().expect("a number"));
        while self.read.len() < length {
            assert_ne!(self.more().await, 0, "the connection was closed during a response");
        }
        reply.body = String::from_utf8_lossy(&self.read.drain(..length).collect::<Vec<_>>()).into_owned();
        reply
    }

    async fn more(&mut self) -> usize {
        let read = tokio::time::timeout(NEVER, self.stream.read_buf(&mut self.read)).await.expect("it says something");
        read.expect("it is not reset")
    }

    /// Sends single bytes until the connection is closed.
    async fn drips_until_closed(mut self) {
        let begun = Instant::now();
        while self.stream.write_all(b"x").await.is_ok() {
            assert!(begun.elapsed() < NEVER, "the connection was not closed");
            tokio::time::sleep(SOON / 10).await;
        }
    }

    /// Asserts that nothing more is received and the connection is closed cleanly.
    async fn ended(mut self) {
        assert_eq!(self.more().await, 0, "{:?}", String::from_utf8_lossy(&self.read));
    }
}

/// The value of a metric.
async fn metric(world: &World, name: &str) -> f64 {
    let text = world.metrics().await;
    let line = text.lines().find(|line| line.rsplit_once(' ').is_some_and(|(found, _)| found == name));
    line.and_then(|line| line.rsplit_once(' ')).map_or(0.0, |(_, value)| value.parse().expect("a number"))
}

/// Waits until a metric has a value.
async fn until_metric(world: &World, name: &str, value: f64) {
    let begun = Instant::now();
    while metric(world, name).await < value {
        assert!(begun.elapsed() < NEVER, "{}", world.metrics().await);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Uploads a public text and returns its path on the CDN.
async fn published(world: &World, name: &str, bytes: &[u8]) -> String {
    let intent = world.client.intent(name, "text/plain", bytes.len(), json!({"visibility": "public"})).await.ok();
    assert_eq!(world.client.put(&intent, "text/plain", bytes.to_vec()).await, StatusCode::OK);
    world.client.confirm(id_of(&intent)).await.ok();
    format!("/{}", intent["key"].as_str().expect("a key"))
}

/// A presigned URL, or a head that contains one, with one digit of the signature changed.
fn tampered(text: &str) -> String {
    let (before, signature) = text.split_once("X-Amz-Signature=").expect("it is signed");
    let digit = if signature.starts_with('0') { '1' } else { '0' };
    format!("{before}X-Amz-Signature={digit}{}", &signature[1..])
}

async fn works(world: &World, name: &str) {
    let path = published(world, name, b"hello").await;
    assert_eq!(world.get(&path).await.text().await.unwrap(), "hello");
}

#[tokio::test]
async fn idle_connections_and_incomplete_heads_block_no_client() {
    const MAX: usize = 40;
    let world = world(at_most(MAX)).await;
    for (port, address) in [("api", api(&world)), ("store", store(&world))] {
        let mut held = Vec::new();
        for n in 0..6 * MAX {
            let mut raw = Raw::open(&address).await;
            if n % 2 == 0 {
                // It may have been closed already.
                drop(raw.stream.write_all(b"PUT /xfiles/half HTTP/1.1\r\nhost").await);
            }
            held.push(raw);
        }
        works(&world, &format!("{port}.txt")).await;
        assert!(metric(&world, "xfiles_connections_open{port=\"api\"}").await <= MAX as f64);
    }
    assert_eq!(metric(&world, "xfiles_connections_refused_total{port=\"api\",reason=\"full\"}").await, 0.0);
    world.end().await;
}

#[tokio::test]
async fn an_incomplete_head_gets_408_and_is_closed() {
    let world = world(ConnectionLimits { head: SOON, ..ConnectionLimits::default() }).await;
    for address in [api(&world), store(&world)] {
        let mut half = Raw::open(&address).await;
        half.send(b"GET / HTTP/1.1\r\nhost: x\r\n").await;
        let reply = half.reply().await;
        assert!(reply.status == 408 && reply.closes(), "{reply:?}");
        half.ended().await;
        // There was no request, so there is no response.
        Raw::open(&address).await.ended().await;
        // A head that arrives byte by byte also exceeds the time limit.
        Raw::open(&address).await.drips_until_closed().await;
    }
    world.end().await;
}

#[tokio::test]
async fn a_connection_is_kept_open_for_another_request_until_it_is_idle_too_long() {
    let world = world(ConnectionLimits { keep_alive: SOON, ..ConnectionLimits::default() }).await;
    for address in [api(&world), store(&world)] {
        Raw::used(&address).await.ended().await;
    }
    until_metric(&world, "xfiles_connections_closed_total{port=\"store\",reason=\"idle\"}", 1.0).await;
    world.end().await;
}

/// The head of a presigned PUT, with the blank line.
fn put_head(intent: &serde_json::Value, length: usize, more: &str) -> String {
    let url = intent["uploadUrl"].as_str().expect("an upload URL");
    let (host, path) = url.trim_start_matches("http://").split_once('/').expect("a path");
    format!(
        "PUT /{path} HTTP/1.1\r\nhost: {host}\r\ncontent-type: text/plain\r\ncontent-length: {length}\r\n{more}\r\n"
    )
}

fn files_in(folder: &std::path::Path) -> usize {
    let entries = std::fs::read_dir(folder).expect("a folder");
    entries
        .map(|entry| entry.expect("an entry").path())
        .map(|path| if path.is_dir() { files_in(&path) } else { 1 })
        .sum()
}

#[tokio::test]
async fn stalled_uploads_are_cancelled_and_leave_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let connections = ConnectionLimits { body_idle: SOON, ..at_most(60) };
    let data = Data::Directory(folder.path().to_owned());
    let world = World::with(WorldOptions { connections, data, ..WorldOptions::default() }).await;
    let blobs = folder.path().join("objects").join("blobs");
    let before = files_in(&blobs);
    let intent = world.client.intent("stalled.txt", "text/plain", 1_000_000, json!({})).await.ok();
    let mut stalled = Vec::new();
    for _ in 0..30 {
        let mut raw = Raw::open(&store(&world)).await;
        raw.send(put_head(&intent, 1_000_000, "").as_bytes()).await;
        raw.send(&[b'x'; 100_000]).await;
        stalled.push(raw);
    }
    for mut raw in stalled {
        let reply = raw.reply().await;
        assert!(reply.status == 408 && reply.closes() && reply.body.contains("RequestTimeout"), "{reply:?}");
        raw.ended().await;
    }
    assert_eq!(files_in(&blobs), before, "nothing is left of them");
    // Single bytes do not count as progress.
    let mut dripping = Raw::open(&store(&world)).await;
    dripping.send(put_head(&intent, 1_000_000, "").as_bytes()).await;
    dripping.drips_until_closed().await;
    // The API has its own error format, and the same URL still accepts an upload.
    let mut raw = Raw::open(&api(&world)).await;
    let authorization = format!("authorization: Bearer {}", world.client.key());
    let head = "POST /api/v1/files/upload-intent HTTP/1.1\r\nhost: x\r\ncontent-type: application/json";
    raw.send(format!("{head}\r\n{authorization}\r\ncontent-length: 90\r\n\r\n{{").as_bytes()).await;
    let reply = raw.reply().await;
    assert!(reply.status == 408 && reply.body.contains("\"request_timeout\""), "{reply:?}");
    assert_eq!(world.client.put(&intent, "text/plain", vec![b'x'; 1_000_000]).await, StatusCode::OK);
    world.client.confirm(id_of(&intent)).await.ok();
    world.end().await;
}

#[tokio::test]
async fn a_client_that_does_not_read_its_download_is_disconnected() {
    let world = world(ConnectionLimits { write_idle: SOON, ..ConnectionLimits::default() }).await;
    let bytes = vec![b'x'; 30 * 1024 * 1024];
    let path = published(&world, "large.txt", &bytes).await;
    let mut raw = Raw::open(&api(&world)).await;
    raw.send(format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes()).await;
    until_metric(&world, "xfiles_connections_closed_total{port=\"api\",reason=\"write_timeout\"}", 1.0).await;
    // A client that reads gets everything, however long it takes in total.
    let read = world.get(&path).await.bytes().await.unwrap();
    assert_eq!(read.len(), bytes.len());
    world.end().await;
}

#[tokio::test]
async fn a_server_with_all_connections_busy_returns_503_and_the_other_port_still_works() {
    let world = world(ConnectionLimits { queue: SOON, ..at_most(8) }).await;
    let busy = occupy(&world, 6).await;
    let mut refused = Raw::open(&store(&world)).await;
    refused.send(&[b'x'; 100]).await;
    let reply = refused.reply().await;
    assert!(reply.status == 503 && reply.closes() && reply.header("retry-after").is_some(), "{reply:?}");
    refused.ended().await;
    assert_eq!(world.get("/healthz").await.status(), 200);
    until_metric(&world, "xfiles_connections_refused_total{port=\"store\",reason=\"full\"}", 1.0).await;
    drop(busy);
    world.end().await;
}

#[tokio::test]
async fn a_waiting_connection_is_served_when_another_becomes_free() {
    let world = world(ConnectionLimits { queue: NEVER, ..at_most(8) }).await;
    let mut busy = occupy(&world, 6).await;
    let mut patient = Raw::open(&store(&world)).await;
    patient.send(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert_eq!(metric(&world, "xfiles_connections_open{port=\"store\"}").await, 6.0);
    busy[3].send(&vec![b'x'; 1_000_000]).await;
    assert_eq!(busy[3].reply().await.status, 200);
    assert_eq!(patient.reply().await.status, 403);
    drop(busy);
    world.end().await;
}

/// Connections to the store with uploads in progress.
async fn occupy(world: &World, count: usize) -> Vec<Raw> {
    let intent = world.client.intent("busy.txt", "text/plain", 1_000_000, json!({})).await.ok();
    let mut busy = Vec::new();
    for _ in 0..count {
        let mut raw = Raw::open(&store(world)).await;
        raw.send(put_head(&intent, 1_000_000, "expect: 100-continue\r\n").as_bytes()).await;
        assert_eq!(raw.reply().await.status, 100, "the upload is in progress");
        busy.push(raw);
    }
    busy
}

/// Requests that are refused before their bodies are read, with their status: a head without length and blank line.
async fn refusals(world: &World) -> Vec<(String, String, u16)> {
    let intent = world.client.intent("tampered.txt", "text/plain", LARGE, json!({})).await.ok();
    let put = put_head(&intent, LARGE, "");
    let without_length = |head: &str| {
        head.lines()
            .filter(|line| !line.starts_with("content-length") && !line.is_empty())
            .map(|line| format!("{line}\r\n"))
            .collect::<String>()
    };
    let authorization = format!("authorization: Bearer {}\r\n", world.client.key());
    let json = "content-type: application/json\r\n";
    let post = |path: &str, more: &str| format!("POST {path} HTTP/1.1\r\nhost: x\r\n{more}");
    let (api, store) = (api(world), store(world));
    vec![
        (store.clone(), without_length(&tampered(&put)), 403),
        (store.clone(), without_length(&put.replace("text/plain", "image/png")), 403),
        (store.clone(), without_length(&put.replace("PUT ", "POST ")), 403),
        (store.clone(), "PUT /xfiles/a HTTP/1.1\r\nhost: x\r\n".to_owned(), 403),
        (store, post("/", "content-type: multipart/form-data\r\n"), 501),
        (api.clone(), post("/api/v1/files/upload-intent", json), 401),
        (api.clone(), post("/api/v1/files/upload-intent", &format!("{json}{authorization}")), 413),
        (
            api.clone(),
            post("/api/v1/files/upload-intent", &format!("content-type: text/plain\r\n{authorization}")),
            415,
        ),
        (api.clone(), post("/api/v1/nothing", ""), 404),
        (api.clone(), post("/healthz", ""), 405),
        (api.clone(), post("/files/a", ""), 404),
        (api, post("/files/originals/public/aaaaaaaaaaaa/bbbbbbbbbbbbbbbbbbbb/a-a1b2c3.jpg", ""), 405),
    ]
}

#[tokio::test]
async fn a_refusal_sent_before_the_body_was_read_can_be_read_by_the_client() {
    let world = World::start().await;
    for (address, head, status) in refusals(&world).await {
        for mut raw in [Raw::open(&address).await, Raw::used(&address).await] {
            raw.send(format!("{head}content-length: {LARGE}\r\n\r\n").as_bytes()).await;
            raw.send(&vec![b'x'; LARGE]).await;
            let reply = raw.reply().await;
            assert!(reply.status == status && reply.closes(), "{head}: {reply:?}");
            raw.ended().await;
        }
        // In chunks, without a declared length.
        let mut raw = Raw::open(&address).await;
        raw.send(format!("{head}transfer-encoding: chunked\r\n\r\n").as_bytes()).await;
        for _ in 0..LARGE / (1 << 20) {
            raw.send(b"100000\r\n").await;
            raw.send(&vec![b'x'; 1 << 20]).await;
            raw.send(b"\r\n").await;
        }
        raw.send(b"0\r\n\r\n").await;
        let reply = raw.reply().await;
        assert!((400..500).contains(&reply.status) || reply.status == status, "{head}: {reply:?}");
        assert!(reply.closes(), "{head}: {reply:?}");
        raw.ended().await;
    }
    world.end().await;
}

#[tokio::test]
async fn a_refusal_is_not_preceded_by_100_continue() {
    let world = World::start().await;
    for (address, head, status) in refusals(&world).await {
        let mut raw = Raw::open(&address).await;
        raw.send(format!("{head}content-length: {LARGE}\r\nexpect: 100-continue\r\n\r\n").as_bytes()).await;
        let reply = raw.reply().await;
        assert!(reply.status == status && reply.closes(), "{head}: {reply:?}");
        // Some clients do not wait for `100 Continue`.
        raw.send(&vec![b'x'; LARGE]).await;
        raw.ended().await;
    }
    let intent = world.client.intent("asked.txt", "text/plain", 5, json!({})).await.ok();
    let mut raw = Raw::open(&store(&world)).await;
    raw.send(put_head(&intent, 5, "expect: 100-continue\r\n").as_bytes()).await;
    assert_eq!(raw.reply().await.status, 100);
    raw.send(b"hello").await;
    assert_eq!(raw.reply().await.status, 200);
    world.end().await;
}

#[tokio::test]
async fn a_late_small_body_causes_no_reset_and_a_buffered_one_keeps_the_connection() {
    let world = World::start().await;
    for (address, head, status) in refusals(&world).await {
        // A body of this length is not too large, and the server waits for it.
        if status != 413 {
            let mut late = Raw::used(&address).await;
            late.send(format!("{head}content-length: 2\r\n\r\n").as_bytes()).await;
            let reply = late.reply().await;
            assert!(reply.status == status && reply.closes(), "{head}: {reply:?}");
            late.send(b"{}").await;
            late.ended().await;
        }
        let mut there = Raw::open(&address).await;
        for _ in 0..3 {
            there.send(format!("{head}content-length: 2\r\n\r\n{{}}").as_bytes()).await;
            let reply = there.reply().await;
            assert!((400..=501).contains(&reply.status) && !reply.closes(), "{head}: {reply:?}");
        }
    }
    world.end().await;
}

#[tokio::test]
async fn the_upload_after_a_refused_one_succeeds_over_the_same_client() {
    let world = World::start().await;
    let client = reqwest::Client::builder().pool_max_idle_per_host(1).build().unwrap();
    for size in [2, 60_000, 2_000_000, LARGE] {
        for _ in 0..5 {
            let body = vec![b'x'; size];
            let intent = world.client.intent("again.txt", "text/plain", size, json!({})).await.ok();
            let url = intent["uploadUrl"].as_str().unwrap();
            let put = |url: String| client.put(url).header("content-type", "text/plain").body(body.clone()).send();
            assert_eq!(put(tampered(url)).await.unwrap().status(), 403);
            assert_eq!(put(url.to_owned()).await.unwrap().status(), 200);
        }
    }
    world.end().await;
}

#[tokio::test]
async fn an_invalid_request_and_one_with_too_long_a_head_get_an_error_response() {
    let world = World::start().await;
    let long = "x".repeat(150_000);
    for address in [api(&world), store(&world)] {
        for (request, status) in [
            (format!("{long} / HTTP/1.1\r\nhost: x\r\n\r\n"), 431),
            (format!("GET / HTTP/1.1\r\nhost: x\r\na: {long}\r\n\r\n"), 431),
            (format!("GET /{long} HTTP/1.1\r\nhost: x\r\n\r\n"), 431),
            ("GET / HTTQ/1.1\r\nhost: x\r\n\r\n".to_owned(), 400),
        ] {
            let mut raw = Raw::open(&address).await;
            raw.send(request.as_bytes()).await;
            assert_eq!(raw.reply().await.status, status);
            raw.ended().await;
        }
    }
    world.end().await;
}

#[tokio::test]
async fn requests_do_not_grow_the_metrics_without_bound_and_clients_cannot_read_them() {
    let world = World::start().await;
    works(&world, "a.txt").await;
    let ask = async |address: &str, n: usize| {
        let mut raw = Raw::open(address).await;
        let method = format!("{n}{}", "X".repeat(20_000));
        raw.send(format!("{method} /{n}/{method} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").as_bytes()).await;
        raw.reply().await.status
    };
    assert_eq!(ask(&api(&world), 0).await, 431, "the size of a head is limited");
    let ask = async |address: &str, n: usize| {
        let mut raw = Raw::open(address).await;
        let method = format!("M{n}-{}", "X".repeat(10_000));
        let path = format!("/{}/{n}/{}", if n.is_multiple_of(2) { "files" } else { "api" }, "y".repeat(10_000));
        raw.send(format!("{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").as_bytes()).await;
        raw.reply().await.status
    };
    for n in 0..2 {
        ask(&api(&world), n).await;
        ask(&store(&world), n).await;
    }
    let before = world.metrics().await;
    for n in 2..100 {
        ask(&api(&world), n).await;
        ask(&store(&world), n).await;
    }
    let after = world.metrics().await;
    assert_eq!(after.lines().count(), before.lines().count());
    assert!(after.len() < before.len() + 1_000, "{after}");
    for line in [
        "xfiles_http_requests_total{method=\"POST\",route=\"/api/v1/files/upload-intent\",status=\"200\"} 1",
        "xfiles_store_requests_total{operation=\"PutObject\",status=\"2xx\"} 1",
        "xfiles_store_requests_total{operation=\"other\",status=\"4xx\"} 100",
        "xfiles_http_requests_total{method=\"other\",route=\"unmatched\",status=\"404\"} 50",
        "xfiles_cdn_requests_total{behaviour=\"other\",status=\"4xx\",cache=\"error\"} 50",
        "xfiles_cdn_requests_total{behaviour=\"public-original\",status=\"2xx\",cache=\"miss\"} 1",
        "xfiles_cdn_bytes_total{behaviour=\"public-original\"} 5",
    ] {
        assert!(after.lines().any(|found| found == line), "{line}: {after}");
    }
    assert_eq!(world.get("/metrics").await.status(), 404);
    world.end().await;
}

#[tokio::test]
async fn a_client_that_waits_for_an_upload_gets_a_response_when_the_server_stops() {
    let world = World::start().await;
    let intent = world.client.intent("slow.txt", "text/plain", 5, json!({})).await.ok();
    let path = format!("/api/v1/files/{}?wait=25", id_of(&intent));
    let mut waiting = Raw::open(&api(&world)).await;
    let authorization = format!("authorization: Bearer {}", world.client.key());
    waiting.send(format!("GET {path} HTTP/1.1\r\nhost: x\r\n{authorization}\r\n\r\n").as_bytes()).await;
    let (mut half, idle) = (Raw::open(&api(&world)).await, Raw::used(&store(&world)).await);
    half.send(b"GET / HTTP/1.1\r\n").await;
    // The request has been read and waits.
    until_metric(&world, "xfiles_connections_working", 1.0).await;
    tokio::join!(world.stack.stop(), async {
        let reply = waiting.reply().await;
        assert!(reply.status == 404 && reply.body.contains("\"file_not_found\""), "{reply:?}");
        waiting.ended().await;
        idle.ended().await;
        drop(half);
    });
}

#[tokio::test]
async fn an_upload_in_progress_when_the_server_stops_is_finished() {
    let world = World::start().await;
    let intent = world.client.intent("last.txt", "text/plain", 1_000_000, json!({})).await.ok();
    let mut raw = Raw::open(&store(&world)).await;
    raw.send(put_head(&intent, 1_000_000, "expect: 100-continue\r\n").as_bytes()).await;
    assert_eq!(raw.reply().await.status, 100);
    let s3 = store(&world);
    tokio::join!(world.stack.stop(), async {
        // New connections are no longer accepted.
        while TcpStream::connect(&s3).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        raw.send(&vec![b'x'; 1_000_000]).await;
        let reply = raw.reply().await;
        assert!(reply.status == 200 && reply.closes(), "{reply:?}");
        raw.ended().await;
    });
}

#[tokio::test]
async fn the_cache_of_missing_files_does_not_depend_on_the_wall_clock() {
    let world = World::start().await;
    let bytes = b"hello";
    let intent = world.client.intent("late.txt", "text/plain", bytes.len(), json!({"visibility": "public"})).await.ok();
    let path = format!("/{}", intent["key"].as_str().unwrap());
    world.client.put(&intent, "text/plain", bytes.to_vec()).await;
    world.client.confirm(id_of(&intent)).await.ok();
    assert_eq!(world.get(&path).await.status(), 200);
    let missing = path.replace("late-", "gone-");
    assert_eq!(world.get(&missing).await.status(), 404);
    let now = world.clock.now();
    world.clock.set(xfiles_core::clock::Timestamp::from_millis(now.as_millis() - 3_600_000));
    world.pass(Duration::from_secs(11));
    assert_eq!(world.get(&missing).await.headers()["x-cache"], "Error from xfiles");
    assert_eq!(world.client.request(Method::GET, "/healthz").send().await.unwrap().status(), 200);
    world.end().await;
}

//! Clients that disconnect: their writes are completed, and under an idempotency key exactly once.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use aws_smithy_runtime_api::client::{
    http::{HttpConnector as _, HttpConnectorFuture, SharedHttpConnector},
    orchestrator::HttpRequest,
};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};
use xfiles_control_api::{Api, ApiOptions};
use xfiles_core::{catalog::Consistency, error::Error, event::EventType, object_key::Visibility};
use xfiles_tests::{
    Answer, Client, TEXT, World, file_id, fixture, id_of, is_gone,
    wire::{self, Line},
};

/// A gate that holds the nth request of one kind until it is opened.
struct Gate {
    /// The end of DynamoDB's target or, for S3, the method and a part of the URI.
    operation: &'static str,
    nth: u64,
    seen: AtomicU64,
    reached: Semaphore,
    open: Semaphore,
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.operation)
    }
}

/// The connections with a gate at the nth request of a kind.
#[derive(Clone, Debug)]
struct AtGate(Arc<Gate>);

impl Line for AtGate {
    fn carry(&self, request: HttpRequest, store: SharedHttpConnector) -> HttpConnectorFuture {
        let gate = self.0.clone();
        let meant = match request.headers().get("x-amz-target") {
            Some(target) => target.ends_with(gate.operation),
            None if request.headers().contains_key("x-amz-copy-source") => gate.operation == "CopyObject",
            None => gate.operation == "DeleteObjects" && request.uri().contains("?delete"),
        };
        if !meant || gate.seen.fetch_add(1, Ordering::SeqCst) + 1 != gate.nth {
            return HttpConnectorFuture::new(async move { store.call(request).await });
        }
        HttpConnectorFuture::new(async move {
            gate.reached.add_permits(1);
            gate.open.acquire().await.expect("it is never closed").forget();
            store.call(request).await
        })
    }
}

/// An API of a world whose stores are behind a gate.
struct Gated {
    api: Api,
    client: Client,
    gate: Arc<Gate>,
}

impl Gated {
    async fn at(world: &World, operation: &'static str, nth: u64) -> Self {
        let gate =
            Gate { operation, nth, seen: AtomicU64::new(0), reached: Semaphore::new(0), open: Semaphore::new(0) };
        let gate = Arc::new(gate);
        let files = world.stack.files_through(|client| wire::through(Arc::new(AtGate(gate.clone())), client));
        let api = Api::new(files, ApiOptions::default());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = world.client.at(&format!("http://{}", listener.local_addr().unwrap()));
        let router = xfiles_control_api::router(api.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { api, client, gate }
    }

    /// Sends a request over a socket and closes it when the work has reached the gate.
    async fn send_and_leave(&self, method: &Method, path: &str, once: Option<&str>, body: Option<&Value>) {
        let mut socket = self.send(method, path, once, body).await;
        self.gate.reached.acquire().await.unwrap().forget();
        socket.shutdown().await.unwrap();
        drop(socket);
        // The server responds to this request after it has noticed that the other connection is closed.
        self.client.get("/healthz").await.ok();
    }

    async fn send(&self, method: &Method, path: &str, once: Option<&str>, body: Option<&Value>) -> TcpStream {
        let address = self.client.url().trim_start_matches("http://");
        let body = body.map(Value::to_string).unwrap_or_default();
        let once = once.map(|key| format!("idempotency-key: {key}\r\n")).unwrap_or_default();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {}\r\n{once}\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            self.client.key(),
            body.len()
        );
        let mut socket = TcpStream::connect(address).await.unwrap();
        socket.write_all(request.as_bytes()).await.unwrap();
        socket
    }

    /// Opens the gate and waits for the end of the work.
    async fn let_it_end(&self) {
        self.gate.open.add_permits(1);
        self.api.ended().await;
    }
}

const BATCH: &str = "/api/v1/files/upload-intents";

fn batch_of(count: usize) -> Value {
    let file = |i| json!({"filename": format!("{i}.txt"), "contentType": "text/plain", "size": 10});
    json!({"files": (0..count).map(file).collect::<Vec<_>>()})
}

async fn post_once(client: &Client, path: &str, key: &str, body: &Value) -> Answer {
    let request = client.request(Method::POST, path).header("idempotency-key", key).json(body);
    Answer::of(request.send().await.unwrap()).await
}

fn replayed(answer: &Answer) -> bool {
    answer.headers.get("idempotency-replayed").is_some_and(|value| value == "true")
}

#[tokio::test]
async fn a_batch_whose_client_disconnects_is_reserved_once_and_its_retry_gets_the_result() {
    for nth in [1, 2, 37, 100] {
        let world = World::start().await;
        let gated = Gated::at(&world, "TransactWriteItems", nth).await;
        gated.send_and_leave(&Method::POST, BATCH, Some("batch"), Some(&batch_of(100))).await;
        // While it is in progress, the same request is in flight.
        post_once(&world.client, BATCH, "batch", &batch_of(100)).await.refused(409, "request_in_flight");
        gated.let_it_end().await;

        let retry = post_once(&world.client, BATCH, "batch", &batch_of(100)).await;
        assert!(replayed(&retry), "cut at {nth}");
        assert_eq!(retry.ok()["results"].as_array().unwrap().len(), 100);
        let project = world.project().await;
        assert_eq!((project.pending_uploads, project.reserved_bytes), (100, 1_000), "cut at {nth}");
        world.end().await;
    }
}

#[tokio::test]
async fn a_batch_whose_process_crashes_is_reserved_once() {
    for all_or_nothing in [false, true] {
        // The second transaction of an all-or-nothing batch is that of its hundredth file.
        for nth in if all_or_nothing { [1, 2] } else { [3, 60] } {
            let world = World::start().await;
            let mut body = batch_of(100);
            body["allOrNothing"] = json!(all_or_nothing);
            let dead = Gated::at(&world, "TransactWriteItems", nth).await;
            dead.send_and_leave(&Method::POST, BATCH, Some("batch"), Some(&body)).await;
            // It never continues. Another process takes over the key when the first is considered dead.
            post_once(&world.client, BATCH, "batch", &body).await.refused(409, "request_in_flight");
            world.pass(Duration::from_secs(61));
            let retry = post_once(&world.client, BATCH, "batch", &body).await;
            assert!(!replayed(&retry));
            let results = retry.ok()["results"].clone();
            assert!(results.as_array().unwrap().iter().all(|result| result["uploadUrl"].is_string()), "{results}");
            let project = world.project().await;
            assert_eq!((project.pending_uploads, project.reserved_bytes), (100, 1_000), "cut at {nth}");
            assert!(replayed(&post_once(&world.client, BATCH, "batch", &body).await));
            world.end().await;
        }
    }
}

#[tokio::test]
async fn administration_under_an_idempotency_key_whose_process_crashed_is_done_once() {
    let world = World::start().await;
    let project = format!("/api/v1/projects/{}", world.stack.project());
    let (keys, hooks) = (format!("{project}/keys"), format!("{project}/webhooks"));
    for (path, body, list, made) in [
        ("/api/v1/projects", json!({"name": "new", "quotaBytes": 1_000}), "/api/v1/projects", "projects"),
        (&keys, json!({"name": "new", "scopes": ["read"]}), &keys, "keys"),
        (&hooks, json!({"url": "https://example.com/"}), &hooks, "webhooks"),
    ] {
        let before = world.client.get(list).await.ok()[made].as_array().unwrap().len();
        // The write of the result is the one after the work.
        let dead = Gated::at(&world, "UpdateItem", 1).await;
        dead.send_and_leave(&Method::POST, path, Some(made), Some(&body)).await;
        world.pass(Duration::from_secs(61));
        let again = post_once(&world.client, path, made, &body).await;
        assert_eq!(again.status, 201, "{}", again.body);
        let after = world.client.get(list).await.ok()[made].as_array().unwrap().len();
        assert_eq!(after, before + 1, "{path}");
        if let Some(key) = again.body["apiKey"].as_str() {
            world.client.with_key(key).get("/api/v1/files").await.ok();
        }
    }
    world.stack.stop().await;
}

#[tokio::test]
async fn every_route_that_writes_completes_after_its_client_disconnects() {
    let png = fixture("alpha.avif");
    for (operation, route) in [
        ("CopyObject", "confirm"),
        ("PutItem", "confirm"),
        ("TransactWriteItems", "confirm"),
        ("CopyObject", "patch"),
        ("DeleteObjects", "patch"),
        ("TransactWriteItems", "delete"),
        ("DeleteObjects", "delete"),
        ("DeleteObjects", "delete listed"),
        ("DeleteObjects", "delete matching"),
        ("DeleteObjects", "delete pending"),
        ("TransactWriteItems", "order"),
        ("PutItem", "resign"),
    ] {
        let world = World::start().await;
        let more = json!({
            "visibility": "public", "entity": {"type": "listing", "id": "1"},
            "transformations": {"image": {"enabled": true, "visibility": "public"}},
        });
        let picture = ("a.avif", "image/avif", png.as_slice());
        let is_pending = ["confirm", "delete pending", "resign"].contains(&route);
        let id = if is_pending {
            let intent = world.client.intent(picture.0, picture.1, picture.2.len(), more).await.ok();
            world.client.put(&intent, picture.1, picture.2.to_vec()).await;
            file_id(&intent)
        } else {
            file_id(&world.client.upload(picture, more).await)
        };
        let before = world.files().inspect().catalog.file(id, Consistency::Strong).await.unwrap();
        let file = format!("/api/v1/files/{id}");
        let gated = Gated::at(&world, operation, 1).await;
        let (method, path, body) = match route {
            "confirm" => (Method::POST, "/api/v1/files/confirm".to_owned(), Some(json!({"fileId": id}))),
            "patch" => (Method::PATCH, file.clone(), Some(json!({"visibility": "private"}))),
            "delete" | "delete pending" => (Method::DELETE, file.clone(), None),
            "delete listed" => (Method::POST, "/api/v1/files/delete".to_owned(), Some(json!({"fileIds": [id]}))),
            "delete matching" => (Method::DELETE, "/api/v1/files?entityType=listing&entityId=1".to_owned(), None),
            "order" => (Method::PUT, "/api/v1/entities/listing/1/order".to_owned(), Some(json!({"fileIds": [id]}))),
            _ => (Method::POST, format!("{file}/resign"), Some(json!({}))),
        };
        gated.send_and_leave(&method, &path, None, body.as_ref()).await;
        gated.let_it_end().await;

        let after = world.files().inspect().catalog.file(id, Consistency::Strong).await;
        let what = format!("{route}, cut at {operation}");
        match route {
            "confirm" => assert!(after.unwrap().is_confirmed(), "{what}"),
            "patch" => {
                let after = after.unwrap();
                assert_eq!(after.visibility, Visibility::Private, "{what}");
                let public = before.original_key_at(Visibility::Public);
                assert!(world.files().inspect().blobs.head(&public).await.unwrap().is_none(), "{what}");
                assert!(world.told_of(id).await.contains(&EventType::FileUpdated), "{what}");
            }
            "order" => assert_eq!(after.unwrap().revision, before.revision + 1, "{what}"),
            "resign" => assert_eq!(after.unwrap().version, before.version + 1, "{what}"),
            _ => {
                assert!(is_gone(&world.files().get(before.project, id).await), "{what}");
                assert_eq!(after.unwrap().holds(), 0, "{what}");
                assert!(world.objects().await.is_empty(), "{what}");
            }
        }
        world.end().await;
    }
}

#[tokio::test]
async fn a_change_to_private_is_announced_only_after_nothing_public_is_left() {
    let world = World::start().await;
    let file = world.client.upload(TEXT, json!({"visibility": "public"})).await;
    let (id, path) = (file_id(&file), format!("/api/v1/files/{}", id_of(&file)));
    let gated = Gated::at(&world, "DeleteObjects", 1).await;
    gated.send_and_leave(&Method::PATCH, &path, None, Some(&json!({"visibility": "private"}))).await;
    let public = world.files().get(world.stack.project(), id).await.unwrap().original_key_at(Visibility::Public);
    assert!(
        world.files().inspect().blobs.head(&public).await.unwrap().is_some(),
        "the copy is made and nothing is removed yet"
    );
    assert_eq!(world.told_of(id).await, [EventType::FileConfirmed]);
    gated.let_it_end().await;
    assert_eq!(world.told_of(id).await, [EventType::FileConfirmed, EventType::FileUpdated]);
    assert!(world.files().inspect().blobs.head(&public).await.unwrap().is_none());
    world.end().await;
}

#[tokio::test]
async fn a_move_whose_process_crashed_before_the_purge_is_announced_by_the_cleanup() {
    let world = World::start().await;
    let file = world.client.upload(TEXT, json!({"visibility": "public"})).await;
    let (id, path) = (file_id(&file), format!("/api/v1/files/{}", id_of(&file)));
    let dead = Gated::at(&world, "DeleteObjects", 1).await;
    dead.send_and_leave(&Method::PATCH, &path, None, Some(&json!({"visibility": "private"}))).await;
    world.pass(Duration::from_secs(10 * 60));
    world.sweep().await;
    assert_eq!(world.told_of(id).await, [EventType::FileConfirmed, EventType::FileUpdated]);
    world.end().await;
}

#[tokio::test]
async fn a_request_with_a_truncated_body_changes_nothing() {
    let world = World::start().await;
    let gated = Gated::at(&world, "TransactWriteItems", 1).await;
    let body = batch_of(100).to_string();
    let address = gated.client.url().trim_start_matches("http://").to_owned();
    let mut socket = TcpStream::connect(&address).await.unwrap();
    let head = format!(
        "POST {BATCH} HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {}\r\nidempotency-key: cut\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{}",
        gated.client.key(),
        body.len(),
        &body[..body.len() / 2]
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    drop(socket);
    gated.client.get("/healthz").await.ok();
    gated.api.ended().await;
    assert_eq!(world.project().await.pending_uploads, 0);
    // The idempotency key is free.
    gated.gate.open.add_permits(1);
    let whole = post_once(&gated.client, BATCH, "cut", &batch_of(100)).await;
    assert!(!replayed(&whole));
    whole.ok();
    world.end().await;
}

#[tokio::test]
async fn a_stack_that_stops_waits_for_requests_of_disconnected_clients() {
    let world = World::start().await;
    let gated = Gated::at(&world, "TransactWriteItems", 1).await;
    gated.send_and_leave(&Method::POST, BATCH, None, Some(&batch_of(3))).await;
    let api = gated.api.clone();
    let ended = tokio::spawn(async move { api.ended().await });
    assert!(!ended.is_finished());
    gated.let_it_end().await;
    ended.await.unwrap();
    assert_eq!(world.project().await.pending_uploads, 3);
    world.end().await;
}

/// An upload that ends before its declared length is not stored.
#[tokio::test]
async fn a_truncated_put_leaves_nothing_in_the_store() {
    let world = World::start().await;
    let intent = world.client.intent("a.txt", "text/plain", 100_000, json!({})).await.ok();
    let url: http::Uri = intent["uploadUrl"].as_str().unwrap().parse().unwrap();
    let address = url.authority().unwrap().as_str().to_owned();
    for sent in [0, 1, 50_000, 99_999] {
        let mut socket = TcpStream::connect(&address).await.unwrap();
        let head = format!(
            "PUT {} HTTP/1.1\r\nhost: {address}\r\ncontent-type: text/plain\r\ncontent-length: 100000\r\n\r\n",
            url.path_and_query().unwrap()
        );
        socket.write_all(head.as_bytes()).await.unwrap();
        socket.write_all(&vec![b'a'; sent]).await.unwrap();
        drop(socket);
    }
    // A complete upload of other bytes under the same URL follows.
    assert_eq!(world.client.put(&intent, "text/plain", vec![b'b'; 100_000]).await, 200);
    let file: Result<_, Error> = world.files().confirm(world.stack.project(), file_id(&intent)).await;
    let stored = world.stack.s3_client().get_object().bucket(xfiles_standalone::BUCKET);
    let stored = stored.key(file.unwrap().original_key().to_string()).send().await.unwrap();
    assert!(stored.body.collect().await.unwrap().to_vec().iter().all(|byte| *byte == b'b'));
    world.end().await;
}

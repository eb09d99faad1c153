//! Every error code of the catalogue, as a client gets it.

use std::{fmt, num::NonZeroU32, sync::Arc};

use aws_smithy_runtime_api::client::{
    http::{HttpConnector as _, HttpConnectorFuture, SharedHttpConnector},
    orchestrator::{HttpRequest, HttpResponse},
    result::ConnectorError,
};
use aws_smithy_types::body::SdkBody;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use xfiles_control_api::Code;
use xfiles_core::{
    api_key::Scope,
    catalog::{LATE_BYTES_FLOOR, STORAGE_FULL, UploadCounts, UploadLimits},
    file::Patch,
    id::{FileId, ProjectId},
    intent::OwnerId,
    operations::Files,
};
use xfiles_tests::{
    Answer, Client, TEXT, World, WorldOptions, file_id, id_of,
    wire::{self, Line},
};

const INTENT: &str = "/api/v1/files/upload-intent";

/// The behaviour of a store for requests of one operation.
enum Mischief {
    /// It does not respond.
    Silence,
    /// Its client panics.
    Panic,
    /// Another process changes this file just before.
    Race(Box<Files>, ProjectId, FileId),
    /// Its disk is full.
    Full,
    /// It reports the request, and waits until it may respond.
    Hold(Arc<Gate>),
}

struct Gate {
    asked: Semaphore,
    open: Semaphore,
}

async fn pass(gate: &Semaphore) {
    gate.acquire().await.expect("it is never closed").forget();
}

struct Mischievous {
    operation: &'static str,
    mischief: Mischief,
}

impl fmt::Debug for Mischievous {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.operation)
    }
}

impl Line for Mischievous {
    fn carry(&self, request: HttpRequest, store: SharedHttpConnector) -> HttpConnectorFuture {
        let meant = request.headers().get("x-amz-target").is_some_and(|target| target.ends_with(self.operation));
        let call = move || async move { store.call(request).await };
        match &self.mischief {
            _ if !meant => HttpConnectorFuture::new(call()),
            Mischief::Silence => HttpConnectorFuture::ready(Err(ConnectorError::timeout("no answer".into()))),
            Mischief::Panic => panic!("an unexpected fault"),
            Mischief::Full => {
                let body = json!({"__type": format!("com.amazonaws.dynamodb.v20120810#{STORAGE_FULL}")}).to_string();
                let status = 507.try_into().expect("a status");
                HttpConnectorFuture::ready(Ok(HttpResponse::new(status, SdkBody::from(body))))
            }
            Mischief::Race(files, project, file) => {
                let (files, project, file) = (files.clone(), *project, *file);
                HttpConnectorFuture::new(async move {
                    let change = Patch { owner: Some(OwnerId::new("another-user")), ..Patch::default() };
                    files.patch(project, file, &change, None).await.expect("the other change is made");
                    call().await
                })
            }
            Mischief::Hold(gate) => {
                let gate = gate.clone();
                HttpConnectorFuture::new(async move {
                    gate.asked.add_permits(1);
                    pass(&gate.open).await;
                    call().await
                })
            }
        }
    }
}

/// A client of an API whose metadata store misbehaves.
async fn mischievous(world: &World, operation: &'static str, mischief: Mischief) -> Client {
    let line = Arc::new(Mischievous { operation, mischief });
    world.client_through(world.stack.files_through(|client| wire::through(line.clone(), client))).await
}

async fn send(client: &Client, method: Method, path: &str, body: Value) -> Answer {
    Answer::of(client.request(method, path).json(&body).send().await.unwrap()).await
}

async fn raw(client: &Client, content_type: &str, body: String) -> Answer {
    let request = client.request(Method::POST, INTENT).header("content-type", content_type).body(body);
    Answer::of(request.send().await.unwrap()).await
}

async fn once(client: &Client, key: &str, size: u64) -> Answer {
    let body = json!({"filename": "a.txt", "contentType": "text/plain", "size": size});
    let request = client.request(Method::POST, INTENT).header("idempotency-key", key).json(&body);
    Answer::of(request.send().await.unwrap()).await
}

/// Two requests under one key, of which the first is held until the second has its response.
async fn second_of_two(world: &World) -> Answer {
    let gate = Arc::new(Gate { asked: Semaphore::new(0), open: Semaphore::new(0) });
    let client = mischievous(world, "TransactWriteItems", Mischief::Hold(gate.clone())).await;
    let second = async {
        pass(&gate.asked).await;
        let answer = once(&client, "one", 1).await;
        gate.open.add_permits(1);
        answer
    };
    let (first, second) = tokio::join!(once(&client, "one", 1), second);
    first.ok();
    second
}

/// Makes the API return this code.
async fn provoke(code: Code) -> (World, Answer) {
    let options = match code {
        Code::RateLimited => WorldOptions { requests_per_second: NonZeroU32::new(1), ..WorldOptions::default() },
        _ => WorldOptions { quota_bytes: 1_000, ..WorldOptions::default() },
    };
    let world = World::with(options).await;
    let client = &world.client;
    let answer = match code {
        Code::InvalidRequest => client.post(INTENT, &json!({})).await,
        Code::MalformedJson => raw(client, "application/json", "{".to_owned()).await,
        Code::NotUploaded => {
            let intent = client.intent(TEXT.0, TEXT.1, TEXT.2.len(), json!({})).await.ok();
            client.confirm(id_of(&intent)).await
        }
        Code::Unauthorized => client.with_key("none").get("/api/v1/files").await,
        Code::MissingScope => world.client_with(&[Scope::Write]).await.get("/api/v1/files").await,
        Code::FileNotFound => client.get(&format!("/api/v1/files/{}", FileId::mint())).await,
        Code::NotFound => client.get(&format!("/api/v1/projects/{}", ProjectId::mint())).await,
        Code::RouteNotFound => client.get("/api/v2/files").await,
        Code::MethodNotAllowed => client.send(Method::PUT, "/api/v1/files").await,
        Code::NotPending => {
            let file = client.upload(TEXT, json!({})).await;
            client.post(&format!("/api/v1/files/{}/resign", id_of(&file)), &json!({})).await
        }
        Code::NoEntity => {
            let file = client.upload(TEXT, json!({})).await;
            send(client, Method::PATCH, &format!("/api/v1/files/{}", id_of(&file)), json!({"position": 1})).await
        }
        Code::PreconditionFailed => {
            let file = client.upload(TEXT, json!({})).await;
            let request = client.request(Method::DELETE, &format!("/api/v1/files/{}", id_of(&file)));
            Answer::of(request.header("if-match", "\"7\"").send().await.unwrap()).await
        }
        Code::PageTooDeep => client.get("/api/v1/files?page=1001").await,
        Code::QuotaBelowUsage => {
            client.upload(TEXT, json!({})).await;
            let path = format!("/api/v1/projects/{}", world.stack.project());
            send(client, Method::PATCH, &path, json!({"quotaBytes": 1})).await
        }
        Code::TooManyWebhooks => {
            let path = format!("/api/v1/projects/{}/webhooks", world.stack.project());
            let hook = json!({"url": "https://example.com/"});
            for _ in 0..10 {
                assert_eq!(client.post(&path, &hook).await.status, StatusCode::CREATED);
            }
            client.post(&path, &hook).await
        }
        Code::RequestInFlight => second_of_two(&world).await,
        Code::IdempotencyKeyReused => {
            once(client, "one", 1).await.ok();
            once(client, "one", 2).await
        }
        Code::RateLimited => {
            for _ in 0..2 {
                client.get("/api/v1/files").await.ok();
            }
            client.get("/api/v1/files").await
        }
        Code::Conflict => {
            let file = client.upload(TEXT, json!({})).await;
            let race = Mischief::Race(Box::new(world.files().clone()), world.stack.project(), file_id(&file));
            let unlucky = mischievous(&world, "TransactWriteItems", race).await;
            send(&unlucky, Method::PATCH, &format!("/api/v1/files/{}", id_of(&file)), json!({"ownerUserId": "me"}))
                .await
        }
        Code::QuotaExceeded => client.intent("a.txt", "text/plain", 1_001, json!({})).await,
        Code::TooManyPendingUploads => {
            let limits = UploadLimits { per_project: NonZeroU32::MIN, per_key: NonZeroU32::MIN };
            let mut files = world.files().clone();
            files = files.with_upload_limits(limits);
            let limited = world.client_through(files).await;
            limited.intent("a.txt", "text/plain", 1, json!({})).await.ok();
            limited.intent("b.txt", "text/plain", 1, json!({})).await
        }
        Code::TooManyEndedUploads => {
            let project = world.project().await;
            let late = UploadCounts { late_bytes: LATE_BYTES_FLOOR + 1, ..UploadCounts::default() };
            assert!(world.files().inspect().catalog.repair_upload_counts(&project, &late).await.unwrap());
            client.intent("a.txt", "text/plain", 1, json!({})).await
        }
        Code::BodyTooLarge => raw(client, "application/json", format!("{{\"a\":\"{}\"}}", "x".repeat(600_000))).await,
        Code::UnsupportedMediaType => raw(client, "text/plain", "{}".to_owned()).await,
        Code::ContentTypeMismatch => {
            let intent = client.intent("a.png", "image/png", TEXT.2.len(), json!({})).await.ok();
            assert_eq!(client.put(&intent, "image/png", TEXT.2).await, StatusCode::OK);
            client.confirm(id_of(&intent)).await
        }
        Code::Unavailable => mischievous(&world, "Query", Mischief::Silence).await.get("/api/v1/files").await,
        Code::StorageFull => {
            let full = mischievous(&world, "TransactWriteItems", Mischief::Full).await;
            full.intent("a.txt", "text/plain", 1, json!({})).await
        }
        Code::Internal => mischievous(&world, "Query", Mischief::Panic).await.get("/api/v1/files").await,
    };
    (world, answer)
}

#[tokio::test]
async fn every_code_of_the_catalogue_occurs_with_its_status_and_its_headers() {
    for code in Code::ALL {
        let (world, answer) = provoke(code).await;
        let headers = answer.headers.clone();
        let refusal = answer.refused(code.status(), code.as_str());
        assert_eq!(refusal["type"], format!("urn:xfiles:problem:{}", code.as_str()));
        let header =
            |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
        assert_eq!(refusal["errors"] != json!([]), code == Code::InvalidRequest, "{refusal}");
        assert_eq!(header("retry-after").parse::<u32>().is_ok_and(|s| s >= 1), matches!(code.status(), 429 | 503));
        assert_eq!(header("www-authenticate") == "Bearer", code == Code::Unauthorized);
        assert_eq!(header("allow").contains("GET"), code == Code::MethodNotAllowed);
        world.end().await;
    }
}

#[tokio::test]
async fn an_internal_error_response_reveals_no_details() {
    let (world, answer) = provoke(Code::Internal).await;
    let refusal = answer.refused(500, "internal").to_string();
    for inner in ["panic", "unexpected fault", "Query", "dynamo"] {
        assert!(!refusal.contains(inner), "{refusal}");
    }
    world.client.get("/api/v1/files").await.ok();
    world.end().await;
}

#[tokio::test]
async fn a_server_keeps_responding_after_a_handler_panics() {
    let world = World::start().await;
    let broken = mischievous(&world, "Query", Mischief::Panic).await;
    for _ in 0..3 {
        broken.get("/api/v1/files").await.refused(500, "internal");
    }
    let file = broken.upload(TEXT, json!({})).await;
    broken.get(&format!("/api/v1/files/{}", id_of(&file))).await.ok();
    world.end().await;
}

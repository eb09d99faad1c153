//! Requests that take effect after their sender's timeout, or twice, and responses that only AWS gives: copies after a
//! deletion, late deletions after a move back, frozen workers, conflicts, KMS, unreadable items, a table that is older
//! than the bucket.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use aws_sdk_s3::primitives::ByteStream;
use aws_smithy_runtime_api::{
    client::{
        http::{HttpConnector as _, HttpConnectorFuture, SharedHttpConnector},
        orchestrator::{HttpRequest, HttpResponse},
        result::ConnectorError,
    },
    http::StatusCode,
};
use aws_smithy_types::{body::SdkBody, byte_stream::ByteStream as Body};
use futures::future::{BoxFuture, join_all};
use http::Request;
use serde_json::{Value, json};
use tower::ServiceExt as _;
use xfiles_cleanup_cron::Bounds;
use xfiles_core::{
    catalog::{Catalog, Consistency},
    clock::Clock,
    error::Error,
    event::EventType,
    file::{File, LATE_COPIES, LEASE, Patch, SWEEP_LEASE, WORKER_LIFE},
    id::FileId,
    intent::EntityWord,
    object_key::{ObjectKey, Visibility},
    operations::{Files, Reconciling},
    variant::VariantSpec,
};
use xfiles_edge_variants::Worker;
use xfiles_standalone::BUCKET;
use xfiles_tests::{
    TEXT, World, file_id, fixture, is_gone,
    wire::{self, Line},
};

const DAY: Duration = Duration::from_secs(24 * 60 * 60 + 1);

fn to(visibility: Visibility) -> Patch {
    Patch { visibility: Some(visibility), ..Patch::default() }
}

async fn put(world: &World, key: &ObjectKey, bytes: &'static [u8]) {
    let put = world.stack.s3_client().put_object().bucket(BUCKET).key(key.to_string());
    put.content_type(TEXT.1).body(ByteStream::from_static(bytes)).send().await.unwrap();
}

async fn published(world: &World) -> Vec<String> {
    world.objects().await.into_keys().filter(|key| key.starts_with("files/")).collect()
}

/// A public text and its record.
async fn public_text(world: &World) -> (FileId, File) {
    let id = file_id(&world.client.upload(TEXT, json!({"visibility": "public"})).await);
    (id, world.files().get(world.stack.project(), id).await.unwrap())
}

type Happening = Mutex<Option<BoxFuture<'static, ()>>>;

/// A connection that runs something just before the first request of a kind.
struct Before {
    is_it: fn(&HttpRequest) -> bool,
    happens: Happening,
    puts: AtomicUsize,
}

impl std::fmt::Debug for Before {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Before")
    }
}

impl Before {
    fn new(is_it: fn(&HttpRequest) -> bool, happens: impl Future<Output = ()> + Send + 'static) -> Arc<Self> {
        Arc::new(Self { is_it, happens: Mutex::new(Some(Box::pin(happens))), puts: AtomicUsize::new(0) })
    }
}

impl Line for Before {
    fn carry(&self, request: HttpRequest, store: SharedHttpConnector) -> HttpConnectorFuture {
        let happens = if (self.is_it)(&request) { self.happens.lock().unwrap().take() } else { None };
        if request.method() == "PUT" && request.headers().get("x-amz-copy-source").is_none() {
            self.puts.fetch_add(1, Ordering::SeqCst);
        }
        HttpConnectorFuture::new(async move {
            if let Some(happens) = happens {
                happens.await;
            }
            store.call(request).await
        })
    }
}

fn copies(request: &HttpRequest) -> bool {
    request.headers().get("x-amz-copy-source").is_some()
}

#[tokio::test]
async fn a_copy_that_arrives_after_the_file_was_deleted_is_removed_by_the_confirmation_that_sent_it() {
    let world = World::start().await;
    let (files, project) = (world.files().clone(), world.stack.project());
    let intent = world.client.intent(TEXT.0, TEXT.1, TEXT.2.len(), json!({"visibility": "public"})).await.ok();
    let id = file_id(&intent);
    world.client.put(&intent, TEXT.1, TEXT.2).await;
    let key = {
        let file = files.inspect().catalog.file(id, Consistency::Strong).await.unwrap();
        (file.staging_key(), file.original_key())
    };
    let (staging, s3) = (key.0.to_string(), world.stack.s3_client());
    let meanwhile = async move {
        files.confirm(project, id).await.unwrap();
        files.delete(project, id, None).await.unwrap();
        // The client repeats its upload.
        let again = s3.put_object().bucket(BUCKET).key(staging).content_type(TEXT.1);
        again.body(ByteStream::from_static(TEXT.2)).send().await.unwrap();
    };
    let line = Before::new(copies, meanwhile);
    let slow = world.stack.files_through(|client| wire::through(line.clone(), client));
    assert!(is_gone(&slow.confirm(project, id).await));
    assert_eq!(published(&world).await, [] as [String; 0]);
    assert_eq!(world.get(&format!("/{}", key.1)).await.status(), 404);
    world.pass(LATE_COPIES);
    assert_eq!(world.sweep().await.failed, [] as [String; 0]);
    assert!(world.records(project).await.is_empty());
    world.end().await;
}

#[tokio::test]
async fn a_late_copy_of_a_crashed_process_is_removed_and_invalidated_once_no_other_can_arrive() {
    for deleted in [true, false] {
        let world = World::start().await;
        let (id, file) = public_text(&world).await;
        let project = world.stack.project();
        if deleted {
            world.files().delete(project, id, None).await.unwrap();
        } else {
            world.files().patch(project, id, &to(Visibility::Private), None).await.unwrap();
        }
        let path = format!("/{}", file.original_key());
        world.pass(Duration::from_secs(60));
        put(&world, &file.original_key(), TEXT.2).await;
        assert_eq!(world.get(&path).await.status(), 200, "the path is still cached");
        world.pass(LATE_COPIES);
        assert_eq!(world.sweep().await.failed, [] as [String; 0]);
        assert_eq!(published(&world).await.len(), usize::from(!deleted));
        assert_eq!(world.get(&path).await.status(), 404);
        // The upload URL of the deleted file is valid for longer.
        world.pass_expiry();
        assert_eq!(world.sweep().await.failed, [] as [String; 0]);
        assert!(world.unfinished().await.is_empty());
        world.end().await;
    }
}

#[tokio::test]
async fn a_late_copy_does_not_block_a_later_move() {
    let world = World::start().await;
    let (id, file) = public_text(&world).await;
    let project = world.stack.project();
    world.files().patch(project, id, &to(Visibility::Private), None).await.unwrap();
    // Bytes of another upload, which another confirmation had claimed.
    put(&world, &file.original_key(), b"other bytes!!").await;
    let back = world.files().patch(project, id, &to(Visibility::Public), None).await.unwrap();
    assert_eq!(back.visibility, Visibility::Public);
    let read = world.get(&format!("/{}", file.original_key())).await;
    assert_eq!(read.bytes().await.unwrap(), TEXT.2);
    world.pass(LATE_COPIES);
    world.sweep().await;
    world.end().await;
}

#[tokio::test]
async fn an_upload_whose_claim_was_abandoned_is_checked_until_its_copy_can_no_longer_arrive() {
    let world = World::start().await;
    let (files, project) = (world.files().clone(), world.stack.project());
    let intent = world.client.intent(TEXT.0, TEXT.1, TEXT.2.len(), json!({"visibility": "public"})).await.ok();
    let id = file_id(&intent);
    world.client.put(&intent, TEXT.1, TEXT.2).await;
    let file = files.inspect().catalog.file(id, Consistency::Strong).await.unwrap();
    let claimed = file.claim("\"claimed\"".to_owned(), None, world.clock.now()).unwrap();
    files.inspect().catalog.replace(&claimed).await.unwrap();
    // The claimed bytes are gone, so it is reopened; the copy of the other confirmation may still be in progress.
    files.inspect().catalog.replace(&claimed.reopen(world.clock.now()).unwrap()).await.unwrap();
    files.delete(project, id, None).await.unwrap();
    let held = world.project().await;
    assert_eq!((held.used_bytes(), held.late_bytes), (0, TEXT.2.len() as u64), "its quota is free at once");
    put(&world, &file.original_key(), TEXT.2).await;
    world.pass(LATE_COPIES + LEASE);
    world.pass_expiry();
    assert_eq!(world.sweep().await.failed, [] as [String; 0]);
    assert_eq!(published(&world).await, [] as [String; 0]);
    assert_eq!(world.sweep().await.failed, [] as [String; 0]);
    assert_eq!((world.project().await.late_bytes, world.unfinished().await.len()), (0, 0));
    assert_eq!(world.told_of(id).await, [EventType::FileExpired]);
    world.end().await;
}

/// Loses the response to the first deletion, which takes effect when it is released.
#[derive(Debug, Default)]
struct LateDeletion(Mutex<Option<(HttpRequest, SharedHttpConnector)>>, AtomicBool);

impl Line for LateDeletion {
    fn carry(&self, request: HttpRequest, store: SharedHttpConnector) -> HttpConnectorFuture {
        if request.method() == "POST"
            && request.headers().get("x-amz-target").is_none()
            && !self.1.swap(true, Ordering::SeqCst)
        {
            *self.0.lock().unwrap() = Some((request, store));
            return HttpConnectorFuture::ready(Err(ConnectorError::timeout("no answer".into())));
        }
        HttpConnectorFuture::new(async move { store.call(request).await })
    }
}

#[tokio::test]
async fn a_file_moves_back_only_after_no_pending_deletion_can_arrive() {
    let world = World::start().await;
    let (id, file) = public_text(&world).await;
    let (files, project) = (world.files(), world.stack.project());
    let line = Arc::new(LateDeletion::default());
    let through = world.stack.files_through(|client| wire::through(line.clone(), client));
    let moved = through.patch(project, id, &to(Visibility::Private), None).await.unwrap();
    assert_eq!(moved.visibility, Visibility::Private);
    assert_eq!(world.get(&format!("/{}", file.original_key())).await.status(), 404);
    let back = files.patch(project, id, &to(Visibility::Public), None).await;
    assert!(matches!(back, Err(Error::Conflict)), "{back:?}");
    // The first attempt takes effect.
    let (request, store) = line.0.lock().unwrap().take().unwrap();
    drop(store.call(request).await);
    world.pass(LEASE.max(SWEEP_LEASE));
    assert_eq!(world.sweep().await.failed, [] as [String; 0]);
    files.patch(project, id, &to(Visibility::Public), None).await.unwrap();
    assert_eq!(world.get(&format!("/{}", file.original_key())).await.status(), 200);
    world.pass(LATE_COPIES);
    world.sweep().await;
    let each_once = [EventType::FileConfirmed, EventType::FileUpdated, EventType::FileUpdated];
    assert_eq!(world.told_of(id).await, each_once, "also for the move whose purge ran twice");
    world.end().await;
}

#[tokio::test]
async fn a_worker_frozen_until_after_the_last_purge_stores_nothing() {
    let world = World::start().await;
    let variants = json!({"transformations": {"image": {"enabled": true, "visibility": "public"}}});
    let png = fixture("palette-alpha.png");
    let id = file_id(&world.client.upload(("a.png", "image/png", &png), variants).await);
    let (files, project, clock) = (world.files().clone(), world.stack.project(), world.clock.clone());
    let file = files.get(project, id).await.unwrap();
    let frozen = async move {
        let private = Patch { variants_visibility: Some(Visibility::Private), ..Patch::default() };
        files.patch(project, id, &private, None).await.unwrap();
        clock.advance(WORKER_LIFE);
        files.sweep(100, Duration::from_secs(60)).await.unwrap();
        clock.advance(Duration::from_secs(600));
    };
    let line = Before::new(|request| request.method() == "GET", frozen);
    let worker = Worker::new(world.stack.files_through(|client| wire::through(line.clone(), client)), 1);
    let spec = VariantSpec::all().next().unwrap();
    let path = format!("/{}", file.variant_key(Visibility::Public, spec));
    let answer = worker.router().oneshot(Request::get(path).body(axum::body::Body::empty()).unwrap()).await.unwrap();
    assert_eq!((answer.status().as_u16(), line.puts.load(Ordering::SeqCst)), (404, 0));
    world.end().await;
}

#[tokio::test]
async fn a_paused_worker_stores_nothing_until_it_resumes() {
    let world = World::start().await;
    let variants = json!({"transformations": {"image": {"enabled": true, "visibility": "public"}}});
    let png = fixture("palette-alpha.png");
    let id = file_id(&world.client.upload(("a.png", "image/png", &png), variants).await);
    let file = world.files().get(world.stack.project(), id).await.unwrap();
    let worker = Worker::new(world.files().clone(), 1);
    let path = format!("/{}", file.variant_key(Visibility::Public, VariantSpec::all().next().unwrap()));
    let pause = worker.pause().await;
    let request = Request::get(path).body(axum::body::Body::empty()).unwrap();
    let mut answer = Box::pin(worker.router().oneshot(request));
    let waited = tokio::time::timeout(Duration::from_millis(300), &mut answer).await;
    assert!(waited.is_err() && published(&world).await.len() == 1);
    drop(pause);
    assert_eq!(answer.await.unwrap().status().as_u16(), 200);
    assert_eq!(published(&world).await.len(), 2);
    world.end().await;
}

/// A connection with this DynamoDB response to its first writes of single items.
#[derive(Debug)]
struct Answering {
    status: u16,
    body: &'static str,
    times: usize,
    answered: AtomicUsize,
}

impl Line for Answering {
    fn carry(&self, request: HttpRequest, store: SharedHttpConnector) -> HttpConnectorFuture {
        let target = request.headers().get("x-amz-target").unwrap_or_default();
        let single = ["PutItem", "UpdateItem", "DeleteItem"].iter().any(|write| target.ends_with(write));
        if single && self.answered.fetch_add(1, Ordering::SeqCst) < self.times {
            let status = StatusCode::try_from(self.status).unwrap();
            return HttpConnectorFuture::ready(Ok(HttpResponse::new(status, SdkBody::from(self.body))));
        }
        HttpConnectorFuture::new(async move { store.call(request).await })
    }
}

fn answering(world: &World, status: u16, body: &'static str, times: usize) -> Files {
    let line = Arc::new(Answering { status, body, times, answered: AtomicUsize::new(0) });
    world.stack.files_through(|client| wire::through(line.clone(), client))
}

const CONFLICT: &str = r#"{"__type":"com.amazonaws.dynamodb.v20120810#TransactionConflictException","message":"Transaction is ongoing for the item"}"#;

#[tokio::test]
async fn a_write_of_one_item_is_retried_while_a_transaction_conflicts() {
    let world = World::with_quota(1_000).await;
    let project = world.stack.project();
    let intent = world.client.intent(TEXT.0, TEXT.1, TEXT.2.len(), json!({"visibility": "public"})).await.ok();
    world.client.put(&intent, TEXT.1, TEXT.2).await;
    let through = || answering(&world, 400, CONFLICT, 3);
    through().confirm(project, file_id(&intent)).await.unwrap();
    through().patch(project, file_id(&intent), &to(Visibility::Private), None).await.unwrap();
    through().inspect().catalog.rename_project(project, "renamed").await.unwrap();
    through().inspect().catalog.set_quota(project, 2_000).await.unwrap();
    through().empty_project(project).await.unwrap();
    world.pass(LATE_COPIES);
    let swept = through().sweep(100, Duration::from_secs(60)).await.unwrap();
    assert_eq!(swept.failed, [] as [String; 0]);
    world.pass(LATE_COPIES);
    assert_eq!(through().sweep(100, Duration::from_secs(60)).await.unwrap().failed, [] as [String; 0]);
    world.end().await;
}

#[tokio::test]
async fn a_fault_of_the_table_with_any_code_is_unavailable() {
    let world = World::start().await;
    let project = world.stack.project();
    let strange = r#"{"__type":"com.amazon.coral.service#SomethingNew","message":"?"}"#;
    for (status, body) in [(500, strange), (503, ""), (400, CONFLICT)] {
        let files = answering(&world, status, body, usize::MAX);
        let refused = files.inspect().catalog.rename_project(project, "renamed").await;
        assert!(matches!(refused, Err(Error::Unavailable { .. })), "{status}: {refused:?}");
    }
    world.end().await;
}

/// A bucket with SSE-KMS: an object's ETag is not its MD5, and a copy has another ETag than its source.
#[derive(Debug)]
struct Kms;

/// Maps an object's ETag to the shown one, and back.
fn disguise(etag: &str, key: &str) -> String {
    let of_private = key.contains("/private/");
    let swap = |c: char| match c {
        '0'..='9' => char::from(b'9' - (c as u8 - b'0')),
        'a'..='f' if of_private => char::from(b'f' - (c as u8 - b'a')),
        c => c,
    };
    if key.contains("files/originals/") { etag.chars().map(swap).collect() } else { etag.to_owned() }
}

impl Line for Kms {
    fn carry(&self, mut request: HttpRequest, store: SharedHttpConnector) -> HttpConnectorFuture {
        if request.headers().get("x-amz-target").is_some() {
            return HttpConnectorFuture::new(async move { store.call(request).await });
        }
        let header = |name: &str| request.headers().get(name).map(str::to_owned);
        let key = request.uri().to_owned();
        let source = header("x-amz-copy-source");
        if let (Some(source), Some(etag)) = (&source, header("x-amz-copy-source-if-match")) {
            let etag = disguise(&etag, source);
            request.headers_mut().insert("x-amz-copy-source-if-match", etag);
        }
        HttpConnectorFuture::new(async move {
            let mut answer = store.call(request).await?;
            if let Some(etag) = answer.headers().get("etag").map(|etag| disguise(etag, &key)) {
                answer.headers_mut().insert("etag", etag);
            }
            if source.is_some() {
                let body = std::mem::replace(answer.body_mut(), SdkBody::empty());
                let body = Body::new(body).collect().await.map_err(|e| ConnectorError::io(e.into()))?;
                let text = String::from_utf8(body.into_bytes().to_vec()).unwrap();
                let text = match text.split_once("<ETag>").zip(text.split_once("</ETag>")) {
                    Some(((before, rest), (_, after))) => {
                        let etag = rest.split("</ETag>").next().unwrap();
                        format!("{before}<ETag>{}</ETag>{after}", disguise(etag, &key))
                    }
                    None => text,
                };
                answer.headers_mut().remove("content-length");
                *answer.body_mut() = SdkBody::from(text);
            }
            Ok(answer)
        })
    }
}

#[tokio::test]
async fn a_file_moves_back_and_forth_where_copies_change_the_etag() {
    let world = World::start().await;
    let project = world.stack.project();
    let files = world.stack.files_through(|client| wire::through(Arc::new(Kms), client));
    let intent = world.client.intent(TEXT.0, TEXT.1, TEXT.2.len(), json!({"visibility": "public"})).await.ok();
    let id = file_id(&intent);
    world.client.put(&intent, TEXT.1, TEXT.2).await;
    files.confirm(project, id).await.unwrap();
    for visibility in [Visibility::Private, Visibility::Public, Visibility::Private] {
        assert_eq!(files.patch(project, id, &to(visibility), None).await.unwrap().visibility, visibility);
    }
    world.pass(LATE_COPIES);
    assert_eq!(files.sweep(100, Duration::from_secs(60)).await.unwrap().failed, [] as [String; 0]);
    assert_eq!(published(&world).await.len(), 1);
    world.end().await;
}

/// A connection that removes an attribute from the first item of each response of a kind.
#[derive(Debug)]
struct Spoiling {
    what: &'static str,
    attribute: &'static str,
}

impl Line for Spoiling {
    fn carry(&self, request: HttpRequest, store: SharedHttpConnector) -> HttpConnectorFuture {
        let asked = request.body().bytes().map(|body| String::from_utf8_lossy(body).into_owned()).unwrap_or_default();
        let is_query = request.headers().get("x-amz-target").is_some_and(|target| target.ends_with("Query"));
        if !is_query || !asked.contains(self.what) {
            return HttpConnectorFuture::new(async move { store.call(request).await });
        }
        let attribute = self.attribute;
        HttpConnectorFuture::new(async move {
            let mut answer = store.call(request).await?;
            let body = std::mem::replace(answer.body_mut(), SdkBody::empty());
            let body = Body::new(body).collect().await.map_err(|e| ConnectorError::io(e.into()))?;
            let mut body: Value = serde_json::from_slice(&body.into_bytes()).unwrap();
            if let Some(item) = body["Items"].as_array_mut().and_then(|items| items.first_mut()) {
                item.as_object_mut().unwrap().insert(attribute.to_owned(), json!({"S": "spoilt"}));
            }
            answer.headers_mut().remove("content-length");
            answer.headers_mut().remove("x-amz-crc32");
            *answer.body_mut() = SdkBody::from(body.to_string());
            Ok(answer)
        })
    }
}

#[tokio::test]
async fn an_unreadable_item_blocks_no_other_and_is_counted() {
    let world = World::start().await;
    for _ in 0..40 {
        world.client.intent(TEXT.0, TEXT.1, TEXT.2.len(), json!({})).await.ok();
    }
    world.pass_expiry();
    let spoilt = |what, attribute| {
        let line = Arc::new(Spoiling { what, attribute });
        world.stack.files_through(|client| wire::through(line.clone(), client))
    };
    let due = spoilt("\"due\"", "PK");
    let swept = due.sweep(1_000, Duration::from_secs(60)).await.unwrap();
    let (settled, unreadable) = (swept.settled, due.inspect().catalog.unreadable_items());
    assert!(settled >= 32 && unreadable > 0, "{settled} of 40 settled, {unreadable} unreadable");
    assert_eq!(world.sweep().await.settled, 40 - settled, "which only one process cannot parse");

    let outbox = spoilt("E#", "events");
    let sent = xfiles_cleanup_cron::deliver(&outbox, world.stack.courier(), Bounds::default()).await;
    assert!(sent.is_ok() && outbox.inspect().catalog.unreadable_items() > 0, "{sent:?}");
    world.deliver().await;
    assert!(world.told().await.is_empty(), "the others were sent nevertheless");

    // The pass of the sweep above is complete; another begins later.
    world.pass(DAY);
    let projects = spoilt("PROJECTS", "PK");
    let found = projects.reconcile(Reconciling::Repair, Duration::from_secs(60)).await.unwrap();
    assert!(!found.more && projects.inspect().catalog.unreadable_items() == 1, "{found:?}");
    world.end().await;
}

#[tokio::test]
async fn the_original_of_an_upload_that_is_pending_in_an_older_table_is_not_deleted_by_its_expiry() {
    let world = World::start().await;
    let intent = world.client.intent(TEXT.0, TEXT.1, TEXT.2.len(), json!({})).await.ok();
    let id = file_id(&intent);
    let record = world.files().inspect().catalog.file(id, Consistency::Strong).await.unwrap();
    // It was confirmed after the time to which the table was restored.
    put(&world, &record.original_key(), TEXT.2).await;
    world.pass_expiry();
    assert_eq!(world.sweep().await.settled, 1);
    assert_eq!(published(&world).await, [record.original_key().to_string()]);
    let report = world.files().reconcile(Reconciling::Report, Duration::from_secs(60)).await.unwrap();
    assert_eq!(report.orphans.len(), 1, "it is reported");
    world.pass(DAY);
    assert_eq!(world.sweep().await.orphans, 1);
    world.end().await;
}

#[tokio::test]
async fn a_reconciliation_with_too_many_differences_removes_nothing_unless_forced() {
    let world = World::start().await;
    for n in 0..11 {
        let name = format!("lost-{n:06}.txt").parse().unwrap();
        let (project, file) = (world.stack.project(), FileId::mint());
        put(&world, &ObjectKey::Original { visibility: Visibility::Public, project, file, name }, TEXT.2).await;
    }
    for day in 0..3 {
        let report = world.sweep().await;
        assert!(report.stopped && report.orphans == 0, "day {day}: {report:?}");
        world.pass(DAY);
    }
    let watch = Bounds { reconciling: Reconciling::Watch, ..Bounds::default() };
    assert_eq!(xfiles_cleanup_cron::run(world.files(), watch).await.unwrap().orphans, 0);
    world.pass(DAY);
    let force = Bounds { reconciling: Reconciling::Force, ..Bounds::default() };
    assert_eq!(xfiles_cleanup_cron::run(world.files(), force).await.unwrap().orphans, 11);
    world.pass(DAY);
    let report = world.sweep().await;
    world.pass(DAY);
    assert!(!world.sweep().await.stopped, "a pass without differences ends it: {report:?}");
    world.end().await;
}

#[tokio::test]
async fn the_watch_mode_removes_nothing_even_for_few_differences() {
    let world = World::start().await;
    let name = "lost-a7x9k2.txt".parse().unwrap();
    let (project, file) = (world.stack.project(), FileId::mint());
    put(&world, &ObjectKey::Original { visibility: Visibility::Public, project, file, name }, TEXT.2).await;
    let watch = Bounds { reconciling: Reconciling::Watch, ..Bounds::default() };
    for _ in 0..3 {
        assert_eq!(xfiles_cleanup_cron::run(world.files(), watch).await.unwrap().orphans, 0);
        world.pass(DAY);
    }
    assert_eq!(world.sweep().await.orphans, 1);
    world.end().await;
}

/// Every request takes a tenth of a second.
#[derive(Debug)]
struct Slow(Clock);

impl Line for Slow {
    fn carry(&self, request: HttpRequest, store: SharedHttpConnector) -> HttpConnectorFuture {
        self.0.advance(Duration::from_millis(100));
        HttpConnectorFuture::new(async move { store.call(request).await })
    }
}

#[tokio::test]
async fn deleting_a_project_does_not_delay_other_projects() {
    let world = World::start().await;
    join_all((0..150).map(|_| world.client.upload(TEXT, json!({})))).await;
    let another = world.client_of_another_project().await;
    for _ in 0..20 {
        another.intent(TEXT.0, TEXT.1, TEXT.2.len(), json!({})).await.ok();
    }
    world.files().empty_project(world.stack.project()).await.unwrap();
    world.pass_expiry();
    let line = Arc::new(Slow(world.clock.clone()));
    let slow = world.stack.files_through(|client| wire::through(line.clone(), client));
    let swept = slow.sweep(1_000, Duration::from_secs(45)).await.unwrap();
    assert!(swept.settled >= 20 && swept.more && swept.failed.is_empty(), "{swept:?}");
    assert!(swept.oldest >= Duration::from_secs(1), "{:?}", swept.oldest);
    assert!(world.project().await.file_count > 0, "there is more to clear");
    for _ in 0..5 {
        world.pass(Duration::from_secs(60));
        world.sweep().await;
    }
    assert_eq!(world.project().await.file_count, 0);
    world.end().await;
}

#[tokio::test]
async fn a_bulk_deletion_stops_in_time_and_reports_the_remaining_files() {
    let world = World::start().await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(public_text(&world).await.0);
    }
    let project = world.stack.project();
    for left in world.files().delete_all(project, &ids, Duration::ZERO).await {
        assert!(matches!(left, Err(Error::Unavailable { .. })), "{left:?}");
    }
    assert!(world.files().delete_all(project, &ids, Duration::from_secs(20)).await.iter().all(Result::is_ok));
    assert!(world.confirmed(project).await.is_empty());
    world.end().await;
}

#[tokio::test]
async fn a_reorder_of_the_most_files_with_the_longest_words_has_all_its_events() {
    let world = World::start().await;
    let long = "\u{1F980}".repeat(256);
    let more = json!({
        "ownerUserId": long,
        "entity": {"type": long, "id": long, "role": long},
    });
    let uploads = (0..Catalog::REPLACE_AT_ONCE).map(|_| world.client.upload(TEXT, more.clone()));
    let ids: Vec<FileId> = join_all(uploads).await.iter().map(file_id).collect();
    let word = EntityWord::new(long).unwrap();
    world.files().order(world.stack.project(), &word, &word, &ids).await.unwrap();
    for id in [ids[0], ids[ids.len() - 1]] {
        assert_eq!(world.told_of(id).await, [EventType::FileConfirmed, EventType::FileUpdated]);
    }
    world.end().await;
}

#[tokio::test]
async fn a_record_that_cannot_be_settled_is_retried_after_the_others() {
    let world = World::start().await;
    world.client.intent(TEXT.0, TEXT.1, TEXT.2.len(), json!({})).await.ok();
    world.pass_expiry();
    let refusing = world.stack.files_through(|client| wire::through(Arc::new(Refusing), client));
    let swept = refusing.sweep(100, Duration::from_secs(60)).await.unwrap();
    assert_eq!(swept.failed.len(), 1);
    assert!(world.files().overdue(10).await.unwrap().is_empty(), "it waits");
    world.pass(Duration::from_secs(60));
    assert_eq!(world.sweep().await.settled, 1);
    world.end().await;
}

/// A bucket that refuses deletions.
#[derive(Debug)]
struct Refusing;

impl Line for Refusing {
    fn carry(&self, request: HttpRequest, store: SharedHttpConnector) -> HttpConnectorFuture {
        if request.method() == "POST" && request.headers().get("x-amz-target").is_none() {
            let denied = "<Error><Code>AccessDenied</Code><Message>Denied</Message></Error>";
            let status = StatusCode::try_from(403).unwrap();
            return HttpConnectorFuture::ready(Ok(HttpResponse::new(status, SdkBody::from(denied))));
        }
        HttpConnectorFuture::new(async move { store.call(request).await })
    }
}

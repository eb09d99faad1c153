//! A process crashes at any of its requests to the stores, before or after the request takes effect, or continues after
//! a response was lost. Afterwards the cleanup makes bytes, records and quota consistent again.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use aws_smithy_runtime_api::client::{
    http::{HttpConnector as _, HttpConnectorFuture, SharedHttpConnector},
    orchestrator::HttpRequest,
    result::ConnectorError,
};
use axum::body::Body;
use futures::{StreamExt as _, stream};
use http::Method;
use serde_json::{Value, json};
use tokio::sync::Notify;
use tower::ServiceExt as _;
use xfiles_control_api::{Api, ApiOptions};
use xfiles_core::{
    catalog::{Catalog, Consistency},
    event::EventType,
    file::{LATE_COPIES, Patch},
    id::{FileId, ProjectId},
    intent::{EntityWord, UploadIntent},
    object_key::{ObjectKey, Visibility},
    operations::Files,
    webhook::Reach,
};
use xfiles_tests::{
    Client, TEXT, World, file_id, fixture, id_of,
    wire::{self, Line},
};

/// What happens to a process at one of its writes to the stores. A crash at a read is equivalent to one at the write
/// before it.
#[derive(Clone, Copy, Debug)]
enum Fate {
    /// It runs normally.
    RunsNormally,
    /// It crashes before its first write.
    CrashesAtOnce,
    /// It crashes after this write took effect, and before the response arrives.
    CrashesAfter(usize),
    /// This write takes effect, its response is lost, and the process continues.
    LosesResponse(usize),
}

/// The connections of a process with a fate.
#[derive(Debug)]
struct FaultyLine {
    fate: Fate,
    /// The fate applies only after this is set; earlier requests are not part of the operation.
    armed: AtomicBool,
    writes: AtomicUsize,
    dead: Arc<Notify>,
}

/// Returns true if a request writes.
fn writes(request: &HttpRequest) -> bool {
    match request.headers().get("x-amz-target") {
        Some(target) => !["GetItem", "Query", "BatchGetItem"].iter().any(|read| target.ends_with(read)),
        None => !matches!(request.method(), "GET" | "HEAD"),
    }
}

impl Line for FaultyLine {
    fn carry(&self, request: HttpRequest, store: SharedHttpConnector) -> HttpConnectorFuture {
        if !self.armed.load(Ordering::SeqCst) || !writes(&request) {
            return HttpConnectorFuture::new(async move { store.call(request).await });
        }
        let number = self.writes.fetch_add(1, Ordering::SeqCst);
        let (arrives, crashes) = match self.fate {
            Fate::CrashesAtOnce => (false, true),
            // Concurrent requests do not arrive.
            Fate::CrashesAfter(n) if number >= n => (number == n, true),
            Fate::LosesResponse(n) if number == n => (true, false),
            Fate::RunsNormally | Fate::CrashesAfter(_) | Fate::LosesResponse(_) => {
                return HttpConnectorFuture::new(async move { store.call(request).await });
            }
        };
        let dead = self.dead.clone();
        HttpConnectorFuture::new(async move {
            if arrives {
                drop(store.call(request).await);
            }
            if crashes {
                dead.notify_one();
                std::future::pending::<()>().await;
            }
            Err(ConnectorError::timeout("the reply was lost".into()))
        })
    }
}

/// A process on the stores of a world.
#[derive(Clone)]
struct Process {
    files: Files,
    project: ProjectId,
    line: Arc<FaultyLine>,
}

impl Process {
    fn start(world: &World, fate: Fate) -> Self {
        let (armed, writes, dead) = (AtomicBool::new(true), AtomicUsize::new(0), Arc::default());
        let line = Arc::new(FaultyLine { fate, armed, writes, dead });
        let files = world.stack.files_through(|client| wire::through(line.clone(), client));
        Self { files, project: world.stack.project(), line }
    }

    /// Runs until the operation ends or the process crashes (`None`).
    async fn run<T>(&self, operation: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            done = operation => Some(done),
            () = self.line.dead.notified() => None,
        }
    }
}

/// The number of concurrent worlds. A process without a response waits before it retries.
const AT_ONCE: usize = 12;

/// Runs an operation to its end, then once for every write at which its process can crash or lose a response, each in
/// its own world. After each run and the cleanup, everything must be consistent and nothing overdue.
async fn at_every_point<S, P, O, D, C>(prepare: P, operation: O, check: C)
where
    P: AsyncFn(&World) -> S,
    O: Fn(Process, S) -> D,
    D: Future<Output = Result<(), String>>,
    C: AsyncFn(&World, S, bool),
    S: Clone,
{
    let run = async |fate| {
        let world = World::with_quota(1_000_000).await;
        let state = prepare(&world).await;
        let process = Process::start(&world, fate);
        let ended = process.run(operation(process.clone(), state.clone())).await;
        match (&ended, fate) {
            (Some(Err(error)), _) => panic!("{fate:?}: {error}"),
            (None, Fate::RunsNormally | Fate::LosesResponse(_)) => panic!("{fate:?}: nothing kills it"),
            _ => {}
        }
        settle(&world).await;
        check(&world, state, ended.is_some()).await;
        world.end().await;
        process.line.writes.load(Ordering::SeqCst)
    };
    let points = run(Fate::RunsNormally).await;
    assert!(points > 0, "the operation changes something");
    let fates = (0..points).flat_map(|n| [Fate::CrashesAfter(n), Fate::LosesResponse(n)]);
    stream::iter(fates.chain([Fate::CrashesAtOnce])).map(run).buffer_unordered(AT_ONCE).collect::<Vec<_>>().await;
}

/// Runs the cleanup while there is work: until every lease, upload and worker has expired.
async fn settle(world: &World) {
    for _ in 0..4 {
        world.pass_expiry();
        let report = world.sweep().await;
        assert!(report.failed.is_empty(), "{report:?}");
        let cleared =
            world.files().inspect().catalog.projects().await.unwrap().iter().all(|project| project.clearing.is_none());
        if cleared && world.unfinished().await.is_empty() {
            return;
        }
    }
    panic!("the cleanup does not come to an end: {:?}", world.unfinished().await);
}

fn intent() -> UploadIntent {
    UploadIntent {
        original_filename: xfiles_core::intent::OriginalFilename::new(TEXT.0).unwrap(),
        content_type: TEXT.1.parse().unwrap(),
        size: xfiles_core::intent::ByteSize::new(TEXT.2.len() as u64).unwrap(),
        visibility: xfiles_core::object_key::Visibility::Public,
        owner: None,
        entity: None,
        variants: xfiles_core::intent::VariantPolicy::default(),
        checksum: None,
    }
}

#[tokio::test]
async fn a_crash_while_an_upload_begins_leaves_nothing() {
    at_every_point(
        async |_| (),
        |p, ()| async move { p.files.begin(p.project, intent()).await.map(drop).map_err(|e| e.to_string()) },
        async |world, (), _| {
            assert_eq!(world.project().await.free_bytes, 1_000_000);
            assert!(world.records(world.stack.project()).await.is_empty());
        },
    )
    .await;
}

#[tokio::test]
async fn a_crash_while_an_upload_is_confirmed_leaves_it_confirmed_or_gone() {
    at_every_point(
        async |world| {
            let intent = world.client.intent(TEXT.0, TEXT.1, TEXT.2.len(), json!({"visibility": "public"})).await.ok();
            world.client.put(&intent, TEXT.1, TEXT.2).await;
            file_id(&intent)
        },
        |p, id: FileId| async move { p.files.confirm(p.project, id).await.map(drop).map_err(|e| e.to_string()) },
        async |world, id, completed| {
            let read = world.client.get(&format!("/api/v1/files/{id}")).await;
            let objects = world.objects().await;
            if read.status.is_success() {
                assert_eq!(world.get(read.body["url"].as_str().unwrap()).await.bytes().await.unwrap(), TEXT.2);
                assert_eq!(objects.len(), 1, "the staged bytes are gone: {objects:?}");
                assert_eq!(world.told_of(id).await, [EventType::FileConfirmed]);
            } else {
                assert_eq!(world.told_of(id).await, [EventType::FileExpired]);
                assert!(!completed);
                assert!(objects.is_empty(), "{objects:?}");
                assert_eq!(world.project().await.free_bytes, 1_000_000);
            }
        },
    )
    .await;
}

#[tokio::test]
async fn a_crash_while_a_file_is_deleted_leaves_it_complete_or_gone() {
    at_every_point(
        async |world| {
            let more = json!({"visibility": "public", "transformations": {"image": {"enabled": true, "visibility": "public"}}});
            let file = world.client.upload(("a.png", "image/png", &fixture("palette-alpha.png")), more).await;
            let answer = world.client.get(&format!("/api/v1/files/{}", id_of(&file))).await.ok();
            let urls = [&answer["url"], &answer["variants"][0]["url"]].map(|url| url.as_str().unwrap().to_owned());
            for url in &urls {
                assert_eq!(world.get(url).await.status(), 200);
            }
            (file_id(&file), urls)
        },
        |p, (id, _)| async move { p.files.delete(p.project, id, None).await.map_err(|e| e.to_string()) },
        async |world, (id, urls), completed| {
            let there = world.client.get(&format!("/api/v1/files/{id}")).await.status.is_success();
            assert!(!(there && completed));
            for url in &urls {
                assert_eq!(world.get(url).await.status(), if there { 200 } else { 404 });
            }
            assert_eq!(world.objects().await.len(), if there { 2 } else { 0 });
            let emitted = world.told_of(id).await;
            assert_eq!(emitted.contains(&EventType::FileDeleted), !there, "{emitted:?}");
        },
    )
    .await;
}

#[tokio::test]
async fn a_crash_while_an_upload_expires_returns_its_quota_once() {
    at_every_point(
        async |world| {
            let intent = world.client.intent(TEXT.0, TEXT.1, TEXT.2.len(), json!({})).await.ok();
            world.client.put(&intent, TEXT.1, TEXT.2).await;
            world.pass_expiry();
            file_id(&intent)
        },
        |p, _| async move { p.files.sweep(10, Duration::from_secs(60)).await.map(drop).map_err(|e| e.to_string()) },
        async |world, id, _| {
            assert_eq!(world.project().await.free_bytes, 1_000_000);
            assert!(world.records(world.stack.project()).await.is_empty());
            assert!(world.objects().await.is_empty());
            assert_eq!(world.told_of(id).await, [EventType::FileExpired]);
        },
    )
    .await;
}

#[tokio::test]
async fn a_crash_while_a_file_moves_and_its_variants_are_purged_yields_one_event_for_each_change() {
    let patch = Patch {
        visibility: Some(Visibility::Private),
        variants_visibility: Some(Visibility::Private),
        ..Patch::default()
    };
    at_every_point(
        async |world| {
            let more = json!({"visibility": "public", "transformations": {"image": {"enabled": true, "visibility": "public"}}});
            let file = world.client.upload(("a.png", "image/png", &fixture("palette-alpha.png")), more).await;
            file_id(&file)
        },
        |p, id| {
            let patch = patch.clone();
            async move { p.files.patch(p.project, id, &patch, None).await.map(drop).map_err(|e| e.to_string()) }
        },
        async |world, id, completed| {
            let file = world.files().get(world.stack.project(), id).await.unwrap();
            let changed = file.visibility == Visibility::Private;
            assert!(changed || !completed);
            let emitted = world.told_of(id).await;
            let expected: &[EventType] = match changed {
                true => &[EventType::FileConfirmed, EventType::FileUpdated, EventType::VariantsPurged],
                false => &[EventType::FileConfirmed],
            };
            assert_eq!(emitted, expected);
        },
    )
    .await;
}

#[tokio::test]
async fn a_crash_while_events_are_sent_loses_none_and_keeps_their_ids() {
    at_every_point(
        async |world| {
            let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
            let url = format!("http://{}/", listener.local_addr().unwrap());
            let taken = Arc::new(Mutex::new(Vec::new()));
            let app = {
                let taken = taken.clone();
                axum::Router::new().fallback(async move |headers: http::HeaderMap| {
                    taken.lock().unwrap().push(headers["webhook-id"].to_str().unwrap().to_owned());
                })
            };
            tokio::spawn(async move { axum::serve(listener, app).await });
            let hooks = format!("/api/v1/projects/{}/webhooks", world.stack.project());
            assert_eq!(world.client.post(&hooks, &json!({ "url": url })).await.status, 201);
            let file = world.client.upload(TEXT, json!({})).await;
            world.client.delete(&format!("/api/v1/files/{}", id_of(&file))).await.ok();
            let emitted: Vec<String> = world.told().await.iter().map(|event| event.id.to_string()).collect();
            (emitted, taken)
        },
        |p, _| async move {
            let courier = xfiles_cleanup_cron::Courier::new(Reach::Anywhere);
            let sent = xfiles_cleanup_cron::deliver(&p.files, &courier, xfiles_cleanup_cron::Bounds::default()).await;
            sent.map(drop).map_err(|e| e.to_string())
        },
        async |world, (mut emitted, taken), _| {
            world.deliver().await;
            let mut ids = taken.lock().unwrap().clone();
            ids.sort();
            ids.dedup();
            emitted.sort();
            assert_eq!(ids, emitted);
            assert!(world.told().await.is_empty());
        },
    )
    .await;
}

#[tokio::test]
async fn a_crash_after_a_full_reorder_was_written_loses_no_event() {
    let world = World::start().await;
    let more = json!({"entity": {"type": "listing", "id": "7"}});
    let uploads = (0..Catalog::REPLACE_AT_ONCE).map(|_| world.client.upload(TEXT, more.clone()));
    let files = futures::future::join_all(uploads).await;
    let ids: Vec<FileId> = files.iter().map(file_id).collect();
    let word = |text| EntityWord::new(text).unwrap();

    // The records and the events are written, but the client gets no response.
    let crashing = Process::start(&world, Fate::CrashesAfter(0));
    let ended = crashing.run(crashing.files.order(crashing.project, &word("listing"), &word("7"), &ids)).await;
    assert!(ended.is_none());
    world.pass_expiry();
    world.sweep().await;
    for id in &ids {
        assert_eq!(world.told_of(*id).await, [EventType::FileConfirmed, EventType::FileUpdated]);
    }
    assert!(world.files().overdue(10).await.unwrap().is_empty());
    world.end().await;
}

#[tokio::test]
async fn a_record_that_cannot_be_finished_blocks_no_other() {
    let world = World::start().await;
    let file = world.client.upload(TEXT, json!({"visibility": "public"})).await;
    let crashing = Process::start(&world, Fate::CrashesAfter(0));
    let patch = Patch { visibility: Some(Visibility::Private), ..Patch::default() };
    assert!(crashing.run(crashing.files.patch(crashing.project, file_id(&file), &patch, None)).await.is_none());
    // It is being published, and its bytes are gone, so it cannot be finished.
    let key = world.files().inspect().catalog.file(file_id(&file), Consistency::Strong).await.unwrap().original_key();
    let remove = world.stack.s3_client().delete_object().bucket(xfiles_standalone::BUCKET).key(key.to_string());
    remove.send().await.unwrap();
    for _ in 0..20 {
        world.client.intent(TEXT.0, TEXT.1, TEXT.2.len(), json!({})).await.ok();
    }
    for settled in [20, 0] {
        world.pass_expiry();
        let report = world.sweep().await;
        assert_eq!((report.failed, report.settled), (vec![id_of(&file).to_owned()], settled));
    }
    world.client.delete(&format!("/api/v1/files/{}", id_of(&file))).await.ok();
    world.end().await;
}

/// The state before an operation.
#[derive(Clone, Copy, Debug)]
enum Given {
    /// A confirmed text of the listing 7.
    Text(&'static str),
    /// A confirmed image with one public variant.
    Picture(&'static str),
    /// An upload that has begun.
    Begun(&'static str),
    /// An upload whose bytes have arrived.
    Arrived(&'static str),
    /// An upload whose bytes do not match the declaration.
    Wrong(&'static str),
    /// A webhook without events to send.
    Hook,
    /// An object without a record, found a day ago.
    Orphan,
    /// The file was deleted, and all workers that were busy with it have ended.
    Deleted(&'static str),
    /// The project is to be emptied or removed.
    Cleared { and_project: bool },
}

/// The project and its contents, by the names in a case.
#[derive(Clone)]
struct Cast {
    client: Client,
    project: ProjectId,
    key: String,
    hook: Value,
    files: BTreeMap<&'static str, (FileId, Value)>,
}

impl Cast {
    fn id(&self, name: &str) -> FileId {
        self.files[name].0
    }

    fn path(&self, name: &str) -> String {
        format!("/api/v1/files/{}", self.id(name))
    }

    fn ids(&self, names: &[&str]) -> Value {
        json!({ "fileIds": names.iter().map(|name| self.id(name)).collect::<Vec<_>>() })
    }

    fn project_path(&self, rest: &str) -> String {
        format!("/api/v1/projects/{}{rest}", self.project)
    }

    fn hook_path(&self, rest: &str) -> String {
        self.project_path(&format!("/webhooks/{}{rest}", self.hook["id"].as_str().unwrap()))
    }
}

async fn furnish(world: &World, given: &[Given]) -> Cast {
    let client = world.client_of_another_project().await;
    let projects = world.files().inspect().catalog.projects().await.unwrap();
    let project = projects.iter().find(|project| project.name == "another").unwrap().id;
    let key = world.files().inspect().catalog.keys(project).await.unwrap()[0].id.to_string();
    let mut cast = Cast { client: client.clone(), project, key, hook: Value::Null, files: BTreeMap::new() };
    let picture = fixture("palette-alpha.png");
    let of_listing = json!({"visibility": "public", "entity": {"type": "listing", "id": "7"}});
    for given in given.iter().copied() {
        match given {
            Given::Text(name) => {
                let file = client.upload((name, TEXT.1, TEXT.2), of_listing.clone()).await;
                cast.files.insert(name, (file_id(&file), file));
            }
            Given::Picture(name) => {
                let variants = json!({"image": {"enabled": true, "visibility": "public"}});
                let more = json!({"visibility": "public", "transformations": variants});
                let file = client.upload((name, "image/png", &picture), more).await;
                let answer = client.get(&format!("/api/v1/files/{}", id_of(&file))).await.ok();
                let variant = answer["variants"][0]["url"].as_str().unwrap();
                assert_eq!(world.get(variant).await.status(), 200);
                cast.files.insert(name, (file_id(&file), answer));
            }
            Given::Begun(name) | Given::Arrived(name) | Given::Wrong(name) => {
                let kind = if matches!(given, Given::Wrong(_)) { "image/png" } else { TEXT.1 };
                let intent = client.intent(name, kind, TEXT.2.len(), of_listing.clone()).await.ok();
                if !matches!(given, Given::Begun(_)) {
                    assert_eq!(client.put(&intent, kind, TEXT.2).await, 200);
                }
                cast.files.insert(name, (file_id(&intent), intent));
            }
            Given::Hook => {
                let hook = json!({"url": "http://127.0.0.1:9/", "events": ["file.confirmed"]});
                cast.hook = client.post(&cast.project_path("/webhooks"), &hook).await.body["webhook"].clone();
            }
            Given::Orphan => {
                let key = ObjectKey::Original {
                    visibility: Visibility::Public,
                    project,
                    file: FileId::mint(),
                    name: "lost-a7x9k2.txt".parse().unwrap(),
                };
                let put = world.stack.s3_client().put_object().bucket(xfiles_standalone::BUCKET).key(key.to_string());
                put.body(TEXT.2.to_vec().into()).send().await.unwrap();
                world.sweep().await;
                world.pass(xfiles_core::operations::CERTAINTY + Duration::from_secs(3600));
            }
            Given::Deleted(name) => {
                client.delete(&cast.path(name)).await.ok();
                world.pass(LATE_COPIES + Duration::from_secs(1));
            }
            Given::Cleared { and_project: false } => world.files().empty_project(project).await.unwrap(),
            Given::Cleared { and_project: true } => world.files().delete_project(project).await.unwrap(),
        }
    }
    cast
}

/// The action of a process.
enum Act {
    /// Serves a request.
    Serve(Method, String, Value),
    /// Serves a request with an idempotency key.
    ServeOnce(Method, String, Value),
    /// Runs the cleanup.
    CleanUp,
    /// Handles the store's notification of an object.
    Hear(ObjectKey),
    /// A viewer requests a variant from the worker.
    View(String),
}

impl Act {
    async fn carry_out(self, process: Process, cast: &Cast) -> Result<(), String> {
        let key = cast.client.key();
        let request = |method: &Method, path: &str| {
            let request = http::Request::builder().method(method).uri(path);
            request.header("authorization", format!("Bearer {key}")).header("content-type", "application/json")
        };
        let answer = match self {
            Self::CleanUp => {
                let bounds = xfiles_cleanup_cron::Bounds::default();
                let report = xfiles_cleanup_cron::run(&process.files, bounds).await.map_err(|e| e.to_string())?;
                return if report.failed.is_empty() { Ok(()) } else { Err(format!("{report:?}")) };
            }
            Self::Hear(object) => {
                let record = json!({"eventName": "ObjectCreated:Put", "s3": {"object": {"key": object.to_string()}}});
                let heard = json!({"Records": [record]});
                let confirmed = xfiles_cleanup_cron::confirm_arrivals(&process.files, &heard).await;
                return confirmed.map(drop).map_err(|e| e.to_string());
            }
            Self::View(path) => {
                let worker = xfiles_edge_variants::Worker::new(process.files, 1).router();
                worker.oneshot(http::Request::get(path).body(Body::empty()).unwrap()).await
            }
            Self::Serve(ref method, ref path, ref body) | Self::ServeOnce(ref method, ref path, ref body) => {
                let options = ApiOptions { webhooks: Reach::Anywhere, ..ApiOptions::default() };
                let api = xfiles_control_api::router(Api::new(process.files, options));
                // The key is looked up before, because these requests are not part of the operation.
                process.line.armed.store(false, Ordering::SeqCst);
                let known = request(&Method::GET, "/api/v1/usage").body(Body::empty()).unwrap();
                assert_eq!(api.clone().oneshot(known).await.unwrap().status(), 200);
                process.line.armed.store(true, Ordering::SeqCst);
                let mut asked = request(method, path);
                if matches!(self, Self::ServeOnce(..)) {
                    asked = asked.header("idempotency-key", "once");
                }
                api.oneshot(asked.body(Body::from(body.to_string())).unwrap()).await
            }
        };
        let answer = answer.unwrap_or_else(|never| match never {});
        let status = answer.status();
        let body = axum::body::to_bytes(answer.into_body(), usize::MAX).await.map_err(|e| e.to_string())?;
        let said = String::from_utf8_lossy(&body).into_owned();
        // A content error ends the operation.
        if status.is_success() || said.contains("content_type_mismatch") { Ok(()) } else { Err(said) }
    }
}

/// The observable state of the project, by name. New objects are numbered.
async fn portrait(world: &World, cast: &Cast) -> BTreeMap<String, String> {
    let mut seen = BTreeMap::new();
    let catalog = &world.files().inspect().catalog;
    let mut tell = |name: String, is: String| {
        let mut number = 1;
        while seen.contains_key(&format!("{name} {number}")) {
            number += 1;
        }
        seen.insert(format!("{name} {number}"), is);
    };
    let mut projects = catalog.projects().await.unwrap();
    projects.sort_by(|a, b| a.name.cmp(&b.name));
    let mut names: BTreeMap<FileId, String> =
        cast.files.iter().map(|(name, (id, _))| (*id, (*name).to_owned())).collect();
    for project in &projects {
        tell("name".to_owned(), project.name.clone());
        tell("quota".to_owned(), project.quota_bytes.to_string());
        let counts = (project.free_bytes, project.reserved_bytes, project.file_count, project.clearing);
        tell(format!("{COUNTS} of {}", project.name), format!("{counts:?}"));
        let mut files = world.confirmed(project.id).await;
        files.sort_by(|a, b| a.original_filename.as_str().cmp(b.original_filename.as_str()));
        for file in files {
            let name = file.original_filename.as_str().to_owned();
            let entity = file.entity.as_ref().map(|entity| entity.position);
            let what = (file.state.as_str(), file.visibility, &file.owner, entity, file.variants, file.revision);
            tell(format!("file {name}"), format!("{what:?}"));
            names.insert(file.id, name);
        }
    }
    let of = |text: &str| names.iter().find(|(id, _)| text.contains(id.as_str())).map_or("new", |(_, name)| name);
    for (key, size) in world.objects().await {
        let place: Vec<&str> = key.split('/').take(3).filter(|part| part.len() < 12).collect();
        let variant = key.rsplit_once("_w").map_or("", |(_, variant)| variant);
        tell(format!("object {} {variant} of {}", place.join("/"), of(&key)), size.to_string());
    }
    for event in world.told().await {
        tell(format!("event {} of {}", event.kind, of(&event.body)), String::new());
    }
    let mut keys = catalog.keys(cast.project).await.unwrap();
    keys.sort_by_key(|key| (key.created, key.expires_at.is_none()));
    for key in keys {
        let ends = (key.expires_at.is_some(), key.revoked_at.is_some());
        tell(format!("key {}", key.name), format!("{:?} {ends:?}", key.scopes));
    }
    for hook in catalog.endpoints(cast.project).await.unwrap() {
        let first = cast.hook["secret"].as_str() == Some(hook.secret.reveal());
        let what = (hook.url.to_string(), hook.enabled, &hook.types, first, hook.retiring.is_some());
        tell("hook".to_owned(), format!("{what:?}"));
    }
    seen
}

/// The name of the counters, which may be between the two states if some files are in one and some in the other.
const COUNTS: &str = "counts";

/// One operation, and the state before it.
struct Case {
    name: &'static str,
    given: &'static [Given],
    act: fn(&Cast) -> Act,
    /// Whether it is atomic. Otherwise each object is in its old or its new state.
    whole: bool,
}

/// Runs a case at every point. In the end the project is as without the operation, or as after it.
async fn check_case(case: &Case) {
    let end = async |acts: bool| {
        let world = World::with_quota(1_000_000).await;
        let cast = furnish(&world, case.given).await;
        if acts {
            let process = Process::start(&world, Fate::RunsNormally);
            (case.act)(&cast).carry_out(process, &cast).await.unwrap_or_else(|e| panic!("{}: {e}", case.name));
        }
        settle(&world).await;
        let seen = portrait(&world, &cast).await;
        world.end().await;
        seen
    };
    let (without, with) = (end(false).await, end(true).await);
    let at_an_end = |seen: &BTreeMap<String, String>| {
        if case.whole {
            return *seen == without || *seen == with;
        }
        let names: BTreeSet<&String> = [seen, &without, &with].into_iter().flat_map(BTreeMap::keys).collect();
        let mut things = names.into_iter().filter(|name| !name.starts_with(COUNTS));
        things.all(|name| seen.get(name) == without.get(name) || seen.get(name) == with.get(name))
    };
    at_every_point(
        async |world| furnish(world, case.given).await,
        |process, cast| async move {
            let act = (case.act)(&cast);
            act.carry_out(process, &cast).await.map_err(|e| format!("{}: {e}", case.name))
        },
        async |world, cast, completed| {
            let seen = portrait(world, &cast).await;
            let fits = if completed { seen == with } else { at_an_end(&seen) };
            assert!(fits, "{}: {seen:#?}\nwithout: {without:#?}\nwith: {with:#?}", case.name);
        },
    )
    .await;
}

async fn check_cases(cases: &[Case]) {
    for case in cases {
        check_case(case).await;
    }
}

fn new_upload(name: &str) -> Value {
    json!({"filename": name, "contentType": TEXT.1, "size": TEXT.2.len()})
}

#[tokio::test]
async fn a_crash_at_any_write_of_an_upload_ends_as_if_completed_or_never_started() {
    const INTENTS: &str = "/api/v1/files/upload-intents";
    check_cases(&[
        Case {
            name: "an intent under an idempotency key",
            given: &[],
            act: |_| Act::ServeOnce(Method::POST, "/api/v1/files/upload-intent".to_owned(), new_upload("new")),
            whole: true,
        },
        Case {
            name: "separate intents of a batch",
            given: &[],
            act: |_| {
                let files = json!({"files": [new_upload("new-1"), new_upload("new-2")]});
                Act::Serve(Method::POST, INTENTS.to_owned(), files)
            },
            whole: false,
        },
        Case {
            name: "an all-or-nothing batch of intents",
            given: &[],
            act: |_| {
                let files = [new_upload("new-1"), new_upload("new-2"), new_upload("new-3")];
                Act::Serve(Method::POST, INTENTS.to_owned(), json!({"files": files, "allOrNothing": true}))
            },
            whole: true,
        },
        Case {
            name: "a fresh upload URL",
            given: &[Given::Begun("a")],
            act: |cast| Act::Serve(Method::POST, format!("{}/resign", cast.path("a")), json!({})),
            whole: true,
        },
        Case {
            name: "confirmations",
            given: &[Given::Arrived("a"), Given::Arrived("b")],
            act: |cast| Act::Serve(Method::POST, "/api/v1/files/confirms".to_owned(), cast.ids(&["a", "b"])),
            whole: false,
        },
        Case {
            name: "a confirmation of content that differs from its declaration",
            given: &[Given::Wrong("a")],
            act: |cast| Act::Serve(Method::POST, "/api/v1/files/confirm".to_owned(), json!({"fileId": cast.id("a")})),
            whole: true,
        },
        Case {
            name: "an arrival",
            given: &[Given::Arrived("a")],
            act: |cast| Act::Hear(cast.files["a"].1["uploadUrl"].as_str().map(staged).unwrap()),
            whole: true,
        },
    ])
    .await;
}

/// The key of an upload URL.
fn staged(url: &str) -> ObjectKey {
    let at = url.find("staging/").unwrap();
    url[at..].split('?').next().unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_crash_at_any_write_of_a_change_ends_as_if_completed_or_never_started() {
    check_cases(&[
        Case {
            name: "an owner",
            given: &[Given::Text("a")],
            act: |cast| Act::Serve(Method::PATCH, cast.path("a"), json!({"ownerUserId": "u"})),
            whole: true,
        },
        Case {
            name: "disabling variants",
            given: &[Given::Picture("a")],
            act: |cast| {
                let off = json!({"transformations": {"image": {"enabled": false}}});
                Act::Serve(Method::PATCH, cast.path("a"), off)
            },
            whole: true,
        },
        Case {
            name: "a move",
            given: &[Given::Text("a")],
            act: |cast| Act::Serve(Method::PATCH, cast.path("a"), json!({"visibility": "private"})),
            whole: true,
        },
        Case {
            name: "a reorder",
            given: &[Given::Text("a"), Given::Text("b"), Given::Text("c")],
            act: |cast| {
                let order = cast.ids(&["c", "a", "b"]);
                Act::Serve(Method::PUT, "/api/v1/entities/listing/7/order".to_owned(), order)
            },
            whole: true,
        },
        Case {
            name: "a variant",
            given: &[Given::Picture("a")],
            act: |cast| {
                let url = cast.files["a"].1["variants"][1]["url"].as_str().unwrap();
                Act::View(url[url.find("/files/").unwrap()..].to_owned())
            },
            whole: true,
        },
    ])
    .await;
}

#[tokio::test]
async fn a_crash_at_any_write_of_a_deletion_ends_as_if_completed_or_never_started() {
    check_cases(&[
        Case {
            name: "a pending upload",
            given: &[Given::Arrived("a")],
            act: |cast| Act::Serve(Method::DELETE, cast.path("a"), Value::Null),
            whole: false,
        },
        Case {
            name: "a deletion by ids",
            given: &[Given::Text("a"), Given::Picture("b"), Given::Text("kept")],
            act: |cast| Act::Serve(Method::POST, "/api/v1/files/delete".to_owned(), cast.ids(&["a", "b"])),
            whole: false,
        },
        Case {
            name: "a deletion by filter",
            given: &[Given::Text("a"), Given::Text("b"), Given::Picture("kept")],
            act: |_| {
                let matching = "/api/v1/files?entityType=listing&entityId=7";
                Act::Serve(Method::DELETE, matching.to_owned(), Value::Null)
            },
            whole: false,
        },
        Case {
            name: "an erasure",
            given: &[Given::Picture("a")],
            act: |cast| Act::Serve(Method::DELETE, format!("{}?erase=true", cast.path("a")), Value::Null),
            whole: true,
        },
        Case {
            name: "the second removal of variants",
            given: &[Given::Picture("a"), Given::Deleted("a")],
            act: |_| Act::CleanUp,
            whole: true,
        },
        Case {
            name: "the removal of bytes without a record",
            given: &[Given::Text("kept"), Given::Orphan],
            act: |_| Act::CleanUp,
            whole: true,
        },
    ])
    .await;
}

#[tokio::test]
async fn a_crash_at_any_write_of_a_project_deletion_ends_as_if_completed_or_never_started() {
    const FULL: [Given; 4] = [Given::Text("a"), Given::Picture("b"), Given::Arrived("c"), Given::Hook];
    check_cases(&[
        Case {
            name: "emptying a project",
            given: &FULL,
            act: |cast| Act::Serve(Method::POST, cast.project_path("/empty"), Value::Null),
            whole: true,
        },
        Case {
            name: "emptying a project, by the cleanup",
            given: &[Given::Text("a"), Given::Text("b"), Given::Cleared { and_project: false }],
            act: |_| Act::CleanUp,
            whole: true,
        },
        Case {
            name: "the deletion of a project",
            given: &FULL,
            act: |cast| Act::Serve(Method::DELETE, cast.project_path(""), Value::Null),
            whole: true,
        },
        Case {
            name: "the deletion of a project, by the cleanup",
            given: &[Given::Text("a"), Given::Hook, Given::Cleared { and_project: true }],
            act: |_| Act::CleanUp,
            whole: true,
        },
    ])
    .await;
}

#[tokio::test]
async fn a_crash_at_any_write_of_administration_ends_as_if_completed_or_never_started() {
    check_cases(&[
        Case {
            name: "a new project",
            given: &[],
            act: |_| Act::Serve(Method::POST, "/api/v1/projects".to_owned(), json!({"name": "n", "quotaBytes": 9})),
            whole: true,
        },
        Case {
            name: "a change of name and quota",
            given: &[Given::Text("a")],
            act: |cast| {
                Act::Serve(Method::PATCH, cast.project_path(""), json!({"name": "another one", "quotaBytes": 999}))
            },
            whole: false,
        },
        Case {
            name: "a new key",
            given: &[],
            act: |cast| Act::Serve(Method::POST, cast.project_path("/keys"), json!({"name": "n"})),
            whole: true,
        },
        Case {
            name: "the rotation of a key",
            given: &[],
            act: |cast| Act::Serve(Method::POST, cast.project_path(&format!("/keys/{}/rotate", cast.key)), json!({})),
            whole: true,
        },
        Case {
            name: "the revocation of a key",
            given: &[],
            act: |cast| Act::Serve(Method::DELETE, cast.project_path(&format!("/keys/{}", cast.key)), Value::Null),
            whole: true,
        },
        Case {
            name: "a new webhook",
            given: &[],
            act: |cast| Act::Serve(Method::POST, cast.project_path("/webhooks"), json!({"url": "http://127.0.0.1:9/"})),
            whole: true,
        },
        Case {
            name: "a webhook's change",
            given: &[Given::Hook],
            act: |cast| Act::Serve(Method::PATCH, cast.hook_path(""), json!({"enabled": false})),
            whole: true,
        },
        Case {
            name: "the rotation of a webhook's secret",
            given: &[Given::Hook],
            act: |cast| Act::Serve(Method::POST, cast.hook_path("/rotate"), json!({})),
            whole: true,
        },
        Case {
            name: "the deletion of a webhook",
            given: &[Given::Hook],
            act: |cast| Act::Serve(Method::DELETE, cast.hook_path(""), Value::Null),
            whole: true,
        },
    ])
    .await;
}

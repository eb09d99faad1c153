//! A process dies after any of its requests to the stores, whether the request had arrived or not; the cleanup then
//! brings bytes, records and quota back into agreement.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use aws_smithy_runtime_api::client::{
    http::{HttpConnector, HttpConnectorFuture, SharedHttpClient, SharedHttpConnector, http_client_fn},
    orchestrator::HttpRequest,
};
use serde_json::json;
use tokio::sync::Notify;
use xfiles_core::{
    catalog::Catalog,
    error::Error,
    event::EventType,
    file::Patch,
    id::FileId,
    intent::{EntityWord, UploadIntent},
    lifecycle::Files,
    object_key::Visibility,
};
use xfiles_tests::{TEXT, World, file_id, fixture, id_of};

/// Where a process dies.
#[derive(Clone, Copy, Debug)]
enum Death {
    /// Before the request leaves.
    Before(usize),
    /// After it took effect and before the reply arrives.
    After(usize),
}

/// Connections that end at a point: from there on nothing comes back.
#[derive(Clone, Debug)]
struct Line {
    death: Death,
    requests: Arc<AtomicUsize>,
    dead: Arc<Notify>,
}

impl Line {
    fn new(death: Death) -> Self {
        Self { death, requests: Arc::default(), dead: Arc::default() }
    }

    fn wrap(&self, inner: SharedHttpClient) -> SharedHttpClient {
        let line = self.clone();
        http_client_fn(move |settings, components| {
            use aws_smithy_runtime_api::client::http::HttpClient as _;
            let inner = inner.http_connector(settings, components);
            SharedHttpConnector::new(Mortal { line: line.clone(), inner })
        })
    }

    /// Runs until the operation ends or its process dies. `None`: it died.
    async fn run<T>(&self, operation: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            done = operation => Some(done),
            () = self.dead.notified() => None,
        }
    }
}

#[derive(Debug)]
struct Mortal {
    line: Line,
    inner: SharedHttpConnector,
}

impl HttpConnector for Mortal {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let (line, inner) = (self.line.clone(), self.inner.clone());
        HttpConnectorFuture::new(async move {
            let number = line.requests.fetch_add(1, Ordering::SeqCst);
            match line.death {
                Death::Before(n) if number >= n => {}
                Death::After(n) if number >= n => drop(inner.call(request).await),
                Death::Before(_) | Death::After(_) => return inner.call(request).await,
            }
            line.dead.notify_one();
            std::future::pending().await
        })
    }
}

/// Runs an operation once for every point at which its process can die, each in a world of its own, and once to the
/// end. Each run is followed by a sweep, after which everything must agree and nothing be overdue.
async fn at_every_point<S, P, O, C, D>(prepare: P, operation: O, check: C)
where
    P: AsyncFn(&World) -> S,
    O: Fn(Files, Inside, S) -> D,
    D: Future<Output = Result<(), Error>>,
    C: AsyncFn(&World, S, bool),
    S: Clone,
{
    let mut point = 0;
    loop {
        let mut completed = false;
        for death in [Death::Before(point), Death::After(point)] {
            let world = World::with_quota(1_000_000).await;
            let state = prepare(&world).await;
            let line = Line::new(death);
            let files = world.stack.files_through(|client| line.wrap(client));
            let ended = line.run(operation(files, Inside(world.stack.project()), state.clone())).await;
            world.pass_expiry();
            let report = world.sweep().await;
            assert!(report.failed.is_empty(), "{death:?}: {report:?}");
            assert!(world.files().overdue(10).await.unwrap().is_empty(), "{death:?}: nothing is overdue after a sweep");
            world.check().await;
            check(&world, state, ended.is_some()).await;
            if let Some(result) = ended {
                result.unwrap();
                completed = true;
            }
            world.end().await;
        }
        if completed {
            assert!(point > 0, "the operation asks the stores something");
            return;
        }
        point += 1;
    }
}

/// The project in which an operation runs.
#[derive(Clone, Copy)]
struct Inside(xfiles_core::id::ProjectId);

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
async fn a_death_while_an_upload_begins_leaves_nothing() {
    at_every_point(
        async |_| (),
        |files, Inside(project), ()| async move { files.begin(project, intent()).await.map(drop) },
        async |world, (), _| {
            assert_eq!(world.project().await.free_bytes, 1_000_000);
            assert!(world.records(world.stack.project()).await.is_empty());
        },
    )
    .await;
}

#[tokio::test]
async fn a_death_while_an_upload_is_confirmed_leaves_it_confirmed_or_gone() {
    at_every_point(
        async |world| {
            let intent = world.client.intent(TEXT.0, TEXT.1, TEXT.2.len(), json!({"visibility": "public"})).await.ok();
            world.client.put(&intent, TEXT.1, TEXT.2).await;
            file_id(&intent)
        },
        |files, Inside(project), id: FileId| async move { files.confirm(project, id).await.map(drop) },
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
async fn a_death_while_a_file_is_deleted_leaves_it_whole_or_gone() {
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
        |files, Inside(project), (id, _)| async move { files.delete(project, id, None).await },
        async |world, (id, urls), completed| {
            let there = world.client.get(&format!("/api/v1/files/{id}")).await.status.is_success();
            assert!(!(there && completed));
            for url in &urls {
                assert_eq!(world.get(url).await.status(), if there { 200 } else { 404 });
            }
            assert_eq!(world.objects().await.len(), if there { 2 } else { 0 });
            let told = world.told_of(id).await;
            assert_eq!(told.contains(&EventType::FileDeleted), !there, "{told:?}");
        },
    )
    .await;
}

#[tokio::test]
async fn a_death_while_an_upload_expires_gives_its_quota_back_once() {
    at_every_point(
        async |world| {
            let intent = world.client.intent(TEXT.0, TEXT.1, TEXT.2.len(), json!({})).await.ok();
            world.client.put(&intent, TEXT.1, TEXT.2).await;
            world.pass_expiry();
            file_id(&intent)
        },
        |files, _, _| async move { files.sweep(10, std::time::Duration::from_secs(60)).await.map(drop) },
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
async fn a_death_while_a_file_moves_and_its_variants_are_purged_tells_each_change_once() {
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
        |files, Inside(project), id| {
            let patch = patch.clone();
            async move { files.patch(project, id, &patch, None).await.map(drop) }
        },
        async |world, id, completed| {
            let file = world.files().get(world.stack.project(), id).await.unwrap();
            let changed = file.visibility == Visibility::Private;
            assert!(changed || !completed);
            let told = world.told_of(id).await;
            let expected: &[EventType] = match changed {
                true => &[EventType::FileConfirmed, EventType::FileUpdated, EventType::VariantsPurged],
                false => &[EventType::FileConfirmed],
            };
            assert_eq!(told, expected);
        },
    )
    .await;
}

#[tokio::test]
async fn a_death_while_events_are_sent_loses_none_and_keeps_their_ids() {
    at_every_point(
        async |world| {
            let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
            let url = format!("http://{}/", listener.local_addr().unwrap());
            let taken = Arc::new(std::sync::Mutex::new(Vec::new()));
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
            let told: Vec<String> = world.told().await.iter().map(|event| event.id.to_string()).collect();
            (told, taken)
        },
        |files, _, _| async move {
            let courier = xfiles_cleanup_cron::Courier::new(xfiles_core::webhook::Reach::Anywhere);
            xfiles_cleanup_cron::deliver(&files, &courier, xfiles_cleanup_cron::Bounds::default()).await.map(drop)
        },
        async |world, (mut told, taken), _| {
            world.deliver().await;
            let mut ids = taken.lock().unwrap().clone();
            ids.sort();
            ids.dedup();
            told.sort();
            assert_eq!(ids, told);
            assert!(world.told().await.is_empty());
        },
    )
    .await;
}

#[tokio::test]
async fn a_death_before_a_full_new_order_is_told_leaves_the_telling_to_the_cleanup() {
    let world = World::start().await;
    let more = json!({"entity": {"type": "listing", "id": "7"}});
    let uploads = (0..Catalog::REPLACE_AT_ONCE).map(|_| world.client.upload(TEXT, more.clone()));
    let files = futures::future::join_all(uploads).await;
    let ids: Vec<FileId> = files.iter().map(file_id).collect();
    let word = |text| EntityWord::new(text).unwrap();

    // The records are read and written; the third request would tell of the first.
    let line = Line::new(Death::Before(2));
    let dying = world.stack.files_through(|client| line.wrap(client));
    let ended = line.run(dying.order(world.stack.project(), &word("listing"), &word("7"), &ids)).await;
    assert!(ended.is_none());
    world.pass_expiry();
    world.sweep().await;
    for id in &ids {
        assert_eq!(world.told_of(*id).await, [EventType::FileConfirmed, EventType::FileUpdated]);
    }
    assert!(world.files().overdue(10).await.unwrap().is_empty());
    world.end().await;
}

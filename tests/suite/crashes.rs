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
use xfiles_core::{error::Error, id::FileId, intent::UploadIntent, lifecycle::Files};
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
            } else {
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
        async |world, _, _| {
            assert_eq!(world.project().await.free_bytes, 1_000_000);
            assert!(world.records(world.stack.project()).await.is_empty());
            assert!(world.objects().await.is_empty());
        },
    )
    .await;
}

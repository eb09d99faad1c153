//! Every pair of concurrent operations on a file: each response is true, and afterwards bytes, records, quota and the
//! CDN are consistent.

use std::sync::atomic::{AtomicU64, Ordering};

use aws_smithy_runtime_api::client::{
    http::{HttpConnector as _, HttpConnectorFuture, SharedHttpConnector},
    orchestrator::HttpRequest,
};
use axum::body::Body;
use futures::future::{BoxFuture, join_all};
use serde_json::json;
use tower::ServiceExt as _;
use xfiles_core::{
    error::Error,
    event::EventType,
    file::{Patch, State, WORKER_LIFE},
    id::FileId,
    object_key::{ObjectKey, Visibility},
    operations::Files,
};
use xfiles_edge_variants::Worker;
use xfiles_tests::{
    World, file_id, fixture,
    wire::{self, Line},
};

/// An operation on a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Happening {
    /// Its client confirms it.
    Confirm,
    /// Its client deletes it.
    Delete,
    /// Its client makes it and its variants private.
    Patch,
    /// The cleanup runs.
    Expire,
    /// The store's notification that its bytes have arrived.
    Event,
    /// A viewer requests a variant.
    Worker,
}

const ALL: [Happening; 6] =
    [Happening::Confirm, Happening::Delete, Happening::Patch, Happening::Expire, Happening::Event, Happening::Worker];

/// The state of the file before.
#[derive(Clone, Copy, Debug)]
enum Start {
    /// Uploaded, overdue, and not confirmed.
    Pending,
    /// Confirmed, public, with public variants, one of which is stored.
    Confirmed,
}

/// The number of runs of each pair.
const ROUNDS: usize = 6;

/// Delays each request by a varying number of scheduler turns, so that the operations interleave differently.
#[derive(Debug)]
struct Dawdling(AtomicU64);

impl Line for Dawdling {
    fn carry(&self, request: HttpRequest, store: SharedHttpConnector) -> HttpConnectorFuture {
        // A linear congruential generator; its high bits are random enough for this.
        let next =
            |seed: u64| Some(seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407));
        let seed = self.0.fetch_update(Ordering::SeqCst, Ordering::SeqCst, next).unwrap_or_default();
        let turns = seed >> 60;
        HttpConnectorFuture::new(async move {
            for _ in 0..turns {
                tokio::task::yield_now().await;
            }
            store.call(request).await
        })
    }
}

struct Racer {
    files: Files,
    world_project: xfiles_core::id::ProjectId,
}

struct Raced {
    id: FileId,
    staged: ObjectKey,
    variant: ObjectKey,
}

impl Racer {
    async fn happen(&self, what: Happening, to: &Raced) -> Result<(), Error> {
        let (files, project) = (&self.files, self.world_project);
        match what {
            Happening::Confirm => files.confirm(project, to.id).await.map(drop),
            Happening::Delete => files.delete(project, to.id, None).await,
            Happening::Patch => {
                let private = Some(Visibility::Private);
                let patch = Patch { visibility: private, variants_visibility: private, ..Patch::default() };
                files.patch(project, to.id, &patch, None).await.map(drop)
            }
            Happening::Expire => {
                let report = xfiles_cleanup_cron::run(files, xfiles_cleanup_cron::Bounds::default()).await?;
                assert!(report.failed.is_empty(), "{report:?}");
                Ok(())
            }
            Happening::Event => files.confirm_arrived(&to.staged).await.map(drop),
            Happening::Worker => {
                let worker = Worker::new(files.clone(), 1).router();
                let request = http::Request::get(format!("/{}", to.variant)).body(Body::empty()).unwrap();
                let status = worker.oneshot(request).await.unwrap_or_else(|never| match never {}).status();
                assert!(matches!(status.as_u16(), 200 | 404), "the worker returned {status}");
                Ok(())
            }
        }
    }
}

async fn prepare(world: &World, start: Start) -> Raced {
    let picture = fixture("palette-alpha.png");
    let more = json!({
        "visibility": "public", "transformations": {"image": {"enabled": true, "visibility": "public"}},
    });
    let intent = world.client.intent("a.png", "image/png", picture.len(), more).await.ok();
    assert_eq!(world.client.put(&intent, "image/png", picture).await, 200);
    let id = file_id(&intent);
    let record = world.files().inspect().catalog.file(id, xfiles_core::catalog::Consistency::Strong).await.unwrap();
    let mut specs = xfiles_core::variant::VariantSpec::all();
    let (first, second) = (specs.next().unwrap(), specs.next().unwrap());
    let variant = |spec| record.variant_key(Visibility::Public, spec);
    if matches!(start, Start::Confirmed) {
        world.client.confirm(id.as_str()).await.ok();
        assert_eq!(world.get(&format!("/{}", variant(first))).await.status(), 200);
    }
    Raced { id, staged: record.staging_key(), variant: variant(second) }
}

/// Runs both operations concurrently on each of some files, and checks the final state.
async fn race(start: Start, one: Happening, other: Happening) {
    let world = World::start().await;
    let raced = join_all((0..ROUNDS).map(|_| prepare(&world, start))).await;
    if matches!(start, Start::Pending) {
        world.pass_expiry();
    }
    let racers = [1_u64, 2].map(|seed| Racer {
        files: world.stack.files_through(|client| wire::through(std::sync::Arc::new(Dawdling(seed.into())), client)),
        world_project: world.stack.project(),
    });
    let meet = |to| {
        let both: [BoxFuture<'_, _>; 2] = [Box::pin(racers[0].happen(one, to)), Box::pin(racers[1].happen(other, to))];
        join_all(both)
    };
    for (round, outcomes) in join_all(raced.iter().map(meet)).await.into_iter().enumerate() {
        for outcome in outcomes {
            let understood =
                matches!(outcome, Ok(()) | Err(Error::FileNotFound | Error::NotUploaded | Error::Conflict));
            assert!(understood, "{start:?}, {one:?} and {other:?}, {round}: {outcome:?}");
        }
    }
    // After the race, the cleanup finishes, and all workers end.
    for _ in 0..2 {
        world.pass_expiry();
        world.pass(WORKER_LIFE);
        assert!(world.sweep().await.failed.is_empty());
    }
    assert!(world.files().overdue(1).await.unwrap().is_empty());
    world.check().await;
    let objects = world.objects().await;
    for Raced { id, variant, .. } in &raced {
        let emitted = world.told_of(*id).await;
        let ends =
            emitted.iter().filter(|kind| matches!(kind, EventType::FileDeleted | EventType::FileExpired)).count();
        let read = world.files().get(world.stack.project(), *id).await;
        let there: Vec<&String> = objects.keys().filter(|key| key.contains(id.as_str())).collect();
        let seen = world.get(&format!("/{variant}")).await.status();
        match read {
            Ok(file) => {
                assert!(matches!(file.state, State::Confirmed { owes: None, .. }), "{file:?}");
                assert_eq!((ends, emitted.contains(&EventType::FileConfirmed)), (0, true), "{emitted:?}");
                let public = file.variants.visibility == Visibility::Public;
                assert_eq!(seen, if public { 200 } else { 404 }, "{one:?} and {other:?}: {file:?}");
                let misplaced = there.iter().any(|key| !public && key.starts_with("files/variants/public"));
                assert!(!misplaced && there.iter().all(|key| key.starts_with("files/")), "{there:?}");
            }
            Err(Error::FileNotFound) => {
                assert_eq!((ends, seen.as_u16()), (1, 404), "{one:?} and {other:?}: {emitted:?}");
                assert!(there.is_empty(), "{there:?}");
            }
            Err(error) => panic!("{error}"),
        }
    }
    world.end().await;
}

async fn race_all(start: Start) {
    for (at, one) in ALL.into_iter().enumerate() {
        for other in ALL.into_iter().skip(at) {
            race(start, one, other).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_two_concurrent_operations_on_a_pending_upload_report_the_true_outcome_and_leave_nothing_behind() {
    race_all(Start::Pending).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_two_concurrent_operations_on_a_confirmed_file_report_the_true_outcome_and_leave_nothing_behind() {
    race_all(Start::Confirmed).await;
}

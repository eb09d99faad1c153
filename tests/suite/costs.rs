//! The number of AWS requests of the main operations: the costs in `docs/costs.md` must not grow unnoticed.

use std::collections::BTreeMap;

use axum::body::Body;
use http::Request;
use serde_json::{Value, json};
use tower::ServiceExt as _;
use xfiles_bench::meter::{Bill, Meter, Operation};
use xfiles_core::{
    catalog::{FileFilter, PageNumber, PageSize},
    id::FileId,
    intent::{ByteSize, Entity, EntityWord, OriginalFilename, Position, UploadIntent, VariantPolicy},
    object_key::Visibility,
    operations::Files,
    variant::{ImageFormat, VariantSpec},
};
use xfiles_edge_variants::Worker;
use xfiles_tests::{TEXT, World, file_id, fixture};

/// A world, and its files through a meter.
struct Metered {
    world: World,
    files: Files,
    meter: Meter,
}

impl Metered {
    async fn start() -> Self {
        let (world, meter) = (World::start().await, Meter::new());
        let files = meter.files(&world.stack);
        Self { world, files, meter }
    }

    /// The requests of an operation.
    async fn bill<T, E: std::fmt::Debug>(&self, operation: impl Future<Output = Result<T, E>>) -> Bill {
        self.meter.take();
        operation.await.unwrap();
        self.meter.take()
    }

    async fn upload(&self, more: Value) -> FileId {
        file_id(&self.world.client.upload(TEXT, more).await)
    }
}

fn calls<const N: usize>(expected: [(Operation, u64); N]) -> BTreeMap<Operation, u64> {
    BTreeMap::from(expected)
}

#[tokio::test]
async fn an_intent_is_one_transaction() {
    let metered = Metered::start().await;
    let intent = UploadIntent {
        original_filename: OriginalFilename::new(TEXT.0).unwrap(),
        content_type: TEXT.1.parse().unwrap(),
        size: ByteSize::new(TEXT.2.len() as u64).unwrap(),
        visibility: Visibility::Private,
        owner: None,
        entity: Some(Entity {
            kind: EntityWord::new("listing").unwrap(),
            id: EntityWord::new("1").unwrap(),
            role: None,
            position: Position(0),
        }),
        variants: VariantPolicy::default(),
        checksum: None,
    };
    let bill = metered.bill(metered.files.begin(metered.world.stack.project(), intent)).await;
    assert_eq!(bill.calls, calls([(Operation::TransactWriteItems, 1)]));
    assert!(bill.write_units > 0.0, "the engine returns the consumed capacity");
    metered.world.end().await;
}

#[tokio::test]
async fn a_repeated_confirm_a_get_and_fresh_urls_are_one_read_and_no_object_store_request() {
    let metered = Metered::start().await;
    let (project, id) = (metered.world.stack.project(), metered.upload(json!({})).await);
    let one_read = calls([(Operation::GetItem, 1)]);

    assert_eq!(metered.bill(metered.files.confirm(project, id)).await.calls, one_read);
    let bill = metered.bill(metered.files.get(project, id)).await;
    assert_eq!((bill.calls, bill.read_units), (one_read.clone(), 1.0));
    let fresh = async {
        let file = metered.files.get(project, id).await?;
        metered.files.urls(&file, ImageFormat::WebP, None, false).await
    };
    assert_eq!(metered.bill(fresh).await.calls, one_read);
    metered.world.end().await;
}

#[tokio::test]
async fn a_first_confirm_reads_and_copies_the_bytes_once() {
    let metered = Metered::start().await;
    let intent = metered.world.client.intent(TEXT.0, TEXT.1, TEXT.2.len(), json!({})).await.ok();
    metered.world.client.put(&intent, TEXT.1, TEXT.2).await;
    let bill = metered.bill(metered.files.confirm(metered.world.stack.project(), file_id(&intent))).await;
    let expected = calls([
        (Operation::GetItem, 1),
        (Operation::GetObject, 1),
        (Operation::PutItem, 1),
        (Operation::CopyObject, 1),
        (Operation::DeleteObjects, 1),
        (Operation::TransactWriteItems, 1),
    ]);
    assert_eq!(bill.calls, expected);
    metered.world.end().await;
}

#[tokio::test]
async fn first_and_cursor_pages_are_one_query_and_one_batch_of_reads() {
    let metered = Metered::start().await;
    let project = metered.world.stack.project();
    for position in 0..5 {
        metered.upload(json!({"entity": {"type": "listing", "id": "1", "position": position}})).await;
    }
    let (every, two) = (FileFilter::default(), PageSize::new(2).unwrap());
    let page = calls([(Operation::Query, 1), (Operation::BatchGetItem, 1)]);

    assert_eq!(metered.bill(metered.files.walk(project, &every, None, two)).await.calls, page);
    let first = metered.files.walk(project, &every, None, two).await.unwrap();
    assert_eq!(metered.bill(metered.files.walk(project, &every, first.next.as_ref(), two)).await.calls, page);

    let gallery = FileFilter {
        entity_type: EntityWord::new("listing"),
        entity_id: EntityWord::new("1"),
        ..FileFilter::default()
    };
    let one = PageNumber::MIN;
    assert_eq!(metered.bill(metered.files.list(project, &gallery, one, two)).await.calls, page);

    let of_type = FileFilter { entity_type: EntityWord::new("listing"), ..FileFilter::default() };
    assert_eq!(metered.bill(metered.files.walk(project, &of_type, None, two)).await.calls, page);

    // The total is read from the project.
    let with_total = calls([(Operation::GetItem, 1), (Operation::Query, 1), (Operation::BatchGetItem, 1)]);
    assert_eq!(metered.bill(metered.files.list(project, &every, one, two)).await.calls, with_total);
    metered.world.end().await;
}

#[tokio::test]
async fn a_deletion_invalidates_only_the_paths_under_which_something_can_be_cached() {
    let metered = Metered::start().await;
    let project = metered.world.stack.project();
    let plain = metered.upload(json!({})).await;
    assert_eq!(metered.bill(metered.files.delete(project, plain, None)).await.invalidated_paths, 1);

    let variants = json!({"transformations": {"image": {"enabled": true, "visibility": "public"}}});
    let png = fixture("palette-alpha.png");
    let picture = file_id(&metered.world.client.upload(("a.png", "image/png", &png), variants).await);
    assert_eq!(metered.bill(metered.files.delete(project, picture, None)).await.invalidated_paths, 2);
    metered.world.end().await;
}

#[tokio::test]
async fn a_first_variant_stores_the_placeholder_without_an_additional_read() {
    let metered = Metered::start().await;
    let variants = json!({"transformations": {"image": {"enabled": true, "visibility": "public"}}});
    let png = fixture("palette-alpha.png");
    let id = file_id(&metered.world.client.upload(("a.png", "image/png", &png), variants).await);
    let file = metered.files.get(metered.world.stack.project(), id).await.unwrap();
    let worker = Worker::new(metered.files.clone(), 1).router();
    let stored = [(Operation::GetObject, 1), (Operation::PutObject, 1)];
    for (spec, records) in VariantSpec::all()
        .zip([vec![(Operation::GetItem, 1), (Operation::UpdateItem, 1)], vec![(Operation::GetItem, 2)]])
    {
        let path = format!("/{}", file.variant_key(Visibility::Public, spec));
        let made = worker.clone().oneshot(Request::get(path).body(Body::empty()).unwrap());
        let bill = metered.bill(made).await;
        assert_eq!(bill.calls, records.into_iter().chain(stored).collect(), "{spec:?}");
    }
    metered.world.end().await;
}

#[tokio::test]
async fn a_separate_placeholder_reads_the_original_once_and_stores_no_object_however_often_it_is_requested() {
    let metered = Metered::start().await;
    let png = fixture("palette-alpha.png");
    let id = file_id(&metered.world.client.upload(("a.png", "image/png", &png), json!({})).await);
    let worker = Worker::new(metered.files.clone(), 1);
    let made = metered.bill(worker.note_placeholder(id)).await;
    let (read, noted) = ((Operation::GetItem, 1), (Operation::UpdateItem, 1));
    assert_eq!(made.calls, calls([read, (Operation::GetObject, 1), noted]));
    assert_eq!(metered.bill(worker.note_placeholder(id)).await.calls, calls([read]));
    let text = metered.upload(json!({})).await;
    assert_eq!(metered.bill(worker.note_placeholder(text)).await.calls, calls([read]));
    metered.world.end().await;
}

#[tokio::test]
async fn a_sweep_with_nothing_due_queries_each_partition_once() {
    let metered = Metered::start().await;
    metered.upload(json!({})).await;
    let bill = metered.bill(metered.files.sweep(100, std::time::Duration::from_secs(60))).await;
    let partitions = xfiles_core::catalog::Catalog::DUE_SHARDS;
    assert_eq!(bill.calls, calls([(Operation::Query, partitions.into())]));
    metered.world.end().await;
}

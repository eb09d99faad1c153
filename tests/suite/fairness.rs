//! One project's work does not block another's: the project of each operation, the number of entries that one request
//! reads, and independent deliveries.

use std::{
    collections::HashMap,
    net::Ipv4Addr,
    sync::{Arc, Mutex},
    time::Duration,
};

use aws_sdk_dynamodb::{
    config::{BehaviorVersion, Region},
    types::{AttributeValue, Put, TransactWriteItem},
};
use aws_smithy_runtime_api::client::{
    http::{HttpConnector as _, HttpConnectorFuture, SharedHttpConnector},
    orchestrator::HttpRequest,
};
use axum::{Router, routing::post};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::mpsc};
use xfiles_cleanup_cron::{Bounds, deliver, deliver_every};
use xfiles_core::{
    catalog::{Catalog, DUE, FileFilter, LIST, NamePrefix, PAGE_CEILING, PageNumber, PageSize, Project},
    clock::Clock,
    error::Error,
    file::File,
    id::{FileId, ProjectId},
    intent::{ByteSize, EntityWord, OriginalFilename, UploadIntent, VariantPolicy},
    object_key::Visibility,
    share::{Class, Share},
};
use xfiles_standalone::dynamodb::Dynamo;
use xfiles_tests::{
    TEXT, World, id_of,
    wire::{self, Line},
};

/// Records the project of each request to the metadata store, and the limit of each query.
#[derive(Debug, Default)]
struct Ledger(Mutex<Vec<Entry>>);

#[derive(Clone, Debug)]
struct Entry {
    operation: String,
    share: Share,
    limit: Option<u64>,
}

impl Line for Ledger {
    fn carry(&self, request: HttpRequest, store: SharedHttpConnector) -> HttpConnectorFuture {
        if let Some(target) = request.headers().get("x-amz-target") {
            let operation = target.rsplit('.').next().unwrap_or_default().to_owned();
            let body: Value = serde_json::from_slice(request.body().bytes().unwrap_or_default()).unwrap();
            let entry = Entry { operation, share: Share::current(), limit: body["Limit"].as_u64() };
            self.0.lock().unwrap().push(entry);
        }
        HttpConnectorFuture::new(async move { store.call(request).await })
    }
}

impl Ledger {
    fn taken(&self) -> Vec<Entry> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

#[tokio::test]
async fn every_operation_is_on_behalf_of_the_project_whose_key_asked_for_it() {
    let world = World::start().await;
    let ledger = Arc::new(Ledger::default());
    let client = world.client_through(world.stack.files_through(|c| wire::through(ledger.clone(), c))).await;
    let theirs = Share::of(Class::Api).for_project(world.stack.project());
    let file = client.upload(TEXT, json!({})).await;
    let entries = ledger.taken();
    let first = entries.iter().position(|entry| entry.share == theirs).expect("the project is known in the end");
    let looks_a_key_up = |entry: &Entry| entry.operation == "GetItem" || entry.operation == "UpdateItem";
    assert!(entries[..first].iter().all(|e| e.share == Share::of(Class::Api) && looks_a_key_up(e)), "{entries:?}");
    assert!(entries[first..].iter().all(|entry| entry.share == theirs), "{entries:?}");

    client.get("/api/v1/files?q=a&role=b").await.ok();
    client.get("/api/v1/usage").await.ok();
    assert!(ledger.taken().iter().all(|entry| entry.share == theirs));
    client.delete(&format!("/api/v1/files/{}", id_of(&file))).await.ok();
    let once = client.request(Method::POST, "/api/v1/files/delete").header("idempotency-key", "k");
    let once = once.json(&json!({"fileIds": [id_of(&file)]})).send().await.unwrap();
    assert_eq!(once.status(), StatusCode::OK);
    let entries = ledger.taken();
    assert!(entries.iter().all(|entry| entry.share == theirs.freeing_room()), "{entries:?}");

    let files = world.stack.files_through(|client| wire::through(ledger.clone(), client));
    xfiles_cleanup_cron::run(&files, Bounds::default()).await.unwrap();
    let entries = ledger.taken();
    assert!(entries.iter().all(|entry| entry.share == Share::of(Class::Background).freeing_room()), "{entries:?}");
    deliver(&files, world.stack.courier(), Bounds::default()).await.unwrap();
    let entries = ledger.taken();
    assert!(!entries.is_empty() && entries.iter().all(|entry| entry.share == Share::of(Class::Background)));
    world.end().await;
}

#[tokio::test]
async fn no_query_is_longer_than_a_slice() {
    let world = World::start().await;
    let ledger = Arc::new(Ledger::default());
    let client = world.client_through(world.stack.files_through(|c| wire::through(ledger.clone(), c))).await;
    client.upload(TEXT, json!({"entity": {"type": "a", "id": "b", "role": "c"}})).await;
    let project = world.stack.project();
    for path in [
        "/api/v1/files",
        "/api/v1/files?page=900",
        "/api/v1/files?role=c&q=n",
        "/api/v1/files?role=c&q=n&cursor=",
        "/api/v1/files?entityType=a",
        "/api/v1/projects",
        &format!("/api/v1/projects/{project}/keys"),
    ] {
        client.get(path).await.ok();
    }
    client.delete("/api/v1/files?entityType=a&entityId=b&role=d").await.ok();
    let entries = ledger.taken();
    let queries: Vec<&Entry> = entries.iter().filter(|entry| entry.operation == "Query").collect();
    assert!(queries.len() >= 8, "{queries:?}");
    assert!(queries.iter().all(|query| query.limit.is_some_and(|limit| limit <= 200)), "{queries:?}");
    world.end().await;
}

fn intent() -> UploadIntent {
    UploadIntent {
        original_filename: OriginalFilename::new("photo.txt").unwrap(),
        content_type: "text/plain".parse().unwrap(),
        size: ByteSize::new(1).unwrap(),
        visibility: Visibility::Public,
        variants: VariantPolicy::default(),
        entity: None,
        owner: None,
        checksum: None,
    }
}

/// A catalog in memory with this many confirmed files of one project in its list index.
async fn crowded(files: usize) -> (Catalog, ProjectId) {
    let config = aws_sdk_dynamodb::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::from_static("us-east-1"))
        .endpoint_url("http://dynamodb.invalid")
        .allow_no_auth()
        .http_client(Dynamo::memory().unwrap().http_client());
    let client = aws_sdk_dynamodb::Client::from_conf(config.build());
    let catalog = Catalog::new(client.clone(), "xfiles");
    catalog.create_table().await.unwrap();
    let now = Clock::system().now();
    let project = Project::new("crowded", 100, now);
    catalog.create_project(&project).await.unwrap();
    // A readable record without pending work; in the index each of its copies looks confirmed.
    let pattern = File::begin(project.id, intent(), now);
    catalog.reserve(std::slice::from_ref(&pattern)).await.unwrap();
    let text = |text: String| AttributeValue::S(text);
    let found = client.get_item().table_name("xfiles").key("PK", text(format!("F#{}", pattern.id)));
    let mut pattern = found.key("SK", text("F".to_owned())).send().await.unwrap().item.unwrap();
    pattern.retain(|name, _| *name != DUE.pk && *name != DUE.sk);
    let record = |number: usize| {
        let id = FileId::mint();
        let own = HashMap::from([
            ("PK".to_owned(), text(format!("F#{id}"))),
            (LIST.pk.to_owned(), text(format!("P#{}", project.id))),
            (LIST.sk.to_owned(), text(format!("{number:014}#{id}"))),
            ("visibility".to_owned(), text(Visibility::Public.as_str().to_owned())),
            ("entityRole".to_owned(), text("photo".to_owned())),
            ("created".to_owned(), AttributeValue::N(number.to_string())),
            ("nameKey".to_owned(), text("photo.jpg".to_owned())),
        ]);
        let item = pattern.clone().into_iter().chain(own).collect();
        let put = Put::builder().table_name("xfiles").set_item(Some(item)).build().unwrap();
        TransactWriteItem::builder().put(put).build()
    };
    let numbers: Vec<usize> = (0..files).collect();
    for numbers in numbers.chunks(100) {
        let records = numbers.iter().copied().map(record).collect();
        client.transact_write_items().set_transact_items(Some(records)).send().await.unwrap();
    }
    (catalog, project.id)
}

#[tokio::test]
async fn counting_stops_at_its_limit_and_reports_it() {
    let (catalog, project) = crowded(PAGE_CEILING + 100).await;
    let (size, number) = (PageSize::new(PageSize::MAX).unwrap(), |number| PageNumber::new(number).unwrap());
    let public = FileFilter { visibility: Some(Visibility::Public), ..FileFilter::default() };
    let filters = [public.clone(), FileFilter { name_prefix: NamePrefix::new("PHOTO"), ..public }];
    for (filter, page) in filters.iter().zip([1, 200]) {
        let page = catalog.list(project, filter, number(page), size).await.unwrap();
        assert_eq!((page.total, page.total_is_exact, page.total_pages), (PAGE_CEILING as u64, false, 200));
    }
    let rare = FileFilter { name_prefix: NamePrefix::new("none"), ..FileFilter::default() };
    let sorted = FileFilter { role: Some(EntityWord::new("photo").unwrap()), ..FileFilter::default() };
    for unknown in [&rare, &sorted] {
        let page = catalog.list(project, unknown, number(1), size).await;
        assert!(matches!(page, Err(Error::TooDeep { .. })), "its position cannot be determined");
    }
    let all = catalog.list(project, &FileFilter::default(), number(1), size).await.unwrap();
    assert!(all.total_is_exact, "without filters there is nothing to count");

    let (mut pages, mut next) = (0, None);
    loop {
        let run = catalog.walk(project, &rare, next.as_ref(), PageSize::default()).await.unwrap();
        assert!(run.files.is_empty());
        pages += 1;
        next = run.next;
        if next.is_none() {
            break;
        }
    }
    assert_eq!(pages, PAGE_CEILING.div_ceil(2_000) + 1, "a page of a cursor ends early instead");
}

/// An endpoint that accepts connections and never responds.
async fn silent() -> String {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((connection, _)) = listener.accept().await {
            held.push(connection);
        }
    });
    url
}

/// An endpoint that acknowledges every message and reports it here.
async fn attentive() -> (String, mpsc::UnboundedReceiver<()>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let (taken, messages) = mpsc::unbounded_channel();
    let take = move || {
        taken.send(()).unwrap();
        std::future::ready(StatusCode::NO_CONTENT)
    };
    tokio::spawn(async move { axum::serve(listener, Router::new().route("/", post(take))).await });
    (url, messages)
}

#[tokio::test]
async fn an_endpoint_that_never_responds_delays_no_other() {
    let world = World::start().await;
    let (url, mut messages) = attentive().await;
    let hooks = format!("/api/v1/projects/{}/webhooks", world.stack.project());
    let hook = async |url: &str| assert_eq!(world.client.post(&hooks, &json!({ "url": url })).await.status, 201);
    for _ in 0..3 {
        hook(&silent().await).await;
    }
    // More for each endpoint than its limit, and more in total than the project's limit.
    for _ in 0..20 {
        world.client.upload(TEXT, json!({})).await;
    }
    let mut run = Box::pin(deliver_every(world.files(), world.stack.courier(), Duration::from_millis(1), || {}));
    let heard = async {
        while !world.told().await.is_empty() {
            tokio::task::yield_now().await;
        }
        hook(&url).await;
        for _ in 0..20 {
            world.client.upload(TEXT, json!({})).await;
            messages.recv().await.expect("a message");
        }
    };
    tokio::select! {
        () = &mut run => unreachable!("it never ends"),
        () = heard => {}
    }
    drop(run);

    // Nor is a run that ends after its attempts.
    world.pass(Duration::from_secs(120));
    world.client.upload(TEXT, json!({})).await;
    tokio::select! {
        sent = world.deliver() => panic!("it waits for the silent ones: {sent:?}"),
        message = messages.recv() => message.expect("a message"),
    }
    world.end().await;
}

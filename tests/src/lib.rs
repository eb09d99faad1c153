//! The harness: a whole stack on free ports with a clock that the test moves, a client that speaks HTTP to it, and eyes
//! that look at what is stored.

pub mod sim;
pub mod wire;

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    num::NonZeroU32,
    time::Duration,
};

use reqwest::{Method, RequestBuilder, Response, StatusCode, header::HeaderMap};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use xfiles_control_api::Api;
use xfiles_core::{
    api_key::{ApiKey, Scope},
    catalog::{Catalog, Consistency, Debtor, FileFilter, KeyRecord, PageNumber, PageSize, Project},
    cdn::BaseUrl,
    clock::{Clock, Timestamp},
    error::Error,
    event::{Event, EventType},
    file::{File, State},
    id::{FileId, ProjectId},
    intent::UPLOAD_URL_LIFE,
    operations::Files,
    webhook::Reach,
};
use xfiles_standalone::{ApiOptions, BUCKET, Data, Placeholders, Stack, StackOptions, server::ConnectionLimits};

/// The first bytes of a file of each kind that tests upload, enough to be recognised.
pub const TEXT: (&str, &str, &[u8]) = ("note.txt", "text/plain", b"hello, world\n");

/// A running stack and a client with a key of its first project.
pub struct World {
    /// The stack.
    pub stack: Stack,
    /// The time that the stack lives in.
    pub clock: Clock,
    /// The client.
    pub client: Client,
    http: reqwest::Client,
}

/// How a world differs from the usual one.
#[derive(Clone, Debug)]
pub struct WorldOptions {
    /// Where everything is kept.
    pub data: Data,
    /// The first project's quota in bytes.
    pub quota_bytes: u64,
    /// How often one key may ask.
    pub requests_per_second: Option<NonZeroU32>,
    /// Whose pages may call the API.
    pub allowed_origins: Vec<String>,
    /// Whether private URLs are signed with a new key from now on.
    pub rotate_signing_key: bool,
    /// Where the API and the CDN are said to be, if not where they listen.
    pub public_url: Option<BaseUrl>,
    /// Where webhooks may be.
    pub webhooks: Reach,
    /// Whether uploads are confirmed when their bytes arrive.
    pub auto_confirm: bool,
    /// When the placeholders of pictures are made; on confirmation is when [`World::deliver`] tells of it.
    pub placeholders: Placeholders,
    /// What is granted to connections.
    pub connections: ConnectionLimits,
}

impl Default for WorldOptions {
    fn default() -> Self {
        Self {
            data: Data::Ephemeral,
            quota_bytes: 1_000_000_000,
            requests_per_second: None,
            allowed_origins: Vec::new(),
            rotate_signing_key: false,
            public_url: None,
            webhooks: Reach::Anywhere,
            auto_confirm: false,
            placeholders: Placeholders::OnConfirm,
            connections: ConnectionLimits::default(),
        }
    }
}

impl World {
    /// A fresh world in memory.
    pub async fn start() -> Self {
        Self::with(WorldOptions::default()).await
    }

    /// A fresh world whose first project has this much room.
    pub async fn with_quota(quota_bytes: u64) -> Self {
        Self::with(WorldOptions { quota_bytes, ..WorldOptions::default() }).await
    }

    /// A world on these terms, with a key of its own whether or not it was there before.
    pub async fn with(options: WorldOptions) -> Self {
        let clock = Clock::manual(Clock::system().now());
        let stack = Stack::start(StackOptions {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            quota_bytes: options.quota_bytes,
            clock: clock.clone(),
            cleanup_every: None,
            auto_confirm: options.auto_confirm,
            placeholders: options.placeholders,
            rotate_signing_key: options.rotate_signing_key,
            public_url: options.public_url,
            connections: options.connections,
            api: ApiOptions {
                requests_per_second: options.requests_per_second,
                allowed_origins: options.allowed_origins,
                webhooks: options.webhooks,
            },
            ..StackOptions::new(options.data)
        })
        .await
        .expect("a stack starts");
        let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().expect("a client");
        let key = match stack.first_key() {
            Some(key) => key.clone(),
            None => add_key(stack.files().inspect().catalog, stack.project(), &Scope::ALL, clock.now()).await,
        };
        let client = Client { url: stack.listens_at().to_string(), key: key.reveal().to_owned(), http: http.clone() };
        Self { stack, clock, client, http }
    }

    /// What the handlers work on.
    pub fn files(&self) -> &Files {
        self.stack.files()
    }

    /// What the process tells a Prometheus server.
    pub async fn metrics(&self) -> String {
        let url = self.stack.metrics_url().expect("a world has metrics");
        let scrape = self.http.get(format!("{url}/metrics")).send().await.expect("the metrics answer");
        scrape.text().await.expect("the metrics are text")
    }

    /// Time passes.
    pub fn pass(&self, time: Duration) {
        self.clock.advance(time);
    }

    /// Enough time for a pending upload to be due.
    pub fn pass_expiry(&self) {
        self.pass(UPLOAD_URL_LIFE + xfiles_core::file::EXPIRY_GRACE + Duration::from_secs(1));
    }

    /// A client with a new key of the same project and these scopes.
    pub async fn client_with(&self, scopes: &[Scope]) -> Client {
        self.client_of(self.stack.project(), scopes).await
    }

    /// The same client, of another server of the same API, whose files are these. It ends with the test.
    pub async fn client_through(&self, files: Files) -> Client {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("a bound socket has an address"));
        let api = xfiles_control_api::router(Api::new(files, ApiOptions::default()));
        tokio::spawn(async move { axum::serve(listener, api).await });
        Client { url, ..self.client.clone() }
    }

    /// A client of a new project with its own quota.
    pub async fn client_of_another_project(&self) -> Client {
        let project = Project::new("another", 1_000_000, self.clock.now());
        self.files().inspect().catalog.create_project(&project).await.expect("a project is created");
        self.client_of(project.id, &Scope::ALL).await
    }

    async fn client_of(&self, project: ProjectId, scopes: &[Scope]) -> Client {
        let key = add_key(self.files().inspect().catalog, project, scopes, self.clock.now()).await;
        Client { key: key.reveal().to_owned(), ..self.client.clone() }
    }

    /// A plain GET, of a whole URL or of a path on the CDN.
    pub async fn get(&self, url: &str) -> Response {
        self.request(Method::GET, url).send().await.expect("the stack answers")
    }

    /// A plain request to a whole URL or to a path on the CDN.
    pub fn request(&self, method: Method, url: &str) -> RequestBuilder {
        let url = if url.starts_with('/') { format!("{}{url}", self.stack.listens_at()) } else { url.to_owned() };
        self.http.request(method, url)
    }

    /// Runs the cleanup once.
    pub async fn sweep(&self) -> xfiles_cleanup_cron::Report {
        xfiles_cleanup_cron::run(self.files(), xfiles_cleanup_cron::Bounds::default()).await.expect("the sweep runs")
    }

    /// Sends the events that wait and the deliveries that are due.
    pub async fn deliver(&self) -> xfiles_cleanup_cron::Sent {
        let bounds = xfiles_cleanup_cron::Bounds::default();
        xfiles_cleanup_cron::deliver(self.files(), self.stack.courier(), bounds).await.expect("the outbox answers")
    }

    /// The first project's counters.
    pub async fn project(&self) -> Project {
        self.files()
            .inspect()
            .catalog
            .project(self.stack.project(), Consistency::Strong)
            .await
            .expect("the project is there")
    }

    /// Every object in the bucket, with its size.
    pub async fn objects(&self) -> BTreeMap<String, u64> {
        let mut objects = BTreeMap::new();
        let mut pages = self.stack.s3_client().list_objects_v2().bucket(BUCKET).into_paginator().send();
        while let Some(page) = pages.next().await {
            for object in page.expect("the store lists").contents() {
                let size = object.size().and_then(|s| u64::try_from(s).ok()).expect("an object has a size");
                objects.insert(object.key().expect("an object has a key").to_owned(), size);
            }
        }
        objects
    }

    /// Every event that was told and waits to be sent.
    pub async fn told(&self) -> Vec<Event> {
        let mut told = Vec::new();
        let mut outbox = self.files().inspect().catalog.outbox();
        while let Some(rows) = outbox.next().await.expect("the outbox answers") {
            told.extend(rows.into_iter().flat_map(|row| row.events));
        }
        told.sort_by_key(|event| event.created);
        told
    }

    /// What was told of a file, by type; each change once.
    pub async fn told_of(&self, file: FileId) -> Vec<EventType> {
        let mut told = self.told().await;
        told.retain(|event| event.body.contains(file.as_str()));
        let mut ids: Vec<_> = told.iter().map(|event| &event.id).collect();
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), told.len(), "no change is told twice: {told:?}");
        let mut kinds: Vec<EventType> = told.iter().map(|event| event.kind).collect();
        kinds.sort();
        kinds
    }

    /// Every record of a project that holds bytes, in whatever state: what is listed, and what owes work.
    pub async fn records(&self, project: ProjectId) -> Vec<File> {
        let mut records = self.confirmed(project).await;
        let unfinished = self.unfinished().await.into_iter();
        records.extend(unfinished.filter(|file| file.project == project && !file.is_confirmed() && file.holds() > 0));
        records
    }

    /// Every confirmed file of a project.
    pub async fn confirmed(&self, project: ProjectId) -> Vec<File> {
        let catalog = &self.files().inspect().catalog;
        let (filter, size) = (FileFilter::default(), PageSize::new(PageSize::MAX).expect("within bounds"));
        let mut confirmed = Vec::new();
        for page in 1.. {
            let page = PageNumber::new(page).expect("from 1");
            let list = catalog.list(project, &filter, page, size).await.expect("the catalog lists");
            confirmed.extend(list.files);
            if u64::from(list.page.get()) >= list.total_pages {
                break;
            }
        }
        confirmed
    }

    /// Every record that owes work, now or later.
    pub async fn unfinished(&self) -> Vec<File> {
        let catalog = &self.files().inspect().catalog;
        let mut unfinished = Vec::new();
        let end_of_time = Timestamp::from_millis(99_999_999_999_999);
        let mut due = catalog.due(end_of_time);
        while let Some(debtors) = due.next().await.expect("the due index answers") {
            for debtor in debtors {
                if let Debtor::File(id) = debtor {
                    unfinished.push(catalog.file(id, Consistency::Strong).await.expect("what is due exists"));
                }
            }
        }
        unfinished
    }

    /// What must hold whenever nobody is in the middle of something: bytes, records and quota agree.
    pub async fn check(&self) {
        let objects = self.objects().await;
        let mut accounted: Vec<String> = Vec::new();
        let unfinished = self.unfinished().await;
        for project in self.files().inspect().catalog.projects().await.expect("projects are listed") {
            let mut records = self.confirmed(project.id).await;
            let held = |file: &&File| file.project == project.id && !file.is_confirmed() && file.holds() > 0;
            records.extend(unfinished.iter().filter(held).cloned());
            let bytes = |filter: fn(&&File) -> bool| records.iter().filter(filter).map(|f| f.holds()).sum::<u64>();
            assert_eq!(project.free_bytes + bytes(|_| true), project.quota_bytes, "free and held bytes are the quota");
            let unpublished = bytes(|f| matches!(f.state, State::Pending | State::Confirming { .. } | State::Expiring));
            assert_eq!(project.reserved_bytes, unpublished, "reserved bytes are those of unpublished files");
            let confirmed = records.iter().filter(|f| f.is_confirmed()).count();
            assert_eq!(project.file_count, confirmed as u64, "the count is that of confirmed files");
            for file in &records {
                if file.is_confirmed() {
                    let key = file.original_key().to_string();
                    assert_eq!(objects.get(&key), Some(&file.size.bytes()), "a confirmed file has its bytes");
                } else {
                    assert!(file.due.is_some(), "a file that is not confirmed owes work");
                }
                let folder = format!("/{}/{}/", file.project, file.id);
                accounted.extend(objects.keys().filter(|key| key.contains(&folder)).cloned());
            }
        }
        let orphans: Vec<&String> =
            objects.keys().filter(|key| key.starts_with("files/") && !accounted.contains(key)).collect();
        assert!(orphans.is_empty(), "published objects without a record: {orphans:?}");
    }

    /// Checks what must hold, and stops.
    pub async fn end(self) {
        self.check().await;
        self.stack.stop().await;
    }
}

async fn add_key(catalog: &Catalog, project: ProjectId, scopes: &[Scope], now: Timestamp) -> ApiKey {
    let key = ApiKey::mint();
    catalog.create_key(&KeyRecord::new(&key, project, "test", scopes, now)).await.expect("a key is created");
    key
}

/// A client of the API with one key.
#[derive(Clone)]
pub struct Client {
    url: String,
    key: String,
    http: reqwest::Client,
}

/// An answer of the API.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Value,
}

impl Answer {
    /// Reads a response whose body is JSON.
    pub async fn of(response: Response) -> Self {
        let (status, headers) = (response.status(), response.headers().clone());
        let text = response.text().await.expect("a body");
        let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
        Self { status, headers, body }
    }

    /// The body, if the status is 200.
    #[track_caller]
    pub fn ok(self) -> Value {
        assert_eq!(self.status, StatusCode::OK, "{}", self.body);
        self.body
    }

    /// Asserts a refusal with all that every refusal has, and gives its body.
    #[track_caller]
    pub fn refused(self, status: u16, code: &str) -> Value {
        assert_eq!((self.status.as_u16(), self.body["code"].as_str()), (status, Some(code)), "{}", self.body);
        assert_eq!(self.headers["content-type"], "application/problem+json");
        assert_eq!(self.headers["request-id"].to_str().ok(), self.body["requestId"].as_str());
        assert_eq!(self.body["status"], status);
        assert_eq!(self.body["error"], self.body["detail"]);
        for field in ["type", "title", "detail", "instance", "hint"] {
            assert!(self.body[field].as_str().is_some_and(|text| !text.is_empty()), "{field}: {}", self.body);
        }
        assert!(self.body["errors"].is_array());
        self.body
    }
}

impl Client {
    /// Where its API is.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The raw key.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The same client of another server.
    pub fn at(&self, url: &str) -> Self {
        Self { url: url.to_owned(), ..self.clone() }
    }

    /// The same client with another key.
    pub fn with_key(&self, key: &str) -> Self {
        Self { key: key.to_owned(), ..self.clone() }
    }

    /// A request with the key.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.url)).bearer_auth(&self.key)
    }

    /// Sends a request without a body.
    pub async fn send(&self, method: Method, path: &str) -> Answer {
        Answer::of(self.request(method, path).send().await.expect("the API answers")).await
    }

    /// GETs.
    pub async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path).await
    }

    /// POSTs JSON.
    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        Answer::of(self.request(Method::POST, path).json(body).send().await.expect("the API answers")).await
    }

    /// DELETEs.
    pub async fn delete(&self, path: &str) -> Answer {
        self.send(Method::DELETE, path).await
    }

    /// Step one: an intent, with more fields if any are given.
    pub async fn intent(&self, name: &str, content_type: &str, size: usize, more: Value) -> Answer {
        let mut body = json!({"filename": name, "contentType": content_type, "size": size});
        merge(&mut body, more);
        self.post("/api/v1/files/upload-intent", &body).await
    }

    /// Step two: the PUT, as curl would send it.
    pub async fn put(&self, intent: &Value, content_type: &str, bytes: impl Into<reqwest::Body>) -> StatusCode {
        let url = intent["uploadUrl"].as_str().expect("an upload URL");
        let body = bytes.into();
        let mut put = self.http.put(url).header("content-type", content_type);
        // The length is signed, and the client sends none for a body that is empty.
        if body.as_bytes().is_some_and(<[u8]>::is_empty) {
            put = put.header("content-length", 0);
        }
        put.body(body).send().await.expect("the store answers").status()
    }

    /// Step three: confirm.
    pub async fn confirm(&self, id: &str) -> Answer {
        self.post("/api/v1/files/confirm", &json!({"fileId": id})).await
    }

    /// All three steps. Gives the confirmed file.
    pub async fn upload(&self, (name, content_type, bytes): (&str, &str, &[u8]), more: Value) -> Value {
        let intent = self.intent(name, content_type, bytes.len(), more).await.ok();
        assert_eq!(self.put(&intent, content_type, bytes.to_vec()).await, StatusCode::OK);
        self.confirm(id_of(&intent)).await.ok()["file"].clone()
    }
}

/// The id in an intent's answer or in a file.
pub fn id_of(body: &Value) -> &str {
    body["fileId"].as_str().or(body["id"].as_str()).expect("an id")
}

/// The id as the core has it.
pub fn file_id(body: &Value) -> FileId {
    id_of(body).parse().expect("a file id")
}

/// Whether the core answers that there is no such file.
pub fn is_gone<T>(read: &Result<T, Error>) -> bool {
    matches!(read, Err(Error::FileNotFound))
}

fn merge(into: &mut Value, more: Value) {
    if let (Value::Object(into), Value::Object(more)) = (into, more) {
        into.extend(more);
    }
}

/// A fixture of the repository.
pub fn fixture(name: &str) -> Vec<u8> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name);
    std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

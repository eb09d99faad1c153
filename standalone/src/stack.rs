//! All of XFiles in one process: engines, API, worker, distribution and schedule, started and stopped together.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use aws_smithy_runtime_api::client::http::SharedHttpClient;
use axum::{
    extract::Request,
    middleware::{self, Next},
    response::Response,
};
use futures::{StreamExt as _, stream};
use tempfile::TempDir;
use tokio::{
    net::TcpListener,
    sync::{
        mpsc::{self, Receiver},
        watch,
    },
    task::JoinSet,
};
use xfiles_cleanup_cron::Courier;
use xfiles_control_api::{Api, ApiOptions};
use xfiles_core::{
    api_key::{ApiKey, Scope},
    catalog::{Catalog, KeyRecord, Project, UploadLimits},
    cdn::{BaseUrl, Cdn, Signer, URL_LIFE},
    clock::{Clock, Timestamp},
    error::{Cause, Error},
    event::{Event, published_picture},
    id::{FileId, ProjectId},
    lifecycle::Files,
    prometheus::Registry,
    share::{Class, Share},
    variant::Colour,
};
use xfiles_edge_variants::Worker;

use crate::{
    custody::{self, Custody, CustodyError, Keeper, Mismatch, Piece, Visit},
    distribution::{self, Bucket, Distribution, TrustedKey},
    dynamodb::{self, Dynamo, Hold},
    engines::{BUCKET, Engines, REGION, TABLE, dynamodb_client},
    metrics::{self, LastSuccess, MetricsListen},
    room::Room,
    s3::{self, ObjectStore, S3Credentials, Scrubbing},
    secrets::Secrets,
    server::{self, ConnectionLimits, Port, TooFew},
};

const DEFAULT_PROJECT: &str = "default";

/// How long staged objects without a record are kept, such as those of a replayed upload URL.
const STAGING_LIFE: Duration = Duration::from_secs(2 * 24 * 60 * 60);

/// The capacity of the CDN stand-in's cache.
const CACHE_BYTES: usize = 64 * 1024 * 1024;

/// The number of concurrent confirmations of uploads that have arrived.
const CONFIRMED_AT_ONCE: usize = 8;

/// How often the outbox is checked.
const OUTBOX_EVERY: Duration = Duration::from_secs(1);

/// The maximum number of images that wait for their placeholders. The placeholders of others are made with their first
/// variant.
const PICTURES_WAITING: usize = 50_000;

/// The pause after a placeholder, as a multiple of the time that it took: placeholders use a quarter of one processor,
/// so that uploads are not slowed down.
const REST: u32 = 3;

/// How long requests in progress may take to finish after a stop was requested.
const DRAIN: Duration = Duration::from_secs(20);

/// Where the data is kept.
#[derive(Clone, Debug)]
pub enum Data {
    /// In this directory, which is created if it does not exist.
    Directory(PathBuf),
    /// In memory and a temporary directory, deleted at the end.
    Ephemeral,
}

/// When the placeholder of an image is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placeholders {
    /// Soon after the image is confirmed.
    OnConfirm,
    /// With its first variant.
    OnView,
}

impl Placeholders {
    /// All values.
    pub const ALL: [Self; 2] = [Self::OnConfirm, Self::OnView];

    /// The name on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OnConfirm => "on-confirm",
            Self::OnView => "on-view",
        }
    }
}

/// The configuration of a stack.
#[derive(Clone, Debug)]
pub struct StackOptions {
    /// Where the data is kept.
    pub data: Data,
    /// The address of the API and the CDN. Port 0 selects a free one.
    pub listen: SocketAddr,
    /// The address of the object store. `None` means the next port after `listen`, or a free one.
    pub s3_listen: Option<SocketAddr>,
    /// The address of the metrics.
    pub metrics_listen: MetricsListen,
    /// The limits of connections.
    pub connections: ConnectionLimits,
    /// The public URL of the API and the CDN. `None` means that of their listener.
    pub public_url: Option<BaseUrl>,
    /// The public URL of the object store. `None` means that of its listener.
    pub s3_public_url: Option<BaseUrl>,
    /// The quota of the project that the first start creates, in bytes.
    pub quota_bytes: u64,
    /// The clock.
    pub clock: Clock,
    /// The interval of the cleanup. `None` disables it and the sending of events.
    pub cleanup_every: Option<Duration>,
    /// Whether uploads are confirmed when their bytes have arrived.
    pub auto_confirm: bool,
    /// When the placeholder of an image is made. `OnConfirm` requires that events are sent, so it has no effect without
    /// `cleanup_every`.
    pub placeholders: Placeholders,
    /// The duration of a pass of the scrub over all stored bytes. `None` disables it: bytes are only compared when they
    /// are read.
    pub scrub_every: Option<Duration>,
    /// The limits of the API.
    pub api: ApiOptions,
    /// The limits on pending uploads.
    pub upload_limits: UploadLimits,
    /// The background of JPEG variants of transparent images. Stored variants are not changed.
    pub jpeg_background: Colour,
    /// The memory limit of all concurrent renders, in bytes.
    pub render_memory: u64,
    /// Whether private URLs are signed with a new key from this start on. URLs signed with the old key work until they
    /// expire.
    pub rotate_signing_key: bool,
}

impl StackOptions {
    /// The default port of the API and the CDN; the object store uses the next.
    pub const DEFAULT_PORT: u16 = 8787;
    /// The default quota of the first project: 10 GiB.
    pub const DEFAULT_QUOTA: u64 = 10 * 1024 * 1024 * 1024;
    /// The default memory limit of all concurrent renders.
    pub const DEFAULT_RENDER_MEMORY: u64 = Worker::RENDER_MEMORY;
    /// The smallest memory limit of renders.
    pub const LEAST_RENDER_MEMORY: u64 = Worker::LEAST_RENDER_MEMORY;

    /// The default duration of a pass of the scrub: a week, in which a terabyte takes 1.7 MB a second.
    pub const DEFAULT_SCRUB: Duration = Duration::from_secs(7 * 24 * 60 * 60);

    /// The options of `xf serve` without flags.
    pub fn new(data: Data) -> Self {
        Self {
            data,
            listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), Self::DEFAULT_PORT),
            s3_listen: None,
            metrics_listen: MetricsListen::Near,
            connections: ConnectionLimits::default(),
            public_url: None,
            s3_public_url: None,
            quota_bytes: Self::DEFAULT_QUOTA,
            clock: Clock::system(),
            cleanup_every: Some(xfiles_cleanup_cron::INTERVAL),
            auto_confirm: false,
            placeholders: Placeholders::OnConfirm,
            scrub_every: Some(Self::DEFAULT_SCRUB),
            api: ApiOptions::default(),
            upload_limits: UploadLimits::default(),
            jpeg_background: Colour::WHITE,
            render_memory: Self::DEFAULT_RENDER_MEMORY,
            rotate_signing_key: false,
        }
    }
}

/// The reason why a stack did not start. Each message names the thing and what to do.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address cannot be bound.
    #[error("cannot listen on {address}: {source}; is it in use? choose another with {flag}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The flag that changes it.
        flag: &'static str,
        /// The error of the operating system.
        source: io::Error,
    },
    /// The limit of open files is too low.
    #[error(transparent)]
    Descriptors(#[from] TooFew),
    /// Another process uses the data directory.
    #[error("{path} is in use by another process; stop it, or choose another directory with --data")]
    Locked {
        /// The directory.
        path: PathBuf,
    },
    /// The data directory cannot be used.
    #[error("cannot use the data directory {path}: {source}")]
    Data {
        /// The directory.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// The parts of the data directory do not belong together.
    #[error(transparent)]
    Mismatch(#[from] Mismatch),
    /// A part of the data directory cannot be opened.
    #[error(transparent)]
    Custody(CustodyError),
    /// The metadata store cannot be opened.
    #[error(transparent)]
    Dynamo(#[from] dynamodb::OpenError),
    /// The object store cannot be opened.
    #[error(transparent)]
    Store(#[from] s3::OpenError),
    /// The scrub of the object store cannot start.
    #[error(transparent)]
    Scrub(#[from] s3::ScrubError),
    /// The first records could not be written.
    #[error("the first records cannot be written: {}", cause(.0))]
    Prepare(#[from] Error),
}

impl From<CustodyError> for StartError {
    fn from(error: CustodyError) -> Self {
        match error {
            CustodyError::Locked { path } => Self::Locked { path },
            CustodyError::Io { path, source } => Self::Data { path, source },
            CustodyError::Mismatch(mismatch) => Self::Mismatch(mismatch),
            CustodyError::Secrets(_) | CustodyError::Database { .. } | CustodyError::Unfinished { .. } => {
                Self::Custody(error)
            }
        }
    }
}

fn cause(error: &Error) -> String {
    match error {
        Error::Internal(source) | Error::StorageFull(source) | Error::Unavailable { source, .. } => source.to_string(),
        other => other.to_string(),
    }
}

/// A running stack. Dropping it ends it at once; [`Stack::stop`] waits for requests in progress.
pub struct Stack {
    // Stopped before the store that it reads is closed.
    _scrubbing: Option<Scrubbing>,
    url: BaseUrl,
    listens_at: BaseUrl,
    s3_url: BaseUrl,
    metrics_url: Option<BaseUrl>,
    registry: Registry,
    project: ProjectId,
    first_key: Option<ApiKey>,
    engines: Engines,
    files: Files,
    distribution: Distribution,
    courier: Courier,
    api: Api,
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
    // Removed after everything above is dropped.
    _temporary: Option<TempDir>,
}

/// The location of the data, locked by this process.
enum Home {
    Directory { path: PathBuf, room: Room, index: Keeper, table: Keeper },
    Temporary(TempDir),
}

impl Stack {
    /// Starts everything and returns when it is ready.
    pub async fn start(options: StackOptions) -> Result<Self, StartError> {
        let registry = Registry::default();
        let connections = server::connections(options.connections.clone(), &registry)?;
        let (home, secrets) = Home::open(&options.data, options.rotate_signing_key)?;
        let (api_listener, s3_listener) = listen(&options).await?;
        let failed = |(address, source)| StartError::Listen { address, flag: "--metrics-listen", source };
        let metrics_listener = options.metrics_listen.bind(options.listen).await.map_err(failed)?;
        let metrics_url = metrics_listener.as_ref().map(address_of);
        let listens_at = address_of(&api_listener);
        let url = options.public_url.clone().unwrap_or_else(|| listens_at.clone());
        let s3_url = options.s3_public_url.clone().unwrap_or_else(|| address_of(&s3_listener));

        let store = |root: &Path, durable| s3::Options {
            root: root.join("objects"),
            durable,
            credentials: secrets.s3.clone(),
            region: REGION.to_owned(),
            clock: options.clock.clone(),
            origins: s3::AllowedOrigins::Any,
        };
        let (dynamo, store, room, temporary) = match home {
            Home::Directory { path, room, index, table } => {
                let dynamo = Dynamo::open_held(&Piece::Table.path(&path), Hold::Keeper(table), Some(room.clone()))?;
                let store = ObjectStore::open_kept(store(&path, true), Some(index))?;
                store.watch_room(room.clone());
                (dynamo, store, Some(room), None)
            }
            Home::Temporary(folder) => {
                (Dynamo::memory()?, ObjectStore::open(store(folder.path(), false))?, None, Some(folder))
            }
        };
        // An ephemeral store needs no scrub.
        let scrub_every = options.scrub_every.filter(|_| temporary.is_none());
        let scrubbing = scrub_every.map(|period| store.scrub_every(period)).transpose()?;
        let engines = Engines::new(dynamo, store, secrets.s3.clone(), s3_url.clone(), options.clock.clone());

        let current = (secrets.signing_key.id().clone(), secrets.signing_key.public_key_pem());
        let trusted = std::iter::once(current).chain(secrets.retired_keys);
        let trusted = trusted.map(|(id, pem)| TrustedKey::from_pem(id, &pem).expect("a signing key has a public key"));
        let distribution = Distribution::new(distribution::Options {
            base_url: url.clone(),
            bucket: Bucket { client: engines.s3_client(|client| client), name: BUCKET.to_owned() },
            trusted_keys: trusted.collect(),
            clock: options.clock.clone(),
            cache_bytes: CACHE_BYTES,
        })
        .counting_in(&registry);
        let cdn = Cdn::new(url.clone(), Signer::new(secrets.signing_key, URL_LIFE), Arc::new(distribution.clone()));
        let mut files = engines.files(cdn, |client| client);
        files.catalog = files.catalog.with_limits(options.upload_limits);
        let renders = std::thread::available_parallelism().map_or(1, usize::from);
        let worker = Worker::new(files.clone(), renders)
            .flattening_on(options.jpeg_background)
            .rendering_in(options.render_memory);
        let (project, first_key) = prepare(&files, options.quota_bytes).await?;
        engines
            .dynamo()
            .expire_by(TABLE, xfiles_core::catalog::TTL)
            .map_err(|e| Cause::new("setting the expiry", &e))
            .map_err(Error::Internal)?;

        let (stop, stopping) = watch::channel(false);
        let mut tasks = JoinSet::new();
        let mut courier = Courier::new(options.api.webhooks);
        if options.placeholders == Placeholders::OnConfirm {
            let (queue, published) = mpsc::channel(PICTURES_WAITING);
            courier = courier.with_listener(move |event| line_up(event, &queue));
            tasks.spawn(note_placeholders(worker.clone(), published, stopping.clone()));
        }
        let api = Api::new(files.clone(), options.api).counting_in(&registry).waiting_until(stopping.clone());
        let apis = xfiles_control_api::docs_router().fallback_service(xfiles_control_api::router(api.clone()));
        let variants = worker.router().layer(middleware::from_fn(on_behalf_of_viewers));
        let front = distribution.router(variants).fallback_service(apis);
        let store = metrics::counted_store(engines.store().service(), &registry);
        tasks.spawn(server::serve(api_listener, Port::Api, front, connections.clone(), stopping.clone()));
        tasks.spawn(server::serve(s3_listener, Port::Store, store, connections, stopping.clone()));
        if let Some(listener) = metrics_listener {
            tasks.spawn(metrics::serve(listener, registry.clone(), engines.store().clone(), stopping.clone()));
        }
        // The removal of bytes that arrive too late is part of the cleanup.
        let handles_arrivals = options.auto_confirm || options.cleanup_every.is_some();
        if let Some(notifications) = handles_arrivals.then(|| engines.store().notifications()).flatten() {
            tasks.spawn(take_arrivals(files.clone(), notifications, options.auto_confirm, stopping.clone()));
        }
        if let Some(every) = options.cleanup_every {
            let (name, help) = ("xfiles_cleanup_age_seconds", "Time since the last successful cleanup.");
            let cleaned = LastSuccess::gauge(&registry, name, help, &options.clock);
            tasks.spawn(clean_up(files.clone(), engines.clone(), room, every, cleaned, stopping.clone()));
            let (name, help) = ("xfiles_outbox_age_seconds", "Time since events were last sent successfully.");
            let sent = LastSuccess::gauge(&registry, name, help, &options.clock);
            tasks.spawn(send_events(files.clone(), courier.clone(), sent, stopping));
        }
        Ok(Self {
            _scrubbing: scrubbing,
            url,
            listens_at,
            s3_url,
            metrics_url,
            registry,
            project,
            first_key,
            engines,
            files,
            distribution,
            courier,
            api,
            stop,
            tasks,
            _temporary: temporary,
        })
    }

    /// The URL of the API and the CDN.
    pub fn url(&self) -> &BaseUrl {
        &self.url
    }

    /// The URL of the API and the CDN on this machine.
    pub fn listens_at(&self) -> &BaseUrl {
        &self.listens_at
    }

    /// The URL of the object store.
    pub fn s3_url(&self) -> &BaseUrl {
        &self.s3_url
    }

    /// The URL of the metrics listener, without the path; `None` if there is none.
    pub fn metrics_url(&self) -> Option<&BaseUrl> {
        self.metrics_url.as_ref()
    }

    /// The metrics of this process.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// The credentials of the object store.
    pub fn s3_credentials(&self) -> &S3Credentials {
        self.engines.s3_credentials()
    }

    /// The first project.
    pub fn project(&self) -> ProjectId {
        self.project
    }

    /// The API key, if this start created one.
    pub fn first_key(&self) -> Option<&ApiKey> {
        self.first_key.as_ref()
    }

    /// The files that the handlers use.
    pub fn files(&self) -> &Files {
        &self.files
    }

    /// The same files through connections wrapped by `wrap`, like another process on the same stores. Tests use this to
    /// lose requests and responses.
    pub fn files_through(&self, wrap: impl Fn(SharedHttpClient) -> SharedHttpClient) -> Files {
        self.engines.files(self.files.cdn.clone(), wrap)
    }

    /// A direct client of the object store.
    pub fn s3_client(&self) -> aws_sdk_s3::Client {
        self.engines.s3_client(|client| client)
    }

    /// The object store's counters of damage and of the scrub.
    pub async fn integrity(&self) -> s3::Integrity {
        self.engines.store().integrity().await
    }

    /// The stand-in for the CDN.
    pub fn distribution(&self) -> &Distribution {
        &self.distribution
    }

    /// The courier that sends events to webhooks and to the worker.
    pub fn courier(&self) -> &Courier {
        &self.courier
    }

    /// Stops accepting requests, waits for those in progress, and ends.
    pub async fn stop(mut self) {
        self.stop.send_replace(true);
        let all = async {
            while self.tasks.join_next().await.is_some() {}
            // Requests of disconnected clients continue without a connection.
            self.api.ended().await;
        };
        if tokio::time::timeout(DRAIN, all).await.is_err() {
            tracing::warn!(drain.s = DRAIN.as_secs(), "requests in progress did not finish in time and are dropped");
        }
        // Seals both databases, which waits for a sync. A panic has already been reported.
        drop(tokio::task::spawn_blocking(move || drop(self)).await);
    }
}

impl Home {
    fn open(data: &Data, rotate_signing_key: bool) -> Result<(Self, Secrets), StartError> {
        match data {
            Data::Directory(path) => {
                let Custody { index, table, secrets, room } = Custody::open(path, rotate_signing_key)?;
                Ok((Self::Directory { path: path.clone(), room, index, table }, secrets))
            }
            Data::Ephemeral => {
                let failed = |source| StartError::Data { path: std::env::temp_dir(), source };
                let folder = TempDir::with_prefix("xfiles-").map_err(failed)?;
                Ok((Self::Temporary(folder), Secrets::generate().0))
            }
        }
    }
}

/// The worker serves unauthenticated viewers, so it has its own share of the metadata store.
async fn on_behalf_of_viewers(request: Request, next: Next) -> Response {
    Share::of(Class::Viewer).scope(next.run(request)).await
}

async fn listen(options: &StackOptions) -> Result<(TcpListener, TcpListener), StartError> {
    let bind = async |address, flag| {
        TcpListener::bind(address).await.map_err(|source| StartError::Listen { address, flag, source })
    };
    let api = bind(options.listen, "--listen").await?;
    // Beside an explicitly given port the next one is expected; beside a free one, another free one.
    let next = options.listen.port().checked_add(1).filter(|port| *port > 1).unwrap_or(0);
    let s3_address = options.s3_listen.unwrap_or_else(|| SocketAddr::new(options.listen.ip(), next));
    Ok((api, bind(s3_address, "--s3-listen").await?))
}

/// The URL of a listener for a client on this machine.
fn address_of(listener: &TcpListener) -> BaseUrl {
    let mut address = listener.local_addr().expect("a bound socket has an address");
    if address.ip().is_unspecified() {
        address.set_ip(match address.ip() {
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
            IpAddr::V6(_) => IpAddr::V6(std::net::Ipv6Addr::LOCALHOST),
        });
    }
    format!("http://{address}").parse().expect("an address is a host and a port")
}

/// Opens the records in a data directory, in use or not. The owner of the machine uses this to create a key if all are
/// lost.
pub async fn open_catalog(data: &Path) -> Result<Catalog, StartError> {
    let database = Piece::Table.path(data);
    if !custody::was_served(data) {
        let source = io::Error::new(io::ErrorKind::NotFound, "it was never used by `xf serve`");
        return Err(StartError::Data { path: data.to_owned(), source });
    }
    let hold = match Custody::open(data, false) {
        Ok(Custody { table, .. }) => Hold::Keeper(table),
        // A server has it, or another tool for a moment.
        Err(CustodyError::Locked { .. }) => {
            let failed = |e: rusqlite::Error| StartError::Data { path: data.to_owned(), source: io::Error::other(e) };
            Hold::Visit(Visit::begin(data).map_err(failed)?)
        }
        Err(error) => return Err(error.into()),
    };
    let dynamo = Dynamo::open_held(&database, hold, None)?;
    Ok(Catalog::new(dynamodb_client(dynamo.http_client(), Clock::system()), TABLE))
}

/// Creates what a first start needs, or finds what a later one has.
async fn prepare(files: &Files, quota_bytes: u64) -> Result<(ProjectId, Option<ApiKey>), Error> {
    files.catalog.create_table().await?;
    files.blobs.create_bucket().await?;
    first_project(&files.catalog, quota_bytes, files.clock.now()).await
}

/// The oldest project, created if there is none, and its first key if it has none.
pub async fn first_project(
    catalog: &Catalog,
    quota_bytes: u64,
    now: Timestamp,
) -> Result<(ProjectId, Option<ApiKey>), Error> {
    let projects = catalog.projects().await?;
    let project = match projects.first() {
        Some(project) => project.id,
        None => {
            let project = Project::new(DEFAULT_PROJECT, quota_bytes, now);
            catalog.create_project(&project).await?;
            project.id
        }
    };
    // A crash between project and key leaves a project without a key.
    if !catalog.keys(project).await?.is_empty() {
        return Ok((project, None));
    }
    let key = ApiKey::mint();
    catalog.create_key(&KeyRecord::new(&key, project, DEFAULT_PROJECT, &Scope::ALL, now)).await?;
    Ok((project, Some(key)))
}

/// Confirms uploads that have arrived, or only removes bytes that arrived after their upload had ended. Work in
/// progress when the stack stops is finished by the client or the cleanup.
async fn take_arrivals(
    files: Files,
    notifications: Receiver<serde_json::Value>,
    confirm: bool,
    mut stopping: watch::Receiver<bool>,
) {
    let files = &files;
    let next = |mut queue: Receiver<_>| async { queue.recv().await.map(|notification| (notification, queue)) };
    let all = stream::unfold(notifications, next).for_each_concurrent(CONFIRMED_AT_ONCE, |notification| async move {
        if confirm {
            if let Err(error) = xfiles_cleanup_cron::confirm_arrivals(files, &notification).await {
                tracing::warn!(error = cause(&error), "an upload that has arrived is left to its client");
            }
        } else if let Err(error) = xfiles_cleanup_cron::remove_late_arrivals(files, &notification).await {
            tracing::warn!(error = cause(&error), "bytes that arrived too late are left to the cleanup");
        }
    });
    tokio::select! {
        () = all => {}
        _ = stopping.wait_for(|stop| *stop) => {}
    }
}

/// Queues a published image for its placeholder, if the queue is not full.
fn line_up(event: &Event, queue: &mpsc::Sender<FileId>) {
    let body = serde_json::from_str(&event.body).unwrap_or_default();
    if let Some(Err(error)) = published_picture(&body).map(|file| queue.try_send(file)) {
        tracing::debug!(%error, "a placeholder is left to the first variant");
    }
}

/// Makes placeholders one after the other, with pauses. Those queued when the stack stops are made with the first
/// variant.
async fn note_placeholders(worker: Worker, mut published: mpsc::Receiver<FileId>, mut stopping: watch::Receiver<bool>) {
    let all = async {
        while let Some(file) = published.recv().await {
            let begun = Instant::now();
            let noted = Share::of(Class::Background).scope(worker.note_placeholder(file));
            if let Err(error) = noted.await {
                tracing::warn!(error = cause(&error), "a placeholder is left to the first variant");
            }
            tokio::time::sleep(begun.elapsed() * REST).await;
        }
    };
    tokio::select! {
        () = all => {}
        _ = stopping.wait_for(|stop| *stop) => {}
    }
}

/// Sends events soon after they are written: reading the outbox of the embedded store costs next to nothing.
async fn send_events(files: Files, courier: Courier, done: LastSuccess, mut stopping: watch::Receiver<bool>) {
    tokio::select! {
        () = xfiles_cleanup_cron::deliver_every(&files, &courier, OUTBOX_EVERY, || done.note()) => {}
        // Claimed deliveries become due again.
        _ = stopping.wait_for(|stop| *stop) => {}
    }
}

async fn clean_up(
    files: Files,
    engines: Engines,
    room: Option<Room>,
    every: Duration,
    done: LastSuccess,
    mut stopping: watch::Receiver<bool>,
) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(every) => {}
            _ = stopping.wait_for(|stop| *stop) => return,
        }
        match xfiles_cleanup_cron::run(&files, xfiles_cleanup_cron::Bounds::default()).await {
            Ok(_) => done.note(),
            Err(error) => tracing::error!(error = cause(&error), "the cleanup failed"),
        }
        let dynamo = engines.dynamo().clone();
        let forgotten = tokio::task::spawn_blocking(move || dynamo.forget_expired()).await;
        if let Ok(Err(error)) = forgotten {
            tracing::error!(%error, "expired idempotency keys could not be removed");
        }
        if let Err(error) = engines.store().expire(BUCKET, "staging/", STAGING_LIFE).await {
            tracing::error!(%error, "abandoned uploads could not be removed");
        }
        if let Some(room) = room.clone() {
            let (dynamo, store) = (engines.dynamo().clone(), engines.store().clone());
            let trimmed = move || {
                dynamo.trim_log(room.log_limit());
                store.trim_log(room.log_limit());
                // As soon as there is space, and not only at the next write.
                room.restore();
            };
            // A panic has already been reported.
            drop(tokio::task::spawn_blocking(trimmed).await);
        }
    }
}

//! All of XFiles in one process: engines, API, worker, distribution and schedule, started and stopped together.

mod home;
mod options;
mod tasks;

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::Path,
    sync::Arc,
    time::Duration,
};

use aws_smithy_runtime_api::client::http::SharedHttpClient;
use axum::{
    extract::Request,
    middleware::{self, Next},
    response::Response,
};
use tempfile::TempDir;
use tokio::{
    net::TcpListener,
    sync::{mpsc, watch},
    task::JoinSet,
};
use xfiles_cleanup_cron::Courier;
use xfiles_control_api::Api;
use xfiles_core::{
    api_key::ApiKey,
    cdn::{BaseUrl, Cdn, Signer, URL_LIFE},
    error::{Cause, Error},
    id::ProjectId,
    operations::Files,
    prometheus::Registry,
    share::{Class, Share},
};
use xfiles_dashboard::Hosts;
use xfiles_edge_variants::Worker;

use self::{
    home::Home,
    tasks::{clean_up, line_up, note_placeholders, send_events, take_arrivals},
};
pub use self::{
    home::open_projects,
    options::{Data, Placeholders, StackOptions, StartError},
};
use crate::{
    custody::Piece,
    distribution::{self, Bucket, Distribution, TrustedKey},
    dynamodb::{Dynamo, Hold},
    engines::{BUCKET, Engines, REGION, TABLE},
    metrics::{self, LastSuccess},
    s3::{self, ObjectStore, S3Credentials, Scrubbing},
    server::{self, Port},
};

/// The capacity of the CDN stand-in's cache.
const CACHE_BYTES: usize = 64 * 1024 * 1024;

/// The maximum number of images that wait for their placeholders. The placeholders of others are made with their first
/// variant.
const PICTURES_WAITING: usize = 50_000;

/// How long requests in progress may take to finish after a stop was requested.
const DRAIN: Duration = Duration::from_secs(20);

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
        let files = engines.files(cdn, |client| client).with_upload_limits(options.upload_limits);
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
        let hosts = Hosts { store: Some(s3_url.to_string()), cdn: Some(url.to_string()) };
        let pages = xfiles_dashboard::router(&hosts).merge(xfiles_control_api::docs_router());
        let apis = pages.fallback_service(xfiles_control_api::router(api.clone()));
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
        self.engines.files(self.files.cdn().clone(), wrap)
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

/// Creates what a first start needs, or finds what a later one has.
async fn prepare(files: &Files, quota_bytes: u64) -> Result<(ProjectId, Option<ApiKey>), Error> {
    files.create_stores().await?;
    let (project, first_key) = files.projects().first(quota_bytes).await?;
    Ok((project, first_key.map(|issued| issued.key)))
}

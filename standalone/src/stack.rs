//! The whole of XFiles in one process: engines, API, worker, distribution and schedule, started and stopped together.

use std::{
    fs::{self, File, TryLockError},
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use aws_sdk_dynamodb::config::{BehaviorVersion, Credentials, Region, SharedCredentialsProvider};
use aws_sdk_s3::config::{RequestChecksumCalculation, StalledStreamProtectionConfig};
use aws_smithy_async::rt::sleep::TokioSleep;
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use axum::Router;
use tempfile::TempDir;
use tokio::{net::TcpListener, sync::watch, task::JoinSet};
use xfiles_control_api::{Api, ApiOptions};
use xfiles_core::{
    api_key::{ApiKey, Scope},
    blobs::Blobs,
    catalog::{Catalog, KeyRecord, Project},
    cdn::{BaseUrl, Cdn, Signer, URL_LIFE},
    clock::Clock,
    error::{Cause, Error},
    id::ProjectId,
    lifecycle::Files,
};
use xfiles_edge_variants::Worker;

use crate::{
    distribution::{self, Bucket, Distribution, TrustedKey},
    dynamodb::{self, Dynamo},
    s3::{self, ObjectStore, S3Credentials},
    secrets::{Secrets, SecretsError},
};

/// The region that the embedded store is in, as far as signatures are concerned.
pub const REGION: &str = "us-east-1";
/// The embedded store's bucket.
pub const BUCKET: &str = "xfiles";
const TABLE: &str = "xfiles";
const DATABASE: &str = "table.db";
const DEFAULT_PROJECT: &str = "default";

/// How long staged bytes are kept that no record knows of any more, such as those of a replayed upload URL.
const STAGING_LIFE: Duration = Duration::from_secs(2 * 24 * 60 * 60);

/// How much the CDN's stand-in keeps in memory.
const CACHE_BYTES: usize = 64 * 1024 * 1024;

/// How long requests in flight may take to finish once a stop was asked for.
const DRAIN: Duration = Duration::from_secs(20);

/// Where everything is kept.
#[derive(Clone, Debug)]
pub enum Data {
    /// In this directory, which is made if it is not there.
    Directory(PathBuf),
    /// Nowhere: gone at the end.
    Ephemeral,
}

/// How to start.
#[derive(Clone, Debug)]
pub struct StackOptions {
    /// Where everything is kept.
    pub data: Data,
    /// Where the API and the CDN listen. Port 0 takes a free one.
    pub listen: SocketAddr,
    /// Where the object store listens. `None`: one port after `listen`, or a free one.
    pub s3_listen: Option<SocketAddr>,
    /// Where clients find the API and the CDN. `None`: where they listen.
    pub public_url: Option<BaseUrl>,
    /// Where clients find the object store. `None`: where it listens.
    pub s3_public_url: Option<BaseUrl>,
    /// The quota of the project that the first start makes, in bytes.
    pub quota_bytes: u64,
    /// The time.
    pub clock: Clock,
    /// How often the cleanup runs by itself. `None`: never.
    pub cleanup_every: Option<Duration>,
    /// The API's limits.
    pub api: ApiOptions,
    /// Whether private URLs are signed with a new key from this start on. What the old key signed works until it
    /// expires.
    pub rotate_signing_key: bool,
}

impl StackOptions {
    /// The port of the API and the CDN when nothing else is asked for; the object store has the next.
    pub const DEFAULT_PORT: u16 = 8787;
    /// The quota of the first project when nothing else is asked for: 10 GiB.
    pub const DEFAULT_QUOTA: u64 = 10 * 1024 * 1024 * 1024;

    /// What `xf serve` does without flags.
    pub fn new(data: Data) -> Self {
        Self {
            data,
            listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), Self::DEFAULT_PORT),
            s3_listen: None,
            public_url: None,
            s3_public_url: None,
            quota_bytes: Self::DEFAULT_QUOTA,
            clock: Clock::system(),
            cleanup_every: Some(xfiles_cleanup_cron::INTERVAL),
            api: ApiOptions::default(),
            rotate_signing_key: false,
        }
    }
}

/// Why a stack did not start. Each message names the thing and what to do.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}; is it taken? choose another with {flag}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The flag that changes it.
        flag: &'static str,
        /// What the system said.
        source: io::Error,
    },
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
        /// What the system said.
        source: io::Error,
    },
    /// The keys.
    #[error(transparent)]
    Secrets(#[from] SecretsError),
    /// The metadata store.
    #[error(transparent)]
    Dynamo(#[from] dynamodb::OpenError),
    /// The object store.
    #[error(transparent)]
    Store(#[from] s3::OpenError),
    /// The first records could not be written.
    #[error("the stores do not take the first records: {}", cause(.0))]
    Prepare(#[from] Error),
}

fn cause(error: &Error) -> String {
    match error {
        Error::Internal(source) | Error::Unavailable { source, .. } => source.to_string(),
        other => other.to_string(),
    }
}

/// A running stack. Dropping it ends it without waiting; [`Stack::stop`] drains.
pub struct Stack {
    url: BaseUrl,
    listens_at: BaseUrl,
    s3_url: BaseUrl,
    project: ProjectId,
    first_key: Option<ApiKey>,
    engines: Engines,
    files: Files,
    distribution: Distribution,
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
    // Removed or unlocked when everything above is gone.
    _home: Home,
}

struct Home {
    path: PathBuf,
    durable: bool,
    _lock: Option<File>,
    _temporary: Option<TempDir>,
}

/// The engines, and what the SDK needs to reach them.
#[derive(Clone)]
struct Engines {
    dynamo: Dynamo,
    store: ObjectStore,
    s3_credentials: S3Credentials,
    s3_url: BaseUrl,
    clock: Clock,
}

impl Stack {
    /// Starts everything and returns once it answers.
    pub async fn start(options: StackOptions) -> Result<Self, StartError> {
        let home = Home::open(&options.data)?;
        let mut secrets = Secrets::load_or_create(&home.path)?;
        if options.rotate_signing_key {
            secrets = secrets.rotate_signing_key(&home.path)?;
        }
        let (api_listener, s3_listener) = listen(&options).await?;
        let listens_at = address_of(&api_listener);
        let url = options.public_url.clone().unwrap_or_else(|| listens_at.clone());
        let s3_url = options.s3_public_url.clone().unwrap_or_else(|| address_of(&s3_listener));

        let dynamo = if home.durable { Dynamo::open(&home.path.join(DATABASE))? } else { Dynamo::memory()? };
        let store = ObjectStore::open(s3::Options {
            root: home.path.join("objects"),
            durable: home.durable,
            credentials: secrets.s3.clone(),
            region: REGION.to_owned(),
            clock: options.clock.clone(),
            origins: s3::AllowedOrigins::Any,
        })?;
        let engines = Engines {
            dynamo,
            store,
            s3_credentials: secrets.s3.clone(),
            s3_url: s3_url.clone(),
            clock: options.clock.clone(),
        };

        let current = (secrets.signing_key.id().clone(), secrets.signing_key.public_key_pem());
        let trusted = std::iter::once(current).chain(secrets.retired_keys);
        let trusted = trusted.map(|(id, pem)| TrustedKey::from_pem(id, &pem).expect("a signing key has a public key"));
        let distribution = Distribution::new(distribution::Options {
            base_url: url.clone(),
            bucket: Bucket { client: engines.s3_client(|client| client), name: BUCKET.to_owned() },
            trusted_keys: trusted.collect(),
            clock: options.clock.clone(),
            cache_bytes: CACHE_BYTES,
        });
        let cdn = Cdn::new(url.clone(), Signer::new(secrets.signing_key, URL_LIFE), Arc::new(distribution.clone()));
        let files = engines.files(cdn, |client| client);
        let worker = Worker::new(files.clone(), std::thread::available_parallelism().map_or(1, usize::from));
        let (project, first_key) = prepare(&files, options.quota_bytes).await?;
        engines
            .dynamo
            .expire_by(TABLE, xfiles_core::catalog::TTL)
            .map_err(|e| Cause::new("setting the expiry", &e))
            .map_err(Error::Internal)?;

        let (stop, stopping) = watch::channel(false);
        let mut tasks = JoinSet::new();
        let api = Api::new(files.clone(), options.api);
        let local = xfiles_control_api::metrics_router(api.clone()).merge(xfiles_control_api::docs_router());
        let apis = local.fallback_service(xfiles_control_api::router(api));
        let front = distribution.router(worker.router()).fallback_service(apis);
        tasks.spawn(serve(api_listener, front, stopping.clone()));
        tasks.spawn(serve(s3_listener, Router::new().fallback_service(engines.store.service()), stopping.clone()));
        if let Some(every) = options.cleanup_every {
            tasks.spawn(clean_up(files.clone(), engines.clone(), every, stopping));
        }
        Ok(Self { url, listens_at, s3_url, project, first_key, engines, files, distribution, stop, tasks, _home: home })
    }

    /// Where the API and the CDN are.
    pub fn url(&self) -> &BaseUrl {
        &self.url
    }

    /// Where this machine finds the API and the CDN.
    pub fn listens_at(&self) -> &BaseUrl {
        &self.listens_at
    }

    /// Where the object store is.
    pub fn s3_url(&self) -> &BaseUrl {
        &self.s3_url
    }

    /// What the object store accepts.
    pub fn s3_credentials(&self) -> &S3Credentials {
        &self.engines.s3_credentials
    }

    /// The first project.
    pub fn project(&self) -> ProjectId {
        self.project
    }

    /// The API key, if this start made one.
    pub fn first_key(&self) -> Option<&ApiKey> {
        self.first_key.as_ref()
    }

    /// What the handlers work on.
    pub fn files(&self) -> &Files {
        &self.files
    }

    /// The same files through connections that pass through `wrap`: what another process on the same stores would
    /// have, and where a test can lose requests and replies.
    pub fn files_through(&self, wrap: impl Fn(SharedHttpClient) -> SharedHttpClient) -> Files {
        self.engines.files(self.files.cdn.clone(), wrap)
    }

    /// The object store's API, straight.
    pub fn s3_client(&self) -> aws_sdk_s3::Client {
        self.engines.s3_client(|client| client)
    }

    /// The CDN's stand-in.
    pub fn distribution(&self) -> &Distribution {
        &self.distribution
    }

    /// Takes no new requests, lets those in flight finish, and ends.
    pub async fn stop(mut self) {
        self.stop.send_replace(true);
        let all = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(DRAIN, all).await.is_err() {
            tracing::warn!(drain.s = DRAIN.as_secs(), "requests in flight did not finish in time and are dropped");
        }
    }
}

impl Home {
    fn open(data: &Data) -> Result<Self, StartError> {
        match data {
            Data::Directory(path) => {
                let lock = lock(path)?;
                Ok(Self { path: path.clone(), durable: true, _lock: Some(lock), _temporary: None })
            }
            Data::Ephemeral => {
                let failed = |source| StartError::Data { path: std::env::temp_dir(), source };
                let temporary = TempDir::with_prefix("xfiles-").map_err(failed)?;
                let path = temporary.path().to_owned();
                Ok(Self { path, durable: false, _lock: None, _temporary: Some(temporary) })
            }
        }
    }
}

/// Holds the directory for this process; the system lets go when the process ends, however it ends.
fn lock(path: &Path) -> Result<File, StartError> {
    use std::os::unix::fs::DirBuilderExt as _;

    let failed = |source| StartError::Data { path: path.to_owned(), source };
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed)?;
    let lock =
        fs::OpenOptions::new().create(true).truncate(false).write(true).open(path.join("lock")).map_err(failed)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(StartError::Locked { path: path.to_owned() }),
        Err(TryLockError::Error(source)) => Err(failed(source)),
    }
}

async fn listen(options: &StackOptions) -> Result<(TcpListener, TcpListener), StartError> {
    let bind = async |address, flag| {
        TcpListener::bind(address).await.map_err(|source| StartError::Listen { address, flag, source })
    };
    let api = bind(options.listen, "--listen").await?;
    // Beside a port that was asked for the next is expected; beside a free one, another free one.
    let next = options.listen.port().checked_add(1).filter(|port| *port > 1).unwrap_or(0);
    let s3_address = options.s3_listen.unwrap_or_else(|| SocketAddr::new(options.listen.ip(), next));
    Ok((api, bind(s3_address, "--s3-listen").await?))
}

/// Where a client on this machine finds a listener.
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

impl Engines {
    fn s3_client(&self, wrap: impl Fn(SharedHttpClient) -> SharedHttpClient) -> aws_sdk_s3::Client {
        let config = aws_sdk_s3::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::from_static(REGION))
            .endpoint_url(self.s3_url.as_str())
            .force_path_style(true)
            .credentials_provider(credentials(&self.s3_credentials))
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .http_client(wrap(self.store.http_client()))
            .sleep_impl(TokioSleep::new())
            .time_source(self.clock.clone())
            .build();
        aws_sdk_s3::Client::from_conf(config)
    }

    fn files(&self, cdn: Cdn, wrap: impl Fn(SharedHttpClient) -> SharedHttpClient) -> Files {
        let s3 = self.s3_client(&wrap);
        let dynamodb = dynamodb_client(wrap(self.dynamo.http_client()), &self.s3_credentials, self.clock.clone());
        Files {
            catalog: Catalog::new(dynamodb, TABLE),
            blobs: Blobs::new(s3, credentials(&self.s3_credentials), BUCKET, self.clock.clone()),
            cdn,
            clock: self.clock.clone(),
        }
    }
}

fn credentials(s3: &S3Credentials) -> SharedCredentialsProvider {
    let (id, secret) = (s3.access_key_id(), s3.secret_access_key());
    SharedCredentialsProvider::new(Credentials::new(id, secret, None, None, "xfiles-standalone"))
}

/// The engine does not check signatures, but the SDK makes them.
fn dynamodb_client(http: SharedHttpClient, keys: &S3Credentials, clock: Clock) -> aws_sdk_dynamodb::Client {
    let config = aws_sdk_dynamodb::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::from_static(REGION))
        .endpoint_url("http://dynamodb.invalid")
        .credentials_provider(credentials(keys))
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        .http_client(http)
        .sleep_impl(TokioSleep::new())
        .time_source(clock)
        .build();
    aws_sdk_dynamodb::Client::from_conf(config)
}

/// The records in a data directory, whether or not a server runs on it: how whoever owns the machine makes a key when
/// all are lost.
pub async fn open_catalog(data: &Path) -> Result<Catalog, StartError> {
    let database = data.join(DATABASE);
    if !database.exists() {
        let source = io::Error::new(io::ErrorKind::NotFound, "nothing was ever served from it");
        return Err(StartError::Data { path: data.to_owned(), source });
    }
    let dynamo = Dynamo::open(&database)?;
    let s3_credentials = Secrets::load_or_create(data)?.s3;
    Ok(Catalog::new(dynamodb_client(dynamo.http_client(), &s3_credentials, Clock::system()), TABLE))
}

/// Makes what a first start needs and finds what a later one has.
async fn prepare(files: &Files, quota_bytes: u64) -> Result<(ProjectId, Option<ApiKey>), Error> {
    files.catalog.create_table().await?;
    files.blobs.create_bucket().await?;
    let projects = files.catalog.projects().await?;
    let now = files.clock.now();
    let project = match projects.first() {
        Some(project) => project.id,
        None => {
            let project = Project::new(DEFAULT_PROJECT, quota_bytes, now);
            files.catalog.create_project(&project).await?;
            project.id
        }
    };
    // A crash between project and key leaves a project without one.
    if !files.catalog.keys(project).await?.is_empty() {
        return Ok((project, None));
    }
    let key = ApiKey::mint();
    files.catalog.create_key(&KeyRecord::new(&key, project, DEFAULT_PROJECT, &Scope::ALL, now)).await?;
    Ok((project, Some(key)))
}

async fn serve(listener: TcpListener, router: Router, mut stopping: watch::Receiver<bool>) {
    let stop = async move {
        // An error means that the stack is gone, which is a stop as well.
        drop(stopping.wait_for(|stop| *stop).await);
    };
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    if let Err(error) = axum::serve(listener, service).with_graceful_shutdown(stop).await {
        tracing::error!(%error, "a listener failed");
    }
}

async fn clean_up(files: Files, engines: Engines, every: Duration, mut stopping: watch::Receiver<bool>) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(every) => {}
            _ = stopping.wait_for(|stop| *stop) => return,
        }
        if let Err(error) = xfiles_cleanup_cron::run(&files, xfiles_cleanup_cron::Bounds::default()).await {
            tracing::error!(error = cause(&error), "the cleanup failed");
        }
        let dynamo = engines.dynamo.clone();
        let forgotten = tokio::task::spawn_blocking(move || dynamo.forget_expired()).await;
        if let Ok(Err(error)) = forgotten {
            tracing::error!(%error, "expired idempotency keys could not be forgotten");
        }
        if let Err(error) = engines.store.expire(BUCKET, "staging/", STAGING_LIFE).await {
            tracing::error!(%error, "abandoned uploads could not be removed");
        }
    }
}

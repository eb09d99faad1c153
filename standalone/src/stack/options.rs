//! How a stack is started, and why one did not start.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use xfiles_control_api::ApiOptions;
use xfiles_core::{catalog::UploadLimits, cdn::BaseUrl, clock::Clock, error::Error, variant::Colour};
use xfiles_edge_variants::Worker;

use crate::{
    custody::{CustodyError, Mismatch},
    dynamodb,
    metrics::MetricsListen,
    s3,
    server::{ConnectionLimits, TooFew},
};

/// Where everything is kept.
#[derive(Clone, Debug)]
pub enum Data {
    /// In this directory, which is made if it is not there.
    Directory(PathBuf),
    /// Nowhere: gone at the end.
    Ephemeral,
}

/// When the placeholder of a picture is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placeholders {
    /// Soon after the picture was confirmed, whether or not anybody looks at it.
    OnConfirm,
    /// With its first variant.
    OnView,
}

impl Placeholders {
    /// Both.
    pub const ALL: [Self; 2] = [Self::OnConfirm, Self::OnView];

    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OnConfirm => "on-confirm",
            Self::OnView => "on-view",
        }
    }
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
    /// Where the metrics are.
    pub metrics_listen: MetricsListen,
    /// What is granted to connections.
    pub connections: ConnectionLimits,
    /// Where clients find the API and the CDN. `None`: where they listen.
    pub public_url: Option<BaseUrl>,
    /// Where clients find the object store. `None`: where it listens.
    pub s3_public_url: Option<BaseUrl>,
    /// The quota of the project that the first start makes, in bytes.
    pub quota_bytes: u64,
    /// The time.
    pub clock: Clock,
    /// How often the cleanup runs by itself. `None`: never, and events are not sent by themselves either.
    pub cleanup_every: Option<Duration>,
    /// Whether an upload is confirmed as soon as its bytes have arrived.
    pub auto_confirm: bool,
    /// When the placeholder of a picture is made. Soon after the confirmation is when that is told, so never by itself
    /// where events are not sent by themselves.
    pub placeholders: Placeholders,
    /// How long a pass of the scrub over all stored bytes takes. `None`: they are compared only when they are read.
    pub scrub_every: Option<Duration>,
    /// The API's limits.
    pub api: ApiOptions,
    /// How many uploads may be pending.
    pub upload_limits: UploadLimits,
    /// What JPEG variants show where their original is transparent. Stored ones keep theirs.
    pub jpeg_background: Colour,
    /// How much memory all renders together may take, in bytes.
    pub render_memory: u64,
    /// Whether private URLs are signed with a new key from this start on. What the old key signed works until it
    /// expires.
    pub rotate_signing_key: bool,
}

impl StackOptions {
    /// The port of the API and the CDN when nothing else is asked for; the object store has the next.
    pub const DEFAULT_PORT: u16 = 8787;
    /// The quota of the first project when nothing else is asked for: 10 GiB.
    pub const DEFAULT_QUOTA: u64 = 10 * 1024 * 1024 * 1024;
    /// What all renders together may take when nothing else is asked for.
    pub const DEFAULT_RENDER_MEMORY: u64 = Worker::RENDER_MEMORY;
    /// The least that they may be given.
    pub const LEAST_RENDER_MEMORY: u64 = Worker::LEAST_RENDER_MEMORY;

    /// How long a pass of the scrub takes when nothing else is asked for: a week, in which a terabyte is 1.7 MB a second.
    pub const DEFAULT_SCRUB: Duration = Duration::from_secs(7 * 24 * 60 * 60);

    /// What `xf serve` does without flags.
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
    /// The system does not allow what the server needs.
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
        /// What the system said.
        source: io::Error,
    },
    /// The parts of the data directory do not belong together.
    #[error(transparent)]
    Mismatch(#[from] Mismatch),
    /// The data directory has a part that cannot be opened.
    #[error(transparent)]
    Custody(CustodyError),
    /// The metadata store.
    #[error(transparent)]
    Dynamo(#[from] dynamodb::OpenError),
    /// The object store.
    #[error(transparent)]
    Store(#[from] s3::OpenError),
    /// The scrub of the object store.
    #[error(transparent)]
    Scrub(#[from] s3::ScrubError),
    /// The first records could not be written.
    #[error("the stores do not take the first records: {}", cause(.0))]
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

pub(super) fn cause(error: &Error) -> String {
    match error {
        Error::Internal(source) | Error::StorageFull(source) | Error::Unavailable { source, .. } => source.to_string(),
        other => other.to_string(),
    }
}

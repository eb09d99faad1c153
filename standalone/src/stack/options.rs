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

pub(super) fn cause(error: &Error) -> String {
    match error {
        Error::Internal(source) | Error::StorageFull(source) | Error::Unavailable { source, .. } => source.to_string(),
        other => other.to_string(),
    }
}

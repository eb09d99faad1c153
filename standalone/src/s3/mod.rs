//! The embedded object store: S3 on one machine, for one pair of keys.
//!
//! A request passes the files in this order: `gate` (CORS, and requests that the protocol layer must not see), then
//! `s3s` (signatures, XML, framing), `access` (authorisation), `ops` (the operations, with `conditions`, `checksum` and
//! `listing`), `blob` (the bytes) and `index` (the objects). This module opens the store and provides its clients.
//! Independently of requests, `scrub` reads all blobs from time to time. `holding` lists blobs for the scrub, the
//! backup and the restore; `damage` has the state of damaged blobs; `hold` prevents the removal of blobs during a
//! backup.
//!
//! Guarantees:
//! - An acknowledged object is complete and survives a crash of the process, and of the machine if the store is
//!   durable. An unacknowledged object does not exist. Leftovers of a crash are removed a day later.
//! - Nothing is visible before its length, checksums and signatures are verified, and conditions hold under
//!   concurrency.
//! - Every key of at most 1,024 bytes is safe, because keys are never file names.
//! - No bytes are returned of a file that is missing or of another length, and an object that is read completely is
//!   compared with its MD5 before its last byte is sent. Damage that the scrub or a read finds is refused until it is
//!   repaired.
//! - A full disk refuses uploads with 507 and keeps nothing of them. Deletions still work, in the space that `room`
//!   reserves.
//!
//! Deliberately absent: multipart uploads, versions, ACLs, tags, encryption, POST uploads, SigV2, virtual-host
//! addressing. Such requests get `NotImplemented` or the error that S3 has for them.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use aws_smithy_runtime_api::client::http::SharedHttpClient;
use s3s::{
    config::{S3Config, StaticConfigProvider},
    service::S3ServiceBuilder,
};
use tokio::sync::mpsc::{self, Receiver};
use xfiles_core::clock::{Clock, Timestamp};

use crate::custody::Keeper;

use self::{access::Access, blob::Blobs, damage::Watch, index::Index, ops::Operations, scrub::Background};
use crate::{
    lock::{Locks, Unlockable},
    room::Room,
};

mod gate;

mod cors;

mod access;

mod ops;

mod conditions;

mod checksum;

mod listing;

mod blob;

mod index;

mod damage;

mod scrub;

pub(crate) mod holding;

pub(crate) mod hold;

pub(crate) mod salvage;

pub(crate) use self::blob::shards;
pub use self::{
    access::S3Credentials,
    cors::AllowedOrigins,
    damage::Damage,
    gate::S3Service,
    scrub::{DamagedBlob, ScrubError, ScrubReport, scrub},
};

/// The index's database, relative to the store's directory.
pub(crate) const INDEX: &str = "index.sqlite3";

/// A directive with which every log filter must end: the protocol layer logs signatures and signed URLs at all levels
/// from `debug` to `error`. This module logs the relevant information itself.
pub const LOG_DIRECTIVE: &str = "s3s=off";

/// The maximum number of notifications that wait for their listener, of about 1 KB each.
pub const NOTIFICATIONS_WAITING: usize = 20_000;

/// The configuration of a store.
#[derive(Clone, Debug)]
pub struct Options {
    /// The directory of the store, created if it does not exist. Only one process can use it.
    pub root: PathBuf,
    /// Whether changes are synced before they are acknowledged. Otherwise a crash of the machine may lose the last
    /// seconds.
    pub durable: bool,
    /// The keys that the store accepts.
    pub credentials: S3Credentials,
    /// The region that signatures must name.
    pub region: String,
    /// The clock for the expiry of signatures. It must not be behind the system clock, which the protocol layer also
    /// uses.
    pub clock: Clock,
    /// The origins whose pages may call the store from a browser.
    pub origins: AllowedOrigins,
}

/// The reason why a store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The directory cannot be created or written.
    #[error("cannot write in the object store's directory {}: {source}", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// Another process uses it.
    #[error("the object store in {} is in use by another process", path.display())]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// The index is damaged, on a full disk, or was written by a newer version.
    #[error("cannot open the object store's index {}: {reason}", path.display())]
    Index {
        /// The index.
        path: PathBuf,
        /// The error.
        reason: String,
    },
}

/// The lifecycle rule was not applied; the cause is in the log.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the object store could not remove old objects")]
pub struct ExpireError;

/// An open store. Clones share it; dropping the last one commits queued changes and closes it.
#[derive(Clone, Debug)]
pub struct ObjectStore {
    root: PathBuf,
    operations: Operations,
    service: S3Service,
    /// The service for this process, which needs no signatures because no other process can reach it.
    trusting: S3Service,
}

impl ObjectStore {
    /// Opens the store in a directory. It is ready at once; garbage of earlier runs is removed in the background.
    pub fn open(options: Options) -> Result<Self, OpenError> {
        Self::open_kept(options, None)
    }

    /// Opens the store with the keeper of its index.
    pub(crate) fn open_kept(options: Options, keeper: Option<Keeper>) -> Result<Self, OpenError> {
        let Options { root, durable, credentials, region, clock, origins } = options;
        let unwritable = |source| OpenError::Directory { path: root.clone(), source };
        fs::create_dir_all(&root).map_err(unwritable)?;
        let lock = lock(&root)?;
        let blobs = Blobs::open(root.join("blobs"), durable).map_err(unwritable)?;
        let path = root.join(INDEX);
        let index = Index::open(&path, durable, &blobs, clock.clone(), keeper)
            .map_err(|e| OpenError::Index { path: path.clone(), reason: e.to_string() })?;
        if durable {
            blob::sync_directory(&root).map_err(unwritable)?;
        }

        let access = Access { clock: clock.clone(), region: region.clone() };
        let operations = Operations {
            index: Arc::new(index),
            blobs,
            clock: clock.clone(),
            region,
            listener: Arc::default(),
            room: Arc::default(),
            watch: Watch::default(),
            _locks: Arc::new(lock),
        };
        let protocol = || {
            let mut protocol = S3ServiceBuilder::new(operations.clone());
            protocol.set_config(Arc::new(StaticConfigProvider::new(Arc::new(protocol_config()))));
            protocol
        };
        let mut guarded = protocol();
        guarded.set_auth(credentials);
        guarded.set_access(access);
        let service = S3Service::new(guarded.build(), origins, clock.clone());
        let trusting = S3Service::new(protocol().build(), AllowedOrigins::Any, clock);
        Ok(Self { root, operations, service, trusting })
    }

    /// Receives a notification in S3's format for every object that is PUT from now on. `None` if there is already a
    /// listener. Notifications are dropped while [`NOTIFICATIONS_WAITING`] are waiting.
    pub fn notifications(&self) -> Option<Receiver<serde_json::Value>> {
        let (sender, receiver) = mpsc::channel(NOTIFICATIONS_WAITING);
        self.operations.listener.set(sender).is_ok().then_some(receiver)
    }

    /// Truncates the index's log if it is larger than `most` bytes.
    pub(crate) fn trim_log(&self, most: u64) {
        self.operations.index.trim_log(most);
    }

    /// From now on, refuses uploads for which the disk has no space.
    pub(crate) fn watch_room(&self, room: Room) {
        // Only the first call has an effect.
        drop(self.operations.room.set(room));
    }

    /// The store as an HTTP service for a listener, with path-style addresses.
    pub fn service(&self) -> S3Service {
        self.service.clone()
    }

    /// The store as the HTTP client of an SDK in this process. The SDK client must use path-style addresses and must
    /// not sign; its endpoint is ignored.
    pub fn http_client(&self) -> SharedHttpClient {
        crate::in_process::http_client(self.trusting.clone())
    }

    /// Reads every blob about once per `period` in the background, until the returned handle is dropped.
    pub fn scrub_every(&self, period: Duration) -> Result<Scrubbing, ScrubError> {
        let Operations { clock, watch, .. } = &self.operations;
        Background::start(&self.root, period, clock.clone(), watch.clone()).map(Scrubbing)
    }

    /// The counters of damaged blobs and of the scrub.
    pub async fn integrity(&self) -> Integrity {
        self.operations.integrity().await
    }

    /// Applies the bucket's lifecycle rule: removes objects under a prefix that are older than `age`, at most 1,000 per
    /// call, and returns their number.
    pub async fn expire(&self, bucket: &str, prefix: &str, age: Duration) -> Result<usize, ExpireError> {
        let age = i64::try_from(age.as_millis()).unwrap_or(i64::MAX);
        let before = Timestamp::from_millis(self.operations.clock.now().as_millis().saturating_sub(age));
        self.operations.expire(bucket.to_owned(), prefix.to_owned(), before).await.map_err(|fault| {
            tracing::error!(%fault, "the object store could not remove old objects");
            ExpireError
        })
    }
}

/// A background scrub; dropping it stops it.
#[derive(Debug)]
pub struct Scrubbing(#[expect(dead_code, reason = "what matters is when it is dropped")] Background);

/// The integrity of the stored bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Integrity {
    /// The number of blobs that are marked as damaged now; `None` if the index cannot be read.
    pub damaged_blobs: Option<u64>,
    /// The number of requests since the start that were refused because their blob is damaged.
    pub refused_reads: u64,
    /// The number of blobs that the scrub has read since the start.
    pub scrubbed_blobs: u64,
    /// The number of bytes that the scrub has read since the start.
    pub scrubbed_bytes: u64,
    /// The end of the last complete pass of the scrub.
    pub last_pass: Option<Timestamp>,
}

impl Integrity {
    /// The counters in the Prometheus text format.
    pub fn to_prometheus(&self) -> String {
        use std::fmt::Write as _;

        let mut text = String::new();
        let mut metric = |name: &str, kind: &str, help: &str, value: Option<u64>| {
            if let Some(value) = value {
                // Writing to a String cannot fail.
                let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}");
            }
        };
        let seconds = self.last_pass.and_then(|at| u64::try_from(at.as_millis() / 1000).ok());
        metric("xfiles_store_damaged_blobs", "gauge", "Stored blobs that are known to be damaged.", self.damaged_blobs);
        metric(
            "xfiles_store_refused_reads_total",
            "counter",
            "Reads of stored objects that were refused because the bytes are damaged.",
            Some(self.refused_reads),
        );
        metric("xfiles_store_scrubbed_blobs_total", "counter", "Blobs read by the scrub.", Some(self.scrubbed_blobs));
        metric("xfiles_store_scrubbed_bytes_total", "counter", "Bytes read by the scrub.", Some(self.scrubbed_bytes));
        metric(
            "xfiles_store_scrub_last_pass_timestamp_seconds",
            "gauge",
            "When the last complete pass of the scrub ended.",
            seconds,
        );
        text
    }
}

/// Holds the directory for this process.
fn lock(root: &Path) -> Result<Locks, OpenError> {
    Locks::take(root).map_err(|unlockable| match unlockable {
        Unlockable::InUse => OpenError::InUse { path: root.to_owned() },
        Unlockable::Io(source) => OpenError::Directory { path: root.to_owned(), source },
    })
}

fn protocol_config() -> S3Config {
    let mut config = S3Config::default();
    // The protocol layer compares with the system clock; `access` uses the store's clock instead.
    config.presigned_url_max_skew_time_secs = u32::MAX;
    // The gate refuses all forms.
    config.post_object_max_file_size = 0;
    config
}

#[cfg(test)]
mod tests {
    use std::{
        io::Write,
        sync::{Mutex, PoisonError},
    };

    use aws_sdk_s3::{
        config::{BehaviorVersion, Credentials, Region},
        presigning::PresigningConfig,
        primitives::ByteStream,
    };
    use axum::body::Body;
    use http::Request;
    use tower::ServiceExt as _;
    use tracing_subscriber::{EnvFilter, fmt::MakeWriter};

    use super::*;

    const SECRET: &str = "a-secret-that-must-not-leak";

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl Log {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    impl Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl<'w> MakeWriter<'w> for Log {
        type Writer = Self;

        fn make_writer(&'w self) -> Self {
            self.clone()
        }
    }

    #[tokio::test]
    async fn with_the_log_directive_no_log_line_has_a_signature_or_a_key() {
        let log = Log::default();
        let filter = EnvFilter::new("trace").add_directive(LOG_DIRECTIVE.parse().unwrap());
        let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(log.clone()).finish();
        let logging = tracing::subscriber::set_default(subscriber);

        let directory = tempfile::tempdir().unwrap();
        let store = ObjectStore::open(Options {
            root: directory.path().to_owned(),
            durable: false,
            credentials: S3Credentials::new("XFACCESS", SECRET),
            region: "us-east-1".to_owned(),
            clock: Clock::system(),
            origins: AllowedOrigins::Any,
        })
        .unwrap();
        let config = aws_sdk_s3::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .endpoint_url("http://store.local")
            .region(Region::new("us-east-1"))
            .credentials_provider(Credentials::new("XFACCESS", SECRET, None, None, "test"))
            .force_path_style(true);
        let client = aws_sdk_s3::Client::from_conf(config.build());
        let put = client.put_object().bucket("bucket").key("private-name.jpg");
        let life = PresigningConfig::expires_in(Duration::from_secs(60)).unwrap();
        // Without the SDK's own log, whose filter is not part of this module.
        let url = put.body(ByteStream::from_static(b"x")).presigned(life).await.unwrap();
        let signature = url.uri().rsplit_once("X-Amz-Signature=").unwrap().1;
        let signature = signature.split('&').next().unwrap().to_owned();
        log.0.lock().unwrap().clear();

        // The bucket is missing; then the signature is wrong; then it is missing.
        for uri in
            [url.uri(), &url.uri().replace("private-name", "other-name"), "http://store.local/bucket/private-name.jpg"]
        {
            let request = Request::put(uri).header("host", "store.local").header("content-length", 1);
            let answer = store.service().oneshot(request.body(Body::from("x")).unwrap()).await.unwrap();
            assert!(answer.status().is_client_error());
        }
        drop(logging);
        let text = log.text();
        for leak in [signature.as_str(), SECRET, "XFACCESS", "private-name", "X-Amz-"] {
            assert!(!text.contains(leak), "the log contains a secret");
        }
    }
}

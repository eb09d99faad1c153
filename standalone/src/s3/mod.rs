//! The embedded object store: S3 on one machine, for one pair of keys.
//!
//! A request crosses the files in this order: `gate` (CORS, and what the protocol layer must not see), then `s3s`
//! (signatures, XML, framing), `access` (who may do what, and when), `ops` (the operations, with `conditions`,
//! `checksum` and `listing`), `blob` (the bytes) and `index` (what exists). This module opens the store and hands out
//! the ways to reach it.
//!
//! What it promises:
//! - An object that was acknowledged is whole and survives a crash of the process, and of the machine if the store is
//!   durable. One that was not acknowledged is absent. What a crash leaves behind is removed after the next start.
//! - Nothing is visible before its length, checksums and signatures are verified, and conditions hold under races.
//! - Any key of at most 1,024 bytes is as safe as any other: keys are never file names.
//! - A full disk refuses uploads with 507 and leaves nothing of them. Deletions go on, in the room that
//!   [`room`](crate::room) keeps for them.
//!
//! What is absent on purpose: multipart uploads, versions, ACLs, tags, encryption, POST uploads, SigV2, virtual-host
//! addressing. They answer `NotImplemented` or the error that S3 has for them.

use std::{
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use aws_smithy_runtime_api::client::http::SharedHttpClient;
use s3s::{
    config::{S3Config, StaticConfigProvider},
    service::S3ServiceBuilder,
};
use tokio::sync::mpsc::{self, UnboundedReceiver};
use xfiles_core::clock::{Clock, Timestamp};

use self::{access::Access, blob::Blobs, index::Index, ops::Operations};
use crate::room::Room;

mod gate;

mod cors;

mod access;

mod ops;

mod conditions;

mod checksum;

mod listing;

mod blob;

mod index;

pub use self::{access::S3Credentials, cors::AllowedOrigins, gate::S3Service};

/// The index's database, in the store's directory.
pub(crate) const INDEX: &str = "index.sqlite3";

/// A directive that every log filter must end with: the protocol layer logs signatures and signed URLs, from `debug`
/// up to `error`. What a reader of the log needs of it, this module logs itself.
pub const LOG_DIRECTIVE: &str = "s3s=off";

/// What a store is opened with.
#[derive(Clone, Debug)]
pub struct Options {
    /// The directory of the store; made if it is not there. One process at a time.
    pub root: PathBuf,
    /// Whether an acknowledged change has reached the disk. Without, a crash of the machine may lose the last seconds.
    pub durable: bool,
    /// The keys that open it.
    pub credentials: S3Credentials,
    /// The region that signatures must name.
    pub region: String,
    /// The time by which signatures expire. It must not be behind the system's, which the protocol layer asks as well.
    pub clock: Clock,
    /// Whose pages may call it from a browser.
    pub origins: AllowedOrigins,
}

/// Why a store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The directory cannot be made or written.
    #[error("cannot write in the object store's directory {}: {source}", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Another process has it.
    #[error("the object store in {} is in use by another process", path.display())]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// The index is damaged, on a full disk, or of a newer version.
    #[error("cannot open the object store's index {}: {reason}", path.display())]
    Index {
        /// The index.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

/// The lifecycle rule was not applied; the cause is in the log.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the object store could not remove old objects")]
pub struct ExpireError;

/// An open store; clones share it. The last one to go commits what is queued and closes it.
#[derive(Clone, Debug)]
pub struct ObjectStore {
    operations: Operations,
    service: S3Service,
    /// The same for this process, which needs no signature: nobody else can reach it.
    trusting: S3Service,
}

impl ObjectStore {
    /// Opens the store in a directory. It is ready at once; garbage of earlier runs is removed in the background.
    pub fn open(options: Options) -> Result<Self, OpenError> {
        let Options { root, durable, credentials, region, clock, origins } = options;
        let unwritable = |source| OpenError::Directory { path: root.clone(), source };
        fs::create_dir_all(&root).map_err(unwritable)?;
        let lock = lock(&root)?;
        let blobs = Blobs::open(root.join("blobs"), durable).map_err(unwritable)?;
        let path = root.join(INDEX);
        let index = Index::open(&path, durable, &blobs)
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
            _lock: Arc::new(lock),
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
        Ok(Self { operations, service, trusting })
    }

    /// Hears of every object that is PUT from now on, as S3 notifies of it. `None`: somebody listens already.
    pub fn notifications(&self) -> Option<UnboundedReceiver<serde_json::Value>> {
        let (sender, receiver) = mpsc::unbounded_channel();
        self.operations.listener.set(sender).is_ok().then_some(receiver)
    }

    /// From now on refuses uploads for which the disk has no room.
    pub(crate) fn watch_room(&self, room: Room) {
        // One that is watched stays so.
        drop(self.operations.room.set(room));
    }

    /// The store as an HTTP service, for a listener. Path-style addresses.
    pub fn service(&self) -> S3Service {
        self.service.clone()
    }

    /// The store as the HTTP client of an SDK in this process. The client must use path-style addresses, sign nothing,
    /// and may have any endpoint.
    pub fn http_client(&self) -> SharedHttpClient {
        crate::in_process::http_client(self.trusting.clone())
    }

    /// The bucket's lifecycle rule: removes objects under a prefix that are older than `age`, at most 1,000 per call,
    /// and tells how many there were.
    pub async fn expire(&self, bucket: &str, prefix: &str, age: Duration) -> Result<usize, ExpireError> {
        let age = i64::try_from(age.as_millis()).unwrap_or(i64::MAX);
        let before = Timestamp::from_millis(self.operations.clock.now().as_millis().saturating_sub(age));
        self.operations.expire(bucket.to_owned(), prefix.to_owned(), before).await.map_err(|fault| {
            tracing::error!(%fault, "the object store could not remove old objects");
            ExpireError
        })
    }
}

/// Takes the directory for this process. The lock goes with the file handle, also when the process is killed.
fn lock(root: &Path) -> Result<File, OpenError> {
    let unwritable = |source| OpenError::Directory { path: root.to_owned(), source };
    let file = File::options().create(true).truncate(false).write(true).open(root.join("lock")).map_err(unwritable)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse { path: root.to_owned() }),
        Err(TryLockError::Error(source)) => Err(unwritable(source)),
    }
}

fn protocol_config() -> S3Config {
    let mut config = S3Config::default();
    // The protocol layer compares with the system's time; `access` does it, by the store's clock.
    config.presigned_url_max_skew_time_secs = u32::MAX;
    // The gate lets no form through.
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
        // Without the SDK's own log, whose filter is not this module's affair.
        let url = put.body(ByteStream::from_static(b"x")).presigned(life).await.unwrap();
        let signature = url.uri().rsplit_once("X-Amz-Signature=").unwrap().1;
        let signature = signature.split('&').next().unwrap().to_owned();
        log.0.lock().unwrap().clear();

        // The bucket is missing; then the signature is wrong; then it is not there.
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
            assert!(!text.contains(leak), "the log has what it must not have");
        }
    }
}

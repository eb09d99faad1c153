//! The embedded metadata store: dynoxide, a DynamoDB engine on SQLite, reached by the SDK without a socket.
//!
//! The engine commits to SQLite's write-ahead log without waiting for the disk; here a write is answered only once that
//! log is on disk, and all writes that wait at the same time share one `fdatasync`. A strongly consistent read, and a
//! condition that failed, wait as well: they must not tell of a commit that a power failure could take back.

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        mpsc::{Receiver, Sender, channel},
    },
};

use aws_smithy_runtime_api::{
    client::{
        http::{HttpConnector, HttpConnectorFuture, SharedHttpClient, SharedHttpConnector, http_client_fn},
        orchestrator::{HttpRequest, HttpResponse},
        result::ConnectorError,
    },
    http::StatusCode,
};
use aws_smithy_types::body::SdkBody;
use dynoxide::{Database, DynoxideError};
use serde::{Serialize, de::DeserializeOwned};
use tokio::sync::oneshot;

const TARGET_PREFIX: &str = "DynamoDB_20120810.";

/// The engine.
#[derive(Clone)]
pub struct Dynamo {
    database: Database,
    log: Option<LogSync>,
}

/// Why the engine could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("the metadata store {path} could not be opened: {reason}")]
pub struct OpenError {
    path: PathBuf,
    reason: String,
}

impl Dynamo {
    /// The engine on a file, which is made if it is not there. Acknowledged writes survive a power failure.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        let failed = |reason: String| OpenError { path: path.to_owned(), reason };
        let text = path.to_str().ok_or_else(|| failed("its path is not UTF-8".to_owned()))?;
        let database = Database::new(text).map_err(|e| failed(e.to_string()))?;
        // The second of the pair leaves `synchronous = NORMAL`: commits go to the log and wait for nothing.
        database.enable_bulk_loading().map_err(|e| failed(e.to_string()))?;
        database.disable_bulk_loading().map_err(|e| failed(e.to_string()))?;
        let log = LogSync::start(log_of(path)).map_err(|e| failed(e.to_string()))?;
        Ok(Self { database, log: Some(log) })
    }

    /// The engine in memory.
    pub fn memory() -> Result<Self, OpenError> {
        let database =
            Database::memory().map_err(|e| OpenError { path: PathBuf::from(":memory:"), reason: e.to_string() })?;
        Ok(Self { database, log: None })
    }

    /// Lets the engine forget the items whose time is in this attribute, in seconds, as DynamoDB does by itself.
    pub fn expire_by(&self, table: &str, attribute: &str) -> Result<(), DynoxideError> {
        let setting = serde_json::json!({
            "TableName": table,
            "TimeToLiveSpecification": {"Enabled": true, "AttributeName": attribute},
        });
        let request = serde_json::from_value(setting).expect("the setting has the request's shape");
        match self.database.update_time_to_live(request) {
            // What it is already.
            Err(DynoxideError::ValidationException(said)) if said.contains("already enabled") => Ok(()),
            set => set.map(drop),
        }
    }

    /// Forgets what has expired by now.
    pub fn forget_expired(&self) -> Result<usize, DynoxideError> {
        self.database.sweep_ttl()
    }

    /// The SDK's way to it.
    pub fn http_client(&self) -> SharedHttpClient {
        let connector = SharedHttpConnector::new(Connector(self.clone()));
        http_client_fn(move |_, _| connector.clone())
    }

    async fn answer(self, request: HttpRequest) -> Result<HttpResponse, ConnectorError> {
        let operation = request.headers().get("x-amz-target").and_then(|t| t.strip_prefix(TARGET_PREFIX));
        let operation = operation.unwrap_or_default().to_owned();
        let body = request.body().bytes().unwrap_or_default().to_vec();
        let Self { database, log } = self;
        let run = move || {
            let answer = dispatch(&database, &operation, &body);
            let told = match &answer {
                Ok(_) => operation != "GetItem" && operation != "Query" || reads_strongly(&body),
                Err(_) => true,
            };
            (answer, told)
        };
        let (answer, must_be_durable) =
            tokio::task::spawn_blocking(run).await.map_err(|e| ConnectorError::other(e.into(), None))?;
        if let Some(log) = log.filter(|_| must_be_durable) {
            log.flushed().await.map_err(|e| ConnectorError::io(e.into()))?;
        }
        let (status, text) = match answer {
            Ok(text) => (200, text),
            Err(error) => (error.status_code(), error.to_json()),
        };
        let status = StatusCode::try_from(status).expect("the engine answers with HTTP statuses");
        let mut response = HttpResponse::new(status, SdkBody::from(text));
        response.headers_mut().insert("content-type", "application/x-amz-json-1.0");
        Ok(response)
    }
}

impl std::fmt::Debug for Dynamo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dynamo").field("durable", &self.log.is_some()).finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct Connector(Dynamo);

impl HttpConnector for Connector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        HttpConnectorFuture::new(self.0.clone().answer(request))
    }
}

/// The operations that the catalog uses. An operation that it does not use is not served.
fn dispatch(database: &Database, operation: &str, body: &[u8]) -> Result<String, DynoxideError> {
    fn run<Q: DeserializeOwned, A: Serialize>(
        body: &[u8],
        operation: impl FnOnce(Q) -> Result<A, DynoxideError>,
    ) -> Result<String, DynoxideError> {
        let request = serde_json::from_slice(body).map_err(|e| DynoxideError::SerializationException(e.to_string()))?;
        let answer = operation(request)?;
        serde_json::to_string(&answer).map_err(|e| DynoxideError::InternalServerError(e.to_string()))
    }

    match operation {
        "CreateTable" => run(body, |q| database.create_table(q)),
        "GetItem" => run(body, |q| database.get_item(q)),
        "PutItem" => run(body, |q| database.put_item(q)),
        "DeleteItem" => run(body, |q| database.delete_item(q)),
        "UpdateItem" => run(body, |q| database.update_item(q)),
        "Query" => run(body, |q| database.query(q)),
        "BatchGetItem" => run(body, |q| database.batch_get_item(q)),
        "TransactWriteItems" => run(body, |q| database.transact_write_items(q)),
        other => Err(DynoxideError::ValidationException(format!("the embedded store does not serve `{other}`"))),
    }
}

/// Whether a read asks for strong consistency. The SDK writes its JSON without spaces.
fn reads_strongly(body: &[u8]) -> bool {
    const ASKED: &[u8] = br#""ConsistentRead":true"#;
    body.windows(ASKED.len()).any(|window| window == ASKED)
}

fn log_of(database: &Path) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push("-wal");
    name.into()
}

/// Puts the write-ahead log on disk, once for all who wait at the same time.
///
/// The log's frames are on disk either by this sync, or because SQLite has checkpointed them, which syncs the log
/// first and the database after. SQLite keeps its locks on other files, so a second descriptor does no harm.
#[derive(Clone)]
struct LogSync(Sender<oneshot::Sender<Arc<io::Result<()>>>>);

impl LogSync {
    fn start(path: PathBuf) -> io::Result<Self> {
        let (sender, receiver) = channel();
        let log = File::open(path)?;
        std::thread::Builder::new().name("metadata-log".to_owned()).spawn(move || Self::work(&log, &receiver))?;
        Ok(Self(sender))
    }

    fn work(log: &File, waiting: &Receiver<oneshot::Sender<Arc<io::Result<()>>>>) {
        while let Ok(first) = waiting.recv() {
            let all: Vec<_> = std::iter::once(first).chain(waiting.try_iter()).collect();
            let synced = Arc::new(log.sync_data());
            for waiter in all {
                // Whoever no longer waits needs no answer.
                drop(waiter.send(synced.clone()));
            }
        }
    }

    async fn flushed(&self) -> io::Result<()> {
        let (sender, receiver) = oneshot::channel();
        let gone = || io::Error::other("the log's thread has ended");
        self.0.send(sender).map_err(|_| gone())?;
        let synced = receiver.await.map_err(|_| gone())?;
        synced.as_ref().as_ref().copied().map_err(|e| io::Error::new(e.kind(), e.to_string()))
    }
}

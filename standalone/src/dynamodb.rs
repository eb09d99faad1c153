//! The embedded metadata store: dynoxide, a DynamoDB engine on SQLite, reached by the SDK without a socket.
//!
//! The engine commits to SQLite's write-ahead log without waiting for the disk; here a write is answered only once that
//! log is on disk, and all writes that wait at the same time share one `fdatasync`. A strongly consistent read, and a
//! condition that failed, wait as well when something was written that is not on disk yet: they must not tell of a
//! commit that a power failure could take back.
//!
//! On a file, one thread runs the engine, which does one thing at a time anyway and otherwise wakes a thread for each:
//! that thread also knows what was written before what was read. Another puts the log on disk and sends those answers
//! that waited. In memory nothing waits for a disk, and whoever asks runs the engine himself.

use std::{
    collections::{HashMap, VecDeque},
    fs::File,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, Sender, channel},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
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
use dynoxide::{Database, DynoxideError, actions::transact_write_items::TransactWriteItemsRequest};
use serde::{Serialize, de::DeserializeOwned};
use tokio::sync::oneshot;

use crate::custody::{Keeper, Position, Visit};

const TARGET_PREFIX: &str = "DynamoDB_20120810.";

/// The engine.
#[derive(Clone)]
pub struct Dynamo(Arc<Engine>);

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
        Self::open_held(path, Hold::Nothing)
    }

    /// The same, and holds something until it is closed.
    pub(crate) fn open_held(path: &Path, hold: Hold) -> Result<Self, OpenError> {
        let hold = Arc::new(hold);
        let failed = |reason: String| OpenError { path: path.to_owned(), reason };
        let text = path.to_str().ok_or_else(|| failed("its path is not UTF-8".to_owned()))?;
        let database = Database::new(text).map_err(|e| failed(e.to_string()))?;
        // The second of the pair leaves `synchronous = NORMAL`: commits go to the log and wait for nothing.
        database.enable_bulk_loading().map_err(|e| failed(e.to_string()))?;
        database.disable_bulk_loading().map_err(|e| failed(e.to_string()))?;
        let log = LogSync::start(log_of(path), hold.clone()).map_err(|e| failed(e.to_string()))?;
        let tables = Tables::of(database);
        let queue = Queue::start(tables.clone(), log).map_err(|e| failed(e.to_string()))?;
        Ok(Self(Arc::new(Engine { tables, queue: Some(queue), _hold: hold })))
    }

    /// The engine in memory.
    pub fn memory() -> Result<Self, OpenError> {
        let failed = |reason: String| OpenError { path: PathBuf::from(":memory:"), reason };
        let database = Database::memory().map_err(|e| failed(e.to_string()))?;
        let tables = Tables::of(database);
        Ok(Self(Arc::new(Engine { tables, queue: None, _hold: Arc::new(Hold::Nothing) })))
    }

    /// Lets the engine forget the items whose time is in this attribute, in seconds, as DynamoDB does by itself.
    pub fn expire_by(&self, table: &str, attribute: &str) -> Result<(), DynoxideError> {
        let setting = serde_json::json!({
            "TableName": table,
            "TimeToLiveSpecification": {"Enabled": true, "AttributeName": attribute},
        });
        let request = serde_json::from_value(setting).expect("the setting has the request's shape");
        match self.0.tables.database.update_time_to_live(request) {
            // What it is already.
            Err(DynoxideError::ValidationException(said)) if said.contains("already enabled") => Ok(()),
            set => set.map(drop),
        }
    }

    /// Forgets what has expired by now.
    pub fn forget_expired(&self) -> Result<usize, DynoxideError> {
        self.0.tables.database.sweep_ttl()
    }

    /// The SDK's way to it.
    pub fn http_client(&self) -> SharedHttpClient {
        let connector = SharedHttpConnector::new(Connector(self.clone()));
        http_client_fn(move |_, _| connector.clone())
    }

    async fn answer(self, request: HttpRequest) -> Result<HttpResponse, ConnectorError> {
        let operation = request.headers().get("x-amz-target").and_then(|t| t.strip_prefix(TARGET_PREFIX));
        let operation = operation.unwrap_or_default().to_owned();
        let Answer { status, body } = match &self.0.queue {
            Some(queue) => queue.ask(operation, request).await.map_err(|e| ConnectorError::io(e.into()))?,
            None => self.0.tables.perform(&operation, request.body().bytes().unwrap_or_default()).into(),
        };
        let status = StatusCode::try_from(status).expect("the engine answers with HTTP statuses");
        let mut response = HttpResponse::new(status, SdkBody::from(body));
        response.headers_mut().insert("content-type", "application/x-amz-json-1.0");
        Ok(response)
    }
}

impl std::fmt::Debug for Dynamo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Dynamo")
    }
}

#[derive(Debug)]
struct Connector(Dynamo);

impl HttpConnector for Connector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        HttpConnectorFuture::new(self.0.clone().answer(request))
    }
}

struct Engine {
    tables: Arc<Tables>,
    /// Of an engine on a file.
    queue: Option<Queue>,
    // Dropped last, when the database is closed but for it.
    _hold: Arc<Hold>,
}

/// What an engine holds for as long as it has a database open.
pub(crate) enum Hold {
    /// Nothing.
    Nothing,
    /// What proves at the next start that nothing was lost.
    Keeper(Keeper),
    /// What counts the changes that are made beside somebody who keeps the database.
    Visit(#[expect(dead_code, reason = "it is held for what happens when it is dropped")] Visit),
}

impl Hold {
    fn position(&self) -> Option<Position> {
        if let Self::Keeper(keeper) = self { keeper.position() } else { None }
    }

    fn reached(&self, position: Option<Position>) {
        if let Self::Keeper(keeper) = self {
            keeper.reached(position);
        }
    }
}

struct Tables {
    database: Database,
    transactions: Mutex<Transactions>,
}

/// The engine's thread, and what it is asked.
struct Queue {
    jobs: Option<Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

struct Job {
    operation: String,
    request: HttpRequest,
    reply: Reply,
}

type Reply = oneshot::Sender<io::Result<Answer>>;

struct Answer {
    status: u16,
    body: String,
}

impl From<Result<String, DynoxideError>> for Answer {
    fn from(outcome: Result<String, DynoxideError>) -> Self {
        match outcome {
            Ok(body) => Self { status: 200, body },
            Err(error) => Self { status: error.status_code(), body: error.to_json() },
        }
    }
}

impl Queue {
    fn start(tables: Arc<Tables>, log: LogSync) -> io::Result<Self> {
        let (jobs, queue) = channel();
        let run = move || run_engine(&tables, &log, &queue);
        let thread = thread::Builder::new().name("metadata".to_owned()).spawn(run)?;
        Ok(Self { jobs: Some(jobs), thread: Some(thread) })
    }

    async fn ask(&self, operation: String, request: HttpRequest) -> io::Result<Answer> {
        let (reply, answered) = oneshot::channel();
        let gone = || io::Error::other("the metadata store has ended");
        let jobs = self.jobs.as_ref().expect("the queue is open until it is dropped");
        jobs.send(Job { operation, request, reply }).map_err(|_| gone())?;
        answered.await.map_err(|_| gone())?
    }
}

impl Drop for Queue {
    /// Waits until the database is closed, so that whoever opens it next finds it at rest.
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            // A panic there was reported when it happened.
            drop(thread.join());
        }
    }
}

fn run_engine(tables: &Tables, log: &LogSync, queue: &Receiver<Job>) {
    let mut writes = 0;
    while let Ok(Job { operation, request, reply }) = queue.recv() {
        let body = request.body().bytes().unwrap_or_default();
        let outcome = tables.perform(&operation, body);
        let reads = matches!(operation.as_str(), "GetItem" | "Query" | "Scan" | "BatchGetItem");
        if !reads {
            writes += 1;
        }
        let must_be_durable = !reads || outcome.is_err() || reads_strongly(body);
        if must_be_durable && !log.has(writes) {
            log.send_when_durable(writes, outcome.into(), reply);
        } else {
            // Whoever no longer waits needs no answer.
            drop(reply.send(Ok(outcome.into())));
        }
    }
}

impl Tables {
    fn of(database: Database) -> Arc<Self> {
        Arc::new(Self { database, transactions: Mutex::default() })
    }

    /// A panic of the engine is an error of the one who asked.
    fn perform(&self, operation: &str, body: &[u8]) -> Result<String, DynoxideError> {
        catch_unwind(AssertUnwindSafe(|| self.dispatch(operation, body)))
            .unwrap_or_else(|_| Err(DynoxideError::InternalServerError("a panic".to_owned())))
    }

    /// The operations that the catalog uses, and the scan of whoever looks at the whole table. No other is served.
    fn dispatch(&self, operation: &str, body: &[u8]) -> Result<String, DynoxideError> {
        let database = &self.database;
        match operation {
            "CreateTable" => run(body, |q| database.create_table(q)),
            "GetItem" => run(body, |q| database.get_item(q)),
            "PutItem" => run(body, |q| database.put_item(q)),
            "DeleteItem" => run(body, |q| database.delete_item(q)),
            "UpdateItem" => run(body, |q| database.update_item(q)),
            "Query" => run(body, |q| database.query(q)),
            "Scan" => run(body, |q| database.scan(q)),
            "BatchGetItem" => run(body, |q| database.batch_get_item(q)),
            "TransactWriteItems" => self.transact(body),
            other => Err(DynoxideError::ValidationException(format!("the embedded store does not serve `{other}`"))),
        }
    }

    /// The SDK tries a transaction again under the token of the first try, whose reply may have been lost.
    fn transact(&self, body: &[u8]) -> Result<String, DynoxideError> {
        let mut request: TransactWriteItemsRequest = read(body)?;
        let token = request.client_request_token.take();
        let mut transactions = self.transactions.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(answer) = token.as_ref().and_then(|token| transactions.answer(token)) {
            return Ok(answer);
        }
        let answer = write(&self.database.transact_write_items(request)?)?;
        if let Some(token) = token {
            transactions.remember(token, answer.clone());
        }
        Ok(answer)
    }
}

fn run<Q: DeserializeOwned, A: Serialize>(
    body: &[u8],
    operation: impl FnOnce(Q) -> Result<A, DynoxideError>,
) -> Result<String, DynoxideError> {
    write(&operation(read(body)?)?)
}

fn read<Q: DeserializeOwned>(body: &[u8]) -> Result<Q, DynoxideError> {
    serde_json::from_slice(body).map_err(|e| DynoxideError::SerializationException(e.to_string()))
}

fn write(answer: &impl Serialize) -> Result<String, DynoxideError> {
    serde_json::to_string(answer).map_err(|e| DynoxideError::InternalServerError(e.to_string()))
}

/// The transactions of the last minute by their tokens, so that each is made once. The engine has such a memory, of ten
/// minutes, and walks through all of it with every transaction; no SDK of ours tries for longer than seconds.
#[derive(Default)]
struct Transactions {
    answers: HashMap<String, String>,
    by_age: VecDeque<(Instant, String)>,
}

impl Transactions {
    const LIFE: Duration = Duration::from_secs(60);

    fn answer(&self, token: &str) -> Option<String> {
        self.answers.get(token).cloned()
    }

    fn remember(&mut self, token: String, answer: String) {
        let now = Instant::now();
        while let Some((_, old)) = self.by_age.pop_front_if(|(at, _)| now.duration_since(*at) > Self::LIFE) {
            self.answers.remove(&old);
        }
        self.answers.insert(token.clone(), answer);
        self.by_age.push_back((now, token));
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
struct LogSync {
    waiting: Option<Sender<Waiting>>,
    thread: Option<JoinHandle<()>>,
    /// How many of the engine's writes are known to be on disk.
    durable: Arc<AtomicU64>,
}

/// An answer that may be given once so many of the engine's writes are on disk.
struct Waiting {
    writes: u64,
    answer: Answer,
    reply: Reply,
}

impl LogSync {
    fn start(path: PathBuf, hold: Arc<Hold>) -> io::Result<Self> {
        let (waiting, queue) = channel();
        let log = File::open(path)?;
        let durable = Arc::new(AtomicU64::new(0));
        let known = durable.clone();
        let work = move || Self::work(&log, &known, &queue, &hold);
        let thread = thread::Builder::new().name("metadata-log".to_owned()).spawn(work)?;
        Ok(Self { waiting: Some(waiting), thread: Some(thread), durable })
    }

    fn has(&self, writes: u64) -> bool {
        self.durable.load(Ordering::Acquire) >= writes
    }

    /// If the log's thread has ended, the answer is dropped and its caller learns that the store is gone.
    fn send_when_durable(&self, writes: u64, answer: Answer, reply: Reply) {
        let waiting = self.waiting.as_ref().expect("the queue is open until it is dropped");
        drop(waiting.send(Waiting { writes, answer, reply }));
    }

    fn work(log: &File, durable: &AtomicU64, queue: &Receiver<Waiting>, hold: &Hold) {
        let mut broken: Option<io::Error> = None;
        while let Ok(first) = queue.recv() {
            let all: Vec<_> = std::iter::once(first).chain(queue.try_iter()).collect();
            let last = all.iter().map(|waiting| waiting.writes).max().unwrap_or(0);
            if broken.is_none() && durable.load(Ordering::Relaxed) < last {
                // Before the sync: what comes after it may not be on the disk.
                let position = hold.position();
                match log.sync_data() {
                    Ok(()) => {
                        hold.reached(position);
                        durable.store(last, Ordering::Release);
                    }
                    // The system may have dropped what it could not write, and would say nothing of it the next time.
                    Err(error) => {
                        tracing::error!(%error, "the metadata log cannot be put on disk; nothing is acknowledged until a restart");
                        broken = Some(error);
                    }
                }
            }
            for Waiting { answer, reply, .. } in all {
                let told = match &broken {
                    None => Ok(answer),
                    Some(error) => Err(io::Error::new(error.kind(), error.to_string())),
                };
                // Whoever no longer waits needs no answer.
                drop(reply.send(told));
            }
        }
    }
}

impl Drop for LogSync {
    /// Waits for its thread, which holds what must go after the database.
    fn drop(&mut self) {
        self.waiting = None;
        if let Some(thread) = self.thread.take() {
            // A panic there was reported when it happened.
            drop(thread.join());
        }
    }
}

#[cfg(test)]
mod tests {
    use aws_sdk_dynamodb::types::{
        AttributeDefinition, AttributeValue, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType,
        TransactWriteItem, Update,
    };
    use xfiles_core::clock::Clock;

    use super::*;

    #[tokio::test]
    async fn a_transaction_that_is_tried_again_is_made_once() {
        let client = crate::engines::dynamodb_client(Dynamo::memory().unwrap().http_client(), Clock::system());
        let name = AttributeDefinition::builder().attribute_name("name").attribute_type(ScalarAttributeType::S);
        let key = KeySchemaElement::builder().attribute_name("name").key_type(KeyType::Hash);
        let table = client.create_table().table_name("counters").billing_mode(BillingMode::PayPerRequest);
        let table = table.attribute_definitions(name.build().unwrap()).key_schema(key.build().unwrap());
        table.send().await.unwrap();

        let visits = || ("name", AttributeValue::S("visits".to_owned()));
        for token in ["first", "first", "second"] {
            let one_more = Update::builder()
                .table_name("counters")
                .key(visits().0, visits().1)
                .update_expression("ADD seen :one")
                .expression_attribute_values(":one", AttributeValue::N("1".to_owned()));
            let one_more = TransactWriteItem::builder().update(one_more.build().unwrap()).build();
            let transaction = client.transact_write_items().transact_items(one_more);
            transaction.client_request_token(token).send().await.unwrap();
        }
        let found = client.get_item().table_name("counters").key(visits().0, visits().1).send().await.unwrap();
        assert_eq!(found.item.unwrap()["seen"], AttributeValue::N("2".to_owned()));
    }

    #[test]
    fn the_answers_of_old_transactions_are_forgotten() {
        let mut transactions = Transactions::default();
        transactions.remember("old".to_owned(), "{}".to_owned());
        transactions.by_age[0].0 -= 2 * Transactions::LIFE;
        transactions.remember("new".to_owned(), "{}".to_owned());
        assert!(transactions.answer("old").is_none() && transactions.answer("new").is_some());
        assert_eq!(transactions.by_age.len(), 1);
    }
}

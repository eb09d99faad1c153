//! The embedded metadata store: dynoxide, a DynamoDB engine on SQLite, which the SDK reaches without a socket.
//!
//! The engine commits to SQLite's write-ahead log without a sync. Here a write is acknowledged only after the log is
//! synced, and concurrent writes share one `fdatasync`. Strongly consistent reads and failed conditions also wait if
//! there are unsynced writes, because they must not reveal a commit that a power failure could undo.
//!
//! For a database on disk, one thread writes and a few read, each with its own engine on the same file. SQLite's log
//! allows this concurrency, and a read that starts after a write was acknowledged sees it. Reads and writes each have a
//! queue that divides the engine's time among the projects (`fair`). Operations must therefore be short: the catalog
//! reads lists in slices. Another thread syncs the log and sends the waiting responses. In memory there are no syncs,
//! threads or queues, and the caller runs the engine itself.

use std::{
    collections::{HashMap, VecDeque},
    fs::File,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::SeqCst},
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
use xfiles_core::{catalog::STORAGE_FULL, share::Share};

use crate::{
    custody::{Keeper, Position, Visit},
    fair::{FairQueue, Refusal},
    room::Room,
};

const TARGET_PREFIX: &str = "DynamoDB_20120810.";

/// The embedded metadata store.
#[derive(Clone)]
pub struct Dynamo(Arc<Engine>);

/// The engine could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("the metadata store {path} could not be opened: {reason}")]
pub struct OpenError {
    path: PathBuf,
    reason: String,
}

impl Dynamo {
    /// Opens the engine on a file, which is created if it does not exist. Acknowledged writes survive a power failure.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        Self::open_held(path, Hold::Nothing, None)
    }

    /// Like `open`, and keeps `hold` until the database is closed. With `room`, a write that would use the last free
    /// space of the disk is refused.
    pub(crate) fn open_held(path: &Path, hold: Hold, room: Option<Room>) -> Result<Self, OpenError> {
        let hold = Arc::new(hold);
        let failed = |reason: String| OpenError { path: path.to_owned(), reason };
        let text = path.to_str().ok_or_else(|| failed("its path is not UTF-8".to_owned()))?;
        let database = Database::new(text).map_err(|e| failed(e.to_string()))?;
        // The second call leaves `synchronous = NORMAL`: commits are written to the log without a sync.
        database.enable_bulk_loading().map_err(|e| failed(e.to_string()))?;
        database.disable_bulk_loading().map_err(|e| failed(e.to_string()))?;
        let log = LogSync::start(log_of(path), hold.clone()).map_err(|e| failed(e.to_string()))?;
        let tables = Tables::of(database);
        let readers = thread::available_parallelism().map_or(MIN_READERS, usize::from).clamp(MIN_READERS, MAX_READERS);
        let readers = (0..readers).map(|_| Database::new(text).map(Tables::of)).collect::<Result<Vec<_>, _>>();
        let readers = readers.map_err(|e| failed(e.to_string()))?;
        let queue = Queues::start(tables.clone(), readers, log, room).map_err(|e| failed(e.to_string()))?;
        Ok(Self(Arc::new(Engine { tables, queue: Some(queue), hold })))
    }

    /// Opens an engine in memory.
    pub fn memory() -> Result<Self, OpenError> {
        let failed = |reason: String| OpenError { path: PathBuf::from(":memory:"), reason };
        let database = Database::memory().map_err(|e| failed(e.to_string()))?;
        let tables = Tables::of(database);
        Ok(Self(Arc::new(Engine { tables, queue: None, hold: Arc::new(Hold::Nothing) })))
    }

    /// Enables expiry by this attribute, in seconds, as with DynamoDB's TTL.
    pub fn expire_by(&self, table: &str, attribute: &str) -> Result<(), DynoxideError> {
        let setting = serde_json::json!({
            "TableName": table,
            "TimeToLiveSpecification": {"Enabled": true, "AttributeName": attribute},
        });
        let request = serde_json::from_value(setting).expect("the setting has the request's shape");
        // Enabling what is enabled with the same attribute is no error.
        self.0.tables.database.update_time_to_live(request).map(drop)
    }

    /// Deletes the items that have expired.
    pub fn forget_expired(&self) -> Result<usize, DynoxideError> {
        self.0.tables.database.sweep_ttl()
    }

    /// Truncates the log if it is larger than `most` bytes.
    pub(crate) fn trim_log(&self, most: u64) {
        if let Hold::Keeper(keeper) = &*self.0.hold {
            keeper.trim(most);
        }
    }

    /// The HTTP client for the SDK.
    pub fn http_client(&self) -> SharedHttpClient {
        let connector = SharedHttpConnector::new(Connector(self.clone()));
        http_client_fn(move |_, _| connector.clone())
    }

    async fn answer(self, request: HttpRequest) -> Result<HttpResponse, ConnectorError> {
        let operation = request.headers().get("x-amz-target").and_then(|t| t.strip_prefix(TARGET_PREFIX));
        let operation = operation.unwrap_or_default().to_owned();
        let Answer { status, body } = match &self.0.queue {
            Some(queues) => queues.ask(operation, request).await.map_err(|e| ConnectorError::io(e.into()))?,
            None => self.0.tables.perform(&operation, request.body().bytes().unwrap_or_default()).into(),
        };
        let status = StatusCode::try_from(status).expect("the engine returns HTTP statuses");
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
    /// Only for an engine on a file.
    queue: Option<Queues>,
    // Dropped last, after the engine's connections are closed.
    hold: Arc<Hold>,
}

/// What an engine keeps until its database is closed.
pub(crate) enum Hold {
    /// Nothing.
    Nothing,
    /// Maintains the proof of completeness for the next start.
    Keeper(Keeper),
    /// Counts the changes of a tool beside the server that maintains the database.
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

/// The minimum number of reader threads. The long reads of one project run one after the other, so that a thread
/// remains for the others.
const MIN_READERS: usize = 2;

/// The maximum number of reader threads. Each has an engine with a page cache of 2 MB.
const MAX_READERS: usize = 4;

/// The engine's threads and their queues.
struct Queues {
    reads: Arc<FairQueue<Job>>,
    writes: Arc<FairQueue<Job>>,
    threads: Vec<JoinHandle<()>>,
}

struct Job {
    operation: String,
    request: HttpRequest,
    frees_room: bool,
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

impl Answer {
    /// An error with DynamoDB's wording.
    fn error(status: u16, code: &str, message: &str) -> Self {
        let kind = format!("com.amazonaws.dynamodb.v20120810#{code}");
        Self { status, body: serde_json::json!({ "__type": kind, "message": message }).to_string() }
    }

    fn too_many_wait() -> Self {
        Self::error(400, "ThrottlingException", "the project has too many operations waiting for the metadata store")
    }

    fn storage_full() -> Self {
        Self::error(507, STORAGE_FULL, "the disk has no space for the record")
    }
}

fn only_reads(operation: &str) -> bool {
    matches!(operation, "GetItem" | "Query" | "Scan" | "BatchGetItem")
}

impl Queues {
    fn start(
        writer: Arc<Tables>,
        readers: Vec<Arc<Tables>>,
        (log, log_thread): (LogSync, JoinHandle<()>),
        room: Option<Room>,
    ) -> io::Result<Self> {
        let reads = Arc::new(FairQueue::new(readers.len().saturating_sub(1).max(1)));
        let writes = Arc::new(FairQueue::new(1));
        let mut queues = Self { reads: reads.clone(), writes: writes.clone(), threads: Vec::new() };
        let named = |name: &str| thread::Builder::new().name(name.to_owned());
        let write_log = log.clone();
        queues.threads.push(named("metadata").spawn(move || write_all(&writer, &write_log, room.as_ref(), &writes))?);
        for tables in readers {
            let (reads, log) = (reads.clone(), log.clone());
            queues.threads.push(named("metadata-read").spawn(move || read_all(&tables, &log, &reads))?);
        }
        // Last: it ends after the threads that send to it.
        queues.threads.push(log_thread);
        Ok(queues)
    }

    async fn ask(&self, operation: String, request: HttpRequest) -> io::Result<Answer> {
        let (reply, answered) = oneshot::channel();
        let gone = || io::Error::other("the metadata store is closed");
        let queue = if only_reads(&operation) { &self.reads } else { &self.writes };
        let share = Share::current();
        match queue.push(share, Job { operation, request, frees_room: share.frees_room, reply }) {
            Ok(()) => answered.await.map_err(|_| gone())?,
            Err(Refusal::Full) => Ok(Answer::too_many_wait()),
            Err(Refusal::Closed) => Err(gone()),
        }
    }
}

impl Drop for Queues {
    /// Waits until the database is closed, so that the next process finds it at rest.
    fn drop(&mut self) {
        self.reads.close();
        self.writes.close();
        for thread in self.threads.drain(..) {
            // A panic of the thread has already been reported.
            drop(thread.join());
        }
    }
}

fn write_all(tables: &Tables, log: &LogSync, room: Option<&Room>, queue: &FairQueue<Job>) {
    while let Some(mut taken) = queue.take() {
        let Some(Job { operation, request, frees_room, reply }) = taken.job.take() else { continue };
        // Tables are only created at the first start, and nothing works without them.
        let essential = frees_room || matches!(operation.as_str(), "DeleteItem" | "CreateTable");
        if room.is_some_and(|room| !room.admits(essential)) {
            // A dropped receiver needs no response.
            drop(reply.send(Ok(Answer::storage_full())));
            continue;
        }
        let body = request.body().bytes().unwrap_or_default();
        let number = log.begin_write();
        let mut outcome = tables.perform(&operation, body);
        if let (Some(room), true) = (room, is_out_of_room(&outcome)) {
            room.ran_out();
            // The failed attempt was rolled back, and the reserve can be released for a retry.
            if essential {
                outcome = tables.perform(&operation, body);
            }
        }
        log.end_write(number);
        let full = is_out_of_room(&outcome);
        log.send_when_durable(number, if full { Answer::storage_full() } else { outcome.into() }, reply);
    }
}

fn read_all(tables: &Tables, log: &LogSync, queue: &FairQueue<Job>) {
    while let Some(mut taken) = queue.take() {
        let Some(Job { operation, request, reply, .. }) = taken.job.take() else { continue };
        if reply.is_closed() {
            // The caller has been dropped.
            continue;
        }
        let body = request.body().bytes().unwrap_or_default();
        let outcome = tables.perform(&operation, body);
        if outcome.is_err() || reads_strongly(body) {
            // Every commit that the read may have seen had begun by now.
            log.send_when_durable(log.begun(), outcome.into(), reply);
        } else {
            // A dropped receiver needs no response.
            drop(reply.send(Ok(outcome.into())));
        }
    }
}

/// Returns true if SQLite had no space. The engine passes on the message, but not always the code.
fn is_out_of_room(outcome: &Result<String, DynoxideError>) -> bool {
    outcome.as_ref().is_err_and(|error| error.to_string().contains("database or disk is full"))
}

impl Tables {
    fn of(database: Database) -> Arc<Self> {
        Arc::new(Self { database, transactions: Mutex::default() })
    }

    /// A panic of the engine is returned as an error to its caller.
    fn perform(&self, operation: &str, body: &[u8]) -> Result<String, DynoxideError> {
        catch_unwind(AssertUnwindSafe(|| self.dispatch(operation, body)))
            .unwrap_or_else(|_| Err(DynoxideError::InternalServerError("a panic".to_owned())))
    }

    /// The operations that the catalog uses, and the scan of tools that read the whole table. Others are not supported.
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
            other => Err(DynoxideError::ValidationException(format!("the embedded store does not support `{other}`"))),
        }
    }

    /// The SDK retries a transaction under the token of the first attempt, whose response may have been lost.
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

/// The transactions of the last minute by token, so that each is executed once. The engine has its own record of ten
/// minutes, which it scans in every transaction; no SDK of ours retries for longer than seconds.
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

/// Returns true if a read requests strong consistency. The SDK writes JSON without spaces.
fn reads_strongly(body: &[u8]) -> bool {
    const ASKED: &[u8] = br#""ConsistentRead":true"#;
    body.windows(ASKED.len()).any(|window| window == ASKED)
}

fn log_of(database: &Path) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push("-wal");
    name.into()
}

/// Syncs the write-ahead log, once for all concurrent writes.
///
/// The log's frames are on disk either through this sync, or because SQLite has checkpointed them, which syncs first
/// the log and then the database. SQLite's locks are on other files, so a second descriptor does no harm.
#[derive(Clone)]
struct LogSync {
    waiting: Sender<Waiting>,
    writes: Arc<Writes>,
}

/// The progress of the writes, counted from the start. One thread writes, so they begin and end in order.
#[derive(Default)]
struct Writes {
    /// The number of writes that have begun. A reader may or may not have seen the last one.
    begun: AtomicU64,
    /// The number of writes that have ended: their commits are in the log.
    ended: AtomicU64,
    /// The number of writes that are known to be synced.
    durable: AtomicU64,
}

/// A response that may be sent once this many writes are synced.
struct Waiting {
    writes: u64,
    answer: Answer,
    reply: Reply,
}

impl LogSync {
    fn start(path: PathBuf, hold: Arc<Hold>) -> io::Result<(Self, JoinHandle<()>)> {
        let log = File::open(path)?;
        Self::by(move || {
            // Read before the sync: later changes may not be on the disk.
            let position = hold.position();
            log.sync_data()?;
            hold.reached(position);
            Ok(())
        })
    }

    fn by(sync: impl Fn() -> io::Result<()> + Send + 'static) -> io::Result<(Self, JoinHandle<()>)> {
        let (waiting, queue) = channel();
        let writes = Arc::new(Writes::default());
        let known = writes.clone();
        let work = move || Self::work(sync, &known, &queue);
        let thread = thread::Builder::new().name("metadata-log".to_owned()).spawn(work)?;
        Ok((Self { waiting, writes }, thread))
    }

    /// Registers the start of a write, before any of it is visible, and returns its number.
    fn begin_write(&self) -> u64 {
        self.writes.begun.fetch_add(1, SeqCst) + 1
    }

    /// Registers that the whole write is in the log.
    fn end_write(&self, number: u64) {
        self.writes.ended.store(number, SeqCst);
    }

    fn begun(&self) -> u64 {
        self.writes.begun.load(SeqCst)
    }

    /// If the log's thread has ended, the response is dropped and the caller gets an error.
    fn send_when_durable(&self, writes: u64, answer: Answer, reply: Reply) {
        if self.writes.durable.load(SeqCst) >= writes {
            // A dropped receiver needs no response.
            drop(reply.send(Ok(answer)));
        } else {
            drop(self.waiting.send(Waiting { writes, answer, reply }));
        }
    }

    fn work(sync: impl Fn() -> io::Result<()>, writes: &Writes, queue: &Receiver<Waiting>) {
        let mut broken: Option<io::Error> = None;
        // Responses for writes that have not ended yet; they are checked again at the next sync.
        let mut early: Vec<Waiting> = Vec::new();
        while let Ok(first) = queue.recv() {
            let all: Vec<_> = early.drain(..).chain([first]).chain(queue.try_iter()).collect();
            // Read before the sync, which then covers these writes.
            let ended = writes.ended.load(SeqCst);
            if broken.is_none() && writes.durable.load(SeqCst) < ended {
                match sync() {
                    Ok(()) => writes.durable.store(ended, SeqCst),
                    // After a failed sync the kernel may have dropped the data, and would report success the next time.
                    Err(error) => {
                        tracing::error!(%error, "the metadata log cannot be synced; no write is acknowledged until a restart");
                        broken = Some(error);
                    }
                }
            }
            for waiting in all {
                let result = match &broken {
                    None if waiting.writes > ended => {
                        early.push(waiting);
                        continue;
                    }
                    None => Ok(waiting.answer),
                    Some(error) => Err(io::Error::new(error.kind(), error.to_string())),
                };
                // A dropped receiver needs no response.
                drop(waiting.reply.send(result));
            }
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

    fn text(text: &str) -> AttributeValue {
        AttributeValue::S(text.to_owned())
    }

    /// A client of an engine with the table `counters`.
    async fn client(dynamo: &Dynamo) -> aws_sdk_dynamodb::Client {
        let client = crate::engines::dynamodb_client(dynamo.http_client(), Clock::system());
        let name = AttributeDefinition::builder().attribute_name("name").attribute_type(ScalarAttributeType::S);
        let key = KeySchemaElement::builder().attribute_name("name").key_type(KeyType::Hash);
        let table = client.create_table().table_name("counters").billing_mode(BillingMode::PayPerRequest);
        let table = table.attribute_definitions(name.build().unwrap()).key_schema(key.build().unwrap());
        table.send().await.unwrap();
        client
    }

    #[tokio::test]
    async fn a_read_does_not_wait_for_a_write() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("table.db");
        let client = client(&Dynamo::open(&path).unwrap()).await;
        // Blocks the engine's write.
        let other = rusqlite::Connection::open(&path).unwrap();
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        let put = client.put_item().table_name("counters").item("name", text("visits"));
        let put = tokio::spawn(async move { put.send().await });
        let get = client.get_item().table_name("counters").key("name", text("visits"));
        assert!(get.clone().send().await.unwrap().item.is_none());
        assert!(!put.is_finished());
        other.execute_batch("ROLLBACK").unwrap();
        put.await.unwrap().unwrap();
        assert!(get.consistent_read(true).send().await.unwrap().item.is_some());
    }

    fn answer() -> Answer {
        Answer { status: 200, body: String::new() }
    }

    #[tokio::test]
    async fn a_read_that_may_have_seen_a_write_waits_until_that_is_on_disk() {
        let (log, _) = LogSync::by(|| Ok(())).unwrap();
        let first = log.begin_write();
        let (reply, mut read) = oneshot::channel();
        log.send_when_durable(log.begun(), answer(), reply);
        log.end_write(first);
        let second = log.begin_write();
        let (reply, mut later) = oneshot::channel();
        log.send_when_durable(log.begun(), answer(), reply);
        let (reply, written) = oneshot::channel();
        log.send_when_durable(first, answer(), reply);
        written.await.unwrap().unwrap();
        assert!((&mut read).await.unwrap().is_ok(), "it is sent with the write");
        assert!(later.try_recv().is_err(), "the second write is not in the log yet");
        log.end_write(second);
        let (reply, written) = oneshot::channel();
        log.send_when_durable(second, answer(), reply);
        assert!(written.await.unwrap().is_ok() && later.await.unwrap().is_ok());
    }

    #[tokio::test]
    async fn nothing_is_acknowledged_if_the_log_cannot_be_synced() {
        let (log, _) = LogSync::by(|| Err(io::ErrorKind::Other.into())).unwrap();
        for _ in 0..2 {
            let number = log.begin_write();
            let (reply, read) = oneshot::channel();
            log.send_when_durable(log.begun(), answer(), reply);
            log.end_write(number);
            let (reply, written) = oneshot::channel();
            log.send_when_durable(number, answer(), reply);
            assert!(written.await.unwrap().is_err() && read.await.unwrap().is_err());
        }
    }

    #[tokio::test]
    async fn a_retried_transaction_is_executed_once() {
        let client = client(&Dynamo::memory().unwrap()).await;
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
    fn the_responses_of_old_transactions_are_dropped() {
        let mut transactions = Transactions::default();
        transactions.remember("old".to_owned(), "{}".to_owned());
        transactions.by_age[0].0 -= 2 * Transactions::LIFE;
        transactions.remember("new".to_owned(), "{}".to_owned());
        assert!(transactions.answer("old").is_none() && transactions.answer("new").is_some());
        assert_eq!(transactions.by_age.len(), 1);
    }
}

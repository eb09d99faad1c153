//! The network between the processes and the stores: requests wait here until the schedule picks one and says what
//! becomes of it. While one is carried out nothing else runs, so a schedule is the order of these requests.
//!
//! A request that its sender has given up may still take effect later, and a copy is two moments: it reads its source at
//! one and writes its target at another.

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock, Mutex, MutexGuard},
};

use aws_smithy_runtime_api::{
    client::{
        http::{HttpConnector as _, HttpConnectorFuture, SharedHttpConnector},
        orchestrator::{HttpRequest, HttpResponse},
        result::ConnectorError,
    },
    http::StatusCode,
};
use aws_smithy_types::{body::SdkBody, byte_stream::ByteStream};
use bytes::Bytes;
use tokio::{runtime::Runtime, sync::oneshot};
use xfiles_core::clock::Timestamp;

use crate::wire::Line;

/// Whose request it is: an operation, the edge, or a worker's process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Process {
    Operation(usize),
    Edge,
    Worker(usize),
}

tokio::task_local! {
    /// Which operation the running task is.
    pub(super) static OPERATION: usize;
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Arrives,
    /// Nothing of it arrives.
    Lost,
    /// It takes effect, and nobody learns of it.
    ReplyLost,
    /// The store has no time.
    Refused,
    /// An index answers what it answered before; the table itself never does.
    AnsweredOld,
    /// Its sender waits no longer, and it takes effect at some later time, or never.
    Late,
    /// A copy has read its source, and its target is still to be written.
    ReadsItsSource,
}

/// A request on its way.
pub(super) struct Pending {
    pub(super) process: Process,
    pub(super) what: String,
    request: HttpRequest,
    store: SharedHttpConnector,
    /// Who waits for the answer. `None`: the sender has given it up.
    reply: Option<oneshot::Sender<Result<HttpResponse, ConnectorError>>>,
    /// Whether it is the second half of a copy, whose answer is that of a copy.
    is_copy: bool,
    /// Until when it may take effect once its sender has given it up.
    until: Timestamp,
}

impl Pending {
    /// Whether a store is another one after it.
    pub(super) fn writes(&self) -> bool {
        !["GET ", "HEAD ", "Query", "GetItem", "BatchGetItem", "Scan"].iter().any(|read| self.what.starts_with(read))
    }

    /// Whether it is a copy that has not read its source yet.
    pub(super) fn is_unread_copy(&self) -> bool {
        self.what.starts_with("COPY ")
    }

    /// The key of the object that it brings about, if it does.
    pub(super) fn brings(&self) -> Option<&str> {
        let target = self.what.strip_prefix("WRITE ").or_else(|| self.what.strip_prefix("PUT "));
        let target = target.or_else(|| self.what.split_once(" -> ").map(|(_, target)| target))?;
        target.split_once('/').map(|(_, key)| key)
    }
}

#[derive(Default)]
struct State {
    pending: Vec<Pending>,
    /// Requests that were given up and may still take effect.
    late: Vec<Pending>,
    /// Workers that have died: their requests go nowhere.
    dead_workers: Vec<usize>,
    /// The worker that is frozen because it has no invocation: what it was about to send waits.
    frozen_worker: Option<usize>,
    /// What each index partition answered last.
    answers: HashMap<String, Bytes>,
}

impl State {
    fn is_frozen(&self, process: Process) -> bool {
        matches!(process, Process::Worker(n) if self.frozen_worker == Some(n))
    }
}

/// All requests on their way.
#[derive(Clone, Default)]
pub(super) struct Network(Arc<Mutex<State>>);

/// A connection of somebody.
pub(super) struct Connection {
    network: Network,
    /// `None`: of whichever operation is running.
    process: Option<Process>,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection").field("process", &self.process).finish_non_exhaustive()
    }
}

impl Line for Connection {
    fn carry(&self, request: HttpRequest, store: SharedHttpConnector) -> HttpConnectorFuture {
        let process = self.process.unwrap_or_else(|| {
            OPERATION.try_with(|operation| Process::Operation(*operation)).expect("an operation asks as itself")
        });
        let (reply, replied) = oneshot::channel();
        let mut state = self.network.state();
        let dead = matches!(process, Process::Worker(n) if state.dead_workers.contains(&n));
        if !dead {
            let what = describe(&request);
            let (reply, until) = (Some(reply), Timestamp::from_millis(0));
            state.pending.push(Pending { process, what, request, store, reply, is_copy: false, until });
        }
        HttpConnectorFuture::new(async move { replied.await.unwrap_or_else(|_| Err(lost())) })
    }
}

fn lost() -> ConnectorError {
    ConnectorError::io("the connection broke".into())
}

/// A request in a few words that are the same in every run.
fn describe(request: &HttpRequest) -> String {
    if let Some(target) = request.headers().get("x-amz-target") {
        let operation = target.rsplit('.').next().unwrap_or(target);
        return match index_partition(request) {
            Some(partition) => format!("{operation} {partition}"),
            None => operation.to_owned(),
        };
    }
    let path = request.uri().split_once("://").and_then(|(_, rest)| rest.split_once('/')).map_or("", |(_, path)| path);
    let path = path.split_once('?').map_or(path, |(path, _)| path);
    match request.headers().get("x-amz-copy-source") {
        Some(source) => format!("COPY {source} -> {path}"),
        None => format!("{} {path}", request.method()),
    }
}

/// The index and the partition that a query reads.
fn index_partition(request: &HttpRequest) -> Option<String> {
    let body: serde_json::Value = serde_json::from_slice(request.body().bytes()?).ok()?;
    let index = body.get("IndexName")?.as_str()?;
    let values = body.get("ExpressionAttributeValues")?;
    let partition = values.get(":shard").or_else(|| values.get(":partition"))?.get("S")?.as_str()?;
    Some(format!("{index} {partition}"))
}

impl Network {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no holder panics")
    }

    /// A connection of the edge or of a worker.
    pub(super) fn connection_of(&self, process: Process) -> Arc<dyn Line> {
        Arc::new(Connection { network: self.clone(), process: Some(process) })
    }

    /// A connection of whichever operation is running.
    pub(super) fn connection(&self) -> Arc<dyn Line> {
        Arc::new(Connection { network: self.clone(), process: None })
    }

    /// How many requests are on their way.
    pub(super) fn len(&self) -> usize {
        let state = self.state();
        state.pending.iter().filter(|p| !state.is_frozen(p.process)).count()
    }

    /// From now on this worker is frozen, or none is.
    pub(super) fn freeze(&self, worker: Option<usize>) {
        self.state().frozen_worker = worker;
    }

    pub(super) fn anything_of(&self, of: impl Fn(Process) -> bool) -> bool {
        self.state().pending.iter().any(|p| of(p.process))
    }

    /// Takes one request off the wire. Their order is by who asks and when, which does not depend on the machine.
    pub(super) fn take(&self, n: usize) -> Pending {
        let mut state = self.state();
        state.pending.sort_by_key(|p| p.process);
        let mut awake = (0..state.pending.len()).filter(|i| !state.is_frozen(state.pending[*i].process));
        let n = awake.nth(n).expect("it is one of those that are counted");
        state.pending.remove(n)
    }

    /// The requests of processes that have died.
    pub(super) fn take_of(&self, of: impl Fn(Process) -> bool) -> Vec<Pending> {
        let mut state = self.state();
        let (taken, left) = std::mem::take(&mut state.pending).into_iter().partition(|p| of(p.process));
        state.pending = left;
        taken
    }

    pub(super) fn bury_worker(&self, n: usize) {
        self.state().dead_workers.push(n);
    }

    /// Lets a request meet its fate; what is late may take effect until a time. The world stands still meanwhile.
    pub(super) fn carry_out(&self, pending: Pending, fate: Fate, until: Timestamp) {
        let answer = match fate {
            Fate::Lost => Err(lost()),
            Fate::Refused => Ok(refusal(&pending)),
            Fate::AnsweredOld => Ok(self.old_answer(&pending.what)),
            Fate::Late => {
                let Pending { process, what, request, store, reply, is_copy, .. } = pending;
                self.state().late.push(Pending { process, what, request, store, reply: None, is_copy, until });
                if let Some(reply) = reply {
                    drop(reply.send(Err(lost())));
                }
                return;
            }
            Fate::ReadsItsSource => match read_source(&pending) {
                Ok(write) => {
                    let Pending { process, store, reply, until, .. } = pending;
                    let what = describe(&write).replacen("PUT", "WRITE", 1);
                    let given_up = reply.is_none();
                    let half = Pending { process, what, request: write, store, reply, is_copy: true, until };
                    let mut state = self.state();
                    if given_up {
                        state.late.push(half)
                    } else {
                        state.pending.push(half)
                    }
                    return;
                }
                Err(answer) => answer,
            },
            Fate::Arrives => {
                let Pending { request, store, .. } = &pending;
                let answer = ask(store, request.try_clone().expect("the body is in memory"));
                if pending.what.starts_with("Query ")
                    && let Ok((_, body)) = &answer
                {
                    self.state().answers.insert(pending.what.clone(), body.clone());
                }
                answer.map(|(mut answer, body)| {
                    if pending.is_copy && answer.status().is_success() {
                        return copied(&answer);
                    }
                    *answer.body_mut() = SdkBody::from(body);
                    answer
                })
            }
            Fate::ReplyLost => {
                let Pending { request, store, .. } = &pending;
                drop(ask(store, request.try_clone().expect("the body is in memory")));
                Err(lost())
            }
        };
        // Whoever asked may be gone.
        if let Some(reply) = pending.reply {
            drop(reply.send(answer));
        }
    }

    /// How many requests were given up and may still take effect.
    pub(super) fn late(&self) -> usize {
        self.state().late.len()
    }

    /// Takes one of them.
    pub(super) fn take_late(&self, n: usize) -> Pending {
        self.state().late.remove(n)
    }

    /// Those whose time ends at a moment.
    pub(super) fn take_ended(&self, at: Timestamp) -> Vec<Pending> {
        let mut state = self.state();
        let (ended, left) = std::mem::take(&mut state.late).into_iter().partition(|p| p.until <= at);
        state.late = left;
        ended
    }

    fn old_answer(&self, what: &str) -> HttpResponse {
        let nothing = Bytes::from_static(br#"{"Items":[],"Count":0,"ScannedCount":0}"#);
        let body = self.state().answers.get(what).cloned().unwrap_or(nothing);
        response(200, "application/x-amz-json-1.0", body)
    }
}

/// Asks a store and waits, with everybody else, until the whole answer is there.
fn ask(store: &SharedHttpConnector, request: HttpRequest) -> Result<(HttpResponse, Bytes), ConnectorError> {
    // A store may carry a request out in a task. The simulation's own runtime waits here, so that it has another.
    let _stores = STORES.enter();
    futures::executor::block_on(async {
        let mut answer = store.call(request).await?;
        let body = std::mem::replace(answer.body_mut(), SdkBody::empty());
        let body = ByteStream::new(body).collect().await.map_err(|e| ConnectorError::io(e.into()))?;
        Ok((answer, body.into_bytes()))
    })
}

/// Where the stores' tasks run.
static STORES: LazyLock<Runtime> = LazyLock::new(|| {
    let threads = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build();
    threads.expect("a runtime starts")
});

/// The first half of a copy: what is then to be written, or the answer if its source is gone or another one.
#[expect(clippy::result_large_err, reason = "the caller takes it apart at once")]
fn read_source(copy: &Pending) -> Result<HttpRequest, Result<HttpResponse, ConnectorError>> {
    let request = &copy.request;
    let header = |name: &str| request.headers().get(name).map(str::to_owned);
    let source = header("x-amz-copy-source").expect("a copy has a source");
    let target = request.uri().split('?').next().unwrap_or_default().to_owned();
    let root = target.split('/').take(3).collect::<Vec<_>>().join("/");
    let mut get = HttpRequest::new(SdkBody::empty());
    get.set_uri(format!("{root}/{source}")).expect("a URI");
    if let Some(etag) = header("x-amz-copy-source-if-match") {
        get.headers_mut().insert("if-match", etag);
    }
    let (mut answer, body) = ask(&copy.store, get).map_err(Err)?;
    if !answer.status().is_success() {
        *answer.body_mut() = SdkBody::from(body);
        return Err(Ok(answer));
    }
    let mut put = HttpRequest::new(SdkBody::from(body.to_vec()));
    put.set_method("PUT").expect("a method");
    put.set_uri(target).expect("a URI");
    for name in ["content-type", "cache-control", "content-disposition", "if-none-match"] {
        if let Some(value) = header(name) {
            put.headers_mut().insert(name, value);
        }
    }
    Ok(put)
}

/// What a copy answers where a put answered this.
fn copied(put: &HttpResponse) -> HttpResponse {
    let etag = put.headers().get("etag").unwrap_or_default();
    let body =
        format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?><CopyObjectResult><ETag>{etag}</ETag></CopyObjectResult>");
    response(200, "application/xml", Bytes::from(body))
}

/// A store that is busy, in its own words.
fn refusal(refused: &Pending) -> HttpResponse {
    let json = "application/x-amz-json-1.0";
    match refused.request.headers().get("x-amz-target").map(|target| target.rsplit('.').next().unwrap_or(target)) {
        Some("TransactWriteItems") => response(
            400,
            json,
            Bytes::from_static(
                br#"{"__type":"com.amazonaws.dynamodb.v20120810#TransactionCanceledException","Message":"Transaction cancelled","CancellationReasons":[{"Code":"TransactionConflict","Message":"Transaction is ongoing for the item"},{"Code":"None"}]}"#,
            ),
        ),
        Some(_) => response(
            400,
            json,
            Bytes::from_static(
                br#"{"__type":"com.amazonaws.dynamodb.v20120810#ThrottlingException","message":"Rate exceeded"}"#,
            ),
        ),
        None => {
            let error = "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>";
            // A copy that fails after S3 has begun to answer says so in the body of a 200.
            let status = if refused.is_copy || refused.is_unread_copy() { 200 } else { 503 };
            response(status, "application/xml", Bytes::from_static(error.as_bytes()))
        }
    }
}

fn response(status: u16, content_type: &'static str, body: Bytes) -> HttpResponse {
    let status = StatusCode::try_from(status).expect("a status");
    let mut response = HttpResponse::new(status, SdkBody::from(body));
    response.headers_mut().insert("content-type", content_type);
    response
}

//! The network between the processes and the stores: requests wait here until the schedule picks one and says what
//! becomes of it. While one is carried out nothing else runs, so a schedule is the order of these requests.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard},
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
use tokio::sync::oneshot;

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
}

/// A request on its way.
pub(super) struct Pending {
    pub(super) process: Process,
    pub(super) what: String,
    request: HttpRequest,
    store: SharedHttpConnector,
    reply: oneshot::Sender<Result<HttpResponse, ConnectorError>>,
}

#[derive(Default)]
struct State {
    pending: Vec<Pending>,
    /// Workers that have died: their requests go nowhere.
    dead_workers: Vec<usize>,
    /// What each index partition answered last.
    answers: HashMap<String, Bytes>,
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
            state.pending.push(Pending { process, what: describe(&request), request, store, reply });
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
        self.state().pending.len()
    }

    pub(super) fn anything_of(&self, of: impl Fn(Process) -> bool) -> bool {
        self.state().pending.iter().any(|p| of(p.process))
    }

    /// Takes one request off the wire. Their order is by who asks and when, which does not depend on the machine.
    pub(super) fn take(&self, n: usize) -> Pending {
        let mut state = self.state();
        state.pending.sort_by_key(|p| p.process);
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

    /// Lets a request meet its fate. The world stands still meanwhile.
    pub(super) fn carry_out(&self, pending: Pending, fate: Fate) {
        let Pending { what, request, store, reply, .. } = pending;
        let answer = match fate {
            Fate::Lost => Err(lost()),
            Fate::Refused => Ok(refusal(&request)),
            Fate::AnsweredOld => Ok(self.old_answer(&what)),
            Fate::Arrives => {
                let answer = ask(&store, request);
                if what.starts_with("Query ")
                    && let Ok((_, body)) = &answer
                {
                    self.state().answers.insert(what, body.clone());
                }
                answer.map(|(mut answer, body)| {
                    *answer.body_mut() = SdkBody::from(body);
                    answer
                })
            }
            Fate::ReplyLost => {
                drop(ask(&store, request));
                Err(lost())
            }
        };
        // Whoever asked may be gone.
        drop(reply.send(answer));
    }

    fn old_answer(&self, what: &str) -> HttpResponse {
        let nothing = Bytes::from_static(br#"{"Items":[],"Count":0,"ScannedCount":0}"#);
        let body = self.state().answers.get(what).cloned().unwrap_or(nothing);
        response(200, "application/x-amz-json-1.0", body)
    }
}

/// Asks a store and waits, with everybody else, until the whole answer is there.
fn ask(store: &SharedHttpConnector, request: HttpRequest) -> Result<(HttpResponse, Bytes), ConnectorError> {
    futures::executor::block_on(async {
        let mut answer = store.call(request).await?;
        let body = std::mem::replace(answer.body_mut(), SdkBody::empty());
        let body = ByteStream::new(body).collect().await.map_err(|e| ConnectorError::io(e.into()))?;
        Ok((answer, body.into_bytes()))
    })
}

/// A store that is busy, in its own words.
fn refusal(request: &HttpRequest) -> HttpResponse {
    let json = "application/x-amz-json-1.0";
    match request.headers().get("x-amz-target").map(|target| target.rsplit('.').next().unwrap_or(target)) {
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
            let status = if request.headers().get("x-amz-copy-source").is_some() { 200 } else { 503 };
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

//! A deterministic simulation: the real operations on the real engines, under a schedule that follows from a seed.
//!
//! Many operations run at the same time in one thread. Whenever none of them can go on, because each waits for a store,
//! the schedule takes one request and says what becomes of it: it arrives, it is lost, its reply is lost, the store is
//! busy, an index answers old. Or it lets time pass, kills a process, or begins another operation. In the end everything
//! heals, the cleanup runs until nothing is overdue, and bytes, records, quota and the CDN must agree with one another
//! and with every answer that was given.

mod inbox;
mod model;
mod network;
mod random;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use aws_sdk_s3::primitives::ByteStream;
use axum::{
    Router,
    body::Body,
    middleware::{self, Next},
    response::IntoResponse as _,
};
use http::{Request, StatusCode};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tower::ServiceExt as _;
use xfiles_cleanup_cron::{Bounds, Courier, Sent, deliver};
use xfiles_core::{
    catalog::{Consistency, FileFilter, Project},
    cdn::{BaseUrl, Cdn, KeyPairId, Signer, SigningKey, URL_LIFE},
    clock::{Clock, Timestamp},
    error::Error,
    event::EventType,
    file::{File, LEASE, Patch, State, WORKER_LIFE},
    id::{EndpointId, FileId, ProjectId, simulation},
    intent::{ByteSize, OriginalFilename, UploadIntent, VariantPolicy},
    object_key::{ObjectKey, Visibility},
    operations::{Begun, BulkDeleted, CERTAINTY, Erased, Files, Reconciliation, Reconciling, Sweep},
    variant::{ImageFormat, VariantSpec, Width},
    webhook::{Delivery, DeliveryStatus, Endpoint, Reach, TargetUrl},
};
use xfiles_edge_variants::{Invocations, Worker};
use xfiles_standalone::{
    BUCKET, Engines, REGION, TABLE,
    distribution::{self, Bucket, Distribution, TrustedKey},
    dynamodb::Dynamo,
    s3::{self, ObjectStore, S3Credentials},
};

use self::{
    inbox::Inbox,
    model::{Before, Kind, Known, etag_of},
    network::{Fate, Network, OPERATION, Pending, Process},
    random::Choices,
};
use crate::wire;

/// When every simulated world begins: 2040-01-01. The object store's protocol wants no time before the machine's.
const BEGINNING: Timestamp = Timestamp::from_millis(2_208_988_800_000);

/// How long the functions live at the most: the API's, the worker's, the cleanup's.
const REQUEST_LIFE: Duration = Duration::from_secs(30);
const WORKER_LIMIT: Duration = Duration::from_secs(60);
const SWEEP_LIFE: Duration = Duration::from_secs(120);
/// How long a slow client may take for its upload.
const UPLOAD_LIFE: Duration = Duration::from_secs(3600);

/// How likely it is, in percent, that one of the requests that were given up takes effect next, and that a copy writes at
/// another moment than it reads.
const LATE_ONES_GO: u32 = 15;
const COPIES_IN_HALVES: u32 = 40;

const QUOTA: u64 = 400;

/// The variant that everybody looks at.
const VARIANT: VariantSpec = VariantSpec { width: Width::ALL[0], format: ImageFormat::Png };

/// One for which nobody waits: it is made while others are answered.
const SLOW_VARIANT: VariantSpec = VariantSpec { width: Width::ALL[0], format: ImageFormat::Avif };

/// What a run that held all promises did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Run {
    /// How many operations began.
    pub operations: usize,
    /// How many requests to the stores were scheduled.
    pub requests: usize,
}

/// What is made once and used by many runs.
#[derive(Clone)]
pub struct Kit {
    credentials: S3Credentials,
    signer: Arc<Signer>,
    trusted: TrustedKey,
    base: BaseUrl,
}

impl Default for Kit {
    fn default() -> Self {
        let (key, _) = SigningKey::generate_p256(KeyPairId::mint());
        let trusted = TrustedKey::from_pem(key.id().clone(), &key.public_key_pem()).expect("a public key");
        Self {
            credentials: S3Credentials::new("XFSIMULATION", "a secret of a simulation"),
            signer: Arc::new(Signer::new(key, URL_LIFE)),
            trusted,
            base: "http://cdn.simulation".parse().expect("a base URL"),
        }
    }
}

/// Runs one seed.
///
/// # Errors
/// The promise that was broken; with `trace`, after everything that happened.
pub fn run(kit: &Kit, seed: u64, trace: bool) -> Result<Run, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.expect("a runtime starts");
    simulation::seed_this_thread(Some(seed));
    let ended = runtime.block_on(async {
        let mut world = World::new(kit, seed, trace).await;
        let ended = world.live().await;
        (ended, world.trace)
    });
    simulation::seed_this_thread(None);
    match ended {
        (Ok(run), _) => Ok(run),
        (Err(broken), lines) => Err(lines.into_iter().chain([broken]).collect::<Vec<_>>().join("\n")),
    }
}

/// How rough a world is, in percent.
struct Weather {
    lost: u32,
    reply_lost: u32,
    refused: u32,
    late: u32,
    old: u32,
    death: u32,
    time: u32,
}

struct World {
    choices: Choices,
    weather: Weather,
    /// Whether nothing is lost and nobody dies.
    is_calm: bool,
    clock: Clock,
    engines: Engines,
    dynamodb: aws_sdk_dynamodb::Client,
    s3: aws_sdk_s3::Client,
    /// What clients upload through.
    uploads: aws_sdk_s3::Client,
    network: Network,
    /// What the operations work on, through the network.
    files: Files,
    /// What the observer looks at, past the network.
    truth: Files,
    distribution: Distribution,
    edge: Router,
    workers: usize,
    worker_busy_since: Option<Timestamp>,
    /// How many invocations the worker has. Without one it is frozen, whatever it is still doing.
    invocations: Arc<AtomicUsize>,
    project: ProjectId,
    inbox: Inbox,
    endpoint: EndpointId,
    known: Vec<Known>,
    running: BTreeMap<usize, Running>,
    /// When each operation's process ends at the latest.
    ends: BTreeMap<usize, Timestamp>,
    ended: Arc<Mutex<Vec<(usize, Outcome)>>>,
    done: Run,
    trace: Vec<String>,
    tracing: bool,
    _home: TempDir,
}

struct Running {
    operation: Operation,
    before: Option<Before>,
    began: Timestamp,
    ends_at: Timestamp,
    task: JoinHandle<()>,
}

/// What somebody does. Numbers are places in the list of known files.
#[derive(Clone, Debug)]
enum Operation {
    Begin(Kind, Visibility, VariantPolicy),
    Put {
        file: usize,
        variety: Option<u8>,
        late: bool,
    },
    Confirm(usize),
    /// The store says that an upload has arrived.
    Arrive(usize),
    Resign(usize),
    Patch(usize, Patch),
    Delete(usize),
    Erase(usize),
    DeleteMatching,
    Reconcile,
    Get(usize),
    View {
        file: usize,
        key: ObjectKey,
    },
    Sweep,
    Deliver,
}

enum Outcome {
    Begun(Result<Begun, Error>),
    Put,
    File(Result<File, Error>),
    Done(Result<(), Error>),
    Matched(Result<BulkDeleted, Error>),
    Viewed(StatusCode, Vec<u8>),
    Erased(Result<Erased, Error>),
    Reconciled(Result<Reconciliation, Error>),
    Swept(Result<Sweep, Error>),
    Sent(Result<Sent, Error>),
}

impl World {
    async fn new(kit: &Kit, seed: u64, tracing: bool) -> Self {
        let mut choices = Choices::new(seed);
        let clock = Clock::manual(BEGINNING);
        let memory = std::path::Path::new("/dev/shm");
        let home = if memory.is_dir() { TempDir::with_prefix_in("xf-sim-", memory) } else { TempDir::new() };
        let home = home.expect("a directory for the objects");
        let store = ObjectStore::open(s3::Options {
            root: home.path().to_owned(),
            durable: false,
            credentials: kit.credentials.clone(),
            region: REGION.to_owned(),
            clock: clock.clone(),
            origins: s3::AllowedOrigins::Any,
        });
        let engines = Engines::new(
            Dynamo::memory().expect("a metadata store opens"),
            store.expect("an object store opens"),
            kit.credentials.clone(),
            "http://s3.simulation".parse().expect("a base URL"),
            clock.clone(),
        );
        let network = Network::default();
        let edge_line = network.connection_of(Process::Edge);
        let distribution = Distribution::new(distribution::Options {
            base_url: kit.base.clone(),
            bucket: Bucket {
                client: engines.s3_client(|client| wire::through(edge_line.clone(), client)),
                name: BUCKET.to_owned(),
            },
            trusted_keys: vec![kit.trusted.clone()],
            clock: clock.clone(),
            cache_bytes: 1024 * 1024,
        });
        let cdn = Cdn::new(kit.base.clone(), kit.signer.clone(), Arc::new(distribution.clone()));
        let truth = engines.files(cdn.clone(), |client| client);
        let line = network.connection();
        let files = engines.files(cdn, |client| wire::through(line.clone(), client));
        truth.inspect().catalog.create_table().await.expect("a table is made");
        truth.inspect().blobs.create_bucket().await.expect("a bucket is made");
        let project = Project::new("simulation", QUOTA, clock.now());
        truth.inspect().catalog.create_project(&project).await.expect("a project is made");
        let url = TargetUrl::parse("http://receiver.simulation/", Reach::Anywhere).expect("a URL");
        let endpoint = Endpoint::new(project.id, url, Vec::new(), clock.now());
        truth.inspect().catalog.create_endpoint(&endpoint).await.expect("an endpoint is made");

        let storm = choices.below(4);
        let mut up_to =
            |most: u32| if storm == 0 { 0 } else { u32::try_from(choices.below(most as usize + 1)).unwrap_or(0) };
        let weather = Weather {
            lost: up_to(8),
            reply_lost: up_to(8),
            refused: up_to(8),
            late: up_to(8),
            old: up_to(30),
            death: up_to(8),
            time: up_to(12),
        };
        let moody = up_to(40);
        let inbox = Inbox::new(Choices::new(choices.number()), moody);
        let mut world = Self {
            choices,
            weather,
            is_calm: storm == 0,
            clock,
            dynamodb: engines.dynamodb_client(|client| client),
            s3: engines.s3_client(|client| client),
            uploads: engines.s3_client(|client| wire::through(line.clone(), client)),
            engines,
            network,
            files,
            truth,
            distribution,
            edge: Router::new(),
            workers: 0,
            worker_busy_since: None,
            invocations: Arc::default(),
            project: project.id,
            inbox,
            endpoint: endpoint.id,
            known: Vec::new(),
            running: BTreeMap::new(),
            ends: BTreeMap::new(),
            ended: Arc::default(),
            done: Run::default(),
            trace: Vec::new(),
            tracing,
            _home: home,
        };
        world.hire_worker();
        world
    }

    fn note(&mut self, line: impl FnOnce() -> String) {
        if self.tracing {
            let passed = self.clock.now().since(BEGINNING);
            self.trace.push(format!("{:>9.1}s {}", passed.as_secs_f64(), line()));
        }
    }

    /// A fresh process for the worker behind the same edge.
    fn hire_worker(&mut self) {
        self.workers += 1;
        let line = self.network.connection_of(Process::Worker(self.workers));
        let files = self.engines.files(self.truth.inspect().cdn.clone(), |client| wire::through(line.clone(), client));
        let worker = Worker::new(files, 1);
        self.invocations = Arc::default();
        self.edge = self.distribution.router(as_function(worker, self.invocations.clone()));
        self.worker_busy_since = None;
    }

    async fn live(&mut self) -> Result<Run, String> {
        let budget = 6 + self.choices.below(18);
        let at_once = 1 + self.choices.below(5);
        loop {
            self.settle().await?;
            let may_begin = self.done.operations < budget && self.running.len() < at_once;
            let waiting = self.network.len();
            if !may_begin && waiting == 0 {
                break;
            }
            if self.choices.percent(self.weather.time) {
                let time = self.some_time();
                self.pass(time);
            } else if self.choices.percent(self.weather.death) {
                self.kill_somebody();
            } else if may_begin && (waiting == 0 || self.choices.percent(25)) {
                self.begin_something();
            } else if self.network.late() > 0 && self.choices.percent(LATE_ONES_GO) {
                let pending = self.network.take_late(self.choices.below(self.network.late()));
                self.end_late(pending, true);
            } else if waiting > 0 {
                let pending = self.network.take(self.choices.below(waiting));
                let fate = self.fate(&pending);
                self.carry_out(pending, fate);
                self.done.requests += 1;
            }
        }
        if self.is_calm {
            self.check_variants().await?;
        }
        self.heal().await?;
        Ok(self.done)
    }

    fn fate(&mut self, pending: &Pending) -> Fate {
        if pending.what.starts_with("Query ") && self.choices.percent(self.weather.old) {
            return Fate::AnsweredOld;
        }
        let Weather { lost, reply_lost, refused, late, .. } = self.weather;
        for (fate, chance) in
            [(Fate::Lost, lost), (Fate::ReplyLost, reply_lost), (Fate::Refused, refused), (Fate::Late, late)]
        {
            if self.choices.percent(chance) && (fate != Fate::Late || pending.writes()) {
                return fate;
            }
        }
        if pending.is_unread_copy() && self.choices.percent(COPIES_IN_HALVES) {
            return Fate::ReadsItsSource;
        }
        Fate::Arrives
    }

    /// Lets a request meet its fate, and notes what it may bring back.
    fn carry_out(&mut self, pending: Pending, fate: Fate) {
        self.note(|| format!("  {:?}: {} {fate:?}", pending.process, pending.what));
        let now = self.clock.now();
        if matches!(fate, Fate::Arrives | Fate::ReplyLost)
            && let Some(key) = pending.brings().and_then(|key| key.parse::<ObjectKey>().ok())
            && !matches!(key, ObjectKey::Staging { .. })
            && let Some(known) = self.known.iter_mut().find(|known| known.id == key.file())
        {
            known.brought_at = Some(now);
        }
        let until = self.end_of(pending.process);
        self.network.carry_out(pending, fate, until);
    }

    /// Until when what a process has sent may take effect: as long as it may live.
    fn end_of(&self, process: Process) -> Timestamp {
        let now = self.clock.now();
        match process {
            Process::Operation(number) => self.ends.get(&number).copied().unwrap_or(now),
            Process::Worker(_) => self.worker_busy_since.unwrap_or(now) + WORKER_LIMIT,
            Process::Edge => now,
        }
    }

    /// What was given up takes effect, a copy perhaps by half, or never does.
    fn end_late(&mut self, pending: Pending, may_wait: bool) {
        let fate = if !may_wait && self.choices.percent(50) {
            Fate::Lost
        } else if may_wait && pending.is_unread_copy() && self.choices.percent(COPIES_IN_HALVES) {
            Fate::ReadsItsSource
        } else {
            Fate::Arrives
        };
        self.note(|| "  late:".to_owned());
        self.carry_out(pending, fate);
    }

    /// Lets everybody run until each waits for a store, and hears those who have ended.
    async fn settle(&mut self) -> Result<(), String> {
        // The time of this runtime stands still while anything can run, and jumps over every backoff.
        tokio::time::sleep(Duration::from_secs(600)).await;
        let is_worker = |process| matches!(process, Process::Worker(_));
        let is_awake = self.invocations.load(Ordering::SeqCst) > 0;
        self.network.freeze((!is_awake).then_some(self.workers));
        self.worker_busy_since = match is_awake && self.network.anything_of(is_worker) {
            true => self.worker_busy_since.or(Some(self.clock.now())),
            false => None,
        };
        let mut ended = std::mem::take(&mut *self.ended.lock().expect("no holder panics"));
        ended.sort_by_key(|(number, _)| *number);
        for (number, outcome) in ended {
            let running = self.running.remove(&number).expect("what ended was running");
            self.hear(number, running, outcome)?;
        }
        Ok(())
    }

    fn some_time(&mut self) -> Duration {
        let seconds: &[u64] = &[1, 5, 11, 31, 61, 125, 600, 905, 1805, 2 * 3600];
        Duration::from_secs(*self.choices.one_of(seconds))
    }

    /// Time passes; whoever has had all of his ends.
    fn pass(&mut self, time: Duration) {
        for pending in self.network.take_ended(self.clock.now() + time) {
            self.end_late(pending, false);
        }
        self.clock.advance(time);
        let now = self.clock.now();
        self.note(|| format!("{} s pass", time.as_secs()));
        if self.worker_busy_since.is_some_and(|since| now.since(since) >= WORKER_LIMIT) {
            self.kill_worker();
        }
        let over: Vec<usize> = self.running.iter().filter(|(_, r)| r.ends_at <= now).map(|(n, _)| *n).collect();
        for number in over {
            self.kill(number);
        }
    }

    fn kill_somebody(&mut self) {
        let numbers: Vec<usize> = self.running.keys().copied().collect();
        match self.choices.below(numbers.len() + 1).checked_sub(1) {
            None => self.kill_worker(),
            Some(n) => self.kill(numbers[n]),
        }
    }

    /// A process dies. What it had sent arrives, or does not.
    fn kill(&mut self, number: usize) {
        let running = self.running.remove(&number).expect("it runs");
        running.task.abort();
        self.note(|| format!("{number} dies"));
        self.let_go(Process::Operation(number));
    }

    fn kill_worker(&mut self) {
        let number = self.workers;
        self.note(|| "the worker dies".to_owned());
        self.network.bury_worker(number);
        self.let_go(Process::Worker(number));
        self.hire_worker();
    }

    fn let_go(&mut self, of: Process) {
        let is_frozen = matches!(of, Process::Worker(_)) && self.invocations.load(Ordering::SeqCst) == 0;
        for pending in self.network.take_of(|process| process == of) {
            if is_frozen {
                // It was never sent.
                self.network.carry_out(pending, Fate::Lost, self.clock.now());
                continue;
            }
            let late = self.weather.late > 0 && pending.writes() && self.choices.percent(30);
            let fate = match self.choices.percent(50) {
                _ if late => Fate::Late,
                true => Fate::ReplyLost,
                false => Fate::Lost,
            };
            self.carry_out(pending, fate);
        }
    }

    fn begin_something(&mut self) {
        let operation = self.something_to_do();
        self.begin(operation);
    }

    fn something_to_do(&mut self) -> Operation {
        if self.known.is_empty() || self.choices.percent(6) {
            let kind = if self.choices.percent(70) { Kind::Picture } else { Kind::Text };
            let visibility = *self.choices.one_of(&Visibility::ALL);
            let variants =
                VariantPolicy { enabled: self.choices.percent(80), visibility: *self.choices.one_of(&Visibility::ALL) };
            return Operation::Begin(kind, visibility, variants);
        }
        let file = self.choices.below(self.known.len());
        let known = &self.known[file];
        if known.sent.is_empty() && self.choices.percent(70) {
            return Operation::Put { file, variety: Some(0), late: false };
        }
        if !known.confirm_begun && self.choices.percent(60) {
            return Operation::Confirm(file);
        }
        match self.choices.below(100) {
            0..12 => {
                let variety = if self.choices.percent(15) {
                    None
                } else {
                    Some(u8::try_from(self.choices.below(3)).unwrap_or(0))
                };
                Operation::Put { file, variety, late: self.choices.percent(20) }
            }
            12..22 | 96.. => Operation::Confirm(file),
            22..24 => Operation::Arrive(file),
            24..27 => Operation::Resign(file),
            27..42 => Operation::Patch(file, self.some_patch()),
            42..49 => Operation::Delete(file),
            49..52 => Operation::Erase(file),
            52..54 => Operation::DeleteMatching,
            54..60 => Operation::Get(file),
            60..82 => Operation::View { file, key: self.some_key(file) },
            82..84 => Operation::Reconcile,
            84..88 => Operation::Deliver,
            _ => Operation::Sweep,
        }
    }

    fn some_patch(&mut self) -> Patch {
        let choices = &mut self.choices;
        let mut maybe = |chance| choices.percent(chance).then(|| *choices.one_of(&Visibility::ALL));
        let (visibility, variants_visibility) = (maybe(60), maybe(40));
        let variants_enabled = self.choices.percent(20).then(|| self.choices.percent(50));
        Patch { visibility, variants_visibility, variants_enabled, ..Patch::default() }
    }

    /// One of the paths at which the file's bytes may be, now or at some time.
    fn some_key(&mut self, file: usize) -> ObjectKey {
        let visibility = *self.choices.one_of(&Visibility::ALL);
        let seen = &self.known[file].seen;
        if self.known[file].kind == Kind::Text || self.choices.percent(35) {
            return seen.original_key_at(visibility);
        }
        let slowly = self.choices.percent(8);
        seen.variant_key(visibility, if slowly { SLOW_VARIANT } else { VARIANT })
    }

    fn begin(&mut self, operation: Operation) {
        let number = self.done.operations;
        self.done.operations += 1;
        self.note(|| format!("{number}: {operation:?}"));
        let now = self.clock.now();
        let of = match operation {
            Operation::Put { file, .. } | Operation::View { file, .. } => Some(file),
            Operation::Confirm(file)
            | Operation::Arrive(file)
            | Operation::Resign(file)
            | Operation::Patch(file, _)
            | Operation::Delete(file)
            | Operation::Erase(file)
            | Operation::Get(file) => Some(file),
            Operation::Begin(..)
            | Operation::DeleteMatching
            | Operation::Reconcile
            | Operation::Sweep
            | Operation::Deliver => None,
        };
        let before = of.map(|file| self.known[file].before());
        let (files, project) = (self.files.clone(), self.project);
        let mut life = REQUEST_LIFE;
        let work: std::pin::Pin<Box<dyn Future<Output = Outcome> + Send>> = match &operation {
            Operation::Begin(kind, visibility, variants) => {
                let intent = intent(*kind, *visibility, *variants);
                Box::pin(async move { Outcome::Begun(files.begin(project, intent).await) })
            }
            Operation::Put { file, variety, late } => {
                life = UPLOAD_LIFE;
                let known = &mut self.known[*file];
                let bytes = variety.map_or_else(|| known.kind.impostor(), |v| known.kind.payload(v));
                known.sent.insert(etag_of(&bytes), bytes.clone());
                let upload = self.choices.below(known.uploads.len());
                let upload = &known.uploads[upload];
                let in_time = now < upload.expires_at;
                // A client that began in time may be slow: the store looked at the signature when it began.
                let put = self
                    .uploads
                    .put_object()
                    .bucket(BUCKET)
                    .key(known.seen.staging_key().to_string())
                    .content_type(known.kind.name_and_type().1)
                    .body(ByteStream::from(bytes));
                let clock = self.clock.clone();
                let (until, late) = (upload.expires_at, *late);
                Box::pin(async move {
                    if in_time && (late || clock.now() < until) {
                        drop(put.send().await);
                    }
                    Outcome::Put
                })
            }
            Operation::Confirm(file) => {
                self.known[*file].confirm_begun = true;
                let id = self.known[*file].id;
                Box::pin(async move { Outcome::File(files.confirm(project, id).await) })
            }
            Operation::Arrive(file) => {
                self.known[*file].confirm_begun = true;
                let key = self.known[*file].seen.staging_key();
                Box::pin(async move { Outcome::Done(files.confirm_arrived(&key).await.map(drop)) })
            }
            Operation::Resign(file) => {
                let id = self.known[*file].id;
                Box::pin(async move { Outcome::Begun(files.resign(project, id).await) })
            }
            Operation::Patch(file, patch) => {
                let known = &mut self.known[*file];
                known.changes_begun += 1;
                if patch.visibility == Some(Visibility::Public) {
                    known.original_closed = false;
                }
                if patch.variants_visibility == Some(Visibility::Public) {
                    known.variants_closed = false;
                }
                let (id, patch) = (known.id, patch.clone());
                Box::pin(async move { Outcome::File(files.patch(project, id, &patch, None).await) })
            }
            Operation::Delete(file) => {
                self.known[*file].removal_begun = true;
                let id = self.known[*file].id;
                Box::pin(async move { Outcome::Done(files.delete(project, id, None).await) })
            }
            Operation::Erase(file) => {
                self.known[*file].removal_begun = true;
                let id = self.known[*file].id;
                Box::pin(async move { Outcome::Erased(files.erase(project, id, None).await) })
            }
            Operation::Reconcile => {
                life = SWEEP_LIFE;
                let walk = async move { files.reconcile(Reconciling::Repair, Duration::from_secs(45)).await };
                Box::pin(async move { Outcome::Reconciled(walk.await) })
            }
            Operation::DeleteMatching => {
                for known in &mut self.known {
                    known.removal_begun = true;
                }
                let all = FileFilter::default();
                Box::pin(async move {
                    Outcome::Matched(files.delete_matching(project, &all, Duration::from_secs(20)).await)
                })
            }
            Operation::Get(file) => {
                let id = self.known[*file].id;
                Box::pin(async move { Outcome::File(files.get(project, id).await) })
            }
            Operation::View { key, .. } => {
                let (cdn, key) = (self.truth.inspect().cdn.clone(), key.clone());
                let edge = self.edge.clone();
                Box::pin(async move {
                    let url = cdn.url(&key, cdn.expiry(now)).await.expect("a published key");
                    view(edge, url.as_str()).await
                })
            }
            Operation::Sweep => {
                life = SWEEP_LIFE;
                Box::pin(async move { Outcome::Swept(files.sweep(100, Duration::from_secs(45)).await) })
            }
            Operation::Deliver => {
                life = SWEEP_LIFE;
                let inbox = self.inbox.clone();
                let courier = Courier::through(move || inbox.connect());
                Box::pin(async move { Outcome::Sent(deliver(&files, &courier, Bounds::default()).await) })
            }
        };
        let ended = self.ended.clone();
        let task = tokio::spawn(OPERATION.scope(number, async move {
            let outcome = work.await;
            ended.lock().expect("no holder panics").push((number, outcome));
        }));
        self.ends.insert(number, now + life);
        self.running.insert(number, Running { operation, before, began: now, ends_at: now + life, task });
    }

    /// Compares an answer with what was known when the question was asked.
    fn hear(&mut self, number: usize, running: Running, outcome: Outcome) -> Result<(), String> {
        let Running { operation, before, began, .. } = running;
        self.note(|| format!("{number}: {}", outcome.describe()));
        if let Some(Error::Internal(cause)) = outcome.error() {
            return Err(format!("{number} {operation:?} ended in an internal error: {cause}"));
        }
        match (operation, before, outcome) {
            (Operation::Begin(kind, ..), _, Outcome::Begun(Ok(begun))) => {
                self.known.push(Known::new(begun.file, kind, begun.upload));
            }
            (Operation::Resign(file), Some(before), Outcome::Begun(Ok(begun))) => {
                if before.confirmed || before.removed {
                    return Err(format!("{} got another upload URL after it was settled", begun.file.id));
                }
                self.known[file].uploads.push(begun.upload);
            }
            (Operation::Confirm(file), Some(before), Outcome::File(answer)) => match answer {
                Ok(found) => self.known[file].learn(&found, &before)?,
                Err(Error::NotUploaded) if before.confirmed => {
                    return Err(format!("{} is said not to be uploaded after it was confirmed", self.known[file].id));
                }
                Err(Error::FileNotFound) => self.miss(file, &before)?,
                Err(_) => {}
            },
            (Operation::Get(file), Some(before), Outcome::File(answer)) => match answer {
                Ok(found) => self.known[file].learn(&found, &before)?,
                Err(Error::FileNotFound) => self.miss(file, &before)?,
                Err(_) => {}
            },
            (Operation::Patch(file, patch), Some(before), Outcome::File(answer)) => match answer {
                Ok(found) => {
                    self.known[file].learn(&found, &before)?;
                    let others =
                        self.running.values().any(|r| matches!(&r.operation, Operation::Patch(f, _) if *f == file));
                    let known = &mut self.known[file];
                    known.changes_begun -= 1;
                    let alone = known.changes_begun == 0 && !others;
                    known.original_closed = patch.visibility == Some(Visibility::Private) && alone;
                    known.variants_closed = patch.variants_visibility == Some(Visibility::Private) && alone;
                    known.closed_by(began);
                }
                Err(Error::FileNotFound) => self.miss(file, &before)?,
                Err(_) => {}
            },
            (Operation::Delete(file), Some(_), Outcome::Done(Ok(()))) => self.known[file].is_removed(began),
            (Operation::Erase(file), Some(_), Outcome::Erased(Ok(_))) => self.known[file].is_removed(began),
            (Operation::Sweep, _, Outcome::Swept(Ok(sweep))) if sweep.failed.is_empty() && !sweep.more => {
                for known in &mut self.known {
                    known.swept(began);
                }
            }
            (Operation::View { file, key }, Some(before), Outcome::Viewed(StatusCode::OK, bytes)) => {
                let known = &self.known[file];
                if !known.confirm_begun {
                    return Err(format!("{key:?} could be read before anybody confirmed it"));
                }
                if before.removed && !known.may_be_back() {
                    return Err(format!("{key:?} could be read after its removal was acknowledged"));
                }
                if let ObjectKey::Variant { visibility: Visibility::Public, .. } = &key
                    && before.variants_closed
                    && !known.may_be_back()
                {
                    return Err(format!("{key:?} could be read after variants were made private"));
                }
                if let ObjectKey::Original { visibility, .. } = &key {
                    let etag = etag_of(&bytes);
                    if !known.sent.contains_key(&etag) || known.confirmed.as_ref().is_some_and(|e| *e != etag) {
                        return Err(format!("{key:?} has other bytes than were confirmed"));
                    }
                    if *visibility == Visibility::Public && before.original_closed && !known.may_be_back() {
                        return Err(format!("{key:?} could be read after it was made private"));
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// A file was not found: then somebody must have removed it, or it was never finished.
    fn miss(&self, file: usize, before: &Before) -> Result<(), String> {
        let known = &self.known[file];
        if before.confirmed && !before.removal_begun && !known.removal_begun {
            return Err(format!("{} was confirmed and is not found", known.id));
        }
        Ok(())
    }

    /// The weather clears: those who still run end or die, and the cleanup runs until nothing is owed.
    async fn heal(&mut self) -> Result<(), String> {
        self.weather = Weather { lost: 0, reply_lost: 0, refused: 0, late: 0, old: 0, death: 0, time: 0 };
        for number in self.running.keys().copied().collect::<Vec<_>>() {
            self.kill(number);
        }
        self.serve_all().await?;
        // What is frozen in it is never done.
        self.kill_worker();
        for round in 0.. {
            self.pass(if round == 0 { LEASE + Duration::from_secs(1800 + 1) } else { WORKER_LIFE + LEASE });
            self.begin(Operation::Sweep);
            self.serve_all().await?;
            if self.owing().await.is_empty() {
                break;
            }
            if round == 10 {
                return Err(format!("after {round} sweeps these still owe work: {:?}", self.owing().await));
            }
        }
        self.send_all().await?;
        // What a plan owes must not need the reconciliation, which would hide that it was left.
        self.check_objects("files/", &self.records().await).await?;
        self.check_uploads_are_uncounted().await?;
        // What only the reconciliation can find must be found twice, a day apart; a walk that was left half-way is
        // finished first.
        for _ in 0..3 {
            self.pass(CERTAINTY + Duration::from_secs(1));
            self.begin(Operation::Reconcile);
            self.serve_all().await?;
            if self.check_objects("", &self.records().await).await.is_ok() {
                break;
            }
        }
        self.check().await
    }

    /// The receiver takes what it is sent, until nothing is left to send.
    async fn send_all(&mut self) -> Result<(), String> {
        self.inbox.calm_down();
        for _ in 0..10 {
            self.begin(Operation::Deliver);
            self.serve_all().await?;
            if self.deliveries().await.iter().all(|delivery| delivery.status != DeliveryStatus::Pending) {
                return Ok(());
            }
            self.pass(Duration::from_secs(6 * 60 * 60));
        }
        Err("messages are still on their way after two days".to_owned())
    }

    /// Every message that was sent or is to be sent.
    async fn deliveries(&self) -> Vec<Delivery> {
        let page = self.truth.inspect().catalog.deliveries(self.endpoint, None, None, u8::MAX).await;
        let page = page.expect("deliveries can be read");
        assert!(page.next.is_none(), "a simulated world has few of them");
        page.deliveries
    }

    async fn serve_all(&mut self) -> Result<(), String> {
        loop {
            self.settle().await?;
            if self.network.len() == 0 {
                return Ok(());
            }
            let pending = self.network.take(0);
            self.carry_out(pending, Fate::Arrives);
        }
    }

    async fn owing(&self) -> Vec<FileId> {
        self.records().await.into_iter().filter(|(_, file)| file.due.is_some()).map(|(id, _)| id).collect()
    }

    /// The partition key of each item there is.
    async fn partitions(&self) -> Vec<String> {
        let items = self.dynamodb.scan().table_name(TABLE).projection_expression("PK").consistent_read(true);
        let found = items.send().await.expect("the table can be scanned");
        assert!(found.last_evaluated_key.is_none(), "a simulated table fits into one page");
        found.items().iter().map(|item| item["PK"].as_s().expect("a key is text").clone()).collect()
    }

    /// Every file's record there is.
    async fn records(&self) -> BTreeMap<FileId, File> {
        let partitions = self.partitions().await;
        let ids = partitions.iter().filter_map(|partition| partition.strip_prefix("F#"));
        let ids: Vec<FileId> = ids.map(|id| id.parse().expect("a record is named by its id")).collect();
        self.truth.inspect().catalog.records(&ids).await.expect("records can be read").into_iter().collect()
    }

    /// What is counted of uploads is given back once they have ended and none can arrive any more.
    async fn check_uploads_are_uncounted(&self) -> Result<(), String> {
        let project = self.truth.inspect().catalog.project(self.project, Consistency::Strong).await;
        let project = project.expect("the project is there");
        let counted = (project.reserved_bytes, project.late_bytes, project.pending_uploads);
        if counted != (0, 0, 0) {
            return Err(format!("reserved and late bytes, and pending uploads, are {counted:?} when none is left"));
        }
        Ok(())
    }

    /// What must hold when nobody is in the middle of anything.
    async fn check(&mut self) -> Result<(), String> {
        let records = self.records().await;
        let project = self
            .truth
            .inspect()
            .catalog
            .project(self.project, Consistency::Strong)
            .await
            .expect("the project is there");
        let held: u64 = records.values().map(File::holds).sum();
        if project.free_bytes + held != project.quota_bytes {
            return Err(format!("{} free and {held} held bytes are not the quota of {QUOTA}", project.free_bytes));
        }
        if project.reserved_bytes != 0 {
            return Err(format!("{} bytes are reserved for nobody", project.reserved_bytes));
        }
        if project.file_count != records.len() as u64 {
            return Err(format!("{} files are counted and {} are there", project.file_count, records.len()));
        }
        self.check_known(&records)?;
        self.check_events(&records).await?;
        self.check_objects("", &records).await?;
        self.check_views(&records).await
    }

    fn check_known(&self, records: &BTreeMap<FileId, File>) -> Result<(), String> {
        for known in &self.known {
            let id = known.id;
            match records.get(&id) {
                None if known.confirmed.is_some() && !known.removal_begun => {
                    return Err(format!("{id} was confirmed and is lost"));
                }
                Some(_) if known.removed => return Err(format!("{id} was removed and is back")),
                Some(file) if file.version < known.seen.version => return Err(format!("{id} lost a change")),
                _ => {}
            }
        }
        Ok(())
    }

    /// Each change was told, under one id.
    async fn check_events(&self, records: &BTreeMap<FileId, File>) -> Result<(), String> {
        if self.partitions().await.iter().any(|partition| partition.starts_with("E#")) {
            return Err("an event is left in the outbox".to_owned());
        }
        let told = self.deliveries().await;
        let ids: BTreeSet<&str> = told.iter().map(|delivery| delivery.event.as_str()).collect();
        if ids.len() != told.len() {
            return Err("a change was told twice".to_owned());
        }
        let unheard = |it: &&Delivery| it.status == DeliveryStatus::Delivered && !self.inbox.has(it.event.as_str());
        if let Some(delivery) = told.iter().find(unheard) {
            return Err(format!("{} is said to be delivered and was not", delivery.event));
        }
        for known in &self.known {
            let of =
                |kind| told.iter().filter(|event| event.kind == kind && event.body.contains(known.id.as_str())).count();
            let [confirmed, deleted, expired] =
                [EventType::FileConfirmed, EventType::FileDeleted, EventType::FileExpired].map(of);
            let expected = match (records.contains_key(&known.id), confirmed) {
                (true, _) => (1, 0, 0),
                (false, 1) => (1, 1, 0),
                (false, _) => (0, 0, 1),
            };
            if (confirmed, deleted, expired) != expected || (known.confirmed.is_some() && confirmed == 0) {
                return Err(format!(
                    "of {} it was told {confirmed} times that it was confirmed, {deleted} times that it was deleted, \
                     {expired} times that it expired",
                    known.id
                ));
            }
        }
        Ok(())
    }

    async fn check_objects(&self, prefix: &str, records: &BTreeMap<FileId, File>) -> Result<(), String> {
        let mut objects = BTreeSet::new();
        let listed = self.s3.list_objects_v2().bucket(BUCKET).prefix(prefix).send().await.expect("the store lists");
        objects.extend(listed.contents().iter().filter_map(|object| object.key().map(str::to_owned)));
        for (id, file) in records {
            let State::Confirmed { etag, .. } = &file.state else {
                return Err(format!("{id} rests in state {}", file.state.as_str()));
            };
            let key = file.original_key();
            let Ok(object) = self.s3.get_object().bucket(BUCKET).key(key.to_string()).send().await else {
                return Err(format!("{id} has no bytes"));
            };
            let bytes = object.body.collect().await.expect("the store reads").into_bytes();
            if etag_of(&bytes) != *etag {
                return Err(format!("{id} has other bytes than were confirmed"));
            }
            objects.remove(&key.to_string());
            objects.retain(|key| !key.parse().is_ok_and(|key| file.offers(&key)));
        }
        match objects.first() {
            Some(key) => Err(format!("{key} belongs to nobody")),
            None => Ok(()),
        }
    }

    /// Where nobody dies, a worker that stored a variant too late has removed it by the time it answers: long before the
    /// second purge would.
    async fn check_variants(&self) -> Result<(), String> {
        let records = self.records().await;
        let listed = self.s3.list_objects_v2().bucket(BUCKET).prefix("files/variants/").send().await;
        for object in listed.expect("the store lists").contents() {
            let key: ObjectKey = object.key().and_then(|key| key.parse().ok()).expect("a key of ours");
            if !records.get(&key.file()).is_some_and(|file| file.offers(&key)) {
                return Err(format!("{key:?} was stored too late and stayed"));
            }
        }
        Ok(())
    }

    /// What the edge serves, from its cache or not, is exactly what the records say.
    async fn check_views(&mut self, records: &BTreeMap<FileId, File>) -> Result<(), String> {
        // A missing path may be remembered for ten seconds.
        self.pass(Duration::from_secs(11));
        let mut views = Vec::new();
        for known in &self.known {
            let record = records.get(&known.id);
            for visibility in Visibility::ALL {
                let key = known.seen.original_key_at(visibility);
                let served = record.is_some_and(|file| file.visibility == visibility);
                views.push((key, served));
                if known.kind == Kind::Picture {
                    let key = known.seen.variant_key(visibility, VARIANT);
                    let served = record.is_some_and(|file| file.offers(&key));
                    views.push((key, served));
                }
            }
        }
        for (key, served) in views {
            let url = self
                .truth
                .inspect()
                .cdn
                .url(&key, self.truth.inspect().cdn.expiry(self.clock.now()))
                .await
                .expect("a published key");
            let edge = self.edge.clone();
            let task = tokio::spawn(async move { view(edge, url.as_str()).await });
            self.serve_all().await?;
            let Outcome::Viewed(status, _) = task.await.expect("the edge answers") else {
                unreachable!("a view answers a view");
            };
            let expected = if served { StatusCode::OK } else { StatusCode::NOT_FOUND };
            if status != expected {
                return Err(format!("{key:?} is answered {status} and should be {expected}"));
            }
        }
        Ok(())
    }
}

impl Outcome {
    fn error(&self) -> Option<&Error> {
        match self {
            Self::Begun(answer) => answer.as_ref().err(),
            Self::File(answer) => answer.as_ref().err(),
            Self::Done(answer) => answer.as_ref().err(),
            Self::Matched(answer) => answer.as_ref().err(),
            Self::Swept(answer) => answer.as_ref().err(),
            Self::Erased(answer) => answer.as_ref().err(),
            Self::Reconciled(answer) => answer.as_ref().err(),
            Self::Sent(answer) => answer.as_ref().err(),
            Self::Put | Self::Viewed(..) => None,
        }
    }

    fn describe(&self) -> String {
        match self {
            Self::Viewed(status, _) => format!("{status}"),
            Self::Swept(Ok(sweep)) => format!("{sweep:?}"),
            Self::Sent(Ok(sent)) => format!("{sent:?}"),
            Self::File(Ok(file)) => format!("{} at version {}", file.state.as_str(), file.version),
            _ => self.error().map_or_else(|| "done".to_owned(), ToString::to_string),
        }
    }
}

/// The worker as Lambda runs it: an invocation goes on when nobody waits for it any more, and between two of them the
/// process is frozen.
fn as_function(worker: Worker, running: Arc<AtomicUsize>) -> Router {
    let invocations = Arc::new(Invocations::of(worker.clone()));
    worker.router().layer(middleware::from_fn(move |request: Request<Body>, next: Next| {
        let (invocations, running) = (invocations.clone(), running.clone());
        async move {
            let invocation = tokio::spawn(async move {
                running.fetch_add(1, Ordering::SeqCst);
                let response = invocations.run(next.run(request)).await;
                running.fetch_sub(1, Ordering::SeqCst);
                response
            });
            invocation.await.unwrap_or_else(|_| StatusCode::BAD_GATEWAY.into_response())
        }
    }))
}

async fn view(edge: Router, url: &str) -> Outcome {
    let path = url.strip_prefix("http://cdn.simulation").expect("a URL of the edge");
    let request = Request::get(path).body(Body::empty()).expect("a request");
    let response = edge.oneshot(request).await.unwrap_or_else(|never| match never {});
    let status = response.status();
    match axum::body::to_bytes(response.into_body(), 1024 * 1024).await {
        Ok(bytes) => Outcome::Viewed(status, bytes.to_vec()),
        Err(_) => Outcome::Viewed(StatusCode::BAD_GATEWAY, Vec::new()),
    }
}

fn intent(kind: Kind, visibility: Visibility, variants: VariantPolicy) -> UploadIntent {
    let (name, content_type) = kind.name_and_type();
    UploadIntent {
        original_filename: OriginalFilename::new(name).expect("a name"),
        content_type: content_type.parse().expect("a type"),
        size: ByteSize::new(kind.payload(0).len() as u64).expect("a size"),
        visibility,
        owner: None,
        entity: None,
        variants,
        checksum: None,
    }
}

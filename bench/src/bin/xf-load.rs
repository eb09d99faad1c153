//! Puts load on a running server and prints one line of JSON with the operations per second and their durations. With
//! the key of a second project it measures twice, alone and while clients of that project list all of its files with
//! filters, and prints the ratio of the durations.
//!
//! It uses one thread, one keep-alive connection for each client and server, and bodies that are never copied, because
//! it shares the machine with the measured server.

use std::{
    cell::Cell,
    fmt,
    rc::Rc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use clap::{Parser, ValueEnum};
use http::{
    HeaderName, HeaderValue, Method, Request, StatusCode, Uri, header,
    uri::{Authority, Scheme},
};
use http_body_util::{BodyExt as _, Full};
use hyper::{
    body::Incoming,
    client::conn::http1::{SendRequest, handshake},
};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::{net::TcpStream, task::LocalSet};

type Failure = Box<dyn std::error::Error>;

/// The media type of the uploads.
const CONTENT_TYPE: &str = "text/plain";

/// The number of files that a reading scenario prepares and reads in turn.
const PREPARED: usize = 64;

/// The entity to which the prepared files are attached.
const ENTITY: (&str, &str) = ("load", "gallery");

/// Puts load on an XFiles server.
#[derive(Clone, Parser)]
struct Arguments {
    /// The URL of the API, as http://host:port.
    #[arg(long)]
    url: Uri,
    /// An API key of a project with enough quota for the uploads.
    #[arg(long, env = "XF_API_KEY", hide_env_values = true)]
    api_key: String,
    /// The number of concurrent clients.
    #[arg(long, default_value_t = 32)]
    clients: usize,
    /// The seconds for which new operations start.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// The maximum number of operations.
    #[arg(long, default_value_t = 1_000_000)]
    requests: u64,
    /// The size of an uploaded file in bytes.
    #[arg(long, default_value_t = 100_000)]
    size: usize,
    /// The page that `list-cursor` reads, or the last page if there are fewer.
    #[arg(long, default_value_t = 5_000)]
    depth: usize,
    /// The operation of the clients.
    #[arg(long)]
    scenario: Scenario,
    /// An API key of another project, whose clients make noise during a second measurement.
    #[arg(long, env = "XF_NOISY_KEY", hide_env_values = true)]
    noisy_key: Option<String>,
    /// The number of noisy clients.
    #[arg(long, default_value_t = 20)]
    noisy_clients: usize,
    /// The number of files of the noisy project; missing ones are uploaded first.
    #[arg(long, default_value_t = 6_000)]
    noisy_files: u64,
}

/// The number of clients that upload the files of the noisy project.
const PREPARING_CLIENTS: usize = 8;

/// The request of a noisy client: a page whose total requires reading every file.
const NOISE: &str = "/api/v1/files?role=photo&q=load";

/// The operation that a client repeats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Scenario {
    /// Intent, PUT and confirm, counted as one.
    Upload,
    /// The project's usage: one small read.
    Usage,
    /// A file's record with its URLs.
    Get,
    /// The first page of all files with the total; `list` for short.
    #[value(alias = "list")]
    ListFirst,
    /// A page deep in the list of all files.
    ListCursor,
    /// The first page of an entity's files.
    ListEntity,
    /// A public file through the CDN.
    Serve,
}

fn main() -> Result<(), Failure> {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let report = LocalSet::new().block_on(&runtime, run(arguments))?;
    println!("{report}");
    Ok(())
}

async fn run(arguments: Arguments) -> Result<Value, Failure> {
    if arguments.url.authority().is_none() || arguments.url.scheme() != Some(&Scheme::HTTP) {
        return Err("--url must be http://host:port; there is no TLS here".into());
    }
    let paths = Rc::new(prepare(&arguments).await?);
    let Some(key) = arguments.noisy_key.clone() else {
        let (measured, took) = measure(&arguments, &paths).await?;
        return Ok(measured.report(&arguments, took));
    };
    let noisy = Arguments { api_key: key, size: 1, ..arguments.clone() };
    crowd(&noisy).await?;
    let (quiet, took) = measure(&arguments, &paths).await?;
    let quiet = quiet.report(&arguments, took);
    let noise = Rc::new(Cell::new(true));
    let makers = (0..arguments.noisy_clients).map(|_| {
        let (noisy, noise) = (noisy.clone(), noise.clone());
        tokio::task::spawn_local(async move { make_noise(&noisy, &noise).await })
    });
    let makers: Vec<_> = makers.collect();
    let (beside, took) = measure(&arguments, &paths).await?;
    let beside = beside.report(&arguments, took);
    noise.set(false);
    let mut lists = Measured::default();
    for maker in makers {
        lists.add(maker.await?);
    }
    let times = |field: &str| Some(beside[field].as_f64()? / quiet[field].as_f64()?);
    Ok(json!({
        "quiet": quiet, "noisy": beside, "noise": lists.report(&noisy, took),
        "p50Times": times("p50Ms"), "p99Times": times("p99Ms"),
    }))
}

/// Fills the noisy project up to its number of files.
async fn crowd(noisy: &Arguments) -> Result<(), Failure> {
    let usage = Client::new(noisy).get_json("/api/v1/usage").await?;
    let missing = noisy.noisy_files.saturating_sub(usage["files"].as_u64().ok_or("a usage without `files`")?);
    let left = Rc::new(Cell::new(missing));
    let clients = (0..PREPARING_CLIENTS).map(|_| {
        let (noisy, left) = (noisy.clone(), left.clone());
        tokio::task::spawn_local(async move {
            let mut client = Client::new(&noisy);
            while left.get() > 0 {
                left.set(left.get() - 1);
                client.upload(Some(0)).await.map_err(|error| error.to_string())?;
            }
            Ok::<_, String>(())
        })
    });
    for client in clients.collect::<Vec<_>>() {
        client.await??;
    }
    Ok(())
}

/// A noisy client: makes one list request after the other until told to stop.
async fn make_noise(noisy: &Arguments, noise: &Cell<bool>) -> Measured {
    let (mut client, mut measured) = (Client::new(noisy), Measured::default());
    while noise.get() {
        let begun = Instant::now();
        match client.read(NOISE).await {
            Ok(()) => measured.took(begun),
            Err(error) => {
                measured.fail(&error);
                // A server that refuses must not be called in a busy loop.
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
    measured
}

/// Runs all clients until time or budget is used up; also returns the duration.
async fn measure(arguments: &Arguments, paths: &Rc<Vec<String>>) -> Result<(Measured, Duration), Failure> {
    let started = Instant::now();
    let budget = Rc::new(Cell::new(arguments.requests));
    let clients = (0..arguments.clients).map(|number| {
        let (arguments, paths, budget) = (arguments.clone(), paths.clone(), budget.clone());
        tokio::task::spawn_local(async move { drive(&arguments, &paths, &budget, started, number).await })
    });
    let clients: Vec<_> = clients.collect();
    let mut all = Measured::default();
    for client in clients {
        all.add(client.await?);
    }
    Ok((all, started.elapsed()))
}

/// A client: runs one operation after the other until time or budget is used up.
async fn drive(
    arguments: &Arguments,
    paths: &[String],
    budget: &Cell<u64>,
    started: Instant,
    number: usize,
) -> Measured {
    let mut client = Client::new(arguments);
    let mut measured = Measured::default();
    let end = Duration::from_secs(arguments.seconds);
    let mut turn = number;
    while budget.get() > 0 && started.elapsed() < end {
        budget.set(budget.get() - 1);
        let begun = Instant::now();
        let done = match arguments.scenario {
            Scenario::Upload => client.upload(None).await.map(drop),
            Scenario::Usage
            | Scenario::Get
            | Scenario::ListFirst
            | Scenario::ListCursor
            | Scenario::ListEntity
            | Scenario::Serve => {
                turn += 1;
                client.read(&paths[turn % paths.len()]).await
            }
        };
        match done {
            Ok(()) => measured.took(begun),
            Err(error) => measured.fail(&error),
        }
    }
    measured
}

/// The paths that a scenario reads; none for uploads.
async fn prepare(arguments: &Arguments) -> Result<Vec<String>, Failure> {
    let mut client = Client::new(arguments);
    let list = "/api/v1/files";
    let (kind, id) = ENTITY;
    Ok(match arguments.scenario {
        Scenario::Upload => Vec::new(),
        Scenario::Usage => vec!["/api/v1/usage".to_owned()],
        Scenario::Get => {
            prepare_files(&mut client).await?.into_iter().map(|file| format!("{list}/{}", file.id)).collect()
        }
        Scenario::Serve => prepare_files(&mut client).await?.into_iter().map(|file| file.path).collect(),
        Scenario::ListFirst => vec![list.to_owned()],
        Scenario::ListCursor => vec![deep_page(&mut client, list, arguments.depth).await?],
        Scenario::ListEntity => {
            prepare_files(&mut client).await?;
            vec![format!("{list}?entityType={kind}&entityId={id}")]
        }
    })
}

struct Uploaded {
    id: String,
    /// The path on the CDN.
    path: String,
}

async fn prepare_files(client: &mut Client) -> Result<Vec<Uploaded>, Failure> {
    let mut files = Vec::with_capacity(PREPARED);
    for position in 0..PREPARED {
        files.push(client.upload(Some(position)).await?);
    }
    Ok(files)
}

/// The URL of the page that is `depth` pages of twenty into the list.
async fn deep_page(client: &mut Client, list: &str, depth: usize) -> Result<String, Failure> {
    let mut page = format!("{list}?cursor=");
    let mut walked = 0;
    // In steps of five pages, the largest that the API allows.
    while walked + 5 < depth {
        let answer = client.get_json(&format!("{page}&limit=100")).await?;
        match answer["nextCursor"].as_str() {
            Some(next) => page = format!("{list}?cursor={next}"),
            None => break,
        }
        walked += 5;
    }
    Ok(page)
}

/// The measurements of clients.
#[derive(Default)]
struct Measured {
    /// The duration of each operation.
    micros: Vec<u32>,
    errors: u64,
    first_error: Option<String>,
}

impl Measured {
    fn took(&mut self, begun: Instant) {
        self.micros.push(u32::try_from(begun.elapsed().as_micros()).unwrap_or(u32::MAX));
    }

    fn fail(&mut self, error: &Failure) {
        self.errors += 1;
        self.first_error.get_or_insert_with(|| error.to_string());
    }

    fn add(&mut self, other: Self) {
        self.micros.extend(other.micros);
        self.errors += other.errors;
        if self.first_error.is_none() {
            self.first_error = other.first_error;
        }
    }

    fn report(mut self, arguments: &Arguments, took: Duration) -> Value {
        self.micros.sort_unstable();
        let done = self.micros.len();
        let at = |hundredths: usize| self.micros.get((done * hundredths / 100).min(done.saturating_sub(1)));
        let millis = |micros: Option<&u32>| micros.map(|micros| f64::from(*micros) / 1000.0);
        let counted = f64::from(u32::try_from(done).unwrap_or(u32::MAX));
        let name = arguments.scenario.to_possible_value().expect("every scenario has a name").get_name().to_owned();
        json!({
            "scenario": name,
            "clients": arguments.clients,
            "size": arguments.size,
            "operations": done,
            "seconds": (took.as_secs_f64() * 1000.0).round() / 1000.0,
            "rate": (counted / took.as_secs_f64() * 10.0).round() / 10.0,
            "p50Ms": millis(at(50)),
            "p99Ms": millis(at(99)),
            "maxMs": millis(self.micros.last()),
            "errors": self.errors,
            "firstError": self.first_error,
        })
    }
}

/// An unexpected response.
#[derive(Debug)]
struct Refused(StatusCode, &'static str);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the {} returned {}", self.1, self.0)
    }
}

impl std::error::Error for Refused {}

struct Client {
    api: Link,
    store: Option<Link>,
    authorization: HeaderValue,
    bytes: Bytes,
}

impl Client {
    fn new(arguments: &Arguments) -> Self {
        let authority = arguments.url.authority().expect("the URL was checked to name a host").clone();
        let authorization = format!("Bearer {}", arguments.api_key);
        Self {
            api: Link::new(authority),
            store: None,
            authorization: authorization.parse().expect("an API key is visible ASCII"),
            bytes: Bytes::from(vec![b'x'; arguments.size]),
        }
    }

    /// All three steps of an upload. With a position, the file is attached to the entity of the prepared files.
    async fn upload(&mut self, position: Option<usize>) -> Result<Uploaded, Failure> {
        let mut wanted = json!({
            "filename": "load.txt", "contentType": CONTENT_TYPE, "size": self.bytes.len(), "visibility": "public",
        });
        if let Some(position) = position {
            wanted["entity"] = json!({"type": ENTITY.0, "id": ENTITY.1, "role": "photo", "position": position});
        }
        let intent = self.post("/api/v1/files/upload-intent", &wanted).await?;
        self.put(&intent).await?;
        let id = intent["fileId"].as_str().ok_or("an intent without `fileId`")?.to_owned();
        self.post("/api/v1/files/confirm", &json!({"fileId": id})).await?;
        let key = intent["key"].as_str().ok_or("an intent without `key`")?;
        Ok(Uploaded { id, path: format!("/{key}") })
    }

    async fn put(&mut self, intent: &Value) -> Result<(), Failure> {
        let url: Uri = intent["uploadUrl"].as_str().ok_or("an intent without `uploadUrl`")?.parse()?;
        let authority = url.authority().ok_or("an upload URL without a host")?;
        let path = url.path_and_query().ok_or("an upload URL without a path")?.as_str();
        let mut request = Request::builder().method(Method::PUT).uri(path);
        for (name, value) in intent["headers"].as_object().into_iter().flatten() {
            request = request.header(name.parse::<HeaderName>()?, value.as_str().unwrap_or_default());
        }
        let request = request.body(Full::new(self.bytes.clone()))?;
        let store = self.store.get_or_insert_with(|| Link::new(authority.clone()));
        store.send(request, "object store").await.map(drop)
    }

    async fn post(&mut self, path: &str, body: &Value) -> Result<Value, Failure> {
        let request = Request::post(path)
            .header(header::AUTHORIZATION, &self.authorization)
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::from(body.to_string()))?;
        Ok(serde_json::from_slice(&self.api.send(request, "API").await?)?)
    }

    async fn get_json(&mut self, path: &str) -> Result<Value, Failure> {
        let request = Request::get(path).header(header::AUTHORIZATION, &self.authorization).body(Full::default())?;
        Ok(serde_json::from_slice(&self.api.send(request, "API").await?)?)
    }

    /// Reads a URL to its end and checks only the status.
    async fn read(&mut self, path: &str) -> Result<(), Failure> {
        let request = Request::get(path).header(header::AUTHORIZATION, &self.authorization).body(Full::default())?;
        let mut body = self.api.open(request, "server").await?;
        while let Some(frame) = body.frame().await {
            frame?;
        }
        Ok(())
    }
}

/// A keep-alive connection, opened when it is needed.
struct Link {
    authority: Authority,
    host: HeaderValue,
    open: Option<SendRequest<Full<Bytes>>>,
}

impl Link {
    fn new(authority: Authority) -> Self {
        let host = authority.as_str().parse().expect("an authority is visible ASCII");
        Self { authority, host, open: None }
    }

    /// The body of a successful response.
    async fn send(&mut self, request: Request<Full<Bytes>>, server: &'static str) -> Result<Bytes, Failure> {
        Ok(self.open(request, server).await?.collect().await?.to_bytes())
    }

    async fn open(&mut self, mut request: Request<Full<Bytes>>, server: &'static str) -> Result<Incoming, Failure> {
        request.headers_mut().insert(header::HOST, self.host.clone());
        let mut connection = match self.open.take().filter(|connection| !connection.is_closed()) {
            Some(connection) => connection,
            None => self.connect().await?,
        };
        connection.ready().await?;
        let answer = connection.send_request(request).await?;
        self.open = Some(connection);
        if answer.status().is_success() { Ok(answer.into_body()) } else { Err(Refused(answer.status(), server).into()) }
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, Failure> {
        let port = self.authority.port_u16().unwrap_or(80);
        let stream = TcpStream::connect((self.authority.host(), port)).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        tokio::task::spawn_local(async move {
            // If the connection fails, so does the next request on it, which is counted.
            drop(connection.await);
        });
        Ok(sender)
    }
}

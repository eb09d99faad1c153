//! Prints, as Markdown, the requests of each operation to DynamoDB, S3 and CloudFront with their cost, and the cost of
//! lists over a thousand to a million files.

use std::{net::Ipv4Addr, num::NonZeroU32, time::Duration};

use axum::body::Body;
use clap::Parser;
use http::{Request, StatusCode};
use tower::ServiceExt as _;
use xfiles_bench::{
    meter::{Bill, Meter, S3Class},
    prices,
};
use xfiles_cleanup_cron::{Bounds, Courier};
use xfiles_core::{
    api_key::ApiKey,
    catalog::{Catalog, Cursor, FileFilter, Once, Outcome, PageNumber, PageSize, Project, UploadLimits},
    clock::Clock,
    error::Error,
    file::{EXPIRY_GRACE, File, LATE_COPIES, Patch, State, WORKER_LIFE},
    id::ProjectId,
    intent::{
        ByteSize, Entity, EntityWord, OriginalFilename, OwnerId, Position, UPLOAD_URL_LIFE, UploadIntent, VariantPolicy,
    },
    object_key::Visibility,
    operations::Files,
    variant::{ImageFormat, VariantSpec},
    webhook::{Endpoint, Reach},
};
use xfiles_edge_variants::Worker;
use xfiles_standalone::{BUCKET, Data, Stack, StackOptions};

/// The number of files of the fixture's entity, and of a bulk deletion.
const FILES_OF_ENTITY: u32 = 25;

/// The depth at which a page of the cursor is measured, in files: page 5,000 of 20.
const DEPTH: usize = 100_000;

/// Measures the requests of XFiles to AWS for each operation.
#[derive(Parser)]
struct Arguments {
    /// The numbers of files over which lists are measured, each at least 100, separated by commas.
    #[arg(long, value_delimiter = ',', default_value = "1000,100000,1000000")]
    #[arg(value_parser = clap::value_parser!(u32).range(100..))]
    files: Vec<u32>,
    /// Print nothing, and compare with the tables of this document.
    #[arg(long, value_name = "PATH")]
    check: Option<std::path::PathBuf>,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments = Arguments::parse();
    let clock = Clock::manual(Clock::system().now());
    let stack = Stack::start(StackOptions {
        listen: (Ipv4Addr::LOCALHOST, 0).into(),
        clock: clock.clone(),
        cleanup_every: None,
        quota_bytes: u64::MAX >> 12,
        ..StackOptions::new(Data::Ephemeral)
    })
    .await?;
    let meter = Meter::new();
    let bench = Bench { files: meter.files(&stack), meter, clock, project: stack.project(), stack };
    let document = arguments.check.map(std::fs::read_to_string).transpose()?;
    tell(&operations_table(&bench.operations().await?), document.as_deref(), "## Operation by operation")?;
    for count in arguments.files {
        let started = std::time::Instant::now();
        let project = bench.fixture(count).await?;
        if document.is_none() {
            println!("\n{count} files (written in {:.1} s)\n", started.elapsed().as_secs_f64());
        }
        tell(&lists_table(&bench.lists(project, count).await?), document.as_deref(), &format!("{count} files ("))?;
    }
    bench.stack.stop().await;
    Ok(())
}

struct Bench {
    stack: Stack,
    files: Files,
    meter: Meter,
    clock: Clock,
    project: ProjectId,
}

/// The cost of one operation.
struct Row {
    name: &'static str,
    bill: Bill,
    /// The number of files that share the bill.
    files: u32,
}

type Rows = Result<Vec<Row>, Error>;

/// After this time all upload URLs have expired, and no PUT to one is in progress.
const NO_UPLOAD_ARRIVES: Duration = Duration::from_secs(UPLOAD_URL_LIFE.as_secs() + EXPIRY_GRACE.as_secs() + 1);

impl Bench {
    async fn operations(&self) -> Rows {
        let mut rows = self.upload_rows().await?;
        rows.extend(self.variant_rows().await?);
        rows.extend(self.change_rows().await?);
        rows.extend(self.cleanup_rows().await?);
        rows.extend(self.event_rows().await?);
        rows.extend(self.api_rows().await?);
        Ok(rows)
    }

    /// Runs an operation and measures its bill.
    async fn bill<T>(&self, operation: impl Future<Output = Result<T, Error>>) -> Result<(T, Bill), Error> {
        self.meter.take();
        let done = operation.await?;
        Ok((done, self.meter.take()))
    }

    async fn upload_rows(&self) -> Rows {
        let (begun, intent) = self.bill(self.files.begin(self.project, picture())).await?;
        self.stage(&begun.file).await;
        let id = begun.file.id;
        let (_, confirm) = self.bill(self.files.confirm(self.project, id)).await?;
        let (_, again) = self.bill(self.files.confirm(self.project, id)).await?;
        let (file, get) = self.bill(self.files.get(self.project, id)).await?;
        let fresh = async {
            let file = self.files.get(self.project, id).await?;
            self.files.urls(&file, ImageFormat::WebP, Some(Duration::from_secs(60)), false).await
        };
        let (_, fresh) = self.bill(fresh).await?;
        drop(file);
        let batch = (0..99).map(|_| picture()).collect();
        let (pending, batched) = self.bill(self.files.begin_all(self.project, batch)).await?;
        for begun in pending {
            self.files.delete(self.project, begun.file.id, None).await?;
        }
        Ok(vec![
            Row::new("intent", intent),
            Row { name: "intent, one of 99 in an all-or-nothing batch", bill: batched, files: 99 },
            Row::new("confirm", confirm),
            Row::new("confirm, repeated", again),
            Row::new("get", get),
            Row::new("fresh URLs", fresh),
        ])
    }

    async fn variant_rows(&self) -> Rows {
        let file = self.publish(picture()).await?;
        let worker = Worker::new(self.files.clone(), 1).router();
        let mut rows = Vec::new();
        let names = ["variant, first of its file (worker)", "variant, first request (worker)"];
        for (name, spec) in names.into_iter().zip(VariantSpec::all()) {
            let path = format!("/{}", file.variant_key(Visibility::Public, spec));
            let miss = async {
                let request = Request::get(&path).body(Body::empty()).expect("a key is a path");
                let answer = worker.clone().oneshot(request).await.unwrap_or_else(|never| match never {});
                assert_eq!(answer.status(), StatusCode::OK, "the worker renders the variant");
                Ok(())
            };
            let ((), miss) = self.bill(miss).await?;
            rows.push(Row::new(name, miss));
        }
        let unseen = self.publish(picture()).await?;
        let worker = Worker::new(self.files.clone(), 1);
        let ((), placeholder) = self.bill(worker.note_placeholder(unseen.id)).await?;
        rows.push(Row::new("placeholder after the confirmation (worker)", placeholder));
        Ok(rows)
    }

    async fn change_rows(&self) -> Rows {
        let file = self.publish(picture()).await?;
        let owner = Patch { owner: Some(OwnerId::new("another")), ..Patch::default() };
        let (_, owner) = self.bill(self.files.patch(self.project, file.id, &owner, None)).await?;
        let hide = Patch { visibility: Some(Visibility::Private), ..Patch::default() };
        let (_, visibility) = self.bill(self.files.patch(self.project, file.id, &hide, None)).await?;
        let lock = Patch { variants_visibility: Some(Visibility::Private), ..Patch::default() };
        let (_, variants) = self.bill(self.files.patch(self.project, file.id, &lock, None)).await?;
        self.clock.advance(NO_UPLOAD_ARRIVES);
        self.files.sweep(100, Duration::from_secs(60)).await?;
        let (_, delete) = self.bill(self.files.delete(self.project, file.id, None)).await?;

        for position in 0..FILES_OF_ENTITY {
            self.publish(UploadIntent { entity: entity("bulk", position), ..picture() }).await?;
        }
        let all = FileFilter {
            entity_type: EntityWord::new("product"),
            entity_id: EntityWord::new("bulk"),
            ..FileFilter::default()
        };
        let (deleted, bulk) =
            self.bill(self.files.delete_matching(self.project, &all, Duration::from_secs(60))).await?;
        assert_eq!(deleted.deleted, u64::from(FILES_OF_ENTITY), "every file of the entity is deleted");
        Ok(vec![
            Row::new("patch: owner", owner),
            Row::new("patch: visibility", visibility),
            Row::new("patch: visibility of variants", variants),
            Row::new("delete", delete),
            Row { name: "bulk delete, one of 25 files", bill: bulk, files: FILES_OF_ENTITY },
        ])
    }

    async fn cleanup_rows(&self) -> Rows {
        let sweep = || self.files.sweep(1_000, Duration::from_secs(60));
        // The work that the other operations deferred.
        for later in [LATE_COPIES, NO_UPLOAD_ARRIVES] {
            self.clock.advance(later);
            sweep().await?;
        }
        let (_, idle) = self.bill(sweep()).await?;

        let file = self.files.begin(self.project, picture()).await?.file;
        self.stage(&file).await;
        self.clock.advance(NO_UPLOAD_ARRIVES);
        let (swept, busy) = self.bill(sweep()).await?;
        assert_eq!(swept.settled, 1, "the upload expires");
        let expire = busy.less(&idle);

        let file = self.publish(picture()).await?;
        self.clock.advance(LATE_COPIES.max(NO_UPLOAD_ARRIVES));
        self.files.delete(self.project, file.id, None).await?;
        self.clock.advance(WORKER_LIFE);
        let (swept, busy) = self.bill(sweep()).await?;
        assert_eq!(swept.settled, 1, "the variants are removed again");
        let again = busy.less(&idle);
        Ok(vec![
            Row::new("second removal of a deleted image's variants, by the cleanup", again),
            Row::new("expiry of an upload, by the cleanup", expire),
            Row::new("cleanup run with nothing due", idle),
        ])
    }

    /// The cost of the events of the operations.
    async fn event_rows(&self) -> Rows {
        let courier = Courier::new(Reach::Anywhere);
        let send = || xfiles_cleanup_cron::deliver(&self.files, &courier, Bounds::default());
        send().await?;
        let (_, idle) = self.bill(send()).await?;
        self.publish(picture()).await?;
        let (_, busy) = self.bill(send()).await?;
        let unheard = busy.less(&idle);

        let receiver = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let url = format!("http://{}/", receiver.local_addr().expect("a bound socket has an address"));
        let app = axum::Router::new().route("/", axum::routing::post(|| async { StatusCode::OK }));
        tokio::spawn(async move { axum::serve(receiver, app).await });
        let url = url.parse().expect("an address is a URL");
        let endpoint = Endpoint::new(self.project, url, Vec::new(), self.clock.now());
        self.files.inspect().catalog.create_endpoint(&endpoint).await?;
        self.publish(picture()).await?;
        let (sent, busy) = self.bill(send()).await?;
        assert_eq!(sent.delivered, 1, "the event is taken");
        Ok(vec![
            Row::new("an event without a subscribed webhook", unheard),
            Row::new("an event sent to one webhook at the first attempt", busy.less(&idle)),
            Row::new("query for events, without any", idle),
        ])
    }

    /// The requests of the API in addition to an operation's.
    async fn api_rows(&self) -> Rows {
        let now = self.clock.now();
        let (_, key) = self.bill(self.files.inspect().catalog.key(&ApiKey::mint().hash())).await?;
        let once = async {
            let taken = self.files.inspect().catalog.take_once(self.project, "key", "digest", now).await?;
            let Once::Fresh(attempt) = taken else { unreachable!("no other request uses the key") };
            let outcome = Outcome { status: 200, etag: None, body: "x".repeat(600) };
            self.files.inspect().catalog.keep_outcome(self.project, "key", &attempt, &outcome).await
        };
        let ((), once) = self.bill(once).await?;
        Ok(vec![
            Row::new("read of an API key, once in 30 s for each key and instance", key),
            Row::new("`Idempotency-Key` on a POST, extra", once),
        ])
    }

    async fn lists(&self, project: ProjectId, count: u32) -> Result<Vec<(&'static str, Option<Bill>)>, Error> {
        let every = FileFilter::default();
        let entity = FileFilter {
            entity_type: EntityWord::new("product"),
            entity_id: EntityWord::new("0"),
            ..FileFilter::default()
        };
        let kind = FileFilter { entity_type: EntityWord::new("product"), ..FileFilter::default() };
        let owner = FileFilter { owner: OwnerId::new("user-0"), ..FileFilter::default() };
        let last = self.clock.now() + Duration::from_millis(u64::from(count) - 100);
        let dated = FileFilter { created_after: Some(last), ..FileFilter::default() };
        let rare = FileFilter { role: EntityWord::new("none-has-it"), ..FileFilter::default() };
        let page = |filter, number| {
            let number = PageNumber::new(number).expect("pages count from 1");
            self.files.list(project, filter, number, PageSize::default())
        };
        let walk = |filter, from| self.files.walk(project, filter, from, PageSize::default());
        let deep = self.deep_cursor(project, DEPTH.min(count as usize)).await?;
        let (first, _) = self.bill(walk(&every, None)).await?;
        Ok(vec![
            ("`page=1`", self.try_bill(page(&every, 1)).await?),
            ("`cursor`, first page", self.try_bill(walk(&every, None)).await?),
            ("`cursor`, second page", self.try_bill(walk(&every, first.next.as_ref())).await?),
            ("`cursor`, page 5,000 or the last", self.try_bill(walk(&every, deep.as_ref())).await?),
            ("an entity's 25 files, `page=1`", self.try_bill(page(&entity, 1)).await?),
            ("an entity's 25 files, `cursor`", self.try_bill(walk(&entity, None)).await?),
            ("a type of entity, which all files have, `cursor`", self.try_bill(walk(&kind, None)).await?),
            ("an owner's 100 files, `cursor`", self.try_bill(walk(&owner, None)).await?),
            ("the 100 files created since a time, `page=1`", self.try_bill(page(&dated, 1)).await?),
            (
                "a filter without an index and without matches, one page of `cursor`",
                self.try_bill(walk(&rare, None)).await?,
            ),
            ("the same, `page=1`", self.try_bill(page(&rare, 1)).await?),
            ("`page=50`", self.try_bill(page(&every, 50)).await?),
            ("`page=1000`", self.try_bill(page(&every, 1_000)).await?),
            ("`page=1001`", self.try_bill(page(&every, 1_001)).await?),
        ])
    }

    /// The bill, or `None` if the list refuses this depth.
    async fn try_bill<T>(&self, list: impl Future<Output = Result<T, Error>>) -> Result<Option<Bill>, Error> {
        match self.bill(list).await {
            Ok((_, bill)) => Ok(Some(bill)),
            Err(Error::TooDeep { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The start of the last full page that is at most this many files deep.
    async fn deep_cursor(&self, project: ProjectId, depth: usize) -> Result<Option<Cursor>, Error> {
        let largest = PageSize::new(PageSize::MAX).expect("the largest page is one");
        let (mut cursor, mut seen) = (None, 0);
        while seen + PageSize::MAX as usize <= depth.saturating_sub(PageSize::default().get() as usize) {
            let run = self.files.walk(project, &FileFilter::default(), cursor.as_ref(), largest).await?;
            seen += run.files.len();
            match run.next {
                Some(next) => cursor = Some(next),
                None => break,
            }
        }
        Ok(cursor)
    }

    /// A project with this many confirmed files, written directly to the table without objects.
    async fn fixture(&self, count: u32) -> Result<ProjectId, Error> {
        let now = self.clock.now();
        let project = Project { file_count: count.into(), ..Project::new("fixture", u64::MAX >> 12, now) };
        self.stack.files().inspect().catalog.create_project(&project).await?;
        // They were never pending, but are counted as if they had been.
        let limits = UploadLimits { per_project: NonZeroU32::MAX, per_key: NonZeroU32::MAX };
        let catalog = self.stack.files().inspect().catalog.clone().with_limits(limits);
        let mut made = 0;
        while made < count {
            let part = count.min(made + 99);
            let files: Vec<File> = (made..part).map(|i| self.confirmed(project.id, i)).collect();
            debug_assert!(files.len() <= Catalog::RESERVE_AT_ONCE);
            catalog.reserve(&files).await?;
            made = part;
        }
        Ok(project.id)
    }

    fn confirmed(&self, project: ProjectId, i: u32) -> File {
        let entity = entity(&(i / FILES_OF_ENTITY).to_string(), i % FILES_OF_ENTITY);
        let owner = OwnerId::new(format!("user-{}", i / 100));
        let created = self.clock.now() + Duration::from_millis(i.into());
        let file = File::begin(project, UploadIntent { entity, owner, ..picture() }, created);
        let etag = format!("\"{i:032x}\"");
        File { state: State::Confirmed { etag, owes: None }, due: None, version: 3, ..file }
    }

    /// All three steps of an upload.
    async fn publish(&self, intent: UploadIntent) -> Result<File, Error> {
        let file = self.files.begin(self.project, intent).await?.file;
        self.stage(&file).await;
        self.files.confirm(self.project, file.id).await
    }

    /// Stores the bytes like a client.
    async fn stage(&self, file: &File) {
        let put = self.stack.s3_client().put_object().bucket(BUCKET).key(file.staging_key().to_string());
        put.content_type(file.content_type.as_str())
            .body(png().into())
            .send()
            .await
            .expect("the embedded store takes it");
    }
}

impl Row {
    fn new(name: &'static str, bill: Bill) -> Self {
        Self { name, bill, files: 1 }
    }
}

fn picture() -> UploadIntent {
    UploadIntent {
        original_filename: OriginalFilename::new("Holiday picture 0001.png").expect("a name"),
        content_type: "image/png".parse().expect("a type on the list"),
        size: ByteSize::new(png().len() as u64).expect("a small image"),
        visibility: Visibility::Public,
        owner: OwnerId::new("user-0"),
        entity: None,
        variants: VariantPolicy { enabled: true, visibility: Visibility::Public },
        checksum: None,
    }
}

fn entity(id: &str, position: u32) -> Option<Entity> {
    Some(Entity {
        kind: EntityWord::new("product")?,
        id: EntityWord::new(id)?,
        role: EntityWord::new("gallery"),
        position: Position(position),
    })
}

/// A grey image of 640 x 480.
fn png() -> Vec<u8> {
    use std::sync::OnceLock;

    static PNG: OnceLock<Vec<u8>> = OnceLock::new();
    let encode = || {
        let mut bytes = std::io::Cursor::new(Vec::new());
        let grey = image::GrayImage::from_pixel(640, 480, image::Luma([128]));
        grey.write_to(&mut bytes, image::ImageFormat::Png).expect("writing to memory cannot fail");
        bytes.into_inner()
    };
    PNG.get_or_init(encode).clone()
}

fn operations_table(rows: &[Row]) -> Vec<String> {
    let mut table = vec![
        "| operation | requests | RRU | WRU | S3 writes | S3 reads | paths | $ per million |".to_owned(),
        "|---|---|---:|---:|---:|---:|---:|---:|".to_owned(),
    ];
    table.extend(rows.iter().map(|Row { name, bill, files }| {
        let share = |amount: f64| short(amount / f64::from(*files));
        format!(
            "| {name} | {} | {} | {} | {} | {} | {} | {} |",
            requests(bill, *files),
            share(bill.read_units),
            share(bill.write_units),
            share(prices::precise(bill.s3(S3Class::Write))),
            share(prices::precise(bill.s3(S3Class::Read))),
            share(prices::precise(bill.invalidated_paths)),
            dollars(prices::stores_per_million(bill) / f64::from(*files)),
        )
    }));
    table
}

fn lists_table(rows: &[(&str, Option<Bill>)]) -> Vec<String> {
    let mut table =
        vec!["| list, 20 per page | requests | RRU | $ per million |".to_owned(), "|---|---|---:|---:|".to_owned()];
    table.extend(rows.iter().map(|(name, bill)| match bill {
        Some(bill) => {
            let price = dollars(prices::stores_per_million(bill));
            format!("| {name} | {} | {} | {price} |", requests(bill, 1), short(bill.read_units))
        }
        None => format!("| {name} | refused: use the cursor | | |"),
    }));
    table
}

/// The first table after the first line that begins with this text.
fn committed<'a>(document: &'a str, begins: &str) -> Vec<&'a str> {
    let after = document.lines().skip_while(|line| !line.starts_with(begins));
    after.skip_while(|line| !line.starts_with('|')).take_while(|line| line.starts_with('|')).collect()
}

/// Prints a table, or compares it with the one in the document after a line that begins with this text.
fn tell(table: &[String], document: Option<&str>, begins: &str) -> Result<(), String> {
    let Some(document) = document else {
        table.iter().for_each(|line| println!("{line}"));
        return Ok(());
    };
    let committed = committed(document, begins);
    if committed == *table {
        println!("{} rows hold: {begins}", table.len() - 2);
        return Ok(());
    }
    let counted = table.iter().filter(|line| !committed.contains(&line.as_str())).map(|line| format!("+ {line}"));
    let gone = committed.iter().filter(|line| !table.iter().any(|row| row == *line)).map(|line| format!("- {line}"));
    gone.chain(counted).for_each(|line| eprintln!("{line}"));
    Err(format!("the table at `{begins}` differs from the counts (- document, + counted)"))
}

fn requests(bill: &Bill, files: u32) -> String {
    let each = bill.calls.iter().map(|(operation, count)| {
        let count = short(prices::precise(*count) / f64::from(files));
        if count == "1" { operation.as_str().to_owned() } else { format!("{count} {}", operation.as_str()) }
    });
    each.collect::<Vec<_>>().join(", ")
}

/// A number without insignificant digits.
fn short(amount: f64) -> String {
    let text = format!("{amount:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn dollars(amount: f64) -> String {
    format!("{amount:.2}")
}

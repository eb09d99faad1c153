//! `xf upload`: uploads local files in three steps, with limited concurrency. It writes no local files, so an interrupt
//! leaves nothing behind here; on the server, an interrupt or a failure cancels unfinished uploads.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
    sync::{
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use ring::digest::{Context, SHA256};
use serde_json::{Value, json};
use tempfile::NamedTempFile;
use xfiles_api_types::files::{EntityPlace, FileWithUrls, ImageWish, TransformationsWish, Upload, UploadIntent};
use xfiles_core::{
    content_type::ContentType,
    intent::{ByteSize, Entity, OriginalFilename, OwnerId, Sha256Checksum},
    object_key::Visibility,
};

use crate::{
    args::{EntityArg, ServerArgs, visibility},
    client::{Answer, Client, IdempotencyKey},
    failure::{Exit, Failure, os_text},
    files, media_type,
    output::{Console, printable_line, table},
    progress::{Bar, Bars},
    retry::with_retries,
    unfinished::Unfinished,
    units::Bytes,
};

/// Upload files and print their URLs
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  xf upload photo.jpg
  xf upload --public --variants photo.jpg
  xf upload --entity listing:42:gallery:1 --owner user-7 *.jpg
  xf upload --recursive album/
  tar -cz album | xf upload - --name album.tar.gz
  xf upload --json report.pdf | jq -r '.[0].url'

The result is in the order of the arguments. A failed file does not stop the others, but determines the exit code. \
Ctrl-C cancels unfinished uploads on the server and returns their quota; a second Ctrl-C does not wait for that.")]
pub(crate) struct UploadArgs {
    /// What to upload: files of at most 100 MiB, directories with --recursive, or - for standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Upload the files in directories, and in directories below them; hidden ones and links are left out
    #[arg(long, short)]
    recursive: bool,
    /// The name of what comes from standard input
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Show what would be uploaded, and send nothing
    #[arg(long)]
    dry_run: bool,
    /// Make the files public; otherwise they can only be read with a signed URL
    #[arg(long)]
    public: bool,
    /// Enable image variants, with the file's visibility unless one is given
    #[arg(long, value_name = "public|private", num_args = 0..=1, require_equals = true, value_parser = visibility)]
    variants: Option<Option<Visibility>>,
    /// Attach the files to an entity of your application
    #[arg(long, value_name = "type:id[:role[:position]]")]
    entity: Option<EntityArg>,
    /// The user of your application who owns the files
    #[arg(long, value_name = "ID", value_parser = owner)]
    owner: Option<OwnerId>,
    /// The media type of all files, instead of that of their extensions
    #[arg(long, value_name = "TYPE")]
    content_type: Option<ContentType>,
    /// The number of concurrent uploads
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=32))]
    jobs: u8,
    /// Print one JSON array, an element per file
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerArgs,
}

pub(crate) fn owner(text: &str) -> Result<OwnerId, String> {
    OwnerId::new(text).ok_or_else(|| format!("an owner is 1 to {} characters", OwnerId::MAX_CHARS))
}

/// The file with its URLs, or the failure.
type Outcome = Result<Answer<FileWithUrls>, Failure>;

pub(crate) fn run(args: &UploadArgs, console: &mut Console<'_>) -> Result<Exit, Failure> {
    let sources = Sources::find(args)?;
    if args.dry_run {
        return dry_run(args, &sources, console);
    }
    let client = Client::new(&args.server)?;
    let bars = Bars::new(console.shows_progress());
    let mut exits = Vec::new();
    let mut elements = Vec::new();
    let unfinished = Unfinished::default();
    let work = |path: &Path| upload(&client, args, &sources, path, &bars, &unfinished);
    let take = |path: &Path, outcome: Outcome| {
        let name = sources.title(path);
        elements.push(element(&name, &outcome));
        exits.push(outcome.as_ref().err().map_or(Exit::Ok, Failure::exit));
        bars.aside(|| match outcome {
            Err(failure) => {
                console.failure(&failure, Some(&name));
                Ok(())
            }
            Ok(_) if args.json => Ok(()),
            Ok(answer) => console.result(files::summary(&answer.value)),
        })
    };
    unfinished.unless_interrupted(&client, || in_order(&sources.paths, args.jobs, work, take))?;
    if args.json {
        console.json(&Value::Array(elements))?;
    }
    Ok(Exit::of_all(exits))
}

/// What is uploaded, in order.
struct Sources {
    paths: Vec<PathBuf>,
    /// What came from standard input. Its length and checksum are signed, so it is read to its end first.
    input: Option<(NamedTempFile, String)>,
}

impl Sources {
    fn find(args: &UploadArgs) -> Result<Self, Failure> {
        let wanted = args.files.iter().filter(|path| path.as_os_str() == "-").count();
        let input = match (wanted, &args.name) {
            (0, None) => None,
            (0, Some(_)) => return Err(Failure::new(Exit::Usage, "--name is for standard input, which - stands for")),
            (1, None) => {
                return Err(Failure::new(Exit::Usage, "standard input has no name").or_hint("give it one with --name"));
            }
            (1, Some(name)) => Some((spooled(io::stdin().lock())?, name.clone())),
            (_, _) => return Err(Failure::new(Exit::Usage, "- can be given once")),
        };
        let mut paths = Vec::new();
        for path in &args.files {
            match &input {
                Some((file, _)) if path.as_os_str() == "-" => paths.push(file.path().to_owned()),
                _ if args.recursive && path.is_dir() => walk(path, &mut paths)?,
                _ => paths.push(path.clone()),
            }
        }
        if paths.is_empty() {
            return Err(Failure::new(Exit::Failed, "there is no file in it"));
        }
        Ok(Self { paths, input })
    }

    fn input_name(&self, path: &Path) -> Option<&str> {
        self.input.as_ref().filter(|(file, _)| file.path() == path).map(|(_, name)| name.as_str())
    }

    /// The name under which a file is uploaded.
    fn name(&self, path: &Path) -> String {
        let name = || path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        self.input_name(path).map_or_else(name, str::to_owned)
    }

    /// What messages call it.
    fn title(&self, path: &Path) -> String {
        self.input_name(path).map_or_else(|| path.display().to_string(), |_| "-".to_owned())
    }
}

/// Reads a stream into a file that goes away with its handle.
fn spooled(stream: impl Read) -> Result<NamedTempFile, Failure> {
    let max = ByteSize::MAX.bytes();
    let failed = |error: &io::Error| Failure::new(Exit::Failed, format!("standard input: {}", os_text(error)));
    let mut file = NamedTempFile::new().map_err(|error| failed(&error))?;
    let copied = io::copy(&mut stream.take(max + 1), &mut file).map_err(|error| failed(&error))?;
    if copied > max {
        let text = format!("standard input has more than the {} that an upload may have", Bytes(max));
        return Err(Failure::new(Exit::Failed, text));
    }
    Ok(file)
}

/// The files in a directory and below it, by name. Hidden entries and links are left out: the first are seldom meant,
/// and the second can lead round in a circle.
fn walk(directory: &Path, paths: &mut Vec<PathBuf>) -> Result<(), Failure> {
    let failed = |error: &io::Error| {
        Failure::new(Exit::Failed, format!("{} cannot be read: {}", directory.display(), os_text(error)))
    };
    let entries = fs::read_dir(directory).map_err(|error| failed(&error))?;
    let mut entries = entries.collect::<Result<Vec<_>, _>>().map_err(|error| failed(&error))?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let kind = entry.file_type().map_err(|error| failed(&error))?;
        let is_hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
        match () {
            () if is_hidden => {}
            () if kind.is_dir() => walk(&entry.path(), paths)?,
            () if kind.is_file() => paths.push(entry.path()),
            () => {}
        }
    }
    Ok(())
}

/// Shows each file with its type and size, or why it would be refused here.
fn dry_run(args: &UploadArgs, sources: &Sources, console: &mut Console<'_>) -> Result<Exit, Failure> {
    let (mut exits, mut rows, mut elements, mut total) = (Vec::new(), Vec::new(), Vec::new(), 0_u64);
    for path in &sources.paths {
        let title = sources.title(path);
        match LocalFile::inspect(path, sources.name(path), args.content_type.as_ref()) {
            Ok(file) => {
                let (name, size, mime) = (file.name.as_str(), file.size.bytes(), file.content_type.as_str());
                total += size;
                elements.push(json!({"path": title, "filename": name, "contentType": mime, "size": size}));
                rows.push([Bytes(size).to_string(), mime.to_owned(), printable_line(&title)]);
            }
            Err(failure) => {
                elements.push(json!({"path": title, "error": failure.to_json()}));
                console.failure(&failure, Some(&title));
                exits.push(failure.exit());
            }
        }
    }
    if args.json {
        console.json(&Value::Array(elements))?;
    } else {
        console.result(table(["SIZE", "TYPE", "FILE"], &rows))?;
        console.note(format_args!("{}, {}; nothing was sent", files::files_text(rows.len() as u64), Bytes(total)));
    }
    Ok(Exit::of_all(exits))
}

/// Does `work` on every path, at most `jobs` at once, and hands each outcome to `take` in the order of the paths,
/// as soon as all before it are done.
fn in_order<T: Send>(
    paths: &[PathBuf],
    jobs: u8,
    work: impl Fn(&Path) -> T + Sync,
    mut take: impl FnMut(&Path, T) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let next = AtomicUsize::new(0);
    let (done, outcomes) = mpsc::channel();
    thread::scope(|scope| {
        for _ in 0..usize::from(jobs).min(paths.len()) {
            let (next, work, done) = (&next, &work, done.clone());
            scope.spawn(move || {
                loop {
                    let i = next.fetch_add(1, Ordering::Relaxed);
                    let Some(path) = paths.get(i) else { break };
                    if done.send((i, work(path))).is_err() {
                        // The results are no longer needed, so no further upload begins.
                        break;
                    }
                }
            });
        }
        drop(done);
        let mut early = BTreeMap::new();
        let mut expected = 0;
        for (i, outcome) in outcomes {
            early.insert(i, outcome);
            while let Some(outcome) = early.remove(&expected) {
                take(&paths[expected], outcome)?;
                expected += 1;
            }
        }
        Ok(())
    })
}

/// The three steps for one file.
fn upload(
    client: &Client,
    args: &UploadArgs,
    sources: &Sources,
    path: &Path,
    bars: &Bars,
    unfinished: &Unfinished,
) -> Outcome {
    let file = LocalFile::inspect(path, sources.name(path), args.content_type.as_ref())?;
    let bar = bars.start(file.name.as_str(), file.size.bytes());
    bar.phase("reading");
    let checksum = file.checksum(&bar)?;
    let (intent, once) = (intent(args, &file, checksum), IdempotencyKey::mint());
    let ticket = unfinished.begin(|| with_retries(|| client.begin_upload(&intent, &once)))?;
    finish(client, &ticket, &file, &bar, unfinished).map_err(|failure| {
        unfinished.give_up(ticket.file_id, client);
        failure.or_hint("the upload on the server expires by itself; upload the file again")
    })
}

fn finish(client: &Client, ticket: &Upload, file: &LocalFile<'_>, bar: &Bar, unfinished: &Unfinished) -> Outcome {
    with_retries(|| {
        bar.phase("sending");
        file.send(client, ticket, bar)
    })?;
    bar.phase("publishing");
    unfinished.publish(ticket.file_id)?;
    let once = IdempotencyKey::mint();
    with_retries(|| client.confirm(ticket.file_id, &once))?;
    with_retries(|| client.get(ticket.file_id, None))
}

fn intent(args: &UploadArgs, file: &LocalFile<'_>, checksum: Sha256Checksum) -> UploadIntent {
    let visibility = if args.public { Visibility::Public } else { Visibility::Private };
    let image =
        |asked: Option<Visibility>| ImageWish { enabled: Some(true), visibility: Some(asked.unwrap_or(visibility)) };
    UploadIntent {
        visibility,
        owner_user_id: args.owner.clone(),
        entity: args.entity.clone().map(|EntityArg(Entity { kind, id, role, position })| EntityPlace {
            kind,
            id,
            role,
            position,
        }),
        transformations: args.variants.map(|asked| TransformationsWish { image: Some(image(asked)) }),
        checksum_sha256: Some(checksum),
        ..UploadIntent::new(file.name.clone(), file.content_type.clone(), file.size)
    }
}

/// A file that can be uploaded, according to local checks.
struct LocalFile<'a> {
    path: &'a Path,
    name: OriginalFilename,
    size: ByteSize,
    content_type: ContentType,
}

impl<'a> LocalFile<'a> {
    fn inspect(path: &'a Path, name: String, content_type: Option<&ContentType>) -> Result<Self, Failure> {
        let facts = fs::metadata(path).map_err(|error| unreadable(&error))?;
        if facts.is_dir() {
            return Err(Failure::new(Exit::Failed, "it is a directory").or_hint("give --recursive to upload its files"));
        }
        if !facts.is_file() {
            return Err(Failure::new(Exit::Failed, "not a regular file"));
        }
        let size = ByteSize::new(facts.len()).ok_or_else(|| {
            let (size, max) = (Bytes(facts.len()), Bytes(ByteSize::MAX.bytes()));
            Failure::new(Exit::Failed, format!("{size} is more than the {max} that an upload may have"))
        })?;
        let known = content_type.cloned().or_else(|| media_type::of_path(Path::new(&name)));
        let name = OriginalFilename::new(name).ok_or_else(|| {
            let limit = OriginalFilename::MAX_CHARS;
            Failure::new(Exit::Failed, format!("the name has more than {limit} characters"))
        })?;
        let content_type = match known {
            Some(known) => known,
            None => by_first_bytes(path)?,
        };
        Ok(Self { path, name, size, content_type })
    }

    /// The SHA-256 of the bytes.
    fn checksum(&self, bar: &Bar) -> Result<Sha256Checksum, Failure> {
        let mut bytes = self.open(bar)?;
        let mut digest = Context::new(&SHA256);
        let mut buffer = vec![0; 128 * 1024];
        loop {
            match bytes.read(&mut buffer).map_err(|error| unreadable(&error))? {
                0 => {
                    let digest = BASE64.encode(digest.finish());
                    return Ok(digest.parse().expect("a SHA-256 in base64 is a checksum"));
                }
                n => digest.update(&buffer[..n]),
            }
        }
    }

    fn send(&self, client: &Client, ticket: &Upload, bar: &Bar) -> Result<(), Failure> {
        let mut body = ExactBody { bytes: self.open(bar)?, left: self.size.bytes(), fault: None };
        let sent = client.put(ticket, self.size.bytes(), &mut body);
        match body.fault {
            Some(fault) => Err(unreadable(&fault)),
            None => sent,
        }
    }

    fn open(&self, bar: &Bar) -> Result<impl Read, Failure> {
        File::open(self.path).map(|file| bar.follow(file)).map_err(|error| unreadable(&error))
    }
}

fn by_first_bytes(path: &Path) -> Result<ContentType, Failure> {
    let mut head = Vec::new();
    let read = File::open(path).and_then(|file| file.take(media_type::HEAD).read_to_end(&mut head));
    read.map_err(|error| unreadable(&error))?;
    media_type::of_bytes(&head).ok_or_else(|| {
        Failure::new(Exit::Failed, "neither the extension nor the first bytes indicate an allowed media type")
            .or_hint("give --content-type")
    })
}

fn unreadable(error: &io::Error) -> Failure {
    Failure::new(Exit::Failed, format!("cannot be read: {}", os_text(error)))
}

/// A body of exactly this many bytes. It keeps a local error, which the HTTP client would report as a network error.
struct ExactBody<R> {
    bytes: R,
    left: u64,
    fault: Option<io::Error>,
}

impl<R: Read> Read for ExactBody<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = usize::try_from(self.left).map_or(buffer.len(), |left| left.min(buffer.len()));
        let fault = match self.bytes.read(&mut buffer[..wanted]) {
            Ok(0) if wanted > 0 => io::Error::new(io::ErrorKind::UnexpectedEof, "it became shorter while it was sent"),
            Ok(n) => {
                self.left -= n as u64;
                return Ok(n);
            }
            Err(error) => error,
        };
        self.fault = Some(fault);
        Err(io::ErrorKind::Other.into())
    }
}

fn element(name: &str, outcome: &Outcome) -> Value {
    match outcome {
        Ok(answer) => {
            let mut element = json!({ "path": name });
            if let (Value::Object(element), Value::Object(answer)) = (&mut element, &answer.raw) {
                element.extend(answer.clone());
            }
            element
        }
        Err(failure) => json!({"path": name, "error": failure.to_json()}),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_in_the_order_of_the_paths() {
        let paths: Vec<PathBuf> = (0..50).map(|i| PathBuf::from(i.to_string())).collect();
        let mut taken = Vec::new();
        let work = |path: &Path| {
            // The even ones give the odd ones a chance to overtake.
            (0..path.to_string_lossy().parse::<u32>().unwrap() % 2).for_each(|_| thread::yield_now());
            path.to_owned()
        };
        let done = in_order(&paths, 4, work, |path, outcome| {
            assert_eq!(path, outcome);
            taken.push(outcome);
            Ok(())
        });
        assert!(done.is_ok());
        assert_eq!(taken, paths);
    }

    #[test]
    fn a_body_that_ends_early_is_a_local_error() {
        let mut body = ExactBody { bytes: &b"abc"[..], left: 4, fault: None };
        assert!(io::copy(&mut body, &mut io::sink()).is_err());
        assert_eq!(body.fault.map(|fault| fault.kind()), Some(io::ErrorKind::UnexpectedEof));
    }

    #[test]
    fn a_body_stops_at_the_declared_size() {
        let mut body = ExactBody { bytes: &b"abcdef"[..], left: 4, fault: None };
        assert_eq!(io::copy(&mut body, &mut io::sink()).unwrap(), 4);
        assert!(body.fault.is_none());
    }
}

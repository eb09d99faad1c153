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
use xfiles_core::{
    content_type::ContentType,
    intent::{ByteSize, OriginalFilename, OwnerId},
    object_key::Visibility,
};

use crate::{
    args::{EntityArg, ServerArgs, visibility},
    client::{
        Answer, Client, FileWithUrls, IdempotencyKey, ImageTransformations, Intent, IntentEntity, Ticket,
        Transformations,
    },
    failure::{Exit, Failure, os_text},
    files, media_type,
    output::Console,
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
  xf upload --json report.pdf | jq -r '.[0].url'

The result is in the order of the arguments. A failed file does not stop the others, but determines the exit code. \
Ctrl-C cancels unfinished uploads on the server and returns their quota; a second Ctrl-C does not wait for that.")]
pub(crate) struct UploadArgs {
    /// The files to upload, of 1 byte to 100 MB
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
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
    let client = Client::new(&args.server)?;
    let bars = Bars::new(console.shows_progress());
    let mut exits = Vec::new();
    let mut elements = Vec::new();
    let unfinished = Unfinished::default();
    let work = |path: &Path| upload(&client, args, path, &bars, &unfinished);
    let take = |path: &Path, outcome: Outcome| {
        let name = path.display().to_string();
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
    unfinished.unless_interrupted(&client, || in_order(&args.files, args.jobs, work, take))?;
    if args.json {
        console.json(&Value::Array(elements))?;
    }
    Ok(Exit::of_all(exits))
}

/// Does `work` for every path, at most `jobs` at a time, and passes each result to `take` in the order of the paths, as
/// soon as all before it are done.
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
fn upload(client: &Client, args: &UploadArgs, path: &Path, bars: &Bars, unfinished: &Unfinished) -> Outcome {
    let file = LocalFile::inspect(path, args.content_type.as_ref())?;
    let bar = bars.start(&file.name, file.size);
    bar.phase("reading");
    let checksum = file.checksum(&bar)?;
    let (intent, once) = (intent(args, &file, checksum), IdempotencyKey::mint());
    let ticket = unfinished.begin(|| with_retries(|| client.begin_upload(&intent, &once)))?;
    finish(client, &ticket, &file, &bar, unfinished).map_err(|failure| {
        unfinished.give_up(ticket.file_id, client);
        failure.or_hint("the upload on the server expires by itself; upload the file again")
    })
}

fn finish(client: &Client, ticket: &Ticket, file: &LocalFile<'_>, bar: &Bar, unfinished: &Unfinished) -> Outcome {
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

fn intent<'a>(args: &'a UploadArgs, file: &'a LocalFile<'_>, checksum_sha256: String) -> Intent<'a> {
    let visibility = if args.public { Visibility::Public } else { Visibility::Private };
    Intent {
        filename: &file.name,
        content_type: file.content_type.as_str(),
        size: file.size,
        visibility: visibility.as_str(),
        owner_user_id: args.owner.as_ref().map(OwnerId::as_str),
        entity: args.entity.as_ref().map(|EntityArg(entity)| IntentEntity {
            kind: entity.kind.as_str(),
            id: entity.id.as_str(),
            role: entity.role.as_ref().map(|role| role.as_str()),
            position: entity.position.0,
        }),
        transformations: args.variants.map(|asked| Transformations {
            image: ImageTransformations { enabled: true, visibility: asked.unwrap_or(visibility).as_str() },
        }),
        checksum_sha256,
    }
}

/// A file that can be uploaded, according to local checks.
struct LocalFile<'a> {
    path: &'a Path,
    name: String,
    size: u64,
    content_type: ContentType,
}

impl<'a> LocalFile<'a> {
    fn inspect(path: &'a Path, content_type: Option<&ContentType>) -> Result<Self, Failure> {
        let facts = fs::metadata(path).map_err(|error| unreadable(&error))?;
        if !facts.is_file() {
            return Err(Failure::new(Exit::Failed, "not a regular file"));
        }
        let size = ByteSize::new(facts.len()).ok_or_else(|| {
            let (size, max) = (Bytes(facts.len()), Bytes(ByteSize::MAX.bytes()));
            Failure::new(Exit::Failed, format!("{size} is more than the {max} that an upload may have"))
        })?;
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if OriginalFilename::new(name.as_str()).is_none() {
            let limit = OriginalFilename::MAX_CHARS;
            return Err(Failure::new(Exit::Failed, format!("the name has more than {limit} characters")));
        }
        let content_type = match content_type.cloned().or_else(|| media_type::of_path(path)) {
            Some(known) => known,
            None => by_first_bytes(path)?,
        };
        Ok(Self { path, name, size: size.bytes(), content_type })
    }

    fn checksum(&self, bar: &Bar) -> Result<String, Failure> {
        let mut bytes = self.open(bar)?;
        let mut digest = Context::new(&SHA256);
        let mut buffer = vec![0; 128 * 1024];
        loop {
            match bytes.read(&mut buffer).map_err(|error| unreadable(&error))? {
                0 => return Ok(BASE64.encode(digest.finish())),
                n => digest.update(&buffer[..n]),
            }
        }
    }

    fn send(&self, client: &Client, ticket: &Ticket, bar: &Bar) -> Result<(), Failure> {
        let mut body = ExactBody { bytes: self.open(bar)?, left: self.size, fault: None };
        let sent = client.put(ticket, self.size, &mut body);
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

//! `xf download`: files from the CDN to the disk. What has arrived is kept beside the target under another name, so an
//! interrupted download goes on where it stopped, and a file under its own name is whole and verified.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use ring::digest::{Context, SHA256};
use serde_json::{Value, json};
use xfiles_api_types::{
    files::{self as api, FileWithUrls},
    wire::Flat,
};
use xfiles_core::{
    id::FileId,
    variant::{ImageFormat, Width},
};

use crate::{
    args::ServerArgs,
    client::Client,
    failure::{Exit, Failure, Retry, os_text},
    files,
    output::{Console, printable_line},
    progress::{Bar, Bars},
    retry::with_retries,
};

/// Download files, or variants of pictures, and verify them
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  xf download 3f9k2m7q1x5b8d0s6w4z
  xf download -o photo.jpg 3f9k2m7q1x5b8d0s6w4z
  xf download --width 400 --format jpeg 3f9k2m7q1x5b8d0s6w4z
  xf download -o - 3f9k2m7q1x5b8d0s6w4z | tar -tz
  xf ls --all --json | jq -r '.files[].id' | xargs xf download -o backup/

A download that was interrupted goes on where it stopped when the same command is given again. The length is checked \
always, and the SHA-256 if it is known, as it is for files from `xf upload`.")]
pub(crate) struct DownloadArgs {
    /// The files' ids
    #[arg(required = true, value_name = "ID")]
    ids: Vec<FileId>,
    /// Where to: a file, a directory, or - for standard output [default: the original name, in this directory]
    #[arg(long, short, value_name = "FILE|DIR|-")]
    output: Option<PathBuf>,
    /// The variant of this width instead of the file itself
    #[arg(long, value_name = "PIXELS", value_parser = files::width)]
    width: Option<Width>,
    /// The format of the variant: webp, jpeg, png, avif or auto
    #[arg(long, value_name = "FORMAT", value_parser = files::format, requires = "width")]
    format: Option<ImageFormat>,
    /// Replace files that exist
    #[arg(long, short)]
    force: bool,
    /// Print one JSON array, an element per file
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerArgs,
}

pub(crate) fn run(args: &DownloadArgs, console: &mut Console<'_>) -> Result<Exit, Failure> {
    let target = Target::of(args)?;
    let client = Client::new(&args.server)?;
    if target == Target::StandardOutput {
        return to_standard_output(args.ids[0], args, &client, console);
    }
    let bars = Bars::new(console.shows_progress());
    let (mut exits, mut elements) = (Vec::new(), Vec::new());
    for id in &args.ids {
        match to_disk(*id, args, &target, &client, &bars) {
            Ok(path) if args.json => elements.push(json!({"id": id, "path": path.to_string_lossy()})),
            Ok(path) => console.result(printable_line(&path.to_string_lossy()))?,
            Err(failure) => {
                console.failure(&failure, Some(id.as_str()));
                exits.push(failure.exit());
                elements.push(json!({"id": id, "error": failure.to_json()}));
            }
        }
    }
    if args.json {
        console.json(&Value::Array(elements))?;
    }
    Ok(Exit::of_all(exits))
}

/// Where the files go.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Target {
    StandardOutput,
    File(PathBuf),
    Directory(PathBuf),
}

impl Target {
    fn of(args: &DownloadArgs) -> Result<Self, Failure> {
        let usage = |text: &str| Failure::new(Exit::Usage, text);
        let Some(output) = &args.output else { return Ok(Self::Directory(PathBuf::new())) };
        if output.as_os_str() == "-" {
            if args.ids.len() > 1 || args.json {
                return Err(usage("standard output takes one file, and no --json"));
            }
            return Ok(Self::StandardOutput);
        }
        if output.is_dir() {
            return Ok(Self::Directory(output.clone()));
        }
        if args.ids.len() > 1 || output.to_string_lossy().ends_with('/') {
            return Err(usage("several files need an -o that is a directory, and there is none of this name"));
        }
        Ok(Self::File(output.clone()))
    }
}

/// What one file is to be, and where it can be read now.
struct Wanted {
    url: String,
    /// Its length, unless it is a variant.
    size: Option<u64>,
    /// Its SHA-256 in base64, if it is known.
    checksum: Option<String>,
    name: String,
}

impl Wanted {
    fn ask(id: FileId, args: &DownloadArgs, client: &Client) -> Result<Self, Failure> {
        let answer = with_retries(|| client.get(id, args.format.map(ImageFormat::extension)))?.value;
        let FileWithUrls { file, urls: Flat(urls) } = answer;
        let name = local_name(&file, args);
        let url = files::url_of(urls, args.width)?;
        let (size, checksum) = match args.width {
            None => (Some(file.size.bytes()), file.checksum_sha256.map(|checksum| checksum.to_string())),
            Some(_) => (None, None),
        };
        Ok(Self { url, size, checksum, name })
    }
}

/// The name under which a file is stored here: its original name without folders, or for a variant that of its path.
fn local_name(file: &api::File, args: &DownloadArgs) -> String {
    let original = file.original_filename.as_str().rsplit(['/', '\\']).next().unwrap_or_default();
    let original = printable_line(original);
    // Neither hidden nor a folder.
    let original = original.trim_start_matches('.').trim();
    let original = if original.is_empty() { file.id.as_str() } else { original };
    match args.width {
        None => original.to_owned(),
        Some(width) => {
            let stem = original.rsplit_once('.').map_or(original, |(stem, _)| stem);
            let extension = args.format.map_or("webp", ImageFormat::extension);
            format!("{stem}_w{}.{extension}", width.pixels())
        }
    }
}

fn to_standard_output(
    id: FileId,
    args: &DownloadArgs,
    client: &Client,
    console: &mut Console<'_>,
) -> Result<Exit, Failure> {
    let wanted = Wanted::ask(id, args, client)?;
    let mut body = with_retries(|| client.fetch(&wanted.url, 0))?;
    let mut check = Check::default();
    body.read(client, |bytes| {
        check.take(bytes);
        console.bytes(bytes)
    })?;
    console.flush()?;
    check.verify(&wanted)?;
    Ok(Exit::Ok)
}

fn to_disk(id: FileId, args: &DownloadArgs, target: &Target, client: &Client, bars: &Bars) -> Result<PathBuf, Failure> {
    let first = Wanted::ask(id, args, client)?;
    let path = match target {
        Target::File(path) => path.clone(),
        Target::Directory(directory) => directory.join(&first.name),
        Target::StandardOutput => PathBuf::from(&first.name),
    };
    if !args.force && path.symlink_metadata().is_ok() {
        return Err(exists(&path));
    }
    let mut part = Part::open(&path, id, first.size.is_some())?;
    let bar = bars.start(&first.name, first.size.unwrap_or(0));
    bar.phase("receiving");
    let mut wanted = Some(first);
    let checked = with_retries(|| {
        // A later try asks again: the URL of a private file may have expired meanwhile.
        let wanted = match wanted.take() {
            Some(first) => first,
            None => Wanted::ask(id, args, client)?,
        };
        part.receive(&wanted, client, &bar).and_then(|()| part.check.verify(&wanted))
    });
    if let Err(failure) = checked {
        // Bytes that are wrong are no beginning to go on from.
        if failure.retries() == Retry::Never {
            part.discard();
        }
        return Err(failure);
    }
    part.publish(&path, args.force)?;
    Ok(path)
}

fn exists(path: &Path) -> Failure {
    Failure::new(Exit::Failed, format!("{} exists", path.display())).or_hint("give --force, or another name with -o")
}

/// What has arrived: how much, and what it is.
struct Check {
    digest: Context,
    bytes: u64,
}

impl Default for Check {
    fn default() -> Self {
        Self { digest: Context::new(&SHA256), bytes: 0 }
    }
}

impl Check {
    fn take(&mut self, bytes: &[u8]) {
        self.digest.update(bytes);
        self.bytes += bytes.len() as u64;
    }

    fn verify(&self, wanted: &Wanted) -> Result<(), Failure> {
        if let Some(size) = wanted.size.filter(|size| *size != self.bytes) {
            return Err(Failure::new(Exit::Failed, format!("{} bytes arrived of {size}", self.bytes)));
        }
        let digest = BASE64.encode(self.digest.clone().finish());
        if wanted.checksum.as_ref().is_some_and(|checksum| *checksum != digest) {
            return Err(Failure::new(Exit::Failed, "the bytes are not those that were uploaded: the SHA-256 differs")
                .or_hint("try again; if it stays so, the store is damaged: `xf scrub` looks"));
        }
        Ok(())
    }
}

/// A file on its way, under a hidden name beside its target.
struct Part {
    path: PathBuf,
    file: File,
    check: Check,
}

impl Part {
    /// Opens what an earlier download left, or begins. A variant begins anew: it may have been made again meanwhile.
    fn open(target: &Path, id: FileId, resumes: bool) -> Result<Self, Failure> {
        let name = target.file_name().unwrap_or_default().to_string_lossy();
        let path = target.with_file_name(format!(".{name}.{id}.part"));
        let failed = |error: &io::Error| unwritable(&path, error);
        let mut file =
            OpenOptions::new().read(true).append(true).create(true).open(&path).map_err(|error| failed(&error))?;
        let mut check = Check::default();
        if resumes {
            let mut buffer = vec![0; 128 * 1024];
            loop {
                match file.read(&mut buffer).map_err(|error| failed(&error))? {
                    0 => break,
                    n => check.take(&buffer[..n]),
                }
            }
        } else {
            file.set_len(0).map_err(|error| failed(&error))?;
        }
        Ok(Self { path, file, check })
    }

    /// Takes the rest of the file.
    fn receive(&mut self, wanted: &Wanted, client: &Client, bar: &Bar) -> Result<(), Failure> {
        if wanted.size.is_none_or(|size| self.check.bytes > size) {
            self.restart()?;
        }
        if wanted.size == Some(self.check.bytes) {
            return Ok(());
        }
        let mut body = client.fetch(&wanted.url, self.check.bytes)?;
        if !body.is_rest {
            self.restart()?;
        }
        let total = wanted.size.or_else(|| body.length()).unwrap_or(0);
        let most = wanted.size.unwrap_or(u64::MAX);
        let Self { path, file, check } = self;
        body.read(client, |bytes| {
            if check.bytes + bytes.len() as u64 > most {
                return Err(Failure::new(Exit::Failed, "more bytes arrive than the file has"));
            }
            file.write_all(bytes).map_err(|error| unwritable(path, &error))?;
            check.take(bytes);
            bar.reach(check.bytes, total.max(check.bytes));
            Ok(())
        })?;
        if wanted.size.is_some_and(|size| check.bytes < size) {
            let short = Failure::new(Exit::Unreachable, "the connection ended in the middle of the file");
            return Err(short.retry(Retry::After(std::time::Duration::ZERO)));
        }
        Ok(())
    }

    fn restart(&mut self) -> Result<(), Failure> {
        self.file.set_len(0).map_err(|error| unwritable(&self.path, &error))?;
        self.check = Check::default();
        Ok(())
    }

    /// Gives the file its name. Without `force` that fails if there is one of that name by now.
    fn publish(self, target: &Path, force: bool) -> Result<(), Failure> {
        self.file.sync_all().map_err(|error| unwritable(&self.path, &error))?;
        drop(self.file);
        let named = if force {
            fs::rename(&self.path, target)
        } else {
            match fs::hard_link(&self.path, target) {
                Ok(()) => fs::remove_file(&self.path),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Err(exists(target)),
                // A file system without links.
                Err(_) => fs::rename(&self.path, target),
            }
        };
        named.map_err(|error| unwritable(target, &error))
    }

    fn discard(self) {
        drop(self.file);
        // It is made anew next time in any case.
        drop(fs::remove_file(&self.path));
    }
}

fn unwritable(path: &Path, error: &io::Error) -> Failure {
    Failure::new(Exit::Failed, format!("{} cannot be written: {}", path.display(), os_text(error)))
}

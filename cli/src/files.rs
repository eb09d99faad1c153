//! `xf ls`, `xf get`, `xf url` and `xf rm`: showing and deleting published files.

use std::fmt::Write as _;

use xfiles_api_types::{
    files::{CursorPage, Entity, File, FileWithUrls, ListedFile, NumberedPage, Urls},
    wire::Flat,
};
use xfiles_core::{
    clock::{Clock, Timestamp},
    id::FileId,
    intent::EntityWord,
    object_key::Visibility,
    variant::{ImageFormat, Width},
};

use crate::{
    args::{EntityFilter, NOTHING_DELETED, ServerArgs, visibility},
    client::{Answer, Client, IdempotencyKey},
    failure::{Exit, Failure},
    output::{Console, Table, printable_line, table},
    retry::with_retries,
    units::{Bytes, Span, age, time_left},
};

/// List published files, one page of twenty or all
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  xf ls
  xf ls --entity listing:42 --role gallery
  xf ls --owner user-7 --visibility private --page 2
  xf ls --since 7d --type 'image/*' --name invoice
  xf ls --all --json | jq -r '.files[].id'
  xf ls --pending

With --entity the order is by position, then oldest first; otherwise newest first.")]
pub(crate) struct ListArgs {
    /// Only files attached to entities of this type, or to this entity
    #[arg(long, value_name = "type[:id]")]
    entity: Option<EntityFilter>,
    /// Only files with this role
    #[arg(long, value_name = "ROLE", value_parser = role)]
    role: Option<EntityWord>,
    /// Only files of this user of your application
    #[arg(long, value_name = "ID", value_parser = crate::upload::owner)]
    owner: Option<xfiles_core::intent::OwnerId>,
    /// Only public or only private files
    #[arg(long, value_name = "public|private", value_parser = visibility)]
    visibility: Option<Visibility>,
    /// Only files whose variants are public or private
    #[arg(long, value_name = "public|private", value_parser = visibility)]
    variant_visibility: Option<Visibility>,
    /// Only files of this media type, such as image/png, or of a family, such as image/*
    #[arg(long = "type", value_name = "TYPE")]
    content_type: Option<String>,
    /// Only files whose name begins with this
    #[arg(long, value_name = "PREFIX")]
    name: Option<String>,
    /// Only files that were uploaded after this: a date, a time, or a span such as 7d before now
    #[arg(long, value_name = "WHEN", value_parser = moment)]
    since: Option<Timestamp>,
    /// Only files that were uploaded before this
    #[arg(long, value_name = "WHEN", value_parser = moment)]
    until: Option<Timestamp>,
    /// How many files a page has, 1 to 100 [default: 20]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=100), conflicts_with = "all")]
    limit: Option<u8>,
    /// The page, from 1
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    page: u32,
    /// All files; each file that exists throughout is listed once, even if others change meanwhile
    #[arg(long, conflicts_with = "page")]
    all: bool,
    /// List pending uploads (begun, but neither confirmed nor ended) instead of files, sorted by deadline
    #[arg(
        long,
        conflicts_with_all = [
            "entity", "role", "owner", "visibility", "variant_visibility", "content_type", "name", "since", "until",
            "limit", "page"
        ]
    )]
    pending: bool,
    /// Print the page as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerArgs,
}

/// Show one file and its URLs
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  xf get 3f9k2m7q1x5b8d0s6w4z
  xf get --format avif 3f9k2m7q1x5b8d0s6w4z
  xf get --json 3f9k2m7q1x5b8d0s6w4z | jq .file.size")]
pub(crate) struct GetArgs {
    /// The file's id
    #[arg(value_name = "ID")]
    id: FileId,
    /// The format of the variants' URLs: webp, jpeg, png, avif or auto
    #[arg(long, value_name = "FORMAT", value_parser = format)]
    format: Option<ImageFormat>,
    /// Print the file as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerArgs,
}

/// Print a fresh URL of a file; the URL of a private file is valid for five minutes
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  xf url 3f9k2m7q1x5b8d0s6w4z
  curl -o photo.jpg \"$(xf url 3f9k2m7q1x5b8d0s6w4z)\"
  curl -o small.webp \"$(xf url --width 400 3f9k2m7q1x5b8d0s6w4z)\"")]
pub(crate) struct UrlArgs {
    /// The file's id
    #[arg(value_name = "ID")]
    id: FileId,
    /// The WebP variant of this width instead of the original
    #[arg(long, value_name = "PIXELS", value_parser = width)]
    width: Option<Width>,
    /// Print all URLs as JSON
    #[arg(long, conflicts_with = "width")]
    json: bool,
    #[command(flatten)]
    server: ServerArgs,
}

/// Delete files with all their variants, after a question
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  xf rm 3f9k2m7q1x5b8d0s6w4z
  xf rm --yes 3f9k2m7q1x5b8d0s6w4z
  xf ls --entity listing:42 --all --json | jq -r '.files[].id' | xargs xf rm --yes")]
pub(crate) struct RemoveArgs {
    /// The files' ids
    #[arg(required = true, value_name = "ID")]
    ids: Vec<FileId>,
    /// Do not ask; needed where there is no terminal
    #[arg(long, short)]
    yes: bool,
    /// Verify that no trace is left, and print what was checked as JSON, one line for each file
    #[arg(long)]
    erase: bool,
    #[command(flatten)]
    server: ServerArgs,
}

fn role(text: &str) -> Result<EntityWord, String> {
    EntityWord::new(text).ok_or_else(|| format!("a role is 1 to {} characters", EntityWord::MAX_CHARS))
}

pub(crate) fn format(text: &str) -> Result<ImageFormat, String> {
    text.parse().map_err(|error: xfiles_core::variant::UnknownFormat| error.to_string())
}

/// A date, a time, or a span before now.
fn moment(text: &str) -> Result<Timestamp, String> {
    if let Ok(Span(span)) = text.parse::<Span>() {
        let millis = i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
        return Ok(Timestamp::from_millis(Clock::system().now().as_millis().saturating_sub(millis)));
    }
    let midnight = format!("{text}T00:00:00Z");
    [text, &midnight].into_iter().find_map(Timestamp::parse_rfc3339).ok_or_else(|| {
        "give a date such as 2026-01-31, a time such as 2026-01-31T12:00:00Z, or a span such as 7d".into()
    })
}

pub(crate) fn width(text: &str) -> Result<Width, String> {
    text.parse().map_err(|error: xfiles_core::variant::UnknownWidth| error.to_string())
}

/// The number of files in one request; the API's maximum.
const WALK_PAGE: &str = "100";

pub(crate) fn list(args: &ListArgs, console: &mut Console<'_>) -> Result<Exit, Failure> {
    let client = Client::new(&args.server)?;
    if args.pending {
        let pages = Walk::new(&client, vec![("uploadStatus", "pending".to_owned())]);
        return if args.json { all_as_json(pages, console) } else { pending_as_table(pages, console) };
    }
    if args.all {
        let pages = Walk::new(&client, filters(args));
        return if args.json { all_as_json(pages, console) } else { all_as_table(pages, console) };
    }
    let answer = client.list(&filters(args))?;
    if args.json {
        console.json(&answer.raw)?;
        return Ok(Exit::Ok);
    }
    let page = &answer.value;
    if !page.files.0.is_empty() {
        console.result(table(HEADING, &rows(&page.files.0, Clock::system().now())))?;
    }
    console.note(page_note(page));
    Ok(Exit::Ok)
}

/// The pages of a whole list, each requested when it is needed.
struct Walk<'a> {
    client: &'a Client,
    filters: Vec<(&'static str, String)>,
    /// The start of the next page, if there is one; empty at the beginning.
    cursor: Option<String>,
}

impl<'a> Walk<'a> {
    fn new(client: &'a Client, mut filters: Vec<(&'static str, String)>) -> Self {
        filters.push(("limit", WALK_PAGE.to_owned()));
        Self { client, filters, cursor: Some(String::new()) }
    }
}

impl Iterator for Walk<'_> {
    type Item = Result<Answer<CursorPage>, Failure>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut query = self.filters.clone();
        query.push(("cursor", self.cursor.take()?));
        let page = with_retries(|| self.client.walk(&query));
        self.cursor = page.as_ref().ok().and_then(|page| page.value.next_cursor.0.clone());
        Some(page)
    }
}

fn all_as_table(pages: Walk<'_>, console: &mut Console<'_>) -> Result<Exit, Failure> {
    let now = Clock::system().now();
    let (mut table, mut count) = (Table::new(HEADING), 0);
    for page in pages {
        let files = page?.value.files.0;
        if !files.is_empty() {
            console.result(table.lines(&rows(&files, now)))?;
        }
        count += files.len() as u64;
    }
    console.note(if count == 0 { "no files".to_owned() } else { files_text(count) });
    Ok(Exit::Ok)
}

fn pending_as_table(pages: Walk<'_>, console: &mut Console<'_>) -> Result<Exit, Failure> {
    let now = Clock::system().now();
    let (mut table, mut count, mut bytes) = (Table::new(PENDING_HEADING), 0_u64, 0_u64);
    for page in pages {
        let files = page?.value.files.0;
        if !files.is_empty() {
            console.result(
                table.lines(&files.iter().map(|listed| pending_row(&listed.file.0, now)).collect::<Vec<_>>()),
            )?;
        }
        count += files.len() as u64;
        bytes += files.iter().map(|listed| listed.file.0.size.bytes()).sum::<u64>();
    }
    let uploads = if count == 1 { "1 pending upload".to_owned() } else { format!("{count} pending uploads") };
    console.note(match count {
        0 => "no pending uploads".to_owned(),
        _ => format!("{uploads}, {} reserved; `xf rm ID` cancels one", Bytes(bytes)),
    });
    Ok(Exit::Ok)
}

/// One JSON object with all files, one per line. Files are printed as they arrive, however long the list is.
fn all_as_json(pages: Walk<'_>, console: &mut Console<'_>) -> Result<Exit, Failure> {
    console.result(r#"{"files": ["#)?;
    let mut mark = ' ';
    for page in pages {
        let Answer { raw, .. } = page?;
        let mut lines = Vec::new();
        for file in raw["files"].as_array().into_iter().flatten() {
            lines.push(format!("{mark} {file}"));
            mark = ',';
        }
        if !lines.is_empty() {
            console.result(lines.join("\n"))?;
        }
    }
    console.result("]}")?;
    Ok(Exit::Ok)
}

pub(crate) fn get(args: &GetArgs, console: &mut Console<'_>) -> Result<Exit, Failure> {
    let answer = Client::new(&args.server)?.get(args.id, args.format.map(ImageFormat::extension))?;
    if args.json {
        console.json(&answer.raw)?;
    } else {
        console.result(summary(&answer.value))?;
    }
    Ok(Exit::Ok)
}

pub(crate) fn url(args: &UrlArgs, console: &mut Console<'_>) -> Result<Exit, Failure> {
    let answer = Client::new(&args.server)?.fresh_urls(args.id)?;
    if args.json {
        console.json(&answer.raw)?;
        return Ok(Exit::Ok);
    }
    let url = url_of(answer.value, args.width)?;
    console.result(printable_line(&url))?;
    Ok(Exit::Ok)
}

/// The URL of the file, or of its variant of this width.
pub(crate) fn url_of(urls: Urls, width: Option<Width>) -> Result<String, Failure> {
    let Some(width) = width else { return Ok(urls.url.0) };
    let variant = urls.variants.0.into_iter().find(|variant| variant.width == width.pixels());
    variant.map(|variant| variant.url.0).ok_or_else(|| {
        Failure::new(Exit::NotFound, "this file has no variants")
            .or_hint("upload an image with --variants, or switch them on with `xf update --variants`")
    })
}

/// The number of files that one request deletes; small enough to show progress.
const DELETED_AT_ONCE: usize = 100;

pub(crate) fn remove(args: &RemoveArgs, console: &mut Console<'_>) -> Result<Exit, Failure> {
    let client = Client::new(&args.server)?;
    let what = match args.ids.as_slice() {
        [id] => format!("file {id}"),
        ids => format!("{} files", ids.len()),
    };
    console.agree(args.yes, &format!("Delete {what} and all variants, permanently?"), NOTHING_DELETED)?;
    if args.erase {
        return erase(&args.ids, &client, console);
    }
    let mut exits = Vec::new();
    for ids in args.ids.chunks(DELETED_AT_ONCE) {
        let once = IdempotencyKey::mint();
        let outcomes = match with_retries(|| client.delete(ids, &once)) {
            Ok(outcomes) => outcomes,
            Err(failure) => {
                console.failure(&failure, None);
                exits.push(failure.exit());
                break;
            }
        };
        for (id, outcome) in ids.iter().zip(outcomes) {
            match outcome {
                Ok(()) => console.result(format_args!("deleted {id}"))?,
                Err(failure) => {
                    console.failure(&failure, Some(id.as_str()));
                    exits.push(failure.exit());
                }
            }
        }
    }
    Ok(Exit::of_all(exits))
}

fn erase(ids: &[FileId], client: &Client, console: &mut Console<'_>) -> Result<Exit, Failure> {
    let mut exits = Vec::new();
    for id in ids {
        match with_retries(|| client.erase(*id)) {
            Ok(verified) => console.json(&serde_json::json!({"id": id, "verified": verified.raw}))?,
            Err(failure) => {
                console.failure(&failure, Some(id.as_str()));
                exits.push(failure.exit());
            }
        }
    }
    Ok(Exit::of_all(exits))
}

fn filters(args: &ListArgs) -> Vec<(&'static str, String)> {
    let ListArgs { entity, role, owner, visibility, variant_visibility, content_type, name, since, until, .. } = args;
    let (kind, id) = match entity {
        Some(EntityFilter { kind, id }) => (Some(kind), id.as_ref()),
        None => (None, None),
    };
    let given = [
        ("entityType", kind.map(|word| word.as_str().to_owned())),
        ("entityId", id.map(|word| word.as_str().to_owned())),
        ("role", role.as_ref().map(|word| word.as_str().to_owned())),
        ("ownerUserId", owner.as_ref().map(|owner| owner.as_str().to_owned())),
        ("visibility", visibility.map(|v| v.to_string())),
        ("variantVisibility", variant_visibility.map(|v| v.to_string())),
        ("contentType", content_type.clone()),
        ("q", name.clone()),
        ("createdAfter", since.map(|at| at.to_string())),
        ("createdBefore", until.map(|at| at.to_string())),
        ("limit", args.limit.map(|limit| limit.to_string())),
        ("page", (args.page > 1).then(|| args.page.to_string())),
    ];
    given.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}

const HEADING: [&str; 6] = ["ID", "CREATED", "SIZE", "TYPE", "ACCESS", "NAME"];

fn rows(files: &[ListedFile], now: Timestamp) -> Vec<[String; 6]> {
    files.iter().map(|listed| row(&listed.file.0, now)).collect()
}

fn row(file: &File, now: Timestamp) -> [String; 6] {
    [
        file.id.to_string(),
        age(file.created_at, now),
        Bytes(file.size.bytes()).to_string(),
        printable_line(&file.content_type),
        printable_line(file.visibility.as_str()),
        printable_line(file.original_filename.as_str()),
    ]
}

const PENDING_HEADING: [&str; 6] = ["ID", "CREATED", "ENDS", "SIZE", "TYPE", "NAME"];

fn pending_row(file: &File, now: Timestamp) -> [String; 6] {
    [
        file.id.to_string(),
        age(file.created_at, now),
        file.expires_at.map_or_else(String::new, |end| time_left(end, now)),
        Bytes(file.size.bytes()).to_string(),
        printable_line(&file.content_type),
        printable_line(file.original_filename.as_str()),
    ]
}

fn page_note(page: &NumberedPage) -> String {
    let NumberedPage { files, total, page, total_pages, .. } = page;
    let (count, page) = (files_text(*total), page.0);
    match (files.0.len(), page < *total_pages) {
        (0, _) if *total == 0 => "no files".to_owned(),
        (0, _) => format!("{count}, none on page {page}; the last page is {total_pages}"),
        (_, true) => format!("{count}, page {page} of {total_pages}; add --page {} for the next", page + 1),
        (_, false) if *total_pages > 1 => format!("{count}, page {page} of {total_pages}"),
        (_, false) => count,
    }
}

pub(crate) fn files_text(count: u64) -> String {
    if count == 1 { "1 file".to_owned() } else { format!("{count} files") }
}

/// A text summary of a file and its URLs: the name, then one line for each field.
pub(crate) fn summary(answer: &FileWithUrls) -> String {
    let FileWithUrls { file, urls: Flat(Urls { url, variants, .. }) } = answer;
    let mut text = printable_line(file.original_filename.as_str());
    let mut line = |label: &str, value: &str| {
        write!(text, "\n  {label:<7}  {}", printable_line(value)).expect("a String takes all text");
    };
    line("id", file.id.as_str());
    line("name", file.filename.as_str());
    line("content", &content(file));
    line("access", access(file.visibility.as_str()));
    if let Some(entity) = &file.entity.0 {
        line("entity", &entity_text(entity));
    }
    if let Some(owner) = &file.owner_user_id.0 {
        line("owner", owner.as_str());
    }
    line("created", &file.created_at.to_string());
    line("url", url.as_str());
    for variant in &variants.0 {
        line(&format!("{} px", variant.width), variant.url.as_str());
    }
    text
}

fn access(visibility: &str) -> &str {
    if visibility == "private" { "private, signed URLs are valid for five minutes" } else { visibility }
}

fn content(file: &File) -> String {
    let size = Bytes(file.size.bytes());
    match (file.width, file.height) {
        (Some(width), Some(height)) => format!("{}, {size}, {} x {}", file.content_type, width.0, height.0),
        _ => format!("{}, {size}", file.content_type),
    }
}

fn entity_text(entity: &Entity) -> String {
    let Entity { kind, id, role, position } = entity;
    let (kind, id, position) = (kind.as_str(), id.as_str(), position.0);
    match &role.0 {
        Some(role) => format!("{kind} {id}, {}, position {position}", role.as_str()),
        None => format!("{kind} {id}, position {position}"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use xfiles_api_types::{read_answer, wire::List, words::Whole};

    use super::*;

    fn file(extra: Value) -> Value {
        let mut file = json!({
            "id": "abcdefghijklmnopqrst", "filename": "photo-a7x9k2.jpg", "originalFilename": "Photo\u{1b}.JPG",
            "contentType": "image/jpeg", "size": 2_936_013, "visibility": "private", "uploadStatus": "confirmed",
            "ownerUserId": null, "entity": null, "transformations": {"image": {"enabled": true, "visibility": "private"}},
            "createdAt": "2025-10-09T08:53:20.007Z", "etag": "\"1\"",
        });
        file.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        file
    }

    #[test]
    fn a_row_shows_a_file_in_human_units_and_its_name_last() {
        let file: File = read_answer(&file(json!({}))).unwrap();
        let now = Timestamp::parse_rfc3339("2025-10-09T10:53:20Z").unwrap();
        let expected = ["abcdefghijklmnopqrst", "1 hour ago", "2.8 MiB", "image/jpeg", "private", "Photo\u{fffd}.JPG"];
        assert_eq!(row(&file, now), expected);
    }

    #[test]
    fn a_summary_has_a_line_for_every_known_field() {
        let known = json!({"width": 4000, "height": 3000, "ownerUserId": "u1",
            "entity": {"type": "listing", "id": "42", "role": "cover", "position": 3}});
        let answer =
            json!({"file": file(known), "url": "http://cdn/o", "variants": [{"width": 100, "url": "http://cdn/v"}]});
        assert_eq!(
            summary(&read_answer(&answer).unwrap()),
            "Photo\u{fffd}.JPG\n  id       abcdefghijklmnopqrst\n  name     photo-a7x9k2.jpg\n  \
             content  image/jpeg, 2.8 MiB, 4000 x 3000\n  access   private, signed URLs are valid for five minutes\n  entity   listing 42, cover, position 3\n  \
             owner    u1\n  created  2025-10-09T08:53:20.007Z\n  url      http://cdn/o\n  100 px   http://cdn/v"
        );
    }

    #[test]
    fn the_note_below_a_page_says_how_to_continue() {
        let note = |files: usize, total: u64, page: u64, total_pages: u64| {
            let view = || read_answer(&file(json!({}))).unwrap();
            let files = List((0..files).map(|_| view()).collect());
            page_note(&NumberedPage { files, total, total_is_exact: true, page: Whole(page), total_pages })
        };
        assert_eq!(note(0, 0, 1, 0), "no files");
        assert_eq!(note(1, 1, 1, 1), "1 file");
        assert_eq!(note(20, 41, 1, 3), "41 files, page 1 of 3; add --page 2 for the next");
        assert_eq!(note(1, 41, 3, 3), "41 files, page 3 of 3");
        assert_eq!(note(0, 41, 9, 3), "41 files, none on page 9; the last page is 3");
    }
}

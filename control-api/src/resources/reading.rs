//! Files, lists of them, and the URLs of their bytes.

use std::time::Duration;

use axum::extract::State;
use xfiles_api_types::{
    files::{
        CursorPage, File, FilePage, FileWithUrls, GetQuery, ListQuery, ListedFile, NumberedPage, UrlWish, Urls,
        VariantQuery,
    },
    problem::{Code, FieldError},
    wire::{Flat, List, Nullable, Object as _, Wire as _},
    words::{Etag, ListCursor, UploadStatus, Whole},
};
use xfiles_core::{api_key::Scope, catalog::PageNumber, error::Result as CoreResult, file};

use crate::{
    Api,
    answer::{Answer, Json, Versioned},
    auth::{By, Read},
    error::Problem,
    extract::{Body, FileAt, Query},
    operation::{Resource, get, post},
};

/// The longest life of a signed URL that the scope `read` alone can ask for.
const MAX_READ_LIFE: Duration = Duration::from_secs(60 * 60);

/// How long a request is held at most: an HTTP API on AWS gives up after 30 s.
const LONGEST_WAIT: Duration = Duration::from_secs(25);

pub(super) fn resource() -> Resource {
    let operations = vec![
        get("/api/v1/files", "listFiles", list)
            .says("List files", LIST)
            .or_answers("walking, with URLs", CursorPage::example().unwrap_or_default())
            .refuses([Code::PageTooDeep]),
        get("/api/v1/files/{id}", "getFile", get_file)
            .says(
                "Get a file",
                "The record of a confirmed file and its URLs: permanent for what is public, signed for some minutes \
                 for what is private. A variant is as visible as the file's transformations say, whatever its \
                 original is. With `wait`, a pending upload is answered as soon as it is confirmed.",
            )
            .refuses([Code::FileNotFound]),
        post("/api/v1/files/{id}/url", "makeUrls", make_urls)
            .says(
                "Make fresh URLs",
                "URLs of a confirmed file and its variants. `expiresIn` is in the answer when anything in it is \
                 signed. If the request does not ask for an `expiresIn`, requests within the same minute get identical \
                 URLs, so that caches work.",
            )
            .refuses([Code::FileNotFound]),
    ];
    Resource { name: "Reading", description: "Files, lists of them, and the URLs of their bytes.", operations }
}

const LIST: &str = "\
The confirmed files of the key's project that match every filter given. With an entity filter by position, then oldest \
first; otherwise newest first. A numbered page knows the total. Without filters it is the project's counter; otherwise \
the files are counted, which costs more the more there are and stops where 20,000 have been compared with the filters: \
then `totalIsExact` is false and `total` is what was found so far. A page beyond that, or one whose order takes all \
matches, is refused. With `cursor` every page costs the same: begin with an empty one, go on with each `nextCursor` until \
it is null; a page compares at most 2,000 files and may be short, even empty, with more to come. A walk has every file \
that was there throughout exactly once. A walk keeps the order above where `entityId` is given with `entityType`; with \
`entityType` alone, or beside filters other than an owner or a time, it goes entity by entity; every other walk goes \
newest first. With `uploadStatus=pending` the list has the uploads that have begun and are neither confirmed nor ended, \
each with `expiresAt`, the one that ends first coming first; it is always walked, and takes `limit` and `cursor` alone.";

async fn list(State(api): State<Api>, by: By<Read>, Query(query): Query<ListQuery>) -> Answer<FilePage> {
    if matches!(query.upload_status, Some(UploadStatus::Pending)) {
        return pending(&api, &by, query).await;
    }
    let (size, page, cursor) = (query.limit, query.page, query.cursor.clone());
    let urls = query.include.map(|_| query.format.unwrap_or_default());
    let filter = query.into_filter();
    let listed = async |files: Vec<file::File>| -> CoreResult<List<ListedFile, 0, 100>> {
        let mut listed = Vec::with_capacity(files.len());
        for file in &files {
            let urls = match urls {
                Some(format) => Some(api.files.urls(file, format, None, false).await?),
                None => None,
            };
            listed.push(ListedFile::new(file, urls));
        }
        Ok(List(listed))
    };
    let from = match cursor {
        None => {
            let Whole(page) = page.unwrap_or(Whole(1));
            let page = u32::try_from(page).ok().and_then(PageNumber::new).unwrap_or(PageNumber::MIN);
            let page = api.files.list(by.project, &filter, page, size).await?;
            return Ok(Json(FilePage::Numbered(NumberedPage {
                total: page.total,
                total_is_exact: page.total_is_exact,
                page: Whole(page.page.get().into()),
                total_pages: page.total_pages,
                files: listed(page.files).await?,
            })));
        }
        Some(_) if page.is_some() => return Err(invalid("?cursor", "cannot be given together with `page`")),
        Some(ListCursor::Start) => None,
        Some(ListCursor::Files(cursor)) if cursor.belongs_to(by.project, &filter) => Some(cursor),
        Some(ListCursor::Files(_) | ListCursor::Pending(_)) => {
            return Err(invalid("?cursor", "must be a `nextCursor` of this list with these filters"));
        }
    };
    let run = api.files.walk(by.project, &filter, from.as_ref(), size).await?;
    let next_cursor = Nullable(run.next.map(|cursor| cursor.to_string()));
    Ok(Json(FilePage::Walked(CursorPage { files: listed(run.files).await?, next_cursor })))
}

/// The list of pending uploads. It has no filters and no numbered pages.
async fn pending(api: &Api, by: &By<Read>, query: ListQuery) -> Answer<FilePage> {
    let others = query.given().into_iter().filter(|name| !["uploadStatus", "limit", "cursor"].contains(name));
    let rule = "cannot be given together with `uploadStatus=pending`";
    let mut faults: Vec<_> = others.map(|name| FieldError::invalid(format!("?{name}"), rule)).collect();
    let from = match query.cursor {
        None | Some(ListCursor::Start) => None,
        Some(ListCursor::Pending(cursor)) => Some(cursor),
        Some(ListCursor::Files(_)) => {
            faults.push(FieldError::invalid("?cursor", "must be a `nextCursor` of this list"));
            None
        }
    };
    if !faults.is_empty() {
        return Err(Problem::invalid(faults));
    }
    let run = api.files.pending(by.project, from.as_ref(), query.limit).await?;
    let files = List(run.files.iter().map(|file| ListedFile::new(file, None)).collect());
    Ok(Json(FilePage::Walked(CursorPage { files, next_cursor: Nullable(run.next.map(|cursor| cursor.to_string())) })))
}

fn invalid(pointer: &str, rule: &str) -> Problem {
    Problem::invalid(vec![FieldError::invalid(pointer, rule)])
}

async fn get_file(
    State(api): State<Api>,
    by: By<Read>,
    FileAt(id): FileAt,
    Query(query): Query<GetQuery>,
) -> Result<Versioned<FileWithUrls>, Problem> {
    let file = tokio::select! {
        file = api.files.get_within(by.project, id, query.wait.0.min(LONGEST_WAIT)) => file?,
        () = api.stopped() => api.files.get(by.project, id).await?,
    };
    let urls = Flat(api.files.urls(&file, query.variants.0.format, None, false).await?.into());
    Ok(Versioned(FileWithUrls { file: File::from(&file), urls }, Etag::of(&file)))
}

async fn make_urls(
    State(api): State<Api>,
    by: By<Read>,
    FileAt(id): FileAt,
    Query(VariantQuery { format }): Query<VariantQuery>,
    Body(asked): Body<UrlWish>,
) -> Answer<Urls> {
    let life = asked.expires_in.map(|life| life.0);
    if life.is_some_and(|life| life > MAX_READ_LIFE) {
        by.require(Scope::Write)?;
    }
    let file = api.files.get(by.project, id).await?;
    Ok(Json(api.files.urls(&file, format, life, asked.download).await?.into()))
}

//! The handlers of `/api/v1/files`: extract, call, view.

use std::time::Duration;

use axum::{Json, extract::State, response::IntoResponse};
use http::{HeaderMap, HeaderValue, header};
use serde_json::{Value, json};
use xfiles_core::{api_key::Scope, error::Result as CoreResult, file::File, operations::Begun};

use crate::{
    Api,
    auth::Caller,
    error::Problem,
    input::{Body, IfMatch, ListPosition, MAX_BATCH, Parameters, PathId},
    view::{
        self, BatchAnswer, DeletedAnswer, DeletionAnswer, Done, FileAnswer, FileView, FileWithUrls, IntentView,
        ListAnswer, ListedFile, PageAnswer, UrlsView, WalkAnswer,
    },
};

type Answer<T> = Result<Json<T>, Problem>;

/// How many files one request deletes by their ids.
const MAX_DELETE: usize = 1_000;

/// How long one request goes on deleting: it must answer within the 30 s that an HTTP API allows.
const DELETE_TIME: Duration = Duration::from_secs(20);

/// The longest life of a signed URL that the scope `read` alone can ask for.
const MAX_READ_LIFE: Duration = Duration::from_secs(60 * 60);

/// What a batch says of an item whose id is none.
const NO_SUCH_FILE: CoreResult<File> = Err(xfiles_core::error::Error::FileNotFound);

/// How long a request is held at the most: an HTTP API on AWS gives up after 30 s.
const LONGEST_WAIT: Duration = Duration::from_secs(25);

pub(crate) async fn upload_intent(State(api): State<Api>, caller: Caller, body: Body) -> Answer<IntentView> {
    let by = caller.uploader()?;
    let begun = api.files.begin(by, body.upload_intent()?).await?;
    Ok(Json(begun.into()))
}

pub(crate) async fn upload_intents(State(api): State<Api>, caller: Caller, body: Body) -> Answer<BatchAnswer> {
    let by = caller.uploader()?;
    let (intents, all_or_nothing) = body.upload_intents()?;
    let begun: Vec<CoreResult<Begun>> = if all_or_nothing {
        api.files.begin_all(by, intents).await?.into_iter().map(Ok).collect()
    } else {
        api.files.begin_each(by, intents).await
    };
    Ok(Json(batch(begun.into_iter().map(|begun| begun.map(|begun| json!(IntentView::from(begun)))))))
}

pub(crate) async fn confirm(State(api): State<Api>, caller: Caller, body: Body) -> Result<impl IntoResponse, Problem> {
    let project = caller.with(Scope::Write)?;
    let file = api.files.confirm(project, body.file_id()?).await?;
    Ok((etag(&file), Json(FileAnswer { file: FileView::from(&file) })))
}

pub(crate) async fn confirms(State(api): State<Api>, caller: Caller, body: Body) -> Answer<BatchAnswer> {
    let project = caller.with(Scope::Write)?;
    let ids = body.file_ids(MAX_BATCH)?;
    let known: Vec<_> = ids.iter().flatten().copied().collect();
    let mut confirmed = api.files.confirm_each(project, &known).await.into_iter();
    let in_order = ids.iter().map(|id| id.and_then(|_| confirmed.next()).unwrap_or(NO_SUCH_FILE));
    Ok(Json(batch(in_order.map(|file| file.map(|file| json!(FileAnswer { file: FileView::from(&file) }))))))
}

pub(crate) async fn list(State(api): State<Api>, caller: Caller, parameters: Parameters) -> Answer<PageAnswer> {
    let project = caller.with(Scope::Read)?;
    if let Some(query) = parameters.pending()? {
        let run = api.files.pending(project, query.cursor.as_ref(), query.size).await?;
        let next_cursor = run.next.map(|cursor| cursor.to_string());
        let pending = |file| ListedFile { file: FileView::from(file), urls: None };
        let files = run.files.iter().map(pending).collect();
        return Ok(Json(PageAnswer::Walked(WalkAnswer { files, next_cursor })));
    }
    let query = parameters.list(project)?;
    let format = parameters.format()?;
    let listed = async |files: Vec<File>| -> CoreResult<Vec<ListedFile>> {
        let mut listed = Vec::with_capacity(files.len());
        for file in &files {
            let urls =
                if query.with_urls { Some(api.files.urls(file, format, None, false).await?.into()) } else { None };
            listed.push(ListedFile { file: FileView::from(file), urls });
        }
        Ok(listed)
    };
    Ok(Json(match &query.position {
        ListPosition::Page(page) => {
            let page = api.files.list(project, &query.filter, *page, query.size).await?;
            PageAnswer::Numbered(ListAnswer {
                total: page.total,
                total_is_exact: page.total_is_exact,
                page: page.page.get(),
                total_pages: page.total_pages,
                files: listed(page.files).await?,
            })
        }
        ListPosition::Walk(cursor) => {
            let run = api.files.walk(project, &query.filter, cursor.as_ref(), query.size).await?;
            let next_cursor = run.next.map(|cursor| cursor.to_string());
            PageAnswer::Walked(WalkAnswer { files: listed(run.files).await?, next_cursor })
        }
    }))
}

pub(crate) async fn get(
    State(api): State<Api>,
    caller: Caller,
    PathId(id): PathId,
    parameters: Parameters,
) -> Result<impl IntoResponse, Problem> {
    let project = caller.with(Scope::Read)?;
    let (format, wait) = (parameters.format()?, parameters.wait()?);
    let file = tokio::select! {
        file = api.files.get_within(project, id, wait.min(LONGEST_WAIT)) => file?,
        () = api.stopped() => api.files.get(project, id).await?,
    };
    let urls = api.files.urls(&file, format, None, false).await?.into();
    Ok((etag(&file), Json(FileWithUrls { file: FileView::from(&file), urls })))
}

pub(crate) async fn patch(
    State(api): State<Api>,
    caller: Caller,
    PathId(id): PathId,
    IfMatch(revision): IfMatch,
    body: Body,
) -> Result<impl IntoResponse, Problem> {
    let project = caller.with(Scope::Write)?;
    let file = api.files.patch(project, id, &body.patch()?, revision).await?;
    Ok((etag(&file), Json(FileAnswer { file: FileView::from(&file) })))
}

pub(crate) async fn urls(
    State(api): State<Api>,
    caller: Caller,
    PathId(id): PathId,
    parameters: Parameters,
    body: Body,
) -> Answer<UrlsView> {
    let project = caller.with(Scope::Read)?;
    let format = parameters.format()?;
    let (life, as_download) = body.url_terms()?;
    if life.is_some_and(|life| life > MAX_READ_LIFE) {
        caller.with(Scope::Write)?;
    }
    let file = api.files.get(project, id).await?;
    Ok(Json(api.files.urls(&file, format, life, as_download).await?.into()))
}

pub(crate) async fn resign(State(api): State<Api>, caller: Caller, PathId(id): PathId) -> Answer<IntentView> {
    let project = caller.with(Scope::Write)?;
    Ok(Json(api.files.resign(project, id).await?.into()))
}

pub(crate) async fn delete(
    State(api): State<Api>,
    caller: Caller,
    PathId(id): PathId,
    IfMatch(revision): IfMatch,
    parameters: Parameters,
) -> Answer<DeletionAnswer> {
    let project = caller.with(Scope::Delete)?;
    if parameters.erase()? {
        let erased = api.files.erase(project, id, revision).await?;
        return Ok(Json(DeletionAnswer::erased(erased)));
    }
    api.files.delete(project, id, revision).await?;
    Ok(Json(DeletionAnswer::deleted()))
}

pub(crate) async fn delete_matching(
    State(api): State<Api>,
    caller: Caller,
    parameters: Parameters,
) -> Answer<DeletedAnswer> {
    let project = caller.with(Scope::Delete)?;
    let bulk = api.files.delete_matching(project, &parameters.bulk_delete()?, DELETE_TIME).await?;
    Ok(Json(DeletedAnswer { deleted: bulk.deleted, more: bulk.more }))
}

pub(crate) async fn delete_listed(State(api): State<Api>, caller: Caller, body: Body) -> Answer<BatchAnswer> {
    let project = caller.with(Scope::Delete)?;
    let ids = body.file_ids(MAX_DELETE)?;
    let known: Vec<_> = ids.iter().flatten().copied().collect();
    let mut deleted = api.files.delete_all(project, &known, DELETE_TIME).await.into_iter();
    let in_order = ids.iter().map(|id| id.and_then(|_| deleted.next()).unwrap_or_else(|| NO_SUCH_FILE.map(drop)));
    Ok(Json(batch(in_order.map(|done| done.map(|()| json!(Done { success: true }))))))
}

/// What became of each item, in order.
fn batch(outcomes: impl Iterator<Item = CoreResult<Value>>) -> BatchAnswer {
    let result = |outcome: CoreResult<Value>| {
        outcome.unwrap_or_else(|error| {
            let problem = Problem::from(error);
            if let Some(cause) = &problem.cause {
                tracing::error!(cause, "an item of a batch failed");
            }
            json!({ "error": problem.item() })
        })
    };
    BatchAnswer { results: outcomes.map(result).collect() }
}

fn etag(file: &File) -> HeaderMap {
    let tag = HeaderValue::from_str(&view::etag(file)).expect("a number is visible ASCII");
    HeaderMap::from_iter([(header::ETAG, tag)])
}

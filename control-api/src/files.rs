//! The handlers of `/api/v1/files`: extract, call, view.

use axum::{Json, extract::State};
use xfiles_core::api_key::Scope;

use crate::{
    Api,
    auth::Caller,
    error::Problem,
    input::{Body, Parameters, PathId},
    view::{Done, FileAnswer, FileView, FileWithUrls, IntentView, ListAnswer, ListedFile, UrlsView},
};

type Answer<T> = Result<Json<T>, Problem>;

pub(crate) async fn upload_intent(State(api): State<Api>, caller: Caller, body: Body) -> Answer<IntentView> {
    let project = caller.with(Scope::Write)?;
    let begun = api.files.begin(project, body.upload_intent()?).await?;
    Ok(Json(begun.into()))
}

pub(crate) async fn confirm(State(api): State<Api>, caller: Caller, body: Body) -> Answer<FileAnswer> {
    let project = caller.with(Scope::Write)?;
    let file = api.files.confirm(project, body.file_id()?).await?;
    Ok(Json(FileAnswer { file: FileView::from(&file) }))
}

pub(crate) async fn list(State(api): State<Api>, caller: Caller, parameters: Parameters) -> Answer<ListAnswer> {
    let project = caller.with(Scope::Read)?;
    let query = parameters.list()?;
    let format = parameters.format()?;
    let page = api.files.list(project, &query.filter, query.page, query.size).await?;
    let listed = |file| ListedFile {
        file: FileView::from(file),
        urls: query.with_urls.then(|| api.files.urls(file, format).into()),
    };
    Ok(Json(ListAnswer {
        files: page.files.iter().map(listed).collect(),
        total: page.total,
        page: page.page.get(),
        total_pages: page.total_pages,
    }))
}

pub(crate) async fn get(
    State(api): State<Api>,
    caller: Caller,
    PathId(id): PathId,
    parameters: Parameters,
) -> Answer<FileWithUrls> {
    let project = caller.with(Scope::Read)?;
    let format = parameters.format()?;
    let file = api.files.get(project, id).await?;
    Ok(Json(FileWithUrls { file: FileView::from(&file), urls: api.files.urls(&file, format).into() }))
}

pub(crate) async fn urls(
    State(api): State<Api>,
    caller: Caller,
    PathId(id): PathId,
    parameters: Parameters,
) -> Answer<UrlsView> {
    let project = caller.with(Scope::Read)?;
    let format = parameters.format()?;
    let file = api.files.get(project, id).await?;
    Ok(Json(api.files.urls(&file, format).into()))
}

pub(crate) async fn delete(State(api): State<Api>, caller: Caller, PathId(id): PathId) -> Answer<Done> {
    let project = caller.with(Scope::Delete)?;
    api.files.delete(project, id).await?;
    Ok(Json(Done { success: true }))
}

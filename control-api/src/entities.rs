//! The handlers of `/api/v1/entities`: the order of an entity's files.

use axum::{Json, extract::State};
use xfiles_core::api_key::Scope;

use crate::{
    Api,
    auth::Caller,
    error::Problem,
    input::{Body, EntityPath},
    view::{FileView, FilesAnswer},
};

pub(crate) async fn order(
    State(api): State<Api>,
    caller: Caller,
    EntityPath { kind, id }: EntityPath,
    body: Body,
) -> Result<Json<FilesAnswer>, Problem> {
    let project = caller.with(Scope::Write)?;
    let files = api.files.order(project, &kind, &id, &body.order()?).await?;
    Ok(Json(FilesAnswer { files: files.iter().map(FileView::from).collect() }))
}
